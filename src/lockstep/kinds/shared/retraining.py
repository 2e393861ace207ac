"""Retraining (R9.32): a new run on the recorded batches of an old one, which are pinned as data of the new run.

A kind that learns by gradients from samples with numbers can be retrained when it has

    session: SessionTable = SessionTable()                        in its spec model
    sample_keys: Final = ("data", "windows", ...)                 in the kind: what decides which samples there are
    order = recorded_order(spec.session, blobs) or Epochs(...)    where the training is made

beside the `try_network` of `gradient_kind`, and adds `spec.session.metadata()` to what the training says of itself.
The batches become a snapshot that the new spec names, so the new run resumes, verifies and travels without the old
one. A kind whose samples came to be while it trained pins them too (`PinsSamples`; `retraining_agents` does it).
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
BATCH_KEYS: Final = ("training.epochs", "training.batch_size")
"""Keys that the recorded batches stand in for: a retrained run that changed them would say so and do nothing of it."""
_HASH: Final = r"^[0-9a-f]{64}$"


class SessionTable(SpecModel):
    """The table [session]. Retraining fills it in; it is empty in a run that draws its own batches."""

    batches: str | None = Field(default=None, pattern=_HASH)
    """Digest of the snapshot that holds the samples of each step."""
    # The journal's hash, not the run's id: ids are random and enter no hash.
    replayed_from: str | None = Field(default=None, pattern=_HASH)
    """Hash of the last line of the journal of the run whose batches these are."""

    def metadata(self) -> dict[str, Any]:
        """The entries that say of a retrained run where its batches come from; none for any other."""
        return {} if self.replayed_from is None else {"replayed_from": self.replayed_from}


class Retrains(Protocol):
    """A kind that can be retrained: its spec model has a `session: SessionTable`."""

    @property
    def sample_keys(self) -> tuple[str, ...]:
        """Keys of the spec, at its top or dotted, that decide which samples there are, how many make a step, and when;
        retraining cannot change them."""
        ...

    def try_network(self, prepared: Prepared) -> None:
        """Make the network and put a batch through it: retraining may bring another one. Raises NetworkError."""
        ...


@runtime_checkable
class PinsSamples(Protocol):
    """A kind whose samples came to be while it trained, so that retraining has to take them from the record."""

    def pin_samples(self, record: SessionRecord, steps: Sequence[int] | None, blobs: BlobStore) -> str:
        """Write batches and samples of `steps`, all where None, as a snapshot; returns its digest for the spec."""
        ...

    def retrain_base(self, old: Mapping[str, Any], new: Mapping[str, Any]) -> Mapping[str, Any]:
        """The old spec that overrides are put on, without the keys that belong to something that `new` has no more;
        `new` is the old spec with the overrides on it as they are."""
        ...


def with_batches(body: Mapping[str, Any], table: SessionTable | None) -> dict[str, Any]:
    """A body of data.json whose snapshots include the batches that a retrained run names."""
    if table is None or table.batches is None:
        return dict(body)
    return {**body, "snapshots": sorted({*body["snapshots"], table.batches})}


def write_order(order: RecordedOrder, blobs: BlobStore) -> str:
    """Store an order under its digest; returns that. Raises DiskError."""
    return write_batches({"numbers": order.numbers, "stops": order.stops}, blobs)


def write_batches(arrays: Mapping[str, NDArray[Any]], blobs: BlobStore) -> str:
    """Store what `session.batches` is to name, an order or more, under its digest; returns that. Raises DiskError."""
    return blobs.put(array_bytes(arrays), SUFFIX)


def recorded_order(table: SessionTable, blobs: BlobStore) -> RecordedOrder | None:
    """The order that a spec names, every byte checked; None where it names none.

    Raises DataError when the snapshot is not in `blobs` or holds something else, IntegrityError when it is damaged.
    """
    arrays = read_batches(table, blobs)
    if arrays is None:
        return None
    if not {"numbers", "stops"} <= arrays.keys():
        raise DataError("session.batches names recorded batches of samples; this snapshot holds other arrays.")
    return RecordedOrder(numbers=arrays["numbers"], stops=arrays["stops"])


def read_batches(table: SessionTable, blobs: BlobStore) -> dict[str, NDArray[Any]] | None:
    """What `write_batches` stored under `session.batches`; None where a spec names nothing. Raises as above."""
    if table.batches is None:
        return None
    data = blobs.get(table.batches, SUFFIX)
    try:
        # The bytes are those of the digest; what fails here was never written by `write_batches`.
        return dict(load(data))
    except SafetensorError as error:
        place = blobs.place(table.batches, SUFFIX)
        raise DataError(f"{place}: session.batches names recorded batches; these bytes are none ({error}).") from error
