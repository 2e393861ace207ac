"""Sections on predictions of samples that were never trained on: scores beside baselines, advantage, calibration.

Shown for every run whose summary has them under the keys that `learning.patterns.judgement` writes, or a classifier's
{"test": {"accuracy", ...}}.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.reports.charts import Intervals, Matrix, Panel, Panels, Series
from lockstep.reports.headline import table_of
from lockstep.reports.page import Block, Figure, Section, Table, Text
from lockstep.reports.words import (
    NOTHING,
    TRAINED,
    count,
    counted,
    four_places,
    number,
    plain_name,
    share,
    signed,
    value_in_words,
)
from lockstep.runs.sealed import sealed_bytes

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.results import TrainResult

TITLE: Final = "Out of sample"
_HELD_OUT: Final = ("test", "validation")
_PARTS: Final = ("train", "training", "validation", "test")
_CONFUSION: Final = "confusion"
_PREDICTORS: Final = {
    TRAINED: "network",
    "majority": "majority class",
    "known_side": "known side",
    "volatility": "volatility alone",
    "logistic": "logistic regression",
}
_SCORES: Final = {
    "accuracy": "accuracy",
    "balanced_accuracy": "balanced accuracy",
    "macro_f1": "macro F1",
    "log_loss": "log loss",
    "brier": "Brier score",
    "calibration_error": "calibration error",
}
_BESIDE_SCORES: Final = frozenset({"log_loss_uncalibrated", "temperature", "reliability"})
"""Scores that the paragraph on calibration has."""
_CLASS_FIGURES: Final = frozenset({"names", "log_loss", "prior_log_loss", "classes", "confusion", "missing"})
"""Keys of `per_class`, which `learning.supervised.results` writes."""
_HISTORY_FILE: Final = "training_history.json"
_RETURNS: Final = {"zero": "predicting zero", "mean": "predicting the mean of training rows"}


def network_facts(result: TrainResult) -> list[tuple[str, str]]:
    """Rows: the network, what it predicts, and the epoch that was chosen."""
    summary, spec = result.summary, result.spec
    model, library = table_of(summary, "model"), table_of(summary, "network")
    name = table_of(summary, "session").get("model") or "network"
    rows = []
    if "parameters" in model:
        rows.append(("network", f"{name}, {count(model['parameters'])} parameters"))
    elif {"library", "weights"} <= library.keys():
        rows.append(("network", f"{name}, {count(library['weights'])} weights, by {library['library']}"))
    labels, features = table_of(spec, "labels"), table_of(spec, "features")
    if "task" in labels and {"window", "channels"} <= features.keys():
        channels = counted(len(features["channels"]), "channel")
        rows.append(("predicts", f"{_task(labels)}, from {counted(features['window'], 'bar')} of {channels}"))
    if {"best_epoch", "epochs"} <= model.keys():
        best = model["best_epoch"]
        chosen = f"epoch {best + 1} of {model['epochs']}, by validation loss" if best is not None else "no epoch ended"
        rows.append(("chosen", chosen))
    training = table_of(summary, "training")
    if training.get("epoch") is not None and "loss" in training:
        whose = "validation" if "val_loss" in training else "training"
        of = f" of {training['epochs']}" if "epochs" in training else ""
        rows.append(("chosen", f"epoch {training['epoch']}{of}, by {whose} loss"))
    return rows


def _task(labels: Mapping[str, Any]) -> str:
    if labels["task"] == "pivot":
        return f"pivots of {counted(labels['pivot_bars'], 'bar')} on each side"
    return f"direction over {counted(labels['horizon'], 'bar')}"


def sample_facts(result: TrainResult) -> list[tuple[str, str]]:
    """Rows: the samples of each part, by class when the summary counts them by class."""
    samples = table_of(result.summary, "samples")
    order = list(table_of(result.summary, "model").get("classes", ()))
    rows = []
    for part in (name for name in _PARTS if name in samples):
        value = samples[part]
        if isinstance(value, Mapping):
            names = [name for name in order if name in value] or list(value)
            classes = ", ".join(f"{name} {count(value[name])}" for name in names)
            rows.append((part, f"{counted(sum(value.values()), 'sample')} ({classes})"))
        elif isinstance(value, int):
            rows.append((part, counted(value, "sample")))
    if isinstance(classes_count := samples.get("classes"), int):
        rows.append(("classes", count(classes_count)))
    if isinstance(purged := samples.get("purged"), int):
        rows.append(("purged", f"{counted(purged, 'sample')} between the parts"))
    return rows


def keys(summary: Mapping[str, Any]) -> set[str]:
    """Keys of a summary that the sections and facts here show."""
    names = set()
    if _scores_of(summary):
        names |= {"scores", "advantage", "returns", "return_advantage", "confidence"}
    if "accuracy" in table_of(summary, "test"):
        names.add("test")
    if table_of(summary, "per_class").keys() >= _CLASS_FIGURES:
        names.add("per_class")
    if set(table_of(summary, "samples")) <= {*_PARTS, "purged", "classes"}:
        names.add("samples")
    if table_of(summary, "model").keys() <= {"parameters", "classes", "best_epoch", "epochs"}:
        names.add("model")
    if table_of(summary, "network").keys() == {"library", "weights"}:
        names.add("network")
    return names


def sections(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Scores and tables; no section when the summary has neither scores nor an accuracy on test samples."""
    summary = result.summary
    blocks: list[Block] = []
    if scores := _scores_of(summary):
        blocks += [
            _score_table(part, scores[part], summary, brief=part == "test") for part in _HELD_OUT if part in scores
        ]
        blocks += _advantage_table(table_of(summary, "advantage"))
        blocks += _return_words(summary)
        if own := table_of(table_of(scores, "test"), TRAINED):
            blocks += _calibration(own)
        blocks += _confidence_words(table_of(table_of(summary, "confidence"), "test"))
    blocks += _accuracy(table_of(summary, "test"))
    blocks += _class_table(table_of(summary, "per_class"))
    return [Section(title=TITLE, blocks=blocks)] if blocks else []


