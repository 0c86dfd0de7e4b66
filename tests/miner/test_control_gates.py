"""Workers with a gate: what the server hears, what their owner is told, what a restart remembers."""

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from controller.actuators.gate import COMES_BACK_S
from controller.decisions import Decision, Reason
from miner.config import Config
from miner.control import Control
from miner.control_gates import Gates
from miner.control_preview import Preview
from miner.control_settings import played_tape
from miner.ledger.recorder import Recorder
from miner.metrics import Metrics
from miner.node.nodes import NodeSet
from miner.site import node_set
from miner.work.roster import HashingUnit, Roster
from tests.miner.harness import ADDRESS, NOW, Clock, shown

MODES = [{"name": "off", "th_s": 0.0, "watts": 12.0}, {"name": "on", "th_s": 100.0, "watts": 3000.0}]
PAYS, DOES_NOT = 0.01, 9.0
"""Power prices between which a hashprice of $41 breaks even for MODES."""


class Rate:
    def sample(self, _tally: object, _now: float) -> None:
        pass

    def hashes_per_second(self, _now: float) -> float:
        return 95e12

    def interval(self, _now: float, _confidence: float = 0.95) -> tuple[float, float]:
        return 90e12, 100e12


def roster(*names: str) -> Roster:
    return Roster(10, now=NOW, configured={name: name for name in names}, new_rate=Rate)


def config_of(tmp_path: Path, power: float = PAYS, count: int = 1, **controller: Any) -> Config:
    file = tmp_path / "tape.csv"
    file.write_text(f"offset_s,hashprice_usd_per_ph_day,usd_per_kwh\n0,41,{power}\n")
    units = [
        {"id": f"rack{n}", "worker": f"rack{n}", "control": "gate", "modes": MODES} for n in range(count)
    ]
    return Config.model_validate(
        {
            "network": "regtest",
            "bitcoind": [{"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c"}],
            "solo": {"payout_address": ADDRESS},
            "stratum": {},
            "unit": units,
            "tape": {"file": str(file)},
            "controller": {
                "dry_run": False,
                "min_on_s": 0.0,
                "min_off_s": 0.0,
                "max_age_s": {"power_usd_per_kwh": 1e9, "hashprice_usd_per_ph_day": 1e9},
                **controller,
            },
            "ledger": {"url": f"sqlite:///{tmp_path / 'none.db'}"},
        }
    )


@dataclass
class House:
    """A controller over gates alone, and what it told the server and its owner."""

    control: Control
    roster: Roster
    metrics: Metrics
    clock: Clock
    heard: list[tuple[str, str]]
    alerts: dict[str, str] = field(default_factory=dict)

    def unit(self, number: int = 0) -> HashingUnit:
        unit = self.roster.by_id(f"rack{number}")
        assert unit is not None
        return unit

    async def tick(self, after_s: float = 60.0) -> None:
        self.clock.now += after_s
        await self.control._loop.tick()


@pytest.fixture
def house(recorder: Recorder, tmp_path: Path) -> Callable[..., House]:
    def build(power: float = PAYS, count: int = 1, **controller: Any) -> House:
        config = config_of(tmp_path, power, count, **controller)
        clock, metrics, heard, alerts = Clock(), Metrics("0", "portable"), [], dict[str, str]()
        units = roster(*(f"rack{n}" for n in range(count)))
        control = Control(
            config,
            silent(config),
            None,
            recorder,
            metrics,
            tape=played_tape(config, clock()),
            alert=alerts.__setitem__,
            clock=clock,
            roster=units,
            on_gate=lambda unit, reason: heard.append((unit.id, reason)),
        )
        return House(control, units, metrics, clock, heard, alerts)

    return build


def silent(config: Config) -> NodeSet:
    """The configured nodes, none of which answers."""
    nodes = node_set(config)
    for node in nodes:
        node.up = False
    return nodes


def reprice(tmp_path: Path, house: House, power: float) -> None:
    """From now on power costs this."""
    tape = played_tape(config_of(tmp_path, power), house.clock())
    reading = house.control._loop._reading
    reading._sources = (tape, *reading._sources[1:])  # type: ignore[assignment] # it is there


