"""Candles of a search: loaded, cleaned, pinned by digest, and restored from the snapshot alone."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.kinds.builders import spec_of

import lockstep as ls
from lockstep.core.errors import DataError, InputError
from lockstep.kinds.shared import market_data
from lockstep.kinds.shared.market_data import Pinned
from lockstep.market.resampling import resample
from lockstep.runs.kind import PrepareContext
from lockstep.runs.spec import identity_body
from lockstep.runs.store import FolderRunStore
from lockstep.strategies.inputs import EventSeries, HigherTimeframe, OwnCandles


def pinned(
    home: Path, declared: dict[str, Any] | None = None, objects: dict[str, Any] | None = None, **data: Any
) -> Pinned:
    context = PrepareContext(blobs=FolderRunStore(home).blobs, base=home, python_objects=objects or {})
    market = data.pop("market", {})
    return market_data.pin(spec_of(data={"last": None, **data}, market=market), declared or {}, context)


def write_csv(path: Path, candles: ls.Candles, names: str = "timestamp,open,high,low,close,volume") -> Path:
    columns = zip(*(candles.columns()[name].tolist() for name in candles.columns()), strict=True)
    path.write_text("\n".join([names, *(",".join(map(repr, row)) for row in columns)]))
    return path


def test_the_sample_is_pinned_and_restored_from_its_snapshot_alone(tmp_path: Path) -> None:
    first = pinned(tmp_path)
    again = market_data.restore(first.body(), FolderRunStore(tmp_path).blobs)
    assert first.body()["digest"] == ls.sample_candles().digest
    assert again.body() == first.body()
    assert again.candles == first.candles


def test_last_keeps_the_most_recent_bars(tmp_path: Path) -> None:
    assert pinned(tmp_path, last=100).candles == ls.sample_candles().tail(100)


def test_a_file_gives_the_same_data_as_the_sample_it_was_written_from(tmp_path: Path) -> None:
    candles = ls.sample_candles().head(300)
    write_csv(tmp_path / "candles.csv", candles, "when,open,high,low,close,volume")
    found = pinned(tmp_path, source="file", path="candles.csv", columns={"timestamp": "when"})
    assert found.candles.digest == candles.digest
    assert found.origin == {"source": "file", "path": str(tmp_path / "candles.csv")}


def test_cleaning_happens_before_pinning_and_is_told(tmp_path: Path) -> None:
    candles = ls.sample_candles().head(400)
    flat = candles.columns()["volume"].copy()
    flat[:40] = 0.0
    columns = {**candles.columns(), "volume": flat}
    objects = {"data.candles": ls.Candles.from_arrays(**columns, timeframe="1h")}
    found = pinned(tmp_path, objects=objects, source="python", filter={"filter_flat_candles": False})
    assert len(found.candles) == 360
    assert found.origin["cleaning"]["removed_count"] == 40
    assert "cleaning removed 40 of 400 candles" in found.notes
    assert len(pinned(tmp_path, objects=objects, source="python", filter="disabled").candles) == 400


def test_a_database_is_refused_with_a_way_out(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"data\.source = 'database': databases come with a later version\."):
        pinned(tmp_path, source="database")


def test_candles_given_in_python_have_to_be_given_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="give them again"):
        pinned(tmp_path, source="python")
    with pytest.raises(DataError, match=r"are ls\.Candles; found list"):
        pinned(tmp_path, objects={"data.candles": []}, source="python")


def test_the_sample_is_not_taken_for_another_market(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r'the bundled sample is EUR/USD 1h; found market\.symbol = "BTC/USDT"'):
        pinned(tmp_path, market={"symbol": "BTC/USDT"})
    with pytest.raises(DataError, match=r'market\.timeframe = "5m", but the candles have bars of 1h'):
        pinned(tmp_path, market={"timeframe": "5m"})


def test_one_candle_is_too_few(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least 2 candles; found 1"):
        pinned(tmp_path, last=1)


def test_labels_travel_with_the_run_because_the_result_shows_them(tmp_path: Path) -> None:
    given = ls.Candles.from_arrays(**ls.sample_candles().head(50).columns(), timeframe="1h", symbol="A/B", exchange="x")
    first = pinned(tmp_path, objects={"data.candles": given}, source="python")
    again = market_data.restore(first.body(), FolderRunStore(tmp_path).blobs)
    assert (again.candles.symbol, again.candles.exchange) == ("A/B", "x")


def test_a_snapshot_of_another_bar_length_is_not_taken_for_this_runs_own(tmp_path: Path) -> None:
    body = pinned(tmp_path, last=50).body()
    with pytest.raises(DataError, match="holds bars of 1h, but the run was made with bars of 5m"):
        market_data.restore({**body, "timeframe_ms": 300_000}, FolderRunStore(tmp_path).blobs)


def test_further_series_come_from_files_or_python_and_are_pinned_too(tmp_path: Path) -> None:
    write_csv(tmp_path / "other.csv", ls.sample_candles().head(200))
    declared = {"other": OwnCandles(), "higher": HigherTimeframe("4h")}
    found = pinned(tmp_path, declared, inputs={"other": {"path": "other.csv"}})
    assert found.inputs["other"].digest == ls.sample_candles().head(200).digest
    assert set(found.inputs) == {"other"}  # the higher timeframe is built from the base candles
    again = market_data.restore(found.body(), FolderRunStore(tmp_path).blobs)
    assert again.inputs["other"] == found.inputs["other"]
    given = pinned(tmp_path, declared, {"data.inputs": {"other": ls.sample_candles().head(200)}})
    assert given.body() == found.body()


def test_bars_close_when_they_do_for_whoever_restores_the_run(tmp_path: Path) -> None:
    # The second day of four has 23 hours, which only the bar after it tells.
    opens = np.array([4, 28, 51, 75]) * 3_600_000
    days = replace(ls.sample_candles().head(4), timestamp=opens, timeframe_ms=86_400_000)
    month = resample(replace(ls.sample_candles().head(70), timestamp=np.arange(70) * 86_400_000), "30d")
    objects = {"data.candles": days.head(2), "data.inputs": {"day": days.head(2), "month": month}}
    declared = {"day": OwnCandles(), "month": OwnCandles()}
    first = pinned(tmp_path, declared, objects, source="python", min_quality=0)
    again = market_data.restore(first.body(), FolderRunStore(tmp_path).blobs)
    for one, other in (
        (first.candles, again.candles),
        *((first.inputs[name], again.inputs[name]) for name in declared),
    ):
        assert one.close_time.tolist() == other.close_time.tolist()
        assert one.decision_time.tolist() == other.decision_time.tolist()


def test_a_series_that_is_missing_or_that_nobody_asked_for_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"reads the further series 'other': add \[data.inputs.other\]"):
        pinned(tmp_path, {"other": OwnCandles()})
    with pytest.raises(InputError, match="the event series 'news', which a training cannot pin yet"):
        pinned(tmp_path, {"news": EventSeries("surprise")})
    with pytest.raises(InputError, match=r"\[data.inputs.spare\]: nothing reads an input of that name"):
        pinned(tmp_path, {}, inputs={"spare": {"path": "other.csv"}})


def test_dropped_rows_are_told(tmp_path: Path) -> None:
    path = write_csv(tmp_path / "bad.csv", ls.sample_candles().head(50))
    lines = path.read_text().splitlines()
    lines[10] = lines[10].rsplit(",", 1)[0] + ",-5.0"
    path.write_text("\n".join(lines))
    with pytest.raises(DataError, match="volume"):
        pinned(tmp_path, source="file", path="bad.csv")
    found = pinned(tmp_path, source="file", path="bad.csv", on_bad="drop")
    assert len(found.candles) == 49
    assert any("1 dropped" in note for note in found.notes)
    assert np.all(found.candles.volume >= 0)


def test_a_file_that_is_recognised_is_told_among_the_notes(tmp_path: Path) -> None:
    candles = ls.sample_candles().head(300)
    write_csv(tmp_path / "candles.csv", candles, "Gmt time,Open,High,Low,Close,Volume")
    notes = pinned(tmp_path, source="file", path="candles.csv").notes
    assert any("candles.csv: read as Dukascopy, by its column 'Gmt time'" in note for note in notes)


def test_several_files_and_a_pattern_are_one_series(tmp_path: Path) -> None:
    candles = ls.sample_candles().head(300)
    for month, (start, stop) in enumerate([(0, 100), (100, 300)], 1):
        write_csv(tmp_path / f"eurusd-2017-0{month}.csv", candles.slice(start, stop))
    for path in ("eurusd-*.csv", ["eurusd-2017-01.csv", "eurusd-2017-02.csv"]):
        assert pinned(tmp_path, source="file", path=path).candles.digest == candles.digest


def test_the_symbol_of_the_market_is_compared_with_the_file(tmp_path: Path) -> None:
    candles = ls.sample_candles().head(100)
    rows = write_csv(tmp_path / "a.csv", candles).read_text().splitlines()
    both = [f"{rows[0]},pair", *(f"{row},{pair}" for pair in ("EURUSD", "GBPUSD") for row in rows[1:])]
    (tmp_path / "a.csv").write_text("\n".join(both))
    with pytest.raises(DataError, match=r"the column 'pair' holds 2: 'EURUSD', 'GBPUSD'.*\[market\] symbol"):
        pinned(tmp_path, source="file", path="a.csv")
    found = pinned(tmp_path, source="file", path="a.csv", market={"symbol": "EUR/USD"})
    assert found.candles.digest == candles.digest
    assert found.candles.symbol == "EUR/USD"
    with pytest.raises(DataError, match="the symbol 'USD/JPY' is none of the markets"):
        pinned(tmp_path, source="file", path="a.csv", market={"symbol": "USD/JPY"})


def test_candles_of_another_market_than_the_spec_names_are_refused(tmp_path: Path) -> None:
    candles = ls.sample_candles().head(100)
    for symbol in ("EUR/USD", "eurusd"):
        assert pinned(tmp_path, objects={"data.candles": candles}, market={"symbol": symbol}).candles.symbol == symbol
    with pytest.raises(
        DataError, match=r'market.symbol = "BTC/USDT", but the candles are of .EUR/USD.: give the candles'
    ):
        pinned(tmp_path, objects={"data.candles": candles}, market={"symbol": "BTC/USDT"})


def split_at(candles: ls.Candles, row: int, factor: float) -> ls.Candles:
    """The candles with all prices from `row` on multiplied."""
    scale = np.where(np.arange(len(candles)) < row, 1.0, factor)
    return candles.with_values({name: getattr(candles, name) * scale for name in ("open", "high", "low", "close")})


def test_candles_below_min_quality_are_not_trained_on(tmp_path: Path) -> None:
    bars = split_at(ls.sample_candles().tail(500), 200, 0.25)
    with pytest.raises(
        DataError,
        match=r"candles: a quality score of at least \[data\] min_quality = 60 is needed; found 4\d.\d of 100",
    ) as error:
        pinned(tmp_path, objects={"data.candles": bars})
    assert "split? row 200" in str(error.value)
    assert "4-for-1 split that is not adjusted" in str(error.value)
    # The cure that it names works, and what is suspicious is told all the same.
    accepted = pinned(tmp_path, objects={"data.candles": bars}, min_quality=0)
    assert any(note.startswith("candles: split? row 200") for note in accepted.notes)


def test_the_least_quality_may_be_raised_and_its_reasons_are_said(tmp_path: Path) -> None:
    keep = np.ones(500, dtype=bool)
    keep[100:200] = False
    bars = ls.sample_candles().tail(500).take(keep)
    assert pinned(tmp_path, objects={"data.candles": bars}).notes
    with pytest.raises(DataError, match=r"min_quality = 99 is needed; found (.|\n)*bars are missing"):
        pinned(tmp_path, objects={"data.candles": bars}, min_quality=99)


def test_an_input_is_judged_as_well(tmp_path: Path) -> None:
    bars = ls.sample_candles().tail(500)
    objects = {"data.candles": bars, "data.inputs": {"other": split_at(bars, 200, 10.0)}}
    with pytest.raises(DataError, match="input other: a quality score of at least"):
        pinned(tmp_path, {"other": OwnCandles()}, objects)


def test_min_quality_and_stamp_are_in_no_fingerprint() -> None:
    one, other = spec_of(data={"min_quality": 0}), spec_of(data={"min_quality": 99, "stamp": "close"})
    assert identity_body(one) == identity_body(other) == identity_body(spec_of())


def test_a_file_stamped_at_closes_gives_the_candles_of_its_opens(tmp_path: Path) -> None:
    bars = ls.sample_candles().head(100)
    # Over a weekend too, a close is one hour after the open of its bar.
    write_csv(tmp_path / "closes.csv", replace(bars, timestamp=bars.timestamp + 3_600_000))
    assert pinned(tmp_path, source="file", path="closes.csv", stamp="close").candles.digest == bars.digest
