"""What a file is by its first bytes, whatever its name: one that is read, one of another kind, or plain text."""

from __future__ import annotations

import re
from typing import Final

from lockstep.core.errors import DataError

PARQUET_START: Final = b"PAR1"
ARROW_START: Final = b"ARROW1"
_AS_CSV: Final = "Save it as CSV in the program that wrote it."
_OTHERS: Final = (
    (b"%PDF", "a PDF document", "Tables of a PDF are not read: get the figures as CSV."),
    (b"\x89PNG", "a picture (PNG)", "Get the figures as CSV."),
    (b"\xff\xd8\xff", "a picture (JPEG)", "Get the figures as CSV."),
    (b"GIF8", "a picture (GIF)", "Get the figures as CSV."),
    (b"SQLite format 3\0", "a SQLite database", "Export its table of candles as CSV, or read it with pandas."),
    (b"\x89HDF", "an HDF5 file", "Read it with pandas, and give the frame."),
    (b"\x93NUMPY", "a NumPy array", "Load it with numpy, and give the columns: ls.Candles.from_arrays."),
    (b"\xd0\xcf\x11\xe0", "an old Excel workbook or another Office document", _AS_CSV),
    (b"FEA1", "Feather of version 1", "Write it again as Parquet or as Feather of today."),
    (b"BZh", "packed by bzip2", "Unpack it, or pack it as .gz, .zip or .zst."),
    (b"\xfd7zXZ", "packed by xz", "Unpack it, or pack it as .gz, .zip or .zst."),
    (b"7z\xbc\xaf", "a 7-Zip archive", "Unpack it, or pack it as .gz, .zip or .zst."),
    (b"Rar!", "a RAR archive", "Unpack it, or pack it as .gz, .zip or .zst."),
    (b"version https://git-lfs", "a pointer of Git LFS, not the file itself", "Fetch the file: git lfs pull."),
)
_PICKLE: Final = re.compile(rb"\x80[\x02-\x05][\x95}\]c(]")
_PAGE: Final = re.compile(rb"\s*(<!--.*?-->\s*)?<(!doctype html|html|head|body)\b", re.IGNORECASE | re.DOTALL)
_XML: Final = re.compile(rb"\s*<(\?xml|error|[a-z]+ xmlns)\b", re.IGNORECASE)
_TITLE: Final = re.compile(rb"<(title|h1|message)[^>]*>\s*(.*?)\s*</", re.IGNORECASE | re.DOTALL)
_SHOWN: Final = 3


def refuse_other_kinds(start: bytes, place: str) -> None:
    """Raises DataError when the first bytes of a file are those of a kind that holds no candles or is not read.

    start   a few thousand bytes at least, where the file has them
    """
    for mark, what, cure in _OTHERS:
        if start.startswith(mark):
            raise DataError(f"{place}: by its contents it is {what}. {cure}")
    if _PICKLE.match(start):
        raise DataError(
            f"{place}: by its contents it is a pickle, which can run code when it is read. Write it as Parquet where "
            "you trust it."
        )
    is_page = _PAGE.match(start)
    if is_page or _XML.match(start):
        title = _TITLE.search(start)
        words = f" ({title[2].decode('utf-8', errors='replace')[:100]!r})" if title else ""
        raise DataError(
            f"{place}: by its contents it is {'a web page' if is_page else 'XML'}{words}, as servers send in place of "
            f"a file, for an error or a login. {first_lines(start)}\nDownload the file itself again."
        )


def is_text(start: bytes) -> bool:
    """Whether the first bytes may be text of some encoding: hardly any control characters, or zeros of UTF-16."""
    if start.startswith((b"\xff\xfe", b"\xfe\xff")) or zeros_of_utf16(start) is not None:
        return True
    controls = sum(byte < 32 and byte not in (9, 10, 12, 13, 26) for byte in start[:2_000])
    return controls <= len(start[:2_000]) // 100


def zeros_of_utf16(start: bytes) -> str | None:
    """The encoding of plain letters with a zero beside each, "utf-16-le" or "utf-16-be"; None where they are not so."""
    sample = start[:400]
    even, odd = sample[::2], sample[1::2]
    if sample.count(0) < len(sample) // 3:
        return None
    if odd.count(0) > 0.9 * len(odd) and even.count(0) < 0.1 * len(even):
        return "utf-16-le"
    return "utf-16-be" if even.count(0) > 0.9 * len(even) and odd.count(0) < 0.1 * len(odd) else None


def first_lines(start: bytes) -> str:
    """The first lines of a text, or the first bytes of what is none, as an error shows them."""
    if not is_text(start):
        return f"First bytes as read:\n    {start[:24].hex(' ')}  {start[:24]!r}"
    lines = start.decode("utf-8", errors="replace").splitlines()[:_SHOWN]
    return "First lines as read:\n" + "\n".join(f"    {number}: {line[:100]}" for number, line in enumerate(lines, 1))
