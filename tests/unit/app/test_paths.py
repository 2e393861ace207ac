"""No command writes where runs lie."""

from __future__ import annotations

from pathlib import Path

import pytest

from lockstep.app.paths import require_outside_runs, require_writable_name
from lockstep.core.errors import InputError
from lockstep.runs.folder import RunFolder
from lockstep.runs.store import FolderRunStore
from lockstep.testing.contracts.run_store import complete


@pytest.fixture
def run(tmp_path: Path) -> RunFolder:
    return complete(FolderRunStore(tmp_path / "home"))


@pytest.mark.parametrize("name", ["x.zip", "artifacts/best_trades.csv", "segments/../x.csv", "code/a/b/c.csv"])
def test_a_file_in_a_runs_folder_is_refused(run: RunFolder, name: str) -> None:
    with pytest.raises(InputError, match="lies in the folder of a run"):
        require_writable_name(run.path / name, "--trades")


def test_a_link_into_a_runs_folder_is_refused(run: RunFolder, tmp_path: Path) -> None:
    (tmp_path / "out").symlink_to(run.artifacts)
    with pytest.raises(InputError, match="lies in the folder of a run"):
        require_writable_name(tmp_path / "out" / "x.csv", "--export")


def test_the_place_of_a_snapshot_is_refused(run: RunFolder, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="the place of a snapshot"):
        require_outside_runs(tmp_path / "home" / "snapshots" / f"{'a' * 64}.arrow")


def test_a_place_beside_runs_is_free(run: RunFolder, tmp_path: Path) -> None:
    for path in (run.path.with_name("x.zip"), tmp_path / "x.zip"):
        require_writable_name(path, "an export")
        assert not path.exists(), "asked, not written"
