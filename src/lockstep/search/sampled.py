"""Random and quasi-random search: draws addressed by their index, duplicates dropped and counted.

Notation: draw j is the position u_j in the unit cube; trial i is the i-th draw whose rounded values did not occur
before. u_j depends on the seed and j only, so any part of the sequence can be made anew at any time, in any batch
size, and the same seed gives the same parameter sets on every market (R4.38).

Random: coordinate `name` of draw j is output j of the Philox stream (seed, "search", "random", name), as 53 bits in
[0, 1). Streams belong to names: another parameter beside it changes no coordinate. Bergstra & Bengio, "Random Search
for Hyper-Parameter Optimization", JMLR 13 (2012), on why this beats a grid where few parameters matter.
Sobol: point j of the sequence with Owen-type scrambling by the seed (scipy.stats.qmc), coordinates in the order of
the space.
"""

from __future__ import annotations

import warnings
from abc import ABC, abstractmethod
from collections.abc import Mapping
from decimal import Decimal
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.errors import SpaceError
from lockstep.core.space import Choice, Columns, FloatRange, Space
from lockstep.runs.seeds import SeedTree
from lockstep.search.proposer import Batch, Cursor, checked_count

if TYPE_CHECKING:
    from numpy.typing import NDArray

DECIMALS: Final = 6
_BLOCK: Final = 4  # Philox4x64 makes four 64-bit outputs per counter value
_CHUNK: Final = 8192


class _Sampled(ABC):
    """Draws `n_iterations` positions; equal parameter sets after the first are dropped, so trials may be fewer.

    Two sets are equal when all values are, those of continuous ranges rounded to 6 decimals, or finer where a range is
    narrower than 1, or logarithmic and begins below it (so that a range of 1e-7 to 1e-6 is not one value).
    """

    adaptive: Final = False
    remembers: Final = True

    def __init__(self, space: Space, *, n_iterations: int, seed: int = 42) -> None:
        if not space:
            raise SpaceError("a search varies at least one parameter; the space is empty")
        self.space = space
        self.seed = seed
        self._n = checked_count(n_iterations, "n_iterations")
        self._tree = SeedTree(seed).child("search")
        continuous = {name: d for name, d in space.items() if isinstance(d, FloatRange) and d.step is None}
        self._decimals = {name: _decimals(dimension) for name, dimension in continuous.items()}
        self._cursor = Cursor()
        self._begin()

    def _begin(self) -> None:
        """Stand before the first draw, then make the first chunk ready."""
        self._seen: set[bytes] = set()
        self._chunk_stop = 0  # draws made so far; a chunk is drawn, compared and kept as one
        self._chunk: Columns = {}  # the chunk's first occurrences
        self._draws = np.empty(0, np.int64)  # and their draw indices
        self._used = 0  # how many of them were proposed
        self._last_draw = -1  # draw of the trial proposed last
        self._refill()

    @abstractmethod
    def unit(self, start: int, stop: int) -> NDArray[np.float64]:
        """Draws start..stop-1: float64 (stop - start, d) in [0, 1)."""

    @property
    def size(self) -> int | None:
        """At most this many trials; fewer where draws repeat."""
        return self._n

    @property
    def duplicates(self) -> int:
        """Draws dropped among those up to the trial proposed last; among all, once there are no more trials."""
        passed = self._n if self._used == len(self._draws) else self._last_draw + 1
        return passed - self._cursor.asked

    @property
    def notes(self) -> tuple[str, ...]:
        """Says when the space is too small for that many different draws."""
        sizes = [dimension.size for dimension in self.space.values()]
        combinations = 1
        for size in sizes:
            if size is None:
                return ()
            combinations *= size
        if combinations >= self._n:
            return ()
        return (
            f"{self._n:,} draws from a space of {combinations:,} combinations: equal draws are tried once and "
            "counted as duplicates; a grid would try each combination exactly once",
        )

    def ask(self, count: int) -> Batch:
        """The next `count` distinct draws, fewer at the end."""
        missing = checked_count(count)
        start = self._cursor.asked
        parts: list[Columns] = []
        while missing and self._used < len(self._draws):
            parts.append(self._take(missing))
            missing -= len(next(iter(parts[-1].values())))
        columns = _joined(parts) if parts else self.space.decode(np.empty((0, len(self.space))))
        batch = Batch(start=start, columns=columns)
        self._cursor.ask(len(batch))
        return batch

    def tell(self, batch: Batch, scores: NDArray[np.float64]) -> None:
        """See `Proposer.tell`; scores change nothing."""
        self._cursor.tell(batch, scores)

    def report(self, trial: int, step: int, value: float) -> bool:
        """Always True: no trial is stopped early."""
        return True

    def get_state(self) -> Mapping[str, Any]:
        """The number of trials that came back with scores, as {"told": n}."""
        return {"told": self._cursor.scored}

    def set_state(self, state: Mapping[str, Any]) -> None:
        """Continue after the first n trials. Draws them again: a state that held them would grow with the search."""
        trials = int(state["told"])
        self._begin()
        skipped = 0
        while skipped < trials:
            skipped += len(next(iter(self._take(trials - skipped).values())))
        self._cursor.reset(trials)

    def _take(self, count: int) -> Columns:
        """Up to `count` trials from the present chunk, which must not be used up. Leaves a fresh one."""
        stop = min(self._used + count, len(self._draws))
        taken = {name: column[self._used : stop] for name, column in self._chunk.items()}
        self._last_draw = int(self._draws[stop - 1])
        self._used = stop
        self._refill()
        return taken

    def _refill(self) -> None:
        """Draw chunks until one holds a new set or all draws are made."""
        while self._used == len(self._draws) and self._chunk_stop < self._n:
            start, stop = self._chunk_stop, min(self._chunk_stop + _CHUNK, self._n)
            columns = self.space.decode(self.unit(start, stop))
            fresh = self._first_occurrences(columns)
            self._chunk = {name: column[fresh] for name, column in columns.items()}
            self._draws = start + np.flatnonzero(fresh)
            self._used, self._chunk_stop = 0, stop

    def _first_occurrences(self, columns: Columns) -> NDArray[np.bool_]:
        """bool (n,): rows whose values did not occur before; remembers them."""
        # A row's bytes as the key of a set: a tuple of Python numbers would take far more memory.
        keys = np.stack([self._key(name, column) for name, column in columns.items()], axis=1)
        width = keys.shape[1] * keys.itemsize
        data = np.ascontiguousarray(keys).tobytes()
        fresh = np.empty(len(keys), np.bool_)
        seen = self._seen
        for i in range(len(keys)):
            key = data[i * width : (i + 1) * width]
            fresh[i] = key not in seen
            seen.add(key)
        return fresh

    def _key(self, name: str, column: NDArray[Any]) -> NDArray[np.int64]:
        """int64 (n,): equal where two values count as equal."""
        dimension = self.space[name]
        if isinstance(dimension, Choice) and column.dtype == object:
            places = {value: i for i, value in enumerate(dimension.values)}
            return np.array([places[value] for value in column], dtype=np.int64)
        if column.dtype == np.float64:
            decimals = self._decimals.get(name)
            rounded = column if decimals is None else np.round(column, decimals)
            return (rounded + 0.0).view(np.int64)  # -0.0 and 0.0 are one value
        return column.astype(np.int64)


