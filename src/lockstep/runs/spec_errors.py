"""Explain what is wrong with a spec: one line per key, with the value found, the rule, and a cure."""

from __future__ import annotations

import types
from collections.abc import Iterator, Mapping
from typing import Any, Final, Literal, Union, get_args, get_origin

from pydantic import BaseModel, ValidationError

from lockstep.core.near_names import nearest

_MISSING: Final = object()
_TYPE_RULES: Final = {
    "int_type": "a whole number",
    "int_from_float": "a whole number",
    "int_parsing": "a whole number",
    "float_type": "a number",
    "float_parsing": "a number",
    "string_type": "text",
    "bool_type": "true or false",
    "list_type": "a list",
    "tuple_type": "a list",
    "set_type": "a list without repetitions",
    "frozen_set_type": "a list without repetitions",
    "dict_type": "a table",
    "mapping_type": "a table",
    "model_type": "a table",
    "model_attributes_type": "a table",
    "none_required": "left away",
    "finite_number": "a finite number",
}
_LIMITS: Final = {
    "greater_than": ("gt", "greater than"),
    "greater_than_equal": ("ge", "at least"),
    "less_than": ("lt", "less than"),
    "less_than_equal": ("le", "at most"),
    "multiple_of": ("multiple_of", "a multiple of"),
}
_PER_ONE: Final = {"pct": 100, "percent": 100, "bps": 10_000, "bp": 10_000}


def explain(error: ValidationError, model: type[BaseModel], values: Mapping[str, Any], source: str) -> str:
    """The message for everything `error` holds: one line where there is one problem, else a list of them."""
    # A union gives an error for each of its members; to the reader of a spec that is one problem of one key.
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for item in error.errors(include_url=False):
        groups.setdefault(_key_path(item["loc"], values, item["type"]), []).append(dict(item))
    lines = [_line(path, items, model, values) for path, items in groups.items()]
    if len(lines) == 1:
        return f"{source}: {lines[0]}"
    return f"{source}: {len(lines)} problems\n" + "\n".join(f"  - {line}" for line in lines)


