"""Keeps one proven block template at hand: fetched on a new tip, on changed transactions, and when it grows old.

A template is published only if it parses and a block of its coinbase shape was once accepted by the node as a
proposal; otherwise an alert is raised and the last good one stays.
"""

import asyncio
import logging
import re
import time
from collections.abc import Awaitable, Callable, Hashable, Sequence
from contextlib import suppress
from dataclasses import dataclass

import msgspec

from miner.node.nodes import Node, NodeSet
from miner.node.rpc import (
    DESERIALIZATION,
    INITIAL_DOWNLOAD,
    NO_PEERS,
    Backoff,
    NodeUnreachableError,
    RpcError,
    RpcRefusedError,
    RpcUnavailableError,
)
from miner.node.tips import Tip
from miner.work.template import (
    OP_TRUE_CHALLENGE,
    SignetChallengeError,
    Template,
    TemplateError,
    decode_template,
    parse_template,
    template_request,
)

log = logging.getLogger(__name__)

# A template overtaken by a new tip, or a proposal that came too late, is asked for again at once, this often.
_RACES = 5
_MOST_COMPLAINTS = 100  # remembered, so as to be made once


class NetworkMismatchError(Exception):
    """The node is on another network than the configuration."""


class PayoutAddressError(Exception):
    """The node does not own up to a payout address; `reason` is why, in its own words."""

    def __init__(self, message: str, reason: str) -> None:
        super().__init__(message)
        self.reason = reason


class ProposalRefusedError(Exception):
    """The node refuses a block of this coinbase shape; the message is its reason."""


@dataclass(frozen=True, slots=True)
class TemplatePacing:
    """Intervals and limits of the template service, in seconds."""

    refresh_s: float = 30.0
    fetch_limit_s: float = 10.0
    refused_s: float = 10.0  # until a refused shape or a broken template is tried again
    backoff_first_s: float = 0.1
    backoff_cap_s: float = 2.0
    job_max_age_s: float = 120.0  # nodes silent for longer: the last job may build on a tip long gone


def _ignore(*_arguments: object) -> None:
    """Callback of one who does not ask."""


async def _at_once() -> None:
    """Wait for nothing."""


