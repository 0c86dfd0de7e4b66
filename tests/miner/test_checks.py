from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from miner import checks, kernel
from miner.checks import CheckRow, check_ledger, check_nodes, check_units, exit_code
from miner.config import Config
from miner.config_ledger import LedgerConfig
from miner.ledger.schema import HEAD
from miner.ledger.store import Store
from miner.site import node_set
from regtest import chain

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from miner.hashing.calibration import Choice
    from regtest.bitcoind import Bitcoind
    from regtest.postgres import Postgres

ANYONE = "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"


def config_for(
    *nodes: dict[str, Any], address: str = ANYONE, network: str = "regtest", threads: int = 1
) -> Config:
    return Config.model_validate(
        {
            "network": network,
            "bitcoind": list(nodes),
            "solo": {"payout_address": address},
            "cpu": {"threads": threads},
        }
    )


def login(node: Bitcoind, **more: Any) -> dict[str, Any]:
    return {"rpc_url": node.rpc_url, "cookie_file": str(node.cookie_file), **more}


async def rows_of(config: Config) -> list[CheckRow]:
    nodes = node_set(config)
    try:
        return await check_nodes(config, nodes)
    finally:
        await nodes.close()


def told(rows: list[CheckRow]) -> dict[str, bool | None]:
    return {row.subject: row.ok for row in rows}


def test_the_gravest_row_gives_the_exit_code() -> None:
    fine, failed = CheckRow("a", ok=True, detail=""), CheckRow("b", ok=False, detail="", exit_code=1)
    wrong, warning = CheckRow("c", ok=False, detail="", exit_code=2), CheckRow("d", ok=None, detail="")
    assert exit_code([]) == 0
    assert exit_code([fine, warning]) == 0
    assert exit_code([fine, failed, warning]) == 1
    assert exit_code([wrong, failed]) == 2


@pytest.mark.bitcoind
async def test_a_good_node_passes_everything(bitcoind: Bitcoind) -> None:
    chain.mine(bitcoind, 1)
    rows = await rows_of(
        config_for(login(bitcoind, name="home"), address=chain.new_address(bitcoind, "bech32m"))
    )
    assert {**told(rows), "block weight": True} == dict.fromkeys(
        ("bitcoind home", "network", "sync", "payout", "template", "block weight"), True
    )
    assert exit_code(rows) == 0
    assert "accepts our block 2" in next(row.detail for row in rows if row.subject == "template")


@pytest.mark.bitcoind
async def test_of_a_node_that_only_watches_pools_no_block_is_asked(bitcoind: Bitcoind) -> None:
    pool = {"url": "stratum+tcp://pool.example:3333", "user": "me"}
    config = Config.model_validate({"network": "regtest", "bitcoind": [login(bitcoind)], "pool": [pool]})
    rows = await rows_of(config)
    assert [row.subject.partition(" ")[0] for row in rows] == ["bitcoind", "network", "sync"]
    assert exit_code(rows) == 0


@pytest.mark.bitcoind
async def test_knots_is_asked_to_fill_its_blocks(bitcoind: Bitcoind) -> None:
    chain.mine(bitcoind, 1)
    rows = await rows_of(config_for(login(bitcoind)))
    row = next(row for row in rows if row.subject == "block weight")
    knots = "Knots" in bitcoind.rpc("getnetworkinfo")["subversion"]
    assert row.ok is (None if knots else True)
    assert ("blockmaxweight" in row.detail) is knots
    assert row.exit_code == 0


@pytest.mark.bitcoind
async def test_fees_left_behind_by_the_nodes_own_limit_are_told(
    bitcoind_factory: Callable[..., Bitcoind],
) -> None:
    node = bitcoind_factory(extra=["-blockmaxweight=9000", "-blockreservedweight=8000"])
    chain.fund(node, 6)
    chain.send_transactions(node, [1000] * 6)
    rows = await rows_of(config_for(login(node)))
    row = next(row for row in rows if row.subject == "block weight")
    assert row.ok is None
    assert "fees stay behind" in row.detail


