"""A backtest draws itself, or says what is missing for that."""

from __future__ import annotations

import sys

import pytest

import lockstep as ls
from lockstep.core.errors import MissingLibraryError


@pytest.fixture(scope="module")
def done() -> object:
    candles = ls.sample_candles().head(800)
    return ls.backtest(candles, "liquidity_sweep", {"pierce_depth": 0.0001}, costs=ls.Costs(fee_rate=0.0))


def test_a_figure_has_equity_drawdown_and_trades(done: object) -> None:
    pytest.importorskip("matplotlib")
    figure = done.plot()  # type: ignore[attr-defined]
    assert [axes.get_ylabel() for axes in figure.axes] == [
        "equity, quote currency",
        "drawdown, %",
        "trade, % of size",
    ]
    assert figure.axes[0].get_title().startswith("LIQUIDITY_SWEEP(")
    assert figure.axes[0].lines[0].get_ydata().tolist() == done.equity.tolist()  # type: ignore[attr-defined]


def test_without_matplotlib_the_error_names_the_extra(done: object, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.figure", None)
    with pytest.raises(MissingLibraryError, match=r"plot\(\) needs matplotlib.*\[plots\]'"):
        done.plot()  # type: ignore[attr-defined]
