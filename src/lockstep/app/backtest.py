"""Backtest: run one strategy with one set of parameters; from a spec, from a run, or from a strategy and data by name.

The search evaluates its trials with the same code (`strategies.evaluate`), so a trial of a run has the same metrics
here, to the last bit.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from lockstep.app.files import file_overrides
from lockstep.app.paths import require_writable_name
from lockstep.app.request import SPEC_SUFFIXES, TrainingRequest, training_request
from lockstep.app.trust import permit
from lockstep.core.errors import InputError, NotComparableError
from lockstep.core.files import write_atomic
from lockstep.engine.baselines import buy_and_hold, random_entries
from lockstep.engine.export import readable_trades_csv
from lockstep.engine.metrics import ALIASES, COUNTS, Metric
from lockstep.kinds.shared import market_data
from lockstep.kinds.strategy import code as strategy_code
from lockstep.kinds.strategy.plan import StrategyPlan
from lockstep.kinds.strategy.result import require_same
from lockstep.kinds.strategy.spec import StrategySpec
from lockstep.kinds.strategy.training import SEGMENT
from lockstep.market.checks import format_time
from lockstep.runs.kind import PrepareContext, silent
from lockstep.runs.restored_run import require_same_code, restore_run
from lockstep.runs.results import is_of_trials
from lockstep.runs.sealed import require_sealed, sealed_document
from lockstep.runs.seeds import SeedTree
from lockstep.runs.spec import resolve
from lockstep.runs.spec_files import parse_override
from lockstep.search.trial_columns import decoded
from lockstep.storage.segments import SegmentReader
from lockstep.strategies.batches import limited
from lockstep.strategies.evaluate import Backtest, Evaluator, entries_of
from lockstep.strategies.registry import is_built_in
from lockstep.validation.causality import exhaustive_look_ahead_check

if TYPE_CHECKING:
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.store import RunStore
    from lockstep.storage.blobs import BlobStore


@dataclass(frozen=True, kw_only=True)
class BacktestReport:
    """One backtest, beside buy and hold and beside random entries.

    buy_and_hold     metrics by name
    random_entries   where the result stands among the same trades at random times; None without a trade
    bars             number of bars that were traded
    span             their first and last time, in words
    market           exchange, symbol and timeframe
    symbol           what was traded; None where the data do not say
    data_hash        digest of the candles
    trial            the run's trial with these metrics, to the last bit; None when there is none
    """

    result: Backtest
    buy_and_hold: Mapping[str, Any]
    random_entries: Mapping[str, Any] | None
    bars: int
    span: str
    market: str
    data_hash: str
    run_id: str | None = None
    trial: int | None = None
    notes: tuple[str, ...] = ()
    symbol: str | None = None

    @property
    def metrics(self) -> dict[str, Any]:
        """Values by name; None where a metric is undefined."""
        return {str(metric): value for metric, value in self.result.metrics.items()}

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep backtest --json` prints."""
        return {
            "strategy": self.result.strategy,
            "parameters": self.result.parameters,
            "metrics": self.metrics,
            "curve_metrics": {str(name): value for name, value in self.result.simulation.curve_metrics.items()},
            "buy_and_hold": dict(self.buy_and_hold),
            "random_entries": None if self.random_entries is None else dict(self.random_entries),
            "bars": self.bars,
            "span": self.span,
            "market": self.market,
            "data_hash": self.data_hash,
            "run_id": self.run_id,
            "trial": self.trial,
            "notes": list(self.notes),
            "aliases": {name: str(metric) for name, metric in ALIASES.items()},
        }


