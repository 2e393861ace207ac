"""Sessions: the gradient trainings of a home, by value; loading, choosing and keeping them (R9.30, R9.33).

A session is a run, so it is written as it goes, on its end and on a stop, without anybody asking. What a list shows
comes from `result.json`, or from the record where a session has not ended. A damaged session is reported and skipped.
Listing needs no torch; `TrainingSession.record` does.
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
from lockstep.learning.gradients.record_names import BATCHES
from lockstep.learning.gradients.session_files import require_lengths
from lockstep.learning.gradients.values import SessionValue, session_value
from lockstep.runs.check import check
from lockstep.runs.folder import RunFolder, RunStatus

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.store import RunStore

_VALUE_FIELDS = ("value", "top_quarter", "profitable", "convergence", "converged")


@dataclass(frozen=True, kw_only=True)
class TrainingSession:
    """A session as lists show it. `metadata` is what the training said of itself: model name, symbol, replayed_from.

    `source` is the id of the run that this one goes through again, where it was made here: ids are in no hash, so the
    metadata name the journal instead. `level` is what the recording keeps at last; `losses` are the first, last and
    best total.
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
        """`values`, eq. (2)."""
        return self.worth.value

    @property
    def converged(self) -> bool:
        """`values`, eq. (4)."""
        return self.worth.converged

    @property
    def model_name(self) -> str | None:
        """Which model was trained, where the training said so."""
        return self.metadata.get("model")

    @property
    def symbol(self) -> str | None:
        """Which market it learned from, where the training said so."""
        return self.metadata.get("symbol")

    @property
    def replayed_from(self) -> str | None:
        """The session that this one is a replay of: its run id, or its journal's hash where that is all there is."""
        return self.source or self.metadata.get("replayed_from")

    @functools.cached_property
    def record(self) -> SessionRecord:
        """Its steps. Raises IntegrityError for a damaged journal."""
        from lockstep.learning.gradients.record import SessionRecord

        return SessionRecord(RunFolder(self.folder))

    @property
    def loss_history(self) -> NDArray[np.float64]:
        """Total loss of each step, float64 (steps,)."""
        return self.record.columns["loss.total"]

    @property
    def best_loss(self) -> float | None:
        """The lowest of them."""
        history = self.loss_history
        return float(history.min()) if len(history) else None


class CNNTrainingSession(TrainingSession):
    """A session of a network with three heads (R9.17): its steps are `CNNTrainingStep`s."""


@dataclass(frozen=True, kw_only=True)
class Sessions:
    """Sessions by value, the highest first (R9.33), and why others could not be read, by run id."""

    sessions: tuple[TrainingSession, ...]
    problems: Mapping[str, str]

    def __iter__(self) -> Any:
        return iter(self.sessions)

    def __len__(self) -> int:
        return len(self.sessions)


def list_sessions(store: RunStore, *, thorough: bool = False) -> Sessions:
    """All sessions of a home. Runs of kinds that do not learn by gradients are left out.

    Each is checked as `load_session` does. A damaged one becomes an entry of `problems` and the rest is listed.
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
        sessions.append(session)
    sessions.sort(key=lambda session: (-session.value, session.session_id))
    return Sessions(sessions=tuple(sessions), problems=problems)


def load_session(folder: RunFolder, *, thorough: bool = False) -> TrainingSession:
    """A session from its folder.

    Its documents are checked against their digests, and in a complete one the length of every file against the
    manifest; frames are checked when they are read. `thorough` reads every byte now. Raises IntegrityError for
    damage, RefusedError when the run is none of a gradient training.
    """
    status = folder.status()
    if status is RunStatus.COMPLETE:
        summary = folder.result()
        if not isinstance(summary, Mapping) or not {"session", *_VALUE_FIELDS} <= summary.keys():
            raise RefusedError(f"{folder.path}: not a session of a gradient training.")
        require_lengths(folder)
    else:
        summary = _so_far(Overview(folder))
    if thorough and status is not RunStatus.RUNNING:
        check(folder.path).raise_for_problems()
    metadata = summary["session"]
    losses = tuple(summary.get(f"{name}_loss") for name in ("first", "last", "best"))
    origin = folder.read("environment").get("origin", {}) if folder.has("environment") else {}
    kind = CNNTrainingSession if metadata.get("model_kind") == "pattern" else TrainingSession
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
    """What the summary of a session would say that has not ended."""
    columns = session.columns()
    losses = columns["loss.total"]
    value = session_value(losses, columns["value"], columns["profitable"])
    return {
        "session": {},
        "steps": session.steps,
        "level": session.last_level,
        "first_loss": float(losses[0]),
        "last_loss": float(losses[-1]),
        "best_loss": float(losses.min()),
        **value.to_json(),
    }


def surplus(
    sessions: Sequence[TrainingSession], *, keep_last: int | None = None, max_bytes: int | None = None
) -> list[TrainingSession]:
    """Which complete sessions to remove so that at most `keep_last` of them, with `max_bytes` in all, stay.

    The newest stay: ids sort by birth. The newest of all stays whatever its size; sessions that have not ended are
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
    """The batches of a recorded session, for a task that trains on them again (R9.32).

    `steps` selects and orders, all of them where None: `record.by_value()[:100]` are the hundred most valuable. The new
    session says where it comes from in its metadata: {"replayed_from": hash of the old one's journal}.

    Raises RefusedError for a record without batches.
    """
    if record.description.recording.level == "none":
        raise RefusedError(
            f'session {record.session_id} was recorded at level "none", which keeps no batch identities. Train '
            "its spec again instead."
        )
    numbers = range(len(record)) if steps is None else steps
    return RecordedOrder.of(record.frame(BATCHES, step)["index"] for step in numbers)
