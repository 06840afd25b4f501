"""Programs that start, are interrupted, fork, end or are killed, each in a process of its own."""
