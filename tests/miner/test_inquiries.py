"""The commands that ask and go."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from miner import inquiries
from miner.checks import exit_code
from miner.config import Config
from miner.control_refusals import TapeRefusedError
from miner.ledger.store import Store
from regtest import chain
from regtest.bitcoind import Bitcoind
from tests.miner.stratum.scripted_pool import PoolThread

MakeConfig = Callable[..., Config]


@pytest.fixture
def tape(tmp_path: Path) -> Callable[[str], dict[str, Any]]:
    """Writes a tape of these rows, and gives its section."""

    def write(*rows: str) -> dict[str, Any]:
        file = tmp_path / "tape.csv"
        file.write_text("\n".join(["offset_s,usd_per_kwh", *rows]) + "\n")
        return {"file": str(file)}

    return write


@pytest.fixture
def pool_config(tmp_path: Path) -> Callable[..., Config]:
    """Makes a configuration with a controller and this pool, and neither node nor solo."""

    def make(url: str, **sections: Any) -> Config:
        settings: dict[str, Any] = {
            "network": "main",
            "pool": [{"url": url, "user": "me", "name": "home"}],
            "cpu": {"threads": 1},
            "market": {"btc_usd": 90_000.0},
            "power": {"usd_per_kwh": 0.05},
            "ledger": {"url": f"sqlite:///{tmp_path / 'hashmill.db'}"},
        }
        return Config.model_validate({**settings, **sections})

    return make


class TestPlainly:
    """What needs no node."""

    def test_without_threads_the_unit_has_no_modes_and_nothing_is_measured(
        self, make_config: MakeConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(inquiries, "measured_rate", pytest.fail)
        assert inquiries.plan(make_config(cpu={"threads": 0}))["units"] == []

    def test_a_fault_of_the_tape_is_a_row_of_the_check_for_each_line_and_a_wrong_configuration(
        self, make_config: MakeConfig, tape: Callable[..., dict[str, Any]]
    ) -> None:
        config = make_config(
            controller={"enabled": True}, cpu={"threads": 1}, tape=tape("0,0.05", "60,a lot", "70,much")
        )
        rows = [row for row in inquiries.check(config) if row.subject == "sources"]
        assert [row.exit_code for row in rows] == [2, 2]
        assert ":3" in rows[0].detail
        assert ":4" in rows[1].detail

    def test_a_fault_of_the_tape_ends_a_plan(
        self, make_config: MakeConfig, tape: Callable[..., dict[str, Any]]
    ) -> None:
        with pytest.raises(TapeRefusedError, match="a lot"):
            inquiries.plan(make_config(controller={"enabled": True}, tape=tape("0,a lot")))

    def test_where_no_node_answers_the_check_fails_and_still_tells_the_rest(
        self, make_config: MakeConfig
    ) -> None:
        rows = inquiries.check(make_config(cpu={"threads": 1}))
        assert exit_code(rows) == 1
        assert {"kernel", "unit cpu"} <= {row.subject for row in rows if row.ok}

    def test_pools_alone_are_enough(self, pool_config: Callable[..., Config]) -> None:
        with PoolThread() as pool:
            rows = inquiries.check(pool_config(pool.url))
            asked = pool.do(lambda seen: seen.methods())
        assert exit_code(rows) == 0
        assert [row.subject for row in rows] == ["pool home", "kernel", "unit cpu", "ledger", "prices"]
        assert "mining.submit" not in asked
        prices = rows[-1]
        assert prices.ok is None
        assert "read from the pool's jobs" in prices.detail

    def test_a_tape_brings_what_a_node_would_tell(
        self, pool_config: Callable[..., Config], tmp_path: Path
    ) -> None:
        (tmp_path / "tape.csv").write_text("offset_s,hashprice_usd_per_ph_day\n0,50\n")
        with PoolThread() as pool:
            rows = inquiries.check(pool_config(pool.url, tape={"file": str(tmp_path / "tape.csv")}))
        assert [row.ok for row in rows if row.subject == "prices"] == [True]

    def test_a_pool_that_is_down_fails_the_check_and_the_rest_is_told(
        self, pool_config: Callable[..., Config]
    ) -> None:
        rows = inquiries.check(pool_config("stratum+tcp://127.0.0.1:1"))
        assert exit_code(rows) == 1
        assert [row.subject for row in rows if row.ok is False] == ["pool home"]

    def test_a_ledger_that_cannot_be_read_is_told_once(self, make_config: MakeConfig, tmp_path: Path) -> None:
        (tmp_path / "hashmill.db").write_text("no database, but long enough to be looked at as one\n" * 100)
        config = make_config(
            controller={"enabled": True}, market={"btc_usd": 90_000.0}, power={"usd_per_kwh": 0.05}
        )
        rows = [row for row in inquiries.check(config) if "hashmill.db" in row.detail]
        assert [(row.subject, row.ok) for row in rows] == [("ledger", False)]


@pytest.mark.bitcoind
class TestOfANode:
    """What a real bitcoind is asked."""

    @pytest.fixture
    def config(self, bitcoind: Bitcoind, make_config: MakeConfig, tmp_path: Path) -> Config:
        chain.mine(bitcoind, 1)
        return make_config(
            bitcoind,
            cpu={"threads": 1},
            controller={"enabled": True},
            market={"btc_usd": 90_000.0},
            power={"usd_per_kwh": 0.05},
            ledger={"url": f"sqlite:///{tmp_path / 'none.db'}"},
        )

    def test_a_check_asks_the_node_the_units_and_the_prices_and_leaves_no_trace(
        self, config: Config, bitcoind: Bitcoind
    ) -> None:
        rows = inquiries.check(config)
        assert exit_code(rows) == 0
        assert {"payout", "template", "kernel", "unit cpu", "prices"} <= {row.subject for row in rows}
        assert config.ledger.file is not None
        assert not config.ledger.file.exists()
        assert bitcoind.rpc("getblockcount") == 1

    def test_a_check_runs_beside_a_daemon_on_its_ledger(self, config: Config) -> None:
        with Store.open(config.ledger.url):
            assert exit_code(inquiries.check(config)) == 0

    def test_without_a_controller_nobody_needs_prices(
        self, bitcoind: Bitcoind, make_config: MakeConfig
    ) -> None:
        rows = inquiries.check(make_config(bitcoind, cpu={"threads": 1}))
        assert exit_code(rows) == 0
        assert not any("price" in row.subject for row in rows)

    def test_hashprice_is_reckoned_with_the_chain_of_the_node(
        self, config: Config, bitcoind: Bitcoind
    ) -> None:
        report = inquiries.hashprice(config)
        difficulty = bitcoind.rpc("getblockchaininfo")["difficulty"]
        expected = 86400 * 1e15 / (difficulty * 2**32) * 50 * 90_000
        assert report["hashprice_usd_per_ph_day"] == pytest.approx(expected)

    def test_a_plan_knows_the_unit_by_the_rate_this_machine_was_just_measured_at(
        self, config: Config
    ) -> None:
        (unit,) = inquiries.plan(config)["units"]
        assert unit["to_mode"] == "full"  # on regtest any hash pays
        assert [mode["mode"] for mode in unit["modes"]] == ["off", "full"]
        assert unit["modes"][1]["th_s"] > 1e-7
