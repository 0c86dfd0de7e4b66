import importlib.util
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import inspect
from sqlalchemy.dialects import postgresql

from miner.ledger.engine import engine_at, insert_new, plain_errors, to_json
from miner.ledger.rows import LedgerError, LedgerUnavailableError
from miner.ledger.tables import blocks


def pragma(url: str, name: str) -> object:
    engine = engine_at(url)
    try:
        with engine.begin() as connection:
            return connection.exec_driver_sql(f"PRAGMA {name}").scalar_one()
    finally:
        engine.dispose()


@pytest.mark.parametrize(
    ("name", "value"),
    [("journal_mode", "wal"), ("synchronous", 2), ("foreign_keys", 1), ("busy_timeout", 30_000)],
)
def test_a_connection_is_durable_checks_keys_and_waits(sqlite_url: str, name: str, value: object) -> None:
    assert pragma(sqlite_url, name) == value


@pytest.mark.parametrize(
    ("url", "says"),
    [
        ("hashmill.db", "not a database URL"),
        ("sqlite://", "plain path"),
        ("sqlite:///:memory:", "plain path"),
        ("sqlite:///x.db?mode=memory", "plain path"),
        ("mysql://db/hashmill", "mysql is not supported"),
    ],
)
def test_urls_that_are_no_ledger_are_refused_with_a_reason(url: str, says: str) -> None:
    with pytest.raises(LedgerError, match=says):
        engine_at(url)


@pytest.mark.skipif(importlib.util.find_spec("psycopg") is not None, reason="psycopg is installed")
def test_a_missing_driver_is_named_with_the_command_that_installs_it() -> None:
    with pytest.raises(LedgerError, match=r"pip install 'hashmill\[postgres\]'"):
        engine_at("postgresql+psycopg://hashmill:secret@db/hashmill")


@pytest.mark.parametrize("name", ["a b.db", "50%.db", "100%25.db", "x#1.db", "x&mode=ro.db", "ü.db"])
def test_the_file_is_the_one_that_the_url_names(tmp_path: Path, name: str) -> None:
    engine = engine_at(f"sqlite:///{tmp_path / name}")
    with engine.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    engine.dispose()
    assert (tmp_path / name).exists()


def test_a_write_that_begins_holds_the_lock_at_once(sqlite_url: str) -> None:
    first = engine_at(sqlite_url).execution_options(writes=True)
    second = engine_at(sqlite_url, busy_timeout_s=0.05).execution_options(writes=True)
    with first.begin(), pytest.raises(LedgerUnavailableError, match="locked"), plain_errors("write"):
        second.connect().begin()
    first.dispose()
    second.dispose()


def test_a_rolled_back_transaction_takes_its_tables_with_it(url: str) -> None:
    engine = engine_at(url)
    with engine.connect() as connection:
        connection.exec_driver_sql("CREATE TABLE half_done (x INTEGER)")
        connection.rollback()
    with engine.begin() as connection:
        assert inspect(connection).get_table_names() == []
    engine.dispose()


def test_a_reader_cannot_write(url: str) -> None:
    writer = engine_at(url)
    with writer.begin() as connection:
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    reader = engine_at(url, read_only=True)
    with (
        pytest.raises(LedgerError, match=r"read-?only"),
        plain_errors("write"),
        reader.begin() as connection,
    ):
        connection.exec_driver_sql("INSERT INTO t VALUES (1)")
    reader.dispose()
    writer.dispose()


def test_an_error_is_one_line_with_what_was_done_and_why() -> None:
    engine = engine_at("sqlite:////nowhere/x.db")
    with pytest.raises(LedgerError) as caught, plain_errors("cannot open x.db"):
        engine.connect()
    assert str(caught.value) == "cannot open x.db: unable to open database file"


def test_the_insert_that_passes_over_known_rows_is_told_in_each_dialect(sqlite_url: str) -> None:
    engine = engine_at(sqlite_url)
    with engine.begin() as connection:
        on_sqlite = insert_new(connection, blocks)
        connection.dialect = postgresql.dialect()
        on_postgresql = insert_new(connection, blocks)
        connection.dialect = engine.dialect
    engine.dispose()
    assert "ON CONFLICT DO NOTHING" in str(on_sqlite.compile(dialect=engine.dialect))
    assert "ON CONFLICT DO NOTHING" in str(on_postgresql.compile(dialect=postgresql.dialect()))


def test_json_has_no_infinite_numbers() -> None:
    text_of = to_json({"a": float("inf"), "b": float("nan"), "c": 0.1, "d": None})
    assert text_of == '{"a":null,"b":null,"c":0.1,"d":null}'


def test_the_driver_is_left_to_begin_nothing_by_itself(sqlite_url: str) -> None:
    engine = engine_at(sqlite_url)
    with engine.connect() as connection:
        driver = connection.connection.dbapi_connection
        assert isinstance(driver, sqlite3.Connection)
        assert driver.isolation_level is None
    engine.dispose()
