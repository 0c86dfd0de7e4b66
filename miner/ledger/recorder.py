"""The ledger for the event loop: one thread writes, and what waits for it shares one commit."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from threading import Condition, Thread
from types import TracebackType
from typing import Final, Self

from miner.ledger import writes
from miner.ledger.rollup import RECORD
from miner.ledger.rows import (
    BestShareRow,
    BlockRow,
    DecisionRow,
    LedgerError,
    LedgerFullError,
    LedgerUnavailableError,
    OutcomeRow,
    ShareMinuteRow,
    ShareRow,
    TickRow,
    TipRow,
    UnitRow,
)
from miner.ledger.store import Store, Write

log = logging.getLogger(__name__)

#: How long closing waits for the last writes: longer than a write waits for another process.
CLOSE_TIMEOUT_S: Final = 40.0
#: How long after the database failed as a whole a block or a batch of shares is tried again.
RETRY_S: Final = 1.0
#: Bytes of shares that may wait for the database: a million records, hours of a big farm.
SHARE_CAPACITY: Final = 64 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class _Queued:
    """A write on its way to the disk; `settle` is called from the writer's thread with what came of it.

    One that is kept stays queued when the database fails as a whole, until it is written or the recorder closed; then
    `lost_event` is logged. It is empty for a write that is not kept.
    """

    write: Write
    settle: Callable[[Exception | None], None]
    lost_event: str

    @property
    def kept(self) -> bool:
        """Whether it outlasts a database that fails."""
        return bool(self.lost_event)


@dataclass(slots=True)
class _Queue:
    """What the loop hands to the writer's thread; every access holds `changed`."""

    changed: Condition = field(default_factory=Condition)
    items: deque[_Queued] = field(default_factory=deque)
    closed: bool = False


