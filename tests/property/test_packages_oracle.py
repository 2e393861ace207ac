"""Packages against a slow second reading of docs/packages.md, in plain Python: no kernel, no pool, no shared code.

For each moment it looks at everything that had been sent by then, one event at a time; the book is a dictionary, the
hashes are those of bytes put together here.
"""

from __future__ import annotations

import hashlib
import json
import struct
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from blake3 import blake3
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.unit.episodes.package_builders import built, streamed
from tests.unit.episodes.package_cases import PLAN, market
from tests.unit.market.bars import DAY, HOUR, MONDAY

from lockstep.episodes.packages.build import PackagePlan
from lockstep.episodes.packages.package import FLAGS, ModelInputPackage
from lockstep.market.candles import Candles
from lockstep.market.rapid_change import RapidChangeRules, detect_rapid_changes

LENGTH = {"1h": HOUR, "4h": 4 * HOUR, "1d": DAY}
# Trades come about every 20 minutes; these rules find some of their moves.
LIVELY = replace(PLAN, rapid=RapidChangeRules(velocity_threshold_pct_per_min=0.003, velocity_window_s=1_800.0))


def bars_known(candles: Any, length: int, sent_by: int) -> list[list[float]]:
    """Rows of the bars that had closed."""
    rows = zip(candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume, strict=True)
    return [[float(value) for value in row] for row in rows if row[0] + length <= sent_by]


def book_known(messages: list[Any], sent_by: int, levels: int, max_age: int) -> list[list[float]] | None:
    """The levels known at a moment: everything applied from the beginning, prices in dictionaries."""
    stamped = [k for k, one in enumerate(messages) if 0 < one.exchange_ms <= sent_by]
    sides: dict[int, dict[float, float]] = {1: {}, -1: {}}
    last, time, earlier = None, None, []

    def follow(one: Any) -> None:
        nonlocal last, time
        if last is None or one.final_update_id <= last:
            return
        if one.first_update_id > last + 1:
            last, time = None, None
            return
        for side, price, quantity in zip(one.side, one.price, one.quantity, strict=True):
            sides[int(side)][float(price)] = float(quantity)
        last = one.final_update_id

    for one in messages[: stamped[-1] + 1] if stamped else []:
        if one.is_snapshot:
            sides, last, time = {1: {}, -1: {}}, one.first_update_id - 1, None
            follow(one)
            for old in earlier:
                follow(old)
        else:
            was = last
            follow(one)
            if last is not None and (time is not None or one.final_update_id >= (was or 0)):
                time = one.exchange_ms
            earlier.append(one)
    if last is None or time is None or sent_by - time > max_age:
        return None
    bids = sorted(((p, q) for p, q in sides[1].items() if q > 0), reverse=True)
    asks = sorted((p, q) for p, q in sides[-1].items() if q > 0)
    if not bids or not asks or bids[0][0] >= asks[0][0]:
        return None
    return [[*bid, *ask] for bid, ask in zip(bids[:levels], asks[:levels], strict=False)]


def rapid_known(times: list[int], prices: list[float], rules: RapidChangeRules) -> list[int]:
    """Times of the observations at which something triggered, by the sentences of docs/packages.md."""
    found: list[int] = []
    baseline, warm = None, 0
    for k, (time, price) in enumerate(zip(times, prices, strict=True)):
        triggered = False
        older = [j for j in range(k) if times[j] <= time - rules.velocity_window_s * 1_000]
        if older:
            j = older[-1]
            per_minute = 100 * (price / prices[j] - 1) / ((time - times[j]) / 60_000)
            triggered = abs(per_minute) >= rules.velocity_threshold_pct_per_min
        if k >= rules.returns:
            returns = [prices[i] / prices[i - 1] - 1 for i in range(k - rules.returns + 1, k + 1)]
            sigma = float(np.std(returns))
            spike = baseline is not None and warm >= rules.warmup and baseline > 0
            spike = spike and sigma >= rules.volatility_multiplier * baseline  # type: ignore[operator]
            if not spike:
                baseline = sigma if baseline is None else (1 - rules.alpha) * baseline + rules.alpha * sigma
                warm += 1
            triggered |= spike
        if triggered:
            found.append(time)
    return found


def pivots_known(rows: list[list[float]], side: int) -> list[list[float]]:
    """Bars whose high (low) stands out from `side` bars before and after, in the order in which that is known."""
    found = []
    for k in range(side, len(rows) - side):
        around = rows[k - side : k] + rows[k + 1 : k + side + 1]
        if all(row[2] < rows[k][2] for row in around):
            found.append([rows[k][0], rows[k][2], 1.0])
        if all(row[3] > rows[k][3] for row in around):
            found.append([rows[k][0], rows[k][3], -1.0])
    return found


