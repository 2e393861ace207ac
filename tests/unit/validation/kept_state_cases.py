"""Strategies as users write them that keep state between calls, by place, and honest ones that only look so."""

HEAD = """
import builtins
import functools
import itertools
import os
import random
from pathlib import Path

import numpy as np

import lockstep as ls


def stats_of(close):
    return float(close.mean()), float(close.std())


class Rule(ls.Strategy):
    parameters = {"z": (0.5, 2.0)}
    defaults = {"z": 1.0}

    def warmup(self, params):
        return 10

    def signals(self, view, params):
        mean, deviation = self.stats(view, params)
        far = (view.close - mean) / deviation
        side = np.where(far < -params["z"], 1, np.where(far > params["z"], -1, 0)).astype(np.int8)
        side[:10] = 0
        return ls.Signals(side=side)
"""

KEPT = {
    "on the instance": (
        "self.kept",
        """
class Mine(Rule):
    kept = None
    def stats(self, view, params):
        if self.kept is None:
            self.kept = stats_of(view.close)
        return self.kept
""",
    ),
    "on the class": (
        "Mine.kept",
        """
class Mine(Rule):
    kept = None
    def stats(self, view, params):
        if Mine.kept is None:
            Mine.kept = stats_of(view.close)
        return Mine.kept
""",
    ),
    "in the module": (
        "KEPT['s']",
        """
KEPT = {}
class Mine(Rule):
    def stats(self, view, params):
        return KEPT.setdefault("s", stats_of(view.close))
""",
    ),
    "in a global name": (
        "kept",
        """
kept = None
class Mine(Rule):
    def stats(self, view, params):
        global kept
        kept = kept or stats_of(view.close)
        return kept
""",
    ),
    "by parameter": (
        "KEPT[",
        """
KEPT = {}
class Mine(Rule):
    def stats(self, view, params):
        if params["z"] not in KEPT:
            KEPT[params["z"]] = stats_of(view.close)
        return KEPT[params["z"]]
""",
    ),
    "in a default argument": (
        "a default argument of Mine.stats",
        """
class Mine(Rule):
    def stats(self, view, params, kept=[]):
        if not kept:
            kept.append(stats_of(view.close))
        return kept[0]
""",
    ),
    "in a cached function": (
        "the cache of fitted",
        """
now = [None]
@functools.cache
def fitted():
    return stats_of(now[0])
class Mine(Rule):
    def stats(self, view, params):
        now[0] = view.close
        return fitted()
""",
    ),
    "in a cache with bounds": (
        "the cache of fitted",
        """
now = [None]
@functools.lru_cache(maxsize=8)
def fitted(z):
    return stats_of(now[0])
class Mine(Rule):
    def stats(self, view, params):
        now[0] = view.close
        return fitted(params["z"])
""",
    ),
    "around a function": (
        "the variable kept around make.<locals>.fitted",
        """
def make():
    kept = []
    def fitted(close):
        if not kept:
            kept.append(stats_of(close))
        return kept[0]
    return fitted
fitted = make()
class Mine(Rule):
    def stats(self, view, params):
        return fitted(view.close)
""",
    ),
    "in a rebound variable around a function": (
        "the variable kept around make.<locals>.fitted",
        """
def make():
    kept = None
    def fitted(close):
        nonlocal kept
        kept = kept or stats_of(close)
        return kept
    return fitted
fitted = make()
class Mine(Rule):
    def stats(self, view, params):
        return fitted(view.close)
""",
    ),
    "on the function": (
        "fitted.kept",
        """
def fitted(close):
    if not hasattr(fitted, "kept"):
        fitted.kept = stats_of(close)
    return fitted.kept
class Mine(Rule):
    def stats(self, view, params):
        return fitted(view.close)
""",
    ),
    "in an array": (
        "KEPT",
        """
KEPT = np.zeros(2)
class Mine(Rule):
    def stats(self, view, params):
        if KEPT[1] == 0.0:
            KEPT[:] = stats_of(view.close)
        return KEPT
""",
    ),
    "in an object": (
        "memory.kept",
        """
class Memory:
    __slots__ = ("kept",)
    def __init__(self):
        self.kept = None
memory = Memory()
class Mine(Rule):
    def stats(self, view, params):
        memory.kept = memory.kept or stats_of(view.close)
        return memory.kept
""",
    ),
    "in a generator": (
        "kept",
        """
def remembering():
    close = yield
    first = stats_of(close)
    while True:
        close = yield first
kept = remembering()
next(kept)
class Mine(Rule):
    def stats(self, view, params):
        return kept.send(view.close)
""",
    ),
    "behind a bound method": (
        "keep",
        """
keep = {}.setdefault
class Mine(Rule):
    def stats(self, view, params):
        return keep("s", stats_of(view.close))
""",
    ),
    "on a library": (
        "numpy.kept_for_a_test",
        """
class Mine(Rule):
    def stats(self, view, params):
        if not hasattr(np, "kept_for_a_test"):
            np.kept_for_a_test = stats_of(view.close)
        return np.kept_for_a_test
""",
    ),
    "on a base class": (
        "Strategy.kept_for_a_test",
        """
class Mine(Rule):
    def stats(self, view, params):
        if not hasattr(ls.Strategy, "kept_for_a_test"):
            ls.Strategy.kept_for_a_test = stats_of(view.close)
        return ls.Strategy.kept_for_a_test
""",
    ),
    "in the environment": (
        "os.environ['KEPT_FOR_A_TEST']",
        """
class Mine(Rule):
    def stats(self, view, params):
        text = os.environ.setdefault("KEPT_FOR_A_TEST", "%r %r" % stats_of(view.close))
        return tuple(map(float, text.split()))
""",
    ),
    "in a file": (
        "the file",
        """
class Mine(Rule):
    def stats(self, view, params):
        file = Path(os.environ["TMPDIR_FOR_A_TEST"]) / "kept.npy"
        if not file.exists():
            np.save(file, np.array(stats_of(view.close)))
        return np.load(file)
""",
    ),
    "in a file that is renamed": (
        "the file",
        """
class Mine(Rule):
    def stats(self, view, params):
        folder = Path(os.environ["TMPDIR_FOR_A_TEST"])
        if not (folder / "kept.txt").exists():
            (folder / "new.txt").write_text("%r %r" % stats_of(view.close))
            os.replace(folder / "new.txt", folder / "kept.txt")
        return tuple(map(float, (folder / "kept.txt").read_text().split()))
""",
    ),
    "in the last view": (
        "self.last",
        """
class Mine(Rule):
    last = None
    def stats(self, view, params):
        close = view.close if self.last is None else self.last.close
        self.last = view
        return stats_of(close[:500])
""",
    ),
    "as a count of calls": (
        "calls",
        """
calls = 0
class Mine(Rule):
    def stats(self, view, params):
        global calls
        calls += 1
        return (1.1, 0.05) if calls < 1_000 else stats_of(view.close)
""",
    ),
    "as a count in an iterator": (
        "calls",
        """
calls = itertools.count()
class Mine(Rule):
    def stats(self, view, params):
        return (1.1, 0.05) if next(calls) < 1_000 else stats_of(view.close)
""",
    ),
    "as a list that grows": (
        "calls",
        """
calls = []
class Mine(Rule):
    def stats(self, view, params):
        calls.append(None)
        return (1.1, 0.05) if len(calls) < 1_000 else stats_of(view.close)
""",
    ),
    "as a generator of random numbers": (
        "draws",
        """
draws = np.random.default_rng(3)
class Mine(Rule):
    def stats(self, view, params):
        return (1.1 + 0.001 * draws.standard_normal(), 0.05)
""",
    ),
}

