"""Candles in JSON and in Python lists: rows, records or columns, at the top or anywhere inside, of one market or more.

freqtrade and ccxt write rows; Polygon and Alpaca records below a key; charts columns; pandas all of these.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.market.checks import PRICES
from lockstep.market.formats.cells import bare, is_epoch, is_time
from lockstep.market.formats.contents import first_lines
from lockstep.market.formats.markets import MarketChoice
from lockstep.market.formats.rows import names_of_rows, of_pieces
from lockstep.market.tables import ALIASES, candidates

_PRICES: Final[Mapping[str, tuple[str, ...]]] = {name: (name, *ALIASES[name]) for name in PRICES}
_MARKET_KEYS: Final = ("symbol", "ticker", "pair", "instrument", "code")
_DEEPEST: Final = 12
_ROW: Final = ("timestamp", "open", "high", "low", "close", "volume")
# Alpha Vantage numbers its keys ("1. open"), and names a currency behind some ("1a. open (USD)").
_NUMBERED: Final = re.compile(r"\d+[a-z]?\. (.+?)( \([A-Z]{3,5}\))?")
_TIMES: Final = ("time", "timestamp", "t", "datetime", "date")
_MONEY_KEYS: Final = (
    ("v", "q"),
    ("amount", "vol"),
    ("vol", "amount"),
    ("volume", "turnover"),
    ("volumefrom", "volumeto"),
    ("volume", "quoteVolume"),  # Poloniex of old: the first is money
)
_PROGRAMS: Final = (
    (frozenset({"results", "ticker"}), "Polygon aggregates"),
    (frozenset({"results", "resultsCount"}), "Polygon aggregates"),
    (frozenset({"bars"}), "Alpaca bars"),
    (frozenset({"chart"}), "Yahoo's chart"),
    (frozenset({"result", "error"}), "Kraken OHLC"),
    (frozenset({"retCode", "result"}), "Bybit"),
    (frozenset({"candles", "granularity"}), "OANDA"),
    (frozenset({"jsonrpc", "result"}), "Deribit"),
    (frozenset({"Meta Data"}), "Alpha Vantage"),
    (frozenset({"meta", "values"}), "Twelve Data"),
    (frozenset({"Response", "Data"}), "CryptoCompare"),
)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """One table in a document: its columns, its shape, the market that its keys name, and where it stands."""

    columns: dict[str, list[Any]]
    shape: str
    market: str | None
    where: str


@dataclass(frozen=True, kw_only=True)
class DocumentTable:
    """The candles of a document.

    table      Arrow
    kind       what the document was read as
    zone       the zone of its times as it names it, such as "UTC" or "US/Eastern"; None where it does not
    is_named   whether the document names the columns
    market     that the document names, such as "BTCUSD"; None where it names none
    """

    table: Any
    kind: str
    zone: str | None
    is_named: bool
    market: str | None


def parsed(data: bytes, place: str) -> Any:
    """The document in the text of a .json file, or of one document for each line. Raises DataError."""
    text = data.decode("utf-8")
    try:
        return json.loads(text, object_pairs_hook=_mapping)
    except _TwiceError as error:
        raise DataError(
            f"{place}: a key stands once in an object; found {error.args[0]!r} with two values. Download or write the "
            "file again."
        ) from None
    except RecursionError:
        raise DataError(f"{place}: the document is nested too deeply to hold candles.") from None
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return (
                [json.loads(line, object_pairs_hook=_mapping) for line in lines]
                if len(lines) > 1 and text[:1] in "{["
                else _fail(error)
            )
        except (_TwiceError, ValueError, RecursionError):
            raise DataError(
                f"{place}: the file cannot be read as JSON: {error}. {first_lines(data[:4_000])}\nDownload or write it "
                "again."
            ) from None


class _TwiceError(Exception):
    """A key of a JSON object that stands twice, with different values."""


def _mapping(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """A JSON object; `json` would keep the last of two values in silence. Raises _TwiceError."""
    out = dict(pairs)
    if len(out) < len(pairs):
        for key, value in pairs:
            if out[key] != value:
                raise _TwiceError(key)
    return out


def _fail(error: ValueError) -> Any:
    raise error


def table_of_document(document: Any, *, names: Sequence[str] | None, choice: MarketChoice, place: str) -> DocumentTable:
    """The candles in a document of lists and mappings.

    names    of the columns of rows, where the document has none
    choice   which market, where the document has several

    Raises DataError when there is none, or there are several markets and none is chosen.
    """
    import pyarrow as pa

    tables = list(_tables(document, "", None, names, 0))
    if not tables:
        raise _no_table(document, place)
    table = tables[0] if len(tables) == 1 else _of_market(tables, choice, place)
    choice.require(table.market, place)
    try:
        columns = pa.table({name: pa.array(values) for name, values in _confirmed(table, document).items()})
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(
            f"{place}: a column has values of several types: {' '.join(str(error).split())[:200]}."
        ) from None
    return DocumentTable(
        table=columns,
        kind=_kind(document, table),
        zone=_zone(document),
        is_named=table.shape != "rows",
        market=table.market,
    )


def _confirmed(table: _Table, document: Any) -> dict[str, list[Any]]:
    """The columns, with one that says which bars were over where the document gives the last that was (Kraken)."""
    result = document.get("result") if isinstance(document, Mapping) else None
    last = result.get("last") if isinstance(result, Mapping) else None
    time = table.columns.get("timestamp", [])
    if not isinstance(last, int) or len(time) < 2 or not all(isinstance(stamp, int) for stamp in time[-2:]):
        return table.columns
    return {**table.columns, "complete": [True] * (len(time) - 1) + [not time[-2] <= last < time[-1]]}


def _zone(document: Any) -> str | None:
    """The zone of times as a document names it beside its candles."""
    nodes = [document] if isinstance(document, Mapping) else []
    nodes += [child for node in nodes for child in node.values() if isinstance(child, Mapping)]
    for node in nodes:
        for key, value in node.items():
            if isinstance(value, str) and re.sub(r"[^a-z]", "", str(key).lower()) in ("timezone", "exchangetimezone"):
                return value
    return None


def _kind(document: Any, table: _Table) -> str:
    """What wrote the document, where its keys say so, and where in it the candles stand."""
    where = f" in {table.where!r}" if table.where else ""
    shape = table.shape
    if shape == "rows":
        names = tuple(table.columns)
        shape += ", as ccxt and freqtrade write them" if names == _ROW else f" of {', '.join(names)}"
    if not isinstance(document, Mapping):
        return f"{shape}{where}"
    keys = set(map(str, document))
    if "mid.o" in table.columns:
        shape += " of mid prices"
    program = next((name for words, name in _PROGRAMS if words <= keys), None)
    return f"{shape}{where}" if program is None else f"{program}, by its keys; {shape}{where}"


def _of_market(tables: Sequence[_Table], choice: MarketChoice, place: str) -> _Table:
    """The table of the market asked for. Raises DataError where none of several is, or one market's table is cut up."""
    # Tables that no market tells apart and that stand at the same keys are pages of one answer.
    markets = [table.market or re.sub(r"\d+", "", table.where) for table in tables]
    names = {market: table.market or table.where for market, table in zip(markets, tables, strict=True)}
    market = next(iter(names))
    if len(names) > 1:
        market = list(names)[choice.index(list(names.values()), place, "the document")]
    same = [table for table, one in zip(tables, markets, strict=True) if one == market]
    if len(same) > 1:
        raise DataError(
            f"{place}: candles are one table; found {len(same):,} of one market, as pages of an answer are: "
            f"{', '.join(repr(table.where) for table in same[:3])}{' ...' if len(same) > 3 else ''}. Put the rows of "
            "all into one list, or write each to a file of its own and name all of them: they are joined by time."
        )
    return same[0]


