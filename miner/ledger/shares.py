"""Reading shares back: whole batches in order, single shares newest first, sums by minute, each unit's best.

Raw shares are many, so nothing here goes through more of them than it has to: batches are found by time through an
index and read in pieces, and those of one unit only where its minutes say that there are any.
"""

from collections.abc import Callable, Collection, Iterator
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, TypeAlias

from sqlalchemy import ColumnElement, Connection, Executable, func, select, tuple_

from miner.chain.difficulty import difficulty_of_hash
from miner.ledger.rollup import MINUTE_S, RECORD
from miner.ledger.rows import BestShareRow, ShareMinuteRow, ShareRow, TipRow, UnitRow
from miner.ledger.tables import share_batches, share_minutes, share_rollups, tips, units

#: A piece of batches ends with the one that reaches so many records, 4 MiB, and holds no more batches than that.
PIECE_RECORDS: Final = 65_536
PIECE_BATCHES: Final = 512
#: Minutes of a unit looked up at once.
PIECE_MINUTES: Final = 64
#: How far from the minute that counts it a share may lie: sums are taken a moment after the minute has ended.
SKEW_S: Final = 5.0

_Reading: TypeAlias = Callable[[], AbstractContextManager[Connection]]
_Record: TypeAlias = tuple[int, int, float, float, int, bytes]
_FOREVER: Final = float("inf")


@dataclass(frozen=True, slots=True)
class Batch:
    """The shares of one commit, as they were handed to the recorder."""

    id: int
    last_at: float
    records: bytes


def known_units(connection: Connection, site: str) -> list[UnitRow]:
    """Every unit that ever logged in, by number."""
    query = select(units.c.number, units.c.name, units.c.first_seen).where(units.c.site == site)
    return [UnitRow(*row) for row in connection.execute(query.order_by(units.c.number))]


def newest_tips(connection: Connection, site: str, limit: int, origin: str | None) -> list[TipRow]:
    """The `limit` tips of `origin`, or of all (None), that were numbered last, the last first."""
    columns = (tips.c.number, tips.c.prev_hash, tips.c.height, tips.c.seen_at, tips.c.origin)
    query = select(*columns).where(tips.c.site == site)
    if origin is not None:
        query = query.where(tips.c.origin == origin)
    return [TipRow(*row) for row in connection.execute(query.order_by(tips.c.number.desc()).limit(limit))]


def last_tip_number(connection: Connection, site: str) -> int | None:
    """The highest number that a tip of any origin was given; None where there was none."""
    query = select(func.max(tips.c.number)).where(tips.c.site == site)
    number: int | None = connection.execute(query).scalar_one()
    return number


def batch_before(connection: Connection, site: str, numbers: Collection[int]) -> int | None:
    """The id of a batch up to which none holds a share on the tips of these numbers; None where none of them is known."""
    query = select(func.min(tips.c.after_batch)).where(tips.c.site == site, tips.c.number.in_(numbers))
    batch_id: int | None = connection.execute(query).scalar_one()
    return batch_id


def batches_since(reading: _Reading, site: str, since: float) -> Iterator[list[Batch]]:
    """Batches whose last share came at `since` (unix seconds) or later, oldest first, in pieces."""
    return _pieces(reading, site, (share_batches.c.last_at, share_batches.c.id), (since, -1))


def batches_after(reading: _Reading, site: str, batch_id: int) -> Iterator[list[Batch]]:
    """Batches with ids above `batch_id`, in their order, in pieces."""
    return _pieces(reading, site, (share_batches.c.id,), (batch_id,))


def _pieces(
    reading: _Reading, site: str, key: tuple[ColumnElement[Any], ...], after: tuple[float, ...]
) -> Iterator[list[Batch]]:
    """Each piece is a transaction of its own, so that a reader that takes its time holds up no checkpoint."""
    while True:
        query = select(share_batches.c.id, share_batches.c.count, *key)
        query = query.where(share_batches.c.site == site, tuple_(*key) > after)
        with reading() as connection:
            found = connection.execute(query.order_by(*key).limit(PIECE_BATCHES)).all()
            chosen, records = [], 0
            for row in found:
                chosen.append(row)
                records += row[1]
                if records >= PIECE_RECORDS:
                    break
            piece = _batches(connection, site, [row[0] for row in chosen])
        if not chosen:
            return
        yield piece
        after = tuple(chosen[-1][2:])


