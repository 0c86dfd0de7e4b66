"""The job book and its judge against a model that hashes with hashlib and remembers everything."""

from dataclasses import dataclass, replace

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from miner.chain.block import Header, header_hash
from miner.chain.difficulty import MAX_TARGET, bits_to_target, difficulty_of_target, hash_to_int
from miner.chain.merkle import root_from_branch, sha256d
from miner.work.job import KEPT_TIPS, Job, JobBook, UpstreamWork
from miner.work.share import Accepted, Block, PoolShare, Reason, Rejected, Submission, judge

GRACE_S = 60
CAPACITY = 6
BITS = 0x203FFFFF  # every fourth hash is a block
TARGETS = (1, 2**253, 2**255, MAX_TARGET)
BASE = Job(
    id="",
    origin="solo",
    height=1,
    version=0x20000000,
    version_mask=0x1FFFE000,
    prev_hash=bytes(32),
    coinbase1=b"coinbase",
    coinbase2=b"rest",
    branch=(b"\x0b" * 32,),
    bits=BITS,
    ntime_s=1_700_000_100,
    min_time_s=1_700_000_000,
    extranonce1_size=1,
    extranonce2_size=1,
    clean=False,
    reward_sat=0,
    payout_script=b"",
    created_at=0.0,
)


@dataclass
class Known:
    """What the model knows of a job it added."""

    job: Job
    superseded_at: float | None = None
    retired: bool = False


