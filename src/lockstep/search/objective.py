"""Which trials may win, and how they compare: objective, constraints, the fewest trades, causes of invalidity.

Notation: n trials of a batch, M metrics (`engine.metrics.Metric`), `value` what the objective gives a trial,
`score` = value when maximising, -value when minimising, NaN for a trial that is not valid. Of equal scores the
lowest index wins, so no schedule of workers decides a tie.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import IntEnum, StrEnum
from typing import TYPE_CHECKING, Any, Final, TypeAlias

import numpy as np

from lockstep.core.errors import InputError, NoValidTrialError, UnknownNameError
from lockstep.core.space import Columns, row
from lockstep.engine import few_trades
from lockstep.engine.metrics import COLUMN, Metric, as_metric, best_row, values_of
from lockstep.runs.user_modules import USER_FAILURES

if TYPE_CHECKING:
    from numpy.typing import NDArray

ObjectiveFunction: TypeAlias = Callable[[Mapping[str, float | int | None]], float | None]

DEFAULT_MIN_TRADES: Final = 10
_CONSTRAINT: Final = re.compile(
    r"\s*([a-z][a-z0-9_]*)\s*(<=|>=|<|>)\s*"
    r"([-+]?(?:[0-9]+(?:_[0-9]+)*(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][-+]?[0-9]+)?)\s*"
)


class Direction(StrEnum):
    """Whether larger or smaller values of the objective are better."""

    MAXIMIZE = "maximize"
    MINIMIZE = "minimize"


class Cause(IntEnum):
    """Why a trial may not win; the first that applies, in this order of precedence."""

    VALID = 0
    STRATEGY_ERROR = 4
    """The strategy raised an exception or returned unusable signals."""
    OBJECTIVE_ERROR = 6
    """The objective, a function of the user's, raised an exception or returned no number."""
    NOT_EVALUATED = 5
    """The strategy's own constraint between parameters is broken; nothing was computed."""
    TOO_FEW_TRADES = 1
    """Fewer trades than `min_trades`."""
    CONSTRAINT = 2
    """A constraint on a metric is broken, or that metric is undefined."""
    UNDEFINED_OBJECTIVE = 3
    """The objective is None, NaN or infinite."""

    @property
    def label(self) -> str:
        """As in results: too_few_trades, constraint ..."""
        return {Cause.NOT_EVALUATED: "parameter_constraint"}.get(self, self.name.lower())


INVALID_CAUSES: Final = tuple(cause for cause in Cause if cause is not Cause.VALID)


@dataclass(frozen=True, kw_only=True)
class Constraint:
    """A bound on one metric, such as `max_drawdown_pct >= -20`. A metric that is undefined breaks it."""

    metric: Metric
    operator: str
    bound: float

    @classmethod
    def parse(cls, text: str) -> Constraint:
        """Read "metric <operator> number" with <, <=, > or >=. Raises InputError."""
        match = _CONSTRAINT.fullmatch(text) if isinstance(text, str) else None
        if match is None:
            raise InputError(
                "a constraint is a metric, one of <, <=, >, >=, and a number, such as "
                f'"max_drawdown_pct >= -20"; found {text!r}'
            )
        try:
            metric = as_metric(match[1])
        except UnknownNameError as error:
            raise InputError(f"constraint {text!r}: {error}") from error
        bound = float(match[3])
        if not math.isfinite(bound):
            raise InputError(f"constraint {text!r}: the bound is a finite number")
        return cls(metric=metric, operator=match[2], bound=bound)

    def __str__(self) -> str:
        return f"{self.metric} {self.operator} {self.bound!r}"

    def holds(self, metrics: NDArray[np.float64]) -> NDArray[np.bool_]:
        """bool (n,) for metrics (n, M)."""
        values = metrics[:, COLUMN[self.metric]]
        # Comparisons with NaN are false, which is what an undefined metric shall be.
        if self.operator == "<":
            return values < self.bound
        if self.operator == "<=":
            return values <= self.bound
        return values > self.bound if self.operator == ">" else values >= self.bound


