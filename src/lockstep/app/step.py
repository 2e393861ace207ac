"""Step: show one recorded step, its losses, rates, norms and samples, and the model as it was after it.

The model's state is read where it is stored, rebuilt from the nearest stored state and the gradients, or computed again
when the record keeps no gradients. It is compared with the digest in the journal.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from safetensors.numpy import save as safetensors_bytes

from lockstep.app.paths import require_writable_name
from lockstep.app.replay import open_record
from lockstep.app.trust import permit, reading
from lockstep.core import files
from lockstep.core.errors import InputError, RefusedError
from lockstep.runs.kind import RunContext
from lockstep.runs.numerics import pinned_threads

if TYPE_CHECKING:
    from datetime import datetime

    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.folder import RunFolder

    Arrays = Mapping[str, NDArray[np.generic]]

MODEL, GRADIENT = "model_state/", "gradient/"


@dataclass(frozen=True, kw_only=True)
class StepView:
    """A recorded step.

    norms     by parameter, the L2 norms of gradient (as applied), weights and update; None at level "none"
    samples   numbers of the samples in its batch, int64 (n,); None when the record keeps none
    symbol    the market that the run learned from; None where it names none
    timestamp when the step was made, UTC; None where that is not kept
    state     where the model's state comes from, in words
    digest    what that state was compared with; None when the journal has no digest for this step
    arrays    "model_state/NAME" and, when the record keeps it, "gradient/NAME"
    saved     the file that holds `arrays`; None when none was asked for
    """

    run_id: str
    step: int
    steps: int
    losses: Mapping[str, float]
    learning_rate: float
    gradient_norm: float
    clip: float
    value: float
    profitability: float
    norms: Mapping[str, Mapping[str, float]] | None
    samples: NDArray[np.int64] | None
    state: str
    digest: str | None
    arrays: Arrays
    saved: Path | None = None
    symbol: str | None = None
    timestamp: datetime | None = None

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep step --json` prints: shapes in place of arrays."""
        return {
            "run_id": self.run_id,
            "step": self.step,
            "steps": self.steps,
            "losses": dict(self.losses),
            "learning_rate": self.learning_rate,
            "gradient_norm": self.gradient_norm,
            "clip": self.clip,
            "value": self.value,
            "profitability": self.profitability,
            "norms": None if self.norms is None else {name: dict(values) for name, values in self.norms.items()},
            "samples": None if self.samples is None else self.samples.tolist(),
            "symbol": self.symbol,
            "timestamp": None if self.timestamp is None else self.timestamp.isoformat(timespec="milliseconds"),
            "state": self.state,
            "digest": self.digest,
            "tensors": {name: list(array.shape) for name, array in self.arrays.items()},
            "saved": None if self.saved is None else str(self.saved),
        }


def step(
    folder: RunFolder,
    number: int,
    context: RunContext,
    *,
    save: Path | None = None,
    across: bool = False,
    trust: bool = False,
) -> StepView:
    """Step `number` of a run, counted from 0; negative numbers count from the end.

    save     a safetensors file to write the arrays to
    across   compute the state again, when that is needed, although code or numerics differ
    trust    run code of an imported run (`app.trust`), when the state has to be computed again

    Raises InputError for a step that is not there, NotEqualError when the model's state does not have its digest,
    NotComparableError when it has to be computed again and code or numerics differ, IntegrityError for damage.
    """
    if save is not None:
        require_writable_name(save, "what is saved")
    if not isinstance(number, int) or isinstance(number, bool):
        raise InputError(f"a step is a whole number, counted from 0, or from -1 backwards; found {number!r}")
    with reading(folder):
        record = open_record(folder)
        index = number + len(record) if number < 0 else number
        if not 0 <= index < len(record):
            raise InputError(f"run {folder.path.name} has steps 0 to {len(record) - 1}; found step {number}")
        with pinned_threads():
            arrays, how = _state(record, index, context, across=across, trust=trust)
        entry = record.step(index)
        columns = _frame(record, "steps", index)
        view = StepView(
            run_id=folder.path.name,
            step=index,
            steps=len(record),
            losses=entry.losses,
            learning_rate=entry.learning_rate,
            gradient_norm=entry.gradient_norm,
            clip=float(columns["clip"][0]),
            value=entry.value,
            profitability=entry.profitability,
            norms=_norms(record, index),
            samples=_frame(record, "batches", index).get("index"),
            state=how,
            digest=record.content(index)["digests"].get("state"),
            arrays=arrays,
            saved=save,
            symbol=entry.symbol,
            timestamp=entry.timestamp,
        )
    if save is not None:
        _save(view, save)
    return view


def _state(record: SessionRecord, index: int, context: RunContext, *, across: bool, trust: bool) -> tuple[Arrays, str]:
    """Model state and gradient after step `index`, and where they come from, in words."""
    # They load torch, whose presence `open_record` has checked.
    from lockstep.app import record_replay
    from lockstep.learning.gradients.learner import BUFFER, WEIGHTS

    gradients: Arrays = {}
    state: Mapping[str, Any]
    try:
        base, _ = record.snapshot_before(index + 1)
        state = record.state_after(index)
        how = "stored" if base == index + 1 else f"rebuilt from the state stored before step {base} and the gradients"
        gradients = record.step(index).gradients if _frame(record, "gradients", index) else {}
    except RefusedError:
        permit(record.folder, trust=trust)
        state = dict(record_replay.recomputed_state(record, index, context, across=across))
        how = "computed again; the record keeps no gradients"
    buffers = {name[len(BUFFER) :]: array for name, array in state.items() if name.startswith(BUFFER)}
    model = record.description.layout.named(state[WEIGHTS]) | buffers
    return (
        {f"{MODEL}{name}": array for name, array in model.items()}
        | {f"{GRADIENT}{name}": array for name, array in gradients.items()}
    ), how


def _frame(record: SessionRecord, name: str, index: int) -> Mapping[str, Any]:
    """Columns of a segment at a step; empty when the record keeps none."""
    return record.frame(name, index) if record.has_frame(name, index) else {}


def _norms(record: SessionRecord, index: int) -> dict[str, dict[str, float]] | None:
    columns = _frame(record, "norms", index)
    if not columns:
        return None
    names = [slot.name for slot in record.description.layout.slots]
    return {
        name: {kind: float(columns[kind][0][place]) for kind in ("gradient", "weight", "update")}
        for place, name in enumerate(names)
    }


def _save(view: StepView, path: Path) -> None:
    arrays = {name: np.ascontiguousarray(array) for name, array in view.arrays.items()}
    files.write_atomic(path, safetensors_bytes(arrays, metadata={"run_id": view.run_id, "step": str(view.step)}))
