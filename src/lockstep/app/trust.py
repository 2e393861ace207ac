"""Trust: code of an imported run is run only when the user says so, once, and the answer stays in the home."""

from __future__ import annotations

from lockstep.core.errors import RefusedError
from lockstep.runs.folder import RunFolder
from lockstep.runs.trust import ForeignCode, allow, foreign_code


def permit(folder: RunFolder, *, trust: bool) -> None:
    """Let code of the run in `folder` run: code of this home does at once, that of an imported run when `trust` is set.

    With `trust` the answer is kept. Raises RefusedError for code that nobody has allowed, DiskError.
    """
    code = foreign_code(folder)
    if code is None:
        return
    if not trust:
        raise RefusedError(
            f"{in_words(code)} This would run it, as any script, with all that you may do. Look at it in "
            f"{folder.sources}; if you trust who made it, say --run-imported-code (Python: trust=True)."
        )
    allow(code)


def in_words(code: ForeignCode) -> str:
    """Whose code it is and where it came from, in a sentence."""
    names = ", ".join(code.files)
    where = f"was imported from {code.archive}" if code.archive is not None else "lies in no home of yours"
    return f"run {code.run_id} {where} and brings code of its own: {names}."
