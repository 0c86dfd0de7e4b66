"""Where every unit stands on a tick, from what was read of it and from its last decision, and what of that the planner must know; pure.

Everything remembered between ticks stands in a unit's last decision, so a restart forgets nothing: the ledger's last decisions are the
memory.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from controller.hashprice import Earned
from controller.limits import Limits, SiteConfig, local_day, obliged_slots
from controller.plan import Member, Standing
from controller.units import OFF, UNKNOWN, Mode, Unit, UnitState
from controller.validate import MAINNET_RULES, SeriesRule

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.decisions import Decision
    from controller.plan import Slot
    from controller.snapshot import Snapshot

SINCE: Final = "since_s"
"""In a decision's numbers: when the unit was last turned on or off, unix seconds."""
CHANGED: Final = "changed_s"
"""When it was last told another mode."""
TOLD: Final = "told_s"
"""When it was last told the mode it is meant to be in; absent once it was seen in it."""
WANTED: Final = "resume_wanted_s"
"""Since when the price has wanted it to run again; absent unless it waits for that."""
STALE: Final = "stale_since_s"
"""Since when prices are not known; absent while they are."""
CONTRADICTS: Final = "contradicts_since_s"
"""Since when the work it hands in has contradicted the mode it says it is in; absent while the two agree."""
STARTS: Final = "starts_today"
"""How often it was started on the day numbered `DAY`, where starts per day are limited."""
DAY: Final = "starts_day"
RAISED: Final = "raised_s"
"""When it was last told to draw more, while that is within the minute in which changes are counted."""
PLANLESS: Final = "no_plan_since_s"
"""Since when there has been no plan to follow."""
REFUSED_W: Final = "power_refused_w"
"""The power it says it draws, where no machine with its curve does."""

RATIO: Final = "draws_ratio"
"""How much more than its mode's watts it draws, as measured; absent where it draws no more."""
RATIO_W: Final = "draws_ratio_at_w"
"""The watts of the mode in which that was measured."""
SHED: Final = "shed_s"
"""When it was turned down since more was drawn than allowed; absent once that is long ago, or more is allowed."""

COOL_C: Final = 3.0
"""So far below its limit a unit must be before it is turned up."""

STEADY_S: Final = 120.0
"""A unit's measured power says what its mode draws when it was not told anything for this time beyond its restart."""

SETTLE_S: Final = 900.0
"""A unit that was turned down since more was drawn than allowed is not turned up again within this time."""

_RATIO_FADES_S: Final = 3600.0
"""In this time two thirds of a ratio are forgotten that is not measured any more in the mode it was measured in."""
_RATIO_KEPT_S: Final = 7 * 86_400.0
"""And in a mode of fewer watts, which says little of the others."""
_MOST_RATIO: Final = 1.5
"""What measures more than this above the greatest mode is a faulty meter, or another machine behind it: no more is believed."""
_RATIO_SLACK: Final = 1e-3

_W_PER_KW: Final = 1000.0


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """How the policy behaves.

    `dead_band`: the part of the revenue at stake a change must gain beyond breakeven. `grace_s`: how long the last decision is
    held when prices are not known. `unit_max_age_s`: the age past which a unit's state says nothing. `max_changes_per_minute`: None
    for no limit. In a dry run each unit is taken to be in the mode last decided. `silent_after_s`: for how long, beyond its restart, the
    work of a unit may contradict what it says of itself. `site`: what the site may draw and whom it obeys.
    """

    rules: Mapping[str, SeriesRule] = field(default_factory=lambda: MAINNET_RULES)
    earned: Earned = field(default_factory=Earned)
    dead_band: float = 0.02
    grace_s: float = 900.0
    unit_max_age_s: float = 180.0
    max_changes_per_minute: int | None = None
    dry_run: bool = True
    silent_after_s: float = 900.0
    site: SiteConfig = field(default_factory=SiteConfig)

    def __post_init__(self) -> None:
        """Refuse what could never decide sensibly."""
        if not 0 <= self.dead_band < 1:
            raise ValueError(f"dead_band must be from 0 to below 1, not {self.dead_band}")
        if not (self.grace_s >= 0 and self.unit_max_age_s > 0 and self.silent_after_s > 0):
            raise ValueError(
                "grace_s must be zero or more, unit_max_age_s and silent_after_s must be above zero"
            )
        if self.max_changes_per_minute is not None and self.max_changes_per_minute < 1:
            raise ValueError("max_changes_per_minute must be one or more")


