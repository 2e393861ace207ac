"""Which slip is taken for which name: near names are offered, and nothing is where nothing is near."""

from __future__ import annotations

from pathlib import Path

import pytest

import lockstep
from lockstep.core.near_names import did_you_mean, nearest

KEYS = ("seed", "n_iterations", "batch_size", "fee_rate", "min_volume_threshold", "LIQUIDITY_SWEEP")


@pytest.mark.parametrize(
    ("slip", "name"),
    [
        ("sede", "seed"),  # two letters changed places: 3 of 4 in order, 6 / 8
        ("Seed", "seed"),
        ("iterations", "n_iterations"),
        ("batchsize", "batch_size"),
        ("batch-size", "batch_size"),
        ("min_volume", "min_volume_threshold"),  # the whole of a part
        ("liquidity_swep", "LIQUIDITY_SWEEP"),
    ],
)
def test_a_slip_is_recognised(slip: str, name: str) -> None:
    assert nearest(slip, KEYS) == name


@pytest.mark.parametrize("name", ["zzz", "", "fee", "rate_limit", "window", "x", "needs", "size of it all, in words"])
def test_a_name_that_resembles_nothing_gets_no_suggestion(name: str) -> None:
    """Even "fee": three letters stand in too many names to mean one."""
    assert nearest(name, KEYS) is None
    assert did_you_mean(name, KEYS) == ""


def test_the_nearest_is_offered_and_of_equals_the_first() -> None:
    assert nearest("sharpe", ["sharpe_ratio_per_trade", "sharpe_ratio"]) == "sharpe_ratio"
    assert nearest("last", ["lost", "lust"]) == "lost"
    assert did_you_mean("sede", KEYS) == " Did you mean 'seed'?"


def test_all_suggestions_come_from_here() -> None:
    """A second rule with another cut would offer in one place what the other calls unlike."""
    house = Path(lockstep.__file__).parent
    users = {str(path.relative_to(house)) for path in house.rglob("*.py") if "difflib" in path.read_text()}
    assert users == {"core/near_names.py", "runs/repository.py"}, "the second makes diffs"
