"""Loaded before any test: commands of the tests get the environment that the tests were started with."""

import tests.fork_server  # noqa: F401
