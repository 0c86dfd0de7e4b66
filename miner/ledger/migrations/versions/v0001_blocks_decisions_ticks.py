"""The first schema: blocks, decisions and their outcomes, ticks."""

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects.postgresql import JSONB

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

_JSON = sa.JSON().with_variant(JSONB(), "postgresql")
_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this revision."""
    _blocks()
    _decisions()
    _outcomes()
    _ticks()


def _blocks() -> None:
    op.create_table(
        "blocks",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("hash", sa.Text(), nullable=False),
        sa.Column("height", sa.Integer(), nullable=False),
        sa.Column("prev_hash", sa.Text(), nullable=False),
        sa.Column("found_at", sa.Double(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Text(), nullable=False),
        sa.Column("origin", sa.Text(), nullable=False),
        sa.Column("reward_sat", sa.BigInteger(), nullable=False),
        sa.Column("difficulty", sa.Double(), nullable=False),
        sa.Column("payout_script", sa.Text(), nullable=False),
        sa.Column("raw", sa.LargeBinary(), nullable=True),
        sa.Column("stale", sa.Boolean(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("submitted_at", sa.Double(), nullable=True),
        sa.Column("confirmations", sa.Integer(), nullable=False),
        sa.CheckConstraint(
            "status IN ('found', 'submitted', 'accepted', 'rejected', 'orphaned', 'mature')",
            name=op.f("ck_blocks_status"),
        ),
        sa.PrimaryKeyConstraint("site", "hash", name=op.f("pk_blocks")),
    )
    op.create_index(op.f("ix_blocks_site_status"), "blocks", ["site", "status"])
    op.create_index(op.f("ix_blocks_site_found_at"), "blocks", ["site", "found_at"])


def _decisions() -> None:
    op.create_table(
        "decisions",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("from_mode", sa.Text(), nullable=True),
        sa.Column("to_mode", sa.Text(), nullable=False),
        sa.Column("reason", sa.Text(), nullable=False),
        sa.Column("numbers", _JSON, nullable=False),
        sa.Column("flip", sa.Text(), nullable=False),
        sa.Column("dry_run", sa.Boolean(), nullable=False),
        sa.PrimaryKeyConstraint("site", "id", name=op.f("pk_decisions")),
    )
    op.create_index(op.f("ix_decisions_site_unit_id_at"), "decisions", ["site", "unit_id", "at"])
    op.create_index(op.f("ix_decisions_site_at"), "decisions", ["site", "at"])


def _outcomes() -> None:
    op.create_table(
        "outcomes",
        sa.Column("row_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("decision_id", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("detail", sa.Text(), nullable=False),
        sa.Column("mode_read", sa.Text(), nullable=True),
        sa.CheckConstraint(
            "outcome IN ('applied', 'confirmed', 'failed', 'unsupported')", name=op.f("ck_outcomes_outcome")
        ),
        sa.ForeignKeyConstraint(
            ["site", "decision_id"],
            ["decisions.site", "decisions.id"],
            name=op.f("fk_outcomes_decisions"),
        ),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_outcomes")),
    )
    op.create_index(op.f("ix_outcomes_site_decision_id"), "outcomes", ["site", "decision_id"])


def _ticks() -> None:
    op.create_table(
        "ticks",
        sa.Column("row_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("series", sa.Text(), nullable=False),
        sa.Column("value", sa.Double(), nullable=False),
        sa.Column("unit", sa.Text(), nullable=False),
        sa.Column("valid_from", sa.Double(), nullable=False),
        sa.Column("valid_to", sa.Double(), nullable=False),
        sa.Column("observed_at", sa.Double(), nullable=False),
        sa.Column("source", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_ticks")),
        sa.UniqueConstraint(
            "site",
            "series",
            "observed_at",
            "valid_from",
            "source",
            name=op.f("uq_ticks_site_series_observed_at_valid_from_source"),
        ),
    )
