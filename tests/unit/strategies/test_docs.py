"""docs/strategies.md says what the code does."""

from __future__ import annotations

import re
from pathlib import Path

from lockstep.strategies.liquidity_sweep import LiquiditySweep

ROOT = Path(__file__).parents[3]
DOCS = (ROOT / "docs" / "strategies.md").read_text()


def test_the_table_of_parameters_is_complete_with_the_defaults_of_the_code() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| ([\d.]+) \|", DOCS, re.MULTILINE))
    defaults = LiquiditySweep().resolve({})
    assert {name: float(value) for name, value in rows.items()} == {
        name: float(defaults[name]) for name in LiquiditySweep().space
    }


def test_the_shown_example_is_the_file_that_runs() -> None:
    shown = DOCS.partition("```python\n")[2].partition("```")[0]
    file = (ROOT / "examples" / "my_strategy.py").read_text()
    assert file.partition('"""\n\n')[2] == shown
