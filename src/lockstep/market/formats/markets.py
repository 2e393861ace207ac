"""Which market the rows are of: a file with two is refused, or one of them is chosen by its symbol."""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.core.units import parse_timeframe
from lockstep.market.formats.cells import bare
from lockstep.market.formats.numbers import is_text
from lockstep.market.formats.words import EXCHANGES, INTERVALS, SYMBOLS

_OPTION: Final = "symbol={0!r} (--symbol {0}; in a spec [market] symbol)"
_EXCHANGE: Final = "exchange={0!r} (--exchange {0}; in a spec [market] exchange)"
_TIMEFRAME: Final = "timeframe={0!r} (--timeframe {0}; in a spec [market] timeframe)"
_LENGTH: Final = re.compile(
    r"(\d+)\s*(s|sec|second|m|min|minute|h|hour|d|day|w|wk|week)?s?|(s|m|min|minute|h|hour|d|day|w|week)_?(\d*)"
)
_QUOTES: Final = frozenset(
    {"", "USD", "USDT", "USDC", "BUSD", "FDUSD", "TUSD", "DAI", "EUR", "GBP", "JPY", "CHF", "AUD", "CAD", "NZD", "CNY",
     "KRW", "TRY", "BRL", "INR", "BTC", "ETH", "BNB"}
)  # fmt: skip
_NO_COLUMN: Final = "columns={'symbol': None} (--columns symbol= ; in a spec [data.columns] symbol = \"\")"


@dataclass(frozen=True, kw_only=True)
class MarketChoice:
    """The market that is asked for, its exchange and its length of bars; None where they are not declared."""

    symbol: str | None = None
    exchange: str | None = None
    timeframe: str | None = None

    def index(self, markets: Sequence[str], place: str, where: str, or_else: str = "") -> int:
        """Which of several markets is the one asked for. `or_else` is another cure, for the error.

        Raises DataError when none or several are.
        """
        listing = ", ".join(repr(market) for market in markets[:8])
        more = f" and {len(markets) - 8:,} more" if len(markets) > 8 else ""
        if self.symbol is None:
            raise DataError(
                f"{place}: candles are of one market; {where} holds {len(markets):,}: {listing}{more}. Choose one: "
                f"{_OPTION.format(markets[0])}{or_else}."
            )
        same = [at for at, market in enumerate(markets) if market == self.symbol] or [
            at for at, market in enumerate(markets) if is_same_market(market, self.symbol)
        ]
        same = same or [at for at, market in enumerate(markets) if _is_part(market, self.symbol)]
        if len(same) != 1:
            raise DataError(
                f"{place}: the symbol {self.symbol!r} is {'none' if not same else 'several'} of the markets that "
                f"{where} holds: {listing}{more}. Name one as it stands there: {_OPTION.format(markets[0])}."
            )
        return same[0]

    def one_of(self, markets: Sequence[str], place: str, where: str) -> int:
        """As `index`, and the only market where there is one, which must not be another than the one asked for."""
        if len(markets) > 1:
            return self.index(markets, place, where)
        self.require(markets[0], place)
        return 0

    def require(self, market: str | None, place: str) -> None:
        """Raises DataError when the only market of a file is another than the one asked for."""
        if self.symbol is None or market is None or not market.strip():
            return
        if not (is_same_market(market, self.symbol) or _is_part(market, self.symbol)):
            raise DataError(
                f"{place}: the rows are of {market!r}; asked for the symbol {self.symbol!r}. Name the right file, or "
                f"the symbol as it stands there: {_OPTION.format(market)}; where the column is no symbol, "
                f"{_NO_COLUMN}."
            )


