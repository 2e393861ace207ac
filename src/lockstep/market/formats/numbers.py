"""Numbers of text columns: decimal point or comma, grouped digits, currency signs, K and M of volumes.

What the usual rule reads is read by it and never looked at again. Elsewhere the decimal mark of the whole file is
settled first, by a cell that only one mark explains; where no cell does, the mark has to be declared.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from lockstep.core.errors import DataError
from lockstep.market.checks import PRICES
from lockstep.market.formats.cells import CURRENCY, GROUPS

_OPTION: Final = "decimal='{0}' (--decimal {0}; in a spec [data] decimal = \"{0}\")"
VOLUMES_IN_LETTERS: Final = "volumes in K, M and B, rounded as the file has them"
_LETTERS: Final[Mapping[str, int]] = {"K": 3, "M": 6, "B": 9}
# What a title of volumes says of their unit, by the power of ten. "Volume_b" may be that in the base currency, and
# "VOLUME_TH" anything: such words count in brackets alone, or behind "in".
_SHORT: Final[Mapping[int, tuple[str, ...]]] = {
    2: ("00", "00s"),
    3: ("1000", "1000s", "th"),
    6: ("m", "mm", "000000"),
    9: ("b",),
}
_LONG: Final[Mapping[int, tuple[str, ...]]] = {
    2: ("x100", "hundred", "hundreds"),
    3: ("k", "000", "000s", "tsd", "x1000", "thousand", "thousands", "thsd", "mille", "miles"),
    6: ("mn", "mln", "mio", "x1000000", "million", "millions", "millionen"),
    9: ("bn", "bln", "mrd", "billion", "billions", "milliarden"),
}
_TITLE: Final = re.compile(
    r"vol(?:ume)?\.?[\s_]*(?:[(\[][\s_]*(?:in[\s_]+)?'?(?P<inside>\w+)\.?[\s_]*[)\]]|in[\s_]+'?(?P<after>\w+)|(?P<alone>\w+))",
    re.IGNORECASE,
)
# Futures of bonds and of grain: whole points, then 32nds (16, 16+, 165 for 16 and a half) or eighths (6). A quarter or
# an eighth of a 32nd is written as its first digit, so that none ends in 4 or 9.
_FRACTION: Final = r"^\d{1,4}['\x{2019}^-](([0-2]\d|3[01])([0-35-8]|\+|\.\d+)?|[0-7])$"
# Cells that only one decimal mark explains; in these, D is the mark, O the other one, G a sign that groups digits.
_PROOFS: Final = (
    r"D\d{1,2}$",  # a group has three digits
    r"D\d{4,}$",
    r"^[+-]?0D\d",  # no group begins with a zero
    r"^[+-]?\d{4,}D\d",
    r"G\d{3}D\d",
    r"O\d{3}O\d{3}$",  # a decimal mark stands once
)


def numbers_of(columns: Mapping[str, Any], *, decimal: str | None, place: str, notes: list[str]) -> dict[str, Any]:
    """Text columns as Arrow columns that `as_floats` reads: numbers, or text with a point and nothing between digits.

    columns  our name -> an Arrow text column
    decimal  a declared mark, "." or ","; None reads it from the cells

    Raises DataError when the mark cannot be told, contradicts itself, or a cell is no number with it.
    """
    if decimal not in (None, ".", ","):
        raise DataError(f"{place}: decimal is '.' or ','; found {decimal!r}.")
    trimmed = {name: _trimmed(column) for name, column in columns.items()}
    _refuse_fractions({name: column for name, column in trimmed.items() if name in PRICES}, decimal, place)
    if decimal is None:
        numbers = {name: _cast(column) for name, column in trimmed.items()}
        if all(column is not None for column in numbers.values()):
            return numbers
    has_comma = any(_matches(column, ",") for column in trimmed.values())
    if (
        not has_comma
        and decimal is None
        and not any(_matches(column, r"\.\d{3}\.\d{3}") for column in trimmed.values())
    ):
        decimal = "."
    mark = decimal or _mark(trimmed, place)
    if mark == ",":
        notes.append("decimal comma" + ("" if decimal is not None else _because(trimmed, mark)))
    elif has_comma:
        notes.append("commas group digits" + ("" if decimal is not None else _because(trimmed, mark)))
    return {name: _with_point(column, name, mark, place, notes) for name, column in trimmed.items()}


def _refuse_fractions(prices: Mapping[str, Any], decimal: str | None, place: str) -> None:
    """Raises DataError where all prices may be points and fractions of a point, as 110'160 is 110 and 16/32."""
    import pyarrow.compute as pc

    cells = {name: pc.drop_null(column) for name, column in prices.items()}
    if not cells or not all(
        len(column) and pc.all(pc.match_substring_regex(column, _FRACTION)).as_py() for column in cells.values()
    ):
        return
    name, column = next(iter(cells.items()))
    cell, row = column[0].as_py(), pc.index(pc.is_valid(prices[name]), True).as_py()
    sign = re.sub(r"\d", "", cell)[0]
    digits_group = rf"^\d{{1,3}}{re.escape(sign)}\d{{3}}$"
    may_group = sign in GROUPS and all(_matches_all(one, digits_group) for one in cells.values())
    if may_group and decimal is not None:
        return
    other = f"; where {sign!r} groups digits, say so: {_OPTION.format('.')}" if may_group else ""
    part = "eighths" if len(cell.partition(sign)[2]) == 1 else "32nds"
    raise DataError(
        f"{place}: prices are decimal numbers; found {cell!r} in row {row} of column {name!r}, and all prices are "
        f"such, as points and {part} of a point are written. Write them as decimals, this one as {_points(cell, sign)}"
        f"{other}."
    )


