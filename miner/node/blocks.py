"""Brings found blocks to every node, and follows them until they are mature or orphaned.

A lost connection never looks like success: what a node did not clearly say is Unknown, and asked again. Blocks are on
disk before they come here; what became of each is told to the ledger.
"""

import asyncio
import logging
import time
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Any, Protocol

import msgspec

from miner.node.nodes import Node, NodeSet
from miner.node.rpc import (
    DESERIALIZATION,
    NOT_FOUND,
    Backoff,
    RpcError,
    RpcRefusedError,
    RpcTimeoutError,
    RpcUnavailableError,
)

log = logging.getLogger(__name__)

MATURE_CONFIRMATIONS = 100  # then the coinbase may be spent in the next block


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
        return Unknown(str(refused))  # no peers, initial download, or a failure of its own: none is a judgement
    except RpcError as error:
        return Unknown(str(error))
    match answer:
        case None:
            return Accepted(active=True)
        case "duplicate" | "inconclusive" | "duplicate-inconclusive":
            return await _look_up(node, block, answer, limit_s)
        case "prev-blk-not-found":
            return Unknown(f"{node.name} does not have the block before it yet")
        case str():
            return Rejected(answer)
        case _:
            return Unknown(f"{node.name} answered submitblock with {answer!r}")


async def _look_up(node: Node, block: FoundBlock, answer: str, limit_s: float) -> SubmitResult:
    """What became of a block that the node has, or may have, without saying where."""
    try:
        header = await node.rpc.call("getblockheader", block.hash_hex, decode=_HeaderReply, timeout_s=limit_s)
    except RpcError as error:
        if answer == "duplicate":  # it has the block, and told so
            return Accepted(active=False)
        return Unknown(f"{answer}, and {error}")
    return Accepted(active=header.confirmations >= 0)