def _batches(connection: Connection, site: str, ids: list[int]) -> list[Batch]:
    """The batches with these ids, in the order of the ids given."""
    if not ids:
        return []
    query = select(share_batches.c.id, share_batches.c.last_at, share_batches.c.records)
    rows = connection.execute(query.where(share_batches.c.site == site, share_batches.c.id.in_(ids)))
    found = {row.id: Batch(row.id, row.last_at, row.records) for row in rows}
    return [found[number] for number in ids if number in found]


def rolled_up_to(connection: Connection, site: str) -> int:
    """The id of the last batch that the sums by minute hold; 0 where they hold none."""
    query = select(share_rollups.c.batch_id).where(share_rollups.c.site == site)
    return connection.execute(query).scalar_one_or_none() or 0


def last_batch_id(connection: Connection, site: str) -> int:
    """The highest id ever given to a batch or a roll-up of this site; 0 where there was none."""
    query = select(func.max(share_batches.c.id)).where(share_batches.c.site == site)
    return max(connection.execute(query).scalar_one() or 0, rolled_up_to(connection, site))


def has_shares_before(connection: Connection, site: str, before: float) -> bool:
    """Whether there is a batch all of whose shares came before `before` (unix seconds)."""
    query = select(share_batches.c.id).where(share_batches.c.site == site, share_batches.c.last_at < before)
    return connection.execute(query.limit(1)).first() is not None


def has_minutes_before(connection: Connection, site: str, before: float) -> bool:
    """Whether there are sums of a minute that began before `before` (unix seconds)."""
    query = select(share_minutes.c.unit).where(share_minutes.c.site == site)
    return connection.execute(query.where(share_minutes.c.minute_at < before).limit(1)).first() is not None


def newest_shares(
    connection: Connection, site: str, limit: int, unit: str | None, since: float
) -> list[ShareRow]:
    """The `limit` last shares at `since` or later, newest first, of the unit named `unit` or of all."""
    number = None
    windows: Iterator[tuple[float, float]] = iter([(since, _FOREVER)])
    if unit is not None:
        number = _number_of(connection, site, unit)
        if number is None:
            return []
        windows = _windows(connection, site, number, since)
    found: list[_Record] = []
    for low, high in windows:
        for batch in _newest_batches(connection, site, low, high, limit - len(found)):
            found += _newest_records(batch, number, low, high, limit - len(found))
            if len(found) >= limit:
                return _told(connection, site, found)
    return _told(connection, site, found)


def _number_of(connection: Connection, site: str, unit: str) -> int | None:
    query = select(units.c.number).where(units.c.site == site, units.c.name == unit)
    return connection.execute(query).scalar_one_or_none()


def _windows(connection: Connection, site: str, number: int, since: float) -> Iterator[tuple[float, float]]:
    """Where the unit's shares are: what the minutes do not hold yet, then its minutes; newest first, none overlapping."""
    oldest = select(share_batches.c.first_at).where(share_batches.c.site == site)
    oldest = oldest.order_by(share_batches.c.last_at, share_batches.c.id).limit(1)
    begins_at = connection.execute(oldest).scalar_one_or_none()
    since = max(since, _FOREVER if begins_at is None else begins_at)
    mark = select(share_batches.c.last_at).where(
        share_batches.c.site == site, share_batches.c.id <= rolled_up_to(connection, site)
    )
    rolled_at = connection.execute(mark.order_by(share_batches.c.id.desc()).limit(1)).scalar_one_or_none()
    until = since if rolled_at is None else max(since, rolled_at - SKEW_S)
    yield until, _FOREVER
    minute = until + MINUTE_S
    while until > since:
        query = select(share_minutes.c.minute_at).where(
            share_minutes.c.site == site,
            share_minutes.c.unit == number,
            share_minutes.c.minute_at < minute,
            share_minutes.c.minute_at > since - MINUTE_S - SKEW_S,
            share_minutes.c.accepted > 0,
        )
        found = connection.execute(query.order_by(share_minutes.c.minute_at.desc()).limit(PIECE_MINUTES))
        minutes = found.scalars().all()
        if not minutes:
            return
        for minute in minutes:
            low, high = max(since, minute - SKEW_S), min(until, minute + MINUTE_S + SKEW_S)
            if low < high:
                yield low, high
                until = low


