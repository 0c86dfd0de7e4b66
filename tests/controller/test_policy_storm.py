"""A site under everything at once: whatever comes together, heat, signals and the limit of power are kept."""

from __future__ import annotations

import random
from dataclasses import replace
from typing import TYPE_CHECKING

import pytest

from controller.decisions import Reason
from controller.overrides import Override
from controller.policy import SiteConfig
from controller.signals import Action, SignalRule
from controller.units import OFF, Mode, PowerCurve, Unit
from tests.controller.fleet_rig import CURVE, LIVE, NOW, Fleet, window

if TYPE_CHECKING:
    from controller.decisions import Decision

CURVES = (
    CURVE,
    PowerCurve([Mode("on", 100, 2000)]),
    PowerCurve([Mode("eco", 60, 1500), Mode("on", 100, 3000)]),
    PowerCurve([Mode("off", 0, 12), Mode("on", 50, 1500), Mode("heat", 40, 1800)]),
)
RULES = (
    SignalRule("pause", Action.PAUSE, ramp_s=300),
    SignalRule("run", Action.RUN),
    SignalRule("cap", Action.CAP, cap_kw=3.0, ramp_s=200),
    SignalRule("mode", Action.MODE, units=frozenset({"u0"}), mode="eco"),
)


def any_unit(chance: random.Random, number: int) -> Unit:
    return Unit(
        f"u{number}",
        chance.choice(CURVES),
        min_on_s=chance.choice([0, 60, 600]),
        min_off_s=chance.choice([0, 60, 600]),
        restart_s=chance.choice([0, 0, 120]),
        change_s=chance.choice([0, 30]),
        wear_usd=chance.choice([0, 0.1]),
        starts_per_day=chance.choice([None, None, 1, 3]),
        max_temp_c=chance.choice([None, 80]),
        safe_mode=chance.choice(["run", "pause"]),
    )


def any_site(chance: random.Random) -> Fleet:
    site = SiteConfig(chance.choice([None, chance.uniform(0.5, 12)]), RULES, "Europe/Berlin")
    config = replace(LIVE, site=site, max_changes_per_minute=chance.choice([None, 1, 3]))
    fleet = Fleet(
        *(any_unit(chance, number) for number in range(chance.randint(1, 6))), config=config, mode=OFF
    )
    for rule in RULES:
        begins = [NOW + chance.uniform(-100, 400) for _ in range(chance.randint(0, 2))]
        fleet.signals += [
            window(rule.name, begin, begin + chance.uniform(1, 300)) for begin in sorted(begins)
        ]
    fleet.later = sorted((NOW + chance.uniform(0, 3600), chance.uniform(-0.1, 0.3)) for _ in range(4))
    return fleet


def trouble(chance: random.Random, fleet: Fleet, now: float) -> None:
    fleet.unreachable = {unit.id for unit in fleet.units if chance.random() < 0.05}
    fleet.deaf = {unit.id for unit in fleet.units if chance.random() < 0.05}
    fleet.temp_c = {unit.id: chance.choice([60, 78, 82]) for unit in fleet.units if chance.random() < 0.3}
    fleet.th_s = {unit.id: chance.choice([0, 50]) for unit in fleet.units if chance.random() < 0.5}
    if chance.random() < 0.1:
        wishes = [
            (unit.id, chance.choice(unit.curve.modes).name) for unit in fleet.units if chance.random() < 0.5
        ]
        until = now + chance.uniform(1, 200)
        fleet.overrides = {unit_id: Override(unit_id, mode, now, until, "ann") for unit_id, mode in wishes}


def watts(unit: Unit, fleet: Fleet) -> float:
    mode = fleet.modes[unit.id]
    assert mode is not None
    return unit.curve.mode(mode).watts


def check(unit: Unit, decision: Decision, before_w: float, fleet: Fleet, now: float) -> None:
    """What must hold for one unit, whatever else happens."""
    assert decision.flip
    if unit.id in fleet.unreachable:
        assert (decision.reason, decision.changes) == (Reason.UNREACHABLE, False)
        return
    temp_c = fleet.temp_c.get(unit.id, 20.0) if unit.max_temp_c is not None else 20.0
    if temp_c > 80:
        assert unit.id in fleet.deaf or watts(unit, fleet) < before_w or before_w == unit.curve.off.watts
    assert fleet.view is not None
    assert fleet.view.limits is not None
    signal = fleet.view.limits.signal_at(unit.id, now)
    if (
        signal is not None
        and signal.rule.action is Action.PAUSE
        and unit.id not in fleet.deaf
        and temp_c < 77
    ):
        assert fleet.modes[unit.id] == OFF


@pytest.mark.parametrize("seed", range(8))
def test_heat_signals_and_the_limit_of_power_are_kept_whatever_comes_together(seed: int) -> None:
    chance = random.Random(seed)
    fleet, now = any_site(chance), NOW
    least_kw = sum(unit.curve.off.watts for unit in fleet.units) / 1000
    for _ in range(25):
        now += chance.choice([1, 10, 10, 30, 60])
        trouble(chance, fleet, now)
        before_kw, before_w = fleet.drawn_kw(), {unit.id: watts(unit, fleet) for unit in fleet.units}
        prices = chance.choice([0.02, 0.05, 0.2, -0.1, None]), chance.choice([30.0, 40.0, 90.0])
        decisions = fleet.decide(now, *prices)
        assert fleet.view is not None
        assert fleet.view.limits is not None
        cap_kw = fleet.view.limits.cap_kw_at(now)
        assert fleet.drawn_kw() <= max(cap_kw, before_kw) + 1e-9
        settling = any(decision.reason is Reason.SETTLING for decision in decisions)
        if not (fleet.unreachable or fleet.deaf or settling):
            assert fleet.drawn_kw() <= max(cap_kw, least_kw) + 1e-6, "at once, whoever can be told"
        for unit, decision in zip(fleet.units, decisions, strict=True):
            check(unit, decision, before_w[unit.id], fleet, now)
