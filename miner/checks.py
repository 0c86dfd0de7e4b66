"""What `hashmill check` finds out before anything is mined: nodes, payout, a proposed block, this machine's units, the ledger."""

import asyncio
import time
from collections.abc import Awaitable, Iterable, Iterator
from dataclasses import dataclass
from typing import Final

import msgspec

from miner import kernel
from miner.config import Config, SoloConfig
from miner.config_ledger import LedgerConfig
from miner.config_units import UnitConfig
from miner.hashing.calibration import choose
from miner.ledger.condition import condition
from miner.ledger.rows import LedgerError
from miner.ledger.schema import HEAD
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcError, RpcRefusedError, UnauthorizedError
from miner.node.templates import (
    NetworkMismatchError,
    PayoutAddressError,
    ProposalRefusedError,
    TemplateService,
    check_chain,
    validate_payout,
)
from miner.solo import Payout, Solo
from miner.work.job import JobBook
from miner.work.template import (
    SignetChallengeError,
    Template,
    TemplateError,
    decode_template,
    parse_template,
    template_request,
)

ANSWER_LIMIT_S: Final = 3.0
"""How long a node may take to answer at all, its warm-up included."""
PROPOSAL_RACES: Final = 3

MAX_BLOCK_WEIGHT: Final = 4_000_000
KNOTS_DEFAULT_WEIGHT: Final = 1_200_000
RESERVED_WEIGHT: Final = 8_000
"""What bitcoind keeps free for header and coinbase, and counts in currentblockweight."""

OK: Final = 0
FAILED: Final = 1
CONFIGURATION: Final = 2
_WRONG_CONFIGURATION = (UnauthorizedError, NetworkMismatchError, SignetChallengeError, PayoutAddressError)
_FAILURES = (RpcError, TemplateError, ProposalRefusedError, ValueError)


@dataclass(frozen=True, slots=True)
class CheckRow:
    """One thing checked: `ok` None is a warning; `exit_code` is 0, 1 (failed) or 2 (wrong configuration)."""

    subject: str
    ok: bool | None
    detail: str
    exit_code: int = OK


class _Chain(msgspec.Struct):
    blocks: int
    headers: int
    initialblockdownload: bool


class _Network(msgspec.Struct):
    subversion: str


class _Publication(msgspec.Struct):
    type: str
    address: str


class _Mempool(msgspec.Struct):
    size: int
    bytes: int  # virtual


class _Mining(msgspec.Struct):
    currentblockweight: int = 0


def exit_code(rows: Iterable[CheckRow]) -> int:
    """The exit code of a whole check: the gravest of its rows."""
    return max((row.exit_code for row in rows), default=OK)


async def check_nodes(config: Config, nodes: NodeSet) -> list[CheckRow]:
    """Every node: answers, chain, sync, payout script, template and proposal, weight; all nodes at once."""
    async with asyncio.TaskGroup() as group:
        tasks = [group.create_task(_check_node(config, nodes, node)) for node in nodes]
    return [row for task in tasks for row in task.result()]


async def _check_node(config: Config, nodes: NodeSet, node: Node) -> list[CheckRow]:
    """Rows of one node, in the order a person would look; what cannot be checked after a failure is left out."""
    rows: list[CheckRow] = []

    async def passes(subject: str, step: Awaitable[CheckRow]) -> bool:
        try:
            row = await step
        except _WRONG_CONFIGURATION as error:
            row = CheckRow(subject, ok=False, detail=str(error), exit_code=CONFIGURATION)
        except _FAILURES as error:
            row = CheckRow(subject, ok=False, detail=str(error), exit_code=FAILED)
        rows.append(row)
        return row.ok is not False

    name = f"bitcoind {node.name}"
    if await passes(name, _answers(name, node)) and await passes("network", _is_on(config.network, node)):
        synced = await passes("sync", _is_synced(nodes, node))
        if node.zmq_hashblock is not None:
            await passes("zmq", _publishes(node, node.zmq_hashblock))
        solo = config.solo
        if solo is not None and await passes("payout", _owns_up(solo, node)) and synced:
            template = await passes("template", _proposal(solo, nodes, node))
            if template:
                await passes("block weight", _weight(node))
    many = len(nodes) > 1
    return [_named(row, node.name) if many and row.subject != name else row for row in rows]


