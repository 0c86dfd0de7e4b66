"""Brings found blocks to every node, and follows them until they are mature or orphaned.

A lost connection never looks like success: what a node did not clearly say is Unknown, and asked again. Blocks are on
disk before they come here; what became of each is told to the ledger.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import msgspec

from miner.node.nodes import Node, NodeSet
from miner.node.rpc import (
    DESERIALIZATION,
    NOT_FOUND,
    Backoff,
    RpcError,
    RpcRefusedError,
)

log = logging.getLogger(__name__)

MATURE_CONFIRMATIONS = 100  # then the coinbase may be spent in the next block
KEPT_RAW_BYTES = (
    32 * 1024 * 1024
)  # of followed blocks, newest first, to be submitted again if a node forgets them


@dataclass(frozen=True, slots=True)
class Accepted:
    """The node has the block; `active`: on its best chain."""

    active: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """The node judged the block and refuses it; `reason` is its own word."""

    reason: str


@dataclass(frozen=True, slots=True)
class Unknown:
    """The node did not say; it may have the block or not."""

    error: str


SubmitResult = Accepted | Rejected | Unknown


@dataclass(frozen=True, slots=True)
class FoundBlock:
    """A block of ours: `hash` in internal order, `raw` serialized with witness; `status` as the ledger has it."""

    hash: bytes
    height: int
    raw: bytes = field(repr=False)
    status: str = "found"

    @property
    def hash_hex(self) -> str:
        """The hash as nodes and people write it."""
        return self.hash[::-1].hex()


class BlockLedger(Protocol):
    """Where the fate of blocks is kept. None leaves a column as it is; hashes in display order."""

    async def set_block_status(
        self,
        block_hash: str,
        status: str,
        /,
        *,
        detail: str | None = None,
        confirmations: int | None = None,
        submitted_at: float | None = None,
    ) -> None:
        """Set status "submitted", "accepted", "rejected", "orphaned" or "mature"; `submitted_at` in unix seconds."""


@dataclass(frozen=True, slots=True)
class CourierPacing:
    """Limits of submission and following, in seconds."""

    submit_limit_s: float = 30.0  # a full block on a slow machine takes seconds to check
    budget_s: float = 600.0  # for one node, long enough for its restart
    backoff_first_s: float = 0.1
    backoff_cap_s: float = 2.0
    follow_s: float = 1.0  # at most one look at the followed blocks in this time


class _HeaderReply(msgspec.Struct):
    confirmations: int
    height: int


async def submit_to(node: Node, block: FoundBlock, limit_s: float) -> SubmitResult:
    """Submit `block` to one node once and say what is certain afterwards."""
    try:
        answer = await node.rpc.call("submitblock", block.raw.hex(), timeout_s=limit_s)
    except RpcRefusedError as refused:
        if refused.code == DESERIALIZATION:
            return Rejected(refused.reason)
        return Unknown(str(refused))  # no peers, initial download, a fault of its own: none is a judgement
    except RpcError as error:
        return Unknown(str(error))
    match answer:
        case None:
            result: SubmitResult = Accepted(active=True)
        case "duplicate" | "inconclusive" | "duplicate-inconclusive":
            result = await _look_up(node, block, answer, limit_s)
        case "prev-blk-not-found":
            result = Unknown(f"{node.name} does not have the block before it yet")
        case "time-too-new":
            result = Unknown(f"{node.name}'s clock is more than two hours behind the block's time")
        case str():
            result = Rejected(answer)
        case _:
            result = Unknown(f"{node.name} answered submitblock with {str(answer)[:80]!r}")
    return result


async def _look_up(node: Node, block: FoundBlock, answer: str, limit_s: float) -> SubmitResult:
    """What became of a block that the node has, or may have, without saying where."""
    try:
        header = await node.rpc.call("getblockheader", block.hash_hex, decode=_HeaderReply, timeout_s=limit_s)
    except RpcError as error:
        if answer == "duplicate":  # it has the block, and told so
            return Accepted(active=False)
        return Unknown(f"{answer}, and {error}")
    return Accepted(active=header.confirmations >= 0)


@dataclass(eq=False, slots=True)
class _Followed:
    """A block that is not settled: what the ledger was last told of it."""

    block: FoundBlock
    status: str
    confirmations: int = 0


class BlockCourier:
    """Submits blocks to every node at once and follows them; `run` must be running for either.

    Deliveries are not bounded in number: a found block is never dropped, and none is found while no node gives work.
    """

    def __init__(
        self,
        nodes: NodeSet,
        ledger: BlockLedger,
        *,
        pacing: CourierPacing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives unix seconds."""
        self._nodes = nodes
        self._ledger = ledger
        self._pacing = pacing or CourierPacing()
        self._clock = clock
        self._group: asyncio.TaskGroup | None = None
        self._running = asyncio.Event()
        self._moved = asyncio.Event()
        self._followed: dict[bytes, _Followed] = {}
        self._underway: dict[bytes, asyncio.Future[SubmitResult]] = {}

    async def run(self) -> None:
        """Deliver and follow until cancelled; deliveries still under way end as Unknown, for the next start."""
        async with asyncio.TaskGroup() as group:
            self._group = group
            self._running.set()
            try:
                await self._follow_forever()
            finally:
                self._running.clear()
                self._group = None

    async def submit(self, block: FoundBlock) -> SubmitResult:
        """Bring `block` to every node; Accepted as soon as one has it, while the others go on in the background.

        Rejected as soon as a node refused it and every other one was asked at least once without accepting it: the
        others may accept it yet, and the ledger hears of that. Unknown once the budget of the last is spent.
        Cancelling the caller does not stop the delivery.
        """
        await self._running.wait()
        return await asyncio.shield(self._dispatch(block))

    async def resume(self, unsettled: Iterable[FoundBlock]) -> None:
        """Take up again what an earlier run left: submit blocks no node accepted, follow the others."""
        await self._running.wait()
        for block in sorted(unsettled, key=lambda block: block.height):  # parents before children
            if block.status in {"found", "submitted"}:
                log.warning("block_resumed", extra={"hash": block.hash_hex, "height": block.height})
                self._dispatch(block)
            else:
                self._follow_too(block, block.status)
        self._moved.set()

    async def drain(self, limit_s: float) -> int:
        """Wait up to `limit_s` for blocks under way to be answered once; how many still are not."""
        waiting = [outcome for outcome in self._underway.values() if not outcome.done()]
        if waiting:
            await asyncio.wait(waiting, timeout=limit_s)
        return sum(not outcome.done() for outcome in waiting)

    def tip_changed(self) -> None:
        """Look at the followed blocks soon: the chain has moved."""
        self._moved.set()

    # Delivery

    def _dispatch(self, block: FoundBlock) -> asyncio.Future[SubmitResult]:
        underway = self._underway.get(block.hash)
        if underway is not None:
            return underway
        if self._group is None:
            raise RuntimeError("the courier is not running")
        outcome: asyncio.Future[SubmitResult] = asyncio.get_running_loop().create_future()
        self._underway[block.hash] = outcome
        self._follow_too(block, "found")
        self._group.create_task(self._deliver(block, outcome), name=f"deliver {block.hash_hex}")
        return outcome

    async def _deliver(self, block: FoundBlock, outcome: asyncio.Future[SubmitResult]) -> None:
        answers: asyncio.Queue[tuple[Node, SubmitResult]] = asyncio.Queue(len(self._nodes))
        latest: dict[str, SubmitResult] = {}
        results: dict[str, SubmitResult] = {}
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(
                        self._bring(node, block, outcome, latest, answers), name=f"submit to {node.name}"
                    )
                # Sent first, written after: the ledger's disk must not hold a block back.
                await self._tell(block, "submitted", submitted_at=self._clock())
                while len(results) < len(self._nodes):
                    node, result = await answers.get()
                    results[node.name] = result
                    await self._note(block, node, result, results)
            if not any(isinstance(result, Accepted) for result in results.values()):
                conclusion = await self._conclude(block, results)
                if not outcome.done():
                    outcome.set_result(conclusion)
        finally:
            if not outcome.done():
                outcome.set_result(Unknown("stopped before a node answered"))
            self._underway.pop(block.hash, None)

    async def _bring(
        self,
        node: Node,
        block: FoundBlock,
        outcome: asyncio.Future[SubmitResult],
        latest: dict[str, SubmitResult],
        answers: asyncio.Queue[tuple[Node, SubmitResult]],
    ) -> None:
        """Submit to one node until it has judged the block or its budget is spent."""
        pacing = self._pacing
        backoff = Backoff(pacing.backoff_first_s, pacing.backoff_cap_s)
        deadline = time.monotonic() + pacing.budget_s
        tries = 0
        while True:
            result = latest[node.name] = await submit_to(node, block, pacing.submit_limit_s)
            tries += 1
            self._hasten(outcome, latest)
            wait_s = backoff.next_s()
            if not isinstance(result, Unknown) or time.monotonic() + wait_s > deadline:
                break
            if tries == 1:
                log.warning(
                    "block_delayed", extra={"hash": block.hash_hex, "node": node.name, "error": result.error}
                )
            await asyncio.sleep(wait_s)
        answers.put_nowait((node, result))

    def _hasten(self, outcome: asyncio.Future[SubmitResult], latest: dict[str, SubmitResult]) -> None:
        """Tell who waits for the block what is clear before every node has answered for good."""
        if outcome.done():
            return
        accepted = next((result for result in latest.values() if isinstance(result, Accepted)), None)
        refused = next((result for result in latest.values() if isinstance(result, Rejected)), None)
        if accepted is not None:
            outcome.set_result(accepted)
        elif refused is not None and len(latest) == len(self._nodes):
            outcome.set_result(refused)

    async def _note(
        self, block: FoundBlock, node: Node, result: SubmitResult, results: dict[str, SubmitResult]
    ) -> None:
        """Log one node's answer, and tell the ledger of the first acceptance."""
        fields = {"hash": block.hash_hex, "height": block.height, "node": node.name}
        accepted = [one for one in results.values() if isinstance(one, Accepted)]
        match result:
            case Accepted(active=active):
                log.info("block_accepted", extra={**fields, "active": active})
                followed = self._followed.get(block.hash)
                if followed is not None and followed.status in {"found", "submitted"}:
                    detail = "" if active else "accepted beside the best chain"
                    await self._tell(block, "accepted", detail=detail, confirmations=1 if active else 0)
                self._moved.set()
            case Rejected(reason=reason):
                log.warning(
                    "block_rejected", extra={**fields, "reason": reason, "accepted_elsewhere": bool(accepted)}
                )
            case Unknown(error=error):
                log.error("block_undelivered", extra={**fields, "error": error})

    async def _conclude(self, block: FoundBlock, results: dict[str, SubmitResult]) -> SubmitResult:
        """The outcome of a delivery that no node accepted."""
        unknown = next((result for result in results.values() if isinstance(result, Unknown)), None)
        if unknown is not None:
            return unknown
        reasons = {name: result.reason for name, result in results.items() if isinstance(result, Rejected)}
        reason = "; ".join(sorted(set(reasons.values())))
        log.error("block_lost", extra={"hash": block.hash_hex, "height": block.height, "reason": reason})
        await self._tell(block, "rejected", detail=reason)
        self._followed.pop(block.hash, None)
        return Rejected(reason)

    async def _tell(self, block: FoundBlock, status: str, **columns: Any) -> None:
        followed = self._followed.get(block.hash)
        if followed is not None:
            followed.status = status
            followed.confirmations = columns.get("confirmations", followed.confirmations)
        try:
            await self._ledger.set_block_status(block.hash_hex, status, **columns)
        except Exception:
            # Whatever ails the ledger, the block must go on its way; the next change of status is written again.
            log.exception("block_status_unwritten", extra={"hash": block.hash_hex, "status": status})

    # Following

    def _follow_too(self, block: FoundBlock, status: str) -> None:
        self._followed.setdefault(block.hash, _Followed(block, status))
        kept = 0
        for followed in sorted(self._followed.values(), key=lambda followed: -followed.block.height):
            kept += len(followed.block.raw)
            if kept > KEPT_RAW_BYTES and followed.block.raw and followed.block.hash != block.hash:
                followed.block = replace(followed.block, raw=b"")

    async def _follow_forever(self) -> None:
        backoff = Backoff(self._pacing.backoff_first_s, self._pacing.backoff_cap_s)
        while True:
            await self._moved.wait()
            self._moved.clear()
            wait_s = self._pacing.follow_s
            try:
                await self.follow()
                backoff.reset()
            except RpcError as error:
                log.debug("follow_failed", extra={"error": str(error)})
                self._moved.set()
                wait_s = max(wait_s, backoff.next_s())
            await asyncio.sleep(wait_s)

    async def follow(self) -> None:
        """Ask the active node once for every followed block and settle what can be settled. Raises RpcError."""
        followed = list(self._followed.values())
        node = self._nodes.active
        if node is None or not followed:
            return
        tip_height = await node.rpc.call("getblockcount", decode=int)
        headers = await node.rpc.batch(
            [("getblockheader", one.block.hash_hex) for one in followed], decode=_HeaderReply
        )
        for one, header in zip(followed, headers, strict=True):
            match header:
                case _HeaderReply(confirmations=confirmations):
                    await self._settle(one, confirmations, tip_height)
                case RpcRefusedError(code=code) if code == NOT_FOUND:
                    await self._missing(one, node, tip_height)

    async def _settle(self, one: _Followed, confirmations: int, tip_height: int) -> None:
        if confirmations < 0:
            status, done = "orphaned", tip_height >= one.block.height + MATURE_CONFIRMATIONS
        elif confirmations >= MATURE_CONFIRMATIONS:
            status, done = "mature", True
        else:
            status, done = "accepted", False
        # Not every confirmation of every block is worth a commit to disk.
        worth_telling = confirmations != one.confirmations and (confirmations <= 6 or confirmations % 10 == 0)  # noqa: PLR2004 - as people count them
        if status != one.status:
            level = logging.WARNING if status == "orphaned" else logging.INFO
            log.log(
                level,
                "block_settled",
                extra={"status": status, "hash": one.block.hash_hex, "height": one.block.height},
            )
        if status != one.status or worth_telling:
            detail = {"orphaned": "not on the best chain"}.get(status, "")
            await self._tell(one.block, status, detail=detail, confirmations=confirmations)
        if done:
            self._followed.pop(one.block.hash, None)

    async def _missing(self, one: _Followed, node: Node, tip_height: int) -> None:
        """Bring the block again to a node that does not know it.

        A node that was killed forgets what it accepted since it last wrote its index; one that has just become the
        active one may never have got the block.
        """
        block = one.block
        if tip_height >= block.height + MATURE_CONFIRMATIONS:
            await self._tell(block, "orphaned", detail=f"unknown to {node.name}", confirmations=-1)
            self._followed.pop(block.hash, None)
        elif one.status != "orphaned" and block.raw and block.hash not in self._underway:
            log.warning(
                "block_forgotten", extra={"hash": block.hash_hex, "height": block.height, "node": node.name}
            )
            self._dispatch(block)
