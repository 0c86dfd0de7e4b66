"""Watches the nodes for new chain tips: ZMQ, a wait for the next block and a poll at once, whichever is first.

The wait is `waitfornewblock`, and where a node refuses that, a longpoll.

The poll is the health probe of every node as well. Only the active node's tip is acted upon, since only its
templates are mined; a tip seen first at another node makes the active one be asked at once.
"""

import asyncio
import logging
import math
import time
from collections import deque
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Literal

import msgspec
import zmq
import zmq.asyncio

from miner.node.nodes import Node, NodeSet
from miner.node.rpc import (
    Backoff,
    BadAnswerError,
    RpcError,
    RpcRefusedError,
    RpcTimeoutError,
    UnauthorizedError,
    internal_hash,
)

log = logging.getLogger(__name__)

Source = Literal["zmq", "wait", "longpoll", "poll"]

_HASH_SIZE = 32
_REMEMBERED_TIPS = 64


@dataclass(frozen=True, slots=True)
class Tip:
    """A new best block of the active node: `hash` in internal order, `seen_at` in unix seconds."""

    hash: bytes
    node: Node
    source: Source
    seen_at: float


@dataclass(frozen=True, slots=True)
class Pacing:
    """Intervals and limits of the watch, in seconds."""

    poll_s: float = 1.0
    poll_limit_s: float = 3.0
    sync_check_s: float = 60.0  # how often a synced node is asked whether it still is
    wait_s: float = 25.0  # the node ends each wait by then: an abandoned one keeps one of its RPC threads
    wait_grace_s: float = 5.0  # how long after that its answer may come
    wait_overlap_s: float = 0.1  # by then a wait that was sent has begun
    wait_again_s: float = 3600.0  # how long a node that refused the wait is longpolled
    longpoll_limit_s: float = (
        3600.0  # an abandoned longpoll keeps one of bitcoind's RPC threads: rarely, then
    )
    no_news_least_s: float = (
        1.0  # an answer without a new tip that comes sooner was none of a node that waited
    )
    backoff_cap_s: float = 2.0


class _ChainState(msgspec.Struct):
    bestblockhash: str
    chainwork: str
    initialblockdownload: bool

    @property
    def work(self) -> int:
        """Expected hashes of the best chain. Raises BadAnswerError."""
        try:
            return int(self.chainwork, 16)
        except ValueError as garbage:
            raise BadAnswerError(f"{self.chainwork[:80]!r} is no amount of work") from garbage


class _WaitReply(msgspec.Struct):
    hash: str


class _LongpollReply(msgspec.Struct):
    previousblockhash: str
    longpollid: str


