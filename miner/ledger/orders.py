"""What was asked of units from outside, in the ledger: a person's overrides, a grid's signals."""

from collections.abc import Sequence

from sqlalchemy import Connection, delete, func, insert, select

from miner.ledger.rows import OverrideRow, TickRow
from miner.ledger.tables import overrides, ticks

_OVERRIDE = [column for column in overrides.c if column.name not in {"site", "row_id"}]
_TICK = [column for column in ticks.c if column.name not in {"site", "row_id"}]


def add_override(connection: Connection, site: str, row: OverrideRow) -> None:
    """Write an override; it counts instead of the one written before for the same unit."""
    values = {column.name: getattr(row, column.name) for column in _OVERRIDE}
    connection.execute(insert(overrides), [{"site": site, **values}])


def last_overrides(connection: Connection, site: str, at: float) -> list[OverrideRow]:
    """Of every unit the override written last, where it ends after `at` (UTC unix seconds); by unit."""
    last = select(func.max(overrides.c.row_id)).where(overrides.c.site == site).group_by(overrides.c.unit_id)
    query = select(*_OVERRIDE).where(overrides.c.row_id.in_(last), overrides.c.until > at)
    found = connection.execute(query.order_by(overrides.c.unit_id)).mappings()
    return [OverrideRow(**row) for row in found]


def prune_overrides(connection: Connection, site: str, before: float) -> None:
    """Drop overrides that began before `before` (UTC unix seconds) but the last of each unit."""
    last = select(func.max(overrides.c.row_id)).where(overrides.c.site == site).group_by(overrides.c.unit_id)
    connection.execute(
        delete(overrides).where(
            overrides.c.site == site, overrides.c.since < before, overrides.c.row_id.not_in(last)
        )
    )


def add_windows(connection: Connection, site: str, rows: Sequence[TickRow]) -> None:
    """Write ticks of signals, those of the same series, source, beginning and observation instead of what is there."""
    for row in rows:
        same = [
            ticks.c[name] == getattr(row, name) for name in ("series", "source", "valid_from", "observed_at")
        ]
        connection.execute(delete(ticks).where(ticks.c.site == site, *same))
        values = {column.name: getattr(row, column.name) for column in _TICK}
        connection.execute(insert(ticks), [{"site": site, **values}])


def last_windows(connection: Connection, site: str, prefix: str, since: float) -> list[TickRow]:
    """Of the series that begin with `prefix` the ticks that end after `since` (UTC unix seconds), oldest written first.

    Of those with the same series, source and beginning the one written last counts, also where it ends the others.
    """
    same = (ticks.c.series, ticks.c.source, ticks.c.valid_from)
    last = (
        select(func.max(ticks.c.row_id))
        .where(ticks.c.site == site, ticks.c.series.startswith(prefix, autoescape=True))
        .group_by(*same)
    )
    query = select(*_TICK).where(ticks.c.row_id.in_(last), ticks.c.valid_to > since)
    return [TickRow(**row) for row in connection.execute(query.order_by(ticks.c.row_id)).mappings()]
