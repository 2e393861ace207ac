"""Ask at a terminal, once, whether code of an imported run may run."""

from __future__ import annotations

import sys
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder

_YES: Final = frozenset({"y", "yes"})


def consent(folder: RunFolder, *, flag: bool) -> bool:
    """Whether code of an imported run may run: by the option, or by the answer at a terminal.

    False without a terminal. The use case refuses, when it comes to running code that nobody has allowed.
    """
    if flag:
        return True
    if not (_is_terminal(sys.stdin) and _is_terminal(sys.stderr)):
        return False
    from lockstep.app.trust import in_words
    from lockstep.core.printable import printable
    from lockstep.runs.trust import foreign_code

    code = foreign_code(folder)
    if code is None:
        return False
    sys.stderr.write(
        printable(
            f"{in_words(code)}\nThis command runs it, as any script, with all that you may do. Look at it first: "
            f"{folder.sources}\nRun it, now and from now on? [y/N] "
        )
    )
    sys.stderr.flush()
    return sys.stdin.readline().strip().lower() in _YES


def _is_terminal(stream: object) -> bool:
    isatty = getattr(stream, "isatty", None)
    return bool(callable(isatty) and isatty())
