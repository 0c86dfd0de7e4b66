"""Numbers from the web: one URL asked again and again, with limits on time and size, and a server's wish for rest honoured.

What goes wrong is a SourceError in words that name the host and never the rest of the URL, a header or a parameter: those may hold
secrets.
"""

from __future__ import annotations

import asyncio
import math
import re
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final

import aiohttp
import msgspec
from yarl import URL

from controller.sources.base import SourceError

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

DEFAULT_TIMEOUT_S: Final = 8.0
"""Shorter than the controller waits for a source."""
DEFAULT_MAX_BYTES: Final = 4 * 1024 * 1024
MOST_REDIRECTS: Final = 3
LONGEST_REST_S: Final = 3600.0
"""A server may ask for more rest than this; it is asked again all the same."""
REST_S: Final = 60.0
"""Rest after "too many requests" that does not say how long."""

_CHUNK: Final = 65536
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_BODY_REDIRECTS: Final = frozenset({307, 308})
"""The redirects after which a question is put in the same words."""
_RESTS: Final = frozenset({HTTPStatus.TOO_MANY_REQUESTS, HTTPStatus.SERVICE_UNAVAILABLE})
_SCHEMES: Final = {"http": {"http", "https"}, "https": {"https"}}
"""Where a redirect may lead: never out of TLS, never to what is not HTTP."""
_WORDS: Final[Mapping[int, str]] = {
    400: "is the URL complete?",
    401: "it wants a key, or refused this one",
    403: "it refuses us: is a key missing or wrong, or this address barred?",
    404: "there is no such page: is the URL right?",
    429: "too many requests: raise every_s",
    451: "barred where this machine is",
}