def figures(folder: RunFolder, result: TrainResult) -> list[Section]:
    """Advantage and calibration as pictures, and confusion matrices."""
    summary = result.summary
    blocks: list[Block] = []
    if scores := _scores_of(summary):
        blocks += _advantage_figure(table_of(summary, "advantage"))
        blocks += _reliability(scores)
    blocks += _confusion(summary)
    blocks += _class_confusion(table_of(summary, "per_class"))
    blocks += _epoch_curve(folder, summary)
    return [Section(title=TITLE, blocks=blocks)] if blocks else []


def _scores_of(summary: Mapping[str, Any]) -> Mapping[str, Mapping[str, Mapping[str, Any]]]:
    """Part -> predictor -> score -> value; empty when the scores of the summary have another form."""
    return {
        part: predictors
        for part, predictors in table_of(summary, "scores").items()
        if isinstance(predictors, Mapping)
        and predictors
        and all(isinstance(item, Mapping) for item in predictors.values())
    }


def _predictor(name: str) -> str:
    return _PREDICTORS.get(name, plain_name(name))


def _in_order(names: Sequence[str] | Mapping[str, Any]) -> list[str]:
    """Predictors in the order of the tables: the network first, then its baselines."""
    order = list(_PREDICTORS)
    return sorted(names, key=lambda name: (order.index(name) if name in order else len(order), name))


def _score_table(
    part: str, scores: Mapping[str, Mapping[str, Any]], summary: Mapping[str, Any], *, brief: bool
) -> Table:
    predictors = _in_order(scores)
    others = [
        name
        for name, value in scores[predictors[0]].items()
        if name not in _SCORES and name not in _BESIDE_SCORES and not isinstance(value, list | Mapping)
    ]
    names = [name for name in _SCORES if name in scores[predictors[0]]]
    rows = [(_SCORES[name], *(four_places(scores[item].get(name)) for item in predictors)) for name in names]
    rows += [
        (plain_name(name), *(value_in_words(scores[item].get(name)) or NOTHING for item in predictors))
        for name in others
    ]
    samples = table_of(summary, "samples").get(part)
    size = f"{counted(sum(samples.values()), part + ' sample')}" if isinstance(samples, Mapping) else f"{part} samples"
    seen = "seen once, after training" if part == "test" else "used to choose"
    header = ("", *(_predictor(item) for item in predictors))
    return Table(caption=f"Scores on {size}, {seen}", header=header, rows=rows, brief=brief)


def _advantage_table(advantage: Mapping[str, Any]) -> list[Block]:
    if not advantage:
        return []
    rows = [
        (_predictor(name), signed(item["mean"]), _interval(item), _beats(item))
        for name, item in ((name, advantage[name]) for name in _in_order(advantage))
    ]
    caption = "Better than a baseline by: log loss per test sample, 95 % interval by block bootstrap"
    header = ("baseline", "better by", "interval", "the network")
    return [Table(caption=caption, header=header, rows=rows, numbers=False)]


def _interval(item: Mapping[str, Any]) -> str:
    if item["low"] is None or item["high"] is None:
        return "none: too few independent samples"
    return f"{signed(item['low'])} to {signed(item['high'])}"