@dataclass(frozen=True, slots=True)
class Case:
    """One unit on one tick, which is on the local day numbered `day`.

    `last` is its last decision, None where that means nothing now, and `numbers` are what it keeps. `intended` is the mode it is meant to be in: the one last decided,
    else the one it was found in. `found` is the mode read from it; `actual` the one it is in: in a dry run, and where it does not say, the one
    it is meant to be in, unless it should long have said so. Each of them is "unknown" where nobody knows. `answers` is false for a unit that cannot be told anything.
    `contradicts_since` is since when its work has contradicted the mode it says it is in, None while the two agree: it runs and hands in
    nothing, or it is off and hands in work. `ratio`, one at least, is how much more than its modes' watts it draws, and `ratio_w` the watts of the mode in which that was measured.
    """

    unit: Unit
    state: UnitState | None
    last: Decision | None
    now: float
    day: int
    config: PolicyConfig
    answers: bool
    intended: str
    found: str
    actual: str
    numbers: Mapping[str, float]
    contradicts_since: float | None = None
    ratio: float = 1.0
    ratio_w: float = 0.0

    def remembered(self, key: str) -> float | None:
        """A time in the last decision, now at the latest: a clock that was set back makes no wait longer."""
        value = self.numbers.get(key)
        return self.now if value is not None and value > self.now else value

    def dwell_left_s(self, to_mode: str) -> float:
        """How long the unit must still stay as it is before it may be turned on or off; 0 when free."""
        since = self.remembered(SINCE)
        if since is None or UNKNOWN in {self.intended, to_mode} or same_side(self.intended, to_mode):
            return 0.0
        least = self.unit.min_on_s if to_mode == OFF else self.unit.min_off_s
        return max(since + least - self.now, 0.0)

    @property
    def astray(self) -> bool:
        """Whether it is in another mode than it is meant to be in."""
        return self.intended != self.actual

    @property
    def settle_left_s(self) -> float:
        """How long the unit, told a mode and not yet in it, may still take to get there by its own account."""
        if self.intended == self.actual or self.intended in {OFF, UNKNOWN}:
            return 0.0
        changed = self.remembered(CHANGED)
        if changed is None or self.remembered(TOLD) is None:
            return 0.0
        needs_s = self.unit.restart_s if self.actual == OFF else self.unit.change_s
        return max(changed + needs_s - self.now, 0.0)

    @property
    def contradicts(self) -> bool:
        """Whether it has done so for longer than a start and the shares of a slow device explain."""
        since = self.contradicts_since
        if since is None:
            return False
        needs_s = self.config.silent_after_s + (0.0 if self.found == OFF else self.unit.restart_s)
        return self.now - since >= needs_s

    @property
    def starts_today(self) -> int:
        """How often it was started on this calendar day, as far as starts are counted."""
        numbers = self.numbers
        return int(numbers.get(STARTS, 0)) if numbers.get(DAY) == self.day else 0

    @property
    def starts_left(self) -> int | None:
        """How often it may still be started today, None for no limit."""
        limit = self.unit.starts_per_day
        return None if limit is None else max(limit - self.starts_today, 0)

    def cooler(self) -> Mode | None:
        """The mode a unit that is too hot goes to: one below, the lowest for one that is off; None for one that is not too hot."""
        most_c = self.unit.max_temp_c
        if most_c is None:
            return None
        temp_c = self._temp_c()
        if temp_c is None or not temp_c > most_c:
            return None
        curve = self.unit.curve
        present = [curve.mode(name).watts for name in (self.intended, self.actual) if name in curve]
        watts = min(present, default=curve.modes[-1].watts)
        return next((mode for mode in reversed(curve.modes) if mode.watts < watts), curve.off)

    @property
    def is_warm(self) -> bool:
        """Whether it is too near its limit to be turned up."""
        most_c = self.unit.max_temp_c
        if most_c is None:
            return False
        temp_c = self._temp_c()
        return temp_c is not None and temp_c > most_c - COOL_C

    @property
    def cool_again(self) -> str:
        """In words, when a unit that is too warm is turned up again."""
        most_c = self.unit.max_temp_c or 0.0
        return f"is turned up again below {most_c - COOL_C:g} °C; it has {self._temp_c() or 0:.1f} of {most_c:g} °C"

    @property
    def drawn_w(self) -> float:
        """What the unit certainly may draw now, W: what it is in, what it was told and may be going to, what was measured.

        One that does not answer may have started again by itself in any mode: it counts with all it can, as one nobody ever saw.
        """
        modes = self.unit.curve.by_name
        names = (self.actual, self.intended, self.found) if TOLD in self.numbers else (self.actual,)
        watts = [self.watts(modes[name]) for name in names if name in modes]
        if not self.answers or self.contradicts or self.actual == UNKNOWN or not watts:
            watts.append(self.watts(self.unit.curve.modes[-1]))
        power_w = self._power_w
        if power_w is not None:
            watts.append(power_w)
        return max(watts)

    def watts(self, mode: Mode) -> float:
        """What this very unit draws in a mode, W, as far as it was measured in any."""
        return mode.watts if self.ratio == 1.0 or mode.name == OFF else round(mode.watts * self.ratio, 3)

    def steady_w(self, mode: str) -> float:
        """What the unit draws in `mode` as far as can be told, W: as measured where it has been in it for long enough."""
        curve = self.unit.curve
        if not self.answers or mode not in curve:
            return self.drawn_w
        if mode != self.actual or not self.is_steady:
            return self.watts(curve.mode(mode))
        if self.contradicts:
            return max(self.watts(curve.modes[-1]), self._power_w or 0.0)
        if self._power_w is None:
            return self.watts(curve.mode(mode))
        return max(curve.mode(mode).watts, self._power_w)

    @property
    def is_steady(self) -> bool:
        """Whether it has been in the mode it is meant to be in for so long that its measured power is that mode's."""
        changed = self.remembered(CHANGED)
        settled = changed is None or self.now - changed > self.unit.restart_s + STEADY_S
        return settled and not self.astray and not self.config.dry_run and self.state is not None

    def measured(self) -> tuple[float, float]:
        """How much more than its modes' watts it draws, one at least, and the watts of the mode in which that was measured.

        It rises with a reading at once and falls slowly: what was drawn once in a mode may be drawn in it again. In a mode of fewer watts
        it is all but kept, since that one says little of the others.
        """
        ratio, ratio_w = max(self.numbers.get(RATIO, 0.0), 1.0), self.numbers.get(RATIO_W, 0.0)
        power_w = self._power_w
        curve = self.unit.curve
        if (
            power_w is not None
            and self.found in curve
            and self.found == self.actual != OFF
            and self.answers
            and self.is_steady
            and not self.contradicts
        ):
            kept_w, watts = ratio_w, curve.mode(self.found).watts
            seen = min(max(power_w / watts, 1.0), _MOST_RATIO) if watts > 0 else 1.0
            if seen >= ratio or watts >= kept_w:
                ratio_w = watts
            if seen >= ratio:
                ratio = seen
            else:
                passed_s = 0.0 if self.last is None else max(self.now - self.last.at, 0.0)
                fades_s = _RATIO_FADES_S if watts >= kept_w else _RATIO_KEPT_S
                ratio = seen + (ratio - seen) * math.exp(-passed_s / fades_s)
        return (ratio, ratio_w) if ratio >= 1.0 + _RATIO_SLACK else (1.0, 0.0)

    @property
    def power_refused_w(self) -> float | None:
        """The power it says it draws where so much is not believed, W; the most that is counts in its place."""
        power_w = None if self.state is None else self.state.power_w
        return power_w if power_w is not None and power_w > self._most_w else None

    @property
    def _most_w(self) -> float:
        return _MOST_RATIO * self.unit.curve.modes[-1].watts

    @property
    def _power_w(self) -> float | None:
        power_w = None if self.state is None or self.config.dry_run else self.state.power_w
        return None if power_w is None else min(power_w, self._most_w)

    def _temp_c(self) -> float | None:
        return self.state.temp_c if self.state is not None and self.answers else None


