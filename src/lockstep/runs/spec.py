"""Specs: strict, frozen, versioned models, from a file or a dict to the resolved spec and its identity.

    load_spec(path, ["search.n_iterations=100"])      file + overrides -> plain dict (`runs.spec_files`)
    resolve(model, values)                            -> model instance, all defaults filled, the seed drawn if "random"
    identity_body(spec)                               -> what is hashed: the resolved spec without where data came from

Every breach of a rule in one spec is reported at once: key, value found, rule, cure (`runs.spec_errors`).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Any, Final, Literal, TypeVar

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from lockstep.core.errors import SpecError
from lockstep.runs.seeds import DEFAULT_SEED, MAX_SEED, draw_seed
from lockstep.runs.spec_errors import explain, known_paths
from lockstep.runs.spec_files import load_spec, spec_json

if TYPE_CHECKING:
    from pydantic.fields import FieldInfo

__all__ = [
    "ADDED_LATER",
    "NOT_IDENTITY",
    "RunSpec",
    "SpecModel",
    "full_body",
    "identity_body",
    "known_paths",
    "load_spec",
    "resolve",
]

NOT_IDENTITY: Final[dict[str, Any]] = {"identity": False}
"""`Field(json_schema_extra=NOT_IDENTITY)` marks a key that cannot change a result. It must have a default."""

ADDED_LATER: Final[dict[str, Any]] = {"later": True}
"""`Field(json_schema_extra=ADDED_LATER)` marks a key that a release added to a table that had been stored before.

At its default, which must be what the earlier releases did, it is no part of the identity: their specs keep their hash.
"""

ModelT = TypeVar("ModelT", bound="SpecModel")


class SpecModel(BaseModel):
    """Base of every table of a spec: frozen, no unknown keys, no silent conversion, no NaN or infinity."""

    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        validate_default=True,
        hide_input_in_errors=True,
        ser_json_inf_nan="constants",
    )


def _draw(value: Any) -> Any:
    return draw_seed() if value == "random" else value


class RunSpec(SpecModel):
    """Keys that every spec has, whatever its kind."""

    version: Literal[1] = 1
    kind: str = Field(min_length=1)
    name: str | None = Field(default=None, json_schema_extra=NOT_IDENTITY)
    """A label of the run in lists."""
    # "random" is drawn here, hence before any fingerprint, and is an ordinary seed from then on (decision D9).
    seed: Annotated[int, BeforeValidator(_draw)] = Field(default=DEFAULT_SEED, ge=0, le=MAX_SEED)
    numerics: Literal["native", "portable"] = "native"
    """"portable": a fixed CPU feature level, so that machines of different age agree (`runs.numerics`)."""


def resolve(model: type[ModelT], values: Mapping[str, Any], *, source: str = "the spec") -> ModelT:
    """The spec of `values` with all defaults filled in. `random_seed` is read as `seed`.

    Raises SpecError listing every breach; `source` is the name in its message.
    """
    plain = dict(values)
    if "random_seed" in plain and "seed" in model.model_fields:
        if "seed" in plain:
            raise SpecError(f"{source}: seed and random_seed are two names of one key; keep one of them")
        plain["seed"] = plain.pop("random_seed")
    try:
        # Validated as JSON because JSON has what a spec file has: lists stand for tuples and text for enum members,
        # while strictness still refuses "5" for 5 and 1 for true.
        return model.model_validate_json(spec_json(plain, source))
    except ValidationError as error:
        raise SpecError(explain(error, model, plain, source)) from None


def identity_body(spec: SpecModel) -> dict[str, Any]:
    """Canonical JSON form of what a result depends on: `spec` without the keys marked NOT_IDENTITY.

    A key marked ADDED_LATER is left out while it has its default.
    """
    return _body(spec, identity=True)


def full_body(spec: SpecModel) -> dict[str, Any]:
    """Canonical JSON form of the whole resolved spec, for people; `resolve` reads it back to an equal spec."""
    return _body(spec, identity=False)


def _body(value: SpecModel, *, identity: bool) -> dict[str, Any]:
    return {
        name: _plain(getattr(value, name), identity=identity)
        for name, info in type(value).model_fields.items()
        if not identity or _identifies(info, getattr(value, name))
    }


def _identifies(info: FieldInfo, value: Any) -> bool:
    """Whether a key with this value is part of the identity."""
    marks = info.json_schema_extra if isinstance(info.json_schema_extra, dict) else {}
    return marks.get("identity") is not False and not (marks.get("later") is True and value == info.default)


def _plain(value: Any, *, identity: bool) -> Any:
    if isinstance(value, SpecModel):
        return _body(value, identity=identity)
    if isinstance(value, Mapping):
        return {str(key): _plain(item, identity=identity) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_plain(item, identity=identity) for item in value]
    return value
