"""Trust: how far what an imported run brings is believed.

Its code runs only when the user says so, once, and the answer stays in the home. Its values may be any: what they make
us stumble over is an error about that run, not a defect of ours.
"""

from __future__ import annotations

import contextlib
from collections.abc import Iterator

from lockstep.core.errors import IntegrityError, LockstepError, RefusedError
from lockstep.runs.folder import RunFolder
from lockstep.runs.form import MISFORMED
from lockstep.runs.trust import ForeignCode, allow, code_digest, foreign_code, is_imported


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


def answer_for_own_code(new: RunFolder, source: RunFolder) -> None:
    """Allow the code of a run made from an imported one, where it is not that one's: the user has just named it."""
    code = foreign_code(new)
    if code is not None and code.digest != code_digest(source):
        allow(code)


def in_words(code: ForeignCode) -> str:
    """Whose code it is and where it came from, in a sentence."""
    names = ", ".join(code.files)
    where = f"was imported from {code.archive}" if code.archive is not None else "lies in no home of yours"
    return f"run {code.run_id} {where} and brings code of its own: {names}."


@contextlib.contextmanager
def reading(folder: RunFolder) -> Iterator[None]:
    """Make what an imported run's odd values raise an error about that run; in a run of this home it is a defect.

    Raises IntegrityError.
    """
    try:
        yield
    except MISFORMED as error:
        if isinstance(error, LockstepError) or not is_imported(folder):
            raise
        raise IntegrityError(
            f"{folder.path}: a document of this imported run lacks what it should hold ({type(error).__name__}: "
            f"{error}). It is not used; remove the run, or import it again from a sound home."
        ) from error
