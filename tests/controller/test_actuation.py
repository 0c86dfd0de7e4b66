"""Told, read back, confirmed: what comes of decisions when units are slow, broken or many."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

import pytest

from controller.actuation import Actuation, ActuationConfig
from controller.actuators.base import ActuatorError, UnsupportedModeError
from controller.decisions import Decision, Outcome, OutcomeKind, Reason
from controller.ports import Listener
from controller.units import Mode, PowerCurve, Setpoint, Unit, UnitState

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from controller.ticks import Tick

CURVE = PowerCurve([Mode("eco", 76, 1850), Mode("full", 100, 2970)])


class Machine:
    """Reads back what it was told after `delay` reads; `errors` are raised first, one a call."""

    def __init__(self, mode: str = "full", delay: int = 0, errors: Sequence[Exception] = ()) -> None:
        self.mode = mode
        self.delay = delay
        self.errors = list(errors)
        self.told: list[str] = []
        self.hangs = False
        self._target = mode

    async def apply(self, setpoint: Setpoint, now: float) -> None:
        del now
        self.told.append(setpoint.mode)
        if self.hangs:
            await asyncio.sleep(3600)
        if self.errors:
            raise self.errors.pop(0)
        self._target = setpoint.mode

    async def read(self, now: float) -> UnitState:
        if self.delay > 0:
            self.delay -= 1
        else:
            self.mode = self._target
        return UnitState("u", self.mode, None, None, None, now)


class Journal:
    def __init__(self) -> None:
        self.outcomes: list[Outcome] = []
        self.broken = False

    async def record_ticks(self, ticks: Sequence[Tick]) -> None:
        raise NotImplementedError

    async def record_decisions(self, decisions: Sequence[Decision]) -> None:
        raise NotImplementedError

    async def record_outcomes(self, outcomes: Sequence[Outcome]) -> None:
        if self.broken:
            raise OSError("disk full")
        self.outcomes.extend(outcomes)

    async def last_decisions(self) -> Mapping[str, Decision]:
        return {}


class Alerts(Listener):
    def __init__(self) -> None:
        self.alerts: list[str] = []
        self.outcomes: list[OutcomeKind] = []

    def on_alert(self, unit_id: str | None, message: str) -> None:
        del unit_id
        self.alerts.append(message)

    def on_outcome(self, outcome: Outcome) -> None:
        self.outcomes.append(outcome.kind)


class Bench:
    def __init__(self, machines: dict[str, Machine], confirm_s: float = 1.0) -> None:
        self.now = 0.0
        self.journal, self.alerts = Journal(), Alerts()
        self.actuation = Actuation(
            units=[Unit(name, CURVE) for name in machines],
            actuators=machines,
            journal=self.journal,
            config=ActuationConfig(confirm_s=confirm_s, attempts=2, retry_after_s=60),
            listener=self.alerts,
            clock=lambda: self.now,
            sleep=lambda seconds: asyncio.sleep(0 * seconds),
        )

    @property
    def kinds(self) -> list[OutcomeKind]:
        return [outcome.kind for outcome in self.journal.outcomes]


def told(unit_id: str = "u", before: str = "full", after: str = "off") -> Decision:
    return Decision(f"1-{unit_id}", 0.0, unit_id, before, after, Reason.PAUSE)


async def test_a_slow_unit_is_confirmed_when_it_says_so_itself() -> None:
    machine = Machine(delay=10)
    bench = Bench({"u": machine})
    await bench.actuation.apply([told()])
    assert bench.kinds == [OutcomeKind.APPLIED, OutcomeKind.CONFIRMED]
    assert bench.journal.outcomes[-1].mode_read == "off"
    assert bench.alerts.alerts == []


async def test_an_order_that_fails_once_is_tried_again() -> None:
    bench = Bench({"u": Machine(errors=[ActuatorError("busy")])})
    await bench.actuation.apply([told()])
    assert bench.kinds == [OutcomeKind.APPLIED, OutcomeKind.CONFIRMED]


async def test_past_its_budget_it_has_failed_and_someone_is_told() -> None:
    bench = Bench({"u": Machine(errors=[ActuatorError("busy"), OSError("gone")])})
    await bench.actuation.apply([told()])
    assert bench.kinds == [OutcomeKind.FAILED]
    assert bench.alerts.alerts == ["u: off failed: OSError('gone')"]


async def test_after_a_failure_the_same_mode_waits_and_another_does_not() -> None:
    machine = Machine(errors=[ActuatorError("busy"), ActuatorError("busy")])
    bench = Bench({"u": machine})
    await bench.actuation.apply([told()])
    await bench.actuation.apply([told()])
    assert machine.told == ["off", "off"]
    await bench.actuation.apply([told(after="eco")])
    assert machine.told == ["off", "off", "eco"]
    await bench.actuation.apply([told()])
    assert bench.kinds[-1] is OutcomeKind.CONFIRMED, "a unit that answered has a clean slate"


async def test_a_unit_that_failed_is_tried_again_after_a_while() -> None:
    machine = Machine(errors=[ActuatorError("busy"), ActuatorError("busy")])
    bench = Bench({"u": machine})
    await bench.actuation.apply([told()])
    bench.now = 60.0
    await bench.actuation.apply([told()])
    assert bench.kinds[-1] is OutcomeKind.CONFIRMED


async def test_what_a_unit_cannot_do_is_not_tried_twice() -> None:
    machine = Machine(errors=[UnsupportedModeError("no eco here")])
    bench = Bench({"u": machine})
    await bench.actuation.apply([told(after="eco")])
    assert (machine.told, bench.kinds) == (["eco"], [OutcomeKind.UNSUPPORTED])
    assert bench.journal.outcomes[0].detail == "no eco here"


async def test_a_unit_that_hangs_costs_no_more_than_its_time() -> None:
    machine = Machine()
    machine.hangs = True
    bench = Bench({"u": machine}, confirm_s=0.02)
    async with asyncio.timeout(5):
        await bench.actuation.apply([told()])
    assert bench.journal.outcomes[-1].detail == "not taken in time"


async def test_one_units_fault_does_not_stop_the_others() -> None:
    bench = Bench({"bad": Machine(errors=[ZeroDivisionError("bug")] * 2), "good": Machine()})
    await bench.actuation.apply([told("bad"), told("good")])
    assert OutcomeKind.CONFIRMED in {one.kind for one in bench.journal.outcomes if one.unit_id == "good"}


async def test_steps_down_are_through_before_steps_up_begin() -> None:
    order: list[str] = []

    class Noting(Machine):
        async def apply(self, setpoint: Setpoint, now: float) -> None:
            order.append(setpoint.unit_id)
            await super().apply(setpoint, now)

    bench = Bench({"up": Noting("off"), "down": Noting("full")})
    await bench.actuation.apply([told("up", "off", "full"), told("down", "full", "eco")])
    assert order == ["down", "up"]


async def test_decisions_that_only_hold_touch_nothing() -> None:
    machine = Machine()
    await Bench({"u": machine}).actuation.apply(
        [
            Decision("1", 0.0, "u", "full", "off", Reason.BATCH_LIMIT),
            Decision("2", 0.0, "u", "off", "off", Reason.HOLD_OFF),
        ]
    )
    assert machine.told == []


async def test_an_outcome_that_cannot_be_written_down_is_still_told() -> None:
    bench = Bench({"u": Machine()})
    bench.journal.broken = True
    await bench.actuation.apply([told()])
    assert bench.alerts.outcomes == [OutcomeKind.APPLIED, OutcomeKind.CONFIRMED]


@pytest.mark.parametrize("bad", [{"confirm_s": 0}, {"attempts": 0}, {"retry_after_s": -1}, {"parallel": 0}])
def test_budgets_in_which_nothing_could_happen_are_refused(bad: dict[str, int]) -> None:
    with pytest.raises(ValueError, match="above zero"):
        ActuationConfig(**bad)
