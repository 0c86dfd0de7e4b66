"""Classes and slots as the kernel's tables: what all classes share is there once, and columns of numbers are made at once; pure."""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import cached_property, lru_cache
from operator import is_
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from controller.economics import HOURS_PER_DAY, SECONDS_PER_HOUR, TH_PER_PH, W_PER_KW
from controller.kernel import CLASS, MOST_MODES, SAME_DAY, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.plan import Slot
    from controller.program import UnitClass
    from controller.units import PowerCurve, Unit

DWELL_SLACK_S: Final = 1e-6
"""By how much slots may be shorter than the dwell they are to last: rounding of times, no more."""

KEPT: Final = 8
"""Sequences of units whose tables are kept."""

NO_LIMIT: Final = 2**31
"""Starts per day, or left, where there is no limit."""


class Curves:
    """The curves of some units, one for each class, each different one once: a row of `th_s` and `watts` per curve, filled up to the longest.

    `of` [classes] is the row of each class, `first` [curves] where its modes begin in `flat_th_s` and `flat_watts`, `modes` how many they are.
    Beyond its modes a row hashes -1 TH/s and draws infinitely.
    """

    def __init__(self, units: Sequence[Unit]) -> None:
        rows: dict[PowerCurve, int] = {}
        self.of = np.array([rows.setdefault(unit.curve, len(rows)) for unit in units], dtype=np.intp)
        modes = [curve.modes for curve in rows]
        self.modes = np.array([len(each) for each in modes], dtype=np.intp)
        self.first = np.cumsum(self.modes) - self.modes
        self.flat_th_s = np.array([mode.th_s for each in modes for mode in each], dtype=np.float64)
        self.flat_watts = np.array([mode.watts for each in modes for mode in each], dtype=np.float64)
        self.flat_kw = self.flat_watts / W_PER_KW

    @cached_property
    def th_s(self) -> NDArray[np.float64]:
        """TH/s, [curves, modes of the longest]."""
        return self._filled(self.flat_th_s, -1.0)

    @cached_property
    def watts(self) -> NDArray[np.float64]:
        """W likewise."""
        return self._filled(self.flat_watts, np.inf)

    def _filled(self, flat: NDArray[np.float64], beyond: float) -> NDArray[np.float64]:
        rows = np.full((len(self.modes), int(self.modes.max(initial=1))), beyond)
        rows[np.arange(rows.shape[1]) < self.modes[:, None]] = flat
        return rows

    @cached_property
    def off_kw(self) -> NDArray[np.float64]:
        """What each class draws when it is off, kW."""
        found: NDArray[np.float64] = self.watts[self.of, 0] / W_PER_KW
        return found

    @cached_property
    def most_kw(self) -> NDArray[np.float64]:
        """What each class draws at most, kW."""
        found: NDArray[np.float64] = self.flat_watts[self.first + self.modes - 1][self.of] / W_PER_KW
        return found

    @cached_property
    def full_th_s(self) -> NDArray[np.float64]:
        """The most that each class hashes, TH/s."""
        found: NDArray[np.float64] = self.th_s.max(axis=1)[self.of]
        return found

    @cached_property
    def full_watts(self) -> NDArray[np.float64]:
        """What each class draws when it hashes most, W."""
        fullest = self.th_s.argmax(axis=1)  # the first of equals is the thriftiest
        found: NDArray[np.float64] = self.watts[np.arange(len(self.modes)), fullest][self.of]
        return found

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """TH/s and watts of the steps along each curve's hull that gain hashrate, [curves, steps]; 0 W where there are no more."""
        return hull_steps(self.th_s, self.watts)


