import asyncio
import math
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from miner.control_commands import token_reader
from miner.metrics import Metrics
from miner.web.app import LedgerReader, make_app, serve
from miner.web.commands import (
    Commands,
    NoCommands,
    OverrideAnswer,
    OverrideState,
    OverrideWanted,
    Refusal,
    SignalAnswer,
    SignalState,
    SignalWanted,
    SignalWindow,
)
from miner.web.status import Ready, StatusDocument

NOW = 1_800_000_000.0
TOKEN = "0123456789abcdef0123456789abcdef"
STATE = SignalState("dr", "pause", active=True, windows=(SignalWindow(NOW, None),))
IN_FORCE = OverrideState("rack/1 07", "off", NOW, NOW + 60, "ana", "fan")


class Controller:
    """Hears commands, and refuses them if told to."""

    def __init__(self) -> None:
        self.heard: list[object] = []
        self.refusal: Refusal | None = None

    def now(self) -> float:
        return NOW

    def signals(self) -> tuple[SignalState, ...]:
        return (STATE,)

    def overrides(self) -> tuple[OverrideState, ...]:
        return (IN_FORCE,)

    async def post_signal(self, wanted: SignalWanted) -> SignalAnswer:
        self.heard.append(wanted)
        return self.refusal or STATE

    async def end_signal(self, name: str, who: str) -> SignalAnswer:
        self.heard.append((name, who))
        return self.refusal or STATE

    async def override(self, wanted: OverrideWanted) -> OverrideAnswer:
        self.heard.append(wanted)
        return self.refusal or IN_FORCE

    async def end_override(self, unit: str, who: str) -> Refusal | None:
        self.heard.append((unit, who))
        return self.refusal


@pytest.fixture
def controller() -> Controller:
    return Controller()


