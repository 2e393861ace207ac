"""What `import lockstep as ls` offers: all of it documented and loadable, nothing of it costly before its use."""

from __future__ import annotations

import ast
import importlib
import re
import subprocess
import sys
from importlib import metadata
from pathlib import Path

import pytest

import lockstep

ROOT = Path(__file__).parents[2]
HEAVY = ("numpy", "numba", "pydantic", "pyarrow", "pandas", "scipy", "joblib", "rich", "llvmlite")


@pytest.mark.parametrize("name", lockstep.__all__)
def test_every_public_name_is_the_object_of_its_home(name: str) -> None:
    """Loaded lazily by name: the very class or function that stands in the module, not a second one."""
    value = getattr(lockstep, name)
    if name == "__version__":
        assert value == metadata.version("lockstep-trading")
    else:
        assert value is getattr(importlib.import_module(lockstep._HOMES[name]), name)
        assert (value.__module__, value.__name__) == (lockstep._HOMES[name], name)


def test_the_table_of_homes_and_the_imports_for_editors_say_the_same() -> None:
    tree = ast.parse((ROOT / "src/lockstep/__init__.py").read_text())
    for_editors = {
        alias.name: node.module
        for block in tree.body
        if isinstance(block, ast.If)
        for node in block.body
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    }
    assert for_editors == lockstep._HOMES
    assert set(lockstep.__all__) == {*lockstep._HOMES, "__version__"}


def test_the_public_names_are_those_that_docs_api_describes() -> None:
    """A test compares `__all__` with the docs."""
    described = re.findall(r"^### `ls\.(\w+)", (ROOT / "docs/api.md").read_text(), flags=re.MULTILINE)
    assert sorted(described) == sorted(lockstep.__all__)


def test_an_unknown_name_is_an_attribute_error_that_lists_what_there_is() -> None:
    with pytest.raises(AttributeError, match=r"no attribute 'tran'.*train"):
        lockstep.tran  # noqa: B018


@pytest.mark.parametrize("command", [["-c", "import lockstep"], ["-m", "lockstep", "--help"]])
def test_nothing_heavy_is_imported_before_its_use(command: list[str]) -> None:
    """`lockstep --help` and `import lockstep` stay fast because of what they leave alone, on any machine."""
    done = subprocess.run([sys.executable, "-X", "importtime", *command], capture_output=True, text=True, check=True)
    loaded = {line.rsplit("|", 1)[1].strip().split(".")[0] for line in done.stderr.splitlines() if "|" in line}
    assert "lockstep" in loaded
    assert loaded & set(HEAVY) == set()


def test_dir_offers_the_public_names_to_editors() -> None:
    assert set(lockstep.__all__) <= set(dir(lockstep))
