"""A day of live running: real sources, real servers that fail, a real broker, a real ledger; only clock and units are simulated.

23 hours are lived through in some seconds, thousands of times as fast: the clock is stepped from one thing that is due to the next, so
that decisions are exact and the same each time. The day is lived through twice: once without interruption, once with the controller,
its sources and its ledger torn down and built anew in the middle of a dwell, of a feed's failure, of a signal and under the site's limit.
At its true pace, compressed a hundredfold, and with the daemon killed, it is bench/live_day.py.
"""

from __future__ import annotations

import asyncio
import os
from collections import defaultdict
from dataclasses import dataclass
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from controller.book import current
from controller.decisions import OutcomeKind, Reason
from controller.market import Market, MarketUnknown
from controller.ticks import BTC_USD, POWER
from controller.units import OFF
from miner.control_journal import decisions_of
from miner.control_verify import Verification
from miner.ledger.reader import Reader
from regtest.mosquitto import Mosquitto, NoMosquittoError, program
from tests.end_to_end import live_site
from tests.end_to_end.live_day import (
    AHEAD,
    BTC,
    END,
    FAULTS,
    NODE,
    PUBLISHED,
    QUARTER_S,
    REVISED,
    SPIKE,
    SPOT,
    START,
    Day,
    clock_time,
)
from tests.end_to_end.live_site import ADDER_EUR, CAP_KW, OVERHEAD, TAX, TICK_S, UNITS, living

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from controller.decisions import Decision
    from controller.view import View
    from tests.end_to_end.live_day import Fault
    from tests.end_to_end.live_site import Site

# The day is lived once, for all tests here: on one worker.
pytestmark = pytest.mark.xdist_group("live_day")

SEED = 1
AWAY_S = 15.0
DAY = Day(SEED)
RESTARTS = {
    "while a price out of the market's bounds is refused": "03:11",
    "in the grace time, while no bitcoin price is to be had and the exchange rate's server is gone": "08:47",
    "in a dwell, a minute after a spike": "10:21",
    "under the site's limit, which a signal lowers": "12:33",
    "while a signal holds that was said once": "13:37",
    "in safe mode": "22:33",
}
LONG_OUTAGE = clock_time("22:00")
LAST_SEEN = LONG_OUTAGE - TICK_S


@dataclass(frozen=True, slots=True)
class Life:
    """What a site lived through, and the decisions in its ledger by tick and unit."""

    site: Site
    decisions: dict[float, dict[str, Decision]]

    def view(self, at: float) -> View:
        return next(view for view in self.site.ear.views if view.at == at)

    @property
    def views(self) -> list[View]:
        return self.site.ear.views

    def changes(self, start: float, stop: float) -> list[Decision]:
        """Decisions in [start, stop) that turn a unit on or off."""
        return [
            each
            for at, told in self.decisions.items()
            if start <= at < stop
            for each in told.values()
            if each.changes and OFF in {each.from_mode, each.to_mode}
        ]


async def live(folder: Path, mosquitto: Mosquitto, restarts: list[float]) -> Life:
    async with living(folder, DAY, mosquitto, START) as site:
        await site.start()
        for at in restarts:
            await site.live_until(at)
            await site.stop()
            await site.live_until(at + AWAY_S)
            await site.start()
        await site.live_until(END)
        await site.stop()
    decisions: dict[float, dict[str, Decision]] = {}
    with Reader.open(site.ledger_url) as reader:
        for row in reader.inputs_after(0.0, END, 10_000):
            decisions[row.at] = decisions_of({each.unit_id: each for each in reader.decisions_at(row.at)})
    return Life(site, decisions)


@pytest.fixture(scope="module")
def lives(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Life, Life]]:
    """The day without and with restarts."""
    try:
        program()
    except NoMosquittoError as error:
        if os.environ.get("HASHMILL_REQUIRE_MOSQUITTO"):
            raise
        pytest.skip(str(error))
    folder = tmp_path_factory.mktemp("live")
    with Mosquitto() as mosquitto:
        yield (
            asyncio.run(live(folder / "whole", mosquitto, [])),
            asyncio.run(live(folder / "restarted", mosquitto, [clock_time(at) for at in RESTARTS.values()])),
        )


@pytest.fixture
def whole(lives: tuple[Life, Life]) -> Life:
    return lives[0]


