"""Which column is the time and which the volume, where names alone do not say it but values do."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

import numpy as np

from lockstep.core.errors import DataError
from lockstep.market.checks import COLUMNS
from lockstep.market.formats.adjusted import adjusted_columns
from lockstep.market.formats.cells import bare, is_clock, is_date, is_epoch, is_time
from lockstep.market.formats.numbers import as_floats, is_text, scale_of_title
from lockstep.market.formats.rows import pieces_shares
from lockstep.market.formats.words import CLOCKS, DATES, FURTHER, SYMBOLS
from lockstep.market.tables import ALIASES, candidates

# What a column of volumes is called, after "volume", where it counts money and no pieces.
_QUOTES: Final = (
    "quote", "currency", "usd", "usdt", "notional", "busd", "usdc", "eur", "fdusd", "tusd", "dai", "krw", "jpy", "gbp",
    "try", "brl", "inr", "cny", "chf", "value", "money", "usdm",
)  # fmt: skip
_DAY_MS: Final = 86_400_000
_DAY_MINUTES: Final = 1_440
# Rows by which pieces are told from money, and the share of them that has to say so.
_SAMPLE: Final = 200
_ENOUGH: Final = 0.9
Mapping = dict[str, Any]


def settled(table: Any, mapping: Mapping, *, symbol: str | None, place: str, notes: list[str]) -> tuple[Any, Mapping]:
    """A table and a mapping in which time and volume are one column each, where the values leave no other answer.

    table     Arrow
    mapping   our name -> the table's name, as declared; a list of two names for the time joins them
    symbol    the market, which tells a volume in its base currency from one in its quote currency

    Raises DataError when a declared list does not name two columns of the table, or several volumes differ.
    """
    mapping = dict(mapping)
    if isinstance(mapping.get("timestamp"), list | tuple):
        table, mapping["timestamp"] = _joined(table, list(mapping["timestamp"]), place)
    elif "timestamp" not in mapping:
        table, time = _time(table, place, notes)
        if time is not None:
            mapping["timestamp"] = time
    for ours in COLUMNS[1:5]:
        if ours in mapping or candidates(ours, table.column_names):
            continue
        # A word of another language or program counts only where no usual name is there.
        if len(further := _further(ours, table.column_names)) == 1:
            mapping[ours] = further[0]
    if "volume" not in mapping and (volume := _volume(table, symbol, place, notes)) is not None:
        mapping["volume"] = volume
    return table, mapping


def _further(ours: str, names: Sequence[str]) -> list[str]:
    """Columns whose letters alone are a usual name, such as <OPEN>; else those of another program or language."""
    usual = [name for name in names if bare(name) in (ours, *ALIASES[ours])]
    return usual or [name for name in names if bare(name) in FURTHER[ours]]


def _first(table: Any, name: str) -> str:
    column = table.column(name)
    value = next((value for value in column.slice(0, 20).to_pylist() if value is not None), None)
    return "" if value is None else str(value).strip()


def _joined(table: Any, names: Sequence[Any], place: str) -> tuple[Any, str]:
    """The table with a column that joins a date and a time of day, and its name."""
    import pyarrow as pa
    import pyarrow.compute as pc

    if len(names) != 2 or any(name not in table.column_names for name in names):
        raise DataError(
            f"{place}: a time is in one column, or in two, such as columns={{'timestamp': ['<DATE>', '<TIME>']}} "
            f"(--columns 'timestamp=<DATE>+<TIME>'); found {names!r} and the columns "
            f"{', '.join(map(repr, table.column_names))}."
        )
    parts = []
    clock = _with_clock(table, names[1], place)
    for name in names:
        column = clock.column(name)
        if pa.types.is_date(column.type) or is_text(column.type) or pa.types.is_integer(column.type):
            parts.append(pc.cast(column, pa.string()))
        elif pa.types.is_time(column.type):
            parts.append(pc.utf8_slice_codeunits(pc.cast(column, pa.string()), 0, 8))
        else:
            raise DataError(f"{place}: a date and a time of day are joined as text; {name!r} holds {column.type}.")
    title = " ".join(names)
    joined = pc.binary_join_element_wise(pc.utf8_trim_whitespace(parts[0]), pc.utf8_trim_whitespace(parts[1]), " ")
    return table.append_column(title, joined), title


def _time(table: Any, place: str, notes: list[str]) -> tuple[Any, str | None]:
    """The column of times where the usual names do not give exactly one."""
    names = table.column_names
    dates = [name for name in names if bare(name) in DATES and is_date(_first(table, name))]
    if len(dates) == 1:
        for name in names:
            if name != dates[0] and bare(name) in CLOCKS:
                table = _with_clock(table, name, place)
    clocks = [name for name in names if bare(name) in CLOCKS and is_clock(_first(table, name))]
    if len(dates) == 1 and len(clocks) == 1 and dates != clocks:
        notes.append(f"date and time of day joined, {dates[0]!r} and {clocks[0]!r}")
        return _joined(table, [dates[0], clocks[0]], place)
    usual = candidates("timestamp", names)
    # Beside the start of its period, CoinAPI's time_open is that of the first trade.
    if periods := [name for name in names if bare(name) == "timeperiodstart"]:
        usual = periods
    if len(usual) == 1:
        return table, usual[0]
    if not usual:
        further = [name for name in _further("timestamp", names) if is_time(_first(table, name))]
        if not further and names and names[0].strip() == "" and is_time(_first(table, names[0])):
            # An index that a frame wrote without a name: "" could not be told from "there is none".
            table = table.rename_columns(["index", *names[1:]])
            further = ["index"]
        return table, further[0] if len(further) == 1 else None
    times = [name for name in usual if is_time(_first(table, name))]
    if len(times) == 1:
        return table, times[0]
    epochs = [name for name in times if is_epoch(_first(table, name))]
    if len(epochs) == 1 and all(_agrees(table, epochs[0], name) for name in times if name != epochs[0]):
        others = ", ".join(repr(name) for name in times if name != epochs[0])
        notes.append(f"times of {epochs[0]!r}; {others} has the same, or those of one zone")
        return table, epochs[0]
    return table, None


def _with_clock(table: Any, name: str, place: str) -> Any:
    """The table with times of day such as 930, 0930 or 93000 as 09:30:00; a column of hours, 0 to 23, likewise.

    Raises DataError where numbers below 24 could be hours or minutes, and for a number that is no time of day.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = table.column(name)
    texts = column if is_text(column.type) else pc.cast(column, pa.string()) if _is_whole(column) else None
    if texts is None or column.null_count or not len(column):
        return table
    if not pc.all(pc.match_substring_regex(texts, r"^\s*\d{1,6}\s*$")).as_py():
        return table
    value = pc.cast(pc.utf8_trim_whitespace(texts), pa.int64()).to_numpy()
    is_hour = bare(name) in ("hour", "heure", "hora", "ora")
    is_padded = pc.all(pc.match_substring_regex(pc.utf8_trim_whitespace(texts), r"^\d{4}(\d{2})?$")).as_py()
    if value.max() < 24 and not is_hour and not is_padded:
        if not value.any():
            return table
        raise DataError(
            f"{place}: the column {name!r} beside the date could count hours or minutes; its largest number is "
            f"{value.max()}. Write the time of day as 09:30, or call the column 'hour' where it counts hours."
        )
    if is_hour and value.max() == 24:
        raise DataError(
            f"{place}: hours count from 0 to 23; the column {name!r} beside the date goes up to 24, as where an hour "
            "has the number of its end. Write the times at which bars open, such as 09:30."
        )
    if not is_hour and _may_be_minutes(name, texts, value):
        raise DataError(
            f"{place}: the column {name!r} beside the date could be times of day, 0600, or minutes since midnight; "
            f"found {texts[0].as_py()!r} in row 0, and no row decides. Write the times of day as 09:30, or call the "
            "column 'hhmm' where it is hours and minutes."
        )
    number = value * 10_000 if is_hour and value.max() < 24 else value * 100 if value.max() < 10_000 else value
    hour, minute, second = number // 10_000, number // 100 % 100, number % 100
    odd = (hour > 23) | (minute > 59) | (second > 59)
    if odd.any():
        row = int(np.argmax(odd))
        raise DataError(
            f"{place}: the column {name!r} beside the date holds times of day as numbers, such as 0930 or 93000; found "
            f"{texts[row].as_py()!r} in row {row}, which is none. Correct it; where it counts "
            f"minutes or seconds since midnight, write it as 09:30; or name the column of times where "
            f"{name!r} is something else: columns={{'timestamp': 'Date'}} (--columns timestamp=Date)."
        )
    clock = [f"{h:02}:{m:02}:{s:02}" for h, m, s in zip(hour, minute, second, strict=True)]
    return table.set_column(table.column_names.index(name), name, pa.array(clock))


