"""Bars that were not over when they were written, where the source says so of each row."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.market.formats.cells import bare
from lockstep.market.formats.numbers import is_text

# What exchanges call the column that is true once a bar is over (OKX and Bybit, Binance, OANDA, Gate) ...
_OVER: Final = frozenset(
    {"confirm", "confirmed", "isconfirmed", "closed", "isclosed", "candleclosed", "complete", "iscomplete", "completed",
     "final", "isfinal", "finished", "isfinished"}
)  # fmt: skip
# ... and while it is not.
_NOT_OVER: Final = frozenset({"partial", "ispartial", "incomplete", "unfinished", "inprogress", "forming", "isforming"})
_STATES: Final = frozenset({"open", "closed"})
_TRUE: Final = frozenset({"1", "1.0", "true", "t", "yes", "y", "closed"})
_FALSE: Final = frozenset({"0", "0.0", "false", "f", "no", "n", "open"})


def unfinished_rows(table: Any, read: Collection[str | None]) -> tuple[NDArray[np.bool_], str] | None:
    """Which rows are no bars yet, bool (n,), and the column that says it; None where no column does.

    table   Arrow
    read    names of the columns that are read as times, prices or volume: these say nothing else
    """
    for name in table.column_names:
        if name in read:
            continue
        title = bare(name)
        # Binance's stream calls it x, among names of one letter.
        is_x = name == "x" and str(table.column(name).type) == "bool"
        if not (title in _OVER or title in _NOT_OVER or is_x):
            continue
        flags = _flags(table.column(name))
        if flags is not None:
            yes, is_said = flags
            if title in _NOT_OVER:
                return yes, name
            # Bars of which nothing is said are over, but for the last.
            return ~yes & (is_said | (np.arange(yes.size) == yes.size - 1)), name
    return None


def _flags(column: Any) -> tuple[NDArray[np.bool_], NDArray[np.bool_]] | None:
    """A column of yes and no as bool (n,), and where it says so, bool (n,); None where it holds anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if not any(check(kind) for check in (pa.types.is_boolean, pa.types.is_integer, pa.types.is_floating, is_text)):
        return None
    words = {value: str(value).strip().lower() for value in pc.unique(column).to_pylist() if value is not None}
    said = set(words.values())
    # "open" alone may be anything; beside "closed" it is the state of a bar.
    if not words or not said <= _TRUE | _FALSE or (said & _STATES and said != _STATES):
        return None
    yes = pa.array([value for value, word in words.items() if word in _TRUE], type=kind)
    is_yes = np.asarray(pc.is_in(column, yes).to_numpy(), dtype=np.bool_)
    return is_yes, np.asarray(pc.is_valid(column).to_numpy(), dtype=np.bool_).copy()
