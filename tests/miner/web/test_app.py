import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import msgspec
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from miner.ledger.recorder import Recorder
from miner.ledger.rows import BlockRow, DecisionRow, OutcomeRow, PoolShareRow, ShareRow
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.web.app import LedgerReader, NoUnits, UnitReader, WebError, make_app, serve
from miner.web.status import NotReady, Readiness, Ready, StatusDocument, UnitPage, UnitStatus

BLOCK = BlockRow(
    "aa", 101, "bb", 5.0, "cpu", "1f", "solo", 5_000_000_000, 1.5, "51", b"\x00raw", status="accepted"
)
DECISION = DecisionRow(
    "01", 6.0, "cpu", "all", "off", "unprofitable", {"kwh": 0.08}, "below 5.9 ct", dry_run=False
)
SHARE = ShareRow("rack.07", 7.0, 512.0, 9000.5, "cc", "1f", "bb")
POOL_SHARE = PoolShareRow(
    *(7, 8.0, "main", 3, "account.rack", "5f", "dd", 9000.5, 4096.0, "rejected", 21, "stale", 8.25),
    unit_name="rack.07",
)
OUTCOME = OutcomeRow("01", 6.1, "confirmed", mode_read="off")


class FakeUnits:
    """Two units, one of which the ledger knows by another name."""

    def __init__(self) -> None:
        self.units = {"rack1-07": "rack.07", "user/rig 1": "user/rig 1"}
        self.asked: tuple[int, str] | None = None

    def page(self, limit: int, after: str) -> UnitPage:
        self.asked = (limit, after)
        return UnitPage(units=tuple(UnitStatus(id=unit) for unit in self.units), total=2, next="rack1-07")

    def one(self, unit_id: str) -> UnitStatus | None:
        return UnitStatus(id=unit_id, worker=self.units[unit_id]) if unit_id in self.units else None

    def name_of(self, unit_id: str) -> str:
        return self.units.get(unit_id, unit_id)

    def id_of(self, name: str) -> str:
        return next((unit for unit, known in self.units.items() if known == name), name)


@dataclass
class Daemon:
    """What stands behind the application in these tests."""

    status: StatusDocument
    ledger: LedgerReader
    readiness: Readiness = field(default_factory=Ready)
    metrics: Metrics = field(default_factory=lambda: Metrics("0.1.0", "sha-ni"))
    units: UnitReader = field(default_factory=FakeUnits)

    def app(self) -> web.Application:
        return make_app(
            metrics=self.metrics,
            status=lambda: self.status,
            ready=lambda: self.readiness,
            ledger=self.ledger,
            units=lambda: self.units,
        )


@asynccontextmanager
async def client_of(app: web.Application) -> AsyncIterator[aiohttp.ClientSession]:
    async with serve(app, "127.0.0.1", 0) as address:
        base = f"http://{address.host}:{address.port}"
        async with aiohttp.ClientSession(base, timeout=aiohttp.ClientTimeout(10)) as session:
            yield session


@pytest.fixture
def daemon(status: StatusDocument, ledger: LedgerReader) -> Daemon:
    return Daemon(status, ledger)


@pytest.fixture
async def client(daemon: Daemon) -> AsyncIterator[aiohttp.ClientSession]:
    async with client_of(daemon.app()) as session:
        yield session


async def test_the_process_is_healthy_while_it_answers(client: aiohttp.ClientSession) -> None:
    async with client.get("/healthz") as response:
        assert (response.status, await response.text()) == (200, "ok\n")


async def test_the_daemon_is_ready_while_work_is_served_and_says_why_not(
    client: aiohttp.ClientSession, daemon: Daemon
) -> None:
    async with client.get("/readyz") as response:
        assert response.status == 200
    daemon.readiness = NotReady("no bitcoind is up")
    async with client.get("/readyz") as response:
        assert response.status == 503
        assert response.content_type == "application/problem+json"
        document = await response.json(content_type=None)
    assert (document["detail"], document["status"]) == ("no bitcoind is up", 503)


async def test_metrics_are_what_prometheus_reads(client: aiohttp.ClientSession, daemon: Daemon) -> None:
    daemon.metrics.block_found()
    async with client.get("/metrics") as response:
        assert response.headers["Content-Type"].startswith("text/plain; version=")
        families = {family.name: family for family in text_string_to_metric_families(await response.text())}
    assert families["hashmill_blocks"].samples[0].value == 1
    async with client.get(
        "/metrics", headers={"Accept": "application/openmetrics-text;version=1.0.0"}
    ) as response:
        assert response.content_type == "application/openmetrics-text"
        assert (await response.text()).endswith("# EOF\n")


async def test_the_status_is_the_daemons_own(client: aiohttp.ClientSession, status: StatusDocument) -> None:
    async with client.get("/api/v1/status") as response:
        assert response.content_type == "application/json"
        assert msgspec.json.decode(await response.read(), type=StatusDocument) == status


