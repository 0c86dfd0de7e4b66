"""Told, read back, confirmed: what comes of decisions when units are slow, broken or many."""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.actuation import Actuation, ActuationConfig
from controller.actuators.base import ActuatorError, UnsupportedModeError
from controller.decisions import Decision, Outcome, OutcomeKind, Reason
from controller.ports import Listener
from controller.units import Mode, PowerCurve, Setpoint, Unit, UnitState

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.inputs import Inputs
    from controller.overrides import Override
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

    async def record_decisions(self, decisions: Sequence[Decision], inputs: Inputs | None = None) -> None:
        raise NotImplementedError

    async def last_inputs(self) -> Inputs | None:
        return None

    async def record_signals(self, ticks: Sequence[Tick]) -> None:
        raise NotImplementedError

    async def signals(self, since: float) -> Sequence[Tick]:
        raise NotImplementedError

    async def record_override(self, override: Override) -> None:
        raise NotImplementedError

    async def overrides(self, now: float) -> Mapping[str, Override]:
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
    def __init__(self, machines: dict[str, Machine], confirm_s: float = 1.0, restart_s: float = 0.0) -> None:
        self.now = 0.0
        self.journal, self.alerts = Journal(), Alerts()
        self.actuation = Actuation(
            units=[Unit(name, CURVE, restart_s=restart_s) for name in machines],
            actuators=machines,
            journal=self.journal,
            config=ActuationConfig(confirm_s=confirm_s, attempts=2, retry_after_s=60),
            listener=self.alerts,
            clock=lambda: self.now,
            sleep=lambda seconds: asyncio.sleep(0.005 if restart_s > 0 and seconds > 1 else 0),
        )

    @property
    def kinds(self) -> list[OutcomeKind]:
        return [outcome.kind for outcome in self.journal.outcomes]


def told(unit_id: str = "u", before: str = "full", after: str = "off", number: int = 1) -> Decision:
    return Decision(f"{number}-{unit_id}", 0.0, unit_id, before, after, Reason.PAUSE)


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


async def test_a_step_down_that_somebody_waits_for_is_tried_again_on_each_tick() -> None:
    for reason in (Reason.SIGNAL, Reason.OVERRIDE, Reason.THERMAL, Reason.SITE_CAP):
        machine = Machine(errors=[ActuatorError("booting")] * 2)
        bench = Bench({"u": machine})
        await bench.actuation.apply([replace(told(), reason=reason)])
        bench.now = 10.0
        await bench.actuation.apply([replace(told(number=2), reason=reason)])
        assert bench.kinds == [OutcomeKind.FAILED, OutcomeKind.APPLIED, OutcomeKind.CONFIRMED]


async def test_a_unit_told_to_start_that_never_did_is_told_off_before_it_starts_late() -> None:
    machine = Machine("off", errors=[ActuatorError("busy")] * 2)
    bench = Bench({"u": machine})
    await bench.actuation.apply([told(before="off", after="full")])
    for number in (2, 3):
        await bench.actuation.apply([told(before="off", after="off", number=number)])
    assert machine.told == ["full", "full", "off"]


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


# --- while the loop goes on ---------------------------------------------------------------------------


async def until(done: Callable[[], bool]) -> None:
    async with asyncio.timeout(5):
        while not done():  # noqa: ASYNC110 - any step of the actuation may be the one
            await asyncio.sleep(0)


async def test_within_its_work_nobody_waits_for_a_unit() -> None:
    machine = Machine("off", delay=10_000)
    bench = Bench({"u": machine}, restart_s=3600)
    async with bench.actuation.working():
        await bench.actuation.apply([told(before="off", after="full")])
        await until(lambda: bench.kinds == [OutcomeKind.APPLIED])
        machine.delay = 0
        await until(lambda: bench.kinds == [OutcomeKind.APPLIED, OutcomeKind.CONFIRMED])


async def test_a_newer_decision_supersedes_the_older_one_and_both_are_recorded() -> None:
    machine = Machine("off", delay=10_000)
    bench = Bench({"u": machine}, restart_s=3600)
    async with bench.actuation.working():
        await bench.actuation.apply([told(before="off", after="full")])
        await until(lambda: bench.kinds == [OutcomeKind.APPLIED])
        # It says "off" and is to be off; but it was told to run, so it has to be told again.
        await bench.actuation.apply([told(before="off", after="off", number=2)])
        machine.delay = 0
        await until(lambda: OutcomeKind.CONFIRMED in bench.kinds)
    assert machine.told == ["full", "off"]
    assert [(each.decision_id, each.kind.value) for each in bench.journal.outcomes] == [
        ("1-u", "applied"),
        ("1-u", "superseded"),
        ("2-u", "applied"),
        ("2-u", "confirmed"),
    ]


async def test_of_many_decisions_in_a_row_each_is_superseded_by_the_next() -> None:
    machine = Machine("off", delay=10_000)
    bench = Bench({"u": machine}, restart_s=3600)
    async with bench.actuation.working():
        for number, mode in enumerate(("full", "eco", "full", "eco"), start=1):
            await bench.actuation.apply([told(before="off", after=mode, number=number)])
        await until(lambda: OutcomeKind.APPLIED in bench.kinds)
        machine.delay = 0
        await until(lambda: OutcomeKind.CONFIRMED in bench.kinds)
    assert machine.told == ["eco"]
    superseded = {each.decision_id for each in bench.journal.outcomes if each.kind is OutcomeKind.SUPERSEDED}
    assert superseded == {"1-u", "2-u", "3-u"}


async def test_the_same_mode_again_leaves_what_is_under_way_alone() -> None:
    machine = Machine("off", delay=10_000)
    bench = Bench({"u": machine}, restart_s=3600)
    async with bench.actuation.working():
        for number in range(1, 5):
            await bench.actuation.apply([told(before="off", after="full", number=number)])
            await asyncio.sleep(0.01)
        assert machine.told == ["full"]


async def test_what_is_under_way_at_the_end_is_recorded_as_interrupted() -> None:
    bench = Bench({"u": Machine("off", delay=10_000)}, restart_s=3600)

    async def work() -> None:
        async with bench.actuation.working():
            await bench.actuation.apply([told(before="off", after="full")])
            await asyncio.sleep(60)

    with pytest.raises(TimeoutError):
        await asyncio.wait_for(work(), 0.05)
    assert bench.kinds == [OutcomeKind.APPLIED, OutcomeKind.INTERRUPTED]


async def test_a_unit_that_does_not_answer_while_it_starts_has_not_failed() -> None:
    machine = Machine("off")
    read = machine.read
    answers = iter([OSError("booting")] * 5)

    async def booting(now: float) -> UnitState:
        error = next(answers, None)
        if error is not None:
            raise error
        return await read(now)

    machine.read = booting  # type: ignore[method-assign] # it boots
    bench = Bench({"u": machine}, restart_s=60)
    await bench.actuation.apply([told(before="off", after="full")])
    assert bench.kinds == [OutcomeKind.APPLIED, OutcomeKind.CONFIRMED]


async def test_steps_up_wait_until_those_down_were_told_and_no_longer() -> None:
    slow = Machine("full", delay=10_000)
    quick = Machine("off")
    bench = Bench({"slow": slow, "quick": quick}, confirm_s=60)
    async with bench.actuation.working():
        await bench.actuation.apply([told("quick", "off", "full"), told("slow", "full", "off")])
        await until(lambda: quick.told == ["full"])
        assert slow.told == ["off"]
