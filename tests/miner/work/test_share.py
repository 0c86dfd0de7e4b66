"""Submissions judged: one test for every verdict and every reason, and the published sessions."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path
from typing import Any

import pytest

from miner.chain.block import header_hash
from miner.chain.difficulty import (
    MAX_TARGET,
    bits_to_target,
    difficulty_of_hash,
    difficulty_of_target,
    hash_to_int,
    target_of_difficulty,
)
from miner.work.job import Job, JobBook, UpstreamWork, block_bytes
from miner.work.share import (
    MAX_FUTURE_S,
    Accepted,
    Block,
    Pending,
    PoolShare,
    Reason,
    Rejected,
    Submission,
    judge,
)

SESSIONS = json.loads((Path(__file__).parents[2] / "data" / "stratum.json").read_text())["sessions"]
E1, E2 = b"\x00\x00\x00\x01", bytes(8)
HARD_BITS = 0x1D00FFFF  # no hash of these tests meets it
EASY_BITS = 0x207FFFFF  # every second hash does
EASY = MAX_TARGET // 2
MakeJob = Callable[..., Job]


@pytest.fixture
def book() -> JobBook:
    return JobBook(grace_s=60)


def tries(job: Job) -> Iterator[tuple[Submission, int]]:
    """Submissions on `job` that differ in their nonce, each with the number its hash is."""
    for nonce in count():
        submission = Submission("rig", job.id, E1, E2, job.ntime_s, nonce)
        _, digest = job.header(E1, E2, ntime_s=job.ntime_s, nonce=nonce, version=job.version)
        yield submission, hash_to_int(digest)


def share_of(job: Job) -> Submission:
    """A submission that meets EASY but not the network target of HARD_BITS."""
    return next(submission for submission, value in tries(job) if job.network_target < value <= EASY)


def block_of(job: Job) -> Submission:
    """A submission that meets the job's network target."""
    return next(submission for submission, value in tries(job) if value <= job.network_target)


