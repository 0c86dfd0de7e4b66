"""Which work a unit is given: two lanes, solo and pool, each of which stands in for the other while that has no work."""

from collections.abc import Callable, Iterable, Mapping
from typing import Final, TypeAlias

from miner.chain.difficulty import HASHES_PER_DIFFICULTY
from miner.work.job import Job
from miner.work.roster import IDLE_AFTER_S, HashingUnit
from miner.work.split import POOL, SOLO, Hasher, Split

POOL_LANE: Final = POOL
SOLO_LANE: Final = SOLO

PATIENCE_S: Final = 5.0
"""How long the solo lane waits for work before it mines for the pool: a new tip has none for a moment, and nothing is to flap."""

Serve: TypeAlias = Callable[[str, Job | None, float | None, bool], None]
"""Hears `(lane, job, seen_at, switched)`: what a lane serves from now on, None where there is no work at all."""


class Lanes:
    """Decides what each lane serves and which unit is on which; times are unix seconds.

    `solo_share` is the part of the accepted work that is to be mined solo. Where there is only solo work, or only a pool's, there is
    one lane. `mines` binds units, by id, to "pool" or "solo"; all others ("any") are moved as the share wants it.

    The pool lane serves solo work as soon as no pool is well; at the start it waits `patience_s` for the first pool. The solo lane
    serves the pool's work when its own has been gone for `patience_s`. Each goes back at once. `on_serve` hears of every job a
    lane is to serve: `seen_at` is when its tip was first seen, where that was handed in with it, and `switched` says that the
    lane's last job was of another origin.
    """

    def __init__(
        self,
        *,
        solo_share: float,
        has_solo: bool,
        has_pool: bool,
        mines: Mapping[str, str],
        on_serve: Serve,
        patience_s: float = PATIENCE_S,
    ) -> None:
        if not (has_solo or has_pool):
            raise ValueError("there is neither solo work nor a pool")
        here = [lane for lane, exists in ((SOLO_LANE, has_solo), (POOL_LANE, has_pool)) if exists]
        self._only = here[0] if len(here) == 1 else None
        self._mines = {unit_id: lane for unit_id, lane in mines.items() if lane in {POOL_LANE, SOLO_LANE}}
        self._split = Split(solo_share)
        self._on_serve = on_serve
        self._patience_s = patience_s
        self._work: dict[str, Job | None] = dict.fromkeys(here)
        self._without_since: dict[str, float | None] = dict.fromkeys(here)
        """Since when a lane has had no work of its own; None until the first is asked for."""
        self._had_pool = False
        self._served: dict[str, Job | None] = dict.fromkeys(here)
        self._last_origin: dict[str, str] = {}

    def solo_work(self, job: Job | None, seen_at: float | None, now: float) -> None:
        """The own node's work from now on, None while there is none; `seen_at` is its tip's, for the first job on it."""
        self._take(SOLO_LANE, job, now)
        self._serve_all(now, job, seen_at)

    def pool_work(self, job: Job | None, now: float) -> None:
        """The work of the pool that is mined, None while no pool is well."""
        self._had_pool = self._had_pool or job is not None
        self._take(POOL_LANE, job, now)
        self._serve_all(now)

    def tick(self, now: float) -> None:
        """See whose patience is over; call it about every second."""
        self._serve_all(now)

    def lane_of(self, unit: HashingUnit) -> str:
        """The lane a unit is on: "pool" or "solo"."""
        if self._only is not None:
            return self._only
        return self._mines.get(unit.id) or self._split.lane_of(unit.number)

    def step(self, units: Iterable[HashingUnit], now: float) -> list[HashingUnit]:
        """Move units between the lanes as the share wants it; returns those that are on another lane now.

        `units` are all there are. Call it about every minute; nothing is counted or moved while both lanes serve the same.
        """
        if self._only is not None:
            return []
        fleet = {unit.number: unit for unit in units}
        hashers = [
            Hasher(unit.number, _work_per_s(unit, now), unit.tally.work, self._mines.get(unit.id))
            for unit in fleet.values()
        ]
        moved = self._split.step(hashers, now, counted=self._serve_their_own())
        return [fleet[number] for number in moved]

    def origins(self) -> dict[str, str | None]:
        """What each lane serves: "solo" or a pool's name, None while it has no work."""
        return {lane: None if job is None else job.origin for lane, job in self._served.items()}

    @property
    def pool_work_ratio(self) -> float:
        """The part of the work that goes to a pool now: as it came out over the last day while each lane serves its own."""
        if self._serve_their_own():
            reached = self._split.reached
            return 1 - (self._split.share if reached is None else reached)
        return 1.0 if any(job is not None and job.upstream for job in self._served.values()) else 0.0

    def _take(self, lane: str, job: Job | None, now: float) -> None:
        if lane not in self._work:
            raise ValueError(f"there is no {lane} lane")
        if job is None and (self._work[lane] is not None or self._without_since[lane] is None):
            self._without_since[lane] = now
        self._work[lane] = job

    def _serve_all(self, now: float, fresh: Job | None = None, seen_at: float | None = None) -> None:
        for lane in self._work:
            self._serve(lane, self._choice(lane, now), fresh, seen_at)

    def _choice(self, lane: str, now: float) -> Job | None:
        """What a lane is to serve: its own work, else the other's when it has waited for its own."""
        own = self._work[lane]
        if own is not None or self._only is not None:
            return own
        other = self._work[POOL_LANE if lane == SOLO_LANE else SOLO_LANE]
        since = self._without_since[lane]
        if since is None or since > now:  # the first look, or a clock that was set back
            since = self._without_since[lane] = now
        patience_s = 0.0 if lane == POOL_LANE and self._had_pool else self._patience_s
        return other if now - since >= patience_s else None

    def _serve(self, lane: str, job: Job | None, fresh: Job | None, seen_at: float | None) -> None:
        if job is self._served[lane]:
            return
        self._served[lane] = job
        if job is None:
            self._on_serve(lane, None, None, False)
            return
        switched = self._last_origin.get(lane, job.origin) != job.origin
        self._last_origin[lane] = job.origin
        # Who comes from elsewhere did not wait for this tip: it says nothing about how fast new tips are served.
        self._on_serve(lane, job, seen_at if job is fresh and not switched else None, switched)

    def _serve_their_own(self) -> bool:
        return self._only is None and all(
            job is not None and job is self._work[lane] for lane, job in self._served.items()
        )


def _work_per_s(unit: HashingUnit, now: float) -> float:
    """What a unit does in a second, as a difficulty; 0 for one that gets no work or fell silent, whatever it did before."""
    at = unit.last_share_at
    if unit.gate_reason or at is None or now - at > IDLE_AFTER_S:
        return 0.0
    return unit.rate.hashes_per_second(now) / HASHES_PER_DIFFICULTY
