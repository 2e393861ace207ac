"""Strategies in the state of their birth: made from their source once more, and watched while they answer.

Two are made, so that a question can be put to one that has never been asked, and to one that has. A strategy whose
source is not at hand (a class of a test) is copied; what the copies share is put back before each question.
"""

from __future__ import annotations

import copy
import sys
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from types import ModuleType
from typing import Any, Final

from lockstep.core.errors import StrategyError
from lockstep.engine.signals import Signals
from lockstep.runs.user_modules import Source, load_copy, load_module
from lockstep.strategies.base import Params, Strategy
from lockstep.strategies.evaluate import decide
from lockstep.strategies.registry import kept_source, strategy_of
from lockstep.strategies.view import MarketView
from lockstep.validation.held_state import HeldState, Holder
from lockstep.validation.touched_files import TouchedFiles

BIRTHS: Final = 2


class Unanswered(Exception):  # noqa: N818 - no error of Lockstep: whoever asked says what comes of it
    """The strategy raised an exception instead of an answer; `error` says which."""

    def __init__(self, error: StrategyError) -> None:
        super().__init__(str(error))
        self.error = error


class Birth:
    """A strategy that answers as at its birth, however often it was asked.

    state    what it held after its last answer
    born     what it held at birth
    """

    def __init__(self, strategy: Strategy, files: TouchedFiles, ahead: Callable[[], None], asked: list[Birth]) -> None:
        """`ahead` is called ahead of each call of the strategy; `asked` is shared, and ends with who was asked last."""
        self._asked = asked
        self.strategy = strategy
        self._ahead = ahead
        self._files = files
        self._holder = Holder(strategy)
        self.born = self.state = self._holder.birth

    def answer(self, view: MarketView, params: Params) -> Signals:
        """Its decisions in the state of birth. Raises Unanswered."""
        self.restore()
        return self.answer_next(view, params)

    def answer_with(self, view: MarketView, params: Params, change: AbstractContextManager[None]) -> Signals:
        """Its decisions in the state of birth but for `change`, which holds while it answers. Raises Unanswered."""
        self.restore()
        with change:
            return self.answer_next(view, params)

    @property
    def files_read(self) -> list[str]:
        """Files that it read while it was made or while it decided, code and libraries left out, sorted."""
        return self._files.read_data()

    def answer_next(self, view: MarketView, params: Params) -> Signals:
        """Its decisions after what it was asked before. Raises Unanswered."""
        self._ahead()
        self._asked[:] = [self]
        try:
            with self._files.watched():
                return decide(self.strategy, view, params)
        except StrategyError as error:
            raise Unanswered(error) from error
        finally:
            self.state = self._read()

    def restore(self) -> None:
        """Bring it back to its birth, where it holds something else."""
        if self._asked[-1:] != [self]:
            # The other one may have changed what both can reach.
            self.state = self._read()
        if self.state != self.born:
            self._holder.restore()
            self._files.restore()
            self.state = self._read()

    def _read(self) -> HeldState:
        return replace(self._holder.read(), files=self._files.entries())


@contextmanager
def births_of(strategy: Strategy, ahead: Callable[[], None]) -> Iterator[tuple[Birth, Birth]]:
    """Two strategies like `strategy` in their birth state; everything is put back after the block.

    ahead   called ahead of each call of one of them
    Raises StrategyError.
    """
    files = TouchedFiles()
    source = kept_source(strategy)
    copies: list[ModuleType] = []
    try:
        if source is None:
            strategies = [_copied(strategy) for _ in range(BIRTHS)]
        else:
            with files.watched(reading=True):
                copies = [_copy_of(source) for _ in range(BIRTHS)]
            strategies = [strategy_of(source, module) for module in copies]
        asked: list[Birth] = []
        first, second = (Birth(one, files, ahead, asked) for one in strategies)
        try:
            yield first, second
        finally:
            first.restore()
            second.restore()
    finally:
        for module in copies:
            sys.modules.pop(module.__name__, None)


def _copy_of(source: Source) -> ModuleType:
    """A fresh module of the source. What numba compiles stays that of the first module: compiling takes seconds."""
    first, module = load_module(source), load_copy(source)
    for name, value in vars(module).items():
        compiled = vars(first).get(name)
        if _jitted(value) and _jitted(compiled) and value.py_func.__closure__ is None:
            setattr(module, name, compiled)
    return module


def _jitted(value: Any) -> bool:
    return type(value).__module__.startswith("numba.") and hasattr(value, "py_func")


def _copied(strategy: Strategy) -> Strategy:
    try:
        return copy.copy(strategy)
    except Exception:  # noqa: BLE001 - whatever a class of the user's does when it is copied
        return strategy
