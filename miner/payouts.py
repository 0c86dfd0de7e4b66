"""User names as payout addresses: which script a Stratum miner's blocks pay to, as the node says it.

There is no address code here: the node translates an address and, for the first script of each kind, judges a block
that pays to one. Strangers can ask as often as they like, so what is asked of the node is bounded and remembered.
"""

import asyncio
import logging
import re
import time
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import TypeVar

from miner.chain.payout_script import PayoutKind, payout_kind
from miner.node.nodes import NodeSet
from miner.node.rpc import RpcError
from miner.node.templates import (
    PayoutAddressError,
    ProposalRefusedError,
    either,
    networks_like,
    validate_payout,
)

log = logging.getLogger(__name__)

_Answer = TypeVar("_Answer")

ALERT = "payout_refused"
"""The name of the alert that a kind of address is refused."""

# Bech32 addresses have up to 90 characters, base58 ones at least 26, and neither holds a dot or an underscore.
_ADDRESS = re.compile(r"([0-9A-Za-z]{14,90})(?:[._].*)?", re.DOTALL)
_EXAMPLES = {"main": "bc1q...", "regtest": "bcrt1q..."}


@dataclass(frozen=True, slots=True)
class PayoutLimits:
    """What strangers may cost: calls at once, addresses waiting, answers kept, and times in seconds."""

    calls: int = 4
    waiting: int = 1_000
    payees: int = 50_000
    refusals: int = 10_000
    refused_s: float = 60.0  # until an address or a kind of script that was refused is asked about again
    undecided_s: float = 2.0  # the same after a proposal that came to nothing
    call_s: float = 5.0
    answer_s: float = 20.0  # the longest that a login waits


@dataclass(frozen=True, slots=True)
class Payee:
    """Whom the blocks of a user name pay: the script is the node's translation of the address."""

    address: str
    script: bytes


@dataclass(frozen=True, slots=True)
class PayoutRefused:
    """Why no block can pay this user name; `temporary`: the same name may be taken in a while."""

    why: str
    temporary: bool = False


def address_of(name: str) -> str | None:
    """The address of `address.worker`, `address_worker` or a bare address; None where there cannot be one."""
    found = _ADDRESS.fullmatch(name)
    return None if found is None else found[1]


