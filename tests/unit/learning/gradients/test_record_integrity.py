"""Damage to a session's files: told, or without effect on what is read; never another number, never another error."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")

from tests.unit.learning.builders import Small

from lockstep.core.errors import IntegrityError, LockstepError
from lockstep.learning.gradients.overview import Overview
from lockstep.learning.gradients.record import SessionRecord
from lockstep.learning.gradients.replay import replay_gradients
from lockstep.learning.gradients.segment_names import BATCHES, BUFFERS, GRADIENTS, NORMS, SNAPSHOTS, START, STEPS
from lockstep.learning.gradients.sessions import list_sessions
from lockstep.runs.folder import RunFolder
from lockstep.runs.store import FolderRunStore
from lockstep.storage.segments import SegmentReader

SEGMENTS = (STEPS, BATCHES, NORMS, BUFFERS, GRADIENTS, START, SNAPSHOTS)


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with one session of 6 steps."""
    home = tmp_path_factory.mktemp("home")
    Small().run(home / "runs" / "20261121T000000000-000001")
    return home


def the_run(home: Path) -> RunFolder:
    (path,) = (home / "runs").iterdir()
    return RunFolder(path)


def unended(home: Path) -> None:
    """As a kill -9 after the last step leaves it."""
    folder = the_run(home)
    for name in ("MANIFEST.json", "result.json"):
        (folder.path / name).unlink()
    shutil.rmtree(folder.artifacts)
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    folder.journal.write_bytes(b"".join(lines[:-1]))


def last_frame(folder: RunFolder, name: str) -> int:
    reader = SegmentReader(folder.segments)
    reader.rows(name)
    return reader._index[name][-1].offset


READ: dict[str, Callable[[Path], Any]] = {
    "gradients": lambda home: replay_gradients(SessionRecord(the_run(home))).state,
    "state": lambda home: sorted((n, a.tobytes()) for n, a in SessionRecord(the_run(home)).step(4).model_state.items()),
    "samples": lambda home: SessionRecord(the_run(home)).step(5).samples.tolist(),
    "best": lambda home: SessionRecord(the_run(home)).by_value(),
    "losses": lambda home: Overview(the_run(home)).steps_and_best(3, 0)[0]["loss.total"].mean.tolist(),
    "norms": lambda home: next(iter(Overview(the_run(home)).norms_in_bins(3).gradient.values())).mean.tolist(),
    "list": lambda home: [(s.value, s.steps, s.losses) for s in listed(home)],
}


def listed(home: Path) -> Any:
    found = list_sessions(FolderRunStore(home))
    if found.problems:
        raise IntegrityError(next(iter(found.problems.values())))
    return found


@pytest.mark.parametrize("ended", [True, False])
@pytest.mark.parametrize("name", SEGMENTS)
def test_a_segment_that_is_cut_or_gone_is_told_or_not_missed(
    whole: Path, tmp_path: Path, name: str, ended: bool
) -> None:
    """R9.49. Bytes gone: all, from the schema on, from a border of frames on, within a frame. Bytes flipped: step,
    rows and length in the head of the last frame, which then looks like one that is not whole yet."""
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    if not ended:
        unended(home)
    wanted = {what: read(home) for what, read in READ.items()}
    folder = the_run(home)
    path = folder.segments / f"{name}.000000.seg"
    good, last = path.read_bytes(), last_frame(folder, name)
    damages: dict[str, bytes | None] = {f"cut at {at}": good[:at] for at in (0, 9, last, last + 40, len(good) - 1)}
    for at in (8, 9, 16, 17, 24, 25, 26, 30):
        damages[f"flip {at}"] = good[: last + at] + bytes([good[last + at] ^ 1]) + good[last + at + 1 :]
    told = dict.fromkeys(READ, 0)
    for damage, data in {"gone": None, **damages}.items():
        path.unlink() if data is None else path.write_bytes(data)
        for what, read in READ.items():
            try:
                assert read(home) == wanted[what], f"{what} after {damage}"
            except LockstepError:
                told[what] += 1
        path.write_bytes(good)
    needs = {"gradients": {STEPS, GRADIENTS, START, BUFFERS}, "samples": {BATCHES}, "list": {STEPS}, "norms": {NORMS}}
    for what, names in needs.items():
        assert told[what] > 0 or name not in names, what


def test_frames_of_another_session_are_not_taken_for_those_of_the_journal(whole: Path, tmp_path: Path) -> None:
    """They are whole and sealed, but the journal has other digests."""
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    other = Small(seed=2).run(tmp_path / "other")
    name = "batches.000000.seg"
    (the_run(home).segments / name).write_bytes((other.segments / name).read_bytes())
    with pytest.raises(IntegrityError, match="frame of step 5 is not the one that the journal names"):
        SessionRecord(the_run(home)).step(5).samples  # noqa: B018 - read here


def test_an_unended_session_with_missing_frames_says_how_to_go_on(whole: Path, tmp_path: Path) -> None:
    """A power cut may leave lines whose frames never reached the disk: resume computes those steps again."""
    home = Path(shutil.copytree(whole, tmp_path / "home"))
    unended(home)
    folder = the_run(home)
    path = folder.segments / "steps.000000.seg"
    path.write_bytes(path.read_bytes()[: last_frame(folder, "steps")])
    found = list_sessions(FolderRunStore(home))
    assert len(found) == 0
    (problem,) = found.problems.values()
    assert "found 5 rows for the steps 0 to 5, though the journal has more. Resume the run" in problem
