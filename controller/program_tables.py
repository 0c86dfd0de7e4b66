"""Classes and slots as the kernel's tables: what all classes share is there once, and columns of numbers are made at once; pure."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from controller.economics import SECONDS_PER_HOUR, W_PER_KW
from controller.kernel import CLASS, MOST_MODES, SAME_DAY, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from controller.plan import Slot
    from controller.program import UnitClass
    from controller.units import PowerCurve

DWELL_SLACK_S: Final = 1e-6
"""By how much slots may be shorter than the dwell they are to last: rounding of times, no more."""

NO_LIMIT: Final = 2**31
"""Starts per day, or left, where there is no limit."""


class Curves:
    """The curves of some classes, each different one once: a row of `th_s` and `watts` per curve, filled up to the longest.

    `of` [classes] is the row of each class, `first` [curves] where its modes begin in `flat_th_s` and `flat_watts`, `modes` how many they are.
    Beyond its modes a row hashes -1 TH/s and draws infinitely.
    """

    def __init__(self, classes: Sequence[UnitClass]) -> None:
        rows: dict[PowerCurve, int] = {}
        self.of = np.array([rows.setdefault(each.unit.curve, len(rows)) for each in classes], dtype=np.intp)
        self.modes = np.array([len(curve.modes) for curve in rows], dtype=np.intp)
        self.first = np.cumsum(self.modes) - self.modes
        self.flat_th_s = np.array([mode.th_s for curve in rows for mode in curve.modes], dtype=np.float64)
        self.flat_watts = np.array([mode.watts for curve in rows for mode in curve.modes], dtype=np.float64)
        shape = (len(rows), int(self.modes.max(initial=1)))
        filled = np.arange(shape[1]) < self.modes[:, None]
        self.th_s = np.full(shape, -1.0)
        self.watts = np.full(shape, np.inf)
        self.th_s[filled], self.watts[filled] = self.flat_th_s, self.flat_watts
        fullest = self.th_s.argmax(axis=1)  # the first of equals is the thriftiest
        each = np.arange(len(rows))
        self.off_kw = self.watts[self.of, 0] / W_PER_KW
        """What each class draws when it is off, kW."""
        self.most_kw = (self.watts[each, self.modes - 1] / W_PER_KW)[self.of]
        """What each class draws at most, kW."""
        self.full_th_s = self.th_s[each, fullest][self.of]
        """The most that each class hashes, TH/s."""
        self.full_watts = self.watts[each, fullest][self.of]
        """What each class draws when it hashes most, W."""

    def steps(self) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
        """TH/s and watts of the steps along each curve's hull that gain hashrate, [curves, steps]; 0 W where there are no more."""
        count, longest = self.th_s.shape
        each = np.arange(count)
        here = (self.watts == self.watts[:, :1]).sum(axis=1) - 1  # of equal watts the last hashes most
        th_s, watts = np.zeros((count, longest)), np.zeros((count, longest))
        for step in range(longest - 1):
            more_w = self.watts - self.watts[each, here][:, None]
            more_th_s = self.th_s - self.th_s[each, here][:, None]
            per_watt = np.divide(
                more_th_s,
                more_w,
                out=np.full_like(more_w, -np.inf),
                where=(more_w > 0) & np.isfinite(more_w) & (more_th_s > 0),
            )
            best = per_watt.max(axis=1)
            rises = best > 0
            if not rises.any():
                break
            then = (
                longest - 1 - (per_watt == best[:, None])[:, ::-1].argmax(axis=1)
            )  # the farthest of those on a line
            th_s[rises, step] = more_th_s[each, then][rises]
            watts[rises, step] = more_w[each, then][rises]
            here = np.where(rises, then, here)
        return th_s, watts


@dataclass(frozen=True)
class Packed:
    """Tables for the kernel: classes and what they point into."""

    classes: NDArray[Any]
    curves: Curves
    locks: NDArray[np.uint32]
    days: NDArray[np.int32]
    allowed: NDArray[np.uint8]


def pack(classes: Sequence[UnitClass], slots: Sequence[Slot]) -> Packed:
    """The tables of these classes over these slots; ValueError for what does not fit together."""
    curves = Curves(classes)
    modes = curves.modes[curves.of]
    _check(classes, modes, len(slots))
    units = [each.unit for each in classes]
    rows, (on_row, off_row) = _rows_of([unit.min_on_s for unit in units], [unit.min_off_s for unit in units])
    locks = _locks(rows, slots)
    longest = locks.max(axis=1, initial=0)
    days, limited = _days(classes, slots)
    allowed, where = _allowed(classes)
    standing = np.array([UNKNOWN if each.standing_mode is None else each.standing_mode for each in classes])
    held = np.array([each.dwell_left for each in classes], dtype=np.int64).clip(0, len(slots))
    held[standing == UNKNOWN] = 0
    records = np.zeros(len(classes), dtype=CLASS)
    records["curve"] = curves.first[curves.of]
    records["on_locks"], records["off_locks"] = on_row * len(slots), off_row * len(slots)
    records["days"], records["allowed"] = limited.row * len(slots), where
    records["modes"] = modes
    records["on_rows"] = 1 + np.maximum(longest[on_row], np.where(standing > 0, held, 0))
    records["off_rows"] = 1 + np.maximum(longest[off_row], np.where(standing == 0, held, 0))
    records["levels"], records["starts_left"] = limited.levels, limited.left
    records["counted"], records["standing"], records["held"] = limited.counted, standing, held
    records["restart_h"] = np.array([unit.restart_s for unit in units], dtype=np.float64) / SECONDS_PER_HOUR
    records["change_h"] = np.array([unit.change_s for unit in units], dtype=np.float64) / SECONDS_PER_HOUR
    records["wear_usd"] = [unit.wear_usd for unit in units]
    return Packed(records, curves, locks.ravel(), days.ravel(), allowed)


