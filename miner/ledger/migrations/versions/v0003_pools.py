"""Pools: whose work a tip was and where its shares begin, shares handed to pools with their word, scripts that pools pay."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Go to this revision."""
    _tips()
    _pool_shares()
    _pool_payees()


def _tips() -> None:
    op.add_column("tips", sa.Column("origin", sa.Text(), nullable=False, server_default="solo"))
    op.add_column("tips", sa.Column("after_batch", sa.BigInteger(), nullable=False, server_default="0"))
    op.create_index(op.f("ix_tips_site_origin_number"), "tips", ["site", "origin", "number"])
    # Of tips that are there already only the clock tells where their shares begin.
    op.execute(
        "UPDATE tips SET after_batch = coalesce(("
        "SELECT b.id FROM share_batches AS b WHERE b.site = tips.site AND b.last_at < tips.seen_at"
        " ORDER BY b.last_at DESC, b.id DESC LIMIT 1), 0)"
    )


def _pool_shares() -> None:
    op.create_table(
        "pool_shares",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("id", sa.BigInteger(), autoincrement=False, nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("unit", sa.BigInteger(), nullable=False),
        sa.Column("worker", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("difficulty", sa.Double(), nullable=False),
        sa.Column("credited", sa.Double(), nullable=False),
        sa.Column("result", sa.Text(), nullable=False),
        sa.Column("code", sa.Integer(), nullable=True),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("answered_at", sa.Double(), nullable=True),
        sa.CheckConstraint(
            "result IN ('waiting', 'accepted', 'rejected', 'in_doubt')", name=op.f("ck_pool_shares_result")
        ),
        sa.PrimaryKeyConstraint("site", "id", name=op.f("pk_pool_shares")),
    )
    op.create_index(op.f("ix_pool_shares_site_at"), "pool_shares", ["site", "at"])
    waiting = sa.text("result = 'waiting'")
    op.create_index(
        op.f("ix_pool_shares_waiting"),
        "pool_shares",
        ["site", "id"],
        sqlite_where=waiting,
        postgresql_where=waiting,
    )


def _pool_payees() -> None:
    op.create_table(
        "pool_payees",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("pool", sa.Text(), nullable=False),
        sa.Column("script", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("site", "pool", "script", name=op.f("pk_pool_payees")),
    )
