"""Names of the source documents: each is offered, importable by the line that is named, or said to come."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

import lockstep
from lockstep.core.errors import MissingLibraryError
from lockstep.core.libraries import require
from lockstep.faces.source_names import COMING, ELSEWHERE, hint, import_line

PAGE = (Path(__file__).parents[3] / "docs" / "names.md").read_text()
NEED_TORCH = ("lockstep.learning.gradients.record", "lockstep.faces.train_pytorch", "lockstep.learning.supervised")


@pytest.mark.parametrize("name", sorted(ELSEWHERE))
def test_the_line_that_the_error_names_works(name: str) -> None:
    """An `AttributeError` with the importing line, which gives an object of that name."""
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'; it has a module of its own: from ") as error:
        getattr(lockstep, name)
    line = str(error.value).rpartition(": ")[2]
    assert line == import_line(name)
    if ELSEWHERE[name].startswith(NEED_TORCH):
        try:
            require("torch", extra="ml", purpose="this test")
        except MissingLibraryError:
            pytest.skip("torch is not installed")
    space: dict[str, Any] = {}
    exec(line, space)
    assert space[name].__name__ == name


@pytest.mark.parametrize("name", sorted(COMING))
def test_a_name_that_is_not_there_yet_is_said_to_come(name: str) -> None:
    with pytest.raises(AttributeError, match=rf"no attribute '{name}'; it is not there yet, it comes with "):
        getattr(lockstep, name)
    assert not _defined(name)


def _defined(name: str) -> bool:
    """Whether some module defines a class of that name by now: then it belongs into the other table."""
    pattern = re.compile(rf"^class {name}\b", re.MULTILINE)
    return any(pattern.search(path.read_text()) for path in Path(lockstep.__file__).parent.rglob("*.py"))


def test_no_name_is_offered_and_elsewhere() -> None:
    offered = set(lockstep.__all__)
    assert not offered & (ELSEWHERE.keys() | COMING.keys())
    assert not ELSEWHERE.keys() & COMING.keys()
    assert hint("tran") is None


def test_the_page_has_every_name_and_no_other() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| (.*) \|$", PAGE.partition("## Modules")[0], re.MULTILINE))
    assert rows == {name: f"`{import_line(name)}`" for name in ELSEWHERE} | dict(COMING)
    assert all(name in lockstep.__all__ for name in re.findall(r"`ls\.(\w+)`", PAGE.partition("## Names with")[0]))
