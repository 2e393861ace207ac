"""Sections on a terminal: what a report says as rich renderables. Figures and folded facts are left to the page."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from rich import table
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.padding import Padding
from rich.text import Text as Line

from lockstep.reports.page import Block, Facts, Page, Section, Table, Text, Tone

_INDENT: Final = 2
_GAP: Final = 2
_LEAST_LABEL: Final = 12
"""Letters that the first column keeps at least, its words wrapped, before numbers go to a table of their own."""
_MOST_LABEL: Final = 48
"""Letters that it keeps where one of its words, such as the name of a layer, is that long."""
_STYLES: Final[Mapping[Tone, str]] = {"plain": "", "note": "", "good": "bold green", "bad": "bold red"}


def page_text(page: Page) -> RenderableType:
    """A report, section by section; an alarm comes last, where a terminal is read first."""
    parts: list[RenderableType] = [part for section in page.sections for part in (Line(), section_text(section))]
    if page.alarm is not None:
        parts += [Line(), Line(f"ALARM: {page.alarm}", style="bold red")]
    return Group(*parts)


def section_text(section: Section) -> RenderableType:
    """A heading and its blocks below each other."""
    return Group(Line(_heading(section.title), style="bold"), *blocks_text(section.blocks))


def blocks_text(blocks: Iterable[Block]) -> list[RenderableType]:
    """Blocks below each other, tables set apart by their captions."""
    parts: list[RenderableType] = []
    for block in blocks:
        if isinstance(block, Facts):
            parts.append(facts(block.rows))
        elif isinstance(block, Text):
            parts.append(Padding(Line(block.text, style=_STYLES[block.tone]), (0, 0, 0, _INDENT), expand=False))
        elif isinstance(block, Table):
            parts += [Line()] if parts else []
            parts.append(Padding(Group(Line(block.caption, style="italic"), Columns(block)), (0, 0, 0, _INDENT)))
    return parts


def _heading(title: str) -> str:
    return title[:1].lower() + title[1:]


def facts(rows: Iterable[tuple[str, str]]) -> RenderableType:
    """Label and value per line."""
    grid = table.Table.grid(padding=(0, _GAP))
    grid.add_column(style="dim", no_wrap=True)
    grid.add_column(overflow="fold")
    for label, value in rows:
        # Texts, not strings: a console reads markup in strings, and these may be a user's.
        grid.add_row(Line(f"{' ' * _INDENT}{label}"), Line(value))
    return grid


@dataclass(frozen=True)
class Columns:
    """A table that cuts no number: words of the first column wrap, and numbers that find no room go below.

    A table of words (`numbers` False) wraps in every column.
    """

    block: Table

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        if not self.block.numbers:
            yield self._table(range(len(self.block.header)))
            return
        for group in self._groups(options.max_width):
            yield self._table([0, *group])

    def _groups(self, width: int) -> Iterator[Sequence[int]]:
        """Columns that stand beside each other, the first apart."""
        words = [word for row in (self.block.header, *self.block.rows) for word in row[0].split()]
        # A broken name cannot be copied, so the longest word decides how much room the numbers have.
        label = min(max([_LEAST_LABEL, *map(cell_len, words)]), _MOST_LABEL)
        group: list[int] = []
        room = width - label
        for place in range(1, len(self.block.header)):
            need = _GAP + max(cell_len(row[place]) for row in (self.block.header, *self.block.rows))
            if group and need > room:
                yield group
                group, room = [], width - label
            group.append(place)
            room -= need
        yield group

    def _table(self, places: Sequence[int]) -> RenderableType:
        grid = table.Table(box=None, padding=(0, _GAP, 0, 0), pad_edge=False, show_edge=False, header_style="dim")
        for place in places:
            right = self.block.numbers and place > 0
            grid.add_column(
                Line(self.block.header[place]), justify="right" if right else "left", no_wrap=right, overflow="fold"
            )
        for row in self.block.rows:
            grid.add_row(*(Line(row[place]) for place in places))
        return grid
