"""What a report is made of, before it is drawn or written: sections of facts, tables, figures and text.

Everything here is plain text, never markup: who renders a block escapes it. `Page.to_json` is what a program reads.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from lockstep.reports.charts import Chart

Tone: TypeAlias = Literal["plain", "note", "good", "bad"]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph."""

    text: str
    tone: Tone = "plain"
    brief: bool = True
    """Whether a short report, such as a terminal's, shows the block too; the same in `Facts` and `Table`."""

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"text": self.text, "tone": self.tone}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values; `code` says that values are to be copied: hashes, commands."""

    rows: Sequence[tuple[str, str]]
    code: bool = False
    brief: bool = True

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
    brief: bool = True

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"caption": self.caption, "header": list(self.header), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture: `name` is its file's, `alt` says in words what it shows, `text` how to read it. Never in brief."""

    name: str
    title: str
    alt: str
    chart: Chart
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """As in `--json`; its picture is the file `name`.png."""
        return {"figure": self.name, "title": self.title, "alt": self.alt, "text": self.text}


@dataclass(frozen=True, kw_only=True)
class Folded:
    """A table of facts that opens on demand: what hardly anybody reads, and some have to. Never in brief."""

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

    def brief(self) -> Section:
        """What a short report shows of it, perhaps no block at all."""
        blocks = [block for block in self.blocks if not isinstance(block, Figure | Folded) and block.brief]
        return Section(title=self.title, blocks=blocks)

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {"title": self.title, "blocks": [block.to_json() for block in self.blocks]}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report. `alarm` says why nothing in it is to be trusted."""

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
