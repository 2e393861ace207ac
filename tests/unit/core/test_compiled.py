"""Compiled kernels: one set of switches, a cache that never serves code whose source has changed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import lockstep
from lockstep.core import compiled

PACKAGE = Path(lockstep.__path__[0])
ASK = """
import numpy as np
from lockstep.market.indicators import log_returns
print(log_returns(np.array([1.0, 1.3]))[1])
"""


def ask(package_root: Path, cache: Path) -> float:
    environment = {**os.environ, "PYTHONPATH": str(package_root), "NUMBA_CACHE_DIR": str(cache)}
    done = subprocess.run([sys.executable, "-c", ASK], env=environment, capture_output=True, text=True, check=True)
    return float(done.stdout)


def test_a_change_in_a_kernel_that_is_called_from_another_file_is_seen(tmp_path: Path) -> None:
    """numba alone keeps running the old code here: it watches the caller's file, not the callee's."""
    shutil.copytree(PACKAGE, tmp_path / "lockstep", ignore=shutil.ignore_patterns("__pycache__"))
    cache = tmp_path / "cache"
    before = ask(tmp_path, cache)
    assert abs(before - 0.26236426446749106) < 1e-15
    callee = tmp_path / "lockstep" / "core" / "scalar_math.py"
    source = callee.read_text()
    old, new = "_LOG_COEFFICIENTS: Final = tuple(2.0 /", "_LOG_COEFFICIENTS: Final = tuple(2.5 /"
    callee.write_text(source.replace(old, new))
    assert callee.read_text() != source
    assert ask(tmp_path, cache) != before
    callee.write_text(source)
    assert ask(tmp_path, cache) == before


def test_the_users_own_functions_keep_their_own_cache() -> None:
    from numba import config

    before = config.CACHE_DIR
    compiled.kernel(lambda: 0)
    assert before == config.CACHE_DIR


def test_other_options_of_the_compiler_have_another_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    """numba would go on with code of other options: its index knows signature, CPU and the function's own file."""
    from numba import config

    before = compiled.cache_folder.__wrapped__("core")
    monkeypatch.setattr(config, "OPT", 1)
    assert compiled.cache_folder.__wrapped__("core") != before


def test_a_room_sees_changes_in_the_rooms_below_it_alone() -> None:
    folders = [compiled.cache_folder(room) for room in (*compiled.ROOMS_WITH_KERNELS, "")]
    assert all(folder is not None for folder in folders)
    assert len(set(folders)) >= 2
    assert folders[-1] == folders[-2]  # a room of the user's stands above all of Lockstep's


def test_the_target_names_a_chosen_cpu_or_the_hosts_own_with_its_features(monkeypatch: pytest.MonkeyPatch) -> None:
    from llvmlite import binding
    from numba import config

    host = compiled.compiler_target()
    assert host.startswith(f"{binding.get_host_cpu_name()} features ")
    monkeypatch.setattr(config, "CPU_FEATURES", "+sse2")
    assert compiled.compiler_target().startswith(f"{binding.get_host_cpu_name()} features ")
    monkeypatch.setattr(config, "CPU_NAME", "generic")
    assert compiled.compiler_target() == "generic,+sse2"
    monkeypatch.setattr(config, "CPU_FEATURES", None)
    assert compiled.compiler_target().startswith("generic features ")
