"""What the check says of pools: of one that is well, and of each way in which one is not."""

from __future__ import annotations

import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from miner import checks_pools
from miner.checks_pools import ADVICE, check_payees, check_pools
from miner.config import Config
from miner.site import node_set, pool_settings
from miner.stratum.client import ProbeResult, Stage
from miner.stratum.pool_events import Failure
from regtest import chain
from regtest.ports import Reservation
from tests.miner.stratum.scripted_pool import ScriptedPool

if TYPE_CHECKING:
    from pathlib import Path

    from miner.checks import CheckRow
    from regtest.bitcoind import Bitcoind

SCRIPT = "0014751e76e8199196d454941c45d1b3a323f1433bd6"
STRATUM: dict[str, Any] = {"stratum": {"listen": "127.0.0.1:3333"}}


def config_of(*urls: str, more: dict[str, Any] | None = None, **keys: Any) -> Config:
    pools = [{"url": url, "user": "me.site1", "password": "hunter2", "name": "home", **keys} for url in urls]
    return Config.model_validate({"network": "main", "pool": pools, **(more or {})})


async def rows_of(config: Config) -> list[CheckRow]:
    return await check_pools(config, pool_settings(config, "1"))


async def row_of(pool: ScriptedPool, more: dict[str, Any] | None = None, **keys: Any) -> CheckRow:
    (row,) = await rows_of(config_of(pool.url, more=more, **keys))
    return row


