"""A small, real training to test the loop with: quantiles by stochastic approximation.

Notation
    x_k      estimate of the q_k-quantile, k = 0 .. m-1
    y        one observation, the sum of three uniforms on [0, 1) (support [0, 3), symmetric about 3/2)
    a_n      step size, a_n = c / (n + n0)

Robbins and Monro (1951): x_k <- x_k + a_n (q_k - 1[y < x_k])                                            (1)
One `Step` takes `batch` observations one after the other, and appends them and the estimates to segments. The result
averages the second half of the estimates (Polyak and Juditsky, 1992), read back from the run's own record.  (2)
Only additions, multiplications, divisions and comparisons are used, so every IEEE 754 machine gives the same bits.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from lockstep.core import canonical
from lockstep.core.hashing import digest_array
from lockstep.runs.training import Result, RunRecord, State, Step

STEP_SCALE = 2.0
STEP_OFFSET = 10.0


@dataclass(frozen=True, kw_only=True)
class ToySpec:
    """`steps` steps of `batch` observations for the quantiles `levels`, drawn from `seed`."""

    seed: int = 42
    steps: int = 20
    batch: int = 8
    levels: tuple[float, ...] = (0.1, 0.5, 0.9)

    def document(self) -> dict[str, Any]:
        """The fields as the body of spec.json."""
        return {"kind": "toy", "seed": self.seed, "steps": self.steps, "batch": self.batch, "levels": self.levels}

    @classmethod
    def from_document(cls, body: Mapping[str, Any]) -> ToySpec:
        """The spec that `document` wrote. Raises KeyError when one of its keys is missing."""
        return cls(seed=body["seed"], steps=body["steps"], batch=body["batch"], levels=tuple(body["levels"]))


class ToyTraining:
    """Quantiles by eq. (1); reads its own record back for eq. (2)."""

    def __init__(self, spec: ToySpec) -> None:
        self._spec = spec
        self._levels = np.array(spec.levels)
        self._rng = np.random.Generator(np.random.Philox(key=spec.seed))
        self._estimates = np.full(len(spec.levels), 1.5)
        self._index = 0
        self._record: RunRecord | None = None

    @property
    def total_steps(self) -> int:
        """Number of steps, fixed by the spec."""
        return self._spec.steps

    def attach(self, record: RunRecord) -> None:
        """Keep the record for `finish`."""
        self._record = record

    def steps(self) -> Iterator[Step]:
        """One step per batch of observations."""
        while self._index < self._spec.steps:
            path, observed = self._learn()
            index = self._index
            self._index += 1
            yield Step(
                index=index,
                scalars={"median": float(self._estimates[len(self._levels) // 2]), "seen": self._seen()},
                digests={"observed": digest_array(observed)},
                segments={
                    "path": {"observation": np.arange(self._seen() - len(path), self._seen()), "estimate": path},
                    "observed": {"y": observed, "low": observed < 0.5},
                },
            )

    def _learn(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """Eq. (1) for one batch: estimates (batch, m) after each observation, observations (batch,)."""
        uniforms = self._rng.random((self._spec.batch, 3))
        observed = uniforms[:, 0] + uniforms[:, 1] + uniforms[:, 2]
        path = np.empty((self._spec.batch, len(self._levels)))
        for i, y in enumerate(observed):
            size = STEP_SCALE / (self._seen() + i + STEP_OFFSET)
            self._estimates = self._estimates + size * (self._levels - (y < self._estimates))
            path[i] = self._estimates
        return path, observed

    def _seen(self) -> int:
        return self._index * self._spec.batch

    def get_state(self) -> State:
        """Steps done, estimates (m,), and the generator's state."""
        return {"index": self._index, "estimates": self._estimates, "generator": self._rng.bit_generator.state}

    def set_state(self, state: State) -> None:
        """Continue from a state of `get_state`."""
        self._index = state["index"]
        self._estimates = np.array(state["estimates"])
        self._rng.bit_generator.state = state["generator"]

    def finish(self) -> Result:
        """Eq. (2), and the whole path as an artifact."""
        if self._record is None:
            raise RuntimeError("attach() comes before finish()")
        path = self._record.segments.read("path", ["estimate"]).get("estimate", np.empty((0, len(self._levels))))
        second_half = path[len(path) // 2 :]
        # Summed row by row: the order, and so the last bit, does not depend on how NumPy adds along an axis.
        total = np.zeros(len(self._levels))
        for row in second_half:
            total = total + row
        averages = total / max(len(second_half), 1)
        summary = {
            "quantiles": {str(level): float(x) for level, x in zip(self._spec.levels, averages, strict=True)},
            "observations": self._seen(),
        }
        return Result(
            summary=summary,
            artifacts={"quantiles.json": canonical.dumps(summary), "path.f8": path.astype("<f8").tobytes()},
        )
