"""Spellings of one market, and markets that only look alike."""

import pytest

from lockstep.market.formats.markets import is_same_market


@pytest.mark.parametrize(
    ("one", "other"),
    [("BTC/USD", "btc-usd"), ("BTCUSD", "X:BTCUSD"), ("BINANCE:BTCUSDT", "BTC/USDT"), ("XXBTZUSD", "BTC/USD"),
     ("BRK.B", "BRK-B"), ("XBTUSD", "BTC_USD")],
)  # fmt: skip
def test_one_market_has_several_spellings(one: str, other: str) -> None:
    assert is_same_market(one, other)
    assert is_same_market(other, one)


@pytest.mark.parametrize(
    ("one", "other"),
    [("BTCUSDT.P", "BTCUSDT"), ("BTC-PERP", "BTC"), ("BTC/USDT:USDT", "BTC/USDT"), ("AAPL:US", "MSFT:US"),
     ("NYSE:ABC", "ASX:ABC"), ("BTC/USDT", "BTC/USD")],
)  # fmt: skip
def test_other_markets_are_not_taken_for_it(one: str, other: str) -> None:
    assert not is_same_market(one, other)
    assert not is_same_market(other, one)