class TemplateService:
    """Fetches, judges, proves and publishes templates of the first node that gives one.

    Callbacks are called in the event loop and must not block:
    `assemble_proposal(template)` gives the shape of the coinbase (equal for equal script types and sizes) and a whole
    serialized block for it; `on_template(template, node, fetched_at)` gets each new template, `fetched_at` in unix
    seconds; `on_tip(tip)` is called before the template for a new tip is fetched: work on other tips is stale now;
    `on_withdraw()` when no node has answered for `job_max_age_s`; `on_alert(event, message)` when a template or a
    proposal is refused, once for each reason.
    `head_start()` is awaited before a template is asked for: what the node should answer first.
    """

    def __init__(  # noqa: PLR0913 - callbacks, each given by name
        self,
        nodes: NodeSet,
        assemble_proposal: Callable[[Template], tuple[Hashable, bytes]],
        on_template: Callable[[Template, Node, float], None],
        *,
        on_tip: Callable[[Tip], None] = _ignore,
        on_withdraw: Callable[[], None] = _ignore,
        on_alert: Callable[[str, str], None] = _ignore,
        head_start: Callable[[], Awaitable[None]] = _at_once,
        pacing: TemplatePacing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives unix seconds."""
        self._nodes = nodes
        self._request = template_request(nodes.network)
        self._assemble_proposal = assemble_proposal
        self._on_template = on_template
        self._on_tip = on_tip
        self._on_withdraw = on_withdraw
        self._on_alert = on_alert
        self._head_start = head_start
        self._pacing = pacing or TemplatePacing()
        self._clock = clock
        self._wake = asyncio.Event()
        self._tip: bytes | None = None
        self._current: Template | None = None
        self._proven: set[Hashable] = set()
        self._asked: tuple[Node, asyncio.Timeout] | None = None  # who is being asked for a template
        self._complaints: set[tuple[str, str, str]] = set()

    @property
    def current(self) -> Template | None:
        """The template last published, None before the first and after a withdrawal."""
        return self._current

    def new_tip(self, tip: Tip) -> None:
        """Make work on other tips stale and fetch a template at once (the `publish` of TipWatcher)."""
        self._tip = tip.hash
        if self._current is None or self._current.prev_hash != tip.hash:
            self._on_tip(tip)
        self._wake.set()

    def refresh(self) -> None:
        """Fetch a template at once (the `on_refresh` of TipWatcher), and no longer wait for a node that is down."""
        self._wake.set()
        if self._asked is not None:
            node, patience = self._asked
            if not node.usable:
                self._asked = None  # once only: a time limit that has passed cannot be moved
                patience.reschedule(asyncio.get_running_loop().time())

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve_forever(), name="templates")
            group.create_task(self._withdraw_when_silent(), name="template withdrawal")

    async def prove(self, node: Node, shape: Hashable, block: bytes) -> bool:
        """Whether `node` accepts a `block` of this coinbase shape; False means a race: ask with a fresh template.

        A shape once accepted is not asked for again. Raises ProposalRefusedError, RpcError.
        """
        if shape in self._proven:
            return True
        proposal = {**self._request, "mode": "proposal", "data": block.hex()}
        try:
            verdict = await node.rpc.call("getblocktemplate", proposal, timeout_s=self._pacing.fetch_limit_s)
        except RpcRefusedError as refused:
            if refused.code == DESERIALIZATION:
                raise ProposalRefusedError(str(refused)) from refused
            raise
        if verdict is None:
            self._proven.add(shape)
            log.info("proposal_accepted", extra={"node": node.name, "block_bytes": len(block)})
            return True
        if str(verdict).startswith(("inconclusive", "duplicate-inconclusive")) or verdict == "duplicate":
            return False
        raise ProposalRefusedError(str(verdict))

    async def prove_now(self, assemble_proposal: Callable[[Template], tuple[Hashable, bytes]]) -> None:
        """Have the active node judge what `assemble_proposal` makes of the present template.

        A race is run again with the next template. Raises ProposalRefusedError, and RpcError where nothing is decided.
        """
        backoff = Backoff()
        for _race in range(_RACES):
            template, node = self._current, self._nodes.active
            if template and node and await self.prove(node, *assemble_proposal(template)):
                return
            await asyncio.sleep(backoff.next_s())
        raise RpcUnavailableError("there is no block template that could be proposed")

    async def _serve_forever(self) -> None:
        pacing = self._pacing
        backoff = Backoff(pacing.backoff_first_s, pacing.backoff_cap_s)
        while True:
            await self._head_start()
            self._wake.clear()
            try:
                served = await self._serve()
            except ProposalRefusedError:
                wait_s = pacing.refused_s
            else:
                wait_s = pacing.refresh_s if served else backoff.next_s()
                if served:
                    backoff.reset()
            with suppress(TimeoutError):
                async with asyncio.timeout(wait_s):
                    await self._wake.wait()

    async def _serve(self) -> bool:
        """Publish a template of the first usable node that gives one; False if none does.

        Raises ProposalRefusedError: what one node refuses of our own making is not carried to the next.
        """
        for node in self._nodes.usable():
            try:
                if await self._serve_from(node):
                    return True
            except RpcError as error:
                # A node that is down is reported by the watch, and another one may serve.
                if isinstance(error, RpcRefusedError) and error.code in {NO_PEERS, INITIAL_DOWNLOAD}:
                    node.cut_off = True  # its tip counts for nothing as long as another node is well
                self._complain(logging.WARNING, "template_unavailable", node, str(error))
            except TemplateError as error:
                self._complain(logging.ERROR, "template_refused", node, str(error))
            except ProposalRefusedError as error:
                self._complain(logging.ERROR, "proposal_refused", node, str(error))
                raise
        return False

    async def _serve_from(self, node: Node) -> bool:
        for _race in range(_RACES):
            tip_before = self._tip
            reply = await self._fetch(node)
            fetched_at = self._clock()
            node.cut_off = False
            self._nodes.answered(node)
            template = parse_template(decode_template(reply), self._nodes.network, self._current)
            if self._is_overtaken(node, template, tip_before):
                if node is not self._nodes.active:
                    return False  # it lags behind: asking again at once does not help
                continue
            if await self.prove(node, *self._proposal(template)):
                if self._is_overtaken(node, template, tip_before):
                    continue
                self._current = template
                self._complaints = {one for one in self._complaints if one[1] != node.name}
                self._on_template(template, node, fetched_at)
                return True
        return False

    async def _fetch(self, node: Node) -> msgspec.Raw:
        try:
            async with asyncio.timeout(None) as patience:
                self._asked = node, patience
                return await node.rpc.call(
                    "getblocktemplate",
                    self._request,
                    decode=msgspec.Raw,
                    timeout_s=self._pacing.fetch_limit_s,
                )
        except TimeoutError as late:
            raise NodeUnreachableError(f"{node.name} went down while it was asked for a template") from late
        finally:
            self._asked = None

    def _proposal(self, template: Template) -> tuple[Hashable, bytes]:
        try:
            return self._assemble_proposal(template)
        except ValueError as error:
            raise TemplateError([f"no block can be built on it: {error}"]) from error

    def _is_overtaken(self, node: Node, template: Template, tip_before: bytes | None) -> bool:
        """Whether the watch knows a newer tip than the template builds on.

        Without news since the template was asked for, it is the template of the active node that knows better;
        another node may lag behind.
        """
        if self._tip is None or template.prev_hash == self._tip:
            return False
        return self._tip != tip_before or node is not self._nodes.active

    def _complain(self, level: int, event: str, node: Node, message: str) -> None:
        complaint = (event, node.name, message)
        if complaint in self._complaints:
            return
        if len(self._complaints) >= _MOST_COMPLAINTS:
            self._complaints.clear()
        self._complaints.add(complaint)
        log.log(level, event, extra={"node": node.name, "error": message})
        if level >= logging.ERROR:
            self._on_alert(event, message)

    async def _withdraw_when_silent(self) -> None:
        max_age_s = self._pacing.job_max_age_s
        while True:
            left_s = max_age_s - self._nodes.silent_s()
            if left_s <= 0 and self._current is not None:
                self._current = None
                log.error("work_withdrawn", extra={"silent_s": round(self._nodes.silent_s(), 1)})
                self._on_withdraw()
            await asyncio.sleep(max(left_s, min(1.0, max_age_s)))


class _ChainReply(msgspec.Struct):
    chain: str
    signet_challenge: str | None = None


class _ChallengeReply(msgspec.Struct):
    signet_challenge: str | None = None


class _AddressReply(msgspec.Struct):
    isvalid: bool
    scriptPubKey: str = ""  # noqa: N815 - the node's own name
    error: str = ""


async def check_chain(node: Node, network: str) -> None:
    """Make sure `node` is on `network` and, for a signet, that it is one we can mine.

    Raises NetworkMismatchError, SignetChallengeError, RpcError.
    """
    reply = await node.rpc.call("getblockchaininfo", decode=_ChainReply, retry_s=5.0)
    if reply.chain != network:
        raise NetworkMismatchError(
            f"{node.name} is on {reply.chain!r}, the configuration says {network!r}: correct `network` or `rpc_url`"
        )
    if network != "signet":
        return
    challenge = reply.signet_challenge
    if challenge is None:  # nodes before version 28 say it in templates only
        template = await node.rpc.call("getblocktemplate", template_request(network), decode=_ChallengeReply)
        challenge = template.signet_challenge
    if challenge != OP_TRUE_CHALLENGE:
        problem = (
            f"{node.name} is on a signet whose blocks need a signature (challenge {challenge}); only one with "
            f"challenge {OP_TRUE_CHALLENGE} (OP_TRUE) can be mined: start bitcoind with -signetchallenge=51"
        )
        raise SignetChallengeError([problem])


async def validate_payout(
    node: Node, address: str, *, retry_s: float = 5.0, timeout_s: float | None = None
) -> bytes:
    """The scriptPubKey that pays to `address`, from the node itself.

    `retry_s` and `timeout_s` as with RpcClient. Raises PayoutAddressError when the node says it is invalid or of another
    network, RpcError.
    """
    reply = await node.rpc.call(
        "validateaddress", address, decode=_AddressReply, retry_s=retry_s, timeout_s=timeout_s
    )
    if not reply.isvalid:
        reason = reply.error or "not an address of its network"
        like = networks_like(address)
        hint = f" (it looks like an address of {either(like)})" if like else ""
        raise PayoutAddressError(
            f"payout address {address!r} is refused by {node.name}: {reason}{hint}", reason
        )
    try:
        return bytes.fromhex(reply.scriptPubKey)
    except ValueError as garbage:
        reason = f"{node.name} gives no script for payout address {address!r}"
        raise PayoutAddressError(reason, reason) from garbage


# How addresses look; only to word an error better than the node does, never to judge an address.
_TESTS = ("test", "testnet4", "signet")
_BEGINNINGS = {"bc1": ("main",), "tb1": _TESTS, "bcrt1": ("regtest",)}
_BASE58_BEGINNINGS = {
    **dict.fromkeys("13", ("main",)),
    **dict.fromkeys("mn2", (*_TESTS, "regtest")),
}
_BASE58 = re.compile("[1-9A-HJ-NP-Za-km-z]{26,35}")


def networks_like(address: str) -> tuple[str, ...]:
    """Networks whose addresses begin like this text; none if it does not look like an address."""
    for start, networks in _BEGINNINGS.items():
        if address.lower().startswith(start):
            return networks
    return _BASE58_BEGINNINGS.get(address[0], ()) if _BASE58.fullmatch(address) else ()


def either(names: Sequence[str]) -> str:
    """The names as a choice between them."""
    return " or ".join(filter(None, (", ".join(names[:-1]), names[-1])))
