"""All pools at once: each kept connected, one of them mined for, and what an operator may know of each."""

import asyncio
import logging
import random
import time
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from statistics import median
from typing import Final

from miner.stratum.client import PoolLink, PoolSettings, Stage
from miner.stratum.failover import RETURN_S, Failover
from miner.stratum.pool_events import (
    Answered,
    Event,
    Failed,
    Failure,
    LoggedIn,
    Message,
    PoolSilent,
    PoolSubmission,
    PoolVerdict,
    Work,
)

log = logging.getLogger(__name__)

STEER_S: Final = 0.25
"""How often it is asked whether a better pool has been well for long enough."""
DRAIN_S: Final = 2.0
"""How long a stop waits for the pools' word on the last shares."""
LATENCIES: Final = 64
"""The last answers whose median is shown."""

ACTIVE: Final = "active"
STANDBY: Final = "standby"
NO_POOL: Final = "no_pool"
"""The alert while no pool is well."""


@dataclass(frozen=True, slots=True)
class UpstreamStatus:
    """What is known of one pool now.

    `state` is down, connecting, login, waiting_for_work, standby (well, but not mined for) or active; `is_up` whether it serves work,
    and `since` since when that has been so. Times are unix seconds. Where there is no connection, difficulty, sizes and mask are
    those of the last one; `failure` and its text stay until there is another. `failovers` is how often it was left because it
    failed, `latency_s` the median of its last answers to shares.
    """

    name: str
    url: str
    state: str
    is_up: bool
    since: float
    epoch: int
    difficulty: float | None
    extranonce2_size: int | None
    version_mask: int | None
    last_notify_at: float | None
    failure: Failure | None
    failure_text: str
    failed_at: float | None
    latency_s: float | None
    failovers: int


class _Upstream:
    """A pool, its link, and what was heard of it last."""

    def __init__(
        self, settings: PoolSettings, hears: Callable[["_Upstream", Event], None], now: float
    ) -> None:
        self.name = settings.name
        self.link = PoolLink(settings, lambda event: hears(self, event))
        self.work: Work | None = None  # of the present connection
        self.is_condemned = False  # its connection is about to be dropped
        self.since = now
        self.difficulty: float | None = None
        self.extranonce2_size: int | None = None
        self.version_mask: int | None = None
        self.last_notify_at: float | None = None
        self.failure: Failure | None = None
        self.failure_text = ""
        self.failed_at: float | None = None
        self.latencies: deque[float] = deque(maxlen=LATENCIES)
        self.failovers = 0
        self.complained: Failure | None = None  # since it was well last
        self.bad_work_in = 0  # the connection whose bad work was told of last


