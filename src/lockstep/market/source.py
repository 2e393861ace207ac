"""Where candles come from: the CandleSource protocol and the sources that need no server."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from lockstep.core.errors import DataError
from lockstep.core.units import parse_timeframe
from lockstep.market.candles import Candles
from lockstep.market.load import load_candles
from lockstep.market.sample import SYMBOL, TIMEFRAME, sample_candles


class CandleSource(Protocol):
    """A place that candles of markets come from: a file, the sample, a database."""

    def candles(self, *, symbol: str, exchange: str, timeframe: str, last: int | None = None) -> Candles:
        """The market's candles, oldest first: the `last` most recent by their time, or all.

        Raises DataError when the source has none, or what it has breaks a rule.
        """
        ...


class FileSource:
    """One file of one market; `options` are those of `load_candles`."""

    def __init__(self, path: str | Path, **options: Any) -> None:
        self.path = Path(path)
        self._options: Mapping[str, Any] = options

    def candles(self, *, symbol: str, exchange: str, timeframe: str, last: int | None = None) -> Candles:
        """The file's candles, labelled with symbol and exchange; their bar length must be the timeframe."""
        return load_candles(
            self.path, **self._options, symbol=symbol, exchange=exchange, timeframe=timeframe, last=last
        )


class SampleSource:
    """The bundled EUR/USD hours of 2017."""

    def candles(self, *, symbol: str, exchange: str, timeframe: str, last: int | None = None) -> Candles:
        """The sample; any exchange may be named. Raises DataError when another symbol or timeframe is asked for."""
        if symbol.upper() != SYMBOL or parse_timeframe(timeframe) != parse_timeframe(TIMEFRAME):
            raise DataError(
                f"the bundled sample is {SYMBOL} {TIMEFRAME}; asked for {symbol} {timeframe}. "
                "Name a file: source 'file' with its path."
            )
        candles = sample_candles()
        return candles if last is None else candles.tail(last)
