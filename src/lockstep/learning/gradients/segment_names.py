"""Names of the segments of a run; `recorder` says what each holds. They stand apart so that readers need no torch."""

from __future__ import annotations

from typing import Final

STEPS: Final = "steps"
BATCHES: Final = "batches"
NORMS: Final = "norms"
BUFFERS: Final = "buffers"
GRADIENTS: Final = "gradients"
START: Final = "start"
SNAPSHOTS: Final = "snapshots"
