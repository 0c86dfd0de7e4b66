"""The loop learns its typical day from what it saw, sees nothing ahead, and a restart changes no bit of it."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from controller.deciding import decide_tick
from controller.forecast import TypicalDay
from controller.inputs import InputsReader
from controller.policy import SiteConfig
from tests.controller.loop_rig import START, House, house

if TYPE_CHECKING:
    from pathlib import Path

    from controller.snapshot import Snapshot
    from controller.view import View

STEP_S = 600
TICKS = 200
SITE = SiteConfig(zone="Europe/Berlin")


def tape(until: int = TICKS, *, other: bool = False) -> str:
    """Prices of 34 hours, dear in the evening; `other` ones after that tick."""
    rows = []
    for count in range(TICKS):
        price = 0.09 + 0.05 * math.sin(count * STEP_S / 86_400 * 2 * math.pi) + 0.01 * math.sin(count * count)
        rows.append(f"{count * STEP_S},{price if count <= until or not other else 0.2 - price:.6f}")
    return "\n".join(["offset_s,usd_per_kwh", *rows]) + "\n"


async def run(
    tmp_path: Path, prices: str, restarts: frozenset[int] = frozenset()
) -> tuple[House, list[View]]:
    home = house(tmp_path, prices, site=SITE, restart_s=300)
    views = []
    for count in range(TICKS):
        if count in restarts:
            home = house(tmp_path, prices, site=SITE, restart_s=300, journal=home.journal, cpu=home.cpu)
        await home.at(STEP_S * count)
        view = home.loop.last_view
        assert view is not None
        views.append(view)
    return home, views


def seen(views: list[View]) -> list[Snapshot]:
    return [view.snapshot for view in views]


async def test_a_restarted_run_equals_an_uninterrupted_one_and_the_journal_alone_decides_the_same_again(
    tmp_path: Path,
) -> None:
    whole, views = await run(tmp_path, tape())
    parted, again = await run(tmp_path, tape(), frozenset({1, 2, 50, 97, 98, 150, 199}))
    days = [snapshot.typical_day for snapshot in seen(views)]
    assert list(map(repr, days)) == [repr(snapshot.typical_day) for snapshot in seen(again)]
    assert repr(whole.journal.decisions) == repr(parted.journal.decisions)
    assert sum(views[-1].snapshot.typical_day.days) > 120
    assert [view.power_ahead.typical for view in views if view.power_ahead].count(True) > 40
    reader = InputsReader()
    last = dict(views[-2].decisions)
    for inputs in parted.journal.inputs[::20]:
        assert reader.read(inputs).snapshot in seen(views)
    kept = reader.read(parted.journal.inputs[-1])
    assert repr(decide_tick(kept.snapshot, last, kept.config).decisions) == repr(views[-1].decisions)


@pytest.mark.parametrize("until", [120, 170])
async def test_other_prices_to_come_change_nothing_that_was_known_or_decided_so_far(
    tmp_path: Path, until: int
) -> None:
    _, one = await run(tmp_path, tape())
    _, other = await run(tmp_path, tape(until, other=True))
    so_far = slice(None, until + 1)
    assert repr(seen(one)[so_far]) == repr(seen(other)[so_far])
    assert repr([view.decisions for view in one[so_far]]) == repr([view.decisions for view in other[so_far]])
    assert [view.power_ahead for view in one[so_far]] == [view.power_ahead for view in other[so_far]]
    assert repr(seen(one)[-1].typical_day) != repr(seen(other)[-1].typical_day)


async def test_each_tick_sees_what_was_learned_before_it_and_a_preview_learns_nothing(tmp_path: Path) -> None:
    home = house(tmp_path, "offset_s,usd_per_kwh\n0,0.05\n", site=SITE)
    home.clock.now = START
    await home.loop.preview()
    assert (await home.loop.preview()).snapshot.typical_day == TypicalDay()
    first = await home.loop.tick()
    home.clock.now += 10
    second = await home.loop.preview()
    assert first.snapshot.typical_day == TypicalDay()
    assert second.snapshot.typical_day == TypicalDay("Europe/Berlin", (), (), int(START // 900), 0.05)


async def test_a_tick_that_could_not_be_recorded_teaches_nothing(tmp_path: Path) -> None:
    home = house(tmp_path, "offset_s,usd_per_kwh\n0,0.05\n", site=SITE)
    home.journal.broken = True
    with pytest.raises(OSError, match="disk full"):
        await home.at(0)
    home.journal.broken = False
    await home.at(10)
    view = home.loop.last_view
    assert view is not None
    assert view.snapshot.typical_day == TypicalDay()


async def test_a_site_that_moved_to_another_zone_learns_anew(tmp_path: Path) -> None:
    first = house(tmp_path, "offset_s,usd_per_kwh\n0,0.05\n", site=SITE)
    await first.at(0)
    moved = house(tmp_path, "offset_s,usd_per_kwh\n0,0.05\n", site=SiteConfig(), journal=first.journal)
    await moved.at(10)
    await moved.at(20)
    view = moved.loop.last_view
    assert view is not None
    assert view.snapshot.typical_day.zone == "UTC"
