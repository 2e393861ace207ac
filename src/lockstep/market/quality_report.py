"""What a quality report holds, and the report as text for a person: the same input, the same lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.scalar_math import log
from lockstep.core.units import format_timeframe
from lockstep.market.checks import Defect, Rule, format_time
from lockstep.market.gaps import Gap, GapKind
from lockstep.market.stamps import stamp_remark

_LISTED: Final = 100
_SHOWN: Final = 5
_SUSPECTS: Final = 3
# News makes spikes of 20 to 40 standard deviations; a bad print is further off.
_SUSPECT_Z: Final = 50.0


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A return far out of the ordinary.

    row         row of the bar that it ends at
    timestamp   open time of that bar, milliseconds UTC
    log_return  ln(close / previous close)
    z           robust z-score of the return (see `quality._jumps`)
    spike       whether the next bar takes it back
    quiet       whether its bar trades no more than usual, so that no storm explains it
    """

    row: int
    timestamp: int
    log_return: float
    z: float
    spike: bool
    quiet: bool

    def __str__(self) -> str:
        return f"{format_time(self.timestamp)}: log return {self.log_return:+.4f}, z {self.z:+.0f}"


@dataclass(frozen=True, kw_only=True)
class StuckBars:
    """Consecutive bars of one price without volume: first row, its open time in milliseconds UTC, how many bars."""

    row: int
    timestamp: int
    bars: int

    def __str__(self) -> str:
        return f"{format_time(self.timestamp)}: {self.bars:,} bar{'' if self.bars == 1 else 's'}"


@dataclass(frozen=True, kw_only=True)
class SymbolChange:
    """A gap of a day or more over which the price changed tenfold: perhaps two assets under one name."""

    gap: Gap
    ratio: float

    def __str__(self) -> str:
        return f"{self.gap}, price x {self.ratio:.6g}"


@dataclass(frozen=True, kw_only=True)
class PriceBreak:
    """A change of price between two bars that looks like a split or another unit, not like trading.

    row        row of the first bar after it
    timestamp  open time of that bar, milliseconds UTC
    ratio      its open / the close before
    exact      the exact ratio, or its inverse, that this is, such as 4; 0 where it is none
    """

    row: int
    timestamp: int
    ratio: float
    exact: float

    def __str__(self) -> str:
        text = f"row {self.row}, {format_time(self.timestamp)}: price x {self.ratio:.4g} between two bars"
        if not self.exact:
            return f"{text}; another unit or another asset?"
        whole = self.exact if self.exact % 1 == 0 else 2 * self.exact
        other = 1 if self.exact % 1 == 0 else 2
        parts = (whole, other) if self.ratio < 1 else (other, whole)
        unit = ", or another unit" if self.exact % 10 == 0 else ""
        return f"{text}; a {parts[0]:.0f}-for-{parts[1]:.0f} split that is not adjusted{unit}?"


@dataclass(frozen=True, kw_only=True)
class BadTick:
    """A high or low far beyond anything beside it, which the volume of its bar does not explain.

    row        row of the bar
    timestamp  its open time, milliseconds UTC
    column     "high" or "low"
    price      its value, quote currency
    ratio      price / the nearer of the bar's open and close
    """

    row: int
    timestamp: int
    column: str
    price: float
    ratio: float

    def __str__(self) -> str:
        return (
            f"row {self.row}, {format_time(self.timestamp)}: {self.column} {self.price!r}, x {self.ratio:.4g} of open "
            "and close"
        )


