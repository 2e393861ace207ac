"""`lockstep version`."""

from __future__ import annotations

from lockstep.cli.options import Json
from lockstep.cli.output import Output


def version(json: Json = False) -> None:
    """Print the version of Lockstep and of everything that decides its numbers."""
    from lockstep.app.version import versions

    found = versions()
    Output(json=json).result(found.to_json(), found.text())
