"""A proxy in front of a real bitcoind that fails on demand, blocks made by hand, and couriers to bring them."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from typing import Any

import msgspec
from aiohttp import ClientSession, web

from miner.chain.block import Header, header_hash
from miner.chain.difficulty import bits_to_target, hash_to_int
from miner.node.blocks import BlockCourier, CourierPacing, FoundBlock
from miner.node.nodes import Node, NodeSet
from miner.work.job import Job, block_bytes
from miner.work.solo_job import solo_job
from miner.work.template import decode_template, parse_template, template_request
from regtest.bitcoind import Bitcoind

OP_TRUE_P2WSH = bytes.fromhex("0020") + bytes.fromhex(
    "4ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260"
)

Forward = Callable[[], Awaitable[web.Response]]
Fault = Callable[[web.Request, Forward], Awaitable[web.StreamResponse]]


async def drop(request: web.Request, _forward: Forward) -> web.StreamResponse:
    """The connection breaks before the node hears the call."""
    assert request.transport is not None
    request.transport.abort()
    return web.Response()


async def drop_after(request: web.Request, forward: Forward) -> web.StreamResponse:
    """The node carries out the call, and the connection breaks before its answer."""
    await forward()
    return await drop(request, forward)


async def hang(_request: web.Request, _forward: Forward) -> web.StreamResponse:
    await asyncio.sleep(3600)
    raise AssertionError


async def hang_after(_request: web.Request, forward: Forward) -> web.StreamResponse:
    """The node carries out the call; its answer never comes."""
    await forward()
    return await hang(_request, forward)


def refuse(code: int, message: str) -> Fault:
    async def fault(request: web.Request, _forward: Forward) -> web.StreamResponse:
        error = {"code": code, "message": message}
        call = msgspec.json.decode(await request.read())
        if isinstance(call, list):
            return web.json_response([{"result": None, "error": error, "id": one["id"]} for one in call])
        return web.json_response({"result": None, "error": error, "id": call["id"]}, status=500)

    return fault


def result(value: Any) -> Fault:
    async def fault(request: web.Request, _forward: Forward) -> web.StreamResponse:
        call = msgspec.json.decode(await request.read())
        return web.json_response({"result": value, "error": None, "id": call["id"]})

    return fault


def answer(text: str | bytes, status: int = 200) -> Fault:
    body = text.encode() if isinstance(text, str) else text

    async def fault(_request: web.Request, _forward: Forward) -> web.StreamResponse:
        return web.Response(body=body, status=status)

    return fault


@dataclass
class Proxy:
    """Stands before a real node; `fail` makes the next calls of a method (or "*") go wrong."""

    target: Bitcoind
    url: str = ""
    seen: list[str] = field(default_factory=list)
    faults: dict[str, list[tuple[Fault, int]]] = field(default_factory=dict)

    def fail(self, method: str, fault: Fault, times: int = 1_000_000) -> None:
        self.faults.setdefault(method, []).append((fault, times))

    def heal(self) -> None:
        self.faults.clear()

    def _next_fault(self, method: str) -> Fault | None:
        for key in (method, "*"):
            queue = self.faults.get(key, [])
            if queue:
                fault, times = queue.pop(0)
                if times > 1:
                    queue.insert(0, (fault, times - 1))
                return fault
        return None

    async def handle(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        call = msgspec.json.decode(body)
        method = call[0]["method"] if isinstance(call, list) else call["method"]
        self.seen.append(method)

        async def forward() -> web.Response:
            headers = {"Authorization": request.headers.get("Authorization", "")}
            async with (
                ClientSession() as session,
                session.post(self.target.rpc_url, data=body, headers=headers) as reply,
            ):
                return web.Response(
                    body=await reply.read(), status=reply.status, content_type="application/json"
                )

        fault = self._next_fault(method)
        return await (forward() if fault is None else fault(request, forward))


def make_block(bitcoind: Bitcoind, tag: bytes = b"/test/", *, break_merkle: bool = False) -> FoundBlock:
    """A valid regtest block on the node's tip, not yet submitted; blocks of different tags differ."""
    reply = bitcoind.rpc("getblocktemplate", template_request(bitcoind.chain))
    template = parse_template(decode_template(msgspec.json.encode(reply)), bitcoind.chain)
    job = solo_job(template, "1", OP_TRUE_P2WSH, tag, 4, 8, clean=True, now=0.0)
    return grind(job, break_merkle=break_merkle)


def grind(job: Job, *, break_merkle: bool = False) -> FoundBlock:
    """A block of `job`; a broken one has enough work on a merkle root that is not its transactions'."""
    extranonce1, extranonce2 = bytes(4), bytes(8)
    header, _digest = job.header(extranonce1, extranonce2, ntime_s=job.ntime_s, nonce=0, version=job.version)
    raw = block_bytes(job, header, extranonce1, extranonce2)
    fields = Header.unpack(header)
    if break_merkle:
        fields = replace(fields, merkle_root=bytes(32))
    for nonce in range(1000):
        header = replace(fields, nonce=nonce).pack()
        digest = header_hash(header)
        if hash_to_int(digest) <= bits_to_target(job.bits):
            return FoundBlock(digest, job.height, header + raw[len(header) :])
    raise AssertionError("every second hash is a block on regtest")


async def until(condition: Callable[[], Any], limit_s: float = 10.0) -> None:
    """Wait until `condition` holds."""
    async with asyncio.timeout(limit_s):
        while not condition():  # noqa: ASYNC110 - what tests wait for has no event of its own
            await asyncio.sleep(0.01)


QUICK = CourierPacing(submit_limit_s=1.0, budget_s=20.0, follow_s=0.05, backoff_cap_s=0.2)


class Ledger:
    """What the courier told, in order; `broken` makes it fail as a full disk would."""

    def __init__(self) -> None:
        self.told: list[tuple[str, str, dict[str, Any]]] = []
        self.broken = False

    async def set_block_status(self, block_hash: str, status: str, /, **columns: Any) -> None:
        self.told.append((block_hash, status, columns))
        if self.broken:
            raise OSError("disk full")

    def statuses(self, block: FoundBlock) -> list[str]:
        """Statuses of one block in order, repetitions once."""
        seen = [status for block_hash, status, _ in self.told if block_hash == block.hash_hex]
        return [status for at, status in enumerate(seen) if at == 0 or seen[at - 1] != status]

    def confirmations(self, block: FoundBlock) -> list[int]:
        return [
            columns["confirmations"]
            for block_hash, _status, columns in self.told
            if block_hash == block.hash_hex and "confirmations" in columns
        ]


@asynccontextmanager
async def couriers(*nodes: Node, pacing: CourierPacing = QUICK) -> AsyncIterator[tuple[BlockCourier, Ledger]]:
    ledger = Ledger()
    courier = BlockCourier(NodeSet(nodes, "regtest"), ledger, pacing=pacing)
    running = asyncio.ensure_future(courier.run())
    try:
        yield courier, ledger
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running
