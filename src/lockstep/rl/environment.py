"""A market of one asset to act in: bars in, SELL / HOLD / BUY out, profit after costs as the reward.

Notation
    t        decision bar; everything the agent sees ends with its close
    o, h, l, c, v   open, high, low, close, volume of a bar
    s        side held, -1, 0 or +1
    u        units held, s / (fill price at entry): one initial capital is invested, profits are not
    cash     in units of the initial capital, 1 at the beginning
    E_t      equity at the close of bar t, cash + u c_t                                                         (1)

A step at bar t: the action decides the side to hold. Where that differs from s, the old position is closed and the new
one opened at o_{t+1}, both at adverse prices and with a fee on the capital invested, as the engine does
(`engine.costs`, docs/engine.md). Then bar t + 1 passes, and the reward is E_{t+1} - E_t: rewards add up to the profit.
SELL goes short, or out of the market where shorts are not allowed; HOLD keeps the position.

Observation, float32 (4 lookback + 3,), of the last `lookback` bars i <= t, oldest first:
    (c_i / c_{i-1} - 1) / R,  (h_i - l_i) / c_i / R,  (c_i - o_i) / o_i / R,  v_i / V - 1     cut off at -10 and 10
    s,  k u (c_t - entry price),  k (E_t - 1)                                               cut off in the same way
where k is `account_scale`, R is the mean of (h - l) / c and V the mean volume of the same bars; a term whose mean is 0
is 0. Nothing in it depends on a bar after t, nor on statistics of the whole data set.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import InputError, RefusedError
from lockstep.engine.costs import Costs
from lockstep.episodes.outcomes import Action
from lockstep.market.candles import Candles
from lockstep.runs.seeds import DEFAULT_SEED, SeedTree

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.runs.training import State

STATE_VERSION: Final = 1
_PER_BAR: Final = 4
_OF_THE_ACCOUNT: Final = 3
_LIMIT: Final = 10.0


@dataclass(frozen=True, kw_only=True, eq=False)
class StepResult:
    """Result of one step.

    observation  float32 (4 lookback + 3,), of the new decision bar
    reward       change of the equity, a fraction of the initial capital
    terminated   the capital is lost: no reward follows, so the next state has the value 0
    truncated    the episode ends though the market goes on: the next state keeps its value
    """

    observation: NDArray[np.float32]
    reward: float
    terminated: bool
    truncated: bool


class SingleAssetEnvironment:
    """An environment of one market: `reset` begins an episode, `step` acts.

    candles        the market, at least lookback + 2 bars
    lookback       bars in an observation, >= 2
    costs          fees, slippage, spread; default none
    allow_short    whether SELL goes short (True) or out of the market
    episode_bars   steps of an episode, which begins at a random bar; None: one episode through all bars
    account_scale  factor of the two account features, > 0: profits are small, networks learn best from inputs around
                   1. Take it from training rows only
    seed           a number, or the node of the seed tree that this environment may use

    Raises InputError for too few bars, or a number outside its range.
    """

    actions: Final = tuple(Action)

    def __init__(
        self,
        candles: Candles,
        *,
        lookback: int = 16,
        costs: Costs | None = None,
        allow_short: bool = True,
        episode_bars: int | None = None,
        account_scale: float = 1.0,
        seed: int | SeedTree = DEFAULT_SEED,
    ) -> None:
        if not (account_scale > 0.0 and math.isfinite(account_scale)):
            raise InputError(f"environment: account_scale is a finite number above 0; found {account_scale!r}.")
        steps = 1 if episode_bars is None else episode_bars
        if lookback < 2 or steps < 1:
            raise InputError(
                f"environment: lookback is at least 2 bars and an episode at least 1; found {lookback} and {steps}."
            )
        if len(candles) < lookback + 1 + steps:
            raise InputError(
                f"environment: {lookback} bars of lookback and an episode of {steps} need {lookback + 1 + steps} bars; "
                f"found {len(candles)}. Load more, or shorten one of them."
            )
        self.candles, self.costs, self.allow_short = candles, costs if costs is not None else Costs(), allow_short
        self.lookback, self.episode_bars, self.account_scale = lookback, episode_bars, account_scale
        tree = seed if isinstance(seed, SeedTree) else SeedTree(seed)
        self._generator = tree.child("environment").generator()
        self._range = (candles.high - candles.low) / candles.close
        self._returns = np.zeros(len(candles))
        self._returns[1:] = candles.close[1:] / candles.close[:-1] - 1.0
        self._body = (candles.close - candles.open) / candles.open
        self._bar = self._end = 0
        self._running = False
        self._side, self._units, self._entry, self._cash = 0, 0.0, 0.0, 1.0

    @property
    def observation_shape(self) -> tuple[int]:
        """Shape of the observations of `reset` and `step`: (4 lookback + 3,)."""
        return (_PER_BAR * self.lookback + _OF_THE_ACCOUNT,)

    @property
    def bar(self) -> int:
        """The decision bar t, an index into the candles."""
        return self._bar

    @property
    def running(self) -> bool:
        """Whether an episode is running, so that `step` may be called."""
        return self._running

    @property
    def side(self) -> int:
        """Side of the position: -1 short, 0 out of the market, +1 long."""
        return self._side

    @property
    def equity(self) -> float:
        """Equation (1), as a fraction of the initial capital."""
        return self._cash + self._units * float(self.candles.close[self._bar])

    def reset(self) -> NDArray[np.float32]:
        """Begin an episode without a position. Returns the first observation."""
        first, last = self.lookback, len(self.candles) - 1
        if self.episode_bars is None:
            self._bar, self._end = first, last
        else:
            starts = last - self.episode_bars - first + 1
            self._bar = first + min(math.floor(self._generator.random() * starts), starts - 1)
            self._end = self._bar + self.episode_bars
        self._side, self._units, self._entry, self._cash = 0, 0.0, 0.0, 1.0
        self._running = True
        return self.observe()

    def step(self, action: int) -> StepResult:
        """Act at the close of the decision bar; the next bar passes.

        Raises InputError for an action that is not SELL, HOLD or BUY, RefusedError where no episode is running.
        """
        if isinstance(action, bool) or action not in (Action.SELL, Action.HOLD, Action.BUY):
            raise InputError(f"environment: an action is 0 (SELL), 1 (HOLD) or 2 (BUY); found {action!r}.")
        if not self._running:
            raise RefusedError("environment: a step belongs to an episode; none is running. Call reset() first.")
        before = self.equity
        side = self.side_after(self._side, action)
        if side != self._side:
            # Not at the decision bar's close: that price is gone when the decision is made.
            price = float(self.candles.open[self._bar + 1])
            self._close(price)
            self._open(side, price)
        self._bar += 1
        after = self.equity
        terminated = after <= 0.0
        truncated = not terminated and self._bar == self._end
        self._running = not (terminated or truncated)
        return StepResult(observation=self.observe(), reward=after - before, terminated=terminated, truncated=truncated)

    def side_after(self, side: int, action: int) -> int:
        """The side that an action leads to from `side`: -1, 0 or 1."""
        return side if action == Action.HOLD else 1 if action == Action.BUY else -1 if self.allow_short else 0

    def _close(self, price: float) -> None:
        if self._side:
            filled = self.costs.sell_price(price) if self._side > 0 else self.costs.buy_price(price)
            value = self._units * filled
            self._cash += value - self.costs.fee_rate
            self._side, self._units, self._entry = 0, 0.0, 0.0

    def _open(self, side: int, price: float) -> None:
        if side:
            filled = self.costs.buy_price(price) if side > 0 else self.costs.sell_price(price)
            self._side, self._units, self._entry = side, side / filled, filled
            self._cash -= side + self.costs.fee_rate  # one initial capital is paid, or received for a short

    def observe(self) -> NDArray[np.float32]:
        """The observation at the close of the decision bar, float32 (4 lookback + 3,)."""
        window = slice(self._bar - self.lookback + 1, self._bar + 1)
        volume = self.candles.volume[window]
        # math.fsum: correctly rounded, so it depends on no order and on no vector unit.
        mean_range = math.fsum(self._range[window]) / self.lookback
        mean_volume = math.fsum(volume) / self.lookback
        seen = np.zeros((self.lookback, _PER_BAR))
        if mean_range > 0.0:
            seen[:, 0] = self._returns[window] / mean_range
            seen[:, 1] = self._range[window] / mean_range
            seen[:, 2] = self._body[window] / mean_range
        if mean_volume > 0.0:
            seen[:, 3] = volume / mean_volume - 1.0
        result = np.empty(self.observation_shape, np.float32)
        result[:-_OF_THE_ACCOUNT] = np.clip(seen, -_LIMIT, _LIMIT).reshape(-1)
        unrealised = self._units * (float(self.candles.close[self._bar]) - self._entry)
        account = np.array((unrealised, self.equity - 1.0)) * self.account_scale
        result[-_OF_THE_ACCOUNT] = self._side
        result[1 - _OF_THE_ACCOUNT :] = np.clip(account, -_LIMIT, _LIMIT)
        return result

    def get_state(self) -> dict[str, Any]:
        """Everything that later steps depend on, the digest of the candles included."""
        return {
            "version": STATE_VERSION,
            "data": self.candles.digest,
            "bar": self._bar,
            "end": self._end,
            "running": self._running,
            "side": self._side,
            "units": self._units,
            "entry": self._entry,
            "cash": self._cash,
            "generator": self._generator.bit_generator.state,
        }

    def set_state(self, state: State) -> None:
        """Restore a state that `get_state` returned; later steps are the same to the last bit.

        Raises InputError for a state of another version or of other candles.
        """
        if state.get("version") != STATE_VERSION:
            raise InputError(
                f"environment: a state of version {STATE_VERSION} is needed; found {state.get('version')!r}."
            )
        if state["data"] != self.candles.digest:
            raise InputError(
                f"environment: a state belongs to its candles, {state['data'][:12]}; found {self.candles.digest[:12]}."
            )
        self._bar, self._end, self._running = int(state["bar"]), int(state["end"]), bool(state["running"])
        self._side, self._units = int(state["side"]), float(state["units"])
        self._entry, self._cash = float(state["entry"]), float(state["cash"])
        self._generator.bit_generator.state = state["generator"]

    def check_valid(self) -> tuple[bool, str]:
        """Whether position, bar and account agree; else (False, the rule that is broken)."""
        if self._side not in (-1, 0, 1) or self._units != (self._side / self._entry if self._side else 0.0):
            return False, f"units are side / entry; {self._units!r} with side {self._side} and entry {self._entry!r}"
        if self._side < 0 and not self.allow_short:
            return False, "shorts are not allowed; one is held"
        if self._running and not self.lookback <= self._bar < self._end < len(self.candles):
            return False, f"a running episode lies before its end and inside the data; bar {self._bar} of {self._end}"
        if self._running and self.equity <= 0.0:
            return False, "an episode ends when the capital is gone; it runs on"
        return True, ""
