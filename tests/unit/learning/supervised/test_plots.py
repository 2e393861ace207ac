"""Figures: the same numbers give the same bytes."""

from __future__ import annotations

import struct
from typing import Any

import numpy as np
import pytest

from lockstep.core import libraries
from lockstep.core.errors import MissingLibraryError
from lockstep.learning.supervised import plots

HISTORY: dict[str, Any] = {
    "epoch": [1, 2, 3],
    "loss": [2.0, 1.5, 1.7],
    "accuracy": [0.2, 0.4, 0.5],
    "val_loss": [None, None, None],
    "val_accuracy": [None, None, None],
    "best_loss": 1.5,
    "best_epoch": 2,
}


def size(png: bytes) -> tuple[int, int]:
    """Width and height in pixels, from the first chunk."""
    assert png[:8] == b"\x89PNG\r\n\x1a\n"
    width, height = struct.unpack(">II", png[16:24])
    return width, height


def test_the_same_history_gives_the_same_bytes_whatever_the_users_style() -> None:
    mpl = pytest.importorskip("matplotlib")
    plain = plots.loss_png(HISTORY)
    with mpl.rc_context({"lines.linewidth": 9.0, "axes.facecolor": "black"}):
        assert plots.loss_png(HISTORY) == plain
    assert plots.loss_png({**HISTORY, "loss": [2.0, 1.5, 1.8]}) != plain
    assert b"Software" not in plain
    assert b"matplotlib" not in plain


def test_accuracy_and_loss_stand_side_by_side_12_by_5_inches_at_300_dpi() -> None:
    """R11.20."""
    pytest.importorskip("matplotlib")
    assert size(plots.history_png(HISTORY)) == (12 * 300, 5 * 300)


def test_the_figures_of_an_experiment_are_drawn() -> None:
    pytest.importorskip("matplotlib")
    line = (np.array([0.0, 1.0]), np.array([0.0, 1.0]))
    assert size(plots.confusion_png(np.array([[3, 0], [1, 0]]), ["a", "b"])) == (8 * 150, 7 * 150)
    assert size(plots.curves_png({"a": line}, title="t", labels=("x", "y"), diagonal=True)) == (8 * 150, 7 * 150)


def test_a_missing_library_is_asked_for_by_name() -> None:
    with pytest.raises(MissingLibraryError, match=r"a test needs no_such_library.*pip install -e '.*\[x\]'"):
        libraries.require("no_such_library.part", extra="x", purpose="a test")
