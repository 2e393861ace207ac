"""`RLExperience`: one step of an agent with its outcome, and batches of experiences as arrays.

Notation (R9.7, R9.21)
    p        actual profit, a fraction of the price paid, costs taken off
    score    profitability score, clip(p / target, 0, 1): losses and unknown outcomes score 0
    delta    temporal-difference error of the last update that used the experience
    a, a*    the action taken, the action that would have been best
    value    worth of keeping an experience: 0.4 score + 0.4 |delta| / (1 + |delta|) + 0.2 [a != a*], in 0 .. 1    (1)

An experience begins without an outcome; the outcome follows when its horizon has passed. Until then p and a* are
unknown, the score is 0 and the last term of (1) is 0.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, Protocol, runtime_checkable

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.core.errors import InputError, RefusedError
from lockstep.rl.observations import observations, wider

if TYPE_CHECKING:
    from numpy.typing import NDArray

SCORE_SHARE: Final = 0.4
ERROR_SHARE: Final = 0.4
MISTAKE_SHARE: Final = 0.2
UNKNOWN_ACTION: Final = -1
"""The optimal action in arrays, as long as there is no outcome."""


def experience_value_python(score: float, td_error: float, action: int, optimal_action: int) -> float:
    """Equation (1); `optimal_action` is -1 where it is unknown."""
    # size / (1 + size) maps any error to 0 .. 1 without a scale that would have to be estimated.
    size = abs(td_error)
    mistake = 1.0 if optimal_action >= 0 and optimal_action != action else 0.0
    return SCORE_SHARE * score + ERROR_SHARE * (size / (1.0 + size)) + MISTAKE_SHARE * mistake


experience_value = kernel(experience_value_python)


@runtime_checkable
class Outcome(Protocol):
    """The five fields of `episodes.outcomes.TrainingOutcome` that an experience takes over; any such object will do.

    An outcome that is not validated is provisional and may be corrected. An experience without any has no `Outcome`.
    """

    @property
    def actual_profit(self) -> float:
        """Net profit, a fraction; above 0 is a profit."""
        ...

    @property
    def profitability_score(self) -> float:
        """Profit as a share of the target, 0 .. 1."""
        ...

    @property
    def optimal_action(self) -> int:
        """The action with the highest net profit."""
        ...

    @property
    def is_profitable(self) -> bool:
        """Whether actual_profit is above 0."""
        ...

    @property
    def outcome_validated(self) -> bool:
        """Whether it was checked; from then on it is final."""
        ...


def check_outcome(outcome: Outcome, place: str = "outcome") -> None:
    """Raise InputError where a field breaks a rule or two fields contradict each other; `place` begins the message."""
    profit, score = outcome.actual_profit, outcome.profitability_score
    if not _is_finite(profit):
        raise InputError(f"{place}: actual_profit is a finite fraction; found {profit!r}. Leave unknown outcomes out.")
    if not (_is_finite(score) and 0.0 <= score <= 1.0):
        raise InputError(f"{place}: profitability_score lies in 0 .. 1; found {score!r}. Clip profit / target to it.")
    if bool(outcome.is_profitable) != (profit > 0.0):
        raise InputError(
            f"{place}: is_profitable says whether actual_profit > 0; found {outcome.is_profitable!r} with a profit of "
            f"{profit!r}. Make one follow from the other."
        )
    if score > 0.0 and profit <= 0.0:
        raise InputError(f"{place}: losses score 0; found a score of {score!r} with a profit of {profit!r}.")
    _check_action("optimal_action", outcome.optimal_action, place)


def _is_finite(number: Any) -> bool:
    """Whether it is a finite real number that a float can hold."""
    try:
        return math.isfinite(number)
    except (TypeError, ValueError, OverflowError):  # text, complex numbers, arrays, integers beyond float64
        return False


def _check_action(name: str, action: Any, place: str) -> None:
    if isinstance(action, bool | np.bool_) or not isinstance(action, int | np.integer) or action < 0:
        raise InputError(f"{place}: {name} is a whole number >= 0; found {action!r}. Number the actions from 0.")


@dataclass(frozen=True, kw_only=True, eq=False)
class RLExperience:
    """One step of an agent and its outcome (R9.21).

    state                float32 or float64 (any shape), before the action
    action               from 0 (SELL, HOLD, BUY are 0, 1, 2)
    reward               of the step, finite
    next_state           type and shape of state, after the action
    done                 whether the episode ended there, so that no reward follows
    actual_profit        net profit, a fraction; None while unknown
    profitability_score  0 .. 1; 0 while the outcome is unknown
    optimal_action       the best action; None while unknown
    outcome_validated    whether the outcome was checked; it is final then
    td_error             temporal-difference error of its last update; 0 before the first
    training_count       how often it was drawn for training

    States are float64 where one of the two is, or has whole numbers that float32 would round (`rl/observations.py`).
    """

    state: NDArray[Any]
    action: int
    reward: float
    next_state: NDArray[Any]
    done: bool = False
    actual_profit: float | None = None
    profitability_score: float = 0.0
    optimal_action: int | None = None
    outcome_validated: bool = False
    td_error: float = 0.0
    training_count: int = 0

    def __post_init__(self) -> None:
        """Raises InputError for a field outside its range."""
        names = ("state", "next_state")
        pair = [observations(getattr(self, name), f"experience: {name}") for name in names]
        dtype = wider(*pair)
        for name, own in zip(names, pair, strict=True):
            array = own.astype(dtype, copy=False)
            array.setflags(write=False)
            object.__setattr__(self, name, array)
        if self.state.shape != self.next_state.shape:
            raise InputError(
                "experience: state and next_state have one shape; found "
                f"{self.state.shape} and {self.next_state.shape}."
            )
        _check_action("action", self.action, "experience")
        for name in ("reward", "td_error"):
            if not _is_finite(getattr(self, name)):
                raise InputError(f"experience: {name} is a finite number; found {getattr(self, name)!r}.")
        if not isinstance(self.training_count, int | np.integer):
            raise InputError(f"experience: training_count is a whole number; found {self.training_count!r}.")
        if self.training_count < 0:
            raise InputError(f"experience: training_count is not negative; found {self.training_count!r}.")
        if (self.actual_profit is None) != (self.optimal_action is None):
            raise InputError(
                "experience: actual_profit and optimal_action are known together; found "
                f"{self.actual_profit!r} and {self.optimal_action!r}. Give both, or neither."
            )
        if self.actual_profit is not None:
            check_outcome(self, "experience")  # type: ignore[arg-type]  # both optional fields are there
        elif self.profitability_score != 0.0 or self.outcome_validated:
            raise InputError(
                "experience: an unknown outcome scores 0 and is not validated; found a score of "
                f"{self.profitability_score!r}, validated {self.outcome_validated!r}. Give actual_profit as well."
            )

    @property
    def is_profitable(self) -> bool:
        """Whether the outcome is known and a profit."""
        return self.actual_profit is not None and self.actual_profit > 0.0

    @property
    def experience_value(self) -> float:
        """Equation (1) of the module's docstring, 0 .. 1."""
        best = UNKNOWN_ACTION if self.optimal_action is None else self.optimal_action
        return float(experience_value(float(self.profitability_score), float(self.td_error), int(self.action), best))

    def with_outcome(self, outcome: Outcome) -> RLExperience:
        """A copy of the experience with its outcome.

        Raises InputError where the outcome breaks a rule, RefusedError where another outcome was validated before.
        """
        check_outcome(outcome)
        before = (self.actual_profit, self.profitability_score, self.optimal_action)
        after = (outcome.actual_profit, outcome.profitability_score, outcome.optimal_action)
        if self.outcome_validated:
            if before != after:
                raise RefusedError(f"a validated outcome does not change: it is {before}; found {after}.")
            return self
        return replace(
            self,
            actual_profit=float(outcome.actual_profit),
            profitability_score=float(outcome.profitability_score),
            optimal_action=int(outcome.optimal_action),
            outcome_validated=bool(outcome.outcome_validated),
        )


