"""The whole code of a run: the user's part, which a kind supplies, and the files of Lockstep that it can load."""

from __future__ import annotations

from lockstep.runs import registry
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Kind


def whole_code(code: CodeIdentity, kind: Kind) -> CodeIdentity:
    """`code` with the files that a run of `kind` can load. Raises InputError for a kind whose source is in no file.

    Every run begins with it, and so does every run that is restored: a file left out could change a result unseen.
    """
    return code.with_modules(_modules_of(kind))


def _modules_of(kind: Kind) -> list[str]:
    """The modules of a kind's class and of the object that is registered."""
    path = registry.path(kind.name)
    registered = [] if path is None else [path.partition(":")[0]]
    return sorted({type(kind).__module__, *registered})