def _beats(item: Mapping[str, Any]) -> str:
    return "beats it" if item["beats"] else "does not beat it"


def _return_words(summary: Mapping[str, Any]) -> list[Block]:
    errors, advantage = table_of(table_of(summary, "returns"), "test"), table_of(summary, "return_advantage")
    if not {TRAINED, *_RETURNS} <= errors.keys() or not _RETURNS.keys() <= advantage.keys():
        return []
    means = ", ".join(
        f"{_RETURNS.get(name, name)} {_fine_percent(errors[name]['mae'])}" for name in (TRAINED, *_RETURNS)
    )
    claims = ", ".join(
        f"{'beats' if advantage[name]['beats'] else 'does not beat'} {words}" for name, words in _RETURNS.items()
    )
    text = f"Expected return, mean absolute error: {means}. By squared error the network {claims}."
    return [Text(text=text)]


def _fine_percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100.0 * value:.4f} %"


def _calibration(scores: Mapping[str, Any]) -> list[Block]:
    blocks: list[Block] = []
    if {"temperature", "log_loss_uncalibrated", "log_loss"} <= scores.keys():
        text = (
            f"Calibration: temperature {number(scores['temperature'])}, from validation samples; log loss "
            f"{four_places(scores['log_loss_uncalibrated'])} without it, {four_places(scores['log_loss'])} with it."
        )
        blocks.append(Text(text=text))
    rows = [
        (
            f"{row['from']:.1f} to {row['to']:.1f}",
            count(row["samples"]),
            share(row["confidence"]),
            share(row["accuracy"]),
        )
        for row in scores.get("reliability") or ()
        if row["samples"]
    ]
    if rows:
        header = ("highest probability", "samples", "mean of it", "right")
        blocks.append(Table(caption="How often the network is right by how sure it is", header=header, rows=rows))
    return blocks


def _confidence_words(confidence: Mapping[str, Any]) -> list[Block]:
    if not {"auc", "brier", "mean", "right"} <= confidence.keys():
        return []
    text = (
        f"Confidence head: AUC {four_places(confidence['auc'])} for telling right from wrong, Brier score "
        f"{four_places(confidence['brier'])}; mean {share(confidence['mean'])} where {share(confidence['right'])} "
        "are right."
    )
    return [Text(text=text)]


def _accuracy(test: Mapping[str, Any]) -> list[Block]:
    """Accuracy of a classifier, beside that of always predicting the most frequent class."""
    if "accuracy" not in test:
        return []
    columns = {"network": test["accuracy"]}
    if "majority_class_accuracy" in test:
        columns["majority class"] = test["majority_class_accuracy"]
    size = counted(test["samples"], "test sample") if "samples" in test else "test samples"
    rows = [("accuracy", *(share(value) for value in columns.values()))]
    return [Table(caption=f"Scores on {size}, seen once, after training", header=("", *columns), rows=rows)]


def _class_table(figures: Mapping[str, Any]) -> list[Block]:
    """Log loss, and precision, recall and F1 of each class; classes that a part lacks are named."""
    if not figures.keys() >= _CLASS_FIGURES:
        return []
    prior = figures["prior_log_loss"]
    beside = "" if prior is None else f"; {four_places(prior)} for the shares of the classes in the training part"
    blocks: list[Block] = [Text(text=f"Log loss on test samples: {four_places(figures['log_loss'])}{beside}.")]
    rows = [
        (name, count(row["support"]), *(_share(row[figure]) for figure in ("precision", "recall", "f1")))
        for name, row in figures["classes"].items()
    ]
    header = ("class", "samples", "precision", "recall", "F1")
    blocks.append(Table(caption="Test samples by class", header=header, rows=rows))
    for part, names in figures["missing"].items():
        text = f"The {part} part has no sample of {', '.join(names)}: figures on it say nothing about that."
        blocks.append(Text(text=text, tone="note"))
    return blocks


def _share(value: float | None) -> str:
    return NOTHING if value is None else share(value)


def _class_confusion(figures: Mapping[str, Any]) -> list[Block]:
    if not figures.keys() >= _CLASS_FIGURES:
        return []
    counts = np.array(figures["confusion"], np.int64)
    return [
        Figure(
            name="confusion-classes",
            title="Confusion matrix, test part",
            alt=f"{int(np.trace(counts))} of {int(counts.sum())} test samples have the class that was predicted.",
            chart=Matrix(classes=figures["names"], counts=counts),
            text="Rows are true classes, columns predicted ones.",
        )
    ]


