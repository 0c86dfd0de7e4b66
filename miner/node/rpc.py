"""JSON-RPC client of one bitcoind: keep-alive HTTP, time limits, retries with a budget, errors with a type.

Every error says what was asked, of whom, and what the operator may do; a password or cookie never appears.
Source: bitcoind's doc/JSON-RPC-interface.md and src/rpc/protocol.h.
"""

import asyncio
import base64
import io
import logging
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from pathlib import Path
from typing import Any, Protocol, TypeVar, overload

import aiohttp
import msgspec
import yarl

log = logging.getLogger(__name__)

T = TypeVar("T")

# Codes of src/rpc/protocol.h that mean something to a miner.
NOT_FOUND = -5
NO_PEERS = -9
INITIAL_DOWNLOAD = -10
DESERIALIZATION = -22
WARMING_UP = -28


class RpcError(Exception):
    """A call to a node that gave no result."""


class RpcUnavailableError(RpcError):
    """No answer to judge: the node may answer the same call later, and may have carried out this one."""


class NodeUnreachableError(RpcUnavailableError):
    """The connection was refused or lost, or the node's work queue is full."""


class RpcTimeoutError(RpcUnavailableError):
    """The time limit of the call passed without an answer."""


class NodeWarmingUpError(RpcUnavailableError):
    """The node has started and is loading its chain (code -28)."""


class BadAnswerError(RpcUnavailableError):
    """Something answered, but not as bitcoind does."""


class UnauthorizedError(RpcError):
    """The node refuses these credentials, this address or this method."""


class RpcRefusedError(RpcError):
    """The node understood the call and answered with an error: `code` and `reason` are the node's own."""

    def __init__(self, code: int, reason: str, context: str) -> None:
        super().__init__(f"{context}: {reason} (code {code})")
        self.code = code
        self.reason = reason


def internal_hash(display_hex: str) -> bytes:
    """The hash a node writes in display order, in internal order. Raises BadAnswerError for anything else."""
    try:
        digest = bytes.fromhex(display_hex)
    except ValueError:
        digest = b""
    if len(digest) != 32:  # noqa: PLR2004 - bytes of a hash
        raise BadAnswerError(f"{display_hex[:80]!r} is not a block hash")
    return digest[::-1]


class Credentials(Protocol):
    """Where the value of the Authorization header comes from."""

    def authorization(self) -> str:
        """Value of the header, read anew at each call; OSError if it cannot be read."""


@dataclass(frozen=True, slots=True)
class CookieFile:
    """The cookie bitcoind writes at each start; another one after each restart."""

    path: Path

    def authorization(self) -> str:
        """Header from the file as it is now; OSError if it cannot be read."""
        return _basic(self.path.read_bytes().strip())


@dataclass(frozen=True, slots=True)
class UserPassword:
    """User and password as bitcoind's rpcauth or rpcpassword knows them."""

    user: str
    password: str = field(repr=False)

    def authorization(self) -> str:
        """Header of this user and password."""
        return _basic(f"{self.user}:{self.password}".encode())


def _basic(secret: bytes) -> str:
    return "Basic " + base64.b64encode(secret).decode("ascii")


class Backoff:
    """Growing waits between tries, with jitter, in seconds.

    The wait doubles from `first_s` to `cap_s`; each is shortened by up to a third, so that many clients of one
    node do not knock in step and none ever waits longer than `cap_s`.
    """

    def __init__(self, first_s: float = 0.1, cap_s: float = 2.0) -> None:
        self._first_s = first_s
        self._cap_s = cap_s
        self._next_s = first_s

    def next_s(self) -> float:
        """Seconds to wait before the next try."""
        wait_s = min(self._next_s, self._cap_s)
        self._next_s = min(self._next_s * 2, self._cap_s)
        return wait_s * random.uniform(2 / 3, 1)  # noqa: S311 - jitter is no secret

    def reset(self) -> None:
        """Start again from the first wait: the last try succeeded."""
        self._next_s = self._first_s


class _ErrorObject(msgspec.Struct):
    code: int
    message: str = ""


class _Envelope(msgspec.Struct):
    id: int | None = None
    result: msgspec.Raw = msgspec.Raw(b"null")
    error: _ErrorObject | None = None


# What msgspec raises for bytes that are no JSON of the wanted type, however a broken or hostile server made them.
_UNDECODABLE = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_decode_envelope = msgspec.json.Decoder(_Envelope).decode
_decode_envelopes = msgspec.json.Decoder(list[_Envelope]).decode

_LARGE_BODY = 1 << 18

