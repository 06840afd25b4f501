"""Futures graphs: one call in, one result out.

Empty, because a worker that runs a fused chain imports one module of this package.
"""
