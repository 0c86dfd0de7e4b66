"""Reading the ledger: what the web API, `hashmill log` and a starting daemon ask it."""

import math
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from types import TracebackType
from typing import Any, Self

from sqlalchemy import Column, ColumnElement, Connection, Engine, RowMapping, Select, func, literal, select

from miner.ledger import inputs, orders, pools, shares
from miner.ledger.engine import engine_at, plain_errors, url_name
from miner.ledger.numbers import decision_of
from miner.ledger.rows import (
    BestShareRow,
    BlockRow,
    DecisionRow,
    InputPartRow,
    InputsRow,
    LedgerError,
    NoLedgerError,
    OutcomeRow,
    OverrideRow,
    PoolShareRow,
    PoolShareSums,
    ShareMinuteRow,
    ShareRow,
    TickRow,
    TipRow,
    UnitRow,
)
from miner.ledger.schema import HEAD, revision_of
from miner.ledger.tables import blocks, decisions, outcomes, ticks

_BLOCK = [column for column in blocks.c if column.name not in {"site", "raw"}]
_DECISION = [column for column in decisions.c if column.name != "site"]
_OUTCOME = [column for column in outcomes.c if column.name not in {"site", "row_id"}]
_TICK = [column for column in ticks.c if column.name not in {"site", "row_id"}]


