"""Report: write one HTML page on a run, with all its facts, figures and how to repeat it, and the figures as PNGs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from lockstep.app.paths import require_outside_runs
from lockstep.app.trust import reading
from lockstep.core import files
from lockstep.core.errors import InputError, MissingLibraryError
from lockstep.reports import gather
from lockstep.reports.draw import draw
from lockstep.reports.headline import read_run
from lockstep.reports.html import page_html
from lockstep.reports.page import Page, Pictures
from lockstep.reports.themes import THEMES, WIDTHS

if TYPE_CHECKING:
    from lockstep.runs.store import RunStore

PAGE: Final = "report.html"


@dataclass(frozen=True, kw_only=True)
class ReportResult:
    """Where a report was written.

    files   all files, the page first
    page    the content, as values
    notes   what is missing, and why
    """

    run_id: str
    folder: Path
    files: tuple[Path, ...]
    page: Page = field(repr=False)
    notes: tuple[str, ...] = ()

    @property
    def html(self) -> Path:
        """Path of the page, which needs none of the other files."""
        return self.folder / PAGE

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep report --json` prints."""
        return {
            "run_id": self.run_id,
            "folder": str(self.folder),
            "page": str(self.html),
            "files": [path.name for path in self.files],
            "notes": list(self.notes),
            "report": self.page.to_json(),
        }


def report(run: str, store: RunStore, *, out: Path | None = None) -> ReportResult:
    """Write the report of a run of any status to the folder `out`, default: ./report-<run id>.

    Raises InputError for a folder within a run's folder, IntegrityError for damage, DiskError.
    """
    folder = store.find(run)
    target = (Path(f"report-{folder.path.name}") if out is None else out).expanduser()
    if target.exists() and not target.is_dir():
        raise InputError(f"{target}: a report is a folder; found a file. Name another with --out.")
    require_outside_runs(target)
    with reading(folder):
        page = gather.page(folder, read_run(folder, alarm=store.alarm(folder.path.name)))
    pictures, notes = _drawn(page)
    contents = {PAGE: page_html(page, pictures)}
    contents |= {f"{name}.png": pictures[name]["wide", "light"] for name in pictures}
    # All content is made before the first file is written, so that damage in the run leaves no half report.
    files.make_folder(target)
    for name, content in contents.items():
        files.write_atomic(target / name, content)
    return ReportResult(
        run_id=folder.path.name,
        folder=target,
        files=tuple(target / name for name in contents),
        page=page,
        notes=notes,
    )


def _drawn(page: Page) -> tuple[Pictures, tuple[str, ...]]:
    """Every figure for each width and theme; no figure, and a note, when matplotlib is missing."""
    try:
        pictures = {
            figure.name: {
                (width, theme): draw(figure.chart, theme=theme, width=width) for width in WIDTHS for theme in THEMES
            }
            for figure in page.figures
        }
    except MissingLibraryError as error:
        return {}, (f"the page has tables and words, no figures: {error}",)
    return pictures, ()
