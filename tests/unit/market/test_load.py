from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest
from tests.unit.market.bars import HOUR, MONDAY, candles, columns

from lockstep.core.errors import DataError
from lockstep.market.bars import read_bars
from lockstep.market.load import DroppedRowsWarning, LoadOptions, load_candles, load_with_report

EXPECTED = candles()


def table(**changes: Any) -> pa.Table:
    return pa.table({**columns(), **changes})


def csv(path: Path, lines: list[str]) -> Path:
    path.write_text("\n".join(lines) + "\n")
    return path


def rows(time: Any = str) -> list[str]:
    bars = columns()
    return [
        ",".join([time(int(bars["timestamp"][i])), *(repr(float(bars[k][i])) for k in list(bars)[1:])])
        for i in range(5)
    ]


HEADER = "timestamp,open,high,low,close,volume"


def test_parquet_feather_arrow_and_csv_give_the_same_candles(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "a.parquet")
    feather.write_feather(table(), tmp_path / "a.feather")
    with pa.OSFile(str(tmp_path / "a.arrow"), "wb") as sink, pa.ipc.new_stream(sink, table().schema) as writer:
        writer.write_table(table())
    csv(tmp_path / "a.csv", [HEADER, *rows()])
    (tmp_path / "a.csv.gz").write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    for name in ("a.parquet", "a.feather", "a.arrow", "a.csv", "a.csv.gz"):
        loaded = load_candles(tmp_path / name)
        assert loaded == EXPECTED, name
        assert loaded.source == str(tmp_path / name)
    assert load_candles(str(tmp_path / "a.csv")) == EXPECTED


def test_common_names_are_found_without_a_mapping(tmp_path: Path) -> None:
    for header in ("Date,Open,High,Low,Close,Vol", "Open time,O,H,L,C,V", "unix,OPEN,HIGH,LOW,CLOSE,Base Volume"):
        assert load_candles(csv(tmp_path / "a.csv", [header, *rows()])) == EXPECTED