def expected_at(plan: PackagePlan, given_market: dict[str, Any], moment: int, rapid: list[int]) -> dict[str, Any]:
    """What a package of a moment holds, but for what is computed from bars (see `test_features_are_what...`)."""
    sent_by = moment - plan.latency_ms
    known = {name: bars_known(table, LENGTH[name], sent_by) for name, table in given_market["candles"].items()}
    fresh = {
        name: rows[-plan.window :]
        for name, rows in known.items()
        if rows and sent_by - (rows[-1][0] + LENGTH[name]) < (plan.max_missing_bars + 1) * LENGTH[name]
    }
    t = given_market["trades"]
    columns = zip(t.trade_id, t.timestamp, t.price, t.quantity, t.side, strict=True)
    trades = [[float(value) for value in row] for row in columns if row[1] <= sent_by]
    base = known[plan.base]
    price = base[-1][4] if base else None
    if trades and (not base or trades[-1][1] >= base[-1][0] + LENGTH[plan.base]):
        price = trades[-1][2]
    ticks = [row for row in trades[-plan.ticks :] if sent_by - row[1] < plan.max_tick_age_ms]
    swings = pivots_known(base, plan.pivot_side)[-plan.pivots :] if plan.base in fresh else []
    return {
        "timestamp": moment,
        "symbol": plan.symbol,
        "current_price": price,
        "ohlcv_data": fresh or None,
        "tick_data": ticks or None,
        "cob_data": book_known(given_market["messages"], sent_by, plan.levels, plan.max_book_age_ms),
        "pivot_points": swings or None,
        "is_rapid_change": any(moment - plan.rapid.velocity_window_s * 1_000 < time <= moment for time in rapid),
    }


