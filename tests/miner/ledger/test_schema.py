import logging
import subprocess
import sys
from collections.abc import Callable
from typing import Any

import pytest
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from miner.ledger.engine import engine_at
from miner.ledger.reader import Reader
from miner.ledger.rows import (
    InputPartRow,
    InputsRow,
    LedgerError,
    NoLedgerError,
    OutcomeRow,
    OverrideRow,
    SchemaTooNewError,
    TipRow,
)
from miner.ledger.schema import HEAD, MIGRATIONS, migrate, revision_of
from miner.ledger.store import Store
from miner.ledger.tables import metadata

Behind = Callable[[str], list[tuple[Any, ...]]]


def scripts() -> ScriptDirectory:
    config = Config()
    config.set_main_option("script_location", str(MIGRATIONS))
    config.set_main_option("path_separator", "os")
    return ScriptDirectory.from_config(config)


def tables_in(url: str) -> set[str]:
    engine = engine_at(url)
    with engine.begin() as connection:
        names = set(inspect(connection).get_table_names())
    engine.dispose()
    return names


def mark(behind: Behind, revision: str) -> None:
    behind("CREATE TABLE IF NOT EXISTS alembic_version (version_num VARCHAR(32) NOT NULL)")
    behind("DELETE FROM alembic_version")
    behind(f"INSERT INTO alembic_version VALUES ('{revision}')")


def test_the_newest_migration_is_the_schema_this_program_knows() -> None:
    assert scripts().get_heads() == [HEAD]


def test_revisions_are_numbers_that_count_up() -> None:
    revisions = [script.revision for script in scripts().walk_revisions()]
    assert revisions == [f"{number:04}" for number in range(len(revisions), 0, -1)]


def test_migrations_make_exactly_the_tables_of_this_program(url: str) -> None:
    Store.open(url).close()
    assert differences(url) == []


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
    behind: Behind, url: str, opened_by: type[Reader]
) -> None:
    Store.open(url).close()
    mark(behind, "9999")
    with pytest.raises(SchemaTooNewError, match="schema newer than this program: the ledger is at 9999"):
        opened_by.open(url)
    assert behind("SELECT version_num FROM alembic_version") == [("9999",)]


@pytest.mark.parametrize(
    ("revision", "says"), [("ae1027a6acf", "not a Hashmill ledger"), ("0000", "cannot be migrated")]
)
def test_a_schema_that_is_not_ours_is_refused(behind: Behind, url: str, revision: str, says: str) -> None:
    mark(behind, revision)
    with pytest.raises(LedgerError, match=says):
        Store.open(url)


def test_a_migration_that_fails_leaves_nothing_behind(behind: Behind, url: str) -> None:
    behind("CREATE TABLE ticks (not_ours INTEGER)")
    with pytest.raises(LedgerError, match=r'"?ticks"? already exists'):
        Store.open(url)
    assert tables_in(url) == {"ticks"}


def test_a_reader_does_not_migrate_but_says_who_does(behind: Behind, url: str) -> None:
    behind("CREATE TABLE other (x INTEGER)")
    with pytest.raises(NoLedgerError, match="the daemon migrates it"):
        Reader.open(url)
    assert tables_in(url) == {"other"}


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


def differences(url: str) -> list[Any]:
    engine = engine_at(url)
    with engine.begin() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        found: list[Any] = compare_metadata(context, metadata)
    engine.dispose()
    return found


def test_a_ledger_of_the_first_release_keeps_its_rows_and_gets_the_tables_of_this_one(url_0001: str) -> None:
    with Store.open(url_0001) as store:
        block = store.block("ab")
        assert block is not None
        assert (block.height, block.raw, block.stale, block.status, block.submitted_at) == (
            7,
            b"\x00\xff",
            True,
            "accepted",
            2.5,
        )
        (decision,) = store.decisions()
        assert (decision.from_mode, decision.numbers) == (None, {"usd": 1.25})
        assert [row.mode_read for row in store.outcomes(["d1"])["d1"]] == ["full"]
        assert store.latest_ticks()["btc_usd"].value == 90000.5
        assert store.shares() == []
        store.add_outcomes([OutcomeRow("d1", 3.5, "failed")])
        assert len(store.outcomes(["d1"])["d1"]) == 2
    assert differences(url_0001) == []


