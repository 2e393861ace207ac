"""Write training_history.json: plain numbers and lists that any JSON reader understands."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from lockstep.core import files

HISTORY_FILE: Final = "training_history.json"


def history_bytes(history: Mapping[str, Any]) -> bytes:
    """The file's bytes, indented by 2, keys in the history's order. Raises ValueError for NaN or infinity."""
    return (json.dumps(history, indent=2, allow_nan=False) + "\n").encode()


def save_history(history: Mapping[str, Any], folder: Path) -> Path:
    """Write training_history.json into `folder`; returns its path. Raises DiskError."""
    path = folder / HISTORY_FILE
    files.write_atomic(path, history_bytes(history))
    return path
