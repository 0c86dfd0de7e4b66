"""Price servers on loopback that answer as the public ones do, and fail as they do.

    async with PriceServer() as server:
        server.serve("/v2/prices/BTC-USD/spot", coinbase(92_000), down(), html())
        feed = JsonFeed(server.url + "/v2/prices/BTC-USD/spot")

Each request to a path takes the next of its answers; the last one stays. What nobody serves is 404. `server.asked` has every
request, in order.
"""

from __future__ import annotations

import asyncio
import contextlib
import gzip
import json
import socket
import struct
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, Self

from aiohttp import web

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import TracebackType

JSON: Final = "application/json"


@dataclass(frozen=True, slots=True)
class Answer:
    """What is answered. `after_s`: pause before it; `drip_s`: pause between two of its bytes; `lost`: bytes of it that never come.

    `reset`: no answer, the connection is torn.
    """

    body: bytes = b""
    status: int = 200
    kind: str = JSON
    headers: Mapping[str, str] = field(default_factory=dict)
    after_s: float = 0.0
    drip_s: float = 0.0
    lost: int = 0
    reset: bool = False


@dataclass(frozen=True, slots=True)
class Asked:
    """A request as it came."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    method: str = "GET"
    body: bytes = b""


class PriceServer:
    """A server on a free port of loopback."""

    def __init__(self) -> None:
        self.asked: list[Asked] = []
        self._answers: dict[str, list[Answer]] = {}
        self._runner: web.AppRunner | None = None
        self._ended = asyncio.Event()
        self.url = ""

    def serve(self, path: str, *answers: Answer) -> str:
        """Answer so from now on; gives the whole URL of that path."""
        self._answers[path] = list(answers)
        return self.url + path

    def times(self, path: str) -> int:
        """How often a path was asked for."""
        return sum(asked.path == path for asked in self.asked)

    async def __aenter__(self) -> Self:
        app = web.Application()
        app.router.add_route("*", "/{any:.*}", self._answer)
        self._runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
        await self._runner.setup()
        await web.TCPSite(self._runner, "127.0.0.1", 0).start()
        self.url = f"http://127.0.0.1:{self._runner.addresses[0][1]}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._ended.set()
        assert self._runner is not None
        await self._runner.cleanup()

    async def _answer(self, request: web.Request) -> web.StreamResponse:
        body = await request.read()
        headers = dict(request.headers)
        self.asked.append(Asked(request.path, dict(request.query), headers, request.method, body))
        waiting = self._answers.get(request.path, [Answer(b"no such page", status=404, kind="text/plain")])
        answer = waiting.pop(0) if len(waiting) > 1 else waiting[0]
        if answer.reset:
            return self._tear(request)
        await self._pause(answer.after_s)
        if answer.headers.get("ETag") is not None and answer.headers["ETag"] == request.headers.get(
            "If-None-Match"
        ):
            return web.Response(status=304)
        response = web.StreamResponse(
            status=answer.status, headers={"Content-Type": answer.kind, **answer.headers}
        )
        response.content_length = len(answer.body)
        await response.prepare(request)
        sent = answer.body[: len(answer.body) - answer.lost]
        with contextlib.suppress(ConnectionError):
            if answer.drip_s:
                for position in range(len(sent)):
                    await response.write(sent[position : position + 1])
                    await self._pause(answer.drip_s)
            else:
                await response.write(sent)
            if answer.lost:
                return self._tear(request, response)
            await response.write_eof()
        return response

    async def _pause(self, seconds: float) -> None:
        """Wait, but no longer than the server lives."""
        if seconds:
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._ended.wait(), seconds)

    @staticmethod
    def _tear(request: web.Request, response: web.StreamResponse | None = None) -> web.StreamResponse:
        """Reset the connection instead of closing it."""
        assert request.transport is not None
        opened: socket.socket = request.transport.get_extra_info("socket")
        opened.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        request.transport.abort()
        return response or web.Response()


def says(document: Any, **more: Any) -> Answer:
    """This document in JSON."""
    return Answer(json.dumps(document).encode(), **more)


def text(body: str, kind: str = "text/plain; charset=utf-8") -> Answer:
    return Answer(body.encode(), kind=kind)


def html(status: int = 200) -> Answer:
    """The error page of a load balancer."""
    body = (
        b"<!DOCTYPE html><html><head><title>Just a moment...</title></head><body>token=s3cret</body></html>"
    )
    return Answer(body, status=status, kind="text/html; charset=UTF-8")


def down(status: int = 503, retry_after: str | None = None) -> Answer:
    """In trouble, or tired of us."""
    headers = {} if retry_after is None else {"Retry-After": retry_after}
    return Answer(b'{"message":"not now"}', status=status, headers=headers)


def hangs() -> Answer:
    """Takes the question and says nothing."""
    return Answer(b"{}", after_s=60.0)


def drips(document: Any, every_s: float = 0.05) -> Answer:
    """A byte now and then."""
    return says(document, drip_s=every_s)


def torn() -> Answer:
    """The connection is reset before an answer."""
    return Answer(reset=True)


def cut(document: Any, lost: int = 5) -> Answer:
    """The connection is reset before the last bytes."""
    return says(document, lost=lost)


def truncated(document: Any, lost: int = 5) -> Answer:
    """A whole answer whose JSON ends too early: what a cache kept of a torn one."""
    return Answer(json.dumps(document).encode()[:-lost])


def packed(document: Any) -> Answer:
    return Answer(gzip.compress(json.dumps(document).encode()), headers={"Content-Encoding": "gzip"})


def bomb(size: int = 4_000_000) -> Answer:
    """Small on the wire, huge unpacked."""
    return Answer(gzip.compress(b'"' + b"0" * size + b'"', 9), headers={"Content-Encoding": "gzip"})


def sends_to(url: str, status: int = 302) -> Answer:
    return Answer(b"moved", status=status, kind="text/plain", headers={"Location": url})


# As the public servers answer, by preset: the path that the preset asks, and the answer to it.


def coinbase(price: Any, currency: str = "USD") -> Answer:
    return says({"data": {"amount": f"{price}", "base": "BTC", "currency": currency}})


def kraken(price: Any, currency: str = "USD") -> Answer:
    pair = {
        "a": [f"{price}", "1", "1.000"],
        "b": [f"{price}", "1", "1.000"],
        "c": [f"{price}", "0.00067643"],
        "t": [34619, 38907],
        "o": "30502.80000",
    }
    return says({"error": [], "result": {f"XXBTZ{currency}": pair}})


KRAKEN_ERROR: Final = says({"error": ["EQuery:Unknown asset pair"]})


def bitstamp(price: Any, at: float | None = None) -> Answer:
    last = {"last": f"{price}", "high": "1", "vwap": "1", "volume": "15671.15645338", "open": "6940.94"}
    return says(last if at is None else {**last, "timestamp": f"{at:.0f}"})


def binance(price: Any, symbol: str = "BTCUSDT") -> Answer:
    return says({"symbol": symbol, "price": f"{price:.8f}"})


def gemini(price: Any) -> Answer:
    volume = {"BTC": "2210.505328803", "USD": "2135477.463379586263", "timestamp": 1483018200000}
    return says({"bid": "977.59", "ask": "977.35", "last": f"{price}", "volume": volume})


def coingecko(price: Any, at: float, currency: str = "usd") -> Answer:
    return says({"bitcoin": {currency: price, "last_updated_at": int(at)}})


def mempool(price: Any, at: float) -> Answer:
    return says({"time": int(at), "USD": price, "EUR": -1, "GBP": -1, "CAD": -1})


def bitfinex(price: Any) -> Answer:
    return says([price - 1, 20.5, price + 1, 18.2, -120, -0.0012, price, 1290.7, price + 900, price - 800])


def blockchain(price: Any, currency: str = "USD") -> Answer:
    return says({currency: {"15m": price, "last": price, "buy": price, "sell": price, "symbol": currency}})


def okx(price: Any, at: float) -> Answer:
    ticker = {"instType": "SPOT", "instId": "BTC-USDT", "last": f"{price}", "ts": f"{at * 1000:.0f}"}
    return says({"code": "0", "msg": "", "data": [ticker]})


def frankfurter(rate: Any, day: str, base: str = "EUR") -> Answer:
    return says({"amount": 1.0, "base": base, "date": day, "rates": {"USD": rate}})


def er_api(rate: Any, at: float, base: str = "EUR") -> Answer:
    rates = {base: 1, "USD": rate, "GBP": 0.87}
    return says({"result": "success", "time_last_update_unix": int(at), "base_code": base, "rates": rates})


def coinbase_rates(rate: Any, base: str = "EUR") -> Answer:
    return says({"data": {"currency": base, "rates": {"AED": "4.2", "USD": f"{rate}"}}})


BTC_SERVERS: Final[Mapping[str, tuple[str, Callable[[float, float], Answer]]]] = {
    "binance": ("/api/v3/ticker/price", lambda price, _: binance(price)),
    "bitfinex": ("/v2/ticker/tBTCUSD", lambda price, _: bitfinex(price)),
    "bitstamp": ("/api/v2/ticker/btcusd/", bitstamp),
    "blockchain": ("/ticker", lambda price, _: blockchain(price)),
    "coinbase": ("/v2/prices/BTC-USD/spot", lambda price, _: coinbase(price)),
    "coingecko": ("/api/v3/simple/price", coingecko),
    "gemini": ("/v1/pubticker/btcusd", lambda price, _: gemini(price)),
    "kraken": ("/0/public/Ticker", lambda price, _: kraken(price)),
    "mempool": ("/api/v1/prices", mempool),
    "okx": ("/api/v5/market/ticker", okx),
}
"""By preset: the path it asks for, and the answer to it from price (USD) and time."""

FX_SERVERS: Final[Mapping[str, tuple[str, Callable[[float, float], Answer]]]] = {
    "coinbase": ("/v2/exchange-rates", lambda rate, _: coinbase_rates(rate)),
    "er-api": ("/v6/latest/EUR", er_api),
    "frankfurter": ("/v1/latest", lambda rate, _: frankfurter(rate, "2026-11-20")),
}
"""By preset: the path it asks for EUR, and the answer to it from the rate and time."""
