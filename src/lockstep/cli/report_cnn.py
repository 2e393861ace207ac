"""The report of `kind = "cnn"`: what was learned from, and how good that is out of sample beside plain models."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from lockstep.cli.words import NOTHING, count, counted, number

_NAMES: Final = {
    "network": "network",
    "majority": "majority class",
    "known_side": "known side",
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
_PARTS: Final = ("train", "validation", "test")


def head(result_spec: Mapping[str, Any], summary: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What was trained on what."""
    labels, features = result_spec["labels"], result_spec["features"]
    rows = [
        ("network", f"{summary['session']['model']}, {count(summary['model']['parameters'])} parameters"),
        ("predicts", f"{_task(labels)}, from {features['window']} bars of {len(features['channels'])} channels"),
    ]
    if summary["session"].get("symbol"):
        rows.append(("market", str(summary["session"]["symbol"])))
    samples, model = summary["samples"], summary["model"]
    for part in _PARTS:
        told = ", ".join(f"{name} {count(samples[part][name])}" for name in model["classes"])
        rows.append((part, f"{counted(sum(samples[part].values()), 'sample')} ({told})"))
    rows.append(("purged", f"{counted(samples['purged'], 'sample')} between the parts"))
    best = model["best_epoch"]
    chosen = "none, no epoch ended" if best is None else f"epoch {best + 1} of {model['epochs']}, by validation loss"
    rows.append(("steps", f"{count(summary['steps'])}; chosen: {chosen}"))
    if summary["ended"] != "complete":
        rows.append(("ended", f"by {summary['ended']}: the record reached its limit"))
    return rows


def _task(labels: Mapping[str, Any]) -> str:
    if labels["task"] == "pivot":
        return f"pivots of {counted(labels['pivot_bars'], 'bar')} on each side"
    return f"direction over {counted(labels['horizon'], 'bar')}"


def body(summary: Mapping[str, Any]) -> list[RenderableType]:
    """Scores on test rows beside the baselines', differences with intervals, calibration, and the one sentence."""
    return [
        Text(),
        Text(f"test rows, seen once: {counted(sum(summary['samples']['test'].values()), 'sample')}"),
        _scores(summary["scores"]["test"]),
        Text(),
        Text("better than the baseline by (log loss per sample, 95 % interval by blocks)"),
        _advantages(summary["advantage"]),
        *_returns(summary),
        *_calibration(summary),
        Text(),
        Text(f"verdict: {summary['verdict']['sentence']}"),
    ]


def _scores(scores: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table(box=None, padding=(0, 2), show_edge=False)
    table.add_column("  score")
    shown = [name for name in _NAMES if name in scores]
    for name in shown:
        table.add_column(_NAMES[name], justify="right")
    for key, label in _SCORES.items():
        table.add_row(f"  {label}", *(_number(scores[name][key]) for name in shown))
    return table


def _advantages(found: Mapping[str, Mapping[str, Any]]) -> Table:
    table = Table.grid(padding=(0, 2))
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column()
    for name, item in ((name, found[name]) for name in _NAMES if name in found):
        table.add_row(f"  {_NAMES[name]}", _signed(item["mean"]), _interval(item), _said(item))
    return table


def _interval(item: Mapping[str, Any]) -> str:
    if item["low"] is None:
        return "no interval: too few independent samples"
    return f"{_signed(item['low'])} to {_signed(item['high'])}"


def _said(item: Mapping[str, Any]) -> str:
    return "beats" if item["beats"] else "does not beat"


def _returns(summary: Mapping[str, Any]) -> list[RenderableType]:
    scores = summary["returns"].get("test")
    if not scores:
        return []
    told = {"zero": "saying zero", "mean": "saying the mean of training rows"}
    errors = ", ".join(f"{told.get(name, name)} {_percent(scores[name]['mae'])}" for name in ("network", *told))
    verdicts = ", ".join(f"{_said(summary['return_advantage'][name])} {words}" for name, words in told.items())
    return [
        Text(),
        Text(f"expected return, mean absolute error: {errors}"),
        Text(f"  by squared error the network {verdicts}"),
    ]


def _calibration(summary: Mapping[str, Any]) -> list[RenderableType]:
    network = summary["scores"]["test"]["network"]
    lines = [
        Text(),
        Text(
            f"calibration: temperature {number(network['temperature'])} (from validation rows); log loss "
            f"{_number(network['log_loss_uncalibrated'])} without it, {_number(network['log_loss'])} with it"
        ),
    ]
    table = Table(box=None, padding=(0, 2), show_edge=False)
    for label in ("  highest probability", "samples", "mean of it", "right"):
        table.add_column(label, justify="left" if label.startswith(" ") else "right")
    for row in network["reliability"]:
        if row["samples"]:
            span = f"  {row['from']:.1f} to {row['to']:.1f}"
            table.add_row(span, count(row["samples"]), _share(row["confidence"]), _share(row["accuracy"]))
    parts: list[RenderableType] = [*lines, table]
    confidence = summary["confidence"]["test"]
    if confidence is not None:
        parts.append(
            Text(
                f"confidence head: AUC {_number(confidence['auc'])} for telling right from wrong, Brier score "
                f"{_number(confidence['brier'])}; mean {_share(confidence['mean'])} where "
                f"{_share(confidence['right'])} are right"
            )
        )
    return parts


def _number(value: float | None) -> str:
    return NOTHING if value is None else f"{value:.4f}"


def _signed(value: float) -> str:
    return f"{value:+.4f}"


def _share(value: float | None) -> str:
    return NOTHING if value is None else f"{100.0 * value:.1f} %"


def _percent(value: float | None) -> str:
    return NOTHING if value is None else f"{100.0 * value:.4f} %"
