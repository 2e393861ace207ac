"""Candles: what they are, where they come from, how good they are, and what is computed from them (see README.md)."""
