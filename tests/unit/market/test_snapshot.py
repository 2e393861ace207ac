from __future__ import annotations

import errno
from pathlib import Path

import numpy as np
import pyarrow as pa
import pytest
from blake3 import blake3
from tests.unit.market.bars import HOUR, candles, columns, walk

from lockstep.core import canonical, files
from lockstep.core.errors import DataError, DiskError, IntegrityError
from lockstep.market.candles import Candles
from lockstep.market.snapshot import SUFFIX, open_snapshot, write_snapshot
from lockstep.storage.blobs import FolderBlobStore


def stored(bars: Candles, folder: Path) -> Path:
    """The file of a snapshot that was written into `folder`."""
    blobs = FolderBlobStore(folder)
    return blobs.path(write_snapshot(bars, blobs), SUFFIX)


def test_a_snapshot_lies_under_its_digest_and_gives_the_same_candles_back(tmp_path: Path) -> None:
    bars = candles(50, symbol="BTC/USDT", exchange="kraken", source="a.csv", extra={"funding": np.arange(50.0)})
    blobs = FolderBlobStore(tmp_path / "snapshots")
    assert write_snapshot(bars, blobs) == bars.digest
    assert [entry.name for entry in blobs.folder.iterdir()] == [f"{bars.digest}.arrow"]
    opened = open_snapshot(blobs, bars.digest)
    assert opened == bars
    assert (opened.symbol, opened.exchange, opened.source) == ("BTC/USDT", "kraken", "a.csv")
    assert opened.extra["funding"].tolist() == bars.extra["funding"].tolist()


def test_an_opened_snapshot_is_mapped_not_copied(tmp_path: Path) -> None:
    bars = walk(1_000, seed=1)
    write_snapshot(bars, FolderBlobStore(tmp_path))
    opened = open_snapshot(FolderBlobStore(tmp_path), bars.digest)
    assert not opened.close.flags.owndata
    assert not opened.close.flags.writeable
    part = opened.slice(10, 20)
    assert np.shares_memory(part.close, opened.close)


def test_a_flip_of_any_byte_is_found(tmp_path: Path) -> None:
    bars = candles(8)
    path = stored(bars, tmp_path)
    sound = path.read_bytes()
    for at in range(len(sound)):
        damaged = bytearray(sound)
        damaged[at] ^= 0x10
        path.write_bytes(damaged)
        with pytest.raises(IntegrityError):
            open_snapshot(FolderBlobStore(tmp_path), bars.digest)
    path.write_bytes(sound)
    assert open_snapshot(FolderBlobStore(tmp_path), bars.digest) == bars


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_cut_file_is_found(tmp_path: Path, length: int) -> None:
    bars = candles(8)
    path = stored(bars, tmp_path)
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(IntegrityError):
        open_snapshot(FolderBlobStore(tmp_path), bars.digest)


def test_a_sound_file_under_another_name_is_refused(tmp_path: Path) -> None:
    path = stored(candles(8), tmp_path)
    other = candles(9).digest
    path.rename(tmp_path / f"{other}.arrow")
    with pytest.raises(IntegrityError, match="not the file's name"):
        open_snapshot(FolderBlobStore(tmp_path), other)


def test_a_missing_snapshot_and_a_false_digest_are_input_errors(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no such snapshot"):
        open_snapshot(FolderBlobStore(tmp_path), "0" * 64)
    with pytest.raises(DataError, match=r"64 hexadecimal digits; found '../etc/passwd'"):
        open_snapshot(FolderBlobStore(tmp_path), "../etc/passwd")


def test_writing_twice_leaves_the_file_and_replaces_a_damaged_one(tmp_path: Path) -> None:
    bars = candles(8)
    path = stored(bars, tmp_path)
    first = path.stat().st_mtime_ns
    write_snapshot(bars, FolderBlobStore(tmp_path))
    assert path.stat().st_mtime_ns == first
    path.write_bytes(b"damaged")
    write_snapshot(bars, FolderBlobStore(tmp_path))
    assert open_snapshot(FolderBlobStore(tmp_path), bars.digest) == bars


def test_the_same_columns_with_another_timeframe_do_not_replace_what_runs_rely_on(tmp_path: Path) -> None:
    bars = columns(4, step=2 * HOUR)
    write_snapshot(Candles(**bars, timeframe_ms=2 * HOUR), FolderBlobStore(tmp_path))
    with pytest.raises(DataError, match="stored with timeframe 2h; found 1h"):
        write_snapshot(Candles(**bars, timeframe_ms=HOUR), FolderBlobStore(tmp_path))


def test_no_candles_make_no_snapshot(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="at least one candle"):
        write_snapshot(candles(3).head(0), FolderBlobStore(tmp_path))


def test_a_full_disk_leaves_nothing_half_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Full(files.FileSystem):
        def write(self, descriptor: int, data: object) -> int:
            raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(files, "fs", Full())
    with pytest.raises(DiskError, match="disk is full"):
        write_snapshot(candles(8), FolderBlobStore(tmp_path))
    assert list(tmp_path.iterdir()) == []


def forged(path: Path, table: pa.Table) -> None:
    """A file with a right seal around whatever the table holds."""
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)
    data = sink.getvalue().to_pybytes()
    blank = b"lockstep-seal:" + b"0" * 64
    path.write_bytes(data.replace(blank, b"lockstep-seal:" + blake3(data).hexdigest().encode()))


def metadata(**about: object) -> dict[str, bytes]:
    known = {"format": 1, "timeframe_ms": HOUR, "symbol": None, "exchange": None, "source": None}
    return {"lockstep": canonical.dumps({**known, **about}), "seal": b"lockstep-seal:" + b"0" * 64}


def test_a_sealed_file_of_something_else_is_refused(tmp_path: Path) -> None:
    bars = columns(8)
    digest = candles(8).digest
    path = tmp_path / f"{digest}.arrow"
    for table, message in [
        (pa.table(bars).replace_schema_metadata(metadata(format=2)), "snapshot format 2 is unknown"),
        (pa.table(bars).replace_schema_metadata({"seal": metadata()["seal"]}), "the file is no snapshot"),
        (
            pa.table({**bars, "close": bars["low"] - 5}).replace_schema_metadata(metadata()),
            "the columns are no candles",
        ),
        (pa.table({"timestamp": bars["timestamp"]}).replace_schema_metadata(metadata()), "the columns are no candles"),
        (pa.table({**bars, "close": bars["open"]}).replace_schema_metadata(metadata()), "not the file's name"),
        (pa.table(bars).replace_schema_metadata({}), "bears no seal"),
    ]:
        forged(path, table)
        with pytest.raises(IntegrityError, match=message):
            open_snapshot(FolderBlobStore(tmp_path), digest)
    forged(path, pa.table(bars).replace_schema_metadata(metadata()))
    assert open_snapshot(FolderBlobStore(tmp_path), digest) == candles(8)


def test_a_folder_in_the_place_of_a_snapshot_is_called_one(tmp_path: Path) -> None:
    digest = candles(8).digest
    (tmp_path / f"{digest}.arrow").mkdir()
    with pytest.raises(IntegrityError, match=r"has to be a file of data; found a folder\. Move it away"):
        open_snapshot(FolderBlobStore(tmp_path), digest)
