"""What is to be trained, gathered from a spec file or mapping, overrides, and what Python callers give as objects."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.errors import SpecError
from lockstep.runs.spec_files import load_spec

if TYPE_CHECKING:
    from lockstep.episodes.book import EpisodeBook
    from lockstep.market.candles import Candles
    from lockstep.strategies.registry import Reference


SPEC_SUFFIXES: Final = frozenset({".toml", ".yaml", ".yml", ".json"})
"""What tells a spec file from a run where either may be given."""


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """The spec as plain values, not checked yet.

    values   keys and values, overrides put on
    name     what error messages call it: the file, or "the spec"
    base     where relative paths in it start
    objects  what a file could only name, by spec key: a strategy class, candles
    """

    values: Mapping[str, Any]
    name: str = "the spec"
    base: Path = field(default_factory=Path)
    objects: Mapping[str, Any] = field(default_factory=dict)

    @property
    def numerics(self) -> str:
        """What has to be arranged before NumPy loads. A wrong value is reported with all others, later."""
        return "portable" if self.values.get("numerics") == "portable" else "native"


def training_request(
    spec: Mapping[str, Any] | Path | str | None,
    *,
    strategy: Reference | None = None,
    network: Any = None,
    episodes: EpisodeBook | None = None,
    candles: Candles | None = None,
    samples: Any = None,
    symbol: str | None = None,
    timeframe: str | None = None,
    seed: int | str | None = None,
    n_iterations: int | None = None,
    overrides: Iterable[str] = (),
    objects: Mapping[str, Any] | None = None,
) -> TrainingRequest:
    """Put together what `ls.train` and `lockstep train` were given. Raises SpecError."""
    if spec is None and strategy is None:
        raise SpecError("nothing to train: give a spec (a file or a mapping), or strategy=...")
    if candles is not None and samples is not None:
        raise SpecError("candles= and samples= are the data of two kinds of training: give one of them")
    if spec is not None and not isinstance(spec, Mapping | str | Path):
        raise SpecError(f"a spec is a file's path or a mapping of the same form; found {type(spec).__name__}")
    if isinstance(overrides, str):
        raise SpecError(f'overrides is a list of "key=value"; found the text {overrides!r}. Write [{overrides!r}]')
    values = load_spec({"kind": "strategy"} if spec is None else spec, overrides)
    given: dict[str, Any] = dict(objects or {})
    for table, key, value in (
        ("market", "symbol", symbol),
        ("market", "timeframe", timeframe),
        ("search", "n_iterations", n_iterations),
    ):
        if value is not None:
            _table(values, table)[key] = value
    if seed is not None:
        values["seed"] = _seed(seed)
    if strategy is not None:
        _table(values, "strategy")["name"] = name_of(strategy)
        if not isinstance(strategy, str):
            given["strategy.name"] = strategy
    if network is not None:
        _table(values, "network")["name"] = name_of(network)
        if not isinstance(network, str):
            given["network.name"] = network
    if episodes is not None:
        values["data"] = {**_table(values, "data"), "source": "python"}
        given["data.episodes"] = episodes
    if candles is not None:
        data = {key: value for key, value in _table(values, "data").items() if key not in ("source", "path")}
        values["data"] = {**data, "source": "python"}
        given["data.candles"] = candles
    if samples is not None:
        # Only what describes samples: their number is theirs.
        data = {key: value for key, value in _table(values, "data").items() if key == "classes"}
        values["data"] = {**data, "source": "python"}
        given["data.samples"] = samples
    from_file = spec is not None and not isinstance(spec, Mapping)
    return TrainingRequest(
        values=values,
        name=str(spec) if from_file else "the spec",
        base=Path(str(spec)).parent if from_file else Path(),
        objects=given,
    )


def _table(values: dict[str, Any], name: str) -> dict[str, Any]:
    table = values.setdefault(name, {})
    if not isinstance(table, dict):
        raise SpecError(f"the spec: {name} is a table of keys and values; found {table!r}")
    return table


def _seed(seed: int | str) -> int | str:
    """A whole number, of Python or NumPy, or "random"; the command line gives text."""
    if isinstance(seed, bool) or seed == "random":
        return seed
    try:
        # Not int(seed) for everything: that makes 1.5 a 1 without a word.
        return int(seed) if isinstance(seed, str) else index(seed)
    except (TypeError, ValueError):
        raise SpecError(f'a seed is a whole number of at least 0, or "random"; found {seed!r}') from None


def name_of(given: Any) -> str:
    """The name of a strategy or network for the spec: its class's, or what was given with the path absolute."""
    if not isinstance(given, str):
        kind = given if isinstance(given, type) else type(given)
        return str(kind.__name__)
    path, colon, name = given.rpartition(":")
    # Given in Python or on the command line, a path starts where the caller is, not where the spec lies.
    return f"{Path(path).expanduser().absolute()}:{name}" if colon and path.endswith(".py") else given
