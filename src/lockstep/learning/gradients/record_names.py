"""Names of the segments of a session (`recorder` says what is in each): here, so that reading them needs no torch."""

from __future__ import annotations

from typing import Final

STEPS: Final = "steps"
BATCHES: Final = "batches"
NORMS: Final = "norms"
BUFFERS: Final = "buffers"
GRADIENTS: Final = "gradients"
START: Final = "start"
SNAPSHOTS: Final = "snapshots"
