"""Kinds of training: a spec model and a `Training` each, registered by name in `runs.registry`."""
