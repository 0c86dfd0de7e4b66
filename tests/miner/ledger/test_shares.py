import os
import random
from collections.abc import Callable
from operator import itemgetter

import pytest

from miner.chain.difficulty import difficulty_of_hash
from miner.ledger import shares as shares_module
from miner.ledger.reader import Reader
from miner.ledger.rollup import RECORD, MinuteFold
from miner.ledger.rows import BestShareRow, ShareMinuteRow, TipRow, UnitRow
from miner.ledger.store import Store

NOON = 1_700_049_600.0
MakeShares = Callable[..., bytes]
Record = tuple[int, int, float, float, int, bytes]


def test_units_and_tips_come_back_by_number(store: Store) -> None:
    units = [UnitRow(7, "rack.7", NOON), UnitRow(2**32 - 1, "ünit", NOON + 1)]
    tips = [TipRow(1, "aa" * 32, 100, NOON), TipRow(2, "bb" * 32, 101, NOON + 600)]
    store.add_units(units)
    store.add_tips(tips)
    assert store.units() == units
    assert store.tips() == tips[::-1]
    assert store.tips(1) == [tips[1]]


def test_tips_are_told_apart_by_whose_work_they_were(store: Store) -> None:
    assert (store.tips(), store.last_tip_number()) == ([], None)
    solo = [TipRow(number, f"{number:064x}", 100 + number, NOON) for number in (0, 2)]
    pool = [TipRow(number, f"{number:064x}", 100 + number, NOON, "main") for number in (1, 3)]
    store.add_tips([solo[0], pool[0], solo[1], pool[1]])
    assert store.tips() == solo[::-1]
    assert store.tips(1, origin="main") == [pool[1]]
    assert store.tips(3, origin=None) == [pool[1], solo[1], pool[0]]
    assert store.tips(origin="spare") == []
    assert store.last_tip_number() == 3


def test_the_shares_on_a_tip_are_found_whatever_the_clock_said(store: Store, shares: MakeShares) -> None:
    store.add_shares(shares(NOON, tip=1))
    store.add_tips([TipRow(2, "bb" * 32, 101, NOON)])
    # The clock is set back by an hour, and a batch is counted meanwhile.
    after = [shares(NOON - 3600, tip=2), shares(NOON - 3500, tip=2)]
    store.add_shares(after[0])
    store.roll_up()
    store.add_tips([TipRow(3, "cc" * 32, 102, NOON - 3550)])
    store.add_shares(after[1])
    assert b"".join(store.share_records_on([2])) == b"".join(after)
    assert b"".join(store.share_records_on([3, 2])) == b"".join(after)
    assert b"".join(store.share_records_on([3])) == after[1]
    assert list(store.share_records_on([])) == list(store.share_records_on([99])) == []
    store.add_tips([TipRow(2, "bb" * 32, 101, NOON)])  # as after a restart
    assert b"".join(store.share_records_on([2])) == b"".join(after)


def test_a_share_comes_back_in_words(store: Store) -> None:
    store.add_units([UnitRow(1, "rack.1", NOON)])
    store.add_tips([TipRow(1, "ab" * 32, 100, NOON)])
    digest = bytes(range(28)) + b"\x01\0\0\0"
    store.add_shares(RECORD.pack(1, 1, NOON + 0.25, 3.5, 0x1F, digest))
    (row,) = store.shares()
    assert (row.unit, row.at, row.difficulty, row.job_id) == ("rack.1", NOON + 0.25, 3.5, "1f")
    assert row.hash == digest[::-1].hex()
    assert row.prev_hash == "ab" * 32
    assert row.share_difficulty == difficulty_of_hash(digest)


def test_shares_of_a_unit_and_a_tip_that_are_not_known_are_told_all_the_same(
    store: Store, shares: MakeShares
) -> None:
    store.add_shares(shares(NOON, unit=9, tip=9))
    assert [(row.unit, row.prev_hash) for row in store.shares()] == [("unit 9", "")]


def test_shares_come_newest_first_over_batches(store: Store, shares: MakeShares) -> None:
    for batch in range(40):
        store.add_shares(shares(*(NOON + 10 * batch + share for share in range(3))))
    assert [row.at - NOON for row in store.shares(4)] == [392, 391, 390, 382]
    assert len(store.shares(1000)) == 120
    assert [row.at - NOON for row in store.shares(since=NOON + 381)] == [392, 391, 390, 382, 381]


def test_no_shares_are_no_error(store: Store) -> None:
    assert store.shares() == store.shares(unit="rack.1") == []
    store.add_units([UnitRow(1, "rack.1", NOON)])
    assert store.shares(unit="rack.1") == []
    assert list(store.share_records(0.0)) == []
    assert (store.share_minutes(), store.best_shares(), store.tips()) == ([], [], [])


def random_batches(dice: random.Random, count: int) -> list[list[Record]]:
    """Batches one after the other over hours; unit 3 is heard of now and then only."""
    at, batches = NOON, []
    for _ in range(count):
        batch = []
        for _ in range(dice.randrange(1, 12)):
            at += dice.expovariate(1 / 7)
            unit = 3 if dice.random() < 0.01 else dice.randrange(1, 3)
            batch.append((unit, 1, at, 1.0, 5, os.urandom(32)))
        batches.append(batch)
    return batches


