"""Many answers at one call, over real sockets: whole, in part, in order, and to a peer that is gone."""

import socket
from collections.abc import AsyncIterator, Iterator

import pytest

from miner.stratum import connection
from miner.stratum.connection import release_all
from miner.stratum.house import Closing
from miner.stratum.sending import MOST, send
from tests.miner.stratum.test_connection import Session, Table

BIG = b"x" * (8 << 20)


@pytest.fixture
def pairs() -> Iterator[list[tuple[socket.socket, socket.socket]]]:
    made = [socket.socketpair() for _ in range(3)]
    for ours, _ in made:
        ours.setblocking(False)
    yield made
    for ours, theirs in made:
        ours.close()
        theirs.close()


Pairs = list[tuple[socket.socket, socket.socket]]


def test_each_socket_gets_its_own_piece(pairs: Pairs) -> None:
    assert send([ours.fileno() for ours, _ in pairs], [b"one", b"", b"three"]) == {}
    assert pairs[0][1].recv(100) == b"one"
    assert pairs[2][1].recv(100) == b"three"


def test_as_many_pieces_as_there_may_be_go_at_once(pairs: Pairs) -> None:
    pieces = [b"%d," % number for number in range(MOST)]
    assert send([pairs[0][0].fileno()] * MOST, pieces) == {}
    assert pairs[0][1].recv(1 << 16, socket.MSG_WAITALL | socket.MSG_DONTWAIT) == b"".join(pieces)


def test_nothing_to_send_is_nothing_sent() -> None:
    assert send([], []) == {}


def test_what_a_full_socket_does_not_take_is_given_back_and_nothing_follows_it(pairs: Pairs) -> None:
    full, other = pairs[0][0].fileno(), pairs[1][0].fileno()
    rest = send([full, other, full], [BIG, b"other", b"behind"])
    assert set(rest) == {0, 2}
    assert BIG.endswith(rest[0])
    assert 0 < len(rest[0]) < len(BIG)
    assert rest[2] == b"behind"
    assert pairs[1][1].recv(100) == b"other"


def test_a_peer_that_is_gone_or_a_number_that_is_no_socket_takes_nothing_and_the_others_theirs(
    pairs: Pairs,
) -> None:
    pairs[0][1].close()
    sockets = [pairs[0][0].fileno(), -1, pairs[1][0].fileno()]
    assert send(sockets, [b"gone", b"none", b"there"]) == {0: b"gone", 1: b"none"}
    assert pairs[1][1].recv(100) == b"there"


@pytest.fixture
async def plain(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[tuple[Table, socket.socket]]:
    """A connection whose answers may go to its socket as they are, and the miner's end of that."""
    monkeypatch.setattr(connection, "ServerSession", Session)
    at = Table()
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    theirs.setblocking(False)
    at.connection.socket = ours
    yield at, theirs
    ours.close()
    theirs.close()


Plain = tuple[Table, socket.socket]


async def test_answers_that_nothing_is_in_the_way_of_go_to_the_socket(plain: Plain) -> None:
    at, miner = plain
    at.connection.pending = 2
    release_all([(at.connection, b"1"), (at.connection, b"2")])
    assert (at.wire.written, miner.recv(100), at.connection.pending) == ([], b"12", 0)


async def test_answers_go_behind_what_the_loop_has_still_to_write(plain: Plain) -> None:
    at, miner = plain
    at.connection.pending, at.wire.unsent = 1, 7
    release_all([(at.connection, b"late")])
    assert (at.wire.written, at.connection.pending) == ([b"late"], 0)
    with pytest.raises(BlockingIOError):
        miner.recv(100)


async def test_the_loop_writes_what_the_socket_does_not_take(plain: Plain) -> None:
    at, _ = plain
    big = b"x" * (8 << 20)
    at.connection.pending = 2
    release_all([(at.connection, big), (at.connection, b"behind")])
    assert big.endswith(at.wire.written[0])
    assert 0 < len(at.wire.written[0]) < len(big)
    assert at.wire.written[1:] == [b"behind"]


async def test_nothing_is_written_to_a_number_that_the_loop_has_let_go_of(plain: Plain) -> None:
    at, miner = plain
    assert at.connection.socket is not None
    at.connection.pending = 1
    with socket.socket(fileno=at.connection.socket.detach()):
        release_all([(at.connection, b"late")])
        with pytest.raises(BlockingIOError):
            miner.recv(100)


async def test_a_connection_that_ends_is_closed_behind_its_last_answer(plain: Plain) -> None:
    at, _ = plain
    at.connection.pending, at.connection.ending = 1, Closing.IDLE
    release_all([(at.connection, b"last")])
    assert (at.wire.written, at.wire.closed) == ([b"last"], "closed")
