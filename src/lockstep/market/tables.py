"""Files and frames as Arrow tables, and which of their columns is which. Values are not interpreted here."""

from __future__ import annotations

import csv
import gzip
import io
import re
import zlib
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.core.near_names import did_you_mean, nearest
from lockstep.market.checks import COLUMNS

PARQUET: Final = (".parquet", ".pq")
ARROW: Final = (".feather", ".arrow", ".ipc")
CSV: Final = (".csv", ".tsv", ".txt", ".csv.gz", ".tsv.gz", ".txt.gz")
SUFFIXES: Final = (*PARQUET, *ARROW, *CSV)
# Other names under which exchanges and charting programs write the columns, compared without case, blanks,
# underscores and hyphens. A bare "close time" is no bar open and is not taken for one.
ALIASES: Final[Mapping[str, tuple[str, ...]]] = {
    "timestamp": (
        "time", "date", "datetime", "opentime", "unix", "unixtimestamp", "ts", "t", "gmttime", "utc", "timestampms",
        "timeutc", "dateutc", "datetimeutc", "epoch", "timeopen", "bartime", "timestamputc",
    ),
    "open": ("o", "openprice", "priceopen", "op"),
    "high": ("h", "highprice", "pricehigh", "hi", "max"),
    "low": ("l", "lowprice", "pricelow", "lo", "min"),
    "close": ("c", "closeprice", "priceclose", "cl", "last", "closelast"),
    "volume": ("v", "vol", "vol.", "basevolume", "volumebase", "tickvolume", "tickvol", "volumetraded", "vo"),
}  # fmt: skip
# Arrow's name for the index of a pandas frame that has no name of its own.
_UNNAMED_INDEX: Final = "__index_level_0__"
_NULLS: Final = ["", "nan", "NaN", "NAN", "NA", "N/A", "null", "NULL", "None"]


def read_table(source: Any, column_names: Sequence[str] | None = None) -> tuple[Any, str]:
    """An Arrow table and the place to name in errors.

    source        a path (Parquet, Feather/Arrow IPC, CSV, also gzipped), an Arrow table, or a pandas or other frame
                  that exports Arrow
    column_names  the columns of a CSV file that has no header line

    Raises DataError when the file is missing, of unknown kind, damaged, or holds no table.
    """
    if isinstance(source, str | Path):
        path = Path(source)
        return _read_file(path, column_names), str(path)
    if column_names is not None:
        raise DataError("a list of column names is for CSV files without a header; give a mapping for a frame.")
    return _from_frame(source), "frame"


def _from_frame(frame: Any) -> Any:
    """An Arrow table of a frame. Raises DataError when it is none, or a column has values of several types."""
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return frame
    try:
        if type(frame).__module__.split(".")[0] == "pandas":
            return pa.Table.from_pandas(frame)
        if hasattr(frame, "__arrow_c_stream__"):
            return pa.table(frame)
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(
            f"frame: a column has mixed or unknown values ({_one_line(error)}). Convert it first."
        ) from error
    raise DataError(
        f"candles are read from a path, a pandas frame or an Arrow table; found {type(frame).__name__}. "
        "For arrays use Candles.from_arrays."
    )


def _read_file(path: Path, column_names: Sequence[str] | None) -> Any:
    import pyarrow as pa

    name = path.name.lower()
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder. Name one file in it.")
        if not path.exists():
            raise DataError(f"{path}: there is no such file.{_similar_file(path)}")
        if not name.endswith(SUFFIXES):
            raise DataError(f"{path}: the kind of file is told by its suffix, one of {', '.join(SUFFIXES)}. Rename it.")
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty. Download it again.")
        if not name.endswith(CSV) and column_names is not None:
            raise DataError(f"{path}: a list of column names is for CSV files without a header; give a mapping.")
        if name.endswith(PARQUET):
            return _read_parquet(path)
        if name.endswith(ARROW):
            return _read_arrow(path)
        return _read_csv(path, column_names)
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        # EOFError and BadGzipFile (an OSError) come from cut or damaged gzip files.
        raise DataError(f"{path}: the file cannot be read: {_one_line(error)}. Download or write it again.") from error


def _read_parquet(path: Path) -> Any:
    import pyarrow.parquet as pq

    # Without checksum verification a flipped bit reads as another price.
    return pq.ParquetFile(path, page_checksum_verification=True).read()


def _read_arrow(path: Path) -> Any:
    import pyarrow as pa

    with pa.OSFile(str(path), "rb") as handle:
        is_file = handle.read(6) == b"ARROW1"
        handle.seek(0)
        reader = pa.ipc.open_file(handle) if is_file else pa.ipc.open_stream(handle)
        return reader.read_all()


