"""Prices on power under a site cap: the Lagrangian dual, a start in merit order, and Polyak's steps down to its least; pure.

The dual at prices p >= 0 (USD/kWh per slot) is what all units earn on their best paths when each kWh costs p more, plus what the whole
cap costs at p. No plan that keeps the cap earns more, whatever p is; the least of it over p is the bound.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from controller.economics import W_PER_KW
from controller.planner_sums import dot, weighted
from controller.program_tables import hull_steps

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.plan import Slot
    from controller.planner_columns import Columns
    from controller.program import Paths, Program

ROUNDING: Final = 16 * math.ulp(1.0)
"""What one addition may be off, with room, as a part of what is added."""
PATIENCE: Final = 6
"""Steps without a better bound before the aim is taken nearer."""
NOTHING: Final = 1e-6
SLACK: Final = 1e-9
"""By how much a load may exceed a cap, as a part of it: sums of many units are no more exact."""


@dataclass(frozen=True)
class Look:
    """The dual at some prices: its value in USD, the load of all units in kW, and their paths."""

    prices: NDArray[np.float64]
    value_usd: float
    load_kw: NDArray[np.float64]
    paths: Paths


class Dual:
    """The dual of a program under a cap, the best bound so far, and how often it was looked at.

    `counts` may be fractions: those of a sample that stands for more. Columns, if any, keep every path seen. A slot whose cap is
    beyond what all units can draw has no price.
    """

    def __init__(
        self,
        program: Program,
        counts: NDArray[np.float64],
        cap_kw: NDArray[np.float64],
        columns: Columns | None = None,
    ) -> None:
        self.program = program
        self.counts = counts
        self.capped: Final = cap_kw < dot(counts, program.curves.most_kw) * (1 - SLACK)
        self.cap_kw = np.where(self.capped, cap_kw, 0.0)  # no price, no matter
        self.columns = columns
        self.best_usd = math.inf
        self.best_prices = np.zeros(len(cap_kw))
        self.last_numbers = np.zeros(0, dtype=np.intp)
        self.scale_usd = _scale_usd(program, counts)
        self._all = np.arange(len(program.classes), dtype=np.intp)

    def look(self, prices: NDArray[np.float64]) -> Look:
        """Every class's best path at these prices (those of slots without a cap count as 0)."""
        prices = np.where(self.capped, np.maximum(prices, 0.0), 0.0)
        paths = self.program.best(prices)
        cost = prices * self.program.hours * self.cap_kw
        load_kw = weighted(self.counts, paths.kw)
        terms = [*(self.counts * paths.value_usd).tolist(), *cost.tolist()]
        usd = math.fsum(terms)
        # What the program's own sums may be off by is added, so that the bound stays one.
        magnitude = self.scale_usd + dot(prices * self.program.hours, load_kw + self.cap_kw)
        usd += ROUNDING * magnitude
        if self.columns is not None:
            self.last_numbers = self.columns.add(paths, self._all)
        if usd < self.best_usd:
            self.best_usd, self.best_prices = usd, prices
        return Look(prices, usd, load_kw, paths)

    def is_near(self, usd: float, share: float) -> bool:
        """Whether the bound is within that share of a value."""
        return self.best_usd - usd <= share * self.size_usd

    @property
    def size_usd(self) -> float:
        """What gaps are a share of: the bound, and where it is next to nothing a millionth of what is added up to it."""
        return max(abs(self.best_usd), NOTHING * self.scale_usd)


def _scale_usd(program: Program, counts: NDArray[np.float64]) -> float:
    """More than the sum of all that is added up for any path, without signs."""
    revenue, power = np.abs(program.usd_per_th).sum(), (np.abs(program.power) * program.hours).sum()
    lost, curves, costs = np.abs(program.usd_per_th_hour).sum(), program.curves, program.costs
    hours = costs["restart_h"] + costs["change_h"]
    each_usd = curves.full_th_s * (2 * revenue + hours * lost) + curves.most_kw * power
    each_usd = each_usd + np.abs(program.mode_worths()).max(axis=1, initial=0.0)
    return dot(counts, each_usd + len(program.hours) * costs["wear_usd"])


