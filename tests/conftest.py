"""Loaded before any test: commands of the tests get the environment that the tests were started with."""

import os

# pytest's workers say how wide their terminal is; what a command prints into a pipe must not depend on that.
os.environ.pop("COLUMNS", None)

import tests.fork_server  # noqa: F401


def pytest_runtest_setup() -> None:
    """The workers may say it again after this file was loaded."""
    os.environ.pop("COLUMNS", None)
