"""Timeframes and pips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.core.errors import InputError
from lockstep.core.units import format_timeframe, parse_timeframe, pip_size


@given(st.integers(1, 10_000), st.sampled_from("smhdw"))
def test_a_timeframe_survives_formatting(count: int, unit: str) -> None:
    milliseconds = parse_timeframe(f"{count}{unit}")
    assert parse_timeframe(format_timeframe(milliseconds)) == milliseconds


def test_timeframes_mean_what_they_say() -> None:
    assert parse_timeframe("5m") == 5 * 60 * 1_000
    assert format_timeframe(90 * 60_000) == "90m"


@pytest.mark.parametrize("text", ["5 minutes", "5M", "0m", "m", "1.5h", "-1h", ""])
def test_what_is_not_a_timeframe_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match='such as "5m" or "1h"; found'):
        parse_timeframe(text)


def test_pips_are_those_of_the_quote_currency() -> None:
    assert pip_size("EUR/USD") == pip_size("eurusd") == pip_size("JPY/USD") == 0.0001
    assert pip_size("USD/JPY") == pip_size("EUR/HUF") == 0.01


@pytest.mark.parametrize("symbol", ["BTC/USDT", "BTCUSD", "XAU/USD", "USD/TRY", "USDUSD", "EUR", ""])
def test_what_is_no_known_pair_has_no_pip(symbol: str) -> None:
    """A pip of 0.0001 on gold at 2,000 would make a spread of 30 pips cost nothing."""
    with pytest.raises(InputError, match="Give the amount in price units instead"):
        pip_size(symbol)
