"""Bytes of a text file as UTF-8: by a byte-order mark, by declaration, or where no value depends on the answer."""

from __future__ import annotations

import codecs
import re
from typing import Final

from lockstep.core.errors import DataError
from lockstep.market.formats.contents import zeros_of_utf16

_MARKS: Final = (
    # The mark of UTF-32 begins with that of UTF-16.
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_OPTION: Final = "(--encoding {0}; in a spec [data] encoding)"
# A row of figures in a one-byte encoding: nothing beyond ASCII but the blank that groups digits.
_FIGURES: Final = re.compile(rb"[\x00-\x7f\xa0]*")


def declared_encoding(encoding: str | None, place: str) -> str | None:
    """The usual name of an encoding, such as "utf-16-le"; None stays None. Raises DataError when Python has none."""
    if encoding is None:
        return None
    try:
        return codecs.lookup(encoding).name
    except LookupError:
        raise DataError(
            f"{place}: encoding is the name of one, such as 'utf-8', 'utf-16' or 'cp1252'; found {encoding!r}."
        ) from None


def to_utf8(data: bytes, encoding: str | None, place: str, notes: list[str]) -> bytes:
    """The text as UTF-8 without a byte-order mark.

    encoding  a declared one; None reads the byte-order mark, else UTF-8
    notes     gets a line when it was not UTF-8

    Raises DataError when the bytes are no text of that encoding, or could be of several that give other values.
    """
    encoding = declared_encoding(encoding, place)
    mark = next((name for start, name in _MARKS if data.startswith(start)), None)
    if encoding is None and mark is not None:
        notes.append(f"{mark.upper()} by its byte-order mark")
    name = mark if mark is not None and (encoding or mark).startswith(mark) else encoding or "utf-8"
    if encoding is None and mark is None and b"\0" in data[:400]:
        # UTF-16 of plain letters is UTF-8 too, with a zero after each.
        return _one_byte(data, place, notes)
    try:
        if name in ("utf-8", "utf-8-sig"):
            data = data.removeprefix(codecs.BOM_UTF8)
            data.decode("utf-8")
            return data
        return data.decode(name).removeprefix("\ufeff").encode("utf-8")
    except UnicodeDecodeError as error:
        if encoding is None and mark is None:
            return _one_byte(data, place, notes)
        raise DataError(
            f"{place}: the text is {name}; found byte 0x{data[error.start]:02x} at {error.start:,}. "
            f"Declare another: encoding='cp1252' {_OPTION.format('cp1252')}."
        ) from None


def _one_byte(data: bytes, place: str, notes: list[str]) -> bytes:
    """Text that is not UTF-8 and says nothing: cp1252 where only names are in question, else a refusal."""
    lines = data.splitlines()
    if b"\0" in data[:400]:
        guess = zeros_of_utf16(data) or "utf-16-le"
    else:
        guess = "cp1252"
        odd = [row for row, line in enumerate(lines) if not _FIGURES.fullmatch(line)]
        # Names at the top decide no price: read as cp1252 they are either a column's usual name or none.
        if len(lines) > 3 and all(row < min(10, len(lines) - 2) for row in odd):
            try:
                text = data.decode("cp1252").encode("utf-8")
            except UnicodeDecodeError:
                text = None
            if text is not None:
                notes.append("cp1252, because it is not UTF-8 and its rows are plain figures")
                return text
    shown = "\n".join(f"    {line[:80]!r}" for line in lines[:3])
    raise DataError(
        f"{place}: the text is not UTF-8 and has no byte-order mark. First lines as read:\n{shown}\n"
        f"Declare its encoding, probably encoding={guess!r} {_OPTION.format(guess)}."
    )
