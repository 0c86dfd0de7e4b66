"""Databases and their differences: the only module of the ledger that knows SQLite from PostgreSQL."""

import hashlib
import logging
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from functools import lru_cache
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event, text
from sqlalchemy import exc as errors
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.pool import QueuePool

from miner.ledger.rows import LedgerError, LedgerUnavailableError, NoLedgerError

#: How long a write waits for another process's write to end before it is an error.
BUSY_TIMEOUT_S: Final = 30.0
#: Rows of nine columns in one statement stay far below the 32766 parameters that SQLite takes.
ROWS_PER_STATEMENT: Final = 500
#: What SQLite's write-ahead log shrinks to once a long reader has let go of it.
WAL_BYTES: Final = 64 * 1024 * 1024
CONNECT_TIMEOUT_S: Final = 10
#: A server that is gone is noticed within a minute, even one that vanished without a word; and so are we by it,
#: so that the lock of a machine that lost its power does not outlive it for long.
KEEPALIVE: Final = {
    "keepalives_idle": "20",
    "keepalives_interval": "5",
    "keepalives_count": "4",
    "tcp_user_timeout": "40000",
}
_PREPARE: Final = (
    # A commit that returned is on the disk, whatever the server's default; a statement that hangs is an error.
    "SELECT set_config('statement_timeout', %s, false), set_config('synchronous_commit',"
    " CASE current_setting('synchronous_commit') WHEN 'off' THEN 'on'"
    " ELSE current_setting('synchronous_commit') END, false),"
    " set_config('tcp_keepalives_idle', '20', false), set_config('tcp_keepalives_interval', '5', false),"
    " set_config('tcp_keepalives_count', '4', false), set_config('tcp_user_timeout', '40000', false)"
)
#: SQLSTATE classes and states that may pass by themselves: connection, resources (disk full), operator's doing, the
#: system's own trouble, conflicts; and a server that is only a standby now.
PASSING_STATES: Final = ("08", "53", "55", "57", "58", "40", "25006")


def to_json(value: object) -> str:
    """`value` as JSON text; infinite numbers and NaN, which JSON lacks, become null."""
    return msgspec.json.encode(value).decode()


def engine_at(url: str, *, read_only: bool = False, busy_timeout_s: float = BUSY_TIMEOUT_S) -> Engine:
    """An engine for the ledger at `url`: `sqlite:///path` or `postgresql+psycopg://...`; nothing is opened yet.

    Raises LedgerError for a URL that is none, another kind of database, one that lives in memory, a missing file
    that was to be read only, or a driver that is not installed.
    """
    try:
        parsed = make_url(url)
    except errors.ArgumentError as error:
        raise LedgerError("ledger url: not a database URL (sqlite:///hashmill.db is one)") from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite_engine(url, read_only=read_only, busy_timeout_s=busy_timeout_s)
        case "postgresql":
            return _postgresql_engine(parsed, read_only=read_only, busy_timeout_s=busy_timeout_s)
        case other:
            raise LedgerError(f"ledger url: {other} is not supported, sqlite and postgresql are")


def _sqlite_engine(url: str, *, read_only: bool, busy_timeout_s: float) -> Engine:
    file = url.partition(":///")[2]  # as it is written: a path is not unquoted
    if file in {"", ":memory:"} or "?" in file:
        raise LedgerError("ledger url: sqlite needs a plain path to a file, as in sqlite:///hashmill.db")
    path = Path(file).absolute()
    if read_only and not path.exists():
        raise NoLedgerError(f"no ledger at {path}: it is made when the daemon first runs")
    mode = "ro" if read_only else "rwc"

    def connect() -> sqlite3.Connection:
        # Transactions are begun by `_begin` below: with isolation_level=None the driver starts none by itself.
        connection = sqlite3.connect(
            f"file:{quote(str(path))}?mode={mode}",
            uri=True,
            timeout=busy_timeout_s,
            isolation_level=None,
            check_same_thread=False,  # the pool lends a connection to one thread at a time
        )
        try:
            _prepare_sqlite(connection, read_only=read_only)
        except BaseException:
            connection.close()
            raise
        return connection

    named = URL.create("sqlite", database=str(path))
    engine = create_engine(named, creator=connect, poolclass=QueuePool, json_serializer=to_json)
    event.listen(engine, "begin", _begin)
    return engine


def _prepare_sqlite(connection: sqlite3.Connection, *, read_only: bool) -> None:
    """Every commit reaches the disk before it returns (FULL), and readers never wait for the writer (WAL)."""
    connection.execute("PRAGMA foreign_keys=ON")
    if read_only:
        connection.execute(
            "SELECT count(*) FROM sqlite_master"
        ).fetchone()  # a file that is no database fails here
        return
    (mode,) = connection.execute("PRAGMA journal_mode=WAL").fetchone()
    if mode != "wal":
        raise sqlite3.OperationalError(f"the file system allows no write-ahead log (journal mode {mode})")
    connection.execute("PRAGMA synchronous=FULL")
    connection.execute(f"PRAGMA journal_size_limit={WAL_BYTES}")


