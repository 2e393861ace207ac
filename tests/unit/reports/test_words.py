"""Numbers for people: rounded for display only, and never into another meaning."""

from __future__ import annotations

import math
from typing import Any

import pytest

from lockstep.engine.metrics import CurveMetric, Metric
from lockstep.reports import words


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (0.0, "0"),
        (1.23456, "1.235"),
        (-0.0012345, "-0.001234"),
        (12345.678, "12,346"),
        (0.00001234, "1.2e-05"),
        (412_345_678.0, "4.1e+08"),
        (math.nan, "nan"),
        (-math.inf, "-inf"),
    ],
)
def test_a_number_has_four_significant_digits(value: float, text: str) -> None:
    assert words.number(value) == text


def test_one_thing_is_not_counted_as_several() -> None:
    assert [words.counted(number, "gap") for number in (0, 1, 1234)] == ["0 gaps", "1 gap", "1,234 gaps"]


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0.44, "0.4 s"), (12.0, "12 s"), (59.6, "1 min 0 s"), (200.0, "3 min 20 s"), (7_500.0, "2 h 5 min")],
)
def test_a_duration_is_said_as_a_person_would(seconds: float, text: str) -> None:
    assert words.duration(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(12, "12 bytes"), (2_500, "2.5 kB"), (3_100_000, "3.1 MB"), (7e9, "7.0 GB")]
)
def test_a_size_is_said_in_the_unit_that_fits(count: int, text: str) -> None:
    assert words.size(count) == text


def test_an_instant_is_told_in_utc() -> None:
    # 2020-01-01 is 18,262 days after 1970-01-01.
    assert words.instant(18_262 * 86_400_000) == "2020-01-01 00:00 UTC"


@pytest.mark.parametrize(
    ("name", "value", "text"),
    [
        ("net_profit_pct", 1.234, "+1.23 %"),
        ("net_profit_pct", -1.236, "-1.24 %"),
        ("win_rate", 0.5126, "51.3 %"),
        ("cost_share", 0.475, "47.5 %"),
        ("cost_share", 8.475, "8.5 x"),
        ("volatility_pct", 12.3456, "12.35 %"),
        ("total_trades", 1234, "1,234"),
        ("sharpe_ratio", None, "-"),
        ("a_metric_of_tomorrow", 0.5, "0.5"),
    ],
)
def test_a_metric_is_shown_in_its_unit(name: str, value: float | None, text: str) -> None:
    assert words.metric(name, value) == text


def test_scores_stand_below_each_other_digit_by_digit() -> None:
    assert [words.four_places(value) for value in (0.488, 12.0, None)] == ["0.4880", "12.0000", "-"]
    assert [words.signed(value) for value in (0.01988, -0.1083, None)] == ["+0.0199", "-0.1083", "-"]
    assert [words.share(value) for value in (0.875, None)] == ["87.5 %", "-"]


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (True, "yes"),
        (1_234, "1,234"),
        (0.00123456, "0.001235"),
        (["a", 2, 0.5], "a, 2, 0.5"),
        ([], "none"),
        (None, "-"),
        ([[1]], None),
        (list(range(13)), None),
    ],
)
def test_a_value_of_a_summary_is_said_where_it_is_a_single_one(value: Any, text: str | None) -> None:
    assert words.value_in_words(value) == text


def test_a_table_of_metrics_beside_two_others_fits_eighty_letters() -> None:
    """80 letters less the indent of 2 and three columns of numbers, 14 letters each with their gap, leave 36."""
    assert max(len(label) for label, _ in words.METRICS.values()) <= 25


def test_every_metric_with_words_exists() -> None:
    assert set(words.METRICS) <= {str(metric) for metric in (*Metric, *CurveMetric)}
