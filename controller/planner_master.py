"""The master of Dantzig and Wolfe: the best mixture of known paths under the cap, and the prices that go with it; pure.

One thread, primal simplex and no presolve: the same columns in the same order give the same bits. Columns are only added, so each
solution starts from the last.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import highspy
import numpy as np

from controller.planner_sums import dot

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.planner_columns import Columns

PRIMAL_SIMPLEX: Final = 4
MOST_NODES: Final = 20
FEASIBLE: Final = 2
"""HiGHS's word for a solution that keeps all rows."""
LEAST_KW: Final = 1e-12
"""Less power than this is none: it would only be noise in the master."""


@dataclass(frozen=True)
class Mixture:
    """How many units (fractions of them too) take which column, what they earn, and what the cap's last kWh is worth."""

    units: NDArray[np.float64]
    numbers: NDArray[np.intp]
    value_usd: float
    prices: NDArray[np.float64]


def quiet_highs() -> highspy.Highs:
    """HiGHS without output, on one thread, always the same."""
    highs = highspy.Highs()  # type: ignore[no-untyped-call]
    highs.setOptionValue("output_flag", False)
    highs.setOptionValue("threads", 1)
    highs.setOptionValue("parallel", "off")
    highs.setOptionValue("random_seed", 0)
    return highs


class Master:
    """The linear program: per class as many units as it has, per capped slot no more power than there is.

    `least_kw` [classes] is what a unit draws at the very least: rows count only what is above it.
    """

    def __init__(
        self,
        columns: Columns,
        counts: NDArray[np.float64],
        cap_kw: NDArray[np.float64],
        capped: NDArray[np.bool_],
        hours: NDArray[np.float64],
        least_kw: NDArray[np.float64],
    ) -> None:
        self._columns = columns
        self._counts = counts
        self._rows = np.flatnonzero(capped)
        self._hours = hours
        self._least_kw = least_kw
        self._numbers: list[int] = []
        self._known: set[int] = set()
        self._highs = quiet_highs()
        self._highs.setOptionValue("solver", "simplex")
        self._highs.setOptionValue("simplex_strategy", PRIMAL_SIMPLEX)
        self._highs.setOptionValue("presolve", "off")
        empty_at, empty = np.zeros(0, dtype=np.int32), np.zeros(0)
        for count in counts.tolist():
            self._highs.addRow(count, count, 0, empty_at, empty)
        for room in (cap_kw[self._rows] - dot(counts, least_kw)).tolist():
            self._highs.addRow(-highspy.kHighsInf, room, 0, empty_at, empty)
        self._highs.changeObjectiveSense(highspy.ObjSense.kMaximize)

    @property
    def numbers(self) -> NDArray[np.intp]:
        """The columns it knows, in its order."""
        return np.array(self._numbers, dtype=np.intp)

    def add(self, numbers: Sequence[int]) -> bool:
        """Take in these columns; False if all of them were in already."""
        new = [number for number in dict.fromkeys(numbers) if number not in self._known]
        if not new:
            return False
        self._known.update(new)
        self._numbers += new
        owners = self._columns.owner[new]
        above = self._columns.kw[new][:, self._rows] - self._least_kw[owners][:, None]
        filled = above > LEAST_KW
        starts = np.concatenate([[0], np.cumsum(filled.sum(axis=1) + 1)])
        at = np.empty(starts[-1], dtype=np.int32)
        values = np.empty(starts[-1])
        first = len(self._counts)
        for index, owner in enumerate(owners.tolist()):
            inner = slice(starts[index] + 1, starts[index + 1])
            at[starts[index]], values[starts[index]] = owner, 1.0
            at[inner], values[inner] = first + np.flatnonzero(filled[index]), above[index, filled[index]]
        count = len(new)
        self._highs.addCols(
            count,
            self._columns.worth_usd[new],
            np.zeros(count),
            np.full(count, highspy.kHighsInf),
            int(starts[-1]),
            starts[:-1].astype(np.int32),
            at,
            values,
        )
        return True

    def solve(self) -> Mixture | None:
        """The best mixture of the columns so far; None if HiGHS finds none, which only its own numerics can cause."""
        self._highs.run()
        if self._highs.getModelStatus() != highspy.HighsModelStatus.kOptimal:
            return None
        solution = self._highs.getSolution()
        prices = np.zeros(len(self._hours))
        shadow = np.asarray(solution.row_dual)[len(self._counts) :]
        prices[self._rows] = np.maximum(shadow, 0.0) / self._hours[self._rows]
        return Mixture(
            np.maximum(np.asarray(solution.col_value), 0.0),
            self.numbers,
            float(self._highs.getObjectiveValue()),
            prices,
        )

    def whole(self, start: NDArray[np.float64]) -> NDArray[np.float64] | None:
        """Whole units, in the order of `numbers`: the best found from a start at the root of a search; None if there is none.

        The master is of no other use afterwards.
        """
        highs, count = self._highs, len(self._numbers)
        kinds = np.full(count, highspy.HighsVarType.kInteger.value, dtype=np.uint8)
        highs.changeColsIntegrality(count, np.arange(count, dtype=np.int32), kinds)
        highs.setOptionValue("presolve", "choose")
        highs.setOptionValue("solver", "choose")
        highs.setOptionValue("mip_max_nodes", MOST_NODES)
        solution = highspy.HighsSolution()
        solution.col_value = start.tolist()
        highs.setSolution(solution)
        highs.run()
        values = np.asarray(highs.getSolution().col_value)
        found = len(values) == count and highs.getInfo().primal_solution_status == FEASIBLE
        return np.rint(values) if found else None
