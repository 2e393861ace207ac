"""Training value: how much there is to learn again from a step and from a run (R9.28, R9.33).

Notation
    L_i     total loss of step i                        g_i     gradient norm of step i, before clipping
    p_i     mean profitability score of its batch       m_i     mean of g_0 .. g_i
    M_j     mean loss of span j: up to 20 spans of equal length, 10 steps or more, that end with the last step

Step value       v_i = .5 p_i + .3 clip((L_(i-1) - L_i) / |L_(i-1)|, 0, 1) + .2 g_i / (g_i + m_i)             (1)
Run value        V = .5 mean of the top quarter of v + .3 T + .2 C                                            (2)
Convergence      C = clip(1 - mean(last 10 L) / mean(first 10 L), 0, 1)                                       (3)
Converged when the means of the last two spans of 10 steps differ by less than 1 %.                           (4)
Steadiness       T = clip((pairs j < k with M_k < M_j  -  pairs with M_k > M_j) / pairs, 0, 1)                (5)

(5) is Kendall's rank correlation of loss and time, with its sign turned: how steadily a run learned, where C says how
far. In place of T, the first edition of V had the share of profitable samples, which market and labels decide and no
session does (docs/decisions/0091). The first step has no loss before it: its reduction is 0. Sums are taken in step
order, so the last bit is certain.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

from lockstep.core.means import mean_in_order

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

    Series = NDArray[np.float64]

EDITION: Final = 2
"""Of the run value, eq. (2)."""
SPAN: Final = 10
_SPANS: Final = 20
_CONVERGED: Final = 0.01


class StepValues:
    """Eq. (1) step by step; the state is three numbers."""

    def __init__(self) -> None:
        self._steps = 0
        self._norms = 0.0
        self._loss: float | None = None

    def add(self, *, loss: float, gradient_norm: float, profitability: float) -> float:
        """v of eq. (1) for the next step, 0 .. 1; call it once per step, in order."""
        self._steps += 1
        self._norms += gradient_norm
        mean = self._norms / self._steps
        reduction = 0.0
        if self._loss is not None and self._loss != 0.0:
            reduction = min(max((self._loss - loss) / abs(self._loss), 0.0), 1.0)
        self._loss = loss
        # By its own mean, so that the term does not depend on the scale of loss or model.
        surprise = gradient_norm / (gradient_norm + mean) if gradient_norm > 0.0 else 0.0
        return 0.5 * profitability + 0.3 * reduction + 0.2 * surprise

    def get_state(self) -> dict[str, Any]:
        """Three numbers for a checkpoint: steps, sum of norms, last loss."""
        return {"steps": self._steps, "norms": self._norms, "loss": self._loss}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Restore a state that `get_state` returned."""
        self._steps, self._norms, self._loss = state["steps"], state["norms"], state["loss"]


@dataclass(frozen=True, kw_only=True)
class SessionValue:
    """Eq. (2) to (5), and the parts of the value; zero for a run without steps.

    value        V of eq. (2)
    top_quarter  mean of the top quarter of v
    steadiness   T of eq. (5), 0 .. 1
    profitable   mean share of a batch that was profitable; no part of the value
    convergence  C of eq. (3), 0 .. 1
    converged    eq. (4)
    """

    value: float
    top_quarter: float
    steadiness: float
    profitable: float
    convergence: float
    converged: bool

    def to_json(self) -> dict[str, Any]:
        """The six fields under the names that a run's summary has for them."""
        return {
            "value": self.value,
            "top_quarter": self.top_quarter,
            "steadiness": self.steadiness,
            "profitable": self.profitable,
            "convergence": self.convergence,
            "converged": self.converged,
        }


def session_value(losses: Series, values: Series, profitable: Series) -> SessionValue:
    """Eq. (2) to (5) for total losses L, step values v and profitable shares, each float64 (steps,)."""
    top = sorted(values.tolist(), reverse=True)[: -(-len(values) // 4)]
    quarter, steady, score = mean_in_order(top), steadiness(losses), convergence(losses)
    return SessionValue(
        value=0.5 * quarter + 0.3 * steady + 0.2 * score,
        top_quarter=quarter,
        steadiness=steady,
        profitable=mean_in_order(profitable),
        convergence=score,
        converged=converged(losses),
    )


def convergence(losses: Series) -> float:
    """C of eq. (3), 0 .. 1; 0 for a run whose loss was 0 from the start."""
    first, last = mean_in_order(losses[:SPAN]), mean_in_order(losses[-SPAN:])
    return min(max(1.0 - last / first, 0.0), 1.0) if first > 0.0 else 0.0


def steadiness(losses: Series) -> float:
    """T of eq. (5), 0 .. 1; 0 for a run of fewer than two spans."""
    spans = min(_SPANS, len(losses) // SPAN)
    if spans < 2:
        return 0.0
    length = len(losses) // spans
    means = [mean_in_order(span) for span in losses[-spans * length :].reshape(spans, length)]
    pairs = [(means[j], later) for j in range(spans) for later in means[j + 1 :]]
    return max(sum((later < mean) - (later > mean) for mean, later in pairs) / len(pairs), 0.0)


def converged(losses: Series) -> bool:
    """Eq. (4); never before 2 x 10 steps."""
    if len(losses) < 2 * SPAN:
        return False
    before, last = mean_in_order(losses[-2 * SPAN : -SPAN]), mean_in_order(losses[-SPAN:])
    return abs(last - before) < _CONVERGED * abs(before)
