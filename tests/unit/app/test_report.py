"""`lockstep report`: what a page holds, that it is a function of the run, that nothing a user named becomes markup."""

from __future__ import annotations

import html
import io
import itertools
import json
import re
import shutil
import sys
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

import numpy as np
from PIL import Image

import lockstep as ls
from lockstep.app.report import ReportResult, report_page
from lockstep.bootstrap import place
from lockstep.cli.main import run as command_line
from lockstep.core.errors import InputError, IntegrityError, Interrupted
from lockstep.learning.gradients.overview import Overview, edges, layers
from lockstep.learning.gradients.record import SessionRecord
from lockstep.reports.html import page_html
from lockstep.runs import registry
from lockstep.runs.cancel import Cancel
from lockstep.runs.store import reproduction
from lockstep.testing import gradient_kind, toy_kind
from lockstep.testing.contracts.training_kind import StopAfter

SPEC: dict[str, Any] = {"kind": "toy-gradients", "epochs": 4}  # 12 steps
FIGURES = ["loss", "learning-rate", "gradient-norm", "gradient-layers", "update-ratio", "values"]


class Page(HTMLParser):
    """What a browser would see: tags, the text between them, attributes of pictures."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.pictures: list[dict[str, str | None]] = []
        self.text = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        if tag in ("img", "source"):
            self.pictures.append(dict(attrs))

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(autouse=True, scope="module")
def kinds() -> Iterator[None]:
    registry.register("toy-gradients", gradient_kind.PATH)
    registry.register("toy", toy_kind.PATH)
    yield
    registry.unregister("toy-gradients")
    registry.unregister("toy")


@pytest.fixture(scope="module")
def home(tmp_path_factory: pytest.TempPathFactory) -> Path:
    home = tmp_path_factory.mktemp("home")
    ls.train(SPEC, home=home, tag="first")
    return home


@pytest.fixture(scope="module")
def written(home: Path, tmp_path_factory: pytest.TempPathFactory) -> ReportResult:
    """The report of the first run."""
    return ls.report("first", out=tmp_path_factory.mktemp("report"), home=home)


def page_of(home: Path, run: str) -> tuple[list[str], str]:
    """Names of the figures, and the text, of a page that nobody draws."""
    page = report_page(place(home).store.find(run))
    return [figure.name for figure in page.figures], Page(page_html(page, {}).decode()).text


def read(written: Any) -> tuple[str, Page]:
    text = written.html.read_text()
    return text, Page(text)


def test_a_gradient_training_is_shown_with_the_lines_that_repeat_it(home: Path, written: ReportResult) -> None:
    """Decision D20: seed, fingerprint, data hash and command are on the page."""
    assert [path.name for path in written.files] == ["report.html", *(f"{name}.png" for name in FIGURES)]
    for path in written.files[1:]:
        with Image.open(path) as picture:
            assert picture.size[0] == 9 * 144, "nine inches at 144 dots"
    text, page = read(written)
    again = reproduction(place(home).store.find("first"))
    assert all(str(value) in page.text for value in again.values())
    record = SessionRecord(place(home).store.find("first"))
    assert f"{record.by_value()[0]}" in page.text
    assert "lockstep replay" in page.text
    assert '<html lang="en">' in text
    assert 'name="viewport"' in text


def test_a_page_is_one_file_that_needs_neither_network_nor_script(written: ReportResult) -> None:
    """Pictures are embedded, for light and dark, wide and narrow; each has words for those who do not see it."""
    text, page = read(written)
    assert "script" not in page.tags
    assert not {"link", "iframe", "object", "form", "base"} & set(page.tags)
    assert "http:" not in text
    assert "https:" not in text
    assert "default-src 'none'" in text
    images = [picture for picture in page.pictures if "src" in picture]
    assert len(images) == len(FIGURES)
    assert all(str(image["src"]).startswith("data:image/png;base64,") for image in images)
    assert all(len(str(image["alt"])) > 20 for image in images)
    media = [str(picture["media"]) for picture in page.pictures if "media" in picture]
    assert len(media) == 3 * len(FIGURES)
    assert sum("dark" in item for item in media) == 2 * len(FIGURES)


def test_the_same_run_gives_the_same_bytes(home: Path, tmp_path: Path, written: ReportResult) -> None:
    again = ls.report("first", out=tmp_path, home=home)
    for first, second in zip(written.files, again.files, strict=True):
        assert first.read_bytes() == second.read_bytes(), first.name


def test_nothing_is_written_into_the_folder_of_a_run(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    run = ls.train({"kind": "toy", "steps": 3}, home=home)
    before = sorted(run.folder.rglob("*"))
    monkeypatch.chdir(tmp_path)
    assert ls.report(run.run_id, home=home).folder == Path(f"report-{run.run_id}")
    with pytest.raises(InputError, match="which is sealed"):
        ls.report(run.run_id, out=run.folder / "artifacts" / "report", home=home)
    assert sorted(run.folder.rglob("*")) == before
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="found a file"):
        ls.report(run.run_id, out=tmp_path / "file", home=home)


HOSTILE = "<script>alert(1)</script> \"'&amp; $x^{$ \\frac \u202etxt.exe \x07 \U0001f4a5 " + "n" * 200


def test_hostile_names_are_shown_and_never_obeyed(home: Path) -> None:
    """Markup, mathematics, a change of direction, a bell, a letter that no font has, and length."""
    run = ls.train({**SPEC, "epochs": 1, "name": HOSTILE}, home=home)
    text = page_html(report_page(place(home).store.find(run.run_id)), {}).decode()
    page = Page(text)
    assert "script" not in page.tags
    assert "alert(1)" in page.text, "it is shown"
    assert "\u202e" not in text
    assert "\x07" not in text
    assert r"\u{202e}txt.exe \u{7}" in page.text
    assert html.escape("<script>") in text


def test_hostile_names_of_layers_are_drawn() -> None:
    """No warning of a missing glyph, no mathematics; drawing them raises nothing and takes a bounded width."""
    from lockstep.reports.charts import HeatMap, Panel, Panels, Series
    from lockstep.reports.draw import draw, drawable

    values = np.array([[1e-3, 1.0, 0.0], [np.nan, 10.0, 2.0]])
    heat = HeatMap(rows=[HOSTILE, "層"], edges=np.arange(4.0), values=values, label="norm")
    x = np.arange(3.0)
    lines = Panels(panels=[Panel(series=[Series(name=HOSTILE, x=x, y=x), Series(name="$", x=x, y=x)], y_label="$y")])
    for chart in (heat, lines):
        for width in ("wide", "narrow"):
            with Image.open(io.BytesIO(draw(chart, width=width, theme="dark"))) as picture:
                assert picture.size[0] in (1296, 736)
    assert len(drawable(HOSTILE, 30)) == 30
    assert drawable("層", 30) == "\N{REPLACEMENT CHARACTER}"


@pytest.mark.parametrize("level", ["norms", "none"])
def test_levels_that_keep_less_show_what_there_is(home: Path, level: str) -> None:
    run = ls.train({**SPEC, "recording": {"level": level}}, home=home)
    kept = [name for name in FIGURES if level == "norms" or name not in ("gradient-layers", "update-ratio")]
    figures, text = page_of(home, run.run_id)
    assert figures == kept
    assert ("norms of each layer were not kept" in text) == (level == "none")
    assert "--recompute" in text, "gradients cannot be applied"


def test_an_agent_is_shown_beside_its_baselines_with_what_it_does_not_beat(home: Path) -> None:
    """Its verdict comes first, in the words of `lockstep train`; its trades stand beside hold, flat and luck."""
    training = {"updates": 20, "learning_starts": 100, "batch_size": 16}
    spec = {"kind": "replay-agent", "data": {"last": 1500}, "training": training}
    ls.train(spec, home=home, tag="agent")
    sentence = place(home).store.find("agent").result()["sentence"]
    _, text = page_of(home, "agent")
    assert text.index(sentence) < text.rindex("Out of sample") < text.index("session value")
    for told in ("buy and hold", "always flat", "draws of the same trades at random times", "won per unit lost"):
        assert told in text, told


def test_an_interrupted_run_is_shown_as_far_as_it_went(home: Path) -> None:
    cancel = Cancel()
    with pytest.raises(Interrupted):
        ls.train(SPEC, home=home, tag="stopped", cancel=cancel, observers=[StopAfter(cancel, 5)])
    figures, text = page_of(home, "stopped")
    assert figures == FIGURES
    assert "interrupted: what follows is as far as it went" in text
    assert f"lockstep resume {place(home).store.find('stopped').path.name}" in text


def test_a_damaged_run_is_not_shown(home: Path, tmp_path: Path) -> None:
    copy = Path(shutil.copytree(home, tmp_path / "home"))
    path = place(copy).store.find("first").segments / "norms.000000.seg"
    data = bytearray(path.read_bytes())
    data[-200] ^= 1
    path.write_bytes(data)
    with pytest.raises(IntegrityError, match=r"norms\.000000\.seg"):
        ls.report("first", out=tmp_path / "out", home=copy)
    assert not (tmp_path / "out").exists(), "nothing half-written"


def test_a_kind_that_no_section_knows_has_its_journal_drawn(home: Path, tmp_path: Path) -> None:
    run = ls.train({"kind": "toy", "steps": 6}, home=home)
    written = ls.report(run.run_id, out=tmp_path / "out", home=home)
    assert [figure.name for figure in written.page.figures] == ["journal"]
    assert written.page.figures[0].alt.endswith("over 6 steps.")


def test_without_matplotlib_tables_and_words_are_written_and_the_extra_is_named(
    home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in [name for name in sys.modules if name.partition(".")[0] == "matplotlib"]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "matplotlib", None)
    out = tmp_path / "out"
    assert command_line(["report", "first", "--out", str(out), "--home", str(home), "--json"]) == 0
    said = capsys.readouterr()
    document = json.loads(said.out)
    assert document["files"] == ["report.html"]
    assert "pip install 'lockstep-trading[plots]'" in said.err
    titles = [section["title"] for section in document["report"]["sections"]]
    assert titles == ["Session", "Learning", "Gradients", "What it was worth", "Summary", "To repeat this"]
    page = Page((out / "report.html").read_text())
    assert "The most valuable steps" in page.text
    assert "Not drawn: Total loss over 12 steps" in page.text


def test_the_command_says_where_the_page_is(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    assert command_line(["report", "best", "--out", str(out), "--home", str(home)]) == 0
    assert re.search(rf"report of run \S+: {out}/report\.html \(.*\), 6 figures", capsys.readouterr().out)
    assert command_line(["report", "first", "--open", "perhaps", "--home", str(home)]) == 2


def test_bins_keep_every_extreme_and_the_mean() -> None:
    """7 steps in 3 bins: [0, 2), [2, 4), [4, 7)."""
    assert edges(7, 3).tolist() == [0, 2, 4, 7]
    assert edges(2, 3).tolist() == [0, 1, 2]
    assert edges(0, 3).tolist() == [0]


def test_a_session_in_bins_agrees_with_its_columns(home: Path) -> None:
    folder = place(home).store.find("first")
    record, overview = SessionRecord(folder), Overview(folder)
    bins, best = overview.steps_and_best(5, 3)
    bounds = overview.edges(5)
    for name, column in record.columns.items():
        parts = [column[a:b] for a, b in itertools.pairwise(bounds)]
        assert bins[name].low.tolist() == [part.min() for part in parts]
        assert bins[name].high.tolist() == [part.max() for part in parts]
        assert bins[name].mean.tolist() == [part.mean() for part in parts]
    assert [row["step"] for row in best] == record.by_value()[:3]
    norms = overview.norms_in_bins(12)
    assert norms is not None
    gradients = record.step(4).gradients
    both = [gradients[f"direction.{part}"].astype(np.float64) for part in ("weight", "bias")]
    expected = np.sqrt(sum(float((part**2).sum()) for part in both))
    assert norms.gradient["direction"].mean[4] == pytest.approx(expected, rel=1e-6)


def test_many_layers_are_joined_by_the_fronts_of_their_names() -> None:
    """Sixty blocks of two layers are 120, by their first two parts 60, by the first alone one: neighbours join."""
    names = [f"net.{block}.{layer}.weight" for block in range(60) for layer in "ab"]
    joined = layers(names)
    assert len(joined) == 40
    assert joined["net.0"] == [0, 1]
    assert joined["net.1 to net.2"] == [2, 3, 4, 5]
    assert sorted(place for places in joined.values() for place in places) == list(range(120))
    assert layers(["a.weight", "a.bias", "b"]) == {"a": [0, 1], "b": [2]}
    assert len(layers([f"net.{block}.{layer}.weight" for block in range(20) for layer in "abc"])) == 20
