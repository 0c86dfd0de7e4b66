"""The state a ledger is in, looked at without changing it: what `hashmill check` tells."""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from sqlalchemy import Connection, make_url, text

from miner.ledger.engine import engine_at, plain_errors, url_name
from miner.ledger.rows import NoLedgerError
from miner.ledger.schema import revision_of


@dataclass(frozen=True, slots=True)
class Condition:
    """What a ledger is and may become: `schema` is None where there is none yet.

    `writable` says whether the daemon will be able to write it, and to make its tables where they are missing or old.
    """

    kind: Literal["SQLite", "PostgreSQL"]
    name: str
    schema: str | None
    writable: bool


def condition(url: str) -> Condition:
    """The condition of the ledger at `url`.

    Raises LedgerError where it cannot be read or reached, SchemaTooNewError where a newer Hashmill wrote it.
    """
    try:
        engine = engine_at(url, read_only=True)
    except NoLedgerError:
        file = Path(str(make_url(url).database))
        return Condition("SQLite", str(file), None, os.access(file.parent, os.W_OK | os.X_OK))
    name = url_name(engine.url)
    try:
        with plain_errors(f"cannot read the ledger {name}"), engine.begin() as connection:
            schema = revision_of(connection)
            if engine.dialect.name == "sqlite":
                file = Path(name)
                writable = os.access(file, os.W_OK) and os.access(file.parent, os.W_OK | os.X_OK)
                return Condition("SQLite", name, schema, writable)
            return Condition("PostgreSQL", name, schema, _may_write(connection, schema))
    finally:
        engine.dispose()


def _may_write(connection: Connection, schema: str | None) -> bool:
    """Whether the user we logged in as may make tables, and write those there are."""
    rights = "has_schema_privilege(current_schema(), 'CREATE')"
    if schema is not None:
        rights += " AND has_table_privilege('blocks', 'INSERT')"
    allowed = connection.execute(text(f"SELECT NOT pg_is_in_recovery() AND {rights}")).scalar_one()
    return bool(allowed)
