"""The controller's place in the daemon: built from the configuration, its journal in the ledger, its news in the metrics.

With `control_journal` the only module of the miner that knows the controller.
"""

import logging
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any, Final, TypeAlias

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
from controller.sources.base import Source, SourceError
from controller.sources.fixed import FixedSource
from controller.sources.node import NodeSource
from controller.sources.tape import TapeError, TapeSource, load_tape
from controller.ticks import BTC_USD, DIFFICULTY, POWER
from controller.units import Mode, PowerCurve, Unit
from controller.validate import MAINNET_RULES, TEST_CHAIN_RULES, SeriesRule
from controller.view import View, hashprice_report, plan_report
from miner.checks import CheckRow
from miner.config import Config
from miner.control_journal import LedgerJournal, Memory, remembered
from miner.hashing.station import UNIT_ID, CpuStation, StationMode
from miner.ledger.recorder import Recorder
from miner.metrics import Metrics
from miner.node.chain_facts import ChainFacts, FeeCache, chain_facts
from miner.node.nodes import NodeSet
from miner.node.rpc import RpcError
from miner.web.status import ControllerStatus, DecisionStatus, MarketStatus

log = logging.getLogger(__name__)

PREVIEW_LIMIT_S: Final = 60.0

PlayedTape: TypeAlias = TapeSource
"""A tape that is playing, for the daemon to hand from its start to its controller."""


class TapeRefusedError(Exception):
    """The price tape cannot be used; the message names each fault with file, line and column."""


@dataclass(frozen=True, slots=True)
class UnitWorth:
    """What the controller makes of a unit; None where it does not know."""

    margin_usd_per_hour: float | None = None
    breakeven_usd_per_kwh: float | None = None
    wanted_mode: str | None = None
    last_decision: DecisionStatus | None = None


class Control:
    """The controller over the CPU unit, as the daemon runs it and asks it."""

    def __init__(
        self,
        config: Config,
        nodes: NodeSet,
        station: CpuStation,
        recorder: Recorder,
        metrics: Metrics,
        *,
        tape: PlayedTape | None,
        alert: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        """`alert(name, message)` shows an operator what to look at, an empty message that it is over.

        Raises TapeRefusedError.
        """
        self._settings = config.controller
        self._clock = clock
        self._station = station
        self._loop = ControllerLoop(
            units=_units(config, tuple(station.modes.values())),
            sources=_sources(config, nodes, tape),
            actuators={UNIT_ID: CpuActuator(UNIT_ID, _Hand(station))},
            journal=LedgerJournal(recorder),
            config=_loop_config(config),
            listener=_Ears(metrics, alert),
            clock=clock,
        )

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

    def worth(self) -> UnitWorth:
        """What it makes of the CPU unit: margin in its mode, and where that mode, or the first to run, breaks even."""
        view = self._loop.last_view
        decision = view.decisions.get(UNIT_ID) if view is not None else None
        if view is None or decision is None:
            return UnitWorth()
        said = DecisionStatus(
            at=decision.at, to_mode=decision.to_mode, reason=decision.reason.value, flip=decision.flip
        )
        if not isinstance(view.market, Market):
            return UnitWorth(wanted_mode=decision.to_mode, last_decision=said)
        curve = next(unit.curve for unit in view.snapshot.units if unit.id == UNIT_ID)
        hashprice, power = view.market.hashprice_usd_per_ph_day, view.market.power_usd_per_kwh
        name = self._station.read().mode
        mode = curve.mode(decision.to_mode if name is None else name)
        running = mode if mode.th_s > 0 else next(each for each in curve.hull() if each.th_s > 0)
        return UnitWorth(
            margin_usd_per_hour=margin_usd_per_hour(mode, hashprice, power),
            # Where power is counted as nothing, no price of it is too high.
            breakeven_usd_per_kwh=breakeven_power_price(running.j_per_th, hashprice)
            if running.watts > 0
            else None,
            wanted_mode=decision.to_mode,
            last_decision=said,
        )


class Preview:
    """What the controller would see and decide now; touches no unit and writes nothing."""

    def __init__(self, view: View) -> None:
        self._view = view

    @classmethod
    async def make(cls, config: Config, nodes: NodeSet, modes: Sequence[StationMode]) -> "Preview":
        """Look once at every source. Raises TapeRefusedError, LedgerError."""
        loop = ControllerLoop(
            units=_units(config, modes),
            sources=_sources(config, nodes, played_tape(config, time.time())),
            actuators={},
            journal=Memory(remembered(config.ledger.file, config.ledger.url)),
            # A slow disk takes long to sum up the fees of a day's blocks, and here nothing else waits for it.
            config=replace(_loop_config(config), read_timeout_s=PREVIEW_LIMIT_S),
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

    def __init__(self, metrics: Metrics, alert: Callable[[str, str], None]) -> None:
        self._metrics = metrics
        self._alert = alert

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

    def on_decision(self, decision: Decision) -> None:
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
    """The CPU unit as the controller knows units; none on a machine that does not hash."""
    if not modes:
        return []
    own, general = config.unit_settings(UNIT_ID), config.controller
    return [
        Unit(
            id=UNIT_ID,
            curve=PowerCurve(Mode(mode.name, mode.th_s, mode.watts) for mode in modes),
            min_on_s=general.min_on_s if own.min_on_s is None else own.min_on_s,
            min_off_s=general.min_off_s if own.min_off_s is None else own.min_off_s,
            restart_s=own.restart_s or 0.0,
            safe_mode=own.safe_mode or general.safe_mode,
        )
    ]


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


def _sources(config: Config, nodes: NodeSet, tape: PlayedTape | None) -> list[Source]:
    """Where prices come from, the tape before what is written in the configuration, that before the node."""
    sources: list[Source] = [] if tape is None else [tape]
    fixed = {BTC_USD: config.market.btc_usd, POWER: config.power.usd_per_kwh}
    given = {series: value for series, value in fixed.items() if value is not None}
    if given:
        sources.append(FixedSource(given, "configuration"))
    sources.append(NodeSource(_Facts(nodes)))
    return sources


class _Facts:
    """Reads the chain from the node that gives work."""

    def __init__(self, nodes: NodeSet) -> None:
        self._nodes = nodes
        self._fees = FeeCache()

    async def __call__(self) -> ChainFacts:
        node = self._nodes.active
        if node is None:
            raise SourceError("no bitcoind answers")
        try:
            return await chain_facts(node.rpc, self._fees)
        except RpcError as error:
            raise SourceError(str(error)) from error


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
