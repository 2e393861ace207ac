"""What every rehearsal asks of two passes: from one state, with one batch, the same comes out and nothing else changes.

    judge = Judge(name, ...)
    with judge.watching():       switches of torch and the generators of NumPy and Python stay as they were
        ... one pass ...
    judge.require_equal(first, second, "twice")

`rehearsal` puts a network through it, `agent_rehearsal` an agent, `classifier.keras_training` a Keras model. No torch.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final, NoReturn

import numpy as np

from lockstep.core.errors import NetworkError
from lockstep.validation.held_values import digest_of_data

NUMPY: Final = "NumPy's generator (np.random)"
PYTHON: Final = "Python's generator (random)"


@dataclass(frozen=True, kw_only=True)
class Pass:
    """What came out of a pass.

    results    digest by name, in the plural: outputs, gradients, buffers
    unlisted   digests of unlisted state by place; empty where nothing else can hold state
    """

    results: Mapping[str, str]
    unlisted: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class Judge:
    """Compares passes and refuses in words.

    name         of what is rehearsed
    method       the call that is rehearsed: forward(), update()
    state        what listed state is, such as "neither a weight nor a buffer"
    list_it      how state is listed
    noise        where the randomness of a run comes from
    draw         how to draw random numbers that a run repeats
    settle       sets the switches of the library that computes
    switches     those switches, by the name of the call
    """

    name: str
    method: str
    state: str
    list_it: str
    noise: str
    draw: str
    settle: Callable[[], object]
    switches: Callable[[], Mapping[str, str]]

    @contextmanager
    def watching(self) -> Iterator[None]:
        """Raise NetworkError where the block changes a switch of the library, or draws from a generator of the
        process."""
        self.settle()
        rules, dice = self.switches(), generators()
        yield
        if (after := self.switches()) != rules:
            name = next(name for name, value in rules.items() if after[name] != value)
            raise NetworkError(
                f"{self.name}: {self.method} changes a switch of torch, {name}, from {rules[name]} to {after[name]}. "
                "Lockstep sets the switches, because they decide the last bits of a result: remove the call"
            )
        for generator, state in generators().items():
            if dice[generator] != state:
                raise NetworkError(
                    f"{self.name}: {self.method} draws from {generator}, whose numbers no run repeats. {self.draw}"
                )

    def require_equal(self, one: Pass, two: Pass, when: str) -> None:
        """Raise NetworkError where two passes from one state gave different results."""
        for name, value in one.results.items():
            if two.results[name] == value:
                continue
            self.require_listed(one, two)
            raise NetworkError(
                f"{self.name}: the same batch with the same noise, {when}, gives equal {name}; they differ. "
                f"Something that {self.method} uses is {self.noise}: a clock, a generator without a seed, an earlier "
                f"batch. {self.draw}. {self.list_it}"
            )

    def require_listed(self, one: Pass, two: Pass) -> None:
        """Raise NetworkError where two passes from one state left different unlisted state."""
        if (place := changed(one.unlisted, two.unlisted)) is not None:
            self._refuse_state(place)

    def _refuse_state(self, place: str) -> NoReturn:
        raise NetworkError(
            f"{self.name}: {self.method} changes {place}, which is {self.state}. A run that is stopped and resumed, "
            f"or replayed, would go on without it. {self.list_it}"
        )


def generators() -> dict[str, str]:
    """Digest of the state of NumPy's and of Python's global generator, by name."""
    return {NUMPY: digest_of_data(np.random.get_state()), PYTHON: digest_of_data(random.getstate())}  # noqa: NPY002


def changed(before: Mapping[str, str], after: Mapping[str, str]) -> str | None:
    """The first place of `before` whose value is another one, or is gone, in `after`; None when there is none.

    Places that are new are not looked at: a cache that grows with each shape of input holds nothing that is lost.
    """
    return next((place for place, digest in before.items() if after.get(place) != digest), None)


@contextmanager
def others_noise() -> Iterator[None]:
    """Give the process its generators back after the block, whatever a user's code drew from them."""
    numpys, pythons = np.random.get_state(), random.getstate()  # noqa: NPY002 - it is the user's, and is put back
    try:
        yield
    finally:
        np.random.set_state(numpys)  # noqa: NPY002
        random.setstate(pythons)
