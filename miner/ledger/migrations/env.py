"""What Alembic runs to migrate: the caller's connection and transaction, never its own."""

from alembic import context

from miner.ledger.tables import metadata

connection = context.config.attributes["connection"]
context.configure(
    connection=connection,
    target_metadata=metadata,
    render_as_batch=True,  # SQLite alters a table by copying it
    transactional_ddl=True,  # the caller's BEGIN IMMEDIATE holds for DDL too, in SQLite as in PostgreSQL
)
with context.begin_transaction():
    context.run_migrations()
