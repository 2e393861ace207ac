"""`lockstep report`: what is written where; the page is one file, a function of the run, never half-written."""

from __future__ import annotations

import json
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

pytest.importorskip("torch")
pytest.importorskip("matplotlib")

from PIL import Image
from tests.unit.reports.pages import Page

import lockstep as ls
from lockstep.app.report import ReportResult
from lockstep.bootstrap import place
from lockstep.cli.main import run as command_line
from lockstep.core.errors import InputError, IntegrityError
from lockstep.learning.gradients.record import SessionRecord
from lockstep.runs import registry
from lockstep.runs.store import reproduction
from lockstep.testing import gradient_kind, toy_kind

SPEC: dict[str, Any] = {"kind": "toy-gradients", "epochs": 4}  # 12 steps
FIGURES = ["loss", "learning-rate", "gradient-norm", "gradient-layers", "update-ratio", "values"]


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
    assert "[plots]'" in said.err
    titles = [section["title"] for section in document["report"]["sections"]]
    assert titles[0] == "What was trained"
    page = Page((out / "report.html").read_text())
    assert "The most valuable steps" in page.text
    assert "Not drawn: Total loss over 12 steps" in page.text


def test_the_command_says_where_the_page_is(home: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out, run = tmp_path / "out", ls.train({"kind": "toy", "steps": 3}, home=home).run_id
    assert command_line(["report", run, "--out", str(out), "--home", str(home)]) == 0
    # A long path leaves the line where the terminal's width breaks it.
    printed = " ".join(capsys.readouterr().out.split())
    assert re.search(rf"report of run {run}: {out}/report\.html \(.*\), 1 figure", printed)
    assert command_line(["report", "first", "--open", "perhaps", "--home", str(home)]) == 2
