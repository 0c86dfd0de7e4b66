import asyncio
import math
from collections.abc import Sequence

import pytest

from controller.sources.base import Source
from controller.sources.signal_inbox import SignalInbox
from controller.sources.signal_windows import MOST_WINDOWS, Window
from controller.ticks import Tick


class Ledger:
    """Remembers what was recorded, or fails."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.broken = False
        self.heard = 0

    async def record(self, ticks: Sequence[Tick]) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("disk full")
        self.ticks += ticks

    def inbox(self) -> SignalInbox:
        return SignalInbox(["dr", "cap"], self.record, on_change=self.hear)

    def hear(self) -> None:
        self.heard += 1


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


async def test_what_is_posted_is_recorded_and_then_in_force(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    assert isinstance(inbox, Source)
    assert await inbox.post("dr", Window(100, 200), 100) == (Window(100, 200),)
    assert [(tick.series, tick.valid_from, tick.valid_to) for tick in ledger.ticks] == [
        ("signal:dr", 100, 200)
    ]
    assert await inbox.read(110) == ledger.ticks  # the very same: recorded again it is passed over
    assert ledger.heard == 1


async def test_what_cannot_be_recorded_changes_nothing(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    ledger.broken = True
    with pytest.raises(RuntimeError, match="disk full"):
        await inbox.post("dr", Window(100, 200), 100)
    assert (await inbox.read(110), ledger.heard) == ([], 0)


async def test_a_window_takes_the_place_of_those_it_overlaps_and_leaves_the_others(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    await inbox.post("dr", Window(100, 200), 100)
    await inbox.post("dr", Window(500, 600), 110)
    assert await inbox.post("dr", Window(0, 150), 120) == (Window(100, 150), Window(500, 600))
    assert await inbox.post("dr", Window(550, 560), 120) == (Window(100, 150), Window(500, 560))
    assert await inbox.post("dr", Window(90, math.inf), 130) == (Window(100, math.inf),)


async def test_the_end_takes_back_what_was_announced_too(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    await inbox.post("dr", Window(100, 200), 100)
    await inbox.post("dr", Window(500, 600), 110)
    assert await inbox.end("dr", 150)
    assert inbox.windows("dr") == (Window(100, 150),)
    assert [(tick.valid_from, tick.valid_to) for tick in await inbox.read(160)] == [
        (100, 150),
        (500, 500.001),
    ]
    assert not await inbox.end("dr", 170)
    assert not await inbox.end("cap", 170)


async def test_signals_have_windows_of_their_own(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    await inbox.post("cap", Window(100, 200, 250.0), 100)
    await inbox.post("dr", Window(100, 300), 100)
    assert inbox.names == {"dr", "cap"}
    assert inbox.windows("cap") == (Window(100, 200, 250.0),)
    with pytest.raises(KeyError):
        await inbox.post("other", Window(100, 200), 100)


async def test_after_a_restart_it_goes_on_from_what_was_recorded(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    await inbox.post("dr", Window(100, 300), 100)
    await inbox.post("dr", Window(500, 600), 110)
    await inbox.post("dr", Window(100, 250), 120)
    await inbox.post("cap", Window(700, 800, 9.0), 120)
    again = ledger.inbox()
    again.restore(ledger.ticks)
    assert (again.windows("dr"), again.windows("cap")) == (inbox.windows("dr"), inbox.windows("cap"))
    assert await again.read(130) == await inbox.read(130)
    assert await again.end("cap", 140)
    assert [(tick.valid_from, tick.valid_to) for tick in await again.read(750)] == [
        (100, 250),
        (500, 600),
        (700, 700.001),
    ]


async def test_posts_at_once_do_not_lose_each_other(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    posts = (inbox.post("dr", Window(at, at + 5), 0) for at in range(100, 200, 10))
    await asyncio.gather(*posts)
    assert len(inbox.windows("dr")) == 10


async def test_a_window_that_is_over_or_one_too_many_is_refused(ledger: Ledger) -> None:
    inbox = ledger.inbox()
    with pytest.raises(ValueError, match="over already"):
        await inbox.post("dr", Window(100, 200), 200)
    inbox.restore(
        [
            Tick("signal:dr", 1.0, "1", at, at + 5, 0, "webhook")
            for at in range(1000, 1000 + 10 * MOST_WINDOWS, 10)
        ]
    )
    with pytest.raises(ValueError, match="500 windows"):
        await inbox.post("dr", Window(100, 200), 100)