async def test_a_worker_whose_hashing_does_not_pay_gets_no_work_and_is_told_why(
    house: Callable[..., House],
) -> None:
    here = house(DOES_NOT)
    here.unit().joined(NOW)
    await here.tick()
    ((unit_id, reason),) = here.heard
    assert unit_id == "rack0"
    assert reason == here.unit().gate_reason
    assert reason.startswith("paused: hashprice $41.00/PH/day is below its breakeven of $6,454.08/PH/day")
    assert reason.endswith("; comes back by itself")
    worth = here.control.worth("rack0")
    assert (worth.mode, worth.wanted_mode) == ("off", "off")
    assert worth.margin_usd_per_hour == pytest.approx(-0.012 * DOES_NOT)
    assert shown(here.metrics, 'hashmill_actuations_total{outcome="confirmed",unit="rack0"}') == 1


async def test_a_worker_whose_hashing_pays_again_gets_work_when_the_price_has_held(
    house: Callable[..., House], tmp_path: Path
) -> None:
    here = house(DOES_NOT)
    here.unit().joined(NOW)
    await here.tick()
    here.unit().left(NOW)
    reprice(tmp_path, here, PAYS)
    await here.tick()
    assert "its turn is near" in here.unit().gate_reason
    await here.tick()
    assert here.heard[-1] == ("rack0", "")
    assert here.unit().gate_reason == ""
    assert here.control.worth("rack0").wanted_mode == "on"


async def test_a_worker_that_was_never_there_is_unreachable_and_its_gate_is_left_alone(
    house: Callable[..., House],
) -> None:
    here = house(DOES_NOT)
    await here.tick()
    assert here.heard == []
    worth = here.control.worth("rack0")
    assert worth.last_decision is not None
    assert worth.last_decision.reason == Reason.UNREACHABLE.value
    assert worth.mode is None


async def test_in_a_dry_run_no_gate_is_touched(house: Callable[..., House]) -> None:
    here = house(DOES_NOT, dry_run=True)
    here.unit().joined(NOW)
    await here.tick()
    assert here.heard == []
    assert here.control.worth("rack0").wanted_mode == "off"


async def test_all_gates_close_at_once_and_no_more_than_allowed_open_within_a_minute(
    house: Callable[..., House], tmp_path: Path
) -> None:
    here = house(DOES_NOT, count=5, max_changes_per_minute=2)
    for number in range(5):
        here.unit(number).joined(NOW)
    await here.tick()
    assert len(here.heard) == 5
    reprice(tmp_path, here, PAYS)
    opened = []
    for _ in range(4):
        await here.tick()
        opened.append(len(here.heard) - 5)
    assert opened == [0, 2, 4, 5]


async def test_a_worker_that_does_not_come_back_for_its_work_is_an_alert_until_it_does(
    house: Callable[..., House], tmp_path: Path
) -> None:
    here = house(DOES_NOT)
    here.unit().joined(NOW)
    await here.tick()
    here.unit().left(NOW)
    reprice(tmp_path, here, PAYS)
    await here.tick()
    await here.tick()
    await here.tick(COMES_BACK_S / 2)
    assert not here.alerts.get("unit rack0")
    await here.tick(COMES_BACK_S)
    assert here.alerts["unit rack0"] == "rack0 was given work again 8 minutes ago and has not come back"
    here.unit().joined(here.clock())
    await here.tick()
    assert here.alerts["unit rack0"] == ""


async def test_a_gate_that_was_closed_when_the_daemon_ended_is_closed_before_miners_are_let_in(
    house: Callable[..., House],
) -> None:
    before = house(DOES_NOT)
    before.unit().joined(NOW)
    await before.tick()
    after = house(DOES_NOT)
    await after.control.recall()
    assert after.heard == before.heard
    watching = house(DOES_NOT, dry_run=True)
    await watching.control.recall()
    assert watching.heard == []


def test_what_a_dry_run_decided_closes_no_gate() -> None:
    heard: list[tuple[str, str]] = []
    unit = roster("rack0").by_id("rack0")
    assert unit is not None
    gates = Gates({"rack0": unit}, lambda unit, reason: heard.append((unit.id, reason)), time.time)
    gates.recall({"rack0": Decision("1", NOW, "rack0", "on", "off", Reason.PAUSE, dry_run=True)})
    gates.recall({"rack0": Decision("1", NOW, "rack0", "off", "on", Reason.RESUME, dry_run=False)})
    gates.recall({"other": Decision("1", NOW, "other", "on", "off", Reason.PAUSE, dry_run=False)})
    assert heard == []


async def test_a_plan_is_made_for_every_unit_that_can_be_switched(tmp_path: Path) -> None:
    config = config_of(tmp_path, count=3)
    preview = await Preview.make(config, silent(config), ())
    plan = preview.plan()
    assert [unit["unit"] for unit in plan["units"]] == ["rack0", "rack1", "rack2"]
    assert {unit["to_mode"] for unit in plan["units"]} == {"on"}
