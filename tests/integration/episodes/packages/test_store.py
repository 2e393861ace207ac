"""Training storage: what may enter, equal files however it came, and every damaged byte found (R9.4, R9.6)."""

from __future__ import annotations

import contextlib
import errno
import re
import subprocess
import sys
import tracemalloc
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.episodes.package_cases import LAYOUT, NOW, PLAN, market, package

from lockstep.core.errors import DataError, DiskError, IntegrityError, RefusedError
from lockstep.core.hashing import digest_columns
from lockstep.episodes.packages.batch import PackageBatch, concatenated
from lockstep.episodes.packages.build import build_packages
from lockstep.episodes.packages.layout import PackageLayout
from lockstep.episodes.packages.package import FLAGS, ModelInputPackage, PackageRules
from lockstep.episodes.packages.store import PackageStore, PackageWriter
from lockstep.storage.segment_format import FRAME_TAG, HEAD, frame_seal
from lockstep.testing.faults import Crash, CrashAt, FailAt, PowerCutAt, faults

ROOT = Path(__file__).resolve().parents[4]


def batch(n: int = 100, seed: int = 4) -> PackageBatch:
    """Candle packages, 80 % complete but the first 20, which lack features."""
    return concatenated(list(build_packages(PLAN, market(n, seed)["candles"])))


def contents(folder: Path) -> dict[str, bytes]:
    return {
        path.relative_to(folder).as_posix(): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and path.name != "lock"
    }


def stored(folder: Path, given: PackageBatch, chunk: int = 16) -> PackageWriter:
    with PackageWriter(folder, PLAN.layout(), chunk=chunk) as writer:
        writer.add_batch(given)
    return writer


def test_what_was_stored_is_loaded(tmp_path: Path) -> None:
    """R9.6: the packages that may be stored, in order, with the hashes they had."""
    given = batch()
    writer = stored(tmp_path, given)
    good = given.completeness() >= 0.8
    store = PackageStore(tmp_path)
    assert len(store) == writer.stored == np.count_nonzero(good) > 70
    loaded = concatenated(list(store.batches()))
    assert loaded.hashes()[1].tolist() == given.take(good).hashes()[1].tolist()
    assert store.problems == []
    assert store.integrity_failures == 0
    assert store.package(40) == given.take(good).package(40)
    assert store.verify() == []
    for index in (-1, len(store)):
        with pytest.raises(IndexError, match="asked for"):
            store.package(index)


def test_packages_below_the_minimum_are_counted_and_kept_out(tmp_path: Path) -> None:
    """R9.4, R9.5: enforced when a package comes, with the reason; the rule can be chosen."""
    given = batch()
    short = int(np.count_nonzero(given.completeness() < 0.8))
    assert stored(tmp_path / "a", given).quarantine.counts()["completeness"] == short > 0
    assert PackageStore(tmp_path / "a").quarantined["total"] == short
    with PackageWriter(tmp_path / "b", PLAN.layout(), rules=PackageRules(min_completeness=0.4)) as writer:
        assert writer.add_batch(given).all()
    assert len(PackageStore(tmp_path / "b")) == len(given)


def test_single_packages_are_judged_as_they_come(tmp_path: Path) -> None:
    """R9.5: validated at collection, against the clock; one that lies about its hash is an integrity failure."""
    with PackageWriter(tmp_path, LAYOUT) as writer:
        assert writer.add(package(), now_ms=NOW)
        assert not writer.add(package(), now_ms=NOW - 6_000)
        assert not writer.add(package(tick_data=None, cob_data=None, rl_state=None), now_ms=NOW)
        liar = ModelInputPackage(**package().payload(), data_hash=package().data_hash, digest="blake3:" + "0" * 64)
        assert not writer.add(liar, now_ms=NOW)
        assert writer.quarantine.integrity_failures == 1
        with pytest.raises(DataError, match="package 0: its symbol is one of"):
            writer.add(package(symbol="XRP/USDT"))
        assert writer.stored == 1
    assert [one for each in PackageStore(tmp_path).batches() for one in each.packages()] == [package()]
    assert writer.quarantine.counts() == {
        "total": 3,
        "completeness": 1,
        "valid_timestamp": 1,
        "valid_ohlcv": 0,
        "integrity": 1,
    }


