"""Gradient runs of a home, listed by value; loading them, and choosing which to remove (R9.30, R9.33).

What a list shows comes from `result.json`, or from the record where a run has not ended. A damaged run is reported
and skipped. Listing needs no torch; `TrainingSession.record` does.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.core.errors import InputError, IntegrityError, LockstepError, RefusedError
from lockstep.learning.gradients.epochs import RecordedOrder
from lockstep.learning.gradients.overview import Overview
from lockstep.learning.gradients.segment_names import BATCHES
from lockstep.learning.gradients.sources import episode_ids_of, symbol_of
from lockstep.learning.gradients.training_value import EDITION, SessionValue, session_value
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus
from lockstep.runs.form import MISFORMED
from lockstep.runs.sealed import require_lengths, sealed_document
from lockstep.runs.times import RunTimes

if TYPE_CHECKING:
    from datetime import datetime

    import numpy as np
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.store import RunStore

_FIRST_FIELDS = ("value", "top_quarter", "profitable", "convergence", "converged")
"""What every finished run says of its value."""
_VALUE_FIELDS = (*_FIRST_FIELDS, "steadiness")


@dataclass(frozen=True, kw_only=True)
class TrainingSession:
    """A gradient run as lists show it.

    steps, bytes  how many steps it has; bytes of all its files
    metadata      what its training declares: model name, symbol, replayed_from
    worth         its value and the parts of it
    level         recording level at the last step
    losses        first, last and lowest total loss; None without steps
    source        id of the run whose batches it retrained, where both are in this home. Ids enter no hash, so the
                  metadata name the journal instead
    """

    session_id: str
    folder: Path
    status: RunStatus
    steps: int
    bytes: int
    metadata: Mapping[str, Any]
    summary: Mapping[str, Any] = field(repr=False)
    worth: SessionValue
    level: str = "full"
    losses: tuple[float, float, float] | None = None
    source: str | None = None

    @property
    def value(self) -> float:
        """Run value V, `training_value`, eq. (2)."""
        return self.worth.value

    @property
    def converged(self) -> bool:
        """Whether the loss has settled, `training_value`, eq. (4)."""
        return self.worth.converged

    @property
    def model_name(self) -> str | None:
        """Name of the trained model; None where the training declares none."""
        return self.metadata.get("model")

    @property
    def symbol(self) -> str | None:
        """Market that it learned from; None where it names none."""
        return self.metadata.get("symbol") or symbol_of(RunFolder(self.folder))

    @functools.cached_property
    def _times(self) -> RunTimes:
        return RunTimes.of(RunFolder(self.folder))

    @property
    def started(self) -> datetime | None:
        """When the run was made, UTC; times are in no hash."""
        return self._times.started

    @property
    def ended(self) -> datetime | None:
        """When its last step so far was made, UTC; None where that is not kept, as in a run from elsewhere."""
        return self._times.ended

    @property
    def episode_ids(self) -> list[str] | None:
        """Ids of the episodes that it learned from, the highest score first; None where its samples are no episodes.

        Raises DataError where the home does not hold the run's samples any more.
        """
        return episode_ids_of(RunFolder(self.folder))

    @property
    def replayed_from(self) -> str | None:
        """The run whose batches this one retrained: its run id, or the hash of its journal where the id is unknown."""
        return self.source or self.metadata.get("replayed_from")

    @functools.cached_property
    def record(self) -> SessionRecord:
        """Steps, gradients and states of the run. Raises IntegrityError for a damaged journal."""
        from lockstep.learning.gradients.record import SessionRecord

        return SessionRecord(RunFolder(self.folder))

    @property
    def loss_history(self) -> NDArray[np.float64]:
        """Total loss of each step, float64 (steps,)."""
        return self.record.columns["loss.total"]

    @property
    def best_loss(self) -> float | None:
        """Lowest total loss of all steps; None without steps."""
        history = self.loss_history
        return float(history.min()) if len(history) else None


class CNNTrainingSession(TrainingSession):
    """A run of a network with three heads (R9.17): its steps are `CNNTrainingStep`s."""


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Gradient runs by value, the highest first (R9.33); `problems` says by run id why others cannot be read."""

    sessions: tuple[TrainingSession, ...]
    problems: Mapping[str, str]

    def __iter__(self) -> Any:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)


def list_sessions(store: RunStore, *, thorough: bool = False) -> Sessions:
    """All gradient runs of a home; runs of other kinds are left out.

    Each is checked as `load_session` does. A damaged one becomes an entry of `problems`, and the rest is listed.
    """
    sessions, problems = [], {}
    for row in store.list():
        try:
            if row.problem is not None:
                raise IntegrityError(row.problem)
            session = load_session(RunFolder(row.folder), thorough=thorough)
        except RefusedError:
            continue  # another kind of run, or one without a step
        except LockstepError as error:
            problems[row.run_id] = str(error)
            continue
        except MISFORMED as error:
            # A record from elsewhere may hold anything; it must not hide the others.
            problems[row.run_id] = f"{row.folder}: a document lacks what it should hold ({error})"
            continue
        sessions.append(session)
    sessions.sort(key=lambda session: (-session.value, session.session_id))
    return Sessions(sessions=tuple(sessions), problems=problems)


