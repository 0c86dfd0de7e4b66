"""The controller's place in the daemon: built from the configuration, its journal in the ledger, its news in the metrics.

With the other `control_...` modules the only one of the miner that knows the controller.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Final, TypeAlias

from controller.actuation import ActuationConfig
from controller.actuators.cpu import CpuActuator, CpuReading
from controller.book import current
from controller.decisions import Decision, Outcome, OutcomeKind
from controller.economics import breakeven_power_price, margin_usd_per_hour
from controller.flip import hashprice_text, power_text
from controller.hashprice import Earned
from controller.loop import ControllerLoop, LoopConfig
from controller.market import Market
from controller.policy import PolicyConfig
from controller.ports import Listener
from controller.sources.tape import TapeError, TapeSource, load_tape
from controller.ticks import BTC_USD, DIFFICULTY
from controller.units import OFF, Mode, PowerCurve, Unit
from controller.validate import MAINNET_RULES, TEST_CHAIN_RULES, SeriesRule
from controller.view import View, hashprice_report, plan_report
from miner.checks import CheckRow
from miner.config import Config
from miner.config_units import UnitConfig
from miner.control_gates import Gates, Heard
from miner.control_journal import LedgerJournal, Memory, pool_sums, remembered
from miner.control_sources import earnings_of, expected_pay, sources
from miner.hashing.station import UNIT_ID, CpuStation, StationMode
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

PREVIEW_LIMIT_S: Final = 60.0
PAY_WINDOW_S: Final = 86_400.0
"""A preview reckons with what the pool rejected in this time before."""

PlayedTape: TypeAlias = TapeSource
"""A tape that is playing, for the daemon to hand from its start to its controller."""


class TapeRefusedError(Exception):
    """The price tape cannot be used; the message names each fault with file, line and column."""


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
    ) -> None:
        """`alert(name, message)` shows an operator what to look at, an empty message that it is over.

        `roster` holds every configured worker, `on_gate(unit, reason)` hears when a worker is given no work (why) or work
        again (an empty reason). `earnings()` says what the pool that is mined pays, None where only [controller] knows;
        `pool_job()` is its job, which tells of the chain where there is no node. Raises TapeRefusedError.
        """
        self._settings = config.controller
        self._clock = clock
        self._station = station
        self._gates = Gates(_gated(config, roster), on_gate, clock)
        self._journal = LedgerJournal(recorder)
        units = _units(config, () if station is None else tuple(station.modes.values()))
        actuators: dict[str, Actuator] = {**self._gates.actuators(units)}
        if station is not None:
            actuators[UNIT_ID] = CpuActuator(UNIT_ID, _Hand(station))
        self._loop = ControllerLoop(
            units=units,
            sources=sources(config, nodes, tape, pool_job),
            actuators=actuators,
            journal=self._journal,
            config=_loop_config(config),
            listener=_Ears(metrics, alert, self._gates),
            earnings=lambda: earnings_of(earnings()),
            clock=clock,
        )

    async def recall(self) -> None:
        """Close the gates that were closed when the daemon ended; call it before miners are let in. Raises RuntimeError."""
        if not self.dry_run:
            self._gates.recall(await self._journal.last_decisions())

    @property
    def dry_run(self) -> bool:
        """Whether it only decides, and touches nothing."""
        return self._settings.dry_run

    async def run(self) -> None:
        """Decide and act until cancelled."""
        await self._loop.run()

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


class Preview:
    """What the controller would see and decide now; touches no unit and writes nothing."""

    def __init__(self, view: View) -> None:
        self._view = view

    @classmethod
    async def make(cls, config: Config, nodes: NodeSet, modes: Sequence[StationMode]) -> "Preview":
        """Look once at every source. Raises TapeRefusedError, LedgerError.

        The pool's terms are those of the first one, since a preview is connected to none.
        """
        now = time.time()
        url, site = config.ledger.full_url, config.ledger.site
        pay = expected_pay(config, pool_sums(url, site, now - PAY_WINDOW_S) if config.pool else {})
        loop = ControllerLoop(
            units=_units(config, modes),
            sources=sources(config, nodes, played_tape(config, now)),
            actuators={},
            journal=Memory(remembered(url, site)),
            # A slow disk takes long to sum up the fees of a day's blocks, and here nothing else waits for it.
            config=replace(_loop_config(config), read_timeout_s=PREVIEW_LIMIT_S),
            earnings=lambda: earnings_of(pay),
        )
        return cls(await loop.preview())

    def hashprice(self) -> dict[str, Any]:
        """Hashprice now and after the projected retarget, with its inputs."""
        return hashprice_report(self._view)

    def plan(self) -> dict[str, Any]:
        """What every unit would do now and over the horizon, and why."""
        return plan_report(self._view)

    def price_rows(self) -> list[CheckRow]:
        """The prices a decision would be made with, or what is missing."""
        market = self._view.market
        if isinstance(market, Market):
            hashprice, power = market.hashprice_usd_per_ph_day, market.power_usd_per_kwh
            detail = f"hashprice {hashprice_text(hashprice)}, power {power_text(power)}"
            return [CheckRow("prices", ok=True, detail=detail)]
        return [
            CheckRow(f"price {problem.series}", ok=False, detail=problem.why, exit_code=1)
            for problem in market.problems
        ]


class _Hand:
    """The CPU unit as the controller's actuator wants it."""

    def __init__(self, station: CpuStation) -> None:
        self._station = station

    def set_mode(self, name: str) -> None:
        self._station.set_mode(name)

    def read(self) -> CpuReading:
        reading = self._station.read()
        return CpuReading(reading.mode, reading.hashrate_th_s, reading.power_w)


