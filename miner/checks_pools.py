"""What `hashmill check` finds out about pools: each is connected to, logged in at and asked for work; nothing is mined."""

import asyncio
from collections.abc import Iterable
from typing import Final

from miner.checks import CONFIGURATION, FAILED, CheckRow
from miner.config import Config
from miner.node.nodes import NodeSet
from miner.node.rpc import RpcError
from miner.node.templates import PayoutAddressError, validate_payout
from miner.stratum.client import PoolSettings, ProbeResult, probe
from miner.stratum.pool_events import Failure
from miner.work.layout import TooNarrowError, layout_of

PROBE_LIMIT_S: Final = 20.0
"""How long a pool may take from the first packet to its first job."""
NODE_LIMIT_S: Final = 3.0
OLD_JOB_S: Final = 600.0
"""Pools renew the time in their jobs each minute or so; when it differs by more, one of the clocks is wrong, or the work stale."""

ADVICE: Final = {
    Failure.TIMEOUT: "correct host and port in url, or look at firewalls between here and the pool",
    Failure.LOGIN: "correct user and password as the pool wants them",
    Failure.NO_WORK: "it took the login: ask the pool why it sends no job, or wait until it does",
    Failure.GARBAGE: "correct port and scheme (stratum+tcp or stratum+tls) in url: only Stratum V1 is spoken",
    Failure.UNANSWERED: "correct port and scheme (stratum+tcp or stratum+tls) in url, or wait until the pool is well again",
    Failure.LOST: "correct port and scheme (stratum+tcp or stratum+tls) in url; it may also ban this address for a while",
    Failure.BAD_WORK: "its jobs cannot be hashed: ask the pool, or take another one",
    Failure.REDIRECT_REFUSED: "if you trust it, write the address that it names as url",
}
"""What to do about a failure whose own words do not say so: those of names, ports and certificates do."""


async def check_pools(config: Config, settings: Iterable[PoolSettings]) -> list[CheckRow]:
    """Every pool, all at once: whether it can be mined at, and if not, what is wrong and what to do."""

    async def look(pool: PoolSettings) -> CheckRow:
        return _row(config, pool, await probe(pool, PROBE_LIMIT_S))

    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(look(pool), name=f"probe {pool.name}") for pool in settings]
    return [task.result() for task in tasks]


def _row(config: Config, pool: PoolSettings, found: ProbeResult) -> CheckRow:
    subject = f"pool {pool.name}"
    if found.failure is not None:
        code = CONFIGURATION if found.failure is Failure.LOGIN else FAILED
        told = "; ".join(filter(None, (found.text, ADVICE.get(found.failure, ""))))
        return CheckRow(subject, ok=False, detail=told, exit_code=code)
    size = found.extranonce2_size or 0
    try:
        places = 256 ** layout_of(size).extranonce1_size
    except TooNarrowError as error:
        return CheckRow(subject, ok=False, detail=str(error), exit_code=FAILED)
    mask = f"version mask {found.version_mask:08x}" if found.version_mask else "no version rolling"
    detail = f"sends work: difficulty {found.difficulty or 0.0:,.8g}, {mask}, extranonce2 of {size} bytes: room for {places:,} units"
    if found.job_age_s is not None and abs(found.job_age_s) > OLD_JOB_S:
        behind = "old" if found.job_age_s > 0 else "ahead"
        told = f"its job's time is {abs(found.job_age_s):,.0f} s {behind}: set this machine's clock, or ask the pool"
        return CheckRow(subject, ok=None, detail=f"{detail}; {told}")
    stratum = config.stratum
    if stratum is not None and places <= stratum.max_connections:
        advice = f"set [stratum] max_connections below {places}, or take a pool that leaves more"
        return CheckRow(subject, ok=None, detail=f"{detail}, fewer than may connect: {advice}")
    if stratum is not None and not found.version_mask and pool.login.version_mask:
        return CheckRow(
            subject, ok=None, detail=f"{detail}; ASICs that roll versions will hash less, or not at all"
        )
    return CheckRow(subject, ok=True, detail=detail)


async def check_payees(config: Config, nodes: NodeSet) -> list[CheckRow]:
    """Payees of pools that are addresses, by the first node that says what they are; none where no node answers."""
    rows = []
    for pool in config.pool:
        for address in pool.payee_addresses:
            row = await _payee(f"payees of {pool.label}", address, nodes)
            rows += [] if row is None else [row]
    return rows


async def _payee(subject: str, address: str, nodes: NodeSet) -> CheckRow | None:
    for node in nodes:
        try:
            script = await validate_payout(node, address, retry_s=0.0, timeout_s=NODE_LIMIT_S)
        except PayoutAddressError as error:
            return CheckRow(subject, ok=False, detail=f"{address}: {error.reason}", exit_code=CONFIGURATION)
        except RpcError:
            continue  # the node's own row says why
        return CheckRow(subject, ok=True, detail=f"{address} is script {script.hex()}")
    return None
