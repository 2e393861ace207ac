"""A whole kind of training that is small and knows no market, for tests of runs, verify, diff and transfer.

Its data is a file of bytes, pinned as a snapshot `<digest>.toy`; its user's code a file `offset.py` that defines
OFFSET. The environment variable LOCKSTEP_TOY_DRIFT = "<what>:<step>" changes one value, as a faulty machine would:
<what> is `scalar`, `sign` (of a zero, at step 0), `segment`, `result`, `short` (ends before that step) or `crash`.
"""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from pydantic import Field

from lockstep.runs.executor import Executor
from lockstep.runs.folder import RunFolder
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Estimate, PrepareContext, Prepared, RunContext
from lockstep.runs.seeds import SeedTree
from lockstep.runs.sources import UserSource
from lockstep.runs.spec import NOT_IDENTITY, RunSpec, SpecModel
from lockstep.runs.training import Result, RunRecord, State, Step, Training
from lockstep.testing.toy_training import ToySpec, ToyTraining

DRIFT = "LOCKSTEP_TOY_DRIFT"


class ToyData(SpecModel):
    """Where the data comes from."""

    path: str | None = Field(default=None, json_schema_extra=NOT_IDENTITY)


class ToyRunSpec(RunSpec):
    """The spec of the toy kind."""

    steps: int = Field(default=20, ge=0)
    batch: int = Field(default=8, ge=1)
    levels: tuple[float, ...] = (0.1, 0.5, 0.9)
    data: ToyData = ToyData()


@dataclass
class Half:
    """item -> item / 2, as an executor's task."""

    key: str = "half"

    def __call__(self, item: int) -> float:
        """`item` / 2, exact in binary."""
        return item / 2


class ToyKindTraining:
    """`ToyTraining`, seeded by seed and data, with a number from the executor in every step."""

    def __init__(self, spec: ToyRunSpec, digest: str, offset: float, executor: Executor) -> None:
        seed = SeedTree(spec.seed).child("toy", digest).integer()
        self._toy = ToyTraining(ToySpec(seed=seed, steps=spec.steps, batch=spec.batch, levels=spec.levels))
        self._offset = offset
        self._executor = executor
        what, _, step = os.environ.get(DRIFT, ":-1").partition(":")
        self._drift, self._drift_step = what, int(step)

    @property
    def total_steps(self) -> int | None:
        """Number of steps, fixed by the spec."""
        return self._toy.total_steps

    def attach(self, record: RunRecord) -> None:
        """Pass the record on to the inner training."""
        self._toy.attach(record)

    def steps(self) -> Iterator[Step]:
        """The inner training's steps, each with a sum from the executor and the user's offset."""
        for step in self._toy.steps():
            if self._drift == "short" and step.index == self._drift_step:
                return
            halves = self._executor.map(Half(), range(step.index + 1))
            scalars = {**step.scalars, "halves": sum(halves) + self._offset}
            extended = replace(step, scalars=scalars)
            yield self._drifted(extended) if step.index == self._drift_step else extended

    def _drifted(self, step: Step) -> Step:
        if self._drift == "crash":
            os.kill(os.getpid(), signal.SIGKILL)
        if self._drift == "scalar":
            return replace(step, scalars={**step.scalars, "halves": -1.0})
        if self._drift == "sign":
            return replace(step, scalars={**step.scalars, "halves": -step.scalars["halves"]})
        if self._drift == "segment":
            estimate = np.array(step.segments["path"]["estimate"])
            estimate[3, 1] += 1e-9
            path = {**step.segments["path"], "estimate": estimate}
            return replace(step, segments={**step.segments, "path": path})
        return step

    def get_state(self) -> State:
        """The inner training's state: this one adds none."""
        return self._toy.get_state()

    def set_state(self, state: State) -> None:
        """Set the inner training's state."""
        self._toy.set_state(state)

    def finish(self) -> Result:
        """The inner training's result, changed when the drift says `result`."""
        result = self._toy.finish()
        if self._drift == "result":
            return replace(result, summary={**result.summary, "observations": -1})
        return result


class ToyKind:
    """A kind with data, user code and an executor, but without a market; see the module."""

    name = "toy"
    spec_model: type[RunSpec] = ToyRunSpec

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Pin the data; take `offset.py` beside the spec along when it is there."""
        spec = _toy(spec)
        content = (context.base / spec.data.path).read_bytes() if spec.data.path is not None else b"toy"
        digest = context.blobs.put(content, ".toy")
        file = context.base / "offset.py"
        source = None
        if file.is_file():
            source = UserSource({"offset.py": file.read_bytes()}, "offset.py", "OFFSET", {})
        return _prepared(spec, digest, CodeIdentity.of(source))

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """Read the data's digest from data.json, check the snapshot, and take the user's code from `code/`."""
        digest = folder.read("data")["digest"]
        context.blobs.get(digest, ".toy")
        file = folder.sources / "offset.py"
        source = None
        if file.is_file():
            source = UserSource({"offset.py": file.read_bytes()}, "offset.py", "OFFSET", {})
        return _prepared(_toy(spec), digest, CodeIdentity.of(source))

    def estimate(self, prepared: Prepared, context: PrepareContext, *, time_large: bool = True) -> Estimate:
        """Number of steps; they take no time worth naming."""
        return Estimate(steps=_toy(prepared.spec).steps)

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The training at its start, with the executor of `context`."""
        spec = _toy(prepared.spec)
        return ToyKindTraining(spec, prepared.data["digest"], prepared.payload, context.executor)


def _toy(spec: RunSpec) -> ToyRunSpec:
    if not isinstance(spec, ToyRunSpec):
        raise TypeError(f"the toy kind has its own spec; found {type(spec).__name__}")
    return spec


def _prepared(spec: ToyRunSpec, digest: str, code: CodeIdentity) -> Prepared:
    offset = 0.0
    if "offset.py" in code.sources:
        # `OFFSET = <number>` and nothing else: a toy of user code that needs no exec.
        offset = float(code.sources["offset.py"].decode().partition("=")[2])
    data: dict[str, Any] = {"digest": digest, "snapshots": [digest]}
    return Prepared(spec=spec, data=data, code=code, payload=offset)


KIND = ToyKind()
PATH = "lockstep.testing.toy_kind:KIND"
