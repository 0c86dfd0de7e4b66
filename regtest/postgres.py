"""A real PostgreSQL of our own on loopback: a fresh cluster in a temporary folder, gone when it is closed."""

from __future__ import annotations

import contextlib
import functools
import os
import pwd
import secrets
import shutil
import signal
import subprocess  # initdb and postgres are programs
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Final

import psycopg

from regtest.ports import LOOPBACK, Reservation
from regtest.server import Server

if TYPE_CHECKING:
    from collections.abc import Sequence

#: Debian keeps a version's programs there, out of the PATH.
DEBIAN_FOLDER: Final = Path("/usr/lib/postgresql")
SUPERUSER: Final = "hashmill"
#: Who runs it where we are root, which PostgreSQL refuses to be: the first of these that there is.
UNPRIVILEGED: Final = ("postgres", "nobody")

INITDB_LIMIT_S: Final = 60.0
START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 20.0
POLL_S: Final = 0.02
LOG_TAIL_LINES: Final = 5

# What is written outlives a killed PostgreSQL, not a power cut of the machine: nothing here tests that.
OPTIONS: Final = (
    f"listen_addresses={LOOPBACK}",
    "fsync=off",
    "full_page_writes=off",
    "shared_buffers=16MB",
    "max_connections=60",
    "autovacuum_naptime=1h",
    "logging_collector=off",
)


class PostgresError(Exception):
    """PostgreSQL did not start or ended by itself; the message holds the end of its log."""


class NoPostgresError(PostgresError):
    """There is no PostgreSQL on this machine."""


@functools.cache
def programs() -> Path:
    """The folder with the newest initdb and postgres there is. Raises NoPostgresError."""
    found = [
        path.parent for path in DEBIAN_FOLDER.glob("*/bin/initdb") if (path.parent / "postgres").exists()
    ]
    if found:
        return max(found, key=lambda folder: float(folder.parent.name))
    if (initdb := shutil.which("initdb")) and shutil.which("postgres"):
        return Path(initdb).parent
    raise NoPostgresError("PostgreSQL is not installed: apt-get install postgresql")