class ShareMachine(RuleBasedStateMachine):
    """As many tips as the book keeps, so that nothing credited may ever be credited again."""

    def __init__(self) -> None:
        super().__init__()
        self.book = JobBook(GRACE_S, CAPACITY)
        self.now = 0.0
        self.known: list[Known] = []
        self.tip: bytes | None = None
        self.credited: set[bytes] = set()

    def supersede(self) -> None:
        for known in self.known:
            if known.superseded_at is None:
                known.superseded_at = self.now

    @rule(
        tip=st.integers(1, KEPT_TIPS),
        variant=st.integers(0, 1),
        pools=st.sampled_from([None, None, 2**252, 2**254, MAX_TARGET]),
    )
    def new_job(self, tip: int, variant: int, pools: int | None) -> None:
        job = replace(
            BASE,
            id=str(len(self.known)),
            prev_hash=bytes((tip,)) * 32,
            coinbase1=BASE.coinbase1 + bytes((variant, pools is None)),
            upstream=None if pools is None else UpstreamWork("4f", pools, b"", epoch=1),
        )
        self.supersede()
        self.known.append(Known(job))
        self.tip = job.prev_hash
        self.book.add(job, self.now)

    @rule(tip=st.integers(1, KEPT_TIPS))
    def new_tip(self, tip: int) -> None:
        if bytes((tip,)) * 32 != self.tip:
            self.supersede()
            self.tip = bytes((tip,)) * 32
        self.book.set_tip(bytes((tip,)) * 32, self.now)

    @rule()
    def withdraw(self) -> None:
        self.supersede()
        self.book.withdraw(self.now)

    @rule()
    def retire(self) -> None:
        self.supersede()
        for known in self.known:
            known.retired = True
        self.book.retire(self.now)

    @rule(seconds=st.sampled_from([0.5, 30.0, 60.0]))
    def wait(self, seconds: float) -> None:
        self.now += seconds

    @rule(
        age=st.integers(0, CAPACITY),
        extranonce2=st.sampled_from([b"\x00", b"\x01"]),
        ntime_s=st.sampled_from([1_700_000_000, 1_700_000_100]),
        nonce=st.integers(0, 7),
        version_bits=st.sampled_from([None, 0, 0x2000, 0x20002001]),
        share_target=st.sampled_from(TARGETS),
    )
    def submit(
        self,
        age: int,
        extranonce2: bytes,
        ntime_s: int,
        nonce: int,
        version_bits: int | None,
        share_target: int,
    ) -> None:
        submission = Submission("rig", self.job_id(age), b"\x01", extranonce2, ntime_s, nonce, version_bits)
        verdict = judge(self.book, submission, share_target, self.now)
        if age >= min(CAPACITY, len(self.known)):
            assert verdict == Rejected(Reason.JOB_NOT_FOUND)
        else:
            known = self.known[-1 - age]
            self.check(verdict, known, self.digest(known.job, submission), share_target)

    @rule(
        extranonce2=st.binary(max_size=2),
        ntime_s=st.integers(-1, 2**32) | st.integers(1_699_999_999, 1_700_007_400),
        nonce=st.integers(-1, 2**32),
        version_bits=st.none() | st.integers(-1, 2**32),
    )
    def submit_anything(self, extranonce2: bytes, ntime_s: int, nonce: int, version_bits: int | None) -> None:
        submission = Submission("rig", self.job_id(0), b"\x01", extranonce2, ntime_s, nonce, version_bits)
        verdict = judge(self.book, submission, MAX_TARGET, self.now)
        if not self.known:
            assert verdict == Rejected(Reason.JOB_NOT_FOUND)
        elif (wrong := self.malformed(submission)) is not None:
            assert verdict == Rejected(wrong)
        else:
            known = self.known[-1]
            self.check(verdict, known, self.digest(known.job, submission), MAX_TARGET)

    def job_id(self, age: int) -> str:
        return str(len(self.known) - 1 - age)

    def malformed(self, submission: Submission) -> Reason | None:
        if len(submission.extranonce2) != 1:
            return Reason.BAD_EXTRANONCE
        if not 0 <= submission.nonce < 2**32:
            return Reason.BAD_NONCE
        if not 0 <= (submission.version_bits or 0) < 2**32:
            return Reason.BAD_VERSION
        if submission.ntime_s < BASE.min_time_s:
            return Reason.TIME_TOO_OLD
        return Reason.TIME_TOO_NEW if submission.ntime_s > BASE.ntime_s + int(self.now) + 7200 else None

    @staticmethod
    def digest(job: Job, submission: Submission) -> bytes:
        coinbase = job.coinbase1 + submission.extranonce1 + submission.extranonce2 + job.coinbase2
        root = root_from_branch(sha256d(coinbase), job.branch)
        version = 0x20000000 | ((submission.version_bits or 0) & 0x1FFFE000)
        return header_hash(
            Header(version, job.prev_hash, root, submission.ntime_s, BITS, submission.nonce).pack()
        )

    def check(self, verdict: object, known: Known, digest: bytes, share_target: int) -> None:
        """The only verdict that the model allows."""
        on_tip = known.job.prev_hash == self.tip
        in_time = not known.retired and (
            known.superseded_at is None or self.now <= known.superseded_at + GRACE_S
        )
        good = on_tip and in_time and hash_to_int(digest) <= share_target
        is_block = hash_to_int(digest) <= bits_to_target(BITS)
        if known.job.upstream is not None and hash_to_int(digest) <= known.job.upstream.share_target:
            if not (on_tip and in_time):
                assert verdict == Rejected(Reason.STALE)
            elif digest in self.credited:
                assert verdict == Rejected(Reason.DUPLICATE)
            else:
                assert isinstance(verdict, PoolShare)
                assert (verdict.hash, verdict.job, verdict.is_block) == (digest, known.job, is_block)
                assert verdict.credited == (difficulty_of_target(share_target) if good else 0.0)
                self.credited.add(digest)
        elif known.job.upstream is None and is_block:
            if digest in self.credited:
                assert verdict == Rejected(Reason.DUPLICATE)
                return
            assert isinstance(verdict, Block)
            assert (verdict.hash, header_hash(verdict.header)) == (digest, digest)
            assert verdict.stale == (not on_tip)
            assert verdict.job is known.job
            assert verdict.credited == (difficulty_of_target(share_target) if good else 0.0)
            self.credited.add(digest)
        elif not (on_tip and in_time):
            assert verdict == Rejected(Reason.STALE)
        elif not good:
            assert verdict == Rejected(Reason.LOW_DIFFICULTY)
        elif digest in self.credited:
            assert verdict == Rejected(Reason.DUPLICATE)
        else:
            assert verdict == Accepted(digest, difficulty_of_target(share_target))
            self.credited.add(digest)

    @invariant()
    def the_current_job_is_the_last_one_unless_withdrawn(self) -> None:
        last = self.known[-1] if self.known else None
        assert self.book.current is (last.job if last and last.superseded_at is None else None)
        assert self.book.tip == self.tip


TestShareMachine = ShareMachine.TestCase
TestShareMachine.settings = settings(deadline=None, max_examples=100, stateful_step_count=60)
