"""A chart as PNG bytes: the same chart gives the same bytes.

No display, no global state, no matplotlibrc, the font that comes with matplotlib, no version in the file: a picture
changes only with what it shows, or with matplotlib's own drawing. `plotting` draws and loads matplotlib; this module
does not, so that a machine without it still writes the page.
"""

from __future__ import annotations

from lockstep.core.libraries import require
from lockstep.reports.charts import Chart
from lockstep.reports.themes import THEMES, WIDTHS


def draw(chart: Chart, *, theme: str = "light", width: str = "wide") -> bytes:
    """The chart as PNG bytes; `theme` and `width` are names of `themes`. Raises MissingLibraryError."""
    require("matplotlib", extra="plots", purpose="drawing figures")
    from lockstep.reports.plotting import png

    return png(chart, THEMES[theme], WIDTHS[width])
