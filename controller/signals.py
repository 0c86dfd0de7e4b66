"""Signals of the grid, a utility or an operator: what they ask of units, from when to when, and how their end is a ramp; pure.

A signal outranks profit: it is obeyed at once, in dwell or not. Its windows are ticks of the series `signal:<name>`, so what was asked
is recorded like every price. Times are UTC unix seconds and half open, power is in kW.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from enum import StrEnum
from itertools import chain
from typing import TYPE_CHECKING, Final

from controller.ticks import SIGNAL_PREFIX
from controller.units import OFF

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ticks import Tick
    from controller.units import Mode, Unit

SHORTEST_S: Final = 0.01
"""A window shorter than this is none: so is one taken back before it began, as a tick's validity cannot be empty."""

KW: Final = "kW"
PLAIN: Final = "1"


class Action(StrEnum):
    """What a signal asks for."""

    PAUSE = "pause"
    RUN = "run"
    CAP = "cap"
    MODE = "mode"


_STRENGTH: Final = {Action.PAUSE: 0, Action.MODE: 1, Action.RUN: 2}


@dataclass(frozen=True, slots=True)
class SignalRule:
    """What a signal of this name means.

    `units` are the ids it is about, None for all. `cap_kw` is the limit of a `cap` whose window names none, `mode` that of a `mode`.
    `ramp_s`: after its end power comes back over this time.
    """

    name: str
    action: Action
    units: frozenset[str] | None = None
    cap_kw: float | None = None
    mode: str | None = None
    ramp_s: float = 0.0

    def __post_init__(self) -> None:
        """Refuse a rule that says nothing, or too much."""
        if not self.name:
            raise ValueError("a signal needs a name")
        if not (math.isfinite(self.ramp_s) and self.ramp_s >= 0):
            raise ValueError(f"signal {self.name!r}: ramp_s must be zero or more, not {self.ramp_s}")
        if self.cap_kw is not None and not (math.isfinite(self.cap_kw) and self.cap_kw >= 0):
            raise ValueError(f"signal {self.name!r}: cap_kw must be zero or more, not {self.cap_kw}")
        if (self.action is Action.MODE) != (self.mode is not None):
            raise ValueError(f"signal {self.name!r}: action 'mode', and only it, names a mode")
        if self.action is Action.CAP and self.units is not None:
            raise ValueError(f"signal {self.name!r}: a cap is the whole site's, not some units'")

    @property
    def series(self) -> str:
        """The series its windows are ticks of."""
        return SIGNAL_PREFIX + self.name


@dataclass(frozen=True, slots=True)
class Active:
    """One window of a signal, in force in [start, stop); `cap_kw` is the limit of a `cap`, None for the others."""

    rule: SignalRule
    start: float
    stop: float
    cap_kw: float | None = None

    def holds_at(self, at: float) -> bool:
        """Whether it is in force at `at`; its ramp is not."""
        return self.start <= at < self.stop

    def within(self, start: float, stop: float) -> bool:
        """Whether it is in force at some time in [start, stop)."""
        return self.start < stop and start < self.stop

    def concerns(self, unit_id: str) -> bool:
        """Whether it is about this unit."""
        return self.rule.units is None or unit_id in self.rule.units

    @property
    def ramp_stop(self) -> float:
        """When its ramp is over; the end itself where it has none."""
        return self.stop if self.rule.action is Action.RUN else self.stop + self.rule.ramp_s


@dataclass(frozen=True, slots=True)
class CapSpan:
    """A limit on the site's power in [start, stop) that goes from one value to another in a straight line, never falling.

    `name` is the signal's, `is_ramp` whether it is the way back after its end.
    """

    name: str
    start: float
    stop: float
    from_kw: float
    to_kw: float
    is_ramp: bool = False

    def kw_at(self, at: float) -> float:
        """The limit at `at`; infinite outside of the span."""
        if not self.start <= at < self.stop:
            return math.inf
        if self.from_kw == self.to_kw:
            return self.from_kw
        return self.from_kw + (self.to_kw - self.from_kw) * (at - self.start) / (self.stop - self.start)


def windows(
    ticks: Mapping[str, Sequence[Tick]], rules: Iterable[SignalRule], start: float, until: float
) -> tuple[Active, ...]:
    """Every window that matters in [start, until), its ramp included, by start, then in the order of the rules."""
    found = []
    for rule in rules:
        for tick in ticks.get(rule.series, ()):
            window = _window(tick, rule)
            if window is not None and window.start < until and start < window.ramp_stop:
                found.append(window)
    return tuple(sorted(found, key=lambda window: window.start))


