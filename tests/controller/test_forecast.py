"""The typical day is learned from what was in force, and the last price fades into it."""

from __future__ import annotations

import math
from dataclasses import replace
from datetime import datetime
from itertools import accumulate, pairwise
from typing import TYPE_CHECKING
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.forecast import (
    DAYS_WEIGHED,
    DECAY,
    QUARTER_S,
    QUARTERS,
    PowerAhead,
    TypicalDay,
    learn,
    power_ahead,
)
from controller.ticks import POWER, POWER_DAY_AHEAD, UNITS, Tick
from controller.validate import SeriesRule

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

DAY = 86_400.0
NOW = 1_768_176_000.0  # 2026-01-12 00:00:00 UTC
BERLIN = "Europe/Berlin"


def local(text: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(text).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def learned(
    price: Callable[[float], float], start: float, stop: float, zone: str = "UTC", step_s: float = QUARTER_S
) -> TypicalDay:
    """What is known at `stop` to whoever looked every `step_s` from `start` on."""
    day, at = TypicalDay(), start
    while at <= stop:
        day = learn(day, price(at), at, zone)
        at += step_s
    return day


def by_hour(at: float) -> float:
    return 0.01 * (at % DAY // 3600)


USUAL = learned(by_hour, NOW - 2 * DAY, NOW)


def told(value: float, start: float, stop: float = math.inf, source: str = "feed", seen: float = NOW) -> Tick:
    return Tick(POWER, value, UNITS[POWER], start, stop, seen, source)


def ahead(
    ticks: Sequence[Tick],
    *,
    now: float = NOW,
    hours: float = 36,
    day: TypicalDay = USUAL,
    rule: SeriesRule | None = None,
    lasting: Sequence[str] = ("fixed",),
) -> PowerAhead:
    price = next(tick.value for tick in reversed(ticks) if tick.valid_from <= now)
    return power_ahead(now, price, {POWER: ticks}, now + hours * 3600, day, rule, lasting)


def price_at(power: PowerAhead, at: float) -> float:
    return next(price for start, price in reversed(power.steps) if start <= at)


# --- the typical day ----------------------------------------------------------------------------------


def test_nothing_is_typical_before_anything_was_learned() -> None:
    assert TypicalDay().at(NOW) is None
    day = learn(TypicalDay(), 0.05, NOW, "UTC")
    assert (day.quarter, day.price_usd_per_kwh, day.days) == (NOW / 900, 0.05, ())
    assert day.at(NOW) is None


def test_of_each_quarter_hour_the_price_first_seen_counts_once_when_it_is_over() -> None:
    first = learn(TypicalDay(), 0.05, NOW + 10, "UTC")
    assert learn(first, 0.50, NOW + 60, "UTC") is first
    assert learn(first, 0.50, NOW + 899, "UTC") is first
    after = learn(first, 0.07, NOW + 900, "UTC")
    assert (after.at(NOW), after.at(NOW + 900)) == (0.05, None)
    assert sum(after.days) == 1
    assert after.at(NOW + 5 * DAY + 300) == 0.05


def test_the_first_days_count_alike_and_later_ones_a_seventh_each() -> None:
    day = TypicalDay()
    means = []
    for count in range(10):
        day = learn(day, float(count), NOW + count * DAY, "UTC")
        day = learn(day, 0.0, NOW + count * DAY + QUARTER_S, "UTC")
        means.append(day.at(NOW))
    assert means[:7] == pytest.approx([count / 2 for count in range(7)])
    for before, count in zip(means[6:], range(7, 10), strict=False):
        assert means[count] == pytest.approx(before + (count - before) / 7)
    assert day.days[0] == DAYS_WEIGHED


def test_a_price_that_never_changes_is_typical_to_the_last_digit() -> None:
    day = learned(lambda _: 0.1, NOW, NOW + 20 * DAY)
    assert set(day.prices_usd_per_kwh) == {0.1}


def test_the_day_is_the_sites_own_and_summer_time_does_not_shift_it() -> None:
    def price(at: float) -> float:
        return 0.1 if datetime.fromtimestamp(at, tz=ZoneInfo(BERLIN)).hour == 18 else 0.0

    day = learned(price, local("2026-03-20"), local("2026-04-05"), BERLIN)
    assert [day.at(local(f"2026-{date}T18:45")) for date in ("01-10", "03-28", "03-29", "07-01")] == [0.1] * 4
    assert day.at(local("2026-07-01T19:00")) == day.at(local("2026-07-01T17:45")) == 0


def test_the_hour_that_is_missing_learns_nothing_and_the_one_that_comes_twice_learns_twice() -> None:
    short = learned(lambda _: 0.1, local("2026-03-29"), local("2026-03-30"), BERLIN)
    assert [index for index in range(QUARTERS) if short.days[index] != 1] == [8, 9, 10, 11]
    assert sum(short.days) == 92

    def price(at: float) -> float:
        return 0.3 if at >= local("2026-10-25T02:00", fold=1) else 0.1

    long = learned(price, local("2026-10-25"), local("2026-10-26"), BERLIN)
    assert [long.days[index] for index in range(7, 13)] == [1, 2, 2, 2, 2, 1]
    assert sum(long.days) == 100
    assert long.at(local("2026-11-01T02:15")) == pytest.approx(0.2)


def test_another_zone_begins_anew() -> None:
    day = learn(USUAL, 0.2, NOW, BERLIN)
    assert day == TypicalDay(BERLIN, quarter=int(NOW / 900), price_usd_per_kwh=0.2)


def test_a_clock_that_was_set_back_is_waited_for_unless_it_was_far_ahead() -> None:
    assert learn(USUAL, 9.0, NOW - 3600, "UTC") is USUAL
    sane = learn(replace(USUAL, quarter=10**7), 0.2, NOW, "UTC")
    assert sane == replace(USUAL, quarter=int(NOW / 900), price_usd_per_kwh=0.2)


def test_a_gap_in_what_was_seen_leaves_the_quarters_between_unlearned() -> None:
    day = learn(learn(TypicalDay(), 0.05, NOW, "UTC"), 0.07, NOW + 7200, "UTC")
    assert (sum(day.days), day.at(NOW)) == (1, 0.05)


def test_a_day_of_another_length_is_refused() -> None:
    with pytest.raises(ValueError, match="a day has 96 quarter hours, not 2"):
        TypicalDay("UTC", (1.0, 2.0), (1, 1))


PRICES = st.lists(st.tuples(st.floats(-1, 10), st.floats(1, 4 * 3600)), min_size=1, max_size=200)


@settings(max_examples=60)
@given(PRICES, PRICES, st.sampled_from(["UTC", BERLIN, "Asia/Kathmandu", "Australia/Lord_Howe"]))
def test_what_comes_later_changes_no_earlier_typical_day_and_no_price_leaves_the_range_of_those_seen(
    past: list[tuple[float, float]], future: list[tuple[float, float]], zone: str
) -> None:
    def days(looks: list[tuple[float, float]]) -> list[TypicalDay]:
        times = accumulate((step for _, step in looks), initial=NOW)
        found = [TypicalDay()]
        for (price, _), at in zip(looks, times, strict=False):
            found.append(learn(found[-1], price, at, zone))
        return found

    short, long = days(past), days(past + future)
    assert list(map(repr, long[: len(short)])) == list(map(repr, short))
    seen = [price for price, _ in past + future]
    known = [p for p, n in zip(long[-1].prices_usd_per_kwh, long[-1].days, strict=True) if n]
    assert all(min(seen) <= price <= max(seen) for price in known)


# --- what is expected ---------------------------------------------------------------------------------


def test_after_the_last_interval_its_distance_to_the_typical_day_decays_by_the_quarter_hour() -> None:
    power = ahead([told(0.0, NOW, NOW + 7200), told(0.11, NOW + 7200, NOW + 10800)])
    assert power.known_until == NOW + 10800
    assert power.typical
    assert power.steps[:2] == ((NOW, 0.0), (NOW + 7200, 0.11))
    # In the third hour 2 ct are usual, 3 ct in the one after it.
    for count in range(4):
        expected = 0.03 + 0.09 * DECAY ** (count + 1)
        assert price_at(power, NOW + 10800 + 900 * count + 450) == pytest.approx(expected)
    assert price_at(power, NOW + 30 * 3600) == pytest.approx(0.06, abs=1e-6)


def test_a_price_of_the_moment_decays_from_now_on() -> None:
    now = NOW + 450
    power = ahead([told(0.2, NOW - 300)], now=now)
    assert (power.known_until, power.typical) == (now, True)
    assert power.steps[0] == (now, 0.2)
    assert power.steps[1] == (NOW + 900, pytest.approx(0.2 * DECAY**0.5))
    assert all(start % 900 == 0 for start, _ in power.steps[1:])


def test_a_price_of_the_moment_with_known_charges_is_none_that_is_known_ahead() -> None:
    charges = [
        told(0.2, NOW - 60, NOW + 3600, seen=NOW - 60),
        told(0.3, NOW + 3600, NOW + 7200, seen=NOW - 60),
        told(0.2, NOW + 7200, seen=NOW - 60),
    ]
    power = ahead(charges)
    assert (power.known_until, power.typical) == (NOW, True)
    assert price_at(power, NOW + 3600) == pytest.approx(0.01 + 0.2 * DECAY**4)
    # As long as nothing was learned the charges are all there is to tell.
    known = ahead(charges, day=TypicalDay())
    assert known.steps == ((NOW, 0.2), (NOW + 3600, 0.3), (NOW + 7200, 0.2))
    assert (known.known_until, known.typical) == (NOW, False)


def test_what_only_stands_in_for_prices_that_nobody_knows_is_not_expected() -> None:
    ticks = [told(0.05, NOW, NOW + 3600), told(0.9, NOW + 3600, source="fallback")]
    power = ahead(ticks)
    assert power.known_until == NOW + 3600
    assert price_at(power, NOW + 3600) == pytest.approx(0.01 + 0.05 * DECAY)
    assert price_at(ahead(ticks, day=TypicalDay()), NOW + 3600) == 0.9


def test_a_price_known_to_hold_is_no_matter_of_forecasting() -> None:
    assert ahead([told(0.2, NOW - 60, source="fixed")]) == PowerAhead(((NOW, 0.2),))
    hours = [told(0.01 * hour, NOW + 3600 * hour, NOW + 3600 * (hour + 1)) for hour in range(48)]
    power = ahead(hours)
    assert (power.known_until, power.typical) == (math.inf, False)
    assert power.steps == tuple((NOW + 3600 * hour, 0.01 * hour) for hour in range(36))


def test_without_a_typical_day_the_last_price_goes_on() -> None:
    power = ahead([told(0.05, NOW, NOW + 3600)], day=TypicalDay())
    assert power == PowerAhead(((NOW, 0.05),), known_until=NOW + 3600)


def test_quarter_hours_never_seen_keep_the_last_price_and_so_does_all_if_the_last_one_was_not() -> None:
    morning = learned(by_hour, NOW - DAY, NOW - DAY + 6 * 3600)
    power = ahead([told(0.05, NOW, NOW + 3600)], day=morning)
    assert price_at(power, NOW + 5.5 * 3600) == pytest.approx(0.05 + 0.05 * DECAY**19)
    assert price_at(power, NOW + 7 * 3600) == 0.05
    assert power.typical
    late = ahead([told(0.05, NOW, NOW + 8 * 3600)], day=morning)
    assert late == PowerAhead(((NOW, 0.05),), known_until=NOW + 8 * 3600)


def test_a_hole_between_known_prices_is_expected_and_what_is_known_after_it_stays_known() -> None:
    power = ahead([told(0.05, NOW, NOW + 900), told(0.5, NOW + 2700, NOW + 3600)], hours=1)
    assert power.steps == (
        (NOW, 0.05),
        (NOW + 900, pytest.approx(0.05 * DECAY)),
        (NOW + 1800, pytest.approx(0.05 * DECAY**2)),
        (NOW + 2700, 0.5),
    )
    assert power.known_until == NOW + 900


def test_a_price_that_was_withdrawn_is_none() -> None:
    ticks = [told(0.05, NOW, NOW + 900), told(9.0, NOW + 900, NOW + 900.001)]
    assert price_at(ahead(ticks), NOW + 900) == pytest.approx(0.05 * DECAY)
    assert ahead(ticks, day=TypicalDay()).steps == ((NOW, 0.05),)


def test_intervals_off_the_quarter_hours_are_gone_on_from_where_they_end() -> None:
    power = ahead([told(0.1, NOW, NOW + 1000)], hours=1)
    assert power.steps[:3] == (
        (NOW, 0.1),
        (NOW + 1000, pytest.approx(0.1 * DECAY ** (100 / 900))),
        (NOW + 1800, pytest.approx(0.1 * DECAY)),
    )


def test_across_the_end_of_summer_time_what_is_usual_at_an_hour_is_expected_at_that_hour() -> None:
    def price(at: float) -> float:
        return 0.5 if datetime.fromtimestamp(at, tz=ZoneInfo(BERLIN)).hour == 18 else 0.1

    day = learned(price, local("2026-10-10"), local("2026-10-24T12:00"), BERLIN)
    now = local("2026-10-24T12:00")
    power = ahead([told(0.1, now - 60)], now=now, hours=48, day=day)
    for date in ("24", "25", "26"):
        at = local(f"2026-10-{date}T18:00")
        if at < now + 48 * 3600:
            assert [price_at(power, at + shift) for shift in (-1, 0, 3599, 3600)] == pytest.approx(
                [0.1, 0.5, 0.5, 0.1]
            )


@settings(max_examples=60)
@given(
    PRICES,
    st.lists(st.tuples(st.floats(-1, 10), st.floats(0.001, 20_000), st.booleans()), max_size=8),
    st.floats(0, DAY),
    st.sampled_from(["feed", "fixed"]),
    st.booleans(),
)
def test_whatever_is_known_the_prices_are_finite_within_bounds_and_in_order(
    past: list[tuple[float, float]],
    spans: list[tuple[float, float, bool]],
    offset: float,
    source: str,
    endless: bool,  # noqa: FBT001 - drawn
) -> None:
    day, at = TypicalDay(), NOW
    for price, step in past:
        day = learn(day, price, at, BERLIN)
        at += step
    now = at + offset
    ticks, start = [told(0.05, now - 1, now + 60)], now + 60
    for value, length, hole in spans:
        if not hole:
            ticks.append(told(value, start, start + length))
        start += length
    if endless:
        # Seen later than the others: told at once with them it would make them prices of the moment, too.
        seen = ticks[-1].observed_at + 1
        ticks[-1] = replace(ticks[-1], valid_to=math.inf, source=source, observed_at=seen)
    rule = SeriesRule(-0.5, 5, 60)
    power = power_ahead(now, 0.05, {POWER: ticks}, now + DAY, day, rule, ("fixed",))
    known = {0.05, *(tick.value for tick in ticks)}
    assert power.steps[0] == (now, 0.05)
    assert all(one[0] < other[0] < now + DAY and one[1] != other[1] for one, other in pairwise(power.steps))
    assert all(rule.low <= price <= rule.high or price in known for _, price in power.steps)
    assert power.known_until >= now
    for tick in ticks:
        if math.isfinite(tick.valid_to) and tick.valid_to - tick.valid_from > 1 and tick.valid_from > now:
            middle = (tick.valid_from + tick.valid_to) / 2
            assert middle >= now + DAY or price_at(power, middle) == tick.value


def test_one_real_spike_makes_no_typical_spike() -> None:
    day = TypicalDay()
    for number in range(10 * QUARTERS):
        price = 5.0 if number == QUARTERS + 70 else 0.04
        day = learn(day, price, number * QUARTER_S, "UTC")
        usual = day.at(70 * QUARTER_S)
        assert usual is None or usual < 0.13
    assert day.at(70 * QUARTER_S) < 0.07


# --- the market's own day-ahead prices ----------------------------------------------------------------


def hours(*prices: float, first: float = NOW) -> tuple[Tick, ...]:
    unit = UNITS[POWER_DAY_AHEAD]
    return tuple(
        Tick(POWER_DAY_AHEAD, price, unit, first + 3600 * n, first + 3600 * (n + 1), first - 9e4, "market")
        for n, price in enumerate(prices)
    )


def informed(day_ahead: Sequence[Tick], day: TypicalDay = USUAL) -> PowerAhead:
    ticks = {POWER: [told(0.11, NOW, NOW + 900)], POWER_DAY_AHEAD: day_ahead}
    return power_ahead(NOW, 0.11, ticks, NOW + 5 * 3600, day)


def test_the_last_price_fades_into_the_day_ahead_price_and_after_it_into_the_typical_day() -> None:
    power = informed(hours(0.07, 0.08))
    for quarters in range(1, 20):
        at = NOW + 900 * quarters
        usual = (0.07, 0.08)[quarters // 4] if quarters < 8 else by_hour(at)
        assert price_at(power, at) == pytest.approx(usual + 0.04 * DECAY**quarters)
    assert (power.typical, power.day_ahead) == (True, True)


def test_without_a_typical_day_the_day_ahead_price_is_all_there_is_and_beyond_it_the_last_price_stays() -> (
    None
):
    power = informed(hours(0.07, 0.08), TypicalDay())
    assert price_at(power, NOW + 4500) == pytest.approx(0.08 + 0.04 * DECAY**5)
    assert price_at(power, NOW + 3 * 3600) == 0.11
    assert (power.typical, power.day_ahead) == (False, True)


def test_day_ahead_prices_that_are_over_or_were_withdrawn_say_nothing() -> None:
    withdrawn = replace(hours(0.5)[0], valid_to=NOW)
    assert informed((*hours(0.5, first=NOW - 7200), withdrawn)) == informed(())
    assert not informed(()).day_ahead


def test_day_ahead_prices_are_never_paid() -> None:
    assert informed(hours(0.5)).steps[0] == (NOW, 0.11)
    assert informed(hours(0.5)).known_until == NOW + 900
