"""Sum trees: draw one of a million weighted slots in five steps, with sums that never drift.

Notation
    B        children of a node, 16: a node's children fill two cache lines of 64 bytes
    forest   float64 (trees, nodes): one or more trees over the same slots. In each row the levels follow each other
             from the root (level 0) to the leaves, every level padded to B
    offsets  int64 (levels,), where each level begins; slot s has the leaf forest[tree, offsets[-1] + s]
    w_s      weight of slot s in a tree, finite and >= 0; a slot that may not be drawn from it has weight 0

Every inner node is the sum of its children, added from left to right whenever one of them changes. So a tree is a
function of its leaves alone: rounding errors do not add up, and a tree rebuilt from stored weights has the same bits.
(A tree that adds differences along its path is faster to update, and wrong after a few million updates.)

Kernels that take many slots work level by level, not slot by slot: the memory fetches of one level do not wait for each
other. Each kernel has its Python twin `<name>_python`, the very same source, which gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.compiled import kernel
from lockstep.rl.prefetch import LINE, prefetch

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH: Final = 16
_LINE_BYTES: Final = 64


def aligned_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Zeros whose first byte begins a cache line, so that a row or node of 64 bytes never lies in two."""
    size = int(np.prod(shape)) * np.dtype(dtype).itemsize
    room = np.zeros(size + _LINE_BYTES, np.uint8)
    start = -room.ctypes.data % _LINE_BYTES
    return room[start : start + size].view(dtype).reshape(shape)


