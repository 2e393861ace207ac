"""A stored run computed again by the program that `lockstep verify --across` starts, and its gradients applied again.

`main` runs in a process of its own, whose environment has the numerics of the run. What is computed again stays in
HOME/scratch/run, to be compared line by line.
"""

from __future__ import annotations

import json
import sys
from pathlib import Path

from tests.integration.kind_runs import IN_PROCESS, verify_here


def main(name: str, path: str, run: str, home_path: str) -> None:
    """Write the report of the comparison, and the state that the stored gradients lead to, to HOME/again.json."""
    from lockstep.runs.folder import RunFolder

    home, folder = Path(home_path), RunFolder(Path(run))
    report = verify_here(folder, home, name, path, IN_PROCESS, (), across=True)
    state = None
    if (folder.segments / "gradients.000000.seg").exists():
        from lockstep.learning.gradients.record import SessionRecord
        from lockstep.learning.gradients.replay import replay_gradients

        state = replay_gradients(SessionRecord(folder)).state
    (home / "again.json").write_text(json.dumps({**report, "state": state}))


if __name__ == "__main__":
    main(*sys.argv[1:])