@dataclass(frozen=True, kw_only=True)
class QualityReport:
    """The result of `quality_report`. Rows are numbered from 0, as the source has them.

    rows          bars in the source
    first         open time of the earliest bar, milliseconds UTC
    last          open time of the latest bar
    timeframe_ms  bar length
    defects       broken rules of `market.checks`; `Candles` refuses a series with any
    bad_rows      rows that break at least one
    gaps          every gap, in order of time; `GapKind` tells closed hours from holes
    jumps         every jump, in order of time
    stuck         every run of stuck bars, in order of time
    changes       suspected symbol changes
    breaks        suspected splits and changes of unit, in order of time
    bad_ticks     suspected bad ticks in highs and lows, in order of time
    stamp         why the times look like closes of bars, "" where they do not
    flat          bars of one price
    zero_volume   bars without volume
    dead          bars of one price or, where the source has volume at all, without volume
    has_volume    whether any bar has volume
    score         0 to 100, see `quality_report`
    format        what the source was read as, and why; "" for what is no file, frame or document
    """

    rows: int
    first: int
    last: int
    timeframe_ms: int
    defects: tuple[Defect, ...]
    bad_rows: int
    gaps: tuple[Gap, ...]
    jumps: tuple[Jump, ...]
    stuck: tuple[StuckBars, ...]
    changes: tuple[SymbolChange, ...]
    breaks: tuple[PriceBreak, ...]
    bad_ticks: tuple[BadTick, ...]
    stamp: str
    flat: int
    zero_volume: int
    dead: int
    has_volume: bool
    score: float
    format: str = ""

    @property
    def holes(self) -> tuple[Gap, ...]:
        """The gaps that are no closed hours."""
        return tuple(gap for gap in self.gaps if gap.kind is GapKind.HOLE)

    @property
    def bars_missing(self) -> int:
        """Bars missing in all gaps together, by the timeframe."""
        return sum(gap.bars_missing for gap in self.gaps)

    @property
    def duplicates(self) -> int:
        """Rows that repeat an earlier row's time."""
        return sum(defect.count for defect in self.defects if defect.rule is Rule.DUPLICATED)

    @property
    def usable(self) -> bool:
        """True when `Candles` accepts the rows."""
        return not self.defects

    @property
    def suspicions(self) -> tuple[str, ...]:
        """What a person should look at before training, a line each: at most the three greatest of a kind."""
        spikes = tuple(jump for jump in self.jumps if jump.spike and jump.quiet and abs(jump.z) > _SUSPECT_Z)
        lines = []
        if self.stamp:
            lines.append(stamp_remark(self.stamp))
        lines += _lines("symbol change?", self.changes, [abs(log(item.ratio)) for item in self.changes])
        lines += _lines("split?", self.breaks, [abs(log(item.ratio)) for item in self.breaks])
        lines += _lines("bad tick?", self.bad_ticks, [abs(log(item.ratio)) for item in self.bad_ticks])
        return tuple(lines + _lines("spike?", spikes, [abs(item.z) for item in spikes]))

    @property
    def reasons(self) -> tuple[str, ...]:
        """What lowers the score, a line each, without what is suspicious."""
        missing = sum(gap.bars_expected for gap in self.holes)
        lines = []
        if self.bad_rows:
            lines.append(f"{self.bad_rows:,} rows break rules")
        if missing:
            lines.append(f"{missing:,} bars are missing ({missing / (self.rows + missing):.0%})")
        if self.dead:
            lines.append(f"{self.dead:,} bars have one price or no volume ({self.dead / self.rows:.0%})")
        return tuple(lines)

    def to_dict(self) -> dict[str, Any]:
        """Plain values; lists hold at most the 100 greatest items, in order of time, beside their full counts."""
        holes = self.holes
        longest = max(self.gaps, key=lambda gap: gap.bars_missing, default=None)
        return {
            "rows": self.rows,
            "first": self.first,
            "last": self.last,
            "timeframe": _timeframe(self.timeframe_ms),
            "format": self.format or None,
            "usable": self.usable,
            "score": self.score,
            "defects": [
                {"rule": str(item.rule), "count": item.count, "first_row": item.row, "found": item.evidence}
                for item in self.defects
            ],
            "bad_rows": self.bad_rows,
            "duplicates": self.duplicates,
            "gaps": {
                "count": len(self.gaps),
                "bars_missing": self.bars_missing,
                "longest_bars": 0 if longest is None else longest.bars_missing,
                "sessions": len(self.gaps) - len(holes),
                "holes": len(holes),
                "hole_bars_expected": sum(gap.bars_expected for gap in holes),
                "list": [
                    {"row": gap.row, "start": gap.start, "stop": gap.stop, "bars_missing": gap.bars_missing}
                    for gap in _greatest(holes, [gap.bars_missing for gap in holes])
                ],
            },
            "flat": {"count": self.flat, "share": self.flat / self.rows},
            "zero_volume": {
                "count": self.zero_volume,
                "share": self.zero_volume / self.rows,
                "source_has_volume": self.has_volume,
            },
            "stuck": {
                "runs": len(self.stuck),
                "bars": sum(run.bars for run in self.stuck),
                "longest": max((run.bars for run in self.stuck), default=0),
                "list": [
                    {"row": run.row, "timestamp": run.timestamp, "bars": run.bars}
                    for run in _greatest(self.stuck, [run.bars for run in self.stuck])
                ],
            },
            "jumps": {
                "count": len(self.jumps),
                "spikes": sum(jump.spike for jump in self.jumps),
                "list": [
                    {
                        "row": jump.row,
                        "timestamp": jump.timestamp,
                        "log_return": jump.log_return,
                        "z": jump.z,
                        "spike": jump.spike,
                    }
                    for jump in _greatest(self.jumps, [abs(jump.z) for jump in self.jumps])
                ],
            },
            "symbol_changes": [
                {"row": item.gap.row, "start": item.gap.start, "stop": item.gap.stop, "ratio": item.ratio}
                for item in self.changes
            ],
            **self._suspects(),
            "suspicions": list(self.suspicions),
        }

    def _suspects(self) -> dict[str, Any]:
        """The part of `to_dict` that says what may be no market's doing."""
        return {
            "breaks": [
                {"row": item.row, "timestamp": item.timestamp, "ratio": item.ratio, "exact": item.exact}
                for item in _greatest(self.breaks, [abs(log(item.ratio)) for item in self.breaks])
            ],
            "bad_ticks": {
                "count": len(self.bad_ticks),
                "list": [
                    {
                        "row": item.row,
                        "timestamp": item.timestamp,
                        "column": item.column,
                        "price": item.price,
                        "ratio": item.ratio,
                    }
                    for item in _greatest(self.bad_ticks, [abs(log(item.ratio)) for item in self.bad_ticks])
                ],
            },
            "stamp": self.stamp,
        }

    def __str__(self) -> str:
        return render(self)


