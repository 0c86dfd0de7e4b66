"""Each lane's work, at the miners and at this machine; the lanes themselves are tested with miner.lanes."""

import asyncio
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from miner import foreman as foreman_module
from miner.foreman import Foreman
from miner.hashing.station import UNIT_ID, CpuStation
from miner.lanes import PATIENCE_S, POOL_LANE, SOLO_LANE
from miner.work.job import Job, UpstreamWork
from miner.work.roster import HashingUnit
from tests.miner.harness import NOW, Clock, Rig, nobody, rig_of
from tests.miner.harness import job as solo_job_of
from tests.miner.node.harness import until

SOLO_1, SOLO_2 = solo_job_of("51"), solo_job_of("52")
SEEN = NOW - 0.25


def pool_job_of(job_id: str, origin: str = "main") -> Job:
    return replace(solo_job_of(job_id), origin=origin, upstream=UpstreamWork("f00d", 2**200, b"", epoch=1))


POOL_1, POOL_2, OTHER_POOL = pool_job_of("a1"), pool_job_of("a2"), pool_job_of("a3", "spare")


@dataclass
class Miners:
    """In the place of the server: hears what it is to give to whom."""

    served: list[tuple[str, Job | None, float | None, bool]] = field(default_factory=list)
    moved: list[str] = field(default_factory=list)

    def serve(self, lane: str, job: Job | None, seen_at: float | None, *, switched: bool = False) -> None:
        self.served.append((lane, job, seen_at, switched))

    def reassign(self, units: Sequence[HashingUnit]) -> None:
        self.moved += [unit.id for unit in units]

    def news(self) -> list[tuple[str, Job | None, float | None, bool]]:
        """What was served since it was asked last."""
        served, self.served[:] = list(self.served), []
        return served


@dataclass
class House:
    """A foreman, and all to whom it gives work."""

    foreman: Foreman
    miners: Miners
    station: CpuStation
    rig: Rig
    clock: Clock

    def own(self) -> Job | None:
        """What this machine hashes."""
        work = self.station._unit._work
        return None if work is None else work.job


@asynccontextmanager
async def house_of(
    ledger: Path,
    station: CpuStation,
    *,
    mines: dict[str, str] | None = None,
    faced: bool = True,
    **lanes: Any,
) -> AsyncIterator[House]:
    clock, miners = Clock(), Miners()
    async with rig_of([nobody()], ledger, station=station) as rig:
        options = {"solo_share": 0.0, "has_solo": True, "has_pool": True, **lanes}
        foreman = Foreman(rig.delivery, rig.roster, mines=mines or {}, clock=clock, **options)
        if faced:
            foreman.face(miners)  # type: ignore[arg-type] # what it asks of the front
        yield House(foreman, miners, station, rig, clock)


@asynccontextmanager
async def running(house: House) -> AsyncIterator[None]:
    task = asyncio.create_task(house.foreman.run())
    await asyncio.sleep(0)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.wait([task])


@pytest.fixture(autouse=True)
def _often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(foreman_module, "STEP_S", 0.01)


async def test_each_lane_s_job_goes_to_its_miners_and_this_machine_hashes_that_of_its_own_lane(
    ledger: Path, station: CpuStation
) -> None:
    async with house_of(ledger, station) as house:
        house.foreman.solo_work(SOLO_1, SEEN)
        assert house.own() is None  # on the pool lane, which waits for the first pool
        house.foreman.pool_work(POOL_1)
        assert house.own() is POOL_1
        assert house.miners.news() == [(SOLO_LANE, SOLO_1, SEEN, False), (POOL_LANE, POOL_1, None, False)]
        assert house.foreman.main_job is POOL_1
        house.foreman.solo_work(SOLO_2, None)
        assert house.own() is POOL_1
        house.foreman.pool_work(OTHER_POOL)
        assert house.miners.news() == [(SOLO_LANE, SOLO_2, None, False), (POOL_LANE, OTHER_POOL, None, True)]
        assert house.own() is OTHER_POOL


