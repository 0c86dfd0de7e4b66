"""Jobs: built of templates, followed by the clock, assembled to blocks; and the book that keeps them."""

from collections.abc import Callable
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.block import Header, header_hash
from miner.chain.difficulty import MAX_TARGET
from miner.chain.merkle import merkle_root, sha256d
from miner.kernel import RECORD, Board, ShareBuffer, SubmitTaker, Tally
from miner.work.job import (
    DEFAULT_VERSION_MASK,
    KEPT_PAYEES,
    KEPT_TIPS,
    Active,
    Job,
    JobBook,
    Past,
    Stale,
    TipNumbers,
    UpstreamWork,
    block_bytes,
    ntime_at,
)
from miner.work.solo_job import solo_job
from miner.work.template import Template

E1, E2 = b"\x00\x00\x00\x07", b"\x00\x01\x02\x03\x04\x05\x06\x07"
SEEN = bytes(range(32))
MakeJob = Callable[..., Job]


def tip(n: int) -> bytes:
    return bytes((n,)) * 32


class TestJob:
    def test_a_header_of_the_job_is_the_one_that_hashlib_and_the_merkle_tree_give(
        self, template: Template, make_job: MakeJob
    ) -> None:
        job = make_job()
        header, digest = job.header(E1, E2, ntime_s=1_700_000_601, nonce=99, version=0x20006004)
        txid = sha256d(job.coinbase1 + E1 + E2 + job.coinbase2)
        root = merkle_root([txid, *(tx.txid for tx in template.txs)])
        assert header == Header(0x20006004, job.prev_hash, root, 1_700_000_601, job.bits, 99).pack()
        assert digest == header_hash(header)

    @pytest.mark.parametrize(
        "changes",
        [
            {"prev_hash": bytes(31)},
            {"branch": (bytes(33),)},
            {"branch": (bytes(32),) * 33},
            {"version": 0x20002000},
            {"version": 2**32},
            {"version": -1},
            {"version_mask": -1},
            {"bits": 0},
            {"extranonce1_size": -1},
            {"extranonce2_size": 0},
        ],
        ids=str,
    )
    def test_a_job_that_no_share_could_be_judged_on_is_refused_at_once(
        self, make_job: MakeJob, changes: dict[str, object]
    ) -> None:
        with pytest.raises(ValueError, match=r"\w"):
            make_job(**changes)

    def test_two_jobs_are_never_the_same_thing(self, make_job: MakeJob) -> None:
        assert make_job() != make_job()
        assert "two" not in repr(make_job())


class TestUpstream:
    WORK = UpstreamWork("4f", 2**240, bytes(2), epoch=3)

    def test_a_block_s_hash_is_handed_on_by_us_and_a_pool_s_share_by_the_pool_s_target(
        self, make_job: MakeJob
    ) -> None:
        assert make_job().handed_on_target == make_job().network_target
        assert make_job(upstream=self.WORK).handed_on_target == 2**240

    @pytest.mark.parametrize("target", [-1, 0, 2**256])
    def test_a_target_that_is_none_is_refused(self, target: int) -> None:
        with pytest.raises(ValueError, match="target"):
            replace(self.WORK, share_target=target)


class TestNtime:
    def test_the_header_s_time_follows_the_node_s_clock(self, make_job: MakeJob) -> None:
        job = make_job()
        assert ntime_at(job, 1000.0) == ntime_at(job, 1000.99) == 1_700_000_600
        assert ntime_at(job, 1031.5) == 1_700_000_631

    def test_a_local_clock_set_back_leaves_the_time_where_the_job_had_it(self, make_job: MakeJob) -> None:
        assert ntime_at(make_job(), 10.0) == 1_700_000_600

    def test_the_time_is_never_below_the_least_allowed_nor_above_32_bits(self, make_job: MakeJob) -> None:
        assert ntime_at(make_job(min_time_s=1_700_000_700), 1000.0) == 1_700_000_700
        assert ntime_at(make_job(ntime_s=2**32 - 10), 1020.0) == 2**32 - 1

    def test_a_local_clock_that_jumps_ahead_makes_no_block_too_new_for_the_nodes(
        self, make_job: MakeJob
    ) -> None:
        assert ntime_at(make_job(), 1000.0 + 10 * 3600) == 1_700_000_600 + 3600

    def test_where_the_time_decides_the_bits_it_stays_the_template_s(self, make_job: MakeJob) -> None:
        assert ntime_at(make_job(time_sets_bits=True), 1500.0) == 1_700_000_600

    @settings(deadline=None)
    @given(st.floats(0, 1e10), st.floats(0, 1e10))
    def test_time_never_runs_backwards(self, one: float, other: float) -> None:
        job = JOB
        early, late = sorted((one, other))
        assert job.min_time_s <= ntime_at(job, early) <= ntime_at(job, late)