def _letters(symbol: str) -> str:
    """A symbol without signs and the habits of single houses: "XXBTZUSD", "BTC-USD" and "BTC/USD" are one.

    A perpetual is another market than the spot pair: "BTCUSDT.P", "BTC-PERP" and "BTC/USDT:USDT" keep what says so.
    """
    text = "".join(sign for sign in symbol.upper() if sign.isalnum() or sign in ".^") or symbol
    if match := re.fullmatch(r"[XZ]([A-Z]{3})Z([A-Z]{3})", text):
        text = match[1] + match[2]
    return re.sub(r"XBT", "BTC", re.sub(r"[.^]", "", text) if len(text) > 1 else text)


def is_same_market(one: str, other: str) -> bool:
    """Whether two spellings are of one market. A house before the symbol ("X:BTCUSD") counts where both name one."""
    return any(
        _letters(left) == _letters(right)
        for left, right in ((one, other), (one.rpartition(":")[2], other), (one, other.rpartition(":")[2]))
    )


def _is_part(market: str, symbol: str) -> bool:
    """Whether a column names only the base of the symbol, "BTC" of "BTC/USDT"; not of "BTC-PERP" or "BTC-28JUN24"."""
    base, _, quote = re.sub(r"[/\-_:]", "/", symbol).partition("/")
    return _letters(base) == _letters(market) and quote.upper() in _QUOTES


def of_one_market(table: Any, mapping: Mapping[str, Any], choice: MarketChoice, *, place: str, notes: list[str]) -> Any:
    """The rows of a table that are of one market, one exchange and one length of bars: all, or those asked for.

    table     Arrow; columns of text or whole numbers are compared whose name says that they name one of these
    mapping   our name -> the table's name; "symbol" names the column of markets, or None says that there is none

    Raises DataError when there are several and none is chosen, or the only market is another.
    """
    if "symbol" in mapping:
        names = [mapping["symbol"]] if mapping["symbol"] else []
        if names and names[0] not in table.column_names:
            raise DataError(
                f"{place}: columns says that 'symbol' is in {names[0]!r}; found {', '.join(table.column_names)}."
            )
    else:
        # "T" is Polygon's, "s" that of Binance's stream; as numbers they are something else.
        names = [
            name
            for name in table.column_names
            if bare(name) in SYMBOLS or (name in ("T", "s") and is_text(table.column(name).type))
        ]
    read = {name for ours, name in mapping.items() if ours != "symbol" and isinstance(name, str)}
    for name in names:
        values = _values(table, name, read)
        if len(values) == 1:
            choice.require(values[0], place)
        elif values:
            or_else = f"; where the column names no market, {_NO_COLUMN}"
            market = values[choice.index(values, place, f"the column {name!r}", or_else)]
            table = _only(table, name, market, notes)
    if "symbol" in mapping and mapping["symbol"] is None:
        return table
    for name in [name for name in table.column_names if bare(name) in EXCHANGES]:
        table = _one_of(table, name, read, choice.exchange, _same_letters, ("an exchange", _EXCHANGE), place, notes)
    for name in [name for name in table.column_names if bare(name) in INTERVALS]:
        table = _one_of(
            table, name, read, choice.timeframe, _same_length, ("a length of bars", _TIMEFRAME), place, notes
        )
    return table


def named_series(table: Any, mapping: Mapping[str, Any]) -> dict[str, str]:
    """What the rows of a table, which are of one series, say of it: "symbol", "exchange", "length of bars".

    mapping   as for `of_one_market`
    """
    declared = mapping.get("symbol", "")
    if declared is None:
        return {}
    out: dict[str, str] = {}
    read = {name for ours, name in mapping.items() if ours != "symbol" and isinstance(name, str)}
    for name in table.column_names:
        kind = next((kind for kind, words in _KINDS.items() if bare(name) in words), None)
        kind = "symbol" if name == declared else kind
        values = [] if kind is None else _values(table, name, read)
        if kind is not None and len(values) == 1 and values[0].strip():
            out.setdefault(kind, values[0])
    return out


_KINDS: Final[Mapping[str, Collection[str]]] = {
    "symbol": SYMBOLS,
    "exchange": EXCHANGES,
    "length of bars": INTERVALS,
}


