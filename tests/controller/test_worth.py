"""Each block is judged by the best method that knows its market, and a person is told why it is not the fitted one."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.recent import KEPT
from controller.worth import AHEAD, Seen, Sees, expected
from controller.worth_features import ENOUGH, Span
from tests.controller.worth_rig import DAY_AHEAD, PRICES, WIDE, by_price, model, seen

if TYPE_CHECKING:
    from controller.model import Model

MODEL = model()
AT = 700
BREAKEVEN = np.array([0.03, 0.04, 0.06])
COST = np.array([0.004, 0.008, 0.001])
prices = st.one_of(st.just(math.nan), st.floats(-2.0, 9.0), st.sampled_from([math.inf, -math.inf]))


def judged(here: Seen, model: Model | None = MODEL, sees: Sees = Sees.A) -> tuple[tuple[str, ...], str]:
    told = expected(here, sees, BREAKEVEN, COST, model)
    assert np.isfinite(told.ratio).all()
    return told.methods, told.why


@pytest.mark.parametrize("sees", Sees)
@pytest.mark.parametrize("day_ahead", [True, False])
def test_where_a_model_knows_the_market_it_decides(sees: Sees, day_ahead: bool) -> None:  # noqa: FBT001
    assert judged(seen(AT, day_ahead=day_ahead), sees=sees) == (("fitted",) * 3, "")


def test_a_fitted_worth_is_what_the_trees_tell_within_its_bounds() -> None:
    high = model({(sees, True): by_price(-3.0, 4.0) for sees in Sees})
    here = replace(seen(AT), recent=np.full(KEPT, 0.035))
    assert expected(here, Sees.A, BREAKEVEN, COST, high).ratio.tolist() == [0.0, 1.0, 1.0]
    assert expected(here, Sees.B, BREAKEVEN, COST, high).ratio.tolist() == [-3.0, 4.0, 4.0]


def test_without_a_model_the_band_decides() -> None:
    assert judged(seen(AT), None) == (("band",) * 3, "no model was fitted")


def test_a_model_that_needs_day_ahead_prices_leaves_it_to_its_chain_when_they_are_missing() -> None:
    with_only = model({(Sees.A, True): by_price()}, {True: WIDE})
    assert judged(seen(AT), with_only)[0] == ("fitted",) * 3
    methods, why = judged(seen(AT, day_ahead=False), with_only)
    assert methods == ("markov",) * 3
    assert "without day-ahead prices" in why
    methods, why = judged(seen(AT, day_ahead=False), model({(Sees.A, True): by_price()}, {True: WIDE}, {}))
    assert methods == ("band",) * 3


def test_a_model_fitted_without_day_ahead_prices_does_not_need_them() -> None:
    without_only = model({(Sees.A, False): by_price()}, {False: WIDE})
    assert judged(seen(AT), without_only) == (("fitted",) * 3, "")


def test_a_model_for_another_sight_is_not_asked() -> None:
    methods, why = judged(seen(AT), model({(Sees.A, True): by_price()}, {True: WIDE}), Sees.B)
    assert methods == ("markov",) * 3
    assert why == "the model was not fitted for sight B with day-ahead prices"


def test_only_blocks_within_what_was_fitted_on_are_fitted() -> None:
    narrow = Span((0.0, 0.3), (-1e3, 1e3))  # the third block costs so little that prices move far
    told = judged(seen(AT), model(spans={True: narrow, False: narrow}))
    assert told[0] == ("fitted", "fitted", "markov")
    assert "a quarter hour's usual step of the price is" in told[1]
    assert "fitted on 0 to 0.3" in told[1]
    low = Span((0.0, 1e3), (-1.0, 1.0))
    told = judged(seen(AT), model(spans={True: low, False: low}))
    assert told[0][2] == "markov"
    assert "fitted on -1 to 1" in told[1]


def test_where_the_chain_does_not_know_the_market_either_the_band_decides() -> None:
    narrow = Span((0.0, 1e-3), (0.0, 0.0))
    strange = seen(AT, prices=PRICES * 50)
    methods, why = judged(strange, model(spans={True: narrow, False: narrow}))
    assert methods == ("band",) * 3
    assert "its chain was not counted on" in why


def test_too_few_prices_in_a_row_are_judged_by_the_band() -> None:
    here = seen(AT)
    recent = here.recent.copy()
    recent[: KEPT - ENOUGH + 1] = np.nan
    methods, why = judged(replace(here, recent=recent))
    assert methods == ("band",) * 3
    assert why == f"the prices of {ENOUGH - 1} quarter hours in a row are known, a model needs {ENOUGH}"


def test_where_nothing_is_known_nothing_is_started_and_nothing_stopped() -> None:
    nothing = Seen(1, np.full(KEPT, np.nan), np.full(1 + AHEAD, np.nan))
    for sees in Sees:
        told = expected(nothing, sees, BREAKEVEN, COST, MODEL)
        assert told.ratio.tolist() == [0.5] * 3
        assert told.methods == ("band",) * 3
        assert told.why.startswith("the prices of 0 quarter hours")


def test_a_day_ahead_price_alone_says_which_way() -> None:
    only_ahead = Seen(1, np.full(KEPT, np.nan), np.full(1 + AHEAD, 0.045))
    told = expected(only_ahead, Sees.B, BREAKEVEN, COST, MODEL)
    assert (told.ratio < 0).tolist() == [True, True, False]
    assert told.ratio[2] > 1


@pytest.mark.parametrize("sees", Sees)
@pytest.mark.parametrize("known_model", [None, model({}, {})])
def test_far_prices_leave_no_doubt(sees: Sees, known_model: Model | None) -> None:
    low = expected(seen(AT), sees, BREAKEVEN + 2.0, COST, known_model).ratio
    high = expected(seen(AT), sees, BREAKEVEN - 2.0, COST, known_model).ratio
    assert (low >= 1).all()
    assert (high <= 0).all()


def test_a_block_without_a_cost_or_a_breakeven_is_refused() -> None:
    for breakeven, cost in ((0.05, 0.0), (0.05, math.nan), (math.nan, 0.01), (0.05, -1.0)):
        with pytest.raises(ValueError, match="needs a breakeven, and a cost above zero"):
            expected(seen(AT), Sees.A, np.array([breakeven]), np.array([cost]), None)


@settings(max_examples=60)
@given(
    recent=st.lists(prices, min_size=1, max_size=KEPT),
    ahead=st.lists(prices, min_size=1 + AHEAD, max_size=1 + AHEAD),
    breakeven=st.floats(-1.0, 5.0),
    cost=st.floats(1e-9, 10.0),
    sees=st.sampled_from(Sees),
    known_model=st.sampled_from([None, MODEL, model({}, {})]),
)
def test_whatever_is_seen_the_worth_is_a_number(
    recent: list[float],
    ahead: list[float],
    breakeven: float,
    cost: float,
    sees: Sees,
    known_model: Model | None,
) -> None:
    padded = np.array([math.nan] * (KEPT - len(recent)) + recent)
    told = expected(
        Seen(7, padded, np.array(ahead)), sees, np.array([breakeven]), np.array([cost]), known_model
    )
    assert np.isfinite(told.ratio).all()
    if sees is Sees.A:
        assert 0 <= told.ratio[0] <= 1


@settings(max_examples=25)
@given(
    at=st.integers(200, 2900),
    sees=st.sampled_from(Sees),
    known_model=st.sampled_from([None, MODEL, model({}, {})]),
    count=st.integers(1, 40),
)
def test_a_block_is_judged_the_same_alone_and_among_others(
    at: int, sees: Sees, known_model: Model | None, count: int
) -> None:
    breakeven, cost = np.linspace(0.0, 0.1, count), np.linspace(0.001, 0.02, count)
    many = expected(seen(at), sees, breakeven, cost, known_model).ratio
    alone = [expected(seen(at), sees, breakeven[[k]], cost[[k]], known_model).ratio for k in range(count)]
    assert np.concatenate(alone).tobytes() == many.tobytes()


@settings(max_examples=25)
@given(
    at=st.integers(200, 2900), sees=st.sampled_from(Sees), rate=st.floats(0.1, 10), adder=st.floats(-0.1, 0.1)
)
def test_without_a_model_neither_currency_nor_what_comes_on_top_matters(
    at: int, sees: Sees, rate: float, adder: float
) -> None:
    here = expected(seen(at), sees, BREAKEVEN, COST, None).ratio
    other = seen(at, prices=(PRICES + adder) * rate, ahead=(DAY_AHEAD + adder) * rate)
    there = expected(other, sees, (BREAKEVEN + adder) * rate, COST * rate, None).ratio
    assert there == pytest.approx(here, rel=1e-6, abs=1e-5)
