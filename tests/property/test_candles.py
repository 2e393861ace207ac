"""What `Candles` promises, over random columns: accepted exactly when every rule holds."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.checks import find_defects
from lockstep.market.gaps import find_gaps, missing_before
from lockstep.market.load import LoadOptions, load_candles, load_with_report
from lockstep.market.quality import quality_report
from lockstep.market.snapshot import open_snapshot, write_snapshot
from lockstep.storage.blobs import FolderBlobStore

Columns = dict[str, np.ndarray[Any, Any]]
STEP = 60_000

values = st.sampled_from([1.0, 2.0, 3.0, 0.0, -1.0, float("nan"), float("inf")])


@st.composite
def any_columns(draw: st.DrawFn) -> Columns:
    """Columns of which many break rules."""
    n = draw(st.integers(2, 12))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 1, 1, 0, 2, -1]), min_size=n, max_size=n))
    out: Columns = {"timestamp": STEP * (100 + np.cumsum(np.array(steps, dtype=np.int64)))}
    tame = draw(st.booleans())
    for name in ("open", "high", "low", "close", "volume"):
        tamed = {"high": st.just(3.0), "low": st.just(1.0), "volume": st.just(2.0)}
        pool = tamed.get(name, st.sampled_from([1.0, 2.0, 3.0])) if tame else values
        out[name] = draw(arrays(np.float64, n, elements=pool))
    return out


@st.composite
def good_columns(draw: st.DrawFn) -> Columns:
    n = draw(st.integers(2, 30))
    steps = draw(st.lists(st.sampled_from([1, 1, 1, 2, 7]), min_size=n, max_size=n))
    steps[1] = 1
    four = draw(arrays(np.float64, (n, 4), elements=st.floats(1e-8, 1e8)))
    four.sort(axis=1)
    swap = draw(st.booleans())
    return {
        "timestamp": STEP * (draw(st.integers(0, 10**7)) + np.cumsum(np.array(steps, dtype=np.int64))),
        "open": four[:, 2 if swap else 1].copy(),
        "high": four[:, 3].copy(),
        "low": four[:, 0].copy(),
        "close": four[:, 1 if swap else 2].copy(),
        "volume": draw(arrays(np.float64, n, elements=st.floats(0, 1e12))),
    }


def row_is_good(columns: Columns, row: int) -> bool:
    """The rules for single rows, read one at a time."""
    first, high, low, close, volume = (float(columns[name][row]) for name in list(columns)[1:])
    finite = all(np.isfinite(value) for value in (first, high, low, close, volume))
    return (
        finite
        and min(first, high, low, close) > 0
        and low <= min(first, close) <= max(first, close) <= high
        and volume >= 0
    )


@given(columns=any_columns())
def test_candles_are_made_exactly_of_columns_that_break_no_rule(columns: Columns) -> None:
    n = len(columns["timestamp"])
    good = all(row_is_good(columns, row) for row in range(n)) and bool(np.all(np.diff(columns["timestamp"]) > 0))
    if good:
        assert len(Candles(**columns, timeframe_ms=STEP)) == n
        return
    with pytest.raises(DataError) as caught:
        Candles(**columns, timeframe_ms=STEP)
    for defect in find_defects(columns, STEP):
        assert f"{defect.rule}: " in str(caught.value)
        assert f"first row {defect.row} " in str(caught.value)


@given(columns=any_columns())
def test_dropping_leaves_only_sound_rows_and_counts_the_others(columns: Columns) -> None:
    if np.any(np.diff(columns["timestamp"]) < 0):
        return
    try:
        loaded, report = load_with_report(pa.table(columns), LoadOptions(on_bad="drop", timeframe="1m", time_unit="ms"))
    except DataError:
        return  # too little was left: nothing, or nothing but gaps
    good = [row for row in range(report.rows_read) if row_is_good(columns, row)]
    assert loaded.timestamp.tolist() == sorted(set(columns["timestamp"][good].tolist()))
    assert report.rows_dropped + len(loaded) == report.rows_read


@given(columns=any_columns())
def test_the_quality_report_describes_whatever_there_is(columns: Columns) -> None:
    if np.unique(columns["timestamp"]).size < 2:
        return
    report = quality_report(columns, timeframe="1m")
    assert 0 <= report.score <= 100
    assert report.usable == (not find_defects(columns, STEP))
    assert str(report)
    assert report.to_dict() == quality_report(columns, timeframe="1m").to_dict()


@given(columns=good_columns(), start=st.integers(0, 30), stop=st.integers(0, 30))
def test_slices_have_the_digest_of_their_own_rows(columns: Columns, start: int, stop: int) -> None:
    part = Candles(**columns, timeframe_ms=STEP).slice(start, stop)
    again = Candles(**{name: column[start:stop] for name, column in columns.items()}, timeframe_ms=STEP)
    assert part == again
    assert copy.deepcopy(part) == again


@given(columns=good_columns())
def test_gaps_account_for_every_missing_bar(columns: Columns) -> None:
    time = columns["timestamp"]
    span = (time[-1] - time[0]) // STEP + 1
    assert span == time.size + missing_before(time, STEP).sum()
    assert sum(gap.bars_missing for gap in find_gaps(time, STEP)) == span - time.size


@settings(max_examples=25, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(columns=good_columns())
def test_files_and_snapshots_give_back_every_bit(columns: Columns, tmp_path: Path) -> None:
    # From 2000 on: numbers of a file that would lie in January 1970 are refused as times of another unit.
    columns = {**columns, "timestamp": columns["timestamp"] + 16_000_000 * STEP}
    bars = Candles(**columns, timeframe_ms=STEP)
    lines = [",".join(columns)] + [
        ",".join([str(columns["timestamp"][row]), *(repr(float(columns[name][row])) for name in list(columns)[1:])])
        for row in range(len(bars))
    ]
    (tmp_path / "a.csv").write_text("\n".join(lines))
    assert load_candles(tmp_path / "a.csv", timeframe="1m", time_unit="ms") == bars
    blobs = FolderBlobStore(tmp_path)
    write_snapshot(bars, blobs)
    assert open_snapshot(blobs, bars.digest) == bars
