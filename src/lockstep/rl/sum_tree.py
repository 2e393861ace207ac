"""Sum trees: draw one of a million weighted slots in five cache-friendly steps, without any drift of the sums.

Notation
    B        children of a node, 16: a node's children fill two cache lines of 64 bytes
    forest   float64 (trees, nodes): one or more trees over the same slots. In each row the levels follow each other
             from the root (level 0) to the leaves, every level padded to B
    offsets  int64 (levels,), where each level begins; slot s has the leaf forest[tree, offsets[-1] + s]
    w_s      weight of slot s in a tree, finite and >= 0; a slot that may not be drawn from it has weight 0

Every inner node is the sum of its children, added from left to right whenever one of them changes. So a tree is a
function of its leaves alone: no rounding gathers, and one built anew from stored weights has the same bits. (A tree
that adds differences up its path instead is faster to update, and wrong after a few million updates.)

Many slots are found or changed level by level, not slot by slot: the fetches of one level do not wait for each other.
Each kernel has its Python twin `<name>_python`, the very same source, which gives the same bits.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

import numpy as np

from lockstep.core.compiled import kernel

if TYPE_CHECKING:
    from numpy.typing import NDArray

WIDTH: Final = 16
_LINE_BYTES: Final = 64


def aligned_zeros(shape: tuple[int, ...], dtype: type[np.generic]) -> NDArray[Any]:
    """Zeros whose first byte opens a cache line, so that a row or node of 64 bytes never straddles two."""
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


def _sum_of_children_python(forest: NDArray[np.float64], tree: int, first: int) -> float:
    total = 0.0
    for child in range(16):
        total += forest[tree, first + child]
    return total


_sum_of_children: Any = kernel(_sum_of_children_python)


def set_weights_python(
    forest: NDArray[np.float64],
    offsets: NDArray[np.int64],
    trees: NDArray[np.int64],
    slots: NDArray[np.int64],
    weights: NDArray[np.float64],
) -> None:
    """Give slots (n,) of trees (n,) their weights (n,); of one named twice the last weight stays."""
    nodes = np.empty(slots.size, np.int64)
    leaves = offsets.size - 1
    for k in range(slots.size):
        forest[trees[k], offsets[leaves] + slots[k]] = weights[k]
        nodes[k] = slots[k]
    for level in range(leaves, 0, -1):
        for k in range(slots.size):
            node = nodes[k] // 16
            forest[trees[k], offsets[level - 1] + node] = _sum_of_children(forest, trees[k], offsets[level] + node * 16)
            nodes[k] = node


set_weights: Any = kernel(set_weights_python)


def set_weight_python(
    forest: NDArray[np.float64], offsets: NDArray[np.int64], tree: int, slot: int, weight: float
) -> None:
    """Give one slot of one tree its weight."""
    level = offsets.size - 1
    forest[tree, offsets[level] + slot] = weight
    node = slot
    while level > 0:
        node //= 16
        forest[tree, offsets[level - 1] + node] = _sum_of_children(forest, tree, offsets[level] + node * 16)
        level -= 1


set_weight: Any = kernel(set_weight_python)


def rebuild_python(forest: NDArray[np.float64], offsets: NDArray[np.int64]) -> None:
    """Recompute every inner node from the leaves as they stand."""
    for tree in range(forest.shape[0]):
        for level in range(offsets.size - 1, 0, -1):
            stop = forest.shape[1] if level == offsets.size - 1 else offsets[level + 1]
            for node in range((stop - offsets[level]) // 16):
                total = _sum_of_children(forest, tree, offsets[level] + node * 16)
                forest[tree, offsets[level - 1] + node] = total


rebuild: Any = kernel(rebuild_python)


def find_python(
    forest: NDArray[np.float64],
    offsets: NDArray[np.int64],
    trees: NDArray[np.int64],
    points: NDArray[np.float64],
    slots: NDArray[np.int64],
) -> None:
    """The slots (n,) whose stretches of the line 0 .. sum of weights hold points (n,); never one of weight 0.

    Stretches lie in order of slots. Where rounding leaves a point beyond the last child, the last one with a weight is
    taken. Every tree named has a positive weight. `points` is used up.
    """
    for k in range(points.size):
        slots[k] = 0
    for level in range(1, offsets.size):
        for k in range(points.size):
            first = offsets[level] + slots[k] * 16
            point = points[k]
            taken = 0
            reached = 0.0
            before = 0.0
            # All children, without leaving early: which one it is cannot be foreseen, and a branch would be missed.
            for child in range(15):
                reached += forest[trees[k], first + child]
                if reached <= point:
                    taken = child + 1
                    before = reached
            while forest[trees[k], first + taken] <= 0.0:
                taken -= 1
                before = 0.0  # the point stays beyond the end, on the levels below too
            slots[k] = slots[k] * 16 + taken
            points[k] = point - before


find: Any = kernel(find_python)


class SumForest:
    """`trees` sum trees over the same `capacity` slots; arguments are checked by whoever uses it.

    Attributes:
        forest: float64 (trees, nodes), see the module's docstring.
        offsets: int64 (levels,).
    """

    def __init__(self, trees: int, capacity: int) -> None:
        self.capacity = capacity
        self.offsets, nodes = tree_layout(capacity)
        self.forest: NDArray[np.float64] = aligned_zeros((trees, nodes), np.float64)

    @property
    def totals(self) -> NDArray[np.float64]:
        """The sum of all weights of each tree, (trees,): a view."""
        return self.forest[:, 0]

    @property
    def weights(self) -> NDArray[np.float64]:
        """The weights, float64 (trees, capacity): a view; `rebuild` comes after writing to it."""
        first = int(self.offsets[-1])
        return self.forest[:, first : first + self.capacity]

    def rebuild(self) -> None:
        """Recompute the sums after the weights were written."""
        rebuild(self.forest, self.offsets)

    def check_valid(self) -> tuple[bool, str]:
        """Whether weights are finite and >= 0 and every node has the bits of its children's sum; else which is not."""
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
