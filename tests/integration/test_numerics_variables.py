"""Variables that libraries read while they load: each shows in the numerics of a run, or changes nothing there.

One process has all of the first sort, one all of the second; both are compared with this process.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("torch")
from lockstep.core.compiled import compiler_settings
from lockstep.core.libraries import installed
from lockstep.runs.numerics import environment

if not installed("keras"):
    pytest.skip("Keras is not installed", allow_module_level=True)

ASK = """
import json, math, sys
from lockstep.learning.supervised import keras_learner
entries = keras_learner.numerics_entries()
from lockstep.learning.patterns import baselines
from lockstep.runs.numerics import NumericsIdentity
import numba, numpy as np

@numba.njit(error_model="numpy")
def walk(x):
    total = 0.0
    for i in range(x.size):
        total += 1.0 / (1.0 + x[i] * math.exp(-x[i]))
    return total

kernel = walk(np.linspace(0.0, 3.0, 1001)).hex() if sys.argv[1:] else ""
print(json.dumps({**NumericsIdentity.collect(entries | baselines.numerics_entries()).body(), "kernel": kernel}))
"""
AVX512 = "avx512f" in Path("/proc/cpuinfo").read_text()

# Variable -> its value and the entry that has to differ.
DECIDING = {
    "NPY_DISABLE_CPU_FEATURES": ("X86_V4,AVX512_ICL,AVX512_SPR", "numpy.dispatch"),
    "OPENBLAS_CORETYPE": ("Haswell", "blas.kernel"),
    "OPENBLAS_BLOCK_FACTOR": ("50", "blas.variables"),
    "SCIPY_ARRAY_API": ("1", "blas.variables"),
    "GLIBC_TUNABLES": ("glibc.cpu.hwcaps=-AVX2,-FMA", "libc.results"),
    "NUMBA_CPU_NAME": ("haswell", "numba.target"),
    "NUMBA_OPT": ("1", "numba.options"),
    "NUMBA_LOOP_VECTORIZE": ("0", "numba.options"),
    "NUMBA_BOUNDSCHECK": ("1", "numba.options"),
    "ATEN_CPU_CAPABILITY": ("avx2", "torch.capability"),
    "DNNL_DEFAULT_FPMATH_MODE": ("BF16", "torch.variables"),
    "MKLDNN_MAX_CPU_ISA": ("AVX2", "torch.variables"),
    "MKL_CBWR": ("COMPATIBLE", "torch.results"),
    "SKLEARN_WORKING_MEMORY": ("7", "scikit-learn.settings"),
}
WITHOUT_EFFECT = {
    "OPENBLAS_VERBOSE": "0",
    "OPENBLAS_THREAD_TIMEOUT": "10",
    "MKL_DYNAMIC": "FALSE",
    "MKL_DOMAIN_NUM_THREADS": "MKL_DOMAIN_ALL=4",
    "MKL_FAST_MEMORY_LIMIT": "0",
    "MKL_DISABLE_FAST_MM": "1",
    "DNNL_PRIMITIVE_CACHE_CAPACITY": "1",
    "ONEDNN_VERBOSE": "0",
    "OMP_DYNAMIC": "TRUE",
    "OMP_SCHEDULE": "dynamic",
    "OMP_PROC_BIND": "TRUE",
    "KMP_BLOCKTIME": "0",
    "NUMBA_THREADING_LAYER": "workqueue",
    "NUMBA_FULL_TRACEBACKS": "1",
    "ARROW_USER_SIMD_LEVEL": "NONE",
    "PYTHONHASHSEED": "7",
    "MALLOC_PERTURB_": "90",
    "TZ": "Asia/Tokyo",
    "LC_ALL": "C",
}


def entries(variables: Mapping[str, str], *words: str) -> dict[str, str]:
    """The numerics of a Keras run in a new process with these variables."""
    child = subprocess.run(
        [sys.executable, "-c", ASK, *words],
        env={**environment("native"), **variables},
        capture_output=True,
        text=True,
        check=True,
    )
    answer: dict[str, str] = json.loads(child.stdout)
    return answer


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    return entries({"KERAS_HOME": str(tmp_path_factory.mktemp("keras"))})


@pytest.mark.skipif(not AVX512, reason="the values below differ from the machine's own only where it has AVX-512")
def test_a_variable_that_decides_numbers_shows_in_the_numerics(plain: dict[str, str], tmp_path: Path) -> None:
    settings = {"floatx": "float64", "epsilon": 1e-5, "image_data_format": "channels_first"}
    (tmp_path / "keras.json").write_text(json.dumps(settings))
    flipped = entries({name: value for name, (value, _) in DECIDING.items()} | {"KERAS_HOME": str(tmp_path)})
    for name, (value, entry) in DECIDING.items():
        assert flipped[entry] != plain[entry], f"{name}={value} is not seen in {entry}"
    assert flipped["torch.variables"] == ("MKL_CBWR=COMPATIBLE ONEDNN_DEFAULT_FPMATH_MODE=BF16 ONEDNN_MAX_CPU_ISA=AVX2")
    assert flipped["blas.variables"] == "OPENBLAS_BLOCK_FACTOR=50 SCIPY_ARRAY_API=1"
    assert flipped["numba.options"] == "opt=1 svml=False vectorize=00 checks=True debug=False jit=True"
    assert flipped["keras.settings"] == (
        "dtype_policy=float64 epsilon=1e-05 floatx=float64 image_data_format=channels_first"
    )


@pytest.mark.long
def test_variables_that_are_no_part_of_the_numerics_leave_all_results_as_they_are(tmp_path: Path) -> None:
    """The digests of what NumPy, the C library and torch compute are entries, so equal entries are equal numbers."""
    ours = {"KERAS_HOME": str(tmp_path)}
    assert entries({**WITHOUT_EFFECT, **ours}, "kernel") == entries(ours, "kernel")


def test_numbas_file_in_the_working_folder_is_seen(tmp_path: Path) -> None:
    """numba reads `.numba_config.yaml` where a command is started; no variable tells of it."""
    (tmp_path / ".numba_config.yaml").write_text("opt: '0'\n")
    child = subprocess.run(
        [sys.executable, "-c", "from lockstep.core.compiled import compiler_settings as c; print(c())"],
        cwd=tmp_path,
        env={**os.environ, "NUMBA_CACHE_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=True,
    )
    assert child.stdout.split()[0] == "opt=0" != compiler_settings().split()[0]
