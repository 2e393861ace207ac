"""The candles of a run: loaded from file, sample or Python, cleaned, pinned by digest, restored from the snapshot.

`Pinned.body()` enters the fingerprint: digests and bar lengths. `origin` and the notes say where the candles came from
and what cleaning removed; they enter no hash.
"""

from __future__ import annotations

import warnings
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from lockstep.core.errors import DataError, InputError
from lockstep.core.units import format_timeframe, parse_timeframe
from lockstep.kinds.shared.market_spec import DataTable, FileTable, MarketTable
from lockstep.kinds.shared.spec_paths import spec_path
from lockstep.market.candles import Candles
from lockstep.market.cleaning import DataCleaner, DataFilterConfig, FewCandlesWarning
from lockstep.market.formats.markets import is_same_market
from lockstep.market.load import LoadOptions, load_with_report
from lockstep.market.quality import quality_report
from lockstep.market.sample import SYMBOL, TIMEFRAME, sample_candles
from lockstep.market.snapshot import SUFFIX, open_snapshot, write_snapshot
from lockstep.strategies.inputs import EventSeries, Input, OwnCandles

if TYPE_CHECKING:
    from lockstep.runs.kind import PrepareContext
    from lockstep.storage.blobs import BlobStore

CANDLES_KEY = "data.candles"
"""Key of candles in `PrepareContext.python_objects`."""
INPUTS_KEY = "data.inputs"
"""Key of a mapping name -> candles in `PrepareContext.python_objects`."""


class OnCandles(Protocol):
    """A spec of a kind that learns from one market's candles."""

    @property
    def market(self) -> MarketTable:
        """The table [market] of the spec."""
        ...

    @property
    def data(self) -> DataTable:
        """The table [data] of the spec."""
        ...


@dataclass(frozen=True, kw_only=True)
class Pinned:
    """Candles that are loaded and pinned.

    inputs   other series, by the name that the strategy gives them
    origin   where the candles came from, and what cleaning removed
    notes    lines for a reader
    """

    candles: Candles
    inputs: Mapping[str, Candles] = field(default_factory=dict)
    origin: Mapping[str, Any] = field(default_factory=dict)
    notes: tuple[str, ...] = ()

    def body(self) -> dict[str, Any]:
        """The body of data.json; all of it is hashed into the fingerprint."""
        return {
            "digest": self.candles.digest,
            "bars": len(self.candles),
            "timeframe_ms": self.candles.timeframe_ms,
            "symbol": self.candles.symbol,
            "exchange": self.candles.exchange,
            "inputs": {
                name: {"digest": series.digest, "timeframe_ms": series.timeframe_ms}
                for name, series in sorted(self.inputs.items())
            },
            "snapshots": sorted({self.candles.digest, *(series.digest for series in self.inputs.values())}),
        }


def pin(spec: OnCandles, declared: Mapping[str, Input], context: PrepareContext) -> Pinned:
    """Load, clean, judge and store the candles of `spec`. Raises DataError, InputError, DiskError."""
    candles, origin, notes = _base(spec, context)
    # `last` before `filter`: a filter judges a bar by its neighbours, which must be bars that the training uses.
    if spec.data.last is not None:
        if spec.data.last > len(candles):
            notes.append(
                f"data.last = {spec.data.last:,}, but there are {len(candles):,} candles: all of them are used"
            )
        candles = candles.tail(spec.data.last)
    if spec.data.filter is not None:
        candles, statistics, lines = _cleaned(candles, spec.data.filter)
        origin["cleaning"] = statistics
        notes += lines
    if len(candles) < 2:
        raise DataError(f"a training needs at least 2 candles; found {len(candles)}. Check [data] last and filter.")
    # After cleaning: the score is about the bars that are trained on.
    notes += _judged(candles, spec.data.min_quality, "candles")
    inputs = {
        name: _input(name, spec.data, context)
        for name, series in declared.items()
        if _has_own(name, series, spec, context)
    }
    # A series that nothing reads is most likely a typo in the name of one that is read.
    unknown = sorted((set(spec.data.inputs) | set(context.python_objects.get(INPUTS_KEY, {}))) - set(declared))
    if unknown:
        raise InputError(
            f"[data.inputs.{unknown[0]}]: nothing reads an input of that name; declared by the strategy: "
            f"{', '.join(declared) or 'none'}"
        )
    for name, series in sorted(inputs.items()):
        # The base candles' line says what a run is about; of an input, only what is odd is of interest.
        notes += _judged(series, spec.data.min_quality, f"input {name}")[1:] if len(series) > 1 else []
    # After all checks here: candles that are refused leave no snapshot. What a snapshot does not hold is left behind,
    # so that who restores the run sees each bar close when this one does.
    candles, inputs = candles.alone(), {name: series.alone() for name, series in inputs.items()}
    for series in (candles, *inputs.values()):
        write_snapshot(series, context.blobs)
    return Pinned(candles=candles, inputs=inputs, origin=origin, notes=tuple(notes))


