"""One folder, several at work: a market being collected, networks being trained, somebody who reads."""

from __future__ import annotations

import contextlib
import errno
import re
import shutil
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from tests.unit.episodes.episode_cases import scored
from tests.unit.episodes.episode_markets import collected, plan, trending

from lockstep.core.errors import DataError, DiskError, IntegrityError, RefusedError
from lockstep.episodes import store as episodes_store
from lockstep.episodes.book import EpisodeBook, changing
from lockstep.episodes.collect import EpisodeCollector, collect_episodes
from lockstep.storage.lock import Words, locked
from lockstep.testing.faults import FailAt, faults


def counts(folder: Path) -> list[int]:
    return [int(count) for count in EpisodeBook.open(folder).column("training_count")]


def test_what_others_counted_meanwhile_is_kept(tmp_path: Path) -> None:
    """Both opened the same book: one counts 2 of the first, the other 1 of the first and 3 of the second."""
    collected(60, folder=tmp_path)
    one, other = EpisodeBook.open(tmp_path), EpisodeBook.open(tmp_path)
    one.count_rows([0], 2)
    one.save(tmp_path)
    other.count_rows([0, 1, 1, 1])
    other.save(tmp_path)
    assert counts(tmp_path)[:3] == [3, 3, 0]
    other.save(tmp_path)
    assert counts(tmp_path)[:3] == [3, 3, 0]


def test_a_stale_copy_never_undoes_what_was_added_or_settled(tmp_path: Path) -> None:
    """Saving it would drop the episode, or the outcome: refused, and the folder stays as it is."""
    collected(60, folder=tmp_path)
    for change in ("add", "settle"):
        stale = EpisodeBook.open(tmp_path)
        with changing(tmp_path) as book:
            if change == "add":
                book.add(replace(book[book.ids([0])[0]], episode_id="late", package=None))
            else:
                (row,) = np.flatnonzero(~book.column("outcome_validated"))[-1:]
                book.settle(book.ids([row])[0], scored(0.5))
        stale.count_rows([0])
        before = list(EpisodeBook.open(tmp_path))
        with pytest.raises(RefusedError, match="Open the book again and repeat the change"):
            stale.save(tmp_path)
        assert list(EpisodeBook.open(tmp_path)) == before
    with pytest.raises(DataError, match="the folder holds another book"):
        EpisodeBook().save(tmp_path)
    assert list(EpisodeBook.open(tmp_path)) == before


def test_a_long_collection_takes_in_what_was_counted_while_it_ran(tmp_path: Path) -> None:
    """A collector began before a training ended: afterwards the book has its episodes and the training's counts."""
    candles = trending(120)
    collect_episodes(candles.take(slice(0, 60)), plan=plan(), folder=tmp_path)
    before = len(EpisodeBook.open(tmp_path))
    collector = EpisodeCollector(plan(), folder=tmp_path)
    with changing(tmp_path) as book:
        book.count_run("a run", {book.ids([4])[0]: 5, "an episode of another book": 1})
    for index in range(len(candles)):
        values = (candles.open, candles.high, candles.low, candles.close, candles.volume)
        collector.add_candle("1m", int(candles.timestamp[index]), *(float(column[index]) for column in values))
        if index >= 60:
            collector.decide(int(candles.close_time[index]))
    collector.finish()
    assert len(EpisodeBook.open(tmp_path)) == before + 60
    assert counts(tmp_path)[:6] == [0, 0, 0, 0, 5, 0]
    assert EpisodeBook.open(tmp_path).runs == {"a run"}


def test_a_run_counts_once(tmp_path: Path) -> None:
    """R9.10: taken over twice, or after a crash between training and counting, it lowers the rank once."""
    collected(60, folder=tmp_path)
    for _ in range(2):
        with changing(tmp_path) as book:
            book.count_run("one", {book.ids([0])[0]: 5})
    assert counts(tmp_path)[:2] == [5, 0]
    with contextlib.suppress(KeyboardInterrupt), changing(tmp_path) as book:
        book.count_run("two", {book.ids([0])[0]: 5})
        raise KeyboardInterrupt
    assert counts(tmp_path)[:2] == [5, 0]


