"""What a fit learns from: a market's history by quarter hours, and rows drawn from it; pure.

A row is a moment of the history together with a breakeven and a cost drawn at random. Only what was known at that moment decides whether a
row is taken, so what is expected after it is not distorted. Prices are in USD/kWh, costs in USD per kW.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.recent import KEPT
from controller.worth_features import Sight, scaled, sight
from controller.worth_seen import AHEAD, HOURS

if TYPE_CHECKING:
    from numpy.typing import NDArray

AT_ONCE: Final = 4096
"""Moments looked at together: their windows fit into memory."""
LOW, MIDDLE, HIGH, TOP = 5.0, 50.0, 95.0, 99.5
"""Percentiles of the prices: between which breakevens are drawn, and what tells how far prices lie apart."""
LEAST_COST_H, MOST_COST_H = 0.01, 2.0
"""Costs are drawn between these hours at the spread, or the level, of prices: from a minute of restart up to the steps of a ladder."""
NEAR: Final = 4.0
"""A price so many costs away from the breakeven is far: what is best is plain then."""
FAR_SHARE: Final = 0.1
"""Of moments when all prices are far this part is taken all the same."""


@dataclass(frozen=True, slots=True, eq=False)
class History:
    """A market by quarter hours from `first` (numbered since 1970) on: prices, and day-ahead prices, NaN where unknown; USD/kWh.

    `seen` tells of each quarter hour what prices up to it told.
    """

    first: int
    prices: NDArray[np.float64]
    day_ahead: NDArray[np.float64]
    seen: Sight

    @property
    def hours(self) -> float:
        """How long the history is, its gaps left out."""
        return float(np.isfinite(self.prices).sum()) * HOURS

    def moments(
        self, coming: int, *, day_ahead: bool, start: int = 0, stop: int | None = None
    ) -> NDArray[np.int64]:
        """The places from `start` and before `stop` where enough is known to judge, and the `coming` next prices and views are known.

        With `day_ahead` only where these prices are known, too.
        """
        good = self.seen.usable & np.isfinite(self.prices)
        if day_ahead:
            good &= self.seen.day_ahead
        end = len(self.prices) if stop is None else stop
        whole = np.zeros(len(self.prices), np.bool_)
        whole[start : max(end - coming, start)] = True
        for later in range(coming + 1):
            whole[: len(good) - later] &= good[later:]
        return np.flatnonzero(whole)


@dataclass(frozen=True, slots=True, eq=False)
class Drawn:
    """Rows: `at` is the place in the history, `breakeven` USD/kWh, `cost` USD per kW."""

    at: NDArray[np.int64]
    breakeven: NDArray[np.float64]
    cost: NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Reach:
    """Between which breakevens [USD/kWh] and costs [USD per kW] rows are drawn, and from where breakevens are spaced evenly by ratio."""

    low: float
    high: float
    step: float
    least_cost: float
    most_cost: float


def history(first: int, prices: NDArray[np.float64], day_ahead: NDArray[np.float64] | None) -> History:
    """The history of those prices, with what each moment of it saw."""
    count = len(prices)
    ahead = np.full(count, np.nan) if day_ahead is None else day_ahead
    before = np.concatenate([np.full(KEPT - 1, np.nan), prices])
    after = np.concatenate([ahead, np.full(AHEAD, np.nan)])
    recent = np.lib.stride_tricks.sliding_window_view(before, KEPT)
    coming = np.lib.stride_tricks.sliding_window_view(after, 1 + AHEAD)
    quarter = first + np.arange(count)
    parts = [
        sight(recent[at : at + AT_ONCE], coming[at : at + AT_ONCE], quarter[at : at + AT_ONCE])
        for at in range(0, count, AT_ONCE)
    ]
    seen = Sight(
        np.concatenate([part.distances for part in parts]),
        np.concatenate([part.spreads for part in parts]),
        np.concatenate([part.clock for part in parts]),
        np.concatenate([part.usable for part in parts]),
        np.concatenate([part.day_ahead for part in parts]),
    )
    return History(first, prices, ahead, seen)


def reach(prices: NDArray[np.float64]) -> Reach | None:
    """What to draw between, of prices that are all known; None where they do not move: there is nothing to learn then."""
    if not len(prices):
        return None
    low, middle, high, top = (float(np.percentile(prices, each)) for each in (LOW, MIDDLE, HIGH, TOP))
    if not high > low:
        return None
    # Prices may be below zero, so breakevens are spread by the ratio of their distance from below the lowest ones.
    step = max(middle - low, 0.05 * (high - low))
    return Reach(
        low, top, step, LEAST_COST_H * (high - low), MOST_COST_H * max(high - low, abs(low), abs(high))
    )


def draw(
    of: History, moments: NDArray[np.int64], between: Reach, count: int, random: np.random.Generator
) -> Drawn:
    """So many rows, from these moments."""
    known = of.seen.distances[:, 0]
    following = np.where(of.seen.day_ahead, of.day_ahead, known)
    following[:-1] = np.where(of.seen.day_ahead[:-1], of.day_ahead[1:], known[:-1])
    parts: list[tuple[NDArray[np.int64], NDArray[np.float64], NDArray[np.float64]]] = []
    missing = count
    while missing > 0:
        at = random.choice(moments, count)
        spread = random.uniform(
            0.0, np.log((between.high - between.low + between.step) / between.step), count
        )
        breakeven = between.low + between.step * (np.exp(spread) - 1.0)
        cost = np.exp(random.uniform(np.log(between.least_cost), np.log(between.most_cost), count))
        nearest = np.minimum(np.abs(breakeven - known[at]), np.abs(breakeven - following[at]))
        taken = (nearest * HOURS < NEAR * cost) | (random.random(count) < FAR_SHARE)
        parts.append((at[taken], breakeven[taken], cost[taken]))
        missing -= int(taken.sum())
    at, breakeven, cost = (np.concatenate(column)[:count] for column in zip(*parts, strict=True))
    return Drawn(at, breakeven, cost)


def rows(of: History, drawn: Drawn, later: int = 0) -> NDArray[np.float32]:
    """What a model looks at, of each row so many quarter hours later."""
    at = drawn.at + later
    seen = Sight(
        of.seen.distances[at],
        of.seen.spreads[at],
        of.seen.clock[at],
        of.seen.usable[at],
        of.seen.day_ahead[at],
    )
    return scaled(seen, drawn.breakeven, drawn.cost)


def margin(of: History, drawn: Drawn, later: int) -> NDArray[np.float64]:
    """What a quarter hour of being on earns, so many quarter hours later, as a share of the cost."""
    gained: NDArray[np.float64] = (drawn.breakeven - of.prices[drawn.at + later]) * HOURS / drawn.cost
    return gained