class PayoutBook:
    """Knows the payee of each user name, and asks the nodes for those it does not know while `run` runs.

    `prove(script)` has the node judge a block that pays to the script: it raises ProposalRefusedError, and RpcError
    where nothing is decided. `on_alert(name, message)` is told when a kind of script is refused, and with an empty
    message when it is accepted after all. `clock` measures ages in seconds.
    """

    def __init__(
        self,
        nodes: NodeSet,
        prove: Callable[[bytes], Awaitable[None]],
        *,
        on_alert: Callable[[str, str], None],
        limits: PayoutLimits | None = None,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._nodes = nodes
        self._prove = prove
        self._on_alert = on_alert
        self._limits = limits or PayoutLimits()
        self._clock = clock
        self._payees: OrderedDict[str, Payee] = OrderedDict()  # by address, the last asked for last
        self._refusals: OrderedDict[str, tuple[PayoutRefused, float]] = OrderedDict()  # with their ends
        self._proven: set[PayoutKind] = set()
        self._unproven: dict[PayoutKind, tuple[PayoutRefused, float]] = {}  # with their ends
        self._alerted: set[PayoutKind] = set()
        self._proving = asyncio.Lock()
        self._asked: dict[str, asyncio.Future[Payee | PayoutRefused]] = {}
        self._queue: asyncio.Queue[str] = asyncio.Queue()  # no longer than `_asked` is large

    def known(self, name: str) -> Payee | PayoutRefused | None:
        """The answer for a user name, if it need not be asked of a node; else None: `resolve` it."""
        address = address_of(name)
        if address is None:
            return self._no_address()
        payee = self._payees.get(address)
        if payee is not None:
            self._payees.move_to_end(address)
            return payee
        refusal, until = self._refusals.get(address, (None, 0.0))
        return refusal if self._clock() < until else None

    async def resolve(self, name: str) -> Payee | PayoutRefused:
        """The answer for a user name, asked of the nodes where it is not known."""
        answer, address = self.known(name), address_of(name)
        if answer is not None or address is None:
            return answer or self._no_address()
        asked = self._asked.get(address)
        if asked is None:
            if len(self._asked) >= self._limits.waiting:
                return PayoutRefused(
                    "too many new addresses at once: try again in a few seconds", temporary=True
                )
            asked = self._asked[address] = asyncio.get_running_loop().create_future()
            self._queue.put_nowait(address)
        try:
            async with asyncio.timeout(self._limits.answer_s):
                return await asyncio.shield(asked)  # others may wait for the same answer
        except TimeoutError:
            return self._nobody_answers()

    async def run(self) -> None:
        """Ask the nodes until cancelled."""
        try:
            async with asyncio.TaskGroup() as group:
                for number in range(self._limits.calls):
                    group.create_task(self._ask_on(), name=f"payout addresses {number}")
        finally:
            while self._asked:  # nobody is left to answer those who still wait
                self._asked.popitem()[1].set_result(self._nobody_answers())

    async def _ask_on(self) -> None:
        limits = self._limits
        while True:
            address = await self._queue.get()
            answer: Payee | PayoutRefused = self._nobody_answers()
            try:
                answer = await self._ask(address)
            finally:
                self._asked.pop(address).set_result(answer)
            if isinstance(answer, Payee):
                _keep(self._payees, address, answer, limits.payees)
            elif not answer.temporary:
                _keep(self._refusals, address, (answer, self._clock() + limits.refused_s), limits.refusals)

    async def _ask(self, address: str) -> Payee | PayoutRefused:
        for node in self._nodes.usable():
            try:
                script = await validate_payout(node, address, retry_s=0.0, timeout_s=self._limits.call_s)
            except PayoutAddressError as error:
                return self._not_ours(address, error.reason)
            except RpcError as error:
                log.info("payout_unasked", extra={"node": node.name, "error": str(error)})
                continue
            kind = payout_kind(script)
            if kind is None:
                return PayoutRefused(
                    f"{address} is of no kind that blocks are paid to here: "
                    "use an address that begins like those of a wallet"
                )
            return await self._proven_kind(kind, script) or Payee(address, script)
        return self._nobody_answers()

    async def _proven_kind(self, kind: PayoutKind, script: bytes) -> PayoutRefused | None:
        """Have the first script of each kind judged; None when blocks that pay to this kind are accepted."""
        if kind in self._proven:
            return None
        async with self._proving:
            refusal, until = self._unproven.get(kind, (None, 0.0))
            if kind in self._proven or self._clock() < until:
                return None if kind in self._proven else refusal
            try:
                await self._prove(script)
            except ProposalRefusedError as error:
                log.error("payout_kind_refused", extra={"kind": kind, "error": str(error)})  # noqa: TRY400 - the trace says nothing more
                self._alerted.add(kind)
                self._on_alert(ALERT, f"{kind}: {error}")
                refusal = PayoutRefused(f"the node refuses blocks that pay to this kind of address: {error}")
                self._unproven[kind] = refusal, self._clock() + self._limits.refused_s
                return refusal
            except RpcError as error:
                log.info("payout_kind_unproven", extra={"kind": kind, "error": str(error)})
                refusal = self._nobody_answers()
                self._unproven[kind] = refusal, self._clock() + self._limits.undecided_s
                return refusal
            self._proven.add(kind)
            if kind in self._alerted:
                self._alerted.remove(kind)
                if not self._alerted:
                    self._on_alert(ALERT, "")
            return None

    def _no_address(self) -> PayoutRefused:
        network = self._nodes.network
        example = _EXAMPLES.get(network, "tb1q...")
        return PayoutRefused(
            f"the user name must be an address of {network}, alone or with a worker's name, like {example}.rig1: "
            "it is what your blocks pay to"
        )

    def _not_ours(self, address: str, reason: str) -> PayoutRefused:
        network, like = self._nodes.network, networks_like(address)
        if like and network not in like:
            return PayoutRefused(
                f"{address} looks like an address of {either(like)}, but here {network} is mined: "
                f"log in with an address of {network}"
            )
        return PayoutRefused(f"{self._no_address().why}; {address} is none: {reason}")

    def _nobody_answers(self) -> PayoutRefused:
        return PayoutRefused(
            "no bitcoind can say now whether blocks can pay to this address: try again in a minute",
            temporary=True,
        )


def _keep(kept: OrderedDict[str, _Answer], address: str, value: _Answer, most: int) -> None:
    kept[address] = value
    kept.move_to_end(address)
    while len(kept) > most:
        kept.popitem(last=False)
