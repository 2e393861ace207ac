"""Strategies whose entries a compiled kernel finds, so that a sweep visits only bars that can trade."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from lockstep.core.space import Columns
from lockstep.strategies.base import Strategy

if TYPE_CHECKING:
    from lockstep.engine.entries import EntryBatch
    from lockstep.strategies.view import MarketView


class CompiledStrategy(Strategy, ABC):
    """A strategy in two forms, for reading and for sweeps, which must agree on every input.

    `signals` stays the plain twin that people read. `prepare` works out what all parameter sets of a sweep share
    (indicators, bars that could trade for the loosest of them), `entries` writes each set's entries.
    `contract.check_twins` compares the two; run it in your tests.
    """

    @abstractmethod
    def prepare(self, view: MarketView, sets: Columns) -> Any:
        """Features shared by all parameter sets in `sets` (columns, k sets). May not depend on anything else."""

    @abstractmethod
    def entries(self, prepared: Any, sets: Columns, lo: int, hi: int) -> EntryBatch:
        """Entries of the sets lo..hi-1, as a batch of hi-lo sets, bars ascending within a set.

        The entries of a set may depend on that set and the view only, never on the other sets nor on lo and hi.
        """
