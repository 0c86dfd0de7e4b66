"""The ledger's tables, in types that SQLite and PostgreSQL both keep exactly.

Every table has a `site`, the first column of its key: several sites may share one PostgreSQL database. Times are
UTC unix seconds, money is satoshi or dollars as the column says, hashes are hex in display order.
"""

from typing import Final, get_args

from sqlalchemy import (
    JSON,
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Table,
    Text,
    UniqueConstraint,
    text,
)
from sqlalchemy.dialects.postgresql import JSONB

from miner.ledger.rows import BlockStatus, InputPartKind, OutcomeKind, PoolShareResult

#: Constraints get names by rule, so that a later migration can find them on either database.
NAMES: Final = {
    "ix": "ix_%(table_name)s_%(column_0_N_name)s",
    "uq": "uq_%(table_name)s_%(column_0_N_name)s",
    "ck": "ck_%(table_name)s_%(constraint_name)s",
    "fk": "fk_%(table_name)s_%(referred_table_name)s",
    "pk": "pk_%(table_name)s",
}

metadata = MetaData(naming_convention=NAMES)


def _one_of(column: str, kinds: tuple[str, ...]) -> str:
    """The SQL condition that `column` holds one of `kinds`, which are words of this program."""
    return f"{column} IN ({', '.join(repr(kind) for kind in kinds)})"


