"""From a source to typed columns: files, patterns, frames, rows; recognised, and told what they were read as.

The order of work: unpack, decode, lay out, choose the market, choose the columns, read times and numbers, join.
"""

from __future__ import annotations

import csv
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.market.checks import PRICES, format_time
from lockstep.market.formats import adjusted as adjustment
from lockstep.market.formats.cells import bare
from lockstep.market.formats.choices import settled
from lockstep.market.formats.documents import parsed, table_of_document
from lockstep.market.formats.encodings import to_utf8
from lockstep.market.formats.epochs import YEAR_1971, option
from lockstep.market.formats.joins import joined, paths_of, require_one_series
from lockstep.market.formats.layout import Layout
from lockstep.market.formats.markets import MarketChoice, of_one_market
from lockstep.market.formats.numbers import as_floats, is_text, numbers_of
from lockstep.market.formats.packing import PACKED, Content, is_packed, unpack
from lockstep.market.formats.programs import Program
from lockstep.market.formats.stamps import DAY_MS, Evidence, epochs_of, is_calendar, stamps_of
from lockstep.market.formats.text import TextOptions, read_text
from lockstep.market.formats.unfinished import unfinished_rows
from lockstep.market.formats.words import FIELDS, UTC_NAMES
from lockstep.market.tables import (
    ARROW,
    PARQUET,
    one_line,
    read_arrow,
    read_parquet,
    resolve_columns,
    similar_file,
    table_of_frame,
)  # fmt: skip
from lockstep.market.times import parse_zone, to_milliseconds

TEXT: Final = (".csv", ".tsv", ".txt", ".prn")
JSON: Final = (".json", ".jsonl", ".ndjson")
PLAIN: Final = (*PARQUET, *ARROW, *TEXT, *JSON)
# Beside the columns on their way, the rows that are no bars yet.
_UNFINISHED: Final = " unfinished"
_USUAL: Final = ("CSV", "Parquet", "Feather or Arrow", "frame")
_OTHERS: Final[Mapping[str, str]] = {
    ".xlsx": "Save it as CSV in the program that wrote it.",
    ".xls": "Save it as CSV in the program that wrote it.",
    ".ods": "Save it as CSV in the program that wrote it.",
    ".h5": "Read it with pandas, and give the frame.",
    ".hdf5": "Read it with pandas, and give the frame.",
    ".pkl": "Pickles can run code. Write it as Parquet where you trust it.",
    ".pickle": "Pickles can run code. Write it as Parquet where you trust it.",
    ".hst": "Export the history as CSV in MetaTrader.",
}


@dataclass(frozen=True, kw_only=True)
class ReadOptions:
    """How a source is read; `load_candles` says what each means."""

    columns: Mapping[str, Any] | Sequence[str] | None = None
    time_unit: str | None = None
    time_format: str | None = None
    timezone: str | None = None
    extra: Sequence[str] = ()
    skip: int | None = None
    decimal: str | None = None
    encoding: str | None = None
    adjusted: bool | None = None
    symbol: str | None = None
    exchange: str | None = None
    timeframe: str | None = None

    @property
    def choice(self) -> MarketChoice:
        """Which of several markets, exchanges and lengths of bars to read."""
        return MarketChoice(symbol=self.symbol, exchange=self.exchange, timeframe=self.timeframe)

    @property
    def names(self) -> list[str] | None:
        """The columns in their order, where a list of them is declared."""
        return None if self.columns is None or isinstance(self.columns, Mapping) else list(self.columns)

    @property
    def mapping(self) -> dict[str, Any]:
        """Our name -> the source's, as declared."""
        return dict(self.columns) if isinstance(self.columns, Mapping) else {}


@dataclass(frozen=True, kw_only=True)
class Reading:
    """Typed columns of a source.

    columns   timestamp int64 (n,), milliseconds UTC at bar open; open ... volume and extras float64 (n,)
    place     the path, or "frame"
    format    what the source was read as and why, a sentence
    is_plain  whether that is all usual: names in the first line, times in one unit, nothing to tell
    unfinished  bool (n,), rows of which the source says that their bar is not over; None where it does not say
    """

    columns: dict[str, NDArray[Any]]
    place: str
    format: str
    is_plain: bool
    unfinished: NDArray[np.bool_] | None = None


