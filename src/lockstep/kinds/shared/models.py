"""Trained models of runs, for use: what they predict or decide, and that as signals of the engine. No torch.

    model = ls.load_model("last")
    model.predict(candles)       -> Prediction (networks) or Decisions (agents)
    model.signals(candles)       -> engine.signals.Signals, for `ls.simulate`
    model.strategy()             -> a Strategy, for `ls.backtest`

`CandleModel` reads candles, `SampleModel` samples that the user cuts. A kind has a subclass of one of them.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, Final

import numpy as np

from lockstep.core.errors import DataError, InputError, IntegrityError
from lockstep.core.near_names import did_you_mean
from lockstep.core.units import format_timeframe
from lockstep.engine.signals import Signals
from lockstep.market.candles import require_candles
from lockstep.market.checks import format_time
from lockstep.market.formats.markets import is_same_market
from lockstep.runs.sealed import sealed_bytes
from lockstep.strategies.base import HasRemarks, Strategy

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from lockstep.market.candles import Candles
    from lockstep.runs.folder import RunFolder
    from lockstep.strategies.base import Params
    from lockstep.strategies.view import MarketView

SIDES: Final = {"up": 1, "down": -1, "low": 1, "high": -1, "buy": 1, "sell": -1}
"""Side that a class names, +1 long and -1 short; a class that is not here names none. A swing low is bought."""

_OF_PIVOTS: Final = ("low", "high")
"""Classes that are sides where the run's own task named them; a user's may be anything, a volatility say."""


@dataclass(frozen=True, kw_only=True, eq=False)
class Prediction:
    """What a network says of n samples, in their order.

    classes          names of the classes
    decided          int64 (n,), place of the named class in `classes`
    probabilities    float64 (n, classes), each row adds up to 1; the effect of class weights is taken out, no
                     temperature is applied
    expected_return  float64 (n,), fraction over the horizon; None for a network without that head
    confidence       float64 (n,), logit of being right; None for a network without that head
    bars             int64 (n,), decision bars as rows of the candles; None for samples
    timestamp        int64 (n,), ms UTC at the open of these bars, at whose close the prediction is known; None likewise
    """

    classes: tuple[str, ...]
    decided: NDArray[np.int64]
    probabilities: NDArray[np.float64]
    expected_return: NDArray[np.float64] | None = None
    confidence: NDArray[np.float64] | None = None
    bars: NDArray[np.int64] | None = None
    timestamp: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.decided)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Everything as columns (n,): bar, timestamp, class by name, one probability a class, return, confidence."""
        front = {"bar": self.bars, "timestamp": self.timestamp}
        back = {"expected_return": self.expected_return, "confidence": self.confidence}
        return {
            **{name: column for name, column in front.items() if column is not None},
            "class": np.array(self.classes, dtype=np.str_)[self.decided],
            **{f"probability.{name}": self.probabilities[:, place] for place, name in enumerate(self.classes)},
            **{name: column for name, column in back.items() if column is not None},
        }


@dataclass(frozen=True, kw_only=True, eq=False)
class AgentDecisions:
    """What an agent does at n bars or in n states, in their order.

    actions    int64 (n,): 0 sell, 1 hold, 2 buy
    sides      int8 (n,): side held from each bar's close on, -1, 0 or 1; None for states
    bars       int64 (n,), decision bars as rows of the candles; None for states
    timestamp  int64 (n,), ms UTC at the open of these bars; None for states
    """

    actions: NDArray[np.int64]
    sides: NDArray[np.int8] | None = None
    bars: NDArray[np.int64] | None = None
    timestamp: NDArray[np.int64] | None = None

    def __len__(self) -> int:
        return len(self.actions)

    def columns(self) -> dict[str, NDArray[Any]]:
        """Everything as columns (n,): bar, timestamp, action, side."""
        columns = {"bar": self.bars, "timestamp": self.timestamp, "action": self.actions, "side": self.sides}
        return {name: column for name, column in columns.items() if column is not None}


class Model:
    """The trained model of a complete run.

    run_id   its run
    kind     the kind of the run
    notes    lines for a person: what may keep a number from being that of the run
    """

    kind: ClassVar[str]

    def __init__(self, folder: RunFolder) -> None:
        self.run_id = folder.path.name
        self.notes: tuple[str, ...] = ()

    def __repr__(self) -> str:
        return f"<{type(self).__name__} of run {self.run_id}>"


class CandleModel(Model, ABC):
    """A model that reads candles.

    candles       those that the run learned from
    learned       ms UTC at the open of the first and of the last of them that training, or the choice of its best
                  state, has read; later ones are a test
    """

    candles: Candles
    learned: tuple[int, int]

    @abstractmethod
    def predict(self, candles: Candles) -> Prediction | AgentDecisions:
        """What the model says at each bar that it can decide at, from that bar and the bars before it.

        Raises DataError for candles that it cannot read.
        """

    @abstractmethod
    def signals(self, candles: Candles) -> Signals:
        """The same as signals over all bars, shape (n,): a value at bar t is decided at its close, from bars 0 to t."""

    def strategy(self, **options: Any) -> Strategy:
        """A strategy without parameters for `ls.backtest` and `ls.sweep`; `options` are those of `signals`."""
        named = type("ModelStrategy", (ModelStrategy,), {"name": f"model of run {self.run_id}"})
        strategy: Strategy = named(self, options)
        return strategy

    def require_own_bars(self, candles: Candles) -> None:
        """Raise DataError for candles of another bar length than the model learned from, InputError for no candles."""
        require_candles(candles)
        if candles.timeframe_ms != self.candles.timeframe_ms:
            raise DataError(
                f"run {self.run_id} learned from bars of {format_timeframe(self.candles.timeframe_ms)}; found bars of "
                f"{candles.timeframe}. Give candles of that length."
            )