@pytest.fixture
def hasty(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing is waited for long."""
    monkeypatch.setattr(checks_pools, "PROBE_LIMIT_S", 0.3)


@pytest.fixture
def pair(tmp_path: Path) -> tuple[Path, Path]:
    """A certificate for 127.0.0.1 that only it vouches for, and its key."""
    certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    names = ["-subj", "/CN=pool", "-addext", "subjectAltName=IP:127.0.0.1"]
    subprocess.run(
        [*command, *names, "-keyout", str(key), "-out", str(certificate)], check=True, capture_output=True
    )
    return certificate, key


class TestAgainstAPool:
    """A real one, on this machine."""

    async def test_one_that_is_well_is_told_with_what_it_gives(self) -> None:
        async with ScriptedPool(difficulty=65536.0, extranonce2_size=7) as pool:
            row = await row_of(pool, STRATUM)
        assert (row.subject, row.ok, row.exit_code) == ("pool home", True, 0)
        assert row.detail == (
            "sends work: difficulty 65,536, version mask 1fffe000, extranonce2 of 7 bytes: room for 16,777,216 units"
        )
        assert pool.judge.shares == []

    async def test_several_are_told_in_their_order(self) -> None:
        async with ScriptedPool("a") as a, ScriptedPool("b") as b:
            b.script.admits = lambda _user: False
            rows = await rows_of(config_of(a.url, b.url, name=""))
        assert [(row.subject, row.ok) for row in rows] == [
            (f"pool 127.0.0.1:{a.port}", True),
            (f"pool 127.0.0.1:{b.port}", False),
        ]

    async def test_a_port_where_nobody_listens_has_failed(self) -> None:
        with Reservation(1) as reserved:
            (row,) = await rows_of(config_of(f"stratum+tcp://127.0.0.1:{reserved.ports[0]}"))
        assert (row.ok, row.exit_code) == (False, 1)
        assert "nobody listens at this port" in row.detail

    async def test_a_refused_login_is_a_wrong_configuration_and_shows_no_password(self) -> None:
        async with ScriptedPool() as pool:
            pool.script.admits = lambda _user: False
            row = await row_of(pool)
        assert (row.ok, row.exit_code) == (False, 2)
        assert "Unauthorized worker" in row.detail
        assert row.detail.endswith("; correct user and password as the pool wants them")
        assert "hunter2" not in row.detail

    @pytest.mark.usefixtures("hasty")
    async def test_one_without_work_has_failed(self) -> None:
        async with ScriptedPool() as pool:
            pool.script.works = False
            row = await row_of(pool)
        assert (row.ok, row.exit_code) == (False, 1)
        assert "logged in, but no work" in row.detail
        assert ADVICE[Failure.NO_WORK] in row.detail

    @pytest.mark.usefixtures("hasty")
    async def test_one_that_says_nothing_has_failed(self) -> None:
        async with ScriptedPool() as pool:
            pool.script.hangs = True
            row = await row_of(pool)
        assert (row.ok, row.exit_code) == (False, 1)
        assert ADVICE[Failure.UNANSWERED] in row.detail

    async def test_a_certificate_is_verified_by_the_systems_authorities_or_its_own(
        self, pair: tuple[Path, Path]
    ) -> None:
        async with ScriptedPool(certificate=pair) as pool:
            refused = await row_of(pool)
            taken = await row_of(pool, ca_file=str(pair[0]))
        assert (refused.ok, refused.exit_code) == (False, 1)
        assert "`ca_file`" in refused.detail
        assert taken.ok

    async def test_one_that_leaves_no_room_has_failed(self) -> None:
        async with ScriptedPool(extranonce2_size=1) as pool:
            row = await row_of(pool)
        assert (row.ok, row.exit_code) == (False, 1)
        assert "the pool's extranonce2 has 1 byte" in row.detail

    async def test_room_for_fewer_than_may_connect_is_a_warning(self) -> None:
        async with ScriptedPool(extranonce2_size=2) as pool:
            alone, few = await row_of(pool), await row_of(pool, STRATUM)
        assert alone.ok
        assert (few.ok, few.exit_code) == (None, 0)
        assert few.detail.endswith(
            "room for 256 units, fewer than may connect: set [stratum] max_connections below 256, or take a pool that "
            "leaves more"
        )

    async def test_asics_without_version_rolling_are_warned_of(self) -> None:
        async with ScriptedPool(version_mask=0) as pool:
            alone, with_asics = await row_of(pool), await row_of(pool, STRATUM)
        assert alone.ok
        assert "no version rolling" in alone.detail
        assert with_asics.ok is None

    @pytest.mark.parametrize(("seconds", "told"), [(-7200, " s old"), (7200, " s ahead")])
    async def test_a_job_of_another_time_is_a_warning(self, seconds: int, told: str) -> None:
        async with ScriptedPool() as pool:
            pool.new_job(ntime_s=pool.job.ntime_s + seconds)
            row = await row_of(pool)
        assert (row.ok, row.exit_code) == (None, 0)
        assert told in row.detail
        assert "set this machine's clock" in row.detail


@pytest.mark.parametrize("kind", Failure)
async def test_every_failure_is_told_in_its_words_and_with_what_to_do(
    kind: Failure, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def failed(*_: object) -> ProbeResult:
        return ProbeResult(Stage.CONNECTING, kind, "pool.example:3333: it is so")

    monkeypatch.setattr(checks_pools, "probe", failed)
    (row,) = await rows_of(config_of("stratum+tcp://pool.example:3333"))
    assert row.ok is False
    assert row.exit_code == (2 if kind is Failure.LOGIN else 1)
    assert row.detail.split("; ", 1) == ["pool.example:3333: it is so", *filter(None, [ADVICE.get(kind)])]


async def test_a_name_that_does_not_exist_has_failed() -> None:
    (row,) = await rows_of(config_of("stratum+tcp://nowhere.invalid:3333"))
    assert (row.ok, row.exit_code) == (False, 1)
    assert "nowhere.invalid" in row.detail
    assert "DNS" in row.detail


async def test_without_pools_nothing_is_said() -> None:
    node = {"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c"}
    config = Config.model_validate({"network": "main", "bitcoind": [node]})
    assert await rows_of(config) == []
    assert await check_payees(config, node_set(config)) == []


@pytest.mark.bitcoind
class TestPayees:
    """Addresses are what a node says they are."""

    async def rows(self, bitcoind: Bitcoind, *payees: str) -> list[CheckRow]:
        dead = {"rpc_url": "http://127.0.0.1:1", "cookie_file": str(bitcoind.cookie_file)}
        alive = {"rpc_url": bitcoind.rpc_url, "cookie_file": str(bitcoind.cookie_file)}
        more = {"bitcoind": [dead, alive], "network": "regtest"}
        config = config_of("stratum+tcp://pool.example:3333", more=more, payees=list(payees))
        nodes = node_set(config)
        try:
            return await check_payees(config, nodes)
        finally:
            await nodes.close()

    async def test_the_first_node_that_answers_translates_them(self, bitcoind: Bitcoind) -> None:
        address = chain.new_address(bitcoind)
        (row,) = await self.rows(bitcoind, SCRIPT, address)
        assert (row.subject, row.ok) == ("payees of home", True)
        assert row.detail.startswith(f"{address} is script 0014")

    async def test_one_that_the_node_does_not_know_is_a_wrong_configuration(self, bitcoind: Bitcoind) -> None:
        (row,) = await self.rows(bitcoind, "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
        assert (row.ok, row.exit_code) == (False, 2)


async def test_payees_without_a_node_that_answers_are_not_judged() -> None:
    node = {"rpc_url": "http://127.0.0.1:1", "rpc_user": "me", "rpc_password": "x"}
    config = config_of(
        "stratum+tcp://pool.example:3333",
        more={"bitcoind": [node]},
        payees=["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"],
    )
    nodes = node_set(config)
    assert await check_payees(config, nodes) == []
    await nodes.close()