def paid(energy_eur_mwh: float, at: float, usd_per_eur: float) -> float:
    """USD per kWh that is paid at `at`, adders and tax included, reckoned anew."""
    adder = ADDER_EUR["day"] if clock_time("07:00") <= at < clock_time("22:00") else ADDER_EUR["night"]
    return (energy_eur_mwh / 1000 + adder) * usd_per_eur * (1 + TAX) * (1 + OVERHEAD)


def is_near(price: float, energy_eur_mwh: float, at: float, known_at: float | None = None) -> bool:
    """Whether that is what the energy costs at `at`, known at `known_at`; the exchange rate may be one of some hours before."""
    known_at = at if known_at is None else known_at
    expected = sorted(paid(energy_eur_mwh, at, DAY.usd_per_eur(known_at - hours * 3600)) for hours in (0, 8))
    slack = 0.0006 * max(abs(each) for each in expected)
    return expected[0] - slack <= price <= expected[1] + slack


# --- restarts ---------------------------------------------------------------------------------------


def test_decisions_of_a_controller_that_was_restarted_equal_those_of_one_that_was_not(
    lives: tuple[Life, Life],
) -> None:
    whole, restarted = lives
    assert list(whole.decisions) == list(restarted.decisions)
    for at, told in whole.decisions.items():
        assert told == restarted.decisions[at], f"{at - START:.0f} s into the day"


def test_units_are_left_where_an_uninterrupted_controller_left_them(lives: tuple[Life, Life]) -> None:
    modes = [{unit_id: unit.mode for unit_id, unit in life.site.units.items()} for life in lives]
    assert modes[0] == modes[1]


def test_each_restart_was_in_the_middle_of_what_it_is_about(whole: Life) -> None:
    refused, held, dwell, cap, signal, safe = (
        whole.decisions[max(at for at in whole.decisions if at <= clock_time(text))]
        for text in RESTARTS.values()
    )
    assert {each.reason for each in refused.values()}.isdisjoint({Reason.STALE, Reason.SAFE_MODE})
    assert {each.reason for each in held.values()} == {Reason.STALE}
    assert all(
        each.numbers["since_s"] > clock_time("10:19") for each in dwell.values() if each.unit_id[0] != "c"
    )
    assert {Reason.HOLD_SITE_CAP} <= {each.reason for each in cap.values()}
    assert min(each.numbers["shadow_price_usd_per_kwh"] for each in cap.values()) > 0
    assert [each.reason for each in signal.values()].count(Reason.SIGNAL) == 5
    assert {each.reason for each in safe.values()} == {Reason.SAFE_MODE}


def test_every_decision_can_be_made_again_from_the_ledger_bit_for_bit(lives: tuple[Life, Life]) -> None:
    for life in lives:
        with Reader.open(life.site.ledger_url) as reader:
            report = Verification(reader).run(0.0, END)
        assert report["differences"] == []
        assert report["ok"]
        assert report["not_compared"] == 0
        assert report["same"] == len(life.decisions) * len(UNITS)


# --- faults -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "fault",
    [each for each in FAULTS if each.start != LONG_OUTAGE and each.feed not in {AHEAD, NODE}],
    ids=lambda each: f"{each.feed} {each.kind.name.lower()} {each.start:.0f}",
)
def test_a_feed_at_fault_turns_no_unit_on_or_off(whole: Life, fault: Fault) -> None:
    moved = [each for each in whole.changes(fault.start, fault.stop) if not is_by_price(whole, each)]
    assert moved == []


def is_by_price(life: Life, decision: Decision) -> bool:
    """Whether a change follows from a price that was really so: the spot price, or the auction's where there is none."""
    market = life.view(decision.at).market
    if not isinstance(market, Market) or decision.reason not in {Reason.PAUSE, Reason.RESUME}:
        return False
    at = decision.at
    return is_near(market.power_usd_per_kwh, DAY.spot(at), at) and DAY.fault_at(SPOT, at) is None


def test_power_is_paid_at_the_true_price_or_the_last_good_one_or_the_auction_s(whole: Life) -> None:
    good: float | None = None
    for view in whole.views:
        at, fault = view.at, DAY.fault_at(SPOT, view.at)
        if fault is None:
            good = DAY.spot(at)
        if isinstance(view.market, MarketUnknown):
            assert all(problem.series == BTC_USD for problem in view.market.problems)
            continue
        price = view.market.power_usd_per_kwh
        if fault is None:
            assert is_near(price, DAY.spot(at), at)
        else:
            told = (good, DAY.spot(at - 600), DAY.spot(fault.start - 60), DAY.auction(at))
            assert any(is_near(price, energy, at) for energy in told if energy is not None)


