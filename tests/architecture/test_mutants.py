"""`make mutants`: its lists are those of the house, and a fault is what it is said to be."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from tools import mutants

ROOT = Path(__file__).parents[2]


def test_rooms_and_their_tests_are_where_the_list_says() -> None:
    for room, tests in mutants.ROOMS.items():
        assert list((ROOT / "src" / "lockstep" / room).glob("*.py")), room
        assert f"tests/unit/{room}" in tests
    for path in (*mutants.WIDER, *(path for tests in mutants.ROOMS.values() for path in tests)):
        assert (ROOT / path).exists(), path


def test_a_file_shares_compiled_kernels_only_where_no_kernel_can_read_it() -> None:
    compiled = mutants.compiled_modules()
    for name in ("engine/walk.py", "market/indicators/swings.py", "strategies/liquidity_kernels.py", "rl/sum_tree.py"):
        assert f"src/lockstep/{name}" in compiled, "it has kernels"
    assert "src/lockstep/core/scalar_math.py" in compiled, "kernels call it"
    assert "src/lockstep/engine/metrics.py" in compiled, "kernels take constants from it"
    for name in ("market/load.py", "core/space.py", "engine/baselines.py", "runs/journal.py"):
        assert f"src/lockstep/{name}" not in compiled


def test_the_own_tests_of_a_module_come_first(tmp_path: Path) -> None:
    own = mutants.own_tests("src/lockstep/engine/sweep.py", ROOT)
    assert own == ("tests/unit/engine/test_sweep.py", *mutants.ROOMS["engine"])
    assert mutants.own_tests("src/lockstep/engine/walk.py", tmp_path) == mutants.ROOMS["engine"]


SOURCE = '''
from __future__ import annotations

LIMIT: int = 3


def f(x: int | None, *, scale: float = 1.0) -> int | str:
    """A text of 2 lines."""
    if x is None or x < 0:
        raise ValueError(f"at least {0}; found {x + 1}")
    state.count(x)
    out[x] = x * 2
    return min(x, LIMIT, key=abs)


class C:
    def __repr__(self) -> str:
        return str(1 + 2)
'''


def changes() -> set[tuple[str, str]]:
    from tools.mutant_sites import faults_of

    found = set()
    for fault in faults_of("m.py", SOURCE):
        mutated = fault.put_into(SOURCE)
        if mutated is not None:
            old, new = SOURCE.splitlines()[fault.line - 1], mutated.splitlines()[fault.line - 1]
            found.add((old.strip(), new.strip()))
    return found


def test_faults_are_put_where_tests_should_notice_them_and_nowhere_else() -> None:
    pytest.importorskip("cosmic_ray", reason="cosmic-ray is installed by `make mutants`")
    condition = "if x is None or x < 0:"
    assert changes() == {
        ("LIMIT: int = 3", "LIMIT: int = 4"),
        ("LIMIT: int = 3", "LIMIT: int = 2"),
        (SOURCE.splitlines()[6], SOURCE.splitlines()[6].replace("= 1.0", "= 2.0")),
        (SOURCE.splitlines()[6], SOURCE.splitlines()[6].replace("= 1.0", "= 0.0")),
        (condition, "if x is not None or x < 0:"),
        (condition, "if x is None and x < 0:"),
        (condition, "if x is None or x <= 0:"),
        (condition, "if x is None or x < 1:"),
        (condition, "if x is None or x < -1:"),
        (condition, "if not x is None or x < 0:"),
        ("state.count(x)", "pass"),
        ("out[x] = x * 2", "pass"),
        ("out[x] = x * 2", "out[x] = x / 2"),
        ("out[x] = x * 2", "out[x] = x * 3"),
        ("out[x] = x * 2", "out[x] = x * 1"),
        ("return min(x, LIMIT, key=abs)", "return None"),
        ("return min(x, LIMIT, key=abs)", "return min(x, LIMIT,)"),
    }


def test_the_same_seed_draws_the_same_faults() -> None:
    pytest.importorskip("cosmic_ray", reason="cosmic-ray is installed by `make mutants`")
    command = [sys.executable, "-m", "tools.mutants", "--count", "5", "--rooms", "search", "--show", "--seed"]
    shown = [
        subprocess.run(
            [*command, seed],
            cwd=ROOT,
            # A command of ours that ran in this process may have kept the working directory off Python's path.
            env={**os.environ, "PYTHONPATH": str(ROOT)},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed in ("7", "7", "8")
    ]
    assert shown[0] == shown[1] != shown[2]
    assert shown[0].count("src/lockstep/search/") == 5


def test_tests_that_run_a_line_come_first_and_the_others_still_come(tmp_path: Path) -> None:
    """The plugin in a checkout of two functions: it tells who runs which line, and changes nothing but the order."""
    pytest.importorskip("coverage")
    package = tmp_path / "src" / "lockstep"
    (tmp_path / "tools").mkdir()
    package.mkdir(parents=True)
    (tmp_path / "tools" / "mutant_order.py").write_text((ROOT / "tools" / "mutant_order.py").read_text())
    (package / "__init__.py").write_text("def one():\n    return 1\n\n\ndef two():\n    return 2\n")
    (tmp_path / "test_order.py").write_text(
        "import lockstep\ndef test_a():\n    lockstep.one()\ndef test_b():\n    lockstep.two()\n"
    )
    lines, first = tmp_path / "lines.json", tmp_path / "first"

    def run(**environment: str) -> str:
        return subprocess.run(
            [sys.executable, "-m", "pytest", "-v", "-p", "no:cacheprovider", "-p", "tools.mutant_order", "."],
            cwd=tmp_path, env=os.environ | {"PYTHONPATH": f"{tmp_path / 'src'}:{tmp_path}"} | environment,
            capture_output=True, text=True, check=True,
        ).stdout  # fmt: skip

    run(LOCKSTEP_LINES=str(lines))
    runners = json.loads(lines.read_text())["src/lockstep/__init__.py"]
    assert runners["6"] == ["test_order.py::test_b"]
    assert "1" not in runners, "what runs at import belongs to no test"
    first.write_text("\n".join(runners["6"]))
    output = run(LOCKSTEP_FIRST=str(first))
    assert output.index("test_b PASSED") < output.index("test_a PASSED")
