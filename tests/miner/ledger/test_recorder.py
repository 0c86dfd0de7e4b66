import asyncio
import logging
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import replace
from typing import Any

import pytest

from miner.ledger import writer as writer_module
from miner.ledger import writes
from miner.ledger.reader import Reader
from miner.ledger.recorder import Recorder
from miner.ledger.rows import (
    BlockRow,
    DecisionRow,
    HeldBackError,
    LedgerError,
    LedgerFullError,
    LedgerUnavailableError,
    OutcomeRow,
    ShareMinuteRow,
    TickRow,
    TipRow,
    UnitRow,
    UnknownBlockError,
)
from miner.ledger.store import Store, Write
from regtest.postgres import Postgres

MakeBlock = Callable[..., BlockRow]
MakeDecision = Callable[..., DecisionRow]
MakeTick = Callable[..., TickRow]
Held = Callable[[], AbstractContextManager[None]]

#: Several writers at once, so that commits are shared; every block is told on stdout once it was written.
WRITER = """
import asyncio, os, signal, sys
from miner.ledger.recorder import Recorder
from miner.ledger.rows import BlockRow
from miner.ledger.store import Store

async def write(recorder, name, count):
    for number in range(count):
        block = f"{name}{number}"
        await recorder.add_block(BlockRow(block, number, "", 0.0, "cpu", "1", "solo", 50, 1.0, "51", bytes(500)))
        print(block, flush=True)

async def main():
    async with Recorder(Store.open(sys.argv[1])) as recorder:
        print("open", flush=True)
        await asyncio.gather(*(write(recorder, name, int(sys.argv[2])) for name in "abcdefgh"))
        os.kill(os.getpid(), signal.SIGKILL)

asyncio.run(main())
"""


@pytest.fixture
async def recorder(store: Store) -> AsyncIterator[Recorder]:
    async with Recorder(store, capacity=2) as opened:
        yield opened


def impatient(url: str) -> Store:
    """A ledger that is there already, and whose writes wait for nobody."""
    Store.open(url).close()
    return Store.open(url, busy_timeout_s=0.02)


@contextmanager
def stuck(store: Store) -> Iterator[None]:
    """While this lasts no write of the store gets anywhere."""
    with store._lock:
        yield


async def test_an_awaited_block_is_there_for_everyone(recorder: Recorder, url: str, block: MakeBlock) -> None:
    await recorder.add_block(block())
    with Reader.open(url) as reader:
        assert reader.unsettled_blocks() == [block()]


