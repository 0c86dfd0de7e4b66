"""Which work each connection is given: a broadcast for every lane, changes from lane to lane, and to other sizes of extranonces."""

import asyncio
from collections.abc import Callable, Collection, Iterable
from typing import Final, Protocol

from miner.stratum.broadcast import Broadcast, Listener
from miner.stratum.v1 import Notice
from miner.work.layout import Layout
from miner.work.roster import HashingUnit

MAIN: Final = "pool"
"""The lane of whoever is not told to be on another one."""
STEP: Final = 300
"""Connections brought to another layout before the loop may do something else."""


class Guest(Listener, Protocol):
    """A connection as its work sees it; `lane` is None until it logs in, `layout`, that of its place, until it subscribes."""

    lane: Broadcast | None
    layout: Layout | None

    @property
    def unit(self) -> HashingUnit | None:
        """The unit of its first login."""
        ...

    def change_over(self, notice: Notice, now: float, /) -> bool:
        """Bring it to the present layout with this job, or have it connect again; False: it cannot be done yet."""
        ...


class Dispatch:
    """Brings every lane's current job to those who are on it; `lane_of` says which one a unit is on.

    All work has extranonces of one layout at any time. When that changes, those who have places of another one get no job
    before they have changed over. `on_tip_served` is as in Broadcast, for each lane.
    """

    def __init__(
        self,
        layout: Layout,
        lane_of: Callable[[HashingUnit], str],
        *,
        clock: Callable[[], float],
        on_tip_served: Callable[[float], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._lane_of = lane_of
        self._clock = clock
        self._on_tip_served = on_tip_served
        self._lanes: dict[str, Broadcast] = {}
        self._on: dict[Broadcast, dict[Guest, None]] = {}
        self._outdated: dict[Guest, None] = {}  # whose place is of an earlier layout
        self._changing: list[Guest] = []
        self._next: asyncio.Handle | None = None
        self.layout = layout
        """The sizes of the extranonces of all work."""

    # ---- Work ------------------------------------------------------------------------------------------------

    def serve(self, notice: Notice | None, seen_at: float | None, lane: str) -> None:
        """This lane's job from now on; see `Broadcast.serve`. Raises ValueError for a job of another layout."""
        layout = self.layout
        if notice is not None and notice.terms.extranonce_sizes != (
            layout.extranonce1_size,
            layout.extranonce2_size,
        ):
            raise ValueError(
                f"job {notice.job.id} has extranonces of {notice.terms.extranonce_sizes} bytes, the server's are of "
                f"{(layout.extranonce1_size, layout.extranonce2_size)}: call set_layout first"
            )
        # A new tip's first job takes as long as everybody takes to change over, which tells nothing of how we serve.
        self._lane(lane).serve(notice, None if self._outdated else seen_at)
        self.tick()

    def notice(self, guest: Guest) -> Notice | None:
        """The current job of this connection's lane; None if there is none for it."""
        lane = guest.lane
        return None if lane is None or guest in self._outdated else lane.notice

    def work_mask(self, guest: Guest) -> int | None:
        """The version bits that this connection's work leaves it, before it has logged in those of all; None without work."""
        lanes = self._lanes.values() if guest.lane is None else [guest.lane]
        masks = [lane.notice.terms.version_mask for lane in lanes if lane.notice is not None]
        if not masks:
            return None
        common = masks[0]
        for mask in masks[1:]:
            common &= mask
        return common

    @property
    def is_busy(self) -> bool:
        """Whether some current job has not reached everybody."""
        return any(lane.is_busy for lane in self._lanes.values())

    async def reached_all(self, limit_s: float) -> None:
        """Wait until every current job has been written to everybody, but no longer than `limit_s` seconds."""
        until = self._loop.time() + limit_s
        for lane in list(self._lanes.values()):
            await lane.reached_all(max(until - self._loop.time(), 0.0))

    # ---- Who is on which lane --------------------------------------------------------------------------------

    def join(self, guest: Guest, unit: HashingUnit) -> None:
        """A connection has logged in, as this unit first."""
        self._put(guest, self._lane(self._lane_of(unit)))

    def leave(self, guest: Guest) -> None:
        """A connection has ended."""
        self._outdated.pop(guest, None)
        if guest.lane is not None:
            self._on[guest.lane].pop(guest, None)
            guest.lane.forget(guest)

    def reassign(self, units: Iterable[HashingUnit]) -> None:
        """`lane_of` says something else of these units: their connections are given the other lane's job at once."""
        wanted = {unit: self._lane(self._lane_of(unit)) for unit in units}
        for lane in list(self._lanes.values()):
            moved = {
                guest: to
                for guest in self._on[lane]
                if guest.unit is not None and (to := wanted.get(guest.unit, lane)) is not lane
            }
            if not moved:
                continue
            lane.leave(moved.keys())
            for guest, to in moved.items():
                del self._on[lane][guest]
                self._put(guest, to)
            for to in dict.fromkeys(moved.values()):
                to.tell([guest for guest, other in moved.items() if other is to])
        for guest in self._outdated:
            if guest.unit is not None:
                guest.lane = wanted.get(guest.unit, guest.lane)

    def _lane(self, name: str) -> Broadcast:
        lane = self._lanes.get(name)
        if lane is None:
            on: dict[Guest, None] = {}
            lane = self._lanes[name] = Broadcast(
                on.keys, clock=self._clock, on_tip_served=self._on_tip_served
            )
            self._on[lane] = on
        return lane

    def _put(self, guest: Guest, lane: Broadcast) -> None:
        guest.lane = lane
        if guest not in self._outdated:
            self._on[lane][guest] = None

    # ---- Another layout --------------------------------------------------------------------------------------

    def set_layout(self, layout: Layout, guests: Collection[Guest]) -> None:
        """All work from now on is of this layout, and none of an earlier one is given out: serve new jobs next.

        `guests` are all connections.
        """
        self.layout = layout
        self._outdated = {guest: None for guest in guests if guest.layout not in {None, layout}}
        for on in self._on.values():
            on.clear()
        for lane in self._lanes.values():
            lane.serve(None)
        for guest in guests:
            if guest.lane is not None:
                self._put(guest, guest.lane)

    def tick(self) -> None:
        """See to those who have not changed over; to be called a few times a second."""
        if self._outdated and self._next is None:
            self._changing = list(self._outdated)
            self._change_some()

    def _change_some(self) -> None:
        self._next = None
        now = self._clock()
        chunk, self._changing = self._changing[:STEP], self._changing[STEP:]
        for guest in chunk:
            lane = guest.lane
            if guest not in self._outdated or lane is None or lane.notice is None:
                continue  # it has gone, or there is no work for it yet
            if guest.change_over(lane.notice, now):
                del self._outdated[guest]
                self._on[lane][guest] = None
        if self._changing:
            self._next = self._loop.call_soon(self._change_some)
