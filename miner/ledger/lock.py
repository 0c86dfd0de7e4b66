"""One daemon a ledger: a lock that is gone with its holder, however that ends, and is noticed when it is lost.

For SQLite it is a file beside the database's, for PostgreSQL an advisory lock of the server, one for each site.
"""

import fcntl
import logging
import os
import select
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from threading import Thread
from typing import Any, Final

from sqlalchemy import Connection, Engine, text
from sqlalchemy.exc import SQLAlchemyError

from miner.ledger.engine import engine_at, lock_key, plain_errors, url_name
from miner.ledger.rows import LedgerError, LedgerUnavailableError

log = logging.getLogger(__name__)

#: How long after the connection that holds the lock was lost it is tried again.
RETRY_S: Final = 0.5

_TAKE: Final = text(
    "SELECT pg_try_advisory_lock(:key), pg_backend_pid(),"
    " (SELECT backend_start FROM pg_stat_activity WHERE pid = pg_backend_pid())"
)
#: Ends a session by its process id and start, which together no other ever has.
_END_SESSION: Final = text(
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = :pid AND backend_start = :start"
)


class SoleWriter:
    """The right to write a ledger, as its store asks for it."""

    def __init__(self) -> None:
        #: Why the lock is not held; empty while it is.
        self.lost = ""

    def check(self) -> None:
        """Raise LedgerUnavailableError while the lock is not held."""
        if self.lost:
            raise LedgerUnavailableError(f"the lock of the ledger is lost: {self.lost}")


@contextmanager
def sole_writer(
    url: str, site: str = "default", *, on_taken: Callable[[LedgerError], None] | None = None
) -> Iterator[SoleWriter]:
    """Hold the lock of the ledger at `url` while the context lasts.

    Two daemons on one ledger would hash the same work and turn the same units against each other. Readers need no
    lock. Raises LedgerError where another process holds it, or it cannot be made.

    PostgreSQL's lock ends with its connection. A lost one is taken again, and nothing is written meanwhile; if another
    process was quicker, `on_taken` is told, from another thread, and nothing is written from then on.
    """
    engine = engine_at(url)
    try:
        if engine.dialect.name == "sqlite":
            with _file_lock(Path(str(engine.url.database))):
                yield SoleWriter()
        else:
            guard = _Guard(engine, site, on_taken or _ignore)
            try:
                yield guard.writer
            finally:
                guard.close()
    finally:
        engine.dispose()


@contextmanager
def _file_lock(file: Path) -> Iterator[None]:
    path = file.with_name(file.name + ".lock")
    try:
        handle = path.open("a")
    except OSError as error:
        raise LedgerError(f"cannot lock the ledger: {path}: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise _taken(str(file), "[ledger] url") from None
        yield


def _taken(name: str, key: str) -> LedgerError:
    return LedgerError(f"another hashmill runs on the ledger {name}: stop it, or give this one its own {key}")


def _ignore(_error: LedgerError) -> None:
    """Nobody wants to know."""


class _Guard:
    """An advisory lock of PostgreSQL on a connection of its own, which a thread watches."""

    def __init__(self, engine: Engine, site: str, on_taken: Callable[[LedgerError], None]) -> None:
        """Raises LedgerError where the lock is another's, or the server cannot be reached."""
        self.writer = SoleWriter()
        self._engine = engine
        self._site = site
        self._on_taken = on_taken
        #: The session that holds the lock, or did last: process id and start.
        self._session: tuple[int, object] | None = None
        self._connection: Connection | None = self._locked()
        #: Written to, it ends the watch.
        self._end = os.pipe()
        self._watcher = Thread(target=self._watch, name="ledger-lock", daemon=True)
        self._watcher.start()

    def close(self) -> None:
        """Give the lock back."""
        os.write(self._end[1], b".")
        self._watcher.join()
        for end in self._end:
            os.close(end)
        self._drop()

    def _locked(self) -> Connection:
        """A connection that holds the lock."""
        name = url_name(self._engine.url)
        with plain_errors(f"cannot lock the ledger {name}"):
            connection = self._engine.connect().execution_options(isolation_level="AUTOCOMMIT")
            try:
                held, pid, start = connection.execute(_TAKE, {"key": lock_key(f"site {self._site}")}).one()
                # A server that has not noticed that our last connection broke keeps the lock for it.
                if not held and self._session is not None:
                    old_pid, old_start = self._session
                    ended = connection.execute(_END_SESSION, {"pid": old_pid, "start": old_start}).first()
                    if ended is not None:
                        raise LedgerUnavailableError(f"the server ends our old session {old_pid}")
                if not held:
                    raise _taken(f"{name}, site {self._site!r}", "[ledger] site")
            except BaseException:
                connection.invalidate()
                connection.close()
                raise
        self._session = pid, start
        return connection

    def _drop(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            with suppress(SQLAlchemyError):  # a connection that is broken has nothing to close
                connection.invalidate()
                connection.close()

    def _watch(self) -> None:
        """Wait until the server ends the connection, which it says nothing on; then take the lock again."""
        while True:
            connection = self._connection
            waited_for: list[Any] = [self._end[0]]
            if connection is not None:
                waited_for.append(connection.connection.dbapi_connection)
            ready, _, _ = select.select(waited_for, [], [], None if connection is not None else RETRY_S)
            if self._end[0] in ready:
                return
            if connection is not None and self._lives(connection):
                continue
            try:
                self._connection = self._locked()
            except LedgerUnavailableError:
                continue
            except LedgerError as error:
                log.critical("ledger_lock_taken", extra={"error": str(error)})
                self._on_taken(error)
                return
            self.writer.lost = ""
            log.info("ledger_lock_regained", extra={"site": self._site})

    def _lives(self, connection: Connection) -> bool:
        """Whether what the server sent was no farewell."""
        try:
            with plain_errors("cannot watch the lock"):
                connection.execute(text("SELECT 1"))
        except LedgerError as error:
            self.writer.lost = str(error)
            log.warning("ledger_lock_lost", extra={"site": self._site, "error": str(error)})
            self._drop()
            return False
        return True
