"""A ledger as Hashmill wrote it before it knew pools, in its own words: schema 0002, shares on two tips in three batches."""

from typing import Final

from tests.miner.ledger import schema_0001

SHARES: Final = """
CREATE TABLE units (
    site TEXT NOT NULL, number BIGINT NOT NULL, name TEXT NOT NULL, first_seen {wide} NOT NULL,
    best_difficulty {wide} NOT NULL, best_minute_at BIGINT NOT NULL,
    CONSTRAINT pk_units PRIMARY KEY (site, number),
    CONSTRAINT uq_units_site_name UNIQUE (site, name)
);
CREATE TABLE tips (
    site TEXT NOT NULL, number BIGINT NOT NULL, prev_hash TEXT NOT NULL, height INTEGER NOT NULL, seen_at {wide} NOT NULL,
    CONSTRAINT pk_tips PRIMARY KEY (site, number)
);
CREATE TABLE share_batches (
    site TEXT NOT NULL, id BIGINT NOT NULL, first_at {wide} NOT NULL, last_at {wide} NOT NULL, count INTEGER NOT NULL,
    records {bytes} NOT NULL,
    CONSTRAINT pk_share_batches PRIMARY KEY (site, id)
);
CREATE INDEX ix_share_batches_site_last_at_id ON share_batches (site, last_at, id);
CREATE TABLE share_minutes (
    site TEXT NOT NULL, unit BIGINT NOT NULL, minute_at BIGINT NOT NULL, accepted BIGINT NOT NULL, work {wide} NOT NULL,
    work_squared {wide} NOT NULL, best_difficulty {wide} NOT NULL, rejected {json} NOT NULL,
    CONSTRAINT pk_share_minutes PRIMARY KEY (site, unit, minute_at)
);
CREATE INDEX ix_share_minutes_site_minute_at ON share_minutes (site, minute_at);
CREATE TABLE share_rollups (
    site TEXT NOT NULL, batch_id BIGINT NOT NULL,
    CONSTRAINT pk_share_rollups PRIMARY KEY (site)
);
UPDATE alembic_version SET version_num = '0002';
INSERT INTO units VALUES ('default', 1, 'rack.1', 1.5, 9.5, 0);
INSERT INTO tips VALUES ('default', 1, 'aa', 100, 10.0), ('default', 2, 'bb', 101, 20.0), ('other', 1, 'cc', 100, 90.0);
INSERT INTO share_batches VALUES
    ('default', 5, 11.0, 12.0, 1, {first}), ('default', 6, 18.0, 21.0, 1, {second}), ('default', 8, 30.0, 31.0, 1, {third});
INSERT INTO share_minutes VALUES ('default', 1, 0, 1, 2.0, 4.0, 9.5, '{{"stale": 2}}');
INSERT INTO share_rollups VALUES ('default', 5)
"""


def statements(dialect: str, *, first: bytes, second: bytes, third: bytes) -> list[str]:
    """The SQL that makes it in a database of `dialect`, with these records in its batches."""
    write = "x'{}'" if dialect == "sqlite" else "'\\x{}'"
    words = {
        name: write.format(records.hex())
        for name, records in (("first", first), ("second", second), ("third", third))
    }
    made = SHARES.format(**schema_0001.WORDS[dialect], **words)
    return schema_0001.statements(dialect) + made.split(";")