def same_side(one: str, other: str) -> bool:
    """Whether two modes are both off or both running; a mode not known is neither."""
    if UNKNOWN in {one, other}:
        return one == other
    return (one == OFF) == (other == OFF)


def cases_of(snapshot: Snapshot, last: Mapping[str, Decision], config: PolicyConfig) -> tuple[Case, ...]:
    """Every unit of the snapshot as it stands, in the snapshot's order.

    `last` holds the last decision of each unit; those of a dry run mean nothing to a live one, and the other way round.
    """
    now, day = snapshot.at, local_day(snapshot.at, config.site.zone)
    states = snapshot.states
    return tuple(
        [_case(unit, states.get(unit.id), last.get(unit.id), now, day, config) for unit in snapshot.units]
    )


def _case(
    unit: Unit, state: UnitState | None, last: Decision | None, now: float, day: int, config: PolicyConfig
) -> Case:
    modes = unit.curve.by_name
    known = last if last is not None and last.dry_run == config.dry_run else None
    mode = None if state is None else state.mode
    found = mode if mode is not None and mode in modes else UNKNOWN
    intended = known.to_mode if known is not None and known.to_mode in modes else found
    actual = found
    if config.dry_run or (found == UNKNOWN and not _is_overdue(unit, known, now)):
        actual = intended
    answers = state is not None and state.reachable and now - state.observed_at <= config.unit_max_age_s
    numbers = {} if known is None else known.numbers
    since: float | None = None
    if answers and not config.dry_run and _contradicts(found, state):
        since = min(numbers.get(CONTRADICTS, now), now)
    case = Case(unit, state, known, now, day, config, answers, intended, found, actual, numbers, since)
    ratio, ratio_w = case.measured()
    return case if ratio == 1.0 else replace(case, ratio=ratio, ratio_w=ratio_w)


