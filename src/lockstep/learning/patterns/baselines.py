"""Baselines that a network has to beat, trained and judged on the same rows as the network. No torch.

    majority      the commonest class of training rows; its probabilities are the shares of all classes
    known_side    of pivots: the shares of the classes among training bars with the same known half (`labels`)
    volatility    of directions: the share of flat among training bars of like volatility (`labels`), which is cut at
                  quantiles, of four ways the best on validation rows; up and down as among all training bars
    logistic      multinomial logistic regression on the same windows, flattened and normalised, with the same class
                  weights; of five strengths of regularisation the best on validation rows (scikit-learn, L-BFGS)
    zero, mean    for the return: 0, and the mean of training rows

For the logistic regression, which holds all rows in doubles, those beyond `MOST_ROWS` are thinned evenly, class by
class.
"""

from __future__ import annotations

import math
import warnings
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import MissingLibraryError
from lockstep.core.libraries import install_line
from lockstep.learning.patterns.scores import Predictions, log_losses, probabilities
from lockstep.runs.arithmetic import written

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from lockstep.learning.patterns.data_module import DataModule

    Bars = NDArray[np.int64]

MOST_ROWS: Final = 20_000
STRENGTHS: Final = (1e-5, 1e-4, 1e-3, 1e-2, 1e-1)
"""Values to try for scikit-learn's C, the inverse of the strength of regularisation."""
_ITERATIONS: Final = 200
# Those that choose a routine or the size of a block; others decide what is printed and refused.
_SETTINGS: Final = ("array_api_dispatch", "enable_cython_pairwise_dist", "pairwise_dist_chunk_size", "working_memory")
_SIDES: Final = 4
_CUTS: Final = ((3, 1), (1, 3), (3, 3), (5, 5))
"""Groups of equal size by volatility, and by how it has changed lately, that are tried."""
_FLAT: Final = 1
BASELINES: Final = 3
"""How many baselines of the classes a network stands beside, whatever its task."""


@dataclass(frozen=True, kw_only=True)
class Baseline:
    """One baseline: predictions by part ("validation", "test"), and facts about it for the summary."""

    name: str
    predictions: Mapping[str, Predictions]
    facts: Mapping[str, Any]


def numerics_entries() -> dict[str, str]:
    """scikit-learn's version and settings, for a run's numerics. Raises MissingLibraryError without it."""
    try:
        import sklearn
    except ImportError as error:
        raise MissingLibraryError(
            f"the logistic regression beside a network needs scikit-learn, which cannot be loaded here ({error}). "
            f"Install it with: {install_line('ml')}"
        ) from error
    settings = {name: str(value) for name, value in sklearn.get_config().items() if name in _SETTINGS}
    return {"scikit-learn": str(sklearn.__version__), "scikit-learn.settings": written(settings)}


def all_baselines(module: DataModule, weights: NDArray[np.float32] | None) -> list[Baseline]:
    """Every baseline of the module's task; `weights` float32 (classes,) are those of the network's training."""
    return [majority(module), _KNOWN[module.label_settings.task](module), logistic(module, weights)]


def majority(module: DataModule) -> Baseline:
    """Predict the shares of the classes in training rows for every window."""
    shares = _shares(module.labels.classes[module.parts.train], len(module.label_settings.classes))
    rows = {part: np.tile(shares, (len(module.bars(part)), 1)) for part in ("validation", "test")}
    return Baseline(
        name="majority",
        predictions={part: _of_shares(table) for part, table in rows.items()},
        facts={"class": module.label_settings.classes[int(shares.argmax())], "share": float(shares.max())},
    )


def known_side(module: DataModule) -> Baseline:
    """Predict the shares of the classes among training rows whose known half of a pivot is the same."""
    labels, train, count = module.labels, module.parts.train, len(module.label_settings.classes)
    overall = _shares(labels.classes[train], count)
    table = np.tile(overall, (_SIDES, 1))
    for side in range(_SIDES):
        same = train[labels.known_side[train] == side]
        # One sample's worth of the overall shares: a class that few bars lack does not get probability 0.
        table[side] = (np.bincount(labels.classes[same], minlength=count) + overall) / (len(same) + 1.0)
    return Baseline(
        name="known_side",
        predictions={part: _of_shares(table[labels.known_side[module.bars(part)]]) for part in ("validation", "test")},
        facts={},
    )


def volatility(module: DataModule) -> Baseline:
    """Predict flat or not by volatility alone, up and down by their shares: what is known without a direction."""
    labels, train, count = module.labels, module.parts.train, len(module.label_settings.classes)
    overall = _shares(labels.classes[train], count)
    best: tuple[float, tuple[int, int], NDArray[np.int64], NDArray[np.float64]] | None = None
    for cuts in _CUTS:
        group = _groups(labels.volatility, train, cuts)
        table = np.empty((cuts[0] * cuts[1], count))
        for number in range(len(table)):
            flat = labels.classes[train[group[train] == number]] == _FLAT
            # One sample's worth of the overall share: no group has a share of 0 or 1.
            share = (np.count_nonzero(flat) + overall[_FLAT]) / (len(flat) + 1.0)
            table[number] = overall * (1.0 - share) / (1.0 - overall[_FLAT])
            table[number, _FLAT] = share
        held_out = module.parts.validation
        loss = math.fsum(log_losses(table[group[held_out]], labels.classes[held_out])) / len(held_out)
        if best is None or loss < best[0]:
            best = (loss, cuts, group, table)
    if best is None:
        raise RuntimeError("there are ways to cut")
    _, cuts, group, table = best
    return Baseline(
        name="volatility",
        predictions={part: _of_shares(table[group[module.bars(part)]]) for part in ("validation", "test")},
        facts={"levels": cuts[0], "changes": cuts[1]},
    )


