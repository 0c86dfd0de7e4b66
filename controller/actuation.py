"""Applying decisions: told, read back, confirmed; or tried again within a budget, and then an alert.

That a unit took an order is no evidence. What it says afterwards is. A unit may need minutes for it: nobody waits for that, and a newer
decision takes the place of the older one.
"""

from __future__ import annotations

import asyncio
import logging
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.actuators.base import UnsupportedModeError
from controller.decisions import Decision, Outcome, OutcomeKind, Reason
from controller.units import OFF, Setpoint, Unit

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence

    from controller.actuators.base import Actuator
    from controller.ports import Journal, Listener

log = logging.getLogger(__name__)

_URGENT: Final = frozenset({Reason.SIGNAL, Reason.OVERRIDE, Reason.THERMAL, Reason.SITE_CAP})
"""Reasons for which a step down is not put off after it failed."""
_LOOKS_PER_CONFIRM: Final = 50
_FIRST_LOOK_S: Final = 0.005
_NAMED: Final = 5


@dataclass(frozen=True, slots=True)
class ActuationConfig:
    """Budgets of applying a decision.

    `confirm_s`: for one attempt, until the unit says that it is in the mode; what it takes to start (`Unit.restart_s`) or to change
    (`change_s`) comes on top. `attempts`: for one decision. `retry_after_s`: until a unit that failed is told the same mode again.
    `parallel`: units told at a time.
    """

    confirm_s: float = 5.0
    attempts: int = 3
    retry_after_s: float = 300.0
    parallel: int = 64

    def __post_init__(self) -> None:
        """Refuse budgets in which nothing could happen."""
        if not (self.confirm_s > 0 and self.retry_after_s >= 0 and self.attempts >= 1 and self.parallel >= 1):
            raise ValueError("confirm_s, attempts and parallel must be above zero, retry_after_s not below")


@dataclass(frozen=True, slots=True)
class _Failure:
    mode: str
    at: float


@dataclass(frozen=True, slots=True)
class _Missed:
    """An attempt that was not confirmed: why, and the mode the unit was last read in."""

    why: str
    mode_read: str | None = None


@dataclass(slots=True)
class _Wave:
    """The steps down of one tick: those up begin when each was told, or has failed to be."""

    left: int
    told: asyncio.Event = field(default_factory=asyncio.Event)

    def one_less(self) -> None:
        self.left -= 1
        if self.left <= 0:
            self.told.set()


@dataclass(slots=True)
class _Job:
    """A decision on its way to a unit; `wave` is that of its tick while the job still counts among its steps down."""

    decision: Decision
    wave: _Wave | None
    before: _Job | None
    task: asyncio.Task[None] | None = None

    def is_told(self) -> None:
        if self.wave is not None:
            self.wave.one_less()
            self.wave = None


