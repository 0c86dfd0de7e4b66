"""Databases and their differences: the only module of the ledger that knows SQLite from PostgreSQL."""

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final
from urllib.parse import quote

import msgspec
from sqlalchemy import URL, Connection, Engine, Table, create_engine, event
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, OperationalError, SQLAlchemyError
from sqlalchemy.pool import QueuePool

from miner.ledger.rows import LedgerError, LedgerUnavailableError

#: How long a write waits for another process's write to end before it is an error.
BUSY_TIMEOUT_S: Final = 30.0


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
    except ArgumentError as error:
        raise LedgerError("ledger url: not a database URL (sqlite:///hashmill.db is one)") from error
    match parsed.get_backend_name():
        case "sqlite":
            return _sqlite_engine(url, read_only=read_only, busy_timeout_s=busy_timeout_s)
        case "postgresql":
            return _postgresql_engine(parsed, read_only=read_only)
        case other:
            raise LedgerError(f"ledger url: {other} is not supported, sqlite and postgresql are")


def _sqlite_engine(url: str, *, read_only: bool, busy_timeout_s: float) -> Engine:
    file = url.partition(":///")[2]  # as it is written: a path is not unquoted
    if file in {"", ":memory:"} or "?" in file:
        raise LedgerError("ledger url: sqlite needs a plain path to a file, as in sqlite:///hashmill.db")
    path = Path(file).absolute()
    if read_only and not path.exists():
        raise LedgerError(f"no ledger at {path}: it is made when the daemon first runs")
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


def _begin(connection: Connection) -> None:
    """Start a transaction; one that writes takes the lock at once, so that it can never fail halfway for it."""
    writes = connection.get_execution_options().get("writes", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _postgresql_engine(url: URL, *, read_only: bool) -> Engine:
    options: dict[str, Any] = {"postgresql_readonly": True} if read_only else {}
    try:
        return create_engine(url, json_serializer=to_json, pool_pre_ping=True, execution_options=options)
    except ImportError as error:
        raise LedgerError(
            f"ledger url: {url.drivername} needs a driver: pip install 'hashmill[postgres]'"
        ) from error


def insert_new(connection: Connection, table: Table) -> sqlite.Insert | postgresql.Insert:
    """An insert into `table` that passes over rows whose key is there already."""
    if connection.dialect.name == "sqlite":
        return sqlite.insert(table).on_conflict_do_nothing()
    return postgresql.insert(table).on_conflict_do_nothing()


@contextmanager
def plain_errors(doing: str) -> Iterator[None]:
    """Turn a database's exceptions into LedgerError with one line of text: what was `doing`, and the cause.

    What may go away by itself becomes LedgerUnavailableError.
    """
    try:
        yield
    except SQLAlchemyError as error:
        kind = LedgerUnavailableError if isinstance(error, OperationalError) else LedgerError
        cause = getattr(error, "orig", None) or error
        raise kind(f"{doing}: {(str(cause).splitlines() or [type(cause).__name__])[0]}") from error