def test_a_save_that_failed_and_is_tried_again_counts_once(tmp_path: Path) -> None:
    """Others counted 5 meanwhile. They are joined before the write that fails, and must not be joined once more."""
    collected(60, folder=tmp_path)
    mine = EpisodeBook.open(tmp_path)
    with changing(tmp_path) as book:
        book.count_rows([0], times=5)
    with faults(FailAt(4, errno.ENOSPC)) as disk, pytest.raises(DiskError):
        mine.save(tmp_path)
    assert disk.struck
    mine.save(tmp_path)
    assert counts(tmp_path)[0] == 5


def test_a_book_is_read_whole_while_another_process_saves_it(tmp_path: Path) -> None:
    """Every save removes the generation before it, perhaps the one that is being read: then the next one is read."""
    collected(60, folder=tmp_path)
    code = (
        "from lockstep.episodes.book import EpisodeBook\n"
        f"book = EpisodeBook.open({str(tmp_path)!r})\n"
        "for _ in range(60):\n    book.count_rows([0])\n    book.save(book.generation.folder)\n"
    )
    writer = subprocess.Popen([sys.executable, "-c", code])
    seen = []
    while writer.poll() is None:
        seen.append(counts(tmp_path)[0])
    assert writer.returncode == 0
    assert seen == sorted(seen)
    assert counts(tmp_path)[0] == 60


def test_a_generation_that_goes_while_it_is_read_is_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The same race by hand: between the index and the columns a save comes; once it is gone for good, damage."""
    collected(60, folder=tmp_path)
    real, saved = episodes_store._read_columns, []

    def late(book: EpisodeBook, target: Path) -> str:
        if not saved:
            saved.append(True)
            with changing(tmp_path) as other:
                other.count_rows([0])
        return real(book, target)

    monkeypatch.setattr(episodes_store, "_read_columns", late)
    saved.append(True)
    stale = EpisodeBook.open(tmp_path)
    saved.clear()
    assert counts(tmp_path)[0] == 1
    assert len(stale) == len(EpisodeBook.open(tmp_path))
    for path in (tmp_path / "columns").rglob("predictions*"):
        path.unlink()
    with pytest.raises(IntegrityError, match="Restore"):
        EpisodeBook.open(tmp_path)
    shutil.rmtree(tmp_path / "columns")
    with pytest.raises(IntegrityError, match="restore"):
        EpisodeBook.open(tmp_path)


def test_a_writer_that_does_not_end_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    collected(60, folder=tmp_path)
    monkeypatch.setattr(episodes_store, "_PATIENCE_S", 0.0)
    book = EpisodeBook.open(tmp_path)
    place = re.escape(str(tmp_path))
    message = (
        rf"one process at a time writes a book of episodes; {place} is being written by process \d+ on .+\. Try ag"
    )
    with locked(tmp_path, Words("something", "Wait.")), pytest.raises(RefusedError, match=message):
        book.save(tmp_path)


def test_a_second_collection_into_a_book_is_told_of_the_book(tmp_path: Path) -> None:
    """Not of a run, and not of the packages that the first one holds on its behalf."""
    first = EpisodeCollector(plan(), folder=tmp_path)
    place = re.escape(str(tmp_path / "packages"))
    message = (
        rf"one process at a time writes a book of episodes; {place} is being written by process \d+ on .+\. "
        r"Wait for it to end, or choose another folder\."
    )
    with pytest.raises(RefusedError, match=message) as told:
        collected(60, folder=tmp_path)
    assert "a run" not in str(told.value)
    # Both cures work.
    assert len(collected(60, folder=tmp_path / "another")) > 0
    first.finish()
    assert len(collected(60, folder=tmp_path)) > 0
