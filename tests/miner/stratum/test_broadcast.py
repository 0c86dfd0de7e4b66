import asyncio
from dataclasses import dataclass, field

from miner.stratum.broadcast import Broadcast
from miner.stratum.v1 import Notice
from tests.miner.harness import NOW, Clock, job
from tests.miner.stratum.server_harness import until


def notice(serial: int) -> Notice:
    return Notice(job(f"{serial:x}"), clean=False)


@dataclass(eq=False)
class Ear:
    """A session that remembers which jobs it heard of; while `busy`, it must hear something else first."""

    heard: list[int] = field(default_factory=list)
    busy: bool = False

    def offer(self, notice: Notice, _now: float) -> bool:
        if not self.busy:
            self.heard.append(notice.serial or 0)
        return not self.busy


class Hall:
    def __init__(self, ears: int, chunk: int = 2) -> None:
        self.ears = [Ear() for _ in range(ears)]
        self.clock = Clock()
        self.served_s: list[float] = []
        self.broadcast = Broadcast(
            lambda: self.ears, clock=self.clock, on_tip_served=self.served_s.append, chunk=chunk
        )

    @property
    def heard(self) -> list[list[int]]:
        return [ear.heard for ear in self.ears]


async def test_everybody_hears_of_a_job_and_the_loop_breathes_in_between() -> None:
    hall = Hall(5)
    hall.broadcast.serve(notice(1))
    assert hall.heard == [[1], [1], [], [], []]
    assert hall.broadcast.is_busy
    await asyncio.sleep(0)
    assert hall.heard == [[1], [1], [1], [1], []]
    await until(lambda: not hall.broadcast.is_busy)
    assert hall.heard == [[1]] * 5


async def test_a_newer_job_replaces_an_unfinished_one_and_begins_with_those_who_heard_nothing() -> None:
    hall = Hall(5)
    hall.broadcast.serve(notice(1))
    hall.broadcast.serve(notice(2))
    await asyncio.sleep(0)
    assert hall.heard == [[1], [1], [2], [2], []]
    await until(lambda: not hall.broadcast.is_busy)
    assert hall.heard == [[1, 2], [1, 2], [2], [2], [2]]


async def test_the_time_of_a_new_tip_ends_with_the_last_session_that_got_any_work_on_it() -> None:
    hall = Hall(9)
    hall.broadcast.serve(notice(1), NOW - 0.25)
    await asyncio.sleep(0)
    hall.clock.now += 0.5
    hall.broadcast.serve(notice(2))  # the full job after the empty one
    while not hall.served_s:
        assert hall.broadcast.is_busy
        await asyncio.sleep(0)
    assert [] not in hall.heard
    assert [1] in hall.heard  # these wait for the second job, but have work on the tip
    await until(lambda: not hall.broadcast.is_busy)
    assert hall.served_s == [0.75]


async def test_a_tip_that_nobody_is_there_for_is_served_at_once() -> None:
    hall = Hall(0)
    hall.broadcast.serve(notice(1), NOW - 0.25)
    await asyncio.sleep(0)
    assert hall.served_s == [0.25]


async def test_withdrawn_work_is_sent_to_nobody_else() -> None:
    hall = Hall(5)
    hall.broadcast.serve(notice(1), NOW)
    hall.broadcast.serve(None)
    await until(lambda: not hall.broadcast.is_busy)
    assert hall.heard == [[1], [1], [], [], []]
    assert hall.broadcast.notice is None
    assert hall.served_s == []


async def test_one_that_must_hear_something_else_first_is_told_afterwards_and_waited_for() -> None:
    hall = Hall(2)
    hall.ears[1].busy = True
    hall.broadcast.serve(notice(1), NOW)
    await asyncio.sleep(0)
    assert hall.served_s == []
    hall.ears[1].busy = False
    hall.broadcast.late(hall.ears[1])
    assert hall.heard == [[1], [1]]
    await asyncio.sleep(0)
    assert hall.served_s == [0.0]
    hall.broadcast.late(hall.ears[1])
    assert hall.heard == [[1], [1]]


async def test_one_that_was_busy_and_got_a_newer_job_in_its_turn_is_not_told_twice() -> None:
    hall = Hall(1)
    hall.ears[0].busy = True
    hall.broadcast.serve(notice(1))
    hall.ears[0].busy = False
    hall.broadcast.serve(notice(2))
    hall.broadcast.late(hall.ears[0])
    assert hall.heard == [[2]]


async def test_nobody_waits_for_one_that_has_gone() -> None:
    hall = Hall(2)
    hall.ears[1].busy = True
    hall.broadcast.serve(notice(1), NOW)
    hall.broadcast.forget(hall.ears[1])
    await asyncio.sleep(0)
    assert hall.served_s == [0.0]


async def test_who_comes_from_elsewhere_is_told_the_current_job_in_its_turn() -> None:
    hall = Hall(3)
    late = [Ear(), Ear()]
    hall.broadcast.tell(late)
    assert [ear.heard for ear in late] == [[], []]
    hall.broadcast.serve(notice(1))
    hall.broadcast.tell(late)
    await until(lambda: not hall.broadcast.is_busy)
    assert hall.heard == [[1]] * 3
    assert [ear.heard for ear in late] == [[1], [1]]
    hall.broadcast.tell(late)
    assert [ear.heard for ear in late] == [[1, 1], [1, 1]]


async def test_who_has_gone_elsewhere_hears_nothing_more_and_is_not_waited_for() -> None:
    hall = Hall(6)
    hall.ears[0].busy = True
    hall.broadcast.serve(notice(1), NOW)
    hall.broadcast.leave({hall.ears[0], hall.ears[3], hall.ears[5]})
    await until(lambda: hall.served_s)
    assert hall.heard == [[], [1], [1], [], [1], []]
    hall.broadcast.late(hall.ears[0])
    assert hall.ears[0].heard == []


async def test_those_who_left_a_lane_with_the_last_of_a_tip_end_its_time() -> None:
    hall = Hall(4)
    hall.broadcast.serve(notice(1), NOW)
    hall.broadcast.leave(set(hall.ears[2:]))
    await asyncio.sleep(0)
    assert hall.served_s == [0.0]
    await until(lambda: not hall.broadcast.is_busy)
    assert hall.heard == [[1], [1], [], []]
