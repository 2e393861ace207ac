"""Loaded before any test: commands of the tests get the environment that the tests were started with."""

import gc
import os
import sys
from pathlib import Path

# pytest's workers say how wide their terminal is; what a command prints into a pipe must not depend on that.
os.environ.pop("COLUMNS", None)

# Byte code is kept also where a machine forbids it: some hundred processes would compile every file again.
# Not under `make mutants`, whose faults may leave a file's time and length as they were.
if not {"LOCKSTEP_LINES", "LOCKSTEP_FIRST"} & set(os.environ):
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

# Homes of tests lie in memory where there is room: runs force what they write to the disk, ten thousands of times here.
_MEMORY = Path("/dev/shm")
_NEEDED_BYTES = 4 << 30
if _MEMORY.is_dir() and os.access(_MEMORY, os.W_OK):
    _state = os.statvfs(_MEMORY)
    # Some tests put programs there.
    if _state.f_bavail * _state.f_frsize >= _NEEDED_BYTES and not _state.f_flag & os.ST_NOEXEC:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(_MEMORY))

import tests.fork_server  # noqa: E402, F401

# Libraries and tests that are loaded stay: looking at them again and again is a quarter of the time of loading them.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on only what tests make is looked at."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup() -> None:
    """The workers may say it again after this file was loaded."""
    os.environ.pop("COLUMNS", None)