def test_the_flags_of_then_are_kept(tmp_path: Path) -> None:
    """R9.6: a shape that the rules of collection refused is known later, when nobody knows those rules."""
    rules = PackageRules(cnn_shape=(4, 8), max_package_age_s=60.0)
    with PackageWriter(tmp_path, LAYOUT, rules=rules) as writer:
        assert writer.add(package(), now_ms=NOW)
        assert writer.add(package(cnn_features=np.full((4, 8), 0.25, np.float32), current_price=50.0), now_ms=NOW)
    store = PackageStore(tmp_path)
    sound = dict.fromkeys(FLAGS, True)
    assert store.flags(0) == {**sound, "valid_cnn_features": False}
    assert store.flags(1) == {**sound, "consistent_price": False}
    with pytest.raises(IndexError, match="asked for 2"):
        store.flags(2)


def test_equal_packages_make_equal_files_however_they_came(tmp_path: Path) -> None:
    """Incremental and batch: the same bytes on disk, one by one, in pieces of seven, or all at once."""
    given = batch()
    stored(tmp_path / "whole", given)
    with PackageWriter(tmp_path / "pieces", PLAN.layout(), chunk=16) as writer:
        for at in range(0, len(given), 7):
            writer.add_batch(given.take(slice(at, at + 7)))
    with PackageWriter(tmp_path / "single", PLAN.layout(), chunk=16) as writer:
        for one in given.packages():
            writer.add(one)
    with PackageWriter(tmp_path / "mixed", PLAN.layout(), chunk=16) as writer:
        for one in given.take(slice(0, 41)).packages():
            writer.add(one)
        writer.add_batch(given.take(slice(41, None)))
    expected = contents(tmp_path / "whole")
    for name in ("pieces", "single", "mixed"):
        assert contents(tmp_path / name) == expected


def test_a_store_is_continued(tmp_path: Path) -> None:
    """Two sittings that end at a chunk's end equal one."""
    given = batch().take(batch().completeness() >= 0.8).take(slice(0, 64))
    stored(tmp_path / "once", given)
    for part in (slice(0, 32), slice(32, 64)):
        stored(tmp_path / "twice", given.take(part))
    assert contents(tmp_path / "once") == contents(tmp_path / "twice")
    assert PackageStore(tmp_path / "once").digest == PackageStore(tmp_path / "twice").digest


def test_what_a_crash_left_behind_the_index_is_cut(tmp_path: Path) -> None:
    """Frames that no index counts are not there, and writing goes on where it is sound."""
    given = batch().take(batch().completeness() >= 0.8).take(slice(0, 64))
    stored(tmp_path / "once", given)
    stored(tmp_path / "killed", given.take(slice(0, 32)))
    with contextlib.suppress(Crash), PackageWriter(tmp_path / "killed", PLAN.layout(), chunk=16) as writer:
        writer.add_batch(given.take(slice(32, 64)))
        raise Crash
    assert len(PackageStore(tmp_path / "killed")) == 32
    assert PackageStore(tmp_path / "killed").verify() == []
    with next((tmp_path / "killed" / "segments").glob("cnn_features*")).open("ab") as torn:
        torn.write(b"half a frame")
    stored(tmp_path / "killed", given.take(slice(32, 64)))
    assert contents(tmp_path / "once") == contents(tmp_path / "killed")


def test_one_writer_at_a_time(tmp_path: Path) -> None:
    place = re.escape(str(tmp_path))
    message = (
        rf"one process at a time writes a store of packages; {place} is being written by process \d+ on .+\. "
        r"Wait for it to end, or choose another folder\."
    )
    with PackageWriter(tmp_path, LAYOUT), pytest.raises(RefusedError, match=message) as told:
        PackageWriter(tmp_path, LAYOUT)
    assert "a run" not in str(told.value)
    with PackageWriter(tmp_path, LAYOUT):
        pass


