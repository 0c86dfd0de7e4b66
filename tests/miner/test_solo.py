"""Solo work: templates become jobs that pay the operator, and the book says which of them is to be hashed."""

import logging
from dataclasses import replace

import pytest
from bitcoin.core import CBlock, CheckBlock

from miner.solo import Solo
from miner.work.job import DEFAULT_VERSION_MASK, Active, Job, JobBook, Past, Stale
from miner.work.layout import Layout
from miner.work.shelf import Shelf
from tests.miner.harness import NOW, PAYOUT, Clock, template

OTHER_TIP = b"\xb0" * 32


class Desk:
    """A solo over a real book, and the jobs it handed out to be hashed."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.book = JobBook(grace_s=60.0)
        self.hashed: list[Job | None] = []
        self.solo = Solo(
            self.book,
            PAYOUT,
            version_mask=DEFAULT_VERSION_MASK,
            on_job=self.hashed.append,
            clock=self.clock,
            next_id=Shelf().next_id,
        )


@pytest.fixture
def desk() -> Desk:
    return Desk()


def test_a_job_pays_the_whole_reward_to_the_operator_and_bears_the_tag(desk: Desk) -> None:
    job = desk.solo.job_of(template(reward_sat=1_250_000_777), clean=True)
    assert job.origin == "solo"
    assert (job.payout_script, job.reward_sat) == (PAYOUT.script, 1_250_000_777)
    assert PAYOUT.tag in job.coinbase1 + job.coinbase2
    assert job.version_mask == DEFAULT_VERSION_MASK
    assert job.created_at == NOW


def test_no_two_jobs_have_the_same_id(desk: Desk) -> None:
    ids = [desk.solo.job_of(template(), clean=False).id for _ in range(20)]
    assert len(set(ids)) == 20


def test_the_newest_template_is_the_one_to_hash(desk: Desk) -> None:
    for reward in (1, 2, 3):
        desk.solo.take_template(template(reward_sat=reward))
    assert desk.book.current is not None
    assert desk.book.current.reward_sat == 3
    assert desk.hashed[-1] is desk.book.current
    assert [type(desk.book.lookup(job.id, NOW)) for job in desk.hashed if job] == [Past, Past, Active]


def test_only_the_first_template_of_a_tip_makes_older_work_worthless(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        desk.solo.take_template(template())
        desk.solo.take_template(template())
        desk.solo.take_template(template(prev_hash=OTHER_TIP, height=301))
    assert [job.clean for job in desk.hashed if job] == [True, False, True]
    assert caplog.messages == ["new_work", "new_work"]


def test_a_new_tip_ends_the_hashing_of_the_old_one_before_there_is_a_template(desk: Desk) -> None:
    desk.solo.take_template(template())
    (old,) = (job for job in desk.hashed if job)
    desk.solo.take_tip(OTHER_TIP)
    assert desk.hashed[-1] is None
    assert desk.book.current is None
    assert desk.book.lookup(old.id, NOW) == Stale(old, tip_lost=True)


def test_the_tip_that_is_being_hashed_told_once_more_disturbs_nothing(desk: Desk) -> None:
    desk.solo.take_template(template())
    handed_out = list(desk.hashed)
    desk.solo.take_tip(template().prev_hash)
    assert desk.hashed == handed_out
    assert desk.book.current is handed_out[-1]


def test_the_full_work_that_follows_a_first_job_is_told_and_makes_nothing_worthless(
    desk: Desk, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.INFO):
        desk.solo.take_template(template(), first=True)
        desk.solo.take_template(template())
        desk.solo.take_template(template())
    assert caplog.messages == ["first_work", "new_work"]
    first, full, _ = (job for job in desk.hashed if job)
    assert (first.clean, full.clean) == (True, False)
    assert desk.book.lookup(first.id, NOW) == Past(first)


def test_ids_and_the_sizes_of_extranonces_are_those_of_the_house_at_the_time() -> None:
    solo = Solo(
        JobBook(grace_s=60.0),
        PAYOUT,
        version_mask=DEFAULT_VERSION_MASK,
        on_job=lambda _job: None,
        clock=Clock(),
        next_id=Shelf(0xFFF).next_id,
    )
    jobs = [solo.job_of(template(), clean=False)]
    solo.layout = Layout(2, 2)
    jobs.append(solo.job_of(template(), clean=False))
    assert [(job.id, job.extranonce1_size, job.extranonce2_size) for job in jobs] == [
        ("fff", 4, 8),
        ("1000", 2, 2),
    ]


def test_withdrawn_work_is_hashed_no_more_and_its_shares_are_still_good_for_a_while(desk: Desk) -> None:
    desk.solo.take_template(template())
    (job,) = (job for job in desk.hashed if job)
    desk.solo.withdraw()
    assert desk.hashed[-1] is None
    assert desk.book.current is None
    assert desk.book.lookup(job.id, NOW + 59.0) == Past(job)


def test_a_proposal_is_a_whole_block_that_only_lacks_its_work(desk: Desk) -> None:
    _, block = desk.solo.proposal_of(template())
    parsed = CBlock.deserialize(block)
    CheckBlock(parsed, fCheckPoW=False, cur_time=NOW)
    assert parsed.hashPrevBlock == template().prev_hash
    assert parsed.vtx[0].vout[0].scriptPubKey == PAYOUT.script
    assert parsed.vtx[0].vout[0].nValue == template().reward_sat
    assert not parsed.vtx[0].wit.is_null()


def test_what_is_proposed_is_not_hashed_yet(desk: Desk) -> None:
    desk.solo.proposal_of(template())
    assert desk.book.current is None
    assert desk.hashed == []


def test_a_new_kind_of_coinbase_has_a_new_shape_and_a_new_template_has_not(desk: Desk) -> None:
    shape, _ = desk.solo.proposal_of(template())
    assert desk.solo.proposal_of(template(prev_hash=OTHER_TIP, reward_sat=5))[0] == shape
    assert desk.solo.proposal_of(template(witness_commitment=None))[0] != shape
    desk.solo.payout = replace(PAYOUT, script=b"\x51")
    assert desk.solo.proposal_of(template())[0] != shape
    desk.solo.payout = replace(PAYOUT, tag=b"/other/")
    assert desk.solo.proposal_of(template())[0] != shape


def test_a_proposal_to_somebody_else_pays_him_and_his_kind_of_script_makes_its_shape(desk: Desk) -> None:
    p2wpkh, another = b"\x00\x14" + b"\x01" * 20, b"\x00\x14" + b"\x02" * 20
    shape, block = desk.solo.proposal_to(template(), p2wpkh)
    parsed = CBlock.deserialize(block)
    CheckBlock(parsed, fCheckPoW=False, cur_time=NOW)
    assert parsed.vtx[0].vout[0].scriptPubKey == p2wpkh
    assert desk.solo.proposal_to(template(), another)[0] == shape
    assert desk.solo.proposal_to(template(), b"\x51\x20" + bytes(32))[0] != shape
    assert desk.solo.proposal_of(template())[0] != shape