@dataclass(frozen=True, kw_only=True, eq=False)
class ExperienceBatch:
    """n experiences as arrays; also a sequence of `RLExperience`.

    ids                   int64 (n,), the buffer's ids
    states                float32 or float64 (n, *shape)
    actions               int64 (n,)
    rewards               float64 (n,)
    next_states           type and shape of states
    dones                 bool (n,)
    actual_profits        float64 (n,), fractions, NaN where unknown
    profitability_scores  float64 (n,)
    optimal_actions       int64 (n,), -1 where unknown
    outcome_validated     bool (n,)
    td_errors             float64 (n,)
    training_counts       int64 (n,), this draw included
    weights               float64 (n,): in a profit-weighted buffer the weight of the draw, 1 for a uniform batch; in a
                          prioritised buffer the importance weight of the loss
    """

    ids: NDArray[np.int64]
    states: NDArray[Any]
    actions: NDArray[np.int64]
    rewards: NDArray[np.float64]
    next_states: NDArray[Any]
    dones: NDArray[np.bool_]
    actual_profits: NDArray[np.float64]
    profitability_scores: NDArray[np.float64]
    optimal_actions: NDArray[np.int64]
    outcome_validated: NDArray[np.bool_]
    td_errors: NDArray[np.float64]
    training_counts: NDArray[np.int64]
    weights: NDArray[np.float64]

    @property
    def is_profitable(self) -> NDArray[np.bool_]:
        """bool (n,): whether the outcome is known and a profit."""
        return self.actual_profits > 0.0  # NaN is not

    def __len__(self) -> int:
        return int(self.ids.size)

    def __getitem__(self, k: int) -> RLExperience:
        best = int(self.optimal_actions[k])
        return RLExperience(
            state=self.states[k],
            action=int(self.actions[k]),
            reward=float(self.rewards[k]),
            next_state=self.next_states[k],
            done=bool(self.dones[k]),
            actual_profit=None if best == UNKNOWN_ACTION else float(self.actual_profits[k]),
            profitability_score=float(self.profitability_scores[k]),
            optimal_action=None if best == UNKNOWN_ACTION else best,
            outcome_validated=bool(self.outcome_validated[k]),
            td_error=float(self.td_errors[k]),
            training_count=int(self.training_counts[k]),
        )

    def __iter__(self) -> Iterator[RLExperience]:
        return (self[k] for k in range(len(self)))
