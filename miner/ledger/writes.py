"""What can be written to the ledger: each a function on a connection whose transaction is the caller's.

Several writes share one transaction (group commit), so none of them begins, commits or rolls back.
"""

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final, get_args

from sqlalchemy import Connection, delete, insert, select, tuple_, update

from miner.ledger.engine import insert_new, insert_rows, to_json
from miner.ledger.inputs import add_inputs, check_known
from miner.ledger.numbers import stored
from miner.ledger.rollup import merged
from miner.ledger.rows import (
    BlockRow,
    BlockStatus,
    DecisionRow,
    InputPartRow,
    InputsRow,
    LedgerError,
    OutcomeRow,
    ShareMinuteRow,
    TickRow,
    TipRow,
    TransitionError,
    UnitRow,
    UnknownBlockError,
)
from miner.ledger.shares import last_batch_id, rolled_up_to
from miner.ledger.tables import (
    blocks,
    decisions,
    outcomes,
    share_batches,
    share_minutes,
    share_rollups,
    ticks,
    tips,
    units,
)

#: How much one write forgets, so that those behind it do not wait long: at full load some 8 MB of shares, a tenth of a second.
PRUNE_BATCHES: Final = 128
PRUNE_MINUTES: Final = 10_000


@dataclass(frozen=True, slots=True)
class ShareBatch:
    """Shares that are committed together: `count` records of 64 bytes, the first and last of them at these times."""

    id: int
    first_at: float
    last_at: float
    count: int
    records: bytes


@dataclass(frozen=True, slots=True)
class StatusChange:
    """A block's new status, and new values of the other columns; None leaves a column as it is."""

    status: str
    detail: str | None = None
    confirmations: int | None = None
    submitted_at: float | None = None


def add_block(connection: Connection, site: str, row: BlockRow) -> None:
    """Write a found block; one that is there already stays as it is."""
    connection.execute(insert_new(connection, blocks), [{"site": site, **asdict(row)}])


def set_block_status(connection: Connection, site: str, block_hash: str, change: StatusChange) -> None:
    """Change what is known of a block; a mature block drops its bytes.

    A node's word can come late and change with the chain, so nearly every status may follow another. What can not
    be true is that a mature block stops being mature, or that a block is merely found again.

    Raises UnknownBlockError, TransitionError, ValueError for a word that is no status.
    """
    if change.status not in get_args(BlockStatus):
        raise ValueError(f"{change.status!r} is not a block's status")
    this_block = (blocks.c.site == site) & (blocks.c.hash == block_hash)
    before = connection.execute(select(blocks.c.status).where(this_block)).scalar_one_or_none()
    if before is None:
        raise UnknownBlockError(f"block {block_hash} is not in the ledger")
    if change.status != before and (before == "mature" or change.status == "found"):
        raise TransitionError(f"block {block_hash} is {before}, it cannot become {change.status}")
    values: dict[str, Any] = {name: value for name, value in asdict(change).items() if value is not None}
    if change.status == "mature":
        values["raw"] = None
    connection.execute(update(blocks).where(this_block).values(**values))


def prune_raw(connection: Connection, site: str, up_to_height: int) -> None:
    """Drop the bytes of blocks at `up_to_height` or below that no node will ask for again: orphaned, rejected."""
    connection.execute(
        update(blocks)
        .where(blocks.c.site == site, blocks.c.height <= up_to_height, blocks.c.raw.is_not(None))
        .where(blocks.c.status.in_(("orphaned", "rejected")))
        .values(raw=None)
    )


def add_decisions(
    connection: Connection,
    site: str,
    rows: Sequence[DecisionRow],
    inputs: InputsRow | None = None,
    parts: Sequence[InputPartRow] = (),
) -> None:
    """Write decisions and what they were made from; those that are there already stay, as when only the answer to a commit was lost.

    Raises ExistsError where others are there under the same time.
    """
    written = insert_rows(
        connection,
        decisions,
        [
            (
                *(site, row.id, row.at, row.unit_id, row.from_mode, row.to_mode, row.reason),
                *(to_json(stored(row.numbers)), row.flip, row.dry_run),
            )
            for row in rows
        ],
    )
    if written < len(rows):
        check_known(connection, site, rows)
    if inputs is not None:
        add_inputs(connection, site, inputs, parts)


def add_outcomes(connection: Connection, site: str, rows: Sequence[OutcomeRow]) -> None:
    """Write outcomes, each of a decision that is in the ledger."""
    if rows:
        connection.execute(insert(outcomes), [{"site": site, **asdict(row)} for row in rows])


def add_ticks(connection: Connection, site: str, rows: Sequence[TickRow]) -> None:
    """Write ticks; an observation that is there already is passed over.

    Raises LedgerError for a value that is no number, which PostgreSQL would take and SQLite would not.
    """
    for row in rows:
        if math.isnan(row.value):
            raise LedgerError(f"ticks.value of {row.series} at {row.observed_at} is no number")
    if rows:
        connection.execute(insert_new(connection, ticks), [{"site": site, **asdict(row)} for row in rows])


