from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.market.bars import DAY, HOUR, MONDAY, columns, local

from lockstep.core.errors import DataError
from lockstep.market.load import LoadOptions, load_candles, load_with_report
from lockstep.market.quality import quality_report
from lockstep.market.stamps import CloseStampsWarning, close_stamps, opens_of_closes

MINUTE = 60_000
WEEKDAYS = [(2024, 5, day) for day in range(6, 31) if day % 7 not in (4, 5)]  # 11 and 12 May 2024 are a weekend


def sessions() -> np.ndarray:
    """Opens of five-minute bars of New York's trading days."""
    day = 5 * MINUTE * np.arange(78)
    return np.concatenate([start + day for start in local("America/New_York", *[(*d, 9, 30) for d in WEEKDAYS])])


def test_opens_do_not_look_like_closes() -> None:
    new_york = local("America/New_York", *WEEKDAYS)
    evening = new_york - 7 * HOUR  # 17:00 of the day before: Sunday to Thursday
    for time, step in (
        (sessions(), 5 * MINUTE),
        (MONDAY + HOUR * np.arange(72), HOUR),
        (MONDAY + HOUR * np.arange(1, 71), HOUR),
        (local("UTC", *WEEKDAYS), DAY),
        (new_york, DAY),
        (evening, DAY),
        (local("Asia/Tokyo", *WEEKDAYS), DAY),
        (MONDAY + DAY * np.arange(30), DAY),
        (MONDAY + DAY * np.arange(1), DAY),
        (local("UTC", *WEEKDAYS)[:5], DAY),
    ):
        assert close_stamps(time, step) == ""


def test_closes_are_noticed_where_no_open_would_lie() -> None:
    for time, step, words in (
        (sessions() + 5 * MINUTE, 5 * MINUTE, "sessions start one bar after a round time"),
        (MONDAY + HOUR * np.arange(1, 73), HOUR, "one bar after midnight UTC .2024-01-01 01:00Z. and end on midnight"),
        (local("UTC", *WEEKDAYS) + DAY, DAY, "Tuesday to Saturday"),
        (local("America/New_York", *[(*day, 16) for day in WEEKDAYS]), DAY, "Monday to Friday in the evening UTC"),
        (MONDAY + HOUR * np.arange(1, 50) - 1, HOUR, "the last instant"),
        (MONDAY + HOUR * np.arange(1, 50) - 1_000, HOUR, "the last instant"),
    ):
        with pytest.raises(AssertionError, match=words):
            raise AssertionError(close_stamps(time, step))


def test_whoever_loads_bars_that_are_stamped_at_their_close_is_told(tmp_path: Path) -> None:
    text = "timestamp,open,high,low,close,volume\n"
    path = tmp_path / "closes.csv"
    path.write_text(text + "".join(f"{MONDAY + hour * HOUR},2,3,1,2,5\n" for hour in range(1, 73)))
    with pytest.warns(CloseStampsWarning, match=r"closes.csv: times look like closes: .* say stamp=.close. \(--stamp"):
        opens = load_candles(path)
    assert load_candles(path, stamp="close").timestamp.tolist() == (opens.timestamp - HOUR).tolist()
    candles, report = load_with_report(path, LoadOptions(stamp="close"))
    assert (len(candles), report.stamp) == (72, "")


def test_the_report_says_so_and_the_score_stays() -> None:
    bars = columns(72, start=MONDAY + HOUR)
    report = quality_report(bars)
    assert report.suspicions[0].startswith("times look like closes: they start one bar after midnight UTC")
    assert 'stamp="close"' in report.suspicions[0]
    assert "look like closes of bars" in str(report)
    assert report.score == 100.0
    assert report.to_dict()["stamp"] == report.stamp


def test_closes_become_the_opens_of_their_bars() -> None:
    opens = np.concatenate([sessions()[:78], sessions()[78:100]])
    assert opens_of_closes(opens + 5 * MINUTE, 5 * MINUTE).tolist() == opens.tolist()
    assert opens_of_closes(opens + 5 * MINUTE - 1, 5 * MINUTE).tolist() == opens.tolist()
    assert opens_of_closes(opens + 5 * MINUTE - 1_000, 5 * MINUTE).tolist() == opens.tolist()
    # A day of 25 hours closes at the next midnight.
    days = local("America/New_York", *[(2024, 11, day) for day in range(1, 7)])
    assert opens_of_closes(days[1:], DAY)[1:].tolist() == days[1:-1].tolist()
    # Repetitions stay repetitions.
    assert opens_of_closes(np.array([HOUR, 2 * HOUR, 2 * HOUR]), HOUR).tolist() == [0, HOUR, HOUR]
    assert opens_of_closes(np.empty(0, np.int64), HOUR).size == 0


def test_a_file_of_closes_is_read_as_opens(tmp_path: Path) -> None:
    path = tmp_path / "closes.csv"
    rows = [f"{MONDAY + HOUR * (i + 1)},10,12,9,11,5" for i in range(30)]
    path.write_text("time,open,high,low,close,volume\n" + "\n".join(rows) + "\n")
    bars = load_candles(path, stamp="close", start="2024-01-01 02:00", on_bad="drop")
    assert int(bars.timestamp[0]) == MONDAY + 2 * HOUR
    assert len(bars) == 28
    assert load_candles(path, stamp="close", timeframe="1h") == load_candles(path, stamp="close")
    assert len(load_candles(path, stamp="close")) == 30
    with pytest.raises(DataError, match="stamp is 'open' or 'close'"):
        load_candles(path, stamp="end")  # type: ignore[arg-type]
