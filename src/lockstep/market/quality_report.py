"""What a quality report holds, and the report as text for a person: the same input, the same lines."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final

from lockstep.core.units import format_timeframe
from lockstep.market.checks import Defect, Rule, format_time
from lockstep.market.gaps import Gap, GapKind

_LISTED: Final = 100
_SHOWN: Final = 5


@dataclass(frozen=True, kw_only=True)
class Jump:
    """A return far out of the ordinary.

    row         row of the bar that it ends at
    timestamp   open time of that bar, milliseconds UTC
    log_return  ln(close / previous close)
    z           robust z-score of the return (see `quality._jumps`)
    spike       whether the next bar takes it back
    """

    row: int
    timestamp: int
    log_return: float
    z: float
    spike: bool

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
    flat          bars of one price
    zero_volume   bars without volume
    dead          bars of one price or, where the source has volume at all, without volume
    has_volume    whether any bar has volume
    score         0 to 100, see `quality_report`
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
    flat: int
    zero_volume: int
    dead: int
    has_volume: bool
    score: float

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

    def to_dict(self) -> dict[str, Any]:
        """Plain values; lists hold at most the 100 greatest items, in order of time, beside their full counts."""
        holes = self.holes
        longest = max(self.gaps, key=lambda gap: gap.bars_missing, default=None)
        return {
            "rows": self.rows,
            "first": self.first,
            "last": self.last,
            "timeframe": _timeframe(self.timeframe_ms),
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
    ]
    return "\n".join(lines)


def _items(items: Sequence[Any], total: int) -> list[str]:
    lines = [f"               {item}" for item in items]
    if total > len(items):
        lines.append(f"               ... and {total - len(items):,} more")
    return lines