@dataclass(frozen=True, kw_only=True)
class Judged:
    """A batch after judgement: `value`, `score` float64 (n,), `cause` int8 (n,), messages of failures by row."""

    value: NDArray[np.float64]
    score: NDArray[np.float64]
    cause: NDArray[np.int8]
    messages: Mapping[int, str] = field(default_factory=dict)

    @property
    def best(self) -> int | None:
        """Row of the highest score, the first of equals; None when no trial is valid."""
        return best_row(self.score)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Decides which trials are valid and what they score.

    objective    a metric, or a function of a trial's metrics (name -> number or None)
    direction    "maximize" or "minimize"
    constraints  bounds that a valid trial keeps
    min_trades   fewest trades of a valid trial
    """

    objective: Metric | ObjectiveFunction = Metric.SHARPE_RATIO
    direction: Direction = Direction.MAXIMIZE
    constraints: tuple[Constraint, ...] = ()
    min_trades: int = DEFAULT_MIN_TRADES

    @classmethod
    def make(
        cls,
        objective: str | ObjectiveFunction = "sharpe_ratio",
        *,
        direction: str = "maximize",
        constraints: Sequence[str] = (),
        min_trades: int = DEFAULT_MIN_TRADES,
    ) -> Judge:
        """A judge from plain values, checked. Raises InputError naming the rule broken."""
        if isinstance(objective, str):
            try:
                objective = as_metric(objective)
            except UnknownNameError as error:
                raise UnknownNameError(f"objective: {error}. For your own, give 'file.py:function'") from error
        elif not callable(objective):
            raise InputError(f"objective is a metric's name or a function of the metrics; found {objective!r}")
        if direction not in tuple(Direction):
            raise InputError(f'direction is "maximize" or "minimize"; found {direction!r}')
        if isinstance(min_trades, bool) or not isinstance(min_trades, int) or min_trades < 0:
            raise InputError(f"min_trades is a whole number, 0 or above; found {min_trades!r}")
        if isinstance(constraints, str):
            raise InputError(f"constraints is a list of texts; found the single text {constraints!r}: put it in a list")
        parsed = tuple(Constraint.parse(text) for text in constraints)
        return cls(objective=objective, direction=Direction(direction), constraints=parsed, min_trades=min_trades)

    @property
    def objective_name(self) -> str:
        """The metric's name, or the function's."""
        if isinstance(self.objective, Metric):
            return str(self.objective)
        return str(getattr(self.objective, "__name__", type(self.objective).__name__))

    def judge(
        self,
        metrics: NDArray[np.float64],
        *,
        errors: Mapping[int, str] | None = None,
        not_evaluated: NDArray[np.bool_] | None = None,
    ) -> Judged:
        """Judge a batch: metrics float64 (n, M) with NaN for None, messages of strategies that failed by row."""
        messages = dict(errors or {})
        n = metrics.shape[0]
        value, failed = self._values(metrics, messages, not_evaluated)
        cause = np.zeros(n, np.int8)
        # From the weakest cause to the strongest: later ones overwrite.
        cause[~np.isfinite(value)] = Cause.UNDEFINED_OBJECTIVE
        for constraint in self.constraints:
            cause[~constraint.holds(metrics)] = Cause.CONSTRAINT
        # `not >=` rather than `<`: a missing count is too few.
        cause[~(metrics[:, COLUMN[Metric.TOTAL_TRADES]] >= self.min_trades)] = Cause.TOO_FEW_TRADES
        if not_evaluated is not None:
            cause[not_evaluated] = Cause.NOT_EVALUATED
        for index in messages:
            cause[index] = Cause.STRATEGY_ERROR
        for index in failed:
            cause[index] = Cause.OBJECTIVE_ERROR
        score = np.where(cause == Cause.VALID, value if self.direction is Direction.MAXIMIZE else -value, np.nan)
        return Judged(value=value, score=score, cause=cause, messages=messages | failed)

    def _values(
        self, metrics: NDArray[np.float64], messages: Mapping[int, str], not_evaluated: NDArray[np.bool_] | None
    ) -> tuple[NDArray[np.float64], dict[int, str]]:
        """The objective of every trial, float64 (n,), and the messages of its own failures by row."""
        failed: dict[int, str] = {}
        if isinstance(self.objective, Metric):
            return metrics[:, COLUMN[self.objective]].copy(), failed
        value = np.full(metrics.shape[0], np.nan)
        for i in range(metrics.shape[0]):
            # The user's function is not asked about trials that have no metrics.
            if i in messages or (not_evaluated is not None and not_evaluated[i]):
                continue
            answer: Any = None
            try:
                answer = self.objective(values_of(metrics[i]).by_name())
                value[i] = math.nan if answer is None else float(answer)
            except USER_FAILURES as error:
                failed[i] = f"objective {self.objective_name}: {type(error).__name__}: {error}"
        return value, failed


@dataclass(kw_only=True)
class Tally:
    """Counts over all trials so far, the best of them, and the first failure. Small: it is part of a run's state."""

    total: int = 0
    causes: dict[str, int] = field(default_factory=lambda: {cause.label: 0 for cause in INVALID_CAUSES})
    best: dict[str, Any] | None = None
    """index, score, objective (its value), parameters, metrics."""
    first_error: dict[str, Any] | None = None
    """trial, message."""
    ruined: int = 0
    """Trials with an undefined objective whose account was ruined."""
    few: dict[str, int] = field(default_factory=dict)
    """Why trials have too few trades: `engine.few_trades.Reason` and how often."""
    most_trades: int = 0
    """The most trades of a trial with too few."""

    @property
    def valid(self) -> int:
        """Number of trials that may win: those without a cause against them."""
        return self.total - sum(self.causes.values())

    def add(self, start: int, columns: Columns, metrics: NDArray[np.float64], judged: Judged) -> None:
        """Count a batch whose first trial has the index `start`: parameter columns (n,), metrics (n, M)."""
        self.total += len(judged.cause)
        for cause, count in zip(*np.unique(judged.cause, return_counts=True), strict=True):
            if int(cause) != Cause.VALID:
                self.causes[Cause(int(cause)).label] += int(count)
        ruined = (judged.cause == Cause.UNDEFINED_OBJECTIVE) & (metrics[:, COLUMN[Metric.RUINED]] == 1.0)
        self.ruined += int(np.count_nonzero(ruined))
        too_few = judged.cause == Cause.TOO_FEW_TRADES
        if too_few.any():
            for reason, count in few_trades.reasons(metrics, too_few).items():
                self.few[str(reason)] = self.few.get(str(reason), 0) + count
            self.most_trades = max(self.most_trades, int(np.nanmax(metrics[too_few, COLUMN[Metric.TOTAL_TRADES]])))
        if judged.messages and self.first_error is None:
            first = min(judged.messages)
            self.first_error = {"trial": start + first, "message": judged.messages[first]}
        best = judged.best
        # Strictly greater: of equal scores the earlier trial stays.
        if best is not None and (self.best is None or float(judged.score[best]) > self.best["score"]):
            self.best = {
                "index": start + best,
                "score": float(judged.score[best]),
                "objective": float(judged.value[best]),
                "parameters": row(columns, best),
                "metrics": {str(metric): value for metric, value in values_of(metrics[best]).items()},
            }

    def to_json(self) -> dict[str, Any]:
        """As canonical JSON, which `from_json` reads back."""
        return {
            "total": self.total,
            "causes": dict(self.causes),
            "best": self.best,
            "first_error": self.first_error,
            "ruined": self.ruined,
            "few": dict(self.few),
            "most_trades": self.most_trades,
        }

    @classmethod
    def from_json(cls, stored: Mapping[str, Any]) -> Tally:
        """The tally that `to_json` wrote."""
        return cls(
            total=int(stored["total"]),
            # A record of an older release has fewer causes.
            causes={cause.label: int(stored["causes"].get(cause.label, 0)) for cause in INVALID_CAUSES},
            best=dict(stored["best"]) if stored["best"] is not None else None,
            first_error=dict(stored["first_error"]) if stored["first_error"] is not None else None,
            ruined=int(stored.get("ruined", 0)),
            few={str(reason): int(count) for reason, count in stored.get("few", {}).items()},
            most_trades=int(stored.get("most_trades", 0)),
        )


