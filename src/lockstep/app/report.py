"""Report: a run's figures as PNGs, and one HTML page that shows and says everything, and how to repeat it.

Which sections a page has follows from what the run holds, never from its kind: a new kind whose summary has scores, or
whose record has gradients, gets their figures without a line here.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.core import files
from lockstep.core.errors import InputError, MissingLibraryError
from lockstep.reports.draw import THEMES, WIDTHS, draw
from lockstep.reports.html import page_html
from lockstep.reports.page import Page, Section
from lockstep.reports.sections import agent as report_walk
from lockstep.reports.sections import common as report_common
from lockstep.reports.sections import gradients as report_learning
from lockstep.reports.sections import predictions as report_judgement
from lockstep.reports.sections import search as report_strategy
from lockstep.runs.results import TrainResult, read_result

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.store import RunStore

PAGE: Final = "report.html"
Part = Callable[["RunFolder", TrainResult], list[Section]]
PARTS: Final[tuple[Part, ...]] = (
    report_common.outcome,
    report_strategy.sections,
    report_judgement.sections,
    report_walk.sections,
    report_learning.sections,
    report_common.journal_figures,
    report_common.summary,
    report_common.repetition,
)
"""What a page is put together from, in its order; a part gives no section where the run holds nothing for it."""


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """Where a report was written. `files` are all of it, the page first; `notes` say what is missing and why."""

    run_id: str
    folder: Path
    files: tuple[Path, ...]
    page: Page = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def html(self) -> Path:
        """The page: the one file to give to somebody."""
        return self.folder / PAGE

    def to_json(self) -> dict[str, Any]:
        """As in `--json`."""
        return {
            "run_id": self.run_id,
            "folder": str(self.folder),
            "page": str(self.html),
            "files": [path.name for path in self.files],
            "notes": list(self.notes),
            "report": self.page.to_json(),
        }


def report(run: str, store: RunStore, *, out: Path | None = None) -> ReportResult:
    """Write the report of a run of any status into `out` (default: ./report-<run id>).

    Nothing is written into the run's folder. Raises IntegrityError for damage, InputError for a folder that a report
    cannot be written to, DiskError.
    """
    folder = store.find(run)
    target = (Path(f"report-{folder.path.name}") if out is None else out).expanduser()
    _require_outside(target)
    page = report_page(folder, alarm=store.alarm(folder.path.name))
    pictures: dict[str, dict[tuple[str, str], bytes]] = {}
    notes: list[str] = []
    try:
        for figure in page.figures:
            pictures[figure.name] = {
                (width, theme): draw(figure.chart, theme=theme, width=width) for width in WIDTHS for theme in THEMES
            }
    except MissingLibraryError as error:
        pictures = {}
        notes.append(f"the page has tables and words, no figures: {error}")
    contents = {PAGE: page_html(page, pictures)}
    contents |= {f"{name}.png": drawn["wide", "light"] for name, drawn in pictures.items()}
    files.make_folder(target)
    for name, content in contents.items():
        files.write_atomic(target / name, content)
    return ReportResult(
        run_id=folder.path.name,
        folder=target,
        files=tuple(target / name for name in contents),
        page=page,
        notes=tuple(notes),
    )


def report_page(folder: RunFolder, *, alarm: str | None = None) -> Page:
    """What the report of a run says and shows, before anything is drawn. Raises IntegrityError for damage."""
    result = read_result(folder, alarm=alarm)
    name = result.environment.get("spec", {}).get("name")
    kind = str(result.spec.get("kind"))
    return Page(
        title=f"{name or kind}: run {result.run_id}",
        subtitle=", ".join(
            [
                kind,
                report_common.status_in_words(result),
                report_common.born(result),
                *(f"tag {tag}" for tag in result.tags),
            ]
        ),
        sections=[section for part in PARTS for section in part(folder, result)],
        alarm=result.alarm,
    )


def _require_outside(target: Path) -> None:
    """A file more in a run's folder would be damage to the run."""
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: a report is a folder; found a file. Name another with --out.")
    place = target.absolute()
    for folder in (place, *place.parents):
        if (folder / "spec.json").exists() and (folder / "inputs.json").exists():
            raise InputError(
                f"{target}: lies in the folder of a run, {folder}, which is sealed. Name another place with --out."
            )