@dataclass(kw_only=True)
class _Part:
    """One table on its way: what it was read as is noted on the way."""

    table: Any
    place: str
    kind: str
    layout: Layout | None = None
    program: Program | None = None
    may_turn: bool = True
    zone: str | None = None
    is_named: bool = True
    notes: list[str] = field(default_factory=list)

    def reading(self) -> str:
        """What the table was read as, a sentence."""
        head = str(self.program) if self.program is not None else self.kind
        layout = [str(self.layout)] if self.layout is not None else []
        return "; ".join([head, *layout, *dict.fromkeys(self.notes)])

    def is_plain(self) -> bool:
        """Whether nothing about it needs telling."""
        usual = self.program is None and not self.notes and (self.layout is None or self.layout.is_plain)
        return usual and self.kind in _USUAL


def read(source: Any, options: ReadOptions) -> Reading:
    """The columns of a source, with no rule of candles applied.

    source   a path, a pattern of paths, a list of both; a frame or Arrow table; rows, records or columns as JSON has
             them

    Raises DataError when it cannot be read, has no rows, holds several markets, or its columns or times cannot be told.
    """
    parts = _parts(source, options)
    columns = [(_columns(part, options), part.place) for part in parts]
    first = parts[0]
    if len(parts) == 1:
        unfinished = columns[0][0].pop(_UNFINISHED, None)
        return Reading(
            columns=columns[0][0], place=first.place, format=first.reading(), is_plain=first.is_plain(),
            unfinished=unfinished,
        )  # fmt: skip
    if any(_UNFINISHED in one for one, _ in columns):
        for one, _ in columns:
            one.setdefault(_UNFINISHED, np.zeros(one["timestamp"].shape[0], dtype=np.bool_))
    readings = list(dict.fromkeys(part.reading() for part in parts))
    text = f"{len(parts)} files joined by time; " + "; ".join(readings[:3])
    place = f"{first.place} and {len(parts) - 1} more"
    series = joined(columns)
    unfinished = series.pop(_UNFINISHED, None)
    return Reading(columns=series, place=place, format=text, is_plain=False, unfinished=unfinished)


def _parts(source: Any, options: ReadOptions) -> list[_Part]:
    listed = (
        isinstance(source, list | tuple) and len(source) > 0 and all(isinstance(item, str | Path) for item in source)
    )
    if isinstance(source, str | Path) or listed:
        return [part for path in paths_of(source) for part in _file_parts(path, options)]
    if isinstance(source, list | tuple | dict):
        return [_document_part(source, options)]
    if options.names is not None:
        raise DataError("a list of column names is for CSV files without a header; give a mapping for a frame.")
    return [_frame_part(source, options)]


def _document_part(source: Any, options: ReadOptions) -> _Part:
    nested = source if isinstance(source, dict) else [item for item in source if isinstance(item, list | tuple | dict)]
    if not nested:
        raise DataError(
            f"candles are read from a path, a pandas frame or an Arrow table; found {type(source).__name__}. "
            "For arrays use Candles.from_arrays."
        )
    choice = options.choice
    document = table_of_document(source, names=options.names, choice=choice, place="rows")
    return _Part(
        table=document.table, place="rows", kind=document.kind, zone=document.zone,
        is_named=document.is_named or options.names is not None,
    )  # fmt: skip


def _frame_part(frame: Any, options: ReadOptions) -> _Part:
    part = _Part(table=None, place="frame", kind="frame", may_turn=False)
    levels = getattr(getattr(frame, "columns", None), "nlevels", 1)
    if levels == 2:
        fields = max(
            (0, 1), key=lambda level: sum(bare(str(x)) in FIELDS for x in frame.columns.get_level_values(level))
        )
        markets = [str(name) for name in frame.columns.get_level_values(1 - fields)]
        names = list(dict.fromkeys(name for name in markets if name))
        market = names[_market(names, options, "frame", "the second level of its columns")] if names else ""
        frame = frame.loc[:, [name in (market, "") for name in markets]]
        frame.columns = frame.columns.get_level_values(fields)
        frame.columns.name = None
        part.notes.append(f"the columns of {market!r}")
    part.table = table_of_frame(frame)
    return part


def _market(names: Sequence[str], options: ReadOptions, place: str, where: str) -> int:
    choice = options.choice
    if len(names) > 1:
        return choice.index(names, place, where)
    choice.require(names[0], place)
    return 0


