"""A preview sees what the daemon would, and touches nothing."""

import math
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from controller.decisions import Reason
from controller.ticks import POWER, SUBSIDY
from miner.config import Config
from miner.control_journal import LedgerJournal
from miner.control_preview import Preview
from miner.hashing.station import OFF, StationMode
from miner.ledger.recorder import Recorder
from miner.ledger.rows import PoolShareRow, PoolShareVerdict, TickRow
from miner.ledger.store import Store
from tests.miner.control_harness import CHEAP, MODES, a_model, config_of, silent_nodes
from tests.miner.harness import DECISION


class TestPreview:
    """A look at what would be decided; it touches nothing and writes nothing."""

    @staticmethod
    async def look(config: Config, modes: tuple[StationMode, ...] = MODES) -> Preview:
        return await Preview.make(config, silent_nodes(config), modes)

    async def test_prices_good_enough_to_decide_on_are_one_row(
        self, tape_of: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        ledger = {"url": f"sqlite:///{tmp_path / 'none.db'}"}
        preview = await self.look(config_of(tape=tape_of(usd_per_kwh=CHEAP), ledger=ledger))
        (row,) = preview.price_rows()
        assert (row.subject, row.ok, row.exit_code) == ("prices", True, 0)
        assert row.detail.endswith("power 5 ct/kWh")
        assert preview.hashprice()["known"]
        assert preview.plan()["units"][0]["to_mode"] == "full"
        assert not (tmp_path / "none.db").exists()

    async def test_every_price_that_is_missing_is_a_row_that_fails(
        self, tape_of: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        ledger = {"url": f"sqlite:///{tmp_path / 'none.db'}"}
        preview = await self.look(config_of(tape=tape_of(subsidy_sat=None), ledger=ledger))
        rows = preview.price_rows()
        assert [row.subject for row in rows] == [f"price {SUBSIDY}", f"price {POWER}"]
        assert {(row.ok, row.exit_code) for row in rows} == {(False, 1)}
        assert not preview.hashprice()["known"]

    async def test_it_goes_on_from_the_last_decision_of_the_ledger(
        self, recorder: Recorder, store: Store, tape_of: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        now = time.time()
        paused = replace(
            DECISION,
            at=now,
            from_mode="full",
            to_mode=OFF,
            reason=Reason.PAUSE,
            numbers={"since_s": now, "resume_wanted_s": now - 1.0},
        )
        await LedgerJournal(recorder).record_decisions([paused])
        config = config_of(
            tape=tape_of(usd_per_kwh=CHEAP),
            controller={"dry_run": False, "min_off_s": 600.0},
            ledger={"url": f"sqlite:///{tmp_path / 'hashmill.db'}"},
        )
        (unit,) = (await self.look(config)).plan()["units"]
        assert (unit["from_mode"], unit["to_mode"], unit["reason"]) == (OFF, OFF, "hold_min_off")
        assert len(store.decisions()) == 1

    async def test_it_reckons_with_the_first_pool_and_what_that_rejected_today(
        self, recorder: Recorder, tape_of: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        now = time.time()
        share = PoolShareRow(1, now, "pool.example:3333", 1, "w", "1", "00", 1.0, 1.0, "waiting")
        old = [replace(share, id=id_, at=now - 2 * 86_400) for id_ in range(1, 50)]
        recent = [replace(share, id=id_) for id_ in range(50, 150)]
        recorder.add_pool_shares([*old, *recent])
        recorder.settle_pool_shares(
            [PoolShareVerdict(row.id, now, "accepted" if row.id % 2 else "rejected") for row in recent]
        )
        await recorder.aclose()
        config = config_of(
            tape=tape_of(usd_per_kwh=CHEAP),
            pool=[{"url": "stratum+tcp://pool.example:3333", "user": "me", "fee": 0.02}],
            ledger={"url": f"sqlite:///{tmp_path / 'hashmill.db'}"},
        )
        earnings = (await self.look(config)).hashprice()["earnings"]
        assert (earnings["pool"], earnings["scheme"]) == ("pool.example:3333", "fpps")
        assert (earnings["pool_fee_ratio"], earnings["rejected_ratio"]) == (0.02, pytest.approx(0.25))

    async def test_a_machine_without_a_unit_still_has_prices(
        self, tape_of: Callable[..., dict[str, Any]], tmp_path: Path
    ) -> None:
        ledger = {"url": f"sqlite:///{tmp_path / 'none.db'}"}
        config = config_of(tape=tape_of(usd_per_kwh=CHEAP), cpu={"threads": 0}, ledger=ledger)
        preview = await self.look(config, ())
        assert preview.plan()["units"] == []
        assert preview.price_rows()[0].ok


async def test_how_prices_that_are_not_known_are_reckoned_with_is_part_of_the_look(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    (tmp_path / "market").write_bytes(a_model())
    config = config_of(
        tape=tape_of(usd_per_kwh=CHEAP),
        ledger={"url": f"sqlite:///{tmp_path / 'none.db'}"},
        controller={"real_time": {"model": str(tmp_path / "market")}},
        unit=[{"id": "cpu", "restart_s": 600.0}],
    )
    preview = await Preview.make(config, silent_nodes(config), MODES)
    known, *others = preview.real_time_rows(config)
    assert (known.subject, known.ok) == ("real time", True)
    assert known.detail.startswith("model of North hub")
    assert any(row.detail.startswith("not by the model yet: ") for row in others)
    assert {row.exit_code for row in others} == {0}


async def test_day_ahead_prices_that_cannot_be_read_leave_the_market_known(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    config = config_of(
        tape=tape_of(usd_per_kwh=CHEAP),
        ledger={"url": f"sqlite:///{tmp_path / 'none.db'}"},
        power={"day_ahead": {"file": {"path": str(tmp_path / "gone.csv")}}},
        controller={"real_time": {}},
    )
    preview = await Preview.make(config, silent_nodes(config), MODES)
    (row,) = preview.price_rows()
    assert (row.subject, row.ok) == ("prices", True)
    assert preview.plan()["units"][0]["to_mode"] == "full"


async def test_a_signal_said_over_mqtt_before_is_in_force_also_while_the_broker_is_away(
    tape_of: Callable[..., dict[str, Any]], tmp_path: Path
) -> None:
    url = f"sqlite:///{tmp_path}/ledger.db"
    now = time.time()
    with Store.open(url) as store:
        store.add_ticks([TickRow("signal:stop", 1.0, "1", now - 60, math.inf, now - 60, "mqtt 127.0.0.1:1")])
    config = config_of(
        tape=tape_of(usd_per_kwh=CHEAP),
        ledger={"url": url},
        signal=[{"name": "stop", "action": "pause", "topic": "grid/stop"}],
        mqtt={"host": "127.0.0.1", "port": 1},
    )
    report = (await Preview.make(config, silent_nodes(config), MODES)).plan()
    assert [(unit["to_mode"], unit["reason"]) for unit in report["units"]] == [("off", "signal")]
