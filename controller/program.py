"""The best path of a unit through the slots, exactly, by a backward dynamic program over mode, dwell and starts left; pure.

Money is in USD, power in kW, power prices in USD/kWh, hashprice in USD per PH/s and day. A mode is its index in its curve, 0 is off.

In every slot a unit is in one mode. Its margin there is what it hashes less what it draws; a start costs the new mode's revenue for
`restart_s` and `wear_usd`, a change between running modes the new mode's revenue for `change_s`, both at the slot's hashprice and in
the slot of the change; stopping is free. In the first slot every mode but the present one pays the dead band too. In one slot, the
worth slot, being in a mode may earn more than its margin. Where nobody knows the present mode the first is free: no start, no change,
no dwell, no dead band.

Turned on (off), a unit stays so for the fewest whole slots that last `min_on_s` (`min_off_s`), cut by the horizon. Modes allowed are
an obligation: where all of them are on the other side the unit changes at once, whatever dwell and starts are left, and dwell counts
from there; such a start counts, and starts left never fall below zero. An entry of `allowed` without any mode of the unit is none.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.kernel import Kernel, Tables
from controller.program_tables import DWELL_SLACK_S, SlotColumns, allowed_row, pack, unit_tables

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.plan import Slot
    from controller.units import Unit

ROOM_SLACK_KW: Final = 1e-9
"""By how much a mode may draw more than there is room: rounding of sums, no more."""


@dataclass(slots=True)
class UnitClass:
    """Equal units: `count` of them, with the same curve, costs and dwell, standing in the same place.

    Nobody changes one; it is not frozen because making so many each tick would take four times as long.

    `standing_mode` is an index in the curve's modes, None where nobody knows it. `dwell_left` is in slots: so many from the first on
    it must stay on (or off). `starts_left`: how often each may still be started on the day of the first slot, None for
    as often as any day. `allowed` has an entry per slot, names of modes or None for every mode, or is empty; so has `worth_usd` per
    mode, what being in it in the program's `worth_slot` earns more.
    """

    unit: Unit
    standing_mode: int | None
    dwell_left: int = 0
    starts_left: int | None = None
    allowed: tuple[frozenset[str] | None, ...] = ()
    count: int = 1
    worth_usd: tuple[float, ...] = ()


@dataclass(frozen=True)
class Paths:
    """One path each for N classes over T slots.

    `value_usd` [N] is what a path earns less what `prices` cost it, `worth_usd` [N] the same without `prices`; `modes` [N, T] are
    indices in the curve's modes, `kw` [N, T] what they draw.
    """

    value_usd: NDArray[np.float64]
    worth_usd: NDArray[np.float64]
    modes: NDArray[np.uint8]
    kw: NDArray[np.float64]


@dataclass(frozen=True)
class Within(Paths):
    """The best path of one unit under so much room (N is 1), and what it could not keep.

    `dwell_waived` are the slots in which it changed sides too early, for the room and not for the modes allowed;
    `allowed_waived` those in which no allowed mode had room; `over_kw` [T] what it draws beyond the room.
    """

    dwell_waived: tuple[int, ...]
    allowed_waived: tuple[int, ...]
    over_kw: NDArray[np.float64]


def dwell_slots(slots: Sequence[Slot], dwell_s: float, first: int = 0) -> int:
    """The fewest whole slots from `first` on that together last `dwell_s`; as many as there are if they are shorter."""
    lasted_s, at = 0.0, first
    while at < len(slots) and lasted_s < dwell_s - DWELL_SLACK_S:
        lasted_s += slots[at].duration_s
        at += 1
    return at - first


class Program:
    """The dynamic program of some classes over some slots; many passes with different prices on power.

    `dead_band` is the share of the first slot's difference in revenue that any mode but the present one pays there; in `worth_slot` modes
    earn their `worth_usd` more. `hours`, `power`
    (USD/kWh), `usd_per_th` (revenue of 1 TH/s for the whole slot), `usd_per_th_hour` (what losing it for an hour costs) and `cap_kw` are
    per slot, `count` per class, `curves` are what the classes can do and `costs` what changes cost them. Raises ValueError for what does not fit together.
    """

    def __init__(
        self,
        classes: Sequence[UnitClass],
        slots: Sequence[Slot],
        dead_band: float = 0.0,
        worth_slot: int = 0,
    ) -> None:
        if not (np.isfinite(dead_band) and dead_band >= 0):
            raise ValueError(f"the dead band must be a fraction of zero or more, not {dead_band}")
        self.classes = tuple(classes)
        self.slots = tuple(slots)
        self.dead_band = dead_band
        self.worth_slot = worth_slot
        self.count = np.array([each.count for each in classes], dtype=np.float64)
        columns = SlotColumns(slots)
        self.cap_kw, self.power, self.hours = columns.cap_kw, columns.power, columns.hours
        self.usd_per_th, self.usd_per_th_hour = columns.usd_per_th, columns.usd_per_th_hour
        packed = pack(self.classes, columns, worth_slot)
        self.curves = packed.curves
        self.costs = packed.classes[["restart_h", "change_h", "wear_usd"]]
        self._curve_at: list[int] = packed.classes["curve"].tolist()
        self._kernel = Kernel(
            Tables(
                classes=packed.classes,
                hours=self.hours,
                usd_per_th=self.usd_per_th,
                usd_per_th_hour=self.usd_per_th_hour,
                usd_per_kwh=self.power,
                th_s=packed.curves.flat_th_s,
                kw=packed.curves.flat_kw,
                locks=packed.locks,
                days=packed.days,
                allowed=packed.allowed,
                mode_worth_usd=packed.mode_worth_usd,
                worth_slot=worth_slot,
                dead_band=dead_band,
            )
        )
        self._all = np.arange(len(self.classes), dtype=np.intp)

    def of_classes(self, classes: Sequence[UnitClass]) -> Program:
        """The program of other classes over the same slots, on the same terms."""
        return Program(classes, self.slots, self.dead_band, self.worth_slot)

    def best(self, prices: NDArray[np.float64], *, of: NDArray[np.intp] | None = None) -> Paths:
        """The best path of each class (or of those in `of`, in that order) where each kWh costs `prices` [T] more.

        Of paths that earn the same, a unit stays in its mode, else it takes the one with fewer watts.
        """
        found = self._kernel.best(prices, self._all if of is None else of)
        return Paths(found.value_usd, found.worth_usd, found.modes, found.kw)

    def best_within(self, index: int, room_kw: NDArray[np.float64], prices: NDArray[np.float64]) -> Within:
        """The best path of one unit of a class in which no mode draws more than `room_kw` [T].

        Room is an obligation that outranks dwell and the modes allowed. Where no mode fits, the one that draws least is taken.
        """
        kw = self.kw(index)
        fits = kw <= room_kw[:, None] + ROOM_SLACK_KW
        fits[~fits[:, 0]] = np.arange(len(kw)) == 0  # off draws least
        asked = self.allowed(index)
        both = asked & fits
        waived = ~both.any(axis=1)
        both[waived] = fits[waived]
        found = self._kernel.best(prices, np.array([index]), both)
        path = found.modes[0]
        stays = np.where(path > 0, asked[:, 0], asked[:, 1:].any(axis=1))  # it might have, but for the room
        return Within(
            found.value_usd,
            found.worth_usd,
            found.modes,
            found.kw,
            tuple(np.flatnonzero(found.early[0] & stays).tolist()),
            tuple(np.flatnonzero(~asked[np.arange(len(path)), path]).tolist()),
            np.maximum(found.kw[0] - room_kw, 0.0),
        )

    def worth(self, index: int, modes: NDArray[np.uint8]) -> float:
        """What one unit of a class earns on a given path, USD; whether it may take it is not looked at.

        Raises ValueError for a path of another length or with a mode that the curve does not have.
        """
        if len(modes) and int(modes.max()) >= len(self.classes[index].unit.curve.modes):
            raise ValueError(f"unit {self.classes[index].unit.id!r} has no mode {int(modes.max())}")
        return self._kernel.worth(index, modes)

    def mode_worths(self) -> NDArray[np.float64]:
        """What being in a mode in `worth_slot` earns more, [classes, modes of the longest curve]."""
        rows = np.zeros((len(self.classes), self.curves.th_s.shape[1]))
        for row, each in zip(rows, self.classes, strict=True):
            row[: len(each.worth_usd)] = each.worth_usd
        return rows

    def kw(self, index: int) -> NDArray[np.float64]:
        """What the modes of a class draw, kW."""
        first = self._curve_at[index]
        return self.curves.flat_kw[first : first + len(self.classes[index].unit.curve.modes)]

    def allowed(self, index: int) -> NDArray[np.bool_]:
        """Which modes a class is allowed in which slot, [T, modes]."""
        each = self.classes[index]
        names = each.unit.curve.names
        if not each.allowed:
            return np.ones((len(self.slots), len(names)), dtype=np.bool_)
        rows = b"".join(allowed_row(names, allowed) for allowed in each.allowed)
        return np.frombuffer(rows, dtype=np.bool_).reshape(len(self.slots), len(names))


def tail_values(units: Sequence[Unit], slots: Sequence[Slot]) -> list[NDArray[np.float64]]:
    """What the best path of each unit over these slots earns, USD, by the mode it stands in when the first begins.

    By gains and costs alone: there is no dwell, no starts per day, no modes asked for, no cap and no dead band.
    """
    tables, columns = unit_tables(units), SlotColumns(slots)
    kernel = Kernel(
        Tables(
            classes=tables.records,
            hours=columns.hours,
            usd_per_th=columns.usd_per_th,
            usd_per_th_hour=columns.usd_per_th_hour,
            usd_per_kwh=columns.power,
            th_s=tables.curves.flat_th_s,
            kw=tables.curves.flat_kw,
        )
    )
    values, first = kernel.tails(), 0
    found: list[NDArray[np.float64]] = []
    for modes in tables.modes.tolist():
        found.append(values[first : first + modes])
        first += modes
    return found
