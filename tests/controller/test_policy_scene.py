from __future__ import annotations

import math

from controller.decisions import Reason
from controller.limits import Limits, SiteConfig
from controller.market import Market
from controller.plan import Broken, Plan, Slot, UnitPlan
from controller.policy_scene import Proposal, Scene
from tests.controller.fleet_rig import CURVE, LIVE, NOW, UNIT

MARKET = Market(NOW, 40.0, 40.0, None, 0.05, (), None)
SLOTS = (Slot(NOW, 900, 40, 0.05), Slot(NOW + 900, 900, 40, 0.02))


def scene(
    *, cap_kw: float | None = None, prices: tuple[float, ...] = (), broken: tuple[Broken, ...] = ()
) -> Scene:
    plan = Plan(SLOTS, {"u": UnitPlan("u", ("eco", "full"), 1.0)}, 1.0, 1.0, prices, broken)
    return Scene(NOW, LIVE, MARKET, plan, Limits(SiteConfig(cap_kw)))


def test_the_plan_is_asked_for_now_and_for_what_comes_after() -> None:
    assert scene().planned("u") == "eco"
    assert scene().planned("nobody") is None
    assert scene().by_plan("u", "eco") == "full at 2023-11-14 22:28:20Z by the plan"
    assert scene().by_plan("u", "full") == "no change pays within the plan's horizon"
    assert scene().by_plan("nobody", "eco") == "decides again when there is a plan"


def test_power_is_short_where_it_has_a_price_or_the_limit_cannot_be_kept() -> None:
    assert not scene(cap_kw=5.0, prices=(0.0, 0.1)).is_tight
    assert scene(cap_kw=5.0, prices=(0.1, 0.0)).is_tight
    assert scene(cap_kw=5.0, broken=(Broken(NOW, NOW + 900, "too much"),)).is_tight
    assert not scene(broken=(Broken(NOW, NOW + 900, "a mode nobody has"),)).is_tight
    assert (scene().cap_kw, scene().shadow_usd_per_kwh) == (math.inf, 0.0)


def test_what_is_reckoned_once_is_the_same_the_second_time() -> None:
    each = scene()
    eco = CURVE.mode("eco")
    assert each.flips(UNIT, eco, MARKET) is each.flips(UNIT, eco, MARKET)
    assert each.best(CURVE, CURVE.off, MARKET, 0.0) is eco


def test_a_proposal_moves_a_unit_only_if_its_reason_acts() -> None:
    assert not Proposal("off", Reason.BATCH_LIMIT).reason.acts
