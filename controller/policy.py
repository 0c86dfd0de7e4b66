"""From a plan to one decision per unit and tick; pure.

Everything remembered between ticks stands in a unit's last decision, so a restart forgets nothing: the ledger's last
decisions are the memory. The first rule of `RULES` that has an answer decides.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Final

from controller.decisions import Decision, Reason
from controller.earnings import GROSS
from controller.economics import (
    best_of,
    margin_usd_per_hour,
    step_margin_usd_per_hour,
)
from controller.flip import flip_point, flips_text, step_above, step_below, time_text
from controller.hashprice import Earned
from controller.market import Market, MarketUnknown, read_market
from controller.units import OFF, UNKNOWN, Mode, Unit, UnitState
from controller.validate import MAINNET_RULES, SeriesRule

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.planner import Plan
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

BATCH_WINDOW_S: Final = 60.0


@dataclass(frozen=True, slots=True)
class PolicyConfig:
    """How the policy behaves.

    `dead_band`: the part of the revenue at stake a change must gain beyond breakeven. `grace_s`: how long the last decision is
    held when prices are not known. `unit_max_age_s`: the age past which a unit's state says nothing. `max_changes_per_minute`: None
    for no limit. In a dry run each unit is taken to be in the mode last decided.
    """

    rules: Mapping[str, SeriesRule] = field(default_factory=lambda: MAINNET_RULES)
    earned: Earned = field(default_factory=Earned)
    dead_band: float = 0.02
    grace_s: float = 900.0
    unit_max_age_s: float = 180.0
    max_changes_per_minute: int | None = None
    dry_run: bool = True

    def __post_init__(self) -> None:
        """Refuse what could never decide sensibly."""
        if not 0 <= self.dead_band < 1:
            raise ValueError(f"dead_band must be from 0 to below 1, not {self.dead_band}")
        if not (self.grace_s >= 0 and self.unit_max_age_s > 0):
            raise ValueError("grace_s must be zero or more and unit_max_age_s above zero")
        if self.max_changes_per_minute is not None and self.max_changes_per_minute < 1:
            raise ValueError("max_changes_per_minute must be one or more")


@dataclass(frozen=True, slots=True)
class _Case:
    """One unit on one tick: what a rule may look at."""

    unit: Unit
    state: UnitState | None
    last: Decision | None
    market: Market | MarketUnknown
    planned: str | None
    config: PolicyConfig
    now: float

    @property
    def intended(self) -> str:
        """The mode the unit is meant to be in: the one last decided, else the one it was found in."""
        if self.last is not None and self.last.to_mode in self.unit.curve:
            return self.last.to_mode
        return self.found

    @property
    def found(self) -> str:
        """The mode read from the unit."""
        mode = None if self.state is None else self.state.mode
        return mode if mode is not None and mode in self.unit.curve else UNKNOWN

    @property
    def actual(self) -> str:
        """The mode the unit is in; in a dry run, and where it does not say, the one it is meant to be in."""
        return self.intended if self.config.dry_run or self.found == UNKNOWN else self.found

    def remembered(self, key: str) -> float | None:
        """A time in the last decision, now at the latest: a clock that was set back makes no wait longer."""
        value = None if self.last is None else self.last.numbers.get(key)
        return None if value is None else min(value, self.now)

    def dwell_left_s(self, to_mode: str) -> float:
        """How long the unit must still stay as it is before it may be turned on or off; 0 when free."""
        since = self.remembered(SINCE)
        if since is None or UNKNOWN in {self.intended, to_mode} or _same_side(self.intended, to_mode):
            return 0.0
        least = self.unit.min_on_s if to_mode == OFF else self.unit.min_off_s
        return max(since + least - self.now, 0.0)


@dataclass(frozen=True, slots=True)
class _Proposal:
    to_mode: str
    reason: Reason
    flip: str = ""
    numbers: Mapping[str, float] = field(default_factory=dict)


def decide(
    snapshot: Snapshot,
    plan: Plan | None,
    last: Mapping[str, Decision],
    config: PolicyConfig,
    now: float,
) -> tuple[Decision, ...]:
    """One decision for every unit of the snapshot, `hold` included, in the snapshot's order.

    `last` holds the last decision of each unit; those of a dry run mean nothing to a live one, and the other way round.
    Prices are read from the snapshot's ticks and not taken from the plan: a plan made of stale prices changes nothing.
    """
    market = read_market(
        snapshot.ticks, config.rules, config.earned, now, snapshot.refused, snapshot.earnings
    )
    cases = [
        _Case(
            unit=unit,
            state=snapshot.states.get(unit.id),
            last=_usable(last.get(unit.id), config),
            market=market,
            planned=None if plan is None else plan.mode_at(unit.id, now),
            config=config,
            now=now,
        )
        for unit in snapshot.units
    ]
    proposals = _limit_batch(cases, [_propose(case) for case in cases], config, now)
    return tuple(_decision(case, proposal) for case, proposal in zip(cases, proposals, strict=True))


def _propose(case: _Case) -> _Proposal:
    proposal = next(found for rule in RULES if (found := rule(case)) is not None)
    astray = proposal.to_mode == case.intended != case.actual
    if astray and proposal.reason is not Reason.UNREACHABLE:
        return _Proposal(proposal.to_mode, Reason.RESTORE, proposal.flip, proposal.numbers)
    return proposal


# --- the rules, in the order in which they are asked ------------------------------------------------


def _unreachable(case: _Case) -> _Proposal | None:
    """A unit that does not answer is not off: nothing is sent, and its power counts as drawn."""
    state = case.state
    if state is not None and state.reachable and case.now - state.observed_at <= case.config.unit_max_age_s:
        return None
    curve = case.unit.curve
    drawn = [curve.mode(mode).watts for mode in (case.found, case.intended) if mode in curve]
    if state is not None and state.power_w is not None:
        drawn.append(state.power_w)
    watts = max(drawn) if drawn else curve.modes[-1].watts
    return _Proposal(
        case.intended,
        Reason.UNREACHABLE,
        "decides again when the unit answers",
        {"assumed_power_w": watts},
    )


def _prices_unknown(case: _Case) -> _Proposal | None:
    """Hold what was decided for the grace time, then go to the safe mode; dwell holds here too."""
    if isinstance(case.market, Market):
        return None
    what = ", ".join(f"{problem.series} ({problem.why})" for problem in case.market.problems)
    again = f"decides again when there is a good {what}"
    safe = case.unit.safe.name
    ends = _stale_since(case, case.market) + case.config.grace_s
    if case.now < ends and case.intended != UNKNOWN:
        return _Proposal(case.intended, Reason.STALE, f"{again}; {safe} at {time_text(ends)}")
    left = case.dwell_left_s(safe)
    if left > 0:
        return _Proposal(
            case.intended, _dwell_reason(safe), f"{safe} at {time_text(case.now + left)}; {again}"
        )
    return _Proposal(safe, Reason.SAFE_MODE, again)


def _profit(case: _Case) -> _Proposal | None:
    """Follow the plan as far as each step clears the dead band and dwell allows."""
    if not isinstance(case.market, Market):
        return None
    if case.planned is None:
        return _Proposal(case.intended, Reason.NO_PLAN, "decides again when there is a plan")
    target = case.unit.curve.mode(case.planned)
    if case.intended == UNKNOWN:
        return _Proposal(target.name, Reason.START, _flips(case, target, case.market))
    return _toward(case, case.market, case.unit.curve.mode(case.intended), target)


RULES: Final[tuple[Callable[[_Case], _Proposal | None], ...]] = (_unreachable, _prices_unknown, _profit)
"""First answer wins. Order of precedence: safety limits, units that do not answer, a grid signal, a person's override, unknown
prices, profit."""


# --- parts of the profit rule -----------------------------------------------------------------------


def _toward(case: _Case, market: Market, present: Mode, target: Mode) -> _Proposal:
    goal = _worth_going_to(case, market, present, target, allow_off=True)
    if goal is present:
        reason = Reason.HOLD_OFF if present.name == OFF else Reason.HOLD_ON
        if target is not present:
            reason = Reason.DEAD_BAND
        return _Proposal(present.name, reason, _flips(case, present, market))
    if goal.name == OFF:
        return _pause(case, market, present, target)
    if present.name == OFF:
        return _resume(case, market, goal)
    reason = Reason.STEP_UP if goal.watts > present.watts else Reason.STEP_DOWN
    return _Proposal(goal.name, reason, _flips(case, goal, market))


def _pause(case: _Case, market: Market, present: Mode, target: Mode) -> _Proposal:
    """Turn off at once unless the unit must still run; then at least throttle it as far as that helps."""
    left = case.dwell_left_s(OFF)
    if left <= 0 or case.actual == OFF:  # what already stands still is not started to serve its minimum time
        return _Proposal(OFF, Reason.PAUSE, _flips(case, case.unit.curve.off, market))
    flip = f"pauses at {time_text(case.now + left)} if it still does not pay"
    least = _worth_going_to(case, market, present, target, allow_off=False)
    if least is present:
        return _Proposal(present.name, Reason.MIN_ON, flip)
    return _Proposal(least.name, Reason.STEP_DOWN, flip)


def _resume(case: _Case, market: Market, goal: Mode) -> _Proposal:
    """Turn on after the dwell, and only when the price was seen to hold: one good reading is not yet a price."""
    before = case.remembered(WANTED)
    wanted = {WANTED: case.now if before is None else before}
    left = case.dwell_left_s(goal.name)
    if left > 0:
        flip = f"runs again ({goal.name}) at {time_text(case.now + left)} if it still pays"
        return _Proposal(OFF, Reason.MIN_OFF, flip, wanted)
    if before is None or not market.confirmed_since(before):
        flip = f"runs again ({goal.name}) on the next tick if the price holds"
        return _Proposal(OFF, Reason.CONFIRMING, flip, wanted)
    return _Proposal(goal.name, Reason.RESUME, _flips(case, goal, market))


def _worth_going_to(case: _Case, market: Market, present: Mode, target: Mode, *, allow_off: bool) -> Mode:
    """The mode between `present` and `target` with the greatest margin after the dead band; `present` if none gains."""
    low, high = sorted((present.watts, target.watts))
    between = [
        mode
        for mode in case.unit.curve.hull()
        if low <= mode.watts <= high and (allow_off or mode.name != OFF)
    ]
    return best_of(
        [present, *between],
        market.hashprice_usd_per_ph_day,
        market.power_usd_per_kwh,
        away_from=present,
        dead_band=case.config.dead_band,
    )


# --- what is common to all units --------------------------------------------------------------------


def _limit_batch(
    cases: Sequence[_Case], proposals: list[_Proposal], config: PolicyConfig, now: float
) -> list[_Proposal]:
    """Let only so many units change within a minute, those that draw less first; the others hold.

    Units that are told the same mode again, since they did not take it, come last and in turns: those that fail on and on
    leave their places to the others.
    """
    if config.max_changes_per_minute is None:
        return proposals
    recent = [sum(_within_batch(case.remembered(key), now) for case in cases) for key in (CHANGED, TOLD)]
    moving = [index for index, case in enumerate(cases) if _moves(case, proposals[index])]
    again = [index for index in moving if _is_repeated(cases[index], proposals[index])]
    fresh = [index for index in moving if index not in set(again)]
    fresh.sort(key=lambda index: (_added_watts(cases[index], proposals[index]), cases[index].unit.id))
    again.sort(key=lambda index: (cases[index].remembered(TOLD) or 0.0, cases[index].unit.id))
    left = max(config.max_changes_per_minute - recent[0], 0)
    left_again = max(config.max_changes_per_minute - max(recent) - len(fresh), 0)
    limited = list(proposals)
    for index in (*fresh[left:], *again[left_again:]):
        wanted = cases[index].remembered(WANTED)
        limited[index] = _Proposal(
            cases[index].intended,
            Reason.BATCH_LIMIT,
            f"changes to {proposals[index].to_mode} when fewer units changed within a minute",
            {} if wanted is None else {WANTED: wanted},
        )
    return limited


def _within_batch(at: float | None, now: float) -> bool:
    return at is not None and now - BATCH_WINDOW_S < at


def _is_repeated(case: _Case, proposal: _Proposal) -> bool:
    """Whether the unit was told this very mode before, and did not take it."""
    return proposal.to_mode == case.intended and case.remembered(TOLD) is not None


def _decision(case: _Case, proposal: _Proposal) -> Decision:
    return Decision(
        id=f"{round(case.now * 1e6):016d}-{case.unit.id}",
        at=case.now,
        unit_id=case.unit.id,
        from_mode=case.actual,
        to_mode=proposal.to_mode,
        reason=proposal.reason,
        numbers=_numbers(case, proposal),
        flip=proposal.flip,
        dry_run=case.config.dry_run,
    )


def _numbers(case: _Case, proposal: _Proposal) -> dict[str, float]:
    numbers: dict[str, float] = {}
    if isinstance(case.market, Market):
        numbers.update(_economics(case, case.market, proposal.to_mode))
    else:
        numbers[STALE] = _stale_since(case, case.market)
    numbers.update(proposal.numbers)
    numbers.update(_memory(case, proposal))
    return {name: value for name, value in numbers.items() if math.isfinite(value)}


def _economics(case: _Case, market: Market, to_mode: str) -> dict[str, float]:
    hashprice, power = market.hashprice_usd_per_ph_day, market.power_usd_per_kwh
    numbers = {"hashprice_usd_per_ph_day": hashprice, "power_usd_per_kwh": power}
    numbers[GROSS] = market.gross_hashprice_usd_per_ph_day
    numbers.update(market.paid.numbers())
    numbers.update({f"age_{series}_s": age for series, age in market.ages_s.items()})
    if case.planned is not None:
        planned = case.unit.curve.mode(case.planned)
        numbers["planned_margin_usd_per_hour"] = margin_usd_per_hour(planned, hashprice, power)
    if to_mode not in case.unit.curve:
        return numbers
    mode = case.unit.curve.mode(to_mode)
    numbers["margin_usd_per_hour"] = margin_usd_per_hour(mode, hashprice, power)
    # The next watt decides: the last step taken, or for a unit that is off the first one not taken.
    step = step_below(case.unit.curve, mode) or step_above(case.unit.curve, mode)
    if step is not None:
        numbers["marginal_margin_usd_per_hour"] = step_margin_usd_per_hour(step, hashprice, power)
        breakeven = flip_point(step, market, 1.0)
        if breakeven.hashprice_usd_per_ph_day is not None:
            numbers["breakeven_hashprice_usd_per_ph_day"] = breakeven.hashprice_usd_per_ph_day
        if breakeven.power_usd_per_kwh is not None:
            numbers["breakeven_power_usd_per_kwh"] = breakeven.power_usd_per_kwh
    return numbers


def _memory(case: _Case, proposal: _Proposal) -> dict[str, float]:
    """What the next decision must know: kept from the last one, or now if this one changes it."""
    memory = {key: value for key in (SINCE, CHANGED, TOLD) if (value := case.remembered(key)) is not None}
    if TOLD in memory and case.actual == case.intended and UNKNOWN not in {case.found, case.intended}:
        # It took its mode when it was last told, which may have been long after it was decided.
        memory[CHANGED] = max(memory.pop(TOLD), memory.get(CHANGED, 0.0))
    if _moves(case, proposal):
        if not _is_repeated(case, proposal):
            memory[CHANGED] = case.now
        memory[TOLD] = case.now
    if proposal.reason.acts and not _same_side(case.intended, proposal.to_mode):
        memory[SINCE] = case.now
    return memory


def _usable(last: Decision | None, config: PolicyConfig) -> Decision | None:
    return last if last is not None and last.dry_run == config.dry_run else None


def _moves(case: _Case, proposal: _Proposal) -> bool:
    return proposal.reason.acts and {case.intended, case.actual} != {proposal.to_mode}


def _same_side(one: str, other: str) -> bool:
    """Whether two modes are both off or both running; a mode not known is neither."""
    if UNKNOWN in {one, other}:
        return one == other
    return (one == OFF) == (other == OFF)


def _dwell_reason(to_mode: str) -> Reason:
    return Reason.MIN_ON if to_mode == OFF else Reason.MIN_OFF


def _stale_since(case: _Case, market: MarketUnknown) -> float:
    remembered = case.remembered(STALE)
    if remembered is not None:
        return remembered
    return case.now if market.since is None else min(market.since, case.now)


def _added_watts(case: _Case, proposal: _Proposal) -> float:
    curve = case.unit.curve
    before = curve.mode(case.actual).watts if case.actual in curve else 0.0
    return curve.mode(proposal.to_mode).watts - before


def _flips(case: _Case, mode: Mode, market: Market) -> str:
    return flips_text(case.unit.curve, mode, market, case.config.dead_band)
