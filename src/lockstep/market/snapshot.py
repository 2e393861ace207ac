"""Snapshots: candles pinned by the digest of their columns, so that later corrections never change an old run.

`<digest>.arrow` is an Arrow IPC file, uncompressed, which is mapped into memory and shared by all processes that open
it. Three checks stand between its bytes and a result: a seal over every byte of the file (the place of the seal
itself counting as zeros), the digest of the columns, which must be the one asked for, and the rules of candles.
"""

from __future__ import annotations

import contextlib
import re
from pathlib import Path
from typing import Any, Final

import numpy as np
from blake3 import blake3

from lockstep.core import canonical
from lockstep.core.errors import DataError, DiskError, IntegrityError
from lockstep.core.files import make_folder, write_atomic
from lockstep.market.candles import Candles
from lockstep.market.checks import COLUMNS

FORMAT: Final = 1
SUFFIX: Final = ".arrow"
_SEAL: Final = b"lockstep-seal:"
_BLANK: Final = _SEAL + b"0" * 64
_SEALED: Final = re.compile(_SEAL + rb"[0-9a-f]{64}")
_LABELS: Final = ("symbol", "exchange", "source")


def snapshot_path(folder: Path, digest: str) -> Path:
    """Where the snapshot of that digest lies in `folder`."""
    return folder / f"{digest}{SUFFIX}"


def write_snapshot(candles: Candles, folder: Path) -> Path:
    """Store candles under their digest; returns the file's path. A sound one already there is left alone.

    The labels are those of the first writer: they take no part in the digest.

    Raises:
        DiskError: The file cannot be written.
        DataError: There are no candles, or the same columns are stored with another timeframe.
    """
    if len(candles) == 0:
        raise DataError("a snapshot holds at least one candle; found none.")
    path = snapshot_path(folder, candles.digest)
    if path.exists():
        # A damaged file is replaced by the sound one in hand; a sound one is never replaced: runs rely on it.
        with contextlib.suppress(IntegrityError):
            stored = open_snapshot(folder, candles.digest)
            if stored.timeframe_ms != candles.timeframe_ms:
                raise DataError(
                    f"{path}: these columns are stored with timeframe {stored.timeframe}; "
                    f"found {candles.timeframe}. Declare the same timeframe."
                )
            return path
    make_folder(folder)
    write_atomic(path, _encode(candles))
    return path


def _encode(candles: Candles) -> bytes:
    import pyarrow as pa

    about = {
        "format": FORMAT,
        "digest": candles.digest,
        "timeframe_ms": candles.timeframe_ms,
        **{name: getattr(candles, name) for name in _LABELS},
    }
    metadata = {"lockstep": canonical.dumps(about), "seal": _BLANK}
    table = pa.table(candles.columns()).replace_schema_metadata(metadata)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data: bytes = sink.getvalue().to_pybytes()
    return data.replace(_BLANK, _SEAL + blake3(data).hexdigest().encode())


def _check_seal(data: Any, path: Path) -> None:
    """Raises IntegrityError unless every byte is the one that was written."""
    found = [match.span() for match in _SEALED.finditer(data)]
    if not found:
        raise IntegrityError(f"{path}: the file bears no seal. {_CURE}")
    hasher = blake3()
    at = 0
    for start, stop in found:
        hasher.update(memoryview(data)[at:start])
        hasher.update(_BLANK)
        at = stop
    hasher.update(memoryview(data)[at:])
    start, stop = found[0]
    if bytes(data[start:stop]) != _SEAL + hasher.hexdigest().encode():
        raise IntegrityError(f"{path}: the file's bytes are not those that were written. {_CURE}")


_CURE: Final = "It is not used; remove it and make the snapshot again from its source."


def open_snapshot(folder: Path, digest: str) -> Candles:
    """The candles of that digest, mapped into memory, every byte checked first.

    Raises:
        DataError: There is no such snapshot, or `digest` is not one.
        DiskError: The file cannot be read.
        IntegrityError: The file is damaged, or holds other columns than its name says.
    """
    import pyarrow as pa

    if not re.fullmatch(r"[0-9a-f]{64}", digest):
        raise DataError(f"a digest is 64 hexadecimal digits; found {digest!r}.")
    path = snapshot_path(folder, digest)
    try:
        mapped = pa.memory_map(str(path), "r")
    except FileNotFoundError:
        raise DataError(f"{path}: there is no such snapshot. Import the data again, or copy the file here.") from None
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
        raise IntegrityError(f"{path}: the file is no snapshot ({error}). {_CURE}") from error
    if version != FORMAT:
        raise IntegrityError(f"{path}: snapshot format {version} is unknown; this version reads {FORMAT}. {_CURE}")
    base: dict[str, Any] = {name: np.asarray(value) for name, value in columns.items() if name in COLUMNS}
    extra = {name: np.asarray(value) for name, value in columns.items() if name not in COLUMNS}
    try:
        candles = Candles(**base, extra=extra, timeframe_ms=timeframe_ms, **labels)
    except (DataError, TypeError) as error:
        raise IntegrityError(f"{path}: the columns are no candles ({error}). {_CURE}") from error
    if candles.digest != digest:
        raise IntegrityError(f"{path}: the columns have digest {candles.digest}, not the file's name. {_CURE}")
    return candles