def _no_table(document: Any, place: str) -> DataError:
    shown = json.dumps(document, default=str)[:200]
    problem = (
        f"{place}: candles are rows [time, open, high, low, close, volume], records with these keys, or columns of "
        f"them; found {shown}."
    )
    width = _row_width(document, 0)
    if width is None:
        return DataError(f"{problem} Where this is a server's message, ask for the candles again.")
    if width < len(_ROW) - 1:
        return DataError(
            f"{problem} Rows of {width} values are no candles: ask for those of open, high, low and close."
        )
    names = [*_ROW, *(f"column{number}" for number in range(len(_ROW) + 1, width + 1))][:width]
    return DataError(
        f"{problem} Nothing says which of the {width} values in a row is which. Name all in their order, such as "
        f"columns={names!r} (--columns {','.join(names)}; in a spec [data] columns, a list)."
    )


def _row_width(node: Any, depth: int) -> int | None:
    """The number of values in the first list of lists in a document."""
    if depth > _DEEPEST:
        return None
    children = list(node.values()) if isinstance(node, Mapping) else list(node[:1]) if isinstance(node, list) else []
    if isinstance(node, list) and node and isinstance(node[0], list | tuple) and _is_flat(node[0]):
        return len(node[0])
    widths = (_row_width(child, depth + 1) for child in children if isinstance(child, Mapping | list))
    return next((width for width in widths if width is not None), None)


