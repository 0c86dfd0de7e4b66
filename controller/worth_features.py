"""What a fitted model looks at: prices as distances from a block's breakeven, in units of its cost; pure.

Everything is a difference of prices times a quarter hour, divided by the cost of stopping and starting. So neither the currency nor what
comes on top of the market's price, neither J/TH nor the cost itself needs to be known to a model. Nothing here is rounded otherwise for
many rows than for one, or on another machine: sums are taken in a fixed order, and no function is used that libraries compute each in its
own way. Trees do not need any: they cut at thresholds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.recent import KEPT
from controller.worth_seen import AHEAD, HOURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

LONGEST_GAP: Final = 4
"""A gap of up to an hour is filled with the price before it; what is older than a longer one is forgotten."""
ENOUGH: Final = 24
"""So many quarter hours without a long gap are needed to judge by."""
FARTHEST: Final = 1e6
"""No distance is larger than this many times the cost: single precision has room for it."""

LAGS: Final = (0, 1, 2, 3, 5, 7, 11, 95)
LEADS: Final = (0, 1, 2, 4, 8)
MEDIAN_OF: Final = 16
EXTREMES_OF: Final = 8
_LAGS: Final = [KEPT - 1 - lag for lag in LAGS]
QUARTERS_OF_AN_HOUR: Final = 4
HOURS_OF_A_DAY: Final = 24

DISTANCES: Final = (
    *(f"real time, {lag} ago" for lag in LAGS),
    "mean of 4",
    "median of 16",
    "highest of 8",
    "lowest of 8",
    "mean of 97",
    *(f"day ahead, in {lead}" for lead in LEADS),
)
"""Those of which the breakeven is subtracted."""
SPREADS: Final = (
    "step of 3",
    "step of 8",
    "step of 96",
    "change of 1",
    "change before",
    "change of 3",
    "real time less day ahead",
    "real time less day ahead, in 1",
    "change of day ahead, in 1",
    "change of day ahead, in 4",
)
"""Differences of prices already."""
CLOCK: Final = ("quarter of the hour", "hour (UTC)")
NAMES: Final = DISTANCES + SPREADS + CLOCK
WITHOUT_DAY_AHEAD: Final = tuple(index for index, name in enumerate(NAMES) if "day ahead" not in name)
"""The columns that can be told without day-ahead prices."""
_STEP: Final = NAMES.index("step of 96")
_SLOW: Final = {
    True: tuple(index for index, name in enumerate(NAMES) if name.startswith("day ahead")),
    False: (NAMES.index("mean of 97"),),
}
ROOM: Final = 1.5
"""A market may be so many times as far out as what was fitted on."""


@dataclass(frozen=True, slots=True)
class Sight:
    """What N rows of prices tell before a block's breakeven and cost are known.

    `distances` [N, len(DISTANCES)] and `spreads` [N, len(SPREADS)] in USD/kWh; `clock` [N, 2] is that of the quarter hour after the last
    known one. `usable` [N]: enough is known to judge; `day_ahead` [N]: the columns of day-ahead prices mean something, else they are 0.
    """

    distances: NDArray[np.float64]
    spreads: NDArray[np.float64]
    clock: NDArray[np.float64]
    usable: NDArray[np.bool_]
    day_ahead: NDArray[np.bool_]


def sight(recent: NDArray[np.float64], day_ahead: NDArray[np.float64], quarter: NDArray[np.int64]) -> Sight:
    """What prices tell: `recent` [N, KEPT] newest last, `day_ahead` [N, 1 + AHEAD] from the last known quarter hour on, `quarter` [N]."""
    if recent.shape[1:] != (KEPT,) or day_ahead.shape != (len(recent), 1 + AHEAD):
        raise ValueError(
            f"{KEPT} recent and {1 + AHEAD} day-ahead prices are looked at, not {recent.shape} and {day_ahead.shape}"
        )
    prices, known = filled(recent)
    ahead = day_ahead[:, LEADS]
    there: NDArray[np.bool_] = np.asarray(np.isfinite(ahead).all(axis=1))
    middle = np.sort(prices[:, -MEDIAN_OF:], axis=1)
    last = prices[:, -EXTREMES_OF:]
    distances = np.zeros((len(recent), len(DISTANCES)))
    levels = distances[:, len(LAGS) :]
    distances[:, : len(LAGS)] = prices[:, _LAGS]
    levels[:, 0] = total(prices[:, -4:]) / 4
    levels[:, 1] = (middle[:, MEDIAN_OF // 2 - 1] + middle[:, MEDIAN_OF // 2]) / 2
    levels[:, 2] = last.max(axis=1)
    levels[:, 3] = last.min(axis=1)
    levels[:, 4] = total(prices) / KEPT
    np.copyto(levels[:, 5:], ahead, where=there[:, None])
    return Sight(
        distances, _spreads(prices, known, ahead, there), _clock(quarter + 1), known >= ENOUGH, there
    )


def _spreads(
    prices: NDArray[np.float64],
    known: NDArray[np.int64],
    ahead: NDArray[np.float64],
    there: NDArray[np.bool_],
) -> NDArray[np.float64]:
    """The columns of `SPREADS`, of gapless prices and of day-ahead prices by `LEADS`, where these are there."""
    changes = prices[:, 1:] - prices[:, :-1]
    steps = np.abs(changes)
    here = prices[:, -1]
    spreads = np.zeros((len(prices), len(SPREADS)))
    spreads[:, 0] = total(steps[:, -3:]) / 3
    spreads[:, 1] = total(steps[:, -8:]) / 8
    spreads[:, 2] = total(steps) / np.maximum(known - 1, 1)
    spreads[:, 3] = changes[:, -1]
    spreads[:, 4] = changes[:, -2]
    spreads[:, 5] = here - prices[:, -4]
    np.subtract(here, ahead[:, 0], out=spreads[:, 6], where=there)
    np.subtract(here, ahead[:, 1], out=spreads[:, 7], where=there)
    np.subtract(ahead[:, 1], ahead[:, 0], out=spreads[:, 8], where=there)
    np.subtract(ahead[:, 3], ahead[:, 0], out=spreads[:, 9], where=there)
    return spreads


def _clock(quarter: NDArray[np.int64]) -> NDArray[np.float64]:
    """The columns of `CLOCK` of a quarter hour."""
    clock = np.empty((len(quarter), len(CLOCK)))
    clock[:, 0] = quarter % QUARTERS_OF_AN_HOUR
    clock[:, 1] = quarter // QUARTERS_OF_AN_HOUR % HOURS_OF_A_DAY
    return clock


def scaled(seen: Sight, breakeven: NDArray[np.float64], cost: NDArray[np.float64]) -> NDArray[np.float32]:
    """The rows a model judges: those of `seen`, or its only row for each block; `breakeven` in USD/kWh, `cost` in USD per kW."""
    scale = HOURS / cost[:, None]
    near = (breakeven[:, None] - seen.distances) * scale
    spread = seen.spreads * scale
    rows = np.empty((len(cost), len(NAMES)), np.float32)
    np.clip(near, -FARTHEST, FARTHEST, out=rows[:, : len(DISTANCES)], casting="same_kind")
    np.clip(spread, -FARTHEST, FARTHEST, out=rows[:, len(DISTANCES) : -len(CLOCK)], casting="same_kind")
    rows[:, -len(CLOCK) :] = seen.clock
    return rows


def features(
    recent: NDArray[np.float64],
    day_ahead: NDArray[np.float64],
    quarter: NDArray[np.int64],
    breakeven: NDArray[np.float64],
    cost: NDArray[np.float64],
) -> NDArray[np.float32]:
    """The rows [N, len(NAMES)] a model judges, of N rows of prices, each with its breakeven and cost; see `sight` and `scaled`."""
    return scaled(sight(recent, day_ahead, quarter), breakeven, cost)


def slow(rows: NDArray[np.float32], *, day_ahead: bool) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """What changes slowly in a market, of each row: its usual step, and where its level stands from the breakeven, in units of the cost."""
    return rows[:, _STEP].astype(np.float64), total(rows[:, _SLOW[day_ahead]].astype(np.float64)) / len(
        _SLOW[day_ahead]
    )


@dataclass(frozen=True, slots=True)
class Span:
    """The least and the most of what changes slowly in the rows a model was fitted on: what it may be asked about; see `slow`."""

    step: tuple[float, float]
    level: tuple[float, float]

    def covers(self, rows: NDArray[np.float32], *, day_ahead: bool) -> NDArray[np.bool_]:
        """Whether each row is within it, with `ROOM`."""
        step, level = slow(rows, day_ahead=day_ahead)
        room = (ROOM - 1) * (self.level[1] - self.level[0]) / 2
        near: NDArray[np.bool_] = (
            (step >= self.step[0] / ROOM)
            & (step <= self.step[1] * ROOM)
            & (level >= self.level[0] - room)
            & (level <= self.level[1] + room)
        )
        return near

    def covers_step(self, step: float) -> bool:
        """Whether prices that move so far in a quarter hour, in units of the cost, are within it, with `ROOM`."""
        return bool(self.step[0] / ROOM <= step <= self.step[1] * ROOM)


def spanned(rows: NDArray[np.float32], *, day_ahead: bool) -> Span:
    """What those rows cover."""
    step, level = slow(rows, day_ahead=day_ahead)
    return Span((float(step.min()), float(step.max())), (float(level.min()), float(level.max())))


def filled(recent: NDArray[np.float64]) -> tuple[NDArray[np.float64], NDArray[np.int64]]:
    """The prices [N, KEPT] without gaps, and how many of the newest [N] are known or fill a short gap.

    Before a longer gap all are as the first after it; where the newest ones are missing for long nothing is known.
    """
    count, kept = recent.shape
    if np.isfinite(recent).all():
        return np.ascontiguousarray(recent), np.full(count, kept, np.int64)
    place = np.arange(kept)
    there = np.isfinite(recent)
    before = np.maximum.accumulate(np.where(there, place, -1), axis=1)
    held = (before >= 0) & (place - before <= LONGEST_GAP)
    first = kept - np.argmin(held[:, ::-1], axis=1)
    first = np.where(held.all(axis=1), 0, first)
    # A stretch begins with a price, not with what a gap was filled with.
    known = np.where(first < kept, kept - first, 0)
    source = np.maximum(before, np.minimum(first, kept - 1)[:, None])
    prices = np.where(known[:, None] > 0, np.take_along_axis(recent, np.maximum(source, 0), axis=1), 0.0)
    return np.ascontiguousarray(prices), known


def total(columns: NDArray[np.float64]) -> NDArray[np.float64]:
    """The sum of each row, added from left to right however many rows there are and however they lie in memory."""
    sums: NDArray[np.float64] = np.add.accumulate(columns, axis=1)[:, -1]
    return sums
