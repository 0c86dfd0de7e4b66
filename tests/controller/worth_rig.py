"""A small market, and a small model of it, for tests of what being on is worth."""

from __future__ import annotations

import numpy as np

from controller.model import Model, read_model, write_model
from controller.recent import KEPT
from controller.worth import AHEAD, Seen, Sees
from controller.worth_features import NAMES, Span
from controller.worth_markov import Chain, fit_markov
from controller.worth_trees import LEAF, Tree, Trees, grown

FIRST = 1_900_000
"""The number of the market's first quarter hour."""
WIDE = Span((0.0, 1e3), (-1e3, 1e3))


def market(count: int = 3000, seed: int = 1) -> tuple[np.ndarray, np.ndarray]:
    """Prices and day-ahead prices, USD/kWh: a daily shape, a gap that fades, and spikes."""
    random = np.random.default_rng(seed)
    hours = np.arange(count) / 4
    day_ahead = (
        0.03
        + 0.01 * np.sin(2 * np.pi * np.floor(hours) / 24)
        + 0.002 * random.standard_normal(count).repeat(4)[:count]
    )
    gap = np.zeros(count)
    for at in range(1, count):
        spike = 0.2 * random.random() if random.random() < 0.01 else 0.0
        gap[at] = 0.8 * gap[at - 1] + 0.003 * random.standard_normal() + spike
    return day_ahead + gap, day_ahead


PRICES, DAY_AHEAD = market()


def seen(
    at: int, *, day_ahead: bool = True, prices: np.ndarray = PRICES, ahead: np.ndarray = DAY_AHEAD
) -> Seen:
    """What is seen of the market when the price at that place is the last known one."""
    coming = ahead[at : at + 1 + AHEAD] if day_ahead else np.full(1 + AHEAD, np.nan)
    return Seen(FIRST + at, prices[at - KEPT + 1 : at + 1], coming)


def stump(feature: int, threshold: float, low: float, high: float) -> Tree:
    """A tree of one question."""
    return Tree(
        np.array([feature, LEAF, LEAF]),
        np.array([threshold, 0.0, 0.0]),
        np.array([1, 0, 0]),
        np.array([2, 0, 0]),
        np.array([0.0, low, high]),
        np.array([False, True, True]),
    )


def by_price(low: float = 0.0, high: float = 1.0) -> Trees:
    """Trees for which the last price says it all: below the breakeven `high`, above it `low`."""
    return grown([stump(NAMES.index("real time, 0 ago"), 0.0, low, high)], 0.0)


def chains() -> dict[bool, Chain]:
    """The market's chains."""
    found = {True: fit_markov(PRICES, DAY_AHEAD, FIRST), False: fit_markov(PRICES, None, FIRST)}
    return {day_ahead: chain for day_ahead, chain in found.items() if chain is not None}


CHAINS = chains()


def model(
    trees: dict[tuple[Sees, bool], Trees] | None = None,
    spans: dict[bool, Span] | None = None,
    of_chains: dict[bool, Chain] | None = None,
) -> Model:
    """A model of these parts; without any, of all there may be."""
    all_trees = {(sees, day_ahead): by_price() for sees in Sees for day_ahead in (True, False)}
    return read_model(
        write_model(
            all_trees if trees is None else trees,
            {True: WIDE, False: WIDE} if spans is None else spans,
            CHAINS if of_chains is None else of_chains,
            {"name": "rig", "seed": 1},
        )
    )
