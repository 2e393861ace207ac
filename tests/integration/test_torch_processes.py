"""torch in other processes: the instruction set that a run asks for, and the bits of a record."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest

pytest.importorskip("torch")

from tests.acceptance.user import PATIENCE_S, User
from tests.unit.learning.builders import Small

from lockstep.runs.numerics import environment


def test_portable_numerics_take_torch_to_avx2_in_a_fresh_process() -> None:
    """docs/architecture.md, rule 2: set before torch computes, though `runs` knows nothing of torch."""
    ask = """
import json
from lockstep.learning.gradients import determinism
print(json.dumps(determinism.numerics_entries()))
"""
    done = subprocess.run(
        [sys.executable, "-c", ask], env=environment("portable"), capture_output=True, text=True, check=True
    )
    entries = json.loads(done.stdout)
    assert entries["torch.capability"] == "AVX2"
    assert "ONEDNN_MAX_CPU_ISA=AVX2" in entries["torch.variables"]


def test_another_process_replays_to_the_same_bits(tmp_path: Path) -> None:
    """R9.31: a process that never sees the model's code or data."""
    folder = Small().run(tmp_path / "run")
    ask = """
import sys, json
from pathlib import Path
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.runs.folder import RunFolder
replay = replay_gradients(SessionRecord(RunFolder(Path(sys.argv[1]))))
print(json.dumps(replay.state))
"""
    out, err = User(tmp_path).python("-c", ask, str(folder.path)).communicate(timeout=PATIENCE_S)
    assert err == ""
    assert json.loads(out) == folder.result()["state"]
