"""Shares handed to pools, and pools' words on them, on their way to the writer: what comes during a commit goes into the next."""

import asyncio
from collections.abc import Sequence
from functools import partial

from miner.ledger import pools
from miner.ledger.rows import LedgerError, PoolShareRow, PoolShareVerdict
from miner.ledger.writer import Writer


class PoolRecorder:
    """Queues rows and verdicts so that a verdict never goes before its row, as one write for all that came meanwhile.

    Each share comes alone, and a write of each would ask for the interpreter as often. They stay queued while the database
    as a whole fails. `waiting` counts rows and verdicts that are not on the disk.
    """

    def __init__(self, writer: Writer) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._rows: list[PoolShareRow] = []
        self._verdicts: list[PoolShareVerdict] = []
        self._callers: list[
            asyncio.Future[None]
        ] = []  # of whom each hears when what was collected is on the disk
        self._under_way = 0
        self._closed = False
        self.waiting = 0

    def add(self, rows: Sequence[PoolShareRow]) -> asyncio.Future[None]:
        """Queue shares; the future is done when they are on the disk. Raises LedgerError when closed."""
        return self._collect(rows, ())

    def settle(self, verdicts: Sequence[PoolShareVerdict]) -> asyncio.Future[None]:
        """Queue verdicts on shares that were added before. Otherwise as `add`."""
        return self._collect((), verdicts)

    def close(self) -> None:
        """Hand the writer what was collected, and take no more."""
        self._closed = True
        if self._callers:
            self._hand_over()

    def _collect(
        self, rows: Sequence[PoolShareRow], verdicts: Sequence[PoolShareVerdict]
    ) -> asyncio.Future[None]:
        if self._closed:
            raise LedgerError("the ledger is closed")
        self._rows += rows
        self._verdicts += verdicts
        self.waiting += len(rows) + len(verdicts)
        done: asyncio.Future[None] = self._loop.create_future()
        self._callers.append(done)
        if not self._under_way:
            self._hand_over()
        return done

    def _hand_over(self) -> None:
        """Queue one write of all that was collected."""
        rows, verdicts, callers = tuple(self._rows), tuple(self._verdicts), self._callers
        self._rows, self._verdicts, self._callers = [], [], []
        self._under_way += 1
        self._writer.note(
            partial(pools.note_pool_shares, rows=rows, verdicts=verdicts),
            "pool_shares_not_recorded",
            settled=partial(self._settled, callers, len(rows) + len(verdicts)),
        )

    def _settled(self, callers: Sequence[asyncio.Future[None]], count: int, error: Exception | None) -> None:
        self._under_way -= 1
        self.waiting -= count
        for done in callers:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
                done.exception()  # that was logged, if it is for good: nobody need hear of it here
        if self._callers and not self._under_way:
            self._hand_over()
