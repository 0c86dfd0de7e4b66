"""Observe, plan, decide, record, apply, read back: the controller as it runs.

Nothing is kept only in memory. A decision is in the journal before the unit hears of it; if it cannot be recorded, it is not applied.
"""

from __future__ import annotations

import asyncio
import logging
import math
import time
from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING, Any, Final

from controller.actuation import Actuation, ActuationConfig
from controller.book import TickBook
from controller.deciding import (
    LASTING,
    DecidingConfig,
    Memory,
    cannot_wait,
    decide_tick,
    learned,
    limits_since,
    next_memory,
)
from controller.fleet import PolicyConfig
from controller.inputs import InputsError, Scribe, recall
from controller.planner import plan
from controller.ports import AlreadyDecidedError, Journal, Listener
from controller.reading import Reading, words
from controller.snapshot import Snapshot
from controller.sources.base import Restorable, close_all
from controller.sources.own_thread import OwnThread
from controller.ticks import SIGNAL_PREFIX
from controller.units import UnitState
from controller.view import View, faults

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from controller.actuators.base import Actuator
    from controller.decisions import Decision
    from controller.earnings import Earnings
    from controller.limits import Limits
    from controller.overrides import Override
    from controller.plan import Plan
    from controller.sources.base import Source
    from controller.standing import RealTime
    from controller.units import Unit

log = logging.getLogger(__name__)