def test_while_the_price_of_the_moment_is_down_the_auction_s_takes_over_when_it_is_too_old(
    whole: Life,
) -> None:
    at = clock_time("20:40")
    market = whole.view(at).market
    assert isinstance(market, Market)
    assert is_near(market.power_usd_per_kwh, DAY.auction(at), at)


def test_a_bitcoin_price_far_from_the_others_is_left_out(whole: Life) -> None:
    for text, feed in (("06:50", BTC[0]), ("07:10", BTC[1]), ("07:30", BTC[2])):
        fault = DAY.fault_at(feed, clock_time(text))
        assert fault is not None
        assert 89_000 < bitcoin(whole.view(clock_time(text))) < 91_500


def test_a_rise_of_the_bitcoin_price_that_all_see_is_believed_at_once(whole: Life) -> None:
    before, after = bitcoin(whole.view(clock_time("18:50"))), bitcoin(whole.view(clock_time("19:00")))
    assert after / before == pytest.approx(1.125, rel=0.01)


def bitcoin(view: View) -> float:
    assert isinstance(view.market, Market)
    return next(tick.value for tick in view.market.inputs if tick.series == BTC_USD)


def test_without_a_bitcoin_price_all_is_held_for_the_grace_time_and_then_the_safe_mode_applies(
    whole: Life,
) -> None:
    stale = LAST_SEEN + live_site.BTC_MAX_AGE_S
    safe = stale + live_site.GRACE_S
    for at, told in whole.decisions.items():
        if stale <= at < clock_time("23:00"):
            wanted = Reason.STALE if at < safe else Reason.SAFE_MODE
            assert {each.reason for each in told.values()} == {wanted}
    assert whole.changes(stale, safe) == []
    # The ladders and the old ones are off already, and the new ones run: each is where its safe mode wants it.
    assert {each.unit_id: each.to_mode for each in whole.decisions[clock_time("22:50")].values()} == {
        unit.id: unit.safe.name for unit in UNITS
    }


def test_a_real_spike_pauses_all_on_the_very_tick_and_they_come_back_when_it_was_seen_to_be_over(
    whole: Life,
) -> None:
    before = whole.decisions[SPIKE[0] - TICK_S]
    spike = whole.decisions[SPIKE[0]]
    running = {each.unit_id for each in before.values() if each.to_mode != OFF}
    assert len(running) == 9
    assert {each.unit_id for each in spike.values() if each.reason is Reason.PAUSE} == running
    first, second = (whole.decisions[SPIKE[1] + step] for step in (0.0, TICK_S))
    assert {first[unit_id].reason for unit_id in running} == {Reason.CONFIRMING}
    assert {second[unit_id].reason for unit_id in running} == {Reason.RESUME}


def test_a_negative_price_is_a_price_and_the_least_efficient_run_only_then(whole: Life) -> None:
    running = {at: told for at, told in whole.decisions.items() if told["c1"].reason is Reason.RESUME}
    assert running
    assert all(told["c1"].numbers["power_usd_per_kwh"] < 0 for told in running.values())
    assert all(told["c1"].to_mode == OFF for at, told in whole.decisions.items() if at >= clock_time("15:00"))


def test_while_the_node_is_down_its_last_word_holds(whole: Life) -> None:
    fault = next(each for each in FAULTS if each.feed == NODE)
    for view in whole.views:
        if fault.holds_at(view.at):
            assert isinstance(view.market, Market)
            assert view.market.ages_s["network_difficulty"] >= view.at - fault.start


# --- the clock on the wall --------------------------------------------------------------------------


def test_a_day_of_23_hours_has_each_of_its_ticks_once(whole: Life) -> None:
    regular = [at for at in whole.decisions if (at - START) % TICK_S == 0]
    assert regular == [START + TICK_S * number for number in range(23 * 6)]


