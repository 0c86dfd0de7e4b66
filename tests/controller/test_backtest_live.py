"""The controller over what was recorded."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from controller import backtest_live
from controller.backtest import Asked, Fleet, Recorded, Settles
from controller.backtest_live import BacktestError, decide_all, deciding_config
from controller.backtest_tape import Tape
from controller.deciding import Memory, decide_tick, learned, next_memory
from controller.decisions import Reason
from controller.snapshot import Snapshot
from controller.units import UnitState
from tests.controller.backtest_rig import A, B, asked, fleet, ladder, recorded, wild
from tests.controller.worth_rig import model

if TYPE_CHECKING:
    from controller.view import View


def run(told: Recorded, how: Asked = A, machine: Fleet | None = None) -> tuple[list[int], list[View], Any]:
    """What one unit was told, every view, and by which methods."""
    views: list[View] = []
    unit = (machine or fleet()).unit
    found = decide_all(
        Tape(told, how.sees), [unit], deciding_config(how), warm_up=told.warm_up, on_view=views.append
    )
    return [int(each) for each in found.modes[0]], views, dict(found.methods[0])


@pytest.mark.parametrize("how", [A, B])
def test_it_is_the_loop_of_the_controller_tick_by_tick(how: Asked) -> None:
    told = recorded(wild(1, 44), warm_up=30)
    _, views, _ = run(told, how)
    config, tape, unit = deciding_config(how), Tape(told, how.sees), fleet().unit
    memory, last, mode = Memory(), {}, "full"
    for index in range(30):
        memory = learned(memory, tape.at(index), tape.time(index), config)
    for index, view in enumerate(views, start=30):
        now = tape.time(index)
        state = UnitState(unit.id, mode, None, None, None, now)
        snapshot = Snapshot(
            now,
            tape.at(index),
            (unit,),
            {unit.id: state},
            starting_prices=memory.starting_prices,
            typical_day=memory.typical_day,
            recent=memory.recent,
        )
        again = decide_tick(snapshot, last, config)
        assert again.decisions == view.decisions
        memory, last, mode = (
            next_memory(memory, again, config),
            again.decisions,
            again.decisions[unit.id].to_mode,
        )


def test_it_stops_for_a_spike_and_starts_again_at_once_when_that_is_over() -> None:
    modes, _, _ = run(recorded([50.0] * 40 + [900.0, 900.0, 20.0, 20.0], warm_up=38))
    assert modes == [1, 1, 0, 0, 1, 1]


def test_what_was_recorded_is_believed_however_far_out() -> None:
    modes, _, _ = run(recorded([50.0] * 40 + [17_500.0, 17_500.0, -1_500.0, 20.0], warm_up=38))
    assert modes == [1, 1, 0, 0, 1, 1]


def test_without_the_price_that_begins_it_does_so_a_quarter_hour_later() -> None:
    modes, _, _ = run(recorded([50.0] * 40 + [900.0, 900.0, 20.0, 20.0, 20.0], warm_up=38), B)
    assert modes[:4] == [1, 1, 1, 0]


def test_with_a_model_its_method_is_counted() -> None:
    _, _, methods = run(recorded(wild(1, 40), warm_up=36), asked(A.sees, model=model()))
    assert methods == {"fitted": 4}


def test_where_prices_are_known_ahead_the_plan_alone_decides() -> None:
    ahead = np.repeat([40.0, 900.0, 40.0, 40.0, 40.0, 40.0], 4)
    told = recorded(ahead[:12], ahead=ahead, published_before=48, settles=Settles.DAY_AHEAD)
    modes, _, methods = run(told, asked(A.sees, horizon_hours=12))
    assert modes == [1] * 4 + [0] * 4 + [1] * 4
    assert methods == {"plan": 12}


def test_in_a_gap_it_holds_and_then_goes_to_the_safe_mode() -> None:
    told = recorded([50.0] * 30 + [900.0, np.nan, np.nan, 900.0], warm_up=29)
    modes, views, _ = run(told)
    assert modes == [1, 0, 0, 1, 0]
    reasons = [next(iter(view.decisions.values())).reason for view in views]
    assert reasons[2:4] == [Reason.STALE, Reason.SAFE_MODE]


def test_a_pool_s_fee_and_a_cap_are_the_policy_s() -> None:
    config = deciding_config(asked(A.sees, fee=0.02, cap_kw=5.0, dead_band=0.01))
    assert (config.policy.earned.pool_fee, config.policy.site.cap_kw, config.policy.dead_band) == (
        0.02,
        5.0,
        0.01,
    )
    assert not config.policy.dry_run


def test_a_planner_that_fails_ends_the_backtest_and_says_when(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(*given: Any, **_: Any) -> Any:
        def plan(*_: Any, **__: Any) -> Any:
            raise RuntimeError("out of luck")

        return decide_tick(*given, make_plan=plan)

    monkeypatch.setattr(backtest_live, "decide_tick", broken)
    with pytest.raises(BacktestError, match="2025-01-01T00:00:00Z: RuntimeError: out of luck"):
        run(recorded([50.0]))


@pytest.mark.parametrize("how", [A, B])
def test_without_limits_a_longer_horizon_decides_the_same(how: Asked) -> None:
    told = recorded(wild(8, 70), warm_up=30)
    for machine in (fleet(), ladder()):
        short, _, _ = run(told, replace(how, horizon_hours=2), machine)
        long, _, _ = run(told, replace(how, horizon_hours=36), machine)
        assert long == short
        assert 0 in short
