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
    from lockstep.market.orderbook import DepthFeed as DepthFeed
    from lockstep.market.orderbook import DepthMessage as DepthMessage
    from lockstep.market.orderbook import OrderBook as OrderBook
    from lockstep.market.orderbook import Trades as Trades
    from lockstep.market.orderbook import load_depth as load_depth
    from lockstep.market.orderbook import load_trades as load_trades
    from lockstep.market.orderbook import replay_book as replay_book
    from lockstep.market.packages.batch import PackageBatch as PackageBatch
    from lockstep.market.packages.build import PackagePlan as PackagePlan
    from lockstep.market.packages.build import build_packages as build_packages
    from lockstep.market.packages.layout import PackageLayout as PackageLayout
    from lockstep.market.packages.package import ModelInputPackage as ModelInputPackage
    from lockstep.market.packages.package import PackageRules as PackageRules
    from lockstep.market.packages.quarantine import Quarantine as Quarantine
    from lockstep.market.packages.store import PackageStore as PackageStore
    from lockstep.market.packages.store import PackageWriter as PackageWriter
    from lockstep.market.packages.stream import PackageBuilder as PackageBuilder
    from lockstep.market.quality import QualityReport as QualityReport
    from lockstep.market.quality import quality_report as quality_report
    from lockstep.market.rapid_change import RapidChange as RapidChange
    from lockstep.market.rapid_change import RapidChangeDetector as RapidChangeDetector
    from lockstep.market.rapid_change import RapidChangeMonitor as RapidChangeMonitor
    from lockstep.market.rapid_change import RapidChangeRules as RapidChangeRules
    from lockstep.market.rapid_change import detect_rapid_changes as detect_rapid_changes
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
    "DepthFeed": "orderbook",
    "DepthMessage": "orderbook",
    "DroppedRowsWarning": "load",
    "FewCandlesWarning": "cleaning",
    "FileSource": "source",
    "Gap": "gaps",
    "LoadReport": "load",
    "ModelInputPackage": "packages.package",
    "OrderBook": "orderbook",
    "PRESETS": "cleaning",
    "PackageBatch": "packages.batch",
    "PackageBuilder": "packages.stream",
    "PackageLayout": "packages.layout",
    "PackagePlan": "packages.build",
    "PackageRules": "packages.package",
    "PackageStore": "packages.store",
    "PackageWriter": "packages.store",
    "QualityReport": "quality",
    "Quarantine": "packages.quarantine",
    "RapidChange": "rapid_change",
    "RapidChangeDetector": "rapid_change",
    "RapidChangeMonitor": "rapid_change",
    "RapidChangeRules": "rapid_change",
    "SampleSource": "source",
    "Trades": "orderbook",
    "align_asof": "resampling",
    "build_packages": "packages.build",
    "detect_rapid_changes": "rapid_change",
    "find_gaps": "gaps",
    "gap_before": "gaps",
    "load_candles": "load",
    "load_depth": "orderbook",
    "load_trades": "orderbook",
    "load_with_report": "load",
    "open_snapshot": "snapshot",
    "quality_report": "quality",
    "quick_clean": "cleaning",
    "read_bars": "load",
    "replay_book": "orderbook",
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
    "DepthFeed",
    "DepthMessage",
    "DroppedRowsWarning",
    "FewCandlesWarning",
    "FileSource",
    "Gap",
    "LoadReport",
    "ModelInputPackage",
    "OrderBook",
    "PackageBatch",
    "PackageBuilder",
    "PackageLayout",
    "PackagePlan",
    "PackageRules",
    "PackageStore",
    "PackageWriter",
    "QualityReport",
    "Quarantine",
    "RapidChange",
    "RapidChangeDetector",
    "RapidChangeMonitor",
    "RapidChangeRules",
    "SampleSource",
    "Trades",
    "align_asof",
    "build_packages",
    "detect_rapid_changes",
    "find_gaps",
    "gap_before",
    "load_candles",
    "load_depth",
    "load_trades",
    "load_with_report",
    "open_snapshot",
    "quality_report",
    "quick_clean",
    "read_bars",
    "replay_book",
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
