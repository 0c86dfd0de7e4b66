from __future__ import annotations

import asyncio
import gzip
import json
import socket
import ssl
import subprocess
import time
from contextlib import asynccontextmanager
from email.utils import formatdate
from typing import TYPE_CHECKING, Any

import pytest
from aiohttp import web

from controller.sources.base import SourceError
from controller.sources.http import LONGEST_REST_S, HttpFeed, JsonFeed
from tests.price_servers import (
    JSON,
    Answer,
    PriceServer,
    bomb,
    cut,
    down,
    drips,
    hangs,
    html,
    packed,
    says,
    sends_to,
    text,
    torn,
    truncated,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator
    from pathlib import Path

NOW = 1_795_000_000.0
SECRET = "t0ps3cret"


@asynccontextmanager
async def served(*answers: Answer, **options: Any) -> AsyncIterator[tuple[JsonFeed, PriceServer]]:
    """A feed of a server that gives these answers to what it asks."""
    async with PriceServer() as server:
        url = server.serve("/price", *answers)
        options = {"timeout_s": 0.4, **options}
        feed = JsonFeed(url + f"?key={SECRET}", headers={"X-Key": SECRET}, **options)
        try:
            yield feed, server
        finally:
            await feed.close()


async def why(feed: HttpFeed, now: float = NOW) -> str:
    """What the feed says went wrong: without secrets, in one short line."""
    with pytest.raises(SourceError) as caught:
        await (feed.get(now) if isinstance(feed, JsonFeed) else feed.get_text(now))
    words = str(caught.value)
    assert words.startswith(f"{feed.host}: ")
    assert SECRET not in words
    assert "s3cret" not in words
    assert words.isprintable()
    assert len(words) < 200
    return words.removeprefix(f"{feed.host}: ")


async def test_json_is_parsed_whatever_it_claims_to_be() -> None:
    document = {"data": [1, 2.5, "ä", None]}
    body = json.dumps(document).encode()
    answers = [Answer(body, kind=kind) for kind in ("application/json", "text/html", "text/plain", "x")]
    answers += [packed(document), Answer(b"\xef\xbb\xbf" + body), Answer(b"\n " + body + b"\r\n")]
    async with served(*answers) as (feed, _):
        for _ in answers:
            assert await feed.get(NOW) == document


async def test_a_question_carries_its_parameters_and_headers_and_names_us() -> None:
    async with served(says(1), params={"pair": "XBT EUR"}) as (feed, server):
        await feed.get(NOW)
    assert server.asked[0].query == {"key": SECRET, "pair": "XBT EUR"}
    assert server.asked[0].headers["X-Key"] == SECRET
    assert server.asked[0].headers["User-Agent"] == "hashmill"
    assert "gzip" in server.asked[0].headers["Accept-Encoding"]


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (html(), "it answered with a page of HTML or XML, not JSON"),
        (html(502), "HTTP status 502: the server is in trouble"),
        (down(500), "HTTP status 500: the server is in trouble"),
        (down(401), "HTTP status 401: it wants a key, or refused this one"),
        (down(404), "HTTP status 404: there is no such page: is the URL right?"),
        (down(418), "HTTP status 418: not an answer"),
        (Answer(status=204), "HTTP status 204: not an answer"),
        (Answer(), "the answer is empty"),
        (Answer(b" \n"), "the answer is empty"),
        (truncated({"price": 92_000}), "the answer is not JSON, or cut off (11 bytes)"),
        (Answer(b'{"price": NaN}'), "the answer is not JSON, or cut off (14 bytes)"),
        (Answer(b'{"price": "\xff"}'), "the answer is not JSON, or cut off (14 bytes)"),
        (Answer(b"[" * 200_000), "the answer is not JSON, or cut off (200000 bytes)"),
        (cut({"price": 92_000}), "the connection broke before the whole answer was there"),
        (Answer(b"no gzip", headers={"Content-Encoding": "gzip"}), "the connection broke before"),
    ],
    ids=lambda value: value.replace(" ", "-") if isinstance(value, str) else "",
)
async def test_what_goes_wrong_is_said_in_words(answer: Answer, words: str) -> None:
    async with served(answer, says({"price": 1})) as (feed, _):
        assert (await why(feed)).startswith(words)
        assert await feed.get(NOW + 1) == {"price": 1}


async def test_a_torn_connection_is_tried_once_more_and_then_said() -> None:
    async with served(torn(), says(1), torn(), torn(), says(2)) as (feed, _):
        assert await feed.get(NOW) == 1
        assert await why(feed) == "the connection broke before the whole answer was there"
        assert await feed.get(NOW) == 2


@pytest.mark.parametrize("answer", [hangs(), drips({"price": 92_000})], ids=["silent", "drip by drip"])
async def test_an_answer_has_to_be_whole_in_time(answer: Answer) -> None:
    async with served(answer, timeout_s=0.2) as (feed, _):
        began = time.monotonic()
        assert await why(feed) == "no whole answer within 0.2 s"
        assert time.monotonic() - began < 2


