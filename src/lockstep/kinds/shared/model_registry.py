"""Models of kinds by the kind's name, as import paths: what a run leaves for use, apart from what trained it.

    register_model("cnn", "lockstep.kinds.cnn.model:CnnModel")

The class is made from the plan that the kind restores and the folder of the complete run. A kind does not import its
model, so a change of how a model is used leaves runs comparable.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any, Final

if TYPE_CHECKING:
    from collections.abc import Callable

    from lockstep.kinds.shared.models import Model
    from lockstep.runs.folder import RunFolder

_PATHS: Final[dict[str, str]] = {}


def register_model(kind: str, path: str) -> None:
    """Let `path`, "module:Class", be the model of runs of `kind`. A later registration replaces an earlier one."""
    _PATHS[kind] = path


def model_class(kind: str) -> Callable[[Any, RunFolder], Model] | None:
    """The class that makes the model of a run from its plan and folder; None for a kind that leaves no model."""
    if kind not in _PATHS:
        return None
    module, _, name = _PATHS[kind].partition(":")
    factory: Callable[[Any, RunFolder], Model] = getattr(import_module(module), name)
    return factory
