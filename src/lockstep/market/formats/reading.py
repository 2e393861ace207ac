"""From the tables of a source to typed columns; recognised, and told what they were read as.

The order of work: unpack, decode, lay out, choose the market, choose the columns, read times and numbers, join.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.market.checks import PRICES, format_time
from lockstep.market.formats import adjusted as adjustment
from lockstep.market.formats.cells import bare
from lockstep.market.formats.choices import settled
from lockstep.market.formats.epochs import YEAR_1971, option
from lockstep.market.formats.joins import joined
from lockstep.market.formats.layout import Layout
from lockstep.market.formats.markets import named_series, of_one_market, require_one_series
from lockstep.market.formats.numbers import (
    VOLUMES_IN_LETTERS,
    as_floats,
    is_text,
    numbers_of,
    scale_of_title,
    scaled,
)
from lockstep.market.formats.rows import joined_time, note_on_opens
from lockstep.market.formats.sources import Part, ReadOptions, parts_of
from lockstep.market.formats.stamps import DAY_MS, Evidence, epochs_of, is_calendar, stamps_of
from lockstep.market.formats.unfinished import unfinished_rows
from lockstep.market.formats.words import UTC_NAMES
from lockstep.market.tables import resolve_columns
from lockstep.market.times import parse_zone, to_milliseconds

# Rows that show how bars follow one another.
_SAMPLE: Final = 100
# Beside the columns on their way, the rows that are no bars yet.
_UNFINISHED: Final = " unfinished"


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


def read(source: Any, options: ReadOptions) -> Reading:
    """The columns of a source, with no rule of candles applied.

    source   a path, a pattern of paths, a list of both; a frame or Arrow table; rows, records or columns as JSON has
             them

    Raises DataError when it cannot be read, has no rows, holds several markets, or its columns or times cannot be told.
    """
    parts = parts_of(source, options)
    columns = [(_columns(part, options), part.place) for part in parts]
    first = parts[0]
    if len(parts) == 1:
        unfinished = columns[0][0].pop(_UNFINISHED, None)
        return Reading(
            columns=columns[0][0], place=first.place, format=first.reading(), is_plain=first.is_plain(),
            unfinished=unfinished,
        )  # fmt: skip
    require_one_series([(part.series, part.place) for part in parts])
    if any(_UNFINISHED in one for one, _ in columns):
        for one, _ in columns:
            one.setdefault(_UNFINISHED, np.zeros(one["timestamp"].shape[0], dtype=np.bool_))
    readings = list(dict.fromkeys(part.reading() for part in parts))
    text = f"{len(parts)} files joined by time; " + "; ".join(readings[:3])
    place = f"{first.place} and {len(parts) - 1} more"
    series = joined(columns)
    unfinished = series.pop(_UNFINISHED, None)
    return Reading(columns=series, place=place, format=text, is_plain=False, unfinished=unfinished)


def _columns(part: Part, options: ReadOptions) -> dict[str, NDArray[Any]]:
    """The typed columns of one table; what was settled on the way is noted in the part."""
    try:
        return _typed(part, _chosen(part, options), options)
    except DataError as error:
        if part.layout is None or part.layout.described() in str(error):
            raise
        raise DataError(f"{error}\n{part.layout.described()}") from None


def _typed(part: Part, chosen: dict[str, str | None], options: ReadOptions) -> dict[str, NDArray[Any]]:
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
    if set(table.column_names) >= {"lastSize", "homeNotional", "foreignNotional"}:
        part.notes.append("BitMEX gives a bar the time at which it closes, which stamp='close' is for")
    _refuse_billionths(table.column_names, out, place)
    if chosen.get("volume") is not None:
        out["volume"] = _volume_of_title(part, str(chosen["volume"]), out["volume"])
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


def _sample(table: Any) -> tuple[list[list[str]], list[str]]:
    """The first rows as texts and the names of their columns, a date and its time of day as one."""
    rows = [list(map(str, row.values())) for row in table.slice(0, _SAMPLE).to_pylist()]
    names = list(table.column_names)
    return (joined_time(rows), ["timestamp", *names[2:]]) if names[:2] == ["date", "time"] else (rows, names)


def _refuse_billionths(names: list[str], columns: Mapping[str, NDArray[Any]], place: str) -> None:
    """Raises DataError for prices as Databento writes them raw: whole numbers of a billionth."""
    prices = np.concatenate([columns[price] for price in PRICES])
    if {"rtype", "publisher_id"} <= set(names) and np.all((prices >= 1e6) & (prices == np.floor(prices))):
        raise DataError(
            f"{place}: Databento's raw prices count billionths of the currency; found {int(prices[0])}, which is "
            f"{prices[0] / 1e9}. Write them with its option pretty_px, or divide them by 1e9."
        )


def _volume_of_title(part: Part, title: str, volume: NDArray[np.float64]) -> NDArray[np.float64]:
    """The volume in the unit that the title of its column names; a line in the notes where it names one."""
    words = re.findall(r"\b(?:lots?|contracts?|hands?)\b", title.lower())
    if words:
        part.notes.append(f"volume in {words[0].rstrip('s')}s, as {title!r} says, not in pieces")
    if (power := scale_of_title(title)) is None:
        return volume
    if VOLUMES_IN_LETTERS in part.notes:
        raise DataError(
            f"{part.place}: a volume has one unit; the title {title!r} names one, and so do cells, with K, M or B. "
            "Rename the column 'volume' where the letters alone count."
        )
    part.notes.append(f"volume times {10**power:,}, as the title {title!r} says")
    return scaled(volume, power)


def _chosen(part: Part, options: ReadOptions) -> dict[str, str | None]:
    """Which columns are read, by our names; `part.table` is cut to one market, and gets a joined time column."""
    layout, place = part.layout, part.place
    mapping = options.mapping
    if layout is not None and layout.symbols:
        _one_market_of_columns(part, layout, options)
    part.table = of_one_market(part.table, mapping, options.choice, place=place, notes=part.notes)
    part.series = {**named_series(part.table, mapping), **part.series}
    mapping.pop("symbol", None)
    part.table, mapping = settled(part.table, mapping, symbol=options.symbol, place=place, notes=part.notes)
    names = part.table.column_names
    by_rows = not part.is_named or (layout is not None and layout.header == 0)
    if by_rows and "volume" not in mapping and not [name for name in names if bare(name).startswith("vol")]:
        part.notes.append("no volume: it is 0")
        mapping["volume"] = None
    if by_rows and options.names is None and (note := note_on_opens(*_sample(part.table))) is not None:
        part.notes.append(note)
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


def _one_market_of_columns(part: Part, layout: Layout, options: ReadOptions) -> None:
    """Leave the columns of one market in a table whose lines of names have a market for each column."""
    markets = list(dict.fromkeys(market for market in layout.symbols[1:] if market))
    market = markets[options.choice.one_of(markets, part.place, "the line of tickers")] if markets else ""
    keep = [at for at, name in enumerate(layout.symbols) if at == 0 or name in (market, "")]
    names = [layout.names[at].rpartition(" (")[0] or layout.names[at] for at in keep]
    part.table = part.table.select([layout.names[at] for at in keep]).rename_columns(names)
    part.notes.append(f"the columns of {market!r}")
    if market:
        part.series["symbol"] = market


def _times(part: Part, name: str, options: ReadOptions) -> NDArray[np.int64]:
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


def _evidence(part: Part, name: str, options: ReadOptions) -> Evidence:
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
    part: Part, columns: dict[str, NDArray[Any]], chosen: Mapping[str, str | None], options: ReadOptions, *,
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
