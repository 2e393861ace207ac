"""Spec files to plain dicts: TOML, strict YAML 1.2, JSON-like dicts, and `--set a.b=c` overrides.

YAML as most readers take it turns `no` into false, 12:30 into 750, 1e-3 into text, and keeps the last of two equal
keys in silence. Here it is YAML 1.2 only, two equal keys are an error, and what a spec has no use for (aliases, tags,
several documents) is refused: an alias can make a few lines expand into gigabytes.
"""

from __future__ import annotations

import datetime
import io
import json
import tomllib
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

from lockstep.core.errors import SpecError

MAX_FILE_BYTES: Final = 1 << 20
MAX_DEPTH: Final = 32


def load_spec(source: Path | str | Mapping[str, Any], overrides: Iterable[str] = ()) -> dict[str, Any]:
    """The plain values of a spec: a `.toml`, `.yaml`, `.yml` or `.json` file, or a mapping, with overrides put on.

    `random_seed` is renamed to `seed`. Raises SpecError naming the place and the cure.
    """
    if isinstance(source, Mapping):
        where, values = "the spec", plain_values(source, "the spec")
    else:
        path = Path(source)
        where, values = str(path), read_spec_file(path)
    _rename_seed(values, where)
    for text in overrides:
        path_of_key, value = parse_override(text)
        _override(values, ["seed"] if path_of_key == ["random_seed"] else path_of_key, value, text)
    return values


def read_spec_file(path: Path) -> dict[str, Any]:
    """The values of one spec file, by its suffix. Raises SpecError."""
    suffix = path.suffix.lower()
    parsers = {".toml": parse_toml, ".yaml": parse_yaml, ".yml": parse_yaml, ".json": parse_json}
    if path.is_dir():
        raise SpecError(f"{path} is a folder; a spec is a file. Name the one in it, such as {path / 'spec.toml'}.")
    if suffix not in parsers:
        raise SpecError(f"{path}: a spec is a .toml, .yaml, .yml or .json file; found suffix {suffix!r}. Rename it.")
    try:
        if path.stat().st_size > MAX_FILE_BYTES:
            raise SpecError(
                f"{path}: a spec has at most {MAX_FILE_BYTES} bytes, found {path.stat().st_size}. "
                "Data belongs into a file that the spec names."
            )
        text = path.read_bytes().decode("utf-8")
    except OSError as error:
        raise SpecError(f"{path}: the spec cannot be read ({error.strerror}). Check the path.") from error
    except UnicodeDecodeError as error:
        raise SpecError(f"{path}: a spec is UTF-8 text; byte {error.start} is not. Save it as UTF-8.") from error
    return parsers[suffix](text, str(path))


def parse_toml(text: str, where: str) -> dict[str, Any]:
    """The values of TOML text. Raises SpecError with line and column."""
    try:
        return plain_values(tomllib.loads(text), where)
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f'{where}: not TOML: {error}. Text stands in quotes: name = "x".') from error
    except RecursionError as error:
        raise SpecError(f"{where}: not a spec: nested deeper than {MAX_DEPTH} levels. Flatten it.") from error


def parse_json(text: str, where: str) -> dict[str, Any]:
    """The values of JSON text; a double key is refused. Raises SpecError."""

    def unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        table = dict(pairs)
        if len(table) < len(pairs):
            keys = [key for key, _ in pairs]
            double = next(key for key in keys if keys.count(key) > 1)
            raise SpecError(f"{where}: the key {double!r} appears twice in one object; keep one of them")
        return table

    try:
        return plain_values(json.loads(text, object_pairs_hook=unique), where)
    except json.JSONDecodeError as error:
        raise SpecError(f"{where}: not JSON: {error}. Check that line.") from error
    except RecursionError as error:
        raise SpecError(f"{where}: not a spec: nested deeper than {MAX_DEPTH} levels. Flatten it.") from error


