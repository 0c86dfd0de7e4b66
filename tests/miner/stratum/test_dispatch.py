"""Who is given which work: lanes, changes between them, and another layout. With real sockets it is in test_server."""

import asyncio
from dataclasses import dataclass, field, replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.stratum.broadcast import Broadcast
from miner.stratum.dispatch import MAIN, STEP, Dispatch
from miner.stratum.v1 import Notice
from miner.work.layout import Layout
from miner.work.roster import HashingUnit
from tests.miner.harness import NOW, Clock, job
from tests.miner.stratum.device import unit_named
from tests.miner.stratum.server_harness import until

LAYOUT, OTHER = Layout(4, 8), Layout(2, 3)
UNITS = {name: unit_named(name, number) for number, name in enumerate("abc", start=1)}


def notice(serial: int, layout: Layout = LAYOUT, **changes: Any) -> Notice:
    sizes = {"extranonce1_size": layout.extranonce1_size, "extranonce2_size": layout.extranonce2_size}
    return Notice(replace(job(f"{serial:x}"), **sizes, **changes), clean=False)


@dataclass(eq=False)
class Seat:
    """A connection that remembers what it heard of; while `is_stuck` it can neither be told nor changed over."""

    unit: HashingUnit | None = None
    layout: Layout | None = LAYOUT
    lane: Broadcast | None = None
    heard: list[int] = field(default_factory=list)
    is_stuck: bool = False
    to: Layout = OTHER

    def offer(self, notice: Notice, _now: float) -> bool:
        if not self.is_stuck:
            self.heard.append(notice.serial)
        return not self.is_stuck

    def change_over(self, notice: Notice, now: float) -> bool:
        if not self.is_stuck:
            self.layout = self.to
        return self.offer(notice, now)


class Room:
    def __init__(self, *units: str, **lanes: str) -> None:
        self.lanes: dict[str, str] = dict(lanes)
        self.served_s: list[float] = []
        self.dispatch = Dispatch(
            LAYOUT,
            lambda unit: self.lanes.get(unit.name, MAIN),
            clock=Clock(),
            on_tip_served=self.served_s.append,
        )
        self.seats = [self.enter(unit) for unit in units]

    def enter(self, unit: str) -> Seat:
        seat = Seat(UNITS[unit])
        self.dispatch.join(seat, UNITS[unit])
        return seat

    def move(self, **lanes: str) -> None:
        self.lanes |= lanes
        self.dispatch.reassign([UNITS[name] for name in lanes])

    async def settled(self) -> None:
        await self.dispatch.reached_all(20.0)
        await until(lambda: not self.dispatch.is_busy)

    @property
    def heard(self) -> list[list[int]]:
        return [seat.heard for seat in self.seats]


# ---- Lanes ------------------------------------------------------------------------------------------------------


async def test_everybody_is_on_one_lane_unless_told_otherwise() -> None:
    room = Room("a", "b")
    room.dispatch.serve(notice(1), None, MAIN)
    assert room.heard == [[1], [1]]


async def test_each_lane_hears_of_its_own_work_only() -> None:
    room = Room("a", "b", b="solo")
    room.dispatch.serve(notice(1), None, MAIN)
    room.dispatch.serve(notice(2), None, "solo")
    room.dispatch.serve(None, None, MAIN)
    assert room.heard == [[1], [2]]
    notices = [room.dispatch.notice(seat) for seat in room.seats]
    assert [each and each.serial for each in notices] == [None, 2]


async def test_who_is_put_on_another_lane_has_its_job_at_once() -> None:
    room = Room("a", "b", "a")
    room.dispatch.serve(notice(1), None, MAIN)
    room.dispatch.serve(notice(2), None, "solo")
    room.move(a="solo", c="solo")
    assert room.heard == [[1, 2], [1], [1, 2]]
    room.dispatch.serve(notice(3), None, MAIN)
    room.dispatch.serve(notice(4), None, "solo")
    assert room.heard == [[1, 2, 4], [1, 3], [1, 2, 4]]
    room.move(a=MAIN, b="solo")
    assert room.heard == [[1, 2, 4, 3], [1, 3, 4], [1, 2, 4, 3]]


async def test_who_stays_where_it_is_is_told_nothing() -> None:
    room = Room("a")
    room.dispatch.serve(notice(1), None, MAIN)
    room.move(a=MAIN)
    assert room.heard == [[1]]


