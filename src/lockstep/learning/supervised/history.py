"""training_history.json: plain numbers and lists, readable by anything that reads JSON."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lockstep.core import files
from lockstep.core.errors import DataError

HISTORY_FILE: Final = "training_history.json"


def history_bytes(history: Mapping[str, Any]) -> bytes:
    """The file's bytes, indented by 2, keys in the history's order. No NaN and no infinity: ValueError."""
    return (json.dumps(history, indent=2, allow_nan=False) + "\n").encode()


def save_history(history: Mapping[str, Any], folder: Path) -> Path:
    """Write training_history.json into `folder`; returns its path. Raises DiskError."""
    path = folder / HISTORY_FILE
    files.write_atomic(path, history_bytes(history))
    return path


def load_history(path: Path | str) -> dict[str, Any]:
    """Read a history back. Raises DataError when it is none, DiskError when it cannot be read."""
    place = Path(path)
    try:
        history = json.loads(files.read_bytes(place))
    except ValueError as error:
        raise DataError(f"{place}: not a training history: {error}. Write it again by a training.") from error
    if not isinstance(history, dict) or not {"epoch", "loss"} <= history.keys():
        raise DataError(f"{place}: a training history has the keys epoch and loss. Write it again by a training.")
    if len(history["epoch"]) != len(history["loss"]):
        raise DataError(
            f"{place}: a history has one loss per epoch; found {len(history['epoch'])} epochs and "
            f"{len(history['loss'])} losses. Write it again by a training."
        )
    return history
