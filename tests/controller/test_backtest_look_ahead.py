"""No policy but the oracle sees what comes: whatever is changed after a decision, that and all before it stay the same to the bit."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from controller.backtest import Asked, Policy, Recorded, Settles
from controller.backtest_baselines import baselines
from controller.backtest_live import decide_all, deciding_config
from controller.backtest_money import prices_of
from controller.backtest_tape import Tape
from controller.worth_seen import Sees
from tests.controller.backtest_rig import asked, fleet, ladder, recorded, wild
from tests.controller.worth_rig import model

if TYPE_CHECKING:
    from controller.view import View

WARM_UP, JUDGED = 26, 12
MACHINES = (fleet(30.0), ladder())
MODEL = model()


def decisions(told: Recorded, how: Asked) -> list[Any]:
    """All that the controller decides, tick by tick, with every number, what it is based on, and what would change it."""
    found: list[Any] = []

    def see(view: View) -> None:
        found.append(
            (dict(view.decisions), view.power_ahead, None if view.plan is None else view.plan.value_usd)
        )

    units = [replace(each.unit, id=each.key) for each in MACHINES]
    decide_all(Tape(told, how.sees), units, deciding_config(how), warm_up=told.warm_up, on_view=see)
    return found


def changed_after(told: Recorded, at: int, how: Asked, seed: int) -> Recorded:
    """The same history up to what is known at the judged quarter hour `at`, and another one after it: shuffled, or missing."""
    chance = np.random.default_rng(seed)
    now = told.warm_up + at
    first_unknown = now if how.sees is Sees.B else now + 1

    def shuffled(values: Any, unknown: Any) -> Any:
        others = values.copy()
        others[unknown] = chance.permutation(values[unknown]) + chance.normal(0, 0.05, int(unknown.sum()))
        others[unknown & (chance.random(len(values)) < 0.1)] = np.nan
        return others

    count = len(told.power_usd_per_kwh)
    not_published = told.day_ahead_known_from > told.starts[now]
    ahead = shuffled(told.day_ahead_usd_per_kwh, not_published)
    if told.settles is Settles.DAY_AHEAD:
        power = ahead[:count].copy()
    else:
        power = shuffled(told.power_usd_per_kwh, np.arange(count) >= first_unknown)
    hashprice = shuffled(told.gross_hashprice_usd_per_ph_day, np.arange(count) > now)
    return replace(
        told,
        power_usd_per_kwh=power,
        day_ahead_usd_per_kwh=ahead,
        gross_hashprice_usd_per_ph_day=hashprice,
    )


CASES = [
    pytest.param(Sees.A, False, Settles.REAL_TIME, id="A"),
    pytest.param(Sees.B, False, Settles.REAL_TIME, id="B"),
    pytest.param(Sees.A, True, Settles.REAL_TIME, id="A with day ahead"),
    pytest.param(Sees.B, True, Settles.REAL_TIME, id="B with day ahead"),
    pytest.param(Sees.A, True, Settles.DAY_AHEAD, id="day ahead settles"),
]


def history(seed: int, settles: Settles, *, ahead: bool) -> Recorded:
    count = WARM_UP + JUDGED
    hours = np.repeat(wild(seed + 1, 40), 4)
    prices = hours[:count] if settles is Settles.DAY_AHEAD else wild(seed, count)
    return recorded(
        prices,
        ahead=hours[: count + 64] if ahead else None,
        hashprice=50 + np.random.default_rng(seed).normal(0, 1, count),
        warm_up=WARM_UP,
        published_before=12,
        settles=settles,
    )


@pytest.mark.parametrize(("sees", "ahead", "settles"), CASES)
@given(seed=st.integers(0, 999), at=st.integers(0, JUDGED - 1), fitted=st.booleans())
@settings(max_examples=8, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_the_controller_decides_the_same_whatever_comes(
    sees: Sees,
    ahead: bool,  # noqa: FBT001 - pytest names it
    settles: Settles,
    seed: int,
    at: int,
    fitted: bool,  # noqa: FBT001
) -> None:
    how = asked(sees, model=MODEL if fitted else None)
    told = history(seed, settles, ahead=ahead)
    before, after = decisions(told, how), decisions(changed_after(told, at, how, seed), how)
    assert repr(after[: at + 1]) == repr(before[: at + 1])


@pytest.mark.parametrize(("sees", "ahead", "settles"), CASES)
@given(seed=st.integers(0, 999), at=st.integers(0, JUDGED - 1))
@settings(max_examples=20, deadline=None)
def test_the_baselines_do_the_same_whatever_comes(
    sees: Sees,
    ahead: bool,  # noqa: FBT001 - pytest names it
    settles: Settles,
    seed: int,
    at: int,
) -> None:
    how = asked(sees, cap_kw=4.0 if seed % 2 else None)
    told = history(seed, settles, ahead=ahead)
    other = changed_after(told, at, how, seed)
    before = baselines(told, MACHINES, how, prices_of(told, 0.0))
    after = baselines(other, MACHINES, how, prices_of(other, 0.0))
    assert set(before) == {Policy.ALWAYS_ON, Policy.THRESHOLD, Policy.DEBOUNCE, Policy.BAND}
    for policy, paths in before.items():
        for path, changed in zip(paths, after[policy], strict=True):
            assert changed[:, : at + 1].tolist() == path[:, : at + 1].tolist()


def test_what_is_changed_would_be_noticed_by_who_looked_ahead() -> None:
    """The test itself is sharp: the very next decision differs where the price of its own quarter hour does."""
    how = asked(Sees.A)
    told = history(5, Settles.REAL_TIME, ahead=False)
    other = changed_after(told, 4, how, 5)
    assert decisions(other, how)[:5] == decisions(told, how)[:5]
    assert decisions(other, how)[5] != decisions(told, how)[5]