async def test_a_lane_without_work_leaves_those_who_come_to_it_what_they_have() -> None:
    room = Room("a")
    room.dispatch.serve(notice(1), None, MAIN)
    room.move(a="solo")
    assert room.heard == [[1]]
    room.dispatch.serve(notice(2), None, "solo")
    assert room.heard == [[1, 2]]


async def test_who_goes_while_a_job_is_on_its_way_to_it_never_hears_of_it_and_is_not_waited_for() -> None:
    room = Room(*["b"] * 500, "a", "c")
    room.dispatch.serve(notice(2), None, "solo")
    room.dispatch.serve(notice(1), NOW, MAIN)
    room.move(a="solo")
    await room.settled()
    assert [seat.heard for seat in room.seats[-2:]] == [[2], [1]]
    await until(lambda: room.served_s)
    assert room.served_s == [0.0]


async def test_one_that_must_hear_something_else_first_goes_with_what_it_was_to_hear() -> None:
    room = Room("a")
    room.dispatch.serve(notice(2), None, "solo")
    room.seats[0].is_stuck = True
    room.dispatch.serve(notice(1), NOW, MAIN)
    room.move(a="solo")
    await until(lambda: room.served_s)
    room.seats[0].is_stuck = False
    lane = room.seats[0].lane
    assert lane is not None
    lane.late(room.seats[0])
    assert room.heard == [[2]]


async def test_one_that_has_gone_is_told_nothing_more() -> None:
    room = Room("a", "b")
    room.dispatch.leave(room.seats[0])
    room.dispatch.serve(notice(1), None, MAIN)
    room.dispatch.leave(Seat())  # one that never logged in
    assert room.heard == [[], [1]]


async def test_a_miner_may_roll_what_all_work_leaves_it_until_its_lane_is_known() -> None:
    room = Room("a", "b", b="solo")
    stranger = Seat()
    assert room.dispatch.work_mask(stranger) is None
    room.dispatch.serve(notice(1, version_mask=0x0FFF_E000), None, MAIN)
    assert room.dispatch.work_mask(stranger) == 0x0FFF_E000
    assert room.dispatch.work_mask(room.seats[1]) is None
    room.dispatch.serve(notice(2, version_mask=0x1FFF_0000), None, "solo")
    masks = [room.dispatch.work_mask(seat) for seat in (stranger, *room.seats)]
    assert masks == [0x0FFF_0000, 0x0FFF_E000, 0x1FFF_0000]


async def test_whoever_waits_for_all_lanes_waits_no_longer_than_it_may() -> None:
    room = Room(*["a"] * 5000)
    room.dispatch.serve(notice(1), None, MAIN)
    await room.dispatch.reached_all(0.0)
    assert room.dispatch.is_busy
    await room.settled()
    assert room.heard == [[1]] * 5000


# ---- Another layout ---------------------------------------------------------------------------------------------


async def test_work_of_another_layout_is_refused() -> None:
    room = Room("a")
    with pytest.raises(ValueError, match=r"\(2, 3\) bytes.*call set_layout first"):
        room.dispatch.serve(notice(1, OTHER), None, MAIN)
    assert room.heard == [[]]


async def test_after_a_change_of_layout_nobody_is_given_earlier_work() -> None:
    room = Room("a")
    room.dispatch.serve(notice(1), None, MAIN)
    room.dispatch.set_layout(OTHER, room.seats)
    newcomer = room.enter("a")
    assert room.dispatch.notice(newcomer) is None
    assert room.heard == [[1]]


async def test_everybody_changes_over_with_the_first_job_some_at_a_time() -> None:
    room = Room(*["a"] * (2 * STEP + 1))
    room.dispatch.set_layout(OTHER, room.seats)
    room.dispatch.serve(notice(2, OTHER), NOW, MAIN)
    assert sum(seat.heard == [2] for seat in room.seats) == STEP
    await asyncio.sleep(0)
    assert sum(seat.heard == [2] for seat in room.seats) == 2 * STEP
    await until(lambda: all(room.heard))
    room.dispatch.serve(notice(3, OTHER), NOW, MAIN)
    await until(lambda: room.served_s)
    assert room.heard == [[2, 3]] * len(room.seats)
    assert room.served_s == [0.0]  # nothing is told of how long the change took


async def test_one_that_cannot_change_over_yet_does_it_later_and_gets_no_job_before() -> None:
    room = Room("a")
    room.seats[0].is_stuck = True
    room.dispatch.set_layout(OTHER, room.seats)
    room.dispatch.serve(notice(2, OTHER), None, MAIN)
    room.seats[0].is_stuck = False
    assert room.dispatch.notice(room.seats[0]) is None
    room.dispatch.tick()
    assert room.heard == [[2]]
    room.dispatch.tick()
    assert room.heard == [[2]]


