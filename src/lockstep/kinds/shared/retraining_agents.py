"""Going through an agent's recorded session again (R9.32): its batches and experiences, pinned as data of the new run.

Beside the order of samples, which `session_replay` pins for kinds whose samples lie in their data, an agent needs the
experiences themselves: another agent would have lived through others.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import RefusedError
from lockstep.kinds.shared.retraining import SessionTable, read_batches, write_batches
from lockstep.rl.recorded import FACTS, RecordedExperiences
from lockstep.rl.store import columns_of_state

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
"""Columns of the segment `experiences` by field."""


def session_of(folder: RunFolder) -> SessionTable:
    """The table [session] of a run."""
    return SessionTable.model_validate(folder.read("spec").get("session", {}))


def recorded_experiences(table: SessionTable, blobs: BlobStore) -> RecordedExperiences | None:
    """The batches that a spec names, with their experiences; None where it names none. Raises as `read_batches`."""
    arrays = read_batches(table, blobs)
    return None if arrays is None else RecordedExperiences.of(arrays)


def pin(record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore, known: RecordedExperiences | None) -> str:
    """Write the batches of `steps`, all where None, with their experiences as a snapshot; returns its digest.

    `known` holds the experiences where they are not in the record: those of a session that is a replay itself, or of a
    buffer that was full before. Raises RefusedError for a record without batches or experiences, DiskError.
    """
    from lockstep.learning.gradients.sessions import RecordedBatches

    batches = RecordedBatches(record, steps)
    parts = [batches.ids(step) for step in range(batches.steps)]
    samples = np.concatenate(parts) if parts else np.empty(0, np.int64)
    stops = np.cumsum([len(part) for part in parts], dtype=np.int64)
    weights = _weights(record, range(len(record)) if steps is None else steps)
    known = known if known is not None else _lived(record, samples)
    return write_batches(known.chosen(samples, stops, weights).arrays(), blobs)


def _weights(record: SessionRecord, steps: Sequence[int]) -> NDArray[np.float64] | None:
    """Importance weights of the samples of steps; None where the session had none."""
    from lockstep.learning.gradients.recorder import BATCHES

    frames = [record.frame(BATCHES, step) for step in steps]
    if not frames or "weight" not in frames[0]:
        return None
    return np.concatenate([frame["weight"] for frame in frames]).astype(np.float64)


def _lived(record: SessionRecord, samples: NDArray[np.int64]) -> RecordedExperiences:
    """The experiences of samples, from what was lived in the session."""
    wanted = np.unique(samples)
    frames = list(_frames(record, wanted))
    if sum(len(frame["id"]) for frame in frames) != len(wanted):
        raise RefusedError(
            f"session {record.session_id} keeps no whole experiences (actions, rewards, outcomes), so its batches "
            "cannot be gone through again. Apply its gradients instead: lockstep replay RUN --gradients."
        )
    columns = {name: np.concatenate([frame[name] for frame in frames]) for name in ("id", *_SINGULAR.values())}
    order = np.argsort(columns["id"], kind="stable")
    nothing = np.empty(0, np.int64)
    return RecordedExperiences(
        ids=columns["id"][order],
        facts={field: columns[name][order] for field, name in _SINGULAR.items()},
        samples=nothing,
        stops=nothing,
    )


def _frames(record: SessionRecord, wanted: NDArray[np.int64]) -> Iterator[Mapping[str, NDArray[Any]]]:
    from lockstep.rl.training import EXPERIENCES

    for frame in record.segments.frames(EXPERIENCES):
        columns = frame.columns
        here = np.isin(columns["id"], wanted, assume_unique=True)
        if here.any() and columns.keys() >= set(_SINGULAR.values()):
            yield {name: columns[name][here] for name in ("id", *_SINGULAR.values())}


def of_state(store: Mapping[str, Any]) -> RecordedExperiences:
    """The experiences of a buffer's stored state, observations included."""
    columns, nothing = columns_of_state(store), np.empty(0, np.int64)
    return RecordedExperiences(
        ids=columns["ids"], facts={name: columns[name] for name in FACTS}, samples=nothing, stops=nothing
    )
