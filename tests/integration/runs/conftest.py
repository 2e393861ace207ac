"""A home with a toy kind, as the unit tests of this room have it."""

from tests.unit.runs.conftest import _toy_kind, home, other_home, snapshot_of

__all__ = ["_toy_kind", "home", "other_home", "snapshot_of"]
