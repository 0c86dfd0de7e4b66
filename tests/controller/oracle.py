"""What the best plan is worth by another way: every unit, slot and mode a variable of a mixed-integer program that HiGHS solves.

It says the same as controller/program.py, but nothing of it is shared: costs, dwell, starts per day, obligations, dead band, and the
site's cap over all units. For tests of small instances.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import highspy
import numpy as np

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.plan import Slot
    from controller.program import UnitClass


@dataclass(frozen=True)
class Optimum:
    """The value of the best plan in USD, and the path of every unit, classes in order."""

    value_usd: float
    paths: list[list[int]]


@dataclass
class Model:
    """Columns with their earnings and bounds, rows with their terms."""

    earns: list[float] = field(default_factory=list)
    lower: list[float] = field(default_factory=list)
    upper: list[float] = field(default_factory=list)
    whole: list[bool] = field(default_factory=list)
    rows: list[tuple[float, float, dict[int, float]]] = field(default_factory=list)

    def column(self, earns: float = 0.0, upper: float = 1.0, *, whole: bool = False) -> int:
        self.earns.append(earns)
        self.lower.append(0.0)
        self.upper.append(upper)
        self.whole.append(whole)
        return len(self.earns) - 1

    def at_least(self, terms: dict[int, float], least: float) -> None:
        self.rows.append((least, highspy.kHighsInf, terms))

    def at_most(self, terms: dict[int, float], most: float) -> None:
        self.rows.append((-highspy.kHighsInf, most, terms))

    def exactly(self, terms: dict[int, float], value: float) -> None:
        self.rows.append((value, value, terms))

    def solve(self) -> list[float] | None:
        """The best values of the columns, None where there is no plan."""
        model = highspy.HighsLp()
        model.num_col_, model.num_row_ = len(self.earns), len(self.rows)
        model.sense_ = highspy.ObjSense.kMaximize
        model.col_cost_ = np.array(self.earns)
        model.col_lower_, model.col_upper_ = np.array(self.lower), np.array(self.upper)
        model.row_lower_ = np.array([row[0] for row in self.rows])
        model.row_upper_ = np.array([row[1] for row in self.rows])
        model.integrality_ = [
            highspy.HighsVarType.kInteger if whole else highspy.HighsVarType.kContinuous
            for whole in self.whole
        ]
        model.a_matrix_.format_ = highspy.MatrixFormat.kRowwise
        model.a_matrix_.start_ = np.cumsum([0, *(len(row[2]) for row in self.rows)])
        model.a_matrix_.index_ = np.array([column for row in self.rows for column in row[2]])
        model.a_matrix_.value_ = np.array([value for row in self.rows for value in row[2].values()])
        solver = highspy.Highs()
        for option, value in (
            ("output_flag", False),
            ("threads", 1),
            ("mip_rel_gap", 0.0),
            ("mip_abs_gap", 0.0),
        ):
            solver.setOptionValue(option, value)
        solver.passModel(model)
        solver.run()
        if solver.getModelStatus() == highspy.HighsModelStatus.kInfeasible:
            return None
        assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal, solver.getModelStatus()
        return list(solver.getSolution().col_value)


def optimum(
    classes: Sequence[UnitClass],
    slots: Sequence[Slot],
    prices: Sequence[float] = (),
    *,
    dead_band: float = 0.0,
    worth_slot: int = 0,
) -> Optimum | None:
    """The best plan that keeps every slot's cap; None where none does. Each kWh costs `prices` more."""
    model = Model()
    extra = list(prices) or [0.0] * len(slots)
    modes_of = [_unit(model, each, slots, dead_band, extra) for each in classes for _ in range(each.count)]
    units = [each for each in classes for _ in range(each.count)]
    for columns, each in zip(modes_of, units, strict=True):
        for m, usd in enumerate(each.worth_usd):
            model.earns[columns[worth_slot][m]] += usd
    curves = [each.unit.curve for each in units]
    for t, slot in enumerate(slots):
        if slot.cap_kw < float("inf"):
            drawn = {
                columns[t][m]: mode.watts / 1000
                for columns, curve in zip(modes_of, curves, strict=True)
                for m, mode in enumerate(curve.modes)
            }
            model.at_most(drawn, slot.cap_kw)
    values = model.solve()
    if values is None:
        return None
    paths = [[max(range(len(row)), key=lambda m: values[row[m]]) for row in rows] for rows in modes_of]
    return Optimum(float(np.dot(values, model.earns)), paths)


