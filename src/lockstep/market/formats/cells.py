"""What a single cell of a text file looks like: a number in any locale, a date, a time of day, or a name."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Sequence
from typing import Final

# Blanks that group digits: no-break, narrow no-break, thin; and the apostrophes of Switzerland.
GROUPS: Final = "\u00a0\u202f\u2009\u2019' "
CURRENCY: Final = "$€£¥"
_NUMBER: Final = re.compile(rf"[{CURRENCY}]?[+-]?[{CURRENCY}]?\d[\d.,{GROUPS}]*([eE][+-]?\d+)?\s?[KMBkmb%]?")
_DATE: Final = re.compile(
    r"\d{4}[-./]\d{1,2}[-./]\d{1,2}|\d{1,2}[-./]\d{1,2}[-./]\d{4}|\d{8}|\d{1,2}[- .][A-Za-z]{3,9}\.?[- .,]+\d{4}"
    r"|[A-Za-z]{3,9}\.? \d{1,2}, ?\d{4}"
)
_CLOCK: Final = re.compile(r"\d{1,2}:\d{2}(:\d{2}([.,]\d+)?)?(\s?[AaPp]\.?\s?[Mm]\.?)?|\d{6}")
_EPOCH: Final = re.compile(r"\d{9,19}(\.\d*)?")
_MISSING: Final = frozenset({"", "nan", "na", "n/a", "null", "none", "-"})


def is_number(cell: str) -> bool:
    """Whether a cell is a number in some locale."""
    return _NUMBER.fullmatch(cell.strip()) is not None


def is_date(cell: str) -> bool:
    """Whether a cell is a calendar date without a time of day."""
    return _DATE.fullmatch(cell.strip()) is not None


def is_clock(cell: str) -> bool:
    """Whether a cell is a time of day without a date."""
    return _CLOCK.fullmatch(cell.strip()) is not None


def is_epoch(cell: str) -> bool:
    """Whether a cell is a number of seconds or a smaller unit since 1970."""
    return _EPOCH.fullmatch(cell.strip()) is not None


def is_time(cell: str) -> bool:
    """Whether a cell begins as dates, with or without a time of day, and epoch numbers do."""
    text = cell.strip()
    return is_epoch(text) or is_date(text) or _DATE.match(text) is not None


def is_row(cells: Sequence[str]) -> bool:
    """Whether a line holds values and no names: four numbers at least, and hardly anything else."""
    numbers = sum(is_number(cell) for cell in cells)
    names = sum(not (is_number(cell) or is_time(cell) or cell.strip().lower() in _MISSING) for cell in cells)
    return numbers >= 4 and names <= max(1, len(cells) // 4)


def bare(name: str) -> str:
    """A column's name in small letters and digits alone: "<TICKVOL>" is tickvol, "Er\u00f6ffnung" is eroffnung."""
    plain = unicodedata.normalize("NFKD", name)
    return "".join(letter for letter in plain.casefold() if letter.isalnum() and not unicodedata.combining(letter))
