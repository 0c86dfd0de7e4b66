"""Alembic's environment for the ledger; `miner.ledger.schema` runs it."""
