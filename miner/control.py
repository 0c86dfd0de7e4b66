"""The controller's place in the daemon: built from the configuration, its journal in the ledger, its news in the metrics.

With the other `control_...` modules the only one of the miner that knows the controller.
"""

import asyncio
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from controller.actuators.cpu import CpuActuator, CpuReading
from controller.book import current
from controller.economics import breakeven_power_price, margin_usd_per_hour
from controller.loop import ControllerLoop
from controller.market import Market
from controller.ticks import BTC_USD
from controller.units import OFF
from controller.view import View, hashprice_report, plan_report
from miner.config import Config
from miner.control_commands import ControlCommands
from miner.control_ears import Ears, Publish, nobody
from miner.control_fleet import fleet_of
from miner.control_gates import Gates, Heard
from miner.control_journal import SIGNAL_MEMORY_S, LedgerJournal
from miner.control_settings import PlayedTape, fleet_units, gated, loop_config, units_of
from miner.control_signals import signal_rules, signal_sources
from miner.control_sources import earnings_of, sources
from miner.hashing.station import UNIT_ID, CpuStation
from miner.ledger.recorder import Recorder
from miner.metrics import Metrics
from miner.node.nodes import NodeSet
from miner.web.status import ControllerStatus, DecisionStatus, MarketStatus
from miner.work.job import Job
from miner.work.pay import PoolPay
from miner.work.roster import HashingUnit, Roster

if TYPE_CHECKING:
    from controller.actuators.base import Actuator

log = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class UnitWorth:
    """What the controller makes of a unit; None where it does not know."""

    margin_usd_per_hour: float | None = None
    breakeven_usd_per_kwh: float | None = None
    mode: str | None = None
    wanted_mode: str | None = None
    last_decision: DecisionStatus | None = None


def _nobody(_unit: HashingUnit, _reason: str, /) -> None:
    """Hears of gates where no server is there to hear."""


