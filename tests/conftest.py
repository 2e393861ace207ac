"""Loaded before any test: commands of the tests get the environment that the tests were started with."""

import gc
import os
import sys

# pytest's workers say how wide their terminal is; what a command prints into a pipe must not depend on that.
os.environ.pop("COLUMNS", None)

# Byte code is kept also where a machine forbids it: some hundred processes would compile every file again.
# Not under `make mutants`, whose faults may leave a file's time and length as they were.
if not {"LOCKSTEP_LINES", "LOCKSTEP_FIRST"} & set(os.environ):
    os.environ.pop("PYTHONDONTWRITEBYTECODE", None)
    sys.dont_write_bytecode = False

import tests.fork_server  # noqa: F401

# Libraries and tests that are loaded stay: looking at them again and again is a quarter of the time of loading them.
gc.disable()


def pytest_collection_finish() -> None:
    """From here on only what tests make is looked at."""
    gc.freeze()
    gc.enable()


def pytest_runtest_setup() -> None:
    """The workers may say it again after this file was loaded."""
    os.environ.pop("COLUMNS", None)
