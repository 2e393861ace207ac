"""The contracts of `runs.training.Training` and `runs.kind.Kind`, as tests that any kind subclasses.

    class TestMyTraining(TrainingContract):
        def make(self, seed: int) -> Training:
            return MyTraining(MySpec(seed=seed))       # small: a handful of steps

    class TestMyKind(KindContract):
        kind = KIND
        def values(self) -> Mapping[str, Any]:
            return {"kind": "mine", "steps": 3}        # as a spec file has them; small

Every promise that the loop relies on is a test; a kind that passes can be interrupted anywhere, resumed, verified and
replayed. pytest is needed to run it, but not to import it.
"""

# ruff: noqa: S101 - these are tests; pytest rewrites their assertions where they are subclassed

from __future__ import annotations

import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.core import canonical
from lockstep.core.errors import Interrupted
from lockstep.runs.cancel import Cancel
from lockstep.runs.check import check
from lockstep.runs.checkpoint import Checkpoint, CheckpointPolicy, CheckpointStore, through_storage
from lockstep.runs.folder import RunFolder
from lockstep.runs.journal import read_lines
from lockstep.runs.kind import Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.loop import CompleteRun, execute, recompute
from lockstep.runs.observer import Observer
from lockstep.runs.spec import identity_body, load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Step, Training

EVERY_STEP = CheckpointPolicy(interval_s=0.0, max_share=math.inf, keep=10_000)
"""A checkpoint after each step, however long it takes; for tests only."""


def new_folder(path: Path, seed: int) -> RunFolder:
    """The folder of a run whose documents differ with the seed alone."""
    nothing: dict[str, str] = {}
    return RunFolder.create(
        path, spec={"seed": seed}, data=nothing, code=nothing, numerics=nothing, environment={"host": "a test"}
    )


def fingerprint(seed: int) -> str:
    """Stands for the hash of spec, data, code and numerics."""
    return f"{seed:064x}"


def hashed_files(folder: RunFolder) -> dict[str, bytes]:
    """Everything that has to be equal between equal runs: journal, segments, artifacts, result."""
    names = (
        name for name in folder.listing() if name.startswith(("journal.jsonl", "segments/", "artifacts/", "result"))
    )
    return {name: (folder.path / name).read_bytes() for name in names}


class StopAfter(Observer):
    """Asks to stop after `steps` steps of this process."""

    def __init__(self, cancel: Cancel, steps: int) -> None:
        self._cancel = cancel
        self._left = steps

    def step(self, step: Step, journal_hash: str) -> None:
        """Count a step; ask to stop after the last."""
        self._left -= 1
        if self._left == 0:
            self._cancel.request("a test")


