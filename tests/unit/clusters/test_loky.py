"""The executor of worker processes: what it refuses, and what it says. Processes that die: tests/integration."""

import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.clusters.loky import LokyExecutor
from lockstep.core.errors import InputError, NotComparableError
from lockstep.runs.numerics import NumericsIdentity
from lockstep.testing.contracts.executor import Failing, Square


def test_a_worker_with_other_numerics_is_refused_and_the_difference_named():
    entries = {**NumericsIdentity.collect().body(), "numpy": "1.0.0"}
    expected = pytest.raises(NotComparableError, match=r"other numerics than its parent: numpy: 1\.0\.0 then, .* now")
    with LokyExecutor(1, numerics=entries) as executor, expected:
        executor.map(Square(), [1])


def test_the_workers_traceback_is_kept_as_a_note():
    with LokyExecutor(1) as executor, pytest.raises(ValueError) as caught:
        executor.map(Failing(bad=(0,)), [0])
    assert "In a worker process, for item 0:" in caught.value.__notes__[0]
    assert "executor.py" in caught.value.__notes__[0]


@pytest.mark.parametrize("workers", [0, -1, 1.5, True, None])
def test_a_number_of_workers_is_at_least_one(workers):
    with pytest.raises(InputError, match="workers is a whole number of at least 1; found"):
        LokyExecutor(workers)


def test_importing_the_adapter_loads_neither_joblib_nor_numpy():
    code = "import sys, lockstep.clusters.loky; print({'joblib', 'numpy', 'numba'} & sys.modules.keys())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "set()\n"


def test_the_package_tells_its_goals():
    text = (Path(__file__).parents[3] / "src/lockstep/clusters/README.md").read_text()
    assert "Goals" in text
    assert "Non-goals" in text
