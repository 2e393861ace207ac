"""The layout of a text file: delimiter, lines before the table, names of columns, one or several lines of them.

Nothing is assumed about who wrote a file. `programs.py` gives names to what is met often.
"""

from __future__ import annotations

import csv
import io
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Final

from lockstep.core.errors import DataError
from lockstep.market.formats.cells import bare, is_number, is_row, is_time
from lockstep.market.formats.words import FIELDS, INDEX_WORDS

SAMPLE_BYTES: Final = 2**16
_DELIMITERS: Final = ",;\t|"
_DELIMITER_NAMES: Final = {",": "comma", ";": "semicolon", "\t": "tab", "|": "bar"}
_LINES: Final = 200
# Time and four prices: fewer columns are no candles, and decide no delimiter.
_FEWEST: Final = 5
_HEADER_LINES: Final = 4


@dataclass(frozen=True, kw_only=True)
class Layout:
    """How a text file is laid out.

    delimiter  between columns
    names      one for each column, in order; all different
    start      number of the line, from 0, that holds the first row
    header     number of lines that name columns, directly before `start`
    before     lines above those, which are left aside
    symbols    the market of each column where a line names it, "" where it does not; empty without such a line
    lines      the first lines of the file, for messages
    sample     the cells of the first rows
    """

    delimiter: str
    names: tuple[str, ...]
    start: int
    header: int
    before: tuple[str, ...] = ()
    symbols: tuple[str, ...] = ()
    lines: tuple[str, ...] = ()
    sample: tuple[tuple[str, ...], ...] = field(default=(), repr=False)

    @property
    def is_plain(self) -> bool:
        """Whether the first line names the columns, once each, and the rows follow."""
        return self.start == 1 and self.header == 1 and not self.symbols

    def __str__(self) -> str:
        if self.header == 0:
            names = "no line of names"
        elif self.header == 1:
            names = f"names of columns in line {self.start}"
        else:
            names = f"names of columns in lines {self.start - self.header + 1} to {self.start}"
        above = f", {len(self.before)} above left aside" if self.before else ""
        return f"{_DELIMITER_NAMES[self.delimiter]} between columns, {names}{above}"

    def described(self) -> str:
        """The first lines as read and the guess, as an error shows them."""
        shown = "\n".join(f"    {number}: {line[:100]}" for number, line in enumerate(self.lines[:4], 1))
        return f"First lines as read:\n{shown}\nRead as: {self}; columns {', '.join(map(repr, self.names[:14]))}."


def layout_of(start: bytes, *, whole: bool, skip: int | None, names: Sequence[str] | None, place: str) -> Layout:
    """The layout of a file that begins with `start`.

    start  the first bytes, UTF-8
    whole  whether they are all; else the last line is cut and left aside
    skip   lines to leave aside at the top; None finds where the table begins
    names  the columns, where the file does not name them

    Raises DataError when the file has no line, or another number of columns than `names`.
    """
    lines = lines_of(start, whole=whole)
    first = skip or 0
    numbered = [(number, line) for number, line in enumerate(lines) if number >= first and line.strip()][:_LINES]
    if not numbered:
        raise DataError(f"{place}: the file is empty. Download it again.")
    if declared := _declared_delimiter(numbered[0][1]):
        numbered = numbered[1:]
        if not numbered:
            raise DataError(f"{place}: there are no rows. Fetch or export the bars again.")
    delimiter = declared or _delimiter([line for _, line in numbered])
    rows = [(number, _cells(line, delimiter)) for number, line in numbered]
    if max(len(cells) for _, cells in rows) < _FEWEST:
        raise DataError(_no_table(lines, delimiter, place))
    at = 0 if skip is not None else _table_start([cells for _, cells in rows])
    body = rows[at:]
    header = _header_count([cells for _, cells in body])
    columns: list[str] = []
    symbols: tuple[str, ...] = ()
    if names is not None:
        # A line of names above the rows is left aside: the list stands for it.
        columns = list(names)
    elif header:
        columns, symbols = _names([cells for _, cells in body[:header]])
    data = body[header:]
    begin = data[0][0] if data else body[-1][0] + 1
    width = len(data[0][1]) if data else len(body[0][1])
    if names is not None and len(names) != width:
        raise DataError(f"{place}: {len(names)} column names are given; found {width} columns in the first line.")
    if columns and len(columns) == width - 1 and all(not cells[-1].strip() for _, cells in data if len(cells) == width):
        # Rows that end with a delimiter have one cell more than the names.
        columns, symbols = [*columns, ""], (*symbols, "") if symbols else ()
    return Layout(
        delimiter=delimiter,
        names=tuple(_different(columns)),
        start=begin,
        header=header,
        before=tuple(line for number, line in enumerate(lines[: body[0][0]]) if line.strip()),
        symbols=tuple(symbols),
        lines=tuple(lines[:6]),
        sample=tuple(tuple(cells) for _, cells in data[:100] if len(cells) == width),
    )


def _no_table(lines: Sequence[str], delimiter: str, place: str) -> str:
    """What to say of text without a line of five cells."""
    shown = "\n".join(f"    {number}: {line[:100]}" for number, line in enumerate(lines[:4], 1))
    rows = [line for line in lines if line.strip()]
    blanks = sum(len(line.split()) > _FEWEST and any(map(is_number, line.split())) for line in rows)
    if blanks > len(rows) // 2:
        cure = "Columns between blanks are not read: write the file with commas, or read it with pandas.read_fwf."
    else:
        cure = "Where it is a message of a server, or another file than you meant, get the candles again."
    return (
        f"{place}: candles are a table with a time and four prices, five columns at least; found no such line.\n"
        f"First lines as read:\n{shown}\nRead as: {_DELIMITER_NAMES[delimiter]} between columns. {cure}"
    )


