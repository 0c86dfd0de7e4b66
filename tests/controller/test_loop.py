"""The loop as a story: prices move, and units are told, read back, and remembered."""

from __future__ import annotations

import asyncio
import json
import threading
from dataclasses import dataclass, field, replace
from itertools import pairwise
from typing import TYPE_CHECKING, Any

import pytest

from controller.actuators.cpu import CpuReading
from controller.deciding import decide_tick
from controller.decisions import Decision, OutcomeKind, Reason
from controller.earnings import Earnings, Scheme
from controller.loop import ControllerLoop, LoopConfig
from controller.overrides import Override
from controller.policy import PolicyConfig, SiteConfig
from controller.signals import Action, SignalRule
from controller.sources.fixed import FixedSource
from controller.ticks import HASHPRICE, POWER, Tick
from controller.units import UNKNOWN, Setpoint, Unit, UnitState
from controller.view import hashprice_report, plan_report
from tests.controller.fleet_rig import window
from tests.controller.loop_rig import CURVE, START, UP_AND_DOWN, Clock, Cpu, House, Memory, house

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from controller.view import View


async def run_until(home: House, done: Callable[[], bool]) -> None:
    """Let the loop run by itself until that is so."""
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        running = group.create_task(home.loop.run())
        while not done():  # noqa: ASYNC110 - there is no event: any of the loop's steps may be the one
            await asyncio.sleep(0)
        running.cancel()


async def test_power_over_breakeven_stops_the_unit_within_a_tick_and_it_resumes_after_its_dwell(
    tmp_path: Path,
) -> None:
    home = house(tmp_path, UP_AND_DOWN, min_off_s=150, min_on_s=60)
    assert (await home.at(0)).reason is Reason.HOLD_ON
    pause = await home.at(100)
    assert (pause.from_mode, pause.to_mode, pause.reason) == ("full", "off", Reason.PAUSE)
    assert pause.flip == "runs again above $97.37/PH/day or below 9.86 ct/kWh"
    assert home.cpu.mode == "off"
    assert (await home.at(110)).reason is Reason.HOLD_OFF
    assert (await home.at(200)).reason is Reason.MIN_OFF
    waiting = await home.at(240)
    assert waiting.reason is Reason.MIN_OFF
    assert waiting.flip == "runs again (full) at 2023-11-14 22:17:30Z if it still pays"
    resume = await home.at(250)
    assert (resume.from_mode, resume.to_mode, resume.reason) == ("off", "full", Reason.RESUME)
    assert resume.flip == "pauses below $23.39/PH/day or above 10.3 ct/kWh"
    assert home.cpu.told == ["off", "full"]
    assert [outcome.kind for outcome in home.journal.outcomes] == [
        OutcomeKind.APPLIED,
        OutcomeKind.CONFIRMED,
        OutcomeKind.APPLIED,
        OutcomeKind.CONFIRMED,
    ]
    assert home.journal.outcomes[-1].decision_id == resume.id


async def test_what_a_pool_pays_is_asked_on_each_tick_and_the_journal_alone_makes_the_same_decisions_again(
    tmp_path: Path,
) -> None:
    # 20 J/TH at 9 ct needs $43.20 of the $48: the pool may keep 10 %, and does for a while.
    said = [
        None,
        Earnings(Scheme.FPPS, fee=0.02, rejected_ratio=0.01),
        Earnings(Scheme.FPPS, fee=0.02, rejected_ratio=0.15),
        Earnings(Scheme.PPLNS, fee=0.01, rejected_ratio=0.0, pool_work_ratio=0.5),
        Earnings(Scheme.PPLNS, fee=0.01, rejected_ratio=0.0, pool_work_ratio=0.5),
    ]
    pool = iter(said)
    home = house(tmp_path, "offset_s,usd_per_kwh\n0,0.09\n", earnings=lambda: next(pool))
    decided = [await home.at(10.0 * count) for count in range(len(said))]
    assert [decision.to_mode for decision in decided] == ["full", "full", "off", "off", "full"]
    kept = iter(home.journal.decisions)
    again = house(
        tmp_path,
        "offset_s,usd_per_kwh\n0,0.09\n",
        earnings=lambda: Earnings.of_numbers(next(kept).numbers),
    )
    assert [await again.at(10.0 * count) for count in range(len(said))] == decided


