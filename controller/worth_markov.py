"""A Markov chain of a market: how far the price is off its usual course, and where it goes from there; pure.

A state is a bin of the distance to the usual level (see `worth_course`), and how it came there: from far or near, from above or below.
Moves are counted by quarter of the hour. The worth of being on is the recursion over the states of the coming quarter hours.

Shares are whole numbers of 2^-20 and worths of 2^-26: their products add up exactly, in whatever order a library adds them.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

import numpy as np
from numpy.lib.stride_tricks import sliding_window_view

from controller.recent import KEPT
from controller.worth_course import levels
from controller.worth_features import ENOUGH, ROOM, filled, total
from controller.worth_seen import HOURS, Sees

if TYPE_CHECKING:
    from numpy.typing import NDArray

CUTS: Final = (
    0.002,
    0.01,
    *np.linspace(0.04, 0.92, 15).tolist(),
    0.95,
    0.97,
    0.98,
    0.99,
    0.995,
    0.998,
    0.9995,
)
"""Bins end at these shares of the distances seen: rare high prices are what costs, so they have bins of their own."""
LEAPS: Final = 5
"""How a state was come to: a leap down, a step down, neither, a step up, a leap up."""
LEAP: Final = 4
"""A leap is one over so many bins."""
QUARTERS: Final = 4
QUARTER_TRUST: Final = 2.0
"""So many moves the counts of all quarters of the hour weigh beside those of one,"""
LEAP_TRUST: Final = 6.0
"""and so many those of a bin however it was come to beside those of one way."""
FEWEST_BINS: Final = 4
MOST_BINS: Final = 64
FEWEST_MOVES: Final = 1000
"""About ten days: a chain of fewer says nothing."""
WHOLE: Final = 2**20
FINE: Final = 2.0**26
FARTHEST: Final = 63.0
"""A margin beyond this many times the cost is decided; sums stay exact."""
KINDS: Final = {
    "edges": ("f8", 1),
    "centres": ("f8", 1),
    "means": ("f8", 1),
    "moves": ("u4", 3),
    "seen": ("f8", 2),
}
"""The arrays' types and dimensions in a file."""


class ChainError(ValueError):
    """These arrays are no chain."""


@dataclass(frozen=True, eq=False)
class Chain:
    """A chain of `bins` distances, USD/kWh: `edges` between them, their medians (`centres`) and `means`.

    `moves` [quarter of the hour moved to, leap * bins + bin, bin moved to] in shares of `WHOLE`. `seen`: the least and the most of the
    mean step of a day and of the distance it was counted on. Raises ChainError for what is no chain.
    """

    edges: NDArray[np.float64]
    centres: NDArray[np.float64]
    means: NDArray[np.float64]
    moves: NDArray[np.uint32]
    seen: NDArray[np.float64]

    def __post_init__(self) -> None:
        """Refuse what is no chain."""
        bins = len(self.centres)
        if (
            not FEWEST_BINS <= bins <= MOST_BINS
            or self.edges.shape != (bins - 1,)
            or self.means.shape != (bins,)
        ):
            raise ChainError("the chain's bins do not fit together")
        if self.seen.shape != (2, 2) or self.moves.shape != (QUARTERS, LEAPS * bins, bins):
            raise ChainError("the chain's moves do not fit its bins")
        if not all(np.isfinite(column).all() for column in (self.edges, self.centres, self.means, self.seen)):
            raise ChainError("a distance of the chain is not a number")
        if (np.diff(self.edges) <= 0).any() or (np.diff(self.centres) <= 0).any():
            raise ChainError("the chain's bins do not rise")
        if (self.moves.sum(axis=2, dtype=np.int64) != WHOLE).any():
            raise ChainError("the moves from a state of the chain do not add up")

    @cached_property
    def _shares(self) -> tuple[NDArray[np.float64], ...]:
        """By quarter of the hour the shares [state moved to, state], whole numbers."""
        bins = len(self.centres)
        start = np.tile(np.arange(bins), LEAPS)[:, None]
        reached = _leaps(np.arange(bins) - start) * bins + np.arange(bins)
        shares = np.zeros((QUARTERS, LEAPS * bins, LEAPS * bins))
        np.put_along_axis(
            shares, np.broadcast_to(reached, self.moves.shape), self.moves.astype(np.float64), axis=2
        )
        return tuple(np.ascontiguousarray(quarter.T) for quarter in shares)

    def covers(self, prices: NDArray[np.float64], known: int, level: float) -> bool:
        """Whether the market is within what the chain was counted on, with `ROOM`."""
        step = _mean_step(prices[None, :], np.array([known]))[0]
        (least, most), (lowest, highest) = self.seen.tolist()
        room = (ROOM - 1) * (highest - lowest) / 2
        return bool(
            least / ROOM <= step <= most * ROOM and lowest - room <= prices[-1] - level <= highest + room
        )

    def worth(
        self,
        quarter: int,
        prices: NDArray[np.float64],
        level: NDArray[np.float64],
        breakeven: NDArray[np.float64],
        cost: NDArray[np.float64],
        sees: Sees,
    ) -> NDArray[np.float64]:
        """What each block's being on is worth as a share of its cost, `prices` [KEPT] being known until `quarter`, `level` from it on."""
        scale = (HOURS / cost)[:, None]
        means = np.tile(self.means, LEAPS)[None, :]
        heights = level.tolist()
        worth = np.clip((breakeven[:, None] - heights[-1] - means) * scale + 0.5, 0.0, 1.0)
        unbound = worth
        for lead in range(len(heights) - 2, 0, -1):
            ahead = self._mean(worth, quarter + lead + 1)
            unbound = (breakeven[:, None] - heights[lead] - means) * scale + ahead
            worth = np.clip(unbound, 0.0, 1.0)
        if sees is Sees.B:
            worth = np.clip(unbound, -FARTHEST, FARTHEST)
        return self._here(self._mean(worth, quarter + 1), prices[-2] - heights[0], prices[-1] - heights[0])

    def _mean(self, worth: NDArray[np.float64], quarter: int) -> NDArray[np.float64]:
        """The mean of the states that each state moves to in that quarter hour."""
        exact = np.rint(worth * FINE) @ self._shares[quarter % QUARTERS]
        mean: NDArray[np.float64] = exact / (FINE * WHOLE)
        return mean

    def _here(self, by_state: NDArray[np.float64], before: float, distance: float) -> NDArray[np.float64]:
        """The worth at that distance, between those of the two bins next to it."""
        bins = len(self.centres)
        came, stands = np.searchsorted(self.edges, (before, distance)).tolist()
        first = int(_leaps(np.array(stands - came))) * bins
        at = min(max(int(self.centres.searchsorted(distance)) - 1, 0), bins - 2)
        low, high = float(self.centres[at]), float(self.centres[at + 1])
        share = min(max((distance - low) / (high - low), 0.0), 1.0)
        between: NDArray[np.float64] = (1.0 - share) * by_state[:, first + at] + share * by_state[
            :, first + at + 1
        ]
        return between


