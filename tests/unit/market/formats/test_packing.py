"""Packed files are read in memory, within a bound, and several files of one market become one series."""

from __future__ import annotations

import gzip
import io
import json
import zipfile
from pathlib import Path

import pyarrow as pa
import pytest
from tests.unit.market.formats.files import BARS, HOUR, klines, rows, series, write

from lockstep.core.errors import DataError
from lockstep.market.candles import Candles
from lockstep.market.formats.joins import paths_of, require_one_series
from lockstep.market.formats.packing import FREE_BYTES
from lockstep.market.load import load_candles

TEXT = "\n".join(["timestamp,open,high,low,close,volume", *rows(BARS, lambda t, *c: [t, *c])]).encode()
ROWS = json.dumps([list(row) for row in zip(*(v.tolist() for v in BARS.columns().values()), strict=True)]).encode()


def zstd(data: bytes) -> bytes:
    return bytes(pa.compress(data, codec="zstd", asbytes=True))


def archive(**members: bytes) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as file:
        for name, data in members.items():
            file.writestr(name.replace("__", "."), data)
    return out.getvalue()


@pytest.mark.parametrize(
    ("name", "data"),
    [
        ("a.csv.gz", gzip.compress(TEXT)),
        ("a.csv.zst", zstd(TEXT)),
        ("a.json.gz", gzip.compress(ROWS)),
        ("a.json.zst", zstd(ROWS)),
        ("a.zip", archive(a__csv=TEXT)),
        ("b.zip", archive(a__json=ROWS)),
        ("c.zip", archive(a__csv=TEXT, a__txt=b"a report", a__md=b"read me")),
        ("d.zip", archive(a__csv__gz=gzip.compress(TEXT))),
        ("mislabelled.csv", gzip.compress(TEXT)),
    ],
)
def test_a_packed_file_is_read(tmp_path: Path, name: str, data: bytes) -> None:
    (tmp_path / name).write_bytes(data)
    assert load_candles(tmp_path / name) == BARS


@pytest.mark.parametrize("name", ["bomb.csv.gz", "bomb.csv.zst", "bomb.zip"])
def test_a_file_that_grows_beyond_all_measure_is_refused(tmp_path: Path, name: str) -> None:
    data = b"\0" * (FREE_BYTES + 2**20)
    packed = {"bomb.csv.gz": gzip.compress, "bomb.csv.zst": zstd, "bomb.zip": lambda text: archive(a__csv=text)}
    (tmp_path / name).write_bytes(packed[name](data))
    with pytest.raises(DataError, match="unpacked it has more than 8 MiB, over 300 times its size"):
        load_candles(tmp_path / name)


@pytest.mark.parametrize(
    ("name", "data", "message"),
    [
        ("a.zip", archive(a__md=b"x"), "holds no file of candles"),
        ("a.zip", b"PK\x03\x04 no", "the archive cannot be read"),
        ("a.csv.zst", zstd(TEXT)[:-9], "cannot be read"),
        ("a.zip", archive(a__zip=archive(a__zip=archive(a__zip=archive(a__csv=TEXT)))), "packed more than 3 times"),
    ],
)
def test_a_damaged_or_empty_archive_is_explained(tmp_path: Path, name: str, data: bytes, message: str) -> None:
    (tmp_path / name).write_bytes(data)
    with pytest.raises(DataError, match=message) as caught:
        load_candles(tmp_path / name)
    assert str(tmp_path / name) in str(caught.value)


def months(folder: Path) -> list[Path]:
    """Three files of the bars, the middle one in microseconds, each zipped as Binance does."""
    paths = []
    for month, (start, stop) in enumerate([(0, 30), (30, 60), (60, 90)], 1):
        lines = klines(BARS.slice(start, stop), 1_000 if month == 2 else 1)
        path = folder / f"BTCUSDT-1h-2024-{month:02}.zip"
        path.write_bytes(archive(**{f"BTCUSDT-1h-2024-{month:02}__csv": "\n".join(lines).encode()}))
        paths.append(path)
    return paths


def test_monthly_files_are_joined_in_the_order_of_time_by_list_and_by_pattern(tmp_path: Path) -> None:
    paths = months(tmp_path)
    for source in (paths, [paths[2], paths[0], paths[1]], tmp_path / "BTCUSDT-1h-*.zip", f"{tmp_path}/*-2024-??.zip"):
        candles = load_candles(source)
        assert candles == BARS
        assert str(candles.format).startswith("3 files joined by time; Binance klines, by ")


