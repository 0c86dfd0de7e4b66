import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miner.ledger.condition import Condition, condition
from miner.ledger.rows import LedgerError, SchemaTooNewError
from miner.ledger.schema import HEAD
from miner.ledger.store import Store
from regtest.postgres import SUPERUSER, Postgres

Behind = Callable[[str], list[tuple[Any, ...]]]


def kind_of(url: str) -> str:
    return "SQLite" if url.startswith("sqlite") else "PostgreSQL"


def test_a_ledger_that_is_there_is_named_with_its_schema(url: str) -> None:
    Store.open(url).close()
    found = condition(url)
    assert (found.kind, found.schema, found.writable) == (kind_of(url), HEAD, True)


def test_one_that_is_not_made_yet_has_no_schema_and_is_not_made_by_looking(url: str, tmp_path: Path) -> None:
    found = condition(url)
    assert (found.kind, found.schema, found.writable) == (kind_of(url), None, True)
    assert condition(url) == found
    assert list(tmp_path.iterdir()) == []


def test_one_of_an_older_release_has_its_schema_and_keeps_it(url_0001: str) -> None:
    assert condition(url_0001).schema == "0001"
    assert condition(url_0001).schema == "0001"


def test_one_of_a_newer_release_is_refused(url: str, behind: Behind) -> None:
    Store.open(url).close()
    behind("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(SchemaTooNewError):
        condition(url)


@pytest.mark.parametrize("made", [False, True])
def test_a_file_or_folder_that_cannot_be_written_is_told(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, *, made: bool
) -> None:
    if made:
        Store.open(sqlite_url).close()
    barred = tmp_path / "hashmill.db" if made else tmp_path
    access = os.access  # root may write everything, so that only the question can be answered otherwise
    monkeypatch.setattr(os, "access", lambda path, mode: Path(path) != barred and access(path, mode))
    assert condition(sqlite_url) == Condition(
        "SQLite", str(tmp_path / "hashmill.db"), HEAD if made else None, writable=False
    )


def test_a_user_who_may_not_make_tables_is_told(postgres: Postgres, postgres_url: str) -> None:
    name = postgres_url.rpartition("/")[2]
    with postgres.connect() as connection:
        connection.execute("DROP ROLE IF EXISTS guest")
        connection.execute("CREATE ROLE guest LOGIN PASSWORD 'guest'")
    with postgres.connect(name) as connection:
        connection.execute("REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    guest = postgres_url.replace(f"{SUPERUSER}:{postgres.password}", "guest:guest")
    assert not condition(guest).writable
    Store.open(postgres_url).close()
    with pytest.raises(LedgerError, match="permission denied"):
        condition(guest)
    with postgres.connect(name) as connection:
        connection.execute("GRANT SELECT ON ALL TABLES IN SCHEMA public TO guest")
    assert not condition(guest).writable
    assert condition(postgres_url).writable


def test_a_server_that_is_not_there_is_told_without_the_password() -> None:
    with pytest.raises(
        LedgerError, match=r"cannot read the ledger postgresql\+psycopg://me:\*\*\*@127.0.0.1:1/x: "
    ) as caught:
        condition("postgresql+psycopg://me:hunter2@127.0.0.1:1/x")
    assert "hunter2" not in str(caught.value)
