"""The proposers that come with Lockstep keep the proposer contract."""

from __future__ import annotations

from lockstep.core.space import Space
from lockstep.search.grid import GridProposer
from lockstep.search.proposer import Proposer
from lockstep.search.sampled import RandomProposer, SobolProposer
from lockstep.testing.contracts.proposer import FINITE_SPACE, OPEN_SPACE, ProposerContract


class TestGrid(ProposerContract):
    needs_seed = False

    def make(self, seed: int) -> Proposer:
        return GridProposer(FINITE_SPACE)


class TestRandom(ProposerContract):
    def make(self, seed: int) -> Proposer:
        return RandomProposer(OPEN_SPACE, n_iterations=43, seed=seed)


class TestRandomWithManyDuplicates(ProposerContract):
    def make(self, seed: int) -> Proposer:
        # 4 x 10 = 40 combinations, 90 draws: many come twice.
        return RandomProposer(Space.parse({"a": (1, 4), "b": (1, 10)}), n_iterations=90, seed=seed)


class TestSobol(ProposerContract):
    def make(self, seed: int) -> Proposer:
        return SobolProposer(OPEN_SPACE, n_iterations=43, seed=seed)


class TestSobolWithManyDuplicates(ProposerContract):
    def make(self, seed: int) -> Proposer:
        return SobolProposer(Space.parse({"a": (1, 4), "b": (1, 10)}), n_iterations=90, seed=seed)
