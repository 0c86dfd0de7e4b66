"""Trees as arrays tell what walking down each of them would, the same bits for a row alone and among many."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.worth_trees import AT_ONCE, LEAF, MOST_LEAVES, UNIT, Tree, Trees, TreesError, grown

FEATURES = 5


def random_tree(random: np.random.Generator, leaves: int) -> Tree:
    """A tree that was grown by splitting leaves at random."""
    feature, threshold, left, right, leaf = [0], [0.0], [0], [0], [True]
    while sum(leaf) < leaves:
        node = int(random.choice(np.flatnonzero(leaf)))
        leaf[node] = False
        feature[node] = int(random.integers(FEATURES))
        threshold[node] = float(np.round(random.normal(), 1))  # few different ones: several trees share them
        left[node], right[node] = len(leaf), len(leaf) + 1
        for column in (feature, left, right):
            column += [0, 0]
        threshold += [0.0, 0.0]
        leaf += [True, True]
    value = random.normal(size=len(leaf))
    return Tree(*(np.array(column) for column in (feature, threshold, left, right, value, leaf)))


def walked(trees: list[Tree], base: float, row: np.ndarray) -> float:
    told = base
    for tree in trees:
        node = 0
        while not tree.leaf[node]:
            goes_left = row[tree.feature[node]] <= tree.threshold[node]
            node = int(tree.left[node] if goes_left else tree.right[node])
        told += float(tree.value[node])
    return told


def forest(seed: int, count: int = 7, most: int = MOST_LEAVES) -> list[Tree]:
    random = np.random.default_rng(seed)
    return [random_tree(random, int(random.integers(1, most + 1))) for _ in range(count)]


def rows_of(seed: int, count: int) -> np.ndarray:
    rows = np.random.default_rng(seed).normal(size=(count, FEATURES)).astype(np.float32)
    rows[::3] = np.round(rows[::3], 1)  # many lie on a threshold
    return rows


@settings(max_examples=40)
@given(seed=st.integers(0, 10_000), most=st.sampled_from([1, 2, 31, 32, 33, MOST_LEAVES]))
def test_a_prediction_is_the_sum_of_the_leaves_each_tree_leads_to(seed: int, most: int) -> None:
    trees = forest(seed, most=most)
    rows = rows_of(seed, 20)
    told = grown(trees, 0.25).predict(rows)
    assert told == pytest.approx([walked(trees, 0.25, row) for row in rows], abs=len(trees) * UNIT)


@settings(max_examples=30)
@given(seed=st.integers(0, 100), first=st.integers(0, 80), count=st.integers(1, 2 * AT_ONCE))
def test_a_row_is_judged_the_same_alone_and_among_others(seed: int, first: int, count: int) -> None:
    trees = grown(forest(seed, 3), -0.5)
    rows = rows_of(seed, 3 * AT_ONCE)
    part = rows[first : first + count]
    assert trees.predict(part).tobytes() == trees.predict(rows)[first : first + count].tobytes()
    assert trees.predict(np.asfortranarray(part)).tobytes() == trees.predict(part).tobytes()


def test_a_feature_on_a_threshold_goes_left_as_it_did_in_double_precision() -> None:
    below, above = np.float32(0.1), np.nextafter(np.float32(0.1), np.float32(1))
    middle = (float(below) + float(above)) / 2
    tree = Tree(
        *(
            np.array(c)
            for c in ([0, 0, 0], [middle, 0, 0], [1, 0, 0], [2, 0, 0], [0, -1.0, 1.0], [False, True, True])
        )
    )
    trees = grown([tree], 0.0)
    assert trees.predict(np.array([[below], [above]], np.float32)).tolist() == [-1.0, 1.0]


def test_trees_that_ask_nothing_tell_their_value() -> None:
    assert grown(forest(1, 4, most=1), 1.5).predict(np.zeros((2, 0), np.float32)).shape == (2,)
    assert grown([forest(1, 1, most=1)[0]], 0.0).predict(np.zeros((0, 3), np.float32)).shape == (0,)


def test_rows_with_too_few_features_are_refused() -> None:
    trees = grown(forest(3), 0.0)
    with pytest.raises(ValueError, match="ask for 5 features"):
        trees.predict(np.zeros((2, FEATURES - 1), np.float32))


def test_what_cannot_be_kept_is_refused_when_it_is_grown() -> None:
    tree = forest(5, 1, most=8)[0]
    with pytest.raises(TreesError, match="no trees"):
        grown([], 0.0)
    for value in (np.nan, np.inf, 1e3):
        with pytest.raises(TreesError, match="not a number or too large"):
            grown([replace(tree, value=np.full(len(tree.leaf), value))], 0.0)
    with pytest.raises(TreesError, match="below 255"):
        grown([replace(tree, feature=np.full(len(tree.leaf), LEAF))], 0.0)
    with pytest.raises(TreesError, match="more than 64 leaves"):
        grown([random_tree(np.random.default_rng(1), MOST_LEAVES + 1)], 0.0)


def changed(trees: Trees, name: str, at: int, value: float) -> None:
    column = getattr(trees, name).copy()
    column[at] = value
    replace(trees, **{name: column})


def test_arrays_that_are_no_trees_are_refused() -> None:
    trees = grown([random_tree(np.random.default_rng(2), 6), random_tree(np.random.default_rng(3), 4)], 0.0)
    with pytest.raises(TreesError, match="later node"):
        changed(trees, "left", 0, 0)  # a circle
    with pytest.raises(TreesError, match="later node"):
        changed(trees, "right", 0, 60_000)
    with pytest.raises(TreesError, match="one parent"):
        changed(trees, "left", 0, int(trees.right[0]))
    with pytest.raises(TreesError, match="one parent"):
        changed(trees, "feature", 0, LEAF)  # a tree that nothing leads into
    with pytest.raises(TreesError, match="threshold is not a number"):
        changed(trees, "threshold", 0, np.nan)
    with pytest.raises(TreesError, match="follow one another"):
        changed(trees, "starts", 0, 1)
    with pytest.raises(TreesError, match="follow one another"):
        replace(trees, starts=np.zeros(0, np.uint32))
    with pytest.raises(TreesError, match="not of 18 nodes"):
        replace(trees, value=trees.value[:-1])
    with pytest.raises(TreesError, match="no room"):
        replace(trees, base=2**31)