def test_delimiters_byte_order_marks_and_blanks_are_no_matter(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    body = "\r\n".join(["\ufeff" + HEADER, *rows(), ""]).replace(",", ";").replace(";100.0", "; 100.0 ")
    path.write_text(body, newline="")
    assert load_candles(path) == EXPECTED


def test_a_mapping_names_the_columns(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", ["when,a,b,c,d,e", *rows()])
    mapping = {"timestamp": "when", "open": "a", "high": "b", "low": "c", "close": "d", "volume": "e"}
    assert load_candles(path, columns=mapping) == EXPECTED
    with pytest.raises(DataError, match=r"'open' is in 'aa'; found 'when', 'a'"):
        load_candles(path, columns={**mapping, "open": "aa"})
    with pytest.raises(DataError, match=r"columns maps timestamp, open.*found 'opne'. Did you mean 'open'"):
        load_candles(path, columns={**mapping, "opne": "a"})


def test_a_csv_without_a_header_needs_the_list_of_its_names(tmp_path: Path) -> None:
    """High and low that stand elsewhere than usual are seen in the prices, and the rows are not guessed at."""
    swapped = [
        ",".join([time, high, o, low, *rest]) for time, o, high, low, *rest in (row.split(",") for row in rows())
    ]
    path = csv(tmp_path / "a.csv", swapped)
    with pytest.raises(DataError, match="the first line names the columns; found numbers") as caught:
        load_candles(path)
    assert "--columns timestamp,open,high,low,close,volume" in str(caught.value)
    assert f"1: {swapped[0]}" in str(caught.value)
    names = ["timestamp", "high", "open", "low", "close", "volume"]
    assert load_candles(path, columns=names) == EXPECTED
    with pytest.raises(DataError, match="2 column names are given; found 6"):
        load_candles(path, columns=["timestamp", "open"])


def test_missing_columns_are_named_with_the_likely_ones(tmp_path: Path) -> None:
    path = csv(tmp_path / "a.csv", ["timestamp,open,high,low,closse,volume", *rows()])
    with pytest.raises(DataError, match=r"columns close are missing; found .*Did you mean 'closse'"):
        load_candles(path)


def test_a_source_without_volume_must_say_so() -> None:
    without = table().drop_columns(["volume"])
    with pytest.raises(DataError, match=r"columns=\{'volume': None\} \(--columns volume= ; in a spec \[data.columns\]"):
        load_candles(without)
    for none in (None, ""):
        assert load_candles(without, columns={"volume": none}).volume.tolist() == [0] * 5
    unknown = table().rename_columns(["zzz" if name == "volume" else name for name in table().column_names])
    with pytest.raises(DataError, match=r"columns=\{'volume': 'NAME'\} \(--columns volume=NAME; in a spec"):
        load_candles(unknown)
    assert load_candles(unknown, columns={"volume": "zzz"}) == load_candles(table())
    with pytest.raises(DataError, match="only volume may be absent"):
        load_candles(without, columns={"open": None})


def test_two_possible_time_columns_are_not_chosen_between() -> None:
    bars = columns()
    time = bars.pop("timestamp")
    with pytest.raises(
        DataError,
        match=r"'timestamp' could be any of 'unix', 'date'.*--columns timestamp=unix; in a spec \[data\] columns",
    ):
        load_candles(pa.table({"unix": time, "date": time + HOUR, **bars}))


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("none.csv", None, "there is no such file"),
        ("a.xlsx", b"x", "told by its suffix, one of .parquet"),
        ("a.csv", b"", "the file is empty"),
        ("a.csv", b"\n\n", "the file is empty"),
        ("a.csv", HEADER.encode() + b"\n", "there are no rows"),
        (
            "a.csv",
            HEADER.encode() + b"\n1,2,3\n",
            "the file cannot be read: CSV parse error: Row #2: Expected 6 columns",
        ),
        ("a.csv", b"t,o,h,l,c,c\n1,2,3,1,2,2\n", "found 'c' twice"),
        ("a.parquet", b"PAR1 no", "the file cannot be read"),
        ("a.feather", b"ARROW1 no", "the file cannot be read"),
        ("a.csv.gz", b"\x1f\x8b\x08 no", "the file cannot be read"),
    ],
)
def test_unreadable_files_are_errors_that_name_the_file(
    tmp_path: Path, name: str, content: bytes | None, message: str
) -> None:
    path = tmp_path / name
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(DataError, match=message) as caught:
        load_candles(path)
    assert str(path) in str(caught.value)


def test_a_misspelt_file_is_recognised(tmp_path: Path) -> None:
    pq.write_table(table(), tmp_path / "BTCUSDT-1h.parquet")
    with pytest.raises(DataError, match=r"Did you mean .*BTCUSDT-1h.parquet"):
        load_candles(tmp_path / "BTCUSD-1h.parquet")
    with pytest.raises(DataError, match="is a folder"):
        load_candles(tmp_path)
    with pytest.raises(DataError, match="Nor is there a folder"):
        load_candles(tmp_path / "no" / "a.csv")


def test_a_flipped_bit_in_a_parquet_page_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(table(), path, write_page_checksum=True, compression="none", use_dictionary=False)
    data = bytearray(path.read_bytes())
    at = bytes(data).index(np.float64(103.0).tobytes())
    data[at] ^= 1
    path.write_bytes(data)
    with pytest.raises(DataError, match=r"cannot be read: .*checksum"):
        load_candles(path)


def test_a_truncated_gzip_file_is_found(tmp_path: Path) -> None:
    path = tmp_path / "a.csv.gz"
    path.write_bytes(gzip.compress("\n".join([HEADER, *rows()]).encode())[:-12])
    with pytest.raises(DataError, match="cannot be read"):
        load_candles(path)


def test_a_text_that_is_no_number_is_named_with_its_row(tmp_path: Path) -> None:
    lines = [HEADER, *rows()]
    lines[3] = lines[3].replace("13.0", "13,0", 1).replace(",0", ".o", 1)
    path = csv(tmp_path / "a.csv", lines)
    with pytest.raises(DataError, match=r"column 'close' holds numbers; found '13.o' in row 2|found '.*' in row 2"):
        load_candles(path)
    with pytest.raises(DataError, match="column 'open' holds numbers; found bool"):
        load_candles(table(open=[True] * 5))