def _epoch_curve(folder: RunFolder, summary: Mapping[str, Any]) -> list[Block]:
    """Validation loss by epoch, counted from 1; nothing for a run of fewer than two epochs."""
    losses = _validation_losses(folder, summary)
    if len(losses) < 2:
        return []
    epochs, values = np.arange(1.0, len(losses) + 1.0), np.array(losses)
    lowest = int(values.argmin())
    figure = Figure(
        name="validation-loss",
        title="Validation loss by epoch",
        alt=f"From {four_places(values[0])} after epoch 1 to {four_places(values[-1])} after epoch {len(losses)}; "
        f"lowest {four_places(values[lowest])} after epoch {lowest + 1}.",
        chart=Panels(
            panels=[Panel(series=[Series(name="validation", x=epochs, y=values)], y_label="loss", x_label="epoch")]
        ),
        text="Where it rises while training goes on, the network learns its training samples by heart.",
    )
    return [figure]


def _validation_losses(folder: RunFolder, summary: Mapping[str, Any]) -> list[float]:
    history = summary.get("history")
    if isinstance(history, list):
        rows = [table_of(row, "loss").get("total") for row in history if isinstance(row, Mapping)]
        return [value for value in rows if isinstance(value, float)] if all(isinstance(v, float) for v in rows) else []
    stored = sealed_bytes(folder, f"artifacts/{_HISTORY_FILE}") if "training" in summary else None
    values = json.loads(stored).get("val_loss", []) if stored is not None else []
    return [float(value) for value in values]


def _advantage_figure(advantage: Mapping[str, Any]) -> list[Block]:
    if not advantage:
        return []
    names = _in_order(advantage)
    words = [
        f"over {_predictor(name)} {signed(item['mean'])} ({_interval(item)}): "
        f"{'beaten' if item['beats'] else 'not beaten'}"
        for name, item in ((name, advantage[name]) for name in names)
    ]
    figure = Figure(
        name="advantage",
        title="Advantage over the baselines",
        alt=f"Mean advantage in log loss per test sample: {'; '.join(words)}.",
        chart=Intervals(
            names=[_predictor(name) for name in names],
            centre=[float(advantage[name]["mean"]) for name in names],
            low=[advantage[name]["low"] for name in names],
            high=[advantage[name]["high"] for name in names],
            x_label="advantage in log loss (right is better)",
        ),
        text=(
            "Mean over test samples. Bars are 95 % intervals by a block bootstrap. A baseline is beaten where the "
            "whole bar lies right of 0."
        ),
    )
    return [figure]


def _reliability(scores: Mapping[str, Mapping[str, Mapping[str, Any]]]) -> list[Block]:
    part = next((name for name in _HELD_OUT if name in scores), None)
    if part is None:
        return []
    series: list[Series] = []
    errors = []
    for name in _in_order(scores[part]):
        values = scores[part][name]
        # A bin without samples has neither confidence nor accuracy.
        rows = [row for row in values.get("reliability") or () if row["samples"]]
        # A constant predictor has a point, not a curve.
        if len(rows) < 2:
            continue
        x = np.array([row["confidence"] for row in rows])
        y = np.array([row["accuracy"] for row in rows])
        series.append(Series(name=_predictor(name), x=x, y=y, dashed=name != TRAINED))
        errors.append(f"{_predictor(name)} {four_places(values.get('calibration_error'))}")
    if not series:
        return []
    panel = Panel(
        series=series,
        x_label="probability of the class decided",
        y_label="share that was right",
        y_range=(0.0, 1.0),
        diagonal=True,
    )
    return [
        Figure(
            name="calibration",
            title="Calibration",
            alt=f"Reliability curves on {part} samples. Calibration error: {', '.join(errors)}.",
            chart=Panels(panels=[panel]),
            text="On the diagonal a probability means what it says; below it the predictor is too sure of itself.",
        )
    ]


def _confusion(summary: Mapping[str, Any]) -> list[Block]:
    """A confusion matrix at the top of the summary or one level below: {"classes": [...], "confusion": [[...]]}."""
    places = [("", summary), *((name, value) for name, value in summary.items() if isinstance(value, Mapping))]
    blocks: list[Block] = []
    for name, value in places:
        rows, classes = value.get(_CONFUSION), value.get("classes")
        if not isinstance(rows, list) or not isinstance(classes, list) or len(rows) != len(classes):
            continue
        counts = np.array(rows, np.int64)
        right = int(np.trace(counts))
        blocks.append(
            Figure(
                name="confusion" if not name else f"confusion-{len(blocks)}",
                title="Confusion matrix" + (f", {plain_name(name)}" if name else ""),
                alt=f"{right:,} of {int(counts.sum()):,} samples on the diagonal, which is right.",
                chart=Matrix(classes=[str(item) for item in classes], counts=counts),
            )
        )
    return blocks
