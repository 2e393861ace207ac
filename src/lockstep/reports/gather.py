"""The sections of a run's report, in full and in brief, gathered once for page, terminal and JSON.

Which sections there are follows from what the run holds (a key of the summary, a segment, a file), never from its
kind: a new kind whose summary has scores, or whose record has gradients, gets their sections without a line here.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from lockstep.reports.page import Page, Section
from lockstep.reports.sections import agent, gradients, journal, overview, predictions, repetition, rest, search
from lockstep.runs.folder import RunFolder
from lockstep.runs.results import TrainResult

Part = Callable[[RunFolder, TrainResult], list[Section]]
"""Makes sections from a run; none when the run holds nothing for them."""

FULL: Final[tuple[Part, ...]] = (
    overview.verdict,
    overview.notes,
    overview.training,
    search.sections,
    search.figures,
    predictions.sections,
    predictions.figures,
    agent.sections,
    gradients.sections,
    journal.course,
    rest.summary,
    repetition.repetition,
)
"""The order of a page: the verdict first. These read segments and artifacts, and check every byte."""

BRIEF: Final[tuple[Part, ...]] = (
    overview.training,
    search.sections,
    predictions.sections,
    agent.sections,
    gradients.worth,
    rest.summary,
    overview.notes,
    repetition.repetition,
    overview.verdict,
)
"""The order of a terminal, whose last lines are read first. These read documents only, however long the run."""


def page(folder: RunFolder, result: TrainResult) -> Page:
    """The full report. Raises IntegrityError for damage."""
    return _page(result, (section for part in FULL for section in part(folder, result)))


def brief(folder: RunFolder, result: TrainResult) -> Page:
    """The short report: no figures, no details."""
    return _page(result, (section.brief() for part in BRIEF for section in part(folder, result)))


def _page(result: TrainResult, sections: Iterable[Section]) -> Page:
    name, kind = result.environment.get("spec", {}).get("name"), str(result.spec.get("kind"))
    tags = [f"tag {tag}" for tag in result.tags]
    return Page(
        title=f"{name or kind}: run {result.run_id}",
        subtitle=", ".join([kind, overview.status_in_words(result), overview.birth(result), *tags]),
        sections=_joined(section for section in sections if section.blocks),
        alarm=result.alarm,
    )


def _joined(sections: Iterable[Section]) -> list[Section]:
    """Join neighbours of the same title: different parts add words and figures to one subject."""
    joined: list[Section] = []
    for section in sections:
        if joined and joined[-1].title == section.title:
            joined[-1] = Section(title=section.title, blocks=[*joined[-1].blocks, *section.blocks])
        else:
            joined.append(section)
    return joined
