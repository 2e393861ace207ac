"""Sections on a terminal keep their numbers whatever the width, leave pictures to the page, and end with an alarm."""

from __future__ import annotations

import io
from typing import Any

import numpy as np
import pytest
from rich.console import Console

from lockstep.cli.page import facts, page_text
from lockstep.engine.metrics import Metric
from lockstep.reports.charts import Matrix
from lockstep.reports.page import Block, Facts, Figure, Folded, Page, Section, Table, Text
from lockstep.reports.sections.search import metrics_table

METRICS: dict[str, Any] = {str(metric): 12.345 for metric in Metric} | {"total_trades": 1234}
CHART = Matrix(classes=["a"], counts=np.array([[1]]))


def lines(*blocks: Block, width: int = 80, alarm: str | None = None) -> list[str]:
    stream = io.StringIO()
    page = Page(title="t", subtitle="s", sections=[Section(title="To repeat", blocks=blocks)], alarm=alarm)
    Console(file=stream, width=width).print(page_text(page))
    return [line.rstrip() for line in stream.getvalue().splitlines()]


@pytest.mark.parametrize("width", [120, 80, 60, 40, 30])
def test_a_narrow_terminal_wraps_words_and_cuts_no_number(width: int) -> None:
    columns = dict.fromkeys(["best trial", "buy and hold", "held-out bars", "buy and hold there"], METRICS)
    shown = lines(metrics_table("Result", columns), width=width)
    text = "\n".join(shown)
    assert "…" not in text
    assert text.count("+12.35 %") == 5 * 4, "profit, CAGR, drawdown, expectancy and CVaR, in all four columns"
    assert text.count("1,234") == 4
    assert max(map(len, shown)) <= width


def test_columns_that_find_no_room_stand_below_with_their_labels_again() -> None:
    """40 letters less the indent of 2 and 12 for words are 26: one column of 2 + 12, and 2 + 13 go not beside it."""
    columns = {"buy and hold": {"total_trades": 1}, "held-out bars": {"total_trades": 2}}
    assert lines(metrics_table("Result", columns), width=40)[2:] == [
        "  Result",
        "          buy and hold",
        "  trades             1",
        "          held-out bars",
        "  trades              2",
    ]


@pytest.mark.parametrize("width", [120, 80, 60])
def test_a_long_name_is_never_broken_and_numbers_go_below(width: int) -> None:
    """Names of layers are copied by hand; 40 letters and three numbers of 13 find no room in 80."""
    name = "encoder.layers.11.self_attn.out_proj.bias"
    header = ("parameter", "gradient norm", "weight norm", "update norm")
    shown = lines(Table(caption="Norms", header=header, rows=[(name, "0.1234", "0.5", "0.25")]), width=width)
    assert any(name in line for line in shown)
    assert all(number in "\n".join(shown) for number in ("0.1234", "0.5", "0.25"))
    assert max(map(len, shown)) <= width


def test_headings_facts_and_paragraphs_stand_below_each_other() -> None:
    table = Table(caption="Letters", header=("one", "two"), rows=[("a", "b")], numbers=False)
    assert lines(Facts(rows=[("seed", "42")]), Text(text="So it is."), table) == [
        "",
        "to repeat",
        "  seed  42",
        "  So it is.",
        "",
        "  Letters",
        "  one  two",
        "  a    b",
    ]


def test_pictures_and_what_is_folded_are_left_to_the_page() -> None:
    figure = Figure(name="x", title="One", alt="one of one", chart=CHART)
    folded = Folded(title="All", facts=Facts(rows=[("a", "b")]))
    assert lines(figure, folded) == ["", "to repeat"]


def test_an_alarm_is_the_last_word() -> None:
    assert lines(Text(text="Good."), alarm="another journal")[-1] == "ALARM: another journal"


def test_what_a_user_named_is_text_and_no_markup() -> None:
    assert "  [red]x[/red]  [bold]" in lines(Facts(rows=[("[red]x[/red]", "[bold]")]))


def test_a_long_value_is_folded_and_not_cut() -> None:
    stream = io.StringIO()
    Console(file=stream, width=30).print(facts([("fingerprint", "f" * 64)]))
    assert stream.getvalue().count("f") == 64 + 1, "the label has one more"
