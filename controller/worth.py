"""What being on is worth when the next prices are not known: fitted, by a Markov chain, or by a band; pure.

The worth D of a block's being on rather than off obeys D' = clip(margin * dt + E[next D'], 0, K), K the cost of stopping and starting it.
Stay on while margin * dt + E[next D'] is above 0, start when it is above K. What is told here is E/K.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from controller.worth_band import unfitted
from controller.worth_course import levels
from controller.worth_features import ENOUGH, filled, scaled, sight, slow
from controller.worth_seen import AHEAD, BAND, FITTED, MARKOV, Expected, Seen, Sees

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from controller.model import Model
    from controller.worth_features import Span

__all__ = ["AHEAD", "Expected", "Seen", "Sees", "expected"]

_UNKNOWN: float = 0.5
"""Where no price is known nothing is started and nothing stopped: the ratio is in the middle."""


def expected(
    seen: Seen,
    sees: Sees,
    breakeven_usd_per_kwh: NDArray[np.float64],
    cost_usd_per_kw: NDArray[np.float64],
    model: Model | None,
) -> Expected:
    """What each block is expected to be worth: by the model where it can tell, else by its chain, else by a band.

    Raises ValueError for a breakeven that is no number, or a cost that is not above zero.
    """
    if not (
        np.isfinite(breakeven_usd_per_kwh).all()
        and np.isfinite(cost_usd_per_kw).all()
        and (cost_usd_per_kw > 0).all()
    ):
        raise ValueError("a block needs a breakeven, and a cost above zero")
    question = _Question(seen, sees, breakeven_usd_per_kwh, cost_usd_per_kw)
    ratio = np.full(len(cost_usd_per_kw), _UNKNOWN)
    fitted, why = question.fitted(ratio, model)
    if fitted.all():
        return Expected(ratio, (FITTED,) * len(ratio))
    chained, why_not = question.chained(ratio, ~fitted, model)
    if not chained:
        question.banded(ratio, ~fitted)
    method = MARKOV if chained else BAND
    why = f"{why}; {why_not}" if why_not else why
    return Expected(ratio, tuple(FITTED if is_fitted else method for is_fitted in fitted.tolist()), why)


@dataclass(frozen=True)
class _Question:
    """One look at the market, and the blocks to be judged; each method writes the ratios of those it can tell."""

    seen: Seen
    sees: Sees
    breakeven: NDArray[np.float64]
    cost: NDArray[np.float64]

    @cached_property
    def prices(self) -> tuple[NDArray[np.float64], int]:
        """The recent prices without gaps, and how many of the newest are real; of a market known day ahead only, that price."""
        prices, known = filled(self.seen.recent[None, :])
        first = float(self.seen.day_ahead[0])
        if not known[0] and np.isfinite(first):
            return np.full_like(prices[0], first), 1
        return prices[0], int(known[0])

    @cached_property
    def with_day_ahead(self) -> bool:
        return bool(np.isfinite(self.seen.day_ahead[0]))

    def level(self, *, day_ahead: bool) -> NDArray[np.float64]:
        """The usual level of the price from the last known one on."""
        ahead = self.seen.day_ahead[None, :] if day_ahead else None
        level: NDArray[np.float64] = levels(self.prices[0][None, :], ahead)[0]
        return level

    def fitted(self, ratio: NDArray[np.float64], model: Model | None) -> tuple[NDArray[np.bool_], str]:
        """Which blocks the trees can judge, and why not the others."""
        done = np.zeros(len(ratio), np.bool_)
        known = self.prices[1]
        if model is None:
            return done, "no model was fitted"
        if known < ENOUGH:
            return done, f"the prices of {known} quarter hours in a row are known, a model needs {ENOUGH}"
        here = sight(self.seen.recent[None, :], self.seen.day_ahead[None, :], np.array([self.seen.quarter]))
        rows = scaled(here, self.breakeven, self.cost)
        why = ""
        for day_ahead in (True, False) if here.day_ahead[0] else (False,):
            trees, span = model.trees(self.sees, day_ahead=day_ahead), model.span(day_ahead=day_ahead)
            if trees is None or span is None:
                continue
            near = span.covers(rows, day_ahead=day_ahead) & ~done
            if near.any():
                told = trees.predict(rows[near])
                ratio[near] = np.clip(told, 0.0, 1.0) if self.sees is Sees.A else told
                done |= near
            if done.all():
                return done, ""
            why = why or _beyond(span, rows[~done], day_ahead=day_ahead)
        sight_of = f"sight {self.sees} {'with' if here.day_ahead[0] else 'without'} day-ahead prices"
        return done, why or f"the model was not fitted for {sight_of}"

    def chained(
        self, ratio: NDArray[np.float64], which: NDArray[np.bool_], model: Model | None
    ) -> tuple[bool, str]:
        """Whether the model's chain can judge these blocks, and why not, if it has one."""
        prices, known = self.prices
        if model is None or known < ENOUGH:
            return False, ""
        why = ""
        for day_ahead in (True, False) if self.with_day_ahead else (False,):
            chain = model.markov(day_ahead=day_ahead)
            if chain is None:
                continue
            level = self.level(day_ahead=day_ahead)
            if chain.covers(prices, known, float(level[0])):
                ratio[which] = chain.worth(
                    self.seen.quarter, prices, level, self.breakeven[which], self.cost[which], self.sees
                )
                return True, ""
            off = float(prices[-1] - level[0])
            why = (
                why
                or f"its chain was not counted on prices {off:+.3g} USD/kWh off their level that move like these"
            )
        return False, why

    def banded(self, ratio: NDArray[np.float64], which: NDArray[np.bool_]) -> None:
        """Judge these blocks by the prices in sight alone; leave them where there are none."""
        prices, known = self.prices
        if known:
            level = self.level(day_ahead=self.with_day_ahead)
            ratio[which] = unfitted(prices, known, level, self.breakeven[which], self.cost[which], self.sees)


def _beyond(span: Span, rows: NDArray[np.float32], *, day_ahead: bool) -> str:
    """Why a model does not know a market like that of the first of these rows, for a person."""
    step, level = (float(column[0]) for column in slow(rows, day_ahead=day_ahead))
    if not span.covers_step(step):
        what, value, (least, most) = "a quarter hour's usual step of the price is", step, span.step
    else:
        what, value, (least, most) = "a quarter hour at the price's level earns", level, span.level
    return f"{what} {value:.3g} times what stopping costs, the model was fitted on {least:.3g} to {most:.3g}"
