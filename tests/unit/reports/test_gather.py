"""What a run says is gathered once, by what the run holds: in full for a page, in brief for a terminal."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import lockstep as ls
from lockstep.core.errors import IntegrityError, Interrupted
from lockstep.reports import gather
from lockstep.reports.charts import Panels
from lockstep.reports.headline import read_run
from lockstep.reports.page import Facts, Figure, Folded, Page, Section, Table, Text
from lockstep.reports.sections.search import _equity
from lockstep.runs.cancel import Cancel
from lockstep.runs.store import FolderRunStore
from lockstep.testing.contracts.training_kind import StopAfter

GRADIENTS: dict[str, Any] = {"kind": "toy-gradients", "epochs": 4}  # 12 steps
FIGURES = ["loss", "learning-rate", "gradient-norm", "gradient-layers", "update-ratio", "values"]
SEARCH: dict[str, Any] = {
    "kind": "strategy",
    "data": {"source": "sample", "last": 1200},
    "strategy": {"name": "liquidity_sweep", "space": {"pierce_depth": {"low": 0.00005, "high": 0.0005}}},
    "costs": {"fee_rate": 0.0, "spread_pips": 0.8, "slippage_rate": 0.00001},
    "search": {"n_iterations": 8, "batch_size": 8, "min_trades": 1},
    "validation": {"holdout_bars": 300},
}


def full(home: Path, run: str) -> Page:
    folder = FolderRunStore(home).find(run)
    return gather.page(folder, read_run(folder))


def brief(home: Path, run: str) -> Page:
    folder = FolderRunStore(home).find(run)
    return gather.brief(folder, read_run(folder))


def titles(page: Page) -> list[str]:
    return [section.title for section in page.sections]


def words(page: Page) -> str:
    """All that a page says, block by block."""
    lines = []
    for block in (block for section in page.sections for block in section.blocks):
        if isinstance(block, Text):
            lines.append(block.text)
        elif isinstance(block, Facts):
            lines += [f"{name} {value}" for name, value in block.rows]
        elif isinstance(block, Table):
            lines += [block.caption, *(" ".join(row) for row in (block.header, *block.rows))]
    return "\n".join(lines)


def test_a_search_is_told_by_its_trials_beside_what_they_had_to_beat(tmp_path: Path) -> None:
    ls.train(SEARCH, home=tmp_path, tag="search")
    short, whole = brief(tmp_path, "search"), full(tmp_path, "search")
    assert titles(short) == ["What was trained", "The best trial", "To repeat this", "Verdict"]
    assert titles(whole)[:4] == ["Verdict", "What was trained", "The best trial", "Trials"]
    assert [figure.name for figure in whole.figures] == ["equity", "trials"]
    (metrics,) = (
        block
        for section in short.sections
        for block in section.blocks
        if isinstance(block, Table) and block.caption.startswith("Result")
    )
    assert list(metrics.header) == ["", "best trial", "buy and hold", "held-out bars", "buy and hold there"]
    for needed in (
        "strategy LIQUIDITY_SWEEP, searched by random",
        "objective maximize sharpe_ratio",
        "at least 1 trade",
        "bars 900 searched, 300 held out",
        "trials 8, of which",
        "90 % of the random draws",
        "Random entries: 200 draws of the same trades at other times",
        "Held out: 300 bars from",
        "touched stop and target in one bar",
        "Not judged yet",
        "command lockstep verify",
    ):
        assert needed in words(short), needed
        assert needed in words(whole), needed


def test_a_page_has_one_number_of_trials_and_the_best_so_far_is_the_best_that_may_win(tmp_path: Path) -> None:
    """Where only those with the most trades may win, the others are not drawn, and said once."""
    most = int(ls.train(SEARCH, home=tmp_path).trials()["metric.total_trades"].max())
    spec = {**SEARCH, "search": {**SEARCH["search"], "min_trades": most}}
    result = ls.train(spec, home=tmp_path, tag="search")
    valid = result.trial_counts["valid"]
    assert 0 < valid < 8, "the case must have both, else it tests nothing"
    page = full(tmp_path, "search")
    text = f"{valid} of 8 drawn; {8 - valid} invalid (too few trades)"
    assert f"trials {text}" in words(page)
    assert "with a value" not in words(page)
    (figure,) = (figure for figure in page.figures if figure.name == "trials")
    assert figure.text == f"{text}."
    assert isinstance(figure.chart, Panels)
    (best,) = (series for series in figure.chart.panels[0].series if series.name == "best so far")
    assert float(best.y[-1]) == result.summary["best"]["objective"]


def test_an_equity_that_fell_is_not_said_to_look_good() -> None:
    rising, falling = (_equity("x.csv", f"timestamp,equity\n0,100.0\n1,{end}\n".encode()) for end in (101.0, 99.0))
    assert "looks better here than it is" in rising.text
    assert falling.text.endswith("even the best of the trials lost money on them.")


def test_draws_that_repeat_a_trial_are_counted_beside_the_others(tmp_path: Path) -> None:
    """Two choices, eight draws: two trials."""
    space = {"reversal_candles": [1, 2]}
    spec = {**SEARCH, "strategy": {"name": "liquidity_sweep", "space": space, "parameters": {"pierce_depth": 0.0001}}}
    ls.train(spec, home=tmp_path, tag="search")
    assert "trials 2 of 8 drawn (6 duplicates), of which" in words(full(tmp_path, "search"))


def test_a_stopped_search_says_how_many_trials_there_are_and_how_to_go_on(tmp_path: Path) -> None:
    cancel = Cancel()
    spec = {**SEARCH, "search": {**SEARCH["search"], "n_iterations": 16}}
    with pytest.raises(Interrupted):
        ls.train(spec, home=tmp_path, tag="cut", cancel=cancel, observers=[StopAfter(cancel, 1)])
    page = brief(tmp_path, "cut")
    assert titles(page) == ["What was trained", "To repeat this"]
    assert "trials 8, of which" in words(page)
    assert "command lockstep resume" in words(page)


def test_a_kind_that_no_section_knows_is_told_by_its_summary_and_its_journal(tmp_path: Path) -> None:
    ls.train({"kind": "toy", "steps": 6, "name": "mine"}, home=tmp_path, tag="toy")
    page = full(tmp_path, "toy")
    assert titles(page) == ["What was trained", "Course", "Summary", "To repeat this"]
    assert [figure.name for figure in page.figures] == ["journal"]
    assert page.figures[0].alt.endswith("over 6 steps.")
    short = brief(tmp_path, "toy")
    assert titles(short) == ["What was trained", "Summary", "To repeat this"]
    assert "kind toy, mine" in words(short)
    # 6 steps of 8 observations.
    assert "observations 48" in words(short)
    assert "quantiles, 0.5" in words(short)


def test_a_gradient_training_has_its_worth_in_brief_and_its_course_in_full(home: Path) -> None:
    assert titles(brief(home, "first")) == ["What was trained", "Training", "To repeat this"]
    page = full(home, "first")
    expected = ["What was trained", "Training", "Learning", "Gradients", "What it was worth", "Summary"]
    assert titles(page) == [*expected, "To repeat this"]
    assert [figure.name for figure in page.figures] == FIGURES
    value = read_run(FolderRunStore(home).find("first")).summary["value"]
    assert f"value of the run {value:.3f}" in words(page)
    assert f"value of the run {value:.3f}, not converged" in words(brief(home, "first"))


def test_a_short_report_holds_no_figure_and_nothing_folded(home: Path) -> None:
    blocks = [block for section in brief(home, "first").sections for block in section.blocks]
    assert not [block for block in blocks if isinstance(block, Figure | Folded)]
    assert "git commit" not in words(brief(home, "first"))


def test_a_short_report_reads_documents_alone_and_a_full_one_every_byte(home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "home"))
    path = FolderRunStore(copy).find("first").segments / "norms.000000.seg"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    assert brief(copy, "first") == brief(home, "first")
    with pytest.raises(IntegrityError, match=r"norms\.000000\.seg"):
        full(copy, "first")


@pytest.mark.parametrize("level", ["norms", "none"])
def test_levels_that_keep_less_show_what_there_is(home: Path, level: str) -> None:
    run = ls.train({**GRADIENTS, "recording": {"level": level}}, home=home)
    kept = [name for name in FIGURES if level == "norms" or name not in ("gradient-layers", "update-ratio")]
    page = full(home, run.run_id)
    assert [figure.name for figure in page.figures] == kept
    assert ("norms of each layer were not kept" in words(page)) == (level == "none")
    assert "--recompute" in words(page), "gradients cannot be applied"


def test_an_interrupted_training_is_shown_as_far_as_it_went(home: Path) -> None:
    cancel = Cancel()
    with pytest.raises(Interrupted):
        ls.train(GRADIENTS, home=home, tag="stopped", cancel=cancel, observers=[StopAfter(cancel, 5)])
    page = full(home, "stopped")
    assert [figure.name for figure in page.figures] == FIGURES
    assert "interrupted: what follows is as far as it went" in page.subtitle
    assert f"lockstep resume {FolderRunStore(home).find('stopped').path.name}" in words(page)


def test_words_and_figures_of_one_title_become_one_section() -> None:
    """Only where they stand beside each other: order is the reader's."""
    a, b, c = (Text(text=letter) for letter in "abc")
    parts = [Section(title="X", blocks=[a]), Section(title="X", blocks=[b]), Section(title="Y", blocks=[c])]
    joined = gather._joined([*parts, Section(title="X", blocks=[c])])
    assert [(section.title, list(section.blocks)) for section in joined] == [("X", [a, b]), ("Y", [c]), ("X", [c])]


def test_a_page_as_json_holds_every_block_of_it(home: Path) -> None:
    page = full(home, "first")
    document = page.to_json()
    assert document["title"] == page.title
    assert [section["title"] for section in document["sections"]] == titles(page)
    counts = [len(section["blocks"]) for section in document["sections"]]
    assert counts == [len(section.blocks) for section in page.sections]
    repetition = document["sections"][-1]["blocks"]
    assert repetition[1]["facts"]["command"].startswith("lockstep verify")
