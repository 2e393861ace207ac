"""Where a rule of the formats begins and ends: the last case on each side of it."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from tests.unit.market.formats.files import BARS, DAYS, moment, rows, write

from lockstep.core.errors import DataError
from lockstep.market.formats.markets import MarketChoice
from lockstep.market.load import load_candles

HEADER = "Date,Time,Open,High,Low,Close,Volume"


@pytest.mark.parametrize("clock", ["2400", "1060", "103060", "103099", "106000"])
def test_a_number_beside_the_date_that_is_no_time_of_day_is_refused_and_the_cure_works(
    tmp_path: Path, clock: str
) -> None:
    """It is not left aside: the bars would all lie at midnight."""
    lines = rows(DAYS, lambda t, *cells: [moment(t, "%Y-%m-%d"), clock if t == DAYS.timestamp[3] else "0930", *cells])
    path = write(tmp_path / "a.csv", [HEADER, *lines])
    with pytest.raises(DataError, match=rf"'Time' beside the date .* found '{clock}' in row 3, which is none"):
        load_candles(path)
    assert load_candles(path, columns={"timestamp": "Date"}) == DAYS


@pytest.mark.parametrize("clock", ["%H%M", "%H%M%S"])
def test_numbers_that_are_times_of_day_are_read(tmp_path: Path, clock: str) -> None:
    lines = rows(BARS, lambda t, *cells: [moment(t, "%Y-%m-%d"), moment(t, clock), *cells])
    assert load_candles(write(tmp_path / "a.csv", [HEADER, *lines]), timezone="UTC") == BARS


@pytest.mark.parametrize(("count", "ending"), [(8, "'M7'. Choose"), (9, "'M7' and 1 more. Choose")])
def test_at_most_eight_markets_are_listed(count: int, ending: str) -> None:
    with pytest.raises(DataError) as caught:
        MarketChoice().index([f"M{number}" for number in range(count)], "a.csv", "the column 'symbol'")
    assert ending in str(caught.value)


def test_the_comma_that_decides_nothing_is_shown_and_not_the_cell_before_it(tmp_path: Path) -> None:
    flat = [f"{moment(int(t), '%Y-%m-%dT%H:%M:%SZ')};{1200 if row == 0 else '1,201'};1,300;1,200;1,250;7"
            for row, t in enumerate(BARS.timestamp)]  # fmt: skip
    with pytest.raises(DataError, match=r"the comma in '1,201' could be"):
        load_candles(write(tmp_path / "a.csv", ["Date;Open;High;Low;Close;Volume", *flat]))


@pytest.mark.parametrize("form", ["%Y-%m-%dT%H:%M:%S.000Z", "epoch"])
def test_records_by_their_time_are_read_whichever_way_it_is_written(form: str) -> None:
    names = ("open", "high", "low", "close", "volume")
    records = {
        str(t) if form == "epoch" else moment(t, form): {name: getattr(BARS, name)[row] for name in names}
        for row, t in enumerate(BARS.timestamp.tolist())
    }
    assert load_candles(json.loads(json.dumps(records))) == BARS