def _groups(values: NDArray[np.float64], train: Bars, cuts: tuple[int, int]) -> NDArray[np.int64]:
    """Group of each bar, int64 (n,): by quantiles that training rows have of both columns."""
    places = []
    for column, parts in zip(values.T, cuts, strict=True):
        ordered = np.sort(column[train])
        edges = ordered[[len(ordered) * k // parts for k in range(1, parts)]]
        places.append(np.searchsorted(edges, column, side="right"))
    return np.asarray(places[0] * cuts[1] + places[1], np.int64)


def logistic(module: DataModule, weights: NDArray[np.float32] | None) -> Baseline:
    """The logistic regression with the lowest log loss on validation rows. Raises MissingLibraryError."""
    numerics_entries()
    from sklearn.exceptions import ConvergenceWarning
    from sklearn.linear_model import LogisticRegression

    train = _thinned(module.parts.train, module.labels.classes)
    x, y = _flat(module, train), module.labels.classes[train]
    parts = {part: _flat(module, module.bars(part)) for part in ("validation", "test")}
    labels = module.labels.classes[module.parts.validation]
    by_class = None if weights is None else dict(enumerate(np.asarray(weights, np.float64).tolist()))
    best: tuple[float, float, Any, bool] | None = None
    for strength in STRENGTHS:
        model = LogisticRegression(C=strength, max_iter=_ITERATIONS, class_weight=by_class)
        with warnings.catch_warnings(record=True) as complaints:
            warnings.simplefilter("always", ConvergenceWarning)
            model.fit(x, y)
        p = probabilities(model.decision_function(parts["validation"]), weights=weights)
        loss = math.fsum(log_losses(p, labels)) / len(labels)
        if best is None or loss < best[0]:
            best = (loss, strength, model, not complaints)
    if best is None:
        raise RuntimeError("there are strengths to try")
    _, strength, model, converged = best
    logits = {part: np.asarray(model.decision_function(rows), np.float64) for part, rows in parts.items()}
    return Baseline(
        name="logistic",
        predictions={
            part: Predictions(logits=z, decided=z.argmax(axis=1), weights=weights) for part, z in logits.items()
        },
        facts={"C": strength, "rows": len(train), "features": x.shape[1], "converged": converged},
    )


class LogisticTrial:
    """Fits of the logistic regression on some of its rows, for an estimate of what `logistic` takes.

    most    rows that are taken of those that `logistic` fits
    """

    def __init__(self, module: DataModule, weights: NDArray[np.float32] | None, *, most: int) -> None:
        numerics_entries()
        rows = _thinned(module.parts.train, module.labels.classes, most)
        self._x, self._y = _flat(module, rows), module.labels.classes[rows]
        self._weights = None if weights is None else dict(enumerate(np.asarray(weights, np.float64).tolist()))
        self.share = len(rows) / len(_thinned(module.parts.train, module.labels.classes))

    def fit(self, strength: float, iterations: int = _ITERATIONS) -> int:
        """Fit once with what is `strength` for all rows; returns the number of iterations."""
        from sklearn.exceptions import ConvergenceWarning
        from sklearn.linear_model import LogisticRegression

        # The loss is a sum over rows, so fewer rows need a larger C for the same balance.
        model = LogisticRegression(C=strength / self.share, max_iter=iterations, class_weight=self._weights)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", ConvergenceWarning)
            model.fit(self._x, self._y)
        return int(model.n_iter_.max())


def memory_bytes(module: DataModule) -> int:
    """Bytes of the rows that the logistic regression holds, and of their float32 copies while they are made."""
    features = len(module.windows.channels) * module.windows.window
    train, held_out = min(len(module.parts.train), MOST_ROWS), [len(module.parts.validation), len(module.parts.test)]
    return features * (8 * (train + sum(held_out)) + 4 * max(train, *held_out))


def _thinned(train: Bars, classes: Bars, most: int | None = None) -> Bars:
    """Every n-th row of each class, which keeps all classes and their shares; every row up to `most` or `MOST_ROWS`."""
    step = -(-len(train) // (MOST_ROWS if most is None else most))
    rows: Bars = np.sort(np.concatenate([train[classes[train] == k][::step] for k in np.unique(classes[train])]))
    return rows


def _flat(module: DataModule, bars: Bars) -> NDArray[np.float64]:
    return module.inputs(bars).reshape(len(bars), -1).astype(np.float64)


def _shares(classes: Bars, count: int) -> NDArray[np.float64]:
    out: NDArray[np.float64] = np.bincount(classes, minlength=count) / len(classes)
    return out


def _of_shares(p: NDArray[np.float64]) -> Predictions:
    return Predictions(logits=np.log(p), decided=p.argmax(axis=1))


_KNOWN: Final = {"pivot": known_side, "direction": volatility}
"""The baseline of each task that says what is known at the bar without a prediction."""
