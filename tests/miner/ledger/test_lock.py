import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from threading import Event

import pytest

from miner.ledger import lock as lock_module
from miner.ledger.engine import lock_key
from miner.ledger.lock import sole_writer
from miner.ledger.rows import BlockRow, LedgerError, LedgerUnavailableError
from miner.ledger.store import Store
from regtest.postgres import Postgres

WAIT_S = 20.0

#: Holds the lock of the ledger named, says so, and waits to be killed.
HOLDER = """
import sys, time
from miner.ledger.lock import sole_writer
with sole_writer(sys.argv[1]):
    print("held", flush=True)
    time.sleep(100)
"""


def wait_until(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_S
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def locks(postgres: Postgres, url: str, *, granted: bool) -> list[int]:
    """The sessions of this database that hold an advisory lock, or wait for one, by process id."""
    with postgres.connect(url.rpartition("/")[2]) as connection:
        found = connection.execute(
            "SELECT l.pid FROM pg_locks l JOIN pg_database d ON d.oid = l.database"
            " WHERE l.locktype = 'advisory' AND l.granted = %s AND d.datname = current_database()",
            (granted,),
        ).fetchall()
        return [int(str(pid)) for (pid,) in found]


def cut(postgres: Postgres, url: str) -> None:
    """End the session that holds the lock."""
    (holder,) = locks(postgres, url, granted=True)
    with postgres.connect() as connection:
        connection.execute("SELECT pg_terminate_backend(%s)", (holder,))


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lock_module, "RETRY_S", 0.02)


def test_a_second_daemon_on_the_same_ledger_is_refused(url: str) -> None:
    with sole_writer(url):
        with (
            pytest.raises(LedgerError, match="another hashmill runs on the ledger") as caught,
            sole_writer(url),
        ):
            pass
        assert not isinstance(caught.value, LedgerUnavailableError)


def test_a_lock_that_was_given_back_can_be_taken_again(url: str) -> None:
    for _ in range(2):
        with sole_writer(url) as lock:
            lock.check()


def test_the_lock_ends_with_its_holder_even_if_it_was_killed(url: str) -> None:
    with subprocess.Popen([sys.executable, "-c", HOLDER, url], stdout=subprocess.PIPE, text=True) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == "held\n"
        with pytest.raises(LedgerError, match="another hashmill"), sole_writer(url):
            pass
        os.kill(holder.pid, signal.SIGKILL)

    def free() -> bool:
        try:
            with sole_writer(url):
                return True
        except LedgerError:
            return False

    wait_until(free)  # PostgreSQL needs a moment to see that its client is gone


def test_a_folder_that_is_not_there_is_told(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'none' / 'x.db'}"
    with pytest.raises(LedgerError, match="cannot lock the ledger"), sole_writer(url):
        pass


def test_sites_of_one_postgresql_each_have_their_daemon(postgres_url: str) -> None:
    with (
        sole_writer(postgres_url, "north"),
        sole_writer(postgres_url, "south"),
        pytest.raises(LedgerError, match=r"site 'south'.*\[ledger\] site"),
        sole_writer(postgres_url, "south"),
    ):
        pass


def test_a_server_that_cannot_be_reached_is_told_without_the_password(postgres: Postgres) -> None:
    url = postgres.url("none_such")
    with (
        pytest.raises(LedgerUnavailableError, match='database "none_such" does not exist') as caught,
        sole_writer(url),
    ):
        pass
    assert postgres.password not in str(caught.value)
    assert "127.0.0.1" in str(caught.value)


def test_a_lock_whose_connection_is_cut_is_taken_again(
    postgres: Postgres, postgres_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level("INFO"), sole_writer(postgres_url) as lock:
        cut(postgres, postgres_url)
        wait_until(lambda: "ledger_lock_regained" in caplog.messages)
        lock.check()
        assert caplog.messages == ["ledger_lock_lost", "ledger_lock_regained"]
        with pytest.raises(LedgerError, match="another hashmill"), sole_writer(postgres_url):
            pass


def test_a_lock_that_another_took_is_given_up_and_nothing_is_written_any_more(
    postgres: Postgres, postgres_url: str, block: Callable[..., BlockRow]
) -> None:
    told: list[LedgerError] = []
    ended = Event()

    def taken(error: LedgerError) -> None:
        told.append(error)
        ended.set()

    database = postgres_url.rpartition("/")[2]
    with (
        sole_writer(postgres_url, on_taken=taken) as lock,
        Store.open(postgres_url, lock=lock) as store,
        postgres.connect(database) as other,
        ThreadPoolExecutor(1) as pool,
    ):
        # It waits in the server's own queue, and so has the lock the moment the first session ends.
        waiting = pool.submit(other.execute, "SELECT pg_advisory_lock(%s)", (lock_key("site default"),))
        wait_until(lambda: bool(locks(postgres, postgres_url, granted=False)))
        cut(postgres, postgres_url)
        waiting.result(WAIT_S)
        assert ended.wait(WAIT_S)
        with pytest.raises(LedgerUnavailableError, match="the lock of the ledger is lost"):
            store.add_block(block())
        assert store.blocks() == []
    assert "another hashmill" in str(told[0])


@pytest.mark.usefixtures("postgres")  # skips it where there is none
def test_a_server_that_is_restarted_gives_the_lock_back_to_who_had_it(
    block: Callable[..., BlockRow], caplog: pytest.LogCaptureFixture
) -> None:
    with Postgres() as server:
        url = server.new_database()
        with caplog.at_level("INFO"), sole_writer(url) as lock, Store.open(url, lock=lock) as store:
            store.add_block(block(1))
            server.kill()
            wait_until(lambda: bool(lock.lost))
            with pytest.raises(LedgerUnavailableError):
                store.add_block(block(2))
            server.start()
            wait_until(lambda: not lock.lost)
            store.add_block(block(3))
            assert [row.height for row in store.blocks()] == [3, 1]


def test_a_store_writes_nothing_while_its_lock_is_lost(url: str, block: Callable[..., BlockRow]) -> None:
    with sole_writer(url) as lock, Store.open(url, lock=lock) as store:
        lock.lost = "cut"
        with pytest.raises(LedgerUnavailableError, match="the lock of the ledger is lost: cut"):
            store.add_block(block(1))
        lock.lost = ""
        store.add_block(block(2))
        assert [row.height for row in store.blocks()] == [2]