def _may_be_minutes(name: str, texts: Any, value: Any) -> bool:
    """Whether times of day such as 600 and 615 could as well count minutes since midnight.

    A leading zero, a number over 1439 or under 60 minutes of an hour decides, and so do bars that follow each other
    evenly under one reading alone.
    """
    import pyarrow.compute as pc

    if bare(name) == "hhmm" or value.max() >= _DAY_MINUTES or np.any(value % 100 > 59):
        return False
    if pc.any(pc.match_substring_regex(pc.utf8_trim_whitespace(texts), r"^0\d")).as_py():
        return False
    clock = value // 100 * 60 + value % 100
    later = np.diff(value) > 0
    if not later.any():
        return True
    steps = np.unique(np.diff(clock)[later])
    minutes = np.unique(np.diff(value)[later])
    return bool(steps.size > 1 or (minutes.size == 1 and _DAY_MINUTES % int(minutes[0]) == 0))


def _is_whole(column: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_integer(column.type))


def _agrees(table: Any, epochs: str, texts: str) -> bool:
    """Whether the texts are the epoch numbers' times: where they name no zone, always as far from them as one is."""
    from lockstep.market.formats.stamps import Evidence, stamps_of
    from lockstep.market.times import from_numbers, parse_zone

    try:
        numbers = from_numbers(_epoch_values(table.column(epochs)), unit=None, place="", notes=[])
        column = table.column(texts)
        is_zoned = True
        try:
            stamps = stamps_of(column, unit=None, time_format=None, evidence=Evidence(), place="", notes=[])
        except DataError:
            is_zoned = False
            evidence = Evidence(zone=parse_zone("UTC"))
            stamps = stamps_of(column, unit=None, time_format=None, evidence=evidence, place="", notes=[])
    except (DataError, ValueError, AttributeError, TypeError):
        return False
    distance = np.unique(stamps - numbers)
    if is_zoned:
        # A text may leave the seconds out, or the whole time of day.
        least = -_DAY_MS if not np.any(stamps % _DAY_MS) else -60_000
        return bool(np.all((distance > least) & (distance <= 0)))
    # Two in a year with summer time. An epoch of the close beside a text of the open is as far away as a bar is long,
    # which a zone may be as well; but no zone is five minutes or five seconds off.
    return bool(np.all(np.abs(distance) <= 14 * 3_600_000) and distance.size <= 2 and not np.any(distance % 900_000))