def _contradicts(found: str, state: UnitState | None) -> bool:
    """Whether the work a unit hands in is none although it runs, or some although it is off."""
    th_s = None if state is None else state.hashrate_th_s
    return th_s is not None and found != UNKNOWN and (found == OFF) != (th_s == 0)


def _is_overdue(unit: Unit, last: Decision | None, now: float) -> bool:
    """Whether the unit was told a mode so long ago that it should say by now which one it is in."""
    numbers = {} if last is None else last.numbers
    if TOLD not in numbers or CHANGED not in numbers:
        return False
    return now - numbers[CHANGED] > max(unit.restart_s, unit.change_s) + STEADY_S


def taken_kw(cases: Iterable[Case]) -> float:
    """What the units draw that cannot be told anything: nobody else may use it."""
    return math.fsum(case.drawn_w for case in cases if not case.answers) / _W_PER_KW


def draws_ratio(cases: Iterable[Case]) -> float:
    """How much more than their modes' watts the units draw that answer: those that run or, if none does, all of them, each by its watts.

    The planner knows modes alone; so much less than what is allowed may it plan with.
    """
    cases = [case for case in cases if case.answers]
    if all([case.ratio == 1.0 for case in cases]):  # noqa: C419 - half the time of a generator
        return 1.0
    modes = [
        (case, case.unit.curve.mode(case.intended)) for case in cases if case.intended in case.unit.curve
    ]
    if all(mode.name == OFF for _, mode in modes):
        modes = [(case, case.unit.curve.full) for case in cases]
    planned_w = math.fsum(mode.watts for _, mode in modes)
    return math.fsum(case.watts(mode) for case, mode in modes) / planned_w if planned_w > 0 else 1.0


def members_of(cases: Iterable[Case], slots: Sequence[Slot], limits: Limits) -> list[Member]:
    """Every unit that answers, as the planner wants it."""
    binding: dict[object, tuple[frozenset[str] | None, ...]] = {}
    members = []
    for case in cases:
        if not case.answers:
            continue
        unit = case.unit
        wish = limits.overrides.get(unit.id)
        allowed: tuple[frozenset[str] | None, ...] = ()
        if limits.found or wish is not None:
            # Units with modes of the same names that the same signals are about, and the same wish of a person, are bound alike.
            about = tuple([window.concerns(unit.id) for window in limits.found])
            key = (unit.curve.names, about, None if wish is None else (wish.mode, wish.since, wish.until))
            if key not in binding:
                binding[key] = obliged_slots(limits, unit, slots)
            allowed = binding[key]
        members.append(Member(unit, _standing(case), _kept_cool(case, allowed, len(slots))))
    return members


def _standing(case: Case) -> Standing:
    if case.intended == UNKNOWN:
        return Standing(None, starts_left=case.starts_left)
    left_s = case.dwell_left_s(OFF if case.intended != OFF else case.unit.curve.full.name)
    if case.actual == OFF != case.intended and case.settle_left_s == 0:
        left_s = 0.0  # what already stands still is not started to serve its minimum time
    return Standing(case.intended, left_s, case.starts_left)


def _kept_cool(
    case: Case, allowed: tuple[frozenset[str] | None, ...], count: int
) -> tuple[frozenset[str] | None, ...]:
    """The modes allowed, in the first slot only those that a hot unit may be in."""
    if case.unit.max_temp_c is None:
        return allowed
    cooler = case.cooler()
    if cooler is not None:
        # What the unit is meant to do beside may draw even less.
        first = frozenset(mode.name for mode in case.unit.curve.modes if mode.watts <= cooler.watts)
    elif case.is_warm and case.intended in case.unit.curve:
        most = case.unit.curve.mode(case.intended).watts
        first = frozenset(mode.name for mode in case.unit.curve.modes if mode.watts <= most)
    else:
        return allowed
    bound = allowed[0] if allowed else None
    if bound is not None:
        first = first & bound or first
    return (first, *(allowed[1:] if allowed else (None,) * (count - 1)))
