"""What the ledger holds of pools: shares handed to them with their word on each, and the scripts that their jobs pay.

Those that write are functions on a connection whose transaction is the caller's, as in `miner.ledger.writes`.
Texts from a pool are put into a form that any database takes: what a stranger sends must not fail a commit.
"""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import replace
from typing import Any, Final

from sqlalchemy import Connection, delete, func, select, update

from miner.ledger.engine import ROWS_PER_STATEMENT, insert_rows
from miner.ledger.rows import LedgerError, PoolShareRow, PoolShareSums, PoolShareVerdict
from miner.ledger.tables import pool_payees, pool_shares, units

#: How much one write forgets, so that those behind it do not wait long.
PRUNE_POOL_SHARES: Final = 10_000
#: Characters that are kept of what a pool says.
MOST_TEXT: Final = 500
#: Codes that the column takes; a pool's code beyond is not kept.
CODES: Final = range(-(2**31), 2**31)

_SHARE: Final = [column for column in pool_shares.c if column.name != "site"]
_WAITING: Final = pool_shares.c.result == "waiting"


def note_pool_shares(
    connection: Connection, site: str, *, rows: Sequence[PoolShareRow], verdicts: Sequence[PoolShareVerdict]
) -> None:
    """Write shares handed to pools, then verdicts on these or earlier ones."""
    add_pool_shares(connection, site, rows)
    settle_pool_shares(connection, site, verdicts)


def add_pool_shares(connection: Connection, site: str, rows: Sequence[PoolShareRow]) -> None:
    """Write shares handed to pools; one that is there already, since only the answer to its commit was lost, stays.

    Raises LedgerError where an id belongs to another share: another process writes shares of this site.
    """
    if insert_rows(connection, pool_shares, [_values(site, row) for row in rows]) == len(rows):
        return
    known = {row.id: row.hash for row in _with_ids(connection, site, [row.id for row in rows])}
    for row in rows:
        if known[row.id] != row.hash:
            raise LedgerError(
                f"pool share {row.id} was written by another process: two write site {site!r} at once"
            )


def settle_pool_shares(connection: Connection, site: str, verdicts: Iterable[PoolShareVerdict]) -> None:
    """Write a pool's word on shares that wait for it; the first word on a share stays, and one of none is passed over."""
    first: dict[int, PoolShareVerdict] = {}
    for verdict in verdicts:
        first.setdefault(verdict.id, verdict)
    # Read and written as whole rows: hundreds of single updates would each ask for the interpreter (see `insert_rows`).
    waiting = _with_ids(connection, site, list(first), only_waiting=True)
    insert_rows(
        connection,
        pool_shares,
        [_values(site, _settled(row, first[row.id])) for row in waiting],
        replace=("result", "code", "detail", "answered_at"),
    )


def doubt_pool_shares(connection: Connection, site: str, now: float) -> int:
    """What still waits will not be answered any more: it is in doubt from `now` on. Returns how many those are."""
    result = connection.execute(
        update(pool_shares)
        .where(pool_shares.c.site == site, _WAITING)
        .values(result="in_doubt", detail="Hashmill ended before the pool answered", answered_at=now)
    )
    return result.rowcount


def prune_pool_shares(connection: Connection, site: str, before: float) -> None:
    """Drop the oldest shares handed to pools, at most PRUNE_POOL_SHARES, of before `before` (UTC unix seconds)."""
    oldest = select(pool_shares.c.id).where(pool_shares.c.site == site, pool_shares.c.at < before)
    oldest = oldest.order_by(pool_shares.c.at).limit(PRUNE_POOL_SHARES)
    connection.execute(delete(pool_shares).where(pool_shares.c.site == site, pool_shares.c.id.in_(oldest)))


def add_pool_payees(connection: Connection, site: str, pool: str, scripts: Collection[bytes]) -> None:
    """Remember scripts that jobs of this pool pay."""
    insert_rows(connection, pool_payees, [(site, pool, script.hex()) for script in scripts])


def payees_of(connection: Connection, site: str, pool: str) -> set[bytes]:
    """The scripts that jobs of this pool were seen to pay."""
    query = select(pool_payees.c.script).where(pool_payees.c.site == site, pool_payees.c.pool == pool)
    return {bytes.fromhex(script) for script in connection.execute(query).scalars()}


