import pytest

from miner.kernel import Tally
from miner.work.roster import (
    FORGET_AFTER_S,
    IDLE_AFTER_S,
    MAKE_ROOM_AFTER_S,
    STRANGERS_TRIED,
    HashingUnit,
    KnownUnit,
    NameTakenError,
    Roster,
    RosterFullError,
    UnitPresence,
)

NOW = 1_700_000_000.0


class Sampled:
    def __init__(self) -> None:
        self.seen: list[tuple[int, float]] = []

    def sample(self, tally: Tally, now: float) -> None:
        self.seen.append((tally.accepted, now))

    def hashes_per_second(self, _now: float) -> float:
        return 0.0

    def interval(self, _now: float, _confidence: float = 0.95) -> tuple[float, float]:
        return 0.0, 0.0


def roster(limit: int = 100, **more: object) -> Roster:
    return Roster(limit, now=NOW, new_rate=Sampled, **more)  # type: ignore[arg-type] # whatever a test gives


def share(unit: HashingUnit, at: float = NOW) -> None:
    unit.tally.accept(1.0, 1.0, at)


def test_a_worker_name_is_one_unit_however_often_it_logs_in() -> None:
    units = roster()
    first = units.login("rig.1", NOW)
    assert units.login("rig.1", NOW + 5) is first
    assert units.login("rig.2", NOW) is not first
    assert len(units) == 2
    assert units.named("rig.1") is units.by_id("rig.1") is units.numbered(first.number) is first


def test_numbers_go_on_after_those_of_the_ledger_and_a_known_name_keeps_its_own() -> None:
    units = roster(known=[(7, "old", NOW - 99), KnownUnit(3, "older", NOW - 999)])
    assert units.login("old", NOW).number == 7
    assert units.login("older", NOW).first_seen == NOW - 999
    assert units.login("new", NOW).number == 8


def test_a_unit_of_the_ledger_is_unreachable_until_it_logs_in_again() -> None:
    units = roster(known=[(7, "old", NOW - 99)])
    unit = units.named("old")
    assert unit is not None
    assert unit.state(NOW) is UnitPresence.UNREACHABLE


def test_a_configured_worker_is_a_unit_from_the_start_under_its_own_id() -> None:
    units = roster(configured={"rack1.07": "rack1-07"})
    unit = units.by_id("rack1-07")
    assert unit is not None
    assert unit.configured
    assert units.login("rack1.07", NOW) is unit


def test_what_a_unit_does_is_told_by_its_sessions_and_shares() -> None:
    unit = roster().login("rig", NOW)
    assert unit.state(NOW) is UnitPresence.UNREACHABLE
    unit.joined(NOW, "bitaxe/2.4")
    assert unit.state(NOW) is UnitPresence.IDLE
    share(unit, NOW + 1)
    assert unit.state(NOW + 1) is UnitPresence.HASHING
    assert unit.state(NOW + 2 + IDLE_AFTER_S) is UnitPresence.IDLE
    unit.gate_reason = "paused"
    assert unit.state(NOW + 1) is UnitPresence.GATED
    unit.gate_reason = ""
    unit.left(NOW + 9)
    assert unit.state(NOW + 9) is UnitPresence.UNREACHABLE
    assert (unit.last_seen, unit.agent) == (NOW + 9, "bitaxe/2.4")


def test_a_unit_with_two_sessions_is_there_until_both_are_gone() -> None:
    unit = roster().login("rig", NOW)
    unit.joined(NOW)
    unit.joined(NOW)
    unit.left(NOW)
    assert unit.state(NOW) is UnitPresence.IDLE
    unit.left(NOW)
    assert unit.state(NOW) is UnitPresence.UNREACHABLE
    with pytest.raises(ValueError, match="no session"):
        unit.left(NOW)


def test_strangers_cannot_make_more_names_than_the_limit_but_configured_workers_always_fit() -> None:
    units = roster(2, configured={"mine": "mine"})
    for name in ("a", "b"):
        units.login(name, NOW).joined(NOW)
    with pytest.raises(RosterFullError, match="2 workers already"):
        units.login("c", NOW)
    assert units.login("mine", NOW).configured
    assert len(units) == 3


