"""What limits the site besides prices: its power, signals with their ramps, overrides, and its calendar; pure.

Power is in kW, times are UTC unix seconds. A limit that is none is infinite.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from controller.signals import (
    Active,
    CapSpan,
    SignalRule,
    allowed_modes,
    binding_span,
    cap_between,
    cap_spans,
    edges,
    strongest,
    windows,
)

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.overrides import Override
    from controller.plan import Slot
    from controller.snapshot import Snapshot
    from controller.units import Unit

UTC_ZONE: Final = "UTC"

MOST_CUTS: Final = 32
"""Every slot more makes a plan longer to make; a day has 96 quarter hours."""

_ROUNDING_S: Final = 1e-6
"""Of a time on the wall, which knows no shorter ones."""


@dataclass(frozen=True, slots=True)
class SiteConfig:
    """What the site may draw and whom it obeys.

    `cap_kw`: what all units together may draw, None for no limit. `signals`: what each signal means. `zone`: the IANA time zone whose
    midnight ends a day for `starts_per_day`. Raises ValueError for a limit below zero, two signals of a name or an unknown zone.
    """

    cap_kw: float | None = None
    signals: tuple[SignalRule, ...] = ()
    zone: str = UTC_ZONE

    def __post_init__(self) -> None:
        """Refuse what nobody could keep."""
        if self.cap_kw is not None and not (math.isfinite(self.cap_kw) and self.cap_kw > 0):
            raise ValueError(f"cap_kw must be above zero, or absent for no limit, not {self.cap_kw}")
        names = [rule.name for rule in self.signals]
        if len(set(names)) != len(names):
            raise ValueError(f"each signal has one rule, not several: {', '.join(sorted(names))}")
        _zone(self.zone)

    @property
    def most_kw(self) -> float:
        """The site's own limit, infinite where there is none."""
        return math.inf if self.cap_kw is None else self.cap_kw


@dataclass(frozen=True, slots=True)
class Limits:
    """All that limits the site on one tick and after it.

    `found` are the signal windows that matter, `spans` the limits they put on power, `overrides` those not over yet, by unit.
    """

    site: SiteConfig
    found: tuple[Active, ...] = ()
    spans: tuple[CapSpan, ...] = ()
    overrides: Mapping[str, Override] = field(default_factory=dict)

    def cap_kw(self, start: float, stop: float) -> float:
        """What all units may draw in [start, stop); infinite where nothing limits it."""
        return min(self.site.most_kw, cap_between(self.spans, start, stop))

    def cap_kw_at(self, at: float) -> float:
        """What all units may draw at that time."""
        return self.cap_kw(at, math.nextafter(at, math.inf))

    def cap_text(self, at: float) -> str:
        """What limits power at that time, in words."""
        kw = self.cap_kw_at(at)
        span = binding_span(self.spans, at)
        if span is None or span.kw_at(at) > kw:
            return f"the site's limit of {kw:,.6g} kW"
        what = "the ramp after signal" if span.is_ramp else "signal"
        return f"{what} {span.name}: {kw:,.6g} kW"

    def signal_at(self, unit_id: str, at: float) -> Active | None:
        """The signal that binds this unit at that time."""
        if not self.found:
            return None
        return strongest(self.found, unit_id, at, math.nextafter(at, math.inf))

    def override_at(self, unit: Unit, at: float) -> Override | None:
        """A person's wish in force for this unit at that time, if it has that mode."""
        wish = self.overrides.get(unit.id)
        return wish if wish is not None and wish.holds_at(at) and wish.mode in unit.curve else None

    def obliged(self, unit: Unit, start: float, stop: float) -> frozenset[str] | None:
        """The modes a unit is bound to within [start, stop), a signal before a person; None where it is free."""
        window = strongest(self.found, unit.id, start, stop)
        if window is not None:
            return allowed_modes(window, unit) or None
        wish = self.override_at(unit, (start + stop) / 2)
        return None if wish is None else frozenset({wish.mode})

    def cuts(self, start: float, until: float) -> tuple[float, ...]:
        """When something begins or ends within (start, until): slots are cut there; the site's midnights too.

        Of many beginnings and ends the next `MOST_CUTS` count: a later one binds the slots whose middle it holds in, and is cut at when it is near.
        """
        times = {*edges(self.found)}
        for wish in self.overrides.values():
            times |= {wish.since, wish.until}
        near = sorted(at for at in times if start < at < until)[:MOST_CUTS]
        nights = (at for at in midnights(start, until, self.site.zone) if start < at < until)
        return tuple(sorted({*near, *nights}))

    def next_change(self, after: float) -> float:
        """When the next signal or override begins or ends; infinite where none will."""
        times = [*edges(self.found)]
        for wish in self.overrides.values():
            times += [wish.since, wish.until]
        return min((at for at in times if at > after), default=math.inf)

    def rooms(
        self, stretches: Sequence[tuple[float, float]], taken_kw: float, ratio: float = 1.0
    ) -> list[tuple[float, int]]:
        """Per stretch (start, stop), rising, what is left of the limit after `taken_kw`, and on which day it begins.

        That much is drawn by units that cannot be told anything. `ratio` is how much more than planned the others draw: what is left is
        less by that.
        """
        days = local_days([start for start, _ in stretches], self.site.zone)
        if not self.spans:
            cap_kw = max(self.site.most_kw - taken_kw, 0.0) / ratio
            return [(cap_kw, day) for day in days]
        caps = [max(self.cap_kw(start, stop) - taken_kw, 0.0) / ratio for start, stop in stretches]
        return list(zip(caps, days, strict=True))


