"""Packages: everything a model may see of one moment, hashed, judged, stored in columns."""
