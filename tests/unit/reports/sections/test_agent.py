"""What an agent says: what it was trained on, its walk beside baselines, the verdict; the shipped example runs."""

from __future__ import annotations

from pathlib import Path

import pytest

pytest.importorskip("torch")

import lockstep as ls
from lockstep.reports import gather
from lockstep.reports.page import Facts, Page, Table, Text
from lockstep.runs.folder import RunFolder
from lockstep.validation.verdict import Verdict

EXAMPLE = Path(__file__).parents[4] / "examples" / "replay_agent.toml"
SHORT = (
    "data.last=900",
    "training.updates=12",
    "training.learning_starts=40",
    "environment.episode_bars=60",
    "validation.evaluate_every=6",
)


def facts(page: Page) -> dict[str, str]:
    (section,) = (section for section in page.sections if section.title == "What was trained")
    return {name: value for block in section.blocks if isinstance(block, Facts) for name, value in block.rows}


@pytest.mark.parametrize("mode", ["profit", "prioritized"])
def test_the_report_says_what_was_trained_and_what_it_does_not_beat(tmp_path: Path, mode: str) -> None:
    result = ls.train(EXAMPLE, overrides=(*SHORT, f"buffer.mode={mode}"), home=tmp_path)
    page = gather.brief(RunFolder(result.folder), result)
    rows = facts(page)
    assert rows["agent"].startswith("double DQN, hidden layers 32 x 32, learns ")
    assert [name for name in rows if name in ("training", "validation", "test")] == ["training", "validation", "test"]
    assert rows["chosen"].startswith(f"after update {result.summary['agent']['best_step'] + 1}, best on validation")
    assert ("% of what was drawn" in rows["experiences"]) == (mode == "profit")
    tables = [block for section in page.sections for block in section.blocks if isinstance(block, Table)]
    assert list(tables[0].header) == ["", "agent", "buy and hold", "always flat"]
    assert tables[0].caption == "The test part, 180 bars: never trained on, walked through once"
    verdict = Verdict.of_summary(result.summary)
    assert verdict is not None
    last = page.sections[-1]
    assert (last.title, next(block.text for block in last.blocks if isinstance(block, Text))) == (
        "Verdict",
        f"{verdict.decision}: {verdict.sentence}",
    )
    assert result.to_json()["summary"]["test"]["baselines"]["always_flat"]["net_profit_pct"] == 0.0


def test_the_full_report_has_the_validation_part_too(tmp_path: Path) -> None:
    result = ls.train(EXAMPLE, overrides=SHORT, home=tmp_path)
    page = gather.page(RunFolder(result.folder), result)
    captions = [block.caption for section in page.sections for block in section.blocks if isinstance(block, Table)]
    assert [caption.split(",")[0] for caption in captions if "part" in caption] == [
        "The test part",
        "The validation part",
    ]
