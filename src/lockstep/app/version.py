"""Version: Lockstep and everything else here that decides a number, for a reader and for defect reports."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import version
from typing import Any

from lockstep.runs.numerics import NumericsIdentity


@dataclass(frozen=True, kw_only=True)
class Versions:
    """Lockstep's version, and the entries of the numerics identity of a run made here."""

    lockstep: str
    numerics: Mapping[str, str]

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep version --json` prints."""
        return {"lockstep": self.lockstep, "numerics": dict(self.numerics)}

    def text(self) -> str:
        """The lines that `lockstep version` prints."""
        return "\n".join(
            [f"lockstep {self.lockstep}", *(f"  {name}: {value}" for name, value in self.numerics.items())]
        )


def versions() -> Versions:
    """The versions that this process has loaded."""
    return Versions(lockstep=version("lockstep-trading"), numerics=NumericsIdentity.collect().body())
