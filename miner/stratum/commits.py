"""Answers to shares wait here until the ledger holds the shares: nothing is acknowledged that is not durable."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Iterable
from typing import Any, Final, Protocol

from miner.ledger.rows import LedgerError
from miner.stratum.sending import MOST

log = logging.getLogger(__name__)

PACE_S: Final = 0.010
"""Under load, from the beginning of a commit to that of the next: a commit costs the same for one share and for a thousand."""
FEW: Final = 1
LIGHT_PACE_S: Final = 0.002
"""After a commit of so few shares the next need not wait for many."""
STALL_S: Final = 10.0
"""How long an answer waits for the ledger before its connection is closed without one."""
RETRY_S: Final = 1.0
"""How long after a refusal the same records are offered to the ledger again."""
SLICE: Final = MOST
"""Connections whose answers are written before the loop may do something else, a notify for instance."""
MOST_WAITING: Final = 200_000
"""Shares that may wait for a commit to begin before no more is read from those that send them."""
MOST_HELD: Final = 65_536
"""Bytes of answers to one connection that may wait for a commit to begin before no more is read from it: whoever is refused
thousands of shares while a good one waits must not fill the memory with the refusals."""
RECORD_SIZE: Final = 64
"""Bytes of a share's record; there is one for each share that is answered as accepted."""
STALLED: Final = "ledger_stalled"
"""The alert, the event, and why such a connection was closed."""


class Shares(Protocol):
    """Records of credited shares not yet taken, as `miner.kernel.ShareBuffer`."""

    def take(self) -> bytes:
        """All of them; the buffer is empty then."""
        ...

    def __len__(self) -> int: ...


class Waiter(Protocol):
    """A connection as its answers see it; `pending` counts the commits that it waits for."""

    pending: int

    def release(self, data: bytes, /) -> None:
        """Write `data`: the shares it answers are durable. One commit less is pending."""
        ...

    def pause_reading(self) -> None:
        """Read nothing more of what the peer sends."""
        ...

    def resume_reading(self) -> None:
        """Go on reading."""
        ...

    def drop(self, reason: str, /) -> None:
        """Close at once, without an answer."""
        ...


def release_each(answers: Iterable[tuple[Waiter, bytes]]) -> None:
    """Have each of these waiters write its answers."""
    for waiter, data in answers:
        waiter.release(data)


class _Batch:
    """Answers that wait for one commit, and how many shares they acknowledge; `holds`: they wait even where there is no share."""

    __slots__ = ("answers", "credited", "holds", "since")

    def __init__(self, since: float = 0.0) -> None:
        self.answers: dict[Waiter, bytes] = {}
        self.credited = 0
        self.holds = False
        self.since = since


