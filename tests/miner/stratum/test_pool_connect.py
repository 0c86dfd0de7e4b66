import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from miner.stratum.pool_address import PoolAddress, parse_pool_url
from miner.stratum.pool_connect import ConnectError, _context, connect
from miner.stratum.pool_events import Failure
from regtest.ports import LOOPBACK, Reservation
from tests.miner.stratum.pool_certificates import make_certificate, needs_openssl
from tests.miner.stratum.scripted_pool import Script, ScriptedPool


class Guest(asyncio.Protocol):
    """Stands, and can be sent home."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = transport


async def comes(address: PoolAddress, ca_file: Path | None = None, limit_s: float = 10.0) -> bool:
    """It connects, and TLS is spoken if it is to be."""
    guest = await connect(address, ca_file, Guest, limit_s=limit_s)
    is_tls = guest.transport.get_extra_info("cipher") is not None
    guest.transport.abort()  # type: ignore[attr-defined]
    return is_tls is address.tls


async def failure(
    address: PoolAddress, ca_file: Path | None = None, limit_s: float = 10.0
) -> tuple[Failure, str]:
    with pytest.raises(ConnectError) as failed:
        await connect(address, ca_file, Guest, limit_s=limit_s)
    return failed.value.kind, str(failed.value)


async def test_a_pool_is_connected_to_over_tcp() -> None:
    async with ScriptedPool() as pool:
        assert await comes(parse_pool_url(pool.url))


async def test_a_name_with_several_addresses_leads_to_the_one_that_answers() -> None:
    async with ScriptedPool() as pool:  # which does not listen on ::1
        assert await comes(PoolAddress("localhost", pool.port))


async def test_a_name_that_does_not_exist_is_told() -> None:
    kind, text = await failure(PoolAddress("pool.invalid", 3333), limit_s=5.0)
    assert kind is Failure.DNS
    assert text.startswith("pool.invalid: ")


async def test_a_closed_port_is_told() -> None:
    with Reservation(1) as closed:
        kind, text = await failure(PoolAddress(LOOPBACK, closed.ports[0]))
    assert kind is Failure.REFUSED
    assert f"{LOOPBACK}:{closed.ports[0]}: connection refused" in text


async def test_an_address_without_a_route_is_told() -> None:
    kind, text = await failure(PoolAddress("255.255.255.255", 3333))
    assert kind is Failure.UNREACHABLE
    assert "check this machine's network" in text


@pytest.fixture
def full_port() -> Iterator[int]:
    """A port whose backlog takes no more: whoever connects hears nothing."""
    with socket.socket() as listening, ExitStack() as knocking:
        listening.bind((LOOPBACK, 0))
        listening.listen(0)
        for _ in range(8):
            knock = knocking.enter_context(socket.socket())
            knock.setblocking(False)
            knock.connect_ex(listening.getsockname())
        yield listening.getsockname()[1]


async def test_a_host_that_says_nothing_is_told_in_time(full_port: int) -> None:
    kind, text = await failure(PoolAddress(LOOPBACK, full_port), limit_s=0.2)
    assert kind is Failure.TIMEOUT
    assert "no answer within 0.2 s" in text


# ---- TLS -----------------------------------------------------------------------------------------------------


@needs_openssl
async def test_tls_is_verified_against_the_operators_ca_file(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    async with ScriptedPool(certificate=files) as pool:
        assert await comes(parse_pool_url(pool.url), files[0])


@needs_openssl
async def test_a_certificate_of_a_name_is_good_for_that_name_only(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, "DNS:localhost")
    async with ScriptedPool(certificate=files) as pool:
        assert await comes(PoolAddress("localhost", pool.port, tls=True), files[0])
        kind, text = await failure(PoolAddress(LOOPBACK, pool.port, tls=True), files[0])
    assert kind is Failure.TLS
    assert "`url` must name the host that the certificate is for" in text


@needs_openssl
async def test_a_certificate_that_nobody_vouches_for_is_refused_with_what_to_do(tmp_path: Path) -> None:
    async with ScriptedPool(certificate=make_certificate(tmp_path)) as pool:
        kind, text = await failure(parse_pool_url(pool.url))
        assert pool.heard == []
    assert kind is Failure.TLS
    assert "self-signed certificate" in text
    assert "`ca_file`" in text


@needs_openssl
async def test_an_expired_certificate_is_refused_with_what_to_do(tmp_path: Path) -> None:
    files = make_certificate(tmp_path, is_expired=True)
    async with ScriptedPool(certificate=files) as pool:
        kind, text = await failure(parse_pool_url(pool.url), files[0])
    assert kind is Failure.TLS
    assert "certificate has expired: the pool's operator must renew it" in text


async def test_a_port_that_speaks_no_tls_is_told() -> None:
    async with ScriptedPool() as pool:
        kind, text = await failure(PoolAddress(LOOPBACK, pool.port, tls=True))
    assert kind is Failure.TLS
    assert f"{LOOPBACK}:{pool.port}: " in text


async def test_a_port_that_answers_something_else_than_tls_is_told() -> None:
    async def talk(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b'{"id":null,"method":"client.show_message","params":["hello"]}\n')
        await writer.drain()
        writer.close()

    server = await asyncio.start_server(talk, LOOPBACK, 0)
    async with server:
        port = server.sockets[0].getsockname()[1]
        kind, text = await failure(PoolAddress(LOOPBACK, port, tls=True))
    assert kind is Failure.TLS
    assert "is stratum+tcp:// meant?" in text


async def test_a_port_that_is_silent_in_the_handshake_is_told_in_time() -> None:
    with socket.create_server((LOOPBACK, 0)) as silent:
        kind, text = await failure(PoolAddress(LOOPBACK, silent.getsockname()[1], tls=True), limit_s=0.2)
    assert kind is Failure.TLS
    assert "no TLS handshake within 0.2 s" in text


async def test_a_connection_that_ends_at_once_is_no_success_of_tls() -> None:
    async with ScriptedPool(script=Script(slams=True)) as pool:
        kind, _ = await failure(PoolAddress(LOOPBACK, pool.port, tls=True))
    assert kind is Failure.TLS


async def test_a_ca_file_that_is_not_there_or_holds_nothing_is_told_by_name(tmp_path: Path) -> None:
    address = PoolAddress(LOOPBACK, 1, tls=True)
    kind, text = await failure(address, tmp_path / "nowhere.pem")
    assert (kind, text) == (
        Failure.TLS,
        f"{tmp_path}/nowhere.pem: `ca_file` cannot be read: No such file or directory",
    )
    empty = tmp_path / "empty.pem"
    empty.write_text("nothing")
    kind, text = await failure(address, empty)
    assert kind is Failure.TLS
    assert text.startswith(f"{empty}: `ca_file` holds no certificate")


def test_verification_is_never_off() -> None:
    context = _context(None)
    assert context.check_hostname
    assert context.verify_mode is ssl.CERT_REQUIRED
    assert context.minimum_version is ssl.TLSVersion.TLSv1_2
