"""Candles in JSON and in Python lists: rows, records or columns, at the top or anywhere inside, of one market or more.

freqtrade and ccxt write rows; Polygon and Alpaca records below a key; charts columns; pandas all of these.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.market.formats.cells import is_epoch, is_time
from lockstep.market.formats.markets import MarketChoice
from lockstep.market.formats.programs import names_of_rows

_PRICES: Final[Mapping[str, tuple[str, ...]]] = {
    "open": ("open", "o"), "high": ("high", "h"), "low": ("low", "l"), "close": ("close", "c"),
}  # fmt: skip
_MARKET_KEYS: Final = ("symbol", "ticker", "pair", "instrument", "code")
_DEEPEST: Final = 12
_PROGRAMS: Final = (
    (frozenset({"results", "ticker"}), "Polygon aggregates"),
    (frozenset({"results", "resultsCount"}), "Polygon aggregates"),
    (frozenset({"bars"}), "Alpaca bars"),
    (frozenset({"chart"}), "Yahoo's chart"),
    (frozenset({"result", "error"}), "Kraken OHLC"),
)


@dataclass(frozen=True, kw_only=True)
class _Table:
    """One table in a document: its columns, its shape, the market that its keys name, and where it stands."""

    columns: dict[str, list[Any]]
    shape: str
    market: str | None
    where: str


def parsed(data: bytes, place: str) -> Any:
    """The document in the text of a .json file, or of one document for each line. Raises DataError."""
    text = data.decode("utf-8")
    try:
        return json.loads(text)
    except RecursionError:
        raise DataError(f"{place}: the document is nested too deeply to hold candles.") from None
    except ValueError as error:
        lines = [line for line in text.splitlines() if line.strip()]
        try:
            return [json.loads(line) for line in lines] if len(lines) > 1 and text[:1] in "{[" else _fail(error)
        except (ValueError, RecursionError):
            raise DataError(f"{place}: the file cannot be read as JSON: {error}. Download or write it again.") from None


def _fail(error: ValueError) -> Any:
    raise error


def table_of_document(
    document: Any, *, names: Sequence[str] | None, choice: MarketChoice, place: str
) -> tuple[Any, str]:
    """The Arrow table of candles in a document of lists and mappings, and what it was read as.

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
        columns = pa.table({name: pa.array(values) for name, values in table.columns.items()})
    except (pa.ArrowException, OverflowError) as error:
        raise DataError(
            f"{place}: a column has values of several types: {' '.join(str(error).split())[:200]}."
        ) from None
    return columns, _kind(document, table)


def _kind(document: Any, table: _Table) -> str:
    """What wrote the document, where its keys say so, and where in it the candles stand."""
    where = f" in {table.where!r}" if table.where else ""
    if not isinstance(document, Mapping):
        return f"{table.shape}{where}" + (", as ccxt and freqtrade write them" if table.shape == "rows" else "")
    keys = set(map(str, document))
    program = next((name for words, name in _PROGRAMS if words <= keys), None)
    return f"{table.shape}{where}" if program is None else f"{program}, by its keys; {table.shape}{where}"


def _of_market(tables: Sequence[_Table], choice: MarketChoice, place: str) -> _Table:
    markets = [table.market or table.where for table in tables]
    return tables[choice.index(markets, place, "the document")]


def _no_table(document: Any, place: str) -> DataError:
    shown = json.dumps(document, default=str)[:200]
    return DataError(
        f"{place}: candles are rows [time, open, high, low, close, volume], records with these keys, or columns of "
        f"them; found {shown}. Name the columns of rows in their order: columns=['timestamp', 'open', 'high', 'low', "
        "'close', 'volume'] (--columns timestamp,open,high,low,close,volume; in a spec [data] columns, a list)."
    )


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


def _has_prices(keys: Sequence[str]) -> bool:
    plain = {key.strip().lower() for key in keys}
    return all(plain & set(names) for names in _PRICES.values())


def _of_records(rows: Sequence[Mapping[str, Any]]) -> dict[str, list[Any]] | None:
    keys = list(dict.fromkeys(key for row in rows[:100] for key in map(str, row)))
    if not _has_prices(keys):
        return None
    return {key: [row.get(key) for row in rows] for key in keys if _is_flat([row.get(key) for row in rows])}


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
    return None if records is None else {"timestamp": keys, **records}
