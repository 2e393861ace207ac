"""Units of time and price: timeframes, pips."""

from __future__ import annotations

import re
from typing import Final

from lockstep.core.errors import InputError

MINUTE_MS: Final = 60_000
DAY_MS: Final = 24 * 60 * MINUTE_MS
YEAR_MS: Final = 365 * DAY_MS
_UNIT_MS: Final = {"s": 1_000, "m": MINUTE_MS, "h": 60 * MINUTE_MS, "d": DAY_MS, "w": 7 * DAY_MS}
_PIP_OF_QUOTE: Final = {
    **dict.fromkeys(
        ("AUD", "CAD", "CHF", "CZK", "DKK", "EUR", "GBP", "NOK", "NZD", "PLN", "SEK", "SGD", "USD"), 0.0001
    ),
    **dict.fromkeys(("HUF", "JPY"), 0.01),
}
_TIMEFRAME: Final = re.compile(r"([1-9][0-9]*)([smhdw])")


def parse_timeframe(text: str) -> int:
    """Milliseconds of a timeframe such as "5m", "1h" or "1d". Raises InputError when it is not one."""
    match = _TIMEFRAME.fullmatch(text)
    if match is None:
        raise InputError(
            f'a timeframe is a whole number and a unit (s, m, h, d, w), such as "5m" or "1h"; found {text!r}'
        )
    return int(match[1]) * _UNIT_MS[match[2]]


def format_timeframe(milliseconds: int) -> str:
    """The shortest text that `parse_timeframe` reads as `milliseconds` (a positive whole number of seconds)."""
    for unit in ("w", "d", "h", "m", "s"):
        count, rest = divmod(milliseconds, _UNIT_MS[unit])
        if count > 0 and rest == 0:
            return f"{count}{unit}"
    raise InputError(f"a timeframe is a positive whole number of seconds; found {milliseconds} ms")


def pip_size(symbol: str) -> float:
    """One pip of a currency pair, in price units: 0.01 where the quote currency is the yen or the forint, else 0.0001.

    Raises InputError for everything else: metals, coins and currencies whose convention differs between brokers.
    """
    letters = re.sub(r"[^A-Za-z]", "", symbol).upper()
    base, quote = letters[:3], letters[3:]
    if base not in _PIP_OF_QUOTE or quote not in _PIP_OF_QUOTE or base == quote:
        raise InputError(
            f'a pip is defined for pairs of {", ".join(_PIP_OF_QUOTE)}, such as "EUR/USD"; found symbol {symbol!r}. '
            "Give the amount in price units instead."
        )
    return _PIP_OF_QUOTE[quote]