class RandomProposer(_Sampled):
    """Uniform random draws, one Philox stream per parameter name, addressed by draw index."""

    def unit(self, start: int, stop: int) -> NDArray[np.float64]:
        """Draws start..stop-1: float64 (stop - start, d) in [0, 1)."""
        unit = np.empty((stop - start, len(self.space)))
        for i, name in enumerate(self.space.names):
            stream = np.random.Philox(key=self._tree.child("random", name).key())
            stream.advance(start // _BLOCK)
            # The raw output is what NumPy promises never to change; `Generator.random` is not (NEP 19).
            raw = stream.random_raw(start % _BLOCK + stop - start)[start % _BLOCK :]
            unit[:, i] = (raw >> np.uint64(11)) * 2.0**-53
        return unit


class SobolProposer(_Sampled):
    """Scrambled Sobol points: they fill the cube more evenly than random draws, best at n a power of two."""

    def __init__(self, space: Space, *, n_iterations: int, seed: int = 42) -> None:
        if checked_count(n_iterations, "n_iterations") > 2**30:
            raise SpaceError(f"a Sobol sequence has at most 2^30 points; found n_iterations = {n_iterations:,}")
        self._sequence: Any = None
        self._next = 0
        super().__init__(space, n_iterations=n_iterations, seed=seed)

    @property
    def notes(self) -> tuple[str, ...]:
        """Says when the number of points spoils the balance of the sequence."""
        if self._n & (self._n - 1) == 0:
            return super().notes
        lower = 1 << (self._n.bit_length() - 1)
        return (
            *super().notes,
            f"Sobol points are balanced at powers of two; n_iterations = {self._n:,} lies between {lower:,} and "
            f"{2 * lower:,}. It works, but one of these covers the space more evenly",
        )

    def unit(self, start: int, stop: int) -> NDArray[np.float64]:
        """Draws start..stop-1: float64 (stop - start, d) in [0, 1)."""
        from scipy.stats import qmc  # half a second of import that only this proposer needs

        if self._sequence is None or start < self._next:
            self._sequence = qmc.Sobol(len(self.space), scramble=True, rng=self._tree.child("sobol").integer())
            self._next = 0
        if start > self._next:
            # A sequence only goes forward; to go back, it was made anew above.
            self._sequence.fast_forward(start - self._next)
        with warnings.catch_warnings():
            # SciPy warns when the first piece is not a power of two long; `notes` judges the whole instead.
            warnings.simplefilter("ignore", UserWarning)
            points = self._sequence.random(stop - start)
        self._next = stop
        return np.asarray(points, dtype=np.float64)


def _decimals(dimension: FloatRange) -> int | None:
    """To how many decimals values are compared: 6, and one more for each zero after the point of the least difference
    that matters, which is the width, or the lower end of a logarithmic range. None where doubles are coarser anyway."""
    finest = dimension.low if dimension.log else dimension.high - dimension.low
    decimals = DECIMALS + max(0, -Decimal(repr(finest)).adjusted())
    largest = max(abs(dimension.low), abs(dimension.high))
    return decimals if largest < 2**53 / 10**decimals else None


def _joined(parts: list[Columns]) -> Columns:
    if len(parts) == 1:
        return parts[0]
    return {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
