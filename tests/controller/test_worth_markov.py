"""A chain tells where a price goes from where it is, exactly, and knows what it was not counted on."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.recent import KEPT
from controller.worth_course import levels
from controller.worth_markov import FEWEST_MOVES, LEAPS, QUARTERS, WHOLE, Chain, ChainError, fit_markov
from controller.worth_seen import AHEAD, Sees
from tests.controller.worth_rig import CHAINS, DAY_AHEAD, FIRST, PRICES

CHAIN = CHAINS[True]
DT = 0.25


def looked_at(at: int, chain: Chain = CHAIN) -> tuple[np.ndarray, np.ndarray]:
    """The prices of the last day and the usual level from there on."""
    prices = PRICES[at - KEPT + 1 : at + 1]
    ahead = DAY_AHEAD[None, at : at + 1 + AHEAD] if chain is CHAIN else None
    return prices, levels(prices[None, :], ahead)[0]


def worth(at: int, breakeven: list[float], cost: list[float], sees: Sees, chain: Chain = CHAIN) -> np.ndarray:
    prices, level = looked_at(at, chain)
    return chain.worth(FIRST + at, prices, level, np.array(breakeven), np.array(cost), sees)


def test_the_moves_are_those_that_were_counted() -> None:
    """Prices that go round in a circle: from each state there is one move."""
    circle = np.array([0.01, 0.02, 0.03, 0.04, 0.05, 0.06, 0.07])
    prices = np.tile(circle, 400)
    chain = fit_markov(prices, np.full(len(prices), 0.04), 0)
    assert chain is not None
    assert len(chain.centres) == len(circle)
    step_up = 3 * len(circle)  # the leap of one bin up
    for start in range(1, len(circle) - 1):
        assert (chain.moves[:, step_up + start, start + 1] > 0.95 * WHOLE).all()
    assert (chain.moves[:, step_up + len(circle) - 1, 0] > 0.95 * WHOLE).all()


def test_a_far_away_breakeven_is_worth_all_or_nothing() -> None:
    for at in (500, 900, 2000):
        assert worth(at, [5.0, -5.0], [0.01, 0.01], Sees.A) == pytest.approx([1.0, 0.0])


@settings(max_examples=25)
@given(at=st.integers(200, 2900), breakeven=st.floats(-0.05, 0.3), cost=st.floats(1e-6, 1.0))
def test_the_worth_lies_between_nothing_and_the_cost_and_rises_with_the_breakeven(
    at: int, breakeven: float, cost: float
) -> None:
    for chain in CHAINS.values():
        told = worth(at, [breakeven, breakeven + 0.01], [cost, cost], Sees.A, chain)
        assert ((told >= 0) & (told <= 1)).all()
        assert told[0] <= told[1]
        following = worth(at, [breakeven, breakeven + 0.01], [cost, cost], Sees.B, chain)
        assert np.isfinite(following).all()
        assert following[0] <= following[1]


@settings(max_examples=25)
@given(at=st.integers(200, 2900), count=st.integers(1, 30), sees=st.sampled_from(Sees))
def test_a_block_is_judged_the_same_alone_and_among_others(at: int, count: int, sees: Sees) -> None:
    breakeven = np.linspace(0.0, 0.1, count).tolist()
    cost = np.linspace(0.001, 0.02, count).tolist()
    many = worth(at, breakeven, cost, sees)
    alone = np.concatenate(
        [worth(at, [one], [other], sees) for one, other in zip(breakeven, cost, strict=True)]
    )
    assert alone.tobytes() == many.tobytes()


def test_what_comes_on_top_does_not_matter() -> None:
    prices, level = looked_at(700)
    here = CHAIN.worth(1, prices, level, np.array([0.05]), np.array([0.01]), Sees.A)
    there = CHAIN.worth(1, prices + 0.025, level + 0.025, np.array([0.075]), np.array([0.01]), Sees.A)
    assert there == pytest.approx(here, abs=1e-6)


def test_the_worth_is_the_recursion_over_the_states() -> None:
    """Against a plain one, state by state, over the same moves."""
    prices, level = looked_at(1234)
    breakeven, cost, bins = 0.045, 0.006, len(CHAIN.centres)

    def leap(start: int, end: int) -> int:
        return LEAPS // 2 + int(np.sign(end - start)) * (1 + (abs(end - start) >= 4))

    def margin(lead: int, place: int) -> float:
        return (breakeven - level[lead] - CHAIN.means[place]) * DT / cost

    later = {
        (way, place): min(max(margin(AHEAD, place) + 0.5, 0), 1)
        for way in range(LEAPS)
        for place in range(bins)
    }
    for lead in range(AHEAD - 1, -1, -1):
        shares = CHAIN.moves[(FIRST + 1234 + lead + 1) % QUARTERS] / WHOLE
        ahead = {
            (way, place): sum(
                shares[way * bins + place, end] * later[leap(place, end), end] for end in range(bins)
            )
            for way, place in later
        }
        later = {key: min(max(margin(lead, key[1]) + told, 0), 1) for key, told in ahead.items()}
    came, stands = np.searchsorted(CHAIN.edges, (prices[-2] - level[0], prices[-1] - level[0])).tolist()
    of_bin = [ahead[leap(came, stands), place] for place in range(bins)]
    expected = np.interp(prices[-1] - level[0], CHAIN.centres, of_bin)
    assert worth(1234, [breakeven], [cost], Sees.A) == pytest.approx(expected, abs=1e-6)


def test_a_market_unlike_the_one_counted_is_not_covered() -> None:
    prices, level = looked_at(700)
    assert CHAIN.covers(prices, KEPT, level[0])
    assert not CHAIN.covers(prices * 100, KEPT, level[0])
    assert not CHAIN.covers(np.full(KEPT, 0.03), KEPT, 0.03)
    assert not CHAIN.covers(prices + 3.0, KEPT, level[0])


def test_too_short_a_history_or_one_that_stands_still_gives_no_chain() -> None:
    assert fit_markov(PRICES[:FEWEST_MOVES], None, FIRST) is None
    assert fit_markov(np.full(5000, 0.05), None, FIRST) is None
    assert fit_markov(np.full(5000, np.nan), None, FIRST) is None
    assert fit_markov(PRICES, np.full(len(PRICES), np.nan), FIRST) is None


def test_unknown_prices_are_not_counted() -> None:
    prices = PRICES.copy()
    prices[1000:1200] = np.nan
    prices[2000:2002] = np.nan
    chain = fit_markov(prices, DAY_AHEAD, FIRST)
    assert chain is not None
    assert chain.seen[1, 1] <= CHAIN.seen[1, 1] * 1.5


def test_arrays_that_are_no_chain_are_refused() -> None:
    moves = CHAIN.moves.copy()
    moves[0, 0, 0] += 1
    wrong = (
        ({"moves": moves}, "add up"),
        ({"moves": CHAIN.moves[:3]}, "moves do not fit"),
        ({"seen": CHAIN.seen[:1]}, "moves do not fit"),
        ({"means": CHAIN.means[:-1]}, "do not fit together"),
        ({"edges": CHAIN.edges[:-1]}, "do not fit together"),
        ({"edges": CHAIN.edges[::-1].copy()}, "do not rise"),
        ({"centres": np.full_like(CHAIN.centres, np.nan)}, "not a number"),
    )
    for parts, message in wrong:
        with pytest.raises(ChainError, match=message):
            replace(CHAIN, **parts)