def restore(body: Mapping[str, Any], blobs: BlobStore) -> Pinned:
    """The same candles from their snapshots alone. Raises DataError, IntegrityError, DiskError."""
    candles = _open(blobs, body["digest"], body["timeframe_ms"])
    # A digest covers columns, not labels: two runs may share a snapshot and name its market differently.
    candles = _labelled(candles, body["symbol"], body["exchange"])
    inputs = {name: _open(blobs, entry["digest"], entry["timeframe_ms"]) for name, entry in body["inputs"].items()}
    return Pinned(candles=candles, inputs=inputs)


def _judged(candles: Candles, min_quality: float, what: str) -> list[str]:
    """Notes on the quality of candles: what they are, then what is suspicious. Raises DataError below `min_quality`."""
    report = quality_report(candles)
    if report.score < min_quality:
        reasons = "".join(f"\n  {line}" for line in report.suspicions or report.reasons)
        raise DataError(
            f"{what}: a quality score of at least [data] min_quality = {min_quality:g} is needed; found "
            f"{report.score:.1f} of 100 ({candles!r}):{reasons}\n"
            "Correct the data (lockstep data quality shows all), or train all the same with [data] min_quality = 0."
        )
    return [str(report).splitlines()[0], *(f"{what}: {line}" for line in report.suspicions)]


def _open(blobs: BlobStore, digest: str, timeframe_ms: int) -> Candles:
    candles = open_snapshot(blobs, digest)
    # Bars of one digest may be read as 5m or 1h; a run is a statement about one of them.
    if candles.timeframe_ms != timeframe_ms:
        raise DataError(
            f"{blobs.place(digest, SUFFIX)}: holds bars of {candles.timeframe}, but the run was made with bars of "
            f"{format_timeframe(timeframe_ms)}. Restore the snapshot from a copy"
        )
    return candles


def _base(spec: OnCandles, context: PrepareContext) -> tuple[Candles, dict[str, Any], list[str]]:
    """Candles as the source has them, where they came from, and notes."""
    notes: list[str] = []
    data, market = spec.data, spec.market
    # Candles in the call win over `[data]`, as a strategy in the call wins over its name.
    handed_over = context.python_objects.get(CANDLES_KEY)
    if handed_over is not None:
        if not isinstance(handed_over, Candles):
            raise DataError(f"candles given to a training are ls.Candles; found {type(handed_over).__name__}")
        candles, origin = handed_over, {"source": "python"}
        if market.symbol and candles.symbol and not is_same_market(market.symbol, candles.symbol):
            raise DataError(
                f'market.symbol = "{market.symbol}", but the candles are of {candles.symbol!r}: give the candles of '
                "that market, or correct the key"
            )
    elif data.source == "sample":
        _check_sample(market)
        candles, origin = sample_candles(), {"source": "sample"}
    elif data.source == "file":
        paths = _paths(data.path, context.base)
        candles, notes = _read(paths, data, market.timeframe, market.symbol, market.exchange)
        origin = {"source": "file", "path": ", ".join(map(str, paths))}
    else:
        raise InputError(
            'data.source = "python" stands for candles that were given in Python: give them again, '
            'ls.train(spec, candles=...), or name a file with source = "file"'
        )
    # The key is a claim about the file: where it is wrong, something is mixed up.
    if market.timeframe is not None and parse_timeframe(market.timeframe) != candles.timeframe_ms:
        raise DataError(
            f'market.timeframe = "{market.timeframe}", but the candles have bars of '
            f"{format_timeframe(candles.timeframe_ms)}: correct the key, or leave it out"
        )
    return _labelled(candles, market.symbol or candles.symbol, market.exchange or candles.exchange), origin, notes