def _newest_batches(
    connection: Connection, site: str, low: float, high: float, wanted: int
) -> Iterator[Batch]:
    """Batches with shares at `low` <= time < `high`, newest first.

    A batch begins where the one before ended, so that of those ending later only the first can reach into the window.
    """
    key = (share_batches.c.last_at, share_batches.c.id)
    of_site = select(*key, share_batches.c.count).where(share_batches.c.site == site)
    before: tuple[float, int] | None = None
    if high < _FOREVER:
        later = connection.execute(of_site.where(key[0] >= high).order_by(*key).limit(1)).first()
        if later is not None:
            yield from _batches(connection, site, [later.id])
            before = later.last_at, later.id
    size = 8
    while True:
        query = of_site.where(key[0] >= low)
        if before is not None:
            query = query.where(tuple_(*key) < before)
        found = connection.execute(query.order_by(*(column.desc() for column in key)).limit(size)).all()
        for row in found:
            # One at a time: a single one may be all that is needed.
            yield from _batches(connection, site, [row.id])
        if len(found) < size:
            return
        before = found[-1].last_at, found[-1].id
        size = min(max(size * 2, wanted), PIECE_BATCHES)


def _newest_records(batch: Batch, number: int | None, low: float, high: float, limit: int) -> list[_Record]:
    """The last `limit` records of a batch within the window, newest first, of unit `number` or of all."""
    if number is None:
        starts = range(len(batch.records) - RECORD.size, -1, -RECORD.size)
        taken: Iterator[_Record] = (RECORD.unpack_from(batch.records, start) for start in starts)
        found = []
        for record in taken:
            if low <= record[2] < high:
                found.append(record)
                if len(found) >= limit:
                    break
        return found
    of_unit = [
        record
        for record in RECORD.iter_unpack(batch.records)
        if record[0] == number and low <= record[2] < high
    ]
    return of_unit[-limit:][::-1]


def _told(connection: Connection, site: str, records: list[_Record]) -> list[ShareRow]:
    names = _by_number(
        connection,
        select(units.c.number, units.c.name).where(
            units.c.site == site, units.c.number.in_({record[0] for record in records})
        ),
    )
    hashes = _by_number(
        connection,
        select(tips.c.number, tips.c.prev_hash).where(
            tips.c.site == site, tips.c.number.in_({record[1] for record in records})
        ),
    )
    return [
        ShareRow(
            unit=names.get(unit, f"unit {unit}"),
            at=at,
            difficulty=difficulty,
            share_difficulty=difficulty_of_hash(digest),
            hash=digest[::-1].hex(),
            job_id=f"{serial:x}",
            prev_hash=hashes.get(tip, ""),
        )
        for unit, tip, at, difficulty, serial, digest in records
    ]


def _by_number(connection: Connection, query: Executable) -> dict[int, str]:
    return {row[0]: row[1] for row in connection.execute(query)}


def minutes(
    connection: Connection, site: str, unit: str | None, since: float, until: float
) -> list[ShareMinuteRow]:
    """Sums of the minutes that begin at `since` <= time < `until`, oldest first, of the unit named `unit` or of all."""
    columns = [column for column in share_minutes.c if column.name != "site"]
    query = select(*columns).where(
        share_minutes.c.site == site, share_minutes.c.minute_at >= since, share_minutes.c.minute_at < until
    )
    if unit is not None:
        number = _number_of(connection, site, unit)
        if number is None:
            return []
        query = query.where(share_minutes.c.unit == number)
    rows = connection.execute(query.order_by(share_minutes.c.minute_at, share_minutes.c.unit))
    return [ShareMinuteRow(*row) for row in rows]


def best_shares(connection: Connection, site: str) -> list[BestShareRow]:
    """The best share of every unit that has one, the best of all first."""
    query = select(units.c.name, units.c.best_difficulty, units.c.best_minute_at).where(
        units.c.site == site, units.c.best_difficulty > 0
    )
    rows = connection.execute(query.order_by(units.c.best_difficulty.desc(), units.c.number))
    return [BestShareRow(*row) for row in rows]
