"""Books on disk: every byte comes back, none that changed is used, a crash leaves the old book or the new one."""

from __future__ import annotations

import contextlib
import errno
import itertools
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tests.unit.episodes.episode_cases import book as some_book
from tests.unit.episodes.episode_cases import episode, scored
from tests.unit.episodes.episode_markets import collected, plan, trending

from lockstep.core.errors import DataError, DiskError, IntegrityError, RefusedError
from lockstep.episodes import columns as episodes_columns
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.collect import collect_episodes
from lockstep.episodes.columns import DTYPES, RowsById, Texts
from lockstep.episodes.outcomes import Action, OutcomeRules, OutcomeTracker, outcome_of
from lockstep.testing.faults import Crash, CrashAt, FailAt, faults


def same(one: EpisodeBook, other: EpisodeBook) -> bool:
    rows = np.arange(len(one))
    equal = [one.column(name).tobytes() == other.column(name).tobytes() for name in DTYPES if name != "package"]
    return all(equal) and one.symbols == other.symbols and one.ids(rows) == other.ids(rows)


def test_a_book_comes_back_as_it_was_packages_predictions_and_report_too(tmp_path: Path) -> None:
    """R9.6, R9.9: numbers to the last bit, packages by their hashes, the ranking with its ties."""
    mine = collected(200)
    (open_row,) = np.flatnonzero(~mine.column("outcome_validated"))[-1:]
    mine.settle(mine.ids([open_row])[0], outcome_of(Action.BUY, 100.0, 105.0), market_return=0.05)
    mine.count_rows([3, 3, 7])
    expected = list(mine)
    mine.save(tmp_path / "book")
    again = EpisodeBook.open(tmp_path / "book")
    again.check_valid()
    assert same(mine, again)
    assert list(again) == expected
    assert again.report == mine.report
    assert [one.episode_id for one in again.ranked()] == [one.episode_id for one in mine.ranked()]
    assert again[mine.ids([3])[0]].training_count == 2


def test_episodes_that_brought_their_packages_are_kept_with_them(tmp_path: Path) -> None:
    """A book made by hand: packages of two symbols, lists and text among the predictions."""
    mine = some_book()
    mine.add(episode("said", predictions={"cnn": {"action": 2, "why": ["pivot", 0.5]}}, market_return=-0.01))
    expected = list(mine)
    mine.save(tmp_path)
    assert list(mine) == list(EpisodeBook.open(tmp_path)) == expected
    assert mine["said"].predictions["cnn"]["why"] == ["pivot", 0.5]
    assert mine["said"].package == expected[-1].package


def test_saving_twice_leaves_one_generation_and_what_is_new(tmp_path: Path) -> None:
    mine = collected(120, folder=tmp_path)
    first = mine.ids([0])[0]
    mine.count_rows([0])
    mine.save(tmp_path)
    assert len(list((tmp_path / "columns").iterdir())) == 1
    assert EpisodeBook.open(tmp_path)[first].training_count == 1


@pytest.mark.parametrize("name", ["book.json", "episodes", "episode_id", "predictions"])
def test_no_byte_of_a_book_may_change(tmp_path: Path, name: str) -> None:
    """R9.6: a flipped byte, at twenty places of each file, is never read as an episode."""
    collected(120, folder=tmp_path)
    (path,) = [item for item in tmp_path.rglob(f"{name}*") if item.is_file() and "packages" not in item.parts]
    content = path.read_bytes()
    for place in np.linspace(0, len(content) - 1, 20).astype(int).tolist():
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(IntegrityError):
            EpisodeBook.open(tmp_path)
    path.write_bytes(content[:-9])
    with pytest.raises(IntegrityError):
        EpisodeBook.open(tmp_path)
    path.write_bytes(content)
    assert len(EpisodeBook.open(tmp_path)) == 75


def test_a_damaged_package_is_not_given_out_and_names_its_cure(tmp_path: Path) -> None:
    """R9.6: packages are checked when they are read."""
    collected(120, folder=tmp_path)
    (path,) = (tmp_path / "packages" / "segments").glob("cnn_features*")
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    mine = EpisodeBook.open(tmp_path)
    with pytest.raises(IntegrityError, match="copy"):
        list(mine)


def test_another_books_packages_are_noticed(tmp_path: Path) -> None:
    collected(120, folder=tmp_path / "a")
    collected(120, seed=2, folder=tmp_path / "b")
    shutil.rmtree(tmp_path / "a" / "packages")
    shutil.copytree(tmp_path / "b" / "packages", tmp_path / "a" / "packages")
    with pytest.raises(IntegrityError, match="not those of the book's episodes"):
        EpisodeBook.open(tmp_path / "a").ranked(limit=1)


def test_killed_at_any_call_to_the_file_system_the_folder_holds_the_old_book_or_the_new_one(tmp_path: Path) -> None:
    """Every call of a save in turn."""
    old = collected(60, folder=tmp_path / "old")
    struck = 0
    for n in itertools.count(1):
        folder = tmp_path / str(n)
        shutil.copytree(tmp_path / "old", folder)
        mine = EpisodeBook.open(folder)
        mine.count_rows([5])
        with contextlib.suppress(Crash), faults(CrashAt(n)) as disk:
            mine.save(folder)
        found = EpisodeBook.open(folder)
        assert same(found, old) or same(found, mine), f"crashed at call {n}"
        if not disk.struck:
            break
        struck += 1
        mine.save(folder)
        assert same(EpisodeBook.open(folder), mine)
        shutil.rmtree(folder)
    assert struck > 5