def _begin(connection: Connection) -> None:
    """Start a transaction; one that writes takes the lock at once, so that it can never fail halfway for it."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_engine(url: URL, *, read_only: bool, busy_timeout_s: float) -> Engine:
    options: dict[str, Any] = {"postgresql_readonly": True} if read_only else {}
    defaults = {"connect_timeout": str(CONNECT_TIMEOUT_S), "application_name": "hashmill", **KEEPALIVE}
    given = url.query.keys()
    url = url.update_query_dict({key: value for key, value in defaults.items() if key not in given})
    try:
        engine = create_engine(url, json_serializer=to_json, pool_pre_ping=True, execution_options=options)
    except ImportError as error:
        raise LedgerError(
            f"ledger url: {url.drivername} needs a driver: pip install 'hashmill[postgres]'"
        ) from error

    def prepare(connection: Any, _record: object) -> None:
        connection.execute(_PREPARE, (str(round(busy_timeout_s * 1000)),))
        connection.commit()

    event.listen(engine, "connect", prepare)
    # The driver warns of each connection it could not end politely; what that means is told by our own events.
    logging.getLogger("psycopg").setLevel(logging.ERROR)
    return engine


def insert_new(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert into `table` that passes over rows whose key is there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


def insert_rows(
    connection: Connection, table: Table, rows: Sequence[tuple[Any, ...]], *, replace: Sequence[str] = ()
) -> int:
    """Insert rows, their values in the order of the table's columns, each statement holding as many as it may.

    Rows whose key is there already are passed over, or get the new values of the columns in `replace`. Returns how
    many were written. The values go to the driver as they are, no type converts them. For hundreds of rows this is
    what a busy event loop lets through: SQLite's driver lets go of the interpreter at every statement, and may wait
    five milliseconds for each to get it back.
    """
    width = len(table.columns)
    written = 0
    for start in range(0, len(rows), ROWS_PER_STATEMENT):
        piece = rows[start : start + ROWS_PER_STATEMENT]
        statement = _insert_text(table, len(piece), tuple(replace), connection.dialect.paramstyle)
        values = tuple(value for row in piece for value in row)
        assert len(values) == width * len(piece)  # noqa: S101 - a fault of ours would shift every value
        written += connection.exec_driver_sql(statement, values).rowcount
    return written


@lru_cache(maxsize=64)
def _insert_text(table: Table, rows: int, replace: tuple[str, ...], paramstyle: str) -> str:
    mark = "?" if paramstyle == "qmark" else "%s"
    columns = ", ".join(f'"{column.name}"' for column in table.columns)
    row = f"({', '.join([mark] * len(table.columns))})"
    change = ", ".join(f'"{name}" = excluded."{name}"' for name in replace)
    keys = ", ".join(f'"{column.name}"' for column in table.primary_key)
    conflict = f"({keys}) DO UPDATE SET {change}" if replace else "DO NOTHING"
    # Names are this program's own; every value is a parameter.
    return f'INSERT INTO "{table.name}" ({columns}) VALUES {", ".join([row] * rows)} ON CONFLICT {conflict}'  # noqa: S608 - see above


def lock_schema(connection: Connection) -> None:
    """Have the database's tables to ourselves until the transaction ends; SQLite's writers do from their beginning."""
    if connection.dialect.name == "postgresql":
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": lock_key("schema")})
        # Copying a big table may take longer than any write of every day.
        connection.execute(text("SET LOCAL statement_timeout = 0"))


def lock_key(name: str) -> int:
    """The number of the advisory lock that PostgreSQL knows as `name`: 64 bits, signed, of its own for Hashmill."""
    return int.from_bytes(hashlib.sha256(f"hashmill {name}".encode()).digest()[:8], "big", signed=True)


def url_name(url: URL) -> str:
    """A database as messages name it: a file's path, or a URL without its options, its password as ***."""
    if url.get_backend_name() == "sqlite":
        return str(url.database)
    return url.set(query={}).render_as_string()


@contextmanager
def plain_errors(doing: str) -> Iterator[None]:
    """Turn a database's exceptions into LedgerError with one line of text: what was `doing`, and the cause.

    What may go away by itself becomes LedgerUnavailableError.
    """
    try:
        yield
    except errors.SQLAlchemyError as error:
        kind = LedgerUnavailableError if _may_pass(error) else LedgerError
        cause = getattr(error, "orig", None) or error
        raise kind(f"{doing}: {(str(cause).splitlines() or [type(cause).__name__])[0]}") from error


def _may_pass(error: errors.SQLAlchemyError) -> bool:
    """Whether the database as a whole failed, and the same may work later."""
    if isinstance(error, errors.OperationalError | errors.TimeoutError):
        return True
    if not isinstance(error, errors.DBAPIError):
        return False
    state = getattr(error.orig, "sqlstate", None) or ""
    return error.connection_invalidated or state.startswith(PASSING_STATES)
