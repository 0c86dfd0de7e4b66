import asyncio
import errno
import os
import socket
import subprocess
import sys
from collections.abc import AsyncIterator

import pytest

from miner.stratum import listener as listener_module
from miner.stratum.listener import Listener, ListenError, Port, open_listener, systemd_sockets
from miner.stratum.rules import PortRules
from tests.miner.stratum.server_harness import until

ANY_PORT = Port("127.0.0.1", 0, PortRules())


@pytest.fixture
async def listener() -> AsyncIterator[Listener]:
    opened = open_listener(ANY_PORT, {})
    yield opened
    opened.close()


class Door:
    """Takes what is accepted."""

    def __init__(self) -> None:
        self.guests: list[tuple[socket.socket, str, Port]] = []

    def __call__(self, accepted: socket.socket, host: str, port: Port) -> None:
        self.guests.append((accepted, host, port))

    def close(self) -> None:
        for accepted, _, _ in self.guests:
            accepted.close()


@pytest.fixture
async def door() -> AsyncIterator[Door]:
    opened = Door()
    yield opened
    opened.close()


def knock(listener: Listener) -> socket.socket:
    return socket.create_connection(listener.address)


async def test_connections_are_accepted_with_what_keeps_them_quick_and_finds_dead_ones(
    listener: Listener, door: Door
) -> None:
    listener.resume(door)
    with knock(listener):
        await until(lambda: door.guests)
        [(accepted, host, port)] = door.guests
        assert (host, port) == ("127.0.0.1", ANY_PORT)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
        assert accepted.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE)
        assert accepted.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 60_000
        assert not accepted.getblocking()


async def test_while_accepting_pauses_connections_wait_and_are_not_refused(
    listener: Listener, door: Door
) -> None:
    with knock(listener), knock(listener):
        await asyncio.sleep(0)
        assert door.guests == []
        listener.resume(door)
        await until(lambda: len(door.guests) == 2)


async def test_a_storm_of_connections_is_taken_a_few_at_a_time(
    listener: Listener, door: Door, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(listener_module, "ACCEPTED_AT_ONCE", 2)
    knocking = [knock(listener) for _ in range(5)]
    listener.resume(door)
    listener._accept()
    assert len(door.guests) == 2
    await until(lambda: len(door.guests) == 5)
    for each in knocking:
        each.close()


async def test_when_the_system_has_no_room_accepting_pauses_and_goes_on(
    listener: Listener, door: Door, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    class Full:
        """A listening socket in a process that has used up its files."""

        def fileno(self) -> int:
            return real.fileno()

        def accept(self) -> None:
            raise OSError(errno.EMFILE, "Too many open files")

    real = listener.socket
    monkeypatch.setattr(listener_module, "ACCEPT_AGAIN_S", 0.001)
    monkeypatch.setattr(listener, "socket", Full())
    listener.resume(door)
    with knock_at(real):
        await until(lambda: caplog.records)
        assert caplog.records[0].message == "accept_paused"
        monkeypatch.setattr(listener, "socket", real)
        await until(lambda: door.guests)


def knock_at(listening: socket.socket) -> socket.socket:
    return socket.create_connection(listening.getsockname()[:2])


async def test_a_port_in_use_is_told_with_what_to_do(listener: Listener) -> None:
    with pytest.raises(ListenError, match=r"127\.0\.0\.1:\d+: already in use"):
        open_listener(Port(*listener.address, PortRules()), {})


async def test_an_address_that_is_not_of_this_machine_is_told() -> None:
    with pytest.raises(ListenError, match=r"192\.0\.2\.1:3333"):
        open_listener(Port("192.0.2.1", 3333, PortRules()), {})


async def test_an_inherited_socket_is_used_with_the_connections_that_wait_in_it(door: Door) -> None:
    first = open_listener(ANY_PORT, {})
    port = Port(*first.address, PortRules())
    inherited = {port.name: first.socket.dup(), "other:1": first.socket}
    with knock(first):
        second = open_listener(port, inherited)
        assert list(inherited) == ["other:1"]
        first.close()
        second.resume(door)
        await until(lambda: door.guests)
        second.close()


@pytest.mark.parametrize(
    ("host", "name"), [("0.0.0.0", "0.0.0.0:0"), ("::", "[::]:0"), ("localhost", "localhost:0")]
)
async def test_every_way_to_name_this_machine_serves_ipv4(host: str, name: str) -> None:
    port = Port(host, 0, PortRules())
    assert port.name == name
    try:
        listener = open_listener(port, {})
    except ListenError as error:
        pytest.skip(f"no IPv6 here: {error}")
    with socket.create_connection(("127.0.0.1", listener.address[1])):
        pass
    listener.close()


def test_without_systemd_there_are_no_sockets_of_it() -> None:
    assert systemd_sockets({}) == {}
    assert systemd_sockets({"LISTEN_PID": "1", "LISTEN_FDS": "2"}) == {}


ACTIVATED = """
import os
os.environ["LISTEN_PID"] = str(os.getpid())
from miner.stratum.listener import systemd_sockets
found = systemd_sockets()
print(*found, *(os.get_inheritable(each.fileno()) for each in found.values()))
"""


def test_sockets_of_systemd_are_known_by_where_they_listen() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.socket(socket.AF_UNIX) as other:
        host, port = listening.getsockname()
        # A shell puts them where systemd does: 3, 4.
        code = f"exec 3<&{listening.fileno()} 4<&{other.fileno()}; exec {sys.executable} -c '{ACTIVATED}'"
        found = subprocess.run(
            ["bash", "-c", code],
            env={**os.environ, "LISTEN_FDS": "2"},
            pass_fds=(listening.fileno(), other.fileno()),
            check=True,
            capture_output=True,
        )
    assert found.stdout.decode().split() == [f"{host}:{port}", "False"]
