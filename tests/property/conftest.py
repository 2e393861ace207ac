"""Hypothesis for this folder: no deadline, because the first example of a kernel's test compiles the kernel."""

from __future__ import annotations

from hypothesis import settings

settings.register_profile("lockstep", deadline=None)
settings.load_profile("lockstep")
