"""The end of a strategy search: the winner run again and compared to the last bit, and its baselines."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from lockstep.core import canonical
from lockstep.core.errors import NotEqualError
from lockstep.engine.baselines import buy_and_hold, random_entries
from lockstep.engine.export import EDITIONS as TABLE_EDITIONS
from lockstep.engine.export import equity_csv, trades_csv
from lockstep.engine.preparation import market_arrays
from lockstep.engine.renamed import EDITIONS
from lockstep.engine.simulate import Simulation
from lockstep.kinds.strategy.questions import ask_about_winner
from lockstep.market.checks import format_time
from lockstep.market.quality import quality_report
from lockstep.runs.kind import silent
from lockstep.runs.seeds import SeedTree
from lockstep.runs.training import Result
from lockstep.search.objective import Tally
from lockstep.strategies.batches import limited
from lockstep.strategies.evaluate import Backtest, Evaluator, entries_of
from lockstep.strategies.window import trade_window
from lockstep.validation.verdict import NOT_JUDGED

if TYPE_CHECKING:
    from lockstep.kinds.strategy.plan import StrategyPlan
    from lockstep.market.candles import Candles


def finish(plan: StrategyPlan, tally: Tally, duplicates: int, tell: Callable[[str], None] = silent) -> Result:
    """Summary and artifacts of a search whose `tally` has a winner; `tell` takes lines about the questions to it.

    Raises NotEqualError when the winner, run again, differs from its trial in any metric; LookAheadError when it reads
    the future or keeps state between calls: the run then ends without a result.
    """
    if tally.best is None:
        raise ValueError("a search without a winner has no result; see search.objective.no_valid_trial")
    evaluator = plan.evaluator()
    # On the backtest's path and not from the stored row: this is the promise that both agree.
    winner = evaluator.one({**plan.fixed, **tally.best["parameters"]})
    metrics = {str(metric): value for metric, value in winner.metrics.items()}
    require_same(tally.best["metrics"], metrics, trial=tally.best["index"])
    hold = buy_and_hold(evaluator.candles, evaluator.market, plan.costs, plan.execution)
    held_out = _held_out(plan, winner)
    simulations = {"best": winner.simulation, "buy_and_hold": hold}
    if held_out is not None:
        simulations |= {"holdout": held_out[1], "holdout_buy_and_hold": held_out[2]}
    look_ahead = ask_about_winner(plan, evaluator.view, winner.parameters, tell)
    summary = {
        "strategy": {
            "name": winner.strategy,
            "fixed": dict(plan.fixed),
            "space": plan.space.to_spec(),
        },
        "best": {
            "index": tally.best["index"],
            "parameters": winner.parameters,
            "searched": tally.best["parameters"],
            "objective": tally.best["objective"],
            "metrics": metrics,
        },
        "objective": {
            "name": plan.judge.objective_name,
            "direction": str(plan.judge.direction),
            "constraints": [str(constraint) for constraint in plan.judge.constraints],
            "min_trades": plan.judge.min_trades,
        },
        "trials": {
            "total": tally.total,
            "valid": tally.valid,
            "invalid": dict(tally.causes),
            "duplicates": duplicates,
            "too_few": dict(tally.few),
            "first_error": tally.first_error,
        },
        "bounds": {name: metrics[name] for name in ("net_profit_worst_pct", "net_profit_best_pct", "ambiguous_trades")},
        "blocks": _blocks(winner.simulation),
        "baselines": baselines_of(plan, evaluator, winner, hold),
        "holdout": _holdout(held_out),
        # In a table of their own: those of a trial, run again as a backtest, are compared with `metrics`.
        "curve_metrics": {name: dict(done.curve_metrics) for name, done in simulations.items()},
        "data": facts_of(plan),
        "look_ahead": look_ahead,
        "verdict": NOT_JUDGED.to_json(),
        "editions": {**EDITIONS, **TABLE_EDITIONS},
    }
    artifacts = {
        "best_trades.csv": trades_csv(winner.simulation),
        "best_equity.csv": equity_csv(winner.simulation),
    }
    return Result(summary=summary, artifacts=artifacts)


def require_same(stored: Mapping[str, Any], backtest: Mapping[str, Any], *, trial: int) -> None:
    """Compare every metric of a trial with those of a backtest of its set. Raises NotEqualError naming the first."""
    for name in stored.keys() | backtest.keys():
        # Canonical JSON tells 0.0 from -0.0 and 1 from 1.0, which == does not.
        if canonical.dumps(stored.get(name)) != canonical.dumps(backtest.get(name)):
            differing = sorted(
                n for n in backtest if canonical.dumps(stored.get(n)) != canonical.dumps(backtest.get(n))
            )
            raise NotEqualError(
                f"trial {trial} gave {differing[0]} = {stored.get(differing[0])!r} in the search and "
                f"{backtest.get(differing[0])!r} when run again as a backtest ({len(differing)} metrics differ). Both "
                "share one code path, so this is an error of Lockstep, or the strategy is no function of its input: "
                "run `lockstep verify` and report it"
            )


def _held_out(plan: StrategyPlan, winner: Backtest) -> tuple[Candles, Simulation, Simulation] | None:
    """The held-out bars, the winner on them, and buy and hold; None when none are held out."""
    held_out = plan.spec.validation.holdout_bars
    # None and not an empty table: nothing was held out, which is no result of zero.
    if held_out == 0:
        return None
    bars, simulation = trade_window(
        plan.strategy,
        winner.parameters,
        plan.pinned.candles,
        len(plan.pinned.candles) - held_out,
        costs=plan.costs,
        execution=plan.execution,
        inputs=plan.pinned.inputs,
    )
    return bars, simulation, buy_and_hold(bars, market_arrays(bars), plan.costs, plan.execution)


def _holdout(held_out: tuple[Candles, Simulation, Simulation] | None) -> dict[str, Any] | None:
    """What the summary says of `_held_out`."""
    if held_out is None:
        return None
    bars, simulation, hold = held_out
    return {
        "bars": len(bars),
        "start": format_time(int(bars.timestamp[0])),
        "metrics": _metrics(simulation),
        "buy_and_hold": _metrics(hold),
    }


def baselines_of(plan: StrategyPlan, evaluator: Evaluator, winner: Backtest, hold: Simulation) -> dict[str, Any]:
    """Metrics of buy and hold, and of the winner's trades at random times, None without a trade."""
    entries = limited(entries_of(plan.strategy, evaluator.view, winner.parameters), plan.execution.max_holding)
    # A stream of its own: more trials, or another proposer, leave the draws as they are.
    seeds = SeedTree(plan.spec.seed).child("baseline", "random_entries")
    luck = random_entries(evaluator.market, entries, winner.simulation, seeds)
    return {"buy_and_hold": _metrics(hold), "random_entries": None if luck is None else luck.to_dict()}


def _metrics(simulation: Simulation) -> dict[str, Any]:
    return {str(metric): value for metric, value in simulation.metrics.items()}


def _blocks(simulation: Simulation) -> dict[str, list[Any]]:
    """Sums over the winner's bar returns per block; all trials have the same number of bars per block."""
    blocks = simulation.blocks
    return {name: getattr(blocks, name).tolist() for name in ("bars", "r1", "r2", "r3", "r4")}


def facts_of(plan: StrategyPlan) -> dict[str, Any]:
    """The market, its parts and the quality of its data, for the summary."""
    candles = plan.pinned.candles
    report = quality_report(candles)
    return {
        "bars": len(candles),
        "search_bars": plan.search_bars,
        "holdout_bars": plan.spec.validation.holdout_bars,
        "start": format_time(int(candles.timestamp[0])),
        "end": format_time(int(candles.timestamp[-1])),
        "timeframe": candles.timeframe,
        "symbol": candles.symbol,
        "exchange": candles.exchange,
        "regime": plan.spec.market.regime,
        "gaps": len(report.gaps),
        "bars_missing": report.bars_missing,
        "quality_score": report.score,
    }
