"""What a fitted model would have earned on prices it did not see, and what simpler rules would have; pure.

Breakevens are percentiles of the prices, costs those of `RESTART_H` at the breakeven. All figures are shares of what was possible in
hindsight.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.fit_rows import AT_ONCE, Drawn, margin, rows
from controller.recent import KEPT
from controller.worth_band import band, volatility_of
from controller.worth_features import filled
from controller.worth_seen import Sees

if TYPE_CHECKING:
    from collections.abc import Mapping

    from numpy.typing import NDArray

    from controller.fit_rows import History, Reach
    from controller.worth_trees import Trees

TYPICAL: Final = (75.0, 90.0, 97.0)
"""Percentiles of the prices at which breakevens are tried."""
RESTART_H: Final = 1 / 6


@dataclass(frozen=True, slots=True)
class Checked:
    """What each policy lost against hindsight at one breakeven, as a share of what hindsight earned; `starts` likewise by policy."""

    sees: Sees
    percentile: float
    breakeven_usd_per_kwh: float
    cost_usd_per_kw: float
    regret: Mapping[str, float]
    starts: Mapping[str, int]


def check(of: History, start: int, between: Reach, sees: Sees, trees: Trees) -> tuple[Checked, ...]:
    """What the trees lose from the place `start` of the history on; and always on, the bare threshold of the last price in sight, the band."""
    places = np.arange(max(start, 1), len(of.prices))
    known = of.prices[places][np.isfinite(of.prices[places])]
    if not len(known):
        return ()
    breakevens = [float(np.percentile(known, percentile)) for percentile in TYPICAL]
    costs = [
        min(max(breakeven, between.high - between.low) * RESTART_H, between.most_cost)
        for breakeven in breakevens
    ]
    last = places if sees is Sees.A else places - 1
    bands = _bands(of, last, np.array(breakevens), np.array(costs), sees)
    judged = np.isfinite(of.prices[last]) & of.seen.usable[last]
    found = []
    for number, (percentile, breakeven, cost) in enumerate(zip(TYPICAL, breakevens, costs, strict=True)):
        now, seen = _tried(places, breakeven, cost), _tried(last, breakeven, cost)
        margins = margin(of, now, 0)
        most = _hindsight(margins)
        if not most > 0:
            continue
        besides = margins if sees is Sees.A else np.zeros(len(places))
        worth = {
            "fitted": trees.predict(rows(of, seen)) + besides,
            "band": bands[:, number] + besides,
            # Far above a start's or below a stop's, as the last price says.
            "threshold": np.where(margin(of, seen, 0) > 0, 2.0, -1.0),
            "always_on": np.full(len(places), 2.0),
        }
        lived = {name: _lived(margins, np.where(judged, value, np.nan)) for name, value in worth.items()}
        found.append(
            Checked(
                sees,
                percentile,
                breakeven,
                cost,
                {name: max(most - earned, 0.0) / most for name, (earned, _) in lived.items()},
                {name: starts for name, (_, starts) in lived.items()},
            )
        )
    return tuple(found)


def _bands(
    of: History,
    places: NDArray[np.int64],
    breakevens: NDArray[np.float64],
    costs: NDArray[np.float64],
    sees: Sees,
) -> NDArray[np.float64]:
    """What the band tells at each place for each breakeven."""
    before = np.concatenate([np.full(KEPT - 1, np.nan), of.prices])
    recent = np.lib.stride_tricks.sliding_window_view(before, KEPT)
    told = np.full((len(places), len(breakevens)), np.nan)
    for first in range(0, len(places), AT_ONCE):
        prices, known = filled(recent[places[first : first + AT_ONCE]])
        for row, (window, real) in enumerate(zip(prices, known.tolist(), strict=True)):
            if real:
                told[first + row] = band(
                    float(window[-1]), volatility_of(window, real), breakevens, costs, sees
                )
    return told


def _tried(places: NDArray[np.int64], breakeven: float, cost: float) -> Drawn:
    return Drawn(places, np.full(len(places), breakeven), np.full(len(places), cost))


def _hindsight(margins: NDArray[np.float64]) -> float:
    """The most that could be earned, beginning on, as a multiple of the cost."""
    on = off = 0.0
    for margin_now in margins[::-1].tolist():
        if not math.isnan(margin_now):
            on, off = max(margin_now + on, off), max(off, margin_now + on - 1.0)
    return on


def _lived(margins: NDArray[np.float64], worth: NDArray[np.float64]) -> tuple[float, int]:
    """What is earned, as a multiple of the cost, and how often is started, by what being on is worth; where that is NaN all stays."""
    earned, starts, on = 0.0, 0, True
    for margin_now, worth_now in zip(margins.tolist(), worth.tolist(), strict=True):
        if on:
            on = not worth_now <= 0
        elif worth_now > 1:
            on = True
            starts += 1
            earned -= 1.0
        if on and not math.isnan(margin_now):
            earned += margin_now
    return earned, starts