class TipWatcher:
    """Publishes each new tip of the active node once, and each change of a node's health once.

    Callbacks are called in the event loop and must not block: `on_health(node, up, error)` when a node goes up or
    down (`error` is empty when up), `on_refresh()` when the tip stands but the template should be fetched anew:
    the node has other transactions, or another node has become the active one.
    """

    def __init__(
        self,
        nodes: NodeSet,
        template_params: Mapping[str, Any],
        *,
        on_health: Callable[[Node, bool, str], None] = lambda _node, _up, _error: None,
        on_refresh: Callable[[], None] = lambda: None,
        pacing: Pacing | None = None,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`template_params` is the request of getblocktemplate; `clock` gives unix seconds."""
        self._nodes = nodes
        self._template_params = dict(template_params)
        self._on_health = on_health
        self._on_refresh = on_refresh
        self._pacing = pacing or Pacing()
        self._clock = clock
        self._publish: Callable[[Tip], None] = lambda _tip: None
        self._published: deque[bytes] = deque(maxlen=_REMEMBERED_TIPS)
        self._generation = 0  # counts published tips
        self._told: dict[tuple[Node, Source], bytes] = {}  # what each source said last
        self._counted: dict[Node, tuple[bytes, float]] = {}  # the tip its state was asked at, good until
        self._unconfirmed: dict[bytes, Tip] = {}  # first sightings that the poll is asked about
        self._active: Node | None = None
        self._active_moved = asyncio.Event()
        self._wake = {node.name: asyncio.Event() for node in nodes}

    async def run(self, publish: Callable[[Tip], None]) -> None:
        """Watch until cancelled, calling `publish` with each new tip."""
        self._publish = publish
        context = zmq.asyncio.Context()
        try:
            async with asyncio.TaskGroup() as group:
                for node in self._nodes:
                    group.create_task(self._poll(node), name=f"poll {node.name}")
                    if node.zmq_hashblock:
                        group.create_task(
                            self._listen(context, node, node.zmq_hashblock), name=f"zmq {node.name}"
                        )
                group.create_task(self._await_blocks(), name="wait")
        finally:
            context.destroy(linger=0)

    # Poll: the tip of last resort, and the health of every node.

    async def _poll(self, node: Node) -> None:
        pacing, wake = self._pacing, self._wake[node.name]
        backoff = Backoff(min(0.1, pacing.poll_s), pacing.backoff_cap_s)
        while True:
            wake.clear()
            generation = self._generation
            try:
                tip = await self._ask(node)
            except RpcError as error:
                self._counted.pop(node, None)
                self._note_down(node, str(error))
                await asyncio.sleep(backoff.next_s())
                continue
            backoff.reset()
            self._note_up(node)
            self._nodes.answered(node)
            self._elect()
            # If another source told of a new tip while we asked, this answer may be of before: the next one tells.
            if generation == self._generation:
                self._seen(node, tip, "poll")
            with suppress(TimeoutError):
                async with asyncio.timeout(pacing.poll_s):
                    await wake.wait()

    async def _ask(self, node: Node) -> bytes:
        """The node's tip; also whether it is synced and how much work its chain has, when that may have changed."""
        pacing = self._pacing
        counted, until = self._counted.get(node, (b"", 0.0))
        if time.monotonic() < until:
            best = await node.rpc.call("getbestblockhash", decode=str, timeout_s=pacing.poll_limit_s)
            if internal_hash(best) == counted:
                return counted
        state = await node.rpc.call("getblockchaininfo", decode=_ChainState, timeout_s=pacing.poll_limit_s)
        tip, node.work = internal_hash(state.bestblockhash), state.work
        self._note_sync(node, synced=not (state.initialblockdownload and self._nodes.needs_sync))
        if node.synced:
            self._counted[node] = tip, time.monotonic() + pacing.sync_check_s
        return tip

    def _note_sync(self, node: Node, *, synced: bool) -> None:
        if node.synced is not synced:
            if not synced:
                log.warning("node_not_synced", extra={"node": node.name})
            elif node.synced is not None:
                log.info("node_synced", extra={"node": node.name})
            node.synced = synced

    def _note_up(self, node: Node) -> None:
        if node.up is not True:
            node.up, node.error = True, ""
            log.info("node_up", extra={"node": node.name})
            self._on_health(node, True, "")

    def _note_down(self, node: Node, error: str) -> None:
        was_up, node.up, node.error = node.up, False, error
        node.abreast_at = -math.inf  # blocks may pass it by while it is away
        if was_up is not False:
            log.warning("node_down", extra={"node": node.name, "error": error})
            self._on_health(node, False, error)
            self._elect()

    # ZMQ: the fastest, but a message can be lost, or come late after another source was first.

    async def _listen(self, context: zmq.asyncio.Context, node: Node, endpoint: str) -> None:
        socket = context.socket(zmq.SUB)
        socket.setsockopt(zmq.LINGER, 0)
        socket.setsockopt(zmq.RECONNECT_IVL, 100)
        socket.setsockopt(zmq.RECONNECT_IVL_MAX, int(self._pacing.backoff_cap_s * 1000))
        socket.setsockopt(zmq.HEARTBEAT_IVL, 30_000)  # a peer that vanished without a word is noticed, too
        socket.setsockopt(zmq.SUBSCRIBE, b"hashblock")
        try:
            socket.connect(endpoint)
        except zmq.ZMQError as error:
            log.error("zmq_unusable", extra={"node": node.name, "endpoint": endpoint, "error": str(error)})  # noqa: TRY400 - the trace says nothing more
            socket.close(linger=0)
            return
        try:
            while True:
                message = await socket.recv_multipart()
                if len(message) >= 2 and message[0] == b"hashblock" and len(message[1]) == _HASH_SIZE:  # noqa: PLR2004 - topic and body
                    self._seen(node, message[1][::-1], "zmq")  # sent in display order
        finally:
            socket.close(linger=0)

    # The wait for the next block: needs no ZMQ, is not late where ZMQ is, and costs the node nothing.

    async def _await_blocks(self) -> None:
        while True:
            self._active_moved.clear()
            if self._active is None:
                await self._active_moved.wait()
                continue
            async with asyncio.TaskGroup() as group:
                waiting = group.create_task(self._await_blocks_of(self._active))
                await self._active_moved.wait()
                waiting.cancel()

    async def _await_blocks_of(self, node: Node) -> None:
        while True:
            await self._wait(node)
            await self._longpoll(node)

    async def _wait(self, node: Node) -> None:
        """Follow the node by `waitfornewblock` for as long as it knows and allows that."""
        pacing = self._pacing
        backoff = Backoff(cap_s=pacing.backoff_cap_s)
        takes_tip = True  # versions 30 and later return at once when their tip is another than the one named
        while True:
            known, asked_at = node.tip, time.monotonic()
            names_tip = takes_tip and known is not None
            try:
                tip = await self._next_tip(node, known if names_tip else None)
            except RpcTimeoutError:
                continue  # the poll judges the node's health
            except (RpcRefusedError, UnauthorizedError) as refused:
                if names_tip and isinstance(refused, RpcRefusedError):
                    takes_tip = False
                    continue
                log.info("wait_refused", extra={"node": node.name, "error": str(refused)})
                return
            except RpcError as error:
                log.debug("wait_failed", extra={"node": node.name, "error": str(error)})
                await asyncio.sleep(backoff.next_s())
                continue
            self._seen(node, tip, "wait")
            if tip != known:
                backoff.reset()
            elif time.monotonic() - asked_at < min(pacing.no_news_least_s, pacing.wait_s):
                await asyncio.sleep(backoff.next_s())

    async def _next_tip(self, node: Node, known: bytes | None) -> bytes:
        """The node's tip once it is another than `known`, or than that of now; or after `wait_s`. Raises RpcError."""
        pacing = self._pacing
        params: tuple[object, ...] = (max(1, int(pacing.wait_s * 1000)),)  # for the node, 0 is without end
        if known is not None:
            params += (known[::-1].hex(),)
            self._told[node, "wait"] = known  # its answer will be of after that
        else:
            # A block that came before the node began to wait is nobody's news: the poll must look once it has begun.
            asyncio.get_running_loop().call_later(pacing.wait_overlap_s, self._wake[node.name].set)
        reply = await node.rpc.call(
            "waitfornewblock", *params, decode=_WaitReply, timeout_s=pacing.wait_s + pacing.wait_grace_s
        )
        return internal_hash(reply.hash)

    # Longpoll: also says when the transactions have changed. But before it answers, the node makes a whole template, and
    # holds its main lock meanwhile: our question for the header would wait with it.

    async def _longpoll(self, node: Node) -> None:
        """Follow the node by longpoll for `wait_again_s`."""
        backoff = Backoff(cap_s=self._pacing.backoff_cap_s)
        longpoll_id: str | None = None
        until = time.monotonic() + self._pacing.wait_again_s
        while time.monotonic() < until:
            request = dict(self._template_params)
            if longpoll_id is not None:
                request["longpollid"] = longpoll_id
            asked_at = time.monotonic()
            try:
                reply = await node.rpc.call(
                    "getblocktemplate",
                    request,
                    decode=_LongpollReply,
                    timeout_s=self._pacing.longpoll_limit_s,
                )
                tip = internal_hash(reply.previousblockhash)
            except RpcTimeoutError:
                continue  # a chain as quiet as this has no news
            except RpcError as error:
                # The poll judges the node's health; what only this call refuses (-9, -10) the templates report.
                log.debug("longpoll_failed", extra={"node": node.name, "error": str(error)})
                await asyncio.sleep(backoff.next_s())
                continue
            first, longpoll_id = longpoll_id is None, reply.longpollid
            known = bool(self._published) and tip == self._published[-1]
            self._seen(node, tip, "longpoll")
            if first or not known:
                backoff.reset()
                continue
            self._on_refresh()
            if time.monotonic() - asked_at < self._pacing.no_news_least_s:
                await asyncio.sleep(backoff.next_s())  # a proxy, say, that does not know longpolls

    # What the sources saw, and the node that counts.

    def _seen(self, node: Node, tip: bytes, source: Source) -> None:
        node.tip = tip
        before = self._told.get((node, source))
        self._told[node, source] = tip
        current = self._published[-1] if self._published else None
        if tip == current:
            if source == "poll":
                self._unconfirmed.clear()
            return
        if node is not self._active:
            if self._active is not None:
                self._wake[self._active.name].set()
            return
        if source != "poll" and current is not None and (before != current or tip in self._published):
            # This source lags behind another, so its news may be of an old tip; or the chain really went back. Only
            # an answer to a question of now can tell.
            self._unconfirmed[tip] = Tip(tip, node, source, self._clock())
            self._wake[node.name].set()
            return
        seen = self._unconfirmed.get(tip)
        self._unconfirmed.clear()
        self._published.append(tip)
        self._generation += 1
        self._publish(
            seen if seen is not None and seen.node is node else Tip(tip, node, source, self._clock())
        )

    def _elect(self) -> None:
        active = self._nodes.active
        if active is self._active:
            return
        self._active = active
        self._active_moved.set()
        log.info("node_active", extra={"node": active.name if active else ""})
        if active is not None:
            self._wake[active.name].set()  # its tip as last polled may be old
            self._on_refresh()
