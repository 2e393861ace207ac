"""Planted leaks are found, causal strategies never accused, and the liquidity sweep is causal on any market (R2.18)."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from lockstep.core.errors import LookAheadError
from lockstep.core.space import row
from lockstep.engine.signals import Signals
from lockstep.market.candles import Candles
from lockstep.runs.seeds import SeedTree
from lockstep.strategies.base import Strategy
from lockstep.strategies.contract import random_market
from lockstep.strategies.evaluate import decide
from lockstep.strategies.inputs import Events, EventSeries, HigherTimeframe, OwnCandles
from lockstep.strategies.liquidity_sweep import LiquiditySweep
from lockstep.strategies.view import MarketView
from lockstep.validation.causality import exhaustive_look_ahead_check, quick_look_ahead_check

Condition = Callable[[MarketView], Any]


def expanding_mean(values: Any) -> Any:
    return np.cumsum(values) / np.arange(1, values.size + 1)


# Each is causal by construction; hypothesis combines them.
CONDITIONS: dict[str, Condition] = {
    "above its mean": lambda view: view.close > view.sma(20),
    "fast over slow": lambda view: view.ema(8) > view.ema(30),
    "breakout": lambda view: view.close >= view.highest(30),
    "oversold": lambda view: view.rsi(14) < 40.0,
    "spike": lambda view: view.volume > 1.5 * view.mean_volume(20),
    "over all so far": lambda view: view.close > expanding_mean(view.close),
    "running maximum": lambda view: view.close >= 0.995 * np.maximum.accumulate(view.high),
    "higher bar": lambda view: view.close > view["higher"].close,
    "higher mean": lambda view: view.close > view["higher"].align(expanding_mean(view["higher"].bars.close)),
    "other market": lambda view: view["other"].close > view["other"].open,
    "news": lambda view: view["news"]["surprise"] > 0.0,
    "after a gap": lambda view: np.diff(view.timestamp, prepend=view.timestamp[:1]) > view.timeframe_ms,
    "every seventh hour": lambda view: (view.timestamp // 3_600_000) % 7 == 0,
}


class Combined(Strategy):
    """Entries where all conditions hold, exits where the first fails, levels by ATR."""

    inputs = {"higher": HigherTimeframe("1h"), "other": OwnCandles(), "news": EventSeries("surprise")}
    conditions: tuple[Condition, ...] = ()
    short = False

    def signals(self, view: MarketView, params: Any) -> Signals:
        holds = np.logical_and.reduce([condition(view) for condition in self.conditions])
        atr = view.rolling_atr(14)
        ready = holds & np.isfinite(atr) & (atr > 0.0)
        direction = -1 if self.short else 1
        return Signals(
            side=(direction * ready).astype(np.int8),
            stop=view.close - direction * 2.0 * atr,
            target=view.close + direction * 3.0 * atr,
            exit=~self.conditions[0](view),
            trail=1.5 * atr,
            time_limit=20,
        )


def shifted(candles: Candles, milliseconds: int) -> Candles:
    return Candles(
        timestamp=candles.timestamp + milliseconds,
        open=candles.open,
        high=candles.high,
        low=candles.low,
        close=candles.close,
        volume=candles.volume,
        timeframe_ms=candles.timeframe_ms,
    )


@given(
    names=st.lists(st.sampled_from(sorted(CONDITIONS)), min_size=1, max_size=3, unique=True),
    seed=st.integers(0, 2**31),
    bars=st.sampled_from([1, 2, 30, 400, 1_500]),
    gaps=st.booleans(),
    short=st.booleans(),
    offset=st.integers(-600_000, 600_000),
)
@settings(max_examples=60, deadline=None)
def test_a_causal_strategy_is_never_accused(
    names: list[str], seed: int, bars: int, gaps: bool, short: bool, offset: int
) -> None:
    rng = SeedTree(seed).generator()
    candles = random_market(bars, rng, gaps=gaps)
    # The other market's bars close between ours, and events fall anywhere.
    other = shifted(random_market(bars, rng), offset)
    moments = np.sort(rng.integers(candles.timestamp[0] - 10_000, candles.timestamp[-1] + 10_000_000, 50))
    news = Events(timestamp=moments, columns={"surprise": rng.standard_normal(50)})
    strategy = Combined()
    strategy.conditions = tuple(CONDITIONS[name] for name in names)
    strategy.short = short
    view = MarketView(candles, strategy.inputs, {"other": other, "news": news})
    report = quick_look_ahead_check(strategy, view, seeds=SeedTree(seed))
    # Of one bar nothing can be asked: no bar comes after it.
    assert (report.comparisons > 0) == (bars > 1)


def centred_mean(values: Any, bars: int) -> Any:
    mean = np.full(values.size, np.nan)
    if values.size > 2 * bars:
        mean[bars : values.size - bars] = np.convolve(values, np.full(2 * bars + 1, 1.0 / (2 * bars + 1)), mode="valid")
    return mean


LEAKS: dict[str, Callable[[Any, int], Any]] = {
    "shift": lambda values, bars: np.append(values[bars:], np.full(min(bars, values.size), np.nan)),
    "centred mean": lambda values, bars: centred_mean(values, bars),
    "mean of all": lambda values, bars: np.full(values.size, values.mean()),
    "maximum of all": lambda values, bars: np.full(values.size, 0.5 * (values.max() + values.min())),
    "last value": lambda values, bars: np.full(values.size, values[-1]),
    "close of the group": lambda values, bars: values[
        np.minimum((np.arange(values.size) // (bars + 1) + 1) * (bars + 1) - 1, values.size - 1)
    ],
}
"""Levels that a price is compared with; each knows later values."""


class Branched(Strategy):
    """Above its mean; and, where every parameter of `hiding` has its value, above a level that knows the future."""

    parameters = {"mode": ["a", "b", "c"], "on": [True, False], "n": (2, 40)}
    defaults = {"mode": "a", "on": True, "n": 10}
    leak = "shift"
    bars = 1
    hiding: tuple[str, Any] = ("mode", "a")

    def signals(self, view: MarketView, params: Any) -> Signals:
        name, value = self.hiding
        level = view.sma(params["n"])
        if params[name] == value:
            level = LEAKS[self.leak](view.close, self.bars)
        return Signals(side=np.where(view.close > level, 1, np.where(view.close < level, -1, 0)).astype(np.int8))


@given(
    leak=st.sampled_from(sorted(LEAKS)),
    bars=st.integers(1, 30),
    hiding=st.sampled_from(
        [("mode", "a"), ("mode", "b"), ("mode", "c"), ("on", True), ("on", False), ("n", 2), ("n", 21), ("n", 40)]
    ),
    seed=st.integers(0, 2**31),
    length=st.sampled_from([200, 500]),
)
@settings(max_examples=12, deadline=None)
def test_a_leak_behind_any_value_of_a_space_is_found(
    leak: str, bars: int, hiding: tuple[str, Any], seed: int, length: int
) -> None:
    strategy = Branched()
    strategy.leak, strategy.bars, strategy.hiding = leak, bars, hiding
    view = MarketView(random_market(length, SeedTree(seed).generator()))
    with pytest.raises(LookAheadError, match="Branched reads the future: side at bar"):
        quick_look_ahead_check(strategy, view, seeds=SeedTree(seed))
    with pytest.raises(LookAheadError, match="Branched reads the future: side at bar"):
        exhaustive_look_ahead_check(strategy, view, {hiding[0]: hiding[1]}, seeds=SeedTree(seed))


class Remembering(Branched):
    """A causal rule whose mean is kept in `memory` under a key, which is honest or not."""

    key: Callable[[MarketView, Any], Any] = staticmethod(lambda view, params: 0)

    def __init__(self) -> None:
        self.memory: dict[Any, Any] = {}

    def signals(self, view: MarketView, params: Any) -> Signals:
        key = self.key(view, params)
        if key not in self.memory:
            self.memory[key] = float(view.close[: len(view) // 2 + 1].mean()), expanding_mean(view.close)
        scale, mean = self.memory[key]
        level = mean if mean.size == view.close.size else np.full(view.close.size, scale)
        return Signals(side=np.where(view.close > level, 1, -1).astype(np.int8))


HONEST_KEYS: list[Callable[[MarketView, Any], Any]] = [
    lambda view, params: view.close.tobytes(),
    lambda view, params: (params["n"], view.candles.digest),
    lambda view, params: hash((view.timestamp.tobytes(), view.close.tobytes())),
]
OTHER_KEYS: list[Callable[[MarketView, Any], Any]] = [
    lambda view, params: "fitted",
    lambda view, params: params["n"],
    lambda view, params: (params["mode"], params["on"]),
    lambda view, params: int(view.timestamp[0]),
    lambda view, params: len(view) // 100_000,
]


@given(key=st.sampled_from([*HONEST_KEYS, *OTHER_KEYS]), seed=st.integers(0, 2**31), length=st.sampled_from([200, 700]))
@settings(max_examples=20, deadline=None)
def test_a_memory_is_refused_exactly_when_its_key_is_not_the_data(key: Any, seed: int, length: int) -> None:
    strategy = Remembering()
    strategy.key = key
    view = MarketView(random_market(length, SeedTree(seed).generator()))
    if key in HONEST_KEYS:
        assert quick_look_ahead_check(strategy, view, seeds=SeedTree(seed)).decisions > 0
    else:
        with pytest.raises(LookAheadError, match=r"state kept between calls: self\.memory\["):
            quick_look_ahead_check(strategy, view, seeds=SeedTree(seed))
    assert strategy.memory == {}, "questions leave nothing behind"


def decisions_to(signals: Signals, bars: int) -> tuple[Any, ...]:
    at = np.flatnonzero(signals.side[:bars])
    levels = [np.empty(0) if values is None else values[at] for values in (signals.stop, signals.target)]
    return (at.tolist(), signals.side[at].tolist(), *(values.tolist() for values in levels))


@given(seed=st.integers(0, 2**31), bars=st.integers(120, 500), cut=st.floats(0.2, 1.0), gaps=st.booleans())
@settings(max_examples=40, deadline=None)
def test_cutting_the_data_leaves_every_earlier_sweep_signal_unchanged(
    seed: int, bars: int, cut: float, gaps: bool
) -> None:
    """R2.18, R2.3: for the plain rule and the compiled search alike."""
    rng = SeedTree(seed).generator()
    strategy = LiquiditySweep()
    params = strategy.resolve(
        {
            **row(strategy.space.decode(rng.random((1, 9))), 0),
            "pierce_depth": float(rng.uniform(0.0, 0.001)),
            "volume_spike_threshold": float(rng.uniform(0.5, 2.0)),
            "reversal_candles": int(rng.integers(1, 3)),
            "min_level_touches": int(rng.integers(1, 3)),
            "key_level_lookback": int(rng.integers(20, 200)),
        }
    )
    view = MarketView(random_market(bars, rng, gaps=gaps))
    kept = max(1, int(cut * bars))
    short = view.window(0, kept)
    whole = decisions_to(decide(strategy, view, params), kept)
    assert decisions_to(decide(strategy, short, params), kept) == whole
    assert decisions_to(strategy.checked_signals(view, params), kept) == whole
    assert decisions_to(strategy.checked_signals(short, params), kept) == whole
