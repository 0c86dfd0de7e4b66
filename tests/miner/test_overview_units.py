"""Units as the API, the page and the metrics are told of them."""

from collections.abc import Iterator
from typing import Any

import pytest

from miner.config import Config, CpuConfig
from miner.control import UnitWorth
from miner.hashing.rapl import Rapl
from miner.hashing.station import OFF, CpuStation, StationMode
from miner.kernel import Tally
from miner.metrics import Metrics
from miner.overview_units import MOST_AT_A_GLANCE, REASONS, Units
from miner.web.status import DecisionStatus, ModeStatus
from miner.work.roster import Roster
from miner.work.share import Reason
from tests.miner.harness import ADDRESS, NOW, Clock, shown

SAID = DecisionStatus(at=NOW, to_mode="on", reason="hold_profitable", flip="pauses below $1")
WORTH = UnitWorth(margin_usd_per_hour=0.5, breakeven_usd_per_kwh=0.06, wanted_mode="on", last_decision=SAID)
MODES = [{"name": "off", "th_s": 0.0, "watts": 12.0}, {"name": "on", "th_s": 100.0, "watts": 3000.0}]


class Rate:
    def sample(self, _tally: Tally, _now: float) -> None:
        pass

    def hashes_per_second(self, _now: float) -> float:
        return 95e12

    def interval(self, _now: float, confidence: float = 0.95) -> tuple[float, float]:
        return 95e12 - confidence * 1e12, 95e12 + confidence * 1e12


def config_of(units: int = 1, **unit: Any) -> Config:
    own = {"control": "gate", "modes": MODES, **unit}
    return Config.model_validate(
        {
            "network": "regtest",
            "bitcoind": [{"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c"}],
            "solo": {"payout_address": ADDRESS},
            "stratum": {},
            "unit": [{"id": f"rack-{n}", "worker": f"rack.{n}", **own} for n in range(units)],
        }
    )


def roster_of(config: Config, **more: Any) -> Roster:
    configured = {unit.worker: unit.id for unit in config.unit if unit.worker}
    return Roster(20_000, now=NOW, configured=configured, new_rate=Rate, **more)


def units_of(config: Config, roster: Roster, station: CpuStation | None = None) -> Units:
    return Units(config, roster, station=station, worth=lambda _unit: WORTH, clock=Clock())


@pytest.fixture
def station(monkeypatch: pytest.MonkeyPatch) -> Iterator[CpuStation]:
    """A station that is off, on a machine that does not tell its power."""
    monkeypatch.setattr(Rapl, "watts", lambda _self, _now: None)
    made = CpuStation(
        CpuConfig(threads=1),
        (StationMode(OFF, 0, 0.0, 2.0, 0.0), StationMode("full", 1, 4e-5, 15.0, 4e-5)),
        paced=True,
        extranonce1=bytes(4),
        on_submission=lambda _submission, _target: None,
        on_failure=lambda _error: None,
        clock=Clock(),
    )
    yield made
    made.stop()


def test_a_worker_is_what_its_shares_tell() -> None:
    config = config_of(0)
    roster = roster_of(config)
    worker = roster.login("addr.bitaxe", NOW - 50)
    worker.joined(NOW - 50, "bitaxe/2.4")
    worker.difficulty = 512.0
    worker.tally.accept(512.0, 9000.0, NOW - 5)
    worker.tally.accept(512.0, 600.0, NOW - 1)
    worker.tally.reject(list(Reason).index(Reason.STALE))
    unit = units_of(config, roster).one("addr.bitaxe")
    assert unit is not None
    assert (unit.worker, unit.state, unit.control, unit.agent) == (
        "addr.bitaxe",
        "hashing",
        "none",
        "bitaxe/2.4",
    )
    assert (unit.sessions, unit.difficulty) == (1, 512.0)
    assert (unit.hashrate_th_s, unit.hashrate_low_th_s, unit.hashrate_high_th_s) == (95.0, 94.05, 95.95)
    assert (unit.shares_accepted, unit.shares_rejected, unit.rejected_by_reason) == (2, 1, {"stale": 1})
    assert (unit.work_difficulty, unit.best_difficulty) == (1024.0, 9000.0)
    assert (unit.first_seen, unit.last_seen, unit.last_share_at) == (NOW - 50, NOW - 1, NOW - 1)
    assert (unit.mode, unit.power_w, unit.margin_usd_per_hour) == (None, None, None)


def test_a_worker_with_a_gate_has_modes_and_what_the_controller_makes_of_it() -> None:
    config = config_of()
    roster = roster_of(config)
    units, worker = units_of(config, roster), roster.login("rack.0", NOW)
    gone = units.one("rack-0")
    worker.joined(NOW)
    running = units.one("rack-0")
    worker.gate_reason = "paused: it does not pay"
    closed = units.one("rack-0")
    assert gone is not None
    assert running is not None
    assert closed is not None
    assert (gone.state, gone.mode, gone.power_w) == ("unreachable", None, None)
    assert (running.state, running.mode, running.power_w) == ("idle", "on", 3000.0)
    assert (closed.state, closed.mode, closed.power_w) == ("gated", "off", 12.0)
    assert closed.gate_reason == "paused: it does not pay"
    assert closed.modes == (
        ModeStatus(name="off", th_s=0.0, watts=12.0),
        ModeStatus(name="on", th_s=100.0, watts=3000.0),
    )
    assert (closed.wanted_mode, closed.margin_usd_per_hour, closed.breakeven_usd_per_kwh) == ("on", 0.5, 0.06)
    assert closed.last_decision == SAID
    assert (closed.id, closed.worker, closed.control) == ("rack-0", "rack.0", "gate")


