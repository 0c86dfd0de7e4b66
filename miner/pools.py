"""Mining for pools: their work becomes jobs, what they want goes up, and their word on it is kept."""

import asyncio
import logging
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from itertools import count
from typing import Final

from miner.chain.difficulty import difficulty_of_target
from miner.config import Config
from miner.config_pool import PoolConfig
from miner.desk import PoolFind
from miner.hashing.station import UNIT_ID
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError, PoolShareRow, PoolShareSums, PoolShareVerdict
from miner.metrics_pools import PoolMetrics
from miner.node.nodes import NodeSet
from miner.pool_guard import PoolGuard
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
from miner.work.pay import PaidLately, PoolPay
from miner.work.pool_job import (
    PoolJobError,
    pool_job,
    upstream_extranonce2,
    upstream_version_bits,
)
from miner.work.shelf import Shelf

log = logging.getLogger(__name__)

REFUSED_IN_A_ROW: Final = 20
REFUSED_FOR_S: Final = 10.0
"""So many shares refused, over so long, and none accepted between: the pool is left."""
UNANSWERED: Final = "The pool did not answer"


@dataclass(slots=True)
class _Pool:
    """One pool: its jobs, what is suspicious about them, and what became of its shares."""

    config: PoolConfig
    book: JobBook
    sums: PoolShareSums
    lately: PaidLately
    epoch: int = 0
    room: int = 0  # the least bytes of extranonce2 that the connection left so far
    refused: int = 0  # in a row
    refused_since: float = 0.0


@dataclass(frozen=True, slots=True)
class _Sent:
    """A share that waits for the pool's word; `is_awaited`: so does the miner who found it."""

    pool: _Pool
    credited: float
    is_awaited: bool


def first_layout(config: Config, standard: Layout) -> Layout:
    """What miners count up before the first pool has said how much room there is: what most pools leave."""
    if not config.pool:
        return standard
    return layout_of(8, standard.extranonce2_size)


class Pools:
    """The pools of a configuration; `run` keeps the best of them mined.

    `on_work(job)` gets each job of the pool that is mined, None while none is well; `on_layout(layout)` comes before a job
    whose extranonces have other sizes. `on_answered(token, error)` brings a pool's word on a share whose answer waits for it:
    None for accepted. `known` and `sums` are what the ledger knows of payees and shares by the pools' names, `lately` the
    sums of the last day; ids of shares rise from `first_id`. `pool_ratio()` is the part of all work
    that goes to pools.
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
        lately: Mapping[str, PoolShareSums],
        first_id: int,
        on_work: Callable[[Job | None], None],
        on_layout: Callable[[Layout], None],
        on_answered: Callable[[int, tuple[int, str] | None], None],
        on_alert: Callable[[str, str], None],
        pool_ratio: Callable[[], float] = lambda: 1.0,
        clock: Callable[[], float],
    ) -> None:
        self._most_extranonce2 = layout.extranonce2_size
        self._expected_rejected = config.controller.stale_ratio
        self._pool_ratio = pool_ratio
        self._answers_by_pool = config.stratum is not None and config.stratum.answers == "pool"
        self._shelf = shelf
        self._recorder = recorder
        self._metrics = metrics
        self._layout = layout
        self._on_work = on_work
        self._on_layout = on_layout
        self._on_answered = on_answered
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._ids = count(first_id)
        self._sent: dict[int, _Sent] = {}
        self._pools = {
            pool.label: _Pool(
                pool,
                shelf.book(pool.label),
                sums.get(pool.label, PoolShareSums()),
                _lately(lately.get(pool.label, PoolShareSums()), clock()),
            )
            for pool in config.pool
        }
        self._active: _Pool | None = None
        self.upstreams = Upstreams(
            pool_settings(config, version),
            return_s=config.upstreams.return_s,
            on_active=self._take_active,
            on_work=self._take_work,
            on_answer=self._take_answer,
            on_alert=on_alert,
            clock=clock,
        )
        self.guard = PoolGuard(
            config,
            recorder,
            metrics,
            nodes,
            known=known,
            on_condemned=self.upstreams.condemn,
            on_alert=on_alert,
            clock=clock,
        )
        metrics.follow(self.upstreams.statuses)

    async def run(self, closing: asyncio.Event) -> None:
        """Mine for the pools until `closing` is set."""
        async with asyncio.TaskGroup() as group:
            guard = group.create_task(self.guard.run(lambda: self.job), name="pool sanity")
            await self.upstreams.run(closing)
            guard.cancel()

    @property
    def job(self) -> Job | None:
        """The job of the pool that is mined."""
        return None if self._active is None else self._active.book.current

    def pay(self) -> PoolPay | None:
        """What the pool that is mined really pays; None while none is."""
        pool = self._active
        if pool is None:
            return None
        return PoolPay(
            pool=pool.config.label,
            scheme=pool.config.scheme,
            fee=pool.config.fee,
            rejected_ratio=pool.lately.rejected_ratio(self._expected_rejected, self._clock()),
            pool_work_ratio=self._pool_ratio(),
        )

    def sums(self, name: str) -> PoolShareSums:
        """What became of the shares for a pool."""
        return self._pools[name].sums

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
            pool.room = work.extranonce2_size
            pool.book.retire(now)
            self.guard.reconnected(name)
        # Never wider again on one connection: each change costs most miners theirs.
        pool.room = min(pool.room, work.extranonce2_size)
        try:
            layout = layout_of(pool.room, self._most_extranonce2)
            job = self._job_of(pool, work, layout, now)
        except PoolJobError as error:
            log.warning("pool_job_refused", extra={"pool": name, "error": str(error)})
            self.upstreams.condemn(name, str(error))
            return
        except ValueError as error:  # no room for miners in the pool's extranonce2
            log.error("pool_too_narrow", extra={"pool": name, "error": str(error)})  # noqa: TRY400
            self.upstreams.condemn(name, str(error))
            return
        if not self.guard.take(job, work.difficulty, now):
            return
        self._lay_out(layout)
        if work.notify.clean:
            pool.book.retire(now)
        pool.book.add(job, now)
        self._on_work(job)

    def _lay_out(self, layout: Layout) -> None:
        """Extranonces of all work have these sizes from now on; only for a job that is good."""
        if layout != self._layout:
            log.info(
                "extranonce_layout",
                extra={"extranonce1": layout.extranonce1_size, "extranonce2": layout.extranonce2_size},
            )
            self._layout = layout
            self._on_layout(layout)

    def _job_of(self, pool: _Pool, work: Work, layout: Layout, now: float) -> Job:
        """The pool's work as a job. Raises PoolJobError."""
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
        worker = _worker_of(find.unit.name, pool.config)
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
                if pool is not self._active:  # it was left while well, and its connection has ended since
                    pool.book.retire(row.at)
        pool.sums = _settled(pool.sums, row.result, sent.credited)
        pool.lately.add(row.result, sent.credited, row.at)
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


def _worker_of(unit: str, config: PoolConfig) -> str:
    """What the pool is to call a unit beside its user; empty: the user itself."""
    if not config.worker_names or unit == config.user:
        return ""
    return unit.removeprefix(f"{config.user}.")


def _lately(sums: PoolShareSums, now: float) -> PaidLately:
    return PaidLately(sums.work_accepted, sums.work_rejected, sums.accepted + sums.rejected, now)


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