def hull_steps(
    gains: NDArray[np.float64], watts: NDArray[np.float64]
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What the steps along the hull of each row of modes gain, and their watts; rows are by watts, which are infinite beyond their modes.

    Only steps that gain something are there, each row's filled up with 0 W.
    """
    count, longest = gains.shape
    each = np.arange(count)
    here = np.where(watts == watts[:, :1], gains, -np.inf).argmax(axis=1)
    gained, drawn = np.zeros((count, longest)), np.zeros((count, longest))
    for step in range(longest - 1):
        more_w = watts - watts[each, here][:, None]
        more = gains - gains[each, here][:, None]
        per_watt = np.divide(
            more,
            more_w,
            out=np.full_like(more_w, -np.inf),
            where=(more_w > 0) & np.isfinite(more_w) & (more > 0),
        )
        best = per_watt.max(axis=1)
        rises = best > 0
        if not rises.any():
            break
        then = (
            longest - 1 - (per_watt == best[:, None])[:, ::-1].argmax(axis=1)
        )  # the farthest of those on a line
        gained[rises, step] = more[each, then][rises]
        drawn[rises, step] = more_w[each, then][rises]
        here = np.where(rises, then, here)
    return gained, drawn


class _Same:
    """Units as a key: the same objects in the same order, since to compare what they say would take as long as to pack it."""

    __slots__ = ("_hash", "units")

    def __init__(self, units: Sequence[Unit]) -> None:
        self.units = units
        self._hash = hash(tuple(map(id, units)))

    def __hash__(self) -> int:
        return self._hash

    def __eq__(self, other: object) -> bool:
        return (
            isinstance(other, _Same)
            and len(self.units) == len(other.units)
            and all(map(is_, self.units, other.units))
        )


class UnitTables:
    """What units bring to every plan, one for each class: their curves, and records for the kernel with all that no slot and no standing changes."""

    def __init__(self, units: Sequence[Unit]) -> None:
        self.curves = Curves(units)
        self.modes = self.curves.modes[self.curves.of]
        for unit, count in zip(units, self.modes.tolist(), strict=True):
            if count > MOST_MODES:
                raise ValueError(f"unit {unit.id!r}: a curve can have {MOST_MODES} modes, not {count}")
        self.dwells_s, (self.on_row, self.off_row) = _rows_of(
            [unit.min_on_s for unit in units], [unit.min_off_s for unit in units]
        )
        self.starts_per_day = [
            NO_LIMIT if unit.starts_per_day is None else unit.starts_per_day for unit in units
        ]
        self.limits, (self.limit_row,) = _rows_of(self.starts_per_day)
        records = np.zeros(len(units), dtype=CLASS)
        records["curve"], records["modes"] = self.curves.first[self.curves.of], self.modes
        records["allowed"] = records["worth"] = -1
        records["restart_h"] = (
            np.array([unit.restart_s for unit in units], dtype=np.float64) / SECONDS_PER_HOUR
        )
        records["change_h"] = np.array([unit.change_s for unit in units], dtype=np.float64) / SECONDS_PER_HOUR
        records["wear_usd"] = [unit.wear_usd for unit in units]
        self.records: NDArray[Any] = records


@lru_cache(maxsize=KEPT)
def _tables_of(same: _Same) -> UnitTables:
    return UnitTables(same.units)


def unit_tables(units: Sequence[Unit]) -> UnitTables:
    """The tables of these units, made once for the same ones: they are planned again every tick."""
    return _tables_of(_Same(tuple(units)))


@dataclass(frozen=True)
class Packed:
    """Tables for the kernel: classes and what they point into."""

    classes: NDArray[Any]
    curves: Curves
    locks: NDArray[np.uint32]
    days: NDArray[np.int32]
    allowed: NDArray[np.uint8]
    mode_worth_usd: NDArray[np.float64]


class SlotColumns:
    """Slots as columns of numbers: `usd_per_th` is the revenue of 1 TH/s for the whole slot, `usd_per_th_hour` what losing it for an hour costs."""

    def __init__(self, slots: Sequence[Slot]) -> None:
        self.duration_s = np.array([slot.duration_s for slot in slots], dtype=np.float64)
        hashprice = np.array([slot.hashprice_usd_per_ph_day for slot in slots], dtype=np.float64)
        self.hours = self.duration_s / SECONDS_PER_HOUR
        self.usd_per_th = hashprice / TH_PER_PH / HOURS_PER_DAY * self.hours
        self.usd_per_th_hour = (
            np.maximum(hashprice, 0.0) / TH_PER_PH / HOURS_PER_DAY
        )  # hashing lost is never a gain
        self.power = np.array([slot.power_usd_per_kwh for slot in slots], dtype=np.float64)
        self.cap_kw = np.array([slot.cap_kw for slot in slots], dtype=np.float64)
        self.day = np.array([slot.day for slot in slots], dtype=np.int64)


def pack(classes: Sequence[UnitClass], slots: SlotColumns, worth_slot: int = 0) -> Packed:
    """The tables of these classes over these slots; ValueError for what does not fit together."""
    units = unit_tables([each.unit for each in classes])
    length = len(slots.day)
    _check(classes, units.modes, length)
    locks = _locks(units.dwells_s, slots.duration_s)
    longest = locks.max(axis=1, initial=0)
    standing = np.array([UNKNOWN if each.standing_mode is None else each.standing_mode for each in classes])
    held = np.array([each.dwell_left for each in classes], dtype=np.int64).clip(0, length)
    held[standing == UNKNOWN] = 0
    records = units.records.copy()
    records["on_locks"], records["off_locks"] = units.on_row * length, units.off_row * length
    records["on_rows"] = 1 + np.maximum(longest[units.on_row], np.where(standing > 0, held, 0))
    records["off_rows"] = 1 + np.maximum(longest[units.off_row], np.where(standing == 0, held, 0))
    records["standing"], records["held"] = standing, held
    days = _days(records, units, [each.starts_left for each in classes], slots.day)
    allowed = _allowed(records, classes)
    worth = _worth(records, classes, worth_slot, length)
    return Packed(records, units.curves, locks.ravel(), days.ravel(), allowed, worth)


def _check(classes: Sequence[UnitClass], modes: NDArray[np.intp], slots: int) -> None:
    for each, count in zip(classes, modes.tolist(), strict=True):
        if each.standing_mode is not None and not 0 <= each.standing_mode < count:
            raise ValueError(f"unit {each.unit.id!r} has no mode {each.standing_mode}")
        if each.allowed and len(each.allowed) != slots:
            raise ValueError(
                f"unit {each.unit.id!r}: {len(each.allowed)} entries of modes allowed for {slots} slots"
            )


def _rows_of(*columns: Sequence[Any]) -> tuple[list[Any], tuple[NDArray[np.intp], ...]]:
    """The different values of all columns, and for each column where its values are among them."""
    rows: dict[Any, int] = {}
    found = [
        np.array([rows.setdefault(value, len(rows)) for value in column], dtype=np.intp) for column in columns
    ]
    return list(rows), tuple(found)


def _locks(dwells_s: Sequence[float], duration_s: NDArray[np.float64]) -> NDArray[np.uint32]:
    """Per dwell, for how many slots after each who changed sides in it is held [dwells, T]."""
    last = len(duration_s)
    rows = np.zeros((len(dwells_s), last), dtype=np.uint32)
    if max(dwells_s, default=0.0) <= DWELL_SLACK_S:
        return rows
    elapsed_s = np.concatenate([[0.0], duration_s]).cumsum()
    for row, dwell_s in zip(rows, dwells_s, strict=True):
        until = np.searchsorted(elapsed_s, elapsed_s[:-1] + (dwell_s - DWELL_SLACK_S))
        row[:] = np.maximum(np.minimum(until, last) - np.arange(last) - 1, 0)
    return rows


def _days(
    records: NDArray[Any], units: UnitTables, starts_left: Sequence[int | None], day: NDArray[np.int64]
) -> NDArray[np.int32]:
    """Per limit of starts, how many are left when a day begins [limits, T]; what that means for each class goes into its record.

    A day of n slots has room for half as many starts, rounded up: a higher limit is none. Classes whose starts never have to be counted
    have one level and none left.
    """
    records["levels"] = 1
    limited = units.limits != [NO_LIMIT] or any(left is not None for left in starts_left)
    if not limited or not len(day):
        return np.zeros(0, dtype=np.int32)
    begins = np.concatenate([[0], 1 + np.flatnonzero(day[1:] != day[:-1])])
    room = (np.append(begins[1:], len(day)) - begins + 1) // 2
    rows = np.full((len(units.limits), len(day)), SAME_DAY, dtype=np.int32)
    most_later = np.zeros(len(units.limits), dtype=np.int64)
    later = np.zeros(len(units.limits), dtype=np.bool_)
    for number, limit in enumerate(units.limits):
        left = np.minimum(room, limit)
        rows[number, begins] = left
        most_later[number] = left[1:].max(initial=0)
        later[number] = (left < room)[1:].any()
    known = [
        most if left is None else left for left, most in zip(starts_left, units.starts_per_day, strict=True)
    ]
    now = np.array(known, dtype=np.int64).clip(0, room[0])
    row = units.limit_row
    counted = later[row] | (now < room[0])
    records["days"] = row * len(day)
    records["counted"] = counted
    records["levels"] = np.where(counted, 1 + np.maximum(most_later[row], now), 1)
    records["starts_left"] = np.where(counted, now, 0)
    return rows


def _allowed(records: NDArray[Any], classes: Sequence[UnitClass]) -> NDArray[np.uint8]:
    """The tables of modes allowed, one after the other; where each class's begins goes into its record."""
    tables: dict[tuple[tuple[str, ...], tuple[frozenset[str] | None, ...]], int] = {}
    text = bytearray()
    for index, each in enumerate(classes):
        if not each.allowed:
            continue
        names = each.unit.curve.names
        key = (names, each.allowed)
        at = tables.setdefault(key, len(text))
        if at == len(text):
            row_of = {allowed: allowed_row(names, allowed) for allowed in set(each.allowed)}
            text += b"".join([row_of[allowed] for allowed in each.allowed])
        records["allowed"][index] = at
    return np.frombuffer(bytes(text), dtype=np.uint8)


def _worth(
    records: NDArray[Any], classes: Sequence[UnitClass], worth_slot: int, slots: int
) -> NDArray[np.float64]:
    """What being in their modes in `worth_slot` earns more, one class after the other; where each begins goes into its record."""
    worth: list[float] = []
    where: list[int] = []
    for each in classes:
        usd, modes = each.worth_usd, each.unit.curve.modes
        where.append(len(worth) if usd else -1)
        if usd and len(usd) != len(modes):
            raise ValueError(f"unit {each.unit.id!r}: {len(usd)} worths for {len(modes)} modes, one each")
        worth += usd
    if not worth:
        return np.zeros(0)
    if not 0 <= worth_slot < slots:
        raise ValueError(f"modes have a worth in slot {worth_slot}, and there are {slots} slots")
    for each in classes:
        if not all(map(math.isfinite, each.worth_usd)):
            raise ValueError(f"unit {each.unit.id!r}: a mode's worth must be finite: {each.worth_usd}")
    records["worth"] = where
    return np.array(worth, dtype=np.float64)


def allowed_row(names: tuple[str, ...], allowed: frozenset[str] | None) -> bytes:
    """A byte per mode; an entry without any of them is none, since a unit must be in some mode."""
    row = bytes(allowed is None or name in allowed for name in names)
    return row if any(row) else bytes([1]) * len(names)
