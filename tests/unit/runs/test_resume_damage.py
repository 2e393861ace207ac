"""Damage that does not matter to a run does not stop it."""

from __future__ import annotations

import pytest
from tests.unit.runs.conftest import StepClock

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.core.errors import IntegrityError, Interrupted
from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.runs.checkpoint import CheckpointPolicy, CheckpointStore
from lockstep.runs.identity import fingerprint
from lockstep.runs.kind import RunContext
from lockstep.runs.loop import execute
from lockstep.runs.observer import Observer
from lockstep.runs.restored_run import restore_run


class StopAfter(Observer):
    """Asks for a stop after so many steps."""

    def __init__(self, steps, cancel):
        self.steps, self.cancel, self.notes = steps, cancel, []

    def step(self, step, journal_hash):
        if step.index + 1 == self.steps:
            self.cancel.request("a test")

    def note(self, message):
        self.notes.append(message)


def go_on(home, folder, *, stop=10**9, every=0.0):
    restored = restore_run(folder, home.store.blobs)
    cancel = Cancel()
    watcher = StopAfter(stop, cancel)
    with InProcessExecutor() as executor:
        execute(
            registry.get("toy").training(restored.prepared, RunContext(executor=executor, blobs=home.store.blobs)),
            folder,
            fingerprint=fingerprint(folder.identity_hashes()),
            policy=CheckpointPolicy(interval_s=every, max_share=1e9),
            clock=StepClock(),
            observers=[watcher],
            cancel=cancel,
        )
    return watcher


@pytest.fixture
def begun(home):
    """A run of nine steps that was stopped after six, with a checkpoint after each; and the journal of a whole one."""
    whole = home.train(steps=9)
    cancel = Cancel()
    cancel.request("a test")
    with pytest.raises(Interrupted):
        home.train(steps=9, cancel=cancel)
    folder = home.store.find("last")
    with pytest.raises(Interrupted):
        go_on(home, folder, stop=6)
    return folder, whole.journal.read_bytes()


def test_a_damaged_line_behind_the_newest_checkpoint_is_cut_and_told(home, begun):
    folder, whole = begun
    store = CheckpointStore(folder.checkpoints)
    for steps in store.stored_steps():
        if steps > 3:
            store.path(steps).unlink()
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    folder.journal.write_bytes(b"".join([*lines[:5], b"x" + lines[5][1:], *lines[6:]]))
    watcher = go_on(home, folder)
    assert folder.journal.read_bytes() == whole
    assert any("line 6" in note and "is cut" in note for note in watcher.notes)


def test_a_damaged_line_before_the_newest_checkpoint_still_stops_the_run(home, begun):
    folder, _ = begun
    lines = folder.journal.read_bytes().splitlines(keepends=True)
    folder.journal.write_bytes(b"".join([*lines[:2], b"x" + lines[2][1:], *lines[3:]]))
    with pytest.raises(IntegrityError, match="line 3"):
        go_on(home, folder)


def test_an_old_checkpoint_that_cannot_be_read_does_not_stop_the_run(home, begun):
    folder, whole = begun
    store = CheckpointStore(folder.checkpoints)
    old = store.path(store.stored_steps()[0])
    old.unlink()
    old.mkdir()  # as unreadable as a bad sector, for root too
    go_on(home, folder)
    assert folder.journal.read_bytes() == whole