def _points(cell: str, sign: str) -> float:
    """The price that points and 32nds, or eighths, give: 110'165 is 110 + 16.5 / 32, 445'6 is 445 + 6 / 8."""
    whole, _, rest = cell.partition(sign)
    if len(rest) == 1:
        return int(whole) + int(rest) / 8
    part = rest[2:]
    eighths = {"": 0.0, "+": 4.0}.get(part)
    if eighths is None:
        # The first digit of .125, .25, .375, .5, .625, .75, .875.
        eighths = float(part) * 8 if part[0] == "." else round(int(part) * 0.8 + 0.2) if part != "0" else 0.0
    return int(whole) + (int(rest[:2]) + eighths / 8) / 32


def _matches_all(column: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.all(pc.match_substring_regex(column, pattern)).as_py())


def _trimmed(column: Any) -> Any:
    import pyarrow.compute as pc

    return pc.utf8_trim_whitespace(column)


def _cast(column: Any) -> Any:
    import pyarrow as pa
    import pyarrow.compute as pc

    try:
        return pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        return None


def _matches(column: Any, pattern: str) -> bool:
    import pyarrow.compute as pc

    return bool(pc.any(pc.match_substring_regex(column, pattern)).as_py())


def _proofs(mark: str) -> str:
    other = "," if mark == "." else "."
    group = rf"[{other}{GROUPS}]"
    signs = {"D": re.escape(mark), "O": re.escape(other), "G": group}
    return "|".join("".join(signs.get(letter, letter) for letter in proof) for proof in _PROOFS)


def _proof_of(columns: Mapping[str, Any], mark: str) -> tuple[str, int, str] | None:
    """The first cell that only `mark` explains: its column, row and text."""
    import pyarrow.compute as pc

    for name, column in columns.items():
        matching = pc.match_substring_regex(column, _proofs(mark))
        row = pc.index(matching, True).as_py()
        if row >= 0:
            return name, row, column[row].as_py()
    return None


def _because(columns: Mapping[str, Any], mark: str) -> str:
    proof = _proof_of(columns, mark)
    return f", by {proof[2]!r} in row {proof[1]}" if proof else ""


def _mark(columns: Mapping[str, Any], place: str) -> str:
    point, comma = _proof_of(columns, "."), _proof_of(columns, ",")
    if point is not None and comma is not None:
        raise DataError(
            f"{place}: a file has one decimal mark; found {point[2]!r} in row {point[1]} (column {point[0]}) and "
            f"{comma[2]!r} in row {comma[1]} (column {comma[0]}). Write it again with one, or declare the mark of "
            f"all: {_OPTION.format(',')}."
        )
    if point is None and comma is None:
        cells = [column[row].as_py() for column in columns.values() for row in range(min(3, len(column)))]
        shown = next((cell for cell in cells if cell and "," in cell), next(iter(cells), ""))
        raise DataError(
            f"{place}: the comma in {shown!r} could be a decimal mark or group digits, and no cell decides. Say which: "
            f"{_OPTION.format(',')}, or {_OPTION.format('.')}."
        )
    return "." if point is not None else ","


