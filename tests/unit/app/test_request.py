"""What `ls.train` and `lockstep train` are given becomes one request."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from lockstep.app.request import training_request
from lockstep.core.errors import SpecError
from lockstep.market.sample import sample_candles
from lockstep.strategies.base import Strategy


def test_a_strategy_alone_is_enough() -> None:
    """R4.39: strategy, symbol, timeframe and seed without a spec file."""
    request = training_request(None, strategy="liquidity_sweep", symbol="EUR/USD", timeframe="1h", seed=0)
    assert request.values == {
        "kind": "strategy",
        "market": {"symbol": "EUR/USD", "timeframe": "1h"},
        "seed": 0,
        "strategy": {"name": "liquidity_sweep"},
    }


def test_neither_spec_nor_strategy_is_refused() -> None:
    with pytest.raises(SpecError, match="nothing to train"):
        training_request(None)


def test_a_spec_given_as_a_mapping_is_not_changed() -> None:
    spec: dict[str, Any] = {"kind": "strategy", "market": {"symbol": "EUR/USD"}}
    training_request(spec, symbol="GBP/USD", seed=3)
    assert spec == {"kind": "strategy", "market": {"symbol": "EUR/USD"}}


def test_paths_in_a_spec_file_start_beside_it(tmp_path: Path) -> None:
    path = tmp_path / "spec.toml"
    path.write_text('kind = "strategy"\n')
    request = training_request(path)
    assert (request.base, request.name) == (tmp_path, str(path))


def test_a_strategy_file_named_by_the_caller_starts_where_the_caller_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    request = training_request({"kind": "strategy"}, strategy="mine.py:Mine")
    assert request.values["strategy"]["name"] == f"{tmp_path}/mine.py:Mine"


def test_a_class_and_candles_travel_as_objects() -> None:
    class Mine(Strategy):
        pass

    candles = sample_candles()
    request = training_request(
        {"kind": "strategy", "data": {"source": "file", "path": "x.csv", "last": 9}}, strategy=Mine, candles=candles
    )
    assert request.objects == {"strategy.name": Mine, "data.candles": candles}
    assert request.values["data"] == {"source": "python", "last": 9}, "where it came from is replaced, the rest stays"
    assert request.values["strategy"]["name"] == "Mine"


@pytest.mark.parametrize(("seed", "kept"), [("7", 7), (7, 7), ("random", "random"), ("0", 0)])
def test_a_seed_may_be_text_from_the_command_line(seed: int | str, kept: int | str) -> None:
    assert training_request({"kind": "strategy"}, seed=seed).values["seed"] == kept


@pytest.mark.parametrize(("seed", "found"), [("seven", "'seven'"), ("1.5", "'1.5'"), (1.5, "1.5")])
def test_a_seed_that_is_no_whole_number_is_refused(seed: Any, found: str) -> None:
    with pytest.raises(SpecError, match=f'"random"; found {found}'):
        training_request({"kind": "strategy"}, seed=seed)


def test_a_seed_of_numpy_is_the_plain_number() -> None:
    seed: Any = np.int64(7)
    assert type(training_request({"kind": "strategy"}, seed=seed).values["seed"]) is int


def test_a_spec_that_is_neither_file_nor_mapping_is_refused() -> None:
    spec: Any = ["kind", "strategy"]
    with pytest.raises(SpecError, match="a spec is a file's path or a mapping of the same form; found list"):
        training_request(spec)


def test_one_override_given_as_text_is_refused_and_not_read_letter_by_letter() -> None:
    with pytest.raises(SpecError, match=r"Write \['seed=3'\]"):
        training_request({"kind": "strategy"}, overrides="seed=3")


def test_keywords_into_a_key_that_is_no_table_are_refused() -> None:
    with pytest.raises(SpecError, match="market is a table"):
        training_request({"kind": "strategy", "market": 5}, symbol="EUR/USD")


@pytest.mark.parametrize(("value", "found"), [("portable", "portable"), ("native", "native"), ("odd", "native")])
def test_the_numerics_are_known_before_anything_heavy_loads(value: str, found: str) -> None:
    assert training_request({"kind": "strategy", "numerics": value}).numerics == found