async def test_resuming_waits_for_the_price_to_hold_on_the_next_tick(tmp_path: Path) -> None:
    home = house(tmp_path, "offset_s,usd_per_kwh\n0,0.2\n100,0.05\n110,0.2\n120,0.05\n", cpu=Cpu("off"))
    assert (await home.at(0)).reason is Reason.HOLD_OFF
    assert (await home.at(100)).reason is Reason.CONFIRMING
    assert (await home.at(110)).reason is Reason.HOLD_OFF
    assert (await home.at(120)).reason is Reason.CONFIRMING
    assert (await home.at(130)).reason is Reason.RESUME


async def test_a_price_feed_that_falls_silent_holds_for_the_grace_time_and_then_goes_to_the_safe_mode(
    tmp_path: Path,
) -> None:
    home = house(tmp_path, "offset_s,usd_per_kwh,btc_usd\n0,0.05,90000\n50,,90000\n900,0.05,90000\n")
    await home.at(0)
    assert (await home.at(40)).reason is Reason.HOLD_ON
    assert (await home.at(99)).reason is Reason.HOLD_ON
    held = await home.at(101)
    assert (held.reason, held.to_mode) == (Reason.STALE, "full")
    assert held.flip == (
        "decides again when there is a good power_usd_per_kwh (last seen 61 s ago); off at 2023-11-14 22:17:00Z"
    )
    assert (await home.at(219)).reason is Reason.STALE
    safe = await home.at(220)
    assert (safe.reason, safe.to_mode) == (Reason.SAFE_MODE, "off")
    assert home.cpu.mode == "off"
    assert (await home.at(900)).reason is Reason.CONFIRMING
    assert (await home.at(910)).reason is Reason.RESUME


async def test_dry_run_decides_and_records_and_touches_nothing(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN, dry_run=True)
    reasons = [(await home.at(seconds)).reason for seconds in (0, 100, 110, 200, 210, 220)]
    assert reasons == [
        Reason.HOLD_ON,
        Reason.PAUSE,
        Reason.HOLD_OFF,
        Reason.CONFIRMING,
        Reason.RESUME,
        Reason.HOLD_ON,
    ]
    assert home.cpu.told == []
    assert home.journal.outcomes == []
    assert all(decision.dry_run for decision in home.journal.decisions)


async def test_a_unit_that_takes_orders_and_does_nothing_is_tried_within_a_budget_and_alerted(
    tmp_path: Path,
) -> None:
    home = house(tmp_path, UP_AND_DOWN, cpu=Cpu(deaf=True))
    await home.at(0)
    await home.at(100)
    assert home.cpu.told == ["off", "off"]
    assert home.journal.outcomes[-1].kind is OutcomeKind.FAILED
    assert home.journal.outcomes[-1].mode_read == "full"
    assert home.alerts.alerts == ["cpu: cpu: off failed: told, but still in mode 'full'"]
    again = await home.at(110)
    assert (again.reason, again.from_mode, again.to_mode) == (Reason.RESTORE, "full", "off")
    assert len(home.cpu.told) == 2, "not told again before retry_after_s"
    home.cpu.deaf = False
    await home.at(199)
    await home.at(205)
    assert home.cpu.mode == "off"


