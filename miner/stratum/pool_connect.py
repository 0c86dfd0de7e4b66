"""The way to a pool: name, port and TLS, and in words what is wrong with each of them."""

import asyncio
import errno
import socket
import ssl
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

from miner.stratum.pool_address import PoolAddress
from miner.stratum.pool_events import Failure

P = TypeVar("P", bound=asyncio.Protocol)

CONNECT_S: Final = 10.0
"""The limit of each step: finding the address, connecting, the TLS handshake."""
# A dead peer is found by keepalive in two minutes, one that takes no data in one; answers are waited for less long.
_TCP: Final = (
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 60),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 20),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
    (socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, 60_000),
)
_ELSE: Final = "otherwise somebody else may be answering in the pool's place"
_UNKNOWN_ISSUER: Final = f"if the pool's operator has a CA of his own, name its file in `ca_file`; {_ELSE}, or this machine has no CA certificates"
_CERTIFICATE_ADVICE: Final = {
    9: "check this machine's clock",  # not yet valid; numbers as in OpenSSL's x509_vfy.h
    10: "the pool's operator must renew it, or this machine's clock is wrong",
    18: _UNKNOWN_ISSUER,  # self-signed
    19: _UNKNOWN_ISSUER,  # self-signed somewhere in the chain
    20: _UNKNOWN_ISSUER,
    21: _UNKNOWN_ISSUER,
    62: f"`url` must name the host that the certificate is for; {_ELSE}",
    64: f"`url` must name the host that the certificate is for; {_ELSE}",
}


class ConnectError(Exception):
    """The pool cannot be connected to: the kind of failure, and what to do about it in words."""

    def __init__(self, kind: Failure, why: str) -> None:
        super().__init__(why)
        self.kind = kind


async def connect(
    address: PoolAddress, ca_file: Path | None, protocol: Callable[[], P], *, limit_s: float = CONNECT_S
) -> P:
    """A protocol whose connection to the pool stands.

    TLS is verified against the host's name and `ca_file`, or where that is None against what this machine trusts. No step
    takes longer than `limit_s`. Raises ConnectError.
    """
    context = await asyncio.to_thread(_context, ca_file) if address.tls else None  # it takes 20 ms
    connected = await _connected(address, await _resolved(address, limit_s), limit_s)
    try:
        return await _attached(address, connected, context, protocol, limit_s)
    except BaseException:
        connected.close()
        raise


def _context(ca_file: Path | None) -> ssl.SSLContext:
    try:
        context = ssl.create_default_context(cafile=ca_file)
    except ssl.SSLError as error:
        raise ConnectError(
            Failure.TLS, f"{ca_file}: `ca_file` holds no certificate in PEM: {error}"
        ) from error
    except OSError as error:
        raise ConnectError(Failure.TLS, f"{ca_file}: `ca_file` cannot be read: {error.strerror}") from error
    context.minimum_version = ssl.TLSVersion.TLSv1_2
    return context


async def _resolved(address: PoolAddress, limit_s: float) -> list[Any]:
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit_s):
            return await loop.getaddrinfo(address.host, address.port, type=socket.SOCK_STREAM)
    except TimeoutError as error:
        raise ConnectError(
            Failure.DNS,
            f"{address.host}: no answer from DNS within {limit_s:g} s: is this machine's network up?",
        ) from error
    except OSError as error:  # socket.gaierror is one
        raise ConnectError(
            Failure.DNS,
            f"{address.host}: no such host ({error.strerror or error}): check `url` and this machine's DNS",
        ) from error


async def _connected(address: PoolAddress, found: list[Any], limit_s: float) -> socket.socket:
    """A connection to the first of the host's addresses that takes one."""
    loop = asyncio.get_running_loop()
    deadline = loop.time() + limit_s
    failed: ConnectError | None = None
    for number, (family, kind, protocol, _, place) in enumerate(found):
        share_s = max(deadline - loop.time(), 0.0) / (
            len(found) - number
        )  # one without an answer leaves time for the others
        try:
            return await _connected_to(family, kind, protocol, place, share_s)
        except OSError as error:  # TimeoutError is one
            told = _told(address, place[0], error, share_s)
            if (
                failed is None or failed.kind is Failure.UNREACHABLE
            ):  # it tells least: many hosts have no IPv6
                failed = told
    raise failed or ConnectError(Failure.DNS, f"{address.host}: DNS knows the name, but no address of it")


async def _connected_to(
    family: int, kind: int, protocol: int, place: tuple[Any, ...], limit_s: float
) -> socket.socket:
    made = socket.socket(family, kind, protocol)
    try:
        made.setblocking(False)
        for level, option, value in _TCP:
            made.setsockopt(level, option, value)
        async with asyncio.timeout(limit_s):
            await asyncio.get_running_loop().sock_connect(made, place)
    except BaseException:
        made.close()
        raise
    return made


def _told(address: PoolAddress, ip: str, error: OSError, limit_s: float) -> ConnectError:
    where = address.place if ip == address.host else f"{address.place} ({ip})"
    if isinstance(error, ConnectionRefusedError):
        return ConnectError(
            Failure.REFUSED,
            f"{where}: connection refused: nobody listens at this port; check it, or the pool is down",
        )
    if isinstance(error, TimeoutError) or error.errno == errno.ETIMEDOUT:
        return ConnectError(
            Failure.TIMEOUT,
            f"{where}: no answer within {limit_s:.3g} s: the host is down, or a firewall drops the connection",
        )
    return ConnectError(
        Failure.UNREACHABLE, f"{where}: {error.strerror or error}: check this machine's network and routes"
    )


async def _attached(
    address: PoolAddress,
    connected: socket.socket,
    context: ssl.SSLContext | None,
    protocol: Callable[[], P],
    limit_s: float,
) -> P:
    """The protocol on the connection, after its TLS handshake where there is a context."""
    loop = asyncio.get_running_loop()
    try:
        async with asyncio.timeout(limit_s):
            _, made = await loop.create_connection(
                protocol,
                sock=connected,
                ssl=context,
                server_hostname=None if context is None else address.host.removesuffix("."),
            )
    except ssl.SSLCertVerificationError as error:
        advice = _CERTIFICATE_ADVICE.get(error.verify_code, _ELSE)
        raise ConnectError(
            Failure.TLS, f"{address.place}: its certificate is not good: {error.verify_message}: {advice}"
        ) from error
    except ssl.SSLError as error:
        raise ConnectError(
            Failure.TLS,
            f"{address.place}: no TLS ({error.reason or error}): does this port speak it, or is stratum+tcp:// meant?",
        ) from error
    except TimeoutError as error:
        raise ConnectError(
            Failure.TLS,
            f"{address.place}: no TLS handshake within {limit_s:g} s: does this port speak TLS, or is stratum+tcp:// meant?",
        ) from error
    except OSError as error:
        kind, what = (
            (Failure.LOST, "ended at once")
            if context is None
            else (Failure.TLS, "ended in the TLS handshake")
        )
        raise ConnectError(
            kind, f"{address.place}: the connection {what} ({error.strerror or error})"
        ) from error
    return made