def test_every_flipped_byte_of_a_frame_is_found_and_its_packages_are_not_used(tmp_path: Path) -> None:
    """R9.6: ten bytes of every file, flipped one at a time; what is given out is always what was stored."""
    given = batch().take(batch().completeness() >= 0.8)
    stored(tmp_path, given)
    good = {one.digest for one in given.packages()}
    rng = np.random.Generator(np.random.Philox(1))
    for path in sorted((tmp_path / "segments").iterdir()):
        whole = path.read_bytes()
        for at in rng.integers(0, len(whole), 10).tolist():
            path.write_bytes(whole[:at] + bytes([whole[at] ^ 4]) + whole[at + 1 :])
            store = PackageStore(tmp_path)
            loaded = [one for each in store.batches() for one in each.packages()]
            assert store.problems, (path.name, at)
            assert len(loaded) + store.integrity_failures == len(store) == len(given)
            assert {one.digest for one in loaded} <= good
        path.write_bytes(whole)
    assert PackageStore(tmp_path).verify() == []


def test_a_package_changed_with_all_its_seals_is_still_found(tmp_path: Path) -> None:
    """R9.6: a row rewritten, its frame sealed anew: the package's own hashes say no, the others are given out."""
    given = batch().take(batch().completeness() >= 0.8).take(slice(0, 16))
    stored(tmp_path, given)
    path = tmp_path / "segments" / "rl_state.000000.seg"
    data = path.read_bytes()
    at = data.index(FRAME_TAG)
    head, rows = data[at : at + HEAD.size], int(HEAD.unpack(data[at : at + HEAD.size])[2])
    body = np.frombuffer(data, "<f4", rows * 8, at + HEAD.size).reshape(rows, 8).copy()
    body[5, 0] += 1.0
    seal = frame_seal(head, digest_columns({"rows": body}))
    path.write_bytes(data[: at + HEAD.size] + body.tobytes() + seal)
    store = PackageStore(tmp_path)
    (loaded,) = store.batches()
    assert store.integrity_failures == 1
    assert "1 packages do not match their hashes, the first of BTC/USDT at" in store.problems[0]
    assert [one.digest for one in loaded.packages()] == [
        one.digest for index, one in enumerate(given.packages()) if index != 5
    ]
    with pytest.raises(IntegrityError, match="package 5 does not match its hashes"):
        store.package(5)


def test_frames_that_changed_places_or_are_gone_are_found(tmp_path: Path) -> None:
    """The chain over all frames: sound frames of another store, or none, are no substitute."""
    given = batch().take(batch().completeness() >= 0.8)
    stored(tmp_path / "a", given.take(slice(0, 32)))
    stored(tmp_path / "b", given.take(slice(16, 48)))
    for path in (tmp_path / "b" / "segments").iterdir():
        (tmp_path / "a" / "segments" / path.name).write_bytes(path.read_bytes())
    assert PackageStore(tmp_path / "a").verify() == [
        f"{tmp_path / 'a'}: the frames are not those that were written. Restore them from a copy."
    ]
    (tmp_path / "b" / "segments" / "rl_state.000000.seg").unlink()
    store = PackageStore(tmp_path / "b")
    assert len(store.verify()) == 2
    assert store.integrity_failures == 32


def test_a_damaged_index_and_a_missing_store_are_named(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="there is no store of packages here"):
        PackageStore(tmp_path)
    stored(tmp_path, batch())
    index = tmp_path / "store.json"
    index.write_bytes(index.read_bytes().replace(b'"packages":', b'"packages" :', 1))
    with pytest.raises(IntegrityError, match=r"store\.json"):
        PackageStore(tmp_path)