def read_limits(snapshot: Snapshot, site: SiteConfig, horizon_s: float) -> Limits:
    """The limits from the snapshot's time over the horizon."""
    until = snapshot.at + horizon_s
    found = windows(snapshot.ticks, site.signals, snapshot.at, until)
    return Limits(
        site,
        found,
        cap_spans(found, snapshot.units, site.most_kw),
        {unit_id: wish for unit_id, wish in snapshot.overrides.items() if snapshot.at < wish.until},
    )


def local_day(at: float, zone: str) -> int:
    """The number of the calendar day in that zone; the next day has the next number."""
    return datetime.fromtimestamp(at, tz=_zone(zone)).toordinal()


def local_days(times: Iterable[float], zone: str) -> list[int]:
    """The days of these times, which rise, numbered likewise."""
    place = _zone(zone)
    found: list[int] = []
    day, over = 0, -math.inf
    for at in times:
        if at >= over:
            wall = datetime.fromtimestamp(at, tz=place)
            day = wall.toordinal()
            over = _next_midnight(wall).timestamp() - _ROUNDING_S
        found.append(day)
    return found


def midnights(start: float, until: float, zone: str) -> tuple[float, ...]:
    """Every midnight of that zone within (start, until): days of 23 and 25 hours included."""
    place = _zone(zone)
    found: list[float] = []
    day = datetime.fromtimestamp(start, tz=place)
    while True:
        day = _next_midnight(day)
        at = day.timestamp()
        if at >= until:
            return tuple(found)
        if at > start:
            found.append(at)


def _next_midnight(wall: datetime) -> datetime:
    """When the next day begins: on the wall, whatever the clock does in between."""
    return wall.replace(hour=0, minute=0, second=0, microsecond=0, fold=0) + timedelta(days=1)


def obliged_slots(limits: Limits, unit: Unit, slots: Sequence[Slot]) -> tuple[frozenset[str] | None, ...]:
    """Per slot the modes a unit is bound to, as `plan.Member` wants it: empty where it is free throughout."""
    found = tuple([limits.obliged(unit, slot.start, slot.stop) for slot in slots])
    return found if any(modes is not None for modes in found) else ()


def _zone(name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)  # which keeps those it has read
    except (ZoneInfoNotFoundError, ValueError, OSError) as error:
        raise ValueError(f"{name!r} is no IANA time zone, such as 'Europe/Berlin' or 'UTC'") from error
