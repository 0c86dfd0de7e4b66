"""A ledger as Hashmill 0.1 wrote it, in its own words: schema 0001 with a row in every table."""

from typing import Final

#: What differs between the two databases: the type of a row number, of JSON and of bytes, and how bytes are written.
WORDS: Final = {
    "sqlite": {"row_id": "INTEGER", "json": "JSON", "bytes": "BLOB", "raw": "x'00ff'", "wide": "DOUBLE"},
    "postgresql": {
        "row_id": "BIGSERIAL",
        "json": "JSONB",
        "bytes": "BYTEA",
        "raw": "'\\x00ff'",
        "wide": "DOUBLE PRECISION",
    },
}

LEDGER: Final = """
CREATE TABLE alembic_version (
    version_num VARCHAR(32) NOT NULL,
    CONSTRAINT alembic_version_pkc PRIMARY KEY (version_num)
);
CREATE TABLE blocks (
    site TEXT NOT NULL, hash TEXT NOT NULL, height INTEGER NOT NULL, prev_hash TEXT NOT NULL, found_at {wide} NOT NULL,
    unit_id TEXT NOT NULL, job_id TEXT NOT NULL, origin TEXT NOT NULL, reward_sat BIGINT NOT NULL,
    difficulty {wide} NOT NULL, payout_script TEXT NOT NULL, raw {bytes}, stale BOOLEAN NOT NULL, status TEXT NOT NULL,
    detail TEXT NOT NULL, submitted_at {wide}, confirmations INTEGER NOT NULL,
    CONSTRAINT ck_blocks_status CHECK
        (status IN ('found', 'submitted', 'accepted', 'rejected', 'orphaned', 'mature')),
    CONSTRAINT pk_blocks PRIMARY KEY (site, hash)
);
CREATE INDEX ix_blocks_site_status ON blocks (site, status);
CREATE INDEX ix_blocks_site_found_at ON blocks (site, found_at);
CREATE TABLE decisions (
    site TEXT NOT NULL, id TEXT NOT NULL, at {wide} NOT NULL, unit_id TEXT NOT NULL, from_mode TEXT,
    to_mode TEXT NOT NULL, reason TEXT NOT NULL, numbers {json} NOT NULL, flip TEXT NOT NULL, dry_run BOOLEAN NOT NULL,
    CONSTRAINT pk_decisions PRIMARY KEY (site, id)
);
CREATE INDEX ix_decisions_site_unit_id_at ON decisions (site, unit_id, at);
CREATE INDEX ix_decisions_site_at ON decisions (site, at);
CREATE TABLE outcomes (
    row_id {row_id} NOT NULL, site TEXT NOT NULL, decision_id TEXT NOT NULL, at {wide} NOT NULL, outcome TEXT NOT NULL,
    detail TEXT NOT NULL, mode_read TEXT,
    CONSTRAINT ck_outcomes_outcome CHECK (outcome IN ('applied', 'confirmed', 'failed', 'unsupported')),
    CONSTRAINT fk_outcomes_decisions FOREIGN KEY(site, decision_id) REFERENCES decisions (site, id),
    CONSTRAINT pk_outcomes PRIMARY KEY (row_id)
);
CREATE INDEX ix_outcomes_site_decision_id ON outcomes (site, decision_id);
CREATE TABLE ticks (
    row_id {row_id} NOT NULL, site TEXT NOT NULL, series TEXT NOT NULL, value {wide} NOT NULL, unit TEXT NOT NULL,
    valid_from {wide} NOT NULL, valid_to {wide} NOT NULL, observed_at {wide} NOT NULL, source TEXT NOT NULL,
    CONSTRAINT pk_ticks PRIMARY KEY (row_id),
    CONSTRAINT uq_ticks_site_series_observed_at_valid_from_source
        UNIQUE (site, series, observed_at, valid_from, source)
);
INSERT INTO alembic_version VALUES ('0001');
INSERT INTO blocks VALUES
    ('default', 'ab', 7, 'cd', 1.5, 'cpu', '1f', 'solo', 5000000000, 0.25, '51', {raw}, true, 'accepted', 'why', 2.5, 3);
INSERT INTO decisions VALUES
    ('default', 'd1', 1.5, 'cpu', NULL, 'full', 'run', '{{"usd": 1.25}}', 'flips', false);
INSERT INTO outcomes (site, decision_id, at, outcome, detail, mode_read)
    VALUES ('default', 'd1', 2.5, 'confirmed', '', 'full');
INSERT INTO ticks (site, series, value, unit, valid_from, valid_to, observed_at, source)
    VALUES ('default', 'btc_usd', 90000.5, 'USD', 1.0, 2.0, 1.0, 'fixed')
"""


def statements(dialect: str) -> list[str]:
    """The SQL that makes it in a database of `dialect`."""
    return LEDGER.format(**WORDS[dialect]).split(";")