class TestSerial:
    @pytest.mark.parametrize("job_id", ["0", "1", "f0", "abcdef0123456789", "ffffffffffffffff"])
    def test_a_job_s_serial_is_what_its_id_is_in_hexadecimal(self, make_job: MakeJob, job_id: str) -> None:
        assert make_job(job_id).serial == int(job_id, 16)

    @pytest.mark.parametrize(
        "job_id",
        [
            "",
            "01",
            "00",
            "F0",
            "0xf0",
            "-1",
            "+1",
            " 1",
            "1_0",
            "pool-1",
            "1.2",
            "10000000000000000",
            "\u0661",
        ],
    )
    def test_an_id_that_is_not_written_as_ours_has_no_serial(self, make_job: MakeJob, job_id: str) -> None:
        assert make_job(job_id).serial is None


class TestPaying:
    SCRIPT = b"\x00\x14" + bytes(range(20))

    def test_the_same_work_pays_another_with_a_coinbase_like_its_own(
        self, template: Template, make_job: MakeJob
    ) -> None:
        job = make_job()
        other = job.paying(self.SCRIPT)
        made = solo_job(template, "1", self.SCRIPT, b"/test/", 4, 8, clean=True, now=1000.0)
        assert (other.coinbase2, other.payout_script, other.payout_at) == (
            made.coinbase2,
            self.SCRIPT,
            made.payout_at,
        )
        numbers = {"ntime_s": job.ntime_s, "nonce": 5, "version": job.version}
        assert other.header(E1, E2, **numbers) == made.header(E1, E2, **numbers)
        assert (other.id, other.serial, other.branch, other.txs) == (job.id, job.serial, job.branch, job.txs)
        assert job.header(E1, E2, **numbers) != other.header(E1, E2, **numbers)

    def test_a_block_of_it_is_whole(self, make_job: MakeJob) -> None:
        job = make_job().paying(self.SCRIPT)
        header, _ = job.header(E1, E2, ntime_s=job.ntime_s, nonce=0, version=job.version)
        assert self.SCRIPT in block_bytes(job, header, E1, E2)
        with pytest.raises(ValueError, match="not of job"):
            block_bytes(make_job(), header, E1, E2)

    def test_who_is_paid_anyway_needs_no_other_job(self, make_job: MakeJob) -> None:
        job = make_job()
        assert job.paying(None) is job.paying(job.payout_script) is job

    def test_a_job_that_can_pay_nobody_else_stays_as_it_is(self) -> None:
        assert JOB.paying(self.SCRIPT) is JOB

    def test_a_payee_s_job_is_made_once_and_pays_others_too(self, make_job: MakeJob) -> None:
        job = make_job()
        other = job.paying(self.SCRIPT)
        assert job.paying(self.SCRIPT) is other
        assert other.paying(b"\x51\x52").coinbase2 == job.paying(b"\x51\x52").coinbase2

    def test_payees_are_many_but_what_is_kept_of_them_is_bounded(self, make_job: MakeJob) -> None:
        job = make_job()
        for number in range(KEPT_PAYEES + 10):
            job.paying(b"\x51" + number.to_bytes(4, "big"))
        assert len(job._payees) == KEPT_PAYEES

    def test_money_for_everyone_is_refused(self, make_job: MakeJob) -> None:
        with pytest.raises(ValueError, match="money for everyone"):
            make_job().paying(b"")