class Control:
    """The controller over the CPU unit and the workers that have a gate, as the daemon runs it and asks it."""

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        config: Config,
        nodes: NodeSet,
        station: CpuStation | None,
        recorder: Recorder,
        metrics: Metrics,
        *,
        tape: PlayedTape | None,
        alert: Callable[[str, str], None],
        clock: Callable[[], float],
        roster: Roster | None = None,
        on_gate: Heard = _nobody,
        earnings: Callable[[], PoolPay | None] = lambda: None,
        pool_job: Callable[[], Job | None] | None = None,
        publish: Publish = nobody,
    ) -> None:
        """`alert(name, message)` shows an operator what to look at, an empty message that it is over.

        `roster` holds every configured worker, `on_gate(unit, reason)` hears when a worker is given no work (why) or work
        again (an empty reason). `earnings()` says what the pool that is mined pays, None where only [controller] knows;
        `pool_job()` is its job, which tells of the chain where there is no node. `publish(kind, data)` tells live listeners.
        Raises SourceRefusedError.
        """
        self._settings = config.controller
        self._clock = clock
        self._station = station
        self._gates = Gates(gated(config, roster), on_gate, clock)
        self._journal = LedgerJournal(recorder, clock)
        modes = () if station is None else tuple(station.modes.values())
        units = units_of(config, modes)
        self._fleet = fleet_units(config, modes)
        self._treasury = config.treasury
        actuators: dict[str, Actuator] = {**self._gates.actuators(units)}
        if station is not None:
            actuators[UNIT_ID] = CpuActuator(UNIT_ID, _Hand(station))
        self._signals = signal_sources(
            config.signal,
            config.mqtt,
            self._journal.record_signals,
            horizon_hours=config.controller.horizon_hours,
            on_change=self._wake,
            clock=clock,
        )
        self.commands = ControlCommands(
            rules=signal_rules(config.signal),
            inbox=self._signals.inbox,
            units=units,
            journal=self._journal,
            ticks=lambda: {} if self._loop.last_view is None else self._loop.last_view.snapshot.ticks,
            wake=self._wake,
            clock=clock,
        )
        deciding = loop_config(config)
        self._loop = ControllerLoop(
            units=units,
            sources=[*self._signals.sources, *sources(config, nodes, tape, pool_job)],
            overrides=self.commands.in_force,
            actuators=actuators,
            journal=self._journal,
            config=deciding,
            listener=Ears(metrics, alert, self._gates, publish, deciding.real_time),
            earnings=lambda: earnings_of(earnings()),
            clock=clock,
        )

    async def recall(self) -> None:
        """Go on where the daemon ended: overrides, signals, and gates that were closed; call it before miners are let in. Raises RuntimeError."""
        await self.commands.recall()
        self._signals.restore(await self._journal.signals(self._clock() - SIGNAL_MEMORY_S))
        if not self.dry_run:
            self._gates.recall(await self._journal.last_decisions())

    @property
    def dry_run(self) -> bool:
        """Whether it only decides, and touches nothing."""
        return self._settings.dry_run

    async def run(self) -> None:
        """Decide and act until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._loop.run(), name="loop")
            group.create_task(self._signals.run(), name="signals")

    def _wake(self) -> None:
        self._loop.wake()

    def hashprice(self) -> dict[str, Any] | None:
        """Hashprice of the last tick, with its inputs; None before the first."""
        view = self._loop.last_view
        return None if view is None else hashprice_report(view)

    def plan(self) -> dict[str, Any] | None:
        """What every unit does and will do as of the last tick, and why; None before the first."""
        view = self._loop.last_view
        return None if view is None else plan_report(view)

    def fleet(self) -> dict[str, Any] | None:
        """Merit order, breakevens, survival and cash at the prices of the last tick; None before the first."""
        view = self._loop.last_view
        return None if view is None else fleet_of(view, self._fleet, self._treasury)

    def status(self) -> ControllerStatus:
        """Whether it touches anything, and when it looks next."""
        view = self._loop.last_view
        return ControllerStatus(
            enabled=True,
            dry_run=self.dry_run,
            next_tick_at=view.next_tick_at if view is not None else None,
        )

    def market(self) -> MarketStatus:
        """The prices of the last tick, each with its age now."""
        view = self._loop.last_view
        if view is None:
            return MarketStatus()
        now = self._clock()
        found = {series: current(ticks, now) for series, ticks in view.snapshot.ticks.items()}
        values = {series: tick for series, tick in found.items() if tick is not None}
        market = view.market if isinstance(view.market, Market) else None
        return MarketStatus(
            hashprice_usd_per_ph_day=market.hashprice_usd_per_ph_day if market else None,
            btc_usd=values[BTC_USD].value if BTC_USD in values else None,
            power_usd_per_kwh=market.power_usd_per_kwh if market else None,
            ages_s={series: now - tick.observed_at for series, tick in values.items()},
        )

    def worth(self, unit_id: str = UNIT_ID) -> UnitWorth:
        """What it makes of a unit: margin in its mode, and where that mode, or the first to run, breaks even."""
        view = self._loop.last_view
        decision = view.decisions.get(unit_id) if view is not None else None
        if view is None or decision is None:
            return UnitWorth()
        said = DecisionStatus(
            at=decision.at, to_mode=decision.to_mode, reason=decision.reason.value, flip=decision.flip
        )
        curve = next(unit.curve for unit in view.snapshot.units if unit.id == unit_id)
        name = self._mode_of(unit_id, view)
        if not isinstance(view.market, Market):
            return UnitWorth(mode=name, wanted_mode=decision.to_mode, last_decision=said)
        hashprice, power = view.market.hashprice_usd_per_ph_day, view.market.power_usd_per_kwh
        known = decision.to_mode if name is None else name  # which is "unknown" for a unit never seen
        mode = curve.mode(known) if known in curve else curve.off
        running = mode if mode.th_s > 0 else next(each for each in curve.hull() if each.th_s > 0)
        return UnitWorth(
            margin_usd_per_hour=margin_usd_per_hour(mode, hashprice, power),
            # Where power is counted as nothing, no price of it is too high.
            breakeven_usd_per_kwh=breakeven_power_price(running.j_per_th, hashprice)
            if running.watts > 0
            else None,
            mode=name,
            wanted_mode=decision.to_mode,
            last_decision=said,
        )

    def _mode_of(self, unit_id: str, view: View) -> str | None:
        """The mode a unit is in: the CPU unit's and a closed gate's as they are now, else as last read."""
        if unit_id == UNIT_ID and self._station is not None:
            return self._station.read().mode
        if unit_id in self._gates and self._gates.is_closed(unit_id):
            return OFF
        state = view.snapshot.states.get(unit_id)
        return state.mode if state is not None else None


class _Hand:
    """The CPU unit as the controller's actuator wants it."""

    def __init__(self, station: CpuStation) -> None:
        self._station = station

    def set_mode(self, name: str) -> None:
        self._station.set_mode(name)

    def read(self) -> CpuReading:
        reading = self._station.read()
        return CpuReading(reading.mode, reading.hashrate_th_s, reading.power_w)