# bitcoind sends JSON-RPC errors with these statuses, too: the body says more than the status.
_STATUSES_WITH_ENVELOPE = {
    HTTPStatus.OK,
    HTTPStatus.BAD_REQUEST,
    HTTPStatus.NOT_FOUND,
    HTTPStatus.INTERNAL_SERVER_ERROR,
}


class RpcClient:
    """Calls to one bitcoind over kept-alive HTTP connections.

    The session is created at the first call and belongs to that event loop; `close` ends it. Time limits are in
    seconds. All errors are RpcError.
    """

    def __init__(
        self, url: str, credentials: Credentials, *, timeout_s: float = 30.0, name: str = ""
    ) -> None:
        """`url` is http(s)://host:port without user or password (ValueError); `name` is how messages call the node."""
        parsed = yarl.URL(url)
        if parsed.user is not None or parsed.password is not None:
            raise ValueError("rpc_url must not hold a user or password: name them apart, or a cookie file")
        if parsed.scheme not in {"http", "https"} or not parsed.host:
            raise ValueError(f"rpc_url must look like http://127.0.0.1:8332, not {url!r}")
        self.name = name or f"{parsed.host}:{parsed.port}"
        self._url = parsed
        self._where = f"bitcoind {self.name} at {parsed.host}:{parsed.port}"
        self._credentials = credentials
        self._timeout_s = timeout_s
        self._authorization: str | None = None
        self._session: aiohttp.ClientSession | None = None
        self._last_id = 0

    @overload
    async def call(
        self, method: str, *params: object, timeout_s: float | None = None, retry_s: float = 0.0
    ) -> Any: ...

    @overload
    async def call(
        self,
        method: str,
        *params: object,
        decode: type[T],
        timeout_s: float | None = None,
        retry_s: float = 0.0,
    ) -> T: ...

    async def call(
        self,
        method: str,
        *params: object,
        decode: Any = Any,
        timeout_s: float | None = None,
        retry_s: float = 0.0,
    ) -> Any:
        """Result of `method`, decoded as `decode` (a msgspec type; msgspec.Raw leaves the JSON text as it is).

        `retry_s` is the budget for asking again after RpcUnavailableError; give it only where asking twice does
        no harm. Raises RpcError.
        """
        body = self._request(method, params)
        context = f"{self._where}, {method}"
        deadline = time.monotonic() + retry_s
        backoff = Backoff()
        while True:
            try:
                payload = await self._post(context, msgspec.json.encode(body), timeout_s)
                envelope = _parse(context, payload, _decode_envelope)
                return _result(context, envelope, decode)
            except RpcUnavailableError:
                wait_s = backoff.next_s()
                if time.monotonic() + wait_s > deadline:
                    raise
                await asyncio.sleep(wait_s)

    async def batch(
        self, calls: Sequence[tuple[Any, ...]], *, decode: type[T], timeout_s: float | None = None
    ) -> list[T | RpcRefusedError]:
        """Results of several calls (tuples of method and parameters) in one request, in the order asked.

        What the node refuses stands as RpcRefusedError in its place, since one block it does not know must not
        hide the others. Raises RpcError where the whole request failed.
        """
        if not calls:
            return []
        requests = [self._request(str(method), params) for method, *params in calls]
        context = f"{self._where}, batch of {len(calls)} {calls[0][0]}"
        payload = await self._post(context, msgspec.json.encode(requests), timeout_s)
        if payload.lstrip()[:1] == b"{":  # refused as a whole, as a node does that does not read batches
            _result(context, _parse(context, payload, _decode_envelope), Any)
        answers = {answer.id: answer for answer in _parse(context, payload, _decode_envelopes)}
        results: list[T | RpcRefusedError] = []
        for request, asked in zip(requests, calls, strict=True):
            answer = answers.get(request["id"])
            if answer is None:
                raise BadAnswerError(f"{context}: one call was not answered")
            try:
                results.append(_result(f"{self._where}, {asked[0]}", answer, decode))
            except RpcRefusedError as refused:
                results.append(refused)
        return results

    async def wait_until_ready(self, limit_s: float) -> None:
        """Wait until the node answers, through its start and warm-up; after `limit_s` raise what it said last.

        Credentials the node refuses are raised at once: waiting does not mend them.
        """
        await self.call("getblockchaininfo", decode=msgspec.Raw, retry_s=limit_s)

    async def close(self) -> None:
        """End the connections; a later call opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    def _request(self, method: str, params: Sequence[object]) -> dict[str, Any]:
        self._last_id += 1
        return {"jsonrpc": "1.0", "id": self._last_id, "method": method, "params": list(params)}

    async def _post(self, context: str, body: bytes, timeout_s: float | None) -> bytes:
        authorization = self._authorization or self._read_credentials(context)
        status, payload = await self._send(context, body, authorization, timeout_s)
        if status == HTTPStatus.UNAUTHORIZED:
            # A restarted node has written a new cookie. It did not carry out a call it answers with 401, so this
            # second try is safe for every method.
            renewed = self._read_credentials(context)
            if renewed != authorization:
                status, payload = await self._send(context, body, renewed, timeout_s)
        if status in _STATUSES_WITH_ENVELOPE:
            return payload
        if status == HTTPStatus.UNAUTHORIZED:
            raise UnauthorizedError(
                f"{context}: user, password or cookie refused: check them against bitcoin.conf"
            )
        if status == HTTPStatus.FORBIDDEN:
            raise UnauthorizedError(
                f"{context}: forbidden: check rpcallowip and rpcwhitelist in bitcoin.conf"
            )
        if status == HTTPStatus.SERVICE_UNAVAILABLE:
            raise NodeUnreachableError(
                f"{context}: too busy (HTTP 503): raise rpcworkqueue in bitcoin.conf if it stays"
            )
        raise BadAnswerError(f"{context}: HTTP status {status}: is this bitcoind's RPC port?")

    def _read_credentials(self, context: str) -> str:
        try:
            self._authorization = self._credentials.authorization()
        except FileNotFoundError as missing:
            # bitcoind removes its cookie when it stops: this is how a node that is down looks.
            raise NodeUnreachableError(
                f"{context}: no cookie file {missing.filename}: is bitcoind running, and is this its data folder?"
            ) from missing
        except OSError as unreadable:
            raise UnauthorizedError(
                f"{context}: cannot read the cookie file: {unreadable}: give this user read permission"
            ) from unreadable
        return self._authorization

    async def _send(
        self, context: str, body: bytes, authorization: str, timeout_s: float | None
    ) -> tuple[int, bytes]:
        limit_s = self._timeout_s if timeout_s is None else timeout_s
        headers = {"Authorization": authorization, "Content-Type": "application/json"}
        try:
            async with self._open_session().post(
                self._url,
                # A block's megabytes are written in pieces: others have their turn, and aiohttp does not warn.
                data=body if len(body) < _LARGE_BODY else io.BytesIO(body),
                headers=headers,
                timeout=aiohttp.ClientTimeout(total=limit_s),
                allow_redirects=False,
            ) as response:
                return response.status, await response.read()
        except TimeoutError as late:
            raise RpcTimeoutError(
                f"{context}: no answer within {limit_s:g} s: is the node busy or stuck?"
            ) from late
        except aiohttp.ClientConnectorError as refused:
            self._authorization = None  # when it is back it has a new cookie
            raise NodeUnreachableError(
                f"{context}: cannot connect ({refused.strerror}): is bitcoind running, and is this its RPC port?"
            ) from refused
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as lost:
            self._authorization = None
            raise NodeUnreachableError(
                f"{context}: connection lost before the answer ({type(lost).__name__})"
            ) from lost
        except aiohttp.ClientError as garbled:
            raise BadAnswerError(
                f"{context}: no HTTP answer ({type(garbled).__name__}): is this its RPC port?"
            ) from garbled

    def _open_session(self) -> aiohttp.ClientSession:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Below bitcoind's rpcservertimeout of 30 s, so that we, not the node, end an idle connection.
                connector=aiohttp.TCPConnector(limit=16, keepalive_timeout=15.0),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        return self._session


class _Decode(Protocol[T]):  # type: ignore[misc] # T is only returned here; mypy asks for a covariant variable
    def __call__(self, payload: bytes, /) -> T: ...


def _parse(context: str, payload: bytes, decode: _Decode[T]) -> T:
    try:
        return decode(payload)
    except _UNDECODABLE as garbage:
        raise BadAnswerError(
            f"{context}: the answer is not JSON-RPC ({garbage}): is this its RPC port?"
        ) from garbage


def _result(context: str, envelope: _Envelope, decode: Any) -> Any:
    if envelope.error is not None:
        if envelope.error.code == WARMING_UP:
            raise NodeWarmingUpError(f"{context}: warming up: {envelope.error.message}")
        raise RpcRefusedError(envelope.error.code, envelope.error.message, context)
    if decode is msgspec.Raw:
        return envelope.result
    try:
        return msgspec.json.decode(envelope.result, type=decode)
    except _UNDECODABLE as garbage:
        raise BadAnswerError(f"{context}: unexpected result ({garbage})") from garbage