class Upstreams:
    """The pools in the order of preference, all of them connected while `run` runs, so that a change takes no time.

    Callbacks are called in the loop, never from within a call of `submit` or `condemn`, and must not block: `on_active(name)` when
    another pool is mined for (None: no pool is well); then `on_work(name, work, epoch)` with its work at once, and whenever
    there is new work, for that pool alone. An epoch is one connection: a new one has new jobs, and shares of another are not sent.
    `on_answer(token, verdict, seconds)` comes once for each share. `on_alert(name, message)` is told what an operator
    should look at, with an empty message when it is over. `clock` gives unix seconds.
    """

    def __init__(
        self,
        pools: Sequence[PoolSettings],
        *,
        on_active: Callable[[str | None], None],
        on_work: Callable[[str, Work, int], None],
        on_answer: Callable[[int, PoolVerdict, float], None],
        on_alert: Callable[[str, str], None],
        return_s: float = RETURN_S,
        clock: Callable[[], float] = time.time,
    ) -> None:
        """Raises ValueError for two pools of one name."""
        self._on_active = on_active
        self._on_work = on_work
        self._on_answer = on_answer
        self._on_alert = on_alert
        self._clock = clock
        self._upstreams = {pool.name: _Upstream(pool, self._hear, clock()) for pool in pools}
        if len(self._upstreams) < len(pools):
            raise ValueError("two pools have the same name")
        self._return_s = return_s
        self._loop = asyncio.get_running_loop()
        self._failover = Failover(tuple(self._upstreams), self._loop.time(), return_s=return_s)
        self._active: str | None = None
        self._steering = False
        self._stopped = True
        self._answered = asyncio.Event()

    @property
    def active(self) -> str | None:
        """The pool that is mined for; None while none is well."""
        return self._active

    async def run(self, closing: asyncio.Event) -> None:
        """Keep the pools connected until `closing` is set; then wait a little for the last answers, and close."""
        self._stopped = False
        self._failover = Failover(tuple(self._upstreams), self._loop.time(), return_s=self._return_s)
        try:
            async with asyncio.TaskGroup() as group:
                tasks = [
                    group.create_task(self._keep(each), name=f"pool {each.name}")
                    for each in self._upstreams.values()
                ]
                tasks.append(group.create_task(self._steer_on(), name="pools steer"))
                await closing.wait()
                self._stopped = True
                await self._drain()
                for task in tasks:
                    task.cancel()
        finally:
            self._stopped = True

    def submit(self, name: str, epoch: int, submission: PoolSubmission, token: int) -> None:
        """Send a share to the connection it belongs to; if that is over it is not sent, and its answer is silence."""
        if not self._upstreams[name].link.submit(epoch, submission, token):
            silent = PoolSilent("the connection that its work came from has ended: it was not sent")
            self._loop.call_soon(self._on_answer, token, silent, 0.0)

    def condemn(self, name: str, why: str) -> None:
        """The pool's work is bad: leave it now, and mine for it again only after a time of health that grows each time."""
        upstream = self._upstreams[name]
        log.warning("pool_condemned", extra={"pool": name, "reason": why})
        self._failover.condemn(name, self._loop.time())
        upstream.is_condemned = True
        self._loop.call_soon(self._carry_out, upstream, why)

    def statuses(self) -> tuple[UpstreamStatus, ...]:
        """What is known of each pool, in the order of preference."""
        return tuple(self._status(each) for each in self._upstreams.values())

    # ---- Each pool -------------------------------------------------------------------------------------------

    async def _keep(self, upstream: _Upstream) -> None:
        """Connect, for ever again."""
        while True:
            ended = await upstream.link.run()
            now = self._loop.time()
            was_well, upstream.work = upstream.work is not None, None
            if was_well:
                upstream.since = self._clock()
            if ended.kind is None:
                self._failover.gone(upstream.name)
                wait_s = ended.wait_s
            else:
                wait_s = self._failover.failed(upstream.name, now, random.random())  # noqa: S311 - jitter is no secret
                if was_well and ended.kind is Failure.LOST and upstream.name != self._active:
                    # Many pools send away who brings no shares; if there is more to it the next try will tell.
                    log.info("pool_standby_lost", extra={"pool": upstream.name, "error": ended.why})
                else:
                    self._note(upstream, ended.kind, ended.why)
            self._steer()
            await asyncio.sleep(wait_s)

    def _note(self, upstream: _Upstream, kind: Failure, why: str) -> None:
        """Say that a pool is down, once for each kind of reason."""
        upstream.failure, upstream.failure_text, upstream.failed_at = kind, why, self._clock()
        fields = {"pool": upstream.name, "reason": kind.value, "error": why}
        if upstream.complained is kind:
            log.debug("pool_still_down", extra=fields)
        else:
            log.warning("pool_down", extra=fields)
        upstream.complained = kind
        self._on_alert(_alert(upstream), why)

    def _hear(self, upstream: _Upstream, event: Event) -> None:
        match event:
            case Answered(token=token, verdict=verdict, took_s=took_s):
                if not isinstance(verdict, PoolSilent):
                    upstream.latencies.append(took_s)
                self._answered.set()
                self._on_answer(token, verdict, took_s)
            case Work():
                self._take(upstream, event)
            case LoggedIn(extranonce2_size=size, version_mask=mask):
                upstream.extranonce2_size, upstream.version_mask = size, mask
            case Message(text=text):
                log.info("pool_message", extra={"pool": upstream.name, "text": text})
            case Failed(kind=Failure.REDIRECT_REFUSED, why=why):
                log.warning("pool_redirect_refused", extra={"pool": upstream.name, "reason": why})
            case Failed(kind=Failure.BAD_WORK, why=why) if upstream.bad_work_in != upstream.link.epoch:
                upstream.bad_work_in = upstream.link.epoch
                log.warning("pool_bad_work", extra={"pool": upstream.name, "reason": why})
            case _:
                pass  # other failures end the connection, which is told then; a redirection is the link's business

    def _take(self, upstream: _Upstream, work: Work) -> None:
        if upstream.is_condemned or self._stopped:
            return
        if upstream.work is None:
            upstream.since = self._clock()
            log.info("pool_up", extra={"pool": upstream.name, "address": upstream.link.address.place})
            upstream.complained = None
            self._on_alert(_alert(upstream), "")
        upstream.work, upstream.last_notify_at = work, self._clock()
        upstream.difficulty, upstream.version_mask = work.difficulty, work.version_mask
        upstream.extranonce2_size = work.extranonce2_size
        was_active = self._active == upstream.name
        self._failover.well(upstream.name, self._loop.time())
        self._steer()
        if was_active and self._active == upstream.name:
            self._on_work(upstream.name, work, upstream.link.epoch)

    def _carry_out(self, upstream: _Upstream, why: str) -> None:
        """Drop a condemned pool's connection; what that says of its shares is said first, then where mining goes on."""
        upstream.link.drop(Failure.BAD_WORK, f"{upstream.link.address.place}: {why}")
        self._steer()
        upstream.is_condemned = False

    # ---- Which of them ---------------------------------------------------------------------------------------

    async def _steer_on(self) -> None:
        while True:
            self._steer()
            await asyncio.sleep(STEER_S)

    def _steer(self) -> None:
        """Mine for the pool whose turn it is, if that is another one than before."""
        if self._steering or self._stopped:
            return
        self._steering = True
        try:
            while (chosen := self._failover.choose(self._loop.time())) != self._active:
                self._change(chosen)
        finally:
            self._steering = False
        now = self._loop.time()
        if self._active is None and not self._failover.is_starting(now):
            self._on_alert(NO_POOL, "no pool is well: nothing is mined for one")

    def _change(self, chosen: str | None) -> None:
        left = None if self._active is None else self._upstreams[self._active]
        self._active = chosen
        if left is not None and (left.work is None or left.is_condemned):
            left.failovers += 1
        fields = {"pool": chosen, "before": None if left is None else left.name}
        if chosen is None:
            log.warning("pool_none", extra=fields)
            self._on_active(None)
            return
        log.info("pool_active", extra=fields)
        self._on_alert(NO_POOL, "")
        self._on_active(chosen)
        upstream = self._upstreams[chosen]
        if upstream.work is not None:
            self._on_work(chosen, upstream.work, upstream.link.epoch)

    async def _drain(self) -> None:
        """Wait until every share has its answer, or a little."""
        with suppress(TimeoutError):
            async with asyncio.timeout(DRAIN_S):
                while any(each.link.unanswered for each in self._upstreams.values()):
                    self._answered.clear()
                    await self._answered.wait()

    def _status(self, upstream: _Upstream) -> UpstreamStatus:
        state: str = upstream.link.stage
        if state == Stage.WORKING:
            state = ACTIVE if upstream.name == self._active else STANDBY
        return UpstreamStatus(
            upstream.name,
            upstream.link.settings.address.url,
            state,
            state in {ACTIVE, STANDBY},
            upstream.since,
            upstream.link.epoch,
            upstream.difficulty,
            upstream.extranonce2_size,
            upstream.version_mask,
            upstream.last_notify_at,
            upstream.failure,
            upstream.failure_text,
            upstream.failed_at,
            median(upstream.latencies) if upstream.latencies else None,
            upstream.failovers,
        )


def _alert(upstream: _Upstream) -> str:
    return f"pool_{upstream.name}"
