"""Gradient training: one update, its record, and everything that comes back from the record."""
