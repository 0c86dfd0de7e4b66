"""Jobs for the tests of miner/work: a regtest template of two transactions, changed as a test likes."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from miner.chain.merkle import sha256d, witness_commitment
from miner.work.job import Job
from miner.work.solo_job import solo_job
from miner.work.template import Template, TemplateTx

RAW_TXS = (b"one", b"two")
TXS = tuple(TemplateTx(sha256d(raw), sha256d(raw + b"w"), raw, 700) for raw in RAW_TXS)
TEMPLATE = Template(
    height=300,
    version=0x20002004,
    prev_hash=b"\xa0" * 32,
    bits=0x207FFFFF,
    min_time_s=1_700_000_000,
    cur_time_s=1_700_000_600,
    reward_sat=1_250_001_400,
    txs=TXS,
    witness_commitment=witness_commitment([tx.wtxid for tx in TXS]),
    longpoll_id="",
)


@pytest.fixture
def template() -> Template:
    """A template of regtest with two transactions."""
    return TEMPLATE


@pytest.fixture
def make_job() -> Callable[..., Job]:
    """Builds jobs of the template at local time 1000, which is the node's 1_700_000_600; arguments change the job."""

    def make(job_id: str = "1", **changes: object) -> Job:
        job = solo_job(TEMPLATE, job_id, b"\x51", b"/test/", 4, 8, clean=True, now=1000.0)
        return replace(job, **changes)

    return make
