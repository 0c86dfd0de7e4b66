"""What decisions were made from, what persons asked for units to do, and two more ends that a decision may come to."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_ROW_ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")


def upgrade() -> None:
    """Go to this revision."""
    _decision_inputs()
    _input_parts()
    _overrides()
    _outcomes()


def _decision_inputs() -> None:
    op.create_table(
        "decision_inputs",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("at", sa.Double(), nullable=False),
        sa.Column("format", sa.Integer(), nullable=False),
        sa.Column("program", sa.Text(), nullable=False),
        sa.Column("config_digest", sa.Text(), nullable=False),
        sa.Column("series_digest", sa.Text(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("site", "at", name=op.f("pk_decision_inputs")),
    )


def _input_parts() -> None:
    op.create_table(
        "input_parts",
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("digest", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("since_at", sa.Double(), nullable=False),
        sa.Column("body", sa.LargeBinary(), nullable=False),
        sa.CheckConstraint("kind IN ('config', 'series')", name=op.f("ck_input_parts_kind")),
        sa.PrimaryKeyConstraint("site", "digest", name=op.f("pk_input_parts")),
    )
    op.create_index(op.f("ix_input_parts_site_kind_since_at"), "input_parts", ["site", "kind", "since_at"])


def _overrides() -> None:
    op.create_table(
        "overrides",
        sa.Column("row_id", _ROW_ID, autoincrement=True, nullable=False),
        sa.Column("site", sa.Text(), nullable=False),
        sa.Column("unit_id", sa.Text(), nullable=False),
        sa.Column("mode", sa.Text(), nullable=False),
        sa.Column("since", sa.Double(), nullable=False),
        sa.Column("until", sa.Double(), nullable=False),
        sa.Column("who", sa.Text(), nullable=False),
        sa.Column("why", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_overrides")),
    )
    op.create_index(op.f("ix_overrides_site_unit_id_row_id"), "overrides", ["site", "unit_id", "row_id"])


def _outcomes() -> None:
    # SQLite copies the table to change a constraint, and does not tell which ones it has.
    known = sa.Table(
        "outcomes",
        sa.MetaData(),
        sa.Column("row_id", _ROW_ID, primary_key=True, autoincrement=True, nullable=False),
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
            ["site", "decision_id"], ["decisions.site", "decisions.id"], name=op.f("fk_outcomes_decisions")
        ),
        sa.PrimaryKeyConstraint("row_id", name=op.f("pk_outcomes")),
        sa.Index(op.f("ix_outcomes_site_decision_id"), "site", "decision_id"),
    )
    with op.batch_alter_table("outcomes", copy_from=known) as outcomes:
        outcomes.drop_constraint(op.f("ck_outcomes_outcome"), type_="check")
        outcomes.create_check_constraint(
            op.f("ck_outcomes_outcome"),
            "outcome IN ('applied', 'confirmed', 'failed', 'unsupported', 'superseded', 'interrupted')",
        )