class ShareCommitter:
    """Has the records of `buffer` written, one commit at a time, and releases the answers that wait for each.

    `write(records)` queues records for the ledger and gives a future that is done when they are durable, and so is every row
    that was queued before (of a block, or of a share for a pool); there may be no records, only such rows. If that takes
    longer than `stall_s`, those who wait are closed without an answer (their shares may or may not have been kept, and
    are never credited twice), the alert is raised, and `refusal` says why nobody should log in; all that ends with
    the next commit that works. Records that were refused are offered again, ahead of newer ones.

    While `give_way()` is true no answers are written: a notify goes first. `release` calls each waiter's, or does for many
    what that does.
    """

    def __init__(
        self,
        buffer: Shares,
        write: Callable[[bytes], asyncio.Future[None]],
        *,
        on_alert: Callable[[str, str], None],
        give_way: Callable[[], bool] = lambda: False,
        release: Callable[[list[tuple[Any, bytes]]], None] = release_each,
        pace_s: float = PACE_S,
        stall_s: float = STALL_S,
        most_waiting: int = MOST_WAITING,
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._buffer = buffer
        self._write = write
        self._on_alert = on_alert
        self._give_way = give_way
        self._release_all = release
        self._pace_s = pace_s
        self._stall_s = stall_s
        self._most_waiting = most_waiting
        self._collecting = _Batch()
        self._committing: _Batch | None = None
        self._records = b""  # of the commit under way, or of one that was refused
        self._next: asyncio.Handle | None = None  # the next commit
        self._next_at = 0.0
        self._releasing: deque[tuple[Waiter, bytes]] = deque()
        self._paused: deque[Waiter] = deque()
        self._slice: asyncio.Handle | None = None
        self._idle = asyncio.Event()
        self._idle.set()
        self.refusal = ""
        """Why nobody should log in now; empty while the ledger takes shares."""

    def hold(self, waiter: Waiter, data: bytes, credited: int, *, holds: bool = False) -> None:
        """Keep `data` until the `credited` shares it answers are durable, and those this waiter waits for already.

        `holds`: and until whatever was queued for the ledger is, though `data` answers no share that is worth anything.
        """
        if self.refusal:
            waiter.drop(STALLED)
            self.wake()
            return
        batch = self._collecting if credited or holds else self._batch_of(waiter)
        held = batch.answers.get(waiter)
        if held is None:
            waiter.pending += 1
            if self._next is None and self._committing is None:
                self.wake()
        else:
            data = held + data
        batch.answers[waiter] = data
        batch.credited += credited
        if holds:
            batch.holds = True
        if len(data) > MOST_HELD or batch.credited >= self._most_waiting:
            waiter.pause_reading()
            self._paused.append(waiter)

    def _batch_of(self, waiter: Waiter) -> _Batch:
        """What has no share of its own goes out with the answers before it, also if they wait for the commit under way."""
        committing = self._committing
        if committing is None or waiter in self._collecting.answers:
            return self._collecting
        return committing if waiter in committing.answers else self._collecting

    def wake(self) -> None:
        """There is something to commit: see to it, at once if the ledger is idle."""
        if self._next is not None or self._committing is not None:
            return  # which sees to the next one, too
        self._idle.clear()
        delay = self._next_at - self._loop.time()
        self._next = (
            self._loop.call_later(delay, self._commit) if delay > 0 else self._loop.call_soon(self._commit)
        )

    def check(self) -> None:
        """Look whether the ledger stalls, and for records that nobody waits for; call it every second or so."""
        batch = self._committing
        if batch is not None and not self.refusal:
            waited_s = self._loop.time() - batch.since
            if waited_s > self._stall_s:
                self._stall(f"no commit for {waited_s:.0f} s")
        if len(self._buffer):
            self.wake()

    async def drain(self, limit_s: float) -> bool:
        """Wait until everything is durable and released; False if that takes longer than `limit_s` seconds."""
        self.wake()
        try:
            await asyncio.wait_for(self._idle.wait(), limit_s)
        except TimeoutError:
            records = len(self._records) // RECORD_SIZE + len(self._buffer)
            extra = {"records": records, "waited_s": limit_s}
            log.error("shares_undurable", extra=extra)  # noqa: TRY400 - the trace says nothing more
            return False
        return True

    def _has_room(self) -> bool:
        return self._collecting.credited < self._most_waiting

    def _commit(self) -> None:
        self._next = None
        now = self._loop.time()
        batch, self._collecting = self._collecting, _Batch(now)
        fresh = self._buffer.take()
        if batch.credited * RECORD_SIZE > len(fresh):
            # Whatever brought that about, an answer without its record must not go out.
            log.critical("shares_unrecorded", extra={"credited": batch.credited, "bytes": len(fresh)})
            self._drop(batch)
        self._records += fresh
        if self._paused and self._slice is None:
            self._slice = self._loop.call_soon(self._release_slice)
        if not self._records and not batch.holds:
            self._release(batch)
            return
        batch.since = now
        self._committing = batch
        self._next_at = now + (self._pace_s if batch.credited > FEW else min(self._pace_s, LIGHT_PACE_S))
        try:
            written = self._write(self._records)
        except LedgerError as error:
            self._refused(error)
        else:
            written.add_done_callback(self._settled)

    def _settled(self, written: asyncio.Future[None]) -> None:
        error = asyncio.CancelledError() if written.cancelled() else written.exception()
        if error is not None:
            self._refused(error)
            return
        batch, self._committing = self._committing, None
        self._records = b""
        if self.refusal:
            self.refusal = ""
            self._on_alert(STALLED, "")
            log.info("ledger_works_again")
        if self._collecting.answers or len(self._buffer):
            self.wake()
        if batch is not None:
            self._release(batch)

    def _refused(self, error: BaseException) -> None:
        """The records are not durable: nobody hears of them, and they are offered again."""
        self._stall(str(error) or type(error).__name__)
        self._committing = None
        self._next_at = self._loop.time() + RETRY_S
        self.wake()

    def _stall(self, why: str) -> None:
        """Close those who wait: to a device an unanswered share is a reason to go to its next pool, a lost one is not."""
        waiting = [self._collecting] if self._committing is None else [self._committing, self._collecting]
        connections = sum(len(batch.answers) for batch in waiting)
        if not self.refusal:
            self.refusal = "the ledger takes no shares: try again later"
            log.error("ledger_stalled", extra={"why": why, "connections": connections})
            self._on_alert(
                STALLED, f"the ledger takes no shares ({why}): miners are sent away until it does again"
            )
        for batch in waiting:
            self._drop(batch)

    @staticmethod
    def _drop(batch: _Batch) -> None:
        answers, batch.answers, batch.credited = batch.answers, {}, 0
        for waiter in answers:
            waiter.drop(STALLED)

    def _release(self, batch: _Batch) -> None:
        self._releasing.extend(batch.answers.items())
        if self._slice is None:
            self._release_slice()

    def _release_slice(self) -> None:
        """Write some of the answers that are due, then let waiters be read again, and come back for the rest."""
        self._slice = None
        if not self._give_way():
            due = self._releasing
            self._release_all([due.popleft() for _ in range(min(SLICE, len(due)))])
        if self._has_room():
            for _ in range(min(SLICE, len(self._paused))):
                self._paused.popleft().resume_reading()
        if self._releasing or (self._paused and self._has_room()):
            self._slice = self._loop.call_soon(self._release_slice)
        elif self._next is None and self._committing is None:
            self._idle.set()
