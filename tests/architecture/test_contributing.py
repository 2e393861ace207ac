"""The pages of docs/contributing are true: each addition is made in a copy of the package, from the page's own blocks.

A page is read as docs/contributing/README.md says: "New file" and a block, "Changed" and diffs, "Try it" and a script
or a command with what it prints. The number of files is counted against the table there.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGES = ROOT / "docs" / "contributing"
INDEX = (PAGES / "README.md").read_text()
COUNTS = {
    page: int(count) for count, page in re.findall(r"^\| an? [^|]+ \| (\d+) \| \[(\w+)\.md\]", INDEX, re.MULTILINE)
}
LARGEST = {"family": 2, "proposer": 2, "metric": 2, "kind": 3, "command": 3}
BLOCK = re.compile(
    r"^\*\*(New file|Changed|Try it)\*\*(?: `([^`]+)`)?\n|^```(\w+)\n(.*?)^```$", re.MULTILINE | re.DOTALL
)


def blocks(page: str) -> Iterator[tuple[str, str, str, str]]:
    """(what it is, the file it is of, language, text) of every block that stands below one of the three marks."""
    mark, place = "", ""
    for match in BLOCK.finditer((PAGES / f"{page}.md").read_text()):
        if match[1]:
            mark, place = match[1], match[2] or ""
        elif mark:
            yield mark, place, match[3], match[4]


def line_of(text: str) -> str:
    """A regular expression for one line of a diff, without its sign."""
    return re.escape(text.removesuffix("...")) + (r"[^\n]*" if text.endswith("...") else "") + r"\n"


def patched(source: str, diff: str) -> str:
    """`source` with one block of a diff applied, at the one place that has its lines."""
    lines = diff.splitlines()
    before = "".join(f"({line_of(line[1:])})" for line in lines if not line.startswith("+"))
    places = list(re.finditer(rf"^{before}", source, re.MULTILINE))
    assert len(places) == 1, f"these lines stand {len(places)} times in the file:\n{diff}"
    there = iter(places[0].groups())
    after = ""
    for line in lines:
        if line.startswith("+"):
            after += line[1:] + "\n"
        elif line.startswith("-"):
            next(there)
        else:
            after += next(there)
    return source[: places[0].start()] + after + source[places[0].end() :]


def apply(page: str, root: Path) -> set[str]:
    """Make the page's additions in the copy at `root`; the files that were touched."""
    touched = set()
    for mark, place, _, text in blocks(page):
        target = root / place
        if mark == "New file":
            assert not target.exists(), f"{place} is there already"
            target.parent.mkdir(exist_ok=True)
            target.write_text(text)
        elif mark == "Changed":
            target.write_text(patched(target.read_text(), text))
        else:
            continue
        touched.add(place)
    return touched


def run_in(root: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    """A fresh process whose `lockstep` is the copy."""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
    environment["PYTHONPATH"] = str(root / "src")
    # Kernels are cached by the path of their file, so a copy would compile for a minute.
    environment["NUMBA_DISABLE_JIT"] = "1"
    return subprocess.run(
        [sys.executable, "-W", "error", *arguments],
        cwd=root,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    shutil.copytree(ROOT / "src", tmp_path / "src", ignore=shutil.ignore_patterns("__pycache__"))
    return tmp_path


def test_the_index_lists_every_page_and_no_count_is_above_its_limit() -> None:
    assert set(COUNTS) == {path.stem for path in PAGES.glob("*.md")} - {"README"}, "a page without a row is not tried"
    assert set(COUNTS) <= set(LARGEST)
    for page, count in COUNTS.items():
        assert count <= LARGEST[page], page


@pytest.mark.parametrize("page", sorted(COUNTS))
def test_what_a_page_adds_works_and_takes_as_many_files_as_the_index_says(page: str, copy: Path) -> None:
    touched = apply(page, copy)
    assert len(touched) == COUNTS[page]
    assert all(place.startswith("src/lockstep/") for place in touched)
    tried = [(language, text) for mark, _, language, text in blocks(page) if mark == "Try it"]
    assert tried, "a page shows how what it adds is used"
    for language, text in tried:
        if language == "python":
            here = (
                "import lockstep, pathlib\nassert pathlib.Path(lockstep.__file__).is_relative_to(pathlib.Path.cwd())\n"
            )
            (copy / "try_it.py").write_text(here + text)
            done = run_in(copy, "try_it.py")
            assert done.returncode == 0, done.stderr
        else:
            command, _, printed = text.removeprefix("$ lockstep ").partition("\n")
            done = run_in(copy, "-m", "lockstep", *command.split())
            assert (done.returncode, done.stdout) == (0, printed), done.stderr


@pytest.mark.parametrize("page", sorted(COUNTS))
def test_what_a_page_adds_is_unknown_without_it(page: str, copy: Path) -> None:
    """The same script on an unchanged copy fails: it is the page's blocks that make it work."""
    [(language, text)] = [(language, text) for mark, _, language, text in blocks(page) if mark == "Try it"]
    if language == "python":
        (copy / "try_it.py").write_text(text)
        done = run_in(copy, "try_it.py")
    else:
        done = run_in(copy, "-m", "lockstep", *text.removeprefix("$ lockstep ").partition("\n")[0].split())
    assert done.returncode != 0


@pytest.mark.parametrize("page", sorted(COUNTS))
def test_what_a_page_adds_is_formatted_and_keeps_the_rules_of_the_house(page: str, copy: Path) -> None:
    touched = apply(page, copy)
    shutil.copy(ROOT / "pyproject.toml", copy)
    for step in (["ruff", "check"], ["ruff", "format", "--check"]):
        done = run_in(copy, "-m", *step, *sorted(touched))
        assert done.returncode == 0, done.stdout
