"""Observe, plan, decide, record, apply, read back: the controller as it runs.

Nothing is kept only in memory. A decision is in the journal before the unit hears of it; if it cannot be recorded, it is not applied.
"""

from __future__ import annotations

import asyncio
import logging
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.actuation import Actuation, ActuationConfig
from controller.book import TickBook
from controller.economics import SECONDS_PER_HOUR
from controller.market import Market, horizon_slots, read_market
from controller.planner import Plan, plan
from controller.policy import PolicyConfig, decide
from controller.ports import Journal, Listener
from controller.snapshot import Snapshot
from controller.units import UnitState
from controller.view import View

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Mapping, Sequence

    from controller.actuators.base import Actuator
    from controller.decisions import Decision
    from controller.earnings import Earnings
    from controller.sources.base import Source
    from controller.ticks import Tick
    from controller.units import Unit

log = logging.getLogger(__name__)

_RESOLUTION_S: Final = 1e-5
"""Two ticks are at least this far apart, since decisions are named by their time."""


@dataclass(frozen=True, slots=True)
class LoopConfig:
    """How the loop runs; all in seconds but the horizon.

    `tick_s`: from tick to tick. `read_timeout_s`: for one source or unit to answer.
    """

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    actuation: ActuationConfig = field(default_factory=ActuationConfig)
    tick_s: float = 60.0
    read_timeout_s: float = 10.0
    horizon_hours: float = 36.0
    slot_s: float = 900.0

    def __post_init__(self) -> None:
        """Refuse times that never pass."""
        for name in ("tick_s", "read_timeout_s", "horizon_hours", "slot_s"):
            value: float = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be above zero, not {value}")


class ControllerLoop:
    """Runs the controller for a set of units until it is cancelled.

    `sources` are in order of precedence: a series belongs to the first of them that ever gave it. Units without an actuator count as
    unreachable. `clock` gives UTC unix seconds. `earnings()` is asked on each tick what a pool pays, None where that is not known.
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
        clock: Callable[[], float] = time.time,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
    ) -> None:
        self._units = tuple(units)
        self._sources = tuple(sources)
        self._actuators = dict(actuators)
        self._journal = journal
        self._config = config
        self._listener = listener or Listener()
        self._earnings = earnings
        self._clock = clock
        self._sleep = sleep
        self._book = TickBook(config.policy.rules)
        self._last: dict[str, Decision] | None = None
        self._now = 0.0
        self._view: View | None = None
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

    async def run(self) -> None:
        """Tick until cancelled. A tick that fails is logged and the next one comes in its time."""
        while True:
            try:
                await self.tick()
            except Exception as error:  # the journal is gone: nothing was applied that it does not hold
                log.exception("controller_tick_failed")
                self._listener.on_alert(None, f"tick failed: {error}")
            await self._sleep(max(self._next_tick_at() - self._clock(), 0.0))

    async def tick(self) -> View:
        """Observe, plan, decide, record and apply once; raises what the journal raises."""
        now = self._advance()
        if self._last is None:
            self._last = dict(await self._journal.last_decisions())
        news = await self._read_sources(self._book, now)
        if news:
            await self._journal.record_ticks(news)
        states = await self._read_units(now)
        view = self._decide(self._book, states, now, next_tick_at=self._next_tick_at())
        decisions = tuple(view.decisions.values())
        await self._journal.record_decisions(decisions)
        self._last.update(view.decisions)
        self._view = view
        for decision in decisions:
            self._listener.on_decision(decision)
        self._listener.on_view(view)
        if not view.dry_run:
            await self._actuation.apply(decisions)
        return view

    async def preview(self) -> View:
        """What the next tick would see and decide; touches no unit and records nothing.

        A unit without an actuator here is taken to be in the mode last decided.
        """
        now = self._clock()
        last = self._last if self._last is not None else dict(await self._journal.last_decisions())
        book = self._book.copy()
        await self._read_sources(book, now)
        states = await self._read_units(now)
        for unit in self._units:
            if unit.id not in self._actuators:
                mode = last[unit.id].to_mode if unit.id in last else None
                states[unit.id] = UnitState(unit.id, mode, None, None, None, now)
        return self._decide(book, states, now, next_tick_at=None, last=last)

    def _decide(
        self,
        book: TickBook,
        states: Mapping[str, UnitState],
        now: float,
        *,
        next_tick_at: float | None,
        last: Mapping[str, Decision] | None = None,
    ) -> View:
        policy = self._config.policy
        snapshot = Snapshot(now, book.ticks(), self._units, dict(states), book.refusals(), self._earnings())
        market = read_market(
            snapshot.ticks, policy.rules, policy.earned, now, snapshot.refused, snapshot.earnings
        )
        planned: Plan | None = None
        began = time.perf_counter()
        if isinstance(market, Market):
            horizon_s = self._config.horizon_hours * SECONDS_PER_HOUR
            slots = horizon_slots(market, snapshot.ticks, horizon_s, self._config.slot_s)
            planned = plan(self._units, states, slots)
        plan_seconds = time.perf_counter() - began
        known = last if last is not None else (self._last or {})
        decisions = decide(snapshot, planned, known, policy, now)
        return View(
            snapshot=snapshot,
            market=market,
            plan=planned,
            decisions={decision.unit_id: decision for decision in decisions},
            plan_seconds=plan_seconds,
            next_tick_at=next_tick_at,
            dry_run=policy.dry_run,
        )

    async def _read_sources(self, book: TickBook, now: float) -> list[Tick]:
        answers = await asyncio.gather(*(self._read_source(source, now) for source in self._sources))
        news: list[Tick] = []
        for rank, (source, ticks) in enumerate(zip(self._sources, answers, strict=True)):
            fresh, refused = book.admit(ticks, rank, now)
            news.extend(fresh)
            for refusal in refused:
                log.warning(
                    "tick_refused",
                    extra={"source": source.name, "series": refusal.tick.series, "why": refusal.why},
                )
        return news

    async def _read_source(self, source: Source, now: float) -> list[Tick]:
        try:
            async with asyncio.timeout(self._config.read_timeout_s):
                return await source.read(now)
        except Exception as error:  # noqa: BLE001 - whatever a source does, the others and the fail-safe go on
            log.warning("source_failed", extra={"source": source.name, "error": _told(error)})
            return []

    async def _read_units(self, now: float) -> dict[str, UnitState]:
        units = [unit.id for unit in self._units if unit.id in self._actuators]
        states = await asyncio.gather(*(self._read_unit(unit_id, now) for unit_id in units))
        return {state.unit_id: state for state in states if state is not None}

    async def _read_unit(self, unit_id: str, now: float) -> UnitState | None:
        try:
            async with asyncio.timeout(self._config.read_timeout_s):
                return await self._actuators[unit_id].read(now)
        except Exception as error:  # noqa: BLE001 - a unit that cannot be read is unreachable, whatever the cause
            log.warning("unit_unreadable", extra={"unit": unit_id, "error": _told(error)})
            return None

    def _advance(self) -> float:
        """The time of this tick: the clock's, but never twice the same, since decisions are named by it."""
        now = self._clock()
        self._now = now if abs(now - self._now) > _RESOLUTION_S else self._now + _RESOLUTION_S
        return self._now

    def _next_tick_at(self) -> float:
        return self._now + self._config.tick_s


def _told(error: Exception) -> str:
    """What an error says; its kind where it says nothing."""
    return str(error) or type(error).__name__
