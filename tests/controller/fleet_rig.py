"""Units that do what they are told, decided on tick by tick by the very function that runs live."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from controller.deciding import DecidingConfig, decide_tick
from controller.policy import PolicyConfig
from controller.snapshot import Snapshot
from controller.ticks import HASHPRICE, POWER, UNITS, Tick
from controller.units import Mode, PowerCurve, Unit, UnitState
from controller.validate import MAINNET_RULES, SeriesRule

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from controller.decisions import Decision, Reason
    from controller.earnings import Earnings
    from controller.overrides import Override
    from controller.plan import Plan
    from controller.view import View

NOW = 1_700_000_000.0
TICK = 10.0
RULES = {**MAINNET_RULES, POWER: SeriesRule(-1, 10, 60), HASHPRICE: SeriesRule(1, 1000, 60)}
LIVE = PolicyConfig(rules=RULES, grace_s=120, dry_run=False)
CURVE = PowerCurve([Mode("off", 0, 0), Mode("eco", 76, 1850), Mode("full", 100, 2970)])
"""Breakevens at $40: off-eco 6.85 ct, eco-full 3.57 ct."""
UNIT = Unit("u1", CURVE, min_on_s=60, min_off_s=100, safe_mode="pause")


def tick(series: str, value: float, now: float, age_s: float = 0.0) -> Tick:
    return Tick(series, value, UNITS[series], now - 1e6, math.inf, now - age_s, "test")


def window(name: str, start: float, stop: float, value: float = 1.0, unit: str = "1") -> Tick:
    """A signal in force from `start` to `stop`."""
    return Tick(f"signal:{name}", value, unit, start, stop, start, "test")


def no_plan(*_args: object, **_named: object) -> Plan:
    raise ZeroDivisionError("a planner with a fault")


class Fleet:
    """A site of units with a memory of the last decisions."""

    def __init__(self, *units: Unit, config: PolicyConfig = LIVE, mode: str | None = "full") -> None:
        self.units = units or (UNIT,)
        self.config = config
        self.horizon_hours = 0.25
        self.modes: dict[str, str | None] = {unit.id: mode for unit in self.units}
        self.last: dict[str, Decision] = {}
        self.unreachable: set[str] = set()
        self.earnings: Earnings | None = None
        self.deaf: set[str] = set()
        """Units that take no order."""
        self.temp_c: dict[str, float] = {}
        self.th_s: dict[str, float] = {}
        self.power_w: dict[str, float] = {}
        self.signals: list[Tick] = []
        self.overrides: dict[str, Override] = {}
        self.later: list[tuple[float, float]] = []
        """Power prices known ahead: from when, USD/kWh."""
        self.view: View | None = None

    def decide(
        self,
        now: float,
        power: float | None,
        hashprice: float | None = 40.0,
        age_s: float = 0.0,
        *,
        make_plan: Callable[..., Plan] | None = None,
    ) -> tuple[Decision, ...]:
        snapshot = self.snapshot(now, power, hashprice, age_s)
        config = DecidingConfig(self.config, self.horizon_hours)
        extra = () if make_plan is None else (make_plan,)
        self.view = decide_tick(snapshot, self.last, config, *extra)
        assert make_plan is not None or not self.view.plan_fault, self.view.plan_fault
        self.last = dict(self.view.decisions)
        if not self.config.dry_run:
            for decision in self.last.values():
                if decision.changes and decision.unit_id not in self.deaf:
                    self.modes[decision.unit_id] = decision.to_mode
        return tuple(self.last.values())

    def one(
        self, now: float, power: float | None, hashprice: float | None = 40.0, age_s: float = 0.0
    ) -> Decision:
        return self.decide(now, power, hashprice, age_s)[0]

    def snapshot(self, now: float, power: float | None, hashprice: float | None, age_s: float) -> Snapshot:
        ticks: dict[str, tuple[Tick, ...]] = {
            series: (tick(series, value, now, age_s),)
            for series, value in ((POWER, power), (HASHPRICE, hashprice))
            if value is not None
        }
        if POWER in ticks:
            ahead = [
                Tick(POWER, value, "USD/kWh", at, math.inf, at - 1e6, "test") for at, value in self.later
            ]
            ticks[POWER] += tuple(each for each in ahead if each.valid_from > now)
        for signal in self.signals:
            ticks[signal.series] = (*ticks.get(signal.series, ()), signal)
        states = {unit.id: self.state(unit.id, now) for unit in self.units}
        return Snapshot(now, ticks, self.units, states, earnings=self.earnings, overrides=self.overrides)

    def state(self, unit_id: str, now: float) -> UnitState:
        return UnitState(
            unit_id,
            self.modes[unit_id],
            self.th_s.get(unit_id),
            self.power_w.get(unit_id),
            self.temp_c.get(unit_id),
            now,
            unit_id not in self.unreachable,
        )

    def drawn_kw(self) -> float:
        """What the units really draw, those that do not answer included."""
        modes = [(unit.curve, self.modes[unit.id]) for unit in self.units]
        return sum(curve.mode(mode).watts for curve, mode in modes if mode is not None) / 1000


def reasons(decisions: Iterable[Decision]) -> list[Reason]:
    return [decision.reason for decision in decisions]


def modes(decisions: Sequence[Decision]) -> list[str]:
    return [decision.to_mode for decision in decisions]
