"""docs/contributing/kind.md is true: the kind that it adds to a copy of the package trains, verifies and shows."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "contributing" / "kind.md").read_text()
NEW = re.compile(r"^\*\*New file\*\* `([^`]+)`\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)
ROW = re.compile(r"^\*\*Changed\*\* `([^`]+)`\n\n```diff\n (.*?)\.\.\.\n\+(.*?\n) (.*?)\.\.\.\n```$", re.MULTILINE)
TRY = re.compile(r"^\*\*Try it\*\*\n\n```python\n(.*?)^```$", re.MULTILINE | re.DOTALL)


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    [script] = TRY.findall(PAGE)
    (tmp_path / "try_it.py").write_text(script)
    return tmp_path


def tried(copy: Path) -> subprocess.CompletedProcess[str]:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
    return subprocess.run(
        [sys.executable, "-W", "error", "try_it.py"],
        cwd=copy,
        env={**environment, "PYTHONPATH": str(copy / "src")},
        capture_output=True,
        text=True,
        check=False,
    )


def test_two_files_and_a_row_make_a_kind(copy: Path) -> None:
    files = NEW.findall(PAGE)
    assert [Path(place).name for place, _ in files] == ["spec.py", "kind.py"]
    for place, text in files:
        (copy / place).parent.mkdir(exist_ok=True)
        (copy / place).write_text(text)
    [(place, above, row, below)] = ROW.findall(PAGE)
    table = (copy / place).read_text()
    spot = re.compile(rf"^({re.escape(above)}[^\n]*\n)({re.escape(below)})", re.MULTILINE)
    assert len(spot.findall(table)) == 1
    (copy / place).write_text(spot.sub(lambda match: match[1] + row + match[2], table))
    done = tried(copy)
    assert done.returncode == 0, done.stderr
    assert "rising" in done.stdout
    shutil.copy(ROOT / "pyproject.toml", copy)
    for step in (["check"], ["format", "--check"]):
        command = [sys.executable, "-m", "ruff", *step, *(place for place, _ in files), place]
        assert subprocess.run(command, cwd=copy, check=False).returncode == 0


def test_without_them_there_is_no_such_kind(copy: Path) -> None:
    done = tried(copy)
    assert done.returncode != 0
    assert "kind = 'rising': no such kind of training" in done.stderr or "lockstep.kinds.rising" in done.stderr