def backtest_once(
    source: str | None,
    store: RunStore,
    *,
    strategy: str | None = None,
    data: str | None = None,
    params: Sequence[str] = (),
    overrides: Sequence[str] = (),
    trial: int | None = None,
    trades: Path | None = None,
    trust: bool = False,
    tell: Callable[[str], None] = silent,
) -> BacktestReport:
    """Run one strategy once.

    source      a spec file, a run, or None with `strategy` and `data`
    strategy    a strategy's name, in place of the spec's
    data        "sample" or a file of candles, in place of the spec's
    params      "name=value" each; they replace fixed parameters of the spec, or those of the trial
    overrides   "key=value" each, put on the spec
    trial       the trial of a run whose parameters are used; default: the best
    trades      a CSV file to write the trades to
    trust       run code of an imported run (`app.trust`)
    tell        takes lines about the look-ahead test of that very set

    Raises InputError for arguments that do not fit together, LookAheadError for a strategy that reads the future.
    """
    values = dict(_param(text) for text in params)
    if trades is not None:
        require_writable_name(trades, "--trades")
    if source is not None and Path(source).suffix.lower() not in SPEC_SUFFIXES:
        if strategy is not None or data is not None or overrides:
            raise InputError("a run has its own strategy, data and spec: leave out --strategy, --data and --set")
        folder = store.find(source)
        _require_trials(folder)
        permit(folder, trust=trust)
        report = _of_run(folder, store.blobs, values, trial, tell)
    else:
        if trial is not None:
            raise InputError("--trial names a trial of a run: give a run instead of a spec")
        report = _of_request(_request(source, strategy, data, overrides), store.blobs, values, tell)
    if trades is not None:
        write_atomic(trades, readable_trades_csv(report.result.simulation, symbol=report.symbol))
    return report


def _param(text: str) -> tuple[str, Any]:
    if "=" not in text:
        raise InputError(f"--param {text}: a parameter is given as name=value, such as pierce_depth=0.001")
    path, value = parse_override(text)
    if len(path) != 1:
        raise InputError(f"--param {text}: a parameter has a plain name, such as pierce_depth=0.001")
    return path[0], value


def _request(source: str | None, strategy: str | None, data: str | None, overrides: Sequence[str]) -> TrainingRequest:
    if source is None and (strategy is None or data is None):
        raise InputError("nothing to run: give a spec, a run, or both --strategy and --data")
    named: list[str] = []
    if data is not None:
        named = ["data.source=sample"] if data == "sample" else file_overrides(data)
    return training_request(source, strategy=strategy, overrides=[*named, *overrides])


def _of_request(
    request: TrainingRequest, blobs: BlobStore, values: Mapping[str, Any], tell: Callable[[str], None]
) -> BacktestReport:
    spec = resolve(StrategySpec, request.values, source=request.name)
    context = PrepareContext(blobs=blobs, base=request.base, python_objects=request.objects)
    code = strategy_code.from_user(spec, context)
    pinned = market_data.pin(spec, code.strategy.inputs, context)
    # A search never sees held-out bars; a backtest of the same spec must not either, or they are held out no more.
    candles = pinned.candles.head(max(len(pinned.candles) - spec.validation.holdout_bars, 0))
    evaluator = Evaluator(
        code.strategy,
        candles,
        costs=spec.costs_for(candles.symbol),
        execution=spec.execution_settings(),
        inputs=pinned.inputs,
    )
    report = _report(evaluator, {**spec.strategy.parameters, **values}, seed=spec.seed, tell=tell)
    if candles.format is None:
        return report
    return replace(report, notes=(f"data read as {candles.format}", *report.notes))


def _of_run(
    folder: RunFolder, blobs: BlobStore, values: Mapping[str, Any], trial: int | None, tell: Callable[[str], None]
) -> BacktestReport:
    restored = restore_run(folder, blobs)
    plan = restored.prepared.payload
    if not isinstance(plan, StrategyPlan):
        raise _no_trials(folder)
    index, params, stored = _best(folder) if trial is None else _trial(folder, plan, trial)
    evaluator = plan.evaluator()
    chosen = {**plan.fixed, **params, **values}
    if values:
        return _report(evaluator, chosen, seed=plan.spec.seed, tell=tell, run_id=folder.path.name)
    report = _report(evaluator, chosen, seed=plan.spec.seed, tell=tell, run_id=folder.path.name, trial=index)
    # Other code may rightly give other metrics: only with the code of the run is a difference an error.
    try:
        require_same_code(folder, restored)
    except NotComparableError:
        note = "the run was made with other code or numerics, so this is not compared with its trial"
        return replace(report, trial=None, notes=(*report.notes, note))
    require_same(stored, report.metrics, trial=index)
    return report


