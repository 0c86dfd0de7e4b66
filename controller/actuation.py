"""Applying decisions: told, read back, confirmed; or tried again within a budget, and then an alert.

That a unit took an order is no evidence. What it says afterwards is.
"""

from __future__ import annotations

import asyncio
import logging
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

from controller.actuators.base import UnsupportedModeError
from controller.decisions import Decision, Outcome, OutcomeKind
from controller.units import Setpoint, Unit

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from controller.actuators.base import Actuator
    from controller.ports import Journal, Listener

log = logging.getLogger(__name__)

_LOOKS_PER_CONFIRM: Final = 50
_FIRST_LOOK_S: Final = 0.005


@dataclass(frozen=True, slots=True)
class ActuationConfig:
    """Budgets of applying a decision.

    `confirm_s`: for one attempt, until the unit says that it is in the mode. `attempts`: for one decision. `retry_after_s`: until a unit
    that failed is told the same mode again. `parallel`: units at a time.
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


class Actuation:
    """Applies the decisions of one tick, steps down before steps up."""

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

    async def apply(self, decisions: Sequence[Decision]) -> None:
        """Apply those that change a unit, and return when each is confirmed or has failed."""
        due = [decision for decision in decisions if decision.changes and not self._backing_off(decision)]
        down = [decision for decision in due if self._added_watts(decision) < 0]
        up = [decision for decision in due if self._added_watts(decision) >= 0]
        slots = asyncio.Semaphore(self._config.parallel)
        for phase in (down, up):
            async with asyncio.TaskGroup() as group:
                for decision in phase:
                    group.create_task(self._carry_out(decision, slots))

    async def _carry_out(self, decision: Decision, slots: asyncio.Semaphore) -> None:
        async with slots:
            missed = _Missed("never tried")
            for _ in range(self._config.attempts):
                try:
                    answer = await self._attempt(decision)
                except UnsupportedModeError as error:
                    await self._give_up(decision, OutcomeKind.UNSUPPORTED, _Missed(str(error)))
                    return
                if answer is None:
                    self._failures.pop(decision.unit_id, None)
                    return
                missed = answer
                log.warning("setpoint_missed", extra=_fields(decision, missed.why))
            await self._give_up(decision, OutcomeKind.FAILED, missed)

    async def _attempt(self, decision: Decision) -> _Missed | None:
        """Tell the unit and read it back; None when it is confirmed."""
        actuator = self._actuators[decision.unit_id]
        told = False
        mode_read: str | None = None
        try:
            async with asyncio.timeout(self._config.confirm_s):
                await actuator.apply(Setpoint(decision.unit_id, decision.to_mode), self._clock())
                told = True
                await self._record(decision, OutcomeKind.APPLIED)
                waited_s, wait_s = 0.0, _FIRST_LOOK_S
                while True:
                    state = await actuator.read(self._clock())
                    mode_read = state.mode
                    if state.reachable and mode_read == decision.to_mode:
                        break
                    if waited_s >= self._config.confirm_s:
                        return _Missed(f"told, but still in mode {mode_read!r}", mode_read)
                    # A thread stops within a millisecond, a machine within minutes: look soon, then less and less often.
                    await self._sleep(wait_s)
                    waited_s += wait_s
                    wait_s = min(2 * wait_s, self._config.confirm_s / _LOOKS_PER_CONFIRM)
        except UnsupportedModeError:
            raise
        except TimeoutError:
            return _Missed("no confirmation in time" if told else "not taken in time", mode_read)
        except Exception as error:  # noqa: BLE001 - one unit's fault must not stop the others
            return _Missed(repr(error), mode_read)
        await self._record(decision, OutcomeKind.CONFIRMED, mode_read=mode_read)
        return None

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
        outcome = Outcome(decision.id, decision.unit_id, self._clock(), kind, detail, mode_read)
        try:
            await self._journal.record_outcomes([outcome])
        except Exception as error:  # noqa: BLE001 - what was done stays done, whether or not it can be written down
            log.error("outcome_not_recorded", extra=_fields(decision, repr(error)))  # noqa: TRY400 - one line
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