@pytest.fixture
def token_file(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text(f"{TOKEN}\nmore\n")
    return file


@pytest.fixture
def settings(status: StatusDocument, ledger: LedgerReader, token_file: Path) -> dict[str, Any]:
    return {
        "metrics": Metrics("0.1.0", "sha-ni"),
        "status": lambda: status,
        "ready": Ready,
        "ledger": ledger,
        "read_token": token_reader(token_file),
    }


@asynccontextmanager
async def client_of(
    settings: dict[str, Any], token: str | None = TOKEN
) -> AsyncIterator[aiohttp.ClientSession]:
    headers = {} if token is None else {"Authorization": f"Bearer {token}"}
    async with (
        serve(make_app(**settings), "127.0.0.1", 0) as address,
        aiohttp.ClientSession(f"http://{address.host}:{address.port}", headers=headers) as session,
    ):
        yield session


@pytest.fixture
async def client(settings: dict[str, Any], controller: Controller) -> AsyncIterator[aiohttp.ClientSession]:
    async with client_of({**settings, "commands": lambda: controller}) as session:
        yield session


def write(file: Path, text: str | None) -> None:
    file.unlink()
    if text is not None:
        file.write_text(text)


async def answer_of(response: aiohttp.ClientResponse) -> tuple[int, dict[str, Any]]:
    return response.status, await response.json(content_type=None)


async def test_a_signal_is_announced_with_its_end(
    client: aiohttp.ClientSession, controller: Controller
) -> None:
    async with client.post("/api/v1/signals/dr", json={"minutes": 15, "who": "utility"}) as response:
        status, document = await answer_of(response)
    assert (status, document["name"], document["windows"][0]["until"]) == (200, "dr", None)
    body = {"start": NOW + 60, "until": "2027-01-15T10:00:00+01:00", "cap_kw": 250}
    async with client.post("/api/v1/signals/cap", json=body) as response:
        assert response.status == 200
    async with client.post("/api/v1/signals/cap", json={"start": 5, "until": None}) as response:
        assert response.status == 200
    assert controller.heard == [
        SignalWanted("dr", NOW, NOW + 900, None, "utility"),
        SignalWanted("cap", NOW + 60, NOW + 3600, 250.0),
        SignalWanted("cap", NOW, math.inf),
    ]


async def test_a_signal_is_ended(client: aiohttp.ClientSession, controller: Controller) -> None:
    async with client.delete("/api/v1/signals/dr?who=utility") as response:
        assert response.status == 200
    assert controller.heard == [("dr", "utility")]


async def test_a_unit_is_overridden_and_given_back_whatever_stands_in_its_id(
    client: aiohttp.ClientSession, controller: Controller
) -> None:
    url = "/api/v1/units/rack/1%2007/override"
    body = {"mode": "off", "minutes": 1, "who": " ana ", "why": "fan"}
    async with client.post(url, json=body) as response:
        status, document = await answer_of(response)
    assert (status, document["unit"], document["who"]) == (200, "rack/1 07", "ana")
    async with client.delete(url, params={"who": "ana"}) as response:
        assert (response.status, await response.read()) == (204, b"")
    assert controller.heard == [
        OverrideWanted("rack/1 07", "off", NOW + 60, "ana", "fan"),
        ("rack/1 07", "ana"),
    ]


async def test_signals_and_overrides_are_told_without_a_token(
    settings: dict[str, Any], controller: Controller
) -> None:
    async with client_of({**settings, "commands": lambda: controller}, token=None) as client:
        async with client.get("/api/v1/signals") as response:
            assert [each["name"] for each in (await response.json())["signals"]] == ["dr"]
        async with client.get("/api/v1/overrides") as response:
            assert [each["unit"] for each in (await response.json())["overrides"]] == ["rack/1 07"]


COMMANDS = [
    ("POST", "/api/v1/signals/dr"),
    ("DELETE", "/api/v1/signals/dr"),
    ("POST", "/api/v1/units/a/override"),
    ("DELETE", "/api/v1/units/a/override"),
]


@pytest.mark.parametrize(("method", "url"), COMMANDS)
@pytest.mark.parametrize(
    "header", [None, "Bearer", "Bearer wrong", f"Basic {TOKEN}", f"Bearer {TOKEN}x", "Bearer \u00e4\u00fc"]
)
async def test_without_the_token_nothing_is_changed(
    settings: dict[str, Any], controller: Controller, method: str, url: str, header: str | None
) -> None:
    async with client_of({**settings, "commands": lambda: controller}, token=None) as client:
        headers = {} if header is None else {"Authorization": header}
        async with client.request(method, url, headers=headers, json={"minutes": 5}) as response:
            status, document = await answer_of(response)
            assert response.headers["WWW-Authenticate"].startswith("Bearer")
    assert (status, document["status"], document["instance"]) == (401, 401, url)
    assert "Authorization: Bearer" in document["detail"]
    assert controller.heard == []


@pytest.mark.parametrize(("method", "url"), COMMANDS)
async def test_where_no_token_is_configured_it_is_said_how(
    settings: dict[str, Any], method: str, url: str
) -> None:
    async with (
        client_of({**settings, "read_token": None}) as client,
        client.request(method, url) as response,
    ):
        status, document = await answer_of(response)
    assert status == 403
    assert "[http] token_file" in document["detail"]
    assert "openssl rand -hex 32" in document["detail"]


async def test_the_token_is_the_one_in_the_file_now(client: aiohttp.ClientSession, token_file: Path) -> None:
    for text, status in ((f"{TOKEN}new", 401), ("short", 403), ("", 403), (TOKEN, 200)):
        write(token_file, text)
        async with client.delete("/api/v1/signals/dr") as response:
            assert response.status == status
    write(token_file, None)
    async with client.delete("/api/v1/signals/dr") as response:
        assert (response.status, "token_file" in await response.text()) == (403, True)
    os.mkfifo(token_file)
    async with asyncio.timeout(5), client.delete("/api/v1/signals/dr") as response:
        assert (response.status, "token_file" in await response.text()) == (403, True)


async def test_many_who_come_at_once_are_all_let_in(client: aiohttp.ClientSession) -> None:
    async def end() -> int:
        async with client.delete("/api/v1/signals/dr") as response:
            return response.status

    assert await asyncio.gather(*(end() for _ in range(30))) == [200] * 30


@pytest.mark.parametrize(
    ("refusal", "status"),
    [
        (Refusal("unknown", "there is no signal of this name"), 404),
        (Refusal("wrong", "no limit in kW", "cap_kw"), 400),
        (Refusal("unavailable", "the ledger cannot be written"), 503),
    ],
)
async def test_what_is_refused_says_why(
    client: aiohttp.ClientSession, controller: Controller, refusal: Refusal, status: int
) -> None:
    controller.refusal = refusal
    body = {"minutes": 5, "mode": "off", "who": "ana"}
    for method, url in COMMANDS:
        sent = {key: body[key] for key in (body if "units" in url else ["minutes"])}
        async with client.request(method, url, json=sent) as response:
            found, document = await answer_of(response)
        assert (found, document["detail"]) == (status, refusal.detail)
        assert [error["parameter"] for error in document.get("errors", [])] == [
            name for name in (refusal.parameter,) if name
        ]


async def test_every_wrong_field_is_named_at_once(
    client: aiohttp.ClientSession, controller: Controller
) -> None:
    async with client.post("/api/v1/units/a/override", json={"until": 5, "who": 7, "x": 1}) as response:
        status, document = await answer_of(response)
    assert status == 400
    assert [error["parameter"] for error in document["errors"]] == ["x", "mode", "until", "who"]
    assert controller.heard == []


async def test_a_body_that_is_too_large_or_no_json_is_a_problem(client: aiohttp.ClientSession) -> None:
    url, headers = "/api/v1/signals/dr", {"Content-Type": "application/json"}
    for data, sent, status in (
        (b" " * 20_000, headers, 413),
        (b"{", headers, 400),
        (b"[1]", headers, 400),
        (b"{}", {"Content-Type": "text/plain"}, 415),
    ):
        async with client.post(url, data=data, headers=sent) as response:
            assert (response.status, response.content_type) == (status, "application/problem+json")


async def test_while_the_controller_does_not_run_nobody_obeys(settings: dict[str, Any]) -> None:
    nobody: Commands = NoCommands()
    assert (nobody.signals(), nobody.overrides()) == ((), ())
    body = {"minutes": 5}
    async with client_of(settings) as client:
        for method, url in COMMANDS:
            sent = {**body, "mode": "off", "who": "ana"} if "units" in url else body
            async with client.request(method, url, json=sent) as response:
                status, document = await answer_of(response)
            assert (status, "enabled is false" in document["detail"]) == (503, True)
