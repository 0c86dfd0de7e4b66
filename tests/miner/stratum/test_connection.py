"""A connection without a socket: what it writes at once, what waits, and what must not overtake what."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from miner.stratum import connection as connection_module
from miner.stratum.broadcast import Broadcast
from miner.stratum.commits import ShareCommitter
from miner.stratum.connection import MOST_AWAITED, WRITE_LIMIT, Connection
from miner.stratum.house import Closing, LoginWanted, Output, Refused
from miner.stratum.v1 import Notice
from miner.work.extranonce import ExtranonceExhaustedError
from miner.work.layout import Layout
from miner.work.share import Pending, Reason, Rejected, Submission
from tests.miner.harness import NOW, Clock, job
from tests.miner.stratum.server_harness import RULES, FakeLedger, until
from tests.miner.stratum.test_commits import Buffer


class Wire:
    """A transport that keeps what is written."""

    def __init__(self) -> None:
        self.written: list[bytes] = []
        self.high = 0
        self.reads = True
        self.closed = ""
        self.unsent = 0

    def get_write_buffer_size(self) -> int:
        return self.unsent

    def set_write_buffer_limits(self, high: int) -> None:
        self.high = high

    def write(self, data: bytes) -> None:
        assert not self.closed
        self.written.append(data)

    def pause_reading(self) -> None:
        self.reads = False

    def resume_reading(self) -> None:
        self.reads = True

    def is_closing(self) -> bool:
        return bool(self.closed)

    def close(self) -> None:
        self.closed = self.closed or "closed"

    def abort(self) -> None:
        self.closed = "aborted"


class Session:
    """Says what the test has it say."""

    def __init__(self, *_: Any) -> None:
        self.says: list[Output | Exception] = []
        self.ended = False
        self.is_mining = self.wants_extranonce = True
        self.awaited: set[int] = set()
        self.settled: list[Any] = []

    def take(self, _data: bytes, _now: float) -> int:
        """Plain shares, or more than that: whatever the next output is."""
        said = self.says[0]
        if isinstance(said, Exception) or said.close or said.login or said.holds or b'"method"' in said.data:
            return -1
        self.answers = self.receive(b"", _now).data
        return said.credited

    def go_on(self, now: float) -> Output:
        return self.receive(b"", now)

    def receive(self, _data: bytes, _now: float) -> Output:
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def tick(self, now: float, _uptime: float) -> Output:
        return self.receive(b"", now)

    def login_settled(self, outcome: Any, now: float) -> Output:
        self.settled.append(outcome)
        return self.receive(b"", now)

    def offer(self, notice: Notice, now: float) -> bytes:
        if self.says:
            self.receive(b"", now)
        return b"job %x" % (notice.serial or 0)

    def answered(self, token: int, error: tuple[int, str] | None) -> bytes:
        self.awaited.discard(token)
        return b"%d %s" % (token, b"good" if error is None else error[1].encode())

    def change_extranonce(self, place: str, _now: float, notice: Notice) -> bytes:
        if self.says:
            self.receive(b"", NOW)
        return b"%s with job %x" % (place.encode(), notice.serial)

    def reconnect(self) -> bytes:
        return b"come back"

    def farewell(self, message: str) -> bytes:
        return message.encode()

    def resumable(self) -> None:
        return None

    def end(self, _now: float) -> None:
        self.ended = True


class Table:
    """A connection at its server, and the ledger its shares wait for."""

    def __init__(self) -> None:
        self.ledger, self.buffer, self.wire = FakeLedger(), Buffer(), Wire()
        self.ledger.holding = True
        self.looked_up: list[LoginWanted] = []
        self.left: list[str] = []
        self.verdict: Any = None
        self.waiting: list[Any] = []
        self.is_full = False
        committer = ShareCommitter(self.buffer, self.ledger.write, on_alert=lambda *_: None, stall_s=0.0)
        self.broadcast = Broadcast(
            lambda: [self.connection], clock=Clock(), on_tip_served=lambda _seconds: None
        )
        hub: Any = SimpleNamespace(
            clock=Clock(),
            uptime=Clock(),
            committer=committer,
            layout=Layout(2, 3),
            take=lambda *_: self.verdict,
            wait=lambda token, guest: self.waiting.append((token, guest)),
            move=lambda _guest: self.move(),
            look_up=lambda _guest, wanted: self.looked_up.append(wanted),
            entered=lambda _guest: None,
            left=lambda _guest, reason: self.left.append(reason),
        )
        self.committer = committer
        self.connection = Connection(hub, RULES, "192.0.2.1", "192.0.2.1")
        self.connection.lane = self.broadcast
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]  # as much of a transport as is used

    def move(self) -> str:
        if self.is_full:
            raise ExtranonceExhaustedError
        return "new place"

    @property
    def session(self) -> Session:
        return self.connection.session  # type: ignore[return-value]  # patched in

    def hear(self, *says: Output | Exception) -> None:
        """The miner says something, upon which its session says this; each in turn."""
        for said in says:
            if isinstance(said, Output):
                self.buffer.records += said.credited
            self.session.says.append(said)
            self.connection.data_received(b"...")


@pytest.fixture
def table(monkeypatch: pytest.MonkeyPatch) -> Callable[[], Table]:
    monkeypatch.setattr(connection_module, "ServerSession", Session)
    return Table


async def test_what_acknowledges_no_share_is_written_at_once(table: Callable[[], Table]) -> None:
    at = table()
    at.hear(Output(b"1"), Output(b""), Output(b"2"))
    assert at.wire.written == [b"1", b"2"]


async def test_what_acknowledges_a_share_waits_and_all_that_follows_waits_behind_it(
    table: Callable[[], Table],
) -> None:
    at = table()
    at.hear(Output(b"1", 1), Output(b"2"), Output(b"3", 1))
    assert at.wire.written == []
    await until(lambda: at.ledger.held)
    at.hear(Output(b"4"))
    at.ledger.release()
    await until(lambda: b"".join(at.wire.written) == b"1234")
    at.hear(Output(b"5"))
    assert at.wire.written[-1] == b"5"


async def test_a_job_overtakes_answers(table: Callable[[], Table]) -> None:
    at = table()
    at.hear(Output(b"yes", 1))
    at.broadcast.serve(Notice(job("1"), clean=False))
    at.ledger.holding = False
    await until(lambda: len(at.wire.written) == 2)
    assert at.wire.written == [b"job 1", b"yes"]


async def test_a_job_does_not_overtake_an_older_one_or_a_difficulty_that_waits_with_answers(
    table: Callable[[], Table],
) -> None:
    at = table()
    older = b'yes\n{"id":null,"method":"mining.set_difficulty","params":[2]}\n'
    at.hear(Output(older, 1))
    at.broadcast.serve(Notice(job("1"), clean=False))
    assert at.wire.written == []
    await until(lambda: at.ledger.held)
    at.ledger.release()
    await until(lambda: len(at.wire.written) == 2)
    assert at.wire.written == [older, b"job 1"]
    at.broadcast.serve(Notice(job("2"), clean=False))
    assert at.wire.written[-1] == b"job 2"


async def test_a_job_waits_for_the_difficulty_before_it_and_for_no_later_answer(
    table: Callable[[], Table],
) -> None:
    at = table()
    difficulty = b'yes\n{"id":null,"method":"mining.set_difficulty","params":[2]}\n'
    at.hear(Output(b"1", 1))
    await until(lambda: at.ledger.held)
    at.hear(Output(difficulty, 1))
    at.broadcast.serve(Notice(job("1"), clean=False))
    at.ledger.held[0][1].set_result(None)
    await until(lambda: len(at.ledger.held) == 2)
    assert at.wire.written == [b"1"]
    at.hear(Output(b"more", 1))  # a share comes during every commit
    at.ledger.held[1][1].set_result(None)
    await until(lambda: len(at.ledger.held) == 3)
    assert at.wire.written == [b"1", difficulty, b"job 1"]


async def test_a_connection_that_is_to_be_closed_is_so_after_its_last_words(
    table: Callable[[], Table],
) -> None:
    at = table()
    at.hear(Output(b"yes", 1), Output(b"goodbye", close=Closing.IDLE))
    assert (at.wire.closed, at.wire.reads) == ("", False)
    at.connection.data_received(b"more")  # read before reading stopped
    await until(lambda: at.ledger.held)
    at.ledger.release()
    await until(lambda: at.wire.closed)
    assert (b"".join(at.wire.written), at.wire.closed) == (b"yesgoodbye", "closed")
    at.connection.connection_lost(None)
    assert at.left == [Closing.IDLE]


async def test_with_nothing_pending_it_is_closed_at_once(table: Callable[[], Table]) -> None:
    at = table()
    at.hear(Output(b"goodbye", close=Closing.NOT_STRATUM))
    assert (at.wire.written, at.wire.closed) == ([b"goodbye"], "closed")
    assert at.connection.offer(Notice(job("1"), clean=False), NOW)
    at.connection.tick(NOW, NOW)
    at.connection.farewell("again", "gate")
    at.connection.settle(Refused(24, "late"))
    assert at.wire.written == [b"goodbye"]


async def test_one_that_does_not_read_is_cut_off(table: Callable[[], Table]) -> None:
    at = table()
    assert at.wire.high == WRITE_LIMIT
    at.connection.pause_writing()
    assert at.wire.closed == "aborted"
    at.connection.connection_lost(None)
    assert at.left == ["slow_reader"]


async def test_answers_for_one_that_has_gone_are_dropped(table: Callable[[], Table]) -> None:
    at = table()
    at.hear(Output(b"yes", 1))
    session = at.session
    at.connection.connection_lost(ConnectionResetError())
    assert session.ended
    assert at.left == ["lost"]
    await until(lambda: at.ledger.held)
    at.ledger.release()
    assert await at.committer.drain(5.0)
    assert at.wire.written == []
    for late in (at.connection.pause_reading, at.connection.resume_reading, at.connection.abort):
        late()
    at.connection.drop("too late")
    assert at.connection.ending == "lost"


@pytest.mark.parametrize("what", ["data", "tick", "offer", "login", "layout"])
async def test_a_session_that_breaks_costs_its_own_connection_and_no_more(
    what: str, table: Callable[[], Table], caplog: pytest.LogCaptureFixture
) -> None:
    at = table()
    at.session.says.append(ZeroDivisionError("a bug"))
    match what:
        case "data":
            at.connection.data_received(b"...")
        case "tick":
            at.connection.tick(NOW, NOW)
        case "offer":
            assert at.connection.offer(Notice(job("1"), clean=False), NOW)
        case "layout":
            assert at.connection.change_over(Notice(job("1"), clean=False), NOW)
        case "login":
            at.connection.settle(Refused(24, "no"))
    assert at.wire.closed == "aborted"
    assert [record.message for record in caplog.records] == ["session_failed"]


async def test_a_login_that_waits_is_looked_up_and_settled(table: Callable[[], Table]) -> None:
    at = table()
    wanted = LoginWanted("addr.1", "x")
    at.hear(Output(login=wanted))
    assert at.looked_up == [wanted]
    at.session.says.append(Output(b"no"))
    at.connection.settle(Refused(24, "no"))
    assert at.session.settled == [Refused(24, "no")]
    assert at.wire.written == [b"no"]


async def test_time_that_passes_may_make_a_session_speak(table: Callable[[], Table]) -> None:
    at = table()
    at.session.says += [Output(b"new difficulty"), Output()]
    at.connection.tick(NOW, NOW)
    at.connection.tick(NOW, NOW)
    assert at.wire.written == [b"new difficulty"]


async def test_farewell_words_come_after_answers_that_wait(table: Callable[[], Table]) -> None:
    at = table()
    at.hear(Output(b"yes", 1))
    at.connection.farewell("goodbye", "gate")
    await until(lambda: at.ledger.held)
    at.ledger.release()
    await until(lambda: at.wire.closed)
    assert b"".join(at.wire.written) == b"yesgoodbye"


# ---- The pool's word -----------------------------------------------------------------------------------------------

SUBMISSION = Submission("u", "1", b"", b"", 0, 0)


async def test_a_share_that_waits_is_told_of_and_others_are_not(table: Callable[[], Table]) -> None:
    at = table()
    at.verdict = Rejected(Reason.STALE)
    assert at.connection.take(SUBMISSION, 1) == at.verdict
    assert at.waiting == []
    at.verdict = Pending(7)
    assert at.connection.take(SUBMISSION, 1) == Pending(7)
    assert at.waiting == [(7, at.connection)]


async def test_the_pools_word_is_told_once_the_share_is_durable_and_later_lines_need_not_wait_for_it(
    table: Callable[[], Table],
) -> None:
    at = table()
    at.hear(Output(b"", 1, holds=True))
    await until(lambda: at.ledger.held)
    at.connection.answered(7, None)
    assert at.wire.written == []
    at.hear(Output(b"pong"))
    at.ledger.release()
    await until(lambda: b"".join(at.wire.written) == b"7 goodpong")
    at.hear(Output(b"", 1, holds=True))
    at.ledger.holding = False
    await until(lambda: not at.connection.pending)
    at.hear(Output(b"pong"))
    at.connection.answered(8, (23, "low"))
    assert b"".join(at.wire.written) == b"7 goodpongpong8 low"


async def test_what_is_held_for_a_row_alone_is_written_after_it(table: Callable[[], Table]) -> None:
    at = table()
    at.hear(Output(b"block", holds=True))
    await until(lambda: at.ledger.held)
    assert (at.wire.written, at.ledger.held[0][0]) == ([], b"")
    at.ledger.release()
    await until(lambda: at.wire.written)
    assert at.wire.written == [b"block"]


async def test_one_for_which_too_many_answers_wait_is_not_read_until_they_come(
    table: Callable[[], Table],
) -> None:
    at = table()
    at.session.awaited |= set(range(MOST_AWAITED))
    at.hear(Output(b"", 1, holds=True))
    assert at.wire.reads
    at.session.awaited.add(-1)
    at.hear(Output(b"", 1, holds=True))
    assert not at.wire.reads
    at.connection.answered(0, None)
    assert at.wire.reads


async def test_nobody_is_told_after_goodbye(table: Callable[[], Table]) -> None:
    at = table()
    at.connection.farewell("goodbye", "gate")
    at.connection.answered(7, None)
    assert at.wire.written == [b"goodbye"]


# ---- Another layout ------------------------------------------------------------------------------------------------


async def test_who_takes_another_extranonce_gets_it_with_the_job(table: Callable[[], Table]) -> None:
    at = table()
    assert at.connection.change_over(Notice(job("1"), clean=False), NOW)
    assert at.wire.written == [b"new place with job 1"]
    assert at.connection.layout == Layout(2, 3)


async def test_who_does_not_is_told_to_come_back_and_closed_when_all_is_written(
    table: Callable[[], Table],
) -> None:
    at = table()
    at.hear(Output(b"yes", 1))
    at.session.wants_extranonce = False
    assert at.connection.change_over(Notice(job("1"), clean=False), NOW)
    assert at.connection.change_over(Notice(job("1"), clean=False), NOW)
    assert at.wire.closed == ""
    await until(lambda: at.ledger.held)
    at.ledger.release()
    await until(lambda: at.wire.closed)
    assert b"".join(at.wire.written) == b"yescome back"
    assert at.connection.ending == Closing.LAYOUT


async def test_who_finds_no_room_is_sent_away(table: Callable[[], Table]) -> None:
    at = table()
    at.is_full = True
    assert at.connection.change_over(Notice(job("1"), clean=False), NOW)
    assert (at.wire.written, at.wire.closed) == ([b"No room for another session"], "closed")
    assert at.connection.ending == Closing.NO_EXTRANONCE


async def test_who_logs_in_or_must_hear_something_else_first_changes_over_later(
    table: Callable[[], Table],
) -> None:
    at = table()
    at.session.is_mining = False
    assert not at.connection.change_over(Notice(job("1"), clean=False), NOW)
    at.session.is_mining = True
    at.hear(Output(b'{"method":"mining.notify"}\n', 1))
    assert not at.connection.change_over(Notice(job("1"), clean=False), NOW)
    at.ledger.holding = False
    await until(lambda: not at.connection.pending)
    assert at.connection.change_over(Notice(job("1"), clean=False), NOW)


async def test_a_connection_leaves_no_circle_behind(table: Callable[[], Table]) -> None:
    at = table()
    at.connection.connection_lost(None)
    assert not hasattr(at.connection, "session")
    await asyncio.sleep(0)