async def test_this_machine_hashes_solo_where_the_configuration_binds_it_there(
    ledger: Path, station: CpuStation
) -> None:
    async with house_of(ledger, station, mines={UNIT_ID: "solo"}) as house:
        house.foreman.pool_work(POOL_1)
        house.foreman.solo_work(SOLO_1, None)
        assert house.own() is SOLO_1
        house.foreman.pool_work(POOL_2)
        assert (house.own(), house.foreman.main_job) == (SOLO_1, POOL_2)
        house.foreman.solo_work(None, None)
        assert house.own() is None


async def test_solo_work_stands_in_for_the_pool_at_once_and_the_pool_for_solo_work_after_a_while(
    ledger: Path, station: CpuStation
) -> None:
    async with house_of(ledger, station) as house, running(house):
        house.foreman.solo_work(SOLO_1, None)
        house.foreman.pool_work(POOL_1)
        house.foreman.pool_work(None)
        assert (house.own(), house.foreman.main_job) == (SOLO_1, SOLO_1)
        house.foreman.pool_work(POOL_2)
        assert house.own() is POOL_2
        house.foreman.solo_work(None, None)
        house.miners.news()
        house.clock.now += PATIENCE_S
        await until(lambda: house.miners.served)
        assert house.miners.news() == [(SOLO_LANE, POOL_2, None, True)]


async def test_work_for_this_machine_needs_no_server(ledger: Path, station: CpuStation) -> None:
    async with house_of(ledger, station, faced=False, has_pool=False) as house:
        house.foreman.solo_work(SOLO_1, SEEN)
        assert (house.own(), house.foreman.main_job) == (SOLO_1, SOLO_1)
        house.foreman.solo_work(None, None)
        assert (house.own(), house.foreman.main_job) == (None, None)


async def test_without_a_node_the_pool_s_work_is_everybody_s(ledger: Path, station: CpuStation) -> None:
    async with house_of(ledger, station, has_solo=False) as house:
        house.foreman.pool_work(POOL_1)
        assert (house.own(), house.foreman.main_job) == (POOL_1, POOL_1)
        assert house.miners.news() == [(POOL_LANE, POOL_1, None, False)]


async def test_units_change_lanes_so_that_each_has_its_share_and_are_given_its_work_at_once(
    ledger: Path, station: CpuStation
) -> None:
    """Only this machine hashes: it is on both lanes in turns."""
    async with house_of(ledger, station, solo_share=0.5) as house, running(house):
        house.foreman.solo_work(SOLO_1, None)
        house.foreman.pool_work(POOL_1)
        unit = house.rig.roster.by_id(UNIT_ID)
        assert unit is not None
        seen = []
        for _ in range(60):
            house.clock.now += 60.0
            unit.tally.accept(100.0, 100.0, house.clock.now)
            unit.rate.sample(unit.tally, house.clock.now)
            await asyncio.sleep(0.02)
            expected = {POOL_LANE: POOL_1, SOLO_LANE: SOLO_1}[house.foreman.lanes.lane_of(unit)]
            assert house.own() is expected
            seen.append(house.own())
        assert set(house.miners.moved) == {UNIT_ID}
        assert 2 <= len(house.miners.moved) <= 20
        assert 15 <= seen.count(SOLO_1) <= 45


async def test_miners_that_change_lanes_do_not_touch_what_this_machine_hashes(
    ledger: Path, station: CpuStation, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with house_of(ledger, station, mines={UNIT_ID: "pool"}) as house:
        house.foreman.solo_work(SOLO_1, None)
        house.foreman.pool_work(POOL_1)
        miner = house.rig.roster.login("farm.1", NOW)
        own = station._unit._work
        monkeypatch.setattr(house.foreman.lanes, "step", lambda _units, _now: [miner])
        async with running(house):
            house.clock.now += foreman_module.REBALANCE_S
            await until(lambda: house.miners.moved)
        assert house.miners.moved == ["farm.1"]
        assert station._unit._work is own
