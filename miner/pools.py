"""Mining for pools: their work becomes jobs, what they want goes up, and their word on it is kept."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field, replace
from itertools import count
from typing import Final

import msgspec

from miner.chain.difficulty import difficulty_of_target
from miner.config import Config
from miner.config_pool import PoolConfig, UpstreamsConfig
from miner.desk import PoolFind
from miner.hashing.station import UNIT_ID
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError, PoolShareRow, PoolShareSums, PoolShareVerdict
from miner.metrics_pools import PoolMetrics
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcError, RpcRefusedError
from miner.node.templates import PayoutAddressError, validate_payout
from miner.site import pool_settings
from miner.stratum import v1
from miner.stratum.pool_events import (
    PoolAccepted,
    PoolRejected,
    PoolSilent,
    PoolSubmission,
    PoolVerdict,
    Work,
)
from miner.stratum.upstreams import Upstreams
from miner.work.job import Job, JobBook
from miner.work.layout import Layout, layout_of
from miner.work.pay import PoolPay, rejected_ratio
from miner.work.pool_job import (
    PoolJobError,
    outputs_of,
    pool_job,
    upstream_extranonce2,
    upstream_version_bits,
)
from miner.work.sanity import Finding, PoolWatch
from miner.work.shelf import Shelf

log = logging.getLogger(__name__)

CHAIN_CHECK_S: Final = 5.0
"""How often the own node is asked about the block that the pool's work builds on."""
NODE_LIMIT_S: Final = 3.0
REFUSED_IN_A_ROW: Final = 20
REFUSED_FOR_S: Final = 10.0
"""So many shares refused, over so long, and none accepted between: the pool is left."""
UNANSWERED: Final = "The pool did not answer"
ALERT: Final = "pool_suspicious"


@dataclass(slots=True)
class _Pool:
    """One pool: its jobs, what is suspicious about them, and what became of its shares."""

    config: PoolConfig
    book: JobBook
    watch: PoolWatch
    sums: PoolShareSums
    epoch: int = 0
    difficulty: float = 0.0
    suspicion: str = field(default="", repr=False)
    refused: int = 0  # in a row
    refused_since: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """A share that waits for the pool's word; `is_awaited`: so does the miner who found it."""

    pool: _Pool
    credited: float
    is_awaited: bool


class _HeaderReply(msgspec.Struct):
    height: int


def first_layout(config: Config, standard: Layout) -> Layout:
    """What miners count up before the first pool has said how much room there is: what most pools leave."""
    if not config.pool:
        return standard
    return layout_of(8, standard.extranonce2_size)