def parse_yaml(text: str, where: str) -> dict[str, Any]:
    """The values of YAML 1.2 text. Raises SpecError with the line."""
    from ruamel.yaml import YAML
    from ruamel.yaml.constructor import DuplicateKeyError
    from ruamel.yaml.error import YAMLError

    try:
        _refuse_yaml_extras(text, where)
        reader = YAML(typ="safe", pure=True)
        reader.version = (1, 2)
        reader.allow_duplicate_keys = False
        return plain_values(reader.load(io.StringIO(text)), where)
    except DuplicateKeyError as error:
        problem = str(error.problem).split(" with value")[0]
        raise SpecError(f"{where}{_line(error)}: {problem}: it appears twice; keep one of them") from error
    except YAMLError as error:
        problem = getattr(error, "problem", None) or str(error).splitlines()[0]
        if "'\\t'" in problem:
            raise SpecError(f"{where}{_line(error)}: YAML forbids tabs before a key. Indent with blanks.") from error
        raise SpecError(f"{where}{_line(error)}: not YAML 1.2: {problem}. Check that line.") from error
    except (ValueError, RecursionError) as error:
        if isinstance(error, SpecError):
            raise
        raise SpecError(f"{where}: not a spec: {error}. Put odd text in quotes.") from error


def _refuse_yaml_extras(text: str, where: str) -> None:
    from ruamel.yaml import YAML
    from ruamel.yaml.events import (
        AliasEvent,
        CollectionEndEvent,
        CollectionStartEvent,
        DocumentStartEvent,
        NodeEvent,
    )

    documents = depth = 0
    for event in YAML(typ="safe", pure=True).parse(io.StringIO(text)):
        line = f", line {event.start_mark.line + 1}" if event.start_mark is not None else ""
        depth += isinstance(event, CollectionStartEvent) - isinstance(event, CollectionEndEvent)
        # Here, and not only once all is read: the scanner takes the square of the depth, 10 s for 5,000 brackets.
        if depth > MAX_DEPTH + 1:
            raise SpecError(f"{where}{line}: nested deeper than {MAX_DEPTH} levels. Flatten it.")
        if isinstance(event, AliasEvent) or getattr(event, "anchor", None) is not None:
            name = event.anchor if isinstance(event, NodeEvent) else ""
            raise SpecError(f"{where}{line}: a spec has no anchors and aliases (found {name!r}); write the value out")
        if getattr(event, "tag", None) is not None:
            raise SpecError(f"{where}{line}: a spec has no tags (found {str(event.tag)!r}); leave it away")
        if isinstance(event, DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise SpecError(f"{where}{line}: a spec is one YAML document; found a second one. Split the file.")
            if event.version not in (None, (1, 2)):
                raise SpecError(f"{where}{line}: a spec is YAML 1.2; found %YAML {event.version}. Remove that line.")


def _line(error: Any) -> str:
    mark = getattr(error, "problem_mark", None)
    return f", line {mark.line + 1}" if mark is not None else ""


def parse_override(text: str) -> tuple[list[str], Any]:
    """`a.b=c` as key path and value: a TOML value where it is one, else the bare text. Raises SpecError."""
    key, equals, raw = text.partition("=")
    raw = raw.strip()
    if equals == "" or not key.strip():
        raise SpecError(f"--set {text}: an override is key=value, such as search.n_iterations=100; write it so")
    try:
        path = _key_path(tomllib.loads(f"{key.strip()} = 0"))
    except tomllib.TOMLDecodeError as error:
        raise SpecError(f"--set {text}: {key.strip()!r} is not a dotted key such as search.n_iterations") from error
    try:
        parsed = tomllib.loads(f"value = {raw}")
        # A line break inside would let one override set more than its own key.
        if list(parsed) == ["value"]:
            return path, parsed["value"] if not isinstance(parsed["value"], _DATES) else raw
    except tomllib.TOMLDecodeError:
        pass
    if raw == "" or raw[0] in "[{\"'" or "\n" in raw:
        raise SpecError(
            f"--set {text}: {raw!r} is neither a TOML value nor a bare word. "
            'Examples: a=5, a=0.5, a=true, a=word, a=[1, 2], a={low = 1, high = 2}; empty text is a=""'
        )
    return path, raw


_DATES: Final = (datetime.date, datetime.time)


def _key_path(table: Mapping[str, Any]) -> list[str]:
    path = []
    value: Any = table
    while isinstance(value, Mapping):
        if len(value) != 1:
            raise tomllib.TOMLDecodeError("more than one key")
        ((key, value),) = value.items()
        path.append(key)
    return path


def _override(values: dict[str, Any], path: list[str], value: Any, text: str) -> None:
    table = values
    for depth, key in enumerate(path[:-1], start=1):
        table = table.setdefault(key, {})
        if not isinstance(table, dict):
            inside = ".".join(path[:depth])
            raise SpecError(
                f"--set {text}: {inside} is {table!r}, not a table, so nothing can be set inside it; "
                f"set {inside} itself"
            )
    table[path[-1]] = plain_values({"value": value}, f"--set {text}")["value"]


def _rename_seed(values: dict[str, Any], where: str) -> None:
    if "random_seed" not in values:
        return
    if "seed" in values:
        raise SpecError(f"{where}: seed and random_seed are two names of one key; keep one of them")
    values["seed"] = values.pop("random_seed")


def plain_values(value: Any, where: str) -> dict[str, Any]:
    """A deep copy holding only what a spec may hold; dates become ISO text. Raises SpecError naming the key."""
    if value is None:
        raise SpecError(f'{where}: the spec is empty; it needs at least kind = "..."')
    if not isinstance(value, Mapping):
        raise SpecError(f"{where}: a spec is a table of keys and values; found {type(value).__name__}")
    return {_text_key(key, where, ""): _plain(item, where, str(key), 1) for key, item in value.items()}


def _text_key(key: Any, where: str, inside: str) -> str:
    if not isinstance(key, str):
        place = f"{inside}.{key}" if inside else str(key)
        raise SpecError(
            f'{where}: {place}: keys are text; found {type(key).__name__} {key!r}. Put it in quotes: "{key}"'
        )
    return key


def _plain(value: Any, where: str, place: str, depth: int) -> Any:
    if depth > MAX_DEPTH:
        raise SpecError(f"{where}: {place}: nested deeper than {MAX_DEPTH} levels. Flatten it.")
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= letter <= "\udfff" for letter in value):
            raise SpecError(
                f"{where}: {place}: text of a spec is UTF-8; found other bytes in {value!r:.80}. Rename what it names."
            )
        return str(value)
    if isinstance(value, int):
        return int(value)
    if isinstance(value, float):
        return float(value)
    if ".space." in place and (isinstance(value, tuple | range) or hasattr(value, "to_spec")):
        return _plain(_space_notation(place.rpartition(".")[2], value), where, place, depth)
    if hasattr(value, "to_spec"):  # a Space
        return _plain(value.to_spec(), where, place, depth)
    if isinstance(value, Mapping):
        return {
            _text_key(key, where, place): _plain(item, where, f"{place}.{key}", depth + 1)
            for key, item in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(item, where, f"{place}[{i}]", depth + 1) for i, item in enumerate(value)]
    if isinstance(value, _DATES):
        return value.isoformat()
    if getattr(value, "ndim", None) == 0 and hasattr(value, "item"):
        return _plain(value.item(), where, place, depth)
    raise SpecError(
        f"{where}: {place}: a spec holds text, numbers, true/false, lists and tables; "
        f"found {type(value).__name__}. Give its name or its values."
    )


def _space_notation(name: str, value: Any) -> Any:
    """A parameter's range as JSON can hold it. A Python pair is a range there; as a list it would be two choices."""
    from lockstep.core.space import Space  # NumPy, which reading a file does not need

    return Space.parse({name: value}).to_spec()[name]


def spec_json(values: Mapping[str, Any], where: str) -> str:
    """JSON text of the values, for the strict validator; NaN and infinities go in under their JavaScript names."""
    return json.dumps(plain_values(values, where), ensure_ascii=False)
