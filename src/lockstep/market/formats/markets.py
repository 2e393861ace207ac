"""Which market the rows are of: a file with two is refused, or one of them is chosen by its symbol."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.errors import DataError
from lockstep.market.formats.cells import bare
from lockstep.market.formats.numbers import is_text
from lockstep.market.formats.words import SYMBOLS

_OPTION: Final = "symbol={0!r} (--symbol {0}; in a spec [market] symbol)"
_NO_COLUMN: Final = "columns={'symbol': None} (--columns symbol= ; in a spec [data.columns] symbol = \"\")"


@dataclass(frozen=True, kw_only=True)
class MarketChoice:
    """The market that is asked for; None where no symbol is declared."""

    symbol: str | None = None

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
        if len(same) != 1:
            raise DataError(
                f"{place}: the symbol {self.symbol!r} is {'none' if not same else 'several'} of the markets that "
                f"{where} holds: {listing}{more}. Name one as it stands there: {_OPTION.format(markets[0])}."
            )
        return same[0]

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
    text = re.sub(r"[^A-Z0-9.^]", "", symbol.upper())
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
    """Whether a column names only the base of the symbol, "BTC" of "BTC/USDT"."""
    return _letters(re.split(r"[/\-_:]", symbol)[0]) == _letters(market)


def of_one_market(table: Any, mapping: Mapping[str, Any], choice: MarketChoice, *, place: str, notes: list[str]) -> Any:
    """The rows of a table that are of one market: all, or those of the symbol that is asked for.

    table     Arrow; a column of text or whole numbers whose name says that it names the market is compared
    mapping   our name -> the table's name; "symbol" names that column, or None says that there is none

    Raises DataError when there are several markets and none is chosen, or the only one is another.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    if "symbol" in mapping:
        names = [mapping["symbol"]] if mapping["symbol"] else []
        if names and names[0] not in table.column_names:
            raise DataError(
                f"{place}: columns says that 'symbol' is in {names[0]!r}; found {', '.join(table.column_names)}."
            )
    else:
        names = [name for name in table.column_names if bare(name) in SYMBOLS or name == "T"]
    or_else = f"; where the column names no market, {_NO_COLUMN}"
    for name in names:
        column = table.column(name)
        if hasattr(column.type, "value_type"):
            column = column.cast(column.type.value_type)
        if pa.types.is_integer(column.type):
            column = pc.cast(column, pa.string())
        if not is_text(column.type) or (name in mapping.values() and mapping.get("symbol") != name):
            continue
        markets = [value for value in pc.unique(column).to_pylist() if value is not None]
        if len(markets) == 1:
            choice.require(markets[0], place)
        elif len(markets) > 1:
            market = markets[choice.index(markets, place, f"the column {name!r}", or_else)]
            table = table.filter(pc.equal(column, market))
            notes.append(f"the rows of {market!r} alone, {table.num_rows:,}")
    return table