blocks = Table(
    "blocks",
    metadata,
    Column("site", Text, primary_key=True),
    Column("hash", Text, primary_key=True),
    Column("height", Integer, nullable=False),
    Column("prev_hash", Text, nullable=False),
    Column("found_at", Double, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("reward_sat", BigInteger, nullable=False),
    Column("difficulty", Double, nullable=False),
    Column("payout_script", Text, nullable=False),
    Column("raw", LargeBinary, nullable=True),
    Column("stale", Boolean, nullable=False),
    Column("status", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("submitted_at", Double, nullable=True),
    Column("confirmations", Integer, nullable=False),
    CheckConstraint(_one_of("status", get_args(BlockStatus)), name="status"),
    Index(None, "site", "status"),
    Index(None, "site", "found_at"),
)

decisions = Table(
    "decisions",
    metadata,
    Column("site", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("at", Double, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("from_mode", Text, nullable=True),
    Column("to_mode", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("numbers", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    Column("flip", Text, nullable=False),
    Column("dry_run", Boolean, nullable=False),
    Index(None, "site", "unit_id", "at"),
    Index(None, "site", "at"),
)

#: SQLite counts up only a column of type INTEGER; PostgreSQL gets the wide type.
_ROW_ID: Final = BigInteger().with_variant(Integer(), "sqlite")

outcomes = Table(
    "outcomes",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("site", Text, nullable=False),
    Column("decision_id", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    Column("mode_read", Text, nullable=True),
    ForeignKeyConstraint(["site", "decision_id"], ["decisions.site", "decisions.id"]),
    CheckConstraint(_one_of("outcome", get_args(OutcomeKind)), name="outcome"),
    Index(None, "site", "decision_id"),
)

#: What decisions were made from, a row a tick. `body` and the bodies of its parts are the controller's to read.
decision_inputs = Table(
    "decision_inputs",
    metadata,
    Column("site", Text, primary_key=True),
    Column("at", Double, primary_key=True),
    Column("format", Integer, nullable=False),
    Column("program", Text, nullable=False),
    Column("config_digest", Text, nullable=False),
    Column("series_digest", Text, nullable=False),
    Column("body", LargeBinary, nullable=False),
)

#: `since_at` is the time of the inputs that began to use a part last: it holds until another of its kind does.
input_parts = Table(
    "input_parts",
    metadata,
    Column("site", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("since_at", Double, nullable=False),
    Column("body", LargeBinary, nullable=False),
    CheckConstraint(_one_of("kind", get_args(InputPartKind)), name="kind"),
    Index(None, "site", "kind", "since_at"),
)

overrides = Table(
    "overrides",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("site", Text, nullable=False),
    Column("unit_id", Text, nullable=False),
    Column("mode", Text, nullable=False),
    Column("since", Double, nullable=False),
    Column("until", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("why", Text, nullable=False),
    Index(None, "site", "unit_id", "row_id"),
)

ticks = Table(
    "ticks",
    metadata,
    Column("row_id", _ROW_ID, primary_key=True, autoincrement=True),
    Column("site", Text, nullable=False),
    Column("series", Text, nullable=False),
    Column("value", Double, nullable=False),
    Column("unit", Text, nullable=False),
    Column("valid_from", Double, nullable=False),
    Column("valid_to", Double, nullable=False),
    Column("observed_at", Double, nullable=False),
    Column("source", Text, nullable=False),
    UniqueConstraint("site", "series", "observed_at", "valid_from", "source"),
)

#: Beside names, the best share of each unit ever, which must outlive the minutes it is taken from.
units = Table(
    "units",
    metadata,
    Column("site", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("name", Text, nullable=False),
    Column("first_seen", Double, nullable=False),
    Column("best_difficulty", Double, nullable=False),
    Column("best_minute_at", BigInteger, nullable=False),
    UniqueConstraint("site", "name"),
)

#: Every share on a tip is in a batch whose id is above `after_batch`: ids count up whatever the clock does.
tips = Table(
    "tips",
    metadata,
    Column("site", Text, primary_key=True),
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("prev_hash", Text, nullable=False),
    Column("height", Integer, nullable=False),
    Column("seen_at", Double, nullable=False),
    Column("origin", Text, nullable=False, server_default="solo"),
    Column("after_batch", BigInteger, nullable=False, server_default="0"),
    Index(None, "site", "origin", "number"),
)

#: One row a commit, whatever it holds: `records` are `count` shares of 64 bytes as `miner.ledger.rollup` describes them.
#: The writer gives the ids, counting up, so that a commit whose answer was lost can be repeated.
share_batches = Table(
    "share_batches",
    metadata,
    Column("site", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("first_at", Double, nullable=False),
    Column("last_at", Double, nullable=False),
    Column("count", Integer, nullable=False),
    Column("records", LargeBinary, nullable=False),
    Index(None, "site", "last_at", "id"),
)

share_minutes = Table(
    "share_minutes",
    metadata,
    Column("site", Text, primary_key=True),
    Column("unit", BigInteger, primary_key=True, autoincrement=False),
    Column("minute_at", BigInteger, primary_key=True, autoincrement=False),
    Column("accepted", BigInteger, nullable=False),
    Column("work", Double, nullable=False),
    Column("work_squared", Double, nullable=False),
    Column("best_difficulty", Double, nullable=False),
    Column("rejected", JSON().with_variant(JSONB(), "postgresql"), nullable=False),
    Index(None, "site", "minute_at"),
)

#: How far `share_minutes` goes: all batches up to `batch_id` are counted in it, none after.
share_rollups = Table(
    "share_rollups",
    metadata,
    Column("site", Text, primary_key=True),
    Column("batch_id", BigInteger, nullable=False),
)

#: The writer gives the ids, counting up. What still waits for the pool's word is found without looking at all the rest.
pool_shares = Table(
    "pool_shares",
    metadata,
    Column("site", Text, primary_key=True),
    Column("id", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("pool", Text, nullable=False),
    Column("unit", BigInteger, nullable=False),
    Column("worker", Text, nullable=False),
    Column("job_id", Text, nullable=False),
    Column("hash", Text, nullable=False),
    Column("difficulty", Double, nullable=False),
    Column("credited", Double, nullable=False),
    Column("result", Text, nullable=False),
    Column("code", Integer, nullable=True),
    Column("detail", Text, nullable=False),
    Column("answered_at", Double, nullable=True),
    CheckConstraint(_one_of("result", get_args(PoolShareResult)), name="result"),
    Index(None, "site", "at"),
    Index(
        "ix_pool_shares_waiting",
        "site",
        "id",
        sqlite_where=text("result = 'waiting'"),
        postgresql_where=text("result = 'waiting'"),
    ),
)

#: Scripts (hex) that the jobs of a pool were seen to pay; what it pays besides is a reason to look twice.
pool_payees = Table(
    "pool_payees",
    metadata,
    Column("site", Text, primary_key=True),
    Column("pool", Text, primary_key=True),
    Column("script", Text, primary_key=True),
)
