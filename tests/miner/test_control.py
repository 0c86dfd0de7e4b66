"""The controller's place in the daemon: what it is built of, its journal in the ledger, what it tells."""

import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, ClassVar

import pytest

from controller.decisions import Outcome, OutcomeKind, Reason
from controller.earnings import GROSS
from controller.loop import LoopConfig
from controller.ticks import BTC_USD, CHAIN_HEIGHT, DIFFICULTY, FEES, POWER, SUBSIDY
from controller.units import Unit
from miner.config import Config, ControllerConfig
from miner.control import (
    Control,
    Preview,
    TapeRefusedError,
    UnitWorth,
    _Ears,
    _loop_config,
    _units,
    played_tape,
)
from miner.control_gates import Gates
from miner.control_journal import LedgerJournal
from miner.hashing.station import OFF, UNIT_ID, CpuStation, StationMode, station_modes
from miner.ledger.recorder import Recorder
from miner.ledger.rows import PoolShareRow, PoolShareVerdict
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.node.nodes import NodeSet
from miner.site import node_set
from miner.web.status import MarketStatus
from miner.work.pay import PoolPay
from miner.work.roster import HashingUnit
from tests.miner.harness import ADDRESS, DECISION, NOW, job, shown

CHAIN = {"btc_usd": 90_000, "difficulty": 0.02, "subsidy_sat": 312_500_000, "fees_sat": 0}
"""Numbers of a tape with a chain so easy that 40 MH/s find a block every other second: any price of power pays."""
HARD = 1e12
"""A difficulty at which they never pay."""
CHEAP = 0.05
MODES = (StationMode(OFF, 0, 0.0, 0.0, 0.0), StationMode("full", 1, 4e-5, 15.0, 4e-5))


def config_of(**sections: Any) -> Config:
    return Config.model_validate(
        {
            "network": "regtest",
            "bitcoind": [{"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c"}],
            "solo": {"payout_address": ADDRESS},
            "cpu": {"threads": 1, "modes": [{"name": "full", "threads": 1, "watts": 15.0, "th_s": 4e-5}]},
            **sections,
        }
    )


