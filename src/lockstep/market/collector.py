"""DataCollector: the candles of a training job, with ATR and moving averages beside them (R1.9)."""

from __future__ import annotations

import warnings
from typing import TYPE_CHECKING, Final

from lockstep.core.errors import DataError
from lockstep.core.units import DAY_MS, parse_timeframe
from lockstep.market.candles import Candles
from lockstep.market.indicators import rolling_atr, sma
from lockstep.market.source import CandleSource, SampleSource

if TYPE_CHECKING:
    import pandas as pd

TIMEFRAMES: Final = ("1m", "5m", "15m", "1h", "4h", "1d")
DEFAULT_LOOKBACK: Final = 10_000
LEAST_CANDLES: Final = 100
ATR_WINDOW: Final = 14
SMA_WINDOWS: Final = (20, 50)
# Rows read before the first of the job, so that it has values: the longest NaN head is sma_50's 49.
_WARMUP: Final = max(ATR_WINDOW, max(SMA_WINDOWS) - 1)


def check_timeframe(timeframe: str) -> str:
    """`timeframe`, if a job may have it. Raises DataError, a ValueError, listing those it may have."""
    if timeframe not in TIMEFRAMES:
        raise DataError(f"a training timeframe is one of {', '.join(TIMEFRAMES)}; found {timeframe!r}.")
    return timeframe


def lookback(timeframe: str, lookback_candles: int | None, lookback_days: float | None) -> int:
    """How many candles a job wants: `lookback_candles`, else days converted with the job's own timeframe, else 10,000.

    Warns DeprecationWarning when `lookback_days` is given. Raises DataError when a number is not positive.
    """
    if lookback_days is not None:
        warnings.warn(
            "lookback_days is deprecated: a day has another number of candles in each timeframe. Use lookback_candles.",
            DeprecationWarning,
            stacklevel=3,
        )
    if lookback_candles is not None:
        bars = lookback_candles
    elif lookback_days is not None:
        bars = int(lookback_days * DAY_MS / parse_timeframe(timeframe))
    else:
        bars = DEFAULT_LOOKBACK
    if bars < 1:
        raise DataError(f"a lookback is a positive number of candles; found {bars}.")
    return bars


class DataCollector:
    """Fetches a job's candles from a source and computes ATR(14), SMA(20) and SMA(50) beside them.

    source  any CandleSource; None takes the bundled sample
    """

    def __init__(self, source: CandleSource | None = None) -> None:
        self.source: CandleSource = SampleSource() if source is None else source

    def fetch_candles(
        self,
        symbol: str,
        exchange: str,
        timeframe: str = "1h",
        *,
        lookback_candles: int | None = None,
        lookback_days: float | None = None,
    ) -> Candles:
        """The most recent candles by their own time, with extra columns atr, sma_20 and sma_50.

        Earlier rows are read for the indicators' warm-up where the source has them; where it does not, the head is NaN
        and stays NaN. ATR is the mean of the last 14 true ranges.

        symbol            such as "BTC/USDT"; upper-cased
        exchange          such as "kraken"; lower-cased
        timeframe         one of 1m, 5m, 15m, 1h, 4h, 1d
        lookback_candles  how many (default 10,000); takes precedence over days
        lookback_days     deprecated

        Raises DataError when the timeframe is not one of these, or there are fewer than 100 candles (backfill first).
        """
        check_timeframe(timeframe)
        bars = lookback(timeframe, lookback_candles, lookback_days)
        symbol, exchange = symbol.upper(), exchange.lower()
        candles = self.source.candles(symbol=symbol, exchange=exchange, timeframe=timeframe, last=bars + _WARMUP)
        extra = {"atr": rolling_atr(candles.high, candles.low, candles.close, ATR_WINDOW)}
        for window in SMA_WINDOWS:
            extra[f"sma_{window}"] = sma(candles.close, window)
        count = min(bars, len(candles))
        if count < LEAST_CANDLES:
            raise DataError(
                f"{exchange} {symbol} {timeframe}: training needs at least {LEAST_CANDLES} candles; found {count}. "
                "Backfill this market, or ask for a longer lookback."
            )
        return Candles(
            timestamp=candles.timestamp,
            open=candles.open,
            high=candles.high,
            low=candles.low,
            close=candles.close,
            volume=candles.volume,
            timeframe_ms=candles.timeframe_ms,
            extra=extra,
            symbol=symbol,
            exchange=exchange,
            source=candles.source,
        ).tail(bars)

    def fetch_ohlcv(
        self,
        symbol: str,
        exchange: str,
        timeframe: str = "1h",
        lookback_candles: int | None = None,
        lookback_days: float | None = None,
    ) -> pd.DataFrame:
        """`fetch_candles` as a pandas frame: timestamp (ms), open, high, low, close, volume, atr, sma_20, sma_50."""
        return self.fetch_candles(
            symbol, exchange, timeframe, lookback_candles=lookback_candles, lookback_days=lookback_days
        ).to_frame()
