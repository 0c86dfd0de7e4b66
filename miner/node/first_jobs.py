"""Brings the first job on each new tip: the node is asked for the tip's header before it makes its template.

An empty block is hashed only after the node has once accepted one as a proposal, made by the very same rules on the
tip of a template.
"""

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable, Hashable
from contextlib import suppress

import msgspec

from miner.node.nodes import Node
from miner.node.rpc import BadAnswerError, RpcError
from miner.node.templates import ProposalRefusedError
from miner.node.tips import Tip
from miner.work.first_job import NoFirstJob, TipHeader, difference, first_template
from miner.work.template import Template

log = logging.getLogger(__name__)

HEADER_LIMIT_S = 1.0
"""How long the header is waited for: by then the template itself should be there."""
HEAD_START_S = 0.02
"""How long the template waits for the header: by then the node has the question, and what holds it up holds both up."""


class _HeaderReply(msgspec.Struct):
    height: int
    bits: str
    mediantime: int
    confirmations: int


class FirstJobs:
    """Makes a template of an empty block for each new tip that the full one keeps waiting.

    `prove(node, shape, block)` and `assemble_proposal(template)` are as with TemplateService, which knows what is
    proven. Callbacks are called in the event loop and must not block: `on_template(template, tip)` gets the empty one;
    `on_alert(event, message)` is told when empty blocks turn out to be wrong: then there are none until the next start.
    """

    def __init__(
        self,
        network: str,
        prove: Callable[[Node, Hashable, bytes], Awaitable[bool]],
        assemble_proposal: Callable[[Template], tuple[Hashable, bytes]],
        on_template: Callable[[Template, Tip], None],
        *,
        on_alert: Callable[[str, str], None],
        clock: Callable[[], float] = time.time,
    ) -> None:
        """`clock` gives unix seconds."""
        self._network = network
        self._prove = prove
        self._assemble_proposal = assemble_proposal
        self._on_template = on_template
        self._on_alert = on_alert
        self._clock = clock
        self._tip: Tip | None = None
        self._tip_seen = asyncio.Event()
        self._header_settled = asyncio.Event()  # whether no header is being asked for
        self._header_settled.set()
        self._full: tuple[Template, Node, float] | None = None  # the node's last template, and when it came
        self._full_came = asyncio.Event()
        self._given: Template | None = None
        self._proven = False
        self._refused = False

    @property
    def proven(self) -> bool:
        """Whether a node has accepted an empty block as a proposal, and nothing has spoken against them since."""
        return self._proven and not self._refused

    def new_tip(self, tip: Tip) -> None:
        """Ask for the header of a new tip at once."""
        self._tip = tip
        self._tip_seen.set()
        if self._wanted() is not None:
            self._header_settled.clear()

    async def head_start(self) -> None:
        """Let the question for a header be answered before a template is asked for, but no longer than HEAD_START_S.

        A node that makes a template holds its main lock meanwhile, and the header, the quicker answer by far, would wait.
        """
        with suppress(TimeoutError):
            async with asyncio.timeout(HEAD_START_S):
                await self._header_settled.wait()

    def template_taken(self, template: Template, node: Node, fetched_at: float) -> None:
        """Note the template that is hashed now; the empty one of its tip must have said the same."""
        self._full = template, node, fetched_at
        self._full_came.set()
        given, self._given = self._given, None
        if (
            given is not None
            and given.prev_hash == template.prev_hash
            and (wrong := difference(given, template))
        ):
            self._give_up(node, wrong)

    def forget(self) -> None:
        """The work is withdrawn, since no node answers: nothing is hashed before the next template."""
        self._full = None

    async def run(self) -> None:
        """Serve until cancelled."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._serve(), name="first jobs")
            group.create_task(self._prove_once(), name="first job proposal")

    async def _serve(self) -> None:
        while True:
            await self._tip_seen.wait()
            self._tip_seen.clear()
            if (wanted := self._wanted()) is not None:
                await self._give_first(*wanted)
            if not self._tip_seen.is_set():
                self._header_settled.set()

    def _wanted(self) -> tuple[Tip, tuple[Template, Node, float]] | None:
        """The tip that wants an empty job, and the full template before it; None where there is to be none."""
        tip, full = self._tip, self._full
        if not self.proven or tip is None or full is None or full[0].prev_hash == tip.hash:
            return None
        return tip, full

    async def _give_first(self, tip: Tip, full: tuple[Template, Node, float]) -> None:
        template = await self._ask(tip.node, tip.hash, full)
        if self._tip is not tip or self._full is not full or template is None:
            return  # overtaken by the next tip, by the full template, or by the nodes' silence
        self._given = template
        self._on_template(template, tip)

    async def _ask(self, node: Node, tip_hash: bytes, full: tuple[Template, Node, float]) -> Template | None:
        """The empty template on the tip; None where there can be none, for reasons that are the log's."""
        before, _, fetched_at = full
        try:
            reply = await node.rpc.call(
                "getblockheader", tip_hash[::-1].hex(), decode=_HeaderReply, timeout_s=HEADER_LIMIT_S
            )
            made = _judge(reply, tip_hash, self._network, before, fetched_at, self._clock())
        except RpcError as error:
            made = NoFirstJob(str(error))
        if isinstance(made, Template):
            return made
        log.info("no_first_job", extra={"node": node.name, "reason": made.reason})
        return None

    async def _prove_once(self) -> None:
        """Propose an empty block on the tip of each template until one is accepted or refused."""
        while not self._proven and not self._refused:
            await self._full_came.wait()
            self._full_came.clear()
            full = self._full
            if full is None:
                continue
            template, node, _ = full
            empty = await self._ask(node, template.prev_hash, full)
            if empty is None:
                continue
            try:
                if wrong := difference(empty, template):
                    raise ProposalRefusedError(wrong)
                shape, block = self._assemble_proposal(empty)
                self._proven = await self._prove(node, ("empty", shape), block)
            except ProposalRefusedError as error:
                self._give_up(node, str(error))
            except RpcError as error:
                log.info("first_job_unproven", extra={"node": node.name, "error": str(error)})

    def _give_up(self, node: Node, why: str) -> None:
        self._refused = True
        log.error("first_job_refused", extra={"node": node.name, "error": why})
        self._on_alert("first_job_refused", why)


def _judge(
    reply: _HeaderReply, tip_hash: bytes, network: str, before: Template, fetched_at: float, now: float
) -> Template | NoFirstJob:
    """What the header makes of a first job. Raises BadAnswerError for a header that is none."""
    if reply.confirmations != 1:
        return NoFirstJob("it is not the tip of the node's best chain any more")
    try:
        bits = int(reply.bits, 16)
    except ValueError as garbage:
        raise BadAnswerError(f"{reply.bits[:80]!r} are no bits") from garbage
    tip = TipHeader(tip_hash, reply.height, bits, reply.mediantime)
    return first_template(tip, network, before, fetched_at, now)
