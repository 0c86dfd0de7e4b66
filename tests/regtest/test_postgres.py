"""A PostgreSQL of our own: started, used, killed, started again, gone at the end."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import psycopg
import pytest

from regtest import postgres as module
from regtest.postgres import NoPostgresError, Postgres, PostgresError, programs

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server(postgres: Postgres) -> Iterator[Postgres]:
    """One that is this test's own, where there is any to be had."""
    assert postgres.pid
    with Postgres() as own:
        yield own


def alive(pid: int) -> bool:
    return Path(f"/proc/{pid}").exists()


def test_each_database_is_new_and_reached_with_the_password_only(postgres: Postgres) -> None:
    first, second = postgres.new_database(), postgres.new_database()
    assert first != second
    with psycopg.connect(first.replace("+psycopg", "")) as connection:
        connection.execute("CREATE TABLE t (x INTEGER)")
    with psycopg.connect(second.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
    bare = postgres.url(first.rpartition("/")[2], password=False).replace("+psycopg", "")
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(bare, passfile="/nowhere")
    postgres.give_back(second)


def test_a_database_that_was_given_back_is_empty_and_nobody_is_in_it_any_more(postgres: Postgres) -> None:
    url = postgres.new_database()
    left = psycopg.connect(url.replace("+psycopg", ""), autocommit=True)
    left.execute("CREATE TABLE t (x INTEGER)")
    postgres.give_back(url)
    with pytest.raises(psycopg.OperationalError):
        left.execute("SELECT 1")
    assert postgres.new_database() == url
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        assert connection.execute("SELECT to_regclass('t')").fetchone() == (None,)
    postgres.give_back(url)


def test_it_does_not_run_as_root(server: Postgres) -> None:
    assert Path(f"/proc/{server.pid}").stat().st_uid != 0


def test_what_was_committed_outlives_being_killed(server: Postgres) -> None:
    with server.connect() as connection:
        connection.execute("CREATE TABLE t AS SELECT 7 AS x")
    killed = server.pid
    server.kill()
    assert not alive(killed)
    with pytest.raises(PostgresError, match="not running"):
        _ = server.pid
    server.start()
    with server.connect() as connection:
        assert connection.execute("SELECT x FROM t").fetchone() == (7,)


def test_nothing_of_it_stays_behind(server: Postgres) -> None:
    pid, folder = server.pid, server.log_file.parent
    server.close()
    assert not alive(pid)
    assert not folder.exists()
    server.close()


def test_a_server_that_cannot_start_says_why(server: Postgres) -> None:
    server.stop()
    (server.log_file.parent / "data" / "PG_VERSION").write_text("1\n")
    with pytest.raises(PostgresError, match=r"ended while starting: .*incompatible"):
        server.start()


def test_where_none_is_installed_that_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "DEBIAN_FOLDER", tmp_path)
    monkeypatch.setenv("PATH", str(tmp_path))
    programs.cache_clear()
    with pytest.raises(NoPostgresError, match="apt-get install postgresql"):
        Postgres()
    programs.cache_clear()


def test_the_newest_version_that_is_installed_is_used(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    for version in ("9.6", "15", "17", "18"):
        folder = tmp_path / version / "bin"
        folder.mkdir(parents=True)
        (folder / "initdb").touch()
        if version != "18":  # a client's package brings no server
            (folder / "postgres").touch()
    monkeypatch.setattr(module, "DEBIAN_FOLDER", tmp_path)
    programs.cache_clear()
    assert programs() == tmp_path / "17" / "bin"
    programs.cache_clear()


def test_root_without_another_user_to_be_is_told(monkeypatch: pytest.MonkeyPatch, postgres: Postgres) -> None:
    assert postgres.pid
    monkeypatch.setattr(os, "geteuid", lambda: 0)
    monkeypatch.setattr(module, "UNPRIVILEGED", ("no-such-user",))
    with pytest.raises(NoPostgresError, match="none of the users no-such-user"):
        Postgres()
