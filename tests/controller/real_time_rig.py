"""Units at a real-time market: prices that are told for a quarter hour, and a worth of being on that a test sets."""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np

from controller.deciding import DecidingConfig, Memory, RealTime, Sees, decide_tick, next_memory
from controller.fleet import PolicyConfig
from controller.snapshot import Snapshot
from controller.ticks import HASHPRICE, POWER, POWER_DAY_AHEAD, UNITS, Tick
from controller.units import Mode, PowerCurve, Unit, UnitState
from controller.validate import MAINNET_RULES, SeriesRule
from controller.worth import Expected

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from controller.decisions import Decision
    from controller.model import Model
    from controller.view import View
    from controller.worth import Seen

QUARTER = 1_888_888
NOW = QUARTER * 900.0
RULES = {**MAINNET_RULES, HASHPRICE: SeriesRule(1, 1000, 1e9)}
LIVE = PolicyConfig(rules=RULES, dead_band=0.05, dry_run=False)
SINGLE = PowerCurve([Mode("full", 100, 2000)])
LADDER = PowerCurve([Mode("off", 0, 20), *(Mode(f"{w} W", th, w) for th, w in (
    (76, 1850), (80, 2000), (87, 2300), (92, 2500), (96, 2700), (100, 2970)))])  # fmt: skip


def priced(series: str, value: float, start: float, stop: float = math.inf) -> Tick:
    """A price that was known before its time."""
    return Tick(series, value, UNITS[series], start, stop, start - 1, "market")


def pinned(ratio: Callable[[int], float], method: str = "band") -> Callable[..., Expected]:
    """Stands for the models: the ratio of each block by its number."""

    def expected(
        seen: Seen, sees: Sees, breakeven: NDArray[np.float64], cost: NDArray[np.float64], model: Model | None
    ) -> Expected:
        del seen, sees, model
        assert (cost > 0).all()
        ratios = np.array([ratio(at) for at in range(len(breakeven))])
        return Expected(
            ratios, (method,) * len(breakeven), "" if method == "fitted" else "nothing was fitted"
        )

    return expected


@dataclass
class Market:
    """A fleet that decides tick by tick, its units doing what they are told; prices in USD/kWh by quarter hour from `NOW` on."""

    units: Sequence[Unit]
    prices: Sequence[float]
    real_time: RealTime | None = field(default_factory=RealTime)
    mode: str = "off"
    policy: PolicyConfig = LIVE
    horizon_hours: float = 6.0
    hashprice: float = 40.0
    day_ahead: Sequence[float] = ()
    signals: Sequence[Tick] = ()

    def __post_init__(self) -> None:
        self.modes = {unit.id: self.mode for unit in self.units}
        self.memory, self.last = Memory(), dict[str, "Decision"]()

    @property
    def config(self) -> DecidingConfig:
        return DecidingConfig(self.policy, self.horizon_hours, real_time=self.real_time)

    def snapshot(self, at: float) -> Snapshot:
        """What is seen then: a source tells the price of the quarter hour that begins, or that of the one before."""
        back = 1 if self.real_time is not None and self.real_time.sees is Sees.B else 0
        number = math.floor((at - NOW) / 900) - back
        start = NOW + 900 * number
        ticks = {
            POWER: (priced(POWER, self.prices[number], start, start + 900),),
            HASHPRICE: (priced(HASHPRICE, self.hashprice, NOW - 86_400),),
        }
        if self.day_ahead:
            hours = [(NOW + 3600 * n, price) for n, price in enumerate(self.day_ahead)]
            ticks[POWER_DAY_AHEAD] = tuple(priced(POWER_DAY_AHEAD, p, t, t + 3600) for t, p in hours)
        for signal in self.signals:
            ticks[signal.series] = (signal,)
        states = {
            unit.id: UnitState(unit.id, self.modes[unit.id], None, None, None, at) for unit in self.units
        }
        memory = self.memory
        return Snapshot(
            at,
            ticks,
            tuple(self.units),
            states,
            starting_prices=memory.starting_prices,
            typical_day=memory.typical_day,
            recent=memory.recent,
        )

    def decide(self, at: float) -> View:
        """What the next tick would decide."""
        view = decide_tick(self.snapshot(at), self.last, self.config)
        assert not view.plan_fault
        return view

    def live(self, at: float) -> View:
        """One tick."""
        view = self.decide(at)
        self.memory = next_memory(self.memory, view, self.config)
        self.last = dict(view.decisions)
        self.modes = {unit_id: decision.to_mode for unit_id, decision in view.decisions.items()}
        return view

    def first(self, at: float, unit: Unit | None = None) -> str:
        """The mode planned for now."""
        view = self.decide(at)
        assert view.plan is not None
        return view.plan.units[(unit or self.units[0]).id].modes[0]

    def but(self, **changes: object) -> Market:
        """The same fleet from the beginning, with something else."""
        return replace(self, **changes)  # type: ignore[arg-type] # by name
