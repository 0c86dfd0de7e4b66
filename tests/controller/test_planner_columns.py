from __future__ import annotations

import numpy as np

from controller.planner_columns import FIRST_ROOM, Columns
from controller.program import Paths


def paths(*modes: list[int]) -> Paths:
    table = np.array(modes, dtype=np.uint8)
    return Paths(table.sum(axis=1) * 1.0, table.sum(axis=1) * 2.0, table, table * 3.0)


def test_the_same_path_of_the_same_class_comes_once() -> None:
    columns = Columns(2)
    assert columns.add(paths([1, 2], [1, 2]), np.array([0, 1])).tolist() == [0, 1]
    assert columns.add(paths([0, 2], [1, 2]), np.array([0, 0])).tolist() == [2, 0]
    assert len(columns) == 3
    assert columns.owner.tolist() == [0, 1, 0]
    assert columns.worth_usd.tolist() == [6.0, 6.0, 4.0]
    assert columns.modes.tolist() == [[1, 2], [1, 2], [0, 2]]
    assert columns.kw.tolist() == [[3.0, 6.0], [3.0, 6.0], [0.0, 6.0]]


def test_a_table_grows_and_keeps_what_it_has() -> None:
    columns = Columns(2)
    many = [[index % 256, index // 256] for index in range(3 * FIRST_ROOM)]
    numbers = columns.add(paths(*many), np.zeros(len(many), dtype=np.intp))
    assert numbers.tolist() == list(range(len(many)))
    assert columns.modes.tolist() == many
