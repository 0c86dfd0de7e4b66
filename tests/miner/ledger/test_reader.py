from collections.abc import Callable
from pathlib import Path

import pytest

from miner.ledger.reader import Reader
from miner.ledger.rows import BlockRow, DecisionRow, NoLedgerError, OutcomeRow, TickRow
from miner.ledger.store import Store


def test_a_ledger_that_is_not_there_is_not_made_by_reading(tmp_path: Path, sqlite_url: str) -> None:
    with pytest.raises(NoLedgerError, match="it is made when the daemon first runs"):
        Reader.open(sqlite_url)
    assert list(tmp_path.iterdir()) == []


def test_reading_leaves_the_file_as_it_is(
    tmp_path: Path, sqlite_url: str, block: Callable[..., BlockRow]
) -> None:
    with Store.open(sqlite_url) as store:
        store.add_block(block())
    before = (tmp_path / "hashmill.db").read_bytes()
    with Reader.open(sqlite_url) as reader:
        assert len(reader.blocks()) == 1
    assert (tmp_path / "hashmill.db").read_bytes() == before


def test_blocks_come_newest_first_without_their_bytes(store: Store, block: Callable[..., BlockRow]) -> None:
    for number in (2, 1, 3):
        store.add_block(block(number))
    assert [(row.height, row.raw) for row in store.blocks()] == [(3, b""), (2, b""), (1, b"")]
    assert [row.height for row in store.blocks(2)] == [3, 2]
    assert [row.height for row in store.blocks(since=block(2).found_at)] == [3, 2]


def test_a_block_that_is_not_there_is_none(store: Store) -> None:
    assert store.block("00") is None


def test_unsettled_blocks_come_oldest_first_with_their_bytes(
    store: Store, block: Callable[..., BlockRow]
) -> None:
    for number, status in enumerate(["mature", "accepted", "submitted", "found", "rejected", "orphaned"]):
        store.add_block(block(number, status=status))
    unsettled = store.unsettled_blocks()
    assert [row.status for row in unsettled] == ["accepted", "submitted", "found", "orphaned"]
    assert all(row.raw == block().raw for row in unsettled)


def test_blocks_are_counted_by_status(store: Store, block: Callable[..., BlockRow]) -> None:
    for number, status in enumerate(["mature", "accepted", "mature"]):
        store.add_block(block(number, status=status))
    assert store.block_counts() == {"mature": 2, "accepted": 1}


def test_a_decision_comes_back_with_the_numbers_that_made_it(
    store: Store, decision: Callable[..., DecisionRow]
) -> None:
    store.add_decisions([decision()])
    assert store.decisions() == [decision()]


def test_numbers_that_json_lacks_come_back_as_unknown(
    store: Store, decision: Callable[..., DecisionRow]
) -> None:
    store.add_decisions([decision(numbers={"breakeven": float("inf"), "margin": float("nan"), "kw": 3.5})])
    assert store.decisions()[0].numbers == {"breakeven": None, "margin": None, "kw": 3.5}


def test_decisions_come_newest_first_by_unit_and_time(
    store: Store, decision: Callable[..., DecisionRow]
) -> None:
    store.add_decisions([decision(number, unit_id="cpu" if number % 2 else "asic") for number in range(1, 6)])
    assert [row.id for row in store.decisions(2)] == [decision(5).id, decision(4).id]
    assert [row.id for row in store.decisions(unit="asic")] == [decision(4).id, decision(2).id]
    assert [row.id for row in store.decisions(since=decision(4).at)] == [decision(5).id, decision(4).id]


def test_every_unit_has_its_last_decision_after_a_restart(
    url: str, decision: Callable[..., DecisionRow]
) -> None:
    with Store.open(url) as store:
        store.add_decisions([decision(1), decision(2, unit_id="asic", from_mode=None), decision(3)])
    with Store.open(url) as store:
        last = store.last_decisions()
    assert last == {"cpu": decision(3), "asic": decision(2, unit_id="asic", from_mode=None)}


def test_outcomes_are_found_by_their_decision_in_order(
    store: Store, decision: Callable[..., DecisionRow]
) -> None:
    first, second = decision(1), decision(2)
    store.add_decisions([first, second])
    applied = OutcomeRow(first.id, 1.0, "applied")
    confirmed = OutcomeRow(first.id, 2.0, "confirmed", "read back", "off")
    store.add_outcomes([applied, confirmed])
    assert store.outcomes([first.id, second.id]) == {first.id: [applied, confirmed]}
    assert store.outcomes([]) == {}


def test_the_tick_observed_last_is_the_latest_of_its_series(
    store: Store, tick: Callable[..., TickRow]
) -> None:
    store.add_ticks([tick(3), tick(1), tick(2, series="power_usd_per_kwh")])
    assert store.latest_ticks() == {
        "btc_usd": tick(3),
        "power_usd_per_kwh": tick(2, series="power_usd_per_kwh"),
    }


def test_of_a_price_list_it_is_the_price_in_force(store: Store, tick: Callable[..., TickRow]) -> None:
    prices = [
        tick(hour, observed_at=0.0, valid_from=hour * 3600.0, valid_to=(hour + 1) * 3600.0)
        for hour in range(24)
    ]
    store.add_ticks(prices)
    assert store.latest_ticks(now=7.5 * 3600) == {"btc_usd": prices[7]}
    assert store.latest_ticks(now=30 * 3600) == {"btc_usd": prices[23]}


def test_an_endless_tick_comes_back_endless(store: Store, tick: Callable[..., TickRow]) -> None:
    store.add_ticks([tick()])
    assert store.latest_ticks()["btc_usd"].valid_to == float("inf")
