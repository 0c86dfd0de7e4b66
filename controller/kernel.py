"""The planner's kernel as Python sees it: best paths of classes through slots. The only importer of controller._plan; pure.

native/plan.h says what the tables mean and what the kernel promises; this module adds types, shapes and checks. Every call that
computes releases the GIL, and any number of threads may use one kernel at once.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from controller._plan import ffi, lib

if TYPE_CHECKING:
    from numpy.typing import NDArray

UNKNOWN: Final[int] = lib.HM_PLAN_UNKNOWN
SAME_DAY: Final[int] = lib.HM_PLAN_SAME_DAY
MOST_MODES: Final = 256
"""Modes of a curve, off included: paths have a byte for each slot."""

CLASS: Final = np.dtype(
    [
        ("curve", np.uint64),
        ("on_locks", np.uint64),
        ("off_locks", np.uint64),
        ("days", np.uint64),
        ("allowed", np.int64),
        ("worth", np.int64),
        ("modes", np.uint32),
        ("on_rows", np.uint32),
        ("off_rows", np.uint32),
        ("levels", np.uint32),
        ("starts_left", np.uint32),
        ("counted", np.int32),
        ("standing", np.int32),
        ("held", np.uint32),
        ("restart_h", np.float64),
        ("change_h", np.float64),
        ("wear_usd", np.float64),
    ],
    align=True,
)
"""hm_plan_class."""


@dataclass(frozen=True)
class Tables:
    """What hm_plan points to, under the same names; `classes` is of dtype `CLASS`."""

    classes: NDArray[Any]
    hours: NDArray[np.float64]
    usd_per_th: NDArray[np.float64]
    usd_per_th_hour: NDArray[np.float64]
    usd_per_kwh: NDArray[np.float64]
    th_s: NDArray[np.float64]
    kw: NDArray[np.float64]
    locks: NDArray[np.uint32] = field(default_factory=lambda: np.zeros(0, dtype=np.uint32))
    days: NDArray[np.int32] = field(default_factory=lambda: np.zeros(0, dtype=np.int32))
    allowed: NDArray[np.uint8] = field(default_factory=lambda: np.zeros(0, dtype=np.uint8))
    mode_worth_usd: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    worth_slot: int = 0
    dead_band: float = 0.0


class Found(NamedTuple):
    """What hm_plan_best writes, for N classes and T slots."""

    value_usd: NDArray[np.float64]
    worth_usd: NDArray[np.float64]
    modes: NDArray[np.uint8]
    kw: NDArray[np.float64]
    early: NDArray[np.uint8]


class Kernel:
    """The dynamic program over tables that do not change any more."""

    def __init__(self, tables: Tables) -> None:
        self._slots = len(tables.hours)
        self._classes = len(tables.classes)
        self._modes = int(tables.classes["modes"].sum())
        self._plan = ffi.new("hm_plan *")
        self._plan.slots = self._slots
        self._plan.class_count = self._classes
        self._plan.dead_band = tables.dead_band
        self._plan.worth_slot = tables.worth_slot
        self._kept = [
            self._point(name, kind, getattr(tables, name), dtype)
            for name, kind, dtype in (
                ("classes", "hm_plan_class[]", CLASS),
                ("hours", "double[]", np.float64),
                ("usd_per_th", "double[]", np.float64),
                ("usd_per_th_hour", "double[]", np.float64),
                ("usd_per_kwh", "double[]", np.float64),
                ("th_s", "double[]", np.float64),
                ("kw", "double[]", np.float64),
                ("locks", "uint32_t[]", np.uint32),
                ("days", "int32_t[]", np.int32),
                ("allowed", "uint8_t[]", np.uint8),
                ("mode_worth_usd", "double[]", np.float64),
            )
        ]
        self._scratch: int = lib.hm_plan_scratch(self._plan, 2 ** (8 * ffi.sizeof("size_t")) - 1)

    def _point(self, name: str, kind: str, table: NDArray[Any], dtype: Any) -> Any:
        """Point the plan's field to a table; what is returned must be kept as long as the plan."""
        buffer = ffi.from_buffer(kind, np.ascontiguousarray(table, dtype=dtype))
        setattr(self._plan, name, buffer)
        return buffer

    def best(
        self,
        prices: NDArray[np.float64],
        of: NDArray[np.intp],
        allowed: NDArray[np.bool_] | None = None,
    ) -> Found:
        """The best path of each class in `of` where each kWh costs `prices` [T] more.

        `allowed` [T, modes] takes the place of what these classes are allowed: at least one mode in every slot. Raises ValueError for
        prices of another shape or not finite, and IndexError for a class that there is not.
        """
        if prices.shape != (self._slots,) or not np.isfinite(prices).all():
            raise ValueError(f"there must be a finite price for each of the {self._slots} slots: {prices}")
        number = len(of)
        wanted = np.ascontiguousarray(of, dtype=np.int64)
        found = Found(
            np.empty(number),
            np.empty(number),
            np.empty((number, self._slots), dtype=np.uint8),
            np.empty((number, self._slots)),
            np.empty((number, self._slots), dtype=np.uint8),
        )
        mask = (
            ffi.NULL
            if allowed is None
            else _buffer("uint8_t[]", np.ascontiguousarray(allowed, dtype=np.uint8))
        )
        outcome = lib.hm_plan_best(
            _buffer("double[]", found.value_usd),
            _buffer("double[]", found.worth_usd),
            _buffer("uint8_t[]", found.modes),
            _buffer("double[]", found.kw),
            _buffer("uint8_t[]", found.early),
            _buffer("double[]", np.empty(self._scratch)),
            self._scratch,
            self._plan,
            _buffer("double[]", np.ascontiguousarray(prices, dtype=np.float64)),
            _buffer("int64_t[]", wanted),
            number,
            mask,
        )
        if outcome != lib.HM_PLAN_OK:
            raise IndexError(f"there are {self._classes} classes; asked for {wanted.tolist()}")
        return found

    def worth(self, index: int, modes: NDArray[np.uint8]) -> float:
        """What the path `modes` [T] of a class earns, USD, whether it may take it or not; all must be modes of its curve."""
        if not 0 <= index < self._classes:
            raise IndexError(f"there are {self._classes} classes; asked for {index}")
        if modes.shape != (self._slots,):
            raise ValueError(f"there must be a mode for each of the {self._slots} slots")
        path = np.ascontiguousarray(modes, dtype=np.uint8)
        worth: float = lib.hm_plan_worth(self._plan, index, _buffer("uint8_t[]", path))
        return worth

    def tails(self) -> NDArray[np.float64]:
        """What each class can still earn, by the mode it stands in when slot 0 begins, the modes of one class after those of another.

        Only gains and costs count: no dwell, starts, modes allowed, dead band and worth of modes.
        """
        values = np.empty(self._modes)
        lib.hm_plan_tails(_buffer("double[]", values), self._plan)
        return values


def _buffer(kind: str, array: NDArray[Any]) -> Any:
    return ffi.from_buffer(kind, array)
