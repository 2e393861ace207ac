"""`kind = "strategy"`: search the parameters of a rule-based strategy over one market's candles.

prepare    code and candles pinned, look-ahead test of every branch
restore    the same from a run's folder
estimate   a few parameter sets timed, bytes counted
training   `training.StrategyTraining`, one step per batch of trials
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Final, Self, cast

from lockstep.core.errors import DataError
from lockstep.core.space import Choice, Columns
from lockstep.kinds.shared import market_data
from lockstep.kinds.shared.step_timing import peak_bytes, step_duration, timed
from lockstep.kinds.strategy import code as strategy_code
from lockstep.kinds.strategy import questions
from lockstep.kinds.strategy.judging import trial_of_judging
from lockstep.kinds.strategy.plan import StrategyPlan, plan_of
from lockstep.kinds.strategy.spec import StrategySpec
from lockstep.kinds.strategy.training import StrategyTraining
from lockstep.runs.kind import Duration, Estimate, Gauge, Kind, PrepareContext, Prepared, RunContext
from lockstep.runs.numerics import pinned_threads

if TYPE_CHECKING:
    from lockstep.kinds.shared.market_data import Pinned
    from lockstep.kinds.strategy.code import UserCode
    from lockstep.runs.folder import RunFolder
    from lockstep.runs.spec import RunSpec
    from lockstep.runs.training import Training
    from lockstep.strategies.evaluate import Evaluator

_TIMED_SETS: Final = 48
"""Sets that an estimate times."""
_ENOUGH_SECONDS: Final = 0.05
"""A set that takes this long is timed alone."""
_SHORT_BATCH: Final = 0.2
"""Seconds of a batch that is timed whole."""
_SEEN_BYTES: Final = 160
"""Bytes of a set in the memory of a proposer that refuses duplicates."""


class StrategyKind:
    """The kind that `runs.registry` loads."""

    name: Final = "strategy"
    spec_model: Final = StrategySpec

    def prepare(self, spec: RunSpec, context: PrepareContext) -> Prepared:
        """Load, clean and pin the candles; load strategy and objective; test for look-ahead.

        `context.python_objects` may hold a strategy class ("strategy.name"), an objective function
        ("search.objective"), candles ("data.candles") and further series by name ("data.inputs").
        Raises the InputError tree, LookAheadError, DiskError.
        """
        resolved = cast("StrategySpec", spec)
        # Before the candles: an error in the source shows at once, while candles may take minutes.
        code = strategy_code.from_user(resolved, context)
        pinned = market_data.pin(resolved, code.strategy.inputs, context)
        plan = _plan(resolved, pinned, code, context)
        notes = (*pinned.notes, *_bars_left(plan), *_draws_of_a_grid(resolved, plan), *_pairs(plan))
        notes += (*plan.proposer().notes, *questions.ask_before(plan, context.tell))
        return _prepared(plan, code, origin=pinned.origin, notes=notes)

    def restore(self, spec: RunSpec, folder: RunFolder, context: PrepareContext) -> Prepared:
        """The same plan from a run's folder and the snapshots of its home. Raises IntegrityError, DataError."""
        resolved = cast("StrategySpec", spec)
        code = strategy_code.from_run(resolved, folder)
        pinned = market_data.restore(folder.read("data"), context.blobs)
        return _prepared(_plan(resolved, pinned, code, context), code)

    def estimate(self, prepared: Prepared, context: PrepareContext, *, time_large: bool = True) -> Estimate:
        """Seconds on one core from a few sets of this search, and bytes.

        A few sets can be timed of a search of any size, so `time_large` changes nothing.
        """
        with pinned_threads():
            return _estimate(cast("StrategyPlan", prepared.payload))

    def training(self, prepared: Prepared, context: RunContext) -> Training:
        """The search before its first batch."""
        return StrategyTraining(cast("StrategyPlan", prepared.payload), context.executor, context.tell)


KIND: Final[Kind] = StrategyKind()


def _plan(spec: StrategySpec, pinned: Pinned, code: UserCode, context: PrepareContext) -> StrategyPlan:
    plan = plan_of(spec, pinned, strategy=code.strategy, judge=code.judge, blobs=context.blobs)
    resolved = spec.model_copy(
        update={
            # The run stores what was decided: a strategy's own space may change with its next version.
            "strategy": spec.strategy.model_copy(update={"name": code.strategy_name, "space": plan.space.to_spec()}),
            "search": spec.search.model_copy(update={"objective": code.objective}),
        }
    )
    return plan.with_spec(resolved)


def _prepared(
    plan: StrategyPlan,
    code: UserCode,
    *,
    origin: Mapping[str, Any] | None = None,
    notes: tuple[str, ...] = (),
) -> Prepared:
    return Prepared(
        spec=plan.spec,
        data=plan.pinned.body(),
        code=code.identity(),
        payload=plan,
        origin={} if origin is None else origin,
        notes=notes,
        gauge=Gauge(objective=plan.judge.objective_name, work={"bars x sets": plan.search_bars}),
    )


