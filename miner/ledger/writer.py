"""The thread that writes a store: what waits for it shares one commit, and what must not be lost waits until it can be made."""

import asyncio
import logging
from collections import deque
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from threading import Condition, Thread
from typing import Final

from miner.ledger.rows import HeldBackError, LedgerError, LedgerUnavailableError
from miner.ledger.store import Store, Write

log = logging.getLogger(__name__)

#: How long closing waits for the last writes: longer than a write waits for another process.
CLOSE_TIMEOUT_S: Final = 40.0
#: How long after the database failed as a whole what is kept is tried again.
RETRY_S: Final = 1.0

#: Called with what came of a write: None where it is on the disk.
Settled = Callable[[Exception | None], None]


@dataclass(frozen=True, slots=True)
class _Queued:
    """A write on its way to the disk; `settle` is called from the writer's thread with what came of it.

    One that is kept stays queued when the database fails as a whole, until it is written or the writer closed; then
    `lost_event` is logged. It is empty for a write that is not kept.
    """

    write: Write
    settle: Settled
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


class Writer:
    """Makes writes on a store, in a thread of its own, in the order in which one event loop hands them in."""

    def __init__(self, store: Store) -> None:
        self._loop = asyncio.get_running_loop()
        self._queue = _Queue()
        # A daemon thread: a process that ends without `aclose` must not hang; what was awaited is on the disk.
        self._thread = Thread(target=_write_all, args=(store, self._queue), name="ledger-writer", daemon=True)
        self._thread.start()

    async def aclose(self) -> None:
        """Write what is queued and stop; later writes raise LedgerError."""
        with self._queue.changed:
            self._queue.closed = True
            self._queue.changed.notify()
        await asyncio.to_thread(self._thread.join, CLOSE_TIMEOUT_S)
        if self._thread.is_alive():
            log.error("ledger_close_timeout", extra={"waited_s": CLOSE_TIMEOUT_S})

    def enqueue(
        self,
        write: Write,
        *,
        lost_event: str = "",
        in_thread: Settled | None = None,
        settled: Settled | None = None,
    ) -> asyncio.Future[None]:
        """Queue a write at once, whatever becomes of the caller; the future is done when it is on the disk.

        With a `lost_event` it is kept, and tried again, while the database as a whole fails; that event is logged if it
        never could be written. What came of it is told to `in_thread` in the writer's thread, before the writes behind it
        are made, and to `settled` on the loop, even if the future was cancelled. Raises LedgerError when closed.
        """
        future: asyncio.Future[None] = self._loop.create_future()

        def settle(error: Exception | None) -> None:
            if in_thread is not None:
                in_thread(error)
            with suppress(RuntimeError):  # a loop that is closed has nobody left to tell
                self._loop.call_soon_threadsafe(_resolve, future, error, settled)

        with self._queue.changed:
            if self._queue.closed:
                raise LedgerError("the ledger is closed")
            self._queue.items.append(_Queued(write, settle, lost_event))
            self._queue.changed.notify()
        return future

    def note(self, write: Write, lost_event: str, *, settled: Settled | None = None) -> asyncio.Future[None]:
        """Queue a kept write that nobody need wait for: if it fails for good, that is logged."""
        future = self.enqueue(write, lost_event=lost_event, settled=settled)
        future.add_done_callback(lambda written: _tell_loss(written, lost_event))
        return future


def _tell_loss(written: asyncio.Future[None], lost_event: str) -> None:
    error = None if written.cancelled() else written.exception()
    # What was not available at the end was logged already; sums that were held back are handed in again.
    if error is not None and not isinstance(error, LedgerUnavailableError | HeldBackError):
        log.error(lost_event, extra={"reason": str(error)})


def _resolve(future: asyncio.Future[None], error: Exception | None, settled: Settled | None) -> None:
    if settled is not None:
        settled(error)
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

    If one of the writes is bad, each is committed by itself, so that the bad one fails alone. The order stays: behind one
    that is to be tried again none is made.
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
            return _commit_each(store, group)
        group[0].settle(error)
    else:
        for queued in group:
            queued.settle(None)
    return []


def _commit_each(store: Store, group: Sequence[_Queued]) -> list[_Queued]:
    for position, queued in enumerate(group):
        again = _commit(store, [queued])
        if again:
            behind = group[position + 1 :]
            for other in behind:
                if not other.kept:
                    other.settle(LedgerUnavailableError("the ledger failed at a write before this one"))
            return [*again, *(other for other in behind if other.kept)]
    return []