def _epoch_values(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    if is_text(column.type):
        column = pc.cast(pc.utf8_trim_whitespace(column), pa.float64())
        values = column.to_numpy()
        return values.astype(np.int64) if np.array_equal(values, np.floor(values)) else values
    return column.to_numpy()


def _volume(table: Any, symbol: str | None, place: str, notes: list[str]) -> str | None:
    """The column of volumes where the usual names do not give exactly one."""
    names: list[str] = table.column_names
    usual = candidates("volume", names)
    if len(usual) == 1:
        return _of_money(table, usual[0], place, notes)
    adjusted = adjusted_columns(names).values()
    if several := usual or _further("volume", names):
        return several[0] if len(several) == 1 else _traded(table, several, notes)
    volumes = [
        name
        for name in names
        if (bare(name).startswith("volume") or scale_of_title(name)) and name not in adjusted and bare(name)[6:] != "ma"
    ]
    if not volumes:
        return None
    market = bare(symbol or next((_first(table, name) for name in names if bare(name) in SYMBOLS), ""))
    if len(volumes) == 1:
        (only,) = volumes
        if scale_of_title(only) or bare(only)[6:] not in _QUOTES or market.startswith(bare(only)[6:]):
            return only
        raise DataError(
            f"{place}: the only volume, {only!r}, is an amount of the quote currency. Take it all the same: "
            f"columns={{'volume': {only!r}}} (--columns 'volume={only}'; in a spec [data] columns), or none: "
            "columns={'volume': None} (--columns volume= ; in a spec [data.columns] volume = \"\")."
        )
    base = [name for name in volumes if bare(name)[6:] and market.startswith(bare(name)[6:])]
    if not base and not market:
        base = [name for name in volumes if bare(name)[6:] not in _QUOTES]
    if len(base) == 1:
        notes.append(f"volume of {base[0]!r}, the base currency")
        return base[0]
    raise DataError(
        f"{place}: 'volume' could be any of {', '.join(map(repr, volumes))}. Say which is in the base currency: "
        f"columns={{'volume': {volumes[0]!r}}} (--columns 'volume={volumes[0]}'; in a spec [data] columns)."
    )


def _of_money(table: Any, name: str, place: str, notes: list[str]) -> str | None:
    """The column of pieces where the usual name is that of money, as HTX writes "vol" and Poloniex once "volume".

    None where the usual name stands. Raises DataError where a piece costs about 1, so that both may be either.
    """
    names: list[str] = table.column_names
    coins = {bare(other): other for other in names if bare(other) in ("volccy", "volquote")}
    if bare(name) == "vol" and len(coins) == 2:
        # OKX: of a future "vol" counts contracts, "vol_ccy" pieces; of a spot pair "vol" does.
        pieces, money = coins["volccy"], coins["volquote"]
        shares = _shares(table, pieces, money)
        if (
            shares is not None
            and shares[0] >= _ENOUGH > shares[1]
            and not table.column(pieces).equals(table.column(name))
        ):
            notes.append(f"volume of {pieces!r}, in pieces; {name!r} counts contracts")
            return pieces
        return None
    amounts = [other for other in names if bare(other) in ("amount", "amt", "quotevolume")]
    if bare(name) not in ("vol", "volume") or len(amounts) != 1:
        return None
    shares = _shares(table, name, amounts[0])
    if shares is None or max(shares) < _ENOUGH or table.column(name).equals(table.column(amounts[0])):
        return None
    if min(shares) >= _ENOUGH:
        if bare(name) != "vol":
            return None
        raise DataError(
            f"{place}: one of {amounts[0]!r} and {name!r} counts pieces and the other money; at prices about 1 nothing "
            f"tells which. Say it: columns={{'volume': {amounts[0]!r}}} (--columns volume={amounts[0]}; in a spec "
            f"[data] columns), as HTX means it, or {name!r}."
        )
    if shares[0] > shares[1]:
        return None
    notes.append(f"volume of {amounts[0]!r}, in pieces; {name!r} counts money")
    return amounts[0]


def _shares(table: Any, one: str, other: str) -> tuple[float, float] | None:
    """`rows.pieces_shares` of two columns in the first rows; None without one high and one low."""
    sides = {side: candidates(side, table.column_names) for side in ("high", "low")}
    if not all(len(names) == 1 for names in sides.values()):
        return None
    rows = table.slice(0, _SAMPLE)
    columns = {side: rows.column(names[0]).to_pylist() for side, names in sides.items()}
    return pieces_shares(rows.column(one).to_pylist(), rows.column(other).to_pylist(), columns)


def _traded(table: Any, names: Sequence[str], notes: list[str]) -> str | None:
    """Of a tick volume and a traded one, the traded one where it is there throughout, the ticks where it never is."""
    ticks = [name for name in names if bare(name).startswith("tick")]
    traded = [name for name in names if name not in ticks]
    if len(ticks) != 1 or len(traded) != 1:
        return None
    try:
        amounts, counts = (as_floats(table.column(name), place="") for name in (traded[0], ticks[0]))
    except DataError:
        return None
    if not np.any(amounts):
        notes.append(f"volume of {ticks[0]!r}, because {traded[0]!r} is 0 throughout")
        return ticks[0]
    if np.all((amounts > 0) | (counts == 0)):
        notes.append(f"volume of {traded[0]!r}, which is traded; {ticks[0]!r} counts price changes")
        return traded[0]
    return None
