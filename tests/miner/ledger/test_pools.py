"""Shares handed to pools in a real ledger of either kind: written, answered, added up, forgotten."""

from collections.abc import Callable
from dataclasses import replace

import pytest

from miner.ledger import pools
from miner.ledger.reader import Reader
from miner.ledger.rows import LedgerError, PoolShareRow, PoolShareSums, PoolShareVerdict, UnitRow
from miner.ledger.store import Store

MakePoolShare = Callable[..., PoolShareRow]


def test_a_share_comes_back_as_it_was_written_with_the_name_of_its_unit(
    url: str, pool_share: MakePoolShare
) -> None:
    with Store.open(url) as store:
        store.add_units([UnitRow(1, "rack.1", 0.0)])
        store.add_pool_shares([pool_share(1), pool_share(2, unit=9, credited=0.0)])
    with Reader.open(url) as reader:
        assert reader.pool_shares() == [
            pool_share(2, unit=9, credited=0.0, unit_name="unit 9"),
            pool_share(1, unit_name="rack.1"),
        ]
        assert reader.last_pool_share_id() == 2


def test_shares_are_listed_newest_first_by_pool_and_from_a_time_on(
    store: Store, pool_share: MakePoolShare
) -> None:
    store.add_pool_shares(
        [pool_share(number, pool="spare" if number % 3 else "main") for number in range(1, 10)]
    )
    assert [row.id for row in store.pool_shares(4)] == [9, 8, 7, 6]
    assert [row.id for row in store.pool_shares(2, pool="main")] == [9, 6]
    assert [row.id for row in store.pool_shares(pool="spare", since=pool_share(5).at)] == [8, 7, 5]
    assert store.pool_shares(pool="nobody") == []


def test_the_pool_s_word_is_written_to_its_share(store: Store, pool_share: MakePoolShare) -> None:
    store.add_pool_shares([pool_share(number) for number in range(1, 5)])
    store.settle_pool_shares(
        [
            PoolShareVerdict(3, 8.5, "rejected", 21, "job not found"),
            PoolShareVerdict(1, 7.5, "accepted"),
            PoolShareVerdict(4, 9.5, "in_doubt", detail="the connection ended"),
        ]
    )
    known = [(row.id, row.result, row.code, row.detail, row.answered_at) for row in store.pool_shares()]
    assert known == [
        (4, "in_doubt", None, "the connection ended", 9.5),
        (3, "rejected", 21, "job not found", 8.5),
        (2, "waiting", None, "", None),
        (1, "accepted", None, "", 7.5),
    ]


def test_the_first_word_on_a_share_stays_and_one_on_no_share_is_passed_over(
    store: Store, pool_share: MakePoolShare
) -> None:
    store.add_pool_shares([pool_share(1)])
    store.settle_pool_shares([PoolShareVerdict(1, 1.0, "accepted"), PoolShareVerdict(1, 2.0, "rejected", 20)])
    store.settle_pool_shares([PoolShareVerdict(1, 3.0, "in_doubt"), PoolShareVerdict(99, 3.0, "accepted")])
    assert [(row.id, row.result, row.answered_at) for row in store.pool_shares()] == [(1, "accepted", 1.0)]


def test_thousands_of_shares_and_verdicts_are_written_at_once(
    store: Store, pool_share: MakePoolShare
) -> None:
    rows = [pool_share(number) for number in range(1, 2501)]
    store.add_pool_shares(rows)
    store.settle_pool_shares([PoolShareVerdict(row.id, 5.0, "accepted") for row in rows[:2400]])
    assert store.pool_share_sums() == {
        "main": PoolShareSums(accepted=2400, waiting=100, work_accepted=2400 * 4096.0)
    }


def test_found_is_accepted_and_rejected_and_in_doubt_and_waiting_for_each_pool(
    store: Store, pool_share: MakePoolShare
) -> None:
    store.add_pool_shares([pool_share(number, credited=float(number)) for number in range(1, 11)])
    store.add_pool_shares([pool_share(number, pool="spare", credited=0.5) for number in range(11, 14)])
    words = {1: "accepted", 2: "rejected", 3: "accepted", 4: "in_doubt", 11: "rejected"}
    store.settle_pool_shares([PoolShareVerdict(number, 1.0, word) for number, word in words.items()])  # type: ignore[arg-type] # a dict of words
    sums = store.pool_share_sums()
    assert sums == {
        "main": PoolShareSums(2, 1, 1, 6, work_accepted=4.0, work_rejected=2.0),
        "spare": PoolShareSums(0, 1, 0, 2, work_rejected=0.5),
    }
    assert (sums["main"].found, sums["spare"].found) == (10, 3)
    assert store.pool_share_sums(since=pool_share(12).at) == {"spare": PoolShareSums(waiting=2)}