@pytest.mark.parametrize("answer", [Answer(b"[" + b"1," * 40_000 + b"1]"), bomb()], ids=["plain", "packed"])
async def test_an_answer_has_its_greatest_size_packed_or_not(answer: Answer) -> None:
    async with served(answer, max_bytes=65_536, timeout_s=5.0) as (feed, _):
        assert await why(feed) == "the answer is larger than 65536 bytes"


async def test_an_answer_without_a_length_has_its_greatest_size_too() -> None:
    async def endless(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        for _ in range(1_000):
            try:
                await response.write(b"1" * 65_536)
            except ConnectionError:
                break
        return response

    app = web.Application()
    app.router.add_get("/", endless)
    runner = web.AppRunner(app, access_log=None, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    feed = JsonFeed(f"http://127.0.0.1:{runner.addresses[0][1]}/", max_bytes=100_000)
    assert await why(feed) == "the answer is larger than 100000 bytes"
    await feed.close()
    await runner.cleanup()


async def test_a_server_that_is_not_there_is_said_with_its_name_only() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
    feed = JsonFeed(f"http://127.0.0.1:{port}/{SECRET}")
    assert (await why(feed)).startswith("cannot connect (")
    assert feed.host == f"127.0.0.1:{port}"
    await feed.close()


async def test_a_name_nobody_knows_is_said() -> None:
    feed = JsonFeed("http://prices.invalid/", timeout_s=5.0)
    assert (await why(feed)).startswith(("cannot connect (", "no whole answer"))
    await feed.close()


async def test_what_is_no_http_is_said() -> None:
    async def babble(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"SSH-2.0-OpenSSH_9.2\r\n")
        writer.close()

    server = await asyncio.start_server(babble, "127.0.0.1", 0)
    feed = JsonFeed(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert (await why(feed)).startswith(("its answer is not HTTP (", "the connection broke"))
    await feed.close()
    server.close()
    await server.wait_closed()


@pytest.mark.parametrize("status", [429, 503])
async def test_a_server_that_asks_for_rest_gets_it(status: int) -> None:
    async with served(down(status, "120"), says(1)) as (feed, server):
        assert (await why(feed)).startswith(f"HTTP status {status}: ")
        assert "; not asked again for 20 s" in await why(feed, NOW + 100)
        assert server.times("/price") == 1
        assert await feed.get(NOW + 120) == 1


async def test_rest_may_be_asked_for_with_a_date() -> None:
    async with served(down(503, formatdate(NOW + 90, usegmt=True)), says(1)) as (feed, _):
        await why(feed)
        assert "not asked again for 30 s" in await why(feed, NOW + 60)
        assert await feed.get(NOW + 90) == 1


@pytest.mark.parametrize(
    ("answer", "rest_s"),
    [
        (down(429), 60.0),
        (down(429, "soon"), 60.0),
        (down(429, "999999999"), LONGEST_REST_S),
        (down(503, formatdate(NOW - 900, usegmt=True)), 0.0),
        (down(503), 0.0),
        (down(500, "120"), 0.0),
    ],
)
async def test_rest_is_never_endless_and_only_taken_where_it_is_due(answer: Answer, rest_s: float) -> None:
    async with served(answer, says(1)) as (feed, _):
        await why(feed)
        if rest_s:
            await why(feed, NOW + rest_s - 1)
        assert await feed.get(NOW + rest_s) == 1


async def test_a_clock_that_was_put_back_does_not_prolong_the_rest() -> None:
    async with served(down(429, "60"), says(1)) as (feed, _):
        await why(feed)
        assert await feed.get(NOW - 10_000) == 1


async def test_what_did_not_change_is_not_sent_again() -> None:
    marked = says({"price": 1}, headers={"ETag": '"v1"', "Last-Modified": formatdate(NOW, usegmt=True)})
    async with served(marked, marked, says({"price": 2})) as (feed, server):
        for price in (1, 1, 2, 2):
            assert await feed.get(NOW) == {"price": price}
    asked = [question.headers.get("If-None-Match") for question in server.asked]
    assert asked == [None, '"v1"', '"v1"', None]
    assert "If-Modified-Since" in server.asked[1].headers


async def test_an_answer_that_cannot_be_read_is_asked_for_anew() -> None:
    bad = Answer(b'{"price": 92', headers={"ETag": '"v1"'})
    async with served(bad, says({"price": 1}, headers={"ETag": '"v1"'})) as (feed, server):
        assert (await why(feed)).startswith("the answer is not JSON")
        assert await feed.get(NOW) == {"price": 1}
    assert "If-None-Match" not in server.asked[1].headers


async def test_nothing_changed_since_nothing_is_an_error() -> None:
    async with served(Answer(status=304)) as (feed, _):
        assert await why(feed) == "HTTP status 304: not an answer"


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_on_the_same_server_is_followed_with_headers(status: int) -> None:
    async with served(sends_to("/new?x=1", status)) as (feed, server):
        server.serve("/new", says(5))
        assert await feed.get(NOW) == 5
    assert server.asked[1].query == {"x": "1"}
    assert server.asked[1].headers["X-Key"] == SECRET


async def test_another_server_does_not_get_our_headers() -> None:
    async with PriceServer() as other, served(sends_to(other.serve("/price", says(7)))) as (feed, _):
        assert await feed.get(NOW) == 7
        assert "X-Key" not in other.asked[0].headers
        assert "key" not in other.asked[0].query


@pytest.mark.parametrize("target", ["file:///etc/passwd", "ftp://127.0.0.1/x", "", "http://[::1", "gopher:x"])
async def test_a_redirect_out_of_http_is_refused(target: str) -> None:
    async with served(sends_to(target)) as (feed, _):
        assert await why(feed) == "it redirects to what is not http: write the right URL"


async def test_redirects_end() -> None:
    async with served(sends_to("/price")) as (feed, server):
        assert await why(feed) == "it redirects more than 3 times"
        assert server.times("/price") == 4


async def test_a_question_with_a_body_is_posted_as_json_and_never_taken_for_unchanged() -> None:
    marked = says({"price": 1}, headers={"ETag": '"v1"'})
    async with served(marked, marked, body=b'{"query": 1}') as (feed, server):
        for _ in range(2):
            assert await feed.get(NOW) == {"price": 1}
    for asked in server.asked:
        assert (asked.method, asked.body) == ("POST", b'{"query": 1}')
        assert asked.headers["Content-Type"] == JSON
        assert "If-None-Match" not in asked.headers


@pytest.mark.parametrize("status", [307, 308])
async def test_a_body_follows_a_redirect_that_keeps_it_as_it_is(status: int) -> None:
    async with served(sends_to("/new", status), body=b"[]") as (feed, server):
        server.serve("/new", says(5))
        assert await feed.get(NOW) == 5
    assert [(asked.method, asked.body) for asked in server.asked] == [("POST", b"[]")] * 2


@pytest.mark.parametrize("status", [301, 302, 303])
async def test_a_redirect_that_would_lose_the_body_is_refused(status: int) -> None:
    async with served(sends_to("/new", status), body=b"[]") as (feed, server):
        server.serve("/new", says(5))
        assert await why(feed) == "it sends the question elsewhere: write the right URL"


async def test_another_server_does_not_get_the_body() -> None:
    async with PriceServer() as other:
        away = sends_to(other.serve("/price", says(7)), 307)
        async with served(away, body=b"[]") as (feed, _):
            assert await why(feed) == "it sends the question elsewhere: write the right URL"
        assert other.asked == []


async def test_text_comes_in_the_character_set_it_names() -> None:
    async with PriceServer() as server:
        latin = Answer("Börse;1,5".encode("latin-1"), kind="text/csv; charset=iso-8859-1")
        unknown = Answer(b"x", kind="text/csv; charset=klingon")
        url = server.serve("/csv", text("\ufeffstart;price"), latin, Answer(b"\xff"), unknown)
        feed = HttpFeed(url)
        assert await feed.get_text(NOW) == "start;price"
        assert await feed.get_text(NOW) == "Börse;1,5"
        assert await why(feed) == "the answer is no text in 'utf-8'"
        assert await why(feed) == "the answer is no text in 'klingon'"
        await feed.close()


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must start with http"),
        ("api.example.com/x", "must start with http"),
        ("file:///etc/passwd", "must start with http"),
        ("http://", "must start with http"),
        ("http://[::1/x", "cannot be read"),
        ("http://h:99999/", "cannot be read"),
        (f"https://user:{SECRET}@h/", "must hold no name or password"),
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(url: str, words: str) -> None:
    with pytest.raises(ValueError, match=words) as caught:
        JsonFeed(url)
    assert SECRET not in str(caught.value)


async def test_a_feed_can_be_closed_twice_and_asked_again() -> None:
    async with served(says(1)) as (feed, _):
        await feed.close()
        assert await feed.get(NOW) == 1
        await feed.close()
        await feed.close()
        assert await feed.get(NOW) == 1


@pytest.fixture
def certificate(tmp_path: Path) -> ssl.SSLContext:
    key, file = tmp_path / "key.pem", tmp_path / "cert.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    command += ["-keyout", str(key), "-out", str(file), "-subj", "/CN=localhost", "-days", "2"]
    subprocess.run(command, check=True, capture_output=True)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(file, key)
    return context


async def test_a_certificate_nobody_vouches_for_is_refused(certificate: ssl.SSLContext) -> None:
    server = await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0, ssl=certificate)
    feed = JsonFeed(f"https://127.0.0.1:{server.sockets[0].getsockname()[1]}/")
    assert await why(feed) == "its TLS certificate is not trusted"
    await feed.close()
    server.close()


async def test_an_https_address_without_tls_is_said() -> None:
    async with PriceServer() as server:
        feed = JsonFeed(server.url.replace("http:", "https:"))
        assert await why(feed) == "no TLS connection: is this an https address?"
        await feed.close()


def test_the_bomb_is_one() -> None:
    assert len(bomb().body) < 65_536 < len(gzip.decompress(bomb().body))
