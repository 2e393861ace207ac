"""Documentation runs: every `python` block of the guides is executed, page by page, in a folder of its own."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
BLOCK = re.compile(r"^```python\n(.*?)^```", re.MULTILINE | re.DOTALL)
PAGES = ["README.md", "docs/tutorial.md", "docs/api.md", "docs/runs.md"]


@pytest.mark.parametrize("page", PAGES)
def test_the_examples_of_a_page_run(page: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = (ROOT / page).read_text()
    blocks = list(BLOCK.finditer(text))
    assert blocks or page == "README.md", f"{page} has no example"
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("LOCKSTEP_HOME", raising=False)
    names: dict[str, object] = {"__name__": "__main__"}
    for block in blocks:
        # Line numbers of a failure are those of the page.
        line = text.count("\n", 0, block.start(1))
        exec(compile("\n" * line + block[1], str(ROOT / page), "exec"), names)


def test_commands_in_the_guides_exist() -> None:
    """Each `lockstep ...` line names a command of the command line."""
    from lockstep.cli.commands import command

    app = command()
    groups = {"runs": app.commands["runs"].commands, "data": app.commands["data"].commands}
    for page in (*PAGES, "docs/cli.md"):
        for words in re.findall(r"^(?:\$ )?lockstep ([a-z]+)(?: ([a-z]+))?", (ROOT / page).read_text(), re.MULTILINE):
            assert words[0] in app.commands, f"{page}: lockstep {words[0]}"
            if words[0] in groups:
                assert words[1] in groups[words[0]], f"{page}: lockstep {' '.join(words)}"