class Actuation:
    """Applies the decisions of each tick, steps down before steps up, at most one at a time for each unit."""

    def __init__(
        self,
        units: Sequence[Unit],
        actuators: Mapping[str, Actuator],
        journal: Journal,
        config: ActuationConfig,
        listener: Listener,
        clock: Callable[[], float],
        sleep: Callable[[float], Awaitable[None]],
    ) -> None:
        self._units = {unit.id: unit for unit in units}
        self._actuators = actuators
        self._journal = journal
        self._config = config
        self._listener = listener
        self._clock = clock
        self._sleep = sleep
        self._failures: dict[str, _Failure] = {}
        self._told: dict[str, str] = {}
        self._jobs: dict[str, _Job] = {}
        self._places = asyncio.Semaphore(config.parallel)
        self._group: asyncio.TaskGroup | None = None

    @asynccontextmanager
    async def working(self) -> AsyncIterator[None]:
        """Within it `apply` returns at once. At its end what is under way is given up, and recorded as that."""
        under_way: list[_Job] = []
        try:
            async with asyncio.TaskGroup() as group:
                self._group = group
                try:
                    yield
                finally:
                    self._group = None
                    under_way = list(self._jobs.values())
                    for job in under_way:
                        if job.task is not None:
                            job.task.cancel()
        finally:
            self._jobs.clear()
            for job in under_way:
                await self._supersede(job)
            why = "the controller ended"
            await self._write(
                [self._outcome(job.decision, OutcomeKind.INTERRUPTED, why) for job in under_way]
            )

    async def apply(self, decisions: Sequence[Decision]) -> None:
        """Apply those that change a unit; outside of `working` it returns when each is confirmed or has failed."""
        if self._group is not None:
            self._begin(decisions, self._group)
            return
        async with asyncio.TaskGroup() as group:
            self._begin(decisions, group)

    def _begin(self, decisions: Sequence[Decision], group: asyncio.TaskGroup) -> None:
        due = [decision for decision in decisions if self._is_due(decision)]
        down = [decision for decision in due if self._is_down(decision)]
        up = [decision for decision in due if not self._is_down(decision)]
        wave = _Wave(len(down))
        if not down:
            wave.told.set()
        for decision in (*down, *up):
            before = self._jobs.get(decision.unit_id)
            is_down = self._is_down(decision)
            job = _Job(decision, wave if is_down else None, before)
            self._jobs[decision.unit_id] = job
            if before is not None and before.task is not None:
                before.task.cancel()
            job.task = group.create_task(self._carry_out(job, None if is_down else wave))

    def _is_due(self, decision: Decision) -> bool:
        """Whether the unit has to be told: it is not on its way there, and was not in vain a moment ago.

        One that was told another mode before, and did not get there, is told even if it still is in the right one.
        """
        under_way = self._jobs.get(decision.unit_id)
        if under_way is not None:
            return decision.reason.acts and decision.to_mode != under_way.decision.to_mode
        told = self._told.get(decision.unit_id, decision.to_mode)
        if not (decision.changes or (decision.reason.acts and told != decision.to_mode)):
            return False
        return self._is_urgent(decision) or not self._backing_off(decision)

    def _is_urgent(self, decision: Decision) -> bool:
        """Whether it is a step down that somebody waits for: it is tried on each tick."""
        return decision.reason in _URGENT and self._is_down(decision)

    def _is_down(self, decision: Decision) -> bool:
        """A step down; a unit that is off and told so may have been on its way up."""
        return decision.to_mode == OFF or self._added_watts(decision) < 0

    async def _carry_out(self, job: _Job, waits_for: _Wave | None) -> None:
        try:
            await self._supersede(job)
            if waits_for is not None:
                await waits_for.told.wait()
            await self._attempts(job)
        except Exception as error:  # one unit's fault must not stop the others
            log.exception("actuation_failed", extra=_fields(job.decision, repr(error)))
            self._listener.on_alert(job.decision.unit_id, f"{job.decision.unit_id}: {error!r}")
        finally:
            job.is_told()
            if self._jobs.get(job.decision.unit_id) is job:
                del self._jobs[job.decision.unit_id]

    async def _supersede(self, job: _Job) -> None:
        """Wait until older decisions of the unit have let go of it, and say that they were superseded."""
        while job.before is not None:
            before = job.before
            if before.task is not None:
                await asyncio.wait((before.task,))
            why = f"{job.decision.to_mode} was decided meanwhile"
            await self._record(before.decision, OutcomeKind.SUPERSEDED, why)
            job.before = before.before

    async def _attempts(self, job: _Job) -> None:
        decision = job.decision
        missed = _Missed("never tried")
        for _ in range(self._config.attempts):
            try:
                answer = await self._tell(job) or await self._read_back(decision)
            except UnsupportedModeError as error:
                await self._give_up(decision, OutcomeKind.UNSUPPORTED, _Missed(str(error)))
                return
            if answer is None:
                self._failures.pop(decision.unit_id, None)
                return
            missed = answer
            log.warning("setpoint_missed", extra=_fields(decision, missed.why))
        await self._give_up(decision, OutcomeKind.FAILED, missed)

    async def _tell(self, job: _Job) -> _Missed | None:
        """Tell the unit its mode; None when it took the order."""
        decision = job.decision
        actuator = self._actuators[decision.unit_id]
        self._told[decision.unit_id] = decision.to_mode
        try:
            async with self._places, asyncio.timeout(self._config.confirm_s):
                await actuator.apply(Setpoint(decision.unit_id, decision.to_mode), self._clock())
        except UnsupportedModeError:
            raise
        except TimeoutError:
            return _Missed("not taken in time")
        except Exception as error:  # noqa: BLE001 - whatever a unit does, it is tried again and then given up
            return _Missed(repr(error))
        job.is_told()
        await self._record(decision, OutcomeKind.APPLIED)
        return None

    async def _read_back(self, decision: Decision) -> _Missed | None:
        """Look until the unit says that it is in its mode; None when it does."""
        limit_s = self._config.confirm_s + self._way_s(decision)
        mode_read: str | None = None
        failed = ""
        try:
            async with asyncio.timeout(limit_s):
                waited_s, wait_s = 0.0, _FIRST_LOOK_S
                while True:
                    try:
                        state = await self._actuators[decision.unit_id].read(self._clock())
                    except Exception as error:  # noqa: BLE001 - a unit that starts may not answer for a while
                        failed = repr(error)
                    else:
                        failed, mode_read = "", state.mode
                        if state.reachable and mode_read == decision.to_mode:
                            break
                    if waited_s >= limit_s:
                        return _Missed(failed or f"told, but still in mode {mode_read!r}", mode_read)
                    # A thread stops within a millisecond, a machine within minutes: look soon, then less and less often.
                    await self._sleep(wait_s)
                    waited_s += wait_s
                    wait_s = min(2 * wait_s, limit_s / _LOOKS_PER_CONFIRM)
        except TimeoutError:
            return _Missed(failed or "no confirmation in time", mode_read)
        await self._record(decision, OutcomeKind.CONFIRMED, mode_read=mode_read)
        return None

    def _way_s(self, decision: Decision) -> float:
        """How long the unit itself needs to get from one mode to the other."""
        unit = self._units[decision.unit_id]
        if decision.to_mode == OFF:
            return 0.0
        return (
            unit.change_s
            if decision.from_mode in unit.curve and decision.from_mode != OFF
            else unit.restart_s
        )

    async def _give_up(self, decision: Decision, kind: OutcomeKind, missed: _Missed) -> None:
        self._failures[decision.unit_id] = _Failure(decision.to_mode, self._clock())
        log.error("setpoint_failed", extra={**_fields(decision, missed.why), "outcome": kind.value})
        await self._record(decision, kind, missed.why, missed.mode_read)
        self._listener.on_alert(
            decision.unit_id, f"{decision.unit_id}: {decision.to_mode} {kind.value}: {missed.why}"
        )

    async def _record(
        self, decision: Decision, kind: OutcomeKind, detail: str = "", mode_read: str | None = None
    ) -> None:
        await self._write([self._outcome(decision, kind, detail, mode_read)])

    def _outcome(
        self, decision: Decision, kind: OutcomeKind, detail: str = "", mode_read: str | None = None
    ) -> Outcome:
        return Outcome(decision.id, decision.unit_id, self._clock(), kind, detail, mode_read)

    async def _write(self, outcomes: Sequence[Outcome]) -> None:
        if not outcomes:
            return
        try:
            await self._journal.record_outcomes(outcomes)
        except Exception as error:  # noqa: BLE001 - what was done stays done, whether or not it can be written down
            ids = ", ".join(outcome.decision_id for outcome in outcomes[:_NAMED])
            log.error("outcome_not_recorded", extra={"decision": ids, "why": repr(error)})  # noqa: TRY400 - one line
        for outcome in outcomes:
            self._listener.on_outcome(outcome)

    def _backing_off(self, decision: Decision) -> bool:
        failure = self._failures.get(decision.unit_id)
        return (
            failure is not None
            and failure.mode == decision.to_mode
            and 0 <= self._clock() - failure.at < self._config.retry_after_s
        )

    def _added_watts(self, decision: Decision) -> float:
        curve = self._units[decision.unit_id].curve
        before = curve.mode(decision.from_mode).watts if decision.from_mode in curve else 0.0
        return curve.mode(decision.to_mode).watts - before


def _fields(decision: Decision, why: str) -> dict[str, str]:
    return {"unit": decision.unit_id, "mode": decision.to_mode, "decision": decision.id, "why": why}
