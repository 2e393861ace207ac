"""Candles: what they are, where they come from, how good they are, and what is computed from them.

The names below are the package's public ones; each lives in the module named beside it. They are looked up
on first use, so that importing the package costs nothing. Indicators are in `lockstep.market.indicators`.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from lockstep.market.candles import Candles as Candles
    from lockstep.market.cleaning import PRESETS as PRESETS
    from lockstep.market.cleaning import DataCleaner as DataCleaner
    from lockstep.market.cleaning import DataFilterConfig as DataFilterConfig
    from lockstep.market.cleaning import FewCandlesWarning as FewCandlesWarning
    from lockstep.market.cleaning import quick_clean as quick_clean
    from lockstep.market.collector import DataCollector as DataCollector
    from lockstep.market.gaps import Gap as Gap
    from lockstep.market.gaps import find_gaps as find_gaps
    from lockstep.market.gaps import gap_before as gap_before
    from lockstep.market.load import DroppedRowsWarning as DroppedRowsWarning
    from lockstep.market.load import LoadReport as LoadReport
    from lockstep.market.load import load_candles as load_candles
    from lockstep.market.load import load_with_report as load_with_report
    from lockstep.market.load import read_bars as read_bars
    from lockstep.market.quality import QualityReport as QualityReport
    from lockstep.market.quality import quality_report as quality_report
    from lockstep.market.resampling import align_asof as align_asof
    from lockstep.market.resampling import resample as resample
    from lockstep.market.resampling import take_asof as take_asof
    from lockstep.market.sample import sample_candles as sample_candles
    from lockstep.market.snapshot import open_snapshot as open_snapshot
    from lockstep.market.snapshot import write_snapshot as write_snapshot
    from lockstep.market.source import CandleSource as CandleSource
    from lockstep.market.source import FileSource as FileSource
    from lockstep.market.source import SampleSource as SampleSource

_HOME = {
    "CandleSource": "source",
    "Candles": "candles",
    "DataCleaner": "cleaning",
    "DataCollector": "collector",
    "DataFilterConfig": "cleaning",
    "DroppedRowsWarning": "load",
    "FewCandlesWarning": "cleaning",
    "FileSource": "source",
    "Gap": "gaps",
    "LoadReport": "load",
    "PRESETS": "cleaning",
    "QualityReport": "quality",
    "SampleSource": "source",
    "align_asof": "resampling",
    "find_gaps": "gaps",
    "gap_before": "gaps",
    "load_candles": "load",
    "load_with_report": "load",
    "open_snapshot": "snapshot",
    "quality_report": "quality",
    "quick_clean": "cleaning",
    "read_bars": "load",
    "resample": "resampling",
    "sample_candles": "sample",
    "take_asof": "resampling",
    "write_snapshot": "snapshot",
}

__all__ = [
    "PRESETS",
    "CandleSource",
    "Candles",
    "DataCleaner",
    "DataCollector",
    "DataFilterConfig",
    "DroppedRowsWarning",
    "FewCandlesWarning",
    "FileSource",
    "Gap",
    "LoadReport",
    "QualityReport",
    "SampleSource",
    "align_asof",
    "find_gaps",
    "gap_before",
    "load_candles",
    "load_with_report",
    "open_snapshot",
    "quality_report",
    "quick_clean",
    "read_bars",
    "resample",
    "sample_candles",
    "take_asof",
    "write_snapshot",
]


def __getattr__(name: str) -> Any:
    if name not in _HOME:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOME[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