def add_units(connection: Connection, site: str, rows: Sequence[UnitRow]) -> None:
    """Write units that logged in for the first time; one whose number or name is there already stays as it is."""
    insert_rows(connection, units, [(site, row.number, row.name, row.first_seen, 0.0, 0) for row in rows])


def add_tips(connection: Connection, site: str, rows: Sequence[TipRow]) -> None:
    """Write numbered tips; one whose number is there already stays as it is.

    Shares on them must be in batches that are written later.
    """
    after = last_batch_id(connection, site)
    insert_rows(
        connection,
        tips,
        [(site, row.number, row.prev_hash, row.height, row.seen_at, row.origin, after) for row in rows],
    )


def add_shares(connection: Connection, site: str, batch: ShareBatch) -> None:
    """Write a batch; one that is there already, since only the answer to its commit was lost, stays as it is.

    Raises LedgerError where its id belongs to another batch: another process writes shares of this site.
    """
    row = (site, batch.id, batch.first_at, batch.last_at, batch.count, batch.records)
    if insert_rows(connection, share_batches, [row]):
        return
    same = (share_batches.c.site == site, share_batches.c.id == batch.id)
    if connection.execute(select(share_batches.c.records).where(*same)).scalar_one() != batch.records:
        raise LedgerError(
            f"share batch {batch.id} was written by another process: two write site {site!r} at once"
        )


def add_share_minutes(
    connection: Connection,
    site: str,
    rows: Iterable[ShareMinuteRow],
    *,
    through: int,
    check: Callable[[], None] | None = None,
) -> None:
    """Add to the sums by unit and minute what `rows` count, and mark every batch up to id `through` as counted.

    It happens once: with a mark that is there already, nothing does. `check()` is asked first, when everything handed in
    before was written or has failed: what it raises is why the rows must not be added.
    """
    if check is not None:
        check()
    if rolled_up_to(connection, site) >= through:
        return
    sums: dict[tuple[int, int], ShareMinuteRow] = {}
    for row in rows:
        key = row.unit, row.minute_at
        sums[key] = merged(sums[key], row) if key in sums else row
    minutes = sorted({minute for _, minute in sums})
    columns = [column for column in share_minutes.c if column.name != "site"]
    known = select(*columns).where(share_minutes.c.site == site, share_minutes.c.minute_at.in_(minutes))
    for found in connection.execute(known) if minutes else ():
        row = ShareMinuteRow(*found)
        key = row.unit, row.minute_at
        if key in sums:
            sums[key] = merged(row, sums[key])
    insert_rows(
        connection,
        share_minutes,
        [
            (
                *(site, row.unit, row.minute_at, row.accepted, row.work, row.work_squared),
                *(row.best_difficulty, to_json(row.rejected)),
            )
            for row in sums.values()
        ],
        replace=("accepted", "work", "work_squared", "best_difficulty", "rejected"),
    )
    for minute in minutes:
        _keep_best(connection, site, minute)
    insert_rows(connection, share_rollups, [(site, through)], replace=("batch_id",))


def _keep_best(connection: Connection, site: str, minute_at: int) -> None:
    """Let the units whose share of this minute is their best ever remember it."""
    connection.execute(
        update(units)
        .where(units.c.site == site, share_minutes.c.site == site, share_minutes.c.minute_at == minute_at)
        .where(share_minutes.c.unit == units.c.number)
        .where(share_minutes.c.best_difficulty > units.c.best_difficulty)
        .values(best_difficulty=share_minutes.c.best_difficulty, best_minute_at=share_minutes.c.minute_at)
    )


def prune_shares(connection: Connection, site: str, before: float) -> None:
    """Drop the oldest batches, at most PRUNE_BATCHES, all of whose shares came before `before` (UTC unix seconds)."""
    oldest = select(share_batches.c.id).where(share_batches.c.site == site, share_batches.c.last_at < before)
    oldest = oldest.order_by(share_batches.c.last_at, share_batches.c.id).limit(PRUNE_BATCHES)
    connection.execute(
        delete(share_batches).where(share_batches.c.site == site, share_batches.c.id.in_(oldest))
    )


def prune_share_minutes(connection: Connection, site: str, before: float) -> None:
    """Drop the oldest sums, at most PRUNE_MINUTES rows, of minutes that began before `before` (UTC unix seconds)."""
    key = (share_minutes.c.unit, share_minutes.c.minute_at)
    oldest = select(*key).where(share_minutes.c.site == site, share_minutes.c.minute_at < before)
    oldest = oldest.order_by(share_minutes.c.minute_at).limit(PRUNE_MINUTES)
    connection.execute(delete(share_minutes).where(share_minutes.c.site == site, tuple_(*key).in_(oldest)))
