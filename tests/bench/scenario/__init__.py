"""Long runs: leaks, soak."""
