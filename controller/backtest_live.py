"""The controller over what was recorded: on each quarter hour a snapshot, and the very function that decides when it runs; pure.

Units obey at once and say the mode they were told. All that is remembered from tick to tick goes through the functions the loop uses.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Final

import numpy as np

from controller.deciding import DecidingConfig, Memory, RealTime, decide_tick, learned, next_memory
from controller.fleet import PolicyConfig
from controller.hashprice import Earned
from controller.limits import SiteConfig
from controller.recorded import utc
from controller.snapshot import Snapshot
from controller.ticks import HASHPRICE, POWER, POWER_DAY_AHEAD
from controller.units import UnitState
from controller.validate import MAINNET_RULES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from numpy.typing import NDArray

    from controller.backtest import Asked
    from controller.backtest_tape import Tape
    from controller.decisions import Decision
    from controller.units import Unit
    from controller.view import View

BY_PLAN: Final = "plan"
"""Not by a worth: prices were known for long enough, or nothing was decided by them."""

BOUNDS: Final = {POWER: (-1000.0, 1000.0), POWER_DAY_AHEAD: (-1000.0, 1000.0), HASHPRICE: (1e-6, 1e30)}
"""Between which values are believed: what was recorded and paid was true, however far out. Live, the bounds are the market's."""
RULES: Final = {
    **MAINNET_RULES,
    **{series: replace(MAINNET_RULES[series], low=low, high=high) for series, (low, high) in BOUNDS.items()},
}


class BacktestError(Exception):
    """The controller itself failed on a tick; says when and how."""


@dataclass(frozen=True, slots=True, eq=False)
class Decided:
    """What every unit was told: `modes` [units, T] as indices in their curves, and by which method the worth of running it was known how often."""

    modes: NDArray[np.uint8]
    methods: tuple[Mapping[str, int], ...]


def deciding_config(asked: Asked) -> DecidingConfig:
    """How the controller decides in a backtest: as it does live, for units that do what they are told."""
    policy = PolicyConfig(
        rules=RULES,
        earned=Earned(pool_fee=asked.fee),
        dead_band=asked.dead_band,
        dry_run=False,
        site=SiteConfig(cap_kw=asked.cap_kw, zone=asked.zone),
    )
    return DecidingConfig(
        policy=policy, horizon_hours=asked.horizon_hours, real_time=RealTime(asked.sees, asked.model)
    )


def decide_all(
    tape: Tape,
    units: Sequence[Unit],
    config: DecidingConfig,
    *,
    warm_up: int = 0,
    progress: Callable[[float], None] = lambda _: None,
    on_view: Callable[[View], None] | None = None,
) -> Decided:
    """What the controller tells these units on every quarter hour after the warm-up, all of them at full hashrate before.

    `progress` hears which part is done, `on_view` sees each tick, and what explains it; without one nothing is explained. Raises BacktestError where the planner fails.
    """
    units = tuple(units)
    memory = Memory()
    for index in range(warm_up):
        memory = learned(memory, tape.at(index), tape.time(index), config)
    places = [{mode.name: place for place, mode in enumerate(unit.curve.modes)} for unit in units]
    modes = {unit.id: unit.curve.full.name for unit in units}
    told = np.empty((len(units), len(tape) - warm_up), dtype=np.uint8)
    methods: list[Counter[str]] = [Counter() for _ in units]
    last: dict[str, Decision] = {}
    for index in range(warm_up, len(tape)):
        now = tape.time(index)
        states = {name: UnitState(name, mode, None, None, None, now) for name, mode in modes.items()}
        snapshot = Snapshot(
            now,
            tape.at(index),
            units,
            states,
            starting_prices=memory.starting_prices,
            typical_day=memory.typical_day,
            recent=memory.recent,
        )
        view = decide_tick(snapshot, last, config, explain=on_view is not None)
        if view.plan_fault:
            raise BacktestError(f"no plan at {utc(now)}: {view.plan_fault}")
        last = dict(view.decisions)
        for place, decision in enumerate(last.values()):
            modes[decision.unit_id] = decision.to_mode
            told[place, index - warm_up] = places[place][decision.to_mode]
        for unit, counted in zip(units, methods, strict=True):
            counted["" if view.worth is None else view.worth.method_of(unit)] += 1
        memory = next_memory(memory, view, config)
        if on_view is not None:
            on_view(view)
        progress((index + 1 - warm_up) / (len(tape) - warm_up))
    return Decided(
        told, tuple({method or BY_PLAN: count for method, count in each.items()} for each in methods)
    )
