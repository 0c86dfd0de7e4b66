"""The books of all origins on one board: one count of ids and tips, and nothing else in common."""

from collections.abc import Callable

import pytest

from miner.chain.difficulty import MAX_TARGET
from miner.kernel import BOARD_JOBS, ShareBuffer, SubmitTaker, Tally
from miner.work.job import Job, Past, Stale
from miner.work.shelf import SOLO, Shelf

E1, E2 = b"\x00\x00\x00\x07", bytes(8)
SEEN = bytes(range(32))
MakeJob = Callable[..., Job]


@pytest.fixture
def shelf() -> Shelf:
    shelf = Shelf(0x1A2, first_tip_number=5)
    shelf.add(SOLO, 60.0)
    shelf.add("pool", 60.0)
    return shelf


def submit(shelf: Shelf, job: Job, unit: int = 1) -> bytes:
    """What the core answers to a share on this job; nothing if it leaves it to Python."""
    taker = SubmitTaker(
        shelf.board, ShareBuffer(1), Tally(), unit=unit, worker=b"w", extranonce1=E1, version_mask=None
    )
    taker.set_level(0, 0, 1.0, MAX_TARGET)
    params = f'["w","{job.id}","{E2.hex()}","{job.ntime_s:08x}","00000000"]'
    taker.take(f'{{"id":1,"method":"mining.submit","params":{params}}}\n'.encode(), 0, 1.0)
    return taker.answers


def test_each_origin_has_one_book_of_its_own(shelf: Shelf) -> None:
    assert shelf.origins == (SOLO, "pool")
    assert shelf.book(SOLO) is not shelf.book("pool")
    with pytest.raises(ValueError, match="a job book of 'pool' already"):
        shelf.add("pool", 60.0)
    with pytest.raises(KeyError):
        shelf.book("another")


def test_ids_rise_over_all_origins_in_hexadecimal() -> None:
    shelf = Shelf(0x1A2)
    assert [shelf.next_id() for _ in range(3)] == ["1a2", "1a3", "1a4"]
    with pytest.raises(ValueError, match="not negative"):
        Shelf(-1)


def test_a_job_is_found_by_its_id_in_the_book_that_holds_it(shelf: Shelf, make_job: MakeJob) -> None:
    solo, pool = make_job(shelf.next_id()), make_job(shelf.next_id(), origin="pool")
    shelf.book(SOLO).add(solo, 1.0)
    shelf.book("pool").add(pool, 1.0)
    assert shelf.of(solo.id) is shelf.book(SOLO)
    assert shelf.of(pool.id) is shelf.book("pool")
    assert shelf.of(shelf.next_id()) is None
    assert shelf.now_mined() == {SOLO: solo, "pool": pool}
    shelf.book("pool").withdraw(2.0)
    assert shelf.now_mined() == {SOLO: solo}


def test_tips_of_all_origins_are_counted_together_and_never_share_a_number(shelf: Shelf) -> None:
    solo, pool = shelf.book(SOLO), shelf.book("pool")
    solo.set_tip(b"\x01" * 32, 1.0)
    pool.set_tip(b"\x01" * 32, 1.0)  # the same block, seen by both
    pool.set_tip(b"\x02" * 32, 2.0)
    solo.set_tip(b"\x02" * 32, 3.0)
    assert shelf.tips() == [
        (SOLO, 5, b"\x01" * 32),
        (SOLO, 8, b"\x02" * 32),
        ("pool", 6, b"\x01" * 32),
        ("pool", 7, b"\x02" * 32),
    ]
    pool.restore(b"\x03" * 32, 20, b"")
    solo.set_tip(b"\x04" * 32, 4.0)
    assert solo.tip_number(b"\x04" * 32) == 21


def test_what_happens_to_one_origin_s_jobs_is_nothing_to_another_s(shelf: Shelf, make_job: MakeJob) -> None:
    solo, pool = make_job(shelf.next_id()), make_job(shelf.next_id(), origin="pool")
    shelf.book(SOLO).add(solo, 1.0)
    shelf.book("pool").add(pool, 1.0)
    shelf.book(SOLO).remember(solo.prev_hash, SEEN)
    assert not shelf.book("pool").is_duplicate(pool.prev_hash, SEEN)
    shelf.book("pool").retire(2.0)
    shelf.book("pool").set_tip(b"\x02" * 32, 2.0)
    assert shelf.book(SOLO).current is solo
    assert shelf.book("pool").lookup(pool.id, 2.0) == Stale(pool, tip_lost=True)
    shelf.book(SOLO).withdraw(2.0)
    assert shelf.book(SOLO).lookup(solo.id, 3.0) == Past(solo)


def test_the_core_judges_shares_on_every_origin_s_jobs(shelf: Shelf, make_job: MakeJob) -> None:
    solo, pool = (
        make_job(shelf.next_id(), bits=0x1D00FFFF),
        make_job(shelf.next_id(), bits=0x1D00FFFF, origin="pool", coinbase1=b"another"),
    )
    shelf.book(SOLO).add(solo, 1.0)
    shelf.book("pool").add(pool, 1.0)
    for job in (solo, pool):
        assert b'"result":true' in submit(shelf, job)
        assert b"Duplicate share" in submit(shelf, job, unit=2)
    shelf.book("pool").retire(1.0)
    assert b"Stale share" in submit(shelf, pool)
    assert b"Duplicate share" in submit(shelf, solo)


def test_an_origin_with_many_jobs_does_not_push_the_one_that_is_hashed_elsewhere_off_the_board(
    shelf: Shelf, make_job: MakeJob
) -> None:
    solo = make_job(shelf.next_id(), bits=0x1D00FFFF)
    shelf.book(SOLO).add(solo, 1.0)
    for _ in range(3 * BOARD_JOBS):
        pool = make_job(shelf.next_id(), bits=0x1D00FFFF, origin="pool")
        assert int(pool.id, 16) % BOARD_JOBS != int(solo.id, 16) % BOARD_JOBS
        shelf.book("pool").add(pool, 1.0)
        assert b'"result":true' in submit(shelf, pool) or b"Duplicate" in submit(shelf, pool)
    assert b'"result":true' in submit(shelf, solo)


def test_an_id_is_found_even_if_every_place_of_the_board_is_hashed(make_job: MakeJob) -> None:
    """As many origins as places: nobody has so many pools, but nothing may turn in a circle for ever."""
    shelf = Shelf()
    for number in range(BOARD_JOBS):
        shelf.add(str(number), 60.0).add(make_job(shelf.next_id()), 1.0)
    assert len(shelf.now_mined()) == BOARD_JOBS
    assert shelf.next_id() == f"{BOARD_JOBS + 1:x}"
