"""Flows: streams of items through the same literals as graphs.

Empty, because a worker that runs a program imports one module of this package.
"""