def _file_parts(path: Path, options: ReadOptions) -> list[_Part]:
    import pyarrow as pa

    name = path.name.lower()
    try:
        if path.is_dir():
            raise DataError(f"{path} is a folder. Name one file in it, or a pattern such as {path / '*.csv'}.")
        if path.is_symlink() and not path.exists():
            raise DataError(f"{path} is a link that leads to no file. Name the file itself.")
        if not path.exists():
            raise DataError(f"{path}: there is no such file.{similar_file(path)}")
        if not name.endswith((*PLAIN, *PACKED)):
            cure = _OTHERS.get(path.suffix.lower(), "Rename it, if it is one of these.")
            raise DataError(
                f"{path}: the kind of file is told by its suffix, one of {', '.join((*PLAIN, *PACKED))}. {cure}"
            )
        if path.stat().st_size == 0:
            raise DataError(f"{path}: the file is empty. Download it again.")
        with path.open("rb") as handle:
            start = handle.read(4)
        if not is_packed(start, name):
            return [_content_part(path, path.name, options, str(path))]
        contents = unpack(path, PLAIN)
        if len(contents) > 1:
            require_one_series([content.name for content in contents], str(path))
        places = [str(path) if len(contents) == 1 else f"{path}: {content.name}" for content in contents]
        return [
            _content_part(content, f"{path.name} {content.name}", options, place)
            for content, place in zip(contents, places, strict=True)
        ]
    except (pa.ArrowException, OSError, EOFError, UnicodeDecodeError, zlib.error, csv.Error) as error:
        # EOFError and BadGzipFile (an OSError) come from cut or damaged gzip files.
        raise DataError(f"{path}: the file cannot be read: {one_line(error)}. Download or write it again.") from error


def _content_part(source: Path | Content, name: str, options: ReadOptions, place: str) -> _Part:
    """The table in a file or in unpacked bytes. `name` has the names of the file and of what was in it."""
    import pyarrow as pa

    title = source.name.lower()
    data: Any = source if isinstance(source, Path) else source.data
    notes: list[str] = []
    if not title.endswith(TEXT) and title.endswith((*PARQUET, *ARROW)):
        if options.names is not None:
            raise DataError(f"{place}: a list of column names is for CSV files without a header; give a mapping.")
        if title.endswith(PARQUET):
            handle = data if isinstance(data, Path) else pa.BufferReader(data)
            return _Part(table=read_parquet(handle), place=place, kind="Parquet")
        with pa.OSFile(str(data), "rb") if isinstance(data, Path) else pa.BufferReader(data) as handle:
            return _Part(table=read_arrow(handle), place=place, kind="Feather or Arrow")
    start = data[:64] if isinstance(data, bytes) else _start(data)
    if title.endswith(JSON) or (not title.endswith(TEXT) and start.lstrip()[:1] in (b"{", b"[")):
        whole = to_utf8(data.read_bytes() if isinstance(data, Path) else data, options.encoding, place, notes)
        choice = options.choice
        document = table_of_document(parsed(whole, place), names=options.names, choice=choice, place=place)
        return _Part(
            table=document.table, place=place, kind=f"JSON, {document.kind}", notes=notes, zone=document.zone,
            is_named=document.is_named or options.names is not None,
        )  # fmt: skip
    text = TextOptions(names=options.names, skip=options.skip, encoding=options.encoding)
    read_as = read_text(data, name, text, place=place, notes=notes)
    return _Part(
        table=read_as.table, place=place, kind="CSV", layout=read_as.layout, program=read_as.program, notes=notes
    )


def _start(path: Path) -> bytes:
    with path.open("rb") as handle:
        return handle.read(64)


def _columns(part: _Part, options: ReadOptions) -> dict[str, NDArray[Any]]:
    """The typed columns of one table; what was settled on the way is noted in the part."""
    try:
        return _typed(part, _chosen(part, options), options)
    except DataError as error:
        if part.layout is None or part.layout.described() in str(error):
            raise
        raise DataError(f"{error}\n{part.layout.described()}") from None