def tree_layout(capacity: int) -> tuple[NDArray[np.int64], int]:
    """`offsets` and the number of nodes of a tree over `capacity` slots."""
    sizes = [_padded(capacity)]
    while sizes[0] > WIDTH:
        sizes.insert(0, _padded(sizes[0] // WIDTH))
    sizes.insert(0, WIDTH)  # the root alone, padded so that every other level begins at a cache line
    ends = np.cumsum(np.array(sizes, np.int64))
    return np.concatenate((np.zeros(1, np.int64), ends[:-1])), int(ends[-1])


def _padded(count: int) -> int:
    return -(-count // WIDTH) * WIDTH


def _sum_of_children_python(nodes: NDArray[np.float64], tree: int, node: int) -> float:
    # From left to right, never pairwise or as a vector: the order decides the last bit.
    total = 0.0
    for child in range(16):
        total += nodes[tree, node, child]
    return total


_sum_of_children = kernel(_sum_of_children_python)


def set_weights_python(
    forest: NDArray[np.float64],
    offsets: NDArray[np.int64],
    trees: NDArray[np.int64],
    slots: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> None:
    """Set the weights (n,) of slots (n,) in trees (n,); of a slot that occurs twice the last weight stays."""
    # By the children of a node: an index that is known to be 0 .. 15 needs no check for a negative one.
    nodes = forest.reshape(forest.shape[0], forest.shape[1] // 16, 16)
    places = np.empty(slots.size, np.int64)
    level = offsets.size - 1
    for k in range(slots.size):
        forest[trees[k], offsets[level] + slots[k]] = weights[k]
        places[k] = slots[k]
    # A node that several slots share is summed once for each of them: finding duplicates would cost more.
    while level > 0 and offsets[level] - offsets[level - 1] > slots.size:
        for k in range(slots.size):
            place = places[k] // 16
            total = _sum_of_children(nodes, trees[k], offsets[level] // 16 + place)
            forest[trees[k], offsets[level - 1] + place] = total
            places[k] = place
        level -= 1
    # Near the root there are fewer nodes than slots.
    _sum_levels(forest, offsets, level)


def set_weight_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], tree: int, slot: int, weight: float
) -> None:
    """Set the weight of one slot in one tree."""
    nodes = forest.reshape(forest.shape[0], forest.shape[1] // 16, 16)
    level = offsets.size - 1
    forest[tree, offsets[level] + slot] = weight
    place = slot
    while level > 0:
        place //= 16
        total = _sum_of_children(nodes, tree, offsets[level] // 16 + place)
        forest[tree, offsets[level - 1] + place] = total
        level -= 1


set_weight = kernel(set_weight_python)


def _sum_levels_python(forest: NDArray[np.float64], offsets: NDArray[np.int64], last: int) -> None:
    """Recompute every node above level `last`, in all trees."""
    nodes = forest.reshape(forest.shape[0], forest.shape[1] // 16, 16)
    for tree in range(forest.shape[0]):
        for level in range(last, 0, -1):
            stop = forest.shape[1] if level == offsets.size - 1 else offsets[level + 1]
            for place in range((stop - offsets[level]) // 16):
                total = _sum_of_children(nodes, tree, offsets[level] // 16 + place)
                forest[tree, offsets[level - 1] + place] = total


_sum_levels = kernel(_sum_levels_python)
set_weights = kernel(set_weights_python)


def rebuild_python(forest: NDArray[np.float64], offsets: NDArray[np.int64]) -> None:
    """Recompute every inner node from the leaves as they stand."""
    _sum_levels(forest, offsets, offsets.size - 1)


rebuild = kernel(rebuild_python)


def find_python(
    forest: NDArray[np.float64],
    offsets: NDArray[np.int64],
    trees: NDArray[np.int64],
    points: NDArray[np.float64],
    slots: NDArray[np.int64],
) -> None:
    """Write into slots (n,) where points (n,) lie: slot s covers the interval of length w_s behind those before it.

    It never finds a slot of weight 0. Where rounding leaves a point beyond the last child, the last one with a weight
    is taken. Every tree in `trees` needs a positive weight. `points` is overwritten.
    """
    nodes = forest.reshape(forest.shape[0], forest.shape[1] // 16, 16)
    for k in range(points.size):
        slots[k] = 0
    for level in range(1, offsets.size):
        below = offsets[min(level + 1, offsets.size - 1)]
        for k in range(points.size):
            tree = trees[k]
            node = offsets[level] // 16 + slots[k]
            point = points[k]
            taken = 0
            reached = 0.0
            before = 0.0
            # All children, without an early exit: no branch predictor can guess which child it is.
            for child in range(15):
                reached += nodes[tree, node, child]
                if reached <= point:
                    taken = child + 1
                    before = reached
            while nodes[tree, node, taken] <= 0.0:
                taken -= 1
                before = 0.0  # the point then stays beyond the end on the levels below too
            slot = slots[k] * 16 + taken
            slots[k] = slot
            points[k] = point - before
            # The children of the next level, while those of the other points are read on this one.
            prefetch(forest, tree, below + slot * 16)
            prefetch(forest, tree, below + slot * 16 + LINE)


find = kernel(find_python)


class SumForest:
    """`trees` sum trees over the same `capacity` slots. Arguments are not checked here.

    forest   float64 (trees, nodes), see the module's docstring
    offsets  int64 (levels,), where each level begins
    """

    def __init__(self, trees: int, capacity: int) -> None:
        self.capacity = capacity
        self.offsets, nodes = tree_layout(capacity)
        self.forest: NDArray[np.float64] = aligned_zeros((trees, nodes), np.float64)

    @property
    def totals(self) -> NDArray[np.float64]:
        """The sum of all weights of each tree, float64 (trees,): a view."""
        return self.forest[:, 0]

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weights, float64 (trees, capacity): a view; call `rebuild` after writing to it."""
        first = int(self.offsets[-1])
        return self.forest[:, first : first + self.capacity]

    def rebuild(self) -> None:
        """Recompute the sums after the weights were written."""
        rebuild(self.forest, self.offsets)

    def check_valid(self) -> tuple[bool, str]:
        """Whether weights are finite and >= 0 and every node has the bits of its children's sum; else (False, rule)."""
        leaves = self.forest[:, int(self.offsets[-1]) :]
        for tree, slot in np.argwhere(~(np.isfinite(leaves) & (leaves >= 0.0))):
            return False, f"weights are finite and >= 0; slot {slot} of tree {tree} has {leaves[tree, slot]!r}"
        if np.any(leaves[:, self.capacity :]):
            return False, f"slots behind the capacity {self.capacity} have no weight; one has"
        again = self.forest.copy()
        rebuild(again, self.offsets)
        for tree, node in np.argwhere(again != self.forest):
            value, total = self.forest[tree, node], again[tree, node]
            return False, f"node {node} of tree {tree} is {value!r}, its children sum to {total!r}"
        return True, ""