def _unit(
    model: Model, each: UnitClass, slots: Sequence[Slot], dead_band: float, prices: Sequence[float]
) -> list[list[int]]:
    """The columns of one unit, per slot and mode, with everything that binds it."""
    modes = each.unit.curve.modes
    names = [mode.name for mode in modes]
    allowed = [_allowed(each, names, t) for t in range(len(slots))]
    columns, starts, stops = [], [], []
    for t, slot in enumerate(slots):
        hours = slot.duration_s / 3600
        row = []
        for m, mode in enumerate(modes):
            revenue = slot.hashprice_usd_per_ph_day * mode.th_s / 1000 / 24
            earns = (revenue - (slot.power_usd_per_kwh + prices[t]) * mode.watts / 1000) * hours
            if t == 0 and each.standing_mode is not None:
                away_th_s = abs(mode.th_s - modes[each.standing_mode].th_s)
                earns -= dead_band * slot.hashprice_usd_per_ph_day * away_th_s / 1000 / 24 * hours
            row.append(model.column(earns, upper=float(m in allowed[t]), whole=True))
        model.exactly(dict.fromkeys(row, 1.0), 1.0)
        columns.append(row)
        starts.append(model.column())
        stops.append(model.column())
    if each.standing_mode is not None:
        before = [model.column() for _ in modes]
        model.exactly({before[each.standing_mode]: 1.0}, 1.0)
        model.exactly(dict.fromkeys(before, 1.0), 1.0)
        _changes(model, each, slots[0], before, columns[0], starts[0], stops[0])
    for t in range(1, len(slots)):
        _changes(model, each, slots[t], columns[t - 1], columns[t], starts[t], stops[t])
    _dwell(model, each, slots, columns, (starts, stops), allowed)
    _starts_per_day(model, each, slots, starts, [0 not in row for row in allowed])
    return columns


def _dwell(
    model: Model,
    each: UnitClass,
    slots: Sequence[Slot],
    columns: list[list[int]],
    changes: tuple[list[int], list[int]],
    allowed: list[list[int]],
) -> None:
    forced_off = [row == [0] for row in allowed]
    forced_on = [0 not in row for row in allowed]
    starts, stops = changes
    for t in range(len(slots)):
        for k in _held(slots, t, each.unit.min_on_s, forced_off):
            model.at_most({starts[t]: 1.0, columns[k][0]: 1.0}, 1.0)
        for k in _held(slots, t, each.unit.min_off_s, forced_on):
            model.at_least({columns[k][0]: 1.0, stops[t]: -1.0}, 0.0)
    if each.standing_mode is None:
        return
    running = each.standing_mode > 0
    for k in range(min(each.dwell_left, len(slots))):
        if (forced_off if running else forced_on)[k]:
            break
        model.exactly({columns[k][0]: 1.0}, 0.0 if running else 1.0)


def _allowed(each: UnitClass, names: list[str], t: int) -> list[int]:
    entry = each.allowed[t] if each.allowed else None
    found = [m for m, name in enumerate(names) if entry is None or name in entry]
    return found or list(range(len(names)))


def _changes(
    model: Model, each: UnitClass, slot: Slot, before: list[int], now: list[int], start: int, stop: int
) -> None:
    """A start is seen where a unit was off and is not; what it costs depends on the mode it goes to, and so with a change."""
    model.at_least({start: 1.0, now[0]: 1.0, before[0]: -1.0}, 0.0)
    model.at_least({stop: 1.0, now[0]: -1.0, before[0]: 1.0}, 0.0)
    for m, mode in enumerate(each.unit.curve.modes):
        if m == 0:
            continue
        an_hour = slot.hashprice_usd_per_ph_day * mode.th_s / 1000 / 24
        begun = model.column(-(an_hour * each.unit.restart_s / 3600 + each.unit.wear_usd))
        model.at_least({begun: 1.0, now[m]: -1.0, before[0]: -1.0}, -1.0)
        changed = model.column(-(an_hour * each.unit.change_s / 3600))
        model.at_least({changed: 1.0, now[m]: -1.0, before[m]: 1.0, before[0]: 1.0}, 0.0)


def _held(slots: Sequence[Slot], t: int, dwell_s: float, forced: list[bool]) -> list[int]:
    """The slots after t in which who changed sides in t must still be there: until an obligation ends it."""
    held = []
    lasted_s = slots[t].duration_s
    for k in range(t + 1, len(slots)):
        if lasted_s >= dwell_s - 1e-6 or forced[k]:
            break
        held.append(k)
        lasted_s += slots[k].duration_s
    return held


def _starts_per_day(
    model: Model, each: UnitClass, slots: Sequence[Slot], starts: list[int], forced_on: list[bool]
) -> None:
    """Who may choose starts only if fewer than the limit came before it that day; who must, starts."""
    for t, slot in enumerate(slots):
        limit = each.unit.starts_per_day
        if slot.day == slots[0].day and each.starts_left is not None:
            limit = each.starts_left
        if limit is None or forced_on[t]:
            continue
        earlier = {starts[k]: 1.0 for k in range(t) if slots[k].day == slot.day}
        model.at_most(earlier | {starts[t]: float(len(slots))}, limit - 1 + float(len(slots)))