def test_missing_values_are_non_finite_rows_not_zeros(tmp_path: Path) -> None:
    lines = [HEADER, *rows()]
    lines[2] = f"{MONDAY + HOUR},,NaN,10.0,12.0,null"
    with pytest.raises(DataError, match="non-finite: 1 row, first row 1"):
        load_candles(csv(tmp_path / "a.csv", lines))
    with pytest.raises(DataError, match=r"every row has a time; found none in row 4, 1 such rows"):
        load_candles(table(timestamp=[*columns()["timestamp"].tolist()[:4], None]))


def test_times_with_a_zone_are_read_from_arrow_and_pandas_in_any_unit() -> None:
    for unit in ("s", "ms", "us", "ns"):
        values = pa.array(columns()["timestamp"]).cast(pa.timestamp("ms", "UTC")).cast(pa.timestamp(unit, "UTC"))
        assert load_candles(table(timestamp=values)) == EXPECTED
    index = pd.DatetimeIndex(pd.to_datetime(columns()["timestamp"], unit="ms", utc=True))
    body = {name: values for name, values in columns().items() if name != "timestamp"}
    assert load_candles(pd.DataFrame(body, index=index)) == EXPECTED
    berlin = index.tz_convert("Europe/Berlin").rename("Date")
    assert load_candles(pd.DataFrame(body, index=berlin)) == EXPECTED


def test_times_without_a_zone_in_a_frame_need_a_declared_one() -> None:
    naive = pd.DataFrame(columns()).assign(timestamp=pd.to_datetime(columns()["timestamp"], unit="ms"))
    with pytest.raises(DataError, match=r"the zone of the times is not given. Declare it: timezone='UTC'"):
        load_candles(naive)
    assert load_candles(naive, timezone="UTC") == EXPECTED
    assert load_candles(naive, timezone="+01:00").timestamp[0] == MONDAY - HOUR
    with pytest.raises(DataError, match="holds times; found bool"):
        load_candles(table(timestamp=[True] * 5))


