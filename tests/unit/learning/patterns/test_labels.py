"""Labels: what they say, in closed form and by brute force, and which bars they need."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from tests.unit.kinds.cnn_builders import candles_of

from lockstep.core.errors import InputError
from lockstep.engine.costs import Costs
from lockstep.engine.settings import Execution
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.learning.patterns.labels import UNKNOWN, LabelSettings, labels_of
from lockstep.market.candles import Candles

PIVOT = LabelSettings(horizon=4, pivot_bars=2)
DIRECTION = LabelSettings(task="direction", horizon=4, threshold=0.5, volatility_bars=10)


def changed_after(candles: Candles, bar: int) -> Candles:
    """Every bar after `bar` at twice the price."""
    later = np.arange(len(candles)) > bar
    return replace(
        candles,
        **{name: np.where(later, 2.0, 1.0) * getattr(candles, name) for name in ("open", "high", "low", "close")},
    )


def test_pivots_are_those_that_a_person_finds_by_looking_at_both_sides() -> None:
    candles = candles_of(200)
    found = labels_of(candles, PIVOT)
    for t in range(2, 200 - 4):
        around = [t - 2, t - 1, t + 1, t + 2]
        high = all(candles.high[t] > candles.high[s] for s in around)
        low = all(candles.low[t] < candles.low[s] for s in around)
        assert found.classes[t] == (1 if high == low else 2 if high else 0)
    assert set(found.classes[2:196].tolist()) == {0, 1, 2}


def test_the_known_half_of_a_pivot_is_what_the_bars_before_say() -> None:
    candles = candles_of(120)
    found = labels_of(candles, PIVOT)
    for t in range(2, 120):
        above = candles.high[t] > candles.high[t - 2 : t].max()
        below = candles.low[t] < candles.low[t - 2 : t].min()
        assert found.known_side[t] == above + 2 * below
    later = labels_of(changed_after(candles, 60), PIVOT)
    assert later.known_side[:61].tolist() == found.known_side[:61].tolist()


def test_directions_follow_the_forward_return_in_units_of_past_volatility() -> None:
    candles = candles_of(150)
    found = labels_of(candles, DIRECTION)
    changes = np.diff(np.log(candles.close))
    for t in range(10, 146):
        forward = candles.close[t + 4] / candles.open[t + 1] - 1.0
        limit = 0.5 * changes[t - 10 : t].std() * np.sqrt(4)
        assert found.returns[t] == pytest.approx(forward)
        assert found.classes[t] == (2 if forward > limit else 0 if forward < -limit else 1)


def test_the_forward_return_is_what_the_engine_fills() -> None:
    """A long position decided at bar t with a time limit of H bars, without costs, earns r(t)."""
    candles = candles_of(80)
    found = labels_of(candles, DIRECTION)
    for t in (12, 30, 61):
        side = np.zeros(80, np.int8)
        side[t] = 1
        signals = Signals(side=side, stop=np.full(80, 1.0), target=np.full(80, 1e6), time_limit=4)
        free = Costs(fee_rate=0.0, slippage_rate=0.0)
        trade = simulate(candles, signals, costs=free, execution=Execution(allow_far_stops=True)).trades
        assert trade.exit_price[0] / trade.entry_price[0] - 1.0 == pytest.approx(found.returns[t], rel=1e-12)


def test_the_forward_return_begins_at_the_next_open_and_not_at_the_close_of_the_decision() -> None:
    """Every bar opens 5 % above the close before it: 110 -> 115.5. What a decision at the close earns begins there."""
    close = 100.0 + 10.0 * np.arange(30)
    opens = np.append(100.0, 1.05 * close[:-1])
    candles = Candles.from_arrays(
        timestamp=3_600_000 * np.arange(30),
        open=opens,
        high=np.maximum(opens, close),
        low=np.minimum(opens, close),
        close=close,
        volume=np.ones(30),
    )
    found = labels_of(candles, LabelSettings(task="direction", horizon=2, volatility_bars=2))
    # Decided at bar 3 (close 130): in at the open of bar 4, 136.5; out at the close of bar 5, 150.
    assert found.returns[3] == pytest.approx(150.0 / 136.5 - 1.0)
    assert found.returns[10] == pytest.approx(220.0 / (1.05 * 200.0) - 1.0)


@pytest.mark.parametrize("settings", [PIVOT, DIRECTION, LabelSettings(horizon=2, pivot_bars=5)])
def test_no_bar_after_the_last_one_needed_changes_a_label(settings: LabelSettings) -> None:
    """What purging rests on; and the last one needed is needed."""
    candles = candles_of(100)
    found = labels_of(candles, settings)
    for t in (20, 47, 80):
        again = labels_of(changed_after(candles, int(found.last[t])), settings)
        assert (again.classes[t], again.returns[t]) == (found.classes[t], found.returns[t])
    # Twice the price from the last bar needed on moves a return measured there, or breaks a high before it.
    highs = [t for t in range(10, 80) if found.classes[t] == 2]
    moved = [labels_of(changed_after(candles, int(found.last[t]) - 1), settings) for t in highs]
    pairs = list(zip(moved, highs, strict=True))
    assert any(m.returns[t] != found.returns[t] or m.classes[t] != found.classes[t] for m, t in pairs)


def test_bars_whose_label_is_not_known_have_none() -> None:
    found = labels_of(candles_of(40), PIVOT)
    assert np.flatnonzero(found.classes == UNKNOWN).tolist() == [0, 1, 36, 37, 38, 39]
    assert np.isnan(found.returns[[0, 1, 36, 39]]).all()
    short = labels_of(candles_of(3), PIVOT)
    assert (short.classes == UNKNOWN).all()


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="horizon and pivot_bars are at least 1"):
        LabelSettings(horizon=0)
    with pytest.raises(InputError, match="a task is one of pivot, direction"):
        LabelSettings(task="oracle")  # type: ignore[arg-type]