def test_files_in_one_archive_are_joined_too(tmp_path: Path) -> None:
    parts = {
        f"d/2024-0{month}__csv": "\n".join(klines(BARS.slice(30 * (month - 1), 30 * month))).encode()
        for month in (1, 2, 3)
    }
    (tmp_path / "a.zip").write_bytes(archive(**parts))
    assert load_candles(tmp_path / "a.zip") == BARS
    (tmp_path / "b.zip").write_bytes(archive(XBT_60__csv=TEXT, ETH_60__csv=TEXT))
    with pytest.raises(DataError, match=r"found ETH_60.csv and XBT_60.csv, whose names differ in more than dates"):
        load_candles(tmp_path / "b.zip")


def part(folder: Path, name: str, candles: Candles) -> Path:
    return write(folder / name, ["timestamp,open,high,low,close,volume", *rows(candles, lambda t, *c: [t, *c])])


def test_files_that_are_no_parts_of_one_series_are_refused(tmp_path: Path) -> None:
    first = part(tmp_path, "BTC-2024-01.csv", BARS.head(50))
    overlap = part(tmp_path, "BTC-2024-02.csv", BARS.slice(40))
    with pytest.raises(DataError, match=r"BTC-2024-02.csv and .*BTC-2024-01.csv overlap in time"):
        load_candles([first, overlap])
    longer = part(tmp_path, "BTC-2024-03.csv", series(20, step=4 * HOUR, start=int(BARS.timestamp[-1]) + HOUR))
    with pytest.raises(DataError, match="have bars of another length: the most common steps are 14,400,000 ms"):
        load_candles([first, longer])
    part(tmp_path, "ETH-2024-04.csv", BARS)
    with pytest.raises(DataError, match="whose names differ in more than dates"):
        load_candles(tmp_path / "*-2024-*.csv")
    with pytest.raises(DataError, match="no file has a name of this pattern"):
        load_candles(tmp_path / "SOL-*.csv")
    with pytest.raises(DataError, match="each file is named once; found it 2 times"):
        load_candles([first, first])


@pytest.mark.parametrize(
    ("suffix", "cure"), [(".xlsx", "Save it as CSV"), (".pkl", "Pickles can run code"), (".hst", "Export")]
)
def test_kinds_of_files_that_are_not_read_say_what_to_do(tmp_path: Path, suffix: str, cure: str) -> None:
    (tmp_path / f"a{suffix}").write_bytes(b"x")
    with pytest.raises(DataError, match=cure):
        load_candles(tmp_path / f"a{suffix}")


@pytest.mark.parametrize(
    "names",
    [
        ["600519.csv", "000858.csv"],
        ["000001.csv", "002415.csv"],
        ["7203.csv", "6758.csv"],
        ["share_00700_day.csv", "share_00005_day.csv"],
    ],
)
def test_numbers_that_name_shares_are_not_taken_for_dates(names: list[str]) -> None:
    with pytest.raises(DataError, match=f"found {names[0]} and {names[1]}, whose names differ in more than dates"):
        require_one_series(names, "*.csv")


@pytest.mark.parametrize(
    "names",
    [
        ["600519-2023.csv", "600519-2024.csv"],
        ["EURUSD_M1_2022.csv", "EURUSD_M1_202301.csv", "EURUSD_M1_202302.csv"],
        ["a-20240101-093000.csv", "a-20240102-161500.csv"],
        ["a_240131.csv", "a_240229.csv"],
        ["31122023.csv", "31012024.csv"],
        ["part-00000.csv", "part-00001.csv", "part-00002.csv"],
        ["klines-1704067200000-1704070800000.csv", "klines-1704070800000-1704074400000.csv"],
        ["a-jan-2024.csv", "a-feb-2024.csv"],
        ["q1.csv", "q3.csv"],
    ],
)
def test_dates_times_and_numbers_of_parts_are_of_one_market(tmp_path: Path, names: list[str]) -> None:
    for name in names:
        (tmp_path / name).touch()
    assert [path.name for path in paths_of(tmp_path / "*.csv")] == sorted(names)
