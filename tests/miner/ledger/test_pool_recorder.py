"""Shares handed to pools on their way to a real ledger: in order, together, through failures of the database."""

import asyncio
import logging
import random
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager

import pytest

from miner.ledger import pool_recorder as pool_recorder_module
from miner.ledger import recorder as recorder_module
from miner.ledger import writer as writer_module
from miner.ledger.recorder import Recorder
from miner.ledger.rollup import RECORD
from miner.ledger.rows import (
    LedgerError,
    LedgerUnavailableError,
    PoolShareRow,
    PoolShareSums,
    PoolShareVerdict,
)
from miner.ledger.store import Store, Write
from regtest.postgres import Postgres

MakePoolShare = Callable[..., PoolShareRow]
Held = Callable[[], AbstractContextManager[None]]


@pytest.fixture
async def recorder(store: Store) -> AsyncIterator[Recorder]:
    async with Recorder(store) as opened:
        yield opened


@contextmanager
def stuck(store: Store) -> Iterator[None]:
    """While this lasts no write of the store gets anywhere."""
    with store._lock:
        yield


def accepted(number: int) -> PoolShareVerdict:
    return PoolShareVerdict(number, 9.5, "accepted")


async def test_a_share_and_its_verdict_are_on_the_disk_when_their_futures_are_done(
    store: Store, recorder: Recorder, pool_share: MakePoolShare
) -> None:
    await recorder.add_pool_shares([pool_share(1)])
    assert [row.result for row in store.pool_shares()] == ["waiting"]
    await recorder.settle_pool_shares([accepted(1)])
    assert [row.result for row in await recorder.pool_shares(10, pool="main", since=0.0)] == ["accepted"]
    assert await recorder.pool_share_sums() == {"main": PoolShareSums(1, work_accepted=4096.0)}