def _check(classes: Sequence[UnitClass], modes: NDArray[np.intp], slots: int) -> None:
    for each, count in zip(classes, modes.tolist(), strict=True):
        if count > MOST_MODES:
            raise ValueError(f"unit {each.unit.id!r}: a curve can have {MOST_MODES} modes, not {count}")
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


def _locks(dwells_s: Sequence[float], slots: Sequence[Slot]) -> NDArray[np.uint32]:
    """Per dwell, for how many slots after each who changed sides in it is held [dwells, T]."""
    elapsed_s = np.cumsum([0.0, *(slot.duration_s for slot in slots)])
    last = len(slots)
    rows = np.zeros((len(dwells_s), last), dtype=np.uint32)
    for row, dwell_s in zip(rows, dwells_s, strict=True):
        until = np.searchsorted(elapsed_s, elapsed_s[:-1] + (dwell_s - DWELL_SLACK_S))
        row[:] = np.maximum(np.minimum(until, last) - np.arange(last) - 1, 0)
    return rows


@dataclass(frozen=True)
class _Limited:
    """Starts per class: its row among the days, states to tell apart, starts left in slot 0, and whether they need counting at all."""

    row: NDArray[np.intp]
    levels: NDArray[np.int64]
    left: NDArray[np.int64]
    counted: NDArray[np.bool_]


def _days(classes: Sequence[UnitClass], slots: Sequence[Slot]) -> tuple[NDArray[np.int32], _Limited]:
    """Per limit of starts, how many are left when a day begins [limits, T], and what that means for each class.

    A day of n slots has room for half as many starts, rounded up: a higher limit is none.
    """
    begins = [at for at in range(len(slots)) if at == 0 or slots[at].day != slots[at - 1].day]
    room = (np.diff(np.array([*begins, len(slots)], dtype=np.int64)) + 1) // 2
    limits, (row,) = _rows_of(
        [NO_LIMIT if (most := each.unit.starts_per_day) is None else most for each in classes]
    )
    rows = np.full((len(limits), len(slots)), SAME_DAY, dtype=np.int32)
    most_later, later = np.zeros(len(limits), dtype=np.int64), np.zeros(len(limits), dtype=np.bool_)
    for number, limit in enumerate(limits):
        left = np.minimum(room, limit)
        rows[number, begins] = left
        most_later[number] = left[1:].max(initial=0)
        later[number] = (left < room)[1:].any()
    first_room = int(room[0]) if len(room) else 0
    known = [each.unit.starts_per_day if each.starts_left is None else each.starts_left for each in classes]
    now = np.array([NO_LIMIT if starts is None else starts for starts in known], dtype=np.int64)
    now = now.clip(0, first_room)
    counted = later[row] | (now < first_room)
    levels = np.where(counted, 1 + np.maximum(most_later[row], now), 1)
    return rows, _Limited(row, levels, np.where(counted, now, 0), counted)


def _allowed(classes: Sequence[UnitClass]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    """The tables of modes allowed, one after the other, and where each class's begins: below zero for every mode."""
    tables: dict[tuple[tuple[str, ...], tuple[frozenset[str] | None, ...]], int] = {}
    text = bytearray()
    where = np.full(len(classes), -1, dtype=np.int64)
    for index, each in enumerate(classes):
        if not each.allowed:
            continue
        names = tuple([mode.name for mode in each.unit.curve.modes])
        key = (names, each.allowed)
        if key not in tables:
            tables[key] = len(text)
            row_of = {allowed: allowed_row(names, allowed) for allowed in set(each.allowed)}
            text += b"".join([row_of[allowed] for allowed in each.allowed])
        where[index] = tables[key]
    return np.frombuffer(bytes(text), dtype=np.uint8), where


def allowed_row(names: tuple[str, ...], allowed: frozenset[str] | None) -> bytes:
    """A byte per mode; an entry without any of them is none, since a unit must be in some mode."""
    row = bytes(allowed is None or name in allowed for name in names)
    return row if any(row) else bytes([1]) * len(names)
