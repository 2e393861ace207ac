"""What became of a prediction: profit from prices strictly after it, pending until its horizon has passed (R9.7, R9.8).

    t, h        time of the prediction (milliseconds), horizon
    entry       first price strictly after t: nobody trades at the price that a decision was made with
    exit        first price at or after t + h
    profit      side (exit / entry - 1) - cost; 0 for HOLD

A price is a fact of one moment. A bar gives two: its open, one millisecond after the bar begins (it is struck after the
close before it, which stands at that very moment), and its close at its end. An outcome is validated once its exit is
known and never changes afterwards. Where there is no price between t and t + h to enter at, or none soon enough
after t + h, the prediction lapses: it is counted and teaches nothing.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import IntEnum
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core import files
from lockstep.core.errors import DataError, InputError, RefusedError
from lockstep.core.types import Float, Int
from lockstep.market.candles import Candles
from lockstep.market.orderbook import Trades
from lockstep.storage.documents import document_bytes, parse_document

_DOCUMENT: Final = "outcomes"
OUTCOME_COLUMNS: Final = (
    "actual_profit",
    "profitability_score",
    "optimal_action",
    "is_profitable",
    "outcome_validated",
)
"""Fields of a `TrainingOutcome` under which books and batches have their columns."""


class Action(IntEnum):
    """What a prediction says to do, and the numbers of `optimal_action`."""

    SELL = 0
    HOLD = 1
    BUY = 2


class Status(IntEnum):
    """PENDING until the horizon has passed, then VALIDATED, or LAPSED where no price can measure it."""

    PENDING = 0
    VALIDATED = 1
    LAPSED = 2


@dataclass(frozen=True, kw_only=True)
class OutcomeRules:
    """How profit is measured.

    horizon_s        seconds from the prediction to the exit, > 0
    round_trip_cost  fraction of the price that entering and leaving costs together, >= 0
    target_profit    profit (a fraction) that scores 1, > 0
    max_delay_s      how many seconds after the horizon the exit may come at the latest, >= 0: a gap in the data is no
                     outcome of this horizon

    Raises InputError when a value is outside of its range.
    """

    horizon_s: float = 300.0
    round_trip_cost: float = 0.001
    target_profit: float = 0.01
    max_delay_s: float = 300.0

    def __post_init__(self) -> None:
        for name, strict in (("horizon_s", 1), ("target_profit", 1), ("round_trip_cost", 0), ("max_delay_s", 0)):
            value = getattr(self, name)
            if not math.isfinite(value) or value < 0 or (strict and value == 0):
                raise InputError(f"{name} is a finite number {'> 0' if strict else '>= 0'}; found {value!r}.")
        if self.horizon_ms < 1:
            raise InputError(f"horizon_s is at least a millisecond; found {self.horizon_s!r}.")

    @property
    def horizon_ms(self) -> int:
        """The horizon in whole milliseconds."""
        return round(self.horizon_s * 1_000.0)

    @property
    def max_delay_ms(self) -> int:
        """The latest delay of an exit in whole milliseconds."""
        return round(self.max_delay_s * 1_000.0)


DEFAULT_RULES: Final = OutcomeRules()


@dataclass(frozen=True, kw_only=True)
class TrainingOutcome:
    """The outcome of one prediction; the defaults are those of one that is not known yet (R9.7).

    actual_profit        a fraction, after costs
    profitability_score  clip(actual_profit / target, 0, 1): losses score 0
    optimal_action       what would have been best: `Action`; HOLD where neither side would have earned anything
    is_profitable        actual_profit > 0
    outcome_validated    whether the above was computed from prices after the prediction; then it is final
    """

    actual_profit: float = 0.0
    profitability_score: float = 0.0
    optimal_action: int = int(Action.HOLD)
    is_profitable: bool = False
    outcome_validated: bool = False

    def replaced_by(self, other: TrainingOutcome) -> TrainingOutcome:
        """`other`, unless this outcome is validated. Raises RefusedError: validated outcomes do not change."""
        if self.outcome_validated and other != self:
            raise RefusedError(
                f"a validated outcome never changes; this one has a profit of {self.actual_profit!r}, the new one "
                f"{other.actual_profit!r}. Make a new episode for another measurement."
            )
        return other


def outcome_of(
    action: int, entry_price: float, exit_price: float, rules: OutcomeRules = DEFAULT_RULES
) -> TrainingOutcome:
    """The validated outcome of an action between two prices, of the market or of real fills.

    Raises DataError when a price is not a finite number greater than zero, or the action is none.
    """
    if action not in tuple(Action):
        raise DataError(f"an action is 0 (SELL), 1 (HOLD) or 2 (BUY); found {action!r}.")
    for name, price in (("entry", entry_price), ("exit", exit_price)):
        if not (math.isfinite(price) and price > 0.0):
            raise DataError(f"the {name} price is a finite number greater than zero; found {price!r}.")
    profit, score, optimal, _ = _measured(
        np.array([action], np.int64), np.array([entry_price], np.float64), np.array([exit_price], np.float64), rules
    )
    return TrainingOutcome(
        actual_profit=float(profit[0]),
        profitability_score=float(score[0]),
        optimal_action=int(optimal[0]),
        is_profitable=bool(profit[0] > 0.0),
        outcome_validated=True,
    )


def _measured(
    action: Int, entry: Float, leave: Float, rules: OutcomeRules
) -> tuple[Float, Float, NDArray[np.int8], Float]:
    """Profit, score, optimal action and the market's move: the module's formulas, for the single and batch form."""
    move = leave / entry - 1.0
    buy, sell = move - rules.round_trip_cost, -move - rules.round_trip_cost
    profit = np.where(action == Action.BUY, buy, np.where(action == Action.SELL, sell, 0.0))
    score = np.clip(profit / rules.target_profit, 0.0, 1.0)
    # With costs >= 0 at most one side is above 0; doing nothing is preferred to earning exactly nothing.
    optimal = np.where(buy > 0.0, Action.BUY, np.where(sell > 0.0, Action.SELL, Action.HOLD))
    return profit, score, optimal.astype(np.int8), move


@dataclass(frozen=True, kw_only=True, eq=False)
class Prices:
    """Prices as facts of moments, oldest first; read-only.

    time   int64 (n,), milliseconds UTC, never falling
    price  float64 (n,), quote currency, > 0

    Raises DataError when a time falls or a price is none: the first row.
    """

    time: Int
    price: Float

    def __post_init__(self) -> None:
        time, price = np.array(self.time, np.int64), np.array(self.price, np.float64)
        if time.ndim != 1 or time.shape != price.shape:
            raise DataError(
                f"times and prices are one-dimensional and equally many; found {time.shape}, {price.shape}."
            )
        falling = np.flatnonzero(np.diff(time) < 0)
        if falling.size:
            raise DataError(f"times of prices never fall; row {int(falling[0]) + 1} does. Sort them first.")
        bad = np.flatnonzero(~(np.isfinite(price) & (price > 0.0)))
        if bad.size:
            row = int(bad[0])
            raise DataError(
                f"prices are finite and greater than zero; found {float(price[row])!r} in row {row}. Leave it out."
            )
        for name, value in (("time", time), ("price", price)):
            value.setflags(write=False)
            object.__setattr__(self, name, value)

    @classmethod
    def of_candles(cls, candles: Candles) -> Prices:
        """Opens (one millisecond after their bars begin) and closes (at their bars' ends)."""
        time = np.stack((candles.timestamp + 1, candles.close_time), axis=1).reshape(-1)
        return cls(time=time, price=np.stack((candles.open, candles.close), axis=1).reshape(-1))

    @classmethod
    def of_trades(cls, trades: Trades) -> Prices:
        """The price of every trade at its time, (n,) as `trades` has rows."""
        return cls(time=trades.timestamp, price=trades.price)


@dataclass(frozen=True, kw_only=True, eq=False)
class Outcomes:
    """The outcomes of n predictions in columns; read-only. What is not validated holds the defaults of one.

    status               int8 (n,), `Status`
    actual_profit        float64 (n,), fractions
    profitability_score  float64 (n,), in [0, 1]
    optimal_action       int8 (n,), `Action`
    entry_ms             int64 (n,), time of the entry's price, milliseconds UTC; -1 unless validated
    exit_ms              int64 (n,), time of the exit's price; -1 unless validated
    market_return        float64 (n,), exit / entry - 1, whatever was done about it; NaN unless validated
    """

    status: NDArray[np.int8]
    actual_profit: Float
    profitability_score: Float
    optimal_action: NDArray[np.int8]
    entry_ms: Int
    exit_ms: Int
    market_return: Float

    def __post_init__(self) -> None:
        for item in fields(self):
            view = getattr(self, item.name).view()
            view.flags.writeable = False
            object.__setattr__(self, item.name, view)

    def __len__(self) -> int:
        return int(self.status.shape[0])

    @property
    def is_profitable(self) -> NDArray[np.bool_]:
        """bool (n,): actual_profit > 0."""
        return self.actual_profit > 0.0

    @property
    def outcome_validated(self) -> NDArray[np.bool_]:
        """bool (n,): the status is VALIDATED."""
        return self.status == Status.VALIDATED

    def outcome(self, index: int) -> TrainingOutcome:
        """The outcome of prediction number `index` as an object."""
        profit = float(self.actual_profit[index])
        return TrainingOutcome(
            actual_profit=profit,
            profitability_score=float(self.profitability_score[index]),
            optimal_action=int(self.optimal_action[index]),
            is_profitable=profit > 0.0,
            outcome_validated=bool(self.outcome_validated[index]),
        )


def settle_outcomes(
    times: ArrayLike,
    actions: ArrayLike,
    prices: Prices,
    rules: OutcomeRules = DEFAULT_RULES,
    *,
    previous: Outcomes | None = None,
) -> Outcomes:
    """The outcomes of predictions, as far as the prices reach (R9.8).

    times     int64 (n,), milliseconds UTC, when each prediction was made; any order
    actions   int64 (n,), `Action`
    prices    prices so far; those up to a prediction's own time do not enter its outcome
    rules     horizon, costs, target
    previous  outcomes of the same predictions with fewer prices: what they validated, or let lapse, stays

    Raises DataError when lengths differ, or an action is none.
    """
    moments, action = np.asarray(times, np.int64), np.asarray(actions, np.int64)
    if (
        moments.ndim != 1
        or moments.shape != action.shape
        or (previous is not None and len(previous) != moments.shape[0])
    ):
        raise DataError(f"every prediction has a time and an action; found shapes {moments.shape} and {action.shape}.")
    if np.any((action < Action.SELL) | (action > Action.BUY)):
        raise DataError("an action is 0 (SELL), 1 (HOLD) or 2 (BUY); found another.")
    count, due = prices.time.shape[0], moments + rules.horizon_ms
    # Entry: strictly after the prediction, so "right"; exit: at or after the horizon, so "left".
    enter = np.searchsorted(prices.time, moments, side="right")
    leave = np.searchsorted(prices.time, due, side="left")
    # One time more, after all others, so that an index past the end can be looked up and is never in time.
    price_time = np.append(prices.time, np.iinfo(np.int64).max)
    reached = leave < count
    in_time = (price_time[leave] <= due + rules.max_delay_ms) & (price_time[enter] < due)
    validated = reached & in_time
    status = np.where(validated, Status.VALIDATED, np.where(reached, Status.LAPSED, Status.PENDING))
    profit, score = np.zeros(moments.shape[0]), np.zeros(moments.shape[0])
    optimal = np.full(moments.shape[0], Action.HOLD, np.int8)
    entry_ms, exit_ms = np.full(moments.shape[0], -1, np.int64), np.full(moments.shape[0], -1, np.int64)
    move = np.full(moments.shape[0], np.nan)
    rows, into, out = np.flatnonzero(validated), enter[validated], leave[validated]
    profit[rows], score[rows], optimal[rows], move[rows] = _measured(
        action[rows], prices.price[into], prices.price[out], rules
    )
    entry_ms[rows], exit_ms[rows] = prices.time[into], prices.time[out]
    values: tuple[NDArray[Any], ...] = (status.astype(np.int8), profit, score, optimal, entry_ms, exit_ms, move)
    columns: dict[str, Any] = dict(zip([item.name for item in fields(Outcomes)], values, strict=True))
    if previous is None:
        return Outcomes(**columns)
    # Later corrections of prices must not change what was reported already, so earlier results win.
    final = previous.status != Status.PENDING
    return Outcomes(**{name: np.where(final, getattr(previous, name), value) for name, value in columns.items()})


@dataclass(frozen=True, kw_only=True)
class Settled:
    """A prediction whose fate is known: validated, or lapsed (then its outcome is not validated).

    `market_return` is exit / entry - 1, whatever was predicted; None where the prediction lapsed.
    """

    prediction_id: str
    status: Status
    outcome: TrainingOutcome
    market_return: float | None = None


@dataclass
class _Waiting:
    prediction_id: str
    made_at: int
    action: int
    entry: float | None = None


class OutcomeTracker:
    """The streaming form of `settle_outcomes`: predictions and prices as they come, the same outcomes to the last bit.

    Memory: the predictions of one horizon.
    """

    def __init__(self, rules: OutcomeRules = DEFAULT_RULES) -> None:
        self.rules = rules
        self._entering: deque[_Waiting] = deque()
        self._leaving: deque[_Waiting] = deque()
        self._seen_until: int | None = None

    @property
    def pending(self) -> int:
        """Predictions whose outcome is not known yet."""
        return len(self._leaving)

    def predict(self, prediction_id: str, made_at: int, action: int) -> TrainingOutcome:
        """Take in a prediction of time `made_at`, milliseconds UTC; returns its pending outcome, all defaults.

        Raises DataError when the action is none, predictions are out of order, or prices after it were taken in before
        it.
        """
        if action not in tuple(Action):
            raise DataError(f"an action is 0 (SELL), 1 (HOLD) or 2 (BUY); found {action!r}.")
        if self._leaving and made_at < self._leaving[-1].made_at:
            raise DataError(f"predictions come in order of time; {prediction_id!r} is earlier than the one before it.")
        if self._seen_until is not None and made_at < self._seen_until:
            raise DataError(
                f"prediction {prediction_id!r} was made at {made_at}, but prices until {self._seen_until} are in: its "
                "entry may be among them. Take predictions in before what comes after them."
            )
        waiting = _Waiting(prediction_id, made_at, action)
        self._entering.append(waiting)
        self._leaving.append(waiting)
        return TrainingOutcome()

    def observe(self, time: int, price: float) -> list[Settled]:
        """Take in a price of time `time`, milliseconds UTC; returns the predictions that it settles, oldest first.

        Raises DataError when a time falls or the price is none; then nothing has changed.
        """
        if not (math.isfinite(price) and price > 0.0):
            raise DataError(f"prices are finite and greater than zero; found {price!r} at {time}. Leave it out.")
        if self._seen_until is not None and time < self._seen_until:
            raise DataError(f"times of prices never fall; found {time} after {self._seen_until}. Sort them first.")
        self._seen_until = time
        while self._entering and self._entering[0].made_at < time:
            waiting = self._entering.popleft()
            # The first price after a prediction is its entry, or it has none: a later one is never asked.
            if time < waiting.made_at + self.rules.horizon_ms:
                waiting.entry = price
        settled = []
        while self._leaving and self._leaving[0].made_at + self.rules.horizon_ms <= time:
            settled.append(self._settled(self._leaving.popleft(), time, price))
        return settled

    def _settled(self, waiting: _Waiting, time: int, price: float) -> Settled:
        late = time > waiting.made_at + self.rules.horizon_ms + self.rules.max_delay_ms
        if late or waiting.entry is None:
            return Settled(prediction_id=waiting.prediction_id, status=Status.LAPSED, outcome=TrainingOutcome())
        return Settled(
            prediction_id=waiting.prediction_id,
            status=Status.VALIDATED,
            outcome=outcome_of(waiting.action, waiting.entry, price, self.rules),
            market_return=price / waiting.entry - 1.0,
        )

    def get_state(self) -> dict[str, Any]:
        """Everything that later outcomes depend on, as canonical JSON holds it: rules and, in columns, what waits."""
        waiting = list(self._leaving)
        return {
            "rules": {item.name: getattr(self.rules, item.name) for item in fields(self.rules)},
            "seen_until": self._seen_until,
            "prediction_id": [one.prediction_id for one in waiting],
            "made_at": [one.made_at for one in waiting],
            "action": [one.action for one in waiting],
            "entry": [one.entry for one in waiting],
            # Those whose entry may still come are the last ones: both queues are in order of time.
            "entering": len(self._entering),
        }

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Go on from `get_state`. Raises DataError for the state of other rules, and then nothing has changed."""
        rules = OutcomeRules(**state["rules"])
        if rules != self.rules:
            raise DataError(f"the state was kept under {rules}; this tracker has {self.rules}. Give it those rules.")
        columns = (state[name] for name in ("prediction_id", "made_at", "action", "entry"))
        self._leaving = deque(_Waiting(*row) for row in zip(*columns, strict=True))
        self._entering = deque(list(self._leaving)[len(self._leaving) - state["entering"] :])
        self._seen_until = state["seen_until"]

    def save(self, path: Path) -> None:
        """Write the state as a self-checking document, atomically. Raises DiskError."""
        files.make_folder(path.parent)
        files.write_atomic(path, document_bytes(_DOCUMENT, self.get_state()))

    @classmethod
    def load(cls, path: Path) -> OutcomeTracker:
        """The tracker that `save` wrote. Raises DiskError, and IntegrityError when a byte is not the one written."""
        state = parse_document(files.read_bytes(path), _DOCUMENT, path)
        tracker = cls(OutcomeRules(**state["rules"]))
        tracker.set_state(state)
        return tracker
