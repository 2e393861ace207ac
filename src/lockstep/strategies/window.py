"""One set of parameters traded inside a window of a market, with the bars before it known.

    | bars before: seen, so that indicators are warm | window: traded, with the capital as new | bars after: not there |
    0                                             start                                      stop

This is how a set is looked at that was chosen on other bars: a held-out part, or a test window of a walk-forward.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING

import numpy as np

from lockstep.core.errors import InputError
from lockstep.engine.signals import Signals
from lockstep.engine.simulate import Simulation, simulate
from lockstep.strategies.evaluate import Evaluator, decide

if TYPE_CHECKING:
    from lockstep.engine.costs import Costs
    from lockstep.engine.settings import Execution
    from lockstep.market.candles import Candles
    from lockstep.strategies.base import Params
    from lockstep.strategies.inputs import Series
    from lockstep.strategies.registry import Reference


def trade_window(
    strategy: Reference,
    params: Params,
    candles: Candles,
    start: int,
    stop: int | None = None,
    *,
    costs: Costs | None = None,
    execution: Execution | None = None,
    inputs: Mapping[str, Series] | None = None,
) -> tuple[Candles, Simulation]:
    """The bars [start, stop) of `candles` and the trades of one set in them; everything else as for `backtest`.

    Signals come from all bars before `stop`, so warm-up falls into bars before the window where there are enough. Only
    signals of bars in the window are traded; what is open at its end is closed there, so that two windows share no
    trade.

    start, stop   row numbers; stop left out, the window ends with the candles

    Raises InputError for a window that does not lie in the candles, and as `backtest` does.
    """
    stop = len(candles) if stop is None else stop
    if not 0 <= start < stop <= len(candles):
        raise InputError(
            f"a window lies in the candles and holds a bar: 0 <= start < stop <= {len(candles)}; found {start} and "
            f"{stop}"
        )
    # Without the bars after the window: a leak could not read them even if there were one.
    seen = Evaluator(strategy, candles.head(stop), costs=costs, execution=execution, inputs=inputs)
    signals = decide(seen.strategy, seen.view, seen.strategy.resolve(params))
    bars = candles.slice(start, stop)
    return bars, simulate(bars, _from(signals, start), seen.costs, seen.execution)


def _from(signals: Signals, start: int) -> Signals:
    """The signals of bar `start` and later ones; what is one number for all bars stays that number."""
    levels = {
        name: value[start:] if isinstance(value, np.ndarray) else value
        for name in ("stop", "target", "time_limit", "exit", "trail")
        if (value := getattr(signals, name)) is not None
    }
    return Signals(side=signals.side[start:], **levels)
