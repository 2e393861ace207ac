"""Files and frames as Arrow tables, and which of their columns is which. Values are not interpreted here."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.core.near_names import did_you_mean, nearest
from lockstep.market.checks import COLUMNS

PARQUET: Final = (".parquet", ".pq")
ARROW: Final = (".feather", ".arrow", ".ipc")
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


def table_of_frame(frame: Any) -> Any:
    """An Arrow table of an Arrow table, or of a pandas or other frame that exports Arrow.

    Raises DataError when it is none of these, or a column has values of several types.
    """
    import pyarrow as pa

    if isinstance(frame, pa.Table):
        return _without_views(frame)
    try:
        if type(frame).__module__.split(".")[0] == "pandas" and hasattr(frame, "columns"):
            return _without_views(pa.Table.from_pandas(frame))
        if hasattr(frame, "__arrow_c_stream__"):
            return _without_views(pa.table(frame))
    except (pa.ArrowException, ValueError, TypeError) as error:
        raise DataError(
            f"frame: a column has mixed or unknown values ({one_line(error)}). Convert it first."
        ) from error
    raise DataError(
        f"candles are read from a path, a pandas frame or an Arrow table; found {type(frame).__name__}. "
        "For arrays use Candles.from_arrays."
    )


def _without_views(table: Any) -> Any:
    """The table with texts of the usual type in place of views, as polars gives them, which Arrow cannot compare."""
    import pyarrow as pa

    for at, field in enumerate(table.schema):
        kind = field.type
        if pa.types.is_string_view(kind):
            table = table.set_column(at, field.name, table.column(at).cast(pa.large_string()))
        elif pa.types.is_dictionary(kind) and pa.types.is_string_view(kind.value_type):
            chunks = [
                pa.DictionaryArray.from_arrays(chunk.indices, chunk.dictionary.cast(pa.large_string()))
                for chunk in table.column(at).chunks
            ]
            table = table.set_column(
                at, field.name, pa.chunked_array(chunks, pa.dictionary(kind.index_type, pa.large_string()))
            )
    return table


def read_parquet(source: Any) -> Any:
    """The Arrow table of a Parquet file, a path or a file-like object."""
    import pyarrow.parquet as pq

    # Without checksum verification a flipped bit reads as another price.
    return _without_views(pq.ParquetFile(source, page_checksum_verification=True).read())


def read_arrow(handle: Any) -> Any:
    """The Arrow table of a Feather or Arrow IPC file, an open file-like object."""
    import pyarrow as pa

    is_file = handle.read(6) == b"ARROW1"
    handle.seek(0)
    reader = pa.ipc.open_file(handle) if is_file else pa.ipc.open_stream(handle)
    return _without_views(reader.read_all())


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
        possible = candidates(ours, names)
        if not possible:
            missing.append(ours)
        elif len(possible) > 1:
            raise DataError(
                f"{place}: {ours!r} could be any of {_list(possible)}. Say which: "
                f"columns={{{ours!r}: {possible[0]!r}}} (--columns {ours}={possible[0]}; in a spec [data] columns)."
            )
        else:
            chosen[ours] = possible[0]
    if missing:
        hint = did_you_mean(missing[0], names)
        if missing == ["volume"]:
            hint = (
                " Name its column: columns={'volume': 'NAME'} (--columns volume=NAME; in a spec [data.columns] "
                "volume = \"NAME\"). Where the source has none, say so: columns={'volume': None} (--columns volume= ; "
                'in a spec [data.columns] volume = ""); it is then 0.'
            )
        option = f"columns={{{missing[0]!r}: 'NAME'}} (--columns {missing[0]}=NAME; in a spec [data] columns)"
        raise DataError(
            f"{place}: columns {', '.join(missing)} are missing; found {_list(names)}."
            f"{hint or f' Say which they are: {option}.'}"
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


def candidates(ours: str, names: Sequence[str]) -> list[str]:
    """Columns that may be ours: the exact name, else equal but for case, else aliases, else a nameless index."""
    if ours in names:
        return [ours]
    if same := [name for name in names if _plain(name) == ours]:
        return same
    if aliases := [name for name in names if _plain(name) in ALIASES[ours]]:
        # "t" and "T" are two things, of which the usual spelling is ours.
        if len({name.lower() for name in aliases}) == 1 and (usual := [n for n in aliases if n in ALIASES[ours]]):
            return usual
        return aliases
    return [_UNNAMED_INDEX] if ours == "timestamp" and _UNNAMED_INDEX in names else []


def similar_file(path: Path) -> str:
    """A sentence for an error about a file that is not there: one of a like name, or that its folder is not there."""
    if not path.parent.is_dir():
        return f" Nor is there a folder {path.parent}."
    close = nearest(path.name, sorted(entry.name for entry in path.parent.iterdir()))
    return "" if close is None else f" Did you mean {path.parent / close}?"


def _list(names: Sequence[str]) -> str:
    shown = ", ".join(repr(name) for name in names[:20])
    return f"{shown} and {len(names) - 20} more" if len(names) > 20 else shown or "no columns"


def one_line(error: BaseException) -> str:
    """What another library says of an error, on one line and not too long."""
    return " ".join(str(error).split())[:300].rstrip(".")