def _bars_left(plan: StrategyPlan) -> list[str]:
    """What leaves few bars to search: a hold-out of more than half, a warm-up. Raises DataError where none is left."""
    notes = []
    total, holdout = len(plan.pinned.candles), plan.spec.validation.holdout_bars
    if 2 * holdout > total:
        notes.append(
            f"validation.holdout_bars = {holdout:,} holds out {100 * holdout / total:.0f} % of the {total:,} bars: "
            f"{plan.search_bars:,} are left to search"
        )
    reach = plan.reach()
    words = reach.in_words()
    if words is None:
        return notes
    if reach.shortest >= reach.bars:
        raise DataError(f"{words}, so no set could trade: take more candles, hold out fewer, or search shorter periods")
    return [*notes, words]


def _draws_of_a_grid(spec: StrategySpec, plan: StrategyPlan) -> list[str]:
    """That a grid takes no number of draws, where one was given."""
    search, size = spec.search, plan.proposer().size
    if search.optimizer != "grid" or "n_iterations" not in search.model_fields_set or search.n_iterations == size:
        return []
    return [
        f"a grid tries all its {size or 0:,} combinations: search.n_iterations = {search.n_iterations:,} changes "
        'nothing; take optimizer = "random" to try a part of them'
    ]


def _pairs(plan: StrategyPlan) -> list[str]:
    """A hint for each list of two numbers that may have been meant as a range: TOML has no tuples."""
    pairs = [
        (name, dimension.values)
        for name, dimension in plan.space.items()
        if isinstance(dimension, Choice) and len(dimension.values) == 2 and _wide(*dimension.values)
    ]
    return [
        f"{name} has two choices, {low!r} and {high!r}; if a range was meant, write "
        f"{name} = {{ low = {low!r}, high = {high!r} }}"
        for name, (low, high) in pairs
    ]


def _wide(low: Any, high: Any) -> bool:
    """Whether another value lies between two choices."""
    if isinstance(low, bool) or not isinstance(low, int | float) or not isinstance(high, int | float):
        return False
    # Between whole numbers that follow each other, a choice and a range are the same.
    return high > low if isinstance(low, float) else high - low > 1


def _first_sets(plan: StrategyPlan, count: int) -> Columns:
    return plan.complete(plan.proposer().ask(count).columns)


def _estimate(plan: StrategyPlan) -> Estimate:
    """Time on one core from a few timed sets, and bytes; in no hash."""
    proposer = plan.proposer()
    trials = proposer.size or 0
    batch = min(plan.spec.search.batch_size, trials)
    per_trial = plan.trial_bytes
    candles = sum(int(array.nbytes) for array in plan.candles.columns().values())
    training, judging = _times(plan, trials)
    # After the timing: what an evaluation and the judgement need is in it.
    held = peak_bytes()
    remembered = _SEEN_BYTES * trials if proposer.remembers else 0
    return Estimate(
        seconds=training.wall + judging.wall,
        training=training,
        judging=judging,
        disk_bytes=per_trial * trials,
        # What this process holds now, and what the search adds to it.
        memory_bytes=held + candles + 4 * per_trial * batch + remembered,
        steps=-(-trials // plan.spec.search.batch_size),
    )


def _times(plan: StrategyPlan, trials: int) -> tuple[Duration, Duration]:
    """Time of all batches, and of what the winner is asked and compared with.

    A chunk has a fixed part and a part for each set; two timings separate them. Where a batch is short, whole batches
    are timed: then proposing, joining and hashing count as much as the evaluation.
    """
    evaluator = plan.evaluator()
    columns = _first_sets(plan, _TIMED_SETS)
    one = {name: column[:1] for name, column in columns.items()}
    evaluator.batch(one, on_error="record")  # compiles kernels, computes indicators
    single = _timed(evaluator, one)
    parameters = {name: column[0].item() if hasattr(column[0], "item") else column[0] for name, column in one.items()}
    judging = trial_of_judging(plan, evaluator, parameters)
    judging += single * questions.sets_of_winner(plan)
    count = len(next(iter(columns.values())))
    # Such a set is all time of its own; the fixed part of a chunk does not show beside it.
    if single.wall > _ENOUGH_SECONDS or count == 1:
        return single * trials, judging
    many = _timed(evaluator, columns)
    per_set = _less(many, single) * (1.0 / (count - 1))
    fixed = _less(single, per_set)
    batch = plan.spec.search.batch_size
    size = min(batch, trials)
    if (fixed * -(-size // plan.chunk) + per_set * size).wall < _SHORT_BATCH:
        step = step_duration(StrategyTraining(plan, _Here()).steps())
        if step is not None:
            return step * (trials / size), judging
    # Rounded up: the last chunk has the whole fixed part, however few its sets.
    chunks = -(-trials // plan.chunk)
    return fixed * chunks + per_set * trials, judging


def _less(one: Duration, two: Duration) -> Duration:
    return Duration(cpu=max(one.cpu - two.cpu, 0.0), wall=max(one.wall - two.wall, 0.0))


def _timed(evaluator: Evaluator, columns: Columns) -> Duration:
    return timed(lambda: evaluator.batch(columns, on_error="record"), warm=False)


class _Here:
    """An executor that works in this process, for the batches that are timed."""

    workers: Final = 1

    def map(self, task: Any, items: Any) -> list[Any]:
        return [task(item) for item in items]

    def close(self) -> None:
        """Do nothing: there is no process to end."""

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
