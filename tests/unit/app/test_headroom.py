"""What a training needs beside what is free: told before its first step, never a reason not to try."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import lockstep as ls
from lockstep.app.headroom import Headroom
from lockstep.runs.kind import Estimate, Prepared

SPEC: dict[str, Any] = {
    "kind": "strategy",
    "data": {"source": "sample", "last": 300},
    "strategy": {"name": "liquidity_sweep", "space": {"pierce_depth": {"low": 0.00005, "high": 0.0005}}},
    "market": {"symbol": "EUR/USD"},
    "search": {"n_iterations": 2, "batch_size": 2, "min_trades": 1},
}


def test_only_what_is_known_to_exceed_what_is_free_is_short() -> None:
    free = Headroom(memory=100, disk=100)
    assert free.shortages(Estimate(memory_bytes=100, disk_bytes=100)) == []
    assert free.shortages(Estimate(memory_bytes=101, disk_bytes=101)) == ["memory", "disk"]
    assert free.shortages(Estimate()) == []
    assert Headroom(memory=None, disk=1).shortages(Estimate(memory_bytes=9)) == []


def test_the_disk_of_a_home_that_is_not_there_yet_is_that_of_its_parent(tmp_path: Path) -> None:
    assert Headroom.at(tmp_path / "a" / "b").disk == pytest.approx(shutil.disk_usage(tmp_path).free, rel=0.01)


@pytest.mark.parametrize(("free", "warned"), [(1 << 50, 0), (10, 1)])
def test_a_run_warns_where_the_disk_is_smaller_than_its_estimate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, free: int, warned: int
) -> None:
    """The run is announced with the warning, and made all the same."""
    monkeypatch.setattr(Headroom, "at", classmethod(lambda cls, home: cls(memory=1 << 50, disk=free)))
    announced: list[Prepared] = []
    result = ls.train(SPEC, home=tmp_path / "home", announce=announced.append)
    lines = [note for note in announced[0].notes if note.startswith("warning: ")]
    assert len(lines) == warned
    assert all("on disk, and 10 bytes are free" in line and "--home" in line for line in lines)
    assert result.status == "complete"
