"""What a page is made of, before it is drawn or written: sections of facts, tables, figures and text.

Everything here is plain text, never markup: `html` escapes all of it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

from lockstep.reports.charts import Chart


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    tone: str = "plain"
    """plain, note, good or bad."""

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"text": self.text}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values; `code` says that values are to be copied: hashes, commands."""

    rows: Sequence[tuple[str, str]]
    code: bool = False

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"facts": dict(self.rows)}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows below a header; the columns after the first hold numbers where `numbers`."""

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = True

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"caption": self.caption, "header": list(self.header), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture: `name` is its file's, `alt` says in words what it shows, `text` how to read it."""

    name: str
    title: str
    alt: str
    chart: Chart
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"figure": self.name, "title": self.title, "alt": self.alt}


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A table of facts that opens on demand: what hardly anybody reads, and some have to."""

    title: str
    facts: Facts

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"title": self.title, **self.facts.to_json()}


Block: TypeAlias = Text | Facts | Table | Figure | Folded


@dataclass(frozen=True, kw_only=True)
class Section:
    """Blocks under a heading."""

    title: str
    blocks: Sequence[Block]

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"title": self.title, "blocks": [block.to_json() for block in self.blocks]}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report. `alarm` stands above everything else."""

    title: str
    subtitle: str
    sections: Sequence[Section]
    alarm: str | None = None

    @property
    def figures(self) -> list[Figure]:
        """All figures, in order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Figure)]

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {
            "title": self.title,
            "subtitle": self.subtitle,
            "alarm": self.alarm,
            "sections": [section.to_json() for section in self.sections],
        }


Pictures: TypeAlias = Mapping[str, Mapping[tuple[str, str], bytes]]
"""Figure name -> (width, theme) -> PNG."""
