"""Strategies whose functions are compiled by numba with a cache, also where they run from a run's folder."""

from __future__ import annotations

from pathlib import Path

from tests.acceptance.user import User

STRATEGY = """
import numba
import numpy as np
import lockstep as ls

EVERY = 7

@numba.njit(cache=True)
def entries(close, first):
    side = np.zeros(close.size, dtype=np.int8)
    for bar in range(first, close.size, EVERY):
        side[bar] = 1 if close[bar] > close[bar - first] else -1
    return side

class Mine(ls.Strategy):
    parameters = {"first": (5, 9)}
    defaults = {"first": 5}

    def warmup(self, params):
        return 10

    def signals(self, view, params):
        side = entries(view.close, params["first"])
        side[:10] = 0
        return ls.Signals(side=side, stop=view.close * 0.99, target=view.close * 1.01, time_limit=5)
"""
SPEC = """
kind = "strategy"
data = { source = "sample", last = 300 }
strategy = { name = "mine.py:Mine" }
costs = { fee_rate = 0.0, spread_pips = 0.8 }
search = { n_iterations = 4, min_trades = 1 }
"""


def test_a_cached_function_in_a_strategy_trains_and_verifies(tmp_path: Path) -> None:
    """The text runs from the user's file in `train` and from the run's folder in `verify`."""
    user = User(tmp_path)
    (tmp_path / "mine.py").write_text(STRATEGY)
    (tmp_path / "spec.toml").write_text(SPEC)
    user("train", "spec.toml")
    assert "equal, bit for bit" in str(user("verify", "last"))
