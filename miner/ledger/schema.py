"""The state of a database's tables against this program's: migrated forward when opened, refused when newer."""

from pathlib import Path
from typing import Final

from sqlalchemy import Connection, inspect, text

from miner.ledger.engine import lock_schema
from miner.ledger.rows import LedgerError, SchemaTooNewError

#: The revision that `tables.py` describes; revisions are numbered, so that newer ones are known as such.
HEAD: Final = "0004"
MIGRATIONS: Final = Path(__file__).parent / "migrations"


def revision_of(connection: Connection) -> str | None:
    """The revision of the tables in this database; None where there are none yet.

    Raises LedgerError where the revision is not one of Hashmill's, SchemaTooNewError where it is beyond HEAD.
    """
    if not inspect(connection).has_table("alembic_version"):
        return None
    revision = connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one_or_none()
    if revision is None:
        return None
    if not (isinstance(revision, str) and revision.isascii() and revision.isdigit()):
        raise LedgerError(f"not a Hashmill ledger: its schema is called {revision!r}")
    if int(revision) > int(HEAD):
        raise SchemaTooNewError(
            f"schema newer than this program: the ledger is at {revision}, this Hashmill knows up to {HEAD};"
            " start the newer version, or point [ledger] url elsewhere"
        )
    return revision


def migrate(connection: Connection) -> None:
    """Bring the tables to HEAD inside the transaction of `connection`; all of it happens, or nothing."""
    if revision_of(connection) == HEAD:
        return
    lock_schema(connection)
    if revision_of(connection) == HEAD:  # another process was at it
        return
    # Imported only here: a ledger that is up to date spares the daemon Alembic's 12 MB.
    from alembic import command  # noqa: PLC0415 - see above
    from alembic.config import Config  # noqa: PLC0415 - see above
    from alembic.util import CommandError  # noqa: PLC0415 - see above

    config = Config(attributes={"connection": connection})
    config.set_main_option("script_location", str(MIGRATIONS).replace("%", "%%"))
    config.set_main_option("path_separator", "os")
    try:
        command.upgrade(config, HEAD)
    except CommandError as error:
        raise LedgerError(f"the ledger cannot be migrated to {HEAD}: {error}") from error