class HttpFeed:
    """One URL, asked by `get_text`; what it last said is kept and asked for only if it changed (ETag, Last-Modified).

    `headers`, `params` and `body` go to the URL's own host only, not to where it redirects. A `body` is JSON and makes it a POST, whose
    answer is never taken for unchanged. `max_bytes` counts what is unpacked. Raises ValueError for a URL that is not http(s), or
    with a name and password in it.
    """

    def __init__(
        self,
        url: str,
        *,
        headers: Mapping[str, str] | None = None,
        params: Mapping[str, str] | None = None,
        body: bytes | None = None,
        timeout_s: float = DEFAULT_TIMEOUT_S,
        max_bytes: int = DEFAULT_MAX_BYTES,
    ) -> None:
        try:
            parsed = URL(url)
            host = parsed.host if parsed.port else None
        except ValueError:
            raise ValueError("the URL cannot be read") from None  # it may hold a secret: not shown
        if parsed.scheme not in _SCHEMES or not host:
            raise ValueError("the URL must start with http:// or https:// and name a host")
        if parsed.user is not None or parsed.password is not None:
            raise ValueError("the URL must hold no name or password: send them in a header")
        self.host: Final = host if parsed.is_default_port() else f"{host}:{parsed.port}"
        self._url = parsed.update_query(dict(params or {})) if params else parsed
        self._headers = dict(headers or {})
        self._question = body
        if body is not None:
            self._headers = {"Content-Type": "application/json", **self._headers}
        self._timeout_s = timeout_s
        self._max_bytes = max_bytes
        self._session: aiohttp.ClientSession | None = None
        self._validators: dict[str, str] = {}
        self._body: bytes | None = None
        self._charset = "utf-8"
        self._rested_at = -math.inf
        self._rest_until = -math.inf
        self._rest_why = ""

    async def get_bytes(self, now: float) -> bytes:
        """The body as it is now (`now`: UTC unix seconds, for rests that the server asked for).

        Raises SourceError for everything that goes wrong, within `timeout_s`.
        """
        if self._rested_at <= now < self._rest_until:
            raise SourceError(
                f"{self.host}: {self._rest_why}; not asked again for {self._rest_until - now:.0f} s"
            )
        try:
            async with asyncio.timeout(self._timeout_s):
                return await self._ask(now)
        except TimeoutError as late:
            raise SourceError(f"{self.host}: no whole answer within {self._timeout_s:g} s") from late
        except aiohttp.ClientConnectorCertificateError as untrusted:
            raise SourceError(f"{self.host}: its TLS certificate is not trusted") from untrusted
        except aiohttp.ClientSSLError as broken:
            raise SourceError(f"{self.host}: no TLS connection: is this an https address?") from broken
        except aiohttp.ClientConnectorError as refused:
            raise SourceError(f"{self.host}: cannot connect ({_os_words(refused.os_error)})") from refused
        except (aiohttp.ClientConnectionError, aiohttp.ClientPayloadError, OSError) as lost:
            raise SourceError(
                f"{self.host}: the connection broke before the whole answer was there"
            ) from lost
        except (aiohttp.ClientError, ValueError) as garbled:
            raise SourceError(f"{self.host}: its answer is not HTTP ({type(garbled).__name__})") from garbled

    async def get_text(self, now: float) -> str:
        """The body as text, in the character set it names, UTF-8 otherwise. Raises SourceError."""
        body = await self.get_bytes(now)
        try:
            return body.decode(self._charset).removeprefix("\ufeff")
        except (UnicodeDecodeError, LookupError) as error:
            raise SourceError(f"{self.host}: the answer is no text in {self._charset[:20]!r}") from error

    def forget(self) -> None:
        """Ask for the whole answer next time: the one kept is of no use."""
        self._validators, self._body = {}, None

    async def close(self) -> None:
        """End the connections; a later question opens new ones."""
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _ask(self, now: float) -> bytes:
        url = self._url
        headers = {"User-Agent": "hashmill", **self._headers, **self._validators}
        for _ in range(MOST_REDIRECTS + 1):
            async with self._request(url, headers) as response:
                if response.status not in _REDIRECTS:
                    return await self._answer(response, now)
                target = self._redirect(url, response.headers.get("Location", ""))
            if self._question is not None and (
                response.status not in _BODY_REDIRECTS or target.origin() != self._url.origin()
            ):
                raise SourceError(f"{self.host}: it sends the question elsewhere: write the right URL")
            if target.origin() != url.origin():
                headers = {"User-Agent": "hashmill"}
            url = target
        raise SourceError(f"{self.host}: it redirects more than {MOST_REDIRECTS} times")

    @asynccontextmanager
    async def _request(self, url: URL, headers: Mapping[str, str]) -> AsyncIterator[aiohttp.ClientResponse]:
        if self._session is None:
            self._session = aiohttp.ClientSession(
                # Asked once a minute or less: a connection kept open would be one that the server has long closed.
                connector=aiohttp.TCPConnector(force_close=True),
                cookie_jar=aiohttp.DummyCookieJar(),
            )
        timeout = aiohttp.ClientTimeout(total=self._timeout_s)
        async with self._session.request(
            "GET" if self._question is None else "POST",
            url,
            headers=headers,
            data=self._question,
            timeout=timeout,
            allow_redirects=False,
        ) as response:
            yield response

    def _redirect(self, url: URL, location: str) -> URL:
        try:
            target = url.join(URL(location))
            good = bool(location) and target.scheme in _SCHEMES[url.scheme] and bool(target.host)
        except ValueError:
            good = False
        if not good:
            raise SourceError(f"{self.host}: it redirects to what is not {url.scheme}: write the right URL")
        return target

    async def _answer(self, response: aiohttp.ClientResponse, now: float) -> bytes:
        status = response.status
        if status == HTTPStatus.NOT_MODIFIED and self._body is not None:
            return self._body
        if status != HTTPStatus.OK:
            words = _WORDS.get(status, "the server is in trouble" if status >= 500 else "not an answer")  # noqa: PLR2004 - 5xx: the server's own faults
            why = f"HTTP status {status}: {words}"
            if status in _RESTS:
                self._rest(response.headers.get("Retry-After", ""), status, now)
                self._rest_why = why
            raise SourceError(f"{self.host}: {why}")
        body = await self._read(response)
        self._body = body
        self._charset = response.charset or "utf-8"
        if self._question is None:
            self._validators = {
                asked: value
                for asked, given in (("If-None-Match", "ETag"), ("If-Modified-Since", "Last-Modified"))
                if (value := response.headers.get(given))
            }
        return body

    async def _read(self, response: aiohttp.ClientResponse) -> bytes:
        too_large = SourceError(f"{self.host}: the answer is larger than {self._max_bytes} bytes")
        if (response.content_length or 0) > self._max_bytes:
            raise too_large
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > self._max_bytes:
                raise too_large
        return bytes(body)

    def _rest(self, retry_after: str, status: int, now: float) -> None:
        rest_s = _rest_s(retry_after, now)
        if rest_s is None:
            rest_s = REST_S if status == HTTPStatus.TOO_MANY_REQUESTS else 0.0
        self._rested_at = now
        self._rest_until = now + min(rest_s, LONGEST_REST_S)


class JsonFeed(HttpFeed):
    """One URL that answers in JSON, asked by `get`; whatever Content-Type it claims."""

    async def get(self, now: float) -> Any:
        """The answer, parsed; not-a-number and infinity are no JSON. Raises SourceError."""
        body = (await self.get_bytes(now)).removeprefix(b"\xef\xbb\xbf").strip()
        try:
            return msgspec.json.decode(body)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
            self.forget()
            if not body:
                raise SourceError(f"{self.host}: the answer is empty") from error
            if body[:1] == b"<":
                raise SourceError(f"{self.host}: it answered with a page of HTML or XML, not JSON") from error
            raise SourceError(
                f"{self.host}: the answer is not JSON, or cut off ({len(body)} bytes)"
            ) from error


def _rest_s(retry_after: str, now: float) -> float | None:
    """Seconds that a Retry-After asks for, given in seconds or as a date; None where it asks for nothing known."""
    if re.fullmatch(r"\d{1,9}", retry_after.strip(), re.ASCII):
        return float(retry_after)
    try:
        return max(parsedate_to_datetime(retry_after).timestamp() - now, 0.0)
    except (ValueError, OverflowError, OSError):
        return None


def _os_words(error: OSError) -> str:
    """What the system says of a failed connection, without the address it says it with."""
    return (error.strerror or type(error).__name__).partition("[")[0].strip()[:80]
