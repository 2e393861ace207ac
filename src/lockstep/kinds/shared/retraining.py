"""Going through a recorded session again (R9.32): the batches of its steps, pinned as data of the new run.

A kind that learns by gradients from samples with numbers takes part with a method and three lines:

    session: SessionTable = SessionTable()                        in its spec model
    sample_keys: Final = ("data", "windows", ...)                 in the kind: what decides which samples there are
    def try_network(self, prepared): ...                          in the kind: what fails, fails before the run is made
    order = recorded_order(spec.session, home) or Epochs(...)     where the training is made

and adds `spec.session.metadata()` to what `GradientTraining` says of the session. `lockstep replay RUN --session`
writes the batches as a snapshot and names it in the spec, so the new run resumes, verifies and travels without the
old one. A kind whose samples are not in its data pins them too (`PinsSamples`; `agent_replay` does).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np
from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load, save

from lockstep.core import files
from lockstep.core.errors import DataError, IntegrityError
from lockstep.core.hashing import blake3_hex
from lockstep.runs.spec import SpecModel

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.kind import Prepared

SUFFIX: Final = ".batches"
BATCH_KEYS: Final = ("training.epochs", "training.batch_size")
"""Keys that the recorded batches stand in for: a replay that changed them would say so and do nothing of it."""
_HASH: Final = r"^[0-9a-f]{64}$"


class SessionTable(SpecModel):
    """The table [session]. `lockstep replay RUN --session` fills it in; without it a session is one of its own."""

    batches: str | None = Field(default=None, pattern=_HASH)
    """Digest of the snapshot that holds the samples of each step."""
    # The journal's hash, not the run's id: ids are random and enter no hash (decision D22).
    replayed_from: str | None = Field(default=None, pattern=_HASH)
    """Hash of the last line of the journal of the session that is gone through again."""

    def metadata(self) -> dict[str, Any]:
        """What the session says of itself."""
        return {} if self.replayed_from is None else {"replayed_from": self.replayed_from}


class ReplaysSessions(Protocol):
    """A kind whose sessions can be gone through again: its spec model has a `session: SessionTable`."""

    @property
    def sample_keys(self) -> tuple[str, ...]:
        """Keys of the spec, at its top or dotted, that decide which samples there are and how many make a step, and
        when; a replay cannot change them."""
        ...

    def try_network(self, prepared: Prepared) -> None:
        """Make the network and put a batch through it: a replay may bring another one. Raises NetworkError."""
        ...


@runtime_checkable
class PinsSamples(Protocol):
    """A kind whose samples came to be while it trained, so that a replay has to take them from the record."""

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, home: Path) -> str:
        """Write batches and samples of `steps`, all where None, as a snapshot; returns its digest for the spec."""
        ...

    def replay_base(self, old: Mapping[str, Any], wanted: Mapping[str, Any]) -> Mapping[str, Any]:
        """The old spec that overrides are put on, where `wanted` is what came of the first attempt: without the keys
        that go with something that `wanted` has no more."""
        ...


@dataclass(frozen=True, kw_only=True)
class RecordedOrder:
    """The samples of each step, in the place of `learning.gradients.training.Epochs`.

    `numbers` int64 (samples of all steps,); `stops` int64 (steps,): where each step's samples end in it.
    """

    numbers: NDArray[np.int64]
    stops: NDArray[np.int64]

    @classmethod
    def of(cls, batches: Iterable[NDArray[np.int64]]) -> RecordedOrder:
        """From the samples of each step, each int64 (samples,)."""
        parts = [np.asarray(batch, np.int64) for batch in batches]
        stops = np.cumsum([len(part) for part in parts], dtype=np.int64)
        return cls(numbers=np.concatenate(parts) if parts else np.empty(0, np.int64), stops=stops)

    @property
    def steps(self) -> int:
        """How many steps there are."""
        return len(self.stops)

    def ids(self, step: int) -> NDArray[np.int64]:
        """The samples of a step, int64 (samples,): a copy, torch wants to own its memory."""
        start = 0 if step == 0 else self.stops[step - 1]
        return self.numbers[start : self.stops[step]].copy()


def write_order(order: RecordedOrder, snapshots: Path) -> str:
    """Store an order under its digest; returns that. Raises DiskError."""
    return write_batches({"numbers": order.numbers, "stops": order.stops}, snapshots)


def write_batches(arrays: Mapping[str, NDArray[Any]], snapshots: Path) -> str:
    """Store what `session.batches` is to name, an order or more, under its digest; returns that. Raises DiskError."""
    # C-contiguous: safetensors writes the memory as it lies.
    data = save({name: np.ascontiguousarray(array) for name, array in arrays.items()})
    digest = blake3_hex(data)
    files.make_folder(snapshots)
    files.write_atomic(snapshots / f"{digest}{SUFFIX}", data)
    return digest


def recorded_order(table: SessionTable, home: Path) -> RecordedOrder | None:
    """The order that a spec names, every byte checked; None where it names none.

    Raises DataError when the snapshot is not in `home` or holds something else, IntegrityError when it is damaged.
    """
    arrays = read_batches(table, home)
    if arrays is None:
        return None
    if not {"numbers", "stops"} <= arrays.keys():
        raise DataError("session.batches names recorded batches of samples; this snapshot holds other arrays.")
    return RecordedOrder(numbers=arrays["numbers"], stops=arrays["stops"])


def read_batches(table: SessionTable, home: Path) -> dict[str, NDArray[Any]] | None:
    """What `write_batches` stored under `session.batches`; None where a spec names nothing. Raises as above."""
    if table.batches is None:
        return None
    path = home / "snapshots" / f"{table.batches}{SUFFIX}"
    if not path.is_file():
        raise DataError(
            f"{path}: the batches that session.batches names are not in this home. Import the run, or replay again."
        )
    data = files.read_bytes(path)
    if blake3_hex(data) != table.batches:
        raise IntegrityError(f"{path}: not the bytes its name says. It is not used; restore it from a copy.")
    try:
        return dict(load(data))
    except SafetensorError as error:
        raise DataError(f"{path}: session.batches names recorded batches; these bytes are none ({error}).") from error