class SampleModel(Model, ABC):
    """A model that reads samples which the user cuts; they say themselves at which bar each is known.

    classes   names of the classes, or of the actions
    """

    classes: tuple[str, ...]

    @abstractmethod
    def predict(self, samples: Any) -> Prediction | AgentDecisions:
        """What the model says of each sample. Raises DataError for samples that it cannot read."""

    def signals(
        self,
        samples: Any,
        *,
        bars: NDArray[np.int64],
        length: int,
        sides: Mapping[str, int] | None = None,
        min_probability: float = 0.0,
        time_limit: int | None = None,
    ) -> Signals:
        """Predictions as signals over `length` bars.

        samples          n, as for `predict`
        bars             int64 (n,), the bar at whose close each sample is known, rising
        sides            class name -> 1 long, -1 short or 0; default: what buy and sell, up and down mean
        min_probability  least probability of the named class; below it there is no signal
        time_limit       bars after which a position is closed; None for none

        Whether a sample holds later bars only its maker knows. Raises InputError for bars outside, or repeated.
        """
        output = self.predict(samples)
        if isinstance(output, AgentDecisions):
            decided, chance = output.actions, np.ones(len(output))
        else:
            decided = output.decided
            chance = output.probabilities[np.arange(len(decided)), decided]
        if sides is None:
            sides = {name: side for name, side in SIDES.items() if name in self.classes and name not in _OF_PIVOTS}
        held = np.where(chance >= min_probability, side_of(self.classes, sides)[decided], 0)
        return entries(held, np.asarray(bars), length, time_limit)


class ModelStrategy(Strategy, HasRemarks):
    """A model as a strategy: its signals over the bars of a view."""

    def __init__(self, model: CandleModel, options: Mapping[str, Any]) -> None:
        self._model, self._options = model, dict(options)

    def signals(self, view: MarketView, params: Params) -> Signals:
        """The signals of the model over the candles of the view, which end with the decision bar."""
        return self._model.signals(view.candles, **self._options)

    def remarks(self, candles: Candles) -> tuple[str, ...]:
        """How many of the bars the model has learned from: what it earns there says nothing of later bars."""
        model, own = self._model, self._model.candles
        is_other = candles.symbol and own.symbol and not is_same_market(candles.symbol, own.symbol)
        first, last = model.learned
        count = int(np.count_nonzero((candles.timestamp >= first) & (candles.timestamp <= last)))
        if is_other or not count:
            return ()
        return (
            f"run {model.run_id} learned from {count:,} of these {len(candles):,} bars, or chose its best state by "
            f"them ({format_time(first)} to {format_time(last)}): what it earns there is no test. Later bars are one.",
        )


def side_of(classes: tuple[str, ...], sides: Mapping[str, int] | None) -> NDArray[np.int8]:
    """Side of each class, int8 (classes,). Raises InputError for a class that there is not, or no side at all."""
    chosen = {name: SIDES.get(name, 0) for name in classes} if sides is None else dict(sides)
    for name, side in chosen.items():
        if name not in classes or side not in (-1, 0, 1):
            raise InputError(
                f"sides map a class to 1, -1 or 0; found {name!r}: {side!r}.{did_you_mean(str(name), classes)} "
                f"Classes: {', '.join(classes)}"
            )
    if not any(chosen.values()):
        raise InputError(
            f"no class of {', '.join(classes)} is a side of the market: say which, such as sides={{{classes[-1]!r}: 1}}"
        )
    return np.array([chosen.get(name, 0) for name in classes], np.int8)


def entries(held: NDArray[Any], bars: NDArray[Any], length: int, time_limit: int | None) -> Signals:
    """Sides (n,) at `bars` (n,) as signals over `length` bars. Raises InputError for other bars."""
    if bars.shape != held.shape or bars.dtype.kind not in "iu":
        raise InputError(f"bars are one whole number for each of {len(held)} samples; found {bars.dtype} {bars.shape}")
    # Compared, not subtracted: differences of unsigned numbers are never negative.
    if len(bars) and (bars.min() < 0 or bars.max() >= length or (bars[1:] <= bars[:-1]).any()):
        raise InputError(f"bars rise from 0 to {length - 1} at most, none twice; found {bars[0]} to {bars[-1]}")
    side = np.zeros(length, np.int8)
    side[bars] = held
    return Signals(side=side, time_limit=time_limit)


def stored(folder: RunFolder, name: str) -> bytes:
    """The bytes of an artifact, checked against the run's manifest. Raises IntegrityError where it is missing."""
    data = sealed_bytes(folder, f"artifacts/{name}")
    if data is None:
        raise IntegrityError(f"{folder.artifacts / name}: no such file, though the run is complete. Restore the run.")
    return data
