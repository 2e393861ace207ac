"""From a market to a book of episodes: packages, validation, predictions, outcomes, premium marks (R9.1 to R9.13).

    book = collect_episodes(candles)                                    everything at once
    collector = EpisodeCollector(plan); collector.add_candle(...); collector.decide(moment); collector.finish()

Both hash and judge each package, and store it or quarantine it with a reason (R9.5). Both predict from the package
alone and measure the outcome from prices strictly after it (R9.8). They give the same book, byte for byte, when the
prediction of a package does not depend on the packages beside it.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Mapping
from contextlib import ExitStack
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import ArrayLike, NDArray

from lockstep.core.errors import DataError
from lockstep.core.types import Int
from lockstep.core.units import parse_timeframe
from lockstep.episodes.book import EpisodeBook
from lockstep.episodes.outcomes import (
    OUTCOME_COLUMNS,
    Action,
    OutcomeRules,
    Outcomes,
    OutcomeTracker,
    Prices,
    Settled,
    Status,
    settle_outcomes,
)
from lockstep.episodes.packages.batch import PackageBatch
from lockstep.episodes.packages.build import PackagePlan, bar_rows, build_packages
from lockstep.episodes.packages.features import STATE, pivots
from lockstep.episodes.packages.package import DEFAULT_RULES, FIELDS, PackageRules
from lockstep.episodes.packages.store import PackageStore, PackageWriter
from lockstep.episodes.packages.stream import PackageBuilder
from lockstep.episodes.report import CollectionReport
from lockstep.episodes.shelf import HeldPackages
from lockstep.episodes.store import INDEX, PACKAGES
from lockstep.episodes.table import package_marks
from lockstep.market.candles import Candles
from lockstep.market.orderbook import DepthFeed, DepthMessage, Trades
from lockstep.storage.lock import Words

Predictor = Callable[[PackageBatch], Mapping[str, ArrayLike]]
"""Predicts from each package of a batch: columns (n,) by name, `action` (`Action`) among them. It sees what was known
at the time, nothing else."""
_HIGH, _NEITHER, _LOW = 0, 1, 2
_LEAST_HORIZON_S: Final = 300.0
_LOCK_WORDS: Final = Words("a book of episodes", "Wait for it to end, or choose another folder.")
"""A collection locks the packages of its book; a second one is told of the book, which is what its user named."""


def follow_trend(batch: PackageBatch) -> dict[str, NDArray[Any]]:
    """The default predictor: BUY after a rise over 20 bars, SELL after a fall, HOLD where neither is known."""
    pool = batch.pools["rl_state"]
    action = np.full(len(batch), int(Action.HOLD), np.int64)
    there = pool.lengths > 0
    change = pool.rows[pool.start[there], STATE.index("return_20")]
    action[there] = np.where(change > 0.0, Action.BUY, np.where(change < 0.0, Action.SELL, Action.HOLD))
    return {"action": action}


def outcome_rules_for(timeframe_ms: int) -> OutcomeRules:
    """The rules of R9.7 and R9.8; a horizon below one bar would have no price at its end, so it is one bar at least."""
    span = max(_LEAST_HORIZON_S, timeframe_ms / 1_000.0)
    return OutcomeRules(horizon_s=span, max_delay_s=span)


def collect_episodes(
    candles: Candles | Mapping[str, Candles],
    *,
    symbol: str | None = None,
    plan: PackagePlan | None = None,
    trades: Trades | None = None,
    depth: DepthFeed | None = None,
    moments: ArrayLike | None = None,
    predict: Predictor = follow_trend,
    outcomes: OutcomeRules | None = None,
    rules: PackageRules = DEFAULT_RULES,
    folder: Path | str | None = None,
) -> EpisodeBook:
    """The episodes of a market, ranked when asked (`book.ranked`), what was counted in `book.report`.

    candles   one series, or several by timeframe, those of `plan.timeframes`
    symbol    name of the market; by default that of the candles
    plan      what packages hold; by default 64 bars of every timeframe in `candles`
    trades    trades of the same market, or None; with them outcomes are measured at trades, not at bars
    depth     depth feed of the same market, or None
    moments   int64 (n,), milliseconds UTC, of decisions; by default whenever a bar of the base timeframe is known
    predict   the predictor; `follow_trend` by default
    outcomes  horizon, costs, target; by default those of `OutcomeRules`, with a horizon of one bar at least
    rules     what a package has to be before it may teach
    folder    folder of packages and book, which bounds memory; in memory by default. A book that is there already is
              continued, with other moments or another symbol of its plan's `symbols`

    Raises DataError when there is no symbol, an episode is there already, or data break a rule.
    """
    by_timeframe = {candles.timeframe: candles} if isinstance(candles, Candles) else dict(candles)
    plan = plan if plan is not None else _plan(by_timeframe, symbol)
    base = by_timeframe[plan.base] if plan.base in by_timeframe else next(iter(by_timeframe.values()))
    prices = Prices.of_candles(base) if trades is None else Prices.of_trades(trades)
    measure = outcomes if outcomes is not None else outcome_rules_for(base.timeframe_ms)
    pivot_class = _pivot_classes(base, plan)
    with _Intake(plan, predict, rules, folder) as intake:
        for batch in build_packages(plan, by_timeframe, trades=trades, depth=depth, moments=moments):
            newest = np.searchsorted(base.close_time + plan.latency_ms, batch.timestamp, side="right") - 1
            rows, actions, good = intake.take(batch)
            book = intake.book
            settled = settle_outcomes(book.column("created_at")[rows], actions, prices, measure)
            intake.settle(rows, settled)
            book.set_pivots(rows, pivot_class[newest[good]])
        return intake.finished()


class EpisodeCollector:
    """The streaming form of `collect_episodes`: events as they become known, the same book.

    plan    what packages hold
    trades  whether trades will come; then outcomes are measured at them
    depth   whether depth messages will come

    `predict`, `outcomes`, `rules` and `folder` are those of `collect_episodes`.
    """

    def __init__(
        self,
        plan: PackagePlan,
        *,
        trades: bool = False,
        depth: bool = False,
        predict: Predictor = follow_trend,
        outcomes: OutcomeRules | None = None,
        rules: PackageRules = DEFAULT_RULES,
        folder: Path | str | None = None,
    ) -> None:
        self.plan, self._trades = plan, trades
        self._builder = PackageBuilder(plan, trades=trades, depth=depth)
        self.tracker = OutcomeTracker(
            outcomes if outcomes is not None else outcome_rules_for(parse_timeframe(plan.base))
        )
        self._layout = plan.layout()
        # The last bars, to see which of them became a pivot, and the rows of the episodes decided at each.
        self._bars: deque[tuple[list[float], list[int]]] = deque(maxlen=2 * plan.pivot_side + 1)
        self._lapsed = 0
        self._intake = _Intake(plan, predict, rules, folder)
        # Entered here and left in `finish`: a collector lives for days, and no `with` block of its user does.
        self._intake.__enter__()

    @property
    def book(self) -> EpisodeBook:
        """The book under way: episodes so far, some of them pending."""
        return self._intake.book

    def add_candle(
        self, timeframe: str, timestamp: int, open: float, high: float, low: float, close: float, volume: float
    ) -> None:
        """Take in a bar that has closed, and settle the episodes whose horizon it reaches.

        Raises as `PackageBuilder.add_candle` does.
        """
        self._builder.add_candle(timeframe, timestamp, open, high, low, close, volume)
        if timeframe != self.plan.base:
            return
        if not self._trades:
            self._observe(timestamp + 1, open)
            self._observe(timestamp + parse_timeframe(timeframe), close)
        self._bars.append(([float(timestamp), open, high, low, close, volume], []))
        self._find_pivot()

    def add_trade(self, trade_id: int, timestamp: int, price: float, quantity: float, side: int) -> None:
        """Take in a trade, and settle the episodes whose horizon it reaches.

        Raises as `PackageBuilder.add_trade` does.
        """
        self._builder.add_trade(trade_id, timestamp, price, quantity, side)
        self._observe(timestamp, price)

    def add_depth(self, message: DepthMessage) -> None:
        """Take in a message of the depth feed. Raises as `PackageBuilder.add_depth` does."""
        self._builder.add_depth(message)

    def decide(self, moment: int, *, now_ms: int | None = None) -> bool:
        """Make the package of a moment (milliseconds UTC), judge it, and predict from it.

        `now_ms` is the clock where collection is live: a package from the future, or too old, is quarantined.

        Returns whether the package became an episode. Raises as `PackageBuilder.package` does.
        """
        package = self._builder.package(moment)
        rows, actions, _ = self._intake.take(PackageBatch.from_packages([package], self._layout), now_ms=now_ms)
        if not rows.size:
            return False
        self.tracker.predict(str(int(rows[0])), moment, int(actions[0]))
        if self._bars:
            self._bars[-1][1].append(int(rows[0]))
        return True

    def finish(self) -> EpisodeBook:
        """End the collection, save the book and return it. Predictions whose horizon has not passed stay pending."""
        try:
            return self._intake.finished(lapsed=self._lapsed)
        finally:
            self._intake.__exit__(None, None, None)

    def _observe(self, time: int, price: float) -> None:
        for one in self.tracker.observe(time, price):
            self._settle(one)

    def _settle(self, one: Settled) -> None:
        if one.status is Status.LAPSED or one.market_return is None:
            self._lapsed += 1
            return
        columns = {name: np.array([getattr(one.outcome, name)]) for name in OUTCOME_COLUMNS}
        columns["market_return"] = np.array([one.market_return])
        self.book.settle_rows([int(one.prediction_id)], columns)

    def _find_pivot(self) -> None:
        """Enter what the bar `pivot_side` bars back became, for the episodes decided at it: only now it is known."""
        side = self.plan.pivot_side
        if len(self._bars) <= side:
            return
        turns, bars = pivots(np.array([row for row, _ in self._bars]), side)
        kinds = turns[bars == len(self._bars) - 1, 2]
        rows = self._bars[-1 - side][1]
        if rows:
            self.book.set_pivots(rows, np.full(len(rows), _class_of(kinds)))


class _Intake:
    """Turns packages into rows of a book: judges and stores them, and predicts from them. A context."""

    def __init__(self, plan: PackagePlan, predict: Predictor, rules: PackageRules, folder: Path | str | None) -> None:
        self._plan, self._predict, self._rules = plan, predict, rules
        self._folder = None if folder is None else Path(folder)
        self._stack = ExitStack()
        self._packages, self._present, self._rapid = 0, 0, 0
        self._lapsed = 0

    def __enter__(self) -> _Intake:
        layout, folder = self._plan.layout(), self._folder
        self._sink: PackageWriter | HeldPackages
        if folder is None:
            self.book = EpisodeBook()
            self._sink = held = HeldPackages(layout, rules=self._rules)
            self.book.shelf = held
        else:
            self.book = EpisodeBook.open(folder) if (folder / INDEX).exists() else EpisodeBook()
            self._sink = self._stack.enter_context(
                PackageWriter(folder / PACKAGES, layout, rules=self._rules, words=_LOCK_WORDS)
            )
        # A book that goes on has counts already; the report of this collection is the difference.
        self._first, self._before = len(self.book), dict(self._sink.quarantine.counts())
        return self

    def __exit__(self, *error: Any) -> None:
        self._stack.__exit__(*error)

    def take(self, batch: PackageBatch, *, now_ms: int | None = None) -> tuple[Int, Int, NDArray[np.bool_]]:
        """Judge and store packages (R9.5).

        Returns rows int64 (k,) and actions int64 (k,) of the k that became episodes, and which they are, bool (n,).
        """
        # Hashed here, whatever the batch claims: the book binds each episode to the digest of its package.
        own, first = batch.hashed(), self._sink.stored
        good = self._sink.add_batch(own, now_ms=now_ms)
        self._packages += len(own)
        # Fields are counted, not shares added: the mean is then the same however packages came.
        self._present += sum(int(np.count_nonzero(column)) for column in own.present().values())
        admitted = own.take(good)
        predictions = (
            {name: np.asarray(column) for name, column in self._predict(admitted).items()} if len(admitted) else {}
        )
        actions = _actions(predictions, len(admitted))
        self._rapid += int(np.count_nonzero(admitted.is_rapid_change))
        rows = np.arange(len(self.book), len(self.book) + len(admitted))
        names, values = list(predictions), [column.tolist() for column in predictions.values()]
        self.book.add_columns(
            [f"{self._plan.symbol}@{moment}" for moment in admitted.timestamp.tolist()],
            self._columns(admitted, first),
            [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)] if names else [],
        )
        return rows, actions, good

    def _columns(self, admitted: PackageBatch, first: int) -> dict[str, NDArray[Any]]:
        n = len(admitted)
        if admitted.digest is None:
            raise RuntimeError("packages that were kept are hashed")
        return {
            "symbol": np.full(n, self.book.symbol_code(self._plan.symbol)),
            "package": first + np.arange(n),
            "package_mark": package_marks(admitted.digest),
            "created_at": admitted.timestamp,
            "completeness": admitted.completeness(),
            "is_rapid_change": admitted.is_rapid_change,
            "training_count": np.zeros(n, np.int64),
            "actual_profit": np.zeros(n),
            "profitability_score": np.zeros(n),
            "optimal_action": np.full(n, int(Action.HOLD)),
            "is_profitable": np.zeros(n, np.bool_),
            "outcome_validated": np.zeros(n, np.bool_),
            "market_return": np.full(n, np.nan),
            "pivot_class": np.full(n, -1),
        }

    def settle(self, rows: Int, outcomes: Outcomes) -> None:
        """Enter the outcomes of rows, int64 (k,), as far as they are known."""
        validated = outcomes.outcome_validated
        columns = {name: getattr(outcomes, name)[validated] for name in (*OUTCOME_COLUMNS, "market_return")}
        self.book.settle_rows(rows[validated], columns)
        self._lapsed += int(np.count_nonzero(outcomes.status == Status.LAPSED))

    def finished(self, *, lapsed: int = 0) -> EpisodeBook:
        """The book with its report; in a folder it is saved."""
        book, lapsed = self.book, lapsed + self._lapsed
        validated = int(np.count_nonzero(book.column("outcome_validated")[self._first :]))
        counts = {name: count - self._before[name] for name, count in self._sink.quarantine.counts().items()}
        report = CollectionReport(
            packages=self._packages,
            stored=len(book) - self._first,
            quarantined=counts,
            mean_completeness=self._present / (len(FIELDS) * self._packages) if self._packages else None,
            integrity_failures=counts["integrity"],
            rapid_changes=self._rapid,
            validated=validated,
            lapsed=lapsed,
            pending=len(book) - self._first - validated - lapsed,
            profitable=int(np.count_nonzero(book.column("is_profitable")[self._first :])),
        )
        book.report = report if book.report is None else book.report.plus(report)
        if self._folder is not None:
            # Closed first: the book reads its packages from what the writer has flushed.
            self._stack.close()
            book.shelf = PackageStore(self._folder / PACKAGES)
            book.save(self._folder)
        return book


def _plan(candles: Mapping[str, Candles], symbol: str | None) -> PackagePlan:
    if not candles:
        raise DataError("episodes are collected from candles; none were given.")
    name = symbol or next(iter(candles.values())).symbol
    if not name:
        raise DataError('the candles bear no symbol and none was given. Give symbol="BTC/USDT", say.')
    return PackagePlan(symbol=name, timeframes=tuple(candles))


def _actions(predictions: Mapping[str, NDArray[Any]], count: int) -> Int:
    if count == 0:
        return np.empty(0, np.int64)
    if "action" not in predictions or any(column.shape != (count,) for column in predictions.values()):
        shapes = {name: column.shape for name, column in predictions.items()}
        raise DataError(f"a predictor gives columns ({count},) by name, `action` among them; found {shapes}.")
    return predictions["action"].astype(np.int64)


def _pivot_classes(bars: Candles, plan: PackagePlan) -> NDArray[np.int8]:
    """What each bar became, int8 (n,): see `TrainingEpisode.pivot_class`; -1 for the last ones, not known yet."""
    turns, confirmed = pivots(bar_rows(bars, 0, len(bars)), plan.pivot_side)
    classes = np.full(len(bars), _NEITHER, np.int8)
    bar = confirmed - plan.pivot_side
    high, low = np.zeros(len(bars), np.bool_), np.zeros(len(bars), np.bool_)
    high[bar[turns[:, 2] > 0.0]] = True
    low[bar[turns[:, 2] < 0.0]] = True
    classes[high & ~low], classes[low & ~high] = _HIGH, _LOW
    classes[max(0, len(bars) - plan.pivot_side) :] = -1
    return classes


def _class_of(kinds: NDArray[np.float64]) -> int:
    """Class of a bar from its swings, (0,) to (2,); one that is both a high and a low is neither."""
    return _NEITHER if kinds.size != 1 else (_HIGH if kinds[0] > 0.0 else _LOW)
