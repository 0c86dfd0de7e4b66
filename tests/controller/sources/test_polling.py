from __future__ import annotations

import asyncio
import logging

import pytest

from controller.sources.base import SourceError
from controller.sources.polling import Poll


class Feed:
    """Gives the next of its answers: a number, or an error to raise; the last one stays."""

    def __init__(self, *answers: float | Exception) -> None:
        self.answers = list(answers)
        self.asked: list[float] = []

    async def __call__(self, now: float) -> float:
        self.asked.append(now)
        await asyncio.sleep(0)
        answer = self.answers.pop(0) if len(self.answers) > 1 else self.answers[0]
        if isinstance(answer, Exception):
            raise answer
        return answer


async def test_a_young_value_comes_from_memory_and_an_old_one_is_asked_for_anew() -> None:
    feed = Feed(1.0, 2.0)
    poll = Poll("feed", 60.0, feed)
    assert [await poll.read(at) for at in (0, 30, 56, 59, 60, 90)] == [1.0, 1.0, 1.0, 2.0, 2.0, 2.0]
    assert feed.asked == [0, 59]


async def test_a_tick_that_comes_a_little_early_is_not_passed_over() -> None:
    feed = Feed(1.0)
    poll = Poll("feed", 60.0, feed)
    for at in (0.0, 59.99, 119.98, 179.97):
        await poll.read(at)
    assert len(feed.asked) == 4


async def test_a_failure_keeps_the_last_value_and_is_retried_sooner_than_a_slow_pace() -> None:
    feed = Feed(1.0, SourceError("down"), 2.0)
    poll = Poll("feed", 3600.0, feed)
    assert await poll.read(0) == 1.0
    assert await poll.read(3600) == 1.0
    assert poll.error == "down"
    assert await poll.read(3630) == 1.0
    assert await poll.read(3660) == 2.0
    assert poll.error == ""
    assert feed.asked == [0, 3600, 3660]


async def test_a_failure_is_logged_when_it_begins_and_when_it_is_over(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    poll = Poll("feed", 1.0, Feed(OSError(), SourceError("b"), TimeoutError(), ValueError("d"), 1.0))
    for at in range(6):
        await poll.read(at)
    assert [record.message for record in caplog.records] == ["feed_failed", "feed_back"]
    assert (vars(caplog.records[0])["feed"], vars(caplog.records[0])["error"]) == ("feed", "OSError")


async def test_what_is_wrong_in_the_program_itself_is_not_hidden() -> None:
    poll = Poll("feed", 1.0, Feed(KeyError("bug")))
    with pytest.raises(KeyError):
        await poll.read(0)


async def test_a_clock_that_was_put_back_makes_it_due() -> None:
    feed = Feed(1.0)
    poll = Poll("feed", 3600.0, feed)
    await poll.read(10_000)
    await poll.read(5_000)
    assert feed.asked == [10_000, 5_000]


async def test_of_several_that_read_at_once_one_asks() -> None:
    feed = Feed(1.0, 2.0)
    poll = Poll("feed", 60.0, feed)
    assert await asyncio.gather(*(poll.read(0) for _ in range(5))) == [1.0] * 5
    assert feed.asked == [0]


async def test_whoever_gives_up_waiting_leaves_a_failure_behind(caplog: pytest.LogCaptureFixture) -> None:
    class Silent(Feed):
        async def __call__(self, now: float) -> float:
            await asyncio.sleep(0 if self.asked else 10)
            return await super().__call__(now)

    poll = Poll("feed", 1.0, silent := Silent(1.0))
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(0.01):
            await poll.read(0)
    assert poll.error == "no answer in time"
    assert [record.message for record in caplog.records] == ["feed_failed"]
    silent.asked.append(0)
    assert await poll.read(1) == 1.0


async def test_what_is_restored_stands_until_something_is_heard() -> None:
    poll = Poll("feed", 3600.0, Feed(SourceError("down"), 2.0))
    poll.restore(1.0)
    assert await poll.read(0) == 1.0
    assert poll.error == "down"
    assert await poll.read(60) == 2.0
    poll.restore(1.0)
    assert poll.value == 2.0


def test_a_pace_of_nothing_is_refused() -> None:
    with pytest.raises(ValueError, match="every_s must be above zero"):
        Poll("feed", 0.0, Feed(1.0))
