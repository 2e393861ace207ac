"""Retraining (R9.32): a new run on the recorded batches of an old one, which are pinned as data of the new run.

A kind whose samples have numbers can be retrained when it has

    session: SessionTable = SessionTable()                        in its spec model
    sample_keys: Final = ("data", "windows", ...)                 in the kind: keys that decide the samples
    order = recorded_order(spec.session, blobs) or Epochs(...)    in its `Recipe.training`

and adds `spec.session.metadata()` to the description of its training. The batches become a snapshot that the new spec
names, so the new run resumes, verifies and exports without the old one. A kind whose samples are made while it trains
pins them with the batches (`PinsSamples`; `experience_batches`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

from pydantic import Field
from safetensors import SafetensorError
from safetensors.numpy import load

from lockstep.core.errors import DataError
from lockstep.learning.gradients.epochs import RecordedOrder
from lockstep.runs.spec import SpecModel
from lockstep.storage.blobs import array_bytes

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.learning.gradients.record import SessionRecord
    from lockstep.runs.kind import Prepared
    from lockstep.storage.blobs import BlobStore

SUFFIX: Final = ".batches"
BATCH_KEYS: Final = ("training.epochs", "training.batch_size", "training.accumulate")
"""Keys that recorded batches replace. Retraining refuses other values of them: it would store and ignore them."""
_HASH: Final = r"^[0-9a-f]{64}$"


class SessionTable(SpecModel):
    """The table [session]. Retraining fills it in; it is empty in a run that draws its own batches."""

    batches: str | None = Field(default=None, pattern=_HASH)
    """Digest of the snapshot that holds the samples of each step."""
    # The journal's hash, not the run's id: ids are random and enter no hash.
    replayed_from: str | None = Field(default=None, pattern=_HASH)
    """Hash of the last line of the journal of the run whose batches these are."""

    def metadata(self) -> dict[str, Any]:
        """Where the batches of a retrained run come from, for its description; empty for any other run."""
        return {} if self.replayed_from is None else {"replayed_from": self.replayed_from}


class Retrains(Protocol):
    """A kind that can be retrained: its spec model has a `session: SessionTable`."""

    @property
    def sample_keys(self) -> tuple[str, ...]:
        """Keys of the spec, dotted below the top, that decide which samples there are, and how many and when make a
        step. Retraining cannot change them."""
        ...

    def try_network(self, prepared: Prepared) -> None:
        """Put a batch through the network, which may be another than the old run's. Raises NetworkError."""
        ...


@runtime_checkable
class PinsSamples(Protocol):
    """A kind whose samples are made while it trains, so that retraining takes them from the record."""

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """Store batches and samples of `steps`, None for all, as a snapshot; returns its digest for the spec."""
        ...

    def retrain_base(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
        """The old spec without the keys that do not fit `new`, which is the old spec with the overrides on it.

        Another algorithm has other keys: the old values of keys that it lacks would be refused.
        """
        ...


def with_batches(body: Mapping[str, Any], table: SessionTable | None) -> dict[str, Any]:
    """`body` of data.json, with the batches of a retrained run among its snapshots."""
    if table is None or table.batches is None:
        return dict(body)
    # Sorted, since data.json is hashed and a set has no order.
    return {**body, "snapshots": sorted({*body["snapshots"], table.batches})}


def write_order(order: RecordedOrder, blobs: BlobStore) -> str:
    """Store an order under its digest, and return the digest. Raises DiskError."""
    return write_batches({"numbers": order.numbers, "stops": order.stops}, blobs)


def write_batches(arrays: Mapping[str, NDArray[Any]], blobs: BlobStore) -> str:
    """Store arrays for `session.batches`, an order or more, and return their digest. Raises DiskError."""
    return blobs.put(array_bytes(arrays), SUFFIX)


def recorded_order(table: SessionTable, blobs: BlobStore) -> RecordedOrder | None:
    """The order that a spec names, every byte checked; None when it names none.

    Raises DataError when the snapshot is not in `blobs` or holds something else, IntegrityError when it is damaged.
    """
    arrays = read_batches(table, blobs)
    if arrays is None:
        return None
    # The batches of an agent are stored under the same key of the spec.
    if not {"numbers", "stops"} <= arrays.keys():
        raise DataError("session.batches names recorded batches of samples; this snapshot holds other arrays.")
    return RecordedOrder(numbers=arrays["numbers"], stops=arrays["stops"])


def read_batches(table: SessionTable, blobs: BlobStore) -> dict[str, NDArray[Any]] | None:
    """The arrays that `write_batches` stored for a spec; None when it names none. Raises as `recorded_order`."""
    if table.batches is None:
        return None
    data = blobs.get(table.batches, SUFFIX)
    try:
        # `blobs.get` has checked the digest, so bytes that fail here are another file than `write_batches` writes.
        return dict(load(data))
    except SafetensorError as error:
        place = blobs.place(table.batches, SUFFIX)
        raise DataError(f"{place}: session.batches names recorded batches; these bytes are none ({error}).") from error
