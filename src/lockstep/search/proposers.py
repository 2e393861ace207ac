"""Every proposer by the name that specs give it. A new one is a file in this folder and a row here.

factory   makes it from the space and the values of `keys`
keys      what else it is made from: keys of `[search]`, and `seed`
aliases   further names that a spec may use for it
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.errors import UnknownNameError
from lockstep.core.space import Space
from lockstep.search.grid import GridProposer
from lockstep.search.proposer import Proposer
from lockstep.search.sampled import RandomProposer, SobolProposer


@dataclass(frozen=True, kw_only=True)
class ProposerRow:
    """One row of `PROPOSERS`; its columns are those of the module's docstring."""

    factory: Callable[..., Proposer]
    keys: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()


PROPOSERS: Final[Mapping[str, ProposerRow]] = {
    "random": ProposerRow(factory=RandomProposer, keys=("n_iterations", "seed"), aliases=("random_search",)),
    "grid": ProposerRow(factory=GridProposer, aliases=("grid_search",)),
    "sobol": ProposerRow(factory=SobolProposer, keys=("n_iterations", "seed")),
}
ALIASES: Final[Mapping[str, str]] = {alias: name for name, row in PROPOSERS.items() for alias in row.aliases}


def proposer_of(name: str, space: Space, values: Mapping[str, Any]) -> Proposer:
    """A new proposer at its start. `values` hold the row's keys, and may hold others.

    Raises UnknownNameError listing all names, SpaceError for a space it cannot search.
    """
    row = PROPOSERS.get(ALIASES.get(name, name))
    if row is None:
        raise UnknownNameError(f"no proposer is called {name!r}; there are {', '.join(PROPOSERS)}")
    return row.factory(space, **{key: values[key] for key in row.keys})