def test_what_waited_when_a_process_ended_is_in_doubt_at_the_next_start(
    url: str, pool_share: MakePoolShare
) -> None:
    with Store.open(url) as store, Store.open(url, site="south") as other:
        store.add_pool_shares([pool_share(1), pool_share(2), pool_share(3)])
        store.settle_pool_shares([PoolShareVerdict(2, 1.0, "accepted")])
        other.add_pool_shares([pool_share(1)])
    with Store.open(url) as store:
        assert store.doubt_pool_shares(77.5) == 2
        assert store.doubt_pool_shares(78.5) == 0
        assert [(row.id, row.result, row.answered_at) for row in store.pool_shares()] == [
            (3, "in_doubt", 77.5),
            (2, "accepted", 1.0),
            (1, "in_doubt", 77.5),
        ]
        assert store.pool_share_sums()["main"] == PoolShareSums(1, 0, 2, work_accepted=4096.0)
    with Reader.open(url, site="south") as reader:
        assert [row.result for row in reader.pool_shares()] == ["waiting"]


def test_a_share_written_again_since_its_answer_was_lost_is_there_once(
    store: Store, pool_share: MakePoolShare
) -> None:
    store.add_pool_shares([pool_share(1)])
    store.settle_pool_shares([PoolShareVerdict(1, 1.0, "accepted")])
    store.add_pool_shares([pool_share(1), pool_share(2)])
    assert [(row.id, row.result) for row in store.pool_shares()] == [(2, "waiting"), (1, "accepted")]


def test_two_processes_that_write_shares_of_one_site_are_not_taken_for_one(
    store: Store, pool_share: MakePoolShare
) -> None:
    store.add_pool_shares([pool_share(1)])
    with pytest.raises(LedgerError, match="pool share 1 was written by another process"):
        store.add_pool_shares([pool_share(1, hash="ff" * 32), pool_share(2)])
    assert [row.id for row in store.pool_shares()] == [1]


@pytest.mark.parametrize(
    ("said", "kept"),
    [
        ("a\0b", "a\N{REPLACEMENT CHARACTER}b"),
        ("half \ud800", "half \N{REPLACEMENT CHARACTER}"),
        ("two\nlines", "two\N{REPLACEMENT CHARACTER}lines"),
        ("x" * 10_000, "x" * pools.MOST_TEXT),
        ("früher 早い", "früher 早い"),
    ],
)
def test_whatever_a_pool_says_can_be_written(
    store: Store, pool_share: MakePoolShare, said: str, kept: str
) -> None:
    store.add_pool_shares([pool_share(1, job_id=said, worker=said)])
    store.settle_pool_shares([PoolShareVerdict(1, 1.0, "rejected", 23, said)])
    (row,) = store.pool_shares()
    assert (row.detail, row.job_id, row.worker, row.code) == (kept, kept, kept, 23)


@pytest.mark.parametrize(
    ("code", "kept"), [(2**31 - 1, 2**31 - 1), (-(2**31), -(2**31)), (2**31, None), (10**40, None)]
)
def test_a_code_that_no_column_takes_is_not_kept(
    store: Store, pool_share: MakePoolShare, code: int, kept: int | None
) -> None:
    store.add_pool_shares([pool_share(1)])
    store.settle_pool_shares([PoolShareVerdict(1, 1.0, "rejected", code)])
    assert [(row.result, row.code) for row in store.pool_shares()] == [("rejected", kept)]


def test_old_shares_are_forgotten_in_pieces(
    store: Store, pool_share: MakePoolShare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pools, "PRUNE_POOL_SHARES", 3)
    store.add_pool_shares([pool_share(number) for number in range(1, 11)])
    store.prune_pool_shares(pool_share(9).at)
    assert [row.id for row in store.pool_shares()] == [10, 9]
    assert not store.has_pool_shares_before(pool_share(9).at)


def test_scripts_that_a_pool_pays_are_remembered_for_it_alone(url: str) -> None:
    with Store.open(url) as store:
        assert store.pool_payees("main") == set()
        store.add_pool_payees("main", [b"\x00\x14" + bytes(20), b"\x51"])
        store.add_pool_payees("main", {b"\x51"})
        store.add_pool_payees("spare", [])
    with Reader.open(url) as reader:
        assert reader.pool_payees("main") == {b"\x00\x14" + bytes(20), b"\x51"}
        assert reader.pool_payees("spare") == set()


def test_no_pool_is_no_error(store: Store) -> None:
    assert (store.pool_shares(), store.pool_share_sums(), store.last_pool_share_id()) == ([], {}, 0)
    store.settle_pool_shares([])
    store.add_pool_shares([])
    assert store.doubt_pool_shares(1.0) == 0


def test_a_row_that_is_read_can_be_written_again(store: Store, pool_share: MakePoolShare) -> None:
    store.add_pool_shares([pool_share(1)])
    (row,) = store.pool_shares()
    store.add_pool_shares([replace(row, id=2)])
    assert [read.hash for read in store.pool_shares()] == [row.hash] * 2
