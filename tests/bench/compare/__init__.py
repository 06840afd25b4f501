"""The same work on every library: work.py, one adapter each, and the fresh process that runs one cell."""