def _require_trials(folder: RunFolder) -> None:
    """Raises InputError for a run without trials of a strategy: its spec tells, so no data are loaded for it."""
    if not {"strategy", "search"} <= folder.read("spec").keys():
        raise _no_trials(folder)


def _no_trials(folder: RunFolder) -> InputError:
    run_id = folder.path.name
    return InputError(
        f"a backtest takes the strategy and the parameters of a run's trial; run {run_id} searched no strategy, so it "
        "has no trials. Name a run of a search, a spec, or --strategy and --data. What this run came to: "
        f"lockstep runs show {run_id}"
    )


def _best(folder: RunFolder) -> tuple[int, Mapping[str, Any], Mapping[str, Any]]:
    best = sealed_document(folder, "result")["summary"].get("best") if folder.has("result") else None
    if best is None:
        raise InputError(f"run {folder.path.name} has no best trial yet: resume it, or give --trial N")
    return int(best["index"]), best["parameters"], best["metrics"]


def _trial(folder: RunFolder, plan: StrategyPlan, index: int) -> tuple[int, Mapping[str, Any], Mapping[str, Any]]:
    require_sealed(folder, is_of_trials)
    columns = SegmentReader(folder.segments).read(SEGMENT)
    count = len(columns["index"]) if columns else 0
    if not count:
        raise InputError(f"run {folder.path.name} has recorded no trial yet; found --trial {index}. Resume it first.")
    if index >= count:
        raise InputError(f"run {folder.path.name} has trials 0 to {count - 1}; found --trial {index}")
    params = {
        name: column[index].item() if hasattr(column[index], "item") else column[index]
        for name, column in decoded(plan.space, columns).items()
    }
    counts = {str(metric) for metric in COUNTS}
    stored: dict[str, Any] = {}
    # Those that the record has: a run of another release has others, under the names of its time.
    for column in (name for name in columns if name.startswith("metric.")):
        name, value = column.removeprefix("metric."), columns[column][index].item()
        # An integer column has no NaN, so a count without a value is stored as -1.
        unknown = value < 0 if name in counts else value != value
        stored[name] = None if unknown else value
    if stored[str(Metric.TOTAL_TRADES)] is None:
        raise InputError(
            f"trial {index} of run {folder.path.name} was not evaluated: its strategy failed or refused it"
        )
    return index, params, stored


def _report(
    evaluator: Evaluator,
    params: Mapping[str, Any],
    *,
    seed: int,
    tell: Callable[[str], None],
    run_id: str | None = None,
    trial: int | None = None,
) -> BacktestReport:
    result = evaluator.one(params)
    notes: tuple[str, ...] = ()
    if not is_built_in(evaluator.strategy):
        strategy, view = evaluator.strategy, evaluator.view
        notes = exhaustive_look_ahead_check(strategy, view, result.parameters, seeds=SeedTree(seed), tell=tell).warnings
    entries = entries_of(evaluator.strategy, evaluator.view, result.parameters)
    seeds = SeedTree(seed).child("baseline", "random_entries")
    luck = random_entries(evaluator.market, limited(entries, evaluator.execution.max_holding), result.simulation, seeds)
    candles = evaluator.candles
    hold = buy_and_hold(candles, evaluator.market, evaluator.costs, evaluator.execution)
    return BacktestReport(
        result=result,
        buy_and_hold={str(name): value for name, value in (hold.metrics | hold.curve_metrics).items()},
        random_entries=None if luck is None else luck.to_dict(),
        bars=len(candles),
        span=f"{format_time(int(candles.timestamp[0]))} to {format_time(int(candles.timestamp[-1]))}",
        market=" ".join(filter(None, [candles.exchange, candles.symbol, candles.timeframe])),
        data_hash=candles.digest,
        symbol=candles.symbol,
        run_id=run_id,
        trial=trial,
        notes=(*result.notes, *notes),
    )
