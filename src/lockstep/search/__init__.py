"""Which parameter sets are tried, which of them may win, and which one does."""
