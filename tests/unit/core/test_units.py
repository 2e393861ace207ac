"""Timeframes and pips."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from lockstep.core.errors import InputError
from lockstep.core.units import bars_per_year, format_timeframe, parse_timeframe, pip_size


@given(st.integers(1, 10_000), st.sampled_from("smhdw"))
def test_a_timeframe_survives_formatting(count: int, unit: str) -> None:
    milliseconds = parse_timeframe(f"{count}{unit}")
    assert parse_timeframe(format_timeframe(milliseconds)) == milliseconds


def test_timeframes_mean_what_they_say() -> None:
    assert parse_timeframe("5m") == 5 * 60 * 1_000
    assert format_timeframe(90 * 60_000) == "90m"
    assert bars_per_year(parse_timeframe("1h")) == 365 * 24


@pytest.mark.parametrize("text", ["5 minutes", "5M", "0m", "m", "1.5h", "-1h", ""])
def test_what_is_not_a_timeframe_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(InputError, match='such as "5m" or "1h"; found'):
        parse_timeframe(text)


def test_pips_exist_for_currency_pairs_alone() -> None:
    assert pip_size("EUR/USD") == pip_size("eurusd") == 0.0001
    assert pip_size("USD/JPY") == 0.01
    with pytest.raises(InputError, match="currency pairs"):
        pip_size("BTC/USDT")
