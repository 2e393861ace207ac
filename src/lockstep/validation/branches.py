"""Which parameter sets are asked for look-ahead: every branch that a strategy can take by its parameters.

A leak behind one value of one parameter shows in no other set. So every value of every choice and boolean is asked at
least once, and of every range both ends and the middle; a value counts as asked when a set that has it decided
something, since a set that never enters says nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import numpy as np

from lockstep.core.errors import StrategyError
from lockstep.core.space import Choice, Dimension, FloatRange, Space, row
from lockstep.strategies.base import Params, Strategy

MOST_NUMBERS: Final = 64
"""Of a list with more numbers, so many are asked, the ends and the middle among them. Texts are asked one and all."""
_ATTEMPTS: Final = 50
"""Draws for a set that keeps the strategy's constraints."""


class Branches:
    """The sets to ask, one after the other; each depends on what those before it came to."""

    def __init__(
        self, strategy: Strategy, space: Space, base: Mapping[str, Any] | None, generator: np.random.Generator
    ) -> None:
        """`base` is a complete set of values to start from: fixed values and defaults; None where there is none."""
        self._strategy = strategy
        self._space = space
        self._base = base
        self._generator = generator
        self._values = {name: branch_values(dimension, generator) for name, dimension in space.items()}
        self._open = [(name, value) for name, values in self._values.items() for value in values]
        self._silent: list[tuple[str, Any]] = []
        self._asked: set[str] = set()
        self._best: tuple[int, dict[str, Any]] | None = None
        self.unasked: list[tuple[str, Any]] = []
        """Values of which no set that was asked decided anything, or that no set can have."""

    def answered(self, params: Params, decisions: int) -> None:
        """Count a set that was asked; `decisions` is 0 where it failed."""
        self._asked.add(_text(params))
        if decisions and (self._best is None or decisions > self._best[0]):
            self._best = decisions, dict(params)
        held = [pair for pair in (*self._open, *self._silent) if _same(params.get(pair[0]), pair[1])]
        for pair in held:
            if pair in self._open:
                self._open.remove(pair)
                self._silent.append(pair)
            if decisions:
                self._silent.remove(pair)

    def next(self) -> dict[str, Any] | None:
        """The next set to ask, complete; None when there is none. Raises StrategyError from a constraint."""
        while self._open:
            params = self._row(self._open[0])
            if params is not None:
                return params
            self.unasked.append(self._open.pop(0))
        while self._silent:
            # Alone, in the set that decided most: the other values of its row may have kept it silent.
            name, value = self._silent[0]
            start = self._best[1] if self._best is not None else self._base
            params = None if start is None else self._admissible({**start, name: value})
            self.unasked.append(self._silent.pop(0))
            if params is not None and _text(params) not in self._asked:
                # It comes off the list of unasked values when it is answered.
                self._silent.insert(0, self.unasked.pop())
                return params
        return None

    def _row(self, target: tuple[str, Any]) -> dict[str, Any] | None:
        """A set with the value of `target` and as many others that are still open as its constraints allow."""
        for attempt in range(_ATTEMPTS):
            params = dict(self._base or {})
            for name, values in self._values.items():
                waiting = [value for other, value in self._open if other == name]
                # The later the attempt, the freer the draw: a constraint may forbid what is still open.
                chosen = waiting if waiting and attempt < _ATTEMPTS // 2 else values
                params[name] = chosen[int(self._generator.integers(len(chosen)))]
            if attempt >= _ATTEMPTS * 3 // 4:
                params |= row(self._space.decode(self._generator.random((1, len(self._space)))), 0)
            params[target[0]] = target[1]
            complete = self._admissible(params)
            if complete is not None and _text(complete) not in self._asked:
                return complete
        return self._admissible({**self._base, target[0]: target[1]}) if self._base is not None else None

    def _admissible(self, params: Mapping[str, Any]) -> dict[str, Any] | None:
        resolved = self._strategy.resolve(params)
        return resolved if admits(self._strategy, resolved) else None


def admits(strategy: Strategy, params: Params) -> bool:
    """Whether a complete set keeps the strategy's constraints; a constraint that fails keeps nobody out."""
    try:
        return strategy.broken_constraint(params) is None
    except StrategyError:
        # The question comes to the same error and counts it.
        return True


def base_set(strategy: Strategy, fixed: Params) -> dict[str, Any] | None:
    """The defaults under the fixed values, complete; None where they leave a parameter open."""
    if not {*strategy.defaults, *fixed} >= set(strategy.space):
        return None
    return strategy.resolve(fixed)


def corner_sets(strategy: Strategy, space: Space, fixed: Params) -> list[dict[str, Any]]:
    """Sets in which each parameter stands at an end, all of them and one by one; the constraints are not asked."""
    values = {name: branch_values(dimension) for name, dimension in space.items()}
    ends = [{name: choices[min(place, len(choices) - 1)] for name, choices in values.items()} for place in (0, 1)]
    sets = [strategy.resolve({**fixed, **end}) for end in ends]
    start = base_set(strategy, fixed)
    if start is not None:
        sets += [start, *({**start, name: value} for end in ends for name, value in end.items())]
    return sets


def branch_values(dimension: Dimension, generator: np.random.Generator | None = None) -> list[Any]:
    """The values of one parameter that are asked, without repetition: both ends, the middle, all choices.

    generator   draws among more numbers than are asked; without one they are left out
    """
    if isinstance(dimension, Choice):
        values = list(dimension.values)
        chosen = list(range(len(values)))
        if not isinstance(values[0], str | bool):
            values.sort()
            if len(values) > MOST_NUMBERS:
                chosen = [] if generator is None else generator.choice(len(values), MOST_NUMBERS - 3, False).tolist()
        return [values[i] for i in dict.fromkeys((0, len(values) - 1, len(values) // 2, *chosen))]
    if isinstance(dimension, FloatRange) and dimension.step is None:
        middle = dimension.decode(np.array([0.5]))[0].item()
        return list(dict.fromkeys((dimension.low, dimension.high, middle)))
    size = dimension.size or 1
    return [dimension.at(np.array([i]))[0].item() for i in dict.fromkeys((0, size - 1, size // 2))]


def _same(value: Any, other: Any) -> bool:
    return bool(value == other) and isinstance(value, bool) == isinstance(other, bool)


def _text(params: Params) -> str:
    # Dicts have no hash.
    return repr(sorted(params.items()))
