"""docs/strategies.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np

from lockstep.market.candles import Candles
from lockstep.market.sample import sample_candles
from lockstep.strategies.liquidity_sweep import LiquiditySweep
from lockstep.strategies.view import MarketView

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "strategies.md").read_text()


def test_the_table_of_parameters_is_complete_with_the_defaults_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", DOCS, re.MULTILINE))
    defaults = LiquiditySweep().resolve({})
    assert {name: float(value) for name, value in rows.items()} == {
        name: float(defaults[name]) for name in LiquiditySweep().space
    }


def test_the_shown_example_is_the_file_that_runs() -> None:
    shown = DOCS.partition("```python\n")[2].partition("```")[0]
    file = (ROOT / "examples" / "my_strategy.py").read_text()
    assert file.partition('"""\n\n')[2] == shown


def swing(values: list[float], b: int, sign: int) -> bool:
    """Strictly beyond the two bars on each side; `sign` 1 for lows, -1 for highs."""
    return all(sign * values[b] < sign * values[k] for k in (b - 2, b - 1, b + 1, b + 2))


def levels(prices: list[float], distance: float, touches: int) -> list[float]:
    groups: list[list[float]] = []
    for price in sorted(prices):
        if groups and price <= sum(groups[-1]) / len(groups[-1]) * (1 + distance):
            groups[-1].append(price)
        else:
            groups.append([price])
    return [sum(group) / len(group) for group in groups if len(group) >= touches]


def decision(bars: Candles, p: dict[str, Any], t: int) -> tuple[int, float, float] | None:
    """Side, stop and target at bar t by the sentences of the page, for one bar at a time; None for no decision."""
    o, h, low, c, v = (list(map(float, column)) for column in (bars.open, bars.high, bars.low, bars.close, bars.volume))

    def atr(k: int) -> float:
        ranges = [max(h[j] - low[j], abs(h[j] - c[j - 1]), abs(low[j] - c[j - 1])) for j in range(k - 13, k + 1)]
        return sum(ranges) / 14

    window = range(t - p["reversal_candles"], t + 1)
    reach = 3 * float(np.median([atr(k) for k in range(t - 99, t + 1)]))
    if max(v[j] / (sum(v[j - 19 : j + 1]) / 20) for j in window) < p["volume_spike_threshold"]:
        return None
    fired = []
    for side, edge in ((1, low), (-1, h)):
        counted = [b for b in range(t - p["key_level_lookback"] + 1, t - 1) if swing(edge, b, side)]
        extreme = min(side * edge[j] for j in window)
        confirmed = sum(side * c[j] > side * o[j] for j in window) >= p["reversal_candles"]
        swept = [
            level
            for level in levels([edge[b] for b in counted], p["min_distance_from_level"], p["min_level_touches"])
            if extreme <= side * level * (1 - side * p["pierce_depth"]) and 0 < side * (c[t] - level) <= reach
        ]
        if confirmed and swept:
            fired.append(side)
    if len(fired) != 1:
        return None
    loss = fired[0] * p["atr_multiplier_sl"] * atr(t)
    return fired[0], c[t] - loss, c[t] + p["risk_reward_ratio"] * loss


def test_a_second_reading_of_the_page_makes_the_same_decisions() -> None:
    """Which swings count, which ATR, the bar's own volume in the mean, and the warm-up: R2.1 as the page has it."""
    bars, rule = sample_candles().slice(400, 640), LiquiditySweep()
    loose = {"pierce_depth": 0.0001, "volume_spike_threshold": 1.0, "min_level_touches": 1, "key_level_lookback": 60}
    params = rule.resolve({**loose, "min_distance_from_level": 0.0005})
    assert "`max(key_level_lookback + 2, 20 + reversal_candles, 114)`" in DOCS
    first = max(60 + 2, 20 + 2, 114)
    assert rule.warmup(params) == first
    signals = rule.signals(MarketView(bars), params)
    assert not signals.side[:first].any()
    decisions = 0
    for t in range(first, len(bars)):
        own = decision(bars, params, t)
        assert signals.side[t] == (0 if own is None else own[0]), t
        if own is not None:
            decisions += 1
            assert np.allclose([signals.stop[t], signals.target[t]], own[1:], rtol=1e-12)
    assert decisions >= 5
