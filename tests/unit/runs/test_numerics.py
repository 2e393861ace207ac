"""Numerics: what is in force, and one fixed level of it on machines of different age."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from lockstep.core.errors import MachineError, RefusedError
from lockstep.runs import numerics
from lockstep.runs.numerics import (
    MODE_VARIABLE,
    THREAD_VARIABLES,
    NumericsIdentity,
    enter,
    entry_differences,
    environment,
    pin_environment,
    pinned_threads,
    portable_variables,
    shortfalls,
)

TOY = Path(__file__).parent / "toy_numerics.py"
AVX512_OFF = {
    "NPY_DISABLE_CPU_FEATURES": portable_variables()["NPY_DISABLE_CPU_FEATURES"],
    "GLIBC_TUNABLES": "glibc.cpu.hwcaps=-AVX512F,-AVX512VL,-AVX512BW,-AVX512DQ,-AVX512CD",
    "OPENBLAS_CORETYPE": "Haswell",
    "NUMBA_CPU_NAME": "haswell",
    "NUMBA_CPU_FEATURES": "",
}
HAS_AVX512 = "avx512f" in Path("/proc/cpuinfo").read_text()


def run(*arguments, env):
    done = subprocess.run([sys.executable, *arguments], env=env, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def toy(env):
    return json.loads(run(str(TOY), env=env))


def test_portable_results_are_the_same_with_avx512_switched_off():
    """Architecture, rule 5: NumPy loops, BLAS and numba in portable mode, with and without AVX-512 in reach."""
    portable = toy(environment("portable"))
    without = toy({**environment("portable"), "GLIBC_TUNABLES": AVX512_OFF["GLIBC_TUNABLES"]})
    assert portable == without
    assert portable["dispatch"] == ["X86_V3"]
    assert not portable["zmm"]


@pytest.mark.skipif(not HAS_AVX512, reason="this machine has no AVX-512 to switch off")
def test_native_results_do_differ_with_avx512_switched_off_so_the_test_above_means_something():
    native = toy(environment("native"))
    without = toy({**environment("native"), **AVX512_OFF})
    assert native["hashes"]["exp"] != without["hashes"]["exp"]
    assert native["hashes"]["matmul"] != without["hashes"]["matmul"]


def test_the_identity_names_what_is_in_force():
    code = (
        "from lockstep.runs.numerics import NumericsIdentity as N; import json; print(json.dumps(N.collect().body()))"
    )
    native = json.loads(run("-c", code, env=environment("native")))
    portable = json.loads(run("-c", code, env=environment("portable")))
    assert native["threads"] == portable["threads"] == "1"
    assert portable["numba.target"] == "x86-64-v3"
    assert portable["blas.kernel"] == "Haswell"
    assert portable["numpy.dispatch"] == "X86_V3"
    assert {"python", "numpy", "numba", "llvmlite", "scipy", "libc", "device"} <= native.keys()
    if HAS_AVX512:
        named = {line.partition(":")[0] for line in entry_differences(native, portable)}
        assert named == {"blas.kernel", "numba.target", "numpy.dispatch", "numpy.results"}


def test_a_process_that_began_with_many_threads_has_the_same_identity():
    code = "from lockstep.runs.numerics import NumericsIdentity as N; print(N.collect().hash())"
    free = {name: value for name, value in environment("native").items() if name not in THREAD_VARIABLES}
    assert run("-c", code, env=environment("native")) == run("-c", code, env=free)


def test_entries_of_a_kind_are_part_of_the_identity():
    plain, extra = NumericsIdentity.collect(), NumericsIdentity.collect({"torch": "2.13.0"})
    assert extra.body() == {**plain.body(), "torch": "2.13.0"}
    assert plain.hash() != extra.hash()


def test_differences_are_named_entry_by_entry():
    assert entry_differences({"a": "1", "b": "2"}, {"a": "1", "b": "3", "c": "4"}) == [
        "b: 2 then, 3 now",
        "c: absent then, 4 now",
    ]


def test_the_environment_for_a_native_child_of_a_portable_parent_is_native():
    portable = environment("portable", {"PATH": "/bin"})
    assert environment("native", portable) == {"PATH": "/bin", **THREAD_VARIABLES, "PYTHONSAFEPATH": "1"}


@pytest.mark.parametrize(
    "variable",
    [
        "OMP_NUM_THREADS",  # OpenMP: scikit-learn, torch
        "OPENBLAS_NUM_THREADS",
        "MKL_NUM_THREADS",  # NumPy of conda, torch
        "BLIS_NUM_THREADS",
        "NUMEXPR_NUM_THREADS",
        "NUMBA_NUM_THREADS",
    ],
)
def test_every_library_that_brings_threads_is_held_to_one_whatever_the_user_set(variable, monkeypatch):
    assert environment("native", {variable: "8"})[variable] == "1"
    assert environment("portable", {variable: "8"})[variable] == "1"
    monkeypatch.setenv(variable, "8")
    for other in THREAD_VARIABLES:
        monkeypatch.setenv(other, "8")
    pin_environment()
    assert os.environ[variable] == "1"


def test_variables_that_the_user_set_survive_in_native_mode():
    assert environment("native", {"OPENBLAS_CORETYPE": "Zen"})["OPENBLAS_CORETYPE"] == "Zen"


def test_native_needs_nothing_and_another_mode_does_not_exist():
    assert shortfalls("native") == []
    with pytest.raises(ValueError, match='numerics is "native" or "portable"; found \'fast\''):
        shortfalls("fast")


def test_a_process_without_libraries_becomes_portable_without_a_restart():
    code = (
        "import os; from lockstep.runs.numerics import enter, shortfalls; pid = os.getpid()\n"
        "enter('portable', may_restart=False); import numpy\n"
        "assert shortfalls('portable') == []; print(pid == os.getpid())"
    )
    assert run("-c", code, env=environment("native")).strip() == "True"


def test_a_command_that_loaded_numpy_starts_again_with_its_own_arguments(tmp_path):
    script = tmp_path / "command.py"
    script.write_text(
        "import sys, numpy\n"
        "from lockstep.runs.numerics import enter, shortfalls\n"
        "print('begin', flush=True)\n"
        "enter('portable', may_restart=True)\n"
        "print(sys.argv[1:], sys.flags.utf8_mode, shortfalls('portable'))\n"
    )
    out = run("-X", "utf8", str(script), "a b", "--c", env=environment("native"))
    assert out.splitlines() == ["begin", "begin", "['a b', '--c'] 1 []"]


def test_a_session_that_loaded_numpy_is_told_how_to_start():
    code = "import numpy; from lockstep.runs.numerics import enter; enter('portable', may_restart=False)"
    done = subprocess.run([sys.executable, "-c", code], env=environment("native"), capture_output=True, text=True)
    assert 'RefusedError: numerics = "portable" has to be chosen before NumPy loads' in done.stderr.replace(
        "lockstep.core.errors.", ""
    )
    assert "NUMBA_CPU_NAME=x86-64-v3" in done.stderr


def test_a_restarted_process_that_still_falls_short_stops_instead_of_restarting_for_ever(monkeypatch):
    monkeypatch.setenv(MODE_VARIABLE, "portable")
    monkeypatch.setattr(numerics, "shortfalls", lambda mode: ["the CPU has no AVX2 and FMA"])
    with pytest.raises(MachineError, match="needs an x86-64 CPU with AVX2 and FMA; here the CPU has no AVX2 and FMA"):
        enter("portable", may_restart=True)


def test_another_architecture_is_a_matter_of_the_machine(monkeypatch):
    monkeypatch.setattr(numerics.platform, "machine", lambda: "aarch64")
    assert "the machine is aarch64, not x86_64" in shortfalls("portable")
    with pytest.raises(MachineError, match="the machine is aarch64"):
        enter("portable", may_restart=True)


def test_a_session_may_not_be_restarted(monkeypatch):
    monkeypatch.setattr(os, "execve", lambda *_: pytest.fail("the session was replaced"))
    if shortfalls("portable"):
        with pytest.raises(RefusedError, match="has to be chosen before NumPy loads"):
            enter("portable", may_restart=False)


def test_pools_are_pinned_within_the_block_and_free_after_it():
    import threadpoolctl

    def threads():
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    before = threads()
    with pinned_threads():
        assert threads() == {1}
    assert threads() == before


def test_parallel_kernels_of_a_user_have_one_thread_within_the_block_and_theirs_after_it(monkeypatch):
    """Their sums are split by the number of threads, and nothing else pins those of numba in a notebook."""
    from numba.core import config
    from numba.np.ufunc import parallel

    monkeypatch.setattr(config, "NUMBA_NUM_THREADS", 8)
    monkeypatch.setattr(parallel, "_is_initialized", False)
    with pinned_threads():
        assert config.NUMBA_NUM_THREADS == 1
    assert config.NUMBA_NUM_THREADS == 8
    threads = [8]
    monkeypatch.setattr(parallel, "_is_initialized", True)
    monkeypatch.setattr(parallel, "get_num_threads", lambda: threads[-1])
    monkeypatch.setattr(parallel, "set_num_threads", threads.append)
    with pinned_threads():
        assert threads == [8, 1]
    assert threads == [8, 1, 8]


def test_the_module_itself_loads_nothing_heavy():
    code = "import sys, lockstep.runs.numerics; print({'numpy', 'numba', 'scipy', 'pydantic'} & sys.modules.keys())"
    assert run("-c", code, env=environment("native")).strip() == "set()"


def test_a_pool_that_other_code_has_widened_within_the_block_is_narrowed_again():
    import threadpoolctl

    def threads():
        return {pool["num_threads"] for pool in threadpoolctl.threadpool_info() if pool["user_api"] == "blas"}

    with pinned_threads() as pinned:
        pinned.renew()
        for library in threadpoolctl.ThreadpoolController().select(user_api="blas").lib_controllers:
            library.set_num_threads(2)
        assert threads() == {2}
        pinned.renew()
        assert threads() == {1}