def require_one_series(parts: Sequence[tuple[Mapping[str, str], str]]) -> None:
    """Raises DataError where files that are to be joined name different markets, exchanges or lengths of bars.

    parts   what the rows of each file name (`named_series`), and the file
    """
    same = {"symbol": is_same_market, "exchange": _same_letters, "length of bars": _one_length}
    first: dict[str, tuple[str, str]] = {}
    for series, place in parts:
        for kind, value in series.items():
            before, where = first.setdefault(kind, (value, place))
            if not same[kind](before, value):
                raise DataError(
                    f"{place}: files that are joined are of one market; its {kind} is {value!r}, that of {where} is "
                    f"{before!r}. Name the files of one market; where the column tells no series apart, {_NO_COLUMN}."
                )


def _one_length(one: str, other: str) -> bool:
    return _timeframe(one) == _timeframe(other)


def _values(table: Any, name: str, read: Collection[str]) -> list[str]:
    """The different values of a column of names; none where it holds something else or is read as something else.

    Rows without a value are of a market of their own, "", unless no row has one.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _plain(table, name)
    if pa.types.is_floating(column.type):
        # pandas makes numbers of markets floats as soon as one is missing.
        whole = pc.all(pc.equal(column, pc.floor(column))).as_py()
        column = pc.cast(column, pa.int64(), safe=False) if whole else column
    if name in read or not (is_text(column.type) or pa.types.is_integer(column.type)):
        return []
    values = ["" if value is None else str(value) for value in pc.unique(column).to_pylist()]
    return list(dict.fromkeys(values)) if any(values) else []


def _plain(table: Any, name: str) -> Any:
    column = table.column(name)
    return column.cast(column.type.value_type) if hasattr(column.type, "value_type") else column


def _only(table: Any, name: str, value: str, notes: list[str]) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    column = _plain(table, name)
    column = pc.cast(column, pa.int64(), safe=False) if pa.types.is_floating(column.type) else column
    table = table.filter(pc.equal(pc.fill_null(pc.cast(column, pa.string()), ""), value))
    notes.append(f"the rows of {value!r} alone, {table.num_rows:,}")
    return table


def _one_of(
    table: Any, name: str, read: Collection[str], asked: str | None, is_same: Callable[[str, str], bool],
    words: tuple[str, str], place: str, notes: list[str],
) -> Any:  # fmt: skip
    """The rows of one value of a column that tells series apart. Raises DataError where none of several is chosen."""
    values = _values(table, name, read)
    if len(values) < 2:
        return table
    what, option = words
    first = values[0] if option is _EXCHANGE else next(filter(None, map(_timeframe, values)), None)
    choose = "Write the rows of one to a file of their own" if first is None else f"Choose one: {option.format(first)}"
    same = [value for value in values if asked is not None and is_same(value, asked)]
    if len(same) == 1:
        return _only(table, name, same[0], notes)
    listing = ", ".join(map(repr, values[:8])) + (f" and {len(values) - 8:,} more" if len(values) > 8 else "")
    raise DataError(
        f"{place}: candles are of one market; the column {name!r}, {what} in each row, holds {len(values):,}: "
        f"{listing}. {choose}; where it tells no series apart, {_NO_COLUMN}."
    )


def _same_letters(one: str, other: str) -> bool:
    return bare(one) == bare(other)


def _same_length(one: str, other: str) -> bool:
    """Whether a file's own word for a length of bars, such as "60", "1hour" or "1H", is a timeframe such as "1h"."""
    length = _timeframe(one)
    return length is not None and parse_timeframe(length) == parse_timeframe(other)


def _timeframe(text: str) -> str | None:
    """A file's word for a length of bars as our own, such as "1h"; None where it is none. A bare number is minutes."""
    match = _LENGTH.fullmatch(text.strip().lower())
    if match is None:
        return None
    number = int(match[1] or match[4] or 1)
    return f"{number}{(match[2] or match[3] or 'm')[0]}"
