"""A buffer as a file: the draws go on, a kill leaves the old file or the new one, and damage is refused."""

from __future__ import annotations

import contextlib
import itertools
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import DiskError, InputError, IntegrityError
from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer, ReplayRules, buffer_file
from lockstep.runs.checkpoint import Checkpoint
from lockstep.testing.contracts.replay_buffer import play
from lockstep.testing.faults import Crash, CrashAt, faults


def profit_weighted() -> ProfitWeightedExperienceBuffer:
    return ProfitWeightedExperienceBuffer(20, seed=5, rules=ReplayRules(profitable_share=0.3, exponent=1.5))


def prioritised() -> PrioritizedExperienceBuffer:
    return PrioritizedExperienceBuffer(20, seed=5, alpha=0.9, beta=0.7, epsilon=1e-3)


MAKERS = (profit_weighted, prioritised)

_FRESH = """
import os, signal, sys
from lockstep.core import files
from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer
from lockstep.testing.contracts.replay_buffer import play
from lockstep.testing.faults import Crash, CrashAt, faults
for kind, path in zip((ProfitWeightedExperienceBuffer, PrioritizedExperienceBuffer), sys.argv[1:]):
    buffer = kind.load(path)
    print(*play(buffer, 2, 10), flush=True)

def half(descriptor, data):
    os.write(descriptor, data[: len(data) // 2])
    os.kill(os.getpid(), signal.SIGKILL)

files.fs.write = half
buffer.save(path)
"""


def test_a_fresh_process_goes_on_drawing_the_same_and_killed_while_it_saves_leaves_the_file(tmp_path: Path) -> None:
    """R9.51: contents, priorities, counts, rules and generator are all in the file. Hashes of text differ there."""
    paths, lines = [], []
    for make in MAKERS:
        buffer = make()
        play(buffer, 1, 12)
        paths.append(tmp_path / make.__name__)
        buffer.save(paths[-1])
        lines.append(play(buffer, 2, 10))
    call = [sys.executable, "-c", _FRESH, *map(str, paths)]
    environment = {**os.environ, "PYTHONHASHSEED": "77"}
    before = paths[1].read_bytes()
    output = subprocess.run(call, env=environment, stdout=subprocess.PIPE, text=True, check=False)
    assert output.returncode == -signal.SIGKILL
    assert [line.split() for line in output.stdout.splitlines()] == lines
    assert paths[1].read_bytes() == before
    (torn,) = tmp_path.glob(f".{paths[1].name}.*")
    assert 0 < torn.stat().st_size < len(before)


@pytest.mark.parametrize("make", MAKERS)
def test_options_and_an_empty_buffer_come_back(make: Any, tmp_path: Path) -> None:
    """A path as text will do; the bytes are a function of the buffer alone."""
    path = str(tmp_path / "buffer")
    make().save(path)
    again = type(make()).load(path)
    assert again.capacity == 20
    options = "rules" if make is profit_weighted else "alpha beta epsilon"
    assert all(getattr(again, name) == getattr(make(), name) for name in options.split())
    before = Path(path).read_bytes()
    again.save(path)
    assert Path(path).read_bytes() == before
    assert play(again, 1, 5) == play(make(), 1, 5)


@pytest.mark.parametrize("make", MAKERS)
def test_a_changed_or_missing_byte_is_refused_wherever_it_is(make: Any, tmp_path: Path) -> None:
    path = tmp_path / "buffer"
    buffer = make()
    play(buffer, 1, 2)
    buffer.save(path)
    whole = path.read_bytes()
    damaged = [whole[:length] for length in (0, 10, len(whole) // 2, len(whole) - 1)]
    for at in (0, 9, 40, len(whole) // 2, len(whole) - 40, len(whole) - 1):
        damaged.append(whole[:at] + bytes([whole[at] ^ 1]) + whole[at + 1 :])
    for data in (*damaged, b"profit,loss\n1,2\n", b"PK\x03\x04"):
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=r"buffer: not the file of a replay buffer, or changed .* from a copy"):
            type(buffer).load(path)


def test_files_of_something_else_are_refused_with_what_they_are(tmp_path: Path) -> None:
    """Another kind of buffer, a run's checkpoint, another version, no file, a folder."""
    path = tmp_path / "buffer"
    prioritised().save(path)
    with pytest.raises(InputError, match=r"kind 'prioritised', not 'profit-weighted'. Call `load` of the class"):
        ProfitWeightedExperienceBuffer.load(path)
    body: dict[str, Any] = {"steps": 3}
    for state, message in (
        (body, "a checkpoint, but not of a replay buffer"),
        ({"replay_buffer": "prioritised", "version": 2}, "file version 2, this release reads version 1"),
        ({"replay_buffer": "prioritised", "version": 1}, "parts do not agree .*options"),
        (
            {"replay_buffer": "prioritised", "version": 1, "options": {"capacity": -1}, "state": {}},
            "whole number from 1",
        ),
        ({"replay_buffer": "prioritised", "version": 1, "options": {"capacity": 2}, "state": {}}, "state of version 1"),
    ):
        data = Checkpoint(steps=0, journal_hash="", journal_length=0, segments={}, state=state).encode()
        path.write_bytes(data)
        with pytest.raises(IntegrityError, match=message):
            PrioritizedExperienceBuffer.load(path)
    for place in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(DiskError, match="cannot read"):
            PrioritizedExperienceBuffer.load(place)
    with pytest.raises(DiskError, match="cannot write"):
        prioritised().save(tmp_path / "no folder" / "buffer")


@pytest.mark.parametrize("make", MAKERS)
def test_a_whole_file_whose_parts_do_not_agree_is_refused(make: Any, tmp_path: Path) -> None:
    """A state that no buffer has, under a digest that fits."""
    path = tmp_path / "buffer"
    buffer = make()
    play(buffer, 1, 2)
    state = buffer.get_state()
    state["store"]["floats"][0, 0] = np.inf
    options: dict[str, Any] = {"capacity": 20}
    options |= {"rules": {}} if make is profit_weighted else {}
    buffer_file.save(path, "profit-weighted" if make is profit_weighted else "prioritised", options, state)
    with pytest.raises(IntegrityError, match=r"parts do not agree .*rewards are finite; found inf"):
        type(buffer).load(path)


@pytest.mark.parametrize("make", MAKERS)
def test_killed_at_any_call_of_save_the_old_file_or_the_new_one_is_there_whole(make: Any, tmp_path: Path) -> None:
    """Each call to the operating system in turn; a full disk is an error and leaves the old file."""
    path = tmp_path / "buffer"
    buffer = make()
    buffer.save(tmp_path / "old")
    old = (tmp_path / "old").read_bytes()
    play(buffer, 1, 2)
    buffer.save(tmp_path / "new")
    new = (tmp_path / "new").read_bytes()
    contents = []
    for call in itertools.count(1):
        path.write_bytes(old)
        with contextlib.suppress(Crash), faults(CrashAt(call)) as disk:
            buffer.save(path)
        contents.append(path.read_bytes())
        if not disk.struck:
            break
    renamed = contents.index(new)
    assert renamed > 4
    assert contents == [old] * renamed + [new] * (len(contents) - renamed)
    assert type(buffer).load(path).get_state()["store"]["serial"] == 6
