import sqlite3
import sys
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import event, inspect, make_url, select
from sqlalchemy.dialects import postgresql

from miner.ledger import engine as engine_module
from miner.ledger.engine import (
    engine_at,
    insert_new,
    insert_rows,
    lock_key,
    plain_errors,
    to_json,
    url_name,
)
from miner.ledger.rows import LedgerError, LedgerUnavailableError
from miner.ledger.store import Store
from miner.ledger.tables import blocks, units


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


def test_a_missing_driver_is_named_with_the_command_that_installs_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "psycopg", None)
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


def unit_rows(count: int, best: float = 0.0) -> list[tuple[Any, ...]]:
    return [("default", number, f"rack.{number}", 0.5, best, 0) for number in range(count)]


def test_many_rows_are_inserted_in_few_statements(
    url: str, monkeypatch: pytest.MonkeyPatch, store: Store
) -> None:
    monkeypatch.setattr(engine_module, "ROWS_PER_STATEMENT", 400)
    statements: list[str] = []
    engine = engine_at(url).execution_options(writes=True)
    event.listen(engine, "before_cursor_execute", lambda *given: statements.append(given[2]))
    with engine.begin() as connection:
        statements.clear()
        assert insert_rows(connection, units, unit_rows(1000)) == 1000
        assert len(statements) == 3
        assert insert_rows(connection, units, unit_rows(1001)) == 1
        assert insert_rows(connection, units, []) == 0
    engine.dispose()
    assert [row.number for row in store.units()] == list(range(1001))


@pytest.mark.usefixtures("store")
def test_of_rows_that_are_there_only_the_named_columns_get_new_values(url: str) -> None:
    engine = engine_at(url).execution_options(writes=True)
    with engine.begin() as connection:
        insert_rows(connection, units, unit_rows(2))
        changed = [("default", 1, "other", 9.5, 7.5, 60)]
        insert_rows(connection, units, changed, replace=("best_difficulty",))
        found = connection.execute(select(units).where(units.c.number == 1)).one()
    engine.dispose()
    assert tuple(found) == ("default", 1, "rack.1", 0.5, 7.5, 0)


def test_every_lock_has_a_number_of_its_own_that_postgresql_can_hold() -> None:
    keys = [lock_key(name) for name in ("schema", "site default", "site north")]
    assert len(set(keys)) == 3
    assert all(-(2**63) <= key < 2**63 for key in keys)
    assert lock_key("site default") == lock_key("site default")


@pytest.mark.parametrize(
    ("sql", "may_pass"),
    [
        ("SELECT pg_sleep(5)", True),  # cancelled by the time limit
        ("SELECT pg_terminate_backend(pg_backend_pid())", True),
        ("SELECT 1/0", False),
        ("SELECT no_such_column", False),
    ],
)
def test_what_may_go_away_by_itself_is_told_from_what_will_not(
    postgres_url: str, sql: str, *, may_pass: bool
) -> None:
    engine = engine_at(postgres_url, busy_timeout_s=0.2)
    with pytest.raises(LedgerError) as caught, plain_errors("try"), engine.begin() as connection:
        connection.exec_driver_sql(sql)
    engine.dispose()
    assert isinstance(caught.value, LedgerUnavailableError) is may_pass


def test_a_server_that_only_reads_for_now_may_write_again_later(postgres_url: str) -> None:
    engine = engine_at(postgres_url, read_only=True)
    with (
        pytest.raises(LedgerUnavailableError, match="read-only transaction"),
        plain_errors("write"),
        engine.begin() as connection,
    ):
        connection.exec_driver_sql("CREATE TABLE t (x INTEGER)")
    engine.dispose()


def test_a_database_is_named_without_its_password_and_options() -> None:
    url = make_url("postgresql+psycopg://me:hunter2@db:5432/x?sslmode=require")
    assert url_name(url) == "postgresql+psycopg://me:***@db:5432/x"
    assert url_name(make_url("sqlite:////var/lib/x.db")) == "/var/lib/x.db"