async def test_a_decision_that_cannot_be_recorded_is_not_applied(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    await home.at(0)
    home.journal.broken = True
    with pytest.raises(OSError, match="disk full"):
        await home.at(100)
    assert home.cpu.told == []
    home.journal.broken = False
    assert (await home.at(110)).reason is Reason.PAUSE


async def test_a_decision_is_in_the_journal_before_the_unit_hears_of_it(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    seen: list[Reason] = []
    tell = home.cpu.set_mode

    def set_mode(name: str) -> None:
        seen.append(home.journal.decisions[-1].reason)
        tell(name)

    home.cpu.set_mode = set_mode  # type: ignore[method-assign] # listens in
    await home.at(0)
    await home.at(100)
    assert seen == [Reason.PAUSE]


async def test_after_a_restart_dwell_goes_on_and_the_unit_is_put_back_into_the_mode_decided(
    tmp_path: Path,
) -> None:
    first = house(tmp_path, UP_AND_DOWN, min_off_s=150)
    await first.at(0)
    await first.at(100)
    second = house(tmp_path, UP_AND_DOWN, min_off_s=150, journal=first.journal, cpu=Cpu("full"))
    restored = await second.at(205)
    assert (restored.reason, restored.from_mode, restored.to_mode) == (Reason.RESTORE, "full", "off")
    assert second.cpu.mode == "off"
    assert (await second.at(245)).reason is Reason.MIN_OFF
    assert (await second.at(250)).reason is Reason.RESUME


async def test_sources_and_units_that_raise_never_stop_the_loop(tmp_path: Path) -> None:
    class Broken:
        name = "broken"

        async def read(self, now: float) -> list[Tick]:
            raise ZeroDivisionError(now)

    home = house(tmp_path, UP_AND_DOWN, sources=[Broken()])
    assert (await home.at(0)).reason is Reason.HOLD_ON

    def read() -> CpuReading:
        raise OSError("gone")

    home.cpu.read = read  # type: ignore[method-assign] # the unit dies
    gone = await home.at(10)
    assert (gone.reason, gone.numbers["assumed_power_w"]) == (Reason.UNREACHABLE, 2000)


async def test_a_source_that_fails_is_told_in_its_own_words(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    class Broken:
        name = "meter"
        error: Exception = OSError("no route to host")

        async def read(self, now: float) -> list[Tick]:
            del now
            raise self.error

    broken = Broken()
    home = house(tmp_path, UP_AND_DOWN, sources=[broken])
    await home.at(0)
    broken.error = TimeoutError()
    await home.at(10)
    told = [vars(record)["error"] for record in caplog.records if record.message == "source_failed"]
    assert told == ["no route to host", "TimeoutError"]


async def test_a_preview_touches_nothing_and_its_reports_are_plain_data(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    home.clock.now += 100
    view = await home.loop.preview()
    assert view.decisions["cpu"].reason is Reason.PAUSE
    assert (home.cpu.told, home.journal.decisions, home.journal.ticks) == ([], [], [])
    assert home.loop.last_view is None
    plan = json.loads(json.dumps(plan_report(view), allow_nan=False))
    assert plan["units"][0]["reason"] == "pause_unprofitable"
    assert plan["units"][0]["next"] == [{"from_s": START + 100, "to_s": START + 3700, "mode": "off"}]
    hashprice = json.loads(json.dumps(hashprice_report(view), allow_nan=False))
    assert hashprice["hashprice_usd_per_ph_day"] == 48.0


async def test_a_preview_without_actuators_takes_units_to_be_as_last_decided(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    await home.at(0)
    home.loop._actuators.clear()
    view = await home.loop.preview()
    assert view.decisions["cpu"].reason is Reason.HOLD_ON


async def test_ticks_are_recorded_when_they_say_something_new(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    for seconds in (0, 10, 20, 100, 110):
        await home.at(seconds)
    assert [(tick.series, tick.value) for tick in home.journal.ticks] == [
        (POWER, 0.05),
        (HASHPRICE, 48.0),
        (POWER, 0.20),
    ]


async def test_run_ticks_at_multiples_of_its_pace_and_outlives_a_broken_journal(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    home.journal.broken = True
    home.clock.now += 3
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        home.clock.now += seconds + 0.25  # nobody wakes on the dot
        slept.append(seconds)
        home.journal.broken = False
        await asyncio.sleep(0)

    home.loop._sleep = sleep
    await run_until(home, lambda: len(home.journal.decisions) == 3)
    assert home.alerts.alerts == ["None: tick failed: disk full"]
    assert slept[:3] == [7, 9.75, 9.75]
    assert [decision.at for decision in home.journal.decisions] == [START + 10, START + 20, START + 30]
    assert home.loop.last_view is not None
    assert home.loop.last_view.next_tick_at == START + 40


async def test_two_ticks_at_the_same_time_get_decisions_with_different_ids(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    first, second = await home.at(0), await home.at(0)
    assert first.id < second.id


@pytest.mark.parametrize("name", ["tick_s", "read_timeout_s", "horizon_hours", "slot_s"])
def test_a_loop_whose_time_never_passes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        LoopConfig(**{name: 0.0})  # type: ignore[arg-type] # by name


# --- when it ticks ------------------------------------------------------------------------------------

PAUSE = SignalRule("grid", Action.PAUSE)
CHEAP = "offset_s,usd_per_kwh\n0,0.05\n"


@dataclass
class Inbox:
    """A source that holds what was sent to it; `slow` readers never get an answer."""

    ticks: list[Tick] = field(default_factory=list)
    slow: bool = False
    closed: bool = False
    name: str = "inbox"

    async def read(self, now: float) -> list[Tick]:
        del now
        if self.slow:
            await asyncio.sleep(3600)
        return self.ticks

    async def close(self) -> None:
        self.closed = True


async def test_a_signal_is_obeyed_when_it_comes_and_not_at_the_next_tick(tmp_path: Path) -> None:
    inbox = Inbox()
    home = house(tmp_path, CHEAP, sources=[inbox], site=SiteConfig(None, (PAUSE,)))

    async def sleep(seconds: float) -> None:
        home.clock.now += min(seconds, 4.0)
        await asyncio.sleep(0)
        if home.clock.now == START + 4 and not inbox.ticks:
            inbox.ticks = [window("grid", START + 4, START + 600)]
            home.loop.wake()
            await asyncio.sleep(60)  # it would have slept on

    home.loop._sleep = sleep
    await run_until(home, lambda: home.cpu.mode == "off")
    decision = home.journal.decisions[-1]
    assert (decision.reason, decision.at) == (Reason.SIGNAL, START + 4)
    assert inbox.closed


async def test_who_wakes_the_loop_again_and_again_gets_a_tick_a_second(tmp_path: Path) -> None:
    home = house(tmp_path, CHEAP)
    home.loop.wake()
    ticks: list[float] = []

    async def sleep(seconds: float) -> None:
        home.clock.now += seconds
        home.loop.wake()
        await asyncio.sleep(0)

    home.loop._sleep = sleep
    home.alerts.on_view = lambda view: ticks.append(view.at)  # type: ignore[method-assign] # listens in
    home.loop.wake()
    await run_until(home, lambda: len(ticks) >= 8)
    home.loop.wake()
    gaps = [after - before for before, after in pairwise(ticks)]
    assert min(gaps) >= 1.0


async def test_the_loop_is_there_when_a_signal_known_ahead_begins_and_ends(tmp_path: Path) -> None:
    inbox = Inbox([window("grid", START + 13, START + 36)])
    home = house(tmp_path, CHEAP, sources=[inbox], site=SiteConfig(None, (PAUSE,)))
    await run_until(home, lambda: len(home.journal.decisions) >= 8)
    told = [(decision.at - START, decision.to_mode) for decision in home.journal.decisions]
    assert told[:8] == [
        (0, "full"),
        (10, "full"),
        (13, "off"),
        (20, "off"),
        (30, "off"),
        (36, "off"),
        (40, "full"),
        (50, "full"),
    ]


async def test_a_tick_that_comes_too_late_bears_the_time_of_the_last_one_that_was_due(tmp_path: Path) -> None:
    home = house(tmp_path, CHEAP)
    home.clock.now += 3

    async def sleep(seconds: float) -> None:
        home.clock.now += seconds + 25  # the machine slept
        await asyncio.sleep(0)

    home.loop._sleep = sleep
    await run_until(home, lambda: len(home.journal.decisions) >= 3)
    assert [each.at - START for each in home.journal.decisions[:3]] == [3, 30, 60]


async def test_a_clock_that_is_set_back_does_not_stop_the_loop(tmp_path: Path) -> None:
    home = house(tmp_path, CHEAP)
    await home.at(0)
    home.clock.now -= 7200
    await run_until(home, lambda: len(home.journal.decisions) >= 3)
    assert home.clock.now < START - 7000


async def test_a_slow_source_holds_nobody_up_beyond_its_time(tmp_path: Path) -> None:
    home = house(tmp_path, CHEAP, sources=[Inbox(slow=True)])
    home.loop._config = replace(home.loop._config, read_timeout_s=0.05)
    async with asyncio.timeout(5):
        assert (await home.at(0)).reason is Reason.HOLD_ON


# --- units that need minutes --------------------------------------------------------------------------


class Sluggish(Cpu):
    """Says "off" until somebody lets it come up."""

    def set_mode(self, name: str) -> None:
        self.told.append(name)
        if name == "off":
            self.mode = name


async def test_a_unit_that_needs_minutes_holds_up_no_tick_and_is_confirmed_when_it_is_there(
    tmp_path: Path,
) -> None:
    home = house(tmp_path, CHEAP, cpu=Sluggish("off"), restart_s=120)
    seen: list[Reason] = []
    home.alerts.on_decision = lambda decision: seen.append(decision.reason)  # type: ignore[method-assign] # listens in

    def done() -> bool:
        if len(seen) == 7:
            home.cpu.mode = "full"
        return OutcomeKind.CONFIRMED in [outcome.kind for outcome in home.journal.outcomes]

    await run_until(home, done)
    assert seen[:3] == [Reason.CONFIRMING, Reason.RESUME, Reason.SETTLING]
    assert home.cpu.told == ["full"]
    assert [outcome.kind for outcome in home.journal.outcomes] == [OutcomeKind.APPLIED, OutcomeKind.CONFIRMED]


async def test_what_is_under_way_when_the_loop_ends_is_recorded_as_interrupted(tmp_path: Path) -> None:
    home = house(tmp_path, CHEAP, cpu=Sluggish("off"), restart_s=600)
    await run_until(home, lambda: len(home.journal.decisions) >= 4)
    kinds = [outcome.kind for outcome in home.journal.outcomes]
    assert kinds == [OutcomeKind.APPLIED, OutcomeKind.INTERRUPTED]
    resumed = next(each for each in home.journal.decisions if each.reason is Reason.RESUME)
    assert home.journal.outcomes[-1].decision_id == resumed.id


# --- after a restart ----------------------------------------------------------------------------------


async def test_after_a_restart_in_the_same_interval_nothing_is_decided_twice_and_modes_are_put_back(
    tmp_path: Path,
) -> None:
    first = house(tmp_path, "offset_s,usd_per_kwh\n0,0.5\n")
    await first.at(0)
    second = house(tmp_path, "offset_s,usd_per_kwh\n0,0.5\n", journal=first.journal, cpu=Cpu("full"))
    second.clock.now += 4
    await run_until(second, lambda: len(first.journal.decisions) >= 2)
    assert second.cpu.told == ["off"]
    assert [each.at - START for each in first.journal.decisions] == [0, 10]
    assert [each.decision_id for each in first.journal.outcomes[-2:]] == [first.journal.decisions[0].id] * 2


async def test_after_a_restart_nobody_is_put_back_who_was_held_back_or_never_known(tmp_path: Path) -> None:
    for reason, mode in ((Reason.HOLD_SITE_CAP, "full"), (Reason.UNREACHABLE, UNKNOWN)):
        journal = Memory(decisions=[Decision("1", START, "cpu", "off", mode, reason, dry_run=False)])
        home = house(tmp_path, CHEAP, journal=journal, cpu=Cpu("off"))
        home.clock.now += 4
        await home.loop._first_tick()
        assert (home.cpu.told, len(journal.decisions)) == ([], 1)


@dataclass
class Row:
    """Units of one kind that do what they are told at once, and a source of signals."""

    clock: Clock
    signals: list[Tick] = field(default_factory=list)
    modes: dict[str, str] = field(default_factory=lambda: {f"u{index}": "full" for index in range(6)})
    told: list[tuple[float, str, str]] = field(default_factory=list)
    name: str = "signals"

    async def read(self, now: float) -> list[Tick]:
        del now
        return self.signals

    def loop(self, journal: Memory, wishes: dict[str, Override] | None = None) -> ControllerLoop:
        site = SiteConfig(signals=(SignalRule("grid", Action.PAUSE),))
        policy = PolicyConfig(dry_run=False, max_changes_per_minute=2, site=site)

        async def sleep(seconds: float) -> None:
            self.clock.now += min(seconds, 1.0)
            await asyncio.sleep(0)

        return ControllerLoop(
            units=[Unit(name, CURVE, safe_mode="pause") for name in self.modes],
            sources=[self, FixedSource({HASHPRICE: 48.0, POWER: 0.05})],
            actuators={name: _Place(self, name) for name in self.modes},
            journal=journal,
            config=LoopConfig(policy=policy, tick_s=60, horizon_hours=1),
            overrides=lambda: wishes or {},
            clock=self.clock,
            sleep=sleep,
        )

    async def live(self, loop: ControllerLoop, until: float) -> None:
        async with asyncio.timeout(10), asyncio.TaskGroup() as group:
            running = group.create_task(loop.run())
            while self.clock.now < until:  # noqa: ASYNC110 - it tells nobody
                await asyncio.sleep(0)
            running.cancel()


@dataclass
class _Place:
    row: Row
    unit_id: str

    async def apply(self, setpoint: Setpoint, now: float) -> None:
        self.row.told.append((now, self.unit_id, setpoint.mode))
        self.row.modes[self.unit_id] = setpoint.mode

    async def read(self, now: float) -> UnitState:
        return UnitState(self.unit_id, self.row.modes[self.unit_id], None, None, None, now)


MINUTE = 1_700_000_040.0


async def test_after_a_restart_units_that_all_went_off_meanwhile_are_started_as_slowly_as_ever() -> None:
    row, journal = Row(Clock(MINUTE)), Memory()
    await row.loop(journal).tick()
    row.modes = dict.fromkeys(row.modes, "off")  # the site lost its power for a moment
    row.clock.now = MINUTE + 20
    await row.live(row.loop(journal), MINUTE + 55)
    assert [mode for _, _, mode in row.told] == ["full"] * 2
    assert {each.reason for each in journal.decisions if each.at == MINUTE + 20} == {
        Reason.RESTORE,
        Reason.BATCH_LIMIT,
    }


async def test_after_a_restart_a_signal_that_began_meanwhile_is_obeyed_at_once() -> None:
    for modes in ("full", "off"):
        row, journal = Row(Clock(MINUTE)), Memory()
        await row.loop(journal).tick()
        row.modes = dict.fromkeys(row.modes, modes)
        row.signals = [window("grid", MINUTE + 10, MINUTE + 600)]
        row.clock.now = MINUTE + 20
        await row.live(row.loop(journal), MINUTE + 25)
        assert set(row.modes.values()) == {"off"}
        assert "full" not in {mode for _, _, mode in row.told}


async def test_after_a_restart_in_the_same_interval_a_signal_or_an_override_that_begins_in_it_is_obeyed() -> (
    None
):
    row, journal = Row(Clock(MINUTE)), Memory()
    row.signals = [window("grid", MINUTE + 40, MINUTE + 50)]
    wishes = {"u0": Override("u0", "off", MINUTE + 30, MINUTE + 900, "ann")}
    await row.loop(journal, wishes).tick()
    row.clock.now = MINUTE + 20
    await row.live(row.loop(journal, wishes), MINUTE + 55)
    assert sorted({each.at - MINUTE for each in journal.decisions}) == [0, 30, 40, 50]


async def test_after_a_restart_an_override_taken_back_meanwhile_holds_no_longer() -> None:
    row, journal = Row(Clock(MINUTE)), Memory()
    await row.loop(journal, {"u0": Override("u0", "off", MINUTE - 30, MINUTE + 900, "ann")}).tick()
    row.clock.now = MINUTE + 20
    await row.live(row.loop(journal), MINUTE + 25)
    assert sorted({each.at - MINUTE for each in journal.decisions}) == [0, 20]


async def test_after_a_restart_sources_of_prices_are_not_asked_before_their_time() -> None:
    row, journal = Row(Clock(MINUTE)), Memory()
    await row.loop(journal).tick()
    row.clock.now = MINUTE + 20
    loop, asked = row.loop(journal), []

    async def noting(now: float) -> list[Tick]:
        asked.append(now)
        return []

    loop._sources[1].read = noting  # type: ignore[method-assign]
    await row.live(loop, MINUTE + 61)
    assert asked[0] == MINUTE + 60


async def test_after_a_restart_prices_go_on_growing_old_where_they_were(tmp_path: Path) -> None:
    first = house(tmp_path, CHEAP)
    await first.at(0)
    second = house(tmp_path, CHEAP, journal=first.journal)

    async def nothing(now: float) -> list[Tick]:
        del now
        return []

    for source in second.loop._sources:
        source.read = nothing  # type: ignore[method-assign] # all feeds are down
    assert (await second.at(30)).reason is Reason.HOLD_ON
    assert (await second.at(70)).reason is Reason.STALE


async def test_a_restart_in_the_middle_decides_as_an_uninterrupted_run_does(tmp_path: Path) -> None:
    tape = "offset_s,usd_per_kwh\n0,0.05\n35,0.20\n75,0.05\n150,0.3\n165,0.05\n"

    async def day(restarts: set[int]) -> list[Decision]:
        home = house(tmp_path, tape, min_off_s=60, min_on_s=20)
        for count in range(25):
            if count in restarts:
                home = house(tmp_path, tape, journal=home.journal, cpu=home.cpu, min_off_s=60, min_on_s=20)
            await home.at(10.0 * count)
        return home.journal.decisions

    assert await day({4, 7, 8, 16, 17}) == await day(set())


async def test_inputs_nobody_can_read_any_more_are_told_and_left_aside(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    first = house(tmp_path, CHEAP)
    await first.at(0)
    first.journal.inputs[-1] = replace(first.journal.inputs[-1], format=99)
    second = house(tmp_path, CHEAP, journal=first.journal)
    assert (await second.at(10)).reason is Reason.HOLD_ON
    assert "inputs_not_recalled" in [record.message for record in caplog.records]


async def test_each_tick_starts_from_the_prices_of_the_last_plan_and_so_does_one_after_a_restart(
    tmp_path: Path,
) -> None:
    home = house(tmp_path, CHEAP, site=SiteConfig(1.0))
    await home.at(0)
    await home.at(10)
    view = home.loop.last_view
    assert view is not None
    assert view.plan is not None
    assert view.snapshot.starting_prices[0][0] == START
    assert view.snapshot.starting_prices[0][1] > 0
    second = house(tmp_path, CHEAP, site=SiteConfig(1.0), journal=home.journal)
    await second.at(20)
    assert second.loop.last_view is not None
    again = second.loop.last_view.snapshot.starting_prices
    assert again == tuple(
        (slot.start, price) for slot, price in zip(view.plan.slots, view.plan.prices_usd_per_kwh, strict=True)
    )


# --- what a person hears ------------------------------------------------------------------------------


async def test_unit_silent_is_an_alert_as_long_as_it_lasts(tmp_path: Path) -> None:
    home = house(tmp_path, CHEAP)
    home.cpu.read = lambda: CpuReading("full", 0.0)  # type: ignore[method-assign] # "is_mining: true"
    await home.at(0)
    assert home.alerts.alerts == []
    for seconds in (900, 910):
        assert (await home.at(seconds)).reason is Reason.SILENT
    assert (
        home.alerts.alerts
        == ["cpu: cpu: unit_silent: no work since 2023-11-14 22:13:20Z: counts again with its first share"]
        * 2
    )


async def test_a_limit_nobody_can_keep_is_an_alert_and_the_log_hears_of_it_once(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    home = house(tmp_path, CHEAP, site=SiteConfig(0.001))  # 12 W standby
    await home.at(0)
    await home.at(10)
    assert len(home.alerts.alerts) == 2
    assert home.alerts.alerts[0].startswith("None: the power cap is exceeded")
    assert [record.message for record in caplog.records].count("not_as_planned") == 1


async def test_an_override_is_asked_for_on_each_tick(tmp_path: Path) -> None:
    wishes: dict[str, Override] = {}
    home = house(tmp_path, CHEAP, overrides=wishes)
    assert (await home.at(0)).reason is Reason.HOLD_ON
    wishes["cpu"] = Override("cpu", "off", START + 5, START + 100, "ann")
    assert (await home.at(10)).reason is Reason.OVERRIDE
    assert home.cpu.mode == "off"


async def test_a_clock_that_was_set_back_decides_and_records_as_before_though_times_come_twice(
    tmp_path: Path,
) -> None:
    home = house(tmp_path, "offset_s,usd_per_kwh\n0,0.05\n")
    for count in range(4):
        await home.at(10 * count)
    for _ in range(2):
        assert (await home.at(10)).reason is Reason.HOLD_ON
        assert (await home.at(20)).reason is Reason.HOLD_ON
    home = house(tmp_path, "offset_s,usd_per_kwh\n0,0.5\n", journal=home.journal, cpu=home.cpu)
    assert (await home.at(10)).reason is Reason.PAUSE
    assert home.cpu.mode == "off"
    await home.at(60)
    steps = [round((each.at - START) * 1e5) / 1e5 for each in home.journal.decisions]
    assert steps == [0, 10, 20, 30, 10.00001, 20.00001, 10.00002, 20.00002, 10.00003, 60]
    assert [each.at for each in home.journal.inputs] == [each.at for each in home.journal.decisions]


async def test_a_plan_that_takes_its_time_does_not_hold_up_whoever_shares_the_event_loop(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    threads: list[threading.Thread] = []

    def noting(*args: Any) -> View:
        threads.append(threading.current_thread())
        return decide_tick(*args)

    monkeypatch.setattr("controller.loop.decide_tick", noting)
    home = house(tmp_path, CHEAP)
    await home.at(0)
    home.loop._deciding = replace(home.loop._deciding, horizon_hours=250)
    await home.at(10)
    assert [each is threading.main_thread() for each in threads] == [True, False]


async def test_many_units_are_decided_beside_the_event_loop_and_like_few(tmp_path: Path) -> None:
    home = house(tmp_path, CHEAP)
    home.loop._units = tuple(Unit(f"u{index}", CURVE) for index in range(120))
    home.clock.now = START
    view = await home.loop.tick()
    assert {decision.reason for decision in view.decisions.values()} == {Reason.UNREACHABLE}
    assert len(home.journal.decisions) == 120
