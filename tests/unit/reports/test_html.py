"""A page as HTML: whatever a user named is shown, and never obeyed; what is not drawn is said."""

from __future__ import annotations

import html
from pathlib import Path

import numpy as np
from tests.unit.reports.pages import HOSTILE, Page

import lockstep as ls
from lockstep.reports import gather, page
from lockstep.reports.charts import Matrix
from lockstep.reports.html import page_html
from lockstep.runs.folder import RunFolder


def test_hostile_names_are_shown_and_never_obeyed(tmp_path: Path) -> None:
    """Markup, mathematics, a change of direction, a bell, a letter that no font has, and length."""
    run = ls.train({"kind": "toy", "steps": 2, "name": HOSTILE}, home=tmp_path)
    text = page_html(gather.page(RunFolder(run.folder), run), {}).decode()
    seen = Page(text)
    assert "script" not in seen.tags
    assert "alert(1)" in seen.text, "it is shown"
    assert "\u202e" not in text
    assert "\x07" not in text
    assert r"\u{202e}txt.exe \u{7}" in seen.text
    assert html.escape("<script>") in text


def test_on_a_phone_labels_keep_their_room_and_headings_wrap() -> None:
    """500 px less 2 x 12.8 of margin are 474. A label of 9 rem leaves four columns of 82 px: "+12.21 %" is
    8 letters of about 8 px at .9 rem, and 8 px lie before it. A wider table scrolls, and its labels stay in view."""
    text = page_html(page.Page(title="t", subtitle="s", sections=[]), {}).decode()
    narrow = text.split("@media (max-width: 640px) {")[1].split("\n@media")[0]
    assert ".numbers thead th:not(:first-child) { white-space: normal; }" in narrow
    assert ".numbers tbody th { min-width: 9rem; }" in narrow
    assert ".numbers th:first-child { position: sticky; left: 0;" in text
    assert 474 - 9 * 16 >= 4 * (8 * 8 + 8)


def test_a_figure_without_a_picture_keeps_its_title_and_its_words() -> None:
    chart = Matrix(classes=["a"], counts=np.array([[1]]))
    figure = page.Figure(name="x", title="One", alt="one of one is right", chart=chart, text="Read it so.")
    report = page.Page(title="t", subtitle="s", sections=[page.Section(title="S", blocks=[figure])], alarm="beware")
    text = Page(page_html(report, {}).decode()).text
    for words in ("One", "Not drawn: one of one is right", "Read it so.", "Alarm.", "beware"):
        assert words in text
