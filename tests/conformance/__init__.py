"""CPython's own process-pool tests, run on ``ezflow.ProcessPoolExecutor``: ``python -m tests.conformance``."""