HONEST = {
    "a cache by bytes": """
KEPT = {}
class Mine(Rule):
    def stats(self, view, params):
        key = view.close.tobytes()
        if key not in KEPT:
            KEPT[key] = np.maximum.accumulate(view.close), 0.01
        return KEPT[key]
""",
    "a cache by parameter and bytes": """
class Mine(Rule):
    def __init__(self):
        self.kept = {}
    def stats(self, view, params):
        of_z = self.kept.setdefault(params["z"], {})
        return of_z.setdefault(hash(view.close.tobytes()), (np.maximum.accumulate(view.close), 0.01))
""",
    "a cache of one entry": """
class Mine(Rule):
    key = value = None
    def stats(self, view, params):
        if self.key != view.close.tobytes():
            self.key, self.value = view.close.tobytes(), (np.maximum.accumulate(view.close), 0.01)
        return self.value
""",
    "functools by bytes": """
@functools.lru_cache(maxsize=2)
def highest(data):
    return np.maximum.accumulate(np.frombuffer(data))
class Mine(Rule):
    def stats(self, view, params):
        return highest(view.close.tobytes()), 0.01
""",
    "a table that is worked out once": """
@functools.cache
def weights(z):
    return np.exp(-z * np.arange(50.0))
class Mine(Rule):
    table = None
    def stats(self, view, params):
        if self.table is None:
            self.table = np.linspace(0.01, 0.02, 10)
        weights(params["z"])
        return np.maximum.accumulate(view.close), self.table[0]
""",
    "a library that is loaded at first use": """
frames = None
class Mine(Rule):
    def stats(self, view, params):
        global frames
        import pandas as frames
        series = frames.Series(view.close, index=frames.to_datetime(view.timestamp, unit="ms"))
        return series.expanding().max().to_numpy(), 0.01
""",
    "a compiled function": """
import numba
@numba.njit
def highest(values):
    out = values.copy()
    for i in range(1, values.size):
        out[i] = max(out[i], out[i - 1])
    return out
class Mine(Rule):
    def stats(self, view, params):
        return highest(view.close), 0.01
""",
    "draws with a seed": """
class Mine(Rule):
    def stats(self, view, params):
        random.seed(5)
        np.random.seed(5)
        own = np.random.default_rng(5)
        return 1.1 + 0.01 * (random.random() + np.random.random() + own.random()), 0.01
""",
    "files by bytes, with an index": """
class Mine(Rule):
    def stats(self, view, params):
        folder = Path(os.environ["TMPDIR_FOR_A_TEST"])
        file = folder / f"{hash(view.close.tobytes())}.npy"
        if not file.exists():
            np.save(file, np.maximum.accumulate(view.close))
            with open(folder / "index.txt", "a+") as index:
                index.write(file.name)
        return np.load(file), 0.01
""",
    "a frame beside the rule": """
import pandas as pd
TABLE = pd.DataFrame({"mean": [1.1], "deviation": [0.01]})
class Mine(Rule):
    def stats(self, view, params):
        return TABLE["mean"].iloc[0], TABLE.loc[0, "deviation"]
""",
    "a log and a file of the last call": """
import logging
log = logging.getLogger("mine")
class Mine(Rule):
    def stats(self, view, params):
        log.debug("%d bars", len(view))
        folder = Path(os.environ["TMPDIR_FOR_A_TEST"])
        with open(folder / "calls.log", "a") as file:
            file.write("called")
        (folder / "last.txt").write_text(str(len(view)))
        return np.maximum.accumulate(view.close), 0.01
""",
}
