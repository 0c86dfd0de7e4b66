"""The pictures of a backtest: drawn from real results, in colours of the page, with words for those who do not see them."""

import re
import xml.etree.ElementTree as ET
from dataclasses import replace
from functools import cache
from itertools import pairwise
from typing import Final

import numpy as np
import pytest

from controller.backtest import FleetResult, Policy
from controller.backtest_plots import WEEK, Picture, behind, by_price, dearest_week, regrets, shown, week
from controller.units import Mode, PowerCurve, Unit
from tests.controller.backtested import backtested

RESULT = backtested(15)
FLEET = RESULT.fleets[0]
PICTURES: Final = {
    "regrets": lambda: regrets(RESULT.fleets, "a"),
    "behind": lambda: behind(RESULT, FLEET, "a"),
    "by price": lambda: by_price(RESULT, FLEET, "a"),
    "week": lambda: week(RESULT, FLEET, "a"),
}
pytestmark = pytest.mark.xdist_group("backtest pictures")
"""They take long to draw: one process draws them once, and not before they are asked for."""


@cache
def drawn(name: str) -> Picture:
    return PICTURES[name]()


def with_money(fleet: FleetResult, policy: Policy, money: np.ndarray) -> FleetResult:
    return replace(
        fleet, policies={**fleet.policies, policy: replace(fleet.policies[policy], money_usd=money)}
    )


@pytest.mark.parametrize("name", PICTURES)
def test_a_picture_is_sound_svg_without_a_size_of_its_own(name: str) -> None:
    picture = drawn(name)
    svg = ET.fromstring(picture.svg)
    assert svg.tag == "{http://www.w3.org/2000/svg}svg"
    assert "width" not in svg.attrib
    assert [float(number) for number in svg.attrib["viewBox"].split()][:2] == [0.0, 0.0]


@pytest.mark.parametrize("name", PICTURES)
def test_every_colour_is_the_page_s(name: str) -> None:
    picture = drawn(name)
    assert set(re.findall(r"#[0-9a-f]{6}\b", picture.svg)) == set()
    assert "currentColor" in picture.svg
    assert "var(--hashmill)" in picture.svg


@pytest.mark.parametrize("name", PICTURES)
def test_its_words_are_text_and_it_has_a_title_a_caption_and_an_alternative(name: str) -> None:
    picture = drawn(name)
    assert "<text" in picture.svg
    assert picture.title
    assert picture.caption
    assert picture.alt


def test_regrets_of_nothing_can_be_drawn() -> None:
    even = {
        policy: replace(p, regret=0.0, regret_low=0.0, regret_high=0.0)
        for policy, p in FLEET.policies.items()
    }
    assert "hashmill 0" in regrets([replace(FLEET, policies=even)], "a").alt


def test_two_names_share_no_id() -> None:
    def ids(name: str) -> set[str]:
        return set(re.findall(r' id="([^"]*)"', by_price(RESULT, FLEET, name).svg))

    assert ids("one")
    assert not ids("one") & ids("two")


def test_the_alternative_of_regrets_tells_the_numbers() -> None:
    ours = FLEET.policies[Policy.HASHMILL]
    assert ours.regret is not None
    assert f"hashmill {100 * ours.regret:.2g}" in drawn("regrets").alt


def test_the_alternative_of_money_tells_how_far_behind_each_ended() -> None:
    lag = FLEET.policies[Policy.ORACLE].money_usd.sum() - FLEET.policies[Policy.ALWAYS_ON].money_usd.sum()
    assert f"always on {lag:,.2f}" in drawn("behind").alt


def test_who_falls_behind_too_far_leaves_the_picture_and_that_is_said() -> None:
    ruined = with_money(FLEET, Policy.ALWAYS_ON, FLEET.policies[Policy.ALWAYS_ON].money_usd - 1.0)
    assert "always on (leaves the picture)" in behind(RESULT, ruined, "a").svg
    assert "threshold (leaves" not in drawn("behind").svg


def test_the_week_in_close_up_is_the_one_that_cost_most() -> None:
    oracle = FLEET.policies[Policy.ORACLE].money_usd
    lost = np.zeros(len(oracle))
    lost[WEEK + 5] = 3.0
    assert dearest_week(RESULT, with_money(FLEET, Policy.HASHMILL, oracle - lost)) == WEEK


def test_of_less_than_a_week_all_is_shown() -> None:
    short = backtested(3)
    assert dearest_week(short, short.fleets[0]) == 0
    assert "2024-01-01" in week(short, short.fleets[0], "a").alt


def test_the_best_single_mode_has_a_line_only_where_there_are_modes_to_choose_from() -> None:
    assert Policy.BEST_SINGLE_MODE not in {p.policy for p in shown(FLEET)}
    ladder = backtested(2, ladder=True).fleets[0]
    assert Policy.BEST_SINGLE_MODE in {p.policy for p in shown(ladder)}
    assert [p.policy for p in shown(ladder)] == list(Policy)


def test_day_ahead_prices_are_drawn_where_there_are_any() -> None:
    unknown = replace(RESULT, day_ahead_usd_per_kwh=np.full(len(RESULT.starts), np.nan))
    assert "day ahead" in drawn("week").svg
    assert "day ahead" not in week(unknown, FLEET, "a").svg


def test_a_price_that_never_changes_can_be_drawn() -> None:
    flat = replace(RESULT, power_usd_per_kwh=np.full(len(RESULT.starts), 0.05))
    assert "breakeven" in by_price(flat, FLEET, "a").svg


def test_a_week_without_prices_is_not_the_one_shown() -> None:
    gappy = backtested(15, missing=WEEK)
    assert dearest_week(gappy, gappy.fleets[0]) >= WEEK
    assert "currentColor" in week(gappy, gappy.fleets[0], "a").svg


def test_fleets_together_are_drawn_as_parts_of_all_their_power() -> None:
    site = replace(
        FLEET,
        fleet=replace(FLEET.fleet, count=2),
        breakeven_usd_per_kwh=np.full(len(RESULT.starts), np.nan),
        single_modes_usd={},
    )
    result = replace(RESULT, fleets=(FLEET, FLEET), together=site)
    for draw in (by_price, week):
        picture = draw(result, site, "a")
        assert "nan" not in picture.alt
        assert "breakeven at full power" not in picture.svg


def test_a_machine_that_draws_nothing_can_be_drawn() -> None:
    unit = Unit("u", PowerCurve([Mode("full", 100.0, 0.0)]))
    free = replace(
        FLEET,
        fleet=replace(FLEET.fleet, unit=unit),
        breakeven_usd_per_kwh=np.full(len(RESULT.starts), np.inf),
    )
    for draw in (by_price, week):
        assert "inf" not in draw(RESULT, free, "a").alt


def test_gaps_are_no_prices() -> None:
    gappy = backtested(9, missing=40)
    for draw in (behind, by_price, week):
        assert "nan" not in draw(gappy, gappy.fleets[0], "a").alt


def test_ticks_of_regrets_rise_and_stay_in_sight() -> None:
    texts = [t.text for t in ET.fromstring(drawn("regrets").svg).iter("{http://www.w3.org/2000/svg}text")]
    ticks = [float(t) for t in texts if t and re.fullmatch(r"[\d.]+", t)]
    assert all(one < other for one, other in pairwise(ticks))
