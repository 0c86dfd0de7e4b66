"""What the tests of the controller's seam share: a configuration, tapes, nodes that do not answer."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

from miner.config import Config
from miner.control import Control
from miner.control_settings import played_tape
from miner.hashing.station import OFF, CpuStation, StationMode, station_modes
from miner.ledger.recorder import Recorder
from miner.metrics import Metrics
from miner.node.nodes import NodeSet
from miner.site import node_set
from miner.work.roster import HashingUnit
from tests.miner.harness import ADDRESS

CHAIN = {"btc_usd": 90_000, "difficulty": 0.02, "subsidy_sat": 312_500_000, "fees_sat": 0}
"""Numbers of a tape with a chain so easy that 40 MH/s find a block every other second: any price of power pays."""
HARD = 1e12
"""A difficulty at which they never pay."""
CHEAP = 0.05
MODES = (StationMode(OFF, 0, 0.0, 0.0, 0.0), StationMode("full", 1, 4e-5, 15.0, 4e-5))


def config_of(**sections: Any) -> Config:
    return Config.model_validate(
        {
            "network": "regtest",
            "bitcoind": [{"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c"}],
            "solo": {"payout_address": ADDRESS},
            "cpu": {"threads": 1, "modes": [{"name": "full", "threads": 1, "watts": 15.0, "th_s": 4e-5}]},
            **sections,
        }
    )


def silent_nodes(config: Config) -> NodeSet:
    """The configured nodes, none of which answers."""
    nodes = node_set(config)
    for node in nodes:
        node.up = False
    return nodes


def nobody(_unit: HashingUnit, _reason: str) -> None:
    """Hears of no gate."""


@dataclass
class Room:
    """A controller over a real CPU unit, and what it told."""

    control: Control
    station: CpuStation
    metrics: Metrics
    alerts: dict[str, str] = field(default_factory=dict)

    async def tick(self, times: int = 1) -> None:
        """Decide so many times; a unit that is off is started by the second, when the price has held."""
        for _ in range(times):
            await self.control._loop.tick()


@asynccontextmanager
async def room_of(config: Config, recorder: Recorder, **told: Any) -> AsyncIterator[Room]:
    metrics, alerts = Metrics("0", "portable"), dict[str, str]()
    station = CpuStation(
        config.cpu,
        station_modes(config.cpu, cores=1, thread_hashes_per_second=4e7),
        paced=True,
        extranonce1=bytes(4),
        on_submission=lambda _submission, _target: None,
        on_failure=lambda _error: None,
    )
    control = Control(
        config,
        silent_nodes(config),
        station,
        recorder,
        metrics,
        tape=played_tape(config, time.time()),
        alert=alerts.__setitem__,
        clock=time.time,
        **told,
    )
    station.start(OFF)
    try:
        yield Room(control, station, metrics, alerts)
    finally:
        station.stop()


LIVE = {"dry_run": False, "min_on_s": 0.0, "min_off_s": 0.0}
