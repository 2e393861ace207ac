"""A buffer as a file: the draws go on, a kill leaves the old file or the new one, and damage is refused."""

from __future__ import annotations

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


def profit_weighted() -> ProfitWeightedExperienceBuffer:
    return ProfitWeightedExperienceBuffer(20, seed=5, rules=ReplayRules(profitable_share=0.3, exponent=1.5))


def prioritised() -> PrioritizedExperienceBuffer:
    return PrioritizedExperienceBuffer(20, seed=5, alpha=0.9, beta=0.7, epsilon=1e-3)


MAKERS = (profit_weighted, prioritised)

_FRESH = """
import sys
from lockstep.rl import PrioritizedExperienceBuffer, ProfitWeightedExperienceBuffer
from lockstep.testing.contracts.replay_buffer import play
for kind, path in zip((ProfitWeightedExperienceBuffer, PrioritizedExperienceBuffer), sys.argv[1:]):
    print(*play(kind.load(path), 2, 10))
"""


def test_a_fresh_process_with_other_hashes_goes_on_drawing_the_same(tmp_path: Path) -> None:
    """R9.51: contents, priorities, counts, rules and generator are all in the file."""
    paths, lines = [], []
    for make in MAKERS:
        buffer = make()
        play(buffer, 1, 12)
        paths.append(tmp_path / make.__name__)
        buffer.save(paths[-1])
        lines.append(play(buffer, 2, 10))
    call = [sys.executable, "-c", _FRESH, *map(str, paths)]
    output = subprocess.run(
        call, env={**os.environ, "PYTHONHASHSEED": "77"}, capture_output=True, text=True, check=True
    )
    assert [line.split() for line in output.stdout.splitlines()] == lines


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
    with pytest.raises(IntegrityError, match="parts do not agree .*rewards are finite; found inf"):
        type(buffer).load(path)


_KILLED = """
import os, sys
from lockstep.core import files
from lockstep.rl import ProfitWeightedExperienceBuffer

class Dying(files.FileSystem):
    def __init__(self, call):
        self.left = call
    def __getattribute__(self, name):
        method = super().__getattribute__(name)
        if name.startswith("_") or name == "left" or not callable(method):
            return method
        if name == "write":
            method = lambda descriptor, data: os.write(descriptor, bytes(data)[: len(data) // 2 + 1])
        self.left -= 1
        if self.left < 0:
            os.kill(os.getpid(), 9)
        return method

path = sys.argv[1]
for call in range(40):
    child = os.fork()
    if not child:
        buffer = ProfitWeightedExperienceBuffer.load(path + ".new")
        files.fs = Dying(call)
        buffer.save(path)
        os._exit(0)
    _, status = os.waitpid(child, 0)
    with open(path, "rb") as handle:
        print(call, os.WTERMSIG(status), handle.read().hex(), flush=True)
    if not status:
        break
"""


def test_killed_at_any_call_of_save_the_old_file_or_the_new_one_is_there_whole(tmp_path: Path) -> None:
    """SIGKILL before each call to the operating system in turn, each write taking half of what is left."""
    path = tmp_path / "buffer"
    buffer = profit_weighted()
    buffer.save(path)
    old = path.read_bytes()
    play(buffer, 1, 2)
    buffer.save(f"{path}.new")
    new = Path(f"{path}.new").read_bytes()
    output = subprocess.run([sys.executable, "-c", _KILLED, str(path)], capture_output=True, text=True, check=True)
    rounds = [line.split() for line in output.stdout.splitlines()]
    assert {signal_ for _, signal_, _ in rounds[:-1]} == {str(int(signal.SIGKILL))}
    contents = [bytes.fromhex(content) for _, _, content in rounds]
    renamed = contents.index(new)
    assert renamed > 8
    assert contents == [old] * renamed + [new] * (len(contents) - renamed)
    assert rounds[-1][1] == "0"
