"""The code of a run, whole: the user's part, which a kind supplies, and the files of Lockstep that it can load."""

from __future__ import annotations

from lockstep.runs import registry
from lockstep.runs.identity import CodeIdentity
from lockstep.runs.kind import Kind


def whole_code(code: CodeIdentity, kind: Kind) -> CodeIdentity:
    """`code` with the files that a run of `kind` can load. Raises InputError for a kind whose source lies in no file.

    Every run begins with it, and every run that is rebuilt: what it leaves out could change a result unseen.
    """
    return code.with_modules(_modules_of(kind))


def _modules_of(kind: Kind) -> list[str]:
    """The modules that a kind is in: of its class, and of the object that is registered."""
    path = registry.path(kind.name)
    registered = [] if path is None else [path.partition(":")[0]]
    return sorted({type(kind).__module__, *registered})
