"""Data outside of a run: import a file, judge its quality, read a snapshot back, list the snapshots.

A snapshot is named by the digest of its columns. It is an ordinary Arrow file, so a spec may name it as its data
(`source = "file"`, `path = ".../<digest>.arrow"`). A run pins the candles that it uses as such a snapshot by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import pyarrow
import pyarrow.csv
import pyarrow.parquet

from lockstep.app.paths import require_writable_name
from lockstep.core.errors import DataError, InputError, LockstepError
from lockstep.core.files import write_atomic
from lockstep.market.bars import LoadOptions, LoadReport, read_bars
from lockstep.market.load import load_candles, load_with_report
from lockstep.market.quality import quality_report
from lockstep.market.quality_report import QualityReport
from lockstep.market.sample import sample_candles
from lockstep.market.snapshot import SUFFIX, open_snapshot, write_snapshot

if TYPE_CHECKING:
    from lockstep.market.candles import Candles
    from lockstep.market.quality_report import QualityReport
    from lockstep.storage.blobs import BlobStore

SAMPLE = "sample"
_DIGEST_START = 8


@dataclass(frozen=True, kw_only=True)
class SnapshotInfo:
    """A pinned data set.

    first, last   when the first and the last bar open, milliseconds UTC
    size          of the file, bytes
    """

    digest: str
    path: Path
    bars: int
    timeframe: str
    first: int
    last: int
    symbol: str | None
    exchange: str | None
    size: int

    @classmethod
    def of(cls, candles: Candles, blobs: BlobStore) -> SnapshotInfo:
        """The snapshot of `candles`, which `blobs` holds already."""
        path = blobs.path(candles.digest, SUFFIX)
        return cls(
            digest=candles.digest,
            path=path,
            bars=len(candles),
            timeframe=candles.timeframe,
            first=int(candles.timestamp[0]),
            last=int(candles.timestamp[-1]),
            symbol=candles.symbol,
            exchange=candles.exchange,
            size=path.stat().st_size,
        )

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep data snapshot --json` prints."""
        return {**{name: getattr(self, name) for name in self.__dataclass_fields__}, "path": str(self.path)}


@dataclass(frozen=True, kw_only=True)
class ImportReport:
    """The snapshot of an imported file, and the rows that were left out."""

    snapshot: SnapshotInfo
    loaded: LoadReport

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep data import --json` prints."""
        return {
            **self.snapshot.to_json(),
            "rows_read": self.loaded.rows_read,
            "rows_dropped": self.loaded.rows_dropped,
            "dropped": [str(defect) for defect in self.loaded.dropped],
        }


def import_data(
    path: Path, *, blobs: BlobStore, columns: Sequence[str] = (), drop_bad: bool = False, **options: Any
) -> ImportReport:
    """Read a file, check every row, and pin it.

    columns    "ours=theirs" each
    drop_bad   leave out and count broken and repeated rows; default: refuse the file
    options    of `load_candles`

    Raises DataError naming the first bad row, DiskError when the snapshot cannot be written.
    """
    mapping = _mapping(columns)
    on_bad: Literal["drop", "error"] = "drop" if drop_bad else "error"
    candles, report = load_with_report(path, LoadOptions(columns=mapping or None, on_bad=on_bad, **options))
    write_snapshot(candles, blobs)
    return ImportReport(snapshot=SnapshotInfo.of(candles, blobs), loaded=report)


def read_snapshot(start: str, *, blobs: BlobStore, export: Path | None = None) -> SnapshotInfo:
    """Read the snapshot whose digest begins with `start` and check every byte; `export` writes its candles to a file.

    "sample" is the bundled year, pinned here where it was not yet.

    Raises DataError when there is none, or several; IntegrityError when it is damaged.
    """
    if export is not None:
        require_writable_name(export, "--export")
    digest = write_snapshot(sample_candles(), blobs) if start == SAMPLE else find_digest(start, blobs)
    candles = open_snapshot(blobs, digest)
    if export is not None:
        export_candles(candles, export)
    return SnapshotInfo.of(candles, blobs)


def list_snapshots(*, blobs: BlobStore) -> tuple[list[SnapshotInfo], list[str]]:
    """The snapshots of a home, by symbol and first bar, and a message for each that cannot be read."""
    snapshots, broken = [], []
    for digest in blobs.digests(SUFFIX):
        try:
            snapshots.append(SnapshotInfo.of(open_snapshot(blobs, digest), blobs))
        except LockstepError as error:
            broken.append(str(error))
    return sorted(snapshots, key=lambda item: (item.symbol or "", item.timeframe, item.first)), broken


def data_quality(source: str, *, blobs: BlobStore, timeframe: str | None = None) -> QualityReport:
    """Judge a file, the sample, or a snapshot. Broken rows of a file are counted, not refused."""
    if source == SAMPLE:
        return quality_report(sample_candles())
    if Path(source).exists() or Path(source).suffix != "":
        return quality_report(read_bars(Path(source)), timeframe=timeframe)
    return quality_report(open_snapshot(blobs, find_digest(source, blobs)))


def candles_of(source: str, *, blobs: BlobStore, **options: Any) -> Candles:
    """The candles of a file, of "sample", or of a snapshot's digest. Raises DataError.

    options   of `load_candles`, for a file
    """
    if source == SAMPLE:
        return sample_candles()
    if Path(source).exists() or Path(source).suffix != "":
        return load_candles(Path(source), **options)
    return open_snapshot(blobs, find_digest(source, blobs))


def find_digest(start: str, blobs: BlobStore) -> str:
    """The one digest of candles in `blobs` that begins with `start` (at least 8 digits). Raises DataError."""
    matching = [digest for digest in blobs.digests(SUFFIX) if digest.startswith(start.lower())]
    if len(start) >= _DIGEST_START and len(matching) == 1:
        return matching[0]
    if len(start) < _DIGEST_START:
        problem = f"a snapshot is named by at least {_DIGEST_START} digits of its digest"
    else:
        problem = f"{len(matching)} snapshots begin so" if matching else f"{blobs.place()} has no such snapshot"
    raise DataError(f"{start!r}: {problem}. Give a digest that `lockstep data list` shows.")


def export_candles(candles: Candles, path: Path) -> None:
    """Write candles to a `.csv` or `.parquet` file. Raises InputError for another suffix, DiskError."""
    table = pyarrow.table(dict(candles.columns()))
    sink = pyarrow.BufferOutputStream()
    if path.suffix == ".csv":
        pyarrow.csv.write_csv(table, sink)
    elif path.suffix == ".parquet":
        pyarrow.parquet.write_table(table, sink)
    else:
        raise InputError(f"{path}: candles are written to a .csv or .parquet file; found suffix {path.suffix!r}")
    write_atomic(path, sink.getvalue().to_pybytes())


def _mapping(columns: Sequence[str]) -> Mapping[str, str]:
    pairs = {}
    for text in columns:
        ours, equals, theirs = text.partition("=")
        if not (ours and equals):
            raise InputError(
                f"--column {text}: a column is given as ours=theirs, such as timestamp=Date; volume= says there is none"
            )
        pairs[ours.strip()] = theirs.strip()
    return pairs
