"""The runs of a home that learn by gradients: list them by value, choose the best, prune the oldest.

R9.28 to R9.33, R9.49. The commands `lockstep sessions` call such a run a session.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import InputError, UnknownNameError

if TYPE_CHECKING:
    from datetime import datetime

    from lockstep.learning.gradients.sessions import Sessions, TrainingSession
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.store import RunStore

BEST: Final = "best"
"""In place of a run's name: the run of the highest value, unless a run has this tag."""


def list_sessions(store: RunStore, *, thorough: bool = False) -> Sessions:
    """All runs that learn by gradients, the highest value first; a damaged one is among `problems` (R9.49).

    thorough   read every byte; default: only documents, lengths of files, and what is listed
    """
    # Imported here: it loads NumPy, and a command first sets the variables that NumPy reads when it loads.
    from lockstep.learning.gradients.sessions import list_sessions as listed

    return listed(store, thorough=thorough)


def run_named(run: str, store: RunStore) -> str:
    """`run`; for "best" the id of the run of the highest value (R9.33). Raises UnknownNameError."""
    if run != BEST or any(BEST in row.tags for row in store.list()):
        return run
    listing = list_sessions(store)
    if not listing.sessions:
        skipped = f" ({len(listing.problems)} cannot be read: `lockstep sessions list`)" if listing.problems else ""
        raise UnknownNameError(f'"best" is the session of the highest value; there is no session yet{skipped}.')
    return listing.sessions[0].session_id


def find_run(run: str, store: RunStore) -> RunFolder:
    """The folder of `run`, or of the run that "best" stands for. Raises UnknownNameError."""
    return store.find(run_named(run, store))


def session_json(session: TrainingSession) -> dict[str, Any]:
    """One entry of `lockstep sessions list --json`."""
    first, last, best = session.losses or (None, None, None)
    return {
        "run_id": session.session_id,
        "status": str(session.status),
        "value": session.value,
        "converged": session.converged,
        "convergence": session.worth.convergence,
        "top_quarter": session.worth.top_quarter,
        "steadiness": session.worth.steadiness,
        "profitable": session.worth.profitable,
        "steps": session.steps,
        "first_loss": first,
        "last_loss": last,
        "best_loss": best,
        "level": session.level,
        "bytes": session.bytes,
        "model": session.model_name,
        "symbol": session.symbol,
        "started": _iso(session.started),
        "ended": _iso(session.ended),
        "replayed_from": session.replayed_from,
        "folder": str(session.folder),
    }


def _iso(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat(timespec="milliseconds")


@dataclass(frozen=True, kw_only=True)
class Pruning:
    """The runs beyond a limit.

    doomed      run id -> bytes
    remaining   number of runs that stay
    removed     whether the doomed ones were removed; else they are only named
    """

    doomed: Mapping[str, int]
    remaining: int
    removed: bool

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep sessions prune --json` prints."""
        return {"removed": self.removed, "kept": self.remaining, "sessions": dict(self.doomed)}


def prune_sessions(
    store: RunStore, *, keep_last: int | None = None, max_bytes: int | None = None, remove: bool = False
) -> Pruning:
    """Name, or `remove`, the oldest complete runs, so that at most `keep_last` runs of `max_bytes` in all stay.

    The newest stays whatever its size. Runs that have not ended or are damaged are neither counted nor removed.
    Raises InputError without a limit, or for one below 1.
    """
    from lockstep.learning.gradients.sessions import surplus

    if keep_last is None and max_bytes is None:
        raise InputError("retention needs a limit; found none. Give --keep-last N, --max-bytes BYTES, or both.")
    sessions = list_sessions(store).sessions
    doomed = surplus(sessions, keep_last=keep_last, max_bytes=max_bytes)
    if remove:
        for session in doomed:
            store.remove(session.session_id)
    return Pruning(
        doomed={session.session_id: session.bytes for session in doomed},
        remaining=len(sessions) - len(doomed),
        removed=remove,
    )
