"""The quality report as text for a person: the same input, the same lines."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Final

from lockstep.market.checks import format_time

if TYPE_CHECKING:
    from lockstep.market.quality import QualityReport

_SHOWN: Final = 5


def render(report: QualityReport) -> str:
    """A page of at most a few dozen lines; lists show their greatest items, in order of time."""
    from lockstep.market.quality import _greatest, _timeframe

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
