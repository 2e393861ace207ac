"""Class and function names that people know from elsewhere, each a thin face of what the house does."""
