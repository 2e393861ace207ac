"""Charts as pictures: hostile names are drawn as they are, within a bounded width."""

from __future__ import annotations

import io

import pytest

pytest.importorskip("matplotlib")

import numpy as np
from PIL import Image
from tests.unit.reports.pages import HOSTILE

from lockstep.reports.charts import HeatMap, Panel, Panels, Series
from lockstep.reports.draw import draw
from lockstep.reports.plotting import drawable


def test_hostile_names_of_layers_are_drawn() -> None:
    """No warning of a missing glyph, no mathematics; drawing them raises nothing and takes a bounded width."""
    values = np.array([[1e-3, 1.0, 0.0], [np.nan, 10.0, 2.0]])
    heat = HeatMap(rows=[HOSTILE, "層"], edges=np.arange(4.0), values=values, label="norm")
    x = np.arange(3.0)
    lines = Panels(panels=[Panel(series=[Series(name=HOSTILE, x=x, y=x), Series(name="$", x=x, y=x)], y_label="$y")])
    for chart in (heat, lines):
        for width in ("wide", "narrow"):
            with Image.open(io.BytesIO(draw(chart, width=width, theme="dark"))) as picture:
                assert picture.size[0] in (1296, 736)
    assert len(drawable(HOSTILE, 30)) == 30
    assert drawable("層", 30) == "\N{REPLACEMENT CHARACTER}"
