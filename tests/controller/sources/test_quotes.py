from __future__ import annotations

import math
from statistics import median

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.sources.quotes import Believed, Doubted, Quote, QuoteJudge, QuoteRules

RULES = QuoteRules(max_age_s=900, outlier_ratio=0.05, jump_ratio=0.15, jump_confirm_s=300)


def quotes(at: float, *prices: float | None) -> list[Quote]:
    """Quotes of feeds a, b, c ... seen at that time; None: this feed says nothing."""
    return [Quote(name, price, at) for name, price in zip("abcdefg", prices, strict=False) if price]


def price(verdict: Believed | Doubted) -> float | None:
    return verdict.usd if isinstance(verdict, Believed) else None


def run(*steps: tuple[float, tuple[float | None, ...]]) -> list[float | None]:
    """What is believed step by step: (time, prices of a, b, c ...)."""
    judge = QuoteJudge(RULES)
    return [price(judge.judge(quotes(at, *prices), at)) for at, prices in steps]


def test_the_price_is_the_median_of_the_fresh_quotes() -> None:
    assert run((0, (100.0, 101.0, 103.0))) == [101.0]
    assert run((0, (100.0, 101.0, 102.0, 103.0))) == [101.5]


def test_an_old_quote_does_not_count() -> None:
    verdict = QuoteJudge(RULES).judge(
        [*quotes(0, 100.0), Quote("b", 102.0, 900), Quote("c", 103.0, 899)], 900
    )
    assert isinstance(verdict, Believed)
    assert verdict.used == ("b", "c")


def test_without_a_fresh_quote_there_is_no_price() -> None:
    assert QuoteJudge(RULES).judge([], 0) == Doubted("no fresh quote")
    assert QuoteJudge(RULES).judge(quotes(0, 100.0), 900) == Doubted("no fresh quote")


@pytest.mark.parametrize("wrong", [1.0, 94.0, 107.0, 1e9])
def test_one_of_three_that_is_far_from_the_others_is_left_out_and_told(wrong: float) -> None:
    verdict = QuoteJudge(RULES).judge(quotes(0, 100.0, wrong, 101.0), 0)
    assert isinstance(verdict, Believed)
    assert verdict.usd == 100.5
    assert verdict.used == ("a", "c")
    assert verdict.left_out == (Quote("b", wrong, 0),)


def test_feeds_without_a_majority_are_not_believed() -> None:
    verdict = QuoteJudge(RULES).judge(quotes(0, 100.0, 100.0, 50.0, 50.0), 0)
    assert verdict == Doubted("no majority: a 100.00, b 100.00, c 50.00, d 50.00")
    assert run((0, (100.0, 50.0, 200.0))) == [None]


def test_three_feeds_that_agree_on_a_jump_are_believed_at_once() -> None:
    assert run((0, (100.0, 100.0, 100.0)), (60, (60.0, 60.5, 61.0))) == [100.0, 60.5]


def test_a_jump_of_a_single_feed_is_believed_once_it_has_lasted() -> None:
    assert run(
        (0, (100.0,)), (60, (120.0,)), (120, (121.0,)), (359, (120.0,)), (360, (122.0,)), (420, (124.0,))
    ) == [100.0, None, None, None, 122.0, 124.0]


def test_a_jump_that_goes_on_at_the_pace_of_a_market_is_one_jump() -> None:
    steps = [(60.0 * minute, (120.0 * 1.03**minute,)) for minute in range(1, 7)]
    assert run((0, (100.0,)), *steps)[-1] == pytest.approx(120 * 1.03**6)


def test_a_jump_that_is_another_each_time_is_never_believed() -> None:
    steps = [(60.0 * minute, (50.0 + 25 * (minute % 2),)) for minute in range(1, 30)]
    assert set(run((0, (100.0,)), *steps)[1:]) == {None}


def test_a_glitch_that_is_over_leaves_nothing_behind() -> None:
    assert run(
        (0, (100.0,)), (60, (10.0,)), (120, (101.0,)), (180, (10.0,)), (420, (10.0,)), (480, (10.0,))
    ) == [100.0, None, 101.0, None, None, 10.0]


def test_a_jump_says_how_long_it_has_lasted() -> None:
    judge = QuoteJudge(RULES)
    judge.judge(quotes(0, 100.0), 0)
    judge.judge(quotes(60, 120.0), 60)
    assert judge.judge(quotes(180, 120.0), 180) == Doubted(
        "a 120.00 is a jump from 100.00: believed if it lasts 300 s, so far 120"
    )


def test_the_same_observation_looked_at_again_does_not_make_a_jump_last() -> None:
    judge = QuoteJudge(RULES)
    judge.judge(quotes(0, 100.0), 0)
    assert [price(judge.judge(quotes(60, 120.0), now)) for now in (60, 500, 900)] == [None] * 3


def test_the_first_price_ever_is_believed() -> None:
    assert run((0, (92_000.0,))) == [92_000.0]


def test_the_price_last_believed_in_an_earlier_run_has_a_say_in_this_one() -> None:
    judge = QuoteJudge(QuoteRules())
    judge.restore(92_000.0)
    assert price(judge.judge([Quote("a", 920.0, 0.0)], 0.0)) is None
    assert price(judge.judge([Quote("a", 92_500.0, 60.0)], 60.0)) == 92_500.0