def start_of(slots: Sequence[Slot], prices: Sequence[tuple[float, float]]) -> NDArray[np.float64] | None:
    """Prices of an earlier plan for these slots: each holds from its start to the next one's; None where there are none."""
    known = sorted((start, price) for start, price in prices if math.isfinite(start) and math.isfinite(price))
    if not known:
        return None
    at = np.searchsorted([start for start, _ in known], [slot.start for slot in slots], side="right") - 1
    values = np.array([price for _, price in known])
    return np.where(at >= 0, np.maximum(values[np.maximum(at, 0)], 0.0), 0.0)


def merit_order(
    program: Program, counts: NDArray[np.float64], cap_kw: NDArray[np.float64]
) -> NDArray[np.float64]:
    """The prices that would keep the cap if changes cost nothing: in each slot, what the first step that has no room would earn.

    The order of the steps of all curves by TH/s per kW is the same in every slot, so they are sorted once; not in the slot in which
    modes have a worth of their own.
    """
    curves = program.curves
    th_s, watts = curves.steps()
    units = np.zeros(len(watts))
    np.add.at(units, curves.of, counts)
    least_kw = dot(counts, curves.off_kw)
    th_s_per_kw = _first_without_room(th_s, _Drawn(watts, units, least_kw), cap_kw)
    earned: NDArray[np.float64] = program.usd_per_th_hour * th_s_per_kw
    worths = program.mode_worths()
    if worths.any():
        at = program.worth_slot
        usd_per_hour = program.usd_per_th_hour[at] * curves.th_s[curves.of] + worths / program.hours[at]
        gains, watts = hull_steps(usd_per_hour, curves.watts[curves.of])
        earned[at] = _first_without_room(gains, _Drawn(watts, counts, least_kw), cap_kw[at])
    return np.maximum(earned - program.power, 0.0)


class _Drawn(NamedTuple):
    """Watts of steps [rows, steps], the units of each row, and what all units draw without any step."""

    watts: NDArray[np.float64]
    units: NDArray[np.float64]
    least_kw: float


def _first_without_room(gains: NDArray[np.float64], drawn: _Drawn, cap_kw: NDArray[np.float64]) -> Any:
    """What the first of all steps that finds no room under each cap gains per kW; 0 where all find some."""
    there = drawn.watts > 0
    per_kw = gains[there] / drawn.watts[there] * W_PER_KW
    drawn_kw = (drawn.units[:, None] * drawn.watts)[there] / W_PER_KW
    order = np.argsort(-per_kw, kind="stable")
    first_out = np.searchsorted(drawn.least_kw + np.cumsum(drawn_kw[order]), cap_kw, side="right")
    return np.append(per_kw[order], 0.0)[first_out]


def descend(
    dual: Dual, start: NDArray[np.float64], *, passes: int, aim: float, stop: float
) -> list[NDArray[np.intp]]:
    """Polyak's steps: each as long as if the least were the best so far less the share `aim`; returns the columns of each pass.

    The aim is halved when `PATIENCE` steps found nothing better, from the best prices again; below `stop` it is over.
    """
    seen: list[NDArray[np.intp]] = []
    hours = dual.program.hours
    look = best = dual.look(start)
    seen.append(dual.last_numbers)
    idle = 0
    while len(seen) < passes and aim > stop:
        slope = np.where(dual.capped, (dual.cap_kw - look.load_kw) * hours, 0.0)
        slope[(look.prices <= 0) & (slope > 0)] = 0.0
        steep = dot(slope, slope)
        if steep <= 0:  # nothing over the cap, nothing under it that has a price: this is the least
            break
        short = aim * dual.size_usd
        step = (look.value_usd - best.value_usd + short) / steep
        look = dual.look(look.prices - step * slope)
        seen.append(dual.last_numbers)
        if look.value_usd < best.value_usd:
            best, idle = look, 0
            continue
        idle += 1
        if idle >= PATIENCE:
            look, idle, aim = best, 0, aim / 2
    return seen
