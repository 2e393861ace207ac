from __future__ import annotations

import json
import warnings
from typing import Any

import numpy as np
import pandas as pd
import pytest
from tests.unit.market.bars import HOUR, MONDAY, walk

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.cleaning import PRESETS, DataCleaner, DataFilterConfig, FewCandlesWarning, quick_clean

pytestmark = pytest.mark.filterwarnings("ignore::lockstep.market.cleaning.FewCandlesWarning")

# open, high, low, close, volume and what the default rules make of it
ROWS = [
    ((100.0, 101.0, 99.0, 100.5, 0.0), "zero_volume"),
    ((100.0, 100.0, 100.0, 100.0, 0.0), "zero_volume"),  # also flat, but volume is asked first
    ((100.0, 101.0, 99.0, 100.5, 0.0999), "insufficient_volume"),
    ((100.0, 100.0, 100.0, 100.0, 1.0), "valid_single_price"),  # exactly 1.0 is enough
    ((100.0, 100.0, 100.0, 100.0, 0.999), "flat_low_volume"),
    ((100.0, 100.005, 100.0, 100.005, 5.0), "insufficient_movement"),  # 0.005 % < 0.01 %
    ((128.0, 128.015625, 128.0, 128.0, 5.0), "valid"),  # 1/64 / 128 = 0.0122 % > 0.01 %
    ((100.0, 101.0, 99.0, 100.5, 0.1), "valid"),  # exactly the threshold is enough
]
REASONS = [
    "zero_volume",
    "insufficient_volume",
    "valid_single_price",
    "flat_low_volume",
    "insufficient_movement",
    "valid",
]


def frame(rows: list[tuple[float, ...]] | None = None) -> pd.DataFrame:
    values = [row for row, _ in ROWS] if rows is None else rows
    made = pd.DataFrame(values, columns=["open", "high", "low", "close", "volume"])
    made.insert(0, "timestamp", MONDAY + HOUR * np.arange(len(made)))
    return made


def bars() -> Candles:
    return Candles.from_frame(frame(), timeframe="1h")


def reasons(config: Any = None) -> list[str]:
    sample = DataCleaner(config).validate_sample(frame(), sample_size=len(ROWS))
    return [row["reason"] for row in sample["inspections"]]


def test_each_rule_decides_in_its_place() -> None:
    """R1.16: the five rules in the stated order, each reason counted."""
    assert reasons() == [reason for _, reason in ROWS]
    _, statistics = DataCleaner().clean(frame())
    assert statistics["removal_breakdown"] == {
        "zero_volume": 2,
        "insufficient_volume": 1,
        "valid_single_price": 1,
        "flat_low_volume": 1,
        "insufficient_movement": 1,
        "valid": 2,
    }
    assert list(statistics["removal_breakdown"]) == REASONS


def test_statistics_follow_their_formulas() -> None:
    """R1.17: data_quality_score = (valid + valid_single_price) / total x 100. R1.25: removed + kept = input."""
    kept, statistics = DataCleaner().clean(frame())
    assert statistics["filtering_enabled"] is True
    assert statistics["config"] == DataFilterConfig().to_dict()
    assert (statistics["original_count"], statistics["filtered_count"], statistics["removed_count"]) == (8, 3, 5)
    assert statistics["removed_pct"] == 5 / 8 * 100
    assert statistics["data_quality_score"] == (2 + 1) / 8 * 100
    assert statistics["removal_breakdown_pct"]["zero_volume"] == 2 / 8 * 100
    assert kept["volume"].tolist() == [1.0, 5.0, 0.1]
    assert kept.index.tolist() == [3, 6, 7]
    json.dumps(statistics, allow_nan=False)


def test_frames_and_candles_give_the_same_rows_and_statistics() -> None:
    kept_frame, from_frame = DataCleaner().clean(frame())
    kept, from_candles = DataCleaner().clean(bars())
    assert from_frame == from_candles
    assert kept.timestamp.tolist() == kept_frame["timestamp"].tolist()
    assert kept.timeframe == "1h"


