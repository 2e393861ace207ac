"""Documentation runs: each guide's `python` blocks are one script, run as a user would, in a folder of its own.

Every guide with such a block is run. Blocks marked `python torch` belong to the script where torch is installed.
A page takes between one second and fifteen on a busy core; compiling kernels anew adds half a minute once.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from importlib.util import find_spec
from pathlib import Path

import pytest

from lockstep.cli.commands import command

ROOT = Path(__file__).parents[2]
MARKS = r"python(?: torch)?" if find_spec("torch") else "python"
BLOCK = re.compile(rf"^```{MARKS}\n(.*?)^```", re.MULTILINE | re.DOTALL)
GUIDES = sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").glob("*.md"))
PAGES = [page for page in GUIDES if BLOCK.search((ROOT / page).read_text())]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text()
    script = ""
    for block in BLOCK.finditer(text):
        # Blank lines before each block, so that a traceback's line is the page's.
        script += "\n" * (text.count("\n", 0, block.start(1)) - script.count("\n")) + block[1]
    (tmp_path / "page.py").write_text(script)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, f"{page}\n{done.stderr}"


def test_the_guides_that_show_python_are_run() -> None:
    shown = {
        "docs/api.md",
        "docs/networks.md",
        "docs/packages.md",
        "docs/runs.md",
        "docs/strategies.md",
        "docs/tutorial.md",
    }
    assert shown <= set(PAGES)
    unmarked = {
        info for page in GUIDES for info in re.findall(r"^```(python.*)$", (ROOT / page).read_text(), re.MULTILINE)
    }
    assert unmarked == {"python", "python torch"}, "a block with another mark would be run by nobody"


@pytest.mark.parametrize("page", ["README.md", *GUIDES])
def test_commands_in_the_guides_exist(page: str) -> None:
    app = command()
    for line in re.findall(r"^(?:\$ )?lockstep ([^`\n]+)$", (ROOT / page).read_text(), re.MULTILINE):
        words = line.split()
        assert words[0] in app.commands, f"{page}: lockstep {line}"
        group = getattr(app.commands[words[0]], "commands", None)
        assert group is None or words[1] in group, f"{page}: lockstep {line}"


WRITTEN = [*GUIDES, "README.md", "CONTRIBUTING.md", "CHANGELOG.md", "SECURITY.md"]
WRITTEN += [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").glob("*/*.md"))]


def anchors(page: Path) -> set[str]:
    """Names of a page's headings, as GitHub makes them: lower case, words joined by hyphens, other signs left out."""
    headings = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", WRITTEN)
def test_links_lead_to_files_and_headings_that_exist(page: str) -> None:
    place = ROOT / page
    for link in re.findall(r"\]\(([^)\s]+)\)", place.read_text()):
        if "://" in link:
            continue
        path, _, anchor = link.partition("#")
        target = place.parent / path if path else place
        assert target.exists(), f"{page}: {link}"
        assert not anchor or anchor in anchors(target), f"{page}: {link}"


@pytest.mark.parametrize("page", WRITTEN)
def test_pages_are_wrapped(page: str) -> None:
    """Lines of at most 120 signs, so that a change shows as the line that changed; tables and code are as they are."""
    prose = re.sub(r"^```.*?^```", "", (ROOT / page).read_text(), flags=re.MULTILINE | re.DOTALL)
    long = [line for line in prose.splitlines() if len(line) > 120 and not line.startswith(("|", "    "))]
    assert long == []
