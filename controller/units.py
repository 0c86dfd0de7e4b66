"""Units and what they can do: modes, power curves, states and setpoints; pure.

Hashrate is in TH/s, power in W at the wall, times in seconds.
"""

from __future__ import annotations

import itertools
import math
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

OFF: Final = "off"
"""The one mode every curve has: no hashing, standby watts."""

UNKNOWN: Final = "unknown"
"""Stands for a mode nobody could read; never a mode's name."""

SAFE_RUN: Final = "run"
SAFE_PAUSE: Final = "pause"


@dataclass(frozen=True, slots=True)
class Mode:
    """One way to run a unit: its name, hashrate in TH/s and power in W."""

    name: str
    th_s: float
    watts: float

    def __post_init__(self) -> None:
        """Refuse what no machine does."""
        if not self.name or self.name == UNKNOWN:
            raise ValueError(f"{self.name!r} cannot name a mode")
        if not (math.isfinite(self.th_s) and self.th_s >= 0):
            raise ValueError(f"mode {self.name!r}: th_s must be zero or more, not {self.th_s}")
        if not (math.isfinite(self.watts) and self.watts >= 0):
            raise ValueError(f"mode {self.name!r}: watts must be zero or more, not {self.watts}")
        if (self.name == OFF) != (self.th_s == 0):
            raise ValueError(
                f"mode {self.name!r}: th_s is {self.th_s}; 'off', and only 'off', hashes nothing"
            )

    @property
    def j_per_th(self) -> float:
        """Joules per terahash on average; ValueError for `off`."""
        if self.th_s == 0:
            raise ValueError("a mode that does not hash has no J/TH")
        return self.watts / self.th_s


@dataclass(frozen=True)
class Step:
    """From one mode to another that draws more power: what the next watt buys."""

    lower: Mode
    upper: Mode

    @cached_property
    def th_s(self) -> float:
        """Hashrate gained, TH/s; negative where more power gives less."""
        return self.upper.th_s - self.lower.th_s

    @cached_property
    def watts(self) -> float:
        """Power added, W."""
        return self.upper.watts - self.lower.watts

    @cached_property
    def j_per_th(self) -> float:
        """Joules per terahash of this step alone; infinite where nothing is gained."""
        return self.watts / self.th_s if self.th_s > 0 else math.inf


class PowerCurve:
    """The modes of a unit, ordered by watts, `off` first (added at 0 W if it is not given).

    Raises ValueError for no running mode, a name given twice, or a mode that draws less than `off`.
    Curves with equal modes are equal and hash alike, so units of one model can be planned as one class.
    """

    def __init__(self, modes: Iterable[Mode]) -> None:
        given = list(modes)
        if not any(mode.name == OFF for mode in given):
            given.append(Mode(OFF, 0.0, 0.0))
        self.modes: Final = tuple(sorted(given, key=lambda mode: (mode.watts, mode.th_s, mode.name)))
        self.by_name: Final[Mapping[str, Mode]] = {mode.name: mode for mode in self.modes}
        self._hash = hash(self.modes)
        if len(self.by_name) != len(self.modes):
            raise ValueError("a power curve names each mode once")
        if len(self.modes) == 1:
            raise ValueError("a power curve needs a mode that hashes")
        if self.modes[0].name != OFF:
            raise ValueError(f"mode {self.modes[0].name!r} draws less than 'off'")
        self.off: Final = self.modes[0]
        """The mode that hashes nothing."""
        self.names: Final = tuple(self.by_name)
        """The names of the modes, in their order."""

    def __eq__(self, other: object) -> bool:
        return isinstance(other, PowerCurve) and self.modes == other.modes

    def __hash__(self) -> int:
        return self._hash

    def __repr__(self) -> str:
        return f"PowerCurve({list(self.modes)!r})"

    def __contains__(self, name: object) -> bool:
        return name in self.by_name

    def mode(self, name: str) -> Mode:
        """The mode of that name; KeyError if there is none."""
        return self.by_name[name]

    @cached_property
    def full(self) -> Mode:
        """The mode with the greatest hashrate, the thriftiest of equals."""
        return max(self.modes, key=lambda mode: (mode.th_s, -mode.watts))

    def hull(self) -> tuple[Mode, ...]:
        """Modes on the upper convex hull of hashrate over power, by watts: only these are ever right.

        Modes past the greatest hashrate stay on it, since a negative power price may pay for their watts.
        """
        return self._hull

    def steps(self) -> tuple[Step, ...]:
        """The steps between neighbours on the hull, their price per TH rising."""
        return self._steps

    def step_below(self, mode: Mode) -> Step | None:
        """The step to `mode` from the next mode of the hull that draws less; KeyError for a mode of another curve."""
        return self._around[mode.name][0]

    def step_above(self, mode: Mode) -> Step | None:
        """The step from `mode` to the next mode of the hull that draws more; KeyError for a mode of another curve."""
        return self._around[mode.name][1]

    @cached_property
    def starts(self) -> tuple[Step, ...]:
        """The steps from off right to each mode of the hull that draws more."""
        return tuple(Step(self.off, mode) for mode in self._hull if mode.watts > self.off.watts)

    @cached_property
    def _hull(self) -> tuple[Mode, ...]:
        hull: list[Mode] = []
        for mode in self.modes:
            if hull and hull[-1].watts == mode.watts:
                hull.pop()  # modes are ordered: this one hashes more for the same power
            while len(hull) > 1 and _not_above(hull[-2], hull[-1], mode):
                hull.pop()
            hull.append(mode)
        return tuple(hull)

    @cached_property
    def _steps(self) -> tuple[Step, ...]:
        hull = self._hull
        return tuple(Step(lower, upper) for lower, upper in itertools.pairwise(hull))

    @cached_property
    def _around(self) -> dict[str, tuple[Step | None, Step | None]]:
        """By the name of each mode, the steps to it and from it along the hull."""
        hull = self._hull
        return {
            mode.name: (
                next((Step(other, mode) for other in reversed(hull) if other.watts < mode.watts), None),
                next((Step(mode, other) for other in hull if other.watts > mode.watts), None),
            )
            for mode in self.modes
        }


