"""Folders for work under way: held by a lock, cleared when nobody holds them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.core.errors import DiskError
from lockstep.storage.claims import claimed, clear_abandoned

MAKER = """
import os, sys
from pathlib import Path
from lockstep.storage.claims import claimed
with claimed(Path(sys.argv[1]), ".new-") as folder:
    print(folder.name, flush=True)
    sys.stdin.read()
    os._exit(1)
"""


def test_a_claimed_folder_is_kept_while_its_maker_lives_and_cleared_when_it_was_killed(tmp_path: Path) -> None:
    maker = subprocess.Popen(
        [sys.executable, "-c", MAKER, str(tmp_path)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert maker.stdout is not None
    folder = tmp_path / maker.stdout.readline().strip()
    clear_abandoned(tmp_path, ".new-")
    assert folder.is_dir()
    maker.communicate("")
    assert folder.is_dir()
    clear_abandoned(tmp_path, ".other-")
    assert folder.is_dir()
    clear_abandoned(tmp_path, ".new-")
    assert not folder.exists()


def test_a_claimed_folder_is_gone_after_the_block(tmp_path: Path) -> None:
    with claimed(tmp_path, ".new-") as folder:
        (folder / "run").mkdir()
        clear_abandoned(tmp_path, ".new-")
        assert (folder / "run").is_dir()
    assert list(tmp_path.iterdir()) == []


def test_a_folder_where_none_can_be_made_is_a_disk_error(tmp_path: Path) -> None:
    with pytest.raises(DiskError, match="create a folder in"), claimed(tmp_path / "nowhere", ".new-"):
        pass


def test_a_link_is_never_followed(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.mkdir()
    os.utime(target, (0, 0))
    (tmp_path / ".new-link").symlink_to(target)
    clear_abandoned(tmp_path, ".new-")
    assert target.is_dir()