async def test_one_that_logs_in_with_a_place_of_the_earlier_layout_changes_over() -> None:
    room = Room()
    seat = Seat(UNITS["a"])
    room.dispatch.set_layout(OTHER, [seat])
    room.dispatch.serve(notice(2, OTHER), None, MAIN)
    room.dispatch.join(seat, UNITS["a"])
    assert room.dispatch.notice(seat) is None
    room.dispatch.serve(notice(3, OTHER), None, MAIN)
    assert seat.heard == [3]


async def test_one_that_goes_before_it_has_changed_over_is_forgotten() -> None:
    room = Room("a")
    room.dispatch.set_layout(OTHER, room.seats)
    room.dispatch.leave(room.seats[0])
    room.dispatch.serve(notice(2, OTHER), None, MAIN)
    assert room.heard == [[]]


async def test_one_that_has_not_changed_over_may_be_put_on_another_lane() -> None:
    room = Room("a")
    room.dispatch.set_layout(OTHER, room.seats)
    room.move(a="solo")
    room.dispatch.serve(notice(2, OTHER), None, MAIN)
    assert room.heard == [[]]
    room.dispatch.serve(notice(3, OTHER), None, "solo")
    assert room.heard == [[3]]


async def test_when_the_layout_comes_back_at_once_nobody_has_to_change_over() -> None:
    room = Room("a")
    room.dispatch.set_layout(OTHER, room.seats)
    room.dispatch.set_layout(LAYOUT, room.seats)
    room.dispatch.serve(notice(2), None, MAIN)
    assert room.heard == [[2]]
    assert room.seats[0].layout == LAYOUT


# ---- Whatever happens -------------------------------------------------------------------------------------------


@settings(deadline=None, max_examples=60)
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["serve", "withdraw", "move", "layout", "stick", "loosen", "leave", "tick"]),
            st.integers(0, 5),
        ),
        max_size=40,
    )
)
def test_in_the_end_everybody_has_the_job_of_its_lane_and_nobody_heard_of_other_work(
    steps: list[tuple[str, int]],
) -> None:
    asyncio.run(play(steps))


async def play(steps: list[tuple[str, int]]) -> None:
    after = Afternoon()
    for step, which in steps:
        if step == "tick":
            await asyncio.sleep(0)
        getattr(after, step)(which)
    await after.end()


class Afternoon:
    """Six connections, and what happens to them; `given` is the latest job of each lane."""

    LANES = (MAIN, "solo")

    def __init__(self) -> None:
        self.room = Room(*"aabbcc")
        self.current = LAYOUT
        self.given: dict[str, int] = {}
        self.serial = 0
        self.gone: set[Seat] = set()

    @property
    def there(self) -> list[Seat]:
        return [seat for seat in self.room.seats if seat not in self.gone]

    def serve(self, which: int) -> None:
        lane = self.LANES[which % 2]
        self.serial += 1
        self.given[lane] = self.serial
        self.room.dispatch.serve(notice(self.serial, self.current), None, lane)

    def withdraw(self, which: int) -> None:
        self.room.dispatch.serve(None, None, self.LANES[which % 2])

    def move(self, which: int) -> None:
        self.room.move(**{"abc"[which % 3]: self.LANES[which // 3]})

    def layout(self, which: int) -> None:
        self.current = (LAYOUT, OTHER)[which % 2]
        for seat in self.room.seats:
            seat.to = self.current
        self.room.dispatch.set_layout(self.current, self.there)

    def stick(self, which: int) -> None:
        self.room.seats[which].is_stuck = True

    def loosen(self, which: int) -> None:
        self.room.seats[which].is_stuck = False

    def leave(self, which: int) -> None:
        seat = self.room.seats[which]
        if seat not in self.gone:
            self.gone.add(seat)
            self.room.dispatch.leave(seat)

    def tick(self, _which: int = 0) -> None:
        self.room.dispatch.tick()

    async def end(self) -> None:
        """Everything gets its way at last: nobody is stuck, and each lane has a new job."""
        for seat in self.room.seats:
            seat.is_stuck = False
        for number in range(2):
            self.serve(number)
        await self.room.settled()
        self.tick()
        await self.room.settled()
        for seat in self.there:
            assert seat.unit is not None
            assert seat.layout == self.current
            assert seat.heard[-1] == self.given[self.room.lanes.get(seat.unit.name, MAIN)]
        assert all(self.serial - 1 > max(seat.heard, default=0) for seat in self.gone)
