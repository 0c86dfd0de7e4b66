"""Whether the work of pools is what it should be: whom it pays, how hard it is, what it builds on. Hijackings show here first."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from miner.config import Config
from miner.config_pool import PoolConfig, UpstreamsConfig
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError
from miner.metrics_pools import PoolMetrics
from miner.node.nodes import NodeSet
from miner.node.rpc import NOT_FOUND, RpcError, RpcRefusedError, internal_hash
from miner.node.templates import PayoutAddressError, validate_payout
from miner.work.job import Job
from miner.work.pool_job import outputs_of
from miner.work.sanity import Finding, PoolWatch

log = logging.getLogger(__name__)

CHAIN_CHECK_S: Final = 5.0
"""How often the own node is asked about the block that a pool's work builds on."""
NODE_LIMIT_S: Final = 3.0
ALERT: Final = "pool_suspicious"


class _ChainReply(msgspec.Struct):
    blocks: int
    bestblockhash: str
    initialblockdownload: bool


class _HeaderReply(msgspec.Struct):
    height: int


class PoolGuard:
    """Looks at every job of the pools; `run` compares what they build on with what our own nodes know.

    `known` are the payees that the ledger knows by the pools' names, for pools whose configuration names none.
    `on_condemned(name, why)` hears of a pool whose work was suspicious too often.
    """

    def __init__(
        self,
        config: Config,
        recorder: Recorder,
        metrics: PoolMetrics,
        nodes: NodeSet,
        *,
        known: Mapping[str, Iterable[bytes]],
        on_condemned: Callable[[str, str], None],
        on_alert: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._pools = {pool.label: pool for pool in config.pool}
        self._recorder = recorder
        self._metrics = metrics
        self._nodes = nodes
        self._on_condemned = on_condemned
        self._on_alert = on_alert
        self._clock = clock
        self._tip: tuple[bytes, float] | None = None  # of the own node, and since when
        self._suspicion: dict[str, str] = {}  # the last one against each pool, until a good job
        self._watches = {
            pool.label: _watch(config.upstreams, pool, known.get(pool.label, ())) for pool in config.pool
        }

    async def run(self, current: Callable[[], Job | None]) -> None:
        """Watch until cancelled; `current()` is the pool's job that is mined."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._watch_chain(current), name="pool chain")
            group.create_task(self._translate_payees(), name="pool payees")

    def suspicions(self, name: str) -> Mapping[str, int]:
        """How often each kind of suspicion was raised against a pool since the start."""
        return {kind.value: times for kind, times in self._watches[name].counts.items()}

    def reconnected(self, name: str) -> None:
        """The pool was connected anew: its difficulty may be any other."""
        self._watches[name].reconnected()

    def take(self, job: Job, difficulty: float, now: float) -> bool:
        """Whether a pool's job, whose shares must have this difficulty, may be mined; what is suspicious is told."""
        name, watch = job.origin, self._watches[job.origin]
        findings = watch.job(job, outputs_of(job), difficulty, now)
        if self._is_condemned(name, findings):
            return False
        if not watch.is_suspicious and self._suspicion.pop(name, ""):
            self._on_alert(f"{ALERT}:{name}", "")
        scripts = watch.new_payees()
        if scripts:
            try:
                self._recorder.add_pool_payees(name, scripts)
            except LedgerError as error:
                log.warning("pool_payees_unwritten", extra={"pool": name, "error": str(error)})
        return True

    def _is_condemned(self, name: str, findings: Iterable[Finding]) -> bool:
        """Tell what is suspicious; a pool with too much of it is left."""
        for finding in findings:
            log.warning(
                "pool_suspicious", extra={"pool": name, "kind": finding.kind.value, "why": finding.text}
            )
            self._metrics.suspected(name, finding.kind.value)
            self._suspicion[name] = finding.text
            self._on_alert(f"{ALERT}:{name}", f"pool {name}: {finding.text}")
        if not self._watches[name].condemned:
            return False
        self._on_condemned(name, self._suspicion.get(name, "its work is suspicious"))
        return True

    # ---- Payees ------------------------------------------------------------------------------------------------

    async def _translate_payees(self) -> None:
        """Have a node say which scripts the configured payees' addresses are; until one does, payees are learned."""
        waiting = [pool for pool in self._pools.values() if pool.payee_addresses]
        while waiting and len(self._nodes):
            waiting = [pool for pool in waiting if not await self._translate(pool)]
            if waiting:
                await asyncio.sleep(CHAIN_CHECK_S)

    async def _translate(self, pool: PoolConfig) -> bool:
        """Whether the node has said what there is to be said of a pool's payees."""
        node = self._nodes.active or next(iter(self._nodes))
        try:
            scripts = [await validate_payout(node, address) for address in pool.payee_addresses]
        except PayoutAddressError as error:
            log.error("pool_payee_refused", extra={"pool": pool.label, "error": str(error)})  # noqa: TRY400
            self._on_alert(f"{ALERT}:{pool.label}", f"pool {pool.label}: {error}")
            return True
        except RpcError as error:
            log.debug("pool_payees_untranslated", extra={"pool": pool.label, "error": str(error)})
            return False
        self._watches[pool.label].fix_payees((*pool.payee_scripts, *scripts))
        return True

    # ---- The chain ---------------------------------------------------------------------------------------------

    async def _watch_chain(self, current: Callable[[], Job | None]) -> None:
        while len(self._nodes):
            await asyncio.sleep(CHAIN_CHECK_S)
            job = current()
            if job is None:
                continue
            known = await self._ask_node(job.prev_hash)
            if current() is not job:
                continue
            tip, seen_at = self._tip or (None, None)
            findings = self._watches[job.origin].chain(
                job.prev_hash, self._clock(), node_tip=tip, tip_seen_at=seen_at, known=known
            )
            self._is_condemned(job.origin, findings)  # without a new finding, too: one that lasts is enough

    async def _ask_node(self, prev_hash: bytes) -> bool | None:
        """Whether our node has that block, noting its tip; None while it cannot tell, or is not ahead of it itself."""
        rpc = (self._nodes.active or next(iter(self._nodes))).rpc
        try:
            chain = await rpc.call("getblockchaininfo", decode=_ChainReply, timeout_s=NODE_LIMIT_S)
            if self._nodes.needs_sync and (
                chain.initialblockdownload
                or not await rpc.call("getconnectioncount", decode=int, timeout_s=NODE_LIMIT_S)
            ):
                self._tip = None
                return None
            tip = internal_hash(chain.bestblockhash)
            if self._tip is None or self._tip[0] != tip:
                self._tip = tip, self._clock()
            header = await rpc.call(
                "getblockheader", prev_hash[::-1].hex(), decode=_HeaderReply, timeout_s=NODE_LIMIT_S
            )
        except RpcError as error:
            if isinstance(error, RpcRefusedError) and error.code == NOT_FOUND:
                return False
            self._tip = None
            return None
        # Of two blocks of one height either may win: who builds on the other one has not been left behind.
        return True if prev_hash == tip or header.height < chain.blocks else None


def _watch(rules: UpstreamsConfig, pool: PoolConfig, known: Iterable[bytes]) -> PoolWatch:
    """The watch over a pool; scripts alone do not say whom it pays while addresses beside them are not translated."""
    named = () if pool.payee_addresses else pool.payee_scripts
    return PoolWatch(
        named or known,
        fixed=bool(named),
        limit=rules.suspicions,
        difficulty_factor=rules.difficulty_factor,
    )
