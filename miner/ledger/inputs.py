"""What decisions were made from, in the ledger: reading it, writing it, forgetting it."""

import math
from collections.abc import Collection, Sequence
from dataclasses import replace

from sqlalchemy import Connection, delete, func, select

from miner.ledger.engine import insert_rows
from miner.ledger.numbers import decision_of
from miner.ledger.rows import DecisionRow, ExistsError, InputPartRow, InputsRow
from miner.ledger.tables import decision_inputs, decisions, input_parts

_DECISION = [column for column in decisions.c if column.name != "site"]
_INPUTS = [column for column in decision_inputs.c if column.name != "site"]


def add_inputs(connection: Connection, site: str, row: InputsRow, parts: Sequence[InputPartRow]) -> None:
    """Write a tick's inputs; `parts` are those the tick before did not use.

    Raises ExistsError where the time has others.
    """
    for part in parts:
        newest = select(func.max(input_parts.c.since_at)).where(
            input_parts.c.site == site, input_parts.c.kind == part.kind
        )
        # A clock that was set back does not make a part older than the one before it, with which it would be forgotten.
        since_at = max(row.at, connection.execute(newest).scalar_one() or row.at)
        values = (site, part.digest, part.kind, since_at, part.body)
        insert_rows(connection, input_parts, [values], replace=("since_at",))
    values_of_tick = (site, row.at, row.format, row.program, row.config_digest, row.series_digest, row.body)
    if insert_rows(connection, decision_inputs, [values_of_tick]):
        return
    same = (decision_inputs.c.site == site, decision_inputs.c.at == row.at)
    if connection.execute(select(decision_inputs.c.body).where(*same)).scalar_one() != row.body:
        raise ExistsError(f"there are decisions of {row.at} that were made from something else")


def check_known(connection: Connection, site: str, rows: Sequence[DecisionRow]) -> None:
    """Raise ExistsError unless each decision is the one that the ledger has under its id; numbers tell none apart."""
    known = {
        found.id: found for at in {row.at for row in rows} for found in decisions_at(connection, site, at)
    }
    for row in rows:
        found = known.get(row.id)
        if found is None or replace(found, numbers=row.numbers) != row:
            raise ExistsError(f"there is another decision {row.id}")


def prune_inputs(connection: Connection, site: str, before: float) -> None:
    """Drop inputs older than `before` (UTC unix seconds) but the newest of all, and parts that none of the others uses."""
    newest = select(func.max(decision_inputs.c.at)).where(decision_inputs.c.site == site).scalar_subquery()
    connection.execute(
        delete(decision_inputs).where(
            decision_inputs.c.site == site, decision_inputs.c.at < before, decision_inputs.c.at < newest
        )
    )
    same = (input_parts.c.site == site,)
    kinds = connection.execute(select(input_parts.c.kind).where(*same).distinct()).scalars().all()
    for kind in kinds:
        of_kind = (*same, input_parts.c.kind == kind)
        # What was in use at `before`, or is still in use by the inputs that stay.
        oldest = select(func.max(input_parts.c.since_at)).where(*of_kind, input_parts.c.since_at <= before)
        first = connection.execute(oldest).scalar_one()
        if first is not None:
            connection.execute(delete(input_parts).where(*of_kind, input_parts.c.since_at < first))


def newest_inputs(connection: Connection, site: str, until: float = math.inf) -> InputsRow | None:
    """The inputs of the last tick up to `until`, of any time where there are none; None where none are kept."""
    query = (
        select(*_INPUTS).where(decision_inputs.c.site == site).order_by(decision_inputs.c.at.desc()).limit(1)
    )
    for wanted in (query.where(decision_inputs.c.at <= until), query):
        found = connection.execute(wanted).mappings().first()
        if found is not None:
            return InputsRow(**found)
    return None


def inputs_after(connection: Connection, site: str, at: float, until: float, limit: int) -> list[InputsRow]:
    """The first `limit` inputs of at < time <= until (UTC unix seconds), oldest first."""
    query = select(*_INPUTS).where(
        decision_inputs.c.site == site, decision_inputs.c.at > at, decision_inputs.c.at <= until
    )
    found = connection.execute(query.order_by(decision_inputs.c.at).limit(limit)).mappings()
    return [InputsRow(**row) for row in found]


def parts(connection: Connection, site: str, digests: Collection[str]) -> dict[str, InputPartRow]:
    """Parts by digest; those that are not kept are absent."""
    query = select(input_parts.c.kind, input_parts.c.digest, input_parts.c.body).where(
        input_parts.c.site == site, input_parts.c.digest.in_(digests)
    )
    return {row["digest"]: InputPartRow(**row) for row in connection.execute(query).mappings()}


def decisions_at(connection: Connection, site: str, at: float) -> list[DecisionRow]:
    """The decisions made at exactly that time, by unit."""
    query = select(*_DECISION).where(decisions.c.site == site, decisions.c.at == at)
    found = connection.execute(query.order_by(decisions.c.unit_id)).mappings()
    return [decision_of(row) for row in found]


def decisions_without_inputs(
    connection: Connection, site: str, since: float, until: float, unit: str | None
) -> int:
    """How many decisions of since <= time <= until were made from what is not kept, of `unit` or of all."""
    kept = select(decision_inputs.c.at).where(
        decision_inputs.c.site == site, decision_inputs.c.at == decisions.c.at
    )
    query = select(func.count()).where(
        decisions.c.site == site, decisions.c.at >= since, decisions.c.at <= until, ~kept.exists()
    )
    if unit is not None:
        query = query.where(decisions.c.unit_id == unit)
    return connection.execute(query).scalar_one()