@pytest.fixture
def tape_of(tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """Writes a tape of one row that holds for ever, and gives its section; None leaves a column out."""

    def write(**columns: Any) -> dict[str, Any]:
        columns = {name: value for name, value in {**CHAIN, **columns}.items() if value is not None}
        file = tmp_path / "tape.csv"
        file.write_text(f"offset_s,{','.join(columns)}\n0,{','.join(map(str, columns.values()))}\n")
        return {"file": str(file)}

    return write


def silent_nodes(config: Config) -> NodeSet:
    """The configured nodes, none of which answers."""
    nodes = node_set(config)
    for node in nodes:
        node.up = False
    return nodes


def nobody(_unit: HashingUnit, _reason: str) -> None:
    """Hears of no gate."""


class TestConfiguration:
    """Every key that says how to control reaches what controls."""

    READ: ClassVar[dict[str, tuple[Any, Callable[[LoopConfig, Unit], Any]]]] = {
        "dry_run": (False, lambda loop, _: loop.policy.dry_run),
        "tick_s": (7.0, lambda loop, _: loop.tick_s),
        "horizon_hours": (5.0, lambda loop, _: loop.horizon_hours),
        "min_on_s": (11.0, lambda _, unit: unit.min_on_s),
        "min_off_s": (12.0, lambda _, unit: unit.min_off_s),
        "dead_band_ratio": (0.07, lambda loop, _: loop.policy.dead_band),
        "pool_fee": (0.01, lambda loop, _: loop.policy.earned.pool_fee),
        "stale_ratio": (0.03, lambda loop, _: loop.policy.earned.stale),
        "safe_mode": ("full", lambda _, unit: unit.safe_mode),
        "grace_s": (13.0, lambda loop, _: loop.policy.grace_s),
        "confirm_s": (1.5, lambda loop, _: loop.actuation.confirm_s),
        "attempts": (4, lambda loop, _: loop.actuation.attempts),
        "retry_after_s": (14.0, lambda loop, _: loop.actuation.retry_after_s),
        "unit_max_age_s": (15.0, lambda loop, _: loop.policy.unit_max_age_s),
        "max_changes_per_minute": (2, lambda loop, _: loop.policy.max_changes_per_minute),
        "max_age_s": ({"btc_usd": 16.0}, lambda loop, _: {"btc_usd": loop.policy.rules[BTC_USD].max_age_s}),
        "bounds": (
            {"btc_usd": [1.0, 2.0]},
            lambda loop, _: {"btc_usd": [loop.policy.rules[BTC_USD].low, loop.policy.rules[BTC_USD].high]},
        ),
    }

    @pytest.mark.parametrize("key", READ)
    def test_a_key_is_read(self, key: str) -> None:
        value, read = self.READ[key]
        config = config_of(controller={key: value})
        (unit,) = _units(config, MODES)
        assert read(_loop_config(config), unit) == value
        default = config_of()
        assert read(_loop_config(default), _units(default, MODES)[0]) != value

    def test_no_key_is_left_out(self) -> None:
        elsewhere = {
            "enabled",  # whether there is a controller at all
            "site_cap_kw",  # refused unless 0
        }
        assert set(self.READ) | elsewhere == set(ControllerConfig.model_fields)

    def test_a_unit_s_own_settings_go_before_the_general_ones(self) -> None:
        own = {"id": UNIT_ID, "min_on_s": 1.0, "min_off_s": 0.0, "restart_s": 3.0, "safe_mode": "full"}
        (unit,) = _units(config_of(unit=[own], controller={"min_on_s": 9.0, "min_off_s": 9.0}), MODES)
        assert (unit.min_on_s, unit.min_off_s, unit.restart_s, unit.safe_mode) == (1.0, 0.0, 3.0, "full")

    def test_the_unit_has_the_modes_of_the_station(self) -> None:
        (unit,) = _units(config_of(), MODES)
        assert [(m.name, m.th_s, m.watts) for m in unit.curve.modes] == [(OFF, 0, 0), ("full", 4e-5, 15)]

    def test_a_machine_that_does_not_hash_has_no_unit(self) -> None:
        assert _units(config_of(cpu={"threads": 0}), ()) == []

    def test_a_difficulty_near_zero_is_believed_on_test_chains_only(self) -> None:
        regtest, main = (
            _loop_config(config_of(network=n)).policy.rules[DIFFICULTY] for n in ("regtest", "main")
        )
        assert regtest.low < 1e-9
        assert main.low > 1e10


class TestTapes:
    """A tape is read before anything is decided by it."""

    def test_a_tape_with_a_fault_is_refused_with_its_file_and_line(self, tmp_path: Path) -> None:
        file = tmp_path / "tape.csv"
        file.write_text("offset_s,usd_per_kwh\n0,0.1\n60,cheap\n")
        config = config_of(tape={"file": str(file)})
        with pytest.raises(TapeRefusedError, match=rf"{file}:3: .*'cheap' is not a number"):
            played_tape(config, NOW)

    def test_a_tape_that_has_gone_is_refused(self, tape_of: Callable[..., dict[str, Any]]) -> None:
        config = config_of(tape=tape_of())
        Path(config.tape.file).unlink()  # type: ignore[union-attr]
        with pytest.raises(TapeRefusedError, match="No such file"):
            played_tape(config, NOW)

    @pytest.mark.parametrize("start", [1e9, "2026-01-12T00:00:00Z"])
    def test_a_start_that_is_not_on_the_tape_is_refused(self, tmp_path: Path, start: Any) -> None:
        file = tmp_path / "tape.csv"
        file.write_text("offset_s,usd_per_kwh\n0,0.1\n60,0.2\n")
        config = config_of(tape={"file": str(file), "start": start})
        with pytest.raises(TapeRefusedError, match=str(file)):
            played_tape(config, NOW)


@dataclass
class Room:
    """A controller over a real CPU unit, and what it told."""

    control: Control
    station: CpuStation
    metrics: Metrics
    alerts: dict[str, str] = field(default_factory=dict)

    async def tick(self, times: int = 1) -> None:
        """Decide so many times; a unit that is off is started by the second, when the price has held."""
        for _ in range(times):
            await self.control._loop.tick()


@asynccontextmanager
async def room_of(config: Config, recorder: Recorder, **told: Any) -> AsyncIterator[Room]:
    metrics, alerts = Metrics("0", "portable"), dict[str, str]()
    station = CpuStation(
        config.cpu,
        station_modes(config.cpu, cores=1, thread_hashes_per_second=4e7),
        paced=True,
        extranonce1=bytes(4),
        on_submission=lambda _submission, _target: None,
        on_failure=lambda _error: None,
    )
    control = Control(
        config,
        silent_nodes(config),
        station,
        recorder,
        metrics,
        tape=played_tape(config, time.time()),
        alert=alerts.__setitem__,
        clock=time.time,
        **told,
    )
    station.start(OFF)
    try:
        yield Room(control, station, metrics, alerts)
    finally:
        station.stop()


LIVE = {"dry_run": False, "min_on_s": 0.0, "min_off_s": 0.0}


async def test_before_the_first_tick_nothing_is_known(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of()), recorder) as room:
        assert room.control.worth() == UnitWorth()
        assert room.control.market() == MarketStatus()
        status = room.control.status()
        assert (status.enabled, status.dry_run, status.next_tick_at) == (True, True, None)


