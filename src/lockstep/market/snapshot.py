"""Snapshots: candles pinned by the digest of their columns, so that later corrections never change an old run.

`<digest>.arrow` is an Arrow IPC file, uncompressed, which is mapped into memory and shared by all processes that open
it. Three checks stand between its bytes and a result: a seal over every byte of the file (the place of the seal
itself counting as zeros), the digest of the columns, which must be the one asked for, and the rules of candles.
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import numpy as np
from blake3 import blake3

from lockstep.core import canonical
from lockstep.core.errors import DataError, DiskError
from lockstep.market.candles import Candles
from lockstep.market.checks import COLUMNS
from lockstep.storage.blobs import damaged

if TYPE_CHECKING:
    from collections.abc import Mapping

    from lockstep.storage.blobs import BlobStore

FORMAT: Final = 1
SUFFIX: Final = ".arrow"
_SEAL: Final = b"lockstep-seal:"
_BLANK: Final = _SEAL + b"0" * 64
_SEALED: Final = re.compile(_SEAL + rb"[0-9a-f]{64}")
_LABELS: Final = ("symbol", "exchange", "source")


def write_snapshot(candles: Candles, blobs: BlobStore) -> str:
    """Store candles under their digest; returns that. A sound snapshot already there is left alone.

    The labels are those of the first writer: they take no part in the digest.

    Raises DataError when there are no candles, or the same columns are stored with another timeframe; DiskError.
    """
    if len(candles) == 0:
        raise DataError("a snapshot holds at least one candle; found none.")

    def check(path: Path) -> None:
        stored = _open(path, candles.digest)
        if stored.timeframe_ms != candles.timeframe_ms:
            raise DataError(
                f"{path}: these columns are stored with timeframe {stored.timeframe}; "
                f"found {candles.timeframe}. Declare the same timeframe."
            )

    blobs.put_named(candles.digest, SUFFIX, lambda: _encode(candles), check)
    return candles.digest


def _encode(candles: Candles) -> bytes:
    import pyarrow as pa

    about = {
        "format": FORMAT,
        "digest": candles.digest,
        "timeframe_ms": candles.timeframe_ms,
        **{name: getattr(candles, name) for name in _LABELS},
    }
    metadata = {"lockstep": canonical.dumps(about), "seal": _BLANK}
    # Uncompressed and in one chunk: only such columns can be mapped into memory and used without a copy.
    table = pa.table(candles.columns()).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data.replace(_BLANK, _SEAL + blake3(data).hexdigest().encode())


def _check_seal(data: Any, path: Path) -> None:
    """Raises IntegrityError unless every byte is the one that was written."""
    # Arrow writes the schema's metadata more than once; each place of the seal counted as zeros when it was hashed.
    seals = [match.span() for match in _SEALED.finditer(data)]
    if not seals:
        raise damaged(str(path), "the file bears no seal")
    hasher = blake3()
    at = 0
    for start, stop in seals:
        hasher.update(memoryview(data)[at:start])
        hasher.update(_BLANK)
        at = stop
    hasher.update(memoryview(data)[at:])
    start, stop = seals[0]
    if bytes(data[start:stop]) != _SEAL + hasher.hexdigest().encode():
        raise damaged(str(path), "the file's bytes are not those that were written")


def open_snapshot(blobs: BlobStore, digest: str) -> Candles:
    """The candles of that digest, mapped into memory, every byte checked first.

    Raises DataError when there is no such snapshot or `digest` is none, IntegrityError when the file is damaged or
    holds other columns than its name says, DiskError when it cannot be read.
    """
    return _open(blobs.path(digest, SUFFIX), digest)


def check_file(path: Path, digest: str, data: Mapping[str, Any]) -> None:
    """Compare the file of a snapshot with its digest, for `storage.blob_checks`. Raises IntegrityError, DiskError."""
    _open(path, digest)


def _open(path: Path, digest: str) -> Candles:
    import pyarrow as pa

    try:
        # As bytes: a folder's name need not be UTF-8.
        mapped = pa.memory_map(os.fsencode(path), "r")
    except OSError as error:
        raise DiskError(f"{path}: the snapshot cannot be read ({error}). Check the disk and permissions.") from error
    buffer = mapped.read_buffer()
    _check_seal(buffer, path)
    # From here on a failure means a sealed file that this program did not write that way.
    try:
        table = pa.ipc.open_file(buffer).read_all()
        about = canonical.loads(table.schema.metadata[b"lockstep"])
        columns = {name: table.column(name).chunk(0).to_numpy(zero_copy_only=True) for name in table.column_names}
        version, timeframe_ms = about["format"], int(about["timeframe_ms"])
        labels = {name: about[name] for name in _LABELS}
    except (pa.ArrowException, KeyError, TypeError, ValueError, IndexError) as error:
        raise damaged(str(path), f"the file is no snapshot ({error})") from error
    if version != FORMAT:
        raise damaged(str(path), f"snapshot format {version} is unknown; this version reads {FORMAT}")
    base: dict[str, Any] = {name: np.asarray(value) for name, value in columns.items() if name in COLUMNS}
    extra = {name: np.asarray(value) for name, value in columns.items() if name not in COLUMNS}
    try:
        candles = Candles(**base, extra=extra, timeframe_ms=timeframe_ms, **labels)
    except (DataError, TypeError) as error:
        raise damaged(str(path), f"the columns are no candles ({error})") from error
    if candles.digest != digest:
        raise damaged(str(path), f"the columns have digest {candles.digest}, not the file's name")
    return candles
