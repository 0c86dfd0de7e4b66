"""What can be written to the ledger: each a function on a connection whose transaction is the caller's.

Several writes share one transaction (group commit), so none of them begins, commits or rolls back.
"""

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any, get_args

from sqlalchemy import Connection, delete, func, insert, select, tuple_, update

from miner.ledger.engine import insert_new
from miner.ledger.rows import (
    BlockRow,
    BlockStatus,
    DecisionRow,
    OutcomeRow,
    TickRow,
    TransitionError,
    UnknownBlockError,
)
from miner.ledger.tables import blocks, decisions, outcomes, ticks


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


def prune_history(connection: Connection, site: str, before: float) -> None:
    """Drop decisions, their outcomes and ticks older than `before`; the last of each unit and series stay, being memory."""
    last = select(func.max(decisions.c.id)).where(decisions.c.site == site).group_by(decisions.c.unit_id)
    old = (decisions.c.site == site, decisions.c.at < before, decisions.c.id.not_in(last))
    gone = select(decisions.c.id).where(*old)
    connection.execute(delete(outcomes).where(outcomes.c.site == site, outcomes.c.decision_id.in_(gone)))
    connection.execute(delete(decisions).where(*old))
    newest = (
        select(ticks.c.series, func.max(ticks.c.observed_at))
        .where(ticks.c.site == site)
        .group_by(ticks.c.series)
    )
    connection.execute(
        delete(ticks)
        .where(ticks.c.site == site, ticks.c.observed_at < before)
        .where(tuple_(ticks.c.series, ticks.c.observed_at).not_in(newest))
    )


def add_decisions(connection: Connection, site: str, rows: Sequence[DecisionRow]) -> None:
    """Write decisions; one whose id is there already stays as it is."""
    if rows:
        values = [{"site": site, **asdict(row)} for row in rows]
        connection.execute(insert_new(connection, decisions), values)


def add_outcomes(connection: Connection, site: str, rows: Sequence[OutcomeRow]) -> None:
    """Write outcomes, each of a decision that is in the ledger."""
    if rows:
        connection.execute(insert(outcomes), [{"site": site, **asdict(row)} for row in rows])


def add_ticks(connection: Connection, site: str, rows: Sequence[TickRow]) -> None:
    """Write ticks; an observation that is there already is passed over."""
    if rows:
        connection.execute(insert_new(connection, ticks), [{"site": site, **asdict(row)} for row in rows])
