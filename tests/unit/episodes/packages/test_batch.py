"""Packages in columns: the same hashes, completeness and flags as single ones (R9.1 to R9.4)."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from tests.unit.episodes.package_cases import LAYOUT, NOW, bars, package
from tests.unit.market.bars import HOUR

from lockstep.core.errors import DataError
from lockstep.episodes.packages.batch import PackageBatch, concatenated
from lockstep.episodes.packages.layout import PackageLayout, pool_of, timeframe_of
from lockstep.episodes.packages.package import FLAGS, MANDATORY, ModelInputPackage, PackageRules
from lockstep.episodes.packages.pool import Ranges
from lockstep.episodes.packages.quarantine import Quarantine, admitted, reasons_against

NOT_A_NUMBER = float("nan")
CASES: list[dict[str, Any]] = [
    {},
    {"timestamp": -1},
    {"timestamp": NOW + 10**15},
    {"symbol": "ETH/USDT", "is_rapid_change": True},
    {"current_price": None},
    {"current_price": NOT_A_NUMBER},
    {"current_price": 200.0},
    {"current_price": -101.0},
    {"ohlcv_data": None},
    {"ohlcv_data": {"4h": bars(2, step=4 * HOUR)}},
    {"ohlcv_data": {"1h": bars(0)}},
    {"ohlcv_data": {"1h": bars(4)[::-1].copy()}},
    {"ohlcv_data": {"1h": bars(until=NOW + 1)}},
    {"ohlcv_data": {"1h": bars() * np.array([1.0, 1.0, 0.5, 1.0, 1.0, 1.0])}},
    {"ohlcv_data": {"1h": bars() * np.array([1.0, 1.0, 1.0, 1.0, 1.0, np.inf])}},
    {"ohlcv_data": {"1h": bars() * np.array([np.nan, 1.0, 1.0, 1.0, 1.0, 1.0])}},
    {"tick_data": None, "cob_data": np.empty((0, 4)), "pivot_points": None},
    {"technical_indicators": None, "rl_state": None},
    {"cnn_features": np.full((3, 8), np.nan, np.float32)},
    {"cnn_features": np.zeros((2, 8), np.float32), "rl_state": np.full(8, np.inf, np.float32)},
]
RULES = PackageRules(cnn_shape=(3, 8), rl_shape=(8,), max_package_age_s=60.0)


def singles() -> list[ModelInputPackage]:
    return [package(**case) for case in CASES]


def test_a_batch_is_its_packages() -> None:
    """R9.1: package(i) of the columns has the bytes of the object that went in."""
    batch = PackageBatch.from_packages(singles(), LAYOUT)
    assert len(batch) == len(CASES)
    assert [one.digest for one in batch.packages()] == [one.digest for one in singles()]
    assert list(batch.packages()) == singles()


def test_batch_hashes_are_those_of_single_packages() -> None:
    """R9.1: MD5 and BLAKE3, byte for byte, also over shared rows and after taking some."""
    for batch in (
        PackageBatch.from_packages(singles(), LAYOUT),
        PackageBatch.from_packages(singles(), LAYOUT).compacted(),
        concatenated([PackageBatch.from_packages([one], LAYOUT) for one in singles()]),
    ):
        md5s, digests = batch.hashes()
        assert [row.tobytes().hex() for row in md5s] == [one.data_hash for one in singles()]
        assert [f"blake3:{row.tobytes().hex()}" for row in digests] == [one.digest for one in singles()]
        assert batch.take(slice(3, 7)).hashes()[1].tolist() == digests[3:7].tolist()


@pytest.mark.parametrize(
    ("now_ms", "never"),
    [
        (None, set()),
        (NOW, set()),
        # A second later than the oldest age that is accepted, 60 s: every package is too old, or from the future.
        (NOW + 61_000, {"valid_timestamp"}),
    ],
)
def test_batch_completeness_and_flags_are_those_of_single_packages(now_ms: int | None, never: set[str]) -> None:
    """R9.2, R9.3: every flag of every case, with and without a clock."""
    batch = PackageBatch.from_packages(singles(), LAYOUT)
    assert batch.completeness().tolist() == [one.completeness_score for one in singles()]
    flags = batch.flags(RULES, now_ms=now_ms)
    for row, case, one in zip(flags, CASES, singles(), strict=True):
        assert dict(zip(FLAGS, row.tolist(), strict=True)) == dict(one._validate_data(RULES, now_ms=now_ms)), case
    assert {name for name, holds in zip(FLAGS, flags.any(axis=0), strict=True) if not holds} == never
    assert not flags.all(axis=0)[: len(FLAGS) - 1].any()  # each of them but integrity fails somewhere


def test_admission_has_the_same_reasons_in_both_forms() -> None:
    """R9.4: completeness and the mandatory flags decide; the others do not."""
    batch = PackageBatch.from_packages(singles(), LAYOUT)
    good, against = admitted(batch.completeness(), batch.flags(), PackageRules())
    for index, one in enumerate(singles()):
        expected = reasons_against(one, PackageRules())
        assert tuple(name for name, bad in against.items() if bad[index]) == expected
        assert bool(good[index]) is (expected == ())
    quarantine, single = Quarantine(), Quarantine()
    quarantine.add_batch(batch, against)
    for one in singles():
        if reasons := reasons_against(one, PackageRules()):
            single.add(one, reasons)
    assert quarantine.counts() == single.counts()
    assert list(quarantine.recent) == list(single.recent)
    assert set(against) == {"completeness", *MANDATORY}


def test_a_package_that_is_not_what_its_hashes_say_is_found() -> None:
    """R9.6: one changed byte of one field of one package, and a hash that is no hash."""
    sound = PackageBatch.from_packages(singles(), LAYOUT)
    assert sound.integrity().all()
    lying = [package(), package().evolve(current_price=101.0)]
    lying += [ModelInputPackage(**package(symbol="ETH/USDT").payload(), data_hash="x", digest=package().digest)]
    assert PackageBatch.from_packages(lying, LAYOUT).integrity().tolist() == [True, True, False]
    assert not PackageBatch.from_packages(lying, LAYOUT).package(2).validation_flags["integrity"]
    rows = sound.pools["rl_state"].rows.copy()
    rows[0, 0] = np.nextafter(rows[0, 0], np.float32(1.0))
    pool = sound.pools["rl_state"]
    changed = {**sound.pools, "rl_state": Ranges(rows=rows, start=pool.start, stop=pool.stop)}
    names = ("timestamp", "symbol", "current_price", "has_price", "is_rapid_change", "data_hash", "digest")
    other = PackageBatch(layout=LAYOUT, pools=changed, **{name: getattr(sound, name) for name in names})
    assert other.integrity().tolist() == [False, *[True] * (len(CASES) - 1)]


def test_a_batch_is_read_only() -> None:
    batch = PackageBatch.from_packages(singles(), LAYOUT)
    with pytest.raises(ValueError, match="read-only"):
        batch.timestamp[0] = 1
    with pytest.raises(ValueError, match="read-only"):
        batch.pools["cob_data"].rows[0] = 1.0
    with pytest.raises(TypeError):
        batch.pools["cob_data"] = batch.pools["tick_data"]  # type: ignore[index]


def test_rows_that_neighbours_share_are_kept_once() -> None:
    """Ten windows of five bars, each one bar later: 5 + 9 rows instead of 50."""
    series = bars(14)
    ones = [package(timestamp=NOW + k, ohlcv_data={"1h": series[k : k + 5]}) for k in range(10)]
    compact = PackageBatch.from_packages(ones, LAYOUT).compacted()
    assert compact.pools[pool_of("1h")].rows.shape == (14, 6)
    assert compact.pools["cob_data"].rows.shape == (2, 4)
    assert compact.hashes()[0].tolist() == PackageBatch.from_packages(ones, LAYOUT).hashes()[0].tolist()


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"timestamp": None}, "package 1: a package in columns has a timestamp in milliseconds; found None"),
        ({"symbol": "XRP/USDT"}, "found 'XRP/USDT'. Add it to the layout"),
        ({"current_price": True}, "current_price is a float or None; found True"),
        ({"ohlcv_data": {}}, "its timeframes are some of"),
        ({"ohlcv_data": {"1d": bars()}}, "found \\('1d',\\)"),
        ({"tick_data": np.zeros((2, 4))}, "tick_data is a table of <f8 with the columns .*found an array \\(2, 4\\)"),
        ({"rl_state": np.zeros(8)}, "rl_state is a vector of <f4 .*found an array \\(8,\\) of float64"),
        ({"technical_indicators": {"sma_20": 1.0}}, "found mappingproxy \\('sma_20',\\)"),
    ],
)
def test_a_package_of_another_layout_is_named(changes: dict[str, Any], text: str) -> None:
    with pytest.raises(DataError, match=text):
        PackageBatch.from_packages([package(), package(**changes)], LAYOUT)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"symbols": ()}, "one or more different names"),
        ({"state": ("a", "a")}, "one or more different names"),
        ({"indicators": ("b", "a")}, "sorted by name"),
        ({"feature_dtype": ">f4"}, "'<f4' or '<f8'; found '>f4'"),
        ({"timeframes": ("hour",)}, "a timeframe is"),
    ],
)
def test_a_layout_is_checked(changes: dict[str, Any], text: str) -> None:
    given = {name: getattr(LAYOUT, name) for name in PackageLayout.__dataclass_fields__}
    with pytest.raises(ValueError, match=text):
        PackageLayout(**{**given, **changes})


def test_a_layout_survives_json() -> None:
    assert PackageLayout.from_json(LAYOUT.to_json()) == LAYOUT
    assert LAYOUT.base == "1h"
    assert timeframe_of(pool_of("4h")) == "4h"
    assert timeframe_of("cob_data") is None


def test_ranges_and_joined_batches_are_checked() -> None:
    rows = np.zeros((3, 2))
    for start, stop in (([0], [4]), ([2], [1])):
        with pytest.raises(DataError, match="lies inside of its pool"):
            Ranges(rows=rows, start=np.array(start), stop=np.array(stop))
    with pytest.raises(DataError, match="C-contiguous table"):
        Ranges(rows=rows.T, start=np.array([0]), stop=np.array([1]))
    other = PackageLayout.from_json({**LAYOUT.to_json(), "symbols": ["BTC/USDT"]})
    parts = [PackageBatch.from_packages([package()], layout) for layout in (LAYOUT, other)]
    with pytest.raises(DataError, match="one layout"):
        concatenated(parts)
