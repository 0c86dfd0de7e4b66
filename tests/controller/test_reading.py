from __future__ import annotations

import asyncio
import math
from typing import TYPE_CHECKING

from controller.book import TickBook
from controller.reading import Reading, words
from controller.ticks import POWER, Tick
from controller.units import UnitState
from controller.validate import MAINNET_RULES
from tests.controller.fleet_rig import NOW, UNIT

if TYPE_CHECKING:
    import pytest

    from controller.units import Setpoint


class Feed:
    def __init__(self, name: str, price: float | None = None) -> None:
        self.name = name
        self.price = price

    async def read(self, now: float) -> list[Tick]:
        if self.price is None:
            await asyncio.sleep(3600)
        return [Tick(POWER, self.price or 0.0, "USD/kWh", now, math.inf, now, self.name)]


class Machine:
    def __init__(self, *, broken: bool) -> None:
        self.broken = broken

    async def read(self, now: float) -> UnitState:
        if self.broken:
            raise ConnectionRefusedError
        return UnitState("u1", "full", None, None, None, now)

    async def apply(self, setpoint: Setpoint, now: float) -> None:
        raise NotImplementedError


async def test_a_source_that_hangs_holds_up_no_other_and_ranks_stay_when_only_some_are_asked(
    caplog: pytest.LogCaptureFixture,
) -> None:
    sources = [Feed("hangs"), Feed("first", 0.05), Feed("second", 0.06)]
    reading, book = Reading((), sources, {}), TickBook(MAINNET_RULES)
    news = await reading.sources(book, NOW, 0.01)
    assert [tick.value for tick in news] == [0.05]
    assert caplog.records[0].message == "source_failed"
    assert await reading.sources(book, NOW + 1, 0.01, [sources[2]]) == [], "it ranks below the first"
    assert book.owners([source.name for source in sources]) == {POWER: "first"}


async def test_a_price_nobody_can_mean_is_refused_and_told(caplog: pytest.LogCaptureFixture) -> None:
    assert await Reading((), [Feed("odd", 900.0)], {}).sources(TickBook(MAINNET_RULES), NOW, 1.0) == []
    assert [record.message for record in caplog.records] == ["tick_refused"]


async def test_a_unit_that_cannot_be_read_is_missing() -> None:
    for broken, ids in ((False, ["u1"]), (True, [])):
        reading = Reading((UNIT,), (), {"u1": Machine(broken=broken)})
        assert list(await reading.units(NOW, 1.0)) == ids
    assert await Reading((UNIT,), (), {}).units(NOW, 1.0) == {}


def test_an_error_without_words_is_told_by_its_kind() -> None:
    assert (words(OSError("gone")), words(TimeoutError())) == ("gone", "TimeoutError")