def fit_markov(
    prices: NDArray[np.float64], day_ahead: NDArray[np.float64] | None, first_quarter: int
) -> Chain | None:
    """The chain of a market's prices [T], a quarter hour each from `first_quarter` (since 1970) on; None where they tell too little.

    NaN where a price is not known; `day_ahead` [T] is that of the same quarter hours.
    """
    if len(prices) < KEPT + FEWEST_MOVES:
        return None
    window, known = filled(sliding_window_view(prices, KEPT))
    ahead = None if day_ahead is None else day_ahead[KEPT - 1 :, None]
    level = levels(window, ahead, 1)[:, 0]
    there = np.isfinite(prices[KEPT - 1 :]) & (known >= ENOUGH)
    if day_ahead is not None:
        there &= np.isfinite(day_ahead[KEPT - 1 :])
    moved = there[:-1] & there[1:]
    if moved.sum() < FEWEST_MOVES:
        return None
    distance = window[:, -1] - level
    edges = np.unique(np.quantile(distance[there], CUTS, method="lower"))
    edges = edges[edges < distance[there].max()]
    count = len(edges) + 1
    if count < FEWEST_BINS:
        return None
    bins = np.searchsorted(edges, distance)
    leap = _leaps(bins - np.searchsorted(edges, window[:, -2] - level))
    quarter = (first_quarter + KEPT - 1 + np.arange(len(level))) % QUARTERS
    moves = _counted(leap[:-1][moved], bins[:-1][moved], bins[1:][moved], quarter[1:][moved], count)
    inside = [distance[there & (bins == number)] for number in range(count)]
    step = _mean_step(window[there], known[there])
    return Chain(
        edges,
        np.array([float(np.median(part)) for part in inside]),
        np.array([float(part.mean()) for part in inside]),
        moves,
        np.array([[step.min(), step.max()], [distance[there].min(), distance[there].max()]]),
    )


def _counted(
    leap: NDArray[np.int64],
    start: NDArray[np.int64],
    reached: NDArray[np.int64],
    quarter: NDArray[np.int64],
    bins: int,
) -> NDArray[np.uint32]:
    """The shares of the moves, in `WHOLE`: counts of one quarter and way, leaning on those of all."""
    counts = np.zeros((QUARTERS, LEAPS, bins, bins))
    np.add.at(counts, (quarter, leap, start, reached), 1.0)
    plain = counts.sum(axis=(0, 1)) + 0.01 / bins
    plain /= plain.sum(axis=1, keepdims=True)
    way = counts.sum(axis=0) + LEAP_TRUST * plain
    way /= way.sum(axis=2, keepdims=True)
    shares = counts + QUARTER_TRUST * way
    shares /= shares.sum(axis=3, keepdims=True)
    whole = np.floor(shares * WHOLE).astype(np.int64)
    most = np.argmax(whole, axis=3)[..., None]
    rest = WHOLE - whole.sum(axis=3, keepdims=True)
    np.put_along_axis(whole, most, np.take_along_axis(whole, most, 3) + rest, 3)
    told: NDArray[np.uint32] = whole.reshape(QUARTERS, LEAPS * bins, bins).astype(np.uint32)
    return told


def _leaps(moved: NDArray[np.int64]) -> NDArray[np.int64]:
    """How a state was come to, 0 to `LEAPS` - 1, by the bins that were moved."""
    leaps: NDArray[np.int64] = LEAPS // 2 + np.sign(moved) * (1 + (np.abs(moved) >= LEAP))
    return leaps


def _mean_step(prices: NDArray[np.float64], known: NDArray[np.int64]) -> NDArray[np.float64]:
    """The mean step of the last day of each row, USD/kWh; before what is known prices do not move."""
    return total(np.abs(np.diff(prices, axis=1))) / np.maximum(known - 1, 1)
