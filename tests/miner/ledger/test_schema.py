import logging
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory

from miner.ledger.engine import engine_at
from miner.ledger.reader import Reader
from miner.ledger.rows import LedgerError, SchemaTooNewError
from miner.ledger.schema import HEAD, MIGRATIONS, migrate, revision_of
from miner.ledger.store import Store
from miner.ledger.tables import metadata


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def tables_in(path: Path) -> set[str]:
    with sqlite3.connect(path) as connection:
        names = {
            name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")
        }
    connection.close()
    return names


def mark(path: Path, revision: str) -> None:
    connection = sqlite3.connect(path)
    connection.execute("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")
    connection.execute("DELETE FROM alembic_version")
    connection.execute("INSERT INTO alembic_version VALUES (?)", (revision,))
    connection.commit()
    connection.close()


def test_the_newest_migration_is_the_schema_this_program_knows() -> None:
    assert scripts().get_heads() == [HEAD]


def test_revisions_are_numbers_that_count_up() -> None:
    revisions = [script.revision for script in scripts().walk_revisions()]
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]


def test_migrations_make_exactly_the_tables_of_this_program(url: str) -> None:
    Store.open(url).close()
    engine = engine_at(url)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_an_empty_database_has_no_revision_and_a_migrated_one_the_head(url: str) -> None:
    engine = engine_at(url).execution_options(writes=True)
    with engine.begin() as connection:
        assert revision_of(connection) is None
        migrate(connection)
        assert revision_of(connection) == HEAD
    engine.dispose()


def test_a_ledger_that_is_up_to_date_opens_without_the_migration_machinery(url: str) -> None:
    Store.open(url).close()
    program = f"import sys; from miner.ledger.store import Store; Store.open({url!r}).close(); print('alembic' in sys.modules)"
    said = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, check=True, timeout=60
    )
    assert said.stdout.strip() == "False"


@pytest.mark.parametrize("opened_by", [Store, Reader])
def test_a_schema_newer_than_this_program_is_refused_and_left_alone(
    tmp_path: Path, url: str, opened_by: type[Reader]
) -> None:
    Store.open(url).close()
    mark(tmp_path / "hashmill.db", "9999")
    with pytest.raises(SchemaTooNewError, match="schema newer than this program: the ledger is at 9999"):
        opened_by.open(url)
    with sqlite3.connect(tmp_path / "hashmill.db") as connection:
        assert connection.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    connection.close()


@pytest.mark.parametrize(
    ("revision", "says"), [("ae1027a6acf", "not a Hashmill ledger"), ("0000", "cannot be migrated")]
)
def test_a_schema_that_is_not_ours_is_refused(tmp_path: Path, url: str, revision: str, says: str) -> None:
    mark(tmp_path / "hashmill.db", revision)
    with pytest.raises(LedgerError, match=says):
        Store.open(url)


def test_a_migration_that_fails_leaves_nothing_behind(tmp_path: Path, url: str) -> None:
    with sqlite3.connect(tmp_path / "hashmill.db") as connection:
        connection.execute("CREATE TABLE ticks (not_ours)")
    connection.close()
    with pytest.raises(LedgerError, match="ticks already exists"):
        Store.open(url)
    assert tables_in(tmp_path / "hashmill.db") == {"ticks"}


def test_a_reader_does_not_migrate_but_says_who_does(tmp_path: Path, url: str) -> None:
    sqlite3.connect(tmp_path / "hashmill.db").close()
    (tmp_path / "hashmill.db").touch()
    with pytest.raises(LedgerError, match="the daemon migrates it"):
        Reader.open(url)
    assert tables_in(tmp_path / "hashmill.db") == set()


def test_several_processes_may_open_a_new_ledger_at_once(url: str) -> None:
    program = f"from miner.ledger.store import Store; Store.open({url!r}).close()"
    children = [subprocess.Popen([sys.executable, "-c", program], stderr=subprocess.PIPE) for _ in range(3)]
    said = [child.communicate(timeout=60)[1].decode() for child in children]
    assert said == ["", "", ""]


def test_migrations_run_in_the_logging_of_the_program(url: str, caplog: pytest.LogCaptureFixture) -> None:
    handlers = list(logging.getLogger().handlers)
    Store.open(url).close()
    assert logging.getLogger().handlers == handlers
    assert all(record.levelno < logging.WARNING for record in caplog.records)