def active(
    ticks: Mapping[str, Sequence[Tick]], rules: Iterable[SignalRule], now: float
) -> tuple[Active, ...]:
    """The windows in force at `now`; those whose ramp still runs are not among them."""
    return tuple(
        window for window in windows(ticks, rules, now, math.nextafter(now, math.inf)) if window.holds_at(now)
    )


def strongest(found: Iterable[Active], unit_id: str, start: float, stop: float) -> Active | None:
    """What binds this unit in [start, stop): of several a pause comes before a mode, a mode before a run; caps bind no unit alone."""
    binding = [
        window
        for window in found
        if window.rule.action in _STRENGTH and window.concerns(unit_id) and window.within(start, stop)
    ]
    return min(binding, key=lambda window: _STRENGTH[window.rule.action], default=None)


def allowed_modes(window: Active, unit: Unit) -> frozenset[str]:
    """The unit's modes that keep what the window asks; empty where it has none, or the window is a cap's."""
    modes = unit.curve.modes
    match window.rule.action:
        case Action.PAUSE:
            return frozenset({OFF})
        case Action.RUN:
            return frozenset(mode.name for mode in modes if mode.name != OFF)
        case Action.MODE:
            return frozenset(mode.name for mode in modes if mode.name == window.rule.mode)
        case Action.CAP:
            return frozenset()


def cap_spans(
    found: Iterable[Active], units: Iterable[Unit], site_cap_kw: float = math.inf
) -> tuple[CapSpan, ...]:
    """The limits that these windows put on the power of `units` together, ramps included.

    A ramp rises from what the signal left to all that the units can draw, or `site_cap_kw` where that is less. The limits of the site
    itself are not among them.
    """
    found = tuple(found)
    if not found:
        return ()
    draws = {unit.id: _most_kw(unit) for unit in units}
    curves = {unit.id: unit for unit in units}
    full_kw = min(math.fsum(draws.values()), site_cap_kw)
    spans = []
    for window in found:
        name, cap_kw = window.rule.name, window.cap_kw
        if window.rule.action is Action.CAP and cap_kw is not None:
            spans.append(CapSpan(name, window.start, window.stop, cap_kw, cap_kw))
            left_kw = cap_kw
        else:
            left_kw = math.fsum(
                _left_kw(window, curves[unit_id]) if window.concerns(unit_id) else draw
                for unit_id, draw in draws.items()
            )
        if window.ramp_stop > window.stop and left_kw < full_kw:
            spans.append(CapSpan(name, window.stop, window.ramp_stop, left_kw, full_kw, is_ramp=True))
    return tuple(spans)


def cap_between(spans: Iterable[CapSpan], start: float, stop: float) -> float:
    """The lowest limit anywhere in [start, stop); infinite where there is none."""
    return min(
        (span.kw_at(max(span.start, start)) for span in spans if span.start < stop and start < span.stop),
        default=math.inf,
    )


def binding_span(spans: Iterable[CapSpan], at: float) -> CapSpan | None:
    """The span with the lowest limit at `at`, to be named; None where there is none."""
    return min(
        (span for span in spans if span.start <= at < span.stop),
        key=lambda span: span.kw_at(at),
        default=None,
    )


def edges(found: Iterable[Active]) -> tuple[float, ...]:
    """The finite times at which something begins or ends, rising: slots are best cut there."""
    times = chain.from_iterable((window.start, window.stop, window.ramp_stop) for window in found)
    return tuple(sorted({at for at in times if math.isfinite(at)}))


def _window(tick: Tick, rule: SignalRule) -> Active | None:
    if tick.valid_to - tick.valid_from < SHORTEST_S:
        return None
    if rule.action is not Action.CAP:
        return Active(rule, tick.valid_from, tick.valid_to) if tick.value > 0 else None
    cap_kw = tick.value if tick.unit == KW else rule.cap_kw
    return None if cap_kw is None else Active(rule, tick.valid_from, tick.valid_to, cap_kw)


def _most(unit: Unit) -> Mode:
    return unit.curve.modes[-1]  # they are ordered by watts


def _most_kw(unit: Unit) -> float:
    return _most(unit).watts / 1000


def _left_kw(window: Active, unit: Unit) -> float:
    """What a window leaves a unit it is about."""
    allowed = allowed_modes(window, unit)
    watts = [mode.watts for mode in unit.curve.modes if mode.name in allowed]
    return max(watts) / 1000 if watts else _most_kw(unit)