def lines_of(start: bytes, *, whole: bool) -> list[str]:
    """The lines of the first bytes of a file, without line ends; a cut last one is left aside."""
    newline = b"\n" if b"\n" in start else b"\r"
    lines = start.split(newline)
    if not whole and len(lines) > 1:
        lines.pop()
    return [line.rstrip(b"\r").decode("utf-8", errors="replace").removeprefix("\ufeff") for line in lines]


def offset_of(data: bytes, line: int) -> int:
    """Where a line, counted from 0, begins in the bytes of a file."""
    newline = b"\n" if b"\n" in data else b"\r"
    at = 0
    for _ in range(line):
        following = data.find(newline, at)
        if following < 0:
            return len(data)
        at = following + 1
    return at


def _cells(line: str, delimiter: str) -> list[str]:
    return next(csv.reader(io.StringIO(line), delimiter=delimiter), [])


def _declared_delimiter(line: str) -> str | None:
    """The delimiter of Excel's own first line, sep=; and the like."""
    text = line.strip().strip('"')
    value = line.rstrip("\r\n").strip('"')[-1:] if text.lower().startswith("sep=") else ""
    return value if value and value in _DELIMITERS else None


def _delimiter(lines: Sequence[str]) -> str:
    """The delimiter that gives most lines the same number of columns, with values in them.

    csv.Sniffer may settle on a letter. A first line of names decides by itself: it has no decimal commas.
    """
    first = max(",;\t", key=lines[0].count)
    widths = {len(_cells(line, first)) for line in lines}
    if len(widths) == 1 and widths.pop() >= _FEWEST and not any(map(is_number, _cells(lines[0], first))):
        return first
    best = (0.0, 0.0, 0, first)
    for delimiter in _DELIMITERS:
        rows = [_cells(line, delimiter) for line in lines]
        counts = Counter(map(len, rows))
        width, number = max(counts.items(), key=lambda item: (item[0] >= _FEWEST, item[1], item[0]))
        values = sum(is_row(cells) for cells in rows)
        if width >= _FEWEST and (values / len(rows), number / len(rows), width) > best[:3]:
            best = (values / len(rows), number / len(rows), width, delimiter)
    return best[3]


def _table_start(rows: Sequence[Sequence[str]]) -> int:
    """The first line with as many columns as most lines have: titles and addresses above a table have fewer."""
    counts = Counter(len(cells) for cells in rows if len(cells) >= _FEWEST)
    if not counts:
        return 0
    width = counts.most_common(1)[0][0]
    at = next(row for row, cells in enumerate(rows) if len(cells) == width)
    # A spreadsheet pads a title with empty cells.
    while at + 1 < len(rows) and _filled(rows[at]) < _FEWEST <= _filled(rows[at + 1]):
        at += 1
    # Where rows end with a delimiter, the line of names has one column less.
    if at and len(rows[at - 1]) == width - 1 and is_row(rows[at]) and not is_row(rows[at - 1]):
        return at - 1
    return at


def _filled(cells: Sequence[str]) -> int:
    return sum(bool(cell.strip()) for cell in cells)


def _header_count(rows: Sequence[Sequence[str]]) -> int:
    """How many of the first lines name columns; several where a frame with two levels of names was written."""
    if is_row(rows[0]):
        return 0
    count = 1
    while count < min(_HEADER_LINES, len(rows)) and _is_further_header(rows[count]):
        count += 1
    if count > 1 and max(_fields_in(cells) for cells in rows[:count]) < 4:
        return 1
    return count


def _is_further_header(cells: Sequence[str]) -> bool:
    """Whether a line below names belongs to them: a word for the index, then words or nothing, but no value."""
    rest = [cell.strip() for cell in cells[1:]]
    if len(cells) < _FEWEST or bare(cells[0]) not in INDEX_WORDS:
        return False
    if not any(rest):
        return bool(cells[0].strip())
    return all(cell and not is_number(cell) and not is_time(cell) for cell in rest)


def _fields_in(cells: Sequence[str]) -> int:
    return sum(bare(cell) in FIELDS for cell in cells[1:])


def _names(lines: Sequence[Sequence[str]]) -> tuple[list[str], tuple[str, ...]]:
    """Names of columns, and their markets where one of the lines names them."""
    names = [cell.strip('"') for cell in lines[0]]
    if len(lines) == 1:
        return names, ()
    fields = max(range(len(lines)), key=lambda row: _fields_in(lines[row]))
    names = [cell.strip() for cell in lines[fields]]
    others = [row for row in range(len(lines)) if row != fields]
    # The line of markets is full; the line that names the index has one word.
    full = [row for row in others if any(cell.strip() for cell in lines[row][1:])]
    index = [row for row in others if row not in full and lines[row][0].strip()]
    if index:
        names[0] = lines[index[0]][0].strip()
    symbols = ("", *(cell.strip() for cell in lines[full[0]][1:])) if full else ()
    if bare(names[0]) in INDEX_WORDS - {"date", "datetime", "timestamp", "time"}:
        names[0] = "Date"
    return names, tuple(symbols)


def _different(names: Sequence[str]) -> list[str]:
    """Names that are all different: a repeated one gets a number, so that it can be named, and is never guessed at."""
    out: list[str] = []
    for name in names:
        count = 1
        text = name
        while text in out:
            count += 1
            text = f"{name} ({count})"
        out.append(text)
    return out