def test_two_that_agree_are_believed_jump_or_not() -> None:
    assert run((0, (100.0, 102.0)), (60, (140.0, 141.0))) == [101.0, 140.5]


def test_of_two_that_differ_the_one_near_the_last_price_counts_for_a_while() -> None:
    assert run(
        (0, (100.0, 100.0)),
        (60, (100.0, 130.0)),
        (359, (101.0, 130.0)),
        (360, (101.0, 130.0)),
        (420, (130.0, 130.0)),
        (480, (131.0, 160.0)),
    ) == [100.0, 100.0, 101.0, None, 130.0, 131.0]


def test_two_that_both_left_the_last_price_and_differ_are_not_believed() -> None:
    assert run((0, (100.0, 100.0)), (60, (130.0, 70.0))) == [100.0, None]


def test_two_that_differ_from_the_start_are_not_believed() -> None:
    assert run((0, (100.0, 110.0)), (60, (100.0, 101.0))) == [None, 100.5]


def test_a_jump_seen_by_one_feed_is_believed_when_the_other_sees_it_too() -> None:
    assert run((0, (100.0, None)), (60, (130.0, None)), (120, (130.0, 131.0))) == [100.0, None, 130.5]


def test_the_time_of_a_price_is_one_that_half_of_its_quotes_have_reached() -> None:
    def at(*times: float) -> float:
        verdict = QuoteJudge(RULES).judge([Quote(str(n), 100.0, time) for n, time in enumerate(times)], 800)
        assert isinstance(verdict, Believed)
        return verdict.at

    assert at(700) == 700
    assert at(700, 0) == 0
    assert at(0, 700, 600) == 600
    assert at(0, 700, 600, 500) == 500


@given(
    st.lists(st.floats(1e-3, 1e9), min_size=1, max_size=7),
    st.lists(st.integers(0, 1000), min_size=7, max_size=7),
    st.randoms(use_true_random=False),
)
def test_what_is_believed_lies_among_its_quotes_in_whatever_order_they_come(
    prices: list[float], ages: list[int], random: object
) -> None:
    feeds = [Quote(str(n), usd, 1000.0 - age) for n, (usd, age) in enumerate(zip(prices, ages, strict=False))]
    shuffled = list(feeds)
    random.shuffle(shuffled)  # type: ignore[attr-defined] # hypothesis' random
    verdict = QuoteJudge(RULES).judge(feeds, 1000.0)
    assert QuoteJudge(RULES).judge(shuffled, 1000.0) == verdict
    if isinstance(verdict, Believed):
        used = [quote for quote in feeds if quote.feed in verdict.used]
        assert verdict.usd == median(quote.usd for quote in used)
        assert all(1000 - quote.at < RULES.max_age_s for quote in used)
        assert sum(quote.at >= verdict.at for quote in used) * 2 >= len(used)
        assert not {quote.feed for quote in verdict.left_out} & set(verdict.used)


@given(
    st.floats(1000, 1e6),
    st.integers(3, 7),
    st.data(),
)
def test_a_minority_of_faulty_feeds_never_moves_the_price_out_of_the_honest_ones(
    true: float, count: int, data: st.DataObject
) -> None:
    faulty = data.draw(st.integers(0, (count - 1) // 2))
    honest = [true * data.draw(st.floats(0.99, 1.01)) for _ in range(count - faulty)]
    wrong = [data.draw(st.floats(1e-3, 1e12)) for _ in range(faulty)]
    verdict = QuoteJudge(RULES).judge(quotes(0, *honest, *wrong), 0)
    if isinstance(verdict, Believed):
        assert min(honest) * 0.94 <= verdict.usd <= max(honest) * 1.06


@pytest.mark.parametrize("name", ["max_age_s", "outlier_ratio", "jump_ratio"])
@pytest.mark.parametrize("value", [0.0, -1.0, math.nan])
def test_rules_that_believe_nothing_are_refused(name: str, value: float) -> None:
    with pytest.raises(ValueError, match=f"{name} must be above zero"):
        QuoteRules(**{name: value})


def test_a_jump_may_be_believed_at_once_by_choice() -> None:
    with pytest.raises(ValueError, match="jump_confirm_s must not be below zero"):
        QuoteRules(jump_confirm_s=-1)
    judge = QuoteJudge(QuoteRules(jump_confirm_s=0))
    assert [price(judge.judge(quotes(at, usd), at)) for at, usd in ((0, 100.0), (60, 200.0))] == [100, 200]


def test_after_the_clock_was_set_back_a_jump_lasts_from_then_on() -> None:
    steps = [(10_000, (100.0,)), (10_060, (200.0,)), *((at, (200.0,)) for at in (3_000, 3_200, 3_300))]
    assert run(*steps) == [100.0, None, None, None, 200.0]
    steps = [(10_000, (100.0, 100.0)), *((at, (100.0, 200.0)) for at in (10_060, 3_000, 3_200, 3_300))]
    assert run(*steps) == [100.0, 100.0, 100.0, 100.0, None]


def test_a_quote_from_before_the_clock_was_set_back_grows_old_from_then_on() -> None:
    judge = QuoteJudge(RULES)
    judge.judge(quotes(10_000, 100.0), 10_000)
    verdict = judge.judge(quotes(10_000, 100.0), 3_000)
    assert isinstance(verdict, Believed)
    assert verdict.at == 3_000
