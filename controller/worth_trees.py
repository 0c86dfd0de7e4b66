"""Boosted trees as arrays: what was learned elsewhere, judged here with numpy alone; pure.

A tree's node asks whether a feature is at most a threshold (left) or above it (right); a leaf has a value, and a row's prediction is the
sum of its leaves' values. Values are whole numbers of `UNIT`, so that a sum is the same in whatever order it is added.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

UNIT: Final = 2.0**-24
"""One of a leaf's value: small enough for a worth of millions of a block's cost to be summed, too fine to matter."""
LEAF: Final = 255
"""The feature of a node that asks nothing."""
MOST_LEAVES: Final = 64
"""A leaf each is a bit of a machine word."""
AT_ONCE: Final = 32
"""Rows judged at a time: what they need fits the processor's cache."""


class TreesError(ValueError):
    """These arrays are no trees."""


@dataclass(frozen=True, slots=True)
class Tree:
    """One tree as a learner has it, node 0 its root: `feature`, `threshold` (at most it: left), `left`, `right`, `value`, `leaf` per node."""

    feature: NDArray[np.int64]
    threshold: NDArray[np.float64]
    left: NDArray[np.int64]
    right: NDArray[np.int64]
    value: NDArray[np.float64]
    leaf: NDArray[np.bool_]


@dataclass(frozen=True, eq=False)
class Trees:
    """Trees one after another: `starts` [trees] says where each one's nodes begin, `left` and `right` count from there.

    `feature` is `LEAF` for a leaf, and only a leaf's `value` (in `UNIT`) counts; `base` (in `UNIT`) is added to every sum. Raises
    TreesError for arrays that are no trees: each node but a root must have one parent that comes before it.
    """

    feature: NDArray[np.uint8]
    threshold: NDArray[np.float32]
    left: NDArray[np.uint16]
    right: NDArray[np.uint16]
    value: NDArray[np.int32]
    starts: NDArray[np.uint32]
    base: int

    def __post_init__(self) -> None:
        """Refuse what is no forest."""
        _check(self)

    @cached_property
    def lowest_features(self) -> int:
        """How many features a row must have at least."""
        asked = self.feature[self.feature != LEAF]
        return int(asked.max()) + 1 if len(asked) else 0

    @cached_property
    def _tables(self) -> _Tables:
        return _tables(self)

    def predict(self, rows: NDArray[np.float32]) -> NDArray[np.float64]:
        """What the trees say of each row, the same for a row alone and among others."""
        if rows.ndim != 2 or rows.shape[1] < self.lowest_features:  # noqa: PLR2004 (rows and columns)
            raise ValueError(
                f"these trees ask for {self.lowest_features} features a row, not {rows.shape[1:]}"
            )
        tables = self._tables
        sums = np.empty(len(rows), np.int64)
        for first in range(0, len(rows), AT_ONCE):
            sums[first : first + AT_ONCE] = _sums(tables, rows[first : first + AT_ONCE])
        told: NDArray[np.float64] = (sums + self.base).astype(np.float64) * UNIT
        return told


def grown(trees: Sequence[Tree], base: float) -> Trees:
    """The trees as arrays. Thresholds are rounded down to single precision: a feature of single precision falls on the same side.

    Raises TreesError for more than `MOST_LEAVES` leaves a tree, or values that have no room.
    """
    if not trees:
        raise TreesError("there are no trees")
    sizes = [len(tree.leaf) for tree in trees]
    leaf = np.concatenate([tree.leaf for tree in trees]).astype(np.bool_)
    values = np.where(leaf, np.concatenate([tree.value for tree in trees]), 0.0)
    if not (np.isfinite(values).all() and np.abs(np.append(values, base)).max() < 2**31 * UNIT):
        raise TreesError("a leaf's value is not a number or too large")
    exact = np.where(leaf, 0.0, np.concatenate([tree.threshold for tree in trees]))
    threshold = exact.astype(np.float32)
    threshold = np.where(threshold > exact, np.nextafter(threshold, np.float32(-np.inf)), threshold)
    feature = np.concatenate([tree.feature for tree in trees])
    if (feature[~leaf] >= LEAF).any():
        raise TreesError(f"a feature's number must be below {LEAF}")
    return Trees(
        np.where(leaf, LEAF, feature).astype(np.uint8),
        threshold,
        np.where(leaf, 0, np.concatenate([tree.left for tree in trees])).astype(np.uint16),
        np.where(leaf, 0, np.concatenate([tree.right for tree in trees])).astype(np.uint16),
        np.rint(values / UNIT).astype(np.int32),
        np.concatenate(([0], np.cumsum(sizes)[:-1])).astype(np.uint32),
        round(base / UNIT),
    )


@dataclass(frozen=True, slots=True)
class _Tables:
    """The trees by thresholds: a row's place among those of a feature tells, for each tree at once, which leaves it cannot reach.

    `asked`: the features; `edges`: each one's thresholds, rising; `offsets`: where its lines begin in `masks` [lines, trees], whose bits
    are the leaves from left to right that may still be reached; `values` [trees * width]: the leaves' values, `width` a tree.
    """

    asked: tuple[int, ...]
    edges: tuple[NDArray[np.float32], ...]
    offsets: NDArray[np.int64]
    masks: NDArray[np.unsignedinteger]
    values: NDArray[np.int64]
    trees: NDArray[np.int64]


