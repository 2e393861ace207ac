"""Reproducible supervised training: a data set, a network, one call."""
