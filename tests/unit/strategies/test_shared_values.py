"""Indicators are computed once per process, within a bound of memory, and never for other bytes than the view's."""

from __future__ import annotations

import gc
from collections import Counter
from copy import copy
from dataclasses import dataclass
from pathlib import Path
from threading import Thread
from typing import Any

import numpy as np
import pytest
from tests.property.cases import random_candles

import lockstep as ls
from lockstep.core.errors import InputError, LookAheadError
from lockstep.market import indicators
from lockstep.market.candles import Candles
from lockstep.runs.seeds import SeedTree
from lockstep.storage.blobs import FolderBlobStore
from lockstep.strategies import shared_values, view
from lockstep.strategies.shared_values import LIMIT, SharedValues, nbytes_of
from lockstep.strategies.task import sweep_task
from lockstep.strategies.view import MarketView
from lockstep.validation.causality import quick_look_ahead_check
from lockstep.validation.other_future import perturb_future

INDICATORS = ("atr", "sma", "ema", "rsi", "highest", "lowest", "mean_volume")
BARS = 120
CALLS: Counter[Any] = Counter()


def market(seed: int = 5) -> Candles:
    return random_candles(np.random.default_rng(seed), BARS)


class Channel(ls.Strategy):
    """Counts how often its feature is computed."""

    parameters = {"channel": (2, 30), "hold": (1, 30)}
    defaults = {"channel": 5, "hold": 3}

    def warmup(self, params: Any) -> int:
        return int(params["channel"])

    def signals(self, view: MarketView, params: Any) -> ls.Signals:
        width = params["channel"]

        def ceiling() -> Any:
            CALLS[width] += 1
            return indicators.previous_max(view.high, width)

        enter = view.close > view.once(("ceiling", width), ceiling)
        return ls.Signals(side=enter.astype(np.int8), time_limit=params["hold"])


class Peak(ls.Strategy):
    """Reads the future through `once`: the highest close of all bars."""

    defaults = {"width": 3}

    def signals(self, view: MarketView, params: Any) -> ls.Signals:
        top = view.once("top", lambda: view.close.max())
        return ls.Signals(side=(view.close >= 0.9 * top).astype(np.int8))


@pytest.fixture(autouse=True)
def _own_store(monkeypatch: pytest.MonkeyPatch) -> None:
    """What other tests left is neither seen nor pushed out."""
    monkeypatch.setattr(view, "SHARED", SharedValues())
    CALLS.clear()


def test_a_feature_is_computed_once_for_all_parameter_sets_of_a_sweep() -> None:
    columns = {"channel": [5, 9] * 6, "hold": [1, 2, 3, 4, 5, 6] * 2}
    ls.sweep(market(), Channel, ls.columns(**columns))
    assert CALLS == {5: 1, 9: 1}
    ls.sweep(market(6), Channel, ls.columns(**columns))
    assert CALLS == {5: 2, 9: 2}


def test_views_of_equal_bytes_share_an_indicator_and_all_others_have_their_own() -> None:
    first, second = MarketView(market()), MarketView(market())
    assert first.sma(7) is second.sma(7)
    assert first.sma(7) is not first.sma(8)
    assert first.sma(7) is not MarketView(market(6)).sma(7)


@pytest.mark.parametrize("name", INDICATORS)
def test_a_cut_view_is_never_served_a_value_of_the_whole_series(name: str) -> None:
    whole = MarketView(market())
    of_whole = getattr(whole, name)(7)
    cut = whole.window(0, 40)
    assert getattr(cut, name)(7).size == 40
    alone = MarketView(market().head(40))
    view.SHARED.clear()
    np.testing.assert_array_equal(getattr(alone, name)(7), getattr(cut, name)(7))
    # As many bars, and another future: equal up to the bar, changed after it.
    other = perturb_future(whole, 39, np.random.default_rng(1))
    changed = getattr(other, name)(7)
    assert changed.size == of_whole.size
    np.testing.assert_array_equal(changed[:40], of_whole[:40])
    assert not np.array_equal(changed[40:], of_whole[40:])


def test_what_once_keeps_of_the_whole_series_does_not_hide_a_look_ahead() -> None:
    whole = MarketView(market())
    assert whole.once("top", lambda: whole.close.max()) == whole.close.max()
    with pytest.raises(LookAheadError, match="Peak reads the future"):
        quick_look_ahead_check(Peak(), whole, seeds=SeedTree(42))


def test_two_strategies_with_one_key_do_not_meet() -> None:
    first, second = MarketView(market()), MarketView(market())
    assert first.once("level", lambda: 1.0) == 1.0
    assert second.once("level", lambda: 2.0) == 2.0