def _tables(node: Any, where: str, market: str | None, names: Sequence[str] | None, depth: int) -> Iterator[_Table]:
    if depth > _DEEPEST:
        return
    columns = _columns(node, names)
    if columns is not None:
        yield _Table(columns=columns, shape=_shape(node), market=market, where=where)
    elif isinstance(node, Mapping):
        own = _market_of(node)
        for key, child in node.items():
            if isinstance(child, Mapping | list | tuple):
                # Below a key such as "results" the market is the document's; below "BTC/USD" it is the key.
                below = own or (str(key) if _is_market_key(str(key), node) else market)
                yield from _tables(child, f"{where} {key}".strip(), below, names, depth + 1)
    elif isinstance(node, list | tuple) and len(node) <= 1_000:
        for number, child in enumerate(node):
            if isinstance(child, Mapping | list | tuple):
                yield from _tables(child, f"{where} [{number}]".strip(), market, names, depth + 1)


def _market_of(node: Mapping[str, Any]) -> str | None:
    for source in (node, node.get("meta")):
        if isinstance(source, Mapping):
            for key in _MARKET_KEYS:
                if isinstance(value := source.get(key), str):
                    return value
    return None


def _is_market_key(key: str, node: Mapping[str, Any]) -> bool:
    """Whether a key names a market: the candles stand directly below it, and no usual word for them is the key."""
    return key.lower() not in (
        "bars", "results", "result", "data", "candles", "klines", "ohlc", "ohlcv", "values", "quotes", "rows", "chart",
        "series", "prices", "history", "body", "response", "items", "indicators", "quote", "columns", "list",
    )  # fmt: skip


def _columns(node: Any, names: Sequence[str] | None) -> dict[str, list[Any]] | None:
    """The columns of a node that is a table, else None."""
    if isinstance(node, list | tuple) and node:
        if all(isinstance(row, Mapping) for row in node):
            return _of_records(node)
        if all(isinstance(row, list | tuple) and len(row) >= 5 for row in node):
            return _of_rows(node, names)
    if isinstance(node, Mapping):
        return _of_split(node) or _of_chart(node) or _of_column_lists(node) or _of_index(node)
    return None


def _shape(node: Any) -> str:
    if isinstance(node, Mapping):
        return "columns"
    return "records" if isinstance(node[0], Mapping) else "rows"


def _plain(key: str) -> str:
    match = _NUMBERED.fullmatch(key.strip())
    return match[1] if match else key.strip()