class Recorder:
    """Writes a store from one event loop, in the order of the calls, several writes to a commit.

    An awaited write of blocks, decisions or outcomes is on the disk when it returns, and raises what the store
    raised. When more than `capacity` writes wait, decisions and outcomes wait for room, and ticks are dropped and
    counted in `ticks_dropped` (and told to `on_ticks_dropped`); a tick is not waited for, and a failed write of it
    is logged and counted too.

    Blocks go in all the same, and stay: once `add_block` or `set_block_status` has been called, what it says is
    written even if its caller is cancelled, and tried again while the disk is full or another process holds the
    database. The caller does not wait for ever: after `block_wait_s` it gets LedgerUnavailableError, while
    the write goes on waiting.

    Shares are queued at once, like everything said of them (units, tips, sums by minute), stay like blocks, and reach
    the disk in the order of the calls. When `share_capacity` bytes of them wait, `shares_full` says so, and
    `add_shares` takes no more until some are written: whoever reads shares from miners stops reading.

    Reading goes to other threads and waits for no write. Use it as an async context manager, or call `aclose`.
    """

    def __init__(
        self,
        store: Store,
        *,
        capacity: int = 1024,
        block_wait_s: float = 5.0,
        share_capacity: int = SHARE_CAPACITY,
        on_ticks_dropped: Callable[[int], None] | None = None,
    ) -> None:
        self.ticks_dropped = 0
        self._share_capacity = share_capacity
        self._share_bytes_waiting = 0
        self._on_ticks_dropped = on_ticks_dropped
        self._store = store
        self._block_wait_s = block_wait_s
        self._loop = asyncio.get_running_loop()
        self._room = asyncio.Semaphore(capacity)
        self._queue = _Queue()
        # A daemon thread: a process that ends without `aclose` must not hang; what was awaited is on the disk.
        self._thread = Thread(target=_write_all, args=(store, self._queue), name="ledger-writer", daemon=True)
        self._thread.start()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what is queued and stop; later writes raise LedgerError. The store stays open: it is its opener's."""
        with self._queue.changed:
            self._queue.closed = True
            self._queue.changed.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.error("ledger_close_timeout", extra={"waited_s": CLOSE_TIMEOUT_S})

    async def add_block(self, row: BlockRow) -> None:
        """Write a found block; one with the same hash stays as it is."""
        await self._keep(partial(writes.add_block, row=row))

    async def set_block_status(
        self,
        block_hash: str,
        status: str,
        *,
        detail: str | None = None,
        confirmations: int | None = None,
        submitted_at: float | None = None,
    ) -> None:
        """Change what is known of a block, as `Store.set_block_status` does and with its errors."""
        change = writes.StatusChange(status, detail, confirmations, submitted_at)
        await self._keep(partial(writes.set_block_status, block_hash=block_hash, change=change))

    async def prune_raw(self, up_to_height: int) -> None:
        """Drop the bytes of orphaned and rejected blocks at `up_to_height` or below."""
        await (await self._in_room(partial(writes.prune_raw, up_to_height=up_to_height)))

    async def prune_history(self, before: float) -> None:
        """Drop decisions, outcomes, ticks and sums of shares older than `before`, as the store does; sums in pieces."""
        await (await self._in_room(partial(writes.prune_history, before=before)))
        while await asyncio.to_thread(self._store.has_minutes_before, before):
            await (await self._in_room(partial(writes.prune_share_minutes, before=before)))

    async def prune_shares(self, before: float) -> None:
        """Drop raw shares older than `before` (UTC unix seconds), in pieces between which other writes get their turn."""
        while await asyncio.to_thread(self._store.has_shares_before, before):
            await (await self._in_room(partial(writes.prune_shares, before=before)))

    @property
    def shares_waiting(self) -> int:
        """Shares handed in that are not on the disk yet."""
        return self._share_bytes_waiting // RECORD.size

    @property
    def shares_full(self) -> bool:
        """Whether so many shares wait that `add_shares` takes no more."""
        return self._share_bytes_waiting >= self._share_capacity

    def add_shares(self, records: bytes) -> asyncio.Future[None]:
        """Queue a batch of share records (see `miner.ledger.rollup`) at once; the future is done when it is on the disk.

        Whatever its size, it is taken unless the queue was full before. Raises LedgerFullError where it was (ask
        `shares_full`), LedgerError when closed, ValueError for bytes that are no records; then nothing is queued.
        """
        if self.shares_full:
            raise LedgerFullError(f"{self.shares_waiting} shares wait for the ledger: it takes no more")
        future = self._enqueue(
            self._store.share_batch(records),
            lost_event="shares_not_recorded",
            settled=partial(self._shares_settled, len(records)),
        )
        self._share_bytes_waiting += len(records)
        return future

    def add_units(self, rows: Sequence[UnitRow]) -> asyncio.Future[None]:
        """Queue units that logged in for the first time, before their first shares."""
        return self._noted(partial(writes.add_units, rows=tuple(rows)), "units_not_recorded")

    def add_tips(self, rows: Sequence[TipRow]) -> asyncio.Future[None]:
        """Queue numbered tips, before the first shares found on them."""
        return self._noted(partial(writes.add_tips, rows=tuple(rows)), "tips_not_recorded")

    def add_share_minutes(self, rows: Sequence[ShareMinuteRow]) -> asyncio.Future[None]:
        """Queue what was counted by unit and minute since the last call; it is added to what the ledger has of them.

        Every share that is counted must have been handed to `add_shares` before, and every share handed in must be
        counted: what a killed process did not get to count is later taken from the batches after this call's place.
        """
        return self._noted(self._store.minute_sums(rows), "share_minutes_not_recorded")

    async def add_decisions(self, rows: Sequence[DecisionRow]) -> None:
        """Write decisions; one whose id is there already stays as it is."""
        await (await self._in_room(partial(writes.add_decisions, rows=tuple(rows))))

    async def add_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        """Write outcomes of decisions written before; LedgerError for one that was not."""
        await (await self._in_room(partial(writes.add_outcomes, rows=tuple(rows))))

    async def add_ticks(self, rows: Sequence[TickRow]) -> None:
        """Queue ticks to be written, or drop and count them when the queue is full; does not wait."""
        count = len(rows)
        if self._room.locked():
            self._dropped(count, "queue full")
            return
        written = await self._in_room(
            partial(writes.add_ticks, rows=tuple(rows))
        )  # at once: it was not locked
        written.add_done_callback(partial(self._ticks_settled, count))

    async def blocks(self, limit: int = 100, *, since: float = 0.0) -> list[BlockRow]:
        """See `Reader.blocks`."""
        return await asyncio.to_thread(self._store.blocks, limit, since=since)

    async def unsettled_blocks(self) -> list[BlockRow]:
        """See `Reader.unsettled_blocks`."""
        return await asyncio.to_thread(self._store.unsettled_blocks)

    async def block_counts(self) -> dict[str, int]:
        """See `Reader.block_counts`."""
        return await asyncio.to_thread(self._store.block_counts)

    async def decisions(
        self, limit: int = 100, *, unit: str | None = None, since: float = 0.0, changes: bool = False
    ) -> list[DecisionRow]:
        """See `Reader.decisions`."""
        return await asyncio.to_thread(self._store.decisions, limit, unit=unit, since=since, changes=changes)

    async def last_decisions(self) -> dict[str, DecisionRow]:
        """See `Reader.last_decisions`."""
        return await asyncio.to_thread(self._store.last_decisions)

    async def outcomes(self, decision_ids: Sequence[str]) -> dict[str, list[OutcomeRow]]:
        """See `Reader.outcomes`."""
        return await asyncio.to_thread(self._store.outcomes, tuple(decision_ids))

    async def latest_ticks(self, now: float | None = None) -> dict[str, TickRow]:
        """See `Reader.latest_ticks`."""
        return await asyncio.to_thread(self._store.latest_ticks, now)

    async def units(self) -> list[UnitRow]:
        """See `Reader.units`."""
        return await asyncio.to_thread(self._store.units)

    async def shares(
        self, limit: int = 100, *, unit: str | None = None, since: float = 0.0
    ) -> list[ShareRow]:
        """See `Reader.shares`."""
        return await asyncio.to_thread(self._store.shares, limit, unit=unit, since=since)

    async def share_minutes(
        self, *, unit: str | None = None, since: float = 0.0, until: float = float("inf")
    ) -> list[ShareMinuteRow]:
        """See `Reader.share_minutes`."""
        return await asyncio.to_thread(self._store.share_minutes, unit=unit, since=since, until=until)

    async def best_shares(self) -> list[BestShareRow]:
        """See `Reader.best_shares`."""
        return await asyncio.to_thread(self._store.best_shares)

    async def _keep(self, write: Write) -> None:
        try:
            await asyncio.wait_for(self._enqueue(write, lost_event="block_not_recorded"), self._block_wait_s)
        except TimeoutError as error:
            raise LedgerUnavailableError(
                f"the ledger did not take a block's row within {self._block_wait_s} s; it stays queued"
            ) from error

    async def _in_room(self, write: Write) -> asyncio.Future[None]:
        await self._room.acquire()
        try:
            written = self._enqueue(write)
        except LedgerError:
            self._room.release()
            raise
        written.add_done_callback(lambda _: self._room.release())
        return written

    def _enqueue(
        self, write: Write, *, lost_event: str = "", settled: Callable[[], None] | None = None
    ) -> asyncio.Future[None]:
        """Queue a write at once, whatever becomes of the caller; the future is done when it is on the disk.

        `settled` is called when it is done with, written or not, even if the future was cancelled.
        """
        future: asyncio.Future[None] = self._loop.create_future()

        def settle(error: Exception | None) -> None:
            with suppress(RuntimeError):  # a loop that is closed has nobody left to tell
                self._loop.call_soon_threadsafe(_resolve, future, error, settled)

        with self._queue.changed:
            if self._queue.closed:
                raise LedgerError("the ledger is closed")
            self._queue.items.append(_Queued(write, settle, lost_event))
            self._queue.changed.notify()
        return future

    def _noted(self, write: Write, lost_event: str) -> asyncio.Future[None]:
        """Queue a kept write that nobody need wait for: if it fails for good, that is logged."""

        def note(written: asyncio.Future[None]) -> None:
            error = None if written.cancelled() else written.exception()
            if error is not None and not isinstance(error, LedgerUnavailableError):  # that was logged already
                log.error(lost_event, extra={"reason": str(error)})

        future = self._enqueue(write, lost_event=lost_event)
        future.add_done_callback(note)
        return future

    def _shares_settled(self, size: int) -> None:
        self._share_bytes_waiting -= size

    def _ticks_settled(self, count: int, written: asyncio.Future[None]) -> None:
        error = written.exception()
        if error is not None:
            self._dropped(count, str(error))

    def _dropped(self, count: int, reason: str) -> None:
        self.ticks_dropped += count
        if self._on_ticks_dropped is not None:
            self._on_ticks_dropped(count)
        log.warning("ticks_dropped", extra={"count": count, "in_all": self.ticks_dropped, "reason": reason})


