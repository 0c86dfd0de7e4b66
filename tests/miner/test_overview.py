"""The status document from its parts, each real and in the state a test puts it in."""

from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from miner.config import CpuConfig
from miner.control import UnitWorth
from miner.hashing.rapl import Rapl
from miner.hashing.station import OFF, UNIT_ID, CpuStation, StationMode
from miner.metrics import Metrics
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcClient, UserPassword
from miner.overview import (
    block_counts,
    node_statuses,
    readiness,
    show_unit,
    unit_statuses,
    work_status,
)
from miner.web.status import BlockCounts, DecisionStatus, NodeStatus, NotReady, Ready, WorkStatus
from tests.miner.harness import ADDRESS, ANY_HASH, NOW, PAYOUT, Clock, Rig, rig_of, share_on, shown, template

SAID = DecisionStatus(at=NOW, to_mode="full", reason="resume_profitable", flip="pauses below $1")
WORTH = UnitWorth(margin_usd_per_hour=0.5, breakeven_usd_per_kwh=0.06, wanted_mode="full", last_decision=SAID)


def node(name: str) -> Node:
    return Node(name, RpcClient("http://127.0.0.1:1", UserPassword("u", "p"), name=name))


@pytest.fixture
async def rig(tmp_path: Path) -> AsyncIterator[Rig]:
    """The mining half, not running, with two nodes nobody has asked yet."""
    async with rig_of([node("a"), node("b")], tmp_path / "hashmill.db") as made:
        yield made


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


def test_a_node_is_up_only_when_it_was_seen_to_be() -> None:
    unasked, up, down = node("unasked"), node("up"), node("down")
    up.up, down.up, down.error = True, False, "connection refused"
    assert node_statuses(NodeSet([unasked, up, down], "regtest")) == (
        NodeStatus(name="unasked", up=False),
        NodeStatus(name="up", up=True),
        NodeStatus(name="down", up=False, error="connection refused"),
    )


async def test_the_work_is_that_of_the_present_job(rig: Rig) -> None:
    rig.mining.solo.take_template(template(reward_sat=1_250_000_777))
    work = work_status(rig.mining, rig.current.created_at + 2.5)
    assert (work.serving, work.height, work.prev_hash, work.bits) == (True, 300, "a0" * 32, "207fffff")
    assert work.difficulty == pytest.approx(4.656542373906925e-10)
    assert (work.reward_sat, work.payout_address) == (1_250_000_777, ADDRESS)
    assert work.payout_script == PAYOUT.script.hex()
    assert work.template_age_s == pytest.approx(2.5)


async def test_hashes_are_told_as_people_write_them(rig: Rig) -> None:
    rig.mining.solo.take_template(template(prev_hash=bytes(range(32))))
    assert work_status(rig.mining, NOW).prev_hash == bytes(reversed(range(32))).hex()


async def test_without_a_job_nothing_is_served(rig: Rig) -> None:
    assert work_status(None, NOW) == WorkStatus(serving=False)
    assert work_status(rig.mining, NOW) == WorkStatus(serving=False)
    rig.mining.solo.take_template(template())
    rig.mining.solo.withdraw()
    assert work_status(rig.mining, NOW) == WorkStatus(serving=False)


async def test_ready_is_who_has_work(rig: Rig) -> None:
    rig.mining.solo.take_template(template())
    assert readiness(rig.mining, rig.nodes) == Ready()


async def test_who_is_not_ready_for_want_of_a_node_says_what_ails_each(rig: Rig) -> None:
    first, _ = rig.nodes
    first.up, first.error = False, "connection refused"
    reason = "no bitcoind answers: a: connection refused; b: not asked yet"
    assert readiness(rig.mining, rig.nodes) == NotReady(reason)
    assert readiness(None, rig.nodes) == NotReady(reason)


async def test_a_node_without_a_template_is_another_thing_than_no_node(rig: Rig) -> None:
    _, second = rig.nodes
    second.up = True
    assert readiness(rig.mining, rig.nodes) == NotReady(
        "no bitcoind has given a template for the present tip yet"
    )


async def test_a_unit_is_what_it_does_and_what_the_controller_makes_of_it(
    rig: Rig, station: CpuStation
) -> None:
    rig.mining.solo.take_template(template())
    best = [rig.mining.desk.take(share_on(rig.current, n), ANY_HASH) for n in range(3)]
    rig.mining.desk.take(share_on(rig.current, 3), 0)
    (unit,) = unit_statuses(station, rig.mining, WORTH)
    assert len(best) == 3
    assert (unit.id, unit.mode, unit.wanted_mode) == (UNIT_ID, OFF, "full")
    assert (unit.shares_accepted, unit.shares_rejected) == (3, 1)
    assert 0 < unit.best_difficulty < 4.656542373906925e-10
    assert (unit.power_w, unit.hashes, unit.hashrate_th_s) == (2.0, 0, 0.0)
    assert (unit.margin_usd_per_hour, unit.breakeven_usd_per_kwh) == (0.5, 0.06)
    assert unit.last_decision == SAID


async def test_a_machine_that_does_not_hash_has_no_units(rig: Rig, station: CpuStation) -> None:
    assert unit_statuses(None, rig.mining, WORTH) == ()
    assert unit_statuses(station, None, WORTH) == ()


async def test_found_blocks_are_all_there_ever_were(rig: Rig) -> None:
    assert block_counts(None) == BlockCounts()
    rig.books.counts.update({"accepted": 2, "mature": 5, "orphaned": 1, "submitted": 1})
    assert block_counts(rig.books) == BlockCounts(found=9, accepted=2, mature=5, orphaned=1)


def test_the_metrics_show_the_unit(station: CpuStation) -> None:
    metrics = Metrics("0", "portable")
    show_unit(metrics, station, WORTH)
    assert shown(metrics, 'hashmill_unit_power_watts{unit="cpu"}') == 2.0
    assert shown(metrics, 'hashmill_unit_hashrate_hashes_per_second{unit="cpu"}') == 0.0
    assert shown(metrics, 'hashmill_unit_mode{mode="off",unit="cpu"}') == 1
    assert shown(metrics, 'hashmill_unit_mode{mode="full",unit="cpu"}') == 0
    assert shown(metrics, 'hashmill_unit_margin_usd_per_hour{unit="cpu"}') == 0.5
    assert shown(metrics, 'hashmill_unit_breakeven_usd_per_kwh{unit="cpu"}') == 0.06


def test_what_the_controller_does_not_know_the_metrics_do_not_show(station: CpuStation) -> None:
    metrics = Metrics("0", "portable")
    show_unit(metrics, station, WORTH)
    show_unit(metrics, station, UnitWorth())
    assert shown(metrics, 'hashmill_unit_margin_usd_per_hour{unit="cpu"}') is None
    assert shown(metrics, 'hashmill_unit_power_watts{unit="cpu"}') == 2.0


def test_a_machine_that_does_not_hash_shows_no_unit() -> None:
    metrics = Metrics("0", "portable")
    show_unit(metrics, None, UnitWorth())
    assert b'unit="cpu"' not in metrics.render()