def test_a_reader_does_not_read_the_schema_of_an_older_release(url_0001: str) -> None:
    with pytest.raises(LedgerError, match=f"the ledger has schema 0001, this Hashmill reads {HEAD}"):
        Reader.open(url_0001)


def test_the_first_release_s_tables_are_those_of_its_migration(url_0001: str, behind: Behind) -> None:
    made = {name: behind(f"SELECT * FROM {name}") for name in sorted(tables_in(url_0001))}
    assert set(made) == {"alembic_version", "blocks", "decisions", "outcomes", "ticks"}
    assert all(len(rows) == 1 for rows in made.values())


def test_a_ledger_from_before_pools_keeps_its_shares_and_knows_where_those_of_each_tip_begin(
    url_0002: str, shares: Callable[..., bytes]
) -> None:
    with Store.open(url_0002) as store:
        assert [(tip.number, tip.prev_hash, tip.origin) for tip in store.tips()] == [
            (2, "bb", "solo"),
            (1, "aa", "solo"),
        ]
        assert [len(records) // 64 for records in store.share_records_on([1, 2])] == [3]
        assert [len(records) // 64 for records in store.share_records_on([2])] == [2]
        assert [row.at for row in store.shares(unit="rack.1")] == [31.0, 21.0, 12.0]
        assert store.roll_up() == 2
        assert (store.pool_shares(), store.pool_payees("main")) == ([], set())
        store.add_tips([TipRow(3, "dd", 102, 0.0, "main")])
        store.add_shares(shares(40.0, tip=3))
        assert [len(records) // 64 for records in store.share_records_on([3])] == [1]
    assert differences(url_0002) == []


def test_a_reader_does_not_read_the_schema_from_before_pools(url_0002: str) -> None:
    with pytest.raises(LedgerError, match=f"the ledger has schema 0002, this Hashmill reads {HEAD}"):
        Reader.open(url_0002)


def test_a_ledger_from_before_inputs_keeps_its_rows_and_takes_inputs_and_overrides(url_0003: str) -> None:
    with Store.open(url_0003) as store:
        assert [row.mode_read for row in store.outcomes(["d1"])["d1"]] == ["full"]
        assert store.pool_share_sums()["main"].accepted == 1
        assert store.pool_payees("main") == {bytes.fromhex("0014ab")}
        assert (store.last_inputs(), store.last_overrides(0.0)) == (None, [])
        assert store.decisions_without_inputs(0.0, 10.0) == 1
        part = InputPartRow("config", "cc", b"\x01")
        store.add_decisions([], InputsRow(1.5, 1, "x", "cc", "", b"\x02"), [part])
        store.add_override(OverrideRow("cpu", "off", 1.0, float("inf"), "ann", "noise"))
        assert store.decisions_without_inputs(0.0, 10.0) == 0
        assert store.last_overrides(5.0) == [OverrideRow("cpu", "off", 1.0, float("inf"), "ann", "noise")]
    assert differences(url_0003) == []


@pytest.mark.parametrize("ledger", ["url_0001", "url_0002", "url_0003", "url"])
def test_a_decision_may_come_to_the_ends_that_are_known_and_to_no_other(
    request: pytest.FixtureRequest, ledger: str, behind: Behind
) -> None:
    url: str = request.getfixturevalue(ledger)
    with Store.open(url) as store:
        if ledger == "url":
            behind(
                "INSERT INTO decisions VALUES ('default', 'd1', 1, 'cpu', NULL, 'off', 'x', '{}', '', true)"
            )
        store.add_outcomes([OutcomeRow("d1", 3.5, "superseded"), OutcomeRow("d1", 4.5, "interrupted")])
        with pytest.raises(LedgerError, match="ck_outcomes_outcome"):
            store.add_outcomes([OutcomeRow("d1", 5.5, "forgotten")])  # type: ignore[arg-type]
        assert [row.outcome for row in store.outcomes(["d1"])["d1"]][-2:] == ["superseded", "interrupted"]


def test_a_reader_does_not_read_the_schema_from_before_inputs(url_0003: str) -> None:
    with pytest.raises(LedgerError, match=f"the ledger has schema 0003, this Hashmill reads {HEAD}"):
        Reader.open(url_0003)