def test_a_full_disk_is_an_error_and_the_book_in_memory_goes_on(tmp_path: Path) -> None:
    mine = collected(60)
    for n in itertools.count(1, 3):
        folder = tmp_path / str(n)
        with faults(FailAt(n, errno.ENOSPC, lasting=True)) as disk, contextlib.suppress(DiskError):
            mine.save(folder)
        if not disk.struck:
            break
        assert mine.ranked(limit=1)[0].package is not None
    assert same(EpisodeBook.open(folder), mine)
    assert n > 4


def test_a_folder_goes_on_with_another_symbol_and_refuses_what_does_not_fit(tmp_path: Path) -> None:
    both = ("BTC/USDT", "ETH/USDT")
    collect_episodes(trending(90), plan=plan(symbols=both), folder=tmp_path)
    later = trending(90, seed=3, symbol="ETH/USDT")
    mine = collect_episodes(later, plan=plan("ETH/USDT", symbols=both), folder=tmp_path)
    assert mine.symbols == both
    assert mine.report is not None
    assert mine.report.packages == 180
    assert {one.symbol for one in EpisodeBook.open(tmp_path)} == set(both)
    with pytest.raises(DataError, match="an episode's id is unique"):
        collect_episodes(later, plan=plan("ETH/USDT", symbols=both), folder=tmp_path)
    with pytest.raises(DataError, match="another layout"):
        collect_episodes(trending(90, symbol="XRP/USDT"), folder=tmp_path)
    with pytest.raises(DataError, match="holds another book"):
        collected(60).save(tmp_path)
    with pytest.raises(DataError, match="no book of episodes"):
        EpisodeBook.open(tmp_path / "none")


def test_validated_outcomes_are_final_in_columns_too() -> None:
    mine = collected(90)
    rows = np.flatnonzero(mine.column("outcome_validated"))[:1]
    columns = {name: mine.column(name)[rows] for name in DTYPES}
    with pytest.raises(RefusedError, match="never changes"):
        mine.settle_rows(rows, columns)


def test_ids_are_found_among_very_many_and_equal_hashes_harm_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixteen hashes for three hundred ids: the texts decide."""
    monkeypatch.setattr(episodes_columns, "_hash", lambda text: sum(text) % 16)
    monkeypatch.setattr(episodes_columns, "_RECENT", 50)
    ids = Texts()
    rows = RowsById(ids)
    for start in range(0, 300, 30):
        names = [f"episode {number}".encode() for number in range(start, start + 30)]
        rows.add(names, start)
        ids.extend(names)
    rows.check_valid()
    assert rows.find(b"episode 301") == -1
    with pytest.raises(DataError, match="'episode 7' is taken"):
        rows.add([b"new", b"episode 7"], 300)
    with pytest.raises(DataError, match="'new' is taken"):
        rows.add([b"new", b"new"], 300)
    assert rows.find(b"new") == -1


def test_a_hundred_thousand_episodes_take_bytes_not_objects() -> None:
    """Columns: 87 bytes of numbers, the texts and where they end, room to grow; 300 bytes each are never reached."""
    mine = EpisodeBook()
    n = 100_000
    mine.symbol_code("BTC/USDT")
    for start in range(0, n, 10_000):
        columns: dict[str, Any] = {name: np.zeros(10_000, dtype) for name, dtype in DTYPES.items()}
        columns["created_at"] = np.arange(start, start + 10_000)
        columns["package"] = np.full(10_000, -1)
        names = [f"BTC/USDT@{number}" for number in range(start, start + 10_000)]
        mine.add_columns(names, columns, [{"action": 2}] * 10_000)
    assert mine.nbytes / n < 300
    assert mine["BTC/USDT@77777"].created_at == 77_777
    assert [one.created_at for one in mine.ranked(limit=3)] == [n - 1, n - 2, n - 3]


def test_a_tracker_comes_back_from_disk_and_settles_the_same(tmp_path: Path) -> None:
    """R9.8: what was pending when the process ended is measured as if it never had."""
    rules = OutcomeRules(horizon_s=60.0, max_delay_s=30.0)
    whole, cut = OutcomeTracker(rules), OutcomeTracker(rules)
    found: dict[str, list[Any]] = {"whole": [], "cut": []}
    for moment in range(0, 600_000, 7_000):
        price = 100.0 + (moment % 90_000) / 9_000
        for name, tracker in (("whole", whole), ("cut", cut)):
            found[name] += tracker.observe(moment, price)
            tracker.predict(f"at {moment}", moment, moment % 3)
        cut.save(tmp_path / "outcomes.json")
        cut = OutcomeTracker.load(tmp_path / "outcomes.json")
    assert cut.pending == whole.pending > 0
    assert found["cut"] == found["whole"]
    assert len(found["whole"]) > 70
    with pytest.raises(DataError, match="Give it those rules"):
        OutcomeTracker().set_state(cut.get_state())
    path = tmp_path / "outcomes.json"
    path.write_bytes(path.read_bytes().replace(b"at 595000", b"at 595001"))
    with pytest.raises(IntegrityError, match="digest does not match"):
        OutcomeTracker.load(path)


def test_what_breaks_a_rule_is_named() -> None:
    mine = EpisodeBook()
    with pytest.raises(DataError, match="predictions are numbers and text by name"):
        mine.add(episode(predictions={"cnn": object()}))
    with pytest.raises(DataError, match="found lengths"):
        mine.add_columns(["a"], {name: np.zeros(2) for name in DTYPES}, [{}])
    assert len(mine) == 0
    mine.add(episode(outcome=scored(0.5)))
    mine._numbers["completeness"][0] = 1.5
    with pytest.raises(DataError, match=r"row 0: completeness is in \[0, 1\]; found .*1.5"):
        mine.check_valid()