def _resolve(
    future: asyncio.Future[None], error: Exception | None, settled: Callable[[], None] | None
) -> None:
    if settled is not None:
        settled()
    if future.cancelled():
        return
    if error is None:
        future.set_result(None)
    else:
        future.set_exception(error)


def _write_all(store: Store, queue: _Queue) -> None:
    """The writer's thread: takes all that is queued into one commit, again and again, until closed and empty."""
    while True:
        with queue.changed:
            queue.changed.wait_for(lambda: queue.items or queue.closed)
            group = list(queue.items)
            queue.items.clear()
        if not group:
            return
        kept = _commit(store, group)
        if not kept:
            continue
        with queue.changed:
            if not queue.closed:
                queue.items.extendleft(reversed(kept))
                queue.changed.wait_for(lambda: queue.closed, RETRY_S)
                continue
        for queued in kept:
            log.critical(queued.lost_event, extra={"reason": "closed while the ledger was unavailable"})
            queued.settle(LedgerUnavailableError("the ledger was closed before it took this write"))


def _commit(store: Store, group: Sequence[_Queued]) -> list[_Queued]:
    """Commit a group and settle it; returns what is to be tried again since the database failed as a whole.

    If one of the writes is bad, each is committed by itself, so that the bad one fails alone.
    """
    try:
        store.commit([queued.write for queued in group])
    except LedgerUnavailableError as error:
        log.warning("ledger_unavailable", extra={"error": str(error), "writes": len(group)})
        for queued in group:
            if not queued.kept:
                queued.settle(error)
        return [queued for queued in group if queued.kept]
    except Exception as error:  # noqa: BLE001 - whatever it is, it belongs to the caller of that write
        if len(group) > 1:
            return [kept for queued in group for kept in _commit(store, [queued])]
        group[0].settle(error)
    else:
        for queued in group:
            queued.settle(None)
    return []