class TestVerdicts:
    def test_a_share_is_credited_with_the_difficulty_it_was_asked_for(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        job = make_job(bits=HARD_BITS)
        book.add(job, 1000.0)
        submission = share_of(job)
        _, digest = job.header(E1, E2, ntime_s=job.ntime_s, nonce=submission.nonce, version=job.version)
        assert judge(book, submission, EASY, 1000.0) == Accepted(digest, difficulty_of_target(EASY))

    def test_a_hash_equal_to_the_target_is_a_share_and_one_above_it_is_none(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        job = make_job(bits=HARD_BITS)
        book.add(job, 1000.0)
        submission, value = next(tries(job))
        assert judge(book, submission, value - 1, 1000.0) == Rejected(Reason.LOW_DIFFICULTY)
        assert isinstance(judge(book, submission, value, 1000.0), Accepted)

    def test_a_block_comes_with_all_that_is_needed_to_submit_it(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        job = make_job(bits=EASY_BITS)
        book.add(job, 1000.0)
        verdict = judge(book, block_of(job), MAX_TARGET, 1000.0)
        assert isinstance(verdict, Block)
        assert verdict.hash == header_hash(verdict.header)
        assert verdict.difficulty == difficulty_of_hash(verdict.hash)
        assert (verdict.job, verdict.stale) == (job, False)
        assert verdict.credited == difficulty_of_target(MAX_TARGET)
        assert block_bytes(job, verdict.header, E1, E2).startswith(verdict.header)

    def test_a_block_is_a_block_even_if_the_share_target_is_harder(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        job = make_job(bits=EASY_BITS)
        book.add(job, 1000.0)
        verdict = judge(book, block_of(job), 1, 1000.0)
        assert isinstance(verdict, Block)
        assert verdict.credited == 0.0

    def test_a_block_on_a_stale_tip_is_a_competitor_without_credit(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        old = make_job("1", bits=EASY_BITS)
        book.add(old, 1000.0)
        book.add(make_job("2", prev_hash=b"\x02" * 32), 1001.0)
        verdict = judge(book, block_of(old), MAX_TARGET, 1001.0)
        assert isinstance(verdict, Block)
        assert verdict.stale
        assert verdict.credited == 0.0

    def test_a_block_of_a_job_superseded_long_ago_on_the_present_tip_is_no_competitor(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        old = make_job("1", bits=EASY_BITS)
        book.add(old, 1000.0)
        book.add(make_job("2"), 1001.0)
        verdict = judge(book, block_of(old), MAX_TARGET, 2000.0)
        assert isinstance(verdict, Block)
        assert not verdict.stale
        assert verdict.credited == 0.0

    def test_a_block_is_found_again_when_its_lost_tip_comes_back(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        old = make_job("1", bits=EASY_BITS)
        book.add(old, 1000.0)
        book.add(make_job("2", prev_hash=b"\x02" * 32), 1001.0)
        book.add(make_job("3"), 1002.0)
        verdict = judge(book, block_of(old), MAX_TARGET, 1003.0)
        assert isinstance(verdict, Block)
        assert not verdict.stale
        assert verdict.credited > 0


class TestReasons:
    @pytest.fixture
    def job(self, book: JobBook, make_job: MakeJob) -> Job:
        job = make_job("1", bits=HARD_BITS)
        book.add(job, 1000.0)
        return job

    def test_an_unknown_job_is_not_found(self, book: JobBook, job: Job) -> None:
        submission = replace(share_of(job), job_id="nobody's")
        assert judge(book, submission, EASY, 1000.0) == Rejected(Reason.JOB_NOT_FOUND)

    def test_a_share_of_a_superseded_job_is_good_within_the_grace_time_and_stale_after_it(
        self, book: JobBook, job: Job, make_job: MakeJob
    ) -> None:
        submission = share_of(job)
        book.add(make_job("2"), 1100.0)
        assert judge(book, submission, EASY, 1160.1) == Rejected(Reason.STALE)
        assert isinstance(judge(book, submission, EASY, 1160.0), Accepted)

    def test_a_share_on_a_stale_tip_is_stale(self, book: JobBook, job: Job, make_job: MakeJob) -> None:
        book.add(make_job("2", prev_hash=b"\x02" * 32), 1000.0)
        assert judge(book, share_of(job), EASY, 1000.0) == Rejected(Reason.STALE)

    def test_a_share_is_credited_once(self, book: JobBook, job: Job) -> None:
        submission = share_of(job)
        assert isinstance(judge(book, submission, EASY, 1000.0), Accepted)
        assert judge(book, submission, EASY, 1001.0) == Rejected(Reason.DUPLICATE)

    def test_the_same_header_is_a_duplicate_under_another_job_id_and_from_another_unit(
        self, book: JobBook, job: Job, make_job: MakeJob
    ) -> None:
        submission = share_of(job)
        assert isinstance(judge(book, submission, EASY, 1000.0), Accepted)
        book.add(make_job("2", bits=HARD_BITS), 1001.0)
        again = replace(submission, job_id="2", unit_id="other rig")
        assert judge(book, again, EASY, 1001.0) == Rejected(Reason.DUPLICATE)

    def test_a_block_is_a_block_once(self, book: JobBook, make_job: MakeJob) -> None:
        job = make_job("1", bits=EASY_BITS)
        book.add(job, 1000.0)
        submission = block_of(job)
        assert isinstance(judge(book, submission, EASY, 1000.0), Block)
        assert judge(book, submission, EASY, 1000.0) == Rejected(Reason.DUPLICATE)

    def test_a_weak_hash_is_of_low_difficulty_and_can_be_credited_when_the_target_is_easier(
        self, book: JobBook, job: Job
    ) -> None:
        submission = share_of(job)
        assert judge(book, submission, 1, 1000.0) == Rejected(Reason.LOW_DIFFICULTY)
        assert isinstance(judge(book, submission, EASY, 1000.0), Accepted)

    def test_a_time_below_the_least_is_too_old(self, book: JobBook, job: Job) -> None:
        submission = share_of(job)
        too_old = replace(submission, ntime_s=job.min_time_s - 1)
        assert judge(book, too_old, MAX_TARGET, 1000.0) == Rejected(Reason.TIME_TOO_OLD)
        oldest = replace(submission, ntime_s=job.min_time_s)
        assert isinstance(judge(book, oldest, MAX_TARGET, 1000.0), Accepted)

    def test_a_time_more_than_two_hours_ahead_of_the_node_s_clock_is_too_new(
        self, book: JobBook, job: Job
    ) -> None:
        newest = replace(share_of(job), ntime_s=job.ntime_s + 30 + MAX_FUTURE_S)
        assert judge(book, newest, MAX_TARGET, 1029.9) == Rejected(Reason.TIME_TOO_NEW)
        assert isinstance(judge(book, newest, MAX_TARGET, 1030.0), Accepted)

    @pytest.mark.parametrize("version_bits", [-1, 2**32])
    def test_version_bits_that_are_no_32_bits_are_bad(
        self, book: JobBook, job: Job, version_bits: int
    ) -> None:
        submission = replace(share_of(job), version_bits=version_bits)
        assert judge(book, submission, MAX_TARGET, 1000.0) == Rejected(Reason.BAD_VERSION)

    @pytest.mark.parametrize("nonce", [-1, 2**32])
    def test_a_nonce_that_is_no_32_bits_is_bad(self, book: JobBook, job: Job, nonce: int) -> None:
        submission = replace(share_of(job), nonce=nonce)
        assert judge(book, submission, MAX_TARGET, 1000.0) == Rejected(Reason.BAD_NONCE)

    @pytest.mark.parametrize(
        ("extranonce1", "extranonce2"), [(E1, E2[1:]), (E1[1:], E2 + b"\x00"), (b"", b"")]
    )
    def test_an_extranonce_of_another_size_is_bad(
        self, book: JobBook, job: Job, extranonce1: bytes, extranonce2: bytes
    ) -> None:
        submission = replace(share_of(job), extranonce1=extranonce1, extranonce2=extranonce2)
        assert judge(book, submission, MAX_TARGET, 1000.0) == Rejected(Reason.BAD_EXTRANONCE)

    def test_a_full_table_credits_nothing_but_lets_blocks_through(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, duplicates=1)
        job = make_job("1", bits=HARD_BITS)
        book.add(job, 1000.0)
        numbered = tries(job)
        assert isinstance(judge(book, next(numbered)[0], MAX_TARGET, 1000.0), Accepted)
        assert judge(book, next(numbered)[0], MAX_TARGET, 1000.0) == Rejected(Reason.TABLE_FULL)
        book.add(make_job("2", bits=EASY_BITS), 1000.0)
        verdict = judge(book, block_of(replace(job, id="2", bits=EASY_BITS)), MAX_TARGET, 1000.0)
        assert isinstance(verdict, Block)
        assert verdict.credited == 0.0

    def test_reasons_are_words_that_metrics_and_ledger_can_keep(self) -> None:
        assert {str(reason) for reason in Reason} == {
            "job_not_found",
            "stale",
            "duplicate",
            "low_difficulty",
            "time_too_old",
            "time_too_new",
            "bad_version",
            "bad_nonce",
            "bad_extranonce",
            "table_full",
        }


class TestPoolShares:
    """On a pool's job, what meets the pool's target goes up, once, and nothing else does."""

    POOLS = MAX_TARGET // 16

    @pytest.fixture
    def job(self, book: JobBook, make_job: MakeJob) -> Job:
        job = make_job("1", bits=HARD_BITS, origin="pool", upstream=UpstreamWork("4f", self.POOLS, b"", 1))
        book.add(job, 1000.0)
        return job

    def share(self, job: Job, least: int = 0, most: int = POOLS) -> Submission:
        return next(submission for submission, value in tries(job) if least < value <= most)

    def test_a_hash_that_meets_the_pool_s_target_goes_up_and_is_credited_as_any_other(
        self, book: JobBook, job: Job
    ) -> None:
        submission = self.share(job)
        verdict = judge(book, submission, EASY, 1000.0)
        assert isinstance(verdict, PoolShare)
        assert verdict.job is job
        assert verdict.difficulty == difficulty_of_hash(verdict.hash)
        assert (verdict.credited, verdict.is_block) == (difficulty_of_target(EASY), False)

    def test_a_hash_equal_to_the_pool_s_target_goes_up_and_one_above_it_is_a_share_of_ours(
        self, make_job: MakeJob
    ) -> None:
        submission, value = next(tries(make_job("1", bits=HARD_BITS)))
        for job_id, target, kind in (("1", value, PoolShare), ("2", value - 1, Accepted)):
            other = JobBook(grace_s=60)
            other.add(make_job(job_id, bits=HARD_BITS, upstream=UpstreamWork("4f", target, b"", 1)), 1000.0)
            assert type(judge(other, replace(submission, job_id=job_id), MAX_TARGET, 1000.0)) is kind

    def test_a_hash_that_only_the_pool_wants_goes_up_without_credit(self, book: JobBook, job: Job) -> None:
        verdict = judge(book, self.share(job), 1, 1000.0)
        assert isinstance(verdict, PoolShare)
        assert verdict.credited == 0.0

    def test_a_hash_that_misses_both_targets_is_of_low_difficulty(self, book: JobBook, job: Job) -> None:
        submission = self.share(job, self.POOLS, MAX_TARGET)
        assert judge(book, submission, self.POOLS, 1000.0) == Rejected(Reason.LOW_DIFFICULTY)
        assert isinstance(judge(book, submission, MAX_TARGET, 1000.0), Accepted)

    def test_a_block_is_the_pool_s_and_says_so(self, book: JobBook, make_job: MakeJob) -> None:
        job = make_job("2", bits=EASY_BITS, upstream=UpstreamWork("4f", MAX_TARGET, b"", 1))
        book.add(job, 1000.0)
        verdict = judge(book, block_of(job), MAX_TARGET, 1000.0)
        assert isinstance(verdict, PoolShare)
        assert verdict.is_block

    def test_it_goes_up_once(self, book: JobBook, job: Job) -> None:
        submission = self.share(job)
        assert isinstance(judge(book, submission, 1, 1000.0), PoolShare)
        for target in (1, MAX_TARGET):
            assert judge(book, submission, target, 1000.0) == Rejected(Reason.DUPLICATE)

    def test_within_the_grace_time_a_superseded_job_s_share_goes_up(
        self, book: JobBook, job: Job, make_job: MakeJob
    ) -> None:
        book.add(make_job("2"), 1001.0)
        assert isinstance(judge(book, self.share(job), EASY, 1061.0), PoolShare)
        assert judge(book, self.share(job, self.POOLS // 2), EASY, 1061.1) == Rejected(Reason.STALE)

    @pytest.mark.parametrize("how", ["tip", "retired"])
    def test_nothing_goes_up_on_a_stale_job_not_even_a_block(
        self, book: JobBook, make_job: MakeJob, how: str
    ) -> None:
        job = make_job("2", bits=EASY_BITS, upstream=UpstreamWork("4f", MAX_TARGET, b"", 1))
        book.add(job, 1000.0)
        if how == "tip":
            book.set_tip(b"\x02" * 32, 1000.0)
        else:
            book.retire(1000.0)
        assert judge(book, block_of(job), MAX_TARGET, 1000.0) == Rejected(Reason.STALE)

    def test_what_cannot_be_remembered_cannot_go_up(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, duplicates=1)
        job = make_job("1", bits=HARD_BITS, upstream=UpstreamWork("4f", MAX_TARGET, b"", 1))
        book.add(job, 1000.0)
        numbered = tries(job)
        assert isinstance(judge(book, next(numbered)[0], EASY, 1000.0), PoolShare)
        assert judge(book, next(numbered)[0], EASY, 1000.0) == Rejected(Reason.TABLE_FULL)

    def test_a_job_that_no_book_holds_is_not_found(self, job: Job) -> None:
        assert judge(None, share_of(job), EASY, 1000.0) == Rejected(Reason.JOB_NOT_FOUND)

    def test_what_waits_for_the_pool_s_word_says_what_it_is_worth_here(self) -> None:
        assert Pending(7) == Pending(7, 0.0) != Pending(7, 1.0)


class TestVersionRolling:
    @pytest.mark.parametrize(
        ("version_bits", "hashed"),
        [
            (None, 0x20000004),
            (0, 0x20000004),
            (0x1FFFE000, 0x3FFFE004),
            (0x00A02000, 0x20A02004),
            (0x20A02004, 0x20A02004),  # the whole version instead of its bits
            (0xFFFFFFFF, 0x3FFFE004),
        ],
    )
    def test_only_bits_of_the_mask_reach_the_version_that_was_hashed(
        self, book: JobBook, make_job: MakeJob, version_bits: int | None, hashed: int
    ) -> None:
        job = make_job(bits=HARD_BITS)
        book.add(job, 1000.0)
        _, digest = job.header(E1, E2, ntime_s=job.ntime_s, nonce=7, version=hashed)
        submission = Submission("rig", job.id, E1, E2, job.ntime_s, 7, version_bits)
        verdict = judge(book, submission, MAX_TARGET, 1000.0)
        assert isinstance(verdict, Accepted)
        assert verdict.hash == digest


class TestPayout:
    def test_a_share_is_judged_by_the_coinbase_that_pays_the_one_who_hashed_it(
        self, book: JobBook, make_job: MakeJob
    ) -> None:
        job = make_job(bits=HARD_BITS)
        book.add(job, 1000.0)
        script = b"\x00\x14" + bytes(20)
        _, digest = job.paying(script).header(E1, E2, ntime_s=job.ntime_s, nonce=7, version=job.version)
        submission = Submission("rig", job.id, E1, E2, job.ntime_s, 7, payout_script=script)
        assert judge(book, submission, MAX_TARGET, 1000.0) == Accepted(
            digest, difficulty_of_target(MAX_TARGET)
        )
        operators = replace(submission, payout_script=None)
        verdict = judge(book, operators, MAX_TARGET, 1000.0)
        assert isinstance(verdict, Accepted)  # another coinbase, another header
        assert verdict.hash != digest

    def test_a_block_brings_the_job_whose_coinbase_was_hashed(self, book: JobBook, make_job: MakeJob) -> None:
        job = make_job(bits=EASY_BITS)
        book.add(job, 1000.0)
        script = b"\x00\x14" + bytes(20)
        submission = replace(block_of(job.paying(script)), payout_script=script)
        verdict = judge(book, submission, MAX_TARGET, 1000.0)
        assert isinstance(verdict, Block)
        assert verdict.job is job.paying(script)
        assert script in block_bytes(verdict.job, verdict.header, E1, E2)


def session_job(session: dict[str, Any]) -> Job:
    """The pool's job of a published session: words of the prev hash turned, numbers big-endian."""
    job_id, prev_hash, coinbase1, coinbase2, branch, version, bits, ntime, clean = session["notify"]
    words = bytes.fromhex(prev_hash)
    return Job(
        id=job_id,
        origin="pool",
        height=0,
        version=int(version, 16),
        version_mask=0x1FFFE000,
        prev_hash=b"".join(words[i : i + 4][::-1] for i in range(0, 32, 4)),
        coinbase1=bytes.fromhex(coinbase1),
        coinbase2=bytes.fromhex(coinbase2),
        branch=tuple(bytes.fromhex(node) for node in branch),
        bits=int(bits, 16),
        ntime_s=int(ntime, 16),
        min_time_s=int(ntime, 16),
        extranonce1_size=len(session["extranonce1"]) // 2,
        extranonce2_size=len(session["submit"][2]) // 2,
        clean=clean,
        reward_sat=0,
        payout_script=b"",
        created_at=0.0,
    )


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session["source"])
def test_published_sessions_end_in_the_published_header_and_difficulty(
    book: JobBook, session: dict[str, Any]
) -> None:
    job = session_job(session)
    worker, job_id, extranonce2, ntime, nonce = session["submit"]
    submission = Submission(
        worker,
        job_id,
        bytes.fromhex(session["extranonce1"]),
        bytes.fromhex(extranonce2),
        int(ntime, 16),
        int(nonce, 16),
    )
    header, digest = job.header(
        submission.extranonce1,
        submission.extranonce2,
        ntime_s=submission.ntime_s,
        nonce=submission.nonce,
        version=job.version,
    )
    assert header.hex() == session["header"]
    assert digest[::-1].hex() == session["hash"]
    if "merkle_root" in session:
        assert header[36:68].hex() == session["merkle_root"]
    assert math.isclose(difficulty_of_hash(digest), session["difficulty"], rel_tol=1e-14)

    book.add(job, 0.0)
    asked = target_of_difficulty(session["difficulty"] * 0.999999)
    if hash_to_int(digest) <= bits_to_target(job.bits):  # the one of 2012 was a block
        verdict = judge(book, submission, asked, 0.0)
        assert isinstance(verdict, Block)
        assert verdict.credited == difficulty_of_target(asked)
        return
    just_too_hard = target_of_difficulty(session["difficulty"] * 1.000001)
    assert judge(book, submission, just_too_hard, 0.0) == Rejected(Reason.LOW_DIFFICULTY)
    assert judge(book, submission, asked, 0.0) == Accepted(digest, difficulty_of_target(asked))
