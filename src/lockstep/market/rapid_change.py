"""Rapid changes of a price: velocity, and volatility spikes against a baseline that adapts (R9.11, R9.12).

    t_k, p_k    time (milliseconds) and price of observation k, a trade or a bar's close
    j           last observation at or before t_k - window: the price as it was when the window began
    velocity    100 (p_k - p_j) / p_j / minutes from t_j to t_k: percent per minute, over the time that really passed
    r_k         p_k / p_(k-1) - 1
    sigma_k     population standard deviation of the last `returns` returns
    baseline    exponential mean (weight alpha on the newest) of the sigmas before k; frozen while they spike

A velocity trigger is |velocity| >= threshold. A volatility trigger is sigma_k >= multiplier x baseline, once `warmup`
sigmas have gone into the baseline, and never against a baseline of 0, to which nothing has a ratio. Everything at
observation k is a function of observations 0 ... k. One kernel serves the streaming and the batch form, so they agree
to the last bit; `scan_python` is its plain twin.

Observations are samples in time (bars, or `Trades.sampled`), not single trades: most returns from trade to trade are
zero, so the baseline comes near zero, and frozen it stays there. On the shared Bitcoin trades 93 % of the single trades
are "spikes", of their seconds none; on six weeks of minutes 1 %.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.compiled import kernel
from lockstep.core.errors import DataError, InputError
from lockstep.core.types import Float, Int

_VELOCITY_BIT: Final = 1
_VOLATILITY_BIT: Final = 2
# Slots of the state's whole numbers. An array, not an object: the kernel changes it in place.
_POINTER: Final = 0  # j, -1 before the first window is covered
_RETURNS: Final = 1  # returns seen
_SIGMAS: Final = 2  # sigmas that went into the baseline
_FROZEN: Final = 3  # observations for which the baseline has been frozen
_COLUMNS: Final = ("velocity", "before", "volatility", "baseline", "ratio")


class Trigger(StrEnum):
    """Which rule an observation met: that of velocity, that of volatility, or both."""

    VELOCITY = "velocity"
    VOLATILITY = "volatility"
    BOTH = "both"


_TRIGGERS: Final = {
    _VELOCITY_BIT: Trigger.VELOCITY,
    _VOLATILITY_BIT: Trigger.VOLATILITY,
    _VELOCITY_BIT | _VOLATILITY_BIT: Trigger.BOTH,
}


@dataclass(frozen=True, kw_only=True)
class RapidChangeRules:
    """Thresholds of the detector.

    velocity_threshold_pct_per_min  least |velocity| that triggers, percent per minute, > 0 (R9.11)
    velocity_window_s               length of the window of velocity, seconds, > 0
    volatility_multiplier           least ratio of volatility to its baseline that triggers, > 1 (R9.12)
    returns                         returns in a sigma, >= 2
    alpha                           weight of the newest sigma in the baseline, in (0, 1]
    warmup                          sigmas in the baseline before it can trigger, >= 1
    max_frozen                      observations after which a frozen baseline adapts all the same, so that a market
                                    which has become livelier for good is not called rapid for ever; None never does
                                    (R9.12).

    Raises InputError when a value is outside of its range.
    """

    velocity_threshold_pct_per_min: float = 0.5
    velocity_window_s: float = 60.0
    volatility_multiplier: float = 3.0
    returns: int = 20
    alpha: float = 0.05
    warmup: int = 20
    max_frozen: int | None = None

    def __post_init__(self) -> None:
        for name, low in (
            ("velocity_threshold_pct_per_min", 0.0),
            ("velocity_window_s", 0.0),
            ("volatility_multiplier", 1.0),
        ):
            value = getattr(self, name)
            if not (math.isfinite(value) and value > low):
                raise InputError(f"{name} is a finite number > {low:g}; found {value!r}.")
        if not 0.0 < self.alpha <= 1.0:
            raise InputError(f"alpha is a weight in (0, 1]; found {self.alpha!r}. The default is .05.")
        for name, least in (("returns", 2), ("warmup", 1), ("max_frozen", 1)):
            number = getattr(self, name)
            if number is not None and (not isinstance(number, int) or number < least):
                raise InputError(f"{name} is a whole number >= {least}; found {number!r}.")

    @property
    def window_ms(self) -> int:
        """Length of the window of velocity in whole milliseconds, at least one."""
        return max(1, round(self.velocity_window_s * 1_000.0))


DEFAULT_RULES: Final = RapidChangeRules()


@dataclass(frozen=True, kw_only=True)
class RapidChange:
    """One observation at which a trigger was met.

    timestamp             milliseconds UTC of the observation
    symbol                of the market
    price_before          price at the beginning of the window; where that is not covered yet, the oldest of the
                          returns'
    price_after           price of the observation
    change_pct            100 (price_after - price_before) / price_before
    velocity_pct_per_min  percent per minute; None before a whole window is covered
    volatility            sigma, a fraction per observation; None before there are enough returns
    baseline_volatility   the baseline it was compared with; None before there is one
    spike_ratio           volatility / baseline_volatility; None where undefined
    direction             1 up, -1 down, 0 unchanged
    trigger               which of the two, or both
    """

    timestamp: int
    symbol: str
    price_before: float
    price_after: float
    change_pct: float
    velocity_pct_per_min: float | None
    volatility: float | None
    baseline_volatility: float | None
    spike_ratio: float | None
    direction: int
    trigger: Trigger


@dataclass(frozen=True, kw_only=True, eq=False)
class RapidChanges:
    """The detector's values at every observation; read-only arrays (n,), NaN where a value is not defined.

    timestamp   int64, milliseconds UTC
    price       float64, the observations
    velocity    float64, percent per minute
    before      float64, `RapidChange.price_before`
    volatility  float64, a fraction per observation
    baseline    float64, the baseline before this observation
    ratio       float64, volatility / baseline
    trigger     int8, bit 1 velocity, bit 2 volatility; 0 none
    """

    timestamp: Int
    price: Float
    velocity: Float
    before: Float
    volatility: Float
    baseline: Float
    ratio: Float
    trigger: NDArray[np.int8]

    def __post_init__(self) -> None:
        for item in fields(self):
            view = getattr(self, item.name).view()
            view.flags.writeable = False
            object.__setattr__(self, item.name, view)

    def __len__(self) -> int:
        return int(self.timestamp.shape[0])

    def event(self, index: int, symbol: str) -> RapidChange | None:
        """The event of one observation, or None where nothing triggered."""
        bits = int(self.trigger[index])
        if bits == 0:
            return None
        before, after = float(self.before[index]), float(self.price[index])
        change = 100.0 * (after - before) / before
        return RapidChange(
            timestamp=int(self.timestamp[index]),
            symbol=symbol,
            price_before=before,
            price_after=after,
            change_pct=change,
            velocity_pct_per_min=_number(self.velocity[index]),
            volatility=_number(self.volatility[index]),
            baseline_volatility=_number(self.baseline[index]),
            spike_ratio=_number(self.ratio[index]),
            direction=(after > before) - (after < before),
            trigger=_TRIGGERS[bits],
        )

    def events(self, symbol: str) -> list[RapidChange]:
        """The events of all observations that met a rule, oldest first."""
        candidates = (self.event(index, symbol) for index in np.flatnonzero(self.trigger).tolist())
        return [event for event in candidates if event is not None]

    def within(self, moments: ArrayLike, window_ms: int) -> NDArray[np.bool_]:
        """Whether something triggered in (t - window, t], for each moment t: bool, the shape of `moments`."""
        times = self.timestamp[self.trigger > 0]
        last = np.searchsorted(times, np.asarray(moments, np.int64), side="right")
        first = np.searchsorted(times, np.asarray(moments, np.int64) - window_ms, side="right")
        return np.asarray(last > first)


def _number(value: Any) -> float | None:
    return None if math.isnan(value) else float(value)


def scan_python(
    time: Int,
    price: Float,
    begin: int,
    window_ms: int,
    threshold: float,
    multiplier: float,
    alpha: float,
    warmup: int,
    max_frozen: int,
    ring: Float,
    state: Int,
    baseline: Float,
    out: Float,
    trigger: NDArray[np.int8],
) -> None:
    """Observations `begin` ... n - 1, with the state that those before them left; see the module's head.

    time        int64 (n,), milliseconds, never falling
    price       float64 (n,), > 0
    begin       first observation to look at; those before it may be the last few only
    window_ms   length of the window of velocity, milliseconds
    threshold   least |velocity| that triggers, percent per minute
    multiplier  least sigma / baseline that triggers
    alpha       weight of the newest sigma in the baseline
    warmup      sigmas in the baseline before it can trigger
    max_frozen  observations after which a frozen baseline adapts; 0 for never
    ring        float64 (returns,), the last returns, at index (number of the return) % returns; changed
    state       int64 (4,), the slots named at the module's head; changed
    baseline    float64 (1,), an array so that it can be changed
    out         float64 (n - begin, 5): velocity, price before, sigma, baseline, ratio; filled
    trigger     int8 (n - begin,), filled
    """
    length = ring.shape[0]
    for k in range(begin, time.shape[0]):
        row = k - begin
        bits = 0
        velocity, before, sigma, ratio = np.nan, np.nan, np.nan, np.nan
        # The pointer never goes back, because times never fall: all windows together cost one pass over the series.
        j = state[_POINTER]
        while j + 1 < k and time[j + 1] <= time[k] - window_ms:
            j += 1
        state[_POINTER] = j
        if j >= 0:
            before = price[j]
            # By the time that really passed, at least window_ms > 0: after a gap a move counts less than a fast one.
            velocity = 100.0 * (price[k] - before) / before / ((time[k] - time[j]) / 60000.0)
            if abs(velocity) >= threshold:
                bits |= _VELOCITY_BIT
        # Before this observation enters it: a spike must not be compared with itself.
        out[row, 3] = baseline[0]
        if k > 0:
            ring[state[_RETURNS] % length] = price[k] / price[k - 1] - 1.0
            state[_RETURNS] += 1
        if state[_RETURNS] >= length and k > 0:
            # Not a whole window yet, but a volatility event needs a price to compare with.
            if j < 0:
                before = price[k - length]
            # Oldest first, and as differences from the oldest: equal returns have a deviation of exactly 0.
            oldest = ring[state[_RETURNS] % length]
            mean = 0.0
            for i in range(1, length):
                mean += ring[(state[_RETURNS] + i) % length] - oldest
            mean = oldest + mean / length
            total = 0.0
            for i in range(length):
                distance = ring[(state[_RETURNS] + i) % length] - mean
                total += distance * distance
            sigma = np.sqrt(total / length)
            spiking = False
            # False for a baseline of 0, to which nothing has a ratio, and for NaN before the first sigma.
            if baseline[0] > 0.0:
                ratio = sigma / baseline[0]
                spiking = state[_SIGMAS] >= warmup and sigma >= multiplier * baseline[0]
            if spiking:
                bits |= _VOLATILITY_BIT
                state[_FROZEN] += 1
            # Frozen while it spikes, or a long spike would raise the baseline until it no longer counts as one.
            if not spiking or (max_frozen > 0 and state[_FROZEN] > max_frozen):
                if state[_SIGMAS] == 0:
                    baseline[0] = sigma
                else:
                    baseline[0] += alpha * (sigma - baseline[0])
                state[_SIGMAS] += 1
            if not spiking:
                state[_FROZEN] = 0
        out[row, 0] = velocity
        out[row, 1] = before
        out[row, 2] = sigma
        out[row, 4] = ratio
        trigger[row] = bits


scan = kernel(scan_python)


class RapidChangeDetector:
    """The detector of one symbol, fed observation by observation or in pieces of any size: the results are the same.

    Memory: the observations of the last window, and never fewer than the returns of one sigma.
    """

    def __init__(self, symbol: str, rules: RapidChangeRules = DEFAULT_RULES) -> None:
        self.symbol = symbol
        self.rules = rules
        self._ring = np.zeros(rules.returns)
        self._state = np.array([-1, 0, 0, 0], np.int64)
        self._baseline = np.full(1, np.nan)
        self._time = np.empty(0, np.int64)
        self._price = np.empty(0)

    def update(self, timestamp: int, price: float) -> RapidChange | None:
        """Take in one observation; the event it makes, or None. Raises DataError, and then nothing has changed."""
        return self.update_many(np.array([timestamp], np.int64), np.array([price], np.float64)).event(0, self.symbol)

    def update_many(self, timestamp: ArrayLike, price: ArrayLike) -> RapidChanges:
        """Take in observations, oldest first.

        timestamp  int64 (n,), milliseconds UTC; never falling, also not against what came before
        price      float64 (n,), quote currency, > 0

        Raises DataError when a time falls or a price is none; the detector is then as it was.
        """
        time, value = _observations(timestamp, price, int(self._time[-1]) if self._time.size else None)
        begin = self._time.shape[0]
        # The kernel looks back over earlier observations, so they stand before the new ones in one array.
        self._time = np.concatenate((self._time, time))
        self._price = np.concatenate((self._price, value))
        out, trigger = np.empty((time.shape[0], len(_COLUMNS))), np.zeros(time.shape[0], np.int8)
        rules = self.rules
        scan(
            self._time,
            self._price,
            begin,
            rules.window_ms,
            rules.velocity_threshold_pct_per_min,
            rules.volatility_multiplier,
            rules.alpha,
            rules.warmup,
            0 if rules.max_frozen is None else rules.max_frozen,
            self._ring,
            self._state,
            self._baseline,
            out,
            trigger,
        )
        self._forget()
        columns = {name: np.ascontiguousarray(out[:, i]) for i, name in enumerate(_COLUMNS)}
        return RapidChanges(timestamp=time, price=value, trigger=trigger, **columns)

    def _forget(self) -> None:
        """Drop what no later observation can look at: before the window's beginning and before the last returns."""
        unused = min(int(self._state[_POINTER]), self._time.shape[0] - self.rules.returns - 1)
        # The arrays are cut only when half of them is unused, so that an observation costs little on average.
        if unused > 0 and 2 * unused >= self._time.shape[0]:
            self._time, self._price = self._time[unused:].copy(), self._price[unused:].copy()
            self._state[_POINTER] -= unused

    def get_state(self) -> dict[str, Any]:
        """Everything that later results depend on: copies of arrays, by name."""
        return {
            "ring": self._ring.copy(),
            "state": self._state.copy(),
            "baseline": self._baseline.copy(),
            "time": self._time.copy(),
            "price": self._price.copy(),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `get_state` of a detector with the same rules. Raises DataError for other rules' state."""
        ring = np.array(state["ring"], np.float64)
        if ring.shape != (self.rules.returns,):
            raise DataError(
                f"the state is that of {self.rules.returns} returns; found {ring.shape[0]}. Give its rules."
            )
        self._ring = ring
        self._state = np.array(state["state"], np.int64)
        self._baseline = np.array(state["baseline"], np.float64)
        self._time, self._price = np.array(state["time"], np.int64), np.array(state["price"], np.float64)


def detect_rapid_changes(
    timestamp: ArrayLike, price: ArrayLike, rules: RapidChangeRules = DEFAULT_RULES
) -> RapidChanges:
    """The batch form: a new detector over a whole series. Arguments and errors as for `update_many`."""
    return RapidChangeDetector("", rules).update_many(timestamp, price)


class RapidChangeMonitor:
    """Detectors for many symbols: one set of rules, and others for the symbols named."""

    def __init__(
        self, rules: RapidChangeRules = DEFAULT_RULES, *, by_symbol: Mapping[str, RapidChangeRules] | None = None
    ) -> None:
        self._rules = rules
        self._by_symbol = dict(by_symbol or {})
        self._detectors: dict[str, RapidChangeDetector] = {}

    def detector(self, symbol: str) -> RapidChangeDetector:
        """The detector of a symbol, made with its rules when it is first asked for."""
        if symbol not in self._detectors:
            self._detectors[symbol] = RapidChangeDetector(symbol, self._by_symbol.get(symbol, self._rules))
        return self._detectors[symbol]

    def update(self, symbol: str, timestamp: int, price: float) -> RapidChange | None:
        """Take in one observation of one symbol; its event or None. Raises DataError as that symbol's detector does."""
        return self.detector(symbol).update(timestamp, price)


def _observations(timestamp: ArrayLike, price: ArrayLike, previous: int | None) -> tuple[Int, Float]:
    time, value = np.array(timestamp, np.int64), np.array(price, np.float64)
    if time.ndim != 1 or time.shape != value.shape:
        raise DataError(f"times and prices are one-dimensional and equally many; found {time.shape} and {value.shape}.")
    before = time[:1] if previous is None else np.array([previous], np.int64)
    falling = np.flatnonzero(np.diff(time, prepend=before) < 0)
    if falling.size:
        row = int(falling[0])
        raise DataError(f"times of observations never fall; row {row} is at {int(time[row])} ms. Sort them first.")
    bad = np.flatnonzero(~(np.isfinite(value) & (value > 0.0)))
    if bad.size:
        row = int(bad[0])
        raise DataError(
            f"prices are finite and greater than zero; found {float(value[row])!r} in row {row}. Leave it out."
        )
    return time, value