async def test_the_page_is_html(client: aiohttp.ClientSession) -> None:
    async with client.get("/") as response:
        assert (response.status, response.content_type, response.charset) == (200, "text/html", "utf-8")
        assert "Hashmill 0.1.0" in await response.text()


async def test_decisions_come_with_what_became_of_them(client: aiohttp.ClientSession, ledger: Any) -> None:
    ledger.decision_rows, ledger.outcome_rows = [DECISION], {"01": [OUTCOME], "02": [OUTCOME]}
    async with client.get("/api/v1/decisions?limit=5&unit=cpu&since=1.5") as response:
        document = await response.json()
    assert ledger.asked == {"limit": 5, "unit": "cpu", "since": 1.5}
    (decision,) = document["decisions"]
    assert (decision["reason"], decision["numbers"], decision["dry_run"]) == (
        "unprofitable",
        {"kwh": 0.08},
        False,
    )
    assert [(one["outcome"], one["mode_read"]) for one in decision["outcomes"]] == [("confirmed", "off")]


async def test_blocks_come_without_their_bytes(client: aiohttp.ClientSession, ledger: Any) -> None:
    ledger.block_rows = [BLOCK]
    async with client.get("/api/v1/blocks") as response:
        document = await response.json()
    assert ledger.asked == {"limit": 100, "since": 0.0}
    (block,) = document["blocks"]
    assert (block["hash"], block["status"], block["reward_sat"]) == ("aa", "accepted", 5_000_000_000)
    assert "raw" not in block


async def test_units_come_page_by_page(client: aiohttp.ClientSession, daemon: Daemon) -> None:
    async with client.get("/api/v1/units?limit=2&after=a%2Fb") as response:
        document = await response.json()
    assert isinstance(daemon.units, FakeUnits)
    assert daemon.units.asked == (2, "a/b")
    assert ([unit["id"] for unit in document["units"]], document["total"], document["next"]) == (
        ["rack1-07", "user/rig 1"],
        2,
        "rack1-07",
    )


@pytest.mark.parametrize("unit_id", ["rack1-07", "user/rig 1"])
async def test_a_unit_is_found_by_its_id_whatever_stands_in_it(
    client: aiohttp.ClientSession, unit_id: str
) -> None:
    async with client.get(f"/api/v1/units/{unit_id}") as response:
        assert (await response.json())["id"] == unit_id


async def test_a_unit_there_is_not_is_a_problem(client: aiohttp.ClientSession) -> None:
    async with client.get("/api/v1/units/none") as response:
        assert (response.status, response.content_type) == (404, "application/problem+json")
        assert (await response.json(content_type=None))["detail"] == "there is no unit of this id"


async def test_shares_are_asked_for_by_the_name_in_the_ledger_and_told_by_the_units_id(
    client: aiohttp.ClientSession, ledger: Any
) -> None:
    ledger.share_rows = [SHARE]
    async with client.get("/api/v1/shares?limit=3&unit=rack1-07&since=2") as response:
        (share,) = (await response.json())["shares"]
    assert ledger.asked == {"limit": 3, "unit": "rack.07", "since": 2.0}
    assert (share["unit"], share["difficulty"], share["share_difficulty"]) == ("rack1-07", 512.0, 9000.5)


async def test_pools_are_those_of_the_status(client: aiohttp.ClientSession, status: StatusDocument) -> None:
    async with client.get("/api/v1/pools") as response:
        assert response.content_type == "application/json"
        body = await response.read()
    document = msgspec.json.decode(body)
    assert body == msgspec.json.encode({"pools": status.pools})
    assert document["pools"][0]["shares"]["accepted"] == 9


async def test_shares_handed_to_pools_come_with_the_pool_s_word(
    client: aiohttp.ClientSession, ledger: Any
) -> None:
    ledger.pool_share_rows = [POOL_SHARE]
    async with client.get("/api/v1/pools/shares?limit=5&pool=main&since=1.5") as response:
        (share,) = (await response.json())["shares"]
    assert ledger.asked == {"limit": 5, "pool": "main", "since": 1.5}
    assert share == {
        "id": 7,
        "at": 8.0,
        "pool": "main",
        "unit": "rack1-07",
        "worker": "account.rack",
        "job_id": "5f",
        "hash": "dd",
        "difficulty": 9000.5,
        "credited": 4096.0,
        "result": "rejected",
        "code": 21,
        "detail": "stale",
        "answered_at": 8.25,
    }


def test_before_there_are_units_there_are_none() -> None:
    units: UnitReader = NoUnits()
    assert (units.page(10, "").total, units.one("cpu")) == (0, None)
    assert (units.name_of("a"), units.id_of("b")) == ("a", "b")