def _not_above(left: Mode, middle: Mode, right: Mode) -> bool:
    """Whether `middle` lies on or under the line from `left` to `right`."""
    rise = (middle.th_s - left.th_s) * (right.watts - left.watts)
    return rise <= (right.th_s - left.th_s) * (middle.watts - left.watts)


@dataclass(frozen=True, slots=True)
class Unit:
    """A machine that can be turned down: its curve and how it wants to be treated.

    `min_on_s` and `min_off_s` are the least times between being started and stopped; `restart_s` is the time from
    a start to full hashrate; `safe_mode` ("run", "pause" or a mode's name) is where it goes when prices are not known.
    A start costs `wear_usd` too; a change between running modes costs the new mode's hashrate for `change_s`. It may be started
    `starts_per_day` times, None for no limit, and is turned down above `max_temp_c`, None for no limit.
    """

    id: str
    curve: PowerCurve
    min_on_s: float = 0.0
    min_off_s: float = 0.0
    restart_s: float = 0.0
    safe_mode: str = SAFE_RUN
    wear_usd: float = 0.0
    change_s: float = 0.0
    starts_per_day: int | None = None
    max_temp_c: float | None = None

    def __post_init__(self) -> None:
        """Refuse times and costs below zero, limits nobody can keep and a safe mode the curve does not have."""
        if not self.id:
            raise ValueError("a unit needs an id")
        for name in ("min_on_s", "min_off_s", "restart_s", "wear_usd", "change_s"):
            value: float = getattr(self, name)
            if not (math.isfinite(value) and value >= 0):
                raise ValueError(f"unit {self.id!r}: {name} must be zero or more, not {value}")
        if self.safe_mode not in {SAFE_RUN, SAFE_PAUSE} and self.safe_mode not in self.curve:
            raise ValueError(f"unit {self.id!r}: safe_mode {self.safe_mode!r} is no mode of it")
        if self.starts_per_day is not None and self.starts_per_day < 1:
            raise ValueError(
                f"unit {self.id!r}: starts_per_day must be one or more, not {self.starts_per_day}"
            )
        if self.max_temp_c is not None and not (math.isfinite(self.max_temp_c) and self.max_temp_c > 0):
            raise ValueError(f"unit {self.id!r}: max_temp_c must be above zero, not {self.max_temp_c}")

    @property
    def safe(self) -> Mode:
        """The mode meant by `safe_mode`: a mode of that name, else "run" is full hashrate and "pause" off."""
        if self.safe_mode in self.curve:
            return self.curve.mode(self.safe_mode)
        return self.curve.full if self.safe_mode == SAFE_RUN else self.curve.off


@dataclass(frozen=True, slots=True)
class UnitState:
    """What was last read from a unit; `mode` and readings are None where it does not say."""

    unit_id: str
    mode: str | None
    hashrate_th_s: float | None
    power_w: float | None
    temp_c: float | None
    observed_at: float
    reachable: bool = True


@dataclass(frozen=True, slots=True)
class Setpoint:
    """The mode a unit is told to run in."""

    unit_id: str
    mode: str