def test_the_original_is_left_as_it_was() -> None:
    original = frame()
    kept, _ = DataCleaner().clean(original)
    kept.loc[:, "volume"] = -1
    pd.testing.assert_frame_equal(original, frame())


def test_disabled_filtering_returns_an_equal_copy_and_says_so() -> None:
    """R1.18: enable_filtering=false returns an equal copy and flags filtering_enabled false."""
    original = frame()
    kept, statistics = DataCleaner({"enable_filtering": False}).clean(original)
    pd.testing.assert_frame_equal(kept, original)
    assert kept is not original
    assert statistics == {
        "filtering_enabled": False,
        "config": DataFilterConfig.preset("disabled").to_dict(),
        "original_count": 8,
        "filtered_count": 8,
        "removed_count": 0,
        "removed_pct": 0.0,
    }
    assert DataCleaner({"enable_filtering": False}).clean(bars())[0] == bars()


def test_flat_bars_stay_when_filtering_them_is_off() -> None:
    """An earlier implementation removed them all the same; here the switch counts."""
    found = reasons({"filter_flat_candles": False})
    assert found[3:6] == ["valid_single_price", "valid", "valid"]


def test_single_price_bars_are_flat_when_not_preserved() -> None:
    assert reasons({"preserve_high_volume_single_price": False})[3] == "flat_low_volume"


def test_a_bar_whose_open_is_not_positive_moves_too_little() -> None:
    sample = DataCleaner().validate_sample(frame([(0.0, 1.0, -1.0, 0.5, 5.0)]))
    assert sample["inspections"][0]["reason"] == "insufficient_movement"


def test_presets_are_those_of_the_specification() -> None:
    assert list(PRESETS) == ["conservative", "strict", "minimal", "disabled"]
    assert PRESETS["conservative"] == DataFilterConfig()
    strict, minimal = PRESETS["strict"], PRESETS["minimal"]
    assert (strict.min_volume_threshold, strict.min_price_movement_pct) == (0.5, 0.05)
    assert (minimal.min_volume_threshold, minimal.min_price_movement_pct) == (0.01, 0.001)
    assert minimal.filter_flat_candles is False
    assert PRESETS["disabled"].enable_filtering is False
    with pytest.raises(DataError, match="presets are conservative, strict, minimal, disabled; found 'lax'"):
        DataFilterConfig.preset("lax")


def test_a_configuration_travels_as_plain_values_and_comes_back() -> None:
    """R1.14: data_filter_config travels from API request to job row to worker to cleaner (the part that is here)."""
    config = DataFilterConfig(min_volume_threshold=0.25, filter_flat_candles=False)
    assert DataFilterConfig.from_mapping(json.loads(json.dumps(config.to_dict()))) == config
    assert DataFilterConfig.from_mapping(None) == DataFilterConfig()
    assert DataCleaner(config.to_dict()).config == config


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"min_volume": 1}, "no key 'min_volume'. Did you mean 'min_volume_threshold'"),
        ({"min_volume_threshold": -0.1}, "min_volume_threshold is a number >= 0; found -0.1"),
        ({"min_volume_threshold": "1"}, "min_volume_threshold is a number >= 0; found '1'"),
        ({"min_price_movement_pct": float("nan")}, "is a number >= 0; found nan"),
        ({"min_price_movement_pct": True}, "is a number >= 0; found True"),
        ({"enable_filtering": 1}, "enable_filtering is true or false; found 1"),
    ],
)
def test_a_configuration_that_cannot_be_meant_is_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(DataError, match=message):
        DataCleaner(values)


def test_the_sample_is_the_same_at_every_call() -> None:
    """R1.13: the quality sample uses a fixed random_state (42): two calls return the same rows."""
    data = walk(500, seed=3)
    first = DataCleaner().validate_sample(data)
    assert first == DataCleaner().validate_sample(data) == DataCleaner().validate_sample(data, random_state=42)
    assert first != DataCleaner().validate_sample(data, random_state=43)
    times = [row["timestamp"] for row in first["inspections"]]
    assert first["sample_size"] == len(set(times)) == 10
    assert times == sorted(times)
    json.dumps(first, allow_nan=False)


