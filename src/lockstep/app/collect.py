"""Collect the episodes of a market into a book on disk, from which `kind = "cnn-episodes"` trains."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar

import numpy as np

from lockstep.app.data import candles_of
from lockstep.app.paths import require_outside_runs
from lockstep.core.errors import InputError, RefusedError
from lockstep.core.units import parse_timeframe
from lockstep.episodes.collect import collect_episodes, outcome_rules_for
from lockstep.episodes.outcomes import OutcomeRules
from lockstep.episodes.packages.build import PackagePlan
from lockstep.episodes.packages.package import DEFAULT_RULES, PackageRules
from lockstep.episodes.store import INDEX
from lockstep.kinds.cnn_episodes.data import BOOK_FOLDER
from lockstep.market.orderbook import Trades, load_depth, load_trades
from lockstep.market.resampling import resample

if TYPE_CHECKING:
    from lockstep.episodes.episode import TrainingEpisode
    from lockstep.episodes.report import CollectionReport
    from lockstep.market.candles import Candles
    from lockstep.storage.blobs import BlobStore

ENOUGH: Final = 0.7
"""Least score of a profitable episode; `min_profitability` of a spec has the same default."""
_BEST: Final = 5

Rules = TypeVar("Rules", OutcomeRules, PackagePlan, PackageRules)


@dataclass(frozen=True, kw_only=True)
class CollectedBook:
    """A book of episodes on disk, and what is in it.

    folder        of the book
    timeframes    of the bars in a package
    first, last   first and last moment of decision, milliseconds UTC; None without an episode
    report        counts
    outcomes      rules by which profit was measured
    enough        number of validated episodes with a score of at least .7
    best          the episodes with the highest scores, highest first, without their packages
    """

    folder: Path
    symbol: str
    timeframes: tuple[str, ...]
    first: int | None
    last: int | None
    report: CollectionReport
    outcomes: OutcomeRules
    enough: int
    best: tuple[TrainingEpisode, ...]

    def to_json(self) -> dict[str, Any]:
        """The object that `lockstep data episodes --json` prints."""
        rules = self.outcomes
        return {
            "folder": str(self.folder),
            "symbol": self.symbol,
            "timeframes": list(self.timeframes),
            "first": self.first,
            "last": self.last,
            "horizon_s": rules.horizon_s,
            "round_trip_cost": rules.round_trip_cost,
            "target_profit": rules.target_profit,
            **self.report.to_json(),
            "enough": self.enough,
            "best": [
                {
                    "episode_id": one.episode_id,
                    "created_at": one.created_at,
                    "profitability_score": one.score,
                    "actual_profit": one.outcome.actual_profit,
                    "priority": one.priority,
                    "is_rapid_change": one.is_rapid_change,
                }
                for one in self.best
            ],
        }


@dataclass(frozen=True, kw_only=True)
class MarketFiles:
    """Files of one market.

    candles         a file of candles, "sample", or a snapshot's digest
    symbol          the user's name for the market; default: that of the candles
    timeframe       of the candles; needed when their times do not tell it
    longer          longer timeframes, resampled from the candles, that packages hold too
    last            number of most recent bars to use; default: all
    trades, depth   Parquet files of the same market
    reading         how the file of candles is read: options of `load_candles`
    """

    candles: str
    symbol: str | None = None
    timeframe: str | None = None
    longer: tuple[str, ...] = ()
    last: int | None = None
    trades: Path | None = None
    depth: Path | None = None
    reading: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, kw_only=True)
class CollectionRules:
    """The rules of a collection that a user may set; None stands for the default of the class it belongs to.

    window, max_missing_bars   bars: see `episodes.packages.build.PackagePlan`
    horizon_s, round_trip_cost, target_profit   seconds, fractions: see `episodes.outcomes.OutcomeRules`
    min_completeness           share of the fields: see `episodes.packages.package.PackageRules`
    """

    window: int | None = None
    max_missing_bars: int | None = None
    horizon_s: float | None = None
    round_trip_cost: float | None = None
    target_profit: float | None = None
    min_completeness: float | None = None

    def of(self, rules: Rules) -> Rules:
        """`rules`, with the fields that are set here replaced."""
        names = {item.name for item in fields(self)} & {item.name for item in fields(rules)}
        return replace(rules, **{name: value for name in names if (value := getattr(self, name)) is not None})


def collect_book(
    market: MarketFiles, rules: CollectionRules, *, home: Path, blobs: BlobStore, out: Path | None = None
) -> CollectedBook:
    """Write packages, outcomes and premium marks of one market as a book to `out`, default: `episodes` of the home.

    Either the whole book is written or nothing. Raises RefusedError when the folder holds one, the InputError tree,
    DiskError.
    """
    folder = home / BOOK_FOLDER if out is None else out.expanduser()
    require_outside_runs(folder)
    if (folder / INDEX).exists():
        raise RefusedError(
            f"{folder}: holds a book of episodes already, which is not overwritten. Choose another folder with "
            "--out, or remove this one."
        )
    candles = _candles(market, blobs)
    if not candles.symbol:
        raise InputError(
            f"{market.candles}: these candles have no symbol. Name their market, such as --symbol BTC/USDT."
        )
    by_timeframe = {candles.timeframe: candles}
    for name in market.longer:
        if parse_timeframe(name) <= candles.timeframe_ms:
            raise InputError(f"--longer {name}: bars longer than the candles' own {candles.timeframe}. Leave it out.")
        by_timeframe[name] = resample(candles, name)
    plan = PackagePlan(symbol=candles.symbol, timeframes=tuple(by_timeframe))
    # The default horizon and tolerance depend on the length of a bar.
    measure = rules.of(outcome_rules_for(candles.timeframe_ms))
    trades = None if market.trades is None else _overlapping(load_trades(market.trades), candles, market.trades)
    book = collect_episodes(
        by_timeframe,
        plan=rules.of(plan),
        trades=trades,
        depth=None if market.depth is None else load_depth(market.depth),
        outcomes=measure,
        rules=rules.of(DEFAULT_RULES),
        folder=folder,
    )
    if book.report is None:
        raise RuntimeError("a collected book has a report")
    moments = book.column("created_at")
    chosen = book.profitable_rows(plan.symbol, min_profitability=ENOUGH, max_episodes=None)
    return CollectedBook(
        folder=folder,
        symbol=plan.symbol,
        timeframes=plan.timeframes,
        first=int(moments.min()) if len(book) else None,
        last=int(moments.max()) if len(book) else None,
        report=book.report,
        outcomes=measure,
        enough=chosen.size,
        best=tuple(book.profitable(plan.symbol, min_profitability=0.0, max_episodes=_BEST)),
    )


def _candles(market: MarketFiles, blobs: BlobStore) -> Candles:
    """The candles, with the user's symbol when one is set. Raises InputError, DataError."""
    timeframe = market.timeframe
    # A symbol chooses among several markets in a file; of another file or source it is a label.
    options = {**market.reading, "symbol": market.symbol, "timeframe": timeframe}
    candles = candles_of(market.candles, blobs=blobs, **options)
    if timeframe is not None and parse_timeframe(timeframe) != candles.timeframe_ms:
        raise InputError(f"--timeframe {timeframe}: {market.candles} holds bars of {candles.timeframe}. Leave it out.")
    candles = candles if market.last is None else candles.tail(market.last)
    return candles if market.symbol is None else replace(candles, symbol=market.symbol)


def _overlapping(trades: Trades, candles: Candles, path: Path) -> Trades:
    """`trades`; raises InputError when none lies in the time of the candles, for no outcome would ever be known."""
    first, last = int(candles.timestamp[0]), int(candles.close_time[-1])
    if not ((trades.timestamp >= first) & (trades.timestamp <= last)).any():
        spans = [(first, last)] + ([(int(trades.timestamp[0]), int(trades.timestamp[-1]))] if len(trades) else [])
        times = " and ".join(f"{np.datetime64(start, 'ms')} to {np.datetime64(stop, 'ms')}" for start, stop in spans)
        raise InputError(
            f"{path}: trades lie in the time of the candles, or no outcome is ever known; found candles and trades of "
            f"{times} (UTC). Use files of the same time."
        )
    return trades