class Postgres(Server):
    """One PostgreSQL server: a context manager that starts it and always stops it.

    It listens on loopback and asks for the password of `SUPERUSER`, made by chance. A server of ours ends with this
    process at the latest. Raises NoPostgresError where there is none to be had.
    """

    def __init__(self) -> None:
        self._programs = programs()
        self._user = _unprivileged() if os.geteuid() == 0 else None
        reservation = Reservation(1)
        (self.port,) = reservation.ports
        self.password = secrets.token_hex(8)
        self._folder = Path(tempfile.mkdtemp(prefix="hashmill-postgres-"))
        self._numbers = count(1)
        self._emptied: list[str] = []
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(reservation, self._folder)

    @property
    def log_file(self) -> Path:
        """What it says."""
        return self._folder / "output.log"

    @property
    def pid(self) -> int:
        """Process id of the running server. Raises PostgresError when it is down."""
        if self._process is None or self._process.poll() is not None:
            raise PostgresError("PostgreSQL is not running")
        return self._process.pid

    def url(self, database: str, *, password: bool = True) -> str:
        """The ledger's URL of `database`, with or without the password in it."""
        secret = f":{self.password}" if password else ""
        return f"postgresql+psycopg://{SUPERUSER}{secret}@{LOOPBACK}:{self.port}/{database}"

    def connect(self, database: str = "postgres") -> psycopg.Connection[tuple[object, ...]]:
        """A connection to `database` without transactions, for what tests do behind the ledger's back."""
        return psycopg.connect(
            host=LOOPBACK,
            port=self.port,
            user=SUPERUSER,
            password=self.password,
            dbname=database,
            autocommit=True,
            connect_timeout=5,
        )

    def new_database(self) -> str:
        """The URL of a database with nothing in it: one that was given back, else one made now."""
        if self._emptied:
            return self._emptied.pop()
        name = f"ledger{next(self._numbers)}"
        with self.connect() as connection:
            # The names are this class's own.
            connection.execute(f"CREATE DATABASE {name} TEMPLATE template0")
        return self.url(name)

    def give_back(self, url: str) -> None:
        """Empty a database, whoever is still connected, for the next who wants one: that is ten times faster than to make another."""
        name = url.rpartition("/")[2]
        with self.connect(name) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
                "WHERE datname = current_database() AND pid <> pg_backend_pid()"
            )
            connection.execute(f"ALTER DATABASE {name} RESET ALL")
            connection.execute("DROP SCHEMA public CASCADE")
            connection.execute("CREATE SCHEMA public AUTHORIZATION pg_database_owner")
            connection.execute("GRANT USAGE ON SCHEMA public TO PUBLIC")  # as in a database made anew
        self._emptied.append(url)

    def start(self) -> None:
        """Start it, its cluster made first if there is none, and wait until it answers. Raises PostgresError."""
        if not (self._folder / "data").exists():
            self._init()
        options = [
            part
            for option in (*OPTIONS, f"port={self.port}", f"unix_socket_directories={self._folder}")
            for part in ("-c", option)
        ]
        command = (str(self._programs / "postgres"), "-D", str(self._folder / "data"), *options)
        self._process = _spawn((*_as_user(self._user), *command), self.log_file)
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                self.connect().close()
            except psycopg.OperationalError:
                if self._process.poll() is not None:
                    raise PostgresError(f"PostgreSQL ended while starting: {self._last_words()}") from None
                if time.monotonic() > deadline_s:
                    self.kill()
                    raise PostgresError(
                        f"PostgreSQL did not answer in {START_LIMIT_S:.0f} s: {self._last_words()}"
                    ) from None
                time.sleep(POLL_S)
            else:
                return

    def stop(self) -> None:
        """End it at once and in good order, cutting its connections. Harmless when it is down."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGINT)  # the fast shutdown
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it without a word to anyone; what was committed comes back with the next start."""
        if self._process is not None and self._process.poll() is None:
            # Of SIGKILL its children would know nothing; with SIGQUIT it takes them along and saves nothing either.
            self._process.send_signal(signal.SIGQUIT)
            try:
                self._process.wait(STOP_LIMIT_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait(STOP_LIMIT_S)

    def _init(self) -> None:
        password = self._folder / "password"
        password.write_text(self.password)
        if self._user is not None:
            for path in (self._folder, password):
                os.chown(path, self._user.pw_uid, self._user.pw_gid)
        command = (
            *(str(self._programs / "initdb"), "-D", str(self._folder / "data"), "-U", SUPERUSER),
            *("--auth=scram-sha-256", f"--pwfile={password}", "--encoding=UTF8", "--locale=C", "--no-sync"),
        )
        with self.log_file.open("wb") as sink:
            made = subprocess.run(
                (*_as_user(self._user), *command),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                env=_environment(),
                timeout=INITDB_LIMIT_S,
                check=False,
            )
        if made.returncode:
            raise PostgresError(f"initdb failed: {self._last_words()}")

    def _last_words(self) -> str:
        """The end of what it said, on one line."""
        with contextlib.suppress(OSError):
            return " | ".join(self.log_file.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:])
        return "it said nothing"


def _unprivileged() -> pwd.struct_passwd:
    for name in UNPRIVILEGED:
        with contextlib.suppress(KeyError):
            return pwd.getpwnam(name)
    raise NoPostgresError(
        f"root may not run PostgreSQL, and there is none of the users {', '.join(UNPRIVILEGED)}"
    )


def _as_user(user: pwd.struct_passwd | None) -> tuple[str, ...]:
    """What to put before a command so that it runs as `user`, and ends with this process, however that ends."""
    setpriv = shutil.which("setpriv")
    if setpriv is None:
        if user is None:
            return ()
        raise NoPostgresError("root may not run PostgreSQL, and there is no setpriv to become another user")
    identity = () if user is None else (f"--reuid={user.pw_uid}", f"--regid={user.pw_gid}", "--clear-groups")
    # setpriv becomes the command, so the process id is the server's own.
    return (setpriv, *identity, "--pdeathsig", "INT", "--")


def _environment() -> dict[str, str]:
    """Ours without what would speak to another PostgreSQL."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("PG")}
    return {**kept, "LC_ALL": "C"}


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    """The one thread that starts servers, since the kernel ties a death signal to the thread that began its process."""
    return ThreadPoolExecutor(1, thread_name_prefix="postgres-spawner")


def _spawn(command: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    with output.open("ab") as sink:
        started = _spawner().submit(
            subprocess.Popen,
            command,
            stdin=subprocess.DEVNULL,
            stdout=sink,
            stderr=subprocess.STDOUT,
            cwd=output.parent,
            env=_environment(),
            start_new_session=True,
        )
        return started.result()
