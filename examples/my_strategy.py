"""A strategy of your own: breakouts above the last channel while price stands above the last day's close.

In a spec beside this file:  [strategy] name = "my_strategy.py:TrendBreakout"
In Python:                   ls.backtest(ls.sample_candles(), TrendBreakout, {"channel": 40})
"""

import numpy as np

import lockstep as ls
from lockstep.market.indicators import previous_max
from lockstep.strategies import HigherTimeframe


class TrendBreakout(ls.Strategy):
    parameters = {"channel": (10, 100), "stop_atr": (1.0, 4.0), "reward": [1.5, 2.0, 3.0]}
    defaults = {"channel": 40, "stop_atr": 2.0, "reward": 2.0}
    inputs = {"day": HigherTimeframe("1d")}

    def warmup(self, params):
        return max(params["channel"], 48) + 1  # the first whole day ends within 48 hours

    def signals(self, view, params):
        ceiling = previous_max(view.high, params["channel"])  # highest high of the bars before this one
        rising = view.close > view["day"].close  # the last day that has closed
        enter = (view.close > ceiling) & rising & np.isfinite(view.rolling_atr(14))
        enter[: self.warmup(params)] = False
        distance = params["stop_atr"] * view.rolling_atr(14)
        return ls.Signals(
            side=enter.astype(np.int8),
            stop=view.close - distance,
            target=view.close + params["reward"] * distance,
            time_limit=5 * params["channel"],
        )
