"""Schedules of the learning rate, and of the momentum that moves against it. No torch.

Notation
    t, T        number of the step, and number of the steps of the run; the first is 0, the last T - 1
    a, b        value at the beginning and at the end of a phase
    p           share of the phase that is over, 0 to 1

    line(a, b, p) = a (1 - (1 - b / a) p)                                                                           (1)
    wave(a, b, p) = b + (a - b) (1 + cos(pi p)) / 2          half a period of a cosine                              (2)

`cosine` is (2) from the first step to the last: torch's `CosineAnnealingLR` with T_max = T - 1. `one_cycle` is
`OneCycleLR` with two phases of (2), a rise and a fall; momentum falls while the rate rises, and rises while it falls.
A run stores rates and momenta as they were used, so a replay needs no schedule.

Sources: Loshchilov, Hutter, "SGDR", arXiv:1608.03983; Smith, Topin, "Super-convergence", arXiv:1708.07120; PyTorch,
torch.optim.lr_scheduler.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

# The C library's cosine differs in its last bit between versions; sums and products do not.
_COSINE: Final = tuple((-1.0) ** n / math.factorial(2 * n) for n in range(9, 0, -1))
_SINE: Final = tuple((-1.0) ** n / math.factorial(2 * n + 1) for n in range(9, 0, -1))


def cosine_of_half_turns(x: float) -> float:
    """cos(pi x) for x from 0 to 1, within 2e-16: by the series below pi / 4, so that it is one value everywhere."""
    if x > 0.5:
        return -cosine_of_half_turns(1.0 - x)
    y = math.pi * x if x <= 0.25 else math.pi * (0.5 - x)
    total, square = 0.0, y * y
    for coefficient in _COSINE if x <= 0.25 else _SINE:
        total = (total + coefficient) * square
    return 1.0 + total if x <= 0.25 else y + y * total


def wave(start: float, end: float, share: float) -> float:
    """Equation (2), from `start` at share 0 to `end` at share 1."""
    return end + (start - end) / 2.0 * (cosine_of_half_turns(share) + 1.0)


def cosine(start: float, end: float, step: int, steps: int) -> float:
    """Equation (2) over `steps` steps: `start` at step 0, `end` at the last; a single step has `start`."""
    span = max(steps - 1, 1)
    return wave(start, end, min(step, span) / span)


@dataclass(frozen=True, kw_only=True)
class OneCycle:
    """One rise and one fall of the learning rate.

    peak            the highest rate
    rise_share      share of the steps that rise
    div_factor      the first rate is peak / div_factor
    final_factor    the last rate is the first / final_factor
    momenta         lowest momentum, at the peak, and highest, at both ends
    """

    peak: float
    rise_share: float = 0.3
    div_factor: float = 25.0
    final_factor: float = 1e4
    momenta: tuple[float, float] = (0.85, 0.95)

    def rate(self, step: int, steps: int) -> float:
        """Learning rate of `step` of `steps`."""
        first = self.peak / self.div_factor
        return self._at(step, steps, first, self.peak, first / self.final_factor)

    def momentum(self, step: int, steps: int) -> float:
        """Momentum of `step` of `steps`."""
        low, high = self.momenta
        return self._at(step, steps, high, low, high)

    def _at(self, step: int, steps: int, first: float, middle: float, last: float) -> float:
        # The borders of torch: the peak lies between two steps unless rise_share x steps is whole.
        top, end = self.rise_share * steps - 1.0, steps - 1.0
        if step <= top:
            return wave(first, middle, step / top if top > 0.0 else 1.0)
        return wave(middle, last, min((step - top) / (end - top), 1.0) if end > top else 1.0)
