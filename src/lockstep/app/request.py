"""What is to be trained, gathered from a spec file or mapping, overrides, and the objects of Python callers."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import SpecError
from lockstep.runs.spec_files import load_spec

SPEC_SUFFIXES: Final = frozenset({".toml", ".yaml", ".yml", ".json"})
"""What tells a spec file from a run where either may be given."""

OPTIONS: Final = {
    "strategy": "strategy.name",
    "network": "network.name",
    "episodes": "data.episodes",
    "candles": "data.candles",
    "samples": "data.samples",
    "symbol": "market.symbol",
    "timeframe": "market.timeframe",
    "seed": "seed",
    "n_iterations": "search.n_iterations",
}
"""What a training takes under a word of its own, and its spec key: a value, a name, or data as an object."""


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
    overrides: Iterable[str] = (),
    objects: Mapping[str, Any] | None = None,
    **options: Any,
) -> TrainingRequest:
    """Put together what `ls.train` and `lockstep train` take; a spec file is read here, once.

    overrides   "key=value" each, put on the spec
    objects     what a file could only name, by spec key
    options     what has a word of its own (`OPTIONS`): seed, strategy, candles ...; None leaves the spec as it is

    Raises SpecError; TypeError for an option that there is not.
    """
    if unknown := set(options) - set(OPTIONS):
        raise TypeError(f"a training has no option {min(unknown)!r}; it has {', '.join(sorted(OPTIONS))}")
    chosen = {name: value for name, value in options.items() if value is not None}
    if spec is None and "strategy" not in chosen:
        raise SpecError("nothing to train: give a spec (a file or a mapping), or strategy=...")
    if "candles" in chosen and "samples" in chosen:
        raise SpecError("candles= and samples= are the data of two kinds of training: give one of them")
    if spec is not None and not isinstance(spec, Mapping | str | Path):
        raise SpecError(f"a spec is a file's path or a mapping of the same form; found {type(spec).__name__}")
    if isinstance(overrides, str):
        raise SpecError(f'overrides is a list of "key=value"; found the text {overrides!r}. Write [{overrides!r}]')
    values = load_spec({"kind": "strategy"} if spec is None else spec, overrides)
    python_objects: dict[str, Any] = dict(objects or {})
    for name, value in chosen.items():
        key = OPTIONS[name]
        table, _, last = key.rpartition(".")
        if table == "data":
            values["data"] = {**_described(name, _table(values, "data")), "source": "python"}
            python_objects[key] = value
        elif last == "name":
            _table(values, table)["name"] = name_of(value)
            if not isinstance(value, str):
                python_objects[key] = value
        else:
            (_table(values, table) if table else values)[last] = _seed(value) if name == "seed" else value
    from_file = spec is not None and not isinstance(spec, Mapping)
    return TrainingRequest(
        values=values,
        name=str(spec) if from_file else "the spec",
        base=Path(str(spec)).parent if from_file else Path(),
        objects=python_objects,
    )


def _described(option: str, data: Mapping[str, Any]) -> dict[str, Any]:
    """What the table [data] still says where the data are an object and no file."""
    if option == "samples":
        # Only what describes samples: their number is theirs.
        return {key: value for key, value in data.items() if key == "classes"}
    return {key: value for key, value in data.items() if option == "episodes" or key not in ("source", "path")}


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


def name_of(reference: Any) -> str:
    """The name of a strategy or network for the spec: its class's, or the text with its path absolute."""
    if not isinstance(reference, str):
        kind = reference if isinstance(reference, type) else type(reference)
        return str(kind.__name__)
    path, colon, name = reference.rpartition(":")
    # Given in Python or on the command line, a path starts where the caller is, not where the spec lies.
    return f"{Path(path).expanduser().absolute()}:{name}" if colon and path.endswith(".py") else reference