@pytest.mark.parametrize("count", [1, 20])
def test_blocks_are_on_disk_when_awaited_and_the_process_is_killed(url: str, count: int) -> None:
    child = subprocess.run(
        [sys.executable, "-c", WRITER, url, str(count)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert child.returncode == -signal.SIGKILL
    with Store.open(url) as store:
        assert {row.hash for row in store.unsettled_blocks()} == set(child.stdout.split()) - {"open"}
        assert len(store.unsettled_blocks()) == 8 * count


def test_no_awaited_block_is_lost_when_the_process_is_killed_at_random_moments(url: str) -> None:
    dice = random.Random(4)
    for _ in range(5):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, url, "100000"], stdout=subprocess.PIPE, text=True
        ) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n"
            time.sleep(dice.uniform(0, 0.2))
            os.kill(child.pid, signal.SIGKILL)
            told = [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        with Store.open(url) as store:
            assert {line.strip() for line in told} <= {row.hash for row in store.unsettled_blocks()}


async def test_what_waits_together_shares_a_commit(
    store: Store, block: MakeBlock, monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[int] = []
    commit = store.commit

    def counted(group: Sequence[Write]) -> None:
        commits.append(len(group))
        commit(group)

    monkeypatch.setattr(store, "commit", counted)
    async with Recorder(store) as recorder:
        with stuck(store):
            writes = [asyncio.create_task(recorder.add_block(block(number))) for number in range(50)]
            await asyncio.sleep(0.05)
        await asyncio.gather(*writes)
    assert len(commits) <= 2  # the first may have left alone, before the others came
    assert sum(commits) == 50


async def test_writes_are_made_in_the_order_of_the_calls(recorder: Recorder, block: MakeBlock) -> None:
    await asyncio.gather(
        recorder.add_block(block()),
        recorder.set_block_status(block().hash, "submitted", submitted_at=9.0),
        recorder.set_block_status(block().hash, "accepted", confirmations=1),
    )
    (row,) = await recorder.blocks()
    assert (row.status, row.submitted_at, row.confirmations) == ("accepted", 9.0, 1)


async def test_a_bad_write_fails_alone(store: Store, block: MakeBlock) -> None:
    async with Recorder(store) as recorder:
        with stuck(store):
            good = [asyncio.create_task(recorder.add_block(block(number))) for number in range(3)]
            bad = asyncio.create_task(recorder.set_block_status("ff", "accepted"))
            worse = asyncio.create_task(recorder.add_outcomes([OutcomeRow("none", 1.0, "applied")]))
            await asyncio.sleep(0.05)
        await asyncio.gather(*good)
        with pytest.raises(UnknownBlockError):
            await bad
        with pytest.raises(LedgerError, match=r"(?i)foreign key"):
            await worse
        assert len(await recorder.blocks()) == 3


async def test_any_error_of_a_write_reaches_its_caller(recorder: Recorder, block: MakeBlock) -> None:
    await recorder.add_block(block())
    with pytest.raises(ValueError, match="no-such"):
        await recorder.set_block_status(block().hash, "no-such")
    await recorder.set_block_status(block().hash, "accepted")


async def test_ticks_are_dropped_and_counted_when_the_queue_is_full(
    store: Store, recorder: Recorder, tick: MakeTick, caplog: pytest.LogCaptureFixture
) -> None:
    with stuck(store):
        for number in range(5):
            await recorder.add_ticks([tick(number), tick(number, series="other")])
    assert recorder.ticks_dropped == 6
    assert caplog.messages == ["ticks_dropped"] * 3
    await recorder.aclose()
    assert store.latest_ticks()["btc_usd"] == tick(1)


async def test_blocks_go_in_when_the_queue_is_full_and_decisions_wait_for_room(
    store: Store, recorder: Recorder, block: MakeBlock, decision: MakeDecision, tick: MakeTick
) -> None:
    with stuck(store):
        for number in range(2):
            await recorder.add_ticks([tick(number)])
        decided = asyncio.create_task(recorder.add_decisions([decision()]))
        found = asyncio.create_task(recorder.add_block(block()))
        await asyncio.sleep(0.05)
        assert recorder._room.locked()
        assert not decided.done()
        assert not found.done()
    await asyncio.gather(decided, found)
    assert (len(await recorder.decisions()), len(await recorder.blocks())) == (1, 1)
    assert recorder.ticks_dropped == 0


async def test_a_block_is_written_even_if_its_caller_is_cancelled(
    store: Store, recorder: Recorder, block: MakeBlock
) -> None:
    with stuck(store):
        found = asyncio.create_task(recorder.add_block(block()))
        await asyncio.sleep(0.01)
        found.cancel()
        await asyncio.wait([found])
    await recorder.aclose()
    assert [row.hash for row in store.blocks()] == [block().hash]


async def test_a_block_waits_for_a_database_that_another_process_holds(
    url: str, held: Held, block: MakeBlock, decision: MakeDecision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.05)
    with impatient(url) as store:
        async with Recorder(store, block_wait_s=0.3) as recorder:
            with held():
                with pytest.raises(LedgerUnavailableError, match="it stays queued"):
                    await recorder.add_block(block(1))
                with pytest.raises(LedgerUnavailableError, match=r"database is locked|statement timeout"):
                    await recorder.add_decisions([decision()])
                with pytest.raises(LedgerUnavailableError, match="it stays queued"):
                    await recorder.set_block_status(block(1).hash, "accepted")
            await recorder.add_block(block(2))
            assert {row.height: row.status for row in await recorder.blocks()} == {1: "accepted", 2: "found"}


async def test_a_block_that_never_reached_the_disk_is_told_at_the_end(
    url: str, held: Held, block: MakeBlock, caplog: pytest.LogCaptureFixture
) -> None:
    with impatient(url) as store, held():
        recorder = Recorder(store)
        found = asyncio.create_task(recorder.add_block(block()))
        await asyncio.sleep(0.05)
        await recorder.aclose()
        with pytest.raises(LedgerUnavailableError, match="closed before it took this write"):
            await found
    assert [record.message for record in caplog.records if record.levelno == logging.CRITICAL] == [
        "block_not_recorded"
    ]


async def test_closing_writes_what_is_queued_and_refuses_what_comes_later(
    store: Store, block: MakeBlock, decision: MakeDecision, tick: MakeTick
) -> None:
    recorder = Recorder(store)
    await recorder.add_ticks([tick()])
    found = asyncio.create_task(recorder.add_block(block()))
    await asyncio.sleep(0)
    await recorder.aclose()
    await found
    assert (len(store.blocks()), len(store.latest_ticks())) == (1, 1)
    for late in (
        recorder.add_block(block(2)),
        recorder.add_decisions([decision()]),
        recorder.add_ticks([tick(2)]),
    ):
        with pytest.raises(LedgerError, match="the ledger is closed"):
            await late
    await recorder.aclose()


async def test_reading_waits_for_no_write(store: Store, recorder: Recorder, block: MakeBlock) -> None:
    await recorder.add_block(block(1))
    with stuck(store):
        found = asyncio.create_task(recorder.add_block(block(2)))
        assert [row.height for row in await asyncio.wait_for(recorder.blocks(), 5)] == [1]
    await found


async def test_ticks_that_could_not_be_written_are_counted(
    store: Store, tick: MakeTick, caplog: pytest.LogCaptureFixture
) -> None:
    told: list[int] = []
    async with Recorder(store, on_ticks_dropped=told.append) as recorder:
        await recorder.add_ticks([replace(tick(), value=float("nan"))])
        await recorder.prune_raw(0)
    assert (recorder.ticks_dropped, told) == (1, [1])
    assert caplog.messages == ["ticks_dropped"]


async def test_everything_written_can_be_read_from_the_loop(
    recorder: Recorder, block: MakeBlock, decision: MakeDecision, tick: MakeTick
) -> None:
    await recorder.add_block(block(status="orphaned"))
    await recorder.add_decisions([decision()])
    outcome = OutcomeRow(decision().id, 2.0, "confirmed", mode_read="off")
    await recorder.add_outcomes([outcome])
    await recorder.add_ticks([tick()])
    assert await recorder.unsettled_blocks() == [block(status="orphaned")]
    await recorder.prune_raw(1)
    assert await recorder.unsettled_blocks() == []
    assert await recorder.block_counts() == {"orphaned": 1}
    assert await recorder.decisions(1, unit="cpu", since=0.0) == [decision()]
    assert await recorder.last_decisions() == {"cpu": decision()}
    assert await recorder.outcomes([decision().id]) == {decision().id: [outcome]}
    assert await recorder.latest_ticks(now=2e9) == {"btc_usd": tick()}


async def test_shares_are_on_the_disk_when_their_future_is_done(
    recorder: Recorder, url: str, shares: Callable[..., bytes]
) -> None:
    records = shares(1.0, 2.0)
    await recorder.add_shares(records)
    assert recorder.shares_waiting == 0
    with Reader.open(url) as reader:
        assert list(reader.share_records(0.0)) == [records]


async def test_what_is_said_of_shares_reaches_the_disk_in_the_order_of_the_calls(
    store: Store, shares: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    commits: list[list[str]] = []
    commit = store.commit

    def noted(group: Sequence[Write]) -> None:
        commits.append([write.func.__name__ for write in group])
        commit(group)

    monkeypatch.setattr(store, "commit", noted)
    async with Recorder(store) as recorder:
        with stuck(store):
            written = [
                recorder.add_units([UnitRow(1, "rack.1", 0.0)]),
                recorder.add_tips([TipRow(1, "ab" * 32, 5, 0.0)]),
                recorder.add_shares(shares(1.0)),
                recorder.add_share_minutes([ShareMinuteRow(1, 0, 1, 2.0, 4.0, 9.0)]),
                recorder.add_shares(shares(61.0)),
            ]
            assert recorder.shares_waiting == 2
        await asyncio.gather(*written)
        order = [name for group in commits for name in group]
        assert order == ["add_units", "add_tips", "add_shares", "add_share_minutes", "add_shares"]
        assert len(commits) <= 2
        assert [row.unit for row in await recorder.shares()] == ["rack.1", "rack.1"]
        assert await recorder.units() == [UnitRow(1, "rack.1", 0.0)]
        assert [row.difficulty for row in await recorder.best_shares()] == [9.0]
        assert [row.accepted for row in await recorder.share_minutes(unit="rack.1")] == [1]
    # The second batch is in no sum, and only it.
    assert store.roll_up() == 1


async def test_no_more_shares_are_taken_than_may_wait(store: Store, shares: Callable[..., bytes]) -> None:
    async with Recorder(store, share_capacity=128) as recorder:
        with stuck(store):
            first = recorder.add_shares(shares(1.0))
            assert not recorder.shares_full
            second = recorder.add_shares(shares(2.0, 3.0, 4.0))  # as large as it is, there was room
            assert (recorder.shares_full, recorder.shares_waiting) == (True, 4)
            with pytest.raises(LedgerFullError, match="4 shares wait for the ledger"):
                recorder.add_shares(shares(5.0))
        await asyncio.gather(first, second)
        assert (recorder.shares_full, recorder.shares_waiting) == (False, 0)
        await recorder.add_shares(shares(6.0))
    assert [row.at for row in store.shares()] == [6.0, 4.0, 3.0, 2.0, 1.0]


async def test_shares_stay_queued_whoever_gave_up_waiting_for_them(
    store: Store, recorder: Recorder, shares: Callable[..., bytes]
) -> None:
    with stuck(store):
        recorder.add_shares(shares(1.0)).cancel()
        await asyncio.sleep(0)
        assert recorder.shares_waiting == 1
    await recorder.aclose()
    await asyncio.sleep(0)
    assert recorder.shares_waiting == 0
    assert len(store.shares()) == 1


async def test_shares_wait_for_a_database_that_another_process_holds(
    url: str, held: Held, shares: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.02)
    with impatient(url) as store:
        async with Recorder(store) as recorder:
            with held():
                first = recorder.add_shares(shares(1.0))
                sums = recorder.add_share_minutes([ShareMinuteRow(1, 0, 1, 2.0, 4.0, 9.0)])
                await asyncio.sleep(0.2)
                second = recorder.add_shares(shares(2.0))
                assert not any(future.done() for future in (first, sums, second))
            await asyncio.gather(first, sums, second)
            assert [row.at for row in await recorder.shares()] == [2.0, 1.0]
        assert store.roll_up() == 1


@pytest.mark.usefixtures("postgres")  # skips it where there is none
async def test_no_share_is_lost_or_doubled_when_the_server_is_killed_again_and_again(
    shares: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.02)
    dice = random.Random(8)
    with Postgres() as server, Store.open(server.new_database()) as store:
        async with Recorder(store) as recorder:
            handed_in, counted, futures = 0, 0, []
            for _ in range(4):
                killing = asyncio.create_task(asyncio.to_thread(server.kill))
                for _ in range(dice.randrange(5, 25)):
                    futures.append(recorder.add_shares(shares(float(handed_in), float(handed_in + 1))))
                    handed_in += 2
                    if dice.random() < 0.3:
                        row = ShareMinuteRow(1, 0, handed_in - counted, 0.0, 0.0, 0.0)
                        futures.append(recorder.add_share_minutes([row]))
                        counted = handed_in
                    await asyncio.sleep(dice.uniform(0, 0.01))
                await killing
                await asyncio.to_thread(server.start)
            await asyncio.gather(*futures)
        assert sorted(row.at for row in store.shares(100_000)) == [float(at) for at in range(handed_in)]
        assert store.roll_up() == handed_in - counted
        assert sum(row.accepted for row in store.share_minutes()) == handed_in


async def test_sums_are_held_back_behind_shares_that_could_not_be_written(
    url: str, store: Store, shares: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    sums = [ShareMinuteRow(1, 0, 1, 2.0, 4.0, 9.0)]
    async with Recorder(store) as recorder:
        await recorder.add_shares(shares(1.0))
        with Store.open(url) as other:  # which must not be: a batch of it has the next id
            other.add_shares(shares(5.0))
        with stuck(store):
            lost = recorder.add_shares(shares(2.0))
            behind = [recorder.add_share_minutes(sums), recorder.add_share_minutes(sums)]
            later = recorder.add_shares(shares(3.0))
        with pytest.raises(LedgerError, match="written by another process"):
            await lost
        for held in behind:
            with pytest.raises(HeldBackError):
                await held
        await later
        assert store.share_minutes() == []
        # Now that it is known, sums may be handed in again; and none was lost, so none is told of.
        await recorder.add_share_minutes(sums)
        assert [row.accepted for row in store.share_minutes()] == [1]
        assert caplog.messages == []


async def test_shares_that_never_reached_the_disk_are_told_at_the_end(
    url: str, held: Held, shares: Callable[..., bytes], caplog: pytest.LogCaptureFixture
) -> None:
    with impatient(url) as store, held():
        recorder = Recorder(store)
        written = recorder.add_shares(shares(1.0))
        recorder.add_units([UnitRow(1, "rack.1", 0.0)])
        await asyncio.sleep(0.05)
        await recorder.aclose()
        with pytest.raises(LedgerUnavailableError, match="closed before it took this write"):
            await written
    lost = [record.message for record in caplog.records if record.levelno == logging.CRITICAL]
    assert lost == ["shares_not_recorded", "units_not_recorded"]


async def test_a_write_nobody_waits_for_is_logged_when_it_fails_for_good(
    recorder: Recorder, caplog: pytest.LogCaptureFixture
) -> None:
    bad: Any = [UnitRow(1, None, 0.0)]  # type: ignore[arg-type] # what no caller should do
    with pytest.raises(LedgerError):
        await recorder.add_units(bad)
    assert caplog.messages == ["units_not_recorded"]


async def test_bytes_that_are_no_shares_are_refused_at_once(recorder: Recorder) -> None:
    with pytest.raises(ValueError, match="no whole number of records"):
        recorder.add_shares(b"x")
    assert recorder.shares_waiting == 0


async def test_a_closed_ledger_takes_no_shares(recorder: Recorder, shares: Callable[..., bytes]) -> None:
    await recorder.aclose()
    with pytest.raises(LedgerError, match="the ledger is closed"):
        recorder.add_shares(shares(1.0))
    assert recorder.shares_waiting == 0


async def test_other_writes_get_their_turn_while_much_is_forgotten(
    store: Store, shares: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "PRUNE_BATCHES", 2)
    monkeypatch.setattr(writes, "PRUNE_MINUTES", 2)
    for number in range(10):
        store.add_shares(shares(60.0 * number))
    store.roll_up()
    async with Recorder(store) as recorder:
        await recorder.prune_shares(450.0)
        await recorder.prune_history(450.0)
        assert [row.at for row in await recorder.shares()] == [540.0, 480.0]
        assert [row.minute_at for row in await recorder.share_minutes()] == [480, 540]