def _unnumbered(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns without the numbers before their names, but where two would then have one name and differ."""
    out: dict[str, list[Any]] = {}
    for key, values in columns.items():
        name = _plain(key)
        if name not in out:
            out[name] = values
        elif out[name] != values:
            return columns
    return out


def _has_prices(keys: Sequence[str]) -> bool:
    plain = {bare(_plain(key)) for key in keys}
    return all(plain & set(names) for names in _PRICES.values())


def _of_records(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
    keys: Sequence[str] = list(dict.fromkeys(key for row in rows for key in map(str, row)))
    if not _has_prices(keys):
        rows, keys, is_inner = _flattened(rows, keys)
        if not is_inner:
            return None
    columns = {key: [row.get(key) for row in rows] for key in keys if _is_flat([row.get(key) for row in rows])}
    return _usual(columns)


def _flattened(
    rows: Sequence[Mapping[str, Any]], keys: Sequence[str]
) -> tuple[Sequence[Mapping[str, Any]], Sequence[str], bool]:
    """Records, their keys, and whether their prices stood one level below, as OANDA's and the kline of a stream do.

    Of several such, as bid and ask, mid is taken; else their names are "bid.o" and the like, to be chosen by a person.
    """
    inner = [
        key
        for key in keys
        if all(isinstance(row.get(key), Mapping) and _has_prices(list(map(str, row[key]))) for row in rows)
    ]
    if not inner:
        return rows, keys, False
    chosen = inner[0] if len(inner) == 1 else "mid" if "mid" in inner else None
    out = []
    for row in rows:
        # The time that the kline has is when it opened, the one around it when the message was sent.
        flat = {str(key): value for key, value in row.items() if key not in inner}
        for key in inner:
            for name, value in row[key].items():
                flat[f"{key}.{name}"] = value
                if key == chosen:
                    flat[str(name)] = value
        out.append(flat)
    return out, list(dict.fromkeys(key for row in out for key in row)), True


def _usual(columns: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Columns under usual names, where a house has its own and values leave no doubt."""
    keys = set(columns)
    renamed: dict[str, str] = {}
    if not keys & set(_TIMES) and "id" in keys and all(is_epoch(str(value)) for value in columns["id"]):
        renamed["id"] = "timestamp"
    elif {"start", "end", "timestamp"} <= keys:
        # A stream: when the bar began and ends, and when the message was sent.
        renamed |= {"start": "timestamp", "timestamp": "sent"}
    names = {ours: keys_of_ours[0] for ours in PRICES if (keys_of_ours := candidates(ours, list(columns)))}
    if {"high", "low"} <= set(names):
        sides = {side: columns[names[side]] for side in ("high", "low")}
        for one, other in _MONEY_KEYS:
            if (
                {one, other} <= keys
                and ("volume" not in keys or one == "volume")
                and (at := of_pieces(columns[one], columns[other], sides)) is not None
            ):
                renamed |= {(one, other)[at]: "volume", (one, other)[1 - at]: "quote_volume"}
                break
    return {renamed.get(key, key): values for key, values in columns.items()}


def _is_flat(values: Sequence[Any]) -> bool:
    return not any(isinstance(value, Mapping | list | tuple) for value in values)


def _of_rows(rows: Sequence[Sequence[Any]], names: Sequence[str] | None) -> dict[str, list[Any]] | None:
    width = len(rows[0])
    if any(len(row) != width for row in rows) or not all(_is_flat(row) for row in rows[:100]):
        return None
    columns: Sequence[str] | None = names if names is not None and len(names) == width else None
    if columns is None:
        sample = [["" if cell is None else str(cell) for cell in row] for row in rows[:100]]
        columns = names_of_rows(sample)
    if columns is None:
        return None
    return {name: [row[at] for row in rows] for at, name in enumerate(columns)}


def _of_split(node: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """pandas, orient="split": names, index and rows by themselves."""
    names, rows, index = node.get("columns"), node.get("data"), node.get("index")
    if not (isinstance(names, list) and isinstance(rows, list) and rows and _has_prices([str(n) for n in names])):
        return None
    if not all(isinstance(row, list | tuple) and len(row) == len(names) for row in rows):
        return None
    columns = {str(name): [row[at] for row in rows] for at, name in enumerate(names)}
    if isinstance(index, list) and len(index) == len(rows) and index and is_time(str(index[0])):
        columns = {"timestamp": index, **columns}
    return columns


def _of_chart(node: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Yahoo's chart: times beside a list of quotes."""
    time, indicators = node.get("timestamp"), node.get("indicators")
    if not (isinstance(time, list) and isinstance(indicators, Mapping)):
        return None
    columns: dict[str, list[Any]] = {"timestamp": time}
    for group in indicators.values():
        if isinstance(group, list) and group and isinstance(group[0], Mapping):
            columns |= {str(name): values for name, values in group[0].items() if isinstance(values, list)}
    equal = all(len(values) == len(time) for values in columns.values())
    return columns if equal and _has_prices(list(columns)) else None


def _of_column_lists(node: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Columns by name, each a list, or as pandas writes by default a mapping of index to value."""
    lists = {str(key): value for key, value in node.items() if isinstance(value, list) and _is_flat(value)}
    if _has_prices(list(lists)):
        length = max(len(value) for value in lists.values())
        return {key: value for key, value in lists.items() if len(value) == length}
    maps = {str(key): value for key, value in node.items() if isinstance(value, Mapping)}
    if not _has_prices(list(maps)):
        return None
    index = list(next(iter(maps.values())))
    if any(list(value) != index for value in maps.values()):
        return None
    columns = {key: list(value.values()) for key, value in maps.items()}
    return {"timestamp": index, **columns} if index and is_time(str(index[0])) else columns


def _of_index(node: Mapping[str, Any]) -> dict[str, list[Any]] | None:
    """Records by their time, as pandas writes with orient="index"."""
    if not node or not all(isinstance(row, Mapping) for row in node.values()):
        return None
    keys = [str(key) for key in node]
    if not all(is_epoch(key) or is_time(key) for key in keys):
        return None
    records = _of_records(list(node.values()))
    return None if records is None else {"timestamp": keys, **_unnumbered(records)}