def _named(row: CheckRow, node: str) -> CheckRow:
    return CheckRow(f"{row.subject} ({node})", row.ok, row.detail, row.exit_code)


async def _answers(subject: str, node: Node) -> CheckRow:
    await node.rpc.wait_until_ready(ANSWER_LIMIT_S)
    network = await node.rpc.call("getnetworkinfo", decode=_Network)
    return CheckRow(subject, ok=True, detail=f"answers: {network.subversion.strip('/')}")


async def _is_on(network: str, node: Node) -> CheckRow:
    await check_chain(node, network)
    return CheckRow("network", ok=True, detail=network)


async def _is_synced(nodes: NodeSet, node: Node) -> CheckRow:
    chain = await node.rpc.call("getblockchaininfo", decode=_Chain)
    if nodes.needs_sync and chain.initialblockdownload:
        detail = (
            f"still downloading the chain: block {chain.blocks:,} of {chain.headers:,}; wait until it is done"
        )
        return CheckRow("sync", ok=False, detail=detail, exit_code=FAILED)
    return CheckRow("sync", ok=True, detail=f"at block {chain.blocks:,}")


async def _publishes(node: Node, endpoint: str) -> CheckRow:
    """Whether the node publishes block hashes where they are looked for; hosts may differ (0.0.0.0), ports not."""
    advice = f"start it with -zmqpubhashblock={endpoint}, or correct zmq_hashblock; until then waiting and polling at the node tell"
    try:
        published = await node.rpc.call("getzmqnotifications", decode=list[_Publication])
    except RpcRefusedError:  # a bitcoind built without ZMQ does not know the call
        return CheckRow("zmq", ok=None, detail=f"the node cannot publish block hashes; {advice}")
    where = [each.address for each in published if each.type == "pubhashblock"]
    if any(address.rpartition(":")[2] == endpoint.rpartition(":")[2] for address in where):
        return CheckRow("zmq", ok=True, detail=f"the node publishes block hashes at {endpoint}")
    told = (
        f"the node publishes block hashes at {', '.join(where)}" if where else "it publishes no block hashes"
    )
    return CheckRow("zmq", ok=None, detail=f"{told}, not at {endpoint}: {advice}")


async def _owns_up(config: SoloConfig, node: Node) -> CheckRow:
    script = await validate_payout(node, config.payout_address)
    return CheckRow("payout", ok=True, detail=f"{config.payout_address} is script {script.hex()}")


async def _proposal(config: SoloConfig, nodes: NodeSet, node: Node) -> CheckRow:
    """Fetch a template, build the block the daemon would, and have the node judge it but for its proof of work."""
    script = await validate_payout(node, config.payout_address)
    payout = Payout(config.payout_address, script, config.coinbase_tag.encode())
    solo = Solo(
        JobBook(grace_s=0),
        payout,
        version_mask=config.version_bits,
        on_job=_ignore,
        clock=time.time,
        next_id=lambda: "1",
    )
    service = TemplateService(nodes, solo.proposal_of, _ignore)
    for _race in range(PROPOSAL_RACES):
        reply = await node.rpc.call("getblocktemplate", template_request(nodes.network), decode=msgspec.Raw)
        template = parse_template(decode_template(reply), nodes.network)
        if await service.prove(node, *solo.proposal_of(template)):
            return CheckRow("template", ok=True, detail=_described(template))
    detail = "the chain moved on at each try to propose a block: run the check again"
    return CheckRow("template", ok=None, detail=detail)


def _ignore(*_arguments: object) -> None:
    """Take what a check has no use for."""


def _described(template: Template) -> str:
    return (
        f"the node accepts our block {template.height:,} as a proposal: {len(template.txs):,} transactions, "
        f"reward {template.reward_sat / 1e8:.8f} BTC, of it fees {template.fees_sat / 1e8:.8f}"
    )


