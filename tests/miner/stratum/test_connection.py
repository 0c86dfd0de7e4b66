"""A connection without a socket: what it writes at once, what waits, and what must not overtake what."""

import asyncio
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import pytest

from miner.stratum import connection as connection_module
from miner.stratum.broadcast import Broadcast
from miner.stratum.commits import ShareCommitter
from miner.stratum.connection import WRITE_LIMIT, Connection
from miner.stratum.house import Closing, LoginWanted, Output, Refused
from miner.stratum.v1 import Notice
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
        self.settled: list[Any] = []

    def receive(self, _data: bytes, _now: float) -> Output:
        said = self.says.pop(0)
        if isinstance(said, Exception):
            raise said
        return said

    def tick(self, now: float) -> Output:
        return self.receive(b"", now)

    def login_settled(self, outcome: Any, now: float) -> Output:
        self.settled.append(outcome)
        return self.receive(b"", now)

    def offer(self, notice: Notice, now: float) -> bytes:
        if self.says:
            self.receive(b"", now)
        return b"job %x" % (notice.serial or 0)

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
        committer = ShareCommitter(self.buffer, self.ledger.write, on_alert=lambda *_: None, stall_s=0.0)
        self.broadcast = Broadcast(
            lambda: [self.connection], clock=Clock(), on_tip_served=lambda _seconds: None
        )
        hub: Any = SimpleNamespace(
            clock=Clock(),
            committer=committer,
            broadcast=self.broadcast,
            look_up=lambda _guest, wanted: self.looked_up.append(wanted),
            entered=lambda _guest: None,
            left=lambda _guest, reason: self.left.append(reason),
        )
        self.committer = committer
        self.connection = Connection(hub, RULES, "192.0.2.1", "192.0.2.1")
        self.connection.connection_made(self.wire)  # type: ignore[arg-type]  # as much of a transport as is used

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
    at.connection.tick(NOW)
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


@pytest.mark.parametrize("what", ["data", "tick", "offer", "login"])
async def test_a_session_that_breaks_costs_its_own_connection_and_no_more(
    what: str, table: Callable[[], Table], caplog: pytest.LogCaptureFixture
) -> None:
    at = table()
    at.session.says.append(ZeroDivisionError("a bug"))
    match what:
        case "data":
            at.connection.data_received(b"...")
        case "tick":
            at.connection.tick(NOW)
        case "offer":
            assert at.connection.offer(Notice(job("1"), clean=False), NOW)
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
    at.connection.tick(NOW)
    at.connection.tick(NOW)
    assert at.wire.written == [b"new difficulty"]


async def test_farewell_words_come_after_answers_that_wait(table: Callable[[], Table]) -> None:
    at = table()
    at.hear(Output(b"yes", 1))
    at.connection.farewell("goodbye", "gate")
    await until(lambda: at.ledger.held)
    at.ledger.release()
    await until(lambda: at.wire.closed)
    assert b"".join(at.wire.written) == b"yesgoodbye"


async def test_a_connection_leaves_no_circle_behind(table: Callable[[], Table]) -> None:
    at = table()
    at.connection.connection_lost(None)
    assert not hasattr(at.connection, "session")
    await asyncio.sleep(0)