@pytest.mark.parametrize("rolled", [0.0, 0.5, 1.0])
def test_a_unit_s_shares_are_found_by_its_minutes_and_in_what_these_do_not_hold_yet(
    store: Store, rolled: float
) -> None:
    store.add_units([UnitRow(number, f"rack.{number}", NOON) for number in (1, 2, 3)])
    batches = random_batches(random.Random(5), 300)
    until = int(len(batches) * rolled)
    written = [store.share_batch(b"".join(RECORD.pack(*record) for record in batch)) for batch in batches]
    store.commit(written[:until])
    store.roll_up()
    store.commit(written[until:])
    every = sorted((record for batch in batches for record in batch), key=itemgetter(2), reverse=True)
    for number in (1, 3):
        mine = [record[2] for record in every if record[0] == number]
        assert [row.at for row in store.shares(10_000, unit=f"rack.{number}")] == mine
        assert [row.at for row in store.shares(7, unit=f"rack.{number}")] == mine[:7]
        since = mine[len(mine) // 2]
        assert [row.at for row in store.shares(10_000, unit=f"rack.{number}", since=since)] == [
            at for at in mine if at >= since
        ]


def test_a_unit_s_shares_are_found_a_moment_beside_the_minute_that_counts_them(
    store: Store, shares: MakeShares
) -> None:
    store.add_units([UnitRow(1, "rack.1", NOON), UnitRow(2, "rack.2", NOON)])
    # Counted at 12:01:00.3, as of 12:00; one more unit goes on, so that these minutes are long rolled up.
    store.add_shares(shares(NOON + 10, NOON + 60.2))
    store.add_share_minutes([ShareMinuteRow(1, int(NOON), 2, 4.0, 8.0, 1.0)])
    store.add_shares(shares(NOON + 600, unit=2))
    store.roll_up()
    assert [row.at - NOON for row in store.shares(unit="rack.1")] == [pytest.approx(60.2), 10]


def test_the_shares_of_a_unit_that_went_long_ago_are_not_looked_for_in_what_is_pruned(
    store: Store, shares: MakeShares
) -> None:
    store.add_units([UnitRow(1, "rack.1", NOON)])
    store.add_shares(shares(NOON))
    store.roll_up()
    store.add_shares(shares(NOON + 90_000, unit=2))
    store.prune_shares(NOON + 3600)
    assert store.shares(unit="rack.1") == []
    assert len(store.share_minutes(unit="rack.1")) == 1


def test_records_come_whole_and_in_order_from_a_time_on(
    store: Store, shares: MakeShares, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(shares_module, "PIECE_BATCHES", 4)
    monkeypatch.setattr(shares_module, "PIECE_RECORDS", 3)
    batches = [shares(NOON + number, NOON + number + 0.5) for number in range(11)]
    for batch in batches:
        store.add_shares(batch)
    assert list(store.share_records(0.0)) == [b"".join(batches[at : at + 2]) for at in range(0, 11, 2)]
    # The batch that holds the time is given whole.
    assert b"".join(store.share_records(NOON + 5.25)) == b"".join(batches[5:])
    assert list(store.share_records(NOON + 11)) == []


def test_records_are_those_of_this_site(url: str, shares: MakeShares) -> None:
    with Store.open(url, site="north") as north, Store.open(url, site="south") as south:
        ours, theirs = shares(NOON), shares(NOON)
        north.add_shares(ours)
        south.add_shares(theirs)
        assert list(north.share_records(0.0)) == [ours]
        assert list(south.share_records(0.0)) == [theirs]
        south.roll_up()
        assert (len(north.share_minutes()), len(south.share_minutes())) == (0, 1)


def test_minutes_are_found_by_unit_and_time(store: Store) -> None:
    store.add_units([UnitRow(1, "rack.1", NOON), UnitRow(2, "rack.2", NOON)])
    rows = [
        ShareMinuteRow(unit, int(NOON) + 60 * minute, 3, 6.0, 12.0, 2.5, {"stale": 1})
        for minute in range(3)
        for unit in (1, 2)
    ]
    store.add_share_minutes(rows)
    assert store.share_minutes() == rows
    assert store.share_minutes(unit="rack.2") == rows[1::2]
    assert store.share_minutes(since=NOON + 60, until=NOON + 120) == rows[2:4]
    assert store.share_minutes(unit="nobody") == []


def test_a_unit_s_best_share_outlives_its_minutes(url: str) -> None:
    with Store.open(url) as store:
        store.add_units([UnitRow(1, "rack.1", NOON), UnitRow(2, "rack.2", NOON), UnitRow(3, "idle", NOON)])
        for minute, best in enumerate([3.0, 9.5, 4.0]):
            at = int(NOON) + 60 * minute
            store.add_share_minutes(
                [ShareMinuteRow(1, at, 1, 1.0, 1.0, best), ShareMinuteRow(2, at, 1, 1.0, 1.0, 20.0 - best)]
            )
        store.prune_share_minutes(NOON + 1e6)
        assert store.share_minutes() == []
    with Reader.open(url) as reader:
        assert reader.best_shares() == [
            BestShareRow("rack.2", 17.0, int(NOON)),
            BestShareRow("rack.1", 9.5, int(NOON) + 60),
        ]


def test_what_is_rolled_up_from_records_is_what_they_fold_to(store: Store) -> None:
    batches = random_batches(random.Random(6), 20)
    fold = MinuteFold()
    for batch in batches:
        records = b"".join(RECORD.pack(*record) for record in batch)
        fold.add(records)
        store.add_shares(records)
    assert store.roll_up() == fold.shares
    assert store.share_minutes() == list(fold.rows())
