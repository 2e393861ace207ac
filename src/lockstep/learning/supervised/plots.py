"""Draw figures as PNG bytes: the same numbers give the same bytes, without a display or global state.

The PNG's metadata would name the version of matplotlib. It is left out, so that a figure changes only with its numbers
or with the way matplotlib draws.
"""

from __future__ import annotations

import io
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.libraries import require

if TYPE_CHECKING:
    from numpy.typing import NDArray

_STYLE: Final[dict[str, Any]] = {
    "font.family": ["DejaVu Sans"],  # comes with matplotlib, so the fonts of a machine have no effect
    "axes.grid": True,
    "grid.alpha": 0.3,
    "svg.hashsalt": "lockstep",
}


def require_matplotlib() -> None:
    """Check before a training that matplotlib, which draws after it, is there. Raises MissingLibraryError."""
    require("matplotlib.figure", extra="plots", purpose="drawing the figures of a training")


def loss_png(history: Mapping[str, Any], *, title: str = "Training loss") -> bytes:
    """Loss over epochs with the best epoch marked; 10 x 6 inches, 150 dpi."""

    def draw(axes: Any) -> None:
        (axis,) = axes
        _curves(axis, history, {"loss": "training", "val_loss": "validation"})
        axis.plot([history["best_epoch"]], [history["best_loss"]], "o", color="C3", label="best")
        axis.set(title=title, xlabel="Epoch", ylabel="Loss")
        axis.legend()

    return _png(draw, columns=1, size=(10.0, 6.0), dpi=150)


def history_png(history: Mapping[str, Any]) -> bytes:
    """Accuracy and loss side by side; 12 x 5 inches, 300 dpi (R11.20)."""

    def draw(axes: Any) -> None:
        for axis, name in zip(axes, ("accuracy", "loss"), strict=True):
            _curves(axis, history, {name: "training", f"val_{name}": "validation"})
            axis.set(title=name.capitalize(), xlabel="Epoch", ylabel=name.capitalize())
            axis.legend()

    return _png(draw, columns=2, size=(12.0, 5.0), dpi=300)


def confusion_png(matrix: NDArray[np.int64], classes: Sequence[str]) -> bytes:
    """Counts of true class (rows) by predicted class (columns), coloured by share of the row."""

    def draw(axes: Any) -> None:
        (axis,) = axes
        totals = matrix.sum(axis=1, keepdims=True)
        shares = matrix / np.where(totals > 0, totals, 1)
        axis.imshow(shares, cmap="Blues", vmin=0.0, vmax=1.0)
        axis.grid(visible=False)
        places = range(len(classes))
        axis.set_xticks(places, classes, rotation=45, ha="right")
        axis.set_yticks(places, classes)
        for row in places:
            for column in places:
                colour = "white" if shares[row, column] > 0.5 else "black"
                axis.text(column, row, str(int(matrix[row, column])), ha="center", va="center", color=colour)
        axis.set(title="Confusion matrix", xlabel="Predicted", ylabel="True")

    return _png(draw, columns=1, size=(8.0, 7.0), dpi=150)


def curves_png(
    curves: Mapping[str, tuple[NDArray[np.float64], NDArray[np.float64]]],
    *,
    title: str,
    labels: tuple[str, str],
    diagonal: bool = False,
    steps: bool = False,
) -> bytes:
    """One curve (x, y) per name on the unit square: ROC, or precision over recall with `steps`.

    Precision is constant between two recalls, so steps and not straight lines enclose the average precision.
    """

    def draw(axes: Any) -> None:
        (axis,) = axes
        for name, (x, y) in curves.items():
            axis.plot(x, y, label=name, drawstyle="steps-pre" if steps else "default")
        if diagonal:
            axis.plot([0.0, 1.0], [0.0, 1.0], "--", color="grey", label="chance")
        axis.set(title=title, xlabel=labels[0], ylabel=labels[1], xlim=(-0.02, 1.02), ylim=(-0.02, 1.02))
        axis.legend()

    return _png(draw, columns=1, size=(8.0, 7.0), dpi=150)


def _curves(axis: Any, history: Mapping[str, Any], names: Mapping[str, str]) -> None:
    from matplotlib.ticker import MaxNLocator

    axis.xaxis.set_major_locator(MaxNLocator(integer=True))  # there is no epoch 1.2
    for name, label in names.items():
        values = history.get(name)
        if values and None not in values:
            axis.plot(history["epoch"], values, marker=".", label=label)


def _png(draw: Callable[[Any], None], *, columns: int, size: tuple[float, float], dpi: int) -> bytes:
    require_matplotlib()
    import matplotlib as mpl
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    defaults: dict[Any, Any] = {
        name: value for name, value in mpl.rcParamsDefault.items() if not name.startswith("backend")
    }
    # A user's own matplotlibrc would change the figure.
    with mpl.rc_context(defaults | _STYLE):
        figure = Figure(figsize=size, layout="tight")
        FigureCanvasAgg(figure)
        draw(figure.subplots(1, columns, squeeze=False)[0])
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=dpi, metadata={"Software": None})
    return buffer.getvalue()
