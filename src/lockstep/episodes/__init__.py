"""What was predicted, what became of it, and in which order it teaches."""