class _Ears(Listener):
    """Puts what the controller does into metrics and alerts."""

    def __init__(self, metrics: Metrics, alert: Callable[[str, str], None], gates: Gates) -> None:
        self._metrics = metrics
        self._alert = alert
        self._gates = gates

    def on_view(self, view: View) -> None:
        self._alert("controller", "")
        for series, ticks in view.snapshot.ticks.items():
            self._metrics.series_observed(series, max(tick.observed_at for tick in ticks))
        if view.plan is not None:
            self._metrics.plan_made(view.plan_seconds, view.plan.gap_ratio)
        else:
            self._metrics.plan_missing()
        market = view.market
        if isinstance(market, Market):
            values = {tick.series: tick.value for tick in market.inputs}
            self._metrics.market_valued(
                hashprice_usd_per_ph_day=market.hashprice_usd_per_ph_day,
                hashprice_btc_per_ph_day=market.net_hashprice_btc_per_ph_day,
                btc_usd=values.get(BTC_USD),
                power_usd_per_kwh=market.power_usd_per_kwh,
                network_difficulty=values.get(DIFFICULTY),
                retarget_expected_ratio=market.retarget.ratio if market.retarget is not None else None,
            )
        else:
            self._metrics.market_valued()
        for decision in view.decisions.values():
            state = view.snapshot.states.get(decision.unit_id)
            if state is not None and state.reachable and state.mode == decision.to_mode:
                self._alert(f"unit {decision.unit_id}", "")
        for unit_id, seconds in self._gates.missing(view.at):
            said = f"{unit_id} was given work again {seconds / 60:.0f} minutes ago and has not come back"
            self._alert(f"unit {unit_id}", said)

    def on_decision(self, decision: Decision) -> None:
        self._gates.heard(decision)
        self._metrics.decision_made(decision.to_mode, decision.reason.value)
        if decision.changes:
            log.info(
                "decision",
                extra={
                    "unit": decision.unit_id,
                    "from_mode": decision.from_mode,
                    "to_mode": decision.to_mode,
                    "reason": decision.reason.value,
                    "flip": decision.flip,
                    "dry_run": decision.dry_run,
                },
            )

    def on_outcome(self, outcome: Outcome) -> None:
        self._metrics.actuation_finished(outcome.unit_id, outcome.kind.value)
        if outcome.kind is OutcomeKind.CONFIRMED:
            self._alert(f"unit {outcome.unit_id}", "")

    def on_alert(self, unit_id: str | None, message: str) -> None:
        self._alert("controller" if unit_id is None else f"unit {unit_id}", message)


def _units(config: Config, modes: Sequence[StationMode]) -> list[Unit]:
    """What the controller can switch: the CPU unit on a machine that hashes, and every worker with a gate."""
    units = []
    if modes:
        curve = PowerCurve(Mode(mode.name, mode.th_s, mode.watts) for mode in modes)
        units.append(_unit(config, config.unit_settings(UNIT_ID), curve))
    for own in config.unit:
        if own.control == "gate":
            curve = PowerCurve(Mode(mode.name, mode.th_s, mode.watts) for mode in own.resolved_modes())
            units.append(_unit(config, own, curve))
    return units


def _unit(config: Config, own: UnitConfig, curve: PowerCurve) -> Unit:
    """A unit with its own settings before the general ones."""
    general = config.controller
    return Unit(
        id=own.id,
        curve=curve,
        min_on_s=general.min_on_s if own.min_on_s is None else own.min_on_s,
        min_off_s=general.min_off_s if own.min_off_s is None else own.min_off_s,
        restart_s=own.restart_s or 0.0,
        safe_mode=own.safe_mode or general.safe_mode,
    )


def _gated(config: Config, roster: Roster | None) -> dict[str, HashingUnit]:
    """Workers with a gate by unit id; without a server there is nobody to gate."""
    found = {own.id: roster.by_id(own.id) for own in config.unit if own.control == "gate"} if roster else {}
    return {unit_id: unit for unit_id, unit in found.items() if unit is not None}


def played_tape(config: Config, now: float) -> PlayedTape | None:
    """The configured tape, begun at `now`; None where there is none. Raises TapeRefusedError."""
    if config.tape is None:
        return None
    try:
        tape = load_tape(config.tape.file)
    except (TapeError, OSError) as error:
        raise TapeRefusedError(str(error)) from error
    try:
        return TapeSource(
            tape,
            now,
            speed=config.tape.speed,
            start_at_s=config.tape.start_at_s(tape.begins_at),
            loop=config.tape.at_end == "loop",
        )
    except ValueError as error:
        raise TapeRefusedError(f"{config.tape.file}: {error}") from error


def _loop_config(config: Config) -> LoopConfig:
    settings = config.controller
    base = MAINNET_RULES if config.network == "main" else TEST_CHAIN_RULES
    ages = settings.max_age_s.model_dump(exclude_none=True)
    bounds = settings.bounds.model_dump(exclude_none=True)
    rules = {}
    for series, rule in base.items():
        low, high = bounds.get(series, (rule.low, rule.high))
        rules[series] = SeriesRule(low, high, ages.get(series, rule.max_age_s))
    return LoopConfig(
        policy=PolicyConfig(
            rules=rules,
            earned=Earned(pool_fee=settings.pool_fee, stale=settings.stale_ratio),
            dead_band=settings.dead_band_ratio,
            grace_s=settings.grace_s,
            unit_max_age_s=settings.unit_max_age_s,
            max_changes_per_minute=settings.max_changes_per_minute,
            dry_run=settings.dry_run,
        ),
        actuation=ActuationConfig(
            confirm_s=settings.confirm_s, attempts=settings.attempts, retry_after_s=settings.retry_after_s
        ),
        tick_s=settings.tick_s,
        horizon_hours=settings.horizon_hours,
    )
