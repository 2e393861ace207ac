"""Data outside of a run: import a file, judge its quality, read a snapshot back, list the snapshots.

A snapshot is named by the digest of its columns. It is an ordinary Arrow file, so a spec may name it as its data
(`source = "file"`, `path = ".../<digest>.arrow"`). A run pins the candles that it uses as such a snapshot by itself.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow
import pyarrow.csv
import pyarrow.parquet

from lockstep.app.files import load_options
from lockstep.app.paths import require_writable_name
from lockstep.core.errors import DataError, InputError, LockstepError
from lockstep.core.files import write_atomic
from lockstep.market.bars import LoadOptions, LoadReport, read_bars, read_checked
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
    """The snapshot of imported files, the rows that were left out, and what to look at.

    first_bar, last_bar   open, high, low, close and volume by name
    volume                sum over all bars
    missing               bars that are not there between the first and the last, closed hours included
    """

    snapshot: SnapshotInfo
    loaded: LoadReport
    first_bar: Mapping[str, float]
    last_bar: Mapping[str, float]
    volume: float
    missing: int

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep data import --json` prints."""
        return {
            **self.snapshot.to_json(),
            "format": self.loaded.format,
            "stamp": self.loaded.stamp,
            "first_bar": dict(self.first_bar),
            "last_bar": dict(self.last_bar),
            "volume": self.volume,
            "missing": self.missing,
            "rows_read": self.loaded.rows_read,
            "rows_dropped": self.loaded.rows_dropped,
            "dropped": [str(defect) for defect in self.loaded.dropped],
        }


def import_data(
    path: Path | Sequence[str | Path], *, blobs: BlobStore, columns: Sequence[str] = (), drop_bad: bool = False,
    **options: Any,
) -> ImportReport:  # fmt: skip
    """Read a file or several, check every row, and pin them.

    path       a file, a pattern of files, or a list of both
    columns    "ours=theirs" each, or "name,name,..." in their order
    drop_bad   leave out and count broken and repeated rows; default: refuse the file
    options    of `load_candles`

    Raises DataError naming the first bad row, DiskError when the snapshot cannot be written.
    """
    chosen = load_options({"columns": columns, "drop_bad": drop_bad, **options})
    candles, report = load_with_report(path, LoadOptions(**chosen))
    write_snapshot(candles, blobs)
    span = int(candles.timestamp[-1] - candles.timestamp[0])
    return ImportReport(
        snapshot=SnapshotInfo.of(candles, blobs),
        loaded=report,
        first_bar=_bar(candles, 0),
        last_bar=_bar(candles, len(candles) - 1),
        volume=float(np.sum(candles.volume)),
        missing=max(0, round(span / candles.timeframe_ms) + 1 - len(candles)),
    )


def _bar(candles: Candles, row: int) -> dict[str, float]:
    return {name: float(getattr(candles, name)[row]) for name in ("open", "high", "low", "close", "volume")}


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


def data_quality(
    source: str | Sequence[str], *, blobs: BlobStore, timeframe: str | None = None, **options: Any
) -> QualityReport:
    """Judge a file or several, the sample, or a snapshot. Broken rows of a file are counted, not refused.

    options   of `load_candles`, for files, `columns` as in `import_data`; with sort, stamp="close" or on_bad="drop"
              those rows are judged that are then there
    """
    files = [source] if isinstance(source, str) else list(source)
    if files == [SAMPLE]:
        return quality_report(sample_candles())
    if not _are_files(files):
        return quality_report(open_snapshot(blobs, find_digest(files[0], blobs)))
    chosen = LoadOptions(**load_options(options))
    if chosen.sort or chosen.on_bad == "drop" or chosen.stamp == "close":
        return quality_report(read_checked(files, chosen)[0], timeframe=timeframe)
    return quality_report(read_bars(files, chosen), timeframe=timeframe)


def _are_files(sources: Sequence[str]) -> bool:
    """Whether an argument names files, not a snapshot: several do, and so does one that is there or has a suffix."""
    first = sources[0]
    return len(sources) > 1 or Path(first).exists() or Path(first).suffix != "" or "*" in first


def candles_of(source: str, *, blobs: BlobStore, **options: Any) -> Candles:
    """The candles of a file, of "sample", or of a snapshot's digest. Raises DataError.

    options   of `load_candles`, for a file, `columns` as in `import_data`
    """
    if source == SAMPLE:
        return sample_candles()
    if _are_files([source]):
        return load_candles(source, **load_options(options))
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