@pytest.mark.bitcoind
async def test_block_hashes_are_looked_for_where_the_node_publishes_them(
    bitcoind_factory: Callable[..., Bitcoind],
) -> None:
    node = bitcoind_factory(zmq=True)
    right = await rows_of(config_for(login(node, zmq_hashblock=node.zmq_hashblock)))
    assert told(right)["zmq"] is True
    wrong = await rows_of(config_for(login(node, zmq_hashblock="tcp://127.0.0.1:9")))
    row = next(row for row in wrong if row.subject == "zmq")
    assert row.ok is None
    assert f"at {node.zmq_hashblock}, not at tcp://127.0.0.1:9" in row.detail


@pytest.mark.bitcoind
async def test_a_node_that_publishes_nothing_is_told(bitcoind_factory: Callable[..., Bitcoind]) -> None:
    node = bitcoind_factory(zmq=False)
    rows = await rows_of(config_for(login(node, zmq_hashblock="tcp://127.0.0.1:9")))
    row = next(row for row in rows if row.subject == "zmq")
    assert row.ok is None
    assert "it publishes no block hashes" in row.detail
    assert "-zmqpubhashblock=tcp://127.0.0.1:9" in row.detail


@pytest.mark.bitcoind
@pytest.mark.parametrize(
    "address",
    ["bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", ANYONE[:-1] + "q"],
)
async def test_an_address_the_node_does_not_own_up_to_is_a_wrong_configuration(
    bitcoind: Bitcoind, address: str
) -> None:
    rows = await rows_of(config_for(login(bitcoind), address=address))
    assert told(rows)["payout"] is False
    assert "template" not in told(rows)
    assert exit_code(rows) == 2


@pytest.mark.bitcoind
async def test_a_node_of_another_chain_is_a_wrong_configuration(bitcoind: Bitcoind) -> None:
    rows = await rows_of(config_for(login(bitcoind), network="main"))
    assert told(rows)["network"] is False
    assert "payout" not in told(rows)
    assert exit_code(rows) == 2


@pytest.mark.bitcoind
async def test_a_login_the_node_refuses_is_a_wrong_configuration(bitcoind: Bitcoind) -> None:
    wrong = {"rpc_url": bitcoind.rpc_url, "rpc_user": "me", "rpc_password": "hunter2"}
    (row,) = await rows_of(config_for(wrong))
    assert row.ok is False
    assert row.exit_code == 2
    assert "hunter2" not in row.detail


@pytest.mark.bitcoind
async def test_rows_of_several_nodes_say_whose_they_are(bitcoind: Bitcoind, tmp_path: Path) -> None:
    dead = {
        "rpc_url": "http://127.0.0.1:1",
        "cookie_file": str(tmp_path / "none"),
        "name": "dead",
    }
    rows = await rows_of(config_for(login(bitcoind, name="home"), dead))
    assert told(rows)["network (home)"] is True
    assert told(rows)["bitcoind dead"] is False
    assert exit_code(rows) == 1


async def test_a_node_that_is_down_has_failed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checks, "ANSWER_LIMIT_S", 0.1)
    (tmp_path / "cookie").write_text("__cookie__:x")
    dead = {"rpc_url": "http://127.0.0.1:1", "cookie_file": str(tmp_path / "cookie")}
    (row,) = await rows_of(config_for(dead))
    assert row.ok is False
    assert row.exit_code == 1
    assert "is bitcoind running" in row.detail


def test_units_name_the_kernel_and_the_threads() -> None:
    rows = list(check_units(config_for({"rpc_url": "http://h:1"}, threads=2), cores=4))
    assert told(rows) == {"kernel": True, "unit cpu": True}
    assert kernel.selected() in rows[0].detail
    assert "off 0 (0 W), half 1 (10 W), full 2 (20 W)" in rows[1].detail


def test_more_threads_than_cores_is_a_warning() -> None:
    (_, row) = check_units(config_for({"rpc_url": "http://h:1"}, threads=3), cores=2)
    assert row.ok is None
    assert "set [cpu] threads to 2" in row.detail


def test_no_thread_at_all_is_a_warning() -> None:
    (_, row) = check_units(config_for({"rpc_url": "http://h:1"}, threads=0), cores=2)
    assert row.ok is None
    assert "nothing will hash" in row.detail


