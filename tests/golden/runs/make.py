"""The recipe of the stored runs: `python tests/golden/runs/make.py tests/golden/runs/v0.1.0`.

Run once per release that changes a format, into a folder named after the release; what is stored is never made anew.
`complete/` ran to its end, `interrupted/` was stopped after its third step.
"""

from __future__ import annotations

import contextlib
import sys
from pathlib import Path

from lockstep.core.errors import Interrupted
from lockstep.runs.cancel import Cancel
from lockstep.runs.folder import RunFolder
from lockstep.runs.loop import execute
from lockstep.testing.contracts.training_kind import EVERY_STEP, StopAfter
from lockstep.testing.toy_training import ToySpec, ToyTraining

SPEC = ToySpec(seed=42, steps=5, batch=4)
FINGERPRINT = "60" * 32
PART_BYTES = 500  # so that a segment rolls over


def create(path: Path) -> RunFolder:
    return RunFolder.create(
        path,
        spec=SPEC.document(),
        data={"digest": None},
        code={"files": {}},
        numerics={"operations": "add, multiply, divide, compare"},
        environment={"host": "nowhere"},
        sources={"mine.py": b"# a user's file\n"},
    )


def go(folder: RunFolder, stop_after: int = 0) -> None:
    cancel = Cancel()
    execute(
        ToyTraining(SPEC),
        folder,
        fingerprint=FINGERPRINT,
        policy=EVERY_STEP,
        part_bytes=PART_BYTES,
        cancel=cancel,
        observers=[StopAfter(cancel, stop_after)],
    )
    (folder.path / "lock").unlink()


def main(target: Path) -> None:
    """Make both runs below `target`, which must not exist."""
    go(create(target / "complete"))
    interrupted = create(target / "interrupted")
    with contextlib.suppress(Interrupted):
        go(interrupted, stop_after=3)
    (interrupted.path / "lock").unlink()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