_RESOLUTION_S: Final = 1e-5
"""Two ticks are at least this far apart, since decisions are named by their time."""
_WAKE_GAP_S: Final = 1.0
"""Whoever wakes the loop again and again gets no more than one tick in this time."""
_WAKE_READ_S: Final = 2.0
"""A source that takes longer does not hold up what woke the loop."""
_MUCH_WORK: Final = 1000
"""Units times slots from which on they are decided in a thread: whoever shares the event loop must not wait for them."""
_FEW_SLOTS: Final = 10
_MOST_SET_BACKS: Final = 100
"""A clock does not come to the same time more often."""
_CLOSE_S: Final = 5.0
_NO_DIGITS: Final = dict.fromkeys(map(ord, "0123456789.,"))


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How the loop runs; all in seconds but the horizon.

    `tick_s`: from tick to tick; ticks are at its multiples. `read_timeout_s`: for one source or unit to answer. `lasting` names the sources
    whose power price, where it has no end, is known to hold; `real_time` is how to decide where the next prices are not known.
    """

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    actuation: ActuationConfig = field(default_factory=ActuationConfig)
    tick_s: float = 60.0
    read_timeout_s: float = 10.0
    horizon_hours: float = 36.0
    slot_s: float = 900.0
    lasting: frozenset[str] = LASTING
    real_time: RealTime | None = None

    def __post_init__(self) -> None:
        """Refuse times that never pass."""
        for name in ("tick_s", "read_timeout_s", "horizon_hours", "slot_s"):
            value: float = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be above zero, not {value}")


class ControllerLoop:
    """Runs the controller for a set of units until it is cancelled.

    `sources` are in order of precedence: a series belongs to the first of them that ever gave it. Units without an actuator count as
    unreachable. `clock` gives UTC unix seconds. On each tick `earnings()` is asked what a pool pays, None where that is not known, and
    `overrides()` what persons want of units.
    """

    def __init__(  # noqa: PLR0913 - whoever builds it hands over each part by name
        self,
        *,
        units: Sequence[Unit],
        sources: Sequence[Source],
        actuators: Mapping[str, Actuator],
        journal: Journal,
        config: LoopConfig,
        listener: Listener | None = None,
        earnings: Callable[[], Earnings | None] = lambda: None,
        overrides: Callable[[], Mapping[str, Override]] = dict,
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._units = tuple(units)
        self._sources = tuple(sources)
        self._names = tuple(source.name for source in self._sources)
        self._actuators = dict(actuators)
        self._reading = Reading(self._units, self._sources, self._actuators)
        self._journal = journal
        self._config = config
        self._deciding = DecidingConfig(
            config.policy, config.horizon_hours, config.slot_s, config.lasting, config.real_time
        )
        self._listener = listener or Listener()
        self._earnings = earnings
        self._overrides = overrides
        self._clock = clock
        self._sleep = sleep
        self._book = TickBook(config.policy.rules)
        self._scribe = Scribe()
        self._last: dict[str, Decision] | None = None
        self._memory = Memory()
        self._now = 0.0
        self._newest = 0.0
        self._behind_s = 0.0
        self._view: View | None = None
        self._limits: Limits | None = None
        self._told: set[tuple[str | None, str]] = set()
        self._woken = asyncio.Event()
        self._actuation = Actuation(
            units=self._units,
            actuators=self._actuators,
            journal=journal,
            config=config.actuation,
            listener=self._listener,
            clock=clock,
            sleep=sleep,
        )

    @property
    def last_view(self) -> View | None:
        """What the last tick saw and decided; None before the first."""
        return self._view

    def wake(self) -> None:
        """Tick as soon as may be: somebody sent a signal, or asked something of a unit."""
        self._woken.set()

    async def run(self) -> None:
        """Tick until cancelled. A tick that fails is logged and the next one comes in its time."""
        try:
            async with self._actuation.working():
                await self._first_tick()
                while True:
                    await self._next_tick()
        finally:
            await self._close()

    async def tick(self, now: float | None = None, read_s: float | None = None) -> View:
        """Observe, plan, decide, record and apply once, at `now` or the clock's time; raises what the journal raises.

        While the loop runs it returns when units are being told; else when each is confirmed or has failed.
        """
        self._now = self._fresh(self._clock() if now is None else now)
        self._woken.clear()
        read_s = self._config.read_timeout_s if read_s is None else read_s
        if self._last is None:
            await self._remember(self._now)
        last = {unit.id: found for unit in self._units if (found := (self._last or {}).get(unit.id))}
        news, states = await asyncio.gather(
            self._reading.sources(self._book, self._now, read_s), self._reading.units(self._now, read_s)
        )
        if news:
            await self._journal.record_ticks(news)
        view = await self._decided(states, last)
        self._last = {**(self._last or {}), **view.decisions}
        self._newest = max(self._newest, self._now)
        self._memory = next_memory(self._memory, view, self._deciding)
        self._view = view
        self._tell(view)
        if not view.dry_run:
            await self._actuation.apply(tuple(view.decisions.values()))
        return view

    async def preview(self) -> View:
        """What the next tick would see and decide; touches no unit and records nothing.

        A unit without an actuator here is taken to be in the mode last decided.
        """
        now = self._clock()
        if self._last is None:
            await self._remember(now)
        last = {unit.id: found for unit in self._units if (found := (self._last or {}).get(unit.id))}
        book = self._book.copy()
        await self._reading.sources(book, now, self._config.read_timeout_s)
        states = await self._reading.units(now, self._config.read_timeout_s)
        for unit in self._units:
            if unit.id not in self._actuators:
                mode = last[unit.id].to_mode if unit.id in last else None
                states[unit.id] = UnitState(unit.id, mode, None, None, None, now)
        return await self._decide(self._snapshot(book, states, now), last)

    # --- when -----------------------------------------------------------------------------------------

    async def _first_tick(self) -> None:
        """At once, unless this very interval was decided before a restart."""
        try:
            await self._remember(self._clock())
        except Exception as error:  # noqa: BLE001 - the journal is gone: the tick will say so again
            await self._failed(error)
        last = {unit.id: found for unit in self._units if (found := (self._last or {}).get(unit.id))}
        begun = math.floor(self._clock() / self._config.tick_s) * self._config.tick_s
        same = [
            each.dry_run == self._config.policy.dry_run and begun <= each.at <= self._clock()
            for each in last.values()
        ]
        if len(last) < len(self._units) or not all(same):
            await self._try_tick()
            return
        try:
            await self._go_on(last)
        except Exception as error:  # noqa: BLE001 - the next tick comes in its time
            await self._failed(error)

    async def _go_on(self, last: Mapping[str, Decision]) -> None:
        """Go on within an interval that was decided: at once where something cannot wait, else with what was not yet done of it.

        Told again are units that this very interval moves and that are still where they were: batch and limit reckoned with them. Sources
        of prices are not asked, so that they speak on the same ticks as without a restart.
        """
        now = self._clock()
        owners = set(self._book.owners(self._names).values())
        asked = [source for source in self._sources if source.name not in owners]
        book = self._book.copy()
        await self._reading.sources(book, now, min(_WAKE_READ_S, self._config.read_timeout_s), asked)
        states = await self._reading.units(now, self._config.read_timeout_s)
        snapshot = self._snapshot(book, states, now)
        limits = limits_since(snapshot, last, self._deciding)
        if cannot_wait(snapshot, last, limits, self._deciding):
            await self._try_tick()
            return
        self._now = max(decision.at for decision in last.values())
        self._limits = limits
        if not self._config.policy.dry_run:
            modes = {unit_id: state.mode for unit_id, state in states.items() if state.reachable}
            undone = [
                each for each in last.values() if each.changes and modes.get(each.unit_id) == each.from_mode
            ]
            await self._actuation.apply(undone)

    async def _next_tick(self) -> None:
        """Wait for the next tick's time, or what comes before it, and tick."""
        was_set_back = self._clock() < self._now - self._config.tick_s
        limits = self._limits if self._view is None else self._view.limits
        due = self._next_at(self._clock() if was_set_back else self._now, limits)
        while not self._woken.is_set() and (left_s := due - self._clock()) > 0:
            await self._rest(left_s)
        if not self._woken.is_set():
            await self._try_tick(due)
            return
        gap_s = min(_WAKE_GAP_S, self._config.tick_s)
        await self._sleep(max(min(self._now + gap_s, due) - self._clock(), 0.0))
        await self._try_tick(read_s=min(_WAKE_READ_S, self._config.read_timeout_s))

    async def _rest(self, seconds: float) -> None:
        """Sleep, unless somebody wakes us."""
        async with asyncio.TaskGroup() as group:
            nap = group.create_task(self._sleep_for(seconds))
            alarm = group.create_task(self._woken.wait())
            await asyncio.wait((nap, alarm), return_when=asyncio.FIRST_COMPLETED)
            nap.cancel()
            alarm.cancel()

    async def _sleep_for(self, seconds: float) -> None:
        await self._sleep(seconds)

    async def _try_tick(self, due: float | None = None, read_s: float | None = None) -> None:
        """A tick; one that is late bears its own time as long as the next is not due, then the latest that is."""
        now = self._clock()
        if due is not None and now - due >= self._config.tick_s:
            due = max(math.floor(now / self._config.tick_s) * self._config.tick_s, due)
        try:
            await self.tick(due, read_s)
        except Exception as error:  # noqa: BLE001 - the journal is gone: nothing was applied that it does not hold
            await self._failed(error)

    async def _failed(self, error: Exception) -> None:
        log.error("controller_tick_failed", exc_info=error)
        self._listener.on_alert(None, f"tick failed: {error}")

    def _fresh(self, now: float) -> float:
        """The time of a tick: never twice the same, since decisions are named by it."""
        if now > self._newest:
            self._behind_s = 0.0
        now += self._behind_s
        return now if abs(now - self._now) > _RESOLUTION_S else self._now + _RESOLUTION_S

    def _next_at(self, after: float, limits: Limits | None) -> float:
        """The next multiple of `tick_s`, or what a signal or an override brings before it."""
        tick_s = self._config.tick_s
        due = (math.floor(after / tick_s) + 1) * tick_s
        if due - after < _RESOLUTION_S:
            due += tick_s
        return due if limits is None else min(due, limits.next_change(after + _RESOLUTION_S))

    # --- what -----------------------------------------------------------------------------------------

    async def _remember(self, now: float) -> None:
        """Go on from where the last run ended: its decisions, its ticks, its prices, its typical day."""
        if self._last is not None:
            return
        last = dict(await self._journal.last_decisions())
        self._newest = max((decision.at for decision in last.values()), default=0.0)
        found = await self._journal.last_inputs()
        if found is not None:
            try:
                known = recall(found)
            except InputsError as error:
                log.warning("inputs_not_recalled", extra={"error": str(error)})
            else:
                self._book.restore(known.ticks, known.refused, known.owners, self._names, now)
                self._restore_sources()
                before = Memory(known.starting_prices, known.typical_day, known.recent)
                self._memory = learned(before, known.ticks, known.at, self._deciding)
        self._last = last

    async def _decided(self, states: Mapping[str, UnitState], last: Mapping[str, Decision]) -> View:
        """Decide and record. Where a clock that was set back comes to a time once more, the decisions are those of a moment later."""
        for tried in range(_MOST_SET_BACKS):
            snapshot = self._snapshot(self._book, states, self._now)
            view = await self._decide(snapshot, last)
            view = replace(view, next_tick_at=self._next_at(self._now, view.limits))
            owners = self._book.owners(self._names)
            # What prices teach is learned again after a restart; those the next plan starts from are not planned again.
            prices = next_memory(self._memory, view, self._deciding).starting_prices
            inputs = self._scribe.record(snapshot, last, self._deciding, owners, prices)
            try:
                await self._journal.record_decisions(tuple(view.decisions.values()), inputs)
            except AlreadyDecidedError:
                if tried + 1 == _MOST_SET_BACKS:
                    raise
                self._behind_s += _RESOLUTION_S
                self._now += _RESOLUTION_S
            else:
                break
        return view

    def _restore_sources(self) -> None:
        """Let sources go on from what the book holds; not those of signals, which may have been told more than a tick saw."""
        held = self._book.ticks()
        ticks = [tick for series in held if not series.startswith(SIGNAL_PREFIX) for tick in held[series]]
        for source in self._sources:
            if isinstance(source, Restorable):
                source.restore(ticks)

    def _snapshot(self, book: TickBook, states: Mapping[str, UnitState], now: float) -> Snapshot:
        return Snapshot(
            at=now,
            ticks=book.ticks(),
            units=self._units,
            states=dict(states),
            refused=book.refusals(),
            earnings=self._earnings(),
            overrides=dict(self._overrides()),
            starting_prices=self._memory.starting_prices,
            typical_day=self._memory.typical_day,
            recent=self._memory.recent,
        )

    async def _decide(self, snapshot: Snapshot, last: Mapping[str, Decision]) -> View:
        seconds = 0.0

        def timed(*args: Any, **kwargs: Any) -> Plan:
            nonlocal seconds
            began = time.perf_counter()
            try:
                return plan(*args, **kwargs)
            finally:
                seconds = time.perf_counter() - began

        slots = self._deciding.horizon_s / self._deciding.slot_s
        if len(snapshot.units) * max(slots, _FEW_SLOTS) < _MUCH_WORK:
            view = decide_tick(snapshot, last, self._deciding, timed)
        else:
            work = partial(decide_tick, snapshot, last, self._deciding, timed)
            view = await OwnThread("deciding").call(work, wait_s=None)
        return replace(view, plan_seconds=seconds)

    def _tell(self, view: View) -> None:
        """Let the listener hear of the tick, and a person of what is wrong as long as it is; the log hears of it once."""
        for decision in view.decisions.values():
            self._listener.on_decision(decision)
        self._listener.on_view(view)
        if view.plan_fault:
            log.error("plan_failed", extra={"error": view.plan_fault})
        wrong = faults(view)
        told: set[tuple[str | None, str]] = set()
        for unit_id, message in wrong:
            kind = (unit_id, message.translate(_NO_DIGITS))  # the same fault with other numbers is no news
            if kind not in self._told:
                log.warning("not_as_planned", extra={"unit": unit_id, "why": message})
            told.add(kind)
            self._listener.on_alert(unit_id, message)
        self._told = told

    async def _close(self) -> None:
        try:
            async with asyncio.timeout(_CLOSE_S):
                await close_all(self._sources)
        except Exception as error:  # noqa: BLE001 - it ends anyway
            log.warning("source_not_closed", extra={"error": words(error)})
