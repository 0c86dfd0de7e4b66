import asyncio
import os
import socket
from collections.abc import Iterator
from pathlib import Path

import pytest

from miner import handover
from miner.handover import HandoverError, Inheritance, Successor, offer, take_over


@pytest.fixture
def listening() -> Iterator[socket.socket]:
    with socket.create_server(("127.0.0.1", 0)) as opened:
        opened.setblocking(False)
        yield opened


async def handed_over(path: Path, sockets: dict[str, socket.socket], state: bytes) -> Inheritance:
    """What a successor gets of a daemon that has `sockets` and leaves `state`."""
    came: asyncio.Future[Successor] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(offer(path, lambda: sockets, came.set_result))
        await asyncio.sleep(0)
        taking = group.create_task(take_over(path))
        successor = await came
        assert successor.pid == os.getpid()
        assert not taking.done()
        await successor.leave(state)
    inheritance = taking.result()
    assert inheritance is not None
    return inheritance


async def test_a_successor_gets_sockets_that_go_on_listening_and_the_state(
    tmp_path: Path, listening: socket.socket
) -> None:
    address = listening.getsockname()
    inherited = await handed_over(tmp_path / "h.sock", {"stratum": listening}, b'{"sessions":[1,2]}')
    listening.close()
    with socket.create_connection(address), inherited.sockets["stratum"].accept()[0]:
        assert inherited.state == b'{"sessions":[1,2]}'
    inherited.close()
    with pytest.raises(ConnectionRefusedError):
        socket.create_connection(address)


async def test_a_state_of_many_sessions_arrives_whole(tmp_path: Path) -> None:
    state = b"[" + b",".join(b'"%064x"' % number for number in range(20_000)) + b"]"
    inherited = await handed_over(tmp_path / "h.sock", {}, state)
    assert inherited.state == state


async def test_the_path_of_the_socket_may_be_longer_than_a_unix_address(tmp_path: Path) -> None:
    folder = tmp_path / ("d" * 120)
    folder.mkdir()
    assert (await handed_over(folder / "h.sock", {}, b"null")).sockets == {}


async def test_where_no_daemon_runs_there_is_nothing_to_take_over(tmp_path: Path) -> None:
    assert await take_over(tmp_path / "h.sock") is None
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(tmp_path / "h.sock"))
    assert await take_over(tmp_path / "h.sock") is None


async def test_a_daemon_that_does_not_leave_in_time_is_told_of(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, listening: socket.socket
) -> None:
    monkeypatch.setattr(handover, "LEAVE_S", 0.05)
    came: list[Successor] = []
    async with asyncio.TaskGroup() as group:
        group.create_task(offer(tmp_path / "h.sock", lambda: {"stratum": listening}, came.append))
        await asyncio.sleep(0)
        with pytest.raises(HandoverError, match="did not hand over in time: stop it first"):
            await take_over(tmp_path / "h.sock")
    await came[0].leave(b"null")


async def test_a_daemon_that_dies_while_handing_over_is_told_of(tmp_path: Path) -> None:
    came: asyncio.Future[Successor] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(offer(tmp_path / "h.sock", dict, came.set_result))
        await asyncio.sleep(0)
        taking = group.create_task(expect_failure(tmp_path / "h.sock", "went away"))
        (await came)._connection.close()
        await taking


async def expect_failure(path: Path, words: str) -> None:
    with pytest.raises(HandoverError, match=words):
        await take_over(path)


@pytest.mark.parametrize(
    "said", [b"GET / HTTP/1.1\r\n\r\n", b'{"format":99,"pid":1}\n', b"", b'{"format":1,"pid":1}\n']
)
async def test_who_does_not_speak_properly_gets_nothing_and_stops_nothing(
    tmp_path: Path, said: bytes, listening: socket.socket
) -> None:
    came: asyncio.Future[Successor] = asyncio.get_running_loop().create_future()
    async with asyncio.TaskGroup() as group:
        group.create_task(offer(tmp_path / "h.sock", lambda: {"stratum": listening}, came.set_result))
        await asyncio.sleep(0)
        _, writer = await asyncio.open_unix_connection(tmp_path / "h.sock")
        writer.write(said)
        writer.write_eof()
        await writer.drain()
        taking = group.create_task(take_over(tmp_path / "h.sock"))
        await (await came).leave(b"null")
        writer.close()
        await writer.wait_closed()
    inherited = taking.result()
    assert inherited is not None
    inherited.close()


async def test_a_daemon_of_another_format_is_not_taken_over(tmp_path: Path) -> None:
    ended = asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()
        writer.write(b'{"format":2,"pid":7,"sockets":[]}\n')
        await reader.read()
        writer.close()
        await writer.wait_closed()
        ended.set()

    async with await asyncio.start_unix_server(answer, tmp_path / "h.sock"):
        await expect_failure(tmp_path / "h.sock", "another format")
        await ended.wait()


async def test_only_this_user_can_connect(tmp_path: Path) -> None:
    task = asyncio.ensure_future(offer(tmp_path / "h.sock", dict, lambda _: None))
    await asyncio.sleep(0.01)
    assert (tmp_path / "h.sock").stat().st_mode & 0o777 == 0o600
    task.cancel()
    await asyncio.wait([task])


async def test_a_folder_that_is_not_there_is_told_of(tmp_path: Path) -> None:
    with pytest.raises(HandoverError, match="cannot listen for a successor"):
        await offer(tmp_path / "none" / "h.sock", dict, lambda _: None)
