"""Proposers by name: the table, and that a new one is a file and a row."""

from __future__ import annotations

from pathlib import Path

import pytest
from tests.copies import PackageCopy

from lockstep.core.errors import UnknownNameError
from lockstep.core.space import Space
from lockstep.search.grid import GridProposer
from lockstep.search.proposers import ALIASES, PROPOSERS, proposer_of
from lockstep.search.sampled import RandomProposer, SobolProposer

SPACE = Space.parse({"a": (1, 4), "b": [True, False]})
VALUES = {"n_iterations": 8, "seed": 5, "min_trades": 3}


def test_a_proposer_is_made_from_the_keys_of_its_row() -> None:
    random, grid, sobol = (proposer_of(name, SPACE, VALUES) for name in ("random", "grid", "sobol"))
    assert isinstance(random, RandomProposer)
    assert isinstance(sobol, SobolProposer)
    assert (random.size, random.seed, sobol.seed) == (8, 5, 5)
    assert isinstance(grid, GridProposer)
    assert grid.size == 4 * 2


def test_further_names_lead_to_the_same_proposer() -> None:
    assert ALIASES == {"random_search": "random", "grid_search": "grid"}
    assert isinstance(proposer_of("grid_search", SPACE, {}), GridProposer)


def test_an_unknown_name_is_answered_with_all_names() -> None:
    with pytest.raises(UnknownNameError, match="no proposer is called 'bayes'; there are random, grid, sobol"):
        proposer_of("bayes", SPACE, VALUES)


def test_only_those_that_drop_equal_sets_remember_them() -> None:
    remembering = {name: proposer_of(name, SPACE, VALUES).remembers for name in PROPOSERS}
    assert remembering == {"random": True, "grid": False, "sobol": True}


BACKWARDS = '''
"""A grid from its last combination to its first."""

from lockstep.search.grid import GridProposer
from lockstep.search.proposer import Batch


class BackwardsProposer(GridProposer):
    def __init__(self, space, *, seed):
        super().__init__(space)
        self.seed = seed

    def ask(self, count):
        batch = super().ask(count)
        rows = self.space.grid_rows(self.size - batch.stop, self.size - batch.start)
        return Batch(start=batch.start, columns={name: column[::-1].copy() for name, column in rows.items()})
'''
SEARCH = """
import json, sys
import lockstep as ls

spec = {
    "kind": "strategy",
    "seed": 3,
    "data": {"source": "sample", "last": 120},
    "strategy": {"name": "liquidity_sweep", "space": {"min_level_touches": [2, 3, 4], "reversal_candles": [1, 2]}},
    "search": {"batch_size": 4, "min_trades": 0, "objective": "net_profit"},
}
columns = {}
for name in ("grid", "backwards"):
    done = ls.train({**spec, "search": {**spec["search"], "optimizer": name}}, home=sys.argv[1])
    rows = done.trials()
    columns[name] = [rows[f"parameter.{key}"].tolist() for key in ("min_level_touches", "reversal_candles")]
try:
    ls.train({**spec, "search": {"optimizer": "sideways"}}, home=sys.argv[1])
except ls.LockstepError as error:
    columns["refusal"] = str(error)
print(json.dumps(columns))
"""


def test_a_new_proposer_is_a_file_and_a_row(tmp_path: Path) -> None:
    """In a copy of the package: a spec may name it, a run is made with it, an error lists it beside the others."""
    copy = PackageCopy(tmp_path / "copy")
    copy.add("search/backwards.py", BACKWARDS)
    copy.insert(
        "search/proposers.py",
        "from lockstep.search.grid import GridProposer",
        "from lockstep.search.backwards import BackwardsProposer\n",
    )
    copy.insert(
        "search/proposers.py",
        '    "sobol": ProposerRow(',
        '    "backwards": ProposerRow(factory=BackwardsProposer, keys=("seed",)),\n',
    )
    columns = copy.run(SEARCH, str(tmp_path / "home"))
    assert columns["grid"] == [[2, 2, 3, 3, 4, 4], [1, 2, 1, 2, 1, 2]]
    assert columns["backwards"] == [column[::-1] for column in columns["grid"]]
    assert "has to be 'random', 'grid', 'backwards' or 'sobol'" in columns["refusal"]
    assert copy.changed == {"search/backwards.py", "search/proposers.py"}