def _typed(part: _Part, chosen: dict[str, str | None], options: ReadOptions) -> dict[str, NDArray[Any]]:
    table, place = part.table, part.place
    if table.num_rows == 0:
        raise DataError(f"{place}: there are no rows. Fetch or export the bars again.")
    whole = adjustment.whole_set(table.column_names, chosen, options.adjusted, place)
    chosen = {ours: whole.get(ours, theirs) for ours, theirs in chosen.items()}
    out: dict[str, NDArray[Any]] = {"timestamp": _times(part, str(chosen["timestamp"]), options)}
    # Every column is read before a rule is applied, so that a report can show the whole row that breaks one.
    numbers = {ours: theirs for ours, theirs in chosen.items() if ours != "timestamp"}
    texts = {
        ours: table.column(theirs)
        for ours, theirs in numbers.items()
        if theirs is not None and is_text(table.column(theirs).type)
    }
    plain = numbers_of(texts, decimal=options.decimal, place=place, notes=part.notes) if texts else {}
    for ours, theirs in numbers.items():
        where = f"{place}: column {theirs!r}"
        if theirs is None:
            out[ours] = np.zeros(table.num_rows, dtype=np.float64)
        else:
            out[ours] = as_floats(plain.get(ours, table.column(theirs)), place=where)
    out = _adjusted(part, out, chosen, options, is_whole=bool(whole))
    if (unfinished := unfinished_rows(table, chosen.values())) is not None:
        out[_UNFINISHED], title = unfinished
        if out[_UNFINISHED].any():
            part.notes.append(f"{int(out[_UNFINISHED].sum()):,} rows are not over, as {title!r} says")
    time = out["timestamp"]
    if part.may_turn and time.shape[0] > 1 and np.all(np.diff(time) < 0):
        part.notes.append("newest row first, turned round")
        out = {name: value[::-1] for name, value in out.items()}
    return out


def _chosen(part: _Part, options: ReadOptions) -> dict[str, str | None]:
    """Which columns are read, by our names; `part.table` is cut to one market, and gets a joined time column."""
    layout, place = part.layout, part.place
    mapping = options.mapping
    if layout is not None and layout.symbols:
        _one_market_of_columns(part, layout, options)
    part.table = of_one_market(part.table, mapping, options.choice, place=place, notes=part.notes)
    mapping.pop("symbol", None)
    part.table, mapping = settled(part.table, mapping, symbol=options.symbol, place=place, notes=part.notes)
    names = part.table.column_names
    by_rows = not part.is_named or (layout is not None and layout.header == 0)
    if by_rows and "volume" not in mapping and not [name for name in names if bare(name).startswith("vol")]:
        part.notes.append("no volume: it is 0")
        mapping["volume"] = None
    doubles = [name.removesuffix(" (2)") for name in names if layout is not None and name.endswith(" (2)")]
    try:
        chosen = resolve_columns(names, mapping, extra=options.extra, place=place)
    except DataError:
        if doubles:
            raise _twice(doubles[0], place) from None
        raise
    for name in doubles:
        is_read = name in chosen.values() and name not in options.mapping.values()
        if is_read and not part.table.column(name).equals(part.table.column(f"{name} (2)")):
            raise _twice(name, place)
    return chosen


def _twice(name: str, place: str) -> DataError:
    return DataError(
        f"{place}: columns have different names; found {name!r} twice. Rename one, or name all in their order: "
        "columns=['timestamp', 'open', ...] (--columns timestamp,open,...; in a spec [data] columns, a list)."
    )


def _one_market_of_columns(part: _Part, layout: Layout, options: ReadOptions) -> None:
    """Leave the columns of one market in a table whose lines of names have a market for each column."""
    markets = list(dict.fromkeys(market for market in layout.symbols[1:] if market))
    market = markets[_market(markets, options, part.place, "the line of tickers")] if markets else ""
    keep = [at for at, name in enumerate(layout.symbols) if at == 0 or name in (market, "")]
    names = [layout.names[at].rpartition(" (")[0] or layout.names[at] for at in keep]
    part.table = part.table.select([layout.names[at] for at in keep]).rename_columns(names)
    part.notes.append(f"the columns of {market!r}")