class TrainingContract:
    """Tests of one training; a subclass defines `make` only."""

    def make(self, seed: int) -> Training:
        """A fresh training, small, without state shared with another."""
        raise NotImplementedError

    def run(self, path: Path, seed: int = 1, policy: CheckpointPolicy = EVERY_STEP) -> tuple[RunFolder, CompleteRun]:
        """Folder and outcome of an uninterrupted run."""
        folder = new_folder(path, seed)
        return folder, execute(self.make(seed), folder, fingerprint=fingerprint(seed), policy=policy)

    def test_the_same_seed_twice_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """R-0.1: same spec, same bits."""
        first, one = self.run(tmp_path / "a")
        second, two = self.run(tmp_path / "b")
        assert one.steps > 1, "the contract needs a training of at least two steps"
        assert one.journal_hash == two.journal_hash
        assert hashed_files(first) == hashed_files(second)

    def test_another_seed_gives_another_journal_from_the_steps_on(self, tmp_path: Path) -> None:
        """A seed that changes nothing is not used."""
        first, _ = self.run(tmp_path / "a", seed=1)
        second, _ = self.run(tmp_path / "b", seed=2)
        ours, theirs = (
            [line.content for line in read_lines(folder.journal) if line.type == "step"] for folder in (first, second)
        )
        assert ours != theirs

    def test_checkpoints_never_change_the_result(self, tmp_path: Path) -> None:
        """Taking the state draws no random number and moves no cursor."""
        often, one = self.run(tmp_path / "a", policy=EVERY_STEP)
        never, two = self.run(tmp_path / "b", policy=CheckpointPolicy(interval_s=1e9))
        assert one.journal_hash == two.journal_hash
        assert hashed_files(often) == hashed_files(never)

    def test_stopped_at_every_step_and_resumed_gives_the_same_bytes(self, tmp_path: Path) -> None:
        """Stop after each single step, each time in a fresh training."""
        whole, outcome = self.run(tmp_path / "whole")
        pieces = new_folder(tmp_path / "pieces", 1)
        for _ in range(outcome.steps + 1):
            cancel = Cancel()
            try:
                execute(
                    self.make(1),
                    pieces,
                    fingerprint=fingerprint(1),
                    cancel=cancel,
                    observers=[StopAfter(cancel, 1)],
                )
                break
            except Interrupted:
                assert check(pieces.path).ok
        assert hashed_files(pieces) == hashed_files(whole)
        assert check(pieces.path).problems == ()

    def test_state_survives_storage_unchanged(self, tmp_path: Path) -> None:
        """State -> file -> state -> training -> state gives the same bytes, at every step."""
        folder, outcome = self.run(tmp_path / "run")
        store = CheckpointStore(folder.checkpoints)
        for steps in store.stored_steps():
            stored = store.load(steps)
            again = self.make(1)
            self.attach(again, folder, steps)
            again.set_state(stored.state)
            assert self.state_bytes(again) == store_bytes(stored)
        assert store.stored_steps()[-1] == outcome.steps

    def test_steps_computed_again_from_every_checkpoint_are_those_in_the_journal(self, tmp_path: Path) -> None:
        """What `verify --sample` rests on."""
        folder, outcome = self.run(tmp_path / "run")
        store = CheckpointStore(folder.checkpoints)
        lines = [line.data for line in read_lines(folder.journal) if line.type == "step"]
        for start in [None, *map(store.load, store.stored_steps())]:
            again = [line for line, _ in recompute(self.make(1), folder, start)]
            assert again == lines[outcome.steps - len(again) :]
            assert len(again) == outcome.steps - (0 if start is None else start.steps)

    def test_finish_is_deterministic_and_its_summary_is_canonical_json(self, tmp_path: Path) -> None:
        """Called twice in one process, and once in another training from the last state."""
        folder, outcome = self.run(tmp_path / "run")
        last = CheckpointStore(folder.checkpoints).load(outcome.steps)
        trainings = [self.make(1), self.make(1)]
        for training in trainings:
            self.attach(training, folder, outcome.steps)
            training.set_state(last.state)
            assert list(training.steps()) == []
        results = [trainings[0].finish(), trainings[0].finish(), trainings[1].finish()]
        assert len({canonical.dumps(result.summary) for result in results}) == 1
        assert results[0].artifacts == results[1].artifacts == results[2].artifacts
        assert canonical.loads(canonical.dumps(outcome.result)) == folder.result()

    def test_a_training_that_tells_its_total_steps_tells_the_right_number(self, tmp_path: Path) -> None:
        """A progress bar that overshoots is a wrong promise."""
        _, outcome = self.run(tmp_path / "run")
        assert self.make(1).total_steps in (None, outcome.steps)

    @staticmethod
    def attach(training: Training, folder: RunFolder, steps: int) -> None:
        """Hand over the record as it was after `steps` steps, where the training wants it."""
        from lockstep.runs.training import ReadsRecord, RunRecord
        from lockstep.storage.segments import SegmentReader

        if isinstance(training, ReadsRecord):
            training.attach(RunRecord(segments=SegmentReader(folder.segments, stop_step=steps)))

    @staticmethod
    def state_bytes(training: Training) -> bytes:
        """The state of a training as it is stored."""
        state = through_storage(training.get_state())
        return Checkpoint(steps=0, journal_hash="", journal_length=0, segments={}, state=state).encode()


