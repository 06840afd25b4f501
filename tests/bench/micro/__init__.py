"""Small measurements of one part each."""
