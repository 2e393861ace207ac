"""What models of runs share: which class is a side, and at which bars samples decide. No torch."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from lockstep.core.errors import InputError
from lockstep.kinds.shared.models import Prediction, SampleModel, entries


class Fixed(SampleModel):
    """Says the first class, then the second."""

    kind = "fixed"

    def __init__(self, *classes: str) -> None:
        self.classes = classes

    def predict(self, samples: Any) -> Prediction:
        return Prediction(classes=self.classes, decided=np.array([0, 1]), probabilities=np.full((2, 2), 0.5))


BARS = np.array([1, 3])


@pytest.mark.parametrize(("classes", "sides"), [(("up", "down"), [1, -1]), (("sell", "buy"), [-1, 1])])
def test_classes_that_name_sides_are_sides(classes: tuple[str, str], sides: list[int]) -> None:
    assert Fixed(*classes).signals(None, bars=BARS, length=5).side[BARS].tolist() == sides


def test_low_and_high_of_a_users_classes_may_be_anything() -> None:
    """Of a pivot they are sides; of a volatility they are not, and nothing is traded by their names."""
    model = Fixed("low", "high")
    with pytest.raises(InputError, match="no class of low, high is a side of the market: say which"):
        model.signals(None, bars=BARS, length=5)
    assert model.signals(None, bars=BARS, length=5, sides={"high": 1}).side.tolist() == [0, 0, 0, 1, 0]


@pytest.mark.parametrize("kind", [np.int64, np.uint64, np.uint8])
@pytest.mark.parametrize("bars", [[5, 3, 5], [3, 3, 4], [5, 90, 3], [1, 2, 10]])
def test_bars_rise_and_lie_within_whatever_their_type(kind: type, bars: list[int]) -> None:
    with pytest.raises(InputError, match="bars rise from 0 to 9 at most, none twice"):
        entries(np.array([1, -1, 1]), np.array(bars, kind), 10, None)
    assert entries(np.array([1, -1, 1]), np.array([1, 2, 9], kind), 10, None).side[[1, 2, 9]].tolist() == [1, -1, 1]