def test_the_unit_of_this_machine_counts_its_hashes_itself(station: CpuStation) -> None:
    config = config_of(0)
    roster = roster_of(config, own=["cpu"])
    cpu = roster.by_id("cpu")
    assert cpu is not None
    cpu.tally.accept(0.5, 0.75, NOW)
    units = units_of(config, roster, station)
    (unit,) = units.at_a_glance()
    assert (unit.id, unit.worker, unit.state, unit.control, unit.mode) == ("cpu", None, "off", "cpu", OFF)
    assert (unit.hashrate_th_s, unit.hashes, unit.power_w) == (0.0, 0, 2.0)
    assert (unit.shares_accepted, unit.work_difficulty, unit.best_difficulty) == (1, 0.5, 0.75)
    assert [mode.name for mode in unit.modes] == [OFF, "full"]
    (counts,) = units.counts()
    assert (counts.unit, counts.hashes_per_second, counts.sessions, counts.accepted) == ("cpu", None, 0, 1)


def test_a_machine_without_hashing_threads_is_no_unit_though_its_old_shares_keep_their_name() -> None:
    config = config_of()
    roster = roster_of(config, own=["cpu"], known=[(3, "cpu", NOW - 9e5)])
    roster.login("stranger", NOW)
    metrics, units = Metrics("0", "portable"), units_of(config, roster)
    metrics.follow_units(units.counts, 10)
    units.show(metrics)
    page = units.page(10, "")
    assert ([unit.id for unit in page.units], page.total) == (["rack-0", "stranger"], 2)
    assert [unit.id for unit in units.at_a_glance()] == ["rack-0"]
    assert units.one("cpu") is None
    assert b'unit="cpu"' not in metrics.render()
    assert (units.name_of("cpu"), units.id_of("cpu")) == ("cpu", "cpu")


def test_pages_hold_every_unit_once_in_the_order_of_their_ids() -> None:
    config = config_of(2)
    roster = roster_of(config)
    for number in range(7):
        roster.login(f"w{number}", NOW)
    units = units_of(config, roster)
    found: list[str] = []
    after = ""
    while True:
        page = units.page(4, after)
        assert page.total == 9
        found += [unit.id for unit in page.units]
        if page.next is None:
            break
        after = page.next
    assert found == sorted(unit.id for unit in roster)
    assert units.page(4, "zzz").units == ()


def test_a_page_out_of_ten_thousand_units_looks_closely_at_its_own_only() -> None:
    asked = []

    class Counted(Rate):
        def interval(self, now: float, confidence: float = 0.95) -> tuple[float, float]:
            asked.append(now)
            return super().interval(now, confidence)

    config = config_of(0)
    roster = Roster(10_000, now=NOW, new_rate=Counted)
    for number in range(10_000):
        roster.login(f"w{number}", NOW)
    page = units_of(config, roster).page(100, "w5")
    assert (len(page.units), page.total, len(asked)) == (100, 10_000, 100)


def test_at_a_glance_there_are_the_configured_units_and_not_everybody() -> None:
    config = config_of(MOST_AT_A_GLANCE + 5)
    roster = roster_of(config)
    roster.login("stranger", NOW)
    glance = units_of(config, roster).at_a_glance()
    assert len(glance) == MOST_AT_A_GLANCE
    assert {unit.control for unit in glance} == {"gate"}


def test_the_server_is_told_by_what_its_units_do() -> None:
    config = config_of()
    roster = roster_of(config, own=["cpu"])
    for name in ("a", "b"):
        roster.login(name, NOW).joined(NOW)
    roster.login("a", NOW).tally.accept(1.0, 1.0, NOW)
    status = units_of(config, roster).stratum(["127.0.0.1:3333"], 5)
    assert (status.listening, status.connections, status.sessions, status.units) == (
        ("127.0.0.1:3333",),
        5,
        2,
        3,
    )
    assert status.units_by_state == {"hashing": 1, "idle": 1, "unreachable": 1}


def test_ids_are_names_of_the_ledger_and_back() -> None:
    config = config_of()
    units = units_of(config, roster_of(config))
    assert (units.name_of("rack-0"), units.id_of("rack.0")) == ("rack.0", "rack-0")
    assert (units.name_of("gone"), units.id_of("gone")) == ("gone", "gone")
    assert units.one("gone") is None


def test_the_metrics_show_units_that_can_be_switched_and_count_all_of_them() -> None:
    config = config_of()
    roster = roster_of(config)
    roster.login("rack.0", NOW).joined(NOW)
    roster.login("other", NOW).tally.accept(2.0, 3.0, NOW)
    metrics, units = Metrics("0", "portable"), units_of(config, roster)
    metrics.follow_units(units.counts, 10)
    units.show(metrics)
    assert shown(metrics, 'hashmill_unit_mode{mode="on",unit="rack-0"}') == 1
    assert shown(metrics, 'hashmill_unit_mode{mode="off",unit="rack-0"}') == 0
    assert shown(metrics, 'hashmill_unit_power_watts{unit="rack-0"}') == 3000
    assert shown(metrics, 'hashmill_unit_margin_usd_per_hour{unit="rack-0"}') == 0.5
    assert shown(metrics, 'hashmill_unit_hashrate_hashes_per_second{unit="other"}') == 95e12
    assert shown(metrics, 'hashmill_share_work_total{unit="other"}') == 2 * 2**32


def test_reasons_are_in_the_order_in_which_they_are_counted() -> None:
    tally = Tally()
    for index in range(len(REASONS)):
        tally.reject(index)
    assert tuple(reason.value for reason in Reason) == REASONS
    assert all(tally.rejected(index) == 1 for index in range(len(REASONS)))
