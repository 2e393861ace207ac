"""Paths of a spec, which start in the folder of the spec file."""

from __future__ import annotations

from pathlib import Path


def spec_path(text: str, base: Path) -> Path:
    """The path that a spec names: absolute, in the user's home after "~", or relative to `base`."""
    path = Path(text).expanduser()
    return path if path.is_absolute() else base / path
