"""What the tests of the controller's seam share: a configuration, tapes, nodes that do not answer."""

import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from types import SimpleNamespace
from typing import Any, cast

import numpy as np

from controller.market import Market
from controller.model import write_model
from controller.view import View
from controller.worth import Sees
from controller.worth_features import NAMES, Span
from controller.worth_trees import Tree, grown
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

FACTS = {
    "market": "North hub",
    "from": "2024-01-01T00:00:00Z",
    "until": "2025-01-01T00:00:00Z",
    "day_ahead": False,
    "checks": {"A": [{"regret": {"fitted": 0.001, "band": 0.004}}, {"regret": {"fitted": 0.004}}], "B": []},
}


def a_model(
    low: float = 0.5, high: float | None = None, sees: tuple[Sees, ...] = (Sees.A, Sees.B), **facts: Any
) -> bytes:
    """The bytes of a model that says `low` where the last price was above breakeven, and `high` (the same, unless given) below.

    With day-ahead prices it goes by that of the quarter hour to come instead.
    """
    trees = {}
    for day_ahead, asked in ((False, 0), (True, NAMES.index("day ahead, in 1"))):
        tree = Tree(
            feature=np.array([asked, 0, 0]),
            threshold=np.zeros(3),
            left=np.array([1, 0, 0]),
            right=np.array([2, 0, 0]),
            value=np.array([0.0, low, low if high is None else high]),
            leaf=np.array([False, True, True]),
        )
        trees |= {(each, day_ahead): grown([tree], 0.0) for each in sees}
    anything = Span((0.0, 1e9), (-1e9, 1e9))
    return write_model(trees, {False: anything, True: anything}, {}, {**FACTS, **facts})


def view_of(told: dict[str, str], why: str = "", *, asked: bool = True) -> View:
    """A tick on which the worth of these units was known by these methods."""
    decisions = {
        unit: SimpleNamespace(numbers={f"by_{method}": 1.0} if method else {})
        for unit, method in told.items()
    }
    worth = SimpleNamespace(why=why) if asked else None
    market = Market(0.0, 40.0, 40.0, None, 0.05, (), None)
    return cast("View", SimpleNamespace(decisions=decisions, worth=worth, market=market))