def sampled(given_market: dict[str, Any], plan: PackagePlan) -> tuple[list[int], list[float]]:
    """The last price of each second with a trade, known at its end and the latency."""
    last = {}
    for time, price in zip(given_market["trades"].timestamp.tolist(), given_market["trades"].price, strict=True):
        last[(time // plan.sample_ms + 1) * plan.sample_ms + plan.latency_ms] = float(price)
    return list(last), list(last.values())


def form(value: Any, bodies: list[bytes]) -> Any:
    """The canonical form as the module's head describes it."""
    if value is None or isinstance(value, str):
        return value
    if hasattr(value, "keys"):
        return {key: form(value[key], bodies) for key in sorted(value)}
    kinds = {bool: ("|b1", "<?"), int: ("<i8", "<q"), float: ("<f8", "<d")}
    if type(value) in kinds:
        dtype, code = kinds[type(value)]
        bodies.append(struct.pack(code, value))
        return {"$array": [dtype, []]}
    code = {"<f8": "d", "<f4": "f"}[value.dtype.str]
    bodies.append(struct.pack(f"<{value.size}{code}", *value.reshape(-1).tolist()))
    return {"$array": [value.dtype.str, list(value.shape)]}


def hashes(one: ModelInputPackage) -> tuple[str, str]:
    bodies: list[bytes] = []
    names = (*FIELDS_OF_SPEC, "is_rapid_change")
    head = json.dumps(form({name: getattr(one, name) for name in names}, bodies), separators=(",", ":")).encode()
    whole = b"lockstep-package-1\0" + struct.pack("<Q", len(head)) + head + b"".join(bodies)
    return hashlib.md5(whole, usedforsecurity=False).hexdigest(), "blake3:" + blake3(whole).hexdigest()


FIELDS_OF_SPEC = [
    *("timestamp", "symbol", "current_price", "ohlcv_data", "tick_data", "cob_data", "technical_indicators"),
    *("pivot_points", "cnn_features", "rl_state"),
]


def as_lists(value: Any) -> Any:
    if hasattr(value, "keys"):
        return {key: as_lists(item) for key, item in value.items()}
    return value.tolist() if isinstance(value, np.ndarray) else value


def uneven_market(n: int, seed: int) -> dict[str, Any]:
    """A market whose second snapshot came early: the three diffs behind it are older than it."""
    given_market = market(n, seed)
    messages = given_market["messages"]
    at = max(index for index, one in enumerate(messages) if one.is_snapshot)
    messages.insert(at - 3, messages.pop(at))
    return given_market


@settings(max_examples=12)
@given(
    seed=st.integers(0, 10**6),
    offsets=st.lists(st.sampled_from([0, 39, 40, 41, 1_000, 1_800_000]), min_size=35, max_size=35),
)
def test_packages_are_what_a_slow_reading_of_the_specification_gives(seed: int, offsets: list[int]) -> None:
    """R9.1, R9.2, R9.3, R9.13: content, both hashes, completeness, flags and the premium mark of each package."""
    given_market = uneven_market(50, seed)
    moments = MONDAY + np.arange(15, 50) * HOUR + np.array(offsets)
    rapid = rapid_known(*sampled(given_market, LIVELY), LIVELY.rapid)
    batch = built(LIVELY, given_market, moments, with_feeds=True, chunk=7)
    ones = streamed(LIVELY, given_market, moments, with_feeds=True)
    assert [one.digest for one in ones] == [one.digest for one in batch.packages()]
    for one in ones:
        assert isinstance(one.timestamp, int)
        expected = expected_at(LIVELY, given_market, one.timestamp, rapid)
        assert {name: as_lists(getattr(one, name)) for name in expected} == expected
        assert (one.data_hash, one.digest) == hashes(one)
        present = sum(getattr(one, name) is not None for name in FIELDS_OF_SPEC)
        assert one.completeness_score == present / 10
        near = expected["ohlcv_data"] and min(expected["ohlcv_data"], key=lambda name: LENGTH[name])
        close = expected["ohlcv_data"][near][-1][4] if near else None
        assert dict(one.validation_flags) == {
            "valid_timestamp": True,
            "valid_ohlcv": expected["ohlcv_data"] is not None,
            "valid_cnn_features": one.cnn_features is not None,
            "valid_rl_state": one.rl_state is not None,
            "consistent_price": close is not None and abs(close / one.current_price - 1) <= 0.05,  # type: ignore[operator]
            "integrity": True,
        }


@settings(max_examples=25)
@given(
    seed=st.integers(0, 10**6),
    kind=st.sampled_from(["calm", "jumps", "still", "twice", "outages"]),
    warmup=st.integers(1, 20),
    multiplier=st.sampled_from([1.05, 3.0]),
)
def test_rapid_changes_are_those_of_a_slow_reading(seed: int, kind: str, warmup: int, multiplier: float) -> None:
    """R9.11, R9.12: seconds that are calm, jump, stand still, come twice, or stop for hours."""
    rng = np.random.Generator(np.random.Philox(seed))
    n = 240
    scale = np.where(rng.random(n) < 0.05, 5e-3, 1e-4) if kind == "jumps" else np.full(n, 1e-4)
    price = 100.0 * np.cumprod(1.0 + rng.normal(0.0, 1.0, n) * scale * (kind != "still"))
    step = {"twice": [0, 1_000], "outages": [1_000, 1_000, 7_200_000]}.get(kind, [1_000, 2_500])
    times = np.cumsum(rng.choice(step, n)).astype(np.int64)
    rules = RapidChangeRules(
        velocity_window_s=20.0, velocity_threshold_pct_per_min=0.2, warmup=warmup, volatility_multiplier=multiplier
    )
    found = detect_rapid_changes(times, price, rules)
    assert found.timestamp[found.trigger > 0].tolist() == rapid_known(times.tolist(), price.tolist(), rules)


def test_a_window_shorter_than_the_bars_looks_at_the_bar_before() -> None:
    """Hours and a window of 60 s: 3 % in an hour is 0.05 % a minute; 36 % is 0.6, above the threshold of 0.5."""
    times = HOUR * np.arange(4, dtype=np.int64)
    price = np.array([100.0, 103.0, 103.0, 103.0 * 1.36])
    found = detect_rapid_changes(times, price)
    np.testing.assert_allclose(found.velocity[1:], [0.05, 0.0, 0.6])
    assert found.trigger.tolist() == [0, 0, 0, 1]


@pytest.mark.parametrize("shift", [-HOUR, HOUR])
def test_days_of_a_local_clock_are_taken_one_by_one_as_in_batch(shift: int) -> None:
    """Days that begin at New York's midnight: one of 23 or 25 hours twice a year, no defect in either form."""
    given_market = market(24 * 30, 3)
    opens = MONDAY + DAY * np.arange(29, dtype=np.int64)
    opens[15:] += shift
    one = np.full(29, 100.0)
    days = Candles(timestamp=opens, open=one, high=one, low=one, close=one, volume=one, timeframe_ms=DAY)
    plan = PackagePlan(symbol="BTC/USDT", timeframes=("1h", "1d"), window=20)
    given_market = {"candles": {"1h": given_market["candles"]["1h"], "1d": days}}
    moments = MONDAY + DAY * np.arange(16, 29)
    batch = built(plan, given_market, moments, with_feeds=False)
    ones = streamed(plan, given_market, moments, with_feeds=False)
    assert [one.digest for one in batch.packages()] == [one.digest for one in ones]
    assert batch.flags()[:, FLAGS.index("valid_ohlcv")].all()