async def test_what_comes_during_a_commit_is_one_write_and_no_verdict_goes_before_its_share(
    store: Store, recorder: Recorder, pool_share: MakePoolShare, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    commit = store.commit

    def counted(group: Sequence[Write]) -> None:
        commits.append(len(group))
        commit(group)

    monkeypatch.setattr(store, "commit", counted)
    with stuck(store):
        futures = []
        for number in range(1, 501):
            futures.append(recorder.add_pool_shares([pool_share(number)]))
            if number % 2:
                futures.append(recorder.settle_pool_shares([accepted(number)]))
        await asyncio.sleep(0.02)
    await asyncio.gather(*futures)
    assert commits == [1, 1]
    sums = store.pool_share_sums()["main"]
    assert (sums.accepted, sums.waiting) == (250, 250)


async def test_closing_writes_what_was_collected_and_refuses_what_comes_later(
    store: Store, pool_share: MakePoolShare
) -> None:
    recorder = Recorder(store)
    with stuck(store):
        recorder.add_pool_shares([pool_share(1)])
        recorder.add_pool_shares([pool_share(2)])
        last = recorder.settle_pool_shares([accepted(1)])
        await asyncio.sleep(0)
    await recorder.aclose()
    await last
    assert [(row.id, row.result) for row in store.pool_shares()] == [(2, "waiting"), (1, "accepted")]
    for late in (recorder.add_pool_shares, recorder.settle_pool_shares):
        with pytest.raises(LedgerError, match="the ledger is closed"):
            late([])


async def test_shares_handed_to_pools_wait_for_a_database_that_another_process_holds(
    url: str, held: Held, pool_share: MakePoolShare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.02)
    Store.open(url).close()
    with Store.open(url, busy_timeout_s=0.02) as store:
        async with Recorder(store) as recorder:
            with held():
                first = recorder.add_pool_shares([pool_share(1)])
                await asyncio.sleep(0.1)
                second = recorder.settle_pool_shares([accepted(1)])
                assert not any(future.done() for future in (first, second))
            await asyncio.gather(first, second)
        assert [row.result for row in store.pool_shares()] == ["accepted"]


async def test_who_stops_waiting_stops_nothing(
    store: Store, recorder: Recorder, pool_share: MakePoolShare
) -> None:
    with stuck(store):
        recorder.add_pool_shares([pool_share(1)]).cancel()
        recorder.add_pool_shares([pool_share(2)]).cancel()
        await asyncio.sleep(0)
    await recorder.add_pool_shares([pool_share(3)])
    assert [row.id for row in store.pool_shares()] == [3, 2, 1]


async def test_shares_that_fail_for_good_are_logged_once_and_later_ones_go_on(
    store: Store, recorder: Recorder, pool_share: MakePoolShare, caplog: pytest.LogCaptureFixture
) -> None:
    store.add_pool_shares([pool_share(1)])
    with pytest.raises(LedgerError, match="written by another process"):
        await recorder.add_pool_shares([pool_share(1, hash="ff" * 32)])
    await recorder.add_pool_shares([pool_share(2)])
    assert [row.id for row in store.pool_shares()] == [2, 1]
    assert caplog.messages == ["pool_shares_not_recorded"]


async def test_shares_that_never_reached_the_disk_are_told_at_the_end(
    url: str, held: Held, pool_share: MakePoolShare, caplog: pytest.LogCaptureFixture
) -> None:
    Store.open(url).close()
    with Store.open(url, busy_timeout_s=0.02) as store, held():
        recorder = Recorder(store)
        first = recorder.add_pool_shares([pool_share(1)])
        await asyncio.sleep(0.05)  # which is longer than it waits for a commit to go with
        second = recorder.add_pool_shares([pool_share(2)])
        await recorder.aclose()
        for lost in (first, second):
            with pytest.raises(LedgerUnavailableError, match="closed before it took this write"):
                await lost
    lost_events = [record.message for record in caplog.records if record.levelno == logging.CRITICAL]
    assert lost_events == ["pool_shares_not_recorded"] * 2


async def test_no_more_shares_are_taken_from_miners_while_too_many_handed_to_pools_wait(
    store: Store, pool_share: MakePoolShare
) -> None:
    async with Recorder(store, share_capacity=3 * recorder_module.POOL_SHARE_BYTES) as recorder:
        with stuck(store):
            rows = recorder.add_pool_shares([pool_share(1), pool_share(2)])
            assert not recorder.shares_full
            words = recorder.settle_pool_shares([accepted(1)])
            assert recorder.shares_full
        await asyncio.gather(rows, words)
        assert not recorder.shares_full


async def test_scripts_that_a_pool_pays_are_remembered(store: Store, recorder: Recorder) -> None:
    await recorder.add_pool_payees("main", [b"\x51"])
    assert await recorder.pool_payees("main") == {b"\x51"}
    assert store.pool_payees("spare") == set()


async def test_shares_handed_to_pools_are_history_that_is_forgotten(
    recorder: Recorder, pool_share: MakePoolShare
) -> None:
    await recorder.add_pool_shares([pool_share(1), pool_share(2)])
    await recorder.prune_history(pool_share(2).at)
    assert [row.id for row in await recorder.pool_shares()] == [2]


@pytest.mark.usefixtures("postgres")  # skips it where there is none
async def test_no_share_is_lost_or_told_twice_when_the_server_is_killed_again_and_again(
    pool_share: MakePoolShare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.02)
    dice = random.Random(9)
    with Postgres() as server, Store.open(server.new_database()) as store:
        async with Recorder(store) as recorder:
            futures, number, told = [], 0, 0
            for _ in range(3):
                killing = asyncio.create_task(asyncio.to_thread(server.kill))
                for _ in range(dice.randrange(10, 40)):
                    number += 1
                    futures.append(recorder.add_pool_shares([pool_share(number)]))
                    if dice.random() < 0.7:
                        told += 1
                        futures.append(recorder.settle_pool_shares([accepted(number)]))
                    await asyncio.sleep(dice.uniform(0, 0.01))
                await killing
                await asyncio.to_thread(server.start)
            await asyncio.gather(*futures)
        sums = store.pool_share_sums()["main"]
        assert (sums.found, sums.accepted, sums.waiting) == (number, told, number - told)


async def test_what_was_handed_to_a_pool_is_on_the_disk_when_the_record_of_the_same_share_is(
    store: Store, pool_share: MakePoolShare, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pool_recorder_module, "LINGER_S", 3600.0)
    async with Recorder(store) as recorder:
        row = recorder.add_pool_shares([pool_share(1)])
        await recorder.add_shares(RECORD.pack(1, 0, 1_700_000_000.0, 1.0, 7, bytes(32)))
        assert row.done()
        assert [each.id for each in store.pool_shares()] == [1]


async def test_nothing_to_be_written_is_done_when_all_before_it_is(
    store: Store, pool_share: MakePoolShare
) -> None:
    async with Recorder(store) as recorder:
        row = recorder.add_pool_shares([pool_share(1)])
        await recorder.settle_pool_shares([])
        await recorder.add_pool_shares([])
        assert row.done()