async def _weight(node: Node) -> CheckRow:
    """Whether the node's own limits leave fees behind.

    No RPC shows blockmaxweight, so this looks at what the node does: how full its template is while the mempool holds
    more; and at who it is, since Knots' default fills less than a third of a block.
    """
    mining = await node.rpc.call("getmininginfo", decode=_Mining)
    mempool = await node.rpc.call("getmempoolinfo", decode=_Mempool)
    knots = "Knots" in (await node.rpc.call("getnetworkinfo", decode=_Network)).subversion
    filled, waiting = mining.currentblockweight, mempool.bytes * 4 + RESERVED_WEIGHT
    advice = "set blockmaxweight=3996000 in bitcoin.conf and restart bitcoind"
    if waiting > filled * 1.1 and filled < MAX_BLOCK_WEIGHT * 0.9:
        detail = (
            f"the template is filled to {filled:,} of {MAX_BLOCK_WEIGHT:,} weight units while {waiting:,} wait in the "
            f"mempool: fees stay behind; {advice}"
        )
        return CheckRow("block weight", ok=None, detail=detail)
    if knots and filled <= KNOTS_DEFAULT_WEIGHT:
        detail = (
            f"this is Bitcoin Knots, whose default fills blocks to {KNOTS_DEFAULT_WEIGHT:,} of {MAX_BLOCK_WEIGHT:,} "
            f"weight units, which costs fees when the mempool is full; unless you did it already, {advice}"
        )
        return CheckRow("block weight", ok=None, detail=detail)
    return CheckRow(
        "block weight", ok=True, detail=f"filled to {filled:,} of {MAX_BLOCK_WEIGHT:,} weight units"
    )


def check_units(config: Config, cores: int) -> Iterator[CheckRow]:
    """Every unit: the CPU's kernel and threads on a machine of `cores` cores, and how the configured workers are switched."""
    try:
        name = choose(config.cpu.versions).kernel
        faulty = kernel.faulty()
    except kernel.KernelError as error:
        yield CheckRow("kernel", ok=False, detail=str(error), exit_code=FAILED)
        return
    if faulty:
        detail = f"{name} is used; {', '.join(faulty)} fails its self-test: this machine may compute wrongly"
        yield CheckRow("kernel", ok=None, detail=detail)
    else:
        yield CheckRow("kernel", ok=True, detail=f"{name}, self-test passed")
    yield from _check_cpu(config, cores)
    for unit in config.unit:
        if unit.id != "cpu":
            yield CheckRow(f"unit {unit.id}", ok=True, detail=_worker_text(unit))


def _worker_text(unit: UnitConfig) -> str:
    modes = ", ".join(f"{mode.name} {mode.th_s:g} TH/s ({mode.watts:g} W)" for mode in unit.resolved_modes())
    switched = "gets no work while it does not pay" if unit.control == "gate" else "measured, never switched"
    return f"worker {unit.worker}, {switched}" + (f"; modes: {modes}" if modes else "")


def _check_cpu(config: Config, cores: int) -> Iterator[CheckRow]:
    threads = config.cpu.thread_count(cores)
    if threads == 0 and config.stratum is None:
        detail = "[cpu] threads = 0, and no [stratum] for miners to attach to: nothing will hash"
        yield CheckRow("unit cpu", ok=None, detail=detail)
    if threads == 0:
        return
    modes = ", ".join(
        f"{mode.name} {mode.threads} ({mode.watts:g} W)" for mode in config.cpu.resolved_modes(cores)
    )
    if threads > cores:
        detail = f"{threads} threads on {cores} cores only take turns: set [cpu] threads to {cores} or less"
        yield CheckRow("unit cpu", ok=None, detail=detail)
    else:
        yield CheckRow("unit cpu", ok=True, detail=f"{threads} of {cores} cores; threads by mode: {modes}")


def check_ledger(config: LedgerConfig) -> CheckRow:
    """The ledger: its kind, its schema, and whether the daemon will be able to write it; it is not made or migrated."""
    try:
        found = condition(config.full_url)
    except LedgerError as error:
        return CheckRow("ledger", ok=False, detail=str(error), exit_code=FAILED)
    site = "" if config.site == "default" else f", site {config.site}"
    what = f"{found.kind} {found.name}{site}"
    if not found.writable:
        return CheckRow("ledger", ok=False, detail=f"{what} cannot be written", exit_code=FAILED)
    if found.schema is None:
        detail = f"{what} is empty: the daemon makes its tables (schema {HEAD}) when it starts"
    elif found.schema != HEAD:
        detail = f"{what} has schema {found.schema}: the daemon migrates it to {HEAD} when it starts"
    else:
        detail = f"{what}, schema {found.schema}"
    return CheckRow("ledger", ok=True, detail=detail)