class Reader:
    """One site's ledger, to be read; safe to use from several threads, and while another process writes.

    Every method raises LedgerError where the database fails.
    """

    def __init__(self, engine: Engine, site: str) -> None:
        self._engine = engine
        self._site = site
        #: The database as messages name it: a file's path, or a URL without its password.
        self.name = url_name(engine.url)

    @classmethod
    def open(cls, url: str, *, site: str = "default") -> Self:
        """The ledger at `url`, opened read-only: it changes nothing and disturbs no writer.

        Raises NoLedgerError where there is none, LedgerError where it cannot be read, SchemaTooNewError where it is
        too new.
        """
        reader = cls(engine_at(url, read_only=True), site)
        with reader._closed_on_error(), reader._reading() as connection:
            revision = revision_of(connection)
            if revision != HEAD:
                found, kind = (
                    ("no tables", NoLedgerError) if revision is None else (f"schema {revision}", LedgerError)
                )
                raise kind(
                    f"the ledger has {found}, this Hashmill reads {HEAD}: the daemon migrates it when it starts"
                )
        return reader

    def close(self) -> None:
        """Close the database; nothing is buffered that could be lost."""
        self._engine.dispose()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def blocks(self, limit: int = 100, *, since: float = 0.0) -> list[BlockRow]:
        """The newest `limit` blocks found at `since` (unix seconds) or later, newest first, without `raw`."""
        query = (
            select(*_BLOCK, literal(b"").label("raw"))
            .where(blocks.c.site == self._site, blocks.c.found_at >= since)
            .order_by(blocks.c.found_at.desc(), blocks.c.height.desc())
            .limit(limit)
        )
        return [_block(row) for row in self._rows(query)]

    def block(self, block_hash: str) -> BlockRow | None:
        """The block with this hash, its bytes included; None where the ledger has none."""
        found = self._whole_blocks(blocks.c.hash == block_hash)
        return found[0] if found else None

    def unsettled_blocks(self) -> list[BlockRow]:
        """Blocks whose fate is open, oldest first, with their bytes.

        Those are the found, submitted and accepted ones, and the orphaned ones until their bytes are dropped:
        they may come back into the chain.
        """
        open_ones = blocks.c.status.in_(("found", "submitted", "accepted"))
        return self._whole_blocks(open_ones | ((blocks.c.status == "orphaned") & blocks.c.raw.is_not(None)))

    def block_counts(self) -> dict[str, int]:
        """How many blocks have each status; a status that none has is absent."""
        query = select(blocks.c.status, func.count().label("blocks")).where(blocks.c.site == self._site)
        return {row["status"]: row["blocks"] for row in self._rows(query.group_by(blocks.c.status))}

    def decisions(
        self, limit: int = 100, *, unit: str | None = None, since: float = 0.0, changes: bool = False
    ) -> list[DecisionRow]:
        """The newest `limit` decisions made at `since` (unix seconds) or later, newest first, of `unit` or of all.

        `changes`: only those that told a unit to change, not those that held it in its mode.
        """
        query = select(*_DECISION).where(decisions.c.site == self._site, decisions.c.at >= since)
        if unit is not None:
            query = query.where(decisions.c.unit_id == unit)
        if changes:
            moves = decisions.c.from_mode.is_distinct_from(decisions.c.to_mode)
            query = query.where(moves, decisions.c.reason.not_like("hold%"))
        newest_first = query.order_by(decisions.c.at.desc(), decisions.c.id.desc()).limit(limit)
        return [decision_of(row) for row in self._rows(newest_first)]

    def last_decisions(self, until: float = math.inf) -> dict[str, DecisionRow]:
        """The newest decision of every unit up to `until` (unix seconds), of any time where it has none; by unit id.

        What is later than now was decided before the clock was set back.
        """
        # First the newest time of each unit, which the index alone tells: years of decisions are not to be sorted.
        at: Any = func.max(decisions.c.at)
        if math.isfinite(until):
            at = func.coalesce(at.filter(decisions.c.at <= until), at)
        times = select(decisions.c.unit_id, at.label("at"))
        newest = times.where(decisions.c.site == self._site).group_by(decisions.c.unit_id).subquery()
        query = (
            select(*_DECISION)
            .join(newest, (decisions.c.unit_id == newest.c.unit_id) & (decisions.c.at == newest.c.at))
            .where(decisions.c.site == self._site)
            .order_by(decisions.c.id)
        )
        return {row["unit_id"]: decision_of(row) for row in self._rows(query)}

    def decisions_at(self, at: float) -> list[DecisionRow]:
        """The decisions made at exactly that time (unix seconds), by unit."""
        with self._reading() as connection:
            return inputs.decisions_at(connection, self._site, at)

    def decisions_without_inputs(self, since: float, until: float, *, unit: str | None = None) -> int:
        """How many decisions of since <= time <= until (unix seconds) were made from what is not kept, of `unit` or of all."""
        with self._reading() as connection:
            return inputs.decisions_without_inputs(connection, self._site, since, until, unit)

    def last_inputs(self, until: float = math.inf) -> tuple[InputsRow, dict[str, InputPartRow]] | None:
        """What the last decisions up to `until` were made from, with its parts by digest; None where nothing is kept.

        As with decisions, where there is nothing up to then, later ones count.
        """
        with self._reading() as connection:
            found = inputs.newest_inputs(connection, self._site, until)
            if found is None:
                return None
            return found, inputs.parts(connection, self._site, found.part_digests)

    def inputs_after(self, at: float, until: float, limit: int) -> list[InputsRow]:
        """What the decisions of at < time <= until (unix seconds) were made from, oldest first, `limit` ticks of them."""
        with self._reading() as connection:
            return inputs.inputs_after(connection, self._site, at, until, limit)

    def input_parts(self, digests: Collection[str]) -> dict[str, InputPartRow]:
        """Parts of inputs by digest; those that are not kept are absent."""
        with self._reading() as connection:
            return inputs.parts(connection, self._site, digests)

    def last_overrides(self, at: float) -> list[OverrideRow]:
        """Of every unit the override written last, where it ends after `at` (unix seconds); by unit."""
        with self._reading() as connection:
            return orders.last_overrides(connection, self._site, at)

    def last_windows(self, prefix: str, since: float) -> list[TickRow]:
        """Ticks that end after `since` (unix seconds) of the series that begin with `prefix`, oldest written first.

        Of those with the same series, source and beginning the one written last counts.
        """
        with self._reading() as connection:
            return orders.last_windows(connection, self._site, prefix, since)

    def outcomes(self, decision_ids: Sequence[str]) -> dict[str, list[OutcomeRow]]:
        """The outcomes of these decisions, by decision id and in the order written; those without any are absent."""
        query = select(*_OUTCOME).where(outcomes.c.site == self._site)
        query = query.where(outcomes.c.decision_id.in_(decision_ids)).order_by(outcomes.c.row_id)
        found: dict[str, list[OutcomeRow]] = {}
        for row in self._rows(query):
            found.setdefault(row["decision_id"], []).append(OutcomeRow(**row))
        return found

    def latest_ticks(self, now: float | None = None) -> dict[str, TickRow]:
        """The tick observed last of every series, by series; with `now`, only among those already in force.

        Of several observed at once (a day-ahead price list) it is the one latest in force. It may have ended:
        the caller compares `valid_to` with the time.
        """
        newest_first = (ticks.c.observed_at.desc(), ticks.c.valid_from.desc())
        place = func.row_number().over(partition_by=ticks.c.series, order_by=newest_first)
        query = select(*_TICK, place.label("place")).where(ticks.c.site == self._site)
        if now is not None:
            query = query.where(ticks.c.valid_from <= now)
        return {row["series"]: TickRow(**row) for row in self._rows(_first_places(query, _TICK))}

    def units(self) -> list[UnitRow]:
        """Every hashing unit that ever logged in, by number."""
        with self._reading() as connection:
            return shares.known_units(connection, self._site)

    def tips(self, limit: int = 100, *, origin: str | None = "solo") -> list[TipRow]:
        """The `limit` tips that were numbered last, the last first, of work of `origin` or of all (None)."""
        with self._reading() as connection:
            return shares.newest_tips(connection, self._site, limit, origin)

    def last_tip_number(self) -> int | None:
        """The highest number that a tip of any origin was given; None where there was none."""
        with self._reading() as connection:
            return shares.last_tip_number(connection, self._site)

    def shares(self, limit: int = 100, *, unit: str | None = None, since: float = 0.0) -> list[ShareRow]:
        """The newest `limit` shares accepted at `since` (unix seconds) or later, newest first, of `unit` or of all."""
        with self._reading() as connection:
            return shares.newest_shares(connection, self._site, limit, unit, since)

    def share_records(self, since: float) -> Iterator[bytes]:
        """The records of all batches that ended at `since` (unix seconds) or later, oldest first, some MiB at a time.

        A batch is given whole: its first shares may be older than `since`.
        """
        for piece in shares.batches_since(self._reading, self._site, since):
            yield b"".join(batch.records for batch in piece)

    def share_records_on(self, tips: Collection[int]) -> Iterator[bytes]:
        """The records of all batches that may hold shares on the tips of these numbers, oldest first, some MiB at a time.

        Batches are given whole, and found by the order in which they were written: no clock says where to begin.
        """
        with self._reading() as connection:
            before = shares.batch_before(connection, self._site, tips)
        if before is None:
            return
        for piece in shares.batches_after(self._reading, self._site, before):
            yield b"".join(batch.records for batch in piece)

    def share_minutes(
        self, *, unit: str | None = None, since: float = 0.0, until: float = float("inf")
    ) -> list[ShareMinuteRow]:
        """Sums of the minutes that begin at `since` <= time < `until` (unix seconds), oldest first, of `unit` or of all."""
        with self._reading() as connection:
            return shares.minutes(connection, self._site, unit, since, until)

    def best_shares(self) -> list[BestShareRow]:
        """The best share of every unit that has one, the best of all first."""
        with self._reading() as connection:
            return shares.best_shares(connection, self._site)

    def has_shares_before(self, before: float) -> bool:
        """Whether raw shares older than `before` (unix seconds) are kept."""
        with self._reading() as connection:
            return shares.has_shares_before(connection, self._site, before)

    def has_minutes_before(self, before: float) -> bool:
        """Whether sums of minutes older than `before` (unix seconds) are kept."""
        with self._reading() as connection:
            return shares.has_minutes_before(connection, self._site, before)

    def pool_shares(
        self, limit: int = 100, *, pool: str | None = None, since: float = 0.0
    ) -> list[PoolShareRow]:
        """The newest `limit` shares handed to pools at `since` (unix seconds) or later, newest first, to `pool` or to all."""
        with self._reading() as connection:
            return pools.newest_pool_shares(connection, self._site, limit, pool, since)

    def pool_share_sums(self, since: float = 0.0) -> dict[str, PoolShareSums]:
        """What became of the shares handed in at `since` (unix seconds) or later and still kept, by pool."""
        with self._reading() as connection:
            return pools.pool_share_sums(connection, self._site, since)

    def last_pool_share_id(self) -> int:
        """The highest id of a share handed to a pool that is kept; 0 where there is none."""
        with self._reading() as connection:
            return pools.last_pool_share_id(connection, self._site)

    def pool_payees(self, pool: str) -> set[bytes]:
        """The scripts that jobs of this pool were seen to pay."""
        with self._reading() as connection:
            return pools.payees_of(connection, self._site, pool)

    def has_pool_shares_before(self, before: float) -> bool:
        """Whether shares handed to pools before `before` (unix seconds) are kept."""
        with self._reading() as connection:
            return pools.has_pool_shares_before(connection, self._site, before)

    def _whole_blocks(self, condition: ColumnElement[bool]) -> list[BlockRow]:
        query = select(*_BLOCK, blocks.c.raw).where(blocks.c.site == self._site, condition)
        return [_block(row) for row in self._rows(query.order_by(blocks.c.found_at))]

    def _rows(self, query: Select[*tuple[Any, ...]]) -> Sequence[RowMapping]:
        with self._reading() as connection:
            return connection.execute(query).mappings().all()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        with plain_errors(f"cannot read the ledger {self.name}"), self._engine.begin() as connection:
            yield connection

    @contextmanager
    def _closed_on_error(self) -> Iterator[None]:
        try:
            yield
        except BaseException:
            self.close()
            raise


def _first_places(
    query: Select[*tuple[Any, ...]], columns: Sequence[Column[Any]]
) -> Select[*tuple[Any, ...]]:
    """Of the rows of `query` those with `place` 1, without that column."""
    placed = query.subquery()
    return select(*(placed.c[column.name] for column in columns)).where(placed.c.place == 1)


def _block(row: RowMapping) -> BlockRow:
    columns = dict(row)
    return BlockRow(**{**columns, "raw": columns["raw"] or b""})
