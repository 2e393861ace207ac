"""Requirements are in the house: a line each, with a generated state, and whatever is cited can be opened."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest
from tools.requirements import PAGE, ROOT, ROW, citations, rendered

# How many requirements each part has; a number is given once and for good.
PARTS = {1: 25, 2: 21, 3: 20, 4: 40, 5: 20, 6: 25, 7: 25, 8: 29, 9: 51, 10: 69, 11: 30}
CITATION = re.compile(r"\bR\d+\.\d+\b")
DECISION = re.compile(r"\b[Dd]ecision D(\d+)\b")
# Documents that stand in no checkout; an argument of the command line may be called SPEC.
OUTSIDE = re.compile(r"\bSPEC(?:'s|,)? (?:\d|sections?\b|has\b|is silent|suggests|asks|leaves|wants|fixes)|\bDESIGN\b")
PLACES = ("src", "tests", "docs", "examples", "bench", "tools", "README.md", "pyproject.toml")


def rows() -> list[tuple[str, str, str]]:
    """Number, words and state of each requirement of the page."""
    matches = [ROW.match(line) for line in PAGE.read_text().splitlines()]
    return [(row[1], row[2], row[3]) for row in matches if row is not None]


def texts(*places: str) -> list[Path]:
    files = [path for place in places for path in [ROOT / place, *(ROOT / place).rglob("*")] if path.is_file()]
    return [path for path in files if path.suffix in {".py", ".md", ".toml"} and path != Path(__file__)]


def test_every_number_of_every_part_has_one_line() -> None:
    expected = [f"R{part}.{number}" for part, count in PARTS.items() for number in range(1, count + 1)]
    assert [number for number, _, _ in rows()] == expected
    assert f"{len(expected)} lines in eleven parts." in PAGE.read_text()


def test_states_and_tests_of_the_page_are_those_that_the_script_writes() -> None:
    command = [sys.executable, str(ROOT / "tools" / "requirements.py"), "--check"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


def test_what_is_partly_met_says_what_is_missing_and_has_a_test() -> None:
    cited = citations(ROOT / "tests")
    partly = {number: state for number, _, state in rows() if state.startswith("partly")}
    assert partly, "or there is no partly any more, and this test goes"
    for number, state in partly.items():
        assert re.fullmatch(r"partly: \S.{10,}", state), number
        assert number in cited, f"{number} is partly met, and no test cites it"


def test_the_script_renews_state_and_tests_and_leaves_words_and_reasons(tmp_path: Path) -> None:
    (tmp_path / "unit").mkdir()
    for name in ("a", "b", "c", "d"):
        (tmp_path / "unit" / f"test_{name}.py").write_text('"""R7.1-R7.2."""\n' if name == "a" else '"""R7.1."""\n')
    cited = citations(tmp_path)
    page = """# Title
| R7.1 | One. | not yet |  |
| R7.2 | Two. | partly: half of it |  |
| R7.3 | Three. | met | `x` |
"""
    assert rendered(page, cited).splitlines() == [
        "# Title",
        "| R7.1 | One. | met | `unit/test_a.py`, `unit/test_b.py`, `unit/test_c.py` and 1 more |",
        "| R7.2 | Two. | partly: half of it | `unit/test_a.py` |",
        "| R7.3 | Three. | not yet |  |",
    ]


@pytest.mark.parametrize(
    "page", ["| R7.2 | Two. | met |  |\n", "| R7.1 | One. | met |  |\n| R7.1 | Again. | met |  |\n"]
)
def test_the_script_refuses_a_number_without_a_row_or_with_two(page: str) -> None:
    with pytest.raises(ValueError, match=r"R7\.1"):
        rendered(page, {"R7.1": ["unit/test_a.py"]})


def test_every_number_that_is_cited_has_its_line() -> None:
    numbers = {number for number, _, _ in rows()}
    for path in texts("src", "docs", "examples", "bench", "README.md", "CHANGELOG.md", "CONTRIBUTING.md"):
        assert set(CITATION.findall(path.read_text())) <= numbers, path.relative_to(ROOT)


def test_every_decision_that_is_cited_has_its_line() -> None:
    listed = re.findall(r"^- \*\*D(\d+)\.", PAGE.read_text(), re.MULTILINE)
    assert list(dict.fromkeys(listed)) == [str(number) for number in range(1, 32)]
    cited = {number for path in texts("src", "tests", "bench") for number in DECISION.findall(path.read_text())}
    assert cited <= set(listed)


def test_a_guide_that_cites_a_number_says_where_its_line_is() -> None:
    """A user who meets R3.6 on a page has to be one click from its words."""
    for page in (ROOT / "docs").glob("*.md"):
        text = page.read_text()
        assert page == PAGE or not CITATION.search(text) or "requirements.md" in text, page.name


def test_nothing_refers_to_a_document_that_a_reader_cannot_open() -> None:
    references = [
        f"{path.relative_to(ROOT)}:{number}: {line.strip()}"
        for path in texts(*PLACES)
        for number, line in enumerate(path.read_text().splitlines(), start=1)
        if OUTSIDE.search(line)
    ]
    assert references == []
