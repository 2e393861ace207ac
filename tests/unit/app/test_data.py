"""Data outside of runs: in by file, out by digest, every byte checked."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.app.data import data_quality, find_digest, import_data, list_snapshots, read_snapshot
from lockstep.bootstrap import place
from lockstep.core.errors import DataError, InputError, IntegrityError
from lockstep.market.sample import sample_candles
from lockstep.runs.store import FolderRunStore


@pytest.fixture
def file(tmp_path: Path) -> Path:
    bars = sample_candles().head(300)
    lines = ["Date,Open,High,Low,Close,Vol"]
    rows = zip(*(column.tolist() for column in bars.columns().values()), strict=True)
    lines += [",".join(map(repr, row)) for row in rows]
    path = tmp_path / "prices.csv"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_a_file_comes_in_and_is_the_same_candles(file: Path, tmp_path: Path) -> None:
    report = import_data(file, blobs=place(tmp_path).store.blobs, symbol="EUR/USD")
    assert report.snapshot.digest == sample_candles().head(300).digest
    assert (report.snapshot.bars, report.loaded.rows_dropped) == (300, 0)
    listed, broken = list_snapshots(blobs=place(tmp_path).store.blobs)
    assert [item.digest for item in listed] == [report.snapshot.digest]
    assert broken == []


def test_a_snapshot_goes_out_and_in_again_unchanged(file: Path, tmp_path: Path) -> None:
    digest = import_data(file, blobs=place(tmp_path).store.blobs).snapshot.digest
    for name in ("out.csv", "out.parquet"):
        read_snapshot(digest[:10], blobs=place(tmp_path).store.blobs, export=tmp_path / name)
        assert import_data(tmp_path / name, blobs=place(tmp_path).store.blobs).snapshot.digest == digest


def test_candles_are_exported_to_known_suffixes_only(file: Path, tmp_path: Path) -> None:
    digest = import_data(file, blobs=place(tmp_path).store.blobs).snapshot.digest
    with pytest.raises(InputError, match=r"\.csv or \.parquet"):
        read_snapshot(digest, blobs=place(tmp_path).store.blobs, export=tmp_path / "out.xlsx")


@pytest.mark.parametrize(("name", "said"), [("", "found a folder"), ("nowhere/out.csv", r"there is no .*nowhere")])
def test_an_export_is_refused_before_work_when_nothing_can_be_written_there(
    tmp_path: Path, name: str, said: str
) -> None:
    with pytest.raises(InputError, match=said):
        read_snapshot("0123456789", blobs=place(tmp_path).store.blobs, export=tmp_path / name)


def test_a_damaged_snapshot_is_named_and_not_used(file: Path, tmp_path: Path) -> None:
    info = import_data(file, blobs=place(tmp_path).store.blobs).snapshot
    data = bytearray(info.path.read_bytes())
    data[len(data) // 2] ^= 1
    info.path.write_bytes(data)
    with pytest.raises(IntegrityError, match=info.digest):
        read_snapshot(info.digest, blobs=place(tmp_path).store.blobs)
    listed, broken = list_snapshots(blobs=place(tmp_path).store.blobs)
    assert listed == []
    assert info.digest in broken[0]


@pytest.mark.parametrize(
    ("start", "said"), [("abc", "at least 8 digits"), ("0123456789", r"snapshots has no such snapshot\.")]
)
def test_a_digest_that_names_nothing_is_refused(start: str, said: str, tmp_path: Path) -> None:
    with pytest.raises(DataError, match=said):
        find_digest(start, FolderRunStore(tmp_path).blobs)


def test_the_quality_of_a_file_that_could_not_be_trained_on_is_told(file: Path, tmp_path: Path) -> None:
    lines = file.read_text().splitlines()
    lines[7] = lines[7].rsplit(",", 2)[0] + ",nan,100"
    file.write_text("\n".join(lines) + "\n")
    report = data_quality(str(file), blobs=place(tmp_path).store.blobs)
    assert not report.usable
    assert report.bad_rows == 1


def test_broken_rows_are_left_out_and_counted_where_asked(file: Path, tmp_path: Path) -> None:
    lines = file.read_text().splitlines()
    lines[7] = lines[7].rsplit(",", 2)[0] + ",nan,100"
    file.write_text("\n".join(lines) + "\n")
    with pytest.raises(DataError, match="close"):
        import_data(file, blobs=place(tmp_path).store.blobs)
    report = import_data(file, blobs=place(tmp_path).store.blobs, drop_bad=True).to_json()
    assert (report["rows_read"], report["rows_dropped"], report["bars"]) == (300, 1, 299)
    assert report["dropped"]


def test_a_column_mapping_is_ours_equals_theirs(file: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="ours=theirs"):
        import_data(file, blobs=place(tmp_path).store.blobs, columns=["timestamp"])
    assert import_data(file, blobs=place(tmp_path).store.blobs, columns=["timestamp=Date"]).snapshot.bars == 300


def test_bars_that_are_stamped_at_their_close_are_pointed_out_and_moved(tmp_path: Path) -> None:
    path, blobs = tmp_path / "closes.csv", place(tmp_path).store.blobs
    rows = (f"{3_600_000 * hour},2,3,1,2,5\n" for hour in range(1, 73))
    path.write_text("timestamp,open,high,low,close,volume\n" + "".join(rows))
    assert "times look like closes" in import_data(path, blobs=blobs, time_unit="ms").to_json()["stamp"]
    assert import_data(path, blobs=blobs, time_unit="ms", stamp="close").to_json()["stamp"] == ""
    assert data_quality(str(path), blobs=blobs, time_unit="ms").stamp
    assert not data_quality(str(path), blobs=blobs, time_unit="ms", stamp="close").stamp