def _times(part: _Part, name: str, options: ReadOptions) -> NDArray[np.int64]:
    import pyarrow as pa
    import pyarrow.compute as pc

    column, place = part.table.column(name), f"{part.place}: column {name!r}"
    kind = column.type
    if column.null_count:
        row = pc.index(pc.is_null(column), True).as_py()
        raise DataError(
            f"{place}: every row has a time; found none in row {row}, {column.null_count:,} such rows. Leave them out."
        )
    evidence = _evidence(part, name, options)
    is_numeric = pa.types.is_integer(kind) or pa.types.is_floating(kind)
    if is_numeric and (options.time_format or (options.time_unit is None and is_calendar(column.to_numpy()))):
        # Whole numbers whose digits are those of a date: read as the same text is.
        column = pc.cast(pc.cast(column, pa.int64(), safe=options.time_format is None), pa.string())
    if is_text(column.type):
        try:
            return stamps_of(
                column, unit=options.time_unit, time_format=options.time_format, evidence=evidence, place=place,
                notes=part.notes,
            )  # fmt: skip
        except DataError as error:
            if part.zone is None or "is not given" not in str(error):
                raise
            raise DataError(f"{error} The document names the zone {part.zone!r}; its offset is needed.") from None
    if is_numeric:
        return epochs_of(column.to_numpy(), unit=options.time_unit, evidence=evidence, place=place, notes=part.notes)
    if pa.types.is_timestamp(kind):
        values = to_milliseconds(column.cast(pa.int64()).to_numpy(), kind.unit, place)
        if options.time_unit is None and np.all((values >= 0) & (values < YEAR_1971)):
            raise DataError(
                f"{place}: all times lie in 1970, such as {format_time(int(values[0]))}, as where numbers were "
                "converted with another unit. Give the numbers themselves, or convert them with theirs, such as "
                f"pandas.to_datetime(numbers, unit='ms'); where 1970 is meant, declare it: {option(kind.unit)}."
            )
        if kind.tz is not None:
            return values  # Arrow keeps zoned times in UTC
    elif pa.types.is_date(kind):
        values = column.cast(pa.timestamp("ms")).cast(pa.int64()).to_numpy()
    else:
        raise DataError(
            f"{place} holds times; found {kind}. Map the column that has them: columns={{'timestamp': ...}} "
            "(--columns timestamp=NAME; in a spec [data] columns)."
        )
    if evidence.zone is None:
        if np.any(values % DAY_MS):
            raise DataError(
                f"{place}: the zone of the times is not given. Declare it: timezone='UTC' or a fixed offset "
                "(--timezone UTC; in a spec [data] timezone)."
            )
        part.notes.append("dates are days of UTC")
        return np.asarray(values, dtype=np.int64)
    offset = evidence.zone.utcoffset(None)
    return np.asarray(values - round(offset.total_seconds() * 1_000), dtype=np.int64)


def _evidence(part: _Part, name: str, options: ReadOptions) -> Evidence:
    """What is known of the zone: declared, by the column's name, or by the program."""
    program = part.program
    if part.zone is not None and options.timezone is None and part.zone.upper() in ("UTC", "GMT"):
        return Evidence(zone=parse_zone("UTC"), reason="as the document says")
    first = program is not None and program.day_first
    if options.timezone is not None:
        return Evidence(zone=parse_zone(options.timezone), day_first=first)
    if bare(name) in UTC_NAMES:
        return Evidence(zone=parse_zone("UTC"), reason=f"as the column's name {name!r} says", day_first=first)
    if program is None:
        return Evidence()
    zone = parse_zone(program.zone)
    return Evidence(zone=zone, reason=f"as {program.name} documents", day_first=first, server=program.server)


def _adjusted(
    part: _Part, columns: dict[str, NDArray[Any]], chosen: Mapping[str, str | None], options: ReadOptions, *,
    is_whole: bool,
) -> dict[str, NDArray[Any]]:  # fmt: skip
    """The columns with all four prices adjusted where that was asked for; a line in the notes where it was not."""
    names = part.table.column_names
    there = adjustment.adjusted_columns(names)
    if "close" not in there:
        return columns

    def numbers(name: str) -> NDArray[np.float64]:
        column = part.table.column(name)
        if is_text(column.type):
            column = numbers_of({name: column}, decimal=options.decimal, place=part.place, notes=[])[name]
        return as_floats(column, place=f"{part.place}: column {name!r}")

    adjustment.require_unmixed(names, chosen, numbers, columns, part.place)
    title = there["close"]
    if is_whole:
        part.notes.append(f"adjusted prices, of {title!r} and its like")
    elif options.adjusted:
        part.notes.append(f"all four prices adjusted, by {title!r} / {chosen['close']!r}")
        return adjustment.scaled(columns, numbers(title), part.place)
    elif chosen["close"] != title and all(chosen[price] in names for price in PRICES):
        try:
            differs = not np.array_equal(numbers(title), columns["close"], equal_nan=True)
        except DataError:  # a column that is not read may hold anything
            return columns
        if differs:
            part.notes.append(f"prices as traded; {title!r} is left aside, adjusted=True uses it")
    return columns
