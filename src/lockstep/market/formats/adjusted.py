"""Prices adjusted for dividends and splits: all four by one factor, or none, and never without being asked for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.market.checks import PRICES
from lockstep.market.formats.cells import bare
from lockstep.market.formats.words import ADJUSTED

_OPTION: Final = "adjusted=True (--adjusted; in a spec [data] adjusted = true)"


def adjusted_columns(names: Sequence[str]) -> dict[str, str]:
    """Which of a table's columns hold adjusted values: our name -> the table's name."""
    return {
        ours: next(name for name in names if bare(name) in aliases)
        for ours, aliases in ADJUSTED.items()
        if any(bare(name) in aliases for name in names)
    }


def whole_set(
    names: Sequence[str], chosen: Mapping[str, str | None], adjusted: bool | None, place: str
) -> dict[str, str]:
    """The adjusted columns to read in place of open ... volume where a source has all four; empty elsewhere.

    Raises DataError when adjusted prices are asked for and the source has no adjusted close.
    """
    there = adjusted_columns(names)
    if not adjusted:
        return {}
    if "close" not in there:
        raise DataError(
            f"{place}: adjusted prices need a column such as 'Adj Close'; found {', '.join(map(repr, names))}. Leave "
            "adjusted out."
        )
    return there if all(price in there for price in PRICES) else {}


def scaled(columns: Mapping[str, NDArray[Any]], close: NDArray[np.float64], place: str) -> dict[str, NDArray[Any]]:
    """The columns with all four prices times adjusted close / close; volume stays as it is.

    close   the adjusted close, float64 (n,)

    Raises DataError when it is missing or not positive where the close is.
    """
    raw = columns["close"]
    bad = ~(close > 0) & (raw > 0)
    if bad.any():
        row = int(np.argmax(bad))
        raise DataError(
            f"{place}: an adjusted close is a positive number; found {float(close[row])!r} in row {row}, "
            f"{int(bad.sum()):,} such rows. Fetch them again, or leave adjusted out."
        )
    factor = np.divide(close, raw, out=np.ones_like(raw), where=raw > 0)
    # Prices that equal the close stay equal to it: a product may differ from it in the last bit.
    out = {name: np.where(columns[name] == raw, close, columns[name] * factor) for name in PRICES}
    top, bottom = np.maximum(out["open"], out["close"]), np.minimum(out["open"], out["close"])
    sound = (columns["high"] >= np.maximum(columns["open"], raw)) & (columns["low"] <= np.minimum(columns["open"], raw))
    out["high"] = np.where(sound, np.maximum(out["high"], top), out["high"])
    out["low"] = np.where(sound, np.minimum(out["low"], bottom), out["low"])
    return {**columns, **out}


def require_unmixed(
    names: Sequence[str], chosen: Mapping[str, str | None], read: Any, columns: Mapping[str, NDArray[Any]], place: str
) -> None:
    """Raises DataError when some of the four prices are mapped to adjusted columns and others not, and they differ.

    read   a column of the table by its name, as numbers
    """
    there = adjusted_columns(names)
    mapped = [ours for ours in PRICES if chosen[ours] in there.values()]
    if not mapped or len(mapped) == len(PRICES):
        return
    raw = next((name for name in names if bare(name) == mapped[0]), None)
    if raw is not None and np.array_equal(read(raw), columns[mapped[0]]):
        return
    others = ", ".join(ours for ours in PRICES if ours not in mapped)
    raise DataError(
        f"{place}: all four prices are adjusted or none; columns maps {', '.join(mapped)} to "
        f"{chosen[mapped[0]]!r} and leaves {others} as traded. Leave it out of columns, and scale all four: {_OPTION}."
    )
