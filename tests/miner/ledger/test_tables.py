import pytest
from sqlalchemy import Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import CreateIndex, CreateTable

from miner.ledger.tables import decisions, metadata, outcomes

TABLES = pytest.mark.parametrize("table", metadata.sorted_tables, ids=str)


def ddl(table: Table) -> str:
    return str(CreateTable(table).compile(dialect=postgresql.dialect()))


@TABLES
def test_every_table_has_a_site_that_is_never_empty(table: Table) -> None:
    assert not table.c.site.nullable


@TABLES
def test_every_key_and_index_begins_with_the_site_or_is_a_row_number(table: Table) -> None:
    keys = [[column.name for column in table.primary_key]]
    keys += [[column.name for column in index.columns] for index in table.indexes]
    assert all(key[0] == "site" or key == ["row_id"] for key in keys)


@TABLES
def test_every_constraint_has_a_name_that_a_migration_can_use(table: Table) -> None:
    assert all(constraint.name for constraint in table.constraints)
    assert all(index.name for index in table.indexes)


@TABLES
def test_tables_are_made_on_both_databases(table: Table) -> None:
    for dialect in (postgresql.dialect(), sqlite.dialect()):
        assert str(CreateTable(table).compile(dialect=dialect))
        assert all(str(CreateIndex(index).compile(dialect=dialect)) for index in table.indexes)


def test_postgresql_gets_types_that_lose_nothing() -> None:
    assert "numbers JSONB NOT NULL" in ddl(decisions)
    assert "at DOUBLE PRECISION NOT NULL" in ddl(decisions)
    assert "row_id BIGSERIAL NOT NULL" in ddl(outcomes)
