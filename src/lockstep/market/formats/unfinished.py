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
_TRUE: Final = frozenset({"1", "1.0", "true", "t", "yes", "y"})
_FALSE: Final = frozenset({"0", "0.0", "false", "f", "no", "n"})


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
            return (flags if title in _NOT_OVER else ~flags), name
    return None


def _flags(column: Any) -> NDArray[np.bool_] | None:
    """A column of yes and no as bool (n,); None where it holds anything else."""
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if column.null_count or not (pa.types.is_boolean(kind) or pa.types.is_integer(kind) or is_text(kind)):
        return None
    words = {value: str(value).strip().lower() for value in pc.unique(column).to_pylist()}
    if not set(words.values()) <= _TRUE | _FALSE:
        return None
    yes = pa.array([value for value, word in words.items() if word in _TRUE], type=kind)
    return np.asarray(pc.is_in(column, yes).to_numpy(), dtype=np.bool_)
