"""Writing the ledger: durable when the call returns."""

import math
from collections.abc import Callable, Collection, Iterable, Sequence
from functools import partial
from itertools import count
from threading import Lock
from typing import Final, Self

from sqlalchemy import Connection, Engine, Transaction
from sqlalchemy.exc import DBAPIError

from miner.ledger import history, orders, pools, shares, writes
from miner.ledger.engine import BUSY_TIMEOUT_S, engine_at, plain_errors
from miner.ledger.lock import SoleWriter
from miner.ledger.reader import Reader
from miner.ledger.rollup import RECORD, MinuteFold, span_of
from miner.ledger.rows import (
    BlockRow,
    DecisionRow,
    InputPartRow,
    InputsRow,
    OutcomeRow,
    OverrideRow,
    PoolShareRow,
    PoolShareVerdict,
    ShareMinuteRow,
    TickRow,
    TipRow,
    UnitRow,
)
from miner.ledger.schema import migrate

#: One change, made on a connection and for a site; the transaction around it is the store's.
Write = Callable[[Connection, str], None]

#: Shares folded into sums by minute between two commits, when that is made up for.
ROLL_UP_SHARES: Final = 1_000_000


class Store(Reader):
    """One site's ledger, to be read and written; safe to use from several threads, one of which writes at a time.

    A method that writes returns when what it wrote is on the disk. Every method raises LedgerError where the
    database fails; then nothing of that call was written.
    """

    def __init__(self, engine: Engine, site: str, lock: SoleWriter | None = None) -> None:
        super().__init__(engine, site)
        self._writer = engine.execution_options(writes=True)
        self._lock = Lock()
        self._sole = lock
        #: Kept from one write to the next: fetching one from the pool costs more than the write.
        self._connection: Connection | None = None
        self._ids = count(1)
        #: Decisions older than this that only held are forgotten already: those that stay are not looked at again.
        self._holds_since = -math.inf

    @classmethod
    def open(
        cls,
        url: str,
        *,
        site: str = "default",
        busy_timeout_s: float = BUSY_TIMEOUT_S,
        lock: SoleWriter | None = None,
    ) -> Self:
        """The ledger at `url`, made if there is none and brought to this program's schema.

        Raises LedgerError where it cannot be opened or migrated, SchemaTooNewError where it is too new. A write
        waits `busy_timeout_s` for another process's write before it fails. With a `lock` nothing is written while
        that is not held.
        """
        store = cls(engine_at(url, busy_timeout_s=busy_timeout_s), site, lock)
        with store._closed_on_error():
            store._transaction("open", migrate)
            with store._reading() as connection:
                store._ids = count(shares.last_batch_id(connection, site) + 1)
        return store

    def close(self) -> None:
        """Close the database; nothing is buffered that could be lost."""
        with self._lock:
            self._let_go()
        super().close()

    def commit(self, group: Sequence[Write]) -> None:
        """Make all changes of `group` in one transaction: on the disk when this returns, or none of them made."""

        def change(connection: Connection) -> None:
            for write in group:
                write(connection, self._site)

        self._transaction("write", change)

    def add_block(self, row: BlockRow) -> None:
        """Write a found block; one with the same hash stays as it is."""
        self.commit([partial(writes.add_block, row=row)])

    def set_block_status(
        self,
        block_hash: str,
        status: str,
        *,
        detail: str | None = None,
        confirmations: int | None = None,
        submitted_at: float | None = None,
    ) -> None:
        """Change a block's status and those of the other columns that are given; a mature block drops its bytes.

        Raises UnknownBlockError, TransitionError (see `writes.set_block_status`), ValueError for a word that is no status.
        """
        change = writes.StatusChange(status, detail, confirmations, submitted_at)
        self.commit([partial(writes.set_block_status, block_hash=block_hash, change=change)])

    def prune_raw(self, up_to_height: int) -> None:
        """Drop the bytes of orphaned and rejected blocks at `up_to_height` or below, usually the tip's less 100."""
        self.commit([partial(writes.prune_raw, up_to_height=up_to_height)])

    def prune_history(self, before: float, *, holds_before: float = -math.inf) -> None:
        """Drop what was decided, and from what, before `before` (UTC unix seconds), but the last of each unit and series.

        Decisions that only held a unit in its mode go before `holds_before`, and with them all inputs of that time.
        """
        while (write := self.next_to_forget(before, holds_before)) is not None:
            self.commit([write])
        self.commit([self.last_to_forget(before, holds_before)])

    def next_to_forget(self, before: float, holds_before: float) -> Write | None:
        """The write that drops the next decisions as `prune_history` does; None where none of them is left."""
        with self._reading() as connection:
            piece = history.next_piece(connection, self._site, -math.inf, before, only_holds=False)
            if piece is None:
                # A clock that was set back makes decisions that are older than those that were looked at.
                since = min(self._holds_since, holds_before)
                piece = history.next_piece(connection, self._site, since, holds_before, only_holds=True)
                self._holds_since = holds_before if piece is None else piece.since
        return None if piece is None else partial(history.prune_decisions, piece=piece)

    def last_to_forget(self, before: float, holds_before: float) -> Write:
        """The write that drops what is left to drop when the decisions are gone."""
        return partial(history.prune_rest, before=before, inputs_before=max(before, holds_before))

    def add_decisions(
        self,
        rows: Sequence[DecisionRow],
        inputs: InputsRow | None = None,
        parts: Sequence[InputPartRow] = (),
    ) -> None:
        """Write decisions and what they were made from; one whose id is there already stays as it is."""
        self.commit([partial(writes.add_decisions, rows=rows, inputs=inputs, parts=parts)])

    def add_override(self, row: OverrideRow) -> None:
        """Write what a person asked for; it counts instead of what was written before for the same unit."""
        self.commit([partial(orders.add_override, row=row)])

    def add_windows(self, rows: Sequence[TickRow]) -> None:
        """Write ticks of signals, instead of those with the same beginning that were observed at the same time."""
        self.commit([partial(orders.add_windows, rows=rows)])

    def add_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        """Write outcomes of decisions that are in the ledger; LedgerError for one that is not."""
        self.commit([partial(writes.add_outcomes, rows=rows)])

    def add_ticks(self, rows: Sequence[TickRow]) -> None:
        """Write ticks; an observation that is there already is passed over."""
        self.commit([partial(writes.add_ticks, rows=rows)])

    def add_units(self, rows: Sequence[UnitRow]) -> None:
        """Write units that logged in for the first time; one that is there already stays as it is."""
        self.commit([partial(writes.add_units, rows=rows)])

    def add_tips(self, rows: Sequence[TipRow]) -> None:
        """Write numbered tips; one that is there already stays as it is."""
        self.commit([partial(writes.add_tips, rows=rows)])

    def add_shares(self, records: bytes) -> None:
        """Write a batch of shares: records as `miner.ledger.rollup` describes them; ValueError for bytes that are none."""
        self.commit([self.share_batch(records)])

    def add_share_minutes(self, rows: Iterable[ShareMinuteRow]) -> None:
        """Add to the sums by unit and minute; `rows` count every share of the batches written so far that no call before did."""
        self.commit([self.minute_sums(rows)])

    def prune_shares(self, before: float) -> None:
        """Drop batches of shares older than `before` (UTC unix seconds), a piece to a commit."""
        while self.has_shares_before(before):
            self.commit([partial(writes.prune_shares, before=before)])

    def prune_share_minutes(self, before: float) -> None:
        """Drop sums of minutes before `before` (UTC unix seconds), a piece to a commit."""
        while self.has_minutes_before(before):
            self.commit([partial(writes.prune_share_minutes, before=before)])

    def add_pool_shares(self, rows: Sequence[PoolShareRow]) -> None:
        """Write shares handed to pools; one whose id is there already stays as it is."""
        self.commit([partial(pools.add_pool_shares, rows=rows)])

    def settle_pool_shares(self, verdicts: Sequence[PoolShareVerdict]) -> None:
        """Write pools' words on shares that wait for them; the first word on a share stays."""
        self.commit([partial(pools.settle_pool_shares, verdicts=verdicts)])

    def doubt_pool_shares(self, now: float) -> int:
        """Nobody will be told any more what became of shares that wait: they are in doubt from `now` on. Returns how many.

        To be called at a start, before shares are handed to pools.
        """
        counts: list[int] = []

        def doubt(connection: Connection, site: str) -> None:
            counts.append(pools.doubt_pool_shares(connection, site, now))

        self.commit([doubt])
        return counts[-1]

    def add_pool_payees(self, pool: str, scripts: Collection[bytes]) -> None:
        """Remember scripts that jobs of this pool pay."""
        self.commit([partial(pools.add_pool_payees, pool=pool, scripts=tuple(scripts))])

    def prune_pool_shares(self, before: float) -> None:
        """Drop shares handed to pools before `before` (UTC unix seconds), a piece to a commit."""
        while self.has_pool_shares_before(before):
            self.commit([partial(pools.prune_pool_shares, before=before)])

    def share_batch(self, records: bytes) -> Write:
        """The write of a batch with the next id, to be made once or again; ValueError for bytes that are no records."""
        first_at, last_at = span_of(records)
        batch = writes.ShareBatch(next(self._ids), first_at, last_at, len(records) // RECORD.size, records)
        return partial(writes.add_shares, batch=batch)

    def minute_sums(self, rows: Iterable[ShareMinuteRow], check: Callable[[], None] | None = None) -> Write:
        """The write of sums that hold all batches made so far; made twice, it counts once.

        `check()` is asked when it is made, and raises where the sums must not be written after all.
        """
        return partial(writes.add_share_minutes, rows=tuple(rows), through=next(self._ids), check=check)

    def roll_up(self) -> int:
        """Make up for the sums that a killed process owes: count the batches that none holds; returns their shares.

        What was rejected in that time is not known. To be called before shares are added.
        """
        with self._reading() as connection:
            mark = shares.rolled_up_to(connection, self._site)
        counted, through, fold = 0, mark, MinuteFold()
        for piece in shares.batches_after(self._reading, self._site, mark):
            for batch in piece:
                fold.add(batch.records)
                through = batch.id
            if fold.shares >= ROLL_UP_SHARES:
                counted += self._settle(fold, through)
                fold = MinuteFold()
        return counted + self._settle(fold, through)

    def _settle(self, fold: MinuteFold, through: int) -> int:
        if fold.shares:
            self.commit([partial(writes.add_share_minutes, rows=tuple(fold.rows()), through=through)])
        return fold.shares

    def _transaction(self, doing: str, change: Callable[[Connection], None]) -> None:
        with self._lock, plain_errors(f"cannot {doing} the ledger {self.name}"):
            if self._sole is not None:
                self._sole.check()
            kept = self._connection is not None
            try:
                transaction = self._changed(change)
            except DBAPIError as error:
                if not (kept and error.connection_invalidated):
                    raise
                # The server was restarted since the last write; nothing of this one was committed.
                transaction = self._changed(change)
            try:
                transaction.commit()
            except BaseException:
                self._let_go()
                raise

    def _changed(self, change: Callable[[Connection], None]) -> Transaction:
        """The open transaction in which `change` was made; none if that failed."""
        connection = self._connection = self._connection or self._writer.connect()
        try:
            transaction = connection.begin()
            change(connection)
        except BaseException:
            self._let_go()
            raise
        return transaction

    def _let_go(self) -> None:
        """Give the connection back, rolling back what was not committed."""
        connection, self._connection = self._connection, None
        if connection is not None:
            connection.close()