def test_seconds_are_normalised_to_milliseconds(tmp_path: Path) -> None:
    """R1.24: second-based timestamps are normalised to ms on read."""
    assert load_candles(table(timestamp=columns()["timestamp"] // 1_000)) == EXPECTED
    path = csv(tmp_path / "a.csv", [HEADER, *rows(lambda ms: str(ms // 1_000))])
    assert load_candles(path) == EXPECTED


def test_the_most_recent_rows_are_taken_by_their_own_time() -> None:
    """R1.20: the N most recent candles are returned even if all are years old."""
    assert load_candles(table(), last=2).open.tolist() == [13, 14]
    assert load_candles(table(), last=99) == EXPECTED
    assert load_candles(table(), last=1, timeframe="1h").open.tolist() == [14]
    assert load_candles(table(), stop="2024-01-01T03:00Z", last=2).open.tolist() == [11, 12]
    with pytest.raises(DataError, match="last is a positive number of rows; found 0"):
        load_candles(table(), last=0)
    with pytest.raises(DataError, match="no rows between start"):
        load_candles(table(), start="2030-01-01")


def test_unsorted_rows_are_refused_unless_sorting_is_asked_for() -> None:
    newest_first = table().take(list(range(4, -1, -1)))
    with pytest.raises(DataError, match=r"unsorted: 4 rows, first row 1(.|\n)*sort=True"):
        load_candles(newest_first)
    with pytest.raises(DataError, match="unsorted"):
        load_candles(newest_first, last=2)
    assert load_candles(newest_first, sort=True) == EXPECTED


def test_bad_rows_are_dropped_only_on_request_and_reported() -> None:
    bars = columns(6)
    bars["timestamp"][2] = bars["timestamp"][1]
    bars["high"][4] = 1.0
    frame = pd.DataFrame(bars)
    with pytest.raises(DataError, match=r"duplicated: 1 row, first row 2(.|\n)*OHLC-inconsistent: 1 row, first row 4"):
        load_candles(frame)
    loaded, report = load_with_report(frame, LoadOptions(on_bad="drop", timeframe="1h"))
    assert loaded.open.tolist() == [10, 11, 13, 15]
    assert (report.rows_read, report.rows_dropped, report.rows_returned) == (6, 2, 4)
    assert [(str(defect.rule), defect.row) for defect in report.dropped] == [
        ("duplicated", 2),
        ("OHLC-inconsistent", 4),
    ]
    assert "6 rows read, 2 dropped, 4 returned" in str(report)
    with pytest.warns(DroppedRowsWarning, match="frame: 6 rows read, 2 dropped"):
        load_candles(frame, on_bad="drop", timeframe="1h")
    with pytest.raises(DataError, match="on_bad is 'error' or 'drop'; found 'fix'"):
        load_candles(frame, on_bad="fix")  # type: ignore[arg-type]


def off_the_grid(rows: slice, seconds: int) -> dict[str, Any]:
    bars = columns(60)
    bars["timestamp"][rows] += seconds * 1_000
    return bars


@pytest.mark.parametrize("timeframe", [None, "1h"])
def test_rows_off_the_grid_are_named_and_can_be_dropped(timeframe: str | None) -> None:
    frame = pa.table(off_the_grid(slice(20, 30), 14))
    with pytest.raises(DataError, match=r"(?i)off.*grid: 10 rows.*row 20 .*20:00:14Z(.|\n)*--drop-bad"):
        load_candles(frame, timeframe=timeframe)
    loaded, report = load_with_report(frame, LoadOptions(on_bad="drop", timeframe=timeframe))
    assert (len(loaded), loaded.timeframe) == (50, "1h")
    assert [(str(defect.rule), defect.count, defect.row) for defect in report.dropped] == [("off-grid", 10, 20)]


@pytest.mark.parametrize("timeframe", [None, "1h"])
def test_a_last_row_of_a_bar_that_was_not_over_is_named_and_can_be_dropped(timeframe: str | None) -> None:
    frame = pa.table(off_the_grid(slice(59, None), -1_800))
    with pytest.raises(DataError, match=r"row 59 .*the last (row|one): a bar that was not over\?"):
        load_candles(frame, timeframe=timeframe)
    loaded, report = load_with_report(frame, LoadOptions(on_bad="drop", timeframe=timeframe))
    assert len(loaded) == 59
    assert "the last row: a bar that was not over?" in str(report)


def test_a_wrong_timeframe_drops_no_rows() -> None:
    with pytest.raises(DataError, match="off-grid: 30 rows"):
        load_candles(pa.table(columns(60)), timeframe="2h", on_bad="drop")


def test_when_every_row_is_bad_dropping_is_an_error_too() -> None:
    bars = columns(3)
    bars["close"][:] = np.nan
    with pytest.raises(DataError, match="non-finite: 3 rows"):
        load_candles(pa.table(bars), on_bad="drop")


def test_of_two_rows_of_one_time_the_sound_one_stays() -> None:
    bars = columns(4)
    bars["timestamp"][2] = bars["timestamp"][1]
    bars["close"][1] = np.nan
    loaded, _ = load_with_report(pa.table(bars), LoadOptions(on_bad="drop", timeframe="1h"))
    assert loaded.open.tolist() == [10, 12, 13]


def test_extra_columns_are_kept_on_request_only() -> None:
    wide = table(funding=[0.1, None, 0.3, 0.4, 0.5], note=["a"] * 5)
    assert load_candles(wide) == EXPECTED
    kept = load_candles(wide, extra=["funding"])
    assert kept.extra["funding"][0] == 0.1
    assert np.isnan(kept.extra["funding"][1])
    with pytest.raises(DataError, match=r"extra column 'fundin' is missing.*Did you mean 'funding'"):
        load_candles(wide, extra=["fundin"])


def test_rows_can_be_read_without_being_judged() -> None:
    bars = read_bars(table(volume=[-1.0] * 5))
    assert len(bars) == 5
    assert bars.columns["volume"].tolist() == [-1] * 5


def test_other_objects_are_refused() -> None:
    with pytest.raises(DataError, match="a path, a pandas frame or an Arrow table; found list"):
        load_candles([1, 2])  # type: ignore[arg-type]
    with pytest.raises(DataError, match="mixed or unknown values"):
        load_candles(pd.DataFrame({"timestamp": [1, "x"], "open": [1, 2]}))
    with pytest.raises(DataError, match="for CSV files without a header"):
        load_candles(table(), columns=["a"])