def _sums(tables: _Tables, rows: NDArray[np.float32]) -> NDArray[np.int64]:
    """The sum of the leaves' values of each row: the leftmost leaf of a tree that nothing rules out is the row's."""
    left = None
    for line, (feature, edges) in enumerate(zip(tables.asked, tables.edges, strict=True)):
        lines = edges.searchsorted(rows[:, feature]) + tables.offsets[line]
        reached = tables.masks.take(lines, axis=0)
        left = reached if left is None else np.bitwise_and(left, reached, out=left)
    if left is None:
        return np.full(len(rows), int(tables.values.reshape(len(tables.trees), -1)[:, 0].sum()), np.int64)
    lowest = left & (~left + left.dtype.type(1))
    # A power of two in double precision has its exponent in the upper bits: that is the leaf's number.
    leaf = (lowest.astype(np.float64).view(np.int64) >> 52) - 1023
    sums: NDArray[np.int64] = tables.values.take(leaf + tables.trees).sum(axis=1)
    return sums


def _tables(trees: Trees) -> _Tables:
    """The trees by thresholds; the last step of building them, done once."""
    feature, first_leaf, past_left, leaves = _spans(trees)
    count = len(trees.starts)
    tree_of = np.repeat(np.arange(count), np.diff(np.append(trees.starts, len(trees.feature))))
    width = MOST_LEAVES if leaves.max() > MOST_LEAVES // 2 else MOST_LEAVES // 2
    word = np.uint64 if width == MOST_LEAVES else np.uint32
    # To the right of a threshold the leaves on its left are out of reach.
    one = np.uint64(1)
    lost = (one << past_left.astype(np.uint64)) - (one << first_leaf.astype(np.uint64))
    asked = tuple(int(number) for number in np.unique(feature[feature != LEAF]))
    edges, offsets, masks = [], [], []
    place = 0
    for number in asked:
        nodes = np.flatnonzero(feature == number)
        edge, line = np.unique(trees.threshold[nodes], return_inverse=True)
        mask = np.full((len(edge) + 1, count), np.iinfo(word).max, word)
        np.bitwise_and.at(mask, (line + 1, tree_of[nodes]), (~lost[nodes]).astype(word))
        edges.append(edge)
        offsets.append(place)
        masks.append(np.bitwise_and.accumulate(mask, axis=0))
        place += len(mask)
    at_leaf = np.flatnonzero(feature == LEAF)
    values = np.zeros((count, width), np.int64)
    values[tree_of[at_leaf], first_leaf[at_leaf]] = trees.value[at_leaf]
    return _Tables(
        asked,
        tuple(edges),
        np.array(offsets, np.int64),
        np.concatenate(masks) if masks else np.zeros((0, count), word),
        values.reshape(-1),
        np.arange(count) * width,
    )


def _spans(trees: Trees) -> tuple[NDArray[np.uint8], NDArray[np.int64], NDArray[np.int64], NDArray[np.int64]]:
    """Each node's first leaf from the left and where its left branch's leaves end, and each tree's number of leaves."""
    ends = np.append(trees.starts[1:], len(trees.feature))
    first_leaf = np.zeros(len(trees.feature), np.int64)
    past_left = np.zeros(len(trees.feature), np.int64)
    counts = np.zeros(len(trees.starts), np.int64)
    for number, (start, end) in enumerate(zip(trees.starts.tolist(), ends.tolist(), strict=True)):
        left = trees.left[start:end].tolist()
        right = trees.right[start:end].tolist()
        leaf = (trees.feature[start:end] == LEAF).tolist()
        leaves = [int(is_leaf) for is_leaf in leaf]
        for node in range(end - start - 1, -1, -1):  # children come after their parents
            if not leaf[node]:
                leaves[node] = leaves[left[node]] + leaves[right[node]]
        begins = [0] * (end - start)
        for node in range(end - start):
            if not leaf[node]:
                begins[left[node]] = begins[node]
                begins[right[node]] = begins[node] + leaves[left[node]]
                past_left[start + node] = begins[right[node]]
        first_leaf[start:end] = begins
        counts[number] = leaves[0]
    return trees.feature, first_leaf, past_left, counts


def _check(trees: Trees) -> None:
    """Raise TreesError for what is no forest."""
    nodes = len(trees.feature)
    for name in ("threshold", "left", "right", "value"):
        if getattr(trees, name).shape != (nodes,):
            raise TreesError(f"{name} is not of {nodes} nodes")
    starts = trees.starts.astype(np.int64)
    if not len(starts) or starts[0] != 0 or (np.diff(np.append(starts, nodes)) < 1).any():
        raise TreesError("the trees' nodes do not follow one another")
    if not np.isfinite(trees.threshold).all():
        raise TreesError("a threshold is not a number")
    if not -(2**31) <= trees.base < 2**31:
        raise TreesError("the base has no room")
    sizes = np.diff(np.append(starts, nodes))
    within = np.arange(nodes) - np.repeat(starts, sizes)
    asks = trees.feature != LEAF
    size = np.repeat(sizes, sizes)
    for side in (trees.left, trees.right):
        if ((side <= within) | (side >= size))[asks].any():
            raise TreesError("a node's branch does not lead to a later node of its tree")
    origin = np.repeat(starts, sizes)[asks]
    led_to = np.sort(np.concatenate((origin + trees.left[asks], origin + trees.right[asks])))
    if not np.array_equal(led_to, np.flatnonzero(within > 0)):
        raise TreesError("not every node but a tree's first has one parent")
    if (np.add.reduceat(~asks, starts) > MOST_LEAVES).any():
        raise TreesError(f"a tree has more than {MOST_LEAVES} leaves")
