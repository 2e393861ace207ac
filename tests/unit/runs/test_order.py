"""Which run came last, and which have to agree."""

from __future__ import annotations

import shutil

from lockstep.runs.order import in_order, note_arrival
from lockstep.runs.store import FolderRunStore, new_run_id
from lockstep.runs.twins import twins_of
from lockstep.testing.contracts.run_store import complete, create


class Clock:
    """A clock that shows what it is set to."""

    def __init__(self):
        self.now = 1_790_000_000_000

    def utc_ms(self):
        self.now += 5_000
        return self.now

    def monotonic(self):
        return 0.0


def test_last_is_the_run_that_came_last_also_after_a_clock_that_stood_in_the_future(tmp_path):
    clock = Clock()
    store = FolderRunStore(tmp_path, clock=clock)
    first = create(store)
    clock.now += 10**12
    future = create(store)
    clock.now -= 10**12
    newest = create(store)
    assert store.find("last").path == newest.path
    assert [row.run_id for row in store.list()] == [path.path.name for path in (first, future, newest)]


def test_runs_that_the_order_lacks_come_first_by_id_and_odd_lines_mean_nothing(tmp_path):
    old, new, noted = (new_run_id(1_790_000_000_000 + i) for i in range(3))
    note_arrival(tmp_path, old)
    with (tmp_path / "order").open("ab") as handle:
        handle.write(b"\xff\xfe\ngone\n")
    note_arrival(tmp_path, noted)
    assert in_order(tmp_path, [noted, new, old]) == [new, old, noted]


def test_an_alarm_is_raised_whatever_became_of_the_cache(tmp_path):
    store = FolderRunStore(tmp_path)
    one, two = complete(store, seed=1, drawn=1), complete(store, seed=1, drawn=2)
    for _ in range(2):
        assert two.path.name in store.alarm(one.path.name)
        shutil.rmtree(tmp_path / "cache")
    complete(store, seed=3, drawn=3)
    assert store.alarm(store.find("last").path.name) is None


def test_what_the_cache_says_is_asked_of_the_sealed_manifests(tmp_path):
    """An entry only says where to look."""
    store = FolderRunStore(tmp_path)
    one, other = complete(store, seed=1, drawn=1), complete(store, seed=2, drawn=2)
    name = one.read("manifest")["fingerprint"]
    (tmp_path / "cache" / "fingerprints" / name / other.path.name).mkdir()
    (tmp_path / "cache" / "fingerprints" / name / "20260101T000000000-abcdef").mkdir()
    assert store.alarm(one.path.name) is None


def test_a_run_copied_in_by_hand_counts_from_the_next_list_on(tmp_path):
    store, elsewhere = FolderRunStore(tmp_path / "a"), FolderRunStore(tmp_path / "b")
    one, two = complete(store, seed=1, drawn=1), complete(elsewhere, seed=1, drawn=2)
    assert store.alarm(one.path.name) is None
    shutil.copytree(two.path, store.runs / two.path.name)
    assert all(row.alarm is not None for row in store.list())
    assert two.path.name in store.alarm(one.path.name)


def test_a_home_without_a_cache_makes_one(tmp_path):
    runs = [("a", "f" * 64), ("b", "e" * 64), ("c", "f" * 64), ("d", None)]
    assert twins_of(tmp_path, "f" * 64, lambda: runs) == ["a", "c"]
    assert twins_of(tmp_path, "f" * 64, list) == ["a", "c"], "from the cache"


def test_a_changed_tag_or_a_damaged_cache_is_seen_in_the_list(tmp_path):
    store = FolderRunStore(tmp_path)
    run = complete(store).path
    assert [row.tags for row in store.list()] == [()]
    store.tag(run.name, "good")
    assert [row.tags for row in store.list()] == [("good",)]
    cache = tmp_path / "cache" / "runs.json"
    cache.write_bytes(cache.read_bytes().replace(b"good", b"evil"))
    assert [row.tags for row in store.list()] == [("good",)]
    (run / "MANIFEST.json").write_bytes(b"{}")
    assert store.list()[0].problem is not None