def test_a_name_that_never_handed_in_a_share_makes_room_when_it_is_gone() -> None:
    units = roster(2)
    worker = units.login("worker", NOW)
    share(worker)
    units.login("scanner", NOW)
    assert units.login("new", NOW).name == "new"
    assert "scanner" not in units
    assert "worker" in units


def test_a_name_with_shares_does_not_make_room_before_it_is_gone_for_an_hour() -> None:
    units = roster(1)
    worker = units.login("worker", NOW)
    share(worker)
    units.drain_new()
    with pytest.raises(RosterFullError):
        units.login("new", NOW + MAKE_ROOM_AFTER_S)
    units.login("new", NOW + MAKE_ROOM_AFTER_S + 61)
    assert [unit.name for unit in units] == ["new"]


def test_names_with_one_share_each_cannot_keep_others_out_and_who_was_here_last_stays() -> None:
    units = roster(32)
    for number in range(32):
        share(units.login(f"w{number}", NOW + number))
    units.drain_new()
    units.by_id("w0").joined(NOW + 40)  # type: ignore[union-attr] - it is there
    units.login("new", NOW + MAKE_ROOM_AFTER_S + 61)
    assert [name for name in (f"w{number}" for number in range(32)) if name not in units] == [
        "w1",
        "w2",
        "w3",
    ]


def test_with_room_a_unit_is_shown_until_it_is_gone_for_a_month() -> None:
    units = roster(10)
    share(units.login("worker", NOW))
    units.drain_new()
    units.forget(NOW + FORGET_AFTER_S)
    assert "worker" in units
    units.forget(NOW + FORGET_AFTER_S + 1)
    assert "worker" not in units


def test_one_that_was_forgotten_comes_back_under_its_number() -> None:
    units = roster()
    worker = units.login("worker", NOW)
    share(worker)
    units.drain_new()
    units.forget(NOW + FORGET_AFTER_S + 1)
    assert len(units) == 0
    again = units.login("worker", NOW + FORGET_AFTER_S + 2)
    assert again is not worker
    assert (again.number, again.first_seen) == (worker.number, NOW)
    assert units.drain_new() == []


def test_a_full_roster_of_connected_names_costs_a_login_no_more_than_a_glance_and_finds_the_gone_one_in_the_end() -> (
    None
):
    limit = 3 * STRANGERS_TRIED
    units = roster(limit)
    held = [units.login(f"w{number}", NOW) for number in range(limit)]
    for unit in held[:-1]:
        unit.joined(NOW)
    for _ in range(2):
        with pytest.raises(RosterFullError):
            units.login("new", NOW)
    assert units.login("new", NOW).name == "new"
    assert held[-1].name not in units


def test_the_ledger_hears_of_a_unit_with_its_first_good_share_and_only_once() -> None:
    units = roster(configured={"mine": "m"})
    worker = units.login("worker", NOW)
    assert units.drain_new() == []
    share(worker)
    assert units.drain_new() == [KnownUnit(worker.number, "worker", NOW)]
    share(worker)
    assert units.drain_new() == []


def test_nobody_logs_in_as_a_unit_of_the_house() -> None:
    units = roster(own=["cpu"])
    assert units.by_id("cpu") is not None
    with pytest.raises(NameTakenError, match="cpu is a unit of this house"):
        units.login("cpu", NOW)


def test_a_name_that_is_the_id_of_a_configured_unit_gets_another_id() -> None:
    units = roster(configured={"rack1.07": "rack1-07"})
    stranger = units.login("rack1-07", NOW)
    assert stranger.id == "worker:rack1-07"
    assert units.login("worker:rack1-07", NOW).id == "worker:worker:rack1-07"
    mine = units.by_id("rack1-07")
    assert mine is not None
    assert mine.name == "rack1.07"


def test_sampling_shows_every_rate_its_tally() -> None:
    units = roster()
    worker = units.login("worker", NOW)
    share(worker)
    units.sample(NOW + 10)
    assert isinstance(worker.rate, Sampled)
    assert worker.rate.seen == [(1, NOW + 10)]