def newest_pool_shares(
    connection: Connection, site: str, limit: int, pool: str | None, since: float
) -> list[PoolShareRow]:
    """The `limit` last shares handed to pools at `since` or later, newest first, to the pool of that name or to all."""
    query = select(*_SHARE, func.coalesce(units.c.name, "")).where(
        pool_shares.c.site == site, pool_shares.c.at >= since
    )
    query = query.join_from(
        pool_shares,
        units,
        (units.c.site == pool_shares.c.site) & (units.c.number == pool_shares.c.unit),
        isouter=True,
    )
    if pool is not None:
        query = query.where(pool_shares.c.pool == pool)
    rows = connection.execute(query.order_by(pool_shares.c.id.desc()).limit(limit))
    return [_named(PoolShareRow(*row)) for row in rows]


def pool_share_sums(connection: Connection, site: str, since: float) -> dict[str, PoolShareSums]:
    """What became of the shares handed in at `since` or later and still kept, by pool."""
    query = select(
        pool_shares.c.pool,
        pool_shares.c.result,
        func.count().label("shares"),
        func.sum(pool_shares.c.credited).label("work"),
    ).where(pool_shares.c.site == site, pool_shares.c.at >= since)
    sums: dict[str, dict[str, Any]] = {}
    for row in connection.execute(query.group_by(pool_shares.c.pool, pool_shares.c.result)):
        known = sums.setdefault(row.pool, {})
        known[row.result] = row.shares
        if row.result in {"accepted", "rejected"}:
            known[f"work_{row.result}"] = row.work
    return {pool: PoolShareSums(**known) for pool, known in sorted(sums.items())}


def last_pool_share_id(connection: Connection, site: str) -> int:
    """The highest id of a share handed to a pool that is kept; 0 where there is none."""
    query = select(func.max(pool_shares.c.id)).where(pool_shares.c.site == site)
    return connection.execute(query).scalar_one() or 0


def has_pool_shares_before(connection: Connection, site: str, before: float) -> bool:
    """Whether shares handed to pools before `before` (unix seconds) are kept."""
    query = select(pool_shares.c.id).where(pool_shares.c.site == site, pool_shares.c.at < before)
    return connection.execute(query.limit(1)).first() is not None


def _values(site: str, row: PoolShareRow) -> tuple[Any, ...]:
    """The row in the order of the table's columns, without the name that readers fill in."""
    return (
        *(site, row.id, row.at, row.pool, row.unit, _plain(row.worker), _plain(row.job_id), row.hash),
        *(row.difficulty, row.credited, row.result, _code(row.code), _plain(row.detail), row.answered_at),
    )


def _settled(row: PoolShareRow, verdict: PoolShareVerdict) -> PoolShareRow:
    return replace(
        row, result=verdict.result, code=verdict.code, detail=verdict.detail, answered_at=verdict.at
    )


def _with_ids(
    connection: Connection, site: str, ids: Sequence[int], *, only_waiting: bool = False
) -> list[PoolShareRow]:
    found: list[PoolShareRow] = []
    for start in range(0, len(ids), ROWS_PER_STATEMENT):
        query = select(*_SHARE).where(
            pool_shares.c.site == site, pool_shares.c.id.in_(ids[start : start + ROWS_PER_STATEMENT])
        )
        if only_waiting:
            query = query.where(_WAITING)
        found += (PoolShareRow(*row) for row in connection.execute(query))
    return found


def _named(row: PoolShareRow) -> PoolShareRow:
    return row if row.unit_name else replace(row, unit_name=f"unit {row.unit}")


def _plain(text: str) -> str:
    """`text` as every database takes it: no NUL, no half of a surrogate pair, not longer than MOST_TEXT."""
    if text.isprintable() and len(text) <= MOST_TEXT:
        return text
    return "".join(mark if mark.isprintable() else "\N{REPLACEMENT CHARACTER}" for mark in text[:MOST_TEXT])


def _code(code: int | None) -> int | None:
    return code if code is not None and code in CODES else None
