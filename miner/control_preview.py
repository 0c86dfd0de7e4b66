"""What the controller would see and decide now, for the commands that ask and go."""

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import Any, Final

from controller.deciding import RealTime
from controller.flip import hashprice_text, power_text
from controller.loop import ControllerLoop
from controller.market import Market
from controller.sources.base import close_all
from controller.ticks import Tick
from controller.units import Unit
from controller.view import View, hashprice_report, plan_report
from miner.checks import CheckRow
from miner.config import Config
from miner.config_treasury import TreasuryConfig
from miner.control_fleet import fleet_of
from miner.control_journal import SIGNAL_MEMORY_S, pool_sums, recalled
from miner.control_real_time import check_rows
from miner.control_settings import fleet_units, loop_config, played_tape, units_of
from miner.control_signals import signal_sources
from miner.control_sources import earnings_of, expected_pay, sources
from miner.hashing.station import StationMode
from miner.node.nodes import NodeSet

PREVIEW_LIMIT_S: Final = 60.0
PAY_WINDOW_S: Final = 86_400.0
"""A preview reckons with what the pool rejected in this time before."""


class Preview:
    """What the controller would see and decide now; touches no unit and writes nothing."""

    def __init__(
        self,
        view: View,
        fleet: Sequence[Unit] = (),
        treasury: TreasuryConfig | None = None,
        real_time: RealTime | None = None,
    ) -> None:
        self._real_time = real_time
        self._view = view
        self._fleet = fleet
        self._treasury = treasury or TreasuryConfig()

    @classmethod
    async def make(cls, config: Config, nodes: NodeSet, modes: Sequence[StationMode]) -> "Preview":
        """Look once at every source. Raises SourceRefusedError, LedgerError.

        The pool's terms are those of the first one, since a preview is connected to none.
        """
        now = time.time()
        url, site = config.ledger.full_url, config.ledger.site
        pay = expected_pay(config, pool_sums(url, site, now - PAY_WINDOW_S) if config.pool else {})
        memory = recalled(url, now, site)
        overrides = await memory.overrides(now)
        signals = signal_sources(
            config.signal, config.mqtt, _unwritten, horizon_hours=config.controller.horizon_hours
        )
        signals.restore(await memory.signals(now - SIGNAL_MEMORY_S))
        deciding = loop_config(config)
        asked = [*signals.sources, *sources(config, nodes, played_tape(config, now))]
        loop = ControllerLoop(
            units=units_of(config, modes),
            sources=asked,
            actuators={},
            journal=memory,
            # A slow disk takes long to sum up the fees of a day's blocks, and here nothing else waits for it.
            config=replace(deciding, read_timeout_s=PREVIEW_LIMIT_S),
            earnings=lambda: earnings_of(pay),
            overrides=lambda: overrides,
        )
        try:
            view = await loop.preview()
            return cls(view, fleet_units(config, modes), config.treasury, deciding.real_time)
        finally:
            await close_all(asked)

    def hashprice(self) -> dict[str, Any]:
        """Hashprice now and after the projected retarget, with its inputs."""
        return hashprice_report(self._view)

    def plan(self) -> dict[str, Any]:
        """What every unit would do now and over the horizon, and why."""
        return plan_report(self._view)

    def fleet(self) -> dict[str, Any]:
        """Merit order, breakevens, survival and cash of every unit with modes."""
        return fleet_of(self._view, self._fleet, self._treasury)

    def real_time_rows(self, config: Config) -> list[CheckRow]:
        """How prices that are not known are reckoned with, where that is configured."""
        return [*check_rows(config, self._real_time, self._view)]

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


async def _unwritten(_ticks: Sequence[Tick]) -> None:
    """Refused: a preview writes nothing."""
    raise RuntimeError("a preview records nothing")