def load_session(folder: RunFolder, *, thorough: bool = False) -> TrainingSession:
    """Load a gradient run from its folder.

    Documents are checked against their digests, and in a complete run the length of every file against the manifest;
    frames are checked when they are read. `thorough` reads every byte now. Raises IntegrityError for damage,
    RefusedError when the run does not learn by gradients.
    """
    status = folder.status()
    if status is RunStatus.COMPLETE:
        summary = sealed_document(folder, "result")["summary"]
        if not isinstance(summary, Mapping) or not {"session", *_FIRST_FIELDS} <= summary.keys():
            raise RefusedError(f"{folder.path}: not a run of a gradient training.")
        require_lengths(folder)
        if summary.get("editions", {}).get("value", 1) != EDITION:
            # Values of two definitions cannot be sorted; the steps of the run have what the present one needs.
            summary = {**summary, **_value_of(Overview(folder).columns())}
    else:
        summary = _so_far(Overview(folder))
    if thorough and status is not RunStatus.RUNNING:
        check(folder.path).raise_for_problems()
    metadata = summary["session"]
    losses = tuple(summary.get(f"{name}_loss") for name in ("first", "last", "best"))
    origin = folder.read("environment").get("origin", {}) if folder.has("environment") else {}
    kind = CNNTrainingSession if metadata.get("model_kind") == "pattern" else TrainingSession
    if not all(isinstance(summary[name], int | float) for name in (*_VALUE_FIELDS, "steps")):
        raise IntegrityError(f"{folder.path}: a value of its summary is no number. It is not used.")
    return kind(
        session_id=folder.path.name,
        folder=folder.path,
        status=status,
        steps=summary["steps"],
        bytes=sum(path.stat().st_size for path in folder.listing().values()),
        metadata=metadata,
        summary=summary,
        worth=SessionValue(**{name: summary[name] for name in _VALUE_FIELDS}),
        level=str(summary.get("level", "full")),
        losses=None if None in losses else losses,
        source=origin.get("replayed_from"),
    )


def _so_far(session: Overview) -> dict[str, Any]:
    """The entries that lists read, for a run that has not ended and so has no summary."""
    columns = session.columns()
    losses = columns["loss.total"]
    return {
        "session": {},
        "steps": session.steps,
        "level": session.last_level,
        "first_loss": float(losses[0]),
        "last_loss": float(losses[-1]),
        "best_loss": float(losses.min()),
        **_value_of(columns),
    }


def _value_of(columns: Mapping[str, NDArray[np.float64]]) -> dict[str, Any]:
    return session_value(columns["loss.total"], columns["value"], columns["profitable"]).to_json()


def surplus(
    sessions: Sequence[TrainingSession], *, keep_last: int | None = None, max_bytes: int | None = None
) -> list[TrainingSession]:
    """Which complete runs to remove so that at most `keep_last` of them, with `max_bytes` in all, stay.

    The newest stay: ids sort by birth. The newest of all stays whatever its size; runs that have not ended are
    neither counted nor removed. Raises InputError for a limit below 1.
    """
    for name, limit in (("keep_last", keep_last), ("max_bytes", max_bytes)):
        if limit is not None and limit < 1:
            raise InputError(f"{name} is at least 1, or absent for no limit; found {limit!r}")
    ended = sorted(
        (session for session in sessions if session.status is RunStatus.COMPLETE),
        key=lambda session: session.session_id,
        reverse=True,
    )
    count, total, doomed = 0, 0, []
    for session in ended:
        total += session.bytes
        over = (keep_last is not None and count >= keep_last) or (max_bytes is not None and total > max_bytes)
        if over and count > 0:
            doomed.append(session)
            total -= session.bytes
        else:
            count += 1
    return doomed


def order_of(record: SessionRecord, steps: Sequence[int] | None = None) -> RecordedOrder:
    """The batches of a recorded run, for a task that retrains them (R9.32).

    `steps` selects and orders the batches, None takes all: `record.by_value()[:100]` are the hundred most valuable.
    The new run names its source in its metadata: {"replayed_from": hash of the old run's journal}.

    Raises RefusedError for a record without batches.
    """
    if record.description.recording.level == "none":
        raise RefusedError(
            f'run {record.session_id} was recorded at level "none", which keeps no batch identities. Train '
            "its spec again instead."
        )
    numbers = range(len(record)) if steps is None else steps
    return RecordedOrder.of(record.frame(BATCHES, step)["index"] for step in numbers)