def _check_sample(market: MarketTable) -> None:
    if market.symbol is not None and market.symbol.replace("/", "").upper() != SYMBOL.replace("/", ""):
        raise DataError(
            f'the bundled sample is {SYMBOL} {TIMEFRAME}; found market.symbol = "{market.symbol}": correct it, or give '
            'your own candles with [data] source = "file" and path'
        )


def _paths(path: str | list[str] | None, base: Path) -> list[Path]:
    return [spec_path(text, base) for text in ([path] if isinstance(path, str) else path or [])]


def _read(
    paths: list[Path], table: FileTable, timeframe: str | None, symbol: str | None, exchange: str | None
) -> tuple[Candles, list[str]]:
    keys = set(LoadOptions.__dataclass_fields__) & set(FileTable.model_fields)
    options = {name: getattr(table, name) for name in keys}
    chosen = LoadOptions(**options, timeframe=timeframe, symbol=symbol, exchange=exchange)
    candles, report = load_with_report(paths, chosen)
    notes = [] if report.is_usual else [f"{candles.source}: read as {report.format}"]
    return candles, notes + ([f"{candles.source}: {report}"] if report.rows_dropped else [])


def _cleaned(candles: Candles, table: Mapping[str, Any] | str) -> tuple[Candles, dict[str, Any], list[str]]:
    config = DataFilterConfig.preset(table) if isinstance(table, str) else DataFilterConfig.from_mapping(table)
    # Warnings become notes: Python prints a warning once in a process, so a second run would not show it.
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always", FewCandlesWarning)
        cleaned, statistics = DataCleaner(config).clean(candles)
    notes = [f"cleaning removed {statistics['removed_count']:,} of {statistics['original_count']:,} candles"]
    return cleaned, statistics, notes + [str(item.message) for item in caught]


def _has_own(name: str, series: Input, spec: OnCandles, context: PrepareContext) -> bool:
    """Whether an input has candles of its own; a longer timeframe may also be resampled from the base candles."""
    if isinstance(series, EventSeries):
        raise InputError(
            f"the strategy reads the event series {name!r}, which a training cannot pin yet: ls.backtest and ls.sweep "
            "take events as inputs={...}"
        )
    has_own = name in spec.data.inputs or name in context.python_objects.get(INPUTS_KEY, {})
    if isinstance(series, OwnCandles) and not has_own:
        raise InputError(
            f"the strategy reads the further series {name!r}: add [data.inputs.{name}] with the path of its candles"
        )
    return has_own


def _input(name: str, data: DataTable, context: PrepareContext) -> Candles:
    candles = context.python_objects.get(INPUTS_KEY, {}).get(name)
    if candles is not None:
        if not isinstance(candles, Candles):
            raise DataError(f"input {name!r} is ls.Candles; found {type(candles).__name__}")
        return candles
    table = data.inputs[name]
    return _read(_paths(table.path, context.base), table, table.timeframe, table.symbol, table.exchange)[0]


def _labelled(candles: Candles, symbol: str | None, exchange: str | None) -> Candles:
    if (candles.symbol, candles.exchange) == (symbol, exchange):
        return candles
    return replace(candles, symbol=symbol, exchange=exchange)
