"""A pytest plugin of `make mutants`: which tests run which lines, and those that run a line first.

    LOCKSTEP_LINES=FILE pytest -p tools.mutant_order ...     writes which tests run which lines of the package
    LOCKSTEP_FIRST=FILE pytest -p tools.mutant_order ...     runs the tests that FILE names, one a line, before others

Only the order changes: every test of the room runs unless one before it fails. Lines that run in other processes, in
compiled kernels or at import are not seen; their tests come in the usual order.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator
from pathlib import Path

import coverage
import pytest

_LINES = os.environ.get("LOCKSTEP_LINES")
_FIRST = os.environ.get("LOCKSTEP_FIRST")
_PACKAGE = Path(__file__).resolve().parents[1] / "src" / "lockstep"
_meter = coverage.Coverage(data_file=None, source=[str(_PACKAGE)], config_file=False) if _LINES else None
if _meter is not None:
    # Here, before the package is imported.
    _meter.start()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_protocol(item: pytest.Item) -> Iterator[None]:
    """Lines that run in a test, its fixtures included, count as its own."""
    if _meter is not None:
        _meter.switch_context(item.nodeid)
    result = yield
    if _meter is not None:
        _meter.switch_context("")
    return result


def pytest_sessionfinish() -> None:
    """Write {"src/lockstep/...": {"line": [tests]}}."""
    if _meter is None or _LINES is None:
        return
    _meter.stop()
    data = _meter.get_data()
    root = _PACKAGE.parents[1]
    lines = {
        str(Path(file).relative_to(root)): {
            str(line): sorted(tests - {""}) for line, tests in
            ((line, set(tests)) for line, tests in data.contexts_by_lineno(file).items()) if tests - {""}
        }
        for file in data.measured_files()
    }  # fmt: skip
    Path(_LINES).write_text(json.dumps(lines))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests that the file names come first; the order among them and among the others stays."""
    if _FIRST:
        first = set(Path(_FIRST).read_text().splitlines())
        items.sort(key=lambda item: item.nodeid not in first)
