"""What is to be trained: a spec file or mapping, overrides, and objects of Python callers put together."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from operator import index
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import SpecError
from lockstep.runs.spec_files import load_spec

SPEC_SUFFIXES: Final = frozenset({".toml", ".yaml", ".yml", ".json"})
"""A path with one of these is a spec file; any other text names a run."""

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
"""Arguments of `ls.train` and options of `lockstep train`, and the spec key that each of them sets."""


@dataclass(frozen=True, kw_only=True)
class TrainingRequest:
    """The spec as plain values, not checked yet.

    values    keys and values, with the overrides
    name      name in error messages: the file's, or "the spec"
    base      folder where relative paths in it start
    objects   Python objects by spec key, such as a strategy class or candles, which a file could only name
    """

    values: Mapping[str, Any]
    name: str = "the spec"
    base: Path = field(default_factory=Path)
    objects: Mapping[str, Any] = field(default_factory=dict)

    @property
    def numerics(self) -> str:
        """The spec's `numerics`, which is needed before NumPy loads; wrong values are refused later."""
        return "portable" if self.values.get("numerics") == "portable" else "native"


def training_request(
    spec: Mapping[str, Any] | Path | str | None,
    *,
    overrides: Iterable[str] = (),
    objects: Mapping[str, Any] | None = None,
    **options: Any,
) -> TrainingRequest:
    """Put together the arguments of `ls.train` or `lockstep train`; a spec file is read here, once.

    overrides   "key=value" each, put on the spec
    objects     Python objects by spec key
    options     arguments that set one key (`OPTIONS`), such as seed, strategy, candles; None leaves the spec as it is

    Raises SpecError; TypeError for an unknown option.
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
    # After the overrides: an argument of its own wins over a key of the spec.
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
    """The table [data] without the keys that say where a file is: the data are an object."""
    if option == "samples":
        # `samples_per_class` belongs to the generator; an object has its own number of samples.
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
    """The name of a strategy or network for the spec: the name of its class, or the text with an absolute path."""
    if not isinstance(reference, str):
        kind = reference if isinstance(reference, type) else type(reference)
        return str(kind.__name__)
    path, colon, name = reference.rpartition(":")
    # A path in Python or on the command line starts in the working folder, not in the folder of the spec.
    return f"{Path(path).expanduser().absolute()}:{name}" if colon and path.endswith(".py") else reference