def test_prices_known_ahead_leave_no_hole_and_never_overlap(whole: Life) -> None:
    for view in whole.views:
        ticks = view.snapshot.ticks[POWER]
        now = current(ticks, view.at)
        assert now is not None
        ahead = [
            tick
            for tick in ticks
            if tick.valid_from >= now.valid_from and tick.valid_to - tick.valid_from > 1
        ]
        assert all(one.valid_to == other.valid_from for one, other in pairwise(ahead))
        if view.plan is not None:
            assert all(one.stop == other.start for one, other in pairwise(view.plan.slots))
            assert view.plan.slots[0].start == view.at
            assert view.plan.slots[-1].stop == view.at + live_site.CONFIG.horizon_hours * 3600


def test_the_network_s_charge_goes_by_the_clock_on_the_wall(whole: Life) -> None:
    seven = clock_time("07:00")  # 05:00 UTC that day, 06:00 the day before
    assert seven == START + 6 * 3600
    ahead = whole.view(clock_time("01:00")).snapshot.ticks[POWER]
    for at in (seven - QUARTER_S, seven):
        tick = current(ahead, at)
        assert tick is not None
        assert is_near(tick.value, DAY.auction(at), at, clock_time("01:00"))


def test_tomorrow_s_prices_are_known_when_they_come_and_when_they_are_revised(whole: Life) -> None:
    noon = clock_time("36:00")
    for view in whole.views:
        known = current(view.snapshot.ticks[POWER], noon)
        assert known is not None
        if view.at < PUBLISHED:
            assert known.valid_from < END + QUARTER_S
        else:
            assert known.valid_from == noon
            assert is_near(
                known.value, DAY.auction(noon, revised=view.at >= REVISED), clock_time("12:00"), view.at
            )


# --- units and limits -------------------------------------------------------------------------------


def test_a_unit_that_does_not_answer_counts_as_drawing_and_is_told_nothing(whole: Life) -> None:
    silent = whole.site.units["a2"].silent
    told = [told["a2"] for at, told in whole.decisions.items() if silent[0] <= at < silent[1]]
    assert len(told) == 6
    assert {each.reason for each in told} == {Reason.UNREACHABLE}
    most_w = whole.site.units["a2"].unit.curve.modes[-1].watts  # it may have started again by itself
    assert {each.numbers["assumed_power_w"] for each in told} == {most_w}
    assert not any(silent[0] <= at < silent[1] for at, _ in whole.site.units["a2"].told)
    assert whole.decisions[clock_time("16:20")]["a2"].reason is Reason.PAUSE


def test_a_unit_that_forgot_its_mode_is_told_again(whole: Life) -> None:
    restored = whole.decisions[clock_time("17:50")]["b3"]
    assert (restored.reason, restored.from_mode, restored.to_mode) == (Reason.RESTORE, "on", OFF)


def test_the_site_s_limit_and_that_of_a_signal_are_kept_on_each_tick(whole: Life) -> None:
    for at, told in whole.decisions.items():
        watts = sum(unit.curve.mode(told[unit.id].to_mode).watts for unit in UNITS)
        lowered = clock_time("12:00") <= at < clock_time("13:00")
        assert watts <= (15_000 if lowered else CAP_KW * 1000)
    shadows = {at: told["a1"].numbers["shadow_price_usd_per_kwh"] for at, told in whole.decisions.items()}
    assert max(shadows.values()) > 0.01
    assert shadows[clock_time("05:00")] == 0


def test_a_message_on_the_wire_pauses_units_at_once_and_its_end_is_a_ramp(whole: Life) -> None:
    obeyed = whole.decisions[clock_time("13:32")]
    paused = {each.unit_id for each in obeyed.values() if each.reason is Reason.SIGNAL}
    assert paused == {f"b{n}" for n in range(1, 6)}
    back: dict[str, list[float]] = defaultdict(list)
    for at, told in whole.decisions.items():
        for unit_id in paused:
            if clock_time("13:53") <= at < clock_time("15:00") and told[unit_id].to_mode != OFF:
                back[unit_id].append(at)
    assert len({min(times) for times in back.values()}) > 1


def test_whatever_was_told_and_could_be_done_was_read_back(lives: tuple[Life, Life]) -> None:
    for life in lives:
        ends: dict[str, list[OutcomeKind]] = defaultdict(list)
        for outcome in life.site.ear.outcomes:
            ends[outcome.decision_id].append(outcome.kind)
        changes = [each for told in life.decisions.values() for each in told.values() if each.changes]
        assert changes
        for each in changes:
            wanted = {OutcomeKind.CONFIRMED, OutcomeKind.SUPERSEDED, OutcomeKind.INTERRUPTED}
            assert ends[each.id][-1] in wanted, each
