"""Shares handed to pools, and pools' words on them, on their way to the writer, in one commit with the shares of the moment."""

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import Final

from miner.ledger import pools
from miner.ledger.rows import LedgerError, PoolShareRow, PoolShareVerdict
from miner.ledger.writer import Writer

LINGER_S: Final = 0.02
"""How long shares wait for a commit to go with."""
VERDICTS_LINGER_S: Final = 0.5
"""How long verdicts are collected: they cost more to write than shares, and nobody waits for them."""


class PoolRecorder:
    """Queues rows and verdicts so that a verdict never goes before its row, many in one write.

    Each share comes alone. It is written with the record of the same share, by one commit (`ride` is called before that is
    queued), so that no miner's share is on the disk before what was handed to the pool for it; or after LINGER_S, where there is
    no such record. Verdicts that a crash takes along leave their shares in doubt. All stay queued while the database as a
    whole fails. `waiting` counts rows and verdicts that are not on the disk.
    """

    def __init__(self, writer: Writer) -> None:
        self._loop = asyncio.get_running_loop()
        self._writer = writer
        self._rows: list[PoolShareRow] = []
        self._verdicts: list[PoolShareVerdict] = []
        # Who hears when what was collected is on the disk: of rows, of verdicts.
        self._row_callers: list[asyncio.Future[None]] = []
        self._verdict_callers: list[asyncio.Future[None]] = []
        self._rows_soon: asyncio.TimerHandle | None = None
        self._verdicts_soon: asyncio.TimerHandle | None = None
        self._closed = False
        self.waiting = 0

    def add(self, rows: Sequence[PoolShareRow]) -> asyncio.Future[None]:
        """Queue shares; the future is done when they are on the disk. Raises LedgerError when closed."""
        done = self._expect(len(rows), self._row_callers)
        self._rows += rows
        if self._rows_soon is None:
            self._rows_soon = self._loop.call_later(LINGER_S, self.ride)
        return done

    def settle(self, verdicts: Sequence[PoolShareVerdict]) -> asyncio.Future[None]:
        """Queue verdicts on shares that were added before. Otherwise as `add`."""
        done = self._expect(len(verdicts), self._verdict_callers)
        self._verdicts += verdicts
        if self._verdicts_soon is None:
            self._verdicts_soon = self._loop.call_later(VERDICTS_LINGER_S, self._settle)
        return done

    def ride(self) -> None:
        """The shares queued now go before what is handed to the writer next, by the same commit if that can be."""
        if self._rows_soon is not None:
            self._rows_soon.cancel()
            self._rows_soon = None
        if self._row_callers:
            rows, callers, self._rows, self._row_callers = self._rows, self._row_callers, [], []
            self._write(rows, [], callers)

    def close(self) -> None:
        """Hand the writer what was collected, and take no more."""
        self._closed = True
        self._settle()
        self.ride()

    def _settle(self) -> None:
        """The verdicts queued now are written, after their shares."""
        if self._verdicts_soon is not None:
            self._verdicts_soon.cancel()
            self._verdicts_soon = None
        if self._verdict_callers:
            self.ride()
            verdicts, callers = self._verdicts, self._verdict_callers
            self._verdicts, self._verdict_callers = [], []
            self._write([], verdicts, callers)

    def _expect(self, count: int, callers: list[asyncio.Future[None]]) -> asyncio.Future[None]:
        if self._closed:
            raise LedgerError("the ledger is closed")
        self.waiting += count
        done: asyncio.Future[None] = self._loop.create_future()
        callers.append(done)
        return done

    def _write(
        self,
        rows: Sequence[PoolShareRow],
        verdicts: Sequence[PoolShareVerdict],
        callers: Sequence[asyncio.Future[None]],
    ) -> None:
        self._writer.note(
            partial(pools.note_pool_shares, rows=rows, verdicts=verdicts),
            "pool_shares_not_recorded",
            settled=partial(self._settled, callers, len(rows) + len(verdicts)),
        )

    def _settled(self, callers: Sequence[asyncio.Future[None]], count: int, error: Exception | None) -> None:
        self.waiting -= count
        for done in callers:
            if done.done():
                continue
            if error is None:
                done.set_result(None)
            else:
                done.set_exception(error)
                done.exception()  # that was logged, if it is for good: nobody need hear of it here