def known_paths(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every key path that `model` has, such as "search.n_iterations"."""
    for name, info in model.model_fields.items():
        path = f"{prefix}{info.alias or name}"
        yield path
        for inner in _models(info.annotation):
            yield from known_paths(inner, f"{path}.")


def _models(annotation: Any) -> list[type[BaseModel]]:
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return [annotation]
    if get_origin(annotation) in (Union, types.UnionType):
        return [model for part in get_args(annotation) for model in _models(part)]
    return []


def _key_path(loc: tuple[int | str, ...], values: Any, kind: str) -> tuple[int | str, ...]:
    """`loc` without the names of union members that pydantic puts in: only keys that are, or should be, in the spec."""
    path: list[int | str] = []
    here = values
    for position, part in enumerate(loc):
        last = position == len(loc) - 1
        in_list = isinstance(here, list) and isinstance(part, int) and part < len(here)
        if in_list or (isinstance(here, Mapping) and part in here):
            here = here[part]
        elif kind == "missing" and last:
            here = _MISSING
        else:
            continue
        path.append(part)
    return tuple(path)


def _show(path: tuple[Any, ...]) -> str:
    text = ""
    for part in path:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or "the whole spec"


def _value(path: tuple[Any, ...], values: Any) -> Any:
    for part in path:
        values = values[part]
    return values


def _model_at(path: tuple[Any, ...], model: type[BaseModel]) -> type[BaseModel] | None:
    for part in path:
        info = model.model_fields.get(str(part))
        inner = _models(info.annotation) if info is not None else []
        if len(inner) != 1:
            return None
        model = inner[0]
    return model


def _line(
    path: tuple[Any, ...], items: list[Mapping[str, Any]], model: type[BaseModel], values: Mapping[str, Any]
) -> str:
    first = items[0]
    if first["type"] == "missing":
        return f"{_show(path)}: this key is required and missing; {_example(path, model)}"
    value = _value(path, values)
    shown = f"{_show(path)} = {value!r:.80}"
    if first["type"] == "extra_forbidden":
        return f"{shown}: there is no such key{_unknown_hint(path, model, value)}"
    rules = " or ".join(dict.fromkeys(rule for item in items if (rule := _rule(item))))
    return f"{shown}: {rules}{_cure(path, items, model, value)}"


def _rule(item: Mapping[str, Any]) -> str:
    kind, context = item["type"], item.get("ctx", {})
    if kind in _TYPE_RULES:
        return f"has to be {_TYPE_RULES[kind]}"
    if kind in _LIMITS:
        key, words = _LIMITS[kind]
        return f"has to be {words} {context[key]}"
    if kind in ("literal_error", "enum"):
        return f"has to be {context['expected']}"
    if kind in ("string_too_short", "too_short"):
        return f"needs at least {context['min_length']} {'characters' if kind.startswith('string') else 'items'}"
    if kind in ("string_too_long", "too_long"):
        return f"has at most {context['max_length']} {'characters' if kind.startswith('string') else 'items'}"
    if kind == "string_pattern_mismatch":
        return f"has to match {context['pattern']}"
    message = str(item["msg"])
    # Our own validators raise ValueErrors whose text already gives rule and cure.
    return message.removeprefix("Value error, ").removeprefix("Assertion failed, ")


def _unit(path: tuple[Any, ...], model: type[BaseModel]) -> str | None:
    owner = _model_at(path[:-1], model) if path else None
    info = owner.model_fields.get(str(path[-1])) if owner is not None else None
    extra = info.json_schema_extra if info is not None else None
    return str(extra["unit"]) if isinstance(extra, dict) and "unit" in extra else None


def _cure(path: tuple[Any, ...], items: list[Mapping[str, Any]], model: type[BaseModel], value: Any) -> str:
    kinds = {item["type"] for item in items}
    unit = _unit(path, model)
    if isinstance(value, str):
        if (number := _percent(value)) is not None and kinds & {"float_type", "int_type"}:
            return f"; percent are written as a fraction: {number!r}"
        if kinds & {"float_type", "int_type", "bool_type"} and _is_bare(value):
            return f"; write it without quotes: {value}"
        if kinds & {"literal_error", "enum"}:
            expected = str(items[0].get("ctx", {}).get("expected", ""))
            choices = [choice.strip("' ") for choice in expected.replace(" or ", ",").split(",")]
            close = nearest(value, choices)
            return "; choose one of these" if close is None else f'; did you mean "{close}"?'
    if "string_type" in kinds and not isinstance(value, dict | list):
        return f'; write it in quotes: "{value}"'
    if unit is not None and _is_number(value) and kinds & _LIMITS.keys():
        return f"; the unit is {unit}" + (f": {value} % is {value / 100!r}" if unit == "fraction" else "")
    if kinds & {"int_from_float", "int_type"} and isinstance(value, float) and value.is_integer():
        return f"; write {int(value)}"
    return ""


def _percent(text: str) -> float | None:
    try:
        return float(text.strip().removesuffix("%")) / 100 if text.strip().endswith("%") else None
    except ValueError:
        return None


def _is_bare(text: str) -> bool:
    if text in ("true", "false"):
        return True
    try:
        float(text)
    except ValueError:
        return False
    return True


def _unknown_hint(path: tuple[Any, ...], model: type[BaseModel], item: Any) -> str:
    owner = _model_at(path[:-1], model)
    key = str(path[-1])
    here = list(owner.model_fields) if owner is not None else []
    stem, _, suffix = key.rpartition("_")
    if suffix in _PER_ONE:
        for name in (stem, f"{stem}_rate", f"{stem}_fraction"):
            if name in here:
                value = f": {item!r} here is {item / _PER_ONE[suffix]!r} there" if _is_number(item) else ""
                return f"; did you mean {_show((*path[:-1], name))}, a fraction{value}?"
    close = nearest(key, here)
    if close is not None:
        return f"; did you mean {_show((*path[:-1], close))}?"
    elsewhere = [dotted for dotted in known_paths(model) if dotted.rpartition(".")[2] == key]
    if elsewhere:
        return f"; did you mean {' or '.join(elsewhere)}?"
    inside = f"in [{_show(path[:-1])}]" if len(path) > 1 else "at the top"
    return f"; keys {inside}: {', '.join(here)}" if here else ""


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _example(path: tuple[Any, ...], model: type[BaseModel]) -> str:
    owner = _model_at(path[:-1], model)
    info = owner.model_fields.get(str(path[-1])) if owner is not None else None
    annotation = info.annotation if info is not None else None
    if _models(annotation):
        return f"add a table [{_show(path)}]"
    if get_origin(annotation) is Literal:
        value = f'"{get_args(annotation)[0]}"'
    else:
        value = {str: '"..."', int: "1", float: "0.5", bool: "true"}.get(annotation, "...")  # type: ignore[arg-type]
    table = f" to [{_show(path[:-1])}]" if len(path) > 1 else ""
    return f"add {path[-1]} = {value}{table}"
