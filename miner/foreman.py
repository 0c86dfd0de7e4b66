"""Who mines what: the work of solo and pools by lanes, to the miners of the Stratum server and to this machine."""

import asyncio
from collections.abc import Callable, Mapping
from typing import Final

from miner.delivery import Delivery
from miner.front import Front
from miner.hashing.station import UNIT_ID
from miner.lanes import POOL_LANE, SOLO_LANE, Lanes
from miner.work.job import Job
from miner.work.roster import HashingUnit, Roster

STEP_S: Final = 1.0
REBALANCE_S: Final = 60.0
"""How often units change lanes, so that each lane has its share of the hashrate."""


class Foreman:
    """Brings each lane's work to the units that are on it; `run` keeps the lanes' shares of the hashrate.

    `mines` says by unit ids what the configuration wants of a unit, "any" where it says nothing.
    """

    def __init__(
        self,
        delivery: Delivery,
        roster: Roster,
        *,
        solo_share: float,
        has_solo: bool,
        has_pool: bool,
        mines: Mapping[str, str],
        clock: Callable[[], float],
    ) -> None:
        self._delivery = delivery
        self._roster = roster
        self._clock = clock
        self._front: Front | None = None
        self._jobs: dict[str, Job | None] = {}  # by lane
        self._main = POOL_LANE if has_pool else SOLO_LANE
        self.lanes = Lanes(
            solo_share=solo_share, has_solo=has_solo, has_pool=has_pool, mines=mines, on_serve=self._serve
        )

    def face(self, front: Front) -> None:
        """Serve miners, too, from now on."""
        self._front = front

    def solo_work(self, job: Job | None, seen_at: float | None) -> None:
        """A job of our own node, or none; `seen_at` is when its tip was first seen, for the first job on it."""
        self.lanes.solo_work(job, seen_at, self._clock())

    def pool_work(self, job: Job | None) -> None:
        """A job of the pool that is mined; None while none is well."""
        self.lanes.pool_work(job, self._clock())

    @property
    def main_job(self) -> Job | None:
        """What units are given that nobody assigned to the smaller part: the pools' lane where there are pools."""
        return self._jobs.get(self._main)

    async def run(self) -> None:
        """See to the lanes until cancelled."""
        balanced_at = self._clock()
        while True:
            await asyncio.sleep(STEP_S)
            now = self._clock()
            self.lanes.tick(now)
            if abs(now - balanced_at) >= REBALANCE_S:
                balanced_at = now
                self._move(self.lanes.step(list(self._roster), now))

    def _serve(self, lane: str, job: Job | None, seen_at: float | None, switched: bool) -> None:  # noqa: FBT001 - the lanes' call
        self._jobs[lane] = job
        if self._front is not None:
            self._front.serve(lane, job, seen_at, switched=switched)
        if self._own_lane() == lane:
            self._delivery.hash(job)

    def _move(self, moved: list[HashingUnit]) -> None:
        """These units are on another lane now."""
        if not moved:
            return
        if self._front is not None:
            self._front.reassign(moved)
        if any(unit.id == UNIT_ID for unit in moved):
            self._delivery.hash(self._jobs.get(self._own_lane()))

    def _own_lane(self) -> str:
        own = self._roster.by_id(UNIT_ID)
        return "" if own is None else self.lanes.lane_of(own)