def _with_point(column: Any, name: str, mark: str, place: str, notes: list[str]) -> Any:
    """A column with a decimal point and no groups. Raises DataError at the first cell that is no number so."""
    import pyarrow.compute as pc

    group = rf"[{',' if mark == '.' else '.'}{GROUPS}]"
    plain = pc.replace_substring_regex(column, rf"[{CURRENCY}]\s?|\s?[{CURRENCY}]$", "")
    suffix = r"\s?[KMBkmb]?" if name == "volume" else ""
    # One sign groups all digits of a number.
    grouped = "|".join(rf"\d{{1,3}}([{sign}]\d{{3}})+" for sign in (",.".replace(mark, ""), *GROUPS))
    number = rf"^[+-]?(\d+|{grouped})?([{mark}]\d*)?([eE][+-]?\d+)?{suffix}$"
    fits = pc.or_kleene(pc.match_substring_regex(plain, number), pc.is_in(pc.utf8_lower(plain), _words()))
    row = pc.index(pc.fill_null(fits, True), False).as_py()
    if row >= 0:
        cell = column[row].as_py()
        raise DataError(
            f"{place}: column {name!r} holds numbers; found {cell!r} in row {row}, which is none with the decimal mark "
            f"{mark!r}. Correct the row, or declare the other mark: {_OPTION.format(',' if mark == '.' else '.')}."
        )
    bare = pc.replace_substring_regex(plain, group, "")
    pointed = bare if mark == "." else pc.replace_substring(bare, ",", ".")
    if name == "volume" and _matches(pointed, "[KMBkmb]$"):
        notes.append(VOLUMES_IN_LETTERS)
        return _without_letters(pointed)
    return pointed


def _words() -> Any:
    import pyarrow as pa

    return pa.array(["nan", "inf", "-inf", "+inf", "infinity", "-infinity"])


def _without_letters(column: Any) -> Any:
    import pyarrow as pa

    out = []
    for cell in column.to_pylist():
        letter = "" if cell is None else cell[-1:].upper()
        # Shifted as decimals: 1.23 x 1000 has no exact double on the way.
        out.append(str(Decimal(cell[:-1].strip()).scaleb(_LETTERS[letter])) if letter in _LETTERS else cell)
    return pa.chunked_array([pa.array(out, type=pa.string())])


def scale_of_title(title: str) -> int | None:
    """The power of ten that the title of a volume column names, 3 of "Volume (K)" and "Volume in thousands"."""
    match = _TITLE.fullmatch(title.strip())
    if match is None:
        return None
    word = next(word for word in match.groups() if word is not None).lower()
    tables = (_LONG,) if match["alone"] is not None else (_LONG, _SHORT)
    return next((power for table in tables for power, words in table.items() if word in words), None)


def scaled(values: NDArray[np.float64], power: int) -> NDArray[np.float64]:
    """Numbers times a power of ten, float64 (n,), each the nearest double to the product of its decimals."""
    # Shifted as decimals: 8.826 x 1000 has no exact double on the way.
    return np.array([float(Decimal(repr(value)).scaleb(power)) for value in values.tolist()], dtype=np.float64)


def as_floats(column: Any, *, place: str) -> NDArray[np.float64]:
    """Numbers as float64 (n,); missing ones are NaN. Text is read as the nearest double.

    column   an Arrow column of numbers or of text that holds them

    Raises DataError when a value is none; names the first row.
    """
    import pyarrow as pa
    import pyarrow.compute as pc

    kind = column.type
    if is_text(kind):
        column = pc.utf8_trim_whitespace(column)
    elif not (
        pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind) or pa.types.is_null(kind)
    ):
        raise DataError(f"{place} holds numbers; found {kind}. Convert it, or map another column.")
    try:
        if pa.types.is_decimal(kind):
            # Arrow's own cast divides by a power of ten and may miss the nearest double; its reader of text does not.
            column = pc.cast(column, pa.string())
        values = pc.cast(column, pa.float64())
    except pa.ArrowInvalid:
        row, text = _first_unreadable(column)
        raise DataError(
            f"{place} holds numbers; found {text!r} in row {row}. Correct the row, or the decimal mark: "
            f"{_OPTION.format(',')}."
        ) from None
    return np.asarray(pc.fill_null(values, float("nan")).to_numpy(), dtype=np.float64)


def is_text(kind: Any) -> bool:
    """Whether an Arrow type is text."""
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_string_view(kind))


def _first_unreadable(column: Any) -> tuple[int, Any]:
    import pyarrow as pa
    import pyarrow.compute as pc

    for row, value in enumerate(column):
        try:
            pc.cast(value, pa.float64())
        except pa.ArrowInvalid:
            return row, value.as_py()
    raise AssertionError("unreachable: the whole column did not convert, so one of its values does not")
