"""What the world looked like on one tick: all a decision may see; pure."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from controller.forecast import TypicalDay
from controller.recent import Recent

if TYPE_CHECKING:
    from collections.abc import Mapping

    from controller.earnings import Earnings
    from controller.overrides import Override
    from controller.ticks import Tick
    from controller.units import Unit, UnitState


@dataclass(frozen=True, slots=True)
class Snapshot:
    """Ticks by series (ordered by validity), units, and what was read from them, at one time (UTC unix seconds).

    A unit without a state could not be read. `refused` says, by series, why its last value was not believed; `earnings` is what a pool pays,
    None where nothing better is known than what is configured. `overrides` are what persons asked for, by unit, in force or not;
    `starting_prices` the last plan's prices of power under the cap, as pairs of a slot's start and USD/kWh; `typical_day`
    what was learned of the power price before, `recent` its last prices before this look at it.
    """

    at: float
    ticks: Mapping[str, tuple[Tick, ...]]
    units: tuple[Unit, ...]
    states: Mapping[str, UnitState]
    refused: Mapping[str, str] = field(default_factory=dict)
    earnings: Earnings | None = None
    overrides: Mapping[str, Override] = field(default_factory=dict)
    starting_prices: tuple[tuple[float, float], ...] = ()
    typical_day: TypicalDay = field(default_factory=TypicalDay)
    recent: Recent = field(default_factory=Recent)
