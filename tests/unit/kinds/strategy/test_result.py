"""The end of a search: the winner run again, and the held-out part by the same rules as the search."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tests.unit.kinds.builders import finished, plan_from, spec_of, training_from

import lockstep as ls
from lockstep.core.errors import NotEqualError
from lockstep.engine.metrics import Metric
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import simulate
from lockstep.runs.kind import PrepareContext
from lockstep.runs.store import FolderRunStore

MOODY = '''
import numpy as np
import lockstep as ls

answered = set()


class Moody(ls.Strategy):
    """Buys every n-th bar, and one bar later when it is asked the same again: no function of its input."""

    parameters = {"n": (20, 40)}

    def signals(self, view, params):
        side = np.zeros(len(view), np.int8)
        side[(1 if params["n"] in answered else 0) :: params["n"]] = 1
        answered.add(params["n"])
        return ls.Signals(side=side, time_limit=5)
'''

LEAVES = '''
import numpy as np
import lockstep as ls


class Leaves(ls.Strategy):
    """Buys every n-th bar and leaves three bars later by its exit flag."""

    parameters = {"n": (20, 40)}

    def signals(self, view, params):
        bars = np.arange(len(view))
        return ls.Signals(side=(bars % params["n"] == 0).astype(np.int8), exit=bars % params["n"] == 3)
'''


def context_with(home: Path, source: str) -> PrepareContext:
    (home / "mine.py").write_text(source)
    return PrepareContext(blobs=FolderRunStore(home).blobs, home=home, base=home)


def test_a_search_whose_winner_does_not_repeat_has_no_result(tmp_path: Path) -> None:
    """A search asks each set once; the winner is asked again at the end, and answers something else."""
    with pytest.raises(NotEqualError, match=r"trial \d+ gave .* in the search and .* when run again as a backtest"):
        finished(tmp_path, context_with(tmp_path, MOODY), strategy={"name": "mine.py:Moody", "space": None})


def test_exit_flags_end_trades_in_the_held_out_part_as_they_do_in_the_search(tmp_path: Path) -> None:
    """Without them each trade would last until the last bar, which is another result."""
    strategy = {"name": "mine.py:Leaves", "space": None}
    summary = finished(tmp_path, context_with(tmp_path, LEAVES), strategy=strategy, validation={"holdout_bars": 300})
    spec, n = spec_of(), summary["best"]["parameters"]["n"]
    # The sample's last 1,500 bars, of which the last 300 are held out; the rule counts from the first of all.
    bars = np.arange(1_500)[1_200:]
    side = (bars % n == 0).astype(np.int8)
    found = {}
    for leaving in (bars % n == 3, None):
        simulation = simulate(
            ls.sample_candles().tail(300),
            Signals(side=side, exit=leaving),
            spec.costs_for("EUR/USD"),
            spec.execution_settings(),
        )
        found[leaving is None] = {str(metric): value for metric, value in simulation.metrics.items()}
    assert summary["holdout"]["metrics"] == found[False]
    assert found[False] != found[True]
    assert summary["holdout"]["metrics"]["total_trades"] == np.count_nonzero(side[:-1]) > 5


def test_workers_trade_by_the_rules_of_the_spec(tmp_path: Path) -> None:
    """What a worker computes of a set is what the plan's own engine computes, with rules that are not the default."""
    execution = {"risk_per_trade": 0.05, "initial_capital": 5_000.0}
    plan = plan_from(tmp_path, execution=execution)
    rows = next(iter(training_from(tmp_path, execution=execution).steps())).segments["trials"]
    default = next(iter(training_from(tmp_path).steps())).segments["trials"]
    parameters = {name: rows[f"parameter.{name}"][0].item() for name in plan.space}
    again = plan.evaluator().one(parameters)
    assert rows["metric.net_profit"][0] == again.metrics[Metric.NET_PROFIT]
    assert rows["metric.net_profit"][0] != default["metric.net_profit"][0]
    assert again.metrics[Metric.TOTAL_TRADES] > 0
