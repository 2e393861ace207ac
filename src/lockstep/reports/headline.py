"""A run in one line: its one most telling figure, and its verdict.

Which figure that is follows from the keys of the summary, never from the kind:

    best, objective       a search: the objective of the trial that won
    scores.test           predictions: the log loss of what was trained
    test.accuracy         a classifier: the share of test samples that it classifies right
    test.metrics          an agent: the net profit on bars that it never saw
    value                 any other run that learns by gradients: how much there is to learn from it again
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

from lockstep.engine.renamed import under_present_names
from lockstep.reports.words import METRICS, TRAINED, counted, four_places, metric, number, share
from lockstep.runs.folder import RunFolder
from lockstep.runs.results import Headline, TrainResult, read_result
from lockstep.validation.verdict import Verdict

_FIGURES: Final = ("net_profit_pct", "sharpe_ratio", "max_drawdown_pct", "profit_factor", "win_rate", "total_trades")

Reader = Callable[[Mapping[str, Any]], Headline | None]


def read_run(folder: RunFolder, *, alarm: str | None = None, notes: tuple[str, ...] = ()) -> TrainResult:
    """The result of a run, complete or not, with its headline. Raises IntegrityError for a damaged document.

    alarm   the store's alarm for the run (`RunStore.alarm`)
    notes   what a reader should know about how the run went
    """
    result = read_result(folder, alarm=alarm, notes=notes)
    search, space = result.search, table_of(result.spec, "strategy").get("space")
    if search is not None and isinstance(space, Mapping):
        search = replace(search, words=partial(_words, space))
    return replace(result, headline=headline(result.summary), search=search)


def _words(space: Mapping[str, Any], columns: Mapping[str, Any]) -> dict[str, Any]:
    """Stored columns of trials with words; the searched space has the choices that codes stand for."""
    # They load NumPy, which a list of runs never needs.
    from lockstep.core.space import Space
    from lockstep.search.trial_columns import in_words

    return in_words(Space.parse(space), columns)


def headline(summary: Mapping[str, Any]) -> Headline | None:
    """The headline of a summary; None when it has none of the keys above and no verdict."""
    verdict = Verdict.of_summary(summary)
    line = next((line for reader in READERS if (line := reader(summary)) is not None), None)
    if verdict is None:
        return line
    return replace(line or Headline(), verdict=verdict.to_json())


def _search(summary: Mapping[str, Any]) -> Headline | None:
    best, objective, trials = (table_of(summary, name) for name in ("best", "objective", "trials"))
    name, value, total = objective.get("name"), _figure(best, "objective"), _figure(trials, "total")
    if not isinstance(name, str) or value is None:
        return None
    count = "" if total is None else f" of {counted(int(total), 'trial')}"
    metrics = under_present_names(table_of(best, "metrics"))
    shown = [f"{METRICS[key][0]} {metric(key, metrics[key])}" for key in _FIGURES if key in metrics]
    return Headline(name=name, value=value, text=f"{name} {number(value)}{count}", figures=", ".join(shown))


def _predictions(summary: Mapping[str, Any]) -> Headline | None:
    value = _figure(table_of(table_of(table_of(summary, "scores"), "test"), TRAINED), "log_loss")
    if value is None:
        return None
    return Headline(name="log_loss", value=value, text=f"log loss {four_places(value)} on test samples")


def _classifier(summary: Mapping[str, Any]) -> Headline | None:
    test = table_of(summary, "test")
    value, samples = _figure(test, "accuracy"), _figure(test, "samples")
    if value is None:
        return None
    count = " of test samples" if samples is None else f" of {counted(int(samples), 'test sample')}"
    commonest = _figure(test, "majority_class_accuracy")
    beside = "" if commonest is None else f"{share(commonest)} for always naming the commonest class"
    return Headline(name="accuracy", value=value, text=f"accuracy {share(value)}{count}", figures=beside)


def _agent(summary: Mapping[str, Any]) -> Headline | None:
    name = "net_profit_pct"
    value = _figure(table_of(table_of(summary, "test"), "metrics"), name)
    if value is None:
        return None
    return Headline(name=name, value=value, text=f"net profit {metric(name, value)} on test bars")


def _gradients(summary: Mapping[str, Any]) -> Headline | None:
    value = _figure(summary, "value")
    if "session" not in summary or value is None:
        return None
    return Headline(name="session_value", value=value, text=f"run value {value:.3f}")


READERS: Final[tuple[Reader, ...]] = (_search, _predictions, _classifier, _agent, _gradients)
"""The first of them that finds its figure wins."""


def _figure(values: Mapping[str, Any], name: str) -> float | None:
    """The number `name` of a table; None for anything else, which a kind of another package may have put there."""
    value = values.get(name)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else None


def table_of(values: Mapping[str, Any], name: str) -> Mapping[str, Any]:
    """The table `name` of a summary or spec; empty when there is none."""
    table = values.get(name)
    return table if isinstance(table, Mapping) else {}
