"""Retraining of agents (R9.32): batches and their experiences from a recorded run, pinned as data of the new run.

`retraining` pins the order of samples only, since its samples are in the data. An agent makes its experiences while it
trains, and another agent would make others, so they are pinned as well.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import RefusedError
from lockstep.kinds.shared.retraining import SessionTable, read_batches, write_batches
from lockstep.learning.gradients.segment_names import BATCHES
from lockstep.learning.gradients.sessions import order_of
from lockstep.rl.experience_store import columns_of_state
from lockstep.rl.recorded_batches import FACTS, RecordedExperiences
from lockstep.rl.training import EXPERIENCES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.folder import RunFolder
    from lockstep.storage.blobs import BlobStore

_SINGULAR: Final = {
    "states": "state",
    "actions": "action",
    "rewards": "reward",
    "next_states": "next_state",
    "dones": "done",
    "actual_profits": "actual_profit",
    "profitability_scores": "profitability_score",
    "optimal_actions": "optimal_action",
    "outcome_validated": "outcome_validated",
}
"""Field of `RecordedExperiences` -> column of the segment `experiences`."""


def session_of(folder: RunFolder) -> SessionTable:
    """The table [session] of a run."""
    return SessionTable.model_validate(folder.read("spec").get("session", {}))


def recorded_experiences(table: SessionTable, blobs: BlobStore) -> RecordedExperiences | None:
    """The batches that a spec names, with their experiences; None when it names none. Raises as `read_batches`."""
    arrays = read_batches(table, blobs)
    return None if arrays is None else RecordedExperiences.of(arrays)


def pin(record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore, pool: RecordedExperiences | None) -> str:
    """Store batches with their experiences as a snapshot, and return its digest.

    steps   whose batches are stored; None for all
    pool    the experiences, when they are not in the record: those of a run that was itself retrained, or of a buffer
            that was full before the run

    Raises RefusedError for a record without batches or experiences, DiskError.
    """
    # In the order of `steps`, which for `--top` is by value and not by time.
    order = order_of(record, steps)
    weights = _weights(record, range(len(record)) if steps is None else steps)
    pool = pool if pool is not None else _from_record(record, order.numbers)
    return write_batches(pool.chosen(order.numbers, order.stops, weights).arrays(), blobs)


def _weights(record: SessionRecord, steps: Sequence[int]) -> NDArray[np.float64] | None:
    """Importance weights of the samples of steps, float64 (n,); None when the run has none."""
    # All frames of a run have the same columns, so the first decides; only a prioritised buffer has weights.
    frames = [record.frame(BATCHES, step) for step in steps]
    if not frames or "weight" not in frames[0]:
        return None
    return np.concatenate([frame["weight"] for frame in frames]).astype(np.float64)


def _from_record(record: SessionRecord, samples: NDArray[np.int64]) -> RecordedExperiences:
    """The experiences of samples, from the record of the agent's steps. Raises RefusedError."""
    # An experience is drawn many times and stored once.
    ids = np.unique(samples)
    frames = list(_frames(record, ids))
    if sum(len(frame["id"]) for frame in frames) != len(ids):
        raise RefusedError(
            f"run {record.session_id} keeps no whole experiences (actions, rewards, outcomes), so no run can be "
            "retrained on its batches. Apply its gradients instead: lockstep replay RUN --gradients."
        )
    columns = {name: np.concatenate([frame[name] for frame in frames]) for name in ("id", *_SINGULAR.values())}
    # Experiences enter the record when their outcome is known, so they are not sorted by id; `chosen` needs that.
    order = np.argsort(columns["id"], kind="stable")
    return _without_batches(columns["id"][order], {field: columns[name][order] for field, name in _SINGULAR.items()})


def _frames(record: SessionRecord, ids: NDArray[np.int64]) -> Iterator[Mapping[str, NDArray[Any]]]:
    for frame in record.segments.frames(EXPERIENCES):
        columns = frame.columns
        here = np.isin(columns["id"], ids, assume_unique=True)
        # A buffer that was full before leaves frames of observations alone (`rl.training.FixedExperiences`).
        if here.any() and columns.keys() >= set(_SINGULAR.values()):
            yield {name: columns[name][here] for name in ("id", *_SINGULAR.values())}


def of_state(store: Mapping[str, Any]) -> RecordedExperiences:
    """The experiences in the state of a buffer, observations included."""
    columns = columns_of_state(store)
    return _without_batches(columns["ids"], {name: columns[name] for name in FACTS})


def _without_batches(ids: NDArray[np.int64], facts: Mapping[str, NDArray[Any]]) -> RecordedExperiences:
    """Experiences from which `RecordedExperiences.chosen` takes batches."""
    nothing = np.empty(0, np.int64)
    return RecordedExperiences(ids=ids, facts=facts, samples=nothing, stops=nothing)