def test_a_store_keeps_its_layout(tmp_path: Path) -> None:
    stored(tmp_path, batch())
    with pytest.raises(DataError, match="another layout"):
        PackageWriter(tmp_path, LAYOUT)
    stored(tmp_path, batch())  # the lock was given back
    with PackageWriter(tmp_path / "b", LAYOUT) as writer, pytest.raises(DataError, match="the layout of the store"):
        writer.add_batch(batch())
    with pytest.raises(DataError, match="chunk is a whole number"):
        PackageWriter(tmp_path / "c", LAYOUT, chunk=0)


def test_symbols_share_a_store(tmp_path: Path) -> None:
    from dataclasses import replace

    symbols = ("BTC/USDT", "ETH/USDT")
    plans = [replace(PLAN, symbol=symbol, symbols=symbols) for symbol in symbols]
    assert PackageLayout.from_json(plans[0].layout().to_json()) == plans[1].layout()
    with PackageWriter(tmp_path, plans[0].layout()) as writer:
        for seed, plan in enumerate(plans):
            for each in build_packages(plan, market(60, seed)["candles"]):
                writer.add_batch(each)
    found = [one.symbol for each in PackageStore(tmp_path).batches() for one in each.packages()]
    assert set(found) == set(symbols)


@pytest.mark.parametrize(
    "make", [lambda n: FailAt(n, errno.ENOSPC), CrashAt, PowerCutAt], ids=["full", "kill", "power"]
)
def test_stopped_at_any_call_a_store_is_sound_and_goes_on(tmp_path: Path, make: Any) -> None:
    """Every n-th call fails, kills the process or cuts the power: what the index counts is there, writing goes on."""
    given = batch().take(batch().completeness() >= 0.8).take(slice(0, 48))
    stored(tmp_path / "sound", given)
    expected = contents(tmp_path / "sound")
    stopped, n = 0, 1
    while True:
        folder = tmp_path / f"n{n}"
        with faults(make(n)) as disk:
            try:
                stored(folder, given)
            except (DiskError, Crash):
                stopped += 1
            if isinstance(disk, PowerCutAt):
                disk.cut()
        done = 0
        if (folder / "store.json").exists():
            assert PackageStore(folder).verify() == []
            done = len(PackageStore(folder))
        assert done in (0, 48)
        if done == 0:
            stored(folder, given)
        assert contents(folder) == expected
        if disk.calls < n:
            break
        n += 4
    assert stopped > 10


def peak_of(folder: Path, count: int, given: Any) -> int:
    """Most bytes held at once while `count` packages are built, stored, loaded and verified."""
    moments = given["1h"].close_time[-count:] + PLAN.latency_ms
    tracemalloc.start()
    try:
        with PackageWriter(folder, PLAN.layout(), chunk=256) as writer:
            for each in build_packages(PLAN, given, moments=moments, chunk=256):
                writer.add_batch(each)
        assert PackageStore(folder).verify() == []
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def test_memory_does_not_grow_with_the_number_of_packages(tmp_path: Path) -> None:
    """Of the same candles, 3,200 packages need no more memory than 800: one chunk at a time."""
    given = market(3_600, 2)["candles"]
    peak_of(tmp_path / "warm", 300, given)
    few, many = (peak_of(tmp_path / str(count), count, given) for count in (800, 3_200))
    assert many < 1.25 * few


@pytest.mark.long
def test_a_million_packages_are_stored_and_verified_in_bounded_memory(tmp_path: Path) -> None:
    """A million packages, in a process of its own: less than 200 MiB beyond the candles (65 MiB were measured)."""
    text = subprocess.run(
        [sys.executable, "-m", "bench.packages", "--million"], capture_output=True, text=True, check=True, cwd=ROOT
    ).stdout
    found = re.search(r"([\d,]+) stored, ([\d,]+) in quarantine, 0 problems; .* of which ([\d,]+) MiB came", text)
    assert found, text
    stored_count, kept_out, beyond = (int(group.replace(",", "")) for group in found.groups())
    assert stored_count + kept_out == 1_000_000
    assert beyond < 200
