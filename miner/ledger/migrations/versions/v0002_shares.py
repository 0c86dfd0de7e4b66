"""Shares: the units that hand them in, the tips they were found on, raw batches, sums by unit and minute."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")


def upgrade() -> None:
    """Go to this revision."""
    _units()
    _tips()
    _share_batches()
    _share_minutes()
    _share_rollups()


def _units() -> None:
    op.create_table(
        "units",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("first_seen", sa.Double(), nullable=False),
        sa.Column("best_difficulty", sa.Double(), nullable=False),
        sa.Column("best_minute_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", "number", name=op.f("pk_units")),
        sa.UniqueConstraint("site", "name", name=op.f("uq_units_site_name")),
    )


def _tips() -> None:
    op.create_table(
        "tips",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("seen_at", sa.Double(), nullable=False),
        sa.PrimaryKeyConstraint("site", "number", name=op.f("pk_tips")),
    )


def _share_batches() -> None:
    op.create_table(
        "share_batches",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("first_at", sa.Double(), nullable=False),
        sa.Column("last_at", sa.Double(), nullable=False),
        sa.Column("count", sa.Integer(), nullable=False),
        sa.Column("records", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name=op.f("pk_share_batches")),
    )
    op.create_index(op.f("ix_share_batches_site_last_at_id"), "share_batches", ["site", "last_at", "id"])
    if op.get_bind().dialect.name == "postgresql":
        # Hashes do not compress; trying costs the server more than the rest of the commit.
        op.execute("ALTER TABLE share_batches ALTER COLUMN records SET STORAGE EXTERNAL")


def _share_minutes() -> None:
    op.create_table(
        "share_minutes",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("unit", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("minute_at", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("accepted", sa.BigInteger(), nullable=False),
        sa.Column("work", sa.Double(), nullable=False),
        sa.Column("work_squared", sa.Double(), nullable=False),
        sa.Column("best_difficulty", sa.Double(), nullable=False),
        sa.Column("rejected", _JSON, nullable=False),
        sa.PrimaryKeyConstraint("site", "unit", "minute_at", name=op.f("pk_share_minutes")),
    )
    op.create_index(op.f("ix_share_minutes_site_minute_at"), "share_minutes", ["site", "minute_at"])


def _share_rollups() -> None:
    op.create_table(
        "share_rollups",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("batch_id", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("site", name=op.f("pk_share_rollups")),
    )
