"""At a real-time market the loop remembers the last prices, and a restart changes no bit of what is decided."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import pytest

from controller.deciding import RealTime, Sees, decide_tick
from controller.inputs import InputsReader
from controller.recent import KEPT, QUARTER_S, Recent
from tests.controller.loop_rig import START, House, house

if TYPE_CHECKING:
    from pathlib import Path

    from controller.view import View

STEP_S = 450
TICKS = 210


def tape() -> str:
    rows = []
    for count in range(TICKS):
        price = 0.09 + 0.05 * math.sin(count * STEP_S / 86_400 * 2 * math.pi) + 0.01 * math.sin(count * count)
        rows.append(f"{count * STEP_S},{price:.6f}")
    return "\n".join(["offset_s,usd_per_kwh", *rows]) + "\n"


async def run(tmp_path: Path, sees: Sees, restarts: frozenset[int] = frozenset()) -> tuple[House, list[View]]:
    how = RealTime(sees)
    home = house(tmp_path, tape(), restart_s=600, real_time=how)
    views = []
    for count in range(TICKS):
        if count in restarts:
            home = house(tmp_path, tape(), restart_s=600, real_time=how, journal=home.journal, cpu=home.cpu)
        await home.at(STEP_S * count)
        view = home.loop.last_view
        assert view is not None
        views.append(view)
    return home, views


@pytest.mark.parametrize("sees", list(Sees))
async def test_a_restarted_run_equals_an_uninterrupted_one_and_the_journal_decides_the_same_again(
    tmp_path: Path, sees: Sees
) -> None:
    whole, views = await run(tmp_path, sees)
    parted, again = await run(tmp_path, sees, frozenset({1, 2, 50, 97, 98, 150, 199}))
    assert repr(whole.journal.decisions) == repr(parted.journal.decisions)
    assert [repr(view.snapshot.recent) for view in views] == [repr(view.snapshot.recent) for view in again]
    assert len(views[-1].snapshot.recent.prices_usd_per_kwh) == KEPT
    assert len({decision.to_mode for decision in whole.journal.decisions}) == 2
    assert {view.worth is not None for view in views} == {True}
    reader = InputsReader()
    for number in range(10, TICKS, 20):
        kept = reader.read(parted.journal.inputs[number])
        assert kept.snapshot == views[number].snapshot
        made = decide_tick(kept.snapshot, dict(views[number - 1].decisions), kept.config)
        assert repr(made.decisions) == repr(views[number].decisions)


async def test_each_tick_sees_the_prices_before_it_and_a_preview_remembers_nothing(tmp_path: Path) -> None:
    home = house(tmp_path, "offset_s,usd_per_kwh\n0,0.05\n")
    home.clock.now = START
    await home.loop.preview()
    first = await home.loop.tick()
    home.clock.now += 10
    second = await home.loop.preview()
    assert first.snapshot.recent == Recent()
    assert second.snapshot.recent == Recent(int(START // QUARTER_S), (0.05,))
