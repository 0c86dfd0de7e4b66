"""The ledger for the event loop: one thread writes, and what waits for it shares one commit."""

import asyncio
import logging
import math
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from functools import partial
from types import TracebackType
from typing import Final, Self

from miner.ledger import orders, pools, writes
from miner.ledger.pool_recorder import PoolRecorder
from miner.ledger.rollup import RECORD
from miner.ledger.rows import (
    BestShareRow,
    BlockRow,
    DecisionRow,
    HeldBackError,
    InputPartRow,
    InputsRow,
    LedgerError,
    LedgerFullError,
    LedgerUnavailableError,
    OutcomeRow,
    OverrideRow,
    PoolShareRow,
    PoolShareSums,
    PoolShareVerdict,
    ShareMinuteRow,
    ShareRow,
    TickRow,
    TipRow,
    UnitRow,
)
from miner.ledger.store import Store, Write
from miner.ledger.writer import Writer

log = logging.getLogger(__name__)

#: Bytes of shares that may wait for the database: a million records, hours of a big farm.
SHARE_CAPACITY: Final = 64 * 1024 * 1024
#: What a share handed to a pool counts as, its verdict too: these wait as rows, not as records.
POOL_SHARE_BYTES: Final = 1024


@dataclass(slots=True)
class _Failures:
    """Batches of shares that failed for good: as the writer's thread counts them, and as the loop has heard of them."""

    happened: int = 0
    heard_of: int = 0

    def happens(self, error: Exception | None) -> None:
        """A batch was done with, says the writer's thread."""
        self.happened += _is_for_good(error)

    def hear(self, error: Exception | None) -> None:
        """The same, when the loop is told."""
        self.heard_of += _is_for_good(error)

    def check(self, known: int) -> None:
        """Raise HeldBackError where more happened than was `known` when the sums were handed in."""
        if self.happened != known:
            raise HeldBackError("shares that these sums hold could not be written")


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
        self._room = asyncio.Semaphore(capacity)
        self._failures = _Failures()
        self._writer = Writer(store)
        self._pools = PoolRecorder(self._writer)

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """Write what is queued and stop; later writes raise LedgerError. The store stays open: it is its opener's."""
        self._pools.close()
        await self._writer.aclose()

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

    async def prune_history(self, before: float, *, holds_before: float = -math.inf) -> None:
        """Drop decisions, outcomes, ticks, sums and pool shares older than `before`, as the store does, in pieces.

        What only held, and inputs, go before `holds_before`. Between the pieces other writes get their turn.
        """
        forget = partial(self._store.next_to_forget, before, holds_before)
        while (write := await asyncio.to_thread(forget)) is not None:
            await (await self._in_room(write))
        await (await self._in_room(self._store.last_to_forget(before, holds_before)))
        while await asyncio.to_thread(self._store.has_pool_shares_before, before):
            await (await self._in_room(partial(pools.prune_pool_shares, before=before)))
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
        """Whether so many shares wait, those handed to pools with them, that `add_shares` takes no more."""
        waiting = self._share_bytes_waiting + self._pools.waiting * POOL_SHARE_BYTES
        return waiting >= self._share_capacity

    def add_shares(self, records: bytes) -> asyncio.Future[None]:
        """Queue a batch of share records (see `miner.ledger.rollup`) at once; the future is done when it is on the disk.

        Whatever its size, it is taken unless the queue was full before. Raises LedgerFullError where it was (ask
        `shares_full`), LedgerError when closed, ValueError for bytes that are no records; then nothing is queued.
        """
        if self.shares_full:
            raise LedgerFullError(f"{self.shares_waiting} shares wait for the ledger: it takes no more")
        self._pools.ride()
        future = self._writer.enqueue(
            self._store.share_batch(records),
            lost_event="shares_not_recorded",
            in_thread=self._failures.happens,
            settled=partial(self._shares_settled, len(records)),
        )
        self._share_bytes_waiting += len(records)
        return future

    def add_units(self, rows: Sequence[UnitRow]) -> asyncio.Future[None]:
        """Queue units that logged in for the first time, before their first shares."""
        return self._writer.note(partial(writes.add_units, rows=tuple(rows)), "units_not_recorded")

    def add_tips(self, rows: Sequence[TipRow]) -> asyncio.Future[None]:
        """Queue numbered tips, before the first shares found on them."""
        return self._writer.note(partial(writes.add_tips, rows=tuple(rows)), "tips_not_recorded")

    def add_share_minutes(self, rows: Sequence[ShareMinuteRow]) -> asyncio.Future[None]:
        """Queue what was counted by unit and minute since the last call; it is added to what the ledger has of them.

        Every share that is counted must have been handed to `add_shares` before, and every share handed in must be
        counted: what a killed process did not get to count is later taken from the batches after this call's place.

        Sums never go ahead of their shares: the future raises HeldBackError where a batch that was handed in before fails
        for good, unless that was known (its future done) at this call. Nothing of them is written then; the rows are to be
        handed in again once these shares were.
        """
        check = partial(self._failures.check, self._failures.heard_of)
        return self._writer.note(self._store.minute_sums(rows, check), "share_minutes_not_recorded")

    def add_pool_shares(self, rows: Sequence[PoolShareRow]) -> asyncio.Future[None]:
        """Queue shares handed to pools, of ids that count up; they stay queued like blocks.

        The future is done when they are on the disk; nobody need wait for it. Raises LedgerError when closed.
        """
        return self._pools.add(rows)

    def settle_pool_shares(self, verdicts: Sequence[PoolShareVerdict]) -> asyncio.Future[None]:
        """Queue pools' words on shares queued before; the first word on a share stays. As `add_pool_shares` otherwise."""
        return self._pools.settle(verdicts)

    def add_pool_payees(self, pool: str, scripts: Collection[bytes]) -> asyncio.Future[None]:
        """Queue scripts that jobs of this pool pay."""
        write = partial(pools.add_pool_payees, pool=pool, scripts=tuple(scripts))
        return self._writer.note(write, "pool_payees_not_recorded")

    async def add_decisions(
        self,
        rows: Sequence[DecisionRow],
        inputs: InputsRow | None = None,
        parts: Sequence[InputPartRow] = (),
    ) -> None:
        """Write decisions and what they were made from; ExistsError where others are there under the same time."""
        write = partial(writes.add_decisions, rows=tuple(rows), inputs=inputs, parts=tuple(parts))
        await (await self._in_room(write))

    async def add_override(self, row: OverrideRow) -> None:
        """Write what a person asked for; it counts instead of what was written before for the same unit."""
        await (await self._in_room(partial(orders.add_override, row=row)))

    async def add_windows(self, rows: Sequence[TickRow]) -> None:
        """Write ticks of signals; unlike prices they are waited for, and none is dropped."""
        await (await self._in_room(partial(orders.add_windows, rows=tuple(rows))))

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

    async def last_decisions(self, until: float = math.inf) -> dict[str, DecisionRow]:
        """See `Reader.last_decisions`."""
        return await asyncio.to_thread(self._store.last_decisions, until)

    async def last_inputs(self, until: float = math.inf) -> tuple[InputsRow, dict[str, InputPartRow]] | None:
        """See `Reader.last_inputs`."""
        return await asyncio.to_thread(self._store.last_inputs, until)

    async def last_overrides(self, at: float) -> list[OverrideRow]:
        """See `Reader.last_overrides`."""
        return await asyncio.to_thread(self._store.last_overrides, at)

    async def last_windows(self, prefix: str, since: float) -> list[TickRow]:
        """See `Reader.last_windows`."""
        return await asyncio.to_thread(self._store.last_windows, prefix, since)

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

    async def pool_shares(
        self, limit: int = 100, *, pool: str | None = None, since: float = 0.0
    ) -> list[PoolShareRow]:
        """See `Reader.pool_shares`."""
        return await asyncio.to_thread(self._store.pool_shares, limit, pool=pool, since=since)

    async def pool_share_sums(self, since: float = 0.0) -> dict[str, PoolShareSums]:
        """See `Reader.pool_share_sums`."""
        return await asyncio.to_thread(self._store.pool_share_sums, since)

    async def pool_payees(self, pool: str) -> set[bytes]:
        """See `Reader.pool_payees`."""
        return await asyncio.to_thread(self._store.pool_payees, pool)

    async def _keep(self, write: Write) -> None:
        try:
            await asyncio.wait_for(
                self._writer.enqueue(write, lost_event="block_not_recorded"), self._block_wait_s
            )
        except TimeoutError as error:
            raise LedgerUnavailableError(
                f"the ledger did not take a block's row within {self._block_wait_s} s; it stays queued"
            ) from error

    async def _in_room(self, write: Write) -> asyncio.Future[None]:
        await self._room.acquire()
        try:
            written = self._writer.enqueue(write)
        except LedgerError:
            self._room.release()
            raise
        written.add_done_callback(lambda _: self._room.release())
        return written

    def _shares_settled(self, size: int, error: Exception | None) -> None:
        self._share_bytes_waiting -= size
        self._failures.hear(error)

    def _ticks_settled(self, count: int, written: asyncio.Future[None]) -> None:
        error = written.exception()
        if error is not None:
            self._dropped(count, str(error))

    def _dropped(self, count: int, reason: str) -> None:
        self.ticks_dropped += count
        if self._on_ticks_dropped is not None:
            self._on_ticks_dropped(count)
        log.warning("ticks_dropped", extra={"count": count, "in_all": self.ticks_dropped, "reason": reason})


def _is_for_good(error: Exception | None) -> bool:
    """Whether a write that is kept failed for a reason that no waiting mends."""
    return error is not None and not isinstance(error, LedgerUnavailableError)
