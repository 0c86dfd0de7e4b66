"""What each lane serves while work comes and goes, and who is on which."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

import pytest

from miner.lanes import PATIENCE_S, POOL_LANE, SOLO_LANE, Lanes
from miner.work.job import Job, UpstreamWork
from miner.work.roster import HashingUnit, Roster
from tests.miner.harness import job

NOW = 1_000_000.0
SEEN = NOW - 0.001


def pool_job(job_id: str, origin: str = "pool.example") -> Job:
    return replace(job(job_id), origin=origin, upstream=UpstreamWork("f00d", 2**224, b"", epoch=1))


SOLO_1, SOLO_2, SOLO_3 = (job(job_id) for job_id in ("51", "52", "53"))
POOL_1, POOL_2 = pool_job("a1"), pool_job("a2")


@dataclass
class House:
    """Lanes, and what they were told to serve: (lane, job, seen_at, switched)."""

    solo_share: float = 0.0
    has_solo: bool = True
    has_pool: bool = True
    mines: dict[str, str] = field(default_factory=dict)
    told: list[tuple[str, Job | None, float | None, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.lanes = Lanes(
            solo_share=self.solo_share,
            has_solo=self.has_solo,
            has_pool=self.has_pool,
            mines=self.mines,
            on_serve=lambda *said: self.told.append(said),
        )

    def news(self) -> list[tuple[str, Job | None, float | None, bool]]:
        """What was told since it was asked last."""
        told, self.told[:] = list(self.told), []
        return told


@pytest.fixture
def house() -> House:
    """Both lanes serve their own."""
    house = House()
    house.lanes.solo_work(SOLO_1, None, NOW)
    house.lanes.pool_work(POOL_1, NOW)
    house.news()
    return house


def units_of(roster: Roster, names: Iterable[str]) -> list[HashingUnit]:
    return [roster.login(name, NOW) for name in names]


def test_each_lane_serves_its_own_work(house: House) -> None:
    assert house.lanes.origins() == {SOLO_LANE: "solo", POOL_LANE: "pool.example"}
    house.lanes.solo_work(SOLO_2, SEEN, NOW)
    house.lanes.pool_work(POOL_2, NOW)
    assert house.news() == [(SOLO_LANE, SOLO_2, SEEN, False), (POOL_LANE, POOL_2, None, False)]


def test_a_job_is_served_once(house: House) -> None:
    house.lanes.solo_work(SOLO_1, None, NOW)
    house.lanes.pool_work(POOL_1, NOW)
    house.lanes.tick(NOW + 100)
    assert house.news() == []


def test_without_a_pool_the_pool_lane_mines_solo_at_once_and_goes_back_at_once(house: House) -> None:
    house.lanes.pool_work(None, NOW + 1)
    assert house.news() == [(POOL_LANE, SOLO_1, None, True)]
    assert house.lanes.origins() == {SOLO_LANE: "solo", POOL_LANE: "solo"}
    house.lanes.solo_work(SOLO_2, SEEN, NOW + 2)
    assert house.news() == [(SOLO_LANE, SOLO_2, SEEN, False), (POOL_LANE, SOLO_2, SEEN, False)]
    house.lanes.pool_work(POOL_2, NOW + 3)
    assert house.news() == [(POOL_LANE, POOL_2, None, True)]


def test_a_tip_without_work_for_a_moment_moves_nobody_to_the_pool(house: House) -> None:
    house.lanes.solo_work(None, None, NOW)
    assert house.news() == [(SOLO_LANE, None, None, False)]
    house.lanes.tick(NOW + PATIENCE_S - 0.1)
    house.lanes.pool_work(POOL_2, NOW + PATIENCE_S - 0.1)
    assert house.news() == [(POOL_LANE, POOL_2, None, False)]
    house.lanes.solo_work(SOLO_2, SEEN, NOW + PATIENCE_S - 0.05)
    assert house.news() == [(SOLO_LANE, SOLO_2, SEEN, False)]


def test_a_node_that_stays_away_leaves_the_solo_lane_to_the_pool_until_it_is_back(house: House) -> None:
    house.lanes.solo_work(None, None, NOW)
    house.lanes.solo_work(None, None, NOW + 3)  # said again: it has been away since the first time
    house.news()
    house.lanes.tick(NOW + PATIENCE_S)
    assert house.news() == [(SOLO_LANE, POOL_1, None, True)]
    house.lanes.pool_work(POOL_2, NOW + 10)
    assert house.news() == [(SOLO_LANE, POOL_2, None, False), (POOL_LANE, POOL_2, None, False)]
    house.lanes.solo_work(SOLO_2, SEEN, NOW + 11)
    # Who comes back from the pool did not wait for this tip.
    assert house.news() == [(SOLO_LANE, SOLO_2, None, True)]


def test_with_neither_pool_nor_node_there_is_no_work_and_the_first_to_come_serves_both(house: House) -> None:
    house.lanes.solo_work(None, None, NOW)
    house.lanes.pool_work(None, NOW)
    house.lanes.tick(NOW + 60)
    assert house.news() == [(SOLO_LANE, None, None, False), (POOL_LANE, None, None, False)]
    assert house.lanes.origins() == {SOLO_LANE: None, POOL_LANE: None}
    house.lanes.pool_work(POOL_2, NOW + 61)
    assert house.news() == [(SOLO_LANE, POOL_2, None, True), (POOL_LANE, POOL_2, None, False)]


def test_another_pool_is_a_switch(house: House) -> None:
    other = pool_job("b1", "second.example")
    house.lanes.pool_work(other, NOW)
    assert house.news() == [(POOL_LANE, other, None, True)]


def test_at_the_start_the_pool_lane_waits_for_the_first_pool_before_it_mines_solo() -> None:
    house = House()
    house.lanes.solo_work(SOLO_1, SEEN, NOW)
    assert house.news() == [(SOLO_LANE, SOLO_1, SEEN, False)]
    house.lanes.pool_work(None, NOW + 1)
    house.lanes.tick(NOW + PATIENCE_S - 0.1)
    assert house.news() == []
    house.lanes.tick(NOW + PATIENCE_S)
    assert house.news() == [(POOL_LANE, SOLO_1, None, False)]


def test_at_the_start_a_pool_that_is_there_before_the_node_serves_both_after_a_while() -> None:
    house = House()
    house.lanes.pool_work(POOL_1, NOW)
    house.lanes.tick(NOW + PATIENCE_S)
    assert house.news() == [(POOL_LANE, POOL_1, None, False), (SOLO_LANE, POOL_1, None, False)]


def test_a_clock_that_was_set_back_makes_nobody_wait_longer(house: House) -> None:
    house.lanes.solo_work(None, None, NOW)
    house.lanes.tick(NOW - 3600)
    house.lanes.tick(NOW - 3600 + PATIENCE_S)
    assert house.lanes.origins()[SOLO_LANE] == "pool.example"


@pytest.mark.parametrize(
    ("has_solo", "has_pool", "lane"), [(True, False, SOLO_LANE), (False, True, POOL_LANE)]
)
def test_where_there_is_only_one_kind_of_work_there_is_one_lane(
    *, has_solo: bool, has_pool: bool, lane: str
) -> None:
    house = House(solo_share=0.5, has_solo=has_solo, has_pool=has_pool, mines={"rig": "pool"})
    unit = Roster(5, now=NOW, configured={"rig": "rig"}).login("rig", NOW)
    assert house.lanes.lane_of(unit) == lane
    assert house.lanes.step([unit], NOW) == []
    work = SOLO_1 if has_solo else POOL_1
    for given in (work, None):
        if has_solo:
            house.lanes.solo_work(given, SEEN if given else None, NOW)
        else:
            house.lanes.pool_work(given, NOW)
    house.lanes.tick(NOW + 3600)
    assert house.news() == [(lane, work, SEEN if has_solo else None, False), (lane, None, None, False)]
    assert house.lanes.origins() == {lane: None}


def test_work_for_a_lane_that_is_not_there_is_refused() -> None:
    with pytest.raises(ValueError, match="no pool lane"):
        House(has_pool=False).lanes.pool_work(POOL_1, NOW)
    with pytest.raises(ValueError, match="neither"):
        House(has_solo=False, has_pool=False)


def test_units_are_on_the_lane_they_are_bound_to_and_all_others_as_the_share_wants_it() -> None:
    house = House(solo_share=0.5, mines={"rig": "solo", "shed": "pool", "attic": "any"})
    roster = Roster(10, now=NOW, configured={name: name for name in ("rig", "shed", "attic")})
    rig, shed, attic, guest = units_of(roster, ("rig", "shed", "attic", "guest"))
    assert [house.lanes.lane_of(unit) for unit in (rig, shed)] == [SOLO_LANE, POOL_LANE]
    assert {house.lanes.lane_of(unit) for unit in (attic, guest)} == {SOLO_LANE, POOL_LANE}


@dataclass
class Mill:
    """A house whose units hand in a share of difficulty 1 every 5 s while they are let."""

    house: House
    roster: Roster = field(default_factory=lambda: Roster(50, now=NOW, own=["cpu"]))
    now: float = NOW

    def run(self, minutes: int, silent: frozenset[str] = frozenset()) -> list[HashingUnit]:
        moved: list[HashingUnit] = []
        for _ in range(minutes * 12):
            self.now += 5
            for unit in self.roster:
                if unit.id not in silent and not unit.gate_reason:
                    unit.tally.accept(1.0, 1.0, self.now)
            self.roster.sample(self.now)
            self.house.lanes.tick(self.now)
            moved += self.house.lanes.step(self.roster, self.now)
        return moved


@pytest.fixture
def mill(house: House) -> Mill:
    house = House(solo_share=0.5)
    house.lanes.solo_work(SOLO_1, None, NOW)
    house.lanes.pool_work(POOL_1, NOW)
    return Mill(house)


def test_a_machine_alone_mines_for_both_in_turns(mill: Mill) -> None:
    (cpu,) = mill.roster
    moved = mill.run(120)
    assert set(moved) == {cpu}
    assert 4 <= len(moved) <= 24
    assert mill.house.lanes.pool_work_ratio == pytest.approx(0.5, abs=0.05)


def test_while_the_pool_is_down_nobody_moves_and_all_work_counts_as_solo(mill: Mill) -> None:
    mill.house.lanes.pool_work(None, NOW)
    assert mill.run(120) == []
    assert mill.house.lanes.pool_work_ratio == 0.0
    mill.house.lanes.solo_work(None, None, mill.now)
    mill.house.lanes.pool_work(POOL_1, mill.now)
    mill.run(1)
    assert mill.house.lanes.pool_work_ratio == 1.0


@pytest.mark.parametrize("how", ["gated", "silent"])
def test_units_that_do_not_hash_are_not_counted_on(mill: Mill, how: str) -> None:
    units_of(mill.roster, ("a", "b", "c"))
    mill.run(30)
    resting = [unit for unit in mill.roster if mill.house.lanes.lane_of(unit) == SOLO_LANE]
    assert len(resting) == 2
    if how == "gated":
        for unit in resting:
            unit.gate_reason = "hashing does not pay"
    silent = frozenset(unit.id for unit in resting)
    mill.run(10, silent)
    moved = mill.run(80, silent)
    # Those that go on are shared out anew.
    assert set(resting).isdisjoint(moved)
    going = [unit for unit in mill.roster if unit not in resting]
    assert {mill.house.lanes.lane_of(unit) for unit in going} == {POOL_LANE, SOLO_LANE}


def test_before_any_work_the_share_is_what_is_expected_to_come_out(house: House) -> None:
    assert house.lanes.pool_work_ratio == 1.0
    third = House(solo_share=0.25)
    assert third.lanes.pool_work_ratio == 0.0  # nothing is mined
    third.lanes.solo_work(SOLO_3, None, NOW)
    third.lanes.pool_work(POOL_1, NOW)
    assert third.lanes.pool_work_ratio == 0.75
