"""Small classifier runs, for the tests of this folder. No torch: the Keras kind does without."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from tests.unit.kinds.builders import folder_of

from lockstep.clusters.in_process import InProcessExecutor
from lockstep.kinds.classifier import data as classifier_data
from lockstep.kinds.classifier.kind import KIND
from lockstep.runs.checkpoint import CheckpointPolicy
from lockstep.runs.folder import RunFolder
from lockstep.runs.kind import Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.loop import execute
from lockstep.runs.spec import load_spec, resolve
from lockstep.runs.store import FolderRunStore
from lockstep.runs.training import Result, Training
from lockstep.testing.contracts.training_kind import EVERY_STEP, fingerprint


def prepared_of(home: Path, kind: Kind = KIND, given: Any = None, base: Path | None = None, **tables: Any) -> Prepared:
    spec = resolve(kind.spec_model, load_spec({"kind": kind.name, **tables}))
    objects = {} if given is None else {classifier_data.GIVEN: given}
    return kind.prepare(
        spec, PrepareContext(blobs=FolderRunStore(home).blobs, base=base or home, python_objects=objects)
    )


def training_of(prepared: Prepared, home: Path, kind: Kind = KIND) -> Training:
    return kind.training(prepared, RunContext(executor=InProcessExecutor(), blobs=FolderRunStore(home).blobs))


def run_of(prepared: Prepared, home: Path, kind: Kind = KIND, policy: CheckpointPolicy = EVERY_STEP) -> RunFolder:
    """A whole run, in a folder of its own."""
    folder = folder_of(prepared, home / f"run-{len(list(home.glob('run-*')))}")
    execute(training_of(prepared, home, kind), folder, fingerprint=fingerprint(1), policy=policy)
    return folder


def result_of(prepared: Prepared, home: Path, kind: Kind = KIND) -> Result:
    folder = run_of(prepared, home, kind)
    return Result(
        summary=folder.result(), artifacts={path.name: path.read_bytes() for path in folder.artifacts.iterdir()}
    )


SMALL: dict[str, Any] = {
    "data": {"samples_per_class": 4},
    "training": {"epochs": 3, "batch_size": 7, "validation_split": 0.2},
}
