"""State and tests of every requirement, written into the tables of `docs/requirements.md`.

    python tools/requirements.py            write the page anew
    python tools/requirements.py --check    write nothing; 1 where the page is not what this would write

Numbers and words of the page are kept by hand. The two last cells of a row are this script's:

    state   met          at least one test cites the number
            not yet      none does
            partly: ...  by hand, with the reason; left as it is
    tests   the files under `tests/` that cite the number in a docstring or comment, the first three by name

A range counts for each number in it: "R9.1 to R9.4", "R9.1-R9.4".
"""

from __future__ import annotations

import re
import sys
from collections import defaultdict
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "requirements.md"
ROW = re.compile(r"^\| (R\d+\.\d+) \| ([^|]+) \| ([^|]*) \| ([^|]*) \|$")
CITATION = re.compile(r"\bR(\d+)\.(\d+)(?:(?: to |-)R(\d+)\.(\d+))?\b")
# It has numbers of made-up pages in it.
OWN_TEST = "test_requirements.py"
SHOWN = 3
"""Files named in a row; the others are counted."""


def citations(tests: Path) -> dict[str, list[str]]:
    """Requirement -> the test files that cite it, as paths below `tests`, in order."""
    files: defaultdict[str, set[str]] = defaultdict(set)
    for path in sorted(tests.rglob("*.py")):
        if path.name == OWN_TEST:
            continue
        name = path.relative_to(tests).as_posix()
        for part, first, last_part, last in CITATION.findall(path.read_text(encoding="utf-8")):
            if last and last_part != part:
                raise ValueError(
                    f"a range of requirements stays in one part; {name} has R{part}.{first} to R{last_part}."
                )
            for number in range(int(first), int(last or first) + 1):
                files[f"R{part}.{number}"].add(name)
    return {requirement: sorted(names) for requirement, names in files.items()}


def rendered(page: str, cited: dict[str, list[str]]) -> str:
    """The page with the state and tests of each row renewed.

    Raises ValueError for a number that stands twice, or is cited by a test and not on the page.
    """
    numbers: list[str] = []

    def renewed(line: str) -> str:
        row = ROW.match(line)
        if row is None:
            return line
        number, words, state, _ = row.groups()
        numbers.append(number)
        files = cited.get(number, [])
        if not state.startswith("partly:"):
            state = "met" if files else "not yet"
        named = ", ".join(f"`{name}`" for name in files[:SHOWN])
        more = f" and {len(files) - SHOWN} more" if len(files) > SHOWN else ""
        return f"| {number} | {words} | {state} | {named}{more} |"

    lines = [renewed(line) for line in page.splitlines()]
    twice = sorted({number for number in numbers if numbers.count(number) > 1})
    unlisted = sorted(set(cited) - set(numbers))
    if twice or unlisted:
        raise ValueError(f"each requirement has one row; twice: {twice}, cited but without a row: {unlisted}")
    return "\n".join(lines) + "\n"


def main() -> int:
    """Write the page, or compare it; the exit status."""
    page = PAGE.read_text(encoding="utf-8")
    renewed = rendered(page, citations(ROOT / "tests"))
    if "--check" not in sys.argv[1:]:
        PAGE.write_text(renewed, encoding="utf-8")
        return 0
    if renewed != page:
        print("docs/requirements.md is out of date; run: python tools/requirements.py", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
