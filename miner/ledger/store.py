"""Writing the ledger: durable when the call returns."""

from collections.abc import Callable, Sequence
from functools import partial
from threading import Lock
from typing import Self

from sqlalchemy import Connection, Engine

from miner.ledger import writes
from miner.ledger.engine import BUSY_TIMEOUT_S, engine_at, plain_errors
from miner.ledger.reader import Reader
from miner.ledger.rows import BlockRow, DecisionRow, OutcomeRow, TickRow
from miner.ledger.schema import migrate

#: One change, made on a connection and for a site; the transaction around it is the store's.
Write = Callable[[Connection, str], None]


class Store(Reader):
    """One site's ledger, to be read and written; safe to use from several threads, one of which writes at a time.

    A method that writes returns when what it wrote is on the disk. Every method raises LedgerError where the
    database fails; then nothing of that call was written.
    """

    def __init__(self, engine: Engine, site: str) -> None:
        super().__init__(engine, site)
        self._writer = engine.execution_options(writes=True)
        self._lock = Lock()

    @classmethod
    def open(cls, url: str, *, site: str = "default", busy_timeout_s: float = BUSY_TIMEOUT_S) -> Self:
        """The ledger at `url`, made if there is none and brought to this program's schema.

        Raises LedgerError where it cannot be opened or migrated, SchemaTooNewError where it is too new. A write
        waits `busy_timeout_s` for another process's write before it fails.
        """
        store = cls(engine_at(url, busy_timeout_s=busy_timeout_s), site)
        with store._closed_on_error():
            store._transaction("open", migrate)
        return store

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

    def prune_history(self, before: float) -> None:
        """Drop decisions, outcomes and ticks older than `before` (UTC unix seconds), but the last of each unit and series."""
        self.commit([partial(writes.prune_history, before=before)])

    def add_decisions(self, rows: Sequence[DecisionRow]) -> None:
        """Write decisions; one whose id is there already stays as it is."""
        self.commit([partial(writes.add_decisions, rows=rows)])

    def add_outcomes(self, rows: Sequence[OutcomeRow]) -> None:
        """Write outcomes of decisions that are in the ledger; LedgerError for one that is not."""
        self.commit([partial(writes.add_outcomes, rows=rows)])

    def add_ticks(self, rows: Sequence[TickRow]) -> None:
        """Write ticks; an observation that is there already is passed over."""
        self.commit([partial(writes.add_ticks, rows=rows)])

    def _transaction(self, doing: str, change: Callable[[Connection], None]) -> None:
        with (
            self._lock,
            plain_errors(f"cannot {doing} the ledger {self.name}"),
            self._writer.begin() as connection,
        ):
            change(connection)