async def test_where_hashing_pays_the_unit_is_started_and_the_ledger_knows_why(
    recorder: Recorder, store: Store, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP), controller=LIVE), recorder) as room:
        await room.tick(2)
        assert room.station.read().mode == "full"
        row, _ = store.decisions()
        assert (row.to_mode, row.numbers["power_usd_per_kwh"]) == ("full", CHEAP)
        ((*_, outcome),) = store.outcomes([row.id]).values()
        assert (outcome.outcome, outcome.mode_read) == ("confirmed", "full")
        assert shown(room.metrics, 'hashmill_actuations_total{outcome="confirmed",unit="cpu"}') == 1


async def test_in_a_dry_run_the_same_is_decided_and_nothing_is_touched(
    recorder: Recorder, store: Store, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
        await room.tick(2)
        assert room.station.read().mode == OFF
        row, _ = store.decisions()
        assert (row.to_mode, row.dry_run) == ("full", True)
        assert store.outcomes([row.id]) == {}


async def test_the_market_is_told_with_the_age_of_each_series(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
        await room.tick()
        market = room.control.market()
        assert (market.btc_usd, market.power_usd_per_kwh) == (90_000, CHEAP)
        # 86400 s of 1e15 H/s, 2**32 hashes for each difficulty, 3.125 BTC a block.
        expected = 86400 * 1e15 / (0.02 * 2**32) * 3.125 * 90_000
        assert market.hashprice_usd_per_ph_day == pytest.approx(expected)
        assert set(market.ages_s) == {BTC_USD, POWER, DIFFICULTY, SUBSIDY, FEES}
        assert all(0 <= age < 10 for age in market.ages_s.values())
        assert shown(room.metrics, "hashmill_hashprice_usd_per_ph_day") == pytest.approx(expected)
        assert shown(room.metrics, "hashmill_network_difficulty") == 0.02


async def test_hashprice_is_shown_after_pool_fee_and_stale_work_in_either_currency(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), controller={"pool_fee": 0.1, "stale_ratio": 0.5})
    async with room_of(config, recorder) as room:
        await room.tick()
    gross_btc = 86400 * 1e15 / (0.02 * 2**32) * 3.125
    assert shown(room.metrics, "hashmill_hashprice_btc_per_ph_day") == pytest.approx(gross_btc * 0.45)
    assert shown(room.metrics, "hashmill_hashprice_usd_per_ph_day") == pytest.approx(
        gross_btc * 0.45 * 90_000
    )


async def test_what_the_pool_pays_is_asked_at_every_tick_and_kept_with_each_decision(
    recorder: Recorder, store: Store, tape_of: Callable[..., dict[str, Any]]
) -> None:
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), controller={"pool_fee": 0.1, "stale_ratio": 0.5})
    pays = [PoolPay("pool.example", "pps", fee=0.02, rejected_ratio=0.01), None]
    async with room_of(config, recorder, earnings=lambda: pays[0]) as room:
        await room.tick()
        at_the_pool = room.control.market().hashprice_usd_per_ph_day
        pays.pop(0)
        await room.tick()
        as_configured = room.control.market().hashprice_usd_per_ph_day
    gross = 86400 * 1e15 / (0.02 * 2**32) * 3.125 * 90_000
    assert at_the_pool == pytest.approx(gross * 0.98 * 0.99)
    assert as_configured == pytest.approx(gross * 0.45)
    numbers = [row.numbers for row in sorted(store.decisions(), key=lambda row: row.at)]
    assert [(row["pool_fee_ratio"], row["rejected_ratio"]) for row in numbers] == [(0.02, 0.01), (0.1, 0.5)]
    assert [row[GROSS] for row in numbers] == pytest.approx([gross, gross])


async def test_without_a_node_a_market_is_known_from_the_pools_job(recorder: Recorder) -> None:
    pool = {"url": "stratum+tcp://pool.example:3333", "user": "me"}
    prices = {"market": {"btc_usd": 90_000}, "power": {"usd_per_kwh": CHEAP}}
    config = config_of(bitcoind=[], solo=None, pool=[pool], **prices)
    work = replace(job("1"), created_at=time.time(), bits=0x1B0404CB, reward_sat=1_250_000_000)
    async with room_of(config, recorder, pool_job=lambda: work) as room:
        await room.tick()
        market = room.control.market()
    assert market.hashprice_usd_per_ph_day == pytest.approx(
        86400 * 1e15 / (16307.420938523983 * 2**32) * 12.5 * 90_000
    )
    assert set(market.ages_s) == {BTC_USD, POWER, DIFFICULTY, SUBSIDY, FEES, CHAIN_HEIGHT}