def test_no_strategy_can_make_a_shared_indicator_writable() -> None:
    values = MarketView(market()).sma(5)
    with pytest.raises(ValueError, match="cannot set WRITEABLE flag"):
        values.setflags(write=True)
    bands = MarketView(market()).once("bands", lambda: indicators.bollinger(market().close, 5))
    with pytest.raises(ValueError, match="read-only"):
        bands[0][0] = 1.0


def test_a_period_that_is_no_whole_number_is_refused_whoever_asked_before() -> None:
    seen = MarketView(market())
    for _ in range(2):
        with pytest.raises(InputError, match=r"window is a whole number >= 1; found 5.0"):
            seen.sma(5.0)  # type: ignore[arg-type]
        seen.sma(5)
    assert seen.sma(np.int64(5)) is seen.sma(5)  # type: ignore[arg-type]


def test_the_bound_of_memory_holds_and_the_value_used_least_recently_goes_first() -> None:
    one = nbytes_of(np.empty(100))
    store = SharedValues(limit=3 * one)
    computed: list[int] = []

    def ask(key: int) -> None:
        def compute() -> Any:
            computed.append(key)
            return np.full(100, float(key))

        assert store.value("market", key, compute)[0] == key
        assert store.nbytes <= store.limit

    for key in (1, 2, 3, 1, 4):  # 2 is the one not asked for since
        ask(key)
    assert store.nbytes == 3 * one
    for key in (1, 3, 4, 2):
        ask(key)
    assert computed == [1, 2, 3, 4, 2]


def test_the_bound_holds_for_a_sweep_of_more_windows_than_fit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(view, "SHARED", SharedValues(limit=20_000))
    seen = MarketView(market())
    expected = {period: indicators.sma(seen.close, period) for period in range(1, 60)}
    for _ in range(2):
        for period, values in expected.items():
            np.testing.assert_array_equal(seen.sma(period), values)
            assert view.SHARED.nbytes <= 20_000
    assert view.SHARED.nbytes > 10_000


def test_a_value_larger_than_the_bound_is_returned_and_not_held() -> None:
    store = SharedValues(limit=1_000)
    assert store.value("market", "large", lambda: np.zeros(1_000)).size == 1_000
    assert store.nbytes == 0


def test_the_bytes_of_what_a_value_holds_count() -> None:
    @dataclass
    class Pair:
        a: Any
        b: Any

    array = np.zeros(10_000)
    assert nbytes_of(array[:10]) >= array.nbytes  # a slice keeps all of it alive
    for value in ((array, array), [array], {"x": array}, Pair(array, array[:5])):
        assert array.nbytes <= nbytes_of(value) < array.nbytes + 2_000


def test_what_a_strategy_computed_goes_with_its_view() -> None:
    seen = MarketView(market())
    seen.once("feature", lambda: np.zeros(5_000))
    assert view.SHARED.nbytes >= 40_000
    del seen
    gc.collect()
    MarketView(market()).sma(3)
    assert view.SHARED.nbytes < 10_000


def test_a_worker_shares_indicators_between_its_tasks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A worker gets tasks as copies; two of one market, with other costs, compute an average once."""
    calls: list[int] = []

    def counted(values: Any, window: int) -> Any:
        calls.append(window)
        return indicators.rolling_mean(values, window)

    monkeypatch.setattr(view.indicators, "sma", counted)
    blobs = FolderBlobStore(tmp_path)
    for fee in (0.0, 0.001):
        task = copy(sweep_task(Averages(), market(), blobs=blobs, costs=ls.Costs(fee_rate=fee)))
        columns = Averages().columns({"fast": [3, 4, 3, 4], "slow": [9, 9, 11, 11]})
        assert task(columns).errors == {}
    assert sorted(calls) == [3, 4, 9, 11]


class Averages(ls.Strategy):
    """The usual two moving averages."""

    parameters = {"fast": (2, 8), "slow": (9, 30)}

    def warmup(self, params: Any) -> int:
        return int(params["slow"]) - 1

    def signals(self, view: MarketView, params: Any) -> ls.Signals:
        above = view.sma(params["fast"]) > view.sma(params["slow"])
        return ls.Signals(side=above.astype(np.int8), exit=~above & np.isfinite(view.sma(params["slow"])))


def test_threads_share_one_store() -> None:
    store = SharedValues(limit=10 * nbytes_of(np.empty(50)))
    wrong: list[int] = []

    def work(seed: int) -> None:
        for key in np.random.default_rng(seed).integers(0, 30, 300).tolist():
            if store.value("market", key, lambda key=key: np.full(50, key))[0] != key:
                wrong.append(key)
            store.forget(("nobody", key))

    threads = [Thread(target=work, args=(seed,)) for seed in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert store.nbytes <= store.limit


def test_the_stated_bound_is_that_of_the_process() -> None:
    assert shared_values.SHARED.limit == LIMIT == 256 * 2**20