class Pools:
    """The pools of a configuration; `run` keeps the best of them mined.

    `on_work(job)` gets each job of the pool that is mined, None while none is well; `on_layout(layout)` comes before a job
    whose extranonces have other sizes. `on_answered(token, error)` brings a pool's word on a share whose answer waits for it:
    None for accepted. `known` and `sums` are what the ledger knows of payees and shares by the pools' names; ids of
    shares rise from `first_id`.
    """

    def __init__(  # noqa: PLR0913 - the composition root hands over each part by name
        self,
        config: Config,
        shelf: Shelf,
        recorder: Recorder,
        metrics: PoolMetrics,
        nodes: NodeSet,
        *,
        version: str,
        layout: Layout,
        known: Mapping[str, Iterable[bytes]],
        sums: Mapping[str, PoolShareSums],
        first_id: int,
        on_work: Callable[[Job | None], None],
        on_layout: Callable[[Layout], None],
        on_answered: Callable[[int, tuple[int, str] | None], None],
        on_alert: Callable[[str, str], None],
        clock: Callable[[], float],
    ) -> None:
        self._rules = config.upstreams
        self._most_extranonce2 = layout.extranonce2_size
        self._expected_rejected = config.controller.stale_ratio
        self._pool_ratio = 1.0 - config.solo_share
        self._answers_by_pool = config.stratum is not None and config.stratum.answers == "pool"
        self._shelf = shelf
        self._recorder = recorder
        self._metrics = metrics
        self._nodes = nodes
        self._layout = layout
        self._on_work = on_work
        self._on_layout = on_layout
        self._on_answered = on_answered
        self._on_alert = on_alert
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._ids = count(first_id)
        self._sent: dict[int, _Sent] = {}
        self._pools = {
            pool.label: _Pool(
                pool,
                shelf.book(pool.label),
                _watch(
                    self._rules,
                    pool.payee_scripts or known.get(pool.label, ()),
                    fixed=bool(pool.payee_scripts),
                ),
                sums.get(pool.label, PoolShareSums()),
            )
            for pool in config.pool
        }
        self._active: _Pool | None = None
        self._tip: tuple[bytes, float] | None = None  # of the own node, and since when
        self.upstreams = Upstreams(
            pool_settings(config, version),
            return_s=self._rules.return_s,
            on_active=self._take_active,
            on_work=self._take_work,
            on_answer=self._take_answer,
            on_alert=on_alert,
            clock=clock,
        )
        metrics.follow(self.upstreams.statuses)

    async def run(self, closing: asyncio.Event) -> None:
        """Mine for the pools until `closing` is set."""
        async with asyncio.TaskGroup() as group:
            beside = [
                group.create_task(self._watch_chain(), name="pool sanity"),
                group.create_task(self._translate_payees(), name="pool payees"),
            ]
            await self.upstreams.run(closing)
            for task in beside:
                task.cancel()

    @property
    def job(self) -> Job | None:
        """The job of the pool that is mined."""
        return None if self._active is None else self._active.book.current

    def pay(self) -> PoolPay | None:
        """What the pool that is mined really pays; None while none is."""
        pool = self._active
        if pool is None:
            return None
        sums = pool.sums
        return PoolPay(
            pool=pool.config.label,
            scheme=pool.config.scheme,
            fee=pool.config.fee,
            rejected_ratio=rejected_ratio(
                sums.accepted + sums.rejected, sums.work_accepted, sums.work_rejected, self._expected_rejected
            ),
            pool_work_ratio=self._pool_ratio,
        )

    def sums(self, name: str) -> PoolShareSums:
        """What became of the shares for a pool."""
        return self._pools[name].sums

    def suspicions(self, name: str) -> Mapping[str, int]:
        """How often each kind of suspicion was raised against a pool since the start."""
        return {kind.value: times for kind, times in self._pools[name].watch.counts.items()}

    # ---- Work comes down ---------------------------------------------------------------------------------------

    def _take_active(self, name: str | None) -> None:
        """Another pool is mined from now on, or none."""
        left, now = self._active, self._clock()
        if left is not None:
            left.book.withdraw(now)
            if not any(each.is_up for each in self.upstreams.statuses() if each.name == left.config.label):
                left.book.retire(now)  # what is found now could not be handed in
        self._active = None if name is None else self._pools[name]
        if name is None:
            self._on_work(None)

    def _take_work(self, name: str, work: Work, epoch: int) -> None:
        pool, now = self._pools[name], self._clock()
        if pool is not self._active:
            return
        if epoch != pool.epoch:  # a new connection: what was hashed for the old one is worth nothing here
            pool.epoch = epoch
            pool.book.retire(now)
            pool.watch.reconnected()
        try:
            job = self._job_of(pool, work, now)
        except PoolJobError as error:
            log.warning("pool_job_refused", extra={"pool": name, "error": str(error)})
            self.upstreams.condemn(name, str(error))
            return
        except ValueError as error:  # no room for miners in the pool's extranonce2
            log.error("pool_too_narrow", extra={"pool": name, "error": str(error)})  # noqa: TRY400
            self.upstreams.condemn(name, str(error))
            return
        findings = pool.watch.job(job, outputs_of(job), work.difficulty, now)
        if self._is_condemned(pool, findings):
            return
        if pool.suspicion and not findings:
            pool.suspicion = ""
            self._on_alert(f"{ALERT}:{name}", "")
        self._learn(pool)
        if work.notify.clean:
            pool.book.retire(now)
        pool.book.add(job, now)
        pool.difficulty = work.difficulty
        self._on_work(job)

    def _job_of(self, pool: _Pool, work: Work, now: float) -> Job:
        """The pool's work as a job. Raises PoolJobError, TooNarrowError."""
        layout = layout_of(work.extranonce2_size, self._most_extranonce2)
        if layout != self._layout:
            log.info(
                "extranonce_layout",
                extra={"extranonce1": layout.extranonce1_size, "extranonce2": layout.extranonce2_size},
            )
            self._layout = layout
            self._on_layout(layout)
        current = pool.book.current
        return pool_job(
            work.notify,
            self._shelf.next_id(),
            pool.config.label,
            extranonce1=work.extranonce1,
            extranonce2_size=work.extranonce2_size,
            layout=layout,
            version_mask=work.version_mask,
            share_target=work.share_target,
            epoch=pool.epoch,
            clean=work.notify.clean or current is None or current.prev_hash != work.notify.prev_hash,
            now=now,
        )

    # ---- Shares go up ------------------------------------------------------------------------------------------

    def take_share(self, find: PoolFind) -> int | None:
        """Bring up a hash that a pool wants; the token of the answer, if the miner waits for the pool's word."""
        job = find.share.job
        upstream = job.upstream
        if upstream is None:
            raise ValueError(f"job {job.id} is no pool's")
        pool = self._pools[job.origin]
        token, submission = next(self._ids), find.submission
        credited = difficulty_of_target(upstream.share_target)
        worker = find.unit.name.removeprefix(f"{pool.config.user}.") if pool.config.worker_names else ""
        row = PoolShareRow(
            id=token,
            at=find.found_at,
            pool=job.origin,
            unit=find.unit.number,
            worker=worker,
            job_id=upstream.job_id,
            hash=find.share.hash[::-1].hex(),
            difficulty=find.share.difficulty,
            credited=credited,
        )
        is_awaited = self._answers_by_pool and find.unit.id != UNIT_ID
        self._sent[token] = _Sent(pool, credited, is_awaited)
        pool.sums = replace(pool.sums, waiting=pool.sums.waiting + 1)
        try:
            self._recorder.add_pool_shares([row])
        except LedgerError as error:  # it is closing: the share itself goes up all the same
            log.warning("pool_share_unwritten", extra={"pool": job.origin, "error": str(error)})
        if find.share.is_block:
            log.info("pool_block_found", extra={"pool": job.origin, "height": job.height, "hash": row.hash})
        wanted = PoolSubmission(
            worker=worker,
            job_id=upstream.job_id,
            extranonce2=upstream_extranonce2(job, submission),
            ntime_s=submission.ntime_s,
            nonce=submission.nonce,
            version_bits=upstream_version_bits(job, submission),
        )
        self.upstreams.submit(job.origin, upstream.epoch, wanted, token)
        return token if is_awaited else None

    def _take_answer(self, token: int, verdict: PoolVerdict, took_s: float) -> None:
        sent = self._sent.pop(token, None)
        if sent is None:
            return
        pool, name = sent.pool, sent.pool.config.label
        error: tuple[int, str] | None = None
        match verdict:
            case PoolAccepted():
                pool.refused = 0
                row = PoolShareVerdict(token, self._clock(), "accepted")
            case PoolRejected(code=code, text=text):
                error = code, text
                row = PoolShareVerdict(token, self._clock(), "rejected", code, text)
                log.info("pool_share_rejected", extra={"pool": name, "code": code, "why": text})
                self._note_refusal(pool, text)
            case PoolSilent(why=why):
                error = v1.OTHER, UNANSWERED
                row = PoolShareVerdict(token, self._clock(), "in_doubt", None, why)
        pool.sums = _settled(pool.sums, row.result, sent.credited)
        self._metrics.answered(name, row.result, sent.credited, took_s)
        try:
            self._recorder.settle_pool_shares([row])
        except LedgerError as failure:  # it is closing: at the next start the share is in doubt
            log.warning("pool_share_unwritten", extra={"pool": name, "error": str(failure)})
        if sent.is_awaited:
            # Later: the word may come before whoever waits for it knows the token.
            self._loop.call_soon(self._on_answered, token, error)

    def _note_refusal(self, pool: _Pool, why: str) -> None:
        """A pool that takes nothing any more is left; shares that cross with a new block are refused in a row, too, for a moment."""
        now = self._clock()
        if not pool.refused:
            pool.refused_since = now
        pool.refused += 1
        if pool.refused >= REFUSED_IN_A_ROW and abs(now - pool.refused_since) >= REFUSED_FOR_S:
            pool.refused = 0
            self.upstreams.condemn(pool.config.label, f"it refuses every share: {why}")

    # ---- Sanity ------------------------------------------------------------------------------------------------

    def _is_condemned(self, pool: _Pool, findings: Iterable[Finding]) -> bool:
        """Tell what is suspicious; a pool with too much of it is left."""
        name = pool.config.label
        for finding in findings:
            log.warning(
                "pool_suspicious", extra={"pool": name, "kind": finding.kind.value, "why": finding.text}
            )
            self._metrics.suspected(name, finding.kind.value)
            pool.suspicion = finding.text
            self._on_alert(f"{ALERT}:{name}", f"pool {name}: {finding.text}")
        if pool.watch.condemned:
            self.upstreams.condemn(name, pool.suspicion)
            return True
        return False

    def _learn(self, pool: _Pool) -> None:
        """Keep the payees that a good job of the pool showed."""
        scripts = pool.watch.new_payees()
        if scripts:
            try:
                self._recorder.add_pool_payees(pool.config.label, scripts)
            except LedgerError as error:
                log.warning("pool_payees_unwritten", extra={"pool": pool.config.label, "error": str(error)})

    async def _translate_payees(self) -> None:
        """Have a node say which scripts the configured payees' addresses are; until one does, payees are learned."""
        waiting = [pool for pool in self._pools.values() if pool.config.payee_addresses]
        while waiting and len(self._nodes):
            for pool in list(waiting):
                name = pool.config.label
                try:
                    scripts = [
                        await validate_payout(self._node, address) for address in pool.config.payee_addresses
                    ]
                except PayoutAddressError as error:
                    log.error("pool_payee_refused", extra={"pool": name, "error": str(error)})  # noqa: TRY400
                    self._on_alert(f"{ALERT}:{name}", f"pool {name}: {error}")
                    waiting.remove(pool)
                except RpcError as error:
                    log.debug("pool_payees_untranslated", extra={"pool": name, "error": str(error)})
                else:
                    pool.watch = _watch(self._rules, (*pool.config.payee_scripts, *scripts), fixed=True)
                    waiting.remove(pool)
            if waiting:
                await asyncio.sleep(CHAIN_CHECK_S)

    async def _watch_chain(self) -> None:
        """Compare what the pool builds on with what our own node knows, now and again."""
        while True:
            await asyncio.sleep(CHAIN_CHECK_S)
            pool, job = self._active, self.job
            if pool is None or job is None or not len(self._nodes):
                continue
            known = await self._ask_node(job.prev_hash)
            if pool is not self._active or pool.book.current is not job:
                continue
            tip = self._tip
            findings = pool.watch.chain(
                job.prev_hash,
                self._clock(),
                node_tip=None if tip is None else tip[0],
                tip_seen_at=None if tip is None else tip[1],
                known=known,
            )
            self._is_condemned(pool, findings)  # without a new finding, too: one that lasts is enough

    @property
    def _node(self) -> Node:
        return self._nodes.active or next(iter(self._nodes))

    async def _ask_node(self, prev_hash: bytes) -> bool | None:
        """Whether our node has that block, noting its tip; None while it does not say, or is the one that lags behind."""
        rpc = self._node.rpc
        try:
            tip = await rpc.call("getbestblockhash", decode=str, timeout_s=NODE_LIMIT_S)
            best = await rpc.call("getblockheader", tip, decode=_HeaderReply, timeout_s=NODE_LIMIT_S)
            tip_hash = bytes.fromhex(tip)[::-1]
            if self._tip is None or self._tip[0] != tip_hash:
                self._tip = tip_hash, self._clock()
            header = await rpc.call(
                "getblockheader", prev_hash[::-1].hex(), decode=_HeaderReply, timeout_s=NODE_LIMIT_S
            )
        except RpcRefusedError:
            return False
        except (RpcError, ValueError):
            self._tip = None
            return None
        return None if header.height > best.height else True


def _watch(rules: UpstreamsConfig, payees: Iterable[bytes], *, fixed: bool) -> PoolWatch:
    return PoolWatch(
        payees,
        fixed=fixed,
        limit=rules.suspicions,
        difficulty_factor=rules.difficulty_factor,
    )


def _settled(sums: PoolShareSums, result: str, credited: float) -> PoolShareSums:
    """The sums after one share that waited has its result."""
    waiting = sums.waiting - 1
    match result:
        case "accepted":
            return replace(
                sums, waiting=waiting, accepted=sums.accepted + 1, work_accepted=sums.work_accepted + credited
            )
        case "rejected":
            return replace(
                sums, waiting=waiting, rejected=sums.rejected + 1, work_rejected=sums.work_rejected + credited
            )
        case _:
            return replace(sums, waiting=waiting, in_doubt=sums.in_doubt + 1)
