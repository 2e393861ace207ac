"""The README shows what the demo really prints."""

from __future__ import annotations

import re
from pathlib import Path

from tests.acceptance.user import EXAMPLE, ROOT, User

# What differs from one run to the next: ids, and the hashes of code and machine. Speed and estimates are left out.
VOLATILE = ((r"\d{8}T\d{9}-[0-9a-f]{6}", "RUN"), (r"\b[0-9a-f]{64}\b", "HASH"), (r"\b[0-9a-f]{16}\b", "HASH"))
SKIPPED = ("preparing:", "estimate:", "step ", "computing again")


def stable(text: str) -> list[str]:
    for pattern, name in VOLATILE:
        text = re.sub(pattern, name, text)
    return [line.rstrip() for line in text.splitlines() if line.strip() and not line.startswith(SKIPPED)]


def shown() -> str:
    block = re.search(r"^```text\n(.*?)^```", (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert block is not None
    return block[1]


def test_the_demo_prints_what_the_readme_shows(tmp_path: Path) -> None:
    user = User(tmp_path, fresh=True)
    trained = user("train", str(EXAMPLE))
    verified = user("verify", "last")
    printed = trained.err + trained.out + verified.err + verified.out
    assert stable(shown()) == stable(printed)
    journals = re.findall(r"journal\s+([0-9a-f]{64})", printed)
    assert len(journals) == 2
    assert len(set(journals)) == 1, "verify met the journal that train wrote"


def test_the_makefile_runs_the_commands_that_this_test_runs() -> None:
    demo = (ROOT / "Makefile").read_text().split("\ndemo:")[1].split("\n\n")[0]
    assert "lockstep train examples/liquidity_sweep.toml" in demo
    assert "lockstep verify last" in demo


def test_the_map_of_the_house_names_every_package() -> None:
    packages = {path.parent.name for path in Path(ROOT, "src/lockstep").glob("*/__init__.py")} - {"testing"}
    named = set(re.findall(r"`(\w+)`", (ROOT / "README.md").read_text().split("## The house")[1].split("## Honest")[0]))
    assert packages <= named
