"""Benchmarks: ``python -m tests.bench`` prints one table, ezflow beside its peers, and says what was met."""
