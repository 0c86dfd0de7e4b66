"""Commands that ask and go: `check`, `hashprice`, `plan`, `fleet`. They touch nothing, and run beside a daemon."""

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import Any, Final

from miner.checks import CheckRow, check_ledger, check_nodes, check_units
from miner.checks_pools import check_payees, check_pools
from miner.config import Config
from miner.control_preview import Preview
from miner.control_refusals import SourceRefusedError
from miner.hashing.calibration import choose
from miner.hashing.station import StationMode, measured_rate, station_modes
from miner.ledger.rows import LedgerError
from miner.node.nodes import NodeSet
from miner.node.templates import NetworkMismatchError, PayoutAddressError
from miner.site import node_set, pool_settings
from miner.work.template import SignetChallengeError

CONFIGURATION_ERRORS: Final = (
    NetworkMismatchError,
    PayoutAddressError,
    SignetChallengeError,
    SourceRefusedError,
)
"""What only a corrected configuration ends."""
CHAIN_PRICES: Final = frozenset(
    f"price {series}" for series in ("network_difficulty", "subsidy_sat", "fees_sat_per_block")
)
"""Rows of what a node, or else the pool's jobs, tell of the chain."""


def check(config: Config) -> list[CheckRow]:
    """What can be known before anything is mined: nodes, payout, a proposed block, pools, units, prices; touches nothing."""

    async def rows() -> list[CheckRow]:
        async with _asking(config) as nodes:
            found = await check_nodes(config, nodes)
            found += await check_payees(config, nodes)
            found += await check_pools(config, pool_settings(config, version("hashmill")))
            found += check_units(config, usable_cores())
            found.append(await asyncio.to_thread(check_ledger, config.ledger))
            return found + await _price_rows(config, nodes)

    return asyncio.run(rows())


def hashprice(config: Config) -> dict[str, Any]:
    """Hashprice now and after the projected retarget, with its inputs."""
    return asyncio.run(_preview(config)).hashprice()


def plan(config: Config) -> dict[str, Any]:
    """What the controller would do now and over the horizon, and why; touches nothing."""
    return asyncio.run(_preview(config)).plan()


def fleet(config: Config) -> dict[str, Any]:
    """Merit order, breakevens, survival and cash of every unit with modes; `fleet` is None while prices are not known."""
    return asyncio.run(_preview(config)).fleet()


async def _price_rows(config: Config, nodes: NodeSet) -> list[CheckRow]:
    if not config.controller.enabled:
        return []
    try:
        preview = await Preview.make(config, nodes, await cpu_modes(config))
        rows = [*preview.price_rows(), *preview.real_time_rows(config)]
    except SourceRefusedError as error:
        return [CheckRow("sources", ok=False, detail=line, exit_code=2) for line in str(error).splitlines()]
    except LedgerError:
        return []  # the ledger's own row says why
    return rows if config.bitcoind else _without_chain(rows)


def _without_chain(rows: list[CheckRow]) -> list[CheckRow]:
    """Rows of prices where no node tells of the chain: what the pool's jobs tell is known once they are mined."""
    known = [row for row in rows if row.subject not in CHAIN_PRICES]
    if len(known) == len(rows):
        return rows
    detail = "without a [[bitcoind]] difficulty, subsidy and fees are read from the pool's jobs: the first decision waits for one"
    return [*known, CheckRow("prices", ok=None, detail=detail)]


async def _preview(config: Config) -> Preview:
    choose(config.cpu.versions)
    async with _asking(config) as nodes:
        return await Preview.make(config, nodes, await cpu_modes(config))


@asynccontextmanager
async def _asking(config: Config) -> AsyncIterator[NodeSet]:
    """The nodes of a command that asks and goes."""
    nodes = node_set(config)
    try:
        yield nodes
    finally:
        await nodes.close()


async def cpu_modes(config: Config) -> tuple[StationMode, ...]:
    """Modes of the CPU unit, its hashrate measured now; none where it has no threads."""
    if config.cpu.thread_count(usable_cores()) == 0:
        return ()
    rate = await asyncio.to_thread(measured_rate, config.cpu.versions)
    return station_modes(config.cpu, usable_cores(), rate)


def usable_cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))