def _timeframe(timeframe_ms: int) -> str:
    return format_timeframe(timeframe_ms) if timeframe_ms % 1_000 == 0 else f"{timeframe_ms}ms"


def _greatest(items: tuple[Any, ...], sizes: list[Any], limit: int = _LISTED) -> list[Any]:
    """The `limit` items of greatest size (the earlier of equals), in their own order."""
    ranked = sorted(range(len(items)), key=lambda number: (-sizes[number], number))[:limit]
    return [items[number] for number in sorted(ranked)]


def render(report: QualityReport) -> str:
    """A page of at most a few dozen lines; lists show their greatest items, in order of time."""
    n = report.rows
    holes = report.holes
    spikes = sum(jump.spike for jump in report.jumps)
    stuck_bars = sum(run.bars for run in report.stuck)
    volume = f"{report.zero_volume:,} bars ({report.zero_volume / n:.2%})"
    lines = [
        f"{n:,} bars of {_timeframe(report.timeframe_ms)}, {format_time(report.first)} to {format_time(report.last)}",
        *([f"read as        {report.format}"] if report.format else []),
        f"score          {report.score:.1f} of 100" + ("" if report.usable else "   NOT USABLE: rules are broken"),
        *(f"broken rule    {defect}" for defect in report.defects),
        f"gaps           {len(report.gaps):,} ({report.bars_missing:,} bars missing): "
        f"{len(report.gaps) - len(holes):,} in closed hours, {len(holes):,} holes",
        *_items(_greatest(holes, [gap.bars_missing for gap in holes], _SHOWN), len(holes)),
        f"flat           {report.flat:,} bars ({report.flat / n:.2%})",
        f"zero volume    {volume if report.has_volume else 'everywhere: the source has no volume'}",
        f"stuck          {len(report.stuck):,} runs of one price without volume, {stuck_bars:,} bars",
        *_items(_greatest(report.stuck, [run.bars for run in report.stuck], _SHOWN), len(report.stuck)),
        f"jumps          {len(report.jumps):,}, of which {spikes:,} were taken back by the next bar",
        *_items(_greatest(report.jumps, [abs(jump.z) for jump in report.jumps], _SHOWN), len(report.jumps)),
        *(f"symbol change? {change}" for change in report.changes),
        *(f"split?         {item}" for item in report.breaks[:_SHOWN]),
        *_items((), max(0, len(report.breaks) - _SHOWN)),
        f"bad ticks      {len(report.bad_ticks):,} highs or lows that their volume does not explain",
        *_items(
            _greatest(report.bad_ticks, [abs(log(item.ratio)) for item in report.bad_ticks], _SHOWN),
            len(report.bad_ticks),
        ),
        *([f"times          look like closes of bars: {report.stamp}"] if report.stamp else []),
    ]
    return "\n".join(lines)


def _lines(label: str, items: tuple[Any, ...], sizes: list[float]) -> list[str]:
    more = len(items) - _SUSPECTS
    lines = [f"{label} {item}" for item in _greatest(items, sizes, _SUSPECTS)]
    return [*lines, f"{label} ... and {more:,} more"] if more > 0 else lines


def _items(items: Sequence[Any], total: int) -> list[str]:
    lines = [f"               {item}" for item in items]
    if total > len(items):
        lines.append(f"               ... and {total - len(items):,} more")
    return lines
