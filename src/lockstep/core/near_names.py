"""Near misses: the name that was probably meant, where there is one. One rule for keys, columns, runs and files.

A suggestion that resembles nothing costs a reader more than none: it sends them to the wrong place.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from typing import Final

_RATIO: Final = 0.75
"""Twice the letters in common over all letters: one swapped pair among four ("fats", "fast") just passes."""
_PART: Final = 4
"""Letters of a name that is the whole of a part of another: "min_volume" of "min_volume_threshold"."""


def nearest(name: str, names: Iterable[str]) -> str | None:
    """The one of `names` that `name` is probably a slip of; None where none is near.

    Letter case and the signs "-", "_", "." and blank do not count.
    """
    asked = _plain(name)
    best: tuple[float, str] | None = None
    for candidate in names:
        plain = _plain(candidate)
        ratio = difflib.SequenceMatcher(None, asked, plain).ratio()
        short, long = sorted((asked, plain), key=len)
        near = ratio >= _RATIO or (len(short) >= _PART and short in long)
        # The first of equals, so that the answer does not depend on more than the order of the names.
        if near and (best is None or ratio > best[0]):
            best = ratio, candidate
    return None if best is None else best[1]


def did_you_mean(name: str, names: Iterable[str]) -> str:
    """` Did you mean 'x'?` to follow a sentence, with its blank; empty where no name is near."""
    close = nearest(name, names)
    return "" if close is None else f" Did you mean {close!r}?"


def _plain(name: str) -> str:
    return "".join(letter for letter in name.casefold() if letter not in "-_. ")
