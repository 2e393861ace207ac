"""Documentation runs: each guide's `python` blocks are one script, run as a user would, in a folder of its own."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.cli.commands import command

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = ["docs/tutorial.md", "docs/api.md", "docs/runs.md", "docs/packages.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path) -> None:
    text = (ROOT / page).read_text()
    script = ""
    for block in BLOCK.finditer(text):
        # Blank lines before each block, so that a traceback's line is the page's.
        script += "\n" * (text.count("\n", 0, block.start(1)) - script.count("\n")) + block[1]
    assert script.strip(), f"{page} has no example"
    (tmp_path / "page.py").write_text(script)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("LOCKSTEP_")}
    done = subprocess.run(
        [sys.executable, "-W", "error", "page.py"], cwd=tmp_path, env=kept, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, f"{page}\n{done.stderr}"


@pytest.mark.parametrize("page", ["README.md", *PAGES, "docs/cli.md"])
def test_commands_in_the_guides_exist(page: str) -> None:
    app = command()
    for line in re.findall(r"^(?:\$ )?lockstep ([^`\n]+)$", (ROOT / page).read_text(), re.MULTILINE):
        words = line.split()
        assert words[0] in app.commands, f"{page}: lockstep {line}"
        group = getattr(app.commands[words[0]], "commands", None)
        assert group is None or words[1] in group, f"{page}: lockstep {line}"