@dataclass(frozen=True, kw_only=True)
class Reach:
    """How far a search can see: the bars that it has, and the shortest and longest warm-up of its sets, in bars."""

    bars: int
    shortest: int
    longest: int

    def in_words(self) -> str | None:
        """That the warm-up takes all bars, of some sets or of all; None where it does not."""
        if self.longest < self.bars:
            return None
        takes = f"{self.shortest:,} to {self.longest:,}" if self.shortest < self.longest else f"{self.longest:,}"
        return f"there are {self.bars:,} bars to search, but the warm-up takes {takes} of them"


def no_valid_trial(tally: Tally, judge: Judge, reach: Reach | None = None) -> NoValidTrialError:
    """The error of a search without a winner: counts by cause, what the trials lacked, and what to change (R4.32)."""
    counts = ", ".join(f"{count:,} {name}" for name, count in tally.causes.items() if count)
    message = f"none of {tally.total:,} trials may win: {counts or 'no trial was made'}."
    if tally.few:
        message += f" {few_trades.in_words(tally.few)}."
    short = None if reach is None else reach.in_words()
    if short is not None:
        message += f" {short[0].upper()}{short[1:]}."
    if tally.ruined:
        message += f" In {tally.ruined:,} of them the account was ruined: equity reached 0 and trading stopped."
    if tally.first_error is not None:
        message += f" First error, trial {tally.first_error['trial']}: {tally.first_error['message']}."
    # One cure, for the commonest cause: a list of all of them would help nobody.
    leading = max(tally.causes, key=lambda name: tally.causes[name])
    undefined = (
        f"The objective {judge.objective_name} is undefined for these trials: take another one, or raise min_trades"
    )
    # Ruin leaves ratios undefined; where that is the reason for most, another objective would not help.
    if 2 * tally.ruined > tally.causes[Cause.UNDEFINED_OBJECTIVE.label]:
        undefined = "Risk less per trade (a smaller risk_per_trade), or check that the costs fit this market"
    cure = {
        Cause.TOO_FEW_TRADES.label: _cure_of_few(tally, judge, short),
        Cause.CONSTRAINT.label: f"Loosen the constraints ({', '.join(map(str, judge.constraints))})",
        Cause.UNDEFINED_OBJECTIVE.label: undefined,
        Cause.STRATEGY_ERROR.label: "Correct the strategy, then run `lockstep backtest` on one set to see it work",
        Cause.OBJECTIVE_ERROR.label: (
            f"Correct the objective {judge.objective_name}: it failed, not the strategy; a metric may be None"
        ),
        Cause.NOT_EVALUATED.label: "Loosen the strategy's own constraints, or ranges that contradict them",
    }[leading]
    return NoValidTrialError(f"{message} {cure}.")


def _cure_of_few(tally: Tally, judge: Judge, short: str | None) -> str:
    if short is not None:
        return "Take more candles, hold out fewer, or search shorter periods"
    return few_trades.cure(tally.few) or (
        f"The most trades of a trial are {tally.most_trades:,}: take more candles, loosen the ranges of the search "
        f"space, or lower min_trades (now {judge.min_trades})"
    )