async def test_how_good_a_plan_is_shows_while_there_is_one(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
        await room.tick()
        assert shown(room.metrics, "hashmill_plan_gap_ratio") == 0.0
        assert shown(room.metrics, "hashmill_plan_seconds_count") == 1
        room.control._loop._book._ticks.pop(POWER)
        room.control._loop._sources = ()
        await room.tick()
        assert shown(room.metrics, "hashmill_plan_gap_ratio") is None


async def test_a_running_unit_is_worth_its_margin_and_a_paused_one_costs_nothing(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), controller=LIVE)
    async with room_of(config, recorder) as room:
        await room.tick(2)
        running = room.control.worth()
        hashprice = room.control.market().hashprice_usd_per_ph_day
    assert hashprice is not None
    assert running.wanted_mode == "full"
    assert running.breakeven_usd_per_kwh is not None
    assert running.margin_usd_per_hour == pytest.approx(hashprice / 24e3 * 4e-5 - CHEAP * 0.015)
    # At breakeven the power of an hour costs what is earned in it.
    assert running.breakeven_usd_per_kwh == pytest.approx(hashprice / 24e3 * 4e-5 / 0.015)
    tape_of(usd_per_kwh=CHEAP, difficulty=HARD)
    async with room_of(config, recorder) as room:
        await room.tick()
        paused = room.control.worth()
    assert (paused.wanted_mode, paused.margin_usd_per_hour) == (OFF, 0.0)
    assert paused.breakeven_usd_per_kwh == pytest.approx(running.breakeven_usd_per_kwh * 0.02 / HARD)
    assert paused.last_decision is not None
    assert "runs again" in paused.last_decision.flip


async def test_without_a_price_only_the_decision_is_known(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    async with room_of(config_of(tape=tape_of(), controller=LIVE), recorder) as room:
        await room.tick()
        worth, market = room.control.worth(), room.control.market()
    assert (worth.margin_usd_per_hour, worth.breakeven_usd_per_kwh) == (None, None)
    assert worth.last_decision is not None
    assert (market.btc_usd, market.power_usd_per_kwh, market.hashprice_usd_per_ph_day) == (90_000, None, None)
    assert shown(room.metrics, "hashmill_hashprice_usd_per_ph_day") is None


async def test_a_unit_whose_power_counts_as_nothing_has_no_breakeven(
    recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
) -> None:
    modes = [{"name": "full", "threads": 1, "watts": 0.0, "th_s": 4e-5}]
    config = config_of(tape=tape_of(usd_per_kwh=CHEAP), cpu={"threads": 1, "modes": modes}, controller=LIVE)
    async with room_of(config, recorder) as room:
        await room.tick(3)
        worth = room.control.worth()
    assert worth.breakeven_usd_per_kwh is None
    assert worth.margin_usd_per_hour is not None
    assert worth.margin_usd_per_hour > 0


async def test_a_refused_tape_starts_no_controller(recorder: Recorder, tmp_path: Path) -> None:
    file = tmp_path / "tape.csv"
    file.write_text("offset_s,usd_per_kwh\n0,\n0,\n")
    with pytest.raises(TapeRefusedError):
        async with room_of(config_of(tape={"file": str(file)}), recorder):
            pass


class TestAlerts:
    """Alerts begin with what is wrong and end with the same thing being right again."""

    @pytest.fixture
    def alerts(self) -> list[tuple[str, str]]:
        return []

    @pytest.fixture
    def ears(self, alerts: list[tuple[str, str]]) -> _Ears:
        return _Ears(
            Metrics("0", "portable"),
            lambda name, message: alerts.append((name, message)),
            Gates({}, nobody, time.time),
        )

    def test_a_unit_that_does_not_obey_is_an_alert_until_it_does(
        self, ears: _Ears, alerts: list[tuple[str, str]]
    ) -> None:
        ears.on_alert(UNIT_ID, "not confirmed after 3 attempts")
        ears.on_outcome(Outcome("1", UNIT_ID, NOW, OutcomeKind.APPLIED))
        assert alerts == [("unit cpu", "not confirmed after 3 attempts")]
        ears.on_outcome(Outcome("2", UNIT_ID, NOW, OutcomeKind.CONFIRMED))
        assert alerts[-1] == ("unit cpu", "")

    async def test_a_tick_that_failed_is_an_alert_until_one_succeeds(
        self, recorder: Recorder, tape_of: Callable[..., dict[str, Any]]
    ) -> None:
        async with room_of(config_of(tape=tape_of(usd_per_kwh=CHEAP)), recorder) as room:
            room.control._loop._listener.on_alert(None, "tick failed: ledger")
            assert room.alerts["controller"] == "tick failed: ledger"
            await room.tick()
            assert room.alerts["controller"] == ""


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