JOB = Job(
    id="pool-1",
    origin="pool",
    height=5,
    version=0x20000000,
    version_mask=DEFAULT_VERSION_MASK,
    prev_hash=bytes(32),
    coinbase1=b"c1",
    coinbase2=b"c2",
    branch=(bytes(32),),
    bits=0x207FFFFF,
    ntime_s=1_700_000_600,
    min_time_s=1_700_000_600,
    extranonce1_size=4,
    extranonce2_size=8,
    clean=True,
    reward_sat=0,
    payout_script=b"",
    created_at=1000.0,
)


class TestBlockBytes:
    def test_a_block_is_header_coinbase_with_witness_and_the_transactions(self, make_job: MakeJob) -> None:
        job = make_job()
        header, _ = job.header(E1, E2, ntime_s=job.ntime_s, nonce=0, version=job.version)
        block = block_bytes(job, header, E1, E2)
        assert block.startswith(header + b"\x03\x02\x00\x00\x00\x00\x01\x01")
        assert block.endswith(bytes(32) + (299).to_bytes(4, "little") + b"onetwo")

    def test_without_a_commitment_the_coinbase_has_no_witness(self, template: Template) -> None:
        bare = replace(template, witness_commitment=None, txs=())
        job = solo_job(bare, "1", b"\x51", b"", 4, 8, clean=True, now=0.0)
        header, _ = job.header(E1, E2, ntime_s=job.ntime_s, nonce=0, version=job.version)
        assert block_bytes(job, header, E1, E2) == header + b"\x01" + job.coinbase1 + E1 + E2 + job.coinbase2

    def test_a_header_of_another_extranonce_is_refused_before_a_node_would(self, make_job: MakeJob) -> None:
        job = make_job()
        header, _ = job.header(E1, E2, ntime_s=job.ntime_s, nonce=0, version=job.version)
        with pytest.raises(ValueError, match="not of job 1"):
            block_bytes(job, header, E1, E2[::-1])

    def test_a_pool_s_job_cannot_be_assembled(self) -> None:
        header, _ = JOB.header(E1, E2, ntime_s=JOB.ntime_s, nonce=0, version=JOB.version)
        with pytest.raises(ValueError, match="does not hold the transactions"):
            block_bytes(JOB, header, E1, E2)


