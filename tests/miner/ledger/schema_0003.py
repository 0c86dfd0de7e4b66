"""A ledger as Hashmill wrote it before decisions were kept with their inputs, in its own words: schema 0003."""

from typing import Final

from tests.miner.ledger import schema_0002

POOLS: Final = """
ALTER TABLE tips ADD COLUMN origin TEXT DEFAULT 'solo' NOT NULL;
ALTER TABLE tips ADD COLUMN after_batch BIGINT DEFAULT '0' NOT NULL;
CREATE INDEX ix_tips_site_origin_number ON tips (site, origin, number);
CREATE TABLE pool_shares (
    site TEXT NOT NULL, id BIGINT NOT NULL, at {wide} NOT NULL, pool TEXT NOT NULL, unit BIGINT NOT NULL, worker TEXT NOT NULL,
    job_id TEXT NOT NULL, hash TEXT NOT NULL, difficulty {wide} NOT NULL, credited {wide} NOT NULL, result TEXT NOT NULL,
    code INTEGER, detail TEXT NOT NULL, answered_at {wide},
    CONSTRAINT ck_pool_shares_result CHECK (result IN ('waiting', 'accepted', 'rejected', 'in_doubt')),
    CONSTRAINT pk_pool_shares PRIMARY KEY (site, id)
);
CREATE INDEX ix_pool_shares_site_at ON pool_shares (site, at);
CREATE INDEX ix_pool_shares_waiting ON pool_shares (site, id) WHERE result = 'waiting';
CREATE TABLE pool_payees (
    site TEXT NOT NULL, pool TEXT NOT NULL, script TEXT NOT NULL,
    CONSTRAINT pk_pool_payees PRIMARY KEY (site, pool, script)
);
UPDATE alembic_version SET version_num = '0003';
UPDATE tips SET after_batch = 5 WHERE number = 2;
INSERT INTO pool_shares VALUES
    ('default', 1, 31.0, 'main', 1, 'account.rack', '1f', 'ee', 9.5, 4.0, 'accepted', NULL, '', 32.0);
INSERT INTO pool_payees VALUES ('default', 'main', '0014ab')
"""


def statements(dialect: str, *, first: bytes, second: bytes, third: bytes) -> list[str]:
    """The SQL that makes it in a database of `dialect`, with these records in its batches."""
    wide = "DOUBLE" if dialect == "sqlite" else "DOUBLE PRECISION"
    before = schema_0002.statements(dialect, first=first, second=second, third=third)
    return before + POOLS.format(wide=wide).split(";")
