import asyncio
from collections.abc import Iterator

import pytest

from miner.ledger.rows import LedgerError
from miner.stratum import commits
from miner.stratum.commits import RECORD_SIZE, STALLED, ShareCommitter
from tests.miner.stratum.server_harness import FakeLedger, until


class Buffer:
    """Records that are only counted."""

    def __init__(self) -> None:
        self.records = 0

    def take(self) -> bytes:
        taken, self.records = bytes(self.records * RECORD_SIZE), 0
        return taken

    def __len__(self) -> int:
        return self.records


class Waiter:
    """A connection that writes down what was done to it."""

    def __init__(self) -> None:
        self.pending = 0
        self.written: list[bytes] = []
        self.dropped = ""
        self.reads = True

    def release(self, data: bytes) -> None:
        self.pending -= 1
        self.written.append(data)

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def drop(self, reason: str) -> None:
        self.dropped = reason


class Office:
    """A committer with its ledger and buffer."""

    def __init__(self, *, most_waiting: int = 100_000) -> None:
        self.ledger = FakeLedger()
        self.buffer = Buffer()
        self.alerts: list[tuple[str, str]] = []
        self.given_way = False
        self.committer = ShareCommitter(
            self.buffer,
            self.ledger.write,
            on_alert=lambda name, message: self.alerts.append((name, message)),
            give_way=lambda: self.given_way,
            pace_s=0.001,
            stall_s=0.0,  # stalled as soon as anybody looks
            most_waiting=most_waiting,
        )

    def share(self, waiter: Waiter, data: bytes, count: int = 1) -> None:
        self.buffer.records += count
        self.committer.hold(waiter, data, count)