def test_every_configured_worker_is_told_with_how_it_is_switched() -> None:
    modes = [{"name": "on", "th_s": 100.0, "watts": 3000.0}]
    units = [
        {"id": "rack", "worker": "rack.1", "control": "gate", "modes": modes},
        {"id": "axe", "worker": "axe.1", "control": "none"},
    ]
    bare = config_for({"rpc_url": "http://h:1"}, threads=0)
    config = Config.model_validate({**bare.model_dump(exclude_unset=True), "stratum": {}, "unit": units})
    (_, gate, measured) = check_units(config, cores=2)
    assert (gate.subject, gate.ok) == ("unit rack", True)
    assert gate.detail == (
        "worker rack.1, gets no work while it does not pay; modes: off 0 TH/s (0 W), on 100 TH/s (3000 W)"
    )
    assert measured.detail == "worker axe.1, measured, never switched"


def test_a_kernel_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "faulty", lambda: ("avx2",))
    (row, _) = check_units(config_for({"rpc_url": "http://h:1"}), cores=2)
    assert row.ok is None
    assert "avx2 fails its self-test" in row.detail


def test_without_any_kernel_the_check_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(_versions: int) -> Choice:
        raise kernel.KernelUnknownError("HASHMILL_KERNEL: there is no kernel 'x'")

    monkeypatch.setattr(checks, "choose", broken)
    (row,) = check_units(config_for({"rpc_url": "http://h:1"}), cores=2)
    assert row.ok is False
    assert row.exit_code == 1


class TestTheLedger:
    def row(self, ledger: dict[str, Any]) -> CheckRow:
        return check_ledger(LedgerConfig.model_validate(ledger))

    def test_one_that_is_not_there_yet_is_made_later(self, tmp_path: Path) -> None:
        row = self.row({"url": f"sqlite:///{tmp_path / 'x.db'}"})
        assert (row.ok, row.exit_code) == (True, 0)
        assert row.detail.endswith(
            f"x.db is empty: the daemon makes its tables (schema {HEAD}) when it starts"
        )
        assert list(tmp_path.iterdir()) == []

    def test_one_that_is_there_has_its_kind_and_schema(self, tmp_path: Path) -> None:
        url = f"sqlite:///{tmp_path / 'x.db'}"
        Store.open(url).close()
        row = self.row({"url": url, "site": "north"})
        assert row == CheckRow(
            "ledger", ok=True, detail=f"SQLite {tmp_path / 'x.db'}, site north, schema {HEAD}"
        )

    def test_one_of_an_older_release_is_migrated_later(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        url = f"sqlite:///{tmp_path / 'x.db'}"
        Store.open(url).close()
        monkeypatch.setattr(checks, "HEAD", "9999")
        assert self.row({"url": url}).detail.endswith(
            f"has schema {HEAD}: the daemon migrates it to 9999 when it starts"
        )

    def test_one_that_cannot_be_written_has_failed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr("os.access", lambda _path, _mode: False)
        row = self.row({"url": f"sqlite:///{tmp_path / 'x.db'}"})
        assert (row.ok, row.exit_code) == (False, 1)
        assert row.detail.endswith("x.db cannot be written")

    def test_one_that_is_none_has_failed(self, tmp_path: Path) -> None:
        (tmp_path / "x.db").write_text("Dear miner, " * 100)
        row = self.row({"url": f"sqlite:///{tmp_path / 'x.db'}"})
        assert (row.ok, row.exit_code) == (False, 1)
        assert "file is not a database" in row.detail

    def test_a_postgresql_that_is_not_there_is_told_without_the_password(self) -> None:
        row = self.row({"url": "postgresql+psycopg://me:hunter2@127.0.0.1:1/x"})
        assert (row.ok, row.exit_code) == (False, 1)
        assert "refused" in row.detail
        assert "hunter2" not in row.detail

    def test_a_postgresql_is_named_without_the_password(self, postgres: Postgres) -> None:
        url = postgres.new_database()
        Store.open(url).close()
        row = self.row({"url": url})
        postgres.give_back(url)
        assert row.ok
        assert row.detail.startswith("PostgreSQL postgresql+psycopg://hashmill:***@127.0.0.1:")
        assert postgres.password not in row.detail