async def test_a_real_ledger_fits_behind_the_api(tmp_path: Path, status: StatusDocument) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'hashmill.db'}") as store:
        async with Recorder(store) as recorder, client_of(Daemon(status, recorder).app()) as client:
            await recorder.add_block(BLOCK)
            await recorder.add_decisions([DECISION])
            await recorder.add_outcomes([OUTCOME])
            async with client.get("/api/v1/blocks?since=5") as response:
                assert [block["hash"] for block in (await response.json())["blocks"]] == ["aa"]
            async with client.get("/api/v1/shares") as response:
                assert (await response.json())["shares"] == []
            await recorder.add_pool_shares([POOL_SHARE])
            async with client.get("/api/v1/pools/shares?pool=main") as response:
                assert [share["detail"] for share in (await response.json())["shares"]] == ["stale"]
            async with client.get("/api/v1/decisions?unit=cpu") as response:
                (decision,) = (await response.json())["decisions"]
    assert (decision["id"], decision["outcomes"][0]["outcome"]) == ("01", "confirmed")


@pytest.mark.parametrize(
    "path",
    [
        "/api/v1/decisions?limit=0",
        "/api/v1/blocks?unit=cpu",
        "/api/v1/blocks?since=soon",
        "/api/v1/units?since=1",
        "/api/v1/shares?after=x",
        "/api/v1/pools/shares?unit=cpu",
    ],
)
async def test_a_query_that_is_not_understood_is_refused(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path) as response:
        assert response.status == 400
        assert len((await response.json(content_type=None))["errors"]) == 1


@pytest.mark.parametrize("path", ["/", "/metrics", "/api/v1/status", "/healthz", "/nowhere"])
async def test_every_answer_is_for_this_site_only(client: aiohttp.ClientSession, path: str) -> None:
    async with client.get(path, headers={"Origin": "http://evil.example"}) as response:
        assert response.headers["X-Content-Type-Options"] == "nosniff"
        assert "default-src 'none'" in response.headers["Content-Security-Policy"]
        assert response.headers["Cache-Control"] == "no-store"
        assert not any(name.startswith("Access-Control-") for name in response.headers)


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH", "OPTIONS"])
async def test_nothing_can_be_changed(client: aiohttp.ClientSession, method: str) -> None:
    async with client.request(method, "/api/v1/status") as response:
        assert response.status == 405
        assert response.headers["Allow"] == "GET, HEAD"


async def test_a_status_that_fails_is_a_problem_and_the_rest_goes_on(daemon: Daemon) -> None:
    def broken() -> StatusDocument:
        raise RuntimeError("not yet")

    app = make_app(metrics=daemon.metrics, status=broken, ready=Ready, ledger=daemon.ledger)
    async with client_of(app) as client:
        async with client.get("/api/v1/status") as response:
            assert response.status == 500
        async with client.get("/healthz") as response:
            assert response.status == 200


async def test_a_port_that_is_taken_is_a_clear_error(daemon: Daemon) -> None:
    async with serve(daemon.app(), "127.0.0.1", 0) as address:
        with pytest.raises(WebError, match=rf"cannot listen on 127\.0\.0\.1:{address.port}: .*in use"):
            async with serve(daemon.app(), "127.0.0.1", address.port):
                pass


async def test_a_request_that_is_no_http_is_told_in_one_line_without_a_traceback(
    daemon: Daemon, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with serve(daemon.app(), "127.0.0.1", 0) as address:
        reader, writer = await asyncio.open_connection(*address[:2])
        writer.write("GET /api/v1/decisions?limit=\u0663 HTTP/1.1\r\nHost: x\r\n\r\n".encode())
        assert b" 400 " in await reader.readline()
        writer.close()
        await writer.wait_closed()
    assert [(record.message, vars(record).get("error")) for record in caplog.records] == [
        ("request_malformed", "Invalid char in url query")
    ]


async def test_an_address_that_is_not_ours_is_a_clear_error(daemon: Daemon) -> None:
    with pytest.raises(WebError, match=r"cannot listen on 192\.0\.2\.1:0"):
        async with serve(daemon.app(), "192.0.2.1", 0):
            pass


async def test_the_port_is_free_again_when_the_server_stopped(daemon: Daemon) -> None:
    async with serve(daemon.app(), "127.0.0.1", 0) as address:
        pass
    with socket.socket() as taken:
        taken.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        taken.bind(address[:2])


async def test_stopping_waits_for_no_client_that_keeps_its_connection(daemon: Daemon) -> None:
    async with serve(daemon.app(), "127.0.0.1", 0) as address:
        reader, writer = await asyncio.open_connection(*address[:2])
        writer.write(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        started = asyncio.get_running_loop().time()
    assert asyncio.get_running_loop().time() - started < 3
    writer.close()
    await writer.wait_closed()


async def test_ipv6_works_where_the_machine_has_it(daemon: Daemon) -> None:
    try:
        with socket.socket(socket.AF_INET6) as probe:
            probe.bind(("::1", 0))
    except OSError:
        pytest.skip("no IPv6 loopback here")
    async with serve(daemon.app(), "::1", 0) as address:
        assert address.host == "::1"