@pytest.fixture
def patient(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What was refused is offered again at once."""
    monkeypatch.setattr(commits, "RETRY_S", 0.001)
    return None


async def test_an_answer_is_written_when_its_share_is_durable_and_not_before() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"yes")
    await until(lambda: office.ledger.held)
    assert (waiter.written, waiter.pending) == ([], 1)
    office.ledger.release()
    await until(lambda: waiter.written)
    assert (waiter.written, waiter.pending) == ([b"yes"], 0)


async def test_what_must_be_held_without_a_share_waits_for_a_commit_without_records() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.holding = True
    office.committer.hold(waiter, b"block", 0, holds=True)
    await until(lambda: office.ledger.held)
    assert (office.ledger.held[0][0], waiter.written) == (b"", [])
    office.ledger.release()
    await until(lambda: waiter.written)
    assert waiter.written == [b"block"]
    office.committer.hold(waiter, b"words", 0)
    await until(lambda: len(waiter.written) == 2)
    assert len(office.ledger.durable) == 1


async def test_what_must_be_held_goes_with_the_shares_there_are() -> None:
    office, waiter, other = Office(), Waiter(), Waiter()
    office.ledger.holding = True
    office.committer.hold(waiter, b"block", 0, holds=True)
    office.share(other, b"yes")
    await until(lambda: office.ledger.held)
    assert [len(records) for records, _ in office.ledger.held] == [RECORD_SIZE]
    assert waiter.written == other.written == []
    office.ledger.release()
    await until(lambda: waiter.written and other.written)


@pytest.mark.usefixtures("patient")
async def test_a_ledger_that_refuses_what_must_be_held_answers_nobody() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.refuses = LedgerError("full")
    office.committer.hold(waiter, b"block", 0, holds=True)
    await until(lambda: waiter.dropped)
    assert (waiter.dropped, waiter.written) == (STALLED, [])


async def test_what_comes_within_one_commit_is_written_at_once_and_in_order() -> None:
    office, waiter = Office(), Waiter()
    for data in (b"1", b"2", b"3"):
        office.share(waiter, data)
    await until(lambda: waiter.written)
    assert waiter.written == [b"123"]
    assert len(office.ledger.durable) == 1


async def test_what_comes_during_a_commit_waits_for_the_next() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    office.share(waiter, b"2")
    (_, first), *_ = office.ledger.held
    first.set_result(None)
    await until(lambda: waiter.written)
    assert waiter.written == [b"1"]
    await until(lambda: len(office.ledger.held) == 2)
    office.ledger.held[1][1].set_result(None)
    await until(lambda: len(waiter.written) == 2)
    assert waiter.written == [b"1", b"2"]


async def test_words_without_a_share_go_out_right_behind_the_answers_before_them_and_need_no_commit() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    office.committer.hold(waiter, b"2", 0)
    office.ledger.held[0][1].set_result(None)
    await until(lambda: waiter.written)
    assert waiter.written == [b"12"]
    assert (waiter.pending, len(office.ledger.held)) == (0, 1)


async def test_words_without_a_share_wait_for_the_next_commit_if_an_answer_before_them_does() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    office.share(waiter, b"2")
    office.committer.hold(waiter, b"3", 0)
    office.ledger.held[0][1].set_result(None)
    await until(lambda: len(office.ledger.held) == 2)
    assert waiter.written == [b"1"]
    office.ledger.held[1][1].set_result(None)
    await until(lambda: len(waiter.written) == 2)
    assert waiter.written == [b"1", b"23"]


async def test_the_loop_gets_its_turn_between_slices_of_many_answers(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(commits, "SLICE", 2)
    office, waiters = Office(), [Waiter() for _ in range(5)]
    office.ledger.holding = True
    for waiter in waiters:
        office.share(waiter, b"yes")
    await until(lambda: office.ledger.held)
    office.ledger.release()
    progress = []
    while not waiters[-1].written:
        progress.append(sum(len(waiter.written) for waiter in waiters))
        await asyncio.sleep(0)
    assert {2, 4} <= set(progress)


async def test_no_answer_is_written_while_a_notify_is() -> None:
    office, waiter = Office(), Waiter()
    office.given_way = True
    office.share(waiter, b"yes")
    await until(lambda: office.ledger.durable)
    for _ in range(10):
        await asyncio.sleep(0)
    assert waiter.written == []
    office.given_way = False
    await until(lambda: waiter.written)


async def test_a_ledger_that_hangs_gets_those_who_wait_closed_without_an_answer() -> None:
    office, waiter, later = Office(), Waiter(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    office.share(later, b"2")
    office.committer.check()
    assert (waiter.dropped, later.dropped) == (STALLED, STALLED)
    assert (waiter.written, later.written) == ([], [])
    assert office.committer.refusal
    [(name, message)] = office.alerts
    assert name == STALLED
    assert "miners are sent away" in message


async def test_who_hands_in_a_share_while_the_ledger_hangs_is_closed_at_once() -> None:
    office, waiter, next_one = Office(), Waiter(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    office.committer.check()
    office.share(next_one, b"2")
    assert next_one.dropped == STALLED


async def test_a_ledger_that_works_again_ends_the_alert_and_keeps_what_was_handed_in_meanwhile() -> None:
    office, waiter, meanwhile, after = Office(), Waiter(), Waiter(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    office.committer.check()
    office.share(meanwhile, b"2")
    office.ledger.release()
    await until(lambda: not office.committer.refusal)
    assert office.alerts[-1] == (STALLED, "")
    office.share(after, b"3")
    await until(lambda: after.written)
    assert office.ledger.shares == 3
    assert (waiter.written, meanwhile.written) == ([], [])


@pytest.mark.usefixtures("patient")
@pytest.mark.parametrize("error", [LedgerError("the ledger is closed"), RuntimeError("broken")])
async def test_a_commit_that_fails_is_never_acknowledged_and_its_records_are_offered_again(
    error: Exception,
) -> None:
    office, waiter, after = Office(), Waiter(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    _, failing = office.ledger.held.pop()
    failing.set_exception(error)
    await until(lambda: office.ledger.held)  # again
    assert waiter.dropped == STALLED
    office.ledger.release()
    await until(lambda: not office.committer.refusal)
    office.share(after, b"2")
    await until(lambda: after.written)
    assert office.ledger.shares == 2
    assert waiter.written == []


@pytest.mark.usefixtures("patient")
async def test_a_ledger_that_takes_nothing_is_asked_again_until_it_does() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.refuses = LedgerError("the ledger is closed")
    office.share(waiter, b"1")
    await until(lambda: waiter.dropped)
    office.ledger.refuses = None
    await until(lambda: office.ledger.shares == 1)
    assert waiter.written == []
    assert await office.committer.drain(5.0)


async def test_a_commit_that_was_cancelled_is_no_commit() -> None:
    office, waiter = Office(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    await until(lambda: office.ledger.held)
    office.ledger.held[0][1].cancel()
    await until(lambda: waiter.dropped)
    assert waiter.written == []


async def test_an_answer_without_a_record_does_not_go_out(caplog: pytest.LogCaptureFixture) -> None:
    office, waiter = Office(), Waiter()
    office.committer.hold(waiter, b"yes", 1)
    await until(lambda: waiter.dropped)
    assert waiter.written == []
    assert [record.message for record in caplog.records] == ["shares_unrecorded"]


async def test_records_that_nobody_waits_for_are_committed_too() -> None:
    office = Office()
    office.buffer.records = 3
    office.committer.check()
    await until(lambda: office.ledger.shares == 3)


async def test_when_too_many_shares_wait_their_senders_are_read_no_further_until_the_next_commit() -> None:
    office, waiter = Office(most_waiting=2), Waiter()
    office.ledger.holding = True
    office.share(Waiter(), b"")
    await until(lambda: office.ledger.held)
    office.share(waiter, b"1")
    assert waiter.reads
    office.share(waiter, b"2")
    assert not waiter.reads
    office.ledger.release()
    await until(lambda: waiter.reads)


async def test_one_whose_refusals_pile_up_behind_a_share_is_read_no_further_until_the_next_commit() -> None:
    office, waiter, modest = Office(), Waiter(), Waiter()
    office.ledger.holding = True
    office.share(Waiter(), b"")
    await until(lambda: office.ledger.held)
    office.share(modest, b"1")
    office.share(waiter, b"1")
    office.committer.hold(waiter, bytes(commits.MOST_HELD - 1), 0)
    assert waiter.reads
    office.committer.hold(waiter, b"2", 0)
    assert (waiter.reads, modest.reads) == (False, True)
    office.ledger.release()
    await until(lambda: waiter.reads)


async def test_drain_waits_until_the_last_answer_is_written() -> None:
    office, waiter = Office(), Waiter()
    office.share(waiter, b"1")
    assert await office.committer.drain(5.0)
    assert waiter.written == [b"1"]


async def test_drain_ends_when_the_ledger_does_not(caplog: pytest.LogCaptureFixture) -> None:
    office, waiter = Office(), Waiter()
    office.ledger.holding = True
    office.share(waiter, b"1")
    assert not await office.committer.drain(0.01)
    assert waiter.written == []
    assert [record.message for record in caplog.records] == ["shares_undurable"]