def test_an_inspection_shows_the_bar_and_its_judgement() -> None:
    sample = DataCleaner().validate_sample(frame([ROWS[0][0]]))
    assert sample["sample_size"] == 1
    assert sample["inspections"] == [
        {
            "timestamp": MONDAY,
            "open": 100.0,
            "high": 101.0,
            "low": 99.0,
            "close": 100.5,
            "volume": 0.0,
            "is_valid": False,
            "reason": "zero_volume",
            "price_range": 101.0 - 99.0,
            "price_movement_pct": 2.0,
        }
    ]
    with pytest.raises(DataError, match="at least one row; found sample_size 0"):
        DataCleaner().validate_sample(frame(), sample_size=0)


def test_a_frame_indexed_by_time_is_inspected_by_its_index() -> None:
    indexed = frame().drop(columns="timestamp").set_index(pd.to_datetime(frame()["timestamp"], unit="ms", utc=True))
    sample = DataCleaner().validate_sample(indexed, sample_size=8)
    assert sample["inspections"][0]["timestamp"] == "2024-01-01 00:00:00+00:00"


def test_the_analysis_counts_without_removing() -> None:
    analysis = DataCleaner.analyze_data_quality(frame())
    assert analysis["total_candles"] == 8
    assert (analysis["zero_volume"], analysis["zero_volume_pct"]) == (2, 25.0)
    assert (analysis["flat_candles"], analysis["flat_candles_pct"]) == (3, 37.5)
    assert analysis["low_volume"] == 3  # 0, 0 and 0.0999
    assert analysis["micro_movements"] == 4  # three flat ones and 0.005 %
    assert analysis["avg_volume"] == pytest.approx((0.0999 + 1 + 0.999 + 5 + 5 + 0.1) / 8)
    assert analysis["median_volume"] == (0.1 + 0.999) / 2
    assert analysis["avg_price_movement_pct"] == pytest.approx((2 + 2 + 0.005 + 100 / 8192 + 2) / 8)
    assert analysis["quality_estimate"] == 100 - (2 + 3) / 8 * 100
    json.dumps(analysis, allow_nan=False)


def test_quick_clean_takes_the_keys_as_arguments() -> None:
    assert len(quick_clean(frame(), min_volume_threshold=2.0)) == 1
    assert len(quick_clean(bars())) == 3


def test_empty_damaged_or_foreign_data_is_refused() -> None:
    cleaner = DataCleaner()
    for data, message in [
        (frame([]), "no rows to clean"),
        (bars().head(0), "no candles to clean"),
        (frame().drop(columns=["close", "volume"]), "lacks columns close, volume"),
        (frame().assign(close="a"), "are numbers"),
        (frame().assign(close=np.nan), "8 rows are not, first row 0"),
        ([1, 2, 3], "takes Candles or a pandas frame; found list"),
    ]:
        for call in (cleaner.clean, cleaner.validate_sample, cleaner.analyze_data_quality):
            with pytest.raises(ValueError, match=message):
                call(data)  # type: ignore[operator]


def test_fewer_than_a_hundred_rows_left_are_warned_of() -> None:
    with pytest.warns(FewCandlesWarning, match="3 of 8 candles are left, fewer than 100") as caught:
        DataCleaner().clean(frame())
    assert caught[0].filename == __file__, "the line that a user sees is the user's own"
    keep_all = {"min_volume_threshold": 0.0, "min_price_movement_pct": 0.0}
    with warnings.catch_warnings():
        warnings.simplefilter("error", FewCandlesWarning)
        assert len(DataCleaner(keep_all).clean(walk(100, seed=5))[0]) == 100
        with pytest.raises(FewCandlesWarning, match="99 of 99"):
            DataCleaner(keep_all).clean(walk(99, seed=5))


def test_removing_everything_leaves_nothing_and_no_error() -> None:
    kept, statistics = DataCleaner({"min_volume_threshold": 1e9}).clean(bars())
    assert len(kept) == 0
    assert statistics["data_quality_score"] == 0.0