def store_bytes(checkpoint: Checkpoint) -> bytes:
    """The state of a checkpoint as `TrainingContract.state_bytes` writes it."""
    return Checkpoint(steps=0, journal_hash="", journal_length=0, segments={}, state=checkpoint.state).encode()


class KindContract:
    """Tests of one kind; a subclass sets `kind` and `values`, and `objects` where data come from Python."""

    kind: Kind

    def values(self) -> Mapping[str, Any]:
        """The spec of a small run, as a file has it."""
        raise NotImplementedError

    def objects(self) -> Mapping[str, Any]:
        """What Python hands over, by key of the spec; new objects at every call."""
        return {}

    def prepared(self, home: Path) -> tuple[Prepared, PrepareContext]:
        """The prepared run, and where it was prepared."""
        spec = resolve(self.kind.spec_model, load_spec(self.values()))
        context = PrepareContext(blobs=FolderRunStore(home).blobs, home=home, base=home, python_objects=self.objects())
        return self.kind.prepare(spec, context), context

    def journal(self, prepared: Prepared, context: PrepareContext, folder: RunFolder) -> str:
        """The hash of the last line of a whole run in `folder`."""
        training = self.kind.training(prepared, RunContext(executor=InProcessExecutor(), blobs=context.blobs))
        return execute(training, folder, fingerprint=fingerprint(1)).journal_hash

    def test_preparing_leaves_the_estimate_to_those_who_ask_for_it(self, tmp_path: Path) -> None:
        """Whoever prepares a hundred trainings inside one pays for no timed steps."""
        prepared, _ = self.prepared(tmp_path)
        assert prepared.estimate is None
        assert set(prepared.data) >= {"digest", "snapshots"}

    def test_an_estimate_says_how_many_steps_there_will_be(self, tmp_path: Path) -> None:
        """The same number, whether or not a large network may be made to be timed."""
        prepared, context = self.prepared(tmp_path)
        estimates = [self.kind.estimate(prepared, context, time_large=large) for large in (True, False)]
        training = self.kind.training(prepared, RunContext(executor=InProcessExecutor(), blobs=context.blobs))
        steps = sum(1 for _ in training.steps())
        assert {estimate.steps for estimate in estimates} <= {None, steps}
        assert all(value is None or value >= 0.0 for value in (estimates[0].seconds, estimates[0].disk_bytes))

    def test_an_estimate_changes_nothing_of_the_run(self, tmp_path: Path) -> None:
        """Steps that are made to be timed are steps of another training."""
        prepared, context = self.prepared(tmp_path / "one")
        before = (prepared.data, prepared.numerics, identity_body(prepared.spec))
        self.kind.estimate(prepared, context)
        assert (prepared.data, prepared.numerics, identity_body(prepared.spec)) == before
        timed = self.journal(prepared, context, new_folder(tmp_path / "timed", 1))
        again, context = self.prepared(tmp_path / "two")
        assert self.journal(again, context, new_folder(tmp_path / "plain", 1)) == timed

    def test_a_restored_run_is_the_prepared_one(self, tmp_path: Path) -> None:
        """From the folder and the blobs alone: no base, no object of Python's."""
        prepared, context = self.prepared(tmp_path)
        folder = RunFolder.create(
            tmp_path / "run",
            spec=identity_body(prepared.spec),
            data=prepared.data,
            code=prepared.code.body(),
            numerics={},
            environment={},
            sources=prepared.code.sources,
        )
        spec = resolve(self.kind.spec_model, load_spec(folder.read("spec")))
        restored = self.kind.restore(spec, folder, PrepareContext(blobs=context.blobs))
        assert restored.data == prepared.data
        assert restored.numerics == prepared.numerics
        assert restored.code.body() == prepared.code.body()
        assert identity_body(restored.spec) == identity_body(prepared.spec)
        hashes = [
            self.journal(item, context, new_folder(tmp_path / name, 1))
            for name, item in (("first", prepared), ("second", restored))
        ]
        assert hashes[0] == hashes[1]
