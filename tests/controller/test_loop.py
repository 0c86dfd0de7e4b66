"""The loop as a story: prices move, and units are told, read back, and remembered."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import pytest

from controller.actuation import ActuationConfig
from controller.actuators.cpu import CpuActuator, CpuReading
from controller.decisions import Decision, Outcome, OutcomeKind, Reason
from controller.earnings import Earnings, Scheme
from controller.loop import ControllerLoop, LoopConfig
from controller.policy import PolicyConfig
from controller.ports import Listener
from controller.sources.fixed import FixedSource
from controller.sources.tape import TapeSource, load_tape
from controller.ticks import HASHPRICE, POWER, Tick
from controller.units import Mode, PowerCurve, Unit
from controller.validate import MAINNET_RULES, SeriesRule
from controller.view import hashprice_report, plan_report

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path

START = 1_700_000_000.0
CURVE = PowerCurve([Mode("off", 0, 12), Mode("full", 100, 2000)])  # 20 J/TH: at $48 it breaks even at 10 ct


@dataclass
class Clock:
    now: float = START

    def __call__(self) -> float:
        return self.now


@dataclass
class Cpu:
    """Stands for the CPU unit; `deaf` takes orders and does nothing."""

    mode: str = "full"
    deaf: bool = False
    told: list[str] = field(default_factory=list)

    def set_mode(self, name: str) -> None:
        self.told.append(name)
        if not self.deaf:
            self.mode = name

    def read(self) -> CpuReading:
        return CpuReading(self.mode, 100.0 if self.mode == "full" else 0.0)


@dataclass
class Memory:
    """A journal that keeps everything in lists, in the order in which it came."""

    ticks: list[Tick] = field(default_factory=list)
    decisions: list[Decision] = field(default_factory=list)
    outcomes: list[Outcome] = field(default_factory=list)
    broken: bool = False

    async def record_ticks(self, ticks: Sequence[Tick]) -> None:
        self.ticks.extend(ticks)

    async def record_decisions(self, decisions: Sequence[Decision]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.decisions.extend(decisions)

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        self.outcomes.extend(outcomes)

    async def last_decisions(self) -> Mapping[str, Decision]:
        return {decision.unit_id: decision for decision in self.decisions}


@dataclass
class Alerts(Listener):
    alerts: list[str] = field(default_factory=list)

    def on_alert(self, unit_id: str | None, message: str) -> None:
        self.alerts.append(f"{unit_id}: {message}")


@dataclass
class House:
    """A loop with one CPU unit on a tape of power prices, and a clock moved by hand."""

    loop: ControllerLoop
    cpu: Cpu
    journal: Memory
    clock: Clock
    alerts: Alerts

    async def at(self, seconds: float) -> Decision:
        self.clock.now = START + seconds
        view = await self.loop.tick()
        return view.decisions["cpu"]


def house(
    tmp_path: Path,
    tape: str,
    *,
    cpu: Cpu | None = None,
    journal: Memory | None = None,
    dry_run: bool = False,
    earnings: Callable[[], Earnings | None] = lambda: None,
    **unit: float,
) -> House:
    file = tmp_path / "tape.csv"
    file.write_text(tape)
    cpu, journal, clock, alerts = cpu or Cpu(), journal or Memory(), Clock(), Alerts()

    async def sleep(seconds: float) -> None:
        clock.now += seconds
        await asyncio.sleep(0)

    rules = {**MAINNET_RULES, POWER: SeriesRule(-1, 10, 60)}
    config = LoopConfig(
        policy=PolicyConfig(rules=rules, grace_s=120, dry_run=dry_run),
        actuation=ActuationConfig(confirm_s=1.0, attempts=2, retry_after_s=100),
        tick_s=10,
        horizon_hours=1,
    )
    loop = ControllerLoop(
        units=[Unit("cpu", CURVE, safe_mode="pause", **unit)],
        sources=[TapeSource(load_tape(file), START), FixedSource({HASHPRICE: 48.0})],
        actuators={"cpu": CpuActuator("cpu", cpu)},
        journal=journal,
        config=config,
        listener=alerts,
        earnings=earnings,
        clock=clock,
        sleep=sleep,
    )
    return House(loop, cpu, journal, clock, alerts)


UP_AND_DOWN = "offset_s,usd_per_kwh\n0,0.05\n100,0.20\n200,0.05\n"


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

    home = house(tmp_path, UP_AND_DOWN)
    home.loop._sources = (Broken(), *home.loop._sources)
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

    home = house(tmp_path, UP_AND_DOWN)
    broken = Broken()
    home.loop._sources = (*home.loop._sources, broken)
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


async def test_run_ticks_at_its_pace_until_cancelled_and_outlives_a_broken_journal(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    home.journal.broken = True
    slept: list[float] = []

    async def sleep(seconds: float) -> None:
        home.clock.now += seconds
        slept.append(seconds)
        home.journal.broken = False
        if len(slept) == 3:
            raise asyncio.CancelledError
        await asyncio.sleep(0)

    home.loop._sleep = sleep
    with pytest.raises(asyncio.CancelledError):
        await home.loop.run()
    assert home.alerts.alerts == ["None: tick failed: disk full"]
    assert slept == [10, 10, 10]
    assert [decision.at for decision in home.journal.decisions] == [START + 10, START + 20]
    assert home.loop.last_view is not None
    assert home.loop.last_view.next_tick_at == START + 30


async def test_two_ticks_at_the_same_time_get_decisions_with_different_ids(tmp_path: Path) -> None:
    home = house(tmp_path, UP_AND_DOWN)
    first, second = await home.at(0), await home.at(0)
    assert first.id < second.id


@pytest.mark.parametrize("name", ["tick_s", "read_timeout_s", "horizon_hours", "slot_s"])
def test_a_loop_whose_time_never_passes_is_refused(name: str) -> None:
    with pytest.raises(ValueError, match=name):
        LoopConfig(**{name: 0.0})  # type: ignore[arg-type] # by name