class TestJobBook:
    def test_an_empty_book_has_nothing_to_mine(self) -> None:
        book = JobBook(grace_s=60)
        assert (book.current, book.tip, book.lookup("1", 0.0)) == (None, None, None)

    def test_the_newest_job_is_the_one_to_mine(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        first, second = make_job("1"), make_job("2")
        book.add(first, 10)
        assert book.current is first
        book.add(second, 20)
        assert book.current is second
        assert book.lookup("2", 1e9) == Active(second)

    def test_a_superseded_job_of_the_same_tip_is_good_within_the_grace_time(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        first = make_job("1")
        book.add(first, 10)
        book.add(make_job("2"), 20)
        book.add(make_job("3"), 50)
        assert book.lookup("1", 80) == Past(first)
        assert book.lookup("1", 80.1) == Stale(first, tip_lost=False)

    def test_a_new_tip_makes_the_jobs_of_the_old_one_stale_at_once(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        old = make_job("1", prev_hash=tip(1))
        book.add(old, 10)
        book.add(make_job("2", prev_hash=tip(2)), 20)
        assert book.tip == tip(2)
        assert book.lookup("1", 20) == Stale(old, tip_lost=True)

    def test_a_new_tip_without_a_job_yet_ends_the_work_on_the_old_one(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        old = make_job("1", prev_hash=tip(1))
        book.add(old, 10)
        book.set_tip(tip(1), 15)
        assert book.current is old
        book.set_tip(tip(2), 20)
        assert (book.tip, book.current) == (tip(2), None)
        assert book.lookup("1", 20) == Stale(old, tip_lost=True)

    def test_jobs_of_the_last_two_tips_can_be_looked_up_and_no_older_ones(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        for n in range(1, KEPT_TIPS + 2):
            book.add(make_job(str(n), prev_hash=tip(n)), n)
        assert book.lookup("1", 10) is None
        assert isinstance(book.lookup("2", 10), Stale)
        assert isinstance(book.lookup("3", 10), Stale)

    def test_a_tip_that_comes_back_finds_its_jobs_and_its_hashes(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        first = make_job("1", prev_hash=tip(1))
        book.add(first, 10)
        book.remember(tip(1), SEEN)
        book.add(make_job("2", prev_hash=tip(2)), 20)
        assert book.is_duplicate(tip(1), SEEN)
        book.add(make_job("3", prev_hash=tip(1)), 30)
        assert book.tip == tip(1)
        assert book.lookup("1", 80) == Past(first)
        assert isinstance(book.lookup("2", 30), Stale)
        assert book.is_duplicate(tip(1), SEEN)

    def test_hashes_are_forgotten_with_their_tip(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        book.add(make_job("0", prev_hash=tip(0)), 0)
        book.remember(tip(0), SEEN)
        for n in range(1, KEPT_TIPS + 1):
            book.add(make_job(str(n), prev_hash=tip(n)), n)
        assert not book.is_duplicate(tip(0), SEEN)
        with pytest.raises(ValueError, match="tip that is in the book"):
            book.remember(tip(0), SEEN)

    def test_a_hash_is_a_duplicate_only_under_its_own_tip(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        book.add(make_job("1", prev_hash=tip(1)), 1)
        book.add(make_job("2", prev_hash=tip(2)), 2)
        book.remember(tip(2), SEEN)
        assert book.is_duplicate(tip(2), SEEN)
        assert not book.is_duplicate(tip(1), SEEN)

    def test_withdrawn_work_is_not_mined_but_its_shares_in_flight_are_good(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        job = make_job("1")
        book.add(job, 10)
        book.withdraw(20)
        book.withdraw(70)
        assert book.current is None
        assert book.lookup("1", 80) == Past(job)
        assert book.lookup("1", 81) == Stale(job, tip_lost=False)
        successor = make_job("2")
        book.add(successor, 90)
        assert book.current is successor

    def test_retired_jobs_are_good_for_nothing_however_soon_their_shares_come(
        self, make_job: MakeJob
    ) -> None:
        book = JobBook(grace_s=60)
        past, current = make_job("1"), make_job("2")
        book.add(past, 10)
        book.add(current, 20)
        book.retire(21)
        assert book.current is None
        assert book.lookup("1", 21) == Stale(past, tip_lost=False)
        assert book.lookup("2", 21) == Stale(current, tip_lost=False)
        successor = make_job("3")
        book.add(successor, 21)
        book.add(make_job("4"), 22)
        assert book.lookup("3", 23) == Past(successor)
        assert isinstance(book.lookup("2", 23), Stale)

    def test_a_retired_job_is_not_good_again_when_its_tip_comes_back(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        old = make_job("1", prev_hash=tip(1))
        book.add(old, 10)
        book.retire(11)
        book.set_tip(tip(2), 12)
        book.set_tip(tip(1), 13)
        assert book.lookup("1", 13) == Stale(old, tip_lost=False)

    def test_a_book_knows_which_jobs_it_holds(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, capacity=1)
        book.add(make_job("1"), 1)
        assert "1" in book
        book.add(make_job("2"), 1)
        assert ("1" in book, "2" in book) == (False, True)

    def test_the_book_is_bounded_and_the_oldest_jobs_go_first(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=1e9, capacity=2)
        for n in range(5):
            book.add(make_job(str(n)), n)
        assert [book.lookup(str(n), 5) is not None for n in range(5)] == [False, False, False, True, True]

    def test_a_full_table_takes_no_more_hashes(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, duplicates=1)
        book.add(make_job(prev_hash=tip(1)), 1)
        assert not book.is_full(tip(1))
        book.remember(tip(1), SEEN)
        assert book.is_full(tip(1))
        with pytest.raises(ValueError, match="room"):
            book.remember(tip(1), SEEN[::-1])

    def test_a_job_id_is_given_once(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        first = make_job("1")
        book.add(first, 1)
        with pytest.raises(ValueError, match="in the book already"):
            book.add(make_job("1"), 2)
        assert book.current is first

    @pytest.mark.parametrize("bounds", [{"capacity": 0}, {"duplicates": 0}])
    def test_a_book_without_room_is_refused(self, bounds: dict[str, int]) -> None:
        with pytest.raises(ValueError, match="at least one"):
            JobBook(grace_s=60, **bounds)


class TestTips:
    def test_tips_are_numbered_in_the_order_of_their_coming(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, first_tip_number=7)
        assert book.tips() == []
        book.set_tip(tip(1), 1)
        book.add(make_job("1", prev_hash=tip(2)), 2)
        assert book.tips() == [(7, tip(1)), (8, tip(2))]
        assert (book.tip_number(tip(1)), book.tip_number(tip(2))) == (7, 8)
        with pytest.raises(KeyError):
            book.tip_number(tip(3))

    def test_a_tip_that_comes_back_has_its_number_and_the_next_one_a_new_one(self) -> None:
        book = JobBook(grace_s=60)
        for n in (1, 2, 1, 3):
            book.set_tip(tip(n), 0)
        assert book.tips() == [(1, tip(2)), (0, tip(1)), (2, tip(3))]

    def test_books_that_share_their_numbers_give_none_twice(self) -> None:
        numbers = TipNumbers(7)
        books = [JobBook(60, numbers=numbers) for _ in range(2)]
        for n in (1, 2, 2, 3):
            for book in books:
                book.set_tip(tip(n), 0)
        assert [book.tips() for book in books] == [
            [(7, tip(1)), (9, tip(2)), (11, tip(3))],
            [(8, tip(1)), (10, tip(2)), (12, tip(3))],
        ]
        books[0].restore(tip(9), 40, b"")
        books[1].set_tip(tip(4), 0)
        assert books[1].tip_number(tip(4)) == 41

    def test_a_tip_that_was_forgotten_comes_back_under_another_number(self) -> None:
        book = JobBook(grace_s=60)
        for n in (1, 2, 3, 4, 1):
            book.set_tip(tip(n), 0)
        assert book.tips() == [(2, tip(3)), (3, tip(4)), (4, tip(1))]


def record(tip_number: int, digest: bytes) -> bytes:
    return RECORD.pack(1, tip_number, 0.0, 1.0, 5, digest)


class TestRestore:
    def test_shares_of_before_the_restart_are_not_credited_again(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, first_tip_number=3)
        assert book.restore(tip(1), 5, record(5, SEEN) + record(4, SEEN[::-1]) + record(5, SEEN)) == 1
        assert book.tip is None
        assert book.is_duplicate(tip(1), SEEN)
        assert not book.is_duplicate(tip(1), SEEN[::-1])
        book.add(make_job(prev_hash=tip(1)), 1)
        assert book.is_duplicate(tip(1), SEEN)
        assert book.tip_number(tip(1)) == 5
        book.set_tip(tip(2), 2)
        assert book.tip_number(tip(2)) == 6

    def test_a_tip_that_is_in_the_book_keeps_its_number_and_takes_the_shares(self) -> None:
        book = JobBook(grace_s=60, first_tip_number=10)
        book.set_tip(tip(1), 1)
        assert book.restore(tip(1), 4, record(4, SEEN)) == 1
        assert book.restore(tip(1), 40, record(40, SEEN[::-1])) == 1
        assert (book.tip, book.tips()) == (tip(1), [(10, tip(1))])
        assert book.is_duplicate(tip(1), SEEN)
        assert book.is_duplicate(tip(1), SEEN[::-1])
        book.set_tip(tip(2), 2)
        assert book.tip_number(tip(2)) == 41

    def test_the_present_tip_is_never_pushed_out(self) -> None:
        book = JobBook(grace_s=60)
        book.set_tip(tip(1), 1)
        for n in range(2, 8):
            book.restore(tip(n), n, record(n, SEEN))
        assert book.tip == tip(1)
        assert [prev_hash for _, prev_hash in book.tips()] == [tip(6), tip(7), tip(1)]

    def test_no_more_is_restored_than_the_table_holds(self) -> None:
        book = JobBook(grace_s=60, duplicates=1)
        assert book.restore(tip(1), 0, record(0, SEEN) + record(0, SEEN[::-1])) == 1
        assert book.is_full(tip(1))


class TestBoard:
    """What the C core is shown of the book; tests/miner/work/test_judged_in_c.py proves that both say the same."""

    @staticmethod
    def taker(book: JobBook) -> SubmitTaker:
        taker = SubmitTaker(
            book.board, ShareBuffer(), Tally(), unit=1, worker=b"w", extranonce1=E1, version_mask=None
        )
        taker.set_level(0, 0, 1.0, MAX_TARGET)
        return taker

    @staticmethod
    def line(job: Job, job_id: str = "") -> bytes:
        params = f'["w","{job_id or job.id}","{E2.hex()}","{job.ntime_s:08x}","00000000"]'
        return f'{{"id":1,"method":"mining.submit","params":{params}}}\n'.encode()

    def test_a_job_is_on_the_board_as_long_as_it_is_in_the_book(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, capacity=2)
        taker, jobs = self.taker(book), [make_job(str(n), bits=0x1D00FFFF) for n in range(4)]
        for n, job in enumerate(jobs):
            assert taker.take(self.line(job), 0, 1.0) == 0
            book.add(job, 1.0)
            assert taker.take(self.line(job), 0, 1.0) == len(self.line(job))
            known = [taker.take(self.line(older), 0, 1.0) > 0 for older in jobs]
            assert known == [n - 2 < older <= n for older in range(4)]

    def test_books_may_share_a_board(self, make_job: MakeJob) -> None:
        board = Board()
        one, other = JobBook(grace_s=60, board=board), JobBook(grace_s=60, board=board)
        jobs = make_job("1", bits=0x1D00FFFF), make_job("2", bits=0x1D00FFFF)
        one.add(jobs[0], 1.0)
        other.add(jobs[1], 1.0)
        taker = self.taker(one)
        for job in jobs:
            taker.take(self.line(job), 0, 1.0)
            assert taker.accepted == 1

    def test_what_is_handed_on_is_left_to_python_by_the_pool_s_target(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        job = make_job(bits=0x1D00FFFF, upstream=UpstreamWork("4f", MAX_TARGET, b"", epoch=1))
        book.add(job, 1.0)
        assert self.taker(book).take(self.line(job), 0, 1.0) == 0

    def test_the_core_knows_a_retired_job_as_stale(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        job = make_job(bits=0x1D00FFFF)
        book.add(job, 1.0)
        book.retire(1.0)
        taker = self.taker(book)
        assert taker.take(self.line(job), 0, 1.0) == len(self.line(job))
        assert b"Stale share" in taker.answers

    def test_a_job_whose_id_is_no_number_is_not_on_it(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60, capacity=1)
        job = make_job("pool-1", bits=0x1D00FFFF)
        book.add(job, 1.0)
        assert self.taker(book).take(self.line(job), 0, 1.0) == 0
        book.add(make_job("2"), 2.0)  # and is forgotten without it

    @pytest.mark.parametrize("changes", [{"min_time_s": -1}, {"ntime_s": -7201, "min_time_s": 0}])
    def test_a_job_of_times_that_no_header_bears_is_not_on_it(
        self, make_job: MakeJob, changes: dict[str, object]
    ) -> None:
        book = JobBook(grace_s=60)
        book.add(make_job(**changes), 1.0)
        assert self.taker(book).take(self.line(make_job()), 0, 1.0) == 0

    def test_shares_credited_by_either_are_duplicates_for_both(self, make_job: MakeJob) -> None:
        book = JobBook(grace_s=60)
        taker, job = self.taker(book), make_job(bits=0x1D00FFFF)
        book.add(job, 1.0)
        _, digest = job.header(E1, E2, ntime_s=job.ntime_s, nonce=0, version=job.version)
        assert not book.is_duplicate(job.prev_hash, digest)
        taker.take(self.line(job), 0, 1.0)
        assert (taker.accepted, book.is_duplicate(job.prev_hash, digest)) == (1, True)
        taker.take(self.line(job), 0, 1.0)
        assert taker.rejected == 1
