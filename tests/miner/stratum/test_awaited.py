import asyncio

from miner.stratum.awaited import Awaited


class Ear:
    def __init__(self) -> None:
        self.heard: list[tuple[int, tuple[int, str] | None]] = []

    def answered(self, token: int, error: tuple[int, str] | None) -> None:
        self.heard.append((token, error))


async def test_whoever_waits_hears_the_pools_word_once() -> None:
    awaited, one, other = Awaited(), Ear(), Ear()
    awaited.wait(1, one)
    awaited.wait(2, other)
    awaited.answered(2, (23, "low"))
    awaited.answered(2, None)
    awaited.answered(1, None)
    awaited.answered(3, None)
    await asyncio.sleep(0)
    assert (one.heard, other.heard) == ([(1, None)], [(2, (23, "low"))])


async def test_an_answer_that_comes_while_the_share_is_still_handed_in_is_heard() -> None:
    awaited, ear = Awaited(), Ear()
    awaited.answered(1, None)
    awaited.wait(1, ear)
    assert ear.heard == []
    await asyncio.sleep(0)
    assert ear.heard == [(1, None)]


async def test_nobody_is_told_who_has_gone() -> None:
    awaited, gone, there = Awaited(), Ear(), Ear()
    awaited.wait(1, gone)
    awaited.wait(2, there)
    awaited.forget([1, 7])
    awaited.answered(1, None)
    awaited.answered(2, None)
    await asyncio.sleep(0)
    assert (gone.heard, there.heard) == ([], [(2, None)])


async def test_a_stop_waits_until_nobody_waits_but_no_longer_than_it_may() -> None:
    awaited, ear = Awaited(), Ear()
    await awaited.all_answered(20.0)
    awaited.wait(1, ear)
    awaited.wait(2, ear)
    await awaited.all_answered(0.001)
    assert len(awaited) == 2
    awaited.answered(1, None)
    awaited.answered(2, None)
    await awaited.all_answered(20.0)
    assert len(awaited) == 0
    awaited.wait(3, ear)
    awaited.forget([3])
    await awaited.all_answered(20.0)