def _read_csv(path: Path, column_names: Sequence[str] | None) -> Any:
    from pyarrow import csv as arrow_csv

    line = _first_line(path)
    # csv.Sniffer may settle on any character, even a letter; exports use one of these three.
    delimiter = max(",;\t", key=line.count)
    header = next(csv.reader(io.StringIO(line), delimiter=delimiter), [])
    if column_names is None:
        if header and all(re.fullmatch(r"\s*-?\d[\d.:\-\s]*", cell) for cell in header):
            raise DataError(
                f"{path}: the first line names the columns; found numbers ({line[:60]!r}). "
                "Give the names: columns=['timestamp', 'open', 'high', 'low', 'close', 'volume'] "
                "(in a spec [data] columns, a list)."
            )
        names = list(header)
    else:
        names = list(column_names)
        if len(names) != len(header):
            raise DataError(
                f"{path}: {len(names)} column names are given; found {len(header)} columns in the first line."
            )
    if doubles := sorted({name for name in names if names.count(name) > 1}):
        raise DataError(f"{path}: columns have different names; found {doubles[0]!r} twice. Rename one.")
    import pyarrow as pa

    # All as text: numbers and times are then read by our own rules, and errors can name a row.
    return arrow_csv.read_csv(
        path,
        read_options=arrow_csv.ReadOptions(
            column_names=names, skip_rows=0 if column_names is not None else 1, use_threads=False
        ),
        parse_options=arrow_csv.ParseOptions(delimiter=delimiter),
        convert_options=arrow_csv.ConvertOptions(
            column_types=dict.fromkeys(names, pa.string()), strings_can_be_null=True, null_values=_NULLS
        ),
    )


def _first_line(path: Path) -> str:
    """The first line that is not blank, without a byte-order mark (Excel writes one) and line end."""
    opener = gzip.open if path.name.lower().endswith(".gz") else open
    with opener(path, "rt", encoding="utf-8-sig", newline="") as handle:
        for line in handle:
            if line.strip():
                return str(line).rstrip("\r\n")
    raise DataError(f"{path}: the file is empty. Download it again.")


def resolve_columns(
    names: Sequence[str], mapping: Mapping[str, str | None] | None, *, extra: Iterable[str], place: str
) -> dict[str, str | None]:
    """Which of the table's columns is timestamp, open, high, low, close, volume and each extra.

    names    the table's columns
    mapping  our name -> the table's name; what it leaves out is found by name or alias. None as the value (or "", where
             there is no way to write None) is allowed for volume alone: the source has none, write zeros.
    extra    further columns wanted, by the table's names
    place    named in errors

    Raises DataError when a column is missing or could be several; names the likely one.
    """
    mapped = {ours: theirs or None for ours, theirs in (mapping or {}).items()}
    for ours, theirs in mapped.items():
        if ours not in COLUMNS:
            raise DataError(f"{place}: columns maps {', '.join(COLUMNS)}; found {ours!r}.{did_you_mean(ours, COLUMNS)}")
        if theirs is None and ours != "volume":
            raise DataError(f"{place}: only volume may be absent (None); found {ours!r}. Name its column.")
        if theirs is not None and theirs not in names:
            raise DataError(
                f"{place}: columns says that {ours!r} is in {theirs!r}; found {_list(names)}."
                f"{did_you_mean(theirs, names)}"
            )
    chosen: dict[str, str | None] = {}
    missing = []
    for ours in COLUMNS:
        if ours in mapped:
            chosen[ours] = mapped[ours]
            continue
        candidates = _candidates(ours, names)
        if not candidates:
            missing.append(ours)
        elif len(candidates) > 1:
            raise DataError(
                f"{place}: {ours!r} could be any of {_list(candidates)}. Say which: "
                f"columns={{{ours!r}: {candidates[0]!r}}} (--column {ours}={candidates[0]}; in a spec [data] columns)."
            )
        else:
            chosen[ours] = candidates[0]
    if missing:
        hint = did_you_mean(missing[0], names)
        if missing == ["volume"]:
            hint = (
                " Where the source has none, say so: columns={'volume': None} (--column volume= ; in a spec "
                '[data.columns] volume = ""); it is then 0.'
            )
        raise DataError(
            f"{place}: columns {', '.join(missing)} are missing; found {_list(names)}."
            f"{hint or ' Map them: columns={...} (--column OURS=THEIRS; in a spec [data] columns).'}"
        )
    for name in extra:
        if name not in names:
            raise DataError(
                f"{place}: the extra column {name!r} is missing; found {_list(names)}.{did_you_mean(name, names)}"
            )
        chosen[name] = name
    return chosen


def _plain(name: str) -> str:
    return re.sub(r"[\s_\-]", "", name).lower()


def _candidates(ours: str, names: Sequence[str]) -> list[str]:
    """The exact name, else names equal but for case and signs, else aliases, else a frame's nameless index."""
    if ours in names:
        return [ours]
    if same := [name for name in names if _plain(name) == ours]:
        return same
    if aliases := [name for name in names if _plain(name) in ALIASES[ours]]:
        return aliases
    return [_UNNAMED_INDEX] if ours == "timestamp" and _UNNAMED_INDEX in names else []


def _similar_file(path: Path) -> str:
    if not path.parent.is_dir():
        return f" Nor is there a folder {path.parent}."
    close = nearest(path.name, sorted(entry.name for entry in path.parent.iterdir()))
    return "" if close is None else f" Did you mean {path.parent / close}?"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown or "no columns"


def _one_line(error: BaseException) -> str:
    return " ".join(str(error).split())[:300].rstrip(".")
