"""What a report is made of: sections of facts, tables, figures and text.

All of it is plain text, never markup: the renderer of a block escapes it. Programs read `Page.to_json`.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, TypeAlias

from lockstep.reports.charts import Chart

Tone: TypeAlias = Literal["plain", "note", "good", "bad"]


@dataclass(frozen=True, kw_only=True)
class Text:
    """A paragraph.

    tone    colour of the text
    brief   whether a short report, such as a terminal's, shows the block too; the same in `Facts` and `Table`
    """

    text: str
    tone: Tone = "plain"
    brief: bool = True

    def to_json(self) -> dict[str, Any]:
        """The block as an object: text and tone."""
        return {"text": self.text, "tone": self.tone}


@dataclass(frozen=True, kw_only=True)
class Facts:
    """Names and values.

    code   whether values are for copying, such as hashes and commands
    """

    rows: Sequence[tuple[str, str]]
    code: bool = False
    brief: bool = True

    def to_json(self) -> dict[str, Any]:
        """The block as an object: values by name."""
        return {"facts": dict(self.rows)}


@dataclass(frozen=True, kw_only=True)
class Table:
    """Rows below a header.

    numbers   whether the columns after the first hold numbers
    """

    caption: str
    header: Sequence[str]
    rows: Sequence[Sequence[str]]
    numbers: bool = True
    brief: bool = True

    def to_json(self) -> dict[str, Any]:
        """The block as an object: caption, header, rows of text."""
        return {"caption": self.caption, "header": list(self.header), "rows": [list(row) for row in self.rows]}


@dataclass(frozen=True, kw_only=True)
class Figure:
    """A picture; a short report leaves it out.

    name   of its file, without the suffix
    alt    what it shows, in words, for those who do not see it
    text   how to read it
    """

    name: str
    title: str
    alt: str
    chart: Chart
    text: str = ""

    def to_json(self) -> dict[str, Any]:
        """The block as an object, without the chart; its picture is the file `name`.png."""
        return {"figure": self.name, "title": self.title, "alt": self.alt, "text": self.text}


@dataclass(frozen=True, kw_only=True)
class Folded:
    """Facts that a reader opens on demand; a short report leaves them out."""

    title: str
    facts: Facts

    def to_json(self) -> dict[str, Any]:
        """The block as an object: title, values by name."""
        return {"title": self.title, **self.facts.to_json()}


Block: TypeAlias = Text | Facts | Table | Figure | Folded


@dataclass(frozen=True, kw_only=True)
class Section:
    """Blocks under one heading, their title."""

    title: str
    blocks: Sequence[Block]

    def brief(self) -> Section:
        """The section with those blocks that a short report shows, perhaps none."""
        blocks = [block for block in self.blocks if not isinstance(block, Figure | Folded) and block.brief]
        return Section(title=self.title, blocks=blocks)

    def to_json(self) -> dict[str, Any]:
        """The section as an object: title and blocks."""
        return {"title": self.title, "blocks": [block.to_json() for block in self.blocks]}


@dataclass(frozen=True, kw_only=True)
class Page:
    """A report.

    alarm   why its figures cannot be trusted; None when they can
    """

    title: str
    subtitle: str
    sections: Sequence[Section]
    alarm: str | None = None

    @property
    def figures(self) -> list[Figure]:
        """The figures of all sections, in their order."""
        return [block for section in self.sections for block in section.blocks if isinstance(block, Figure)]

    def to_json(self) -> dict[str, Any]:
        """The object under `report` in `lockstep report --json`."""
        return {
            "title": self.title,
            "subtitle": self.subtitle,
            "alarm": self.alarm,
            "sections": [section.to_json() for section in self.sections],
        }


Pictures: TypeAlias = Mapping[str, Mapping[tuple[str, str], bytes]]
"""Figure name -> (width, theme) -> PNG."""
