"""From a plan to one decision per unit and tick; pure.

The first rule of `RULES` that has an answer decides. Order of precedence: heat, units that do not answer, a signal, a person's
override, unknown prices, profit. What is left is then held to the limits of the site, whatever it was for.
"""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.decisions import Decision, Reason
from controller.fleet import (
    CHANGED,
    CONTRADICTS,
    DAY,
    SINCE,
    STALE,
    STARTS,
    TOLD,
    WANTED,
    Case,
    PolicyConfig,
)
from controller.flip import time_text
from controller.limits import SiteConfig
from controller.market import Market
from controller.policy_guard import guard
from controller.policy_numbers import is_start, numbers_of, stale_since
from controller.policy_profit import profit
from controller.policy_scene import Proposal, Scene
from controller.signals import Action, allowed_modes
from controller.units import OFF, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    Rule = Callable[[Scene, Case], Proposal | None]

__all__ = [
    "CHANGED",
    "CONTRADICTS",
    "DAY",
    "RULES",
    "SINCE",
    "STALE",
    "STARTS",
    "TOLD",
    "WANTED",
    "PolicyConfig",
    "SiteConfig",
    "decide",
]

_WORDS_OF_A_PERSON: Final = 80
"""No more letters of an override's reason are repeated in each decision."""


def decide(scene: Scene, cases: Sequence[Case]) -> tuple[Decision, ...]:
    """One decision for every unit, `hold` included, in the order of the cases.

    Prices are those of the scene's market and not the plan's: a plan made of stale prices changes nothing.
    """
    drawn_w = [case.drawn_w for case in cases]
    proposals = guard(scene, cases, [_propose(scene, case) for case in cases], drawn_w)
    proposals = [
        _believed(case, proposal) if case.contradicts else proposal
        for case, proposal in zip(cases, proposals, strict=True)
    ]
    drawn_kw = math.fsum(drawn_w) / 1000
    number = f"{round(scene.now * 1e6):016d}"
    return tuple(
        [
            _decision(scene, case, proposal, number, drawn_kw)
            for case, proposal in zip(cases, proposals, strict=True)
        ]
    )


def _propose(scene: Scene, case: Case) -> Proposal:
    proposal = _first(RULES, scene, case)
    if proposal.reason is Reason.THERMAL:
        proposal = _lower_still(scene, case, proposal)
    if proposal.reason in _FINAL:
        return proposal
    proposal = _kept_cool(case, proposal)
    if proposal.to_mode != case.intended or not case.astray:
        return proposal
    if case.settle_left_s > 0:
        flip = f"told again at {time_text(case.now + case.settle_left_s)} if it is not there; {proposal.flip}"
        return replace(proposal, reason=Reason.SETTLING, flip=flip)
    return _told_again(case, proposal)


def _first(rules: Sequence[Rule], scene: Scene, case: Case) -> Proposal:
    """What the first of these rules says that has an answer; the last one always has."""
    for rule in rules:
        proposal = rule(scene, case)
        if proposal is not None:
            return proposal
    raise LookupError(f"no rule says what unit {case.unit.id!r} is to do")


def _told_again(case: Case, proposal: Proposal) -> Proposal:
    """A unit found in another mode is told the mode it is meant to be in, unless it is too warm, or was started often enough today."""
    if _warms(case, proposal):
        return Proposal(case.intended, Reason.HOLD_THERMAL, case.cool_again)
    if proposal.reason in _ASKED_FOR:
        return proposal
    if is_start(case, proposal) and case.starts_left == 0:
        return Proposal(OFF, Reason.HOLD_STARTS, f"went off by itself; {proposal.to_mode} after midnight")
    return replace(proposal, reason=Reason.RESTORE)


def _warms(case: Case, proposal: Proposal) -> bool:
    """Whether a unit too warm to be turned up would be: one that turned itself down knows why."""
    curve = case.unit.curve
    if not case.is_warm or case.actual not in curve or proposal.to_mode not in curve:
        return False
    return curve.mode(proposal.to_mode).watts > curve.mode(case.actual).watts


def _lower_still(scene: Scene, case: Case, thermal: Proposal) -> Proposal:
    """What else asks for even fewer watts than heat does, if anything: then that is done at once."""
    other = _first(RULES[1:], scene, case)
    curve = case.unit.curve
    if other.reason.acts and curve.mode(other.to_mode).watts < curve.mode(thermal.to_mode).watts:
        return other
    return thermal


# --- the rules, in the order in which they are asked ------------------------------------------------


def _too_hot(scene: Scene, case: Case) -> Proposal | None:
    """One mode down on each tick, whatever it earns."""
    del scene  # no price and no signal is worth a machine
    cooler = case.cooler()
    if cooler is None:
        return None
    is_off = case.intended == case.actual == OFF
    return Proposal(cooler.name, Reason.HOLD_THERMAL if is_off else Reason.THERMAL, case.cool_again)


def _unreachable(scene: Scene, case: Case) -> Proposal | None:
    """A unit that does not answer is not off: nothing is sent, and its power counts as drawn."""
    del scene  # nobody is there to be told anything
    if case.answers:
        return None
    watts = case.drawn_w
    flip = "decides again when the unit answers"
    return Proposal(case.intended, Reason.UNREACHABLE, flip, {"assumed_power_w": watts})


def _signal(scene: Scene, case: Case) -> Proposal | None:
    """What a signal asks of the unit, at once, in dwell or not; which of several modes is the plan's choice."""
    window = scene.limits.signal_at(case.unit.id, scene.now)
    modes = frozenset() if window is None else allowed_modes(window, case.unit)
    if window is None or not modes:
        return None
    curve = case.unit.curve
    choices = (scene.planned(case.unit.id), case.intended, curve.full.name, *sorted(modes))
    target = next(name for name in choices if name in modes and name is not None)
    asks = {Action.PAUSE: "asks it to pause", Action.RUN: "asks it to run"}
    what = asks.get(window.rule.action, f"asks for {target}")
    return Proposal(target, Reason.SIGNAL, f"signal {window.rule.name} {what} until {_until(window.stop)}")


def _override(scene: Scene, case: Case) -> Proposal | None:
    """What a person asked for."""
    wish = scene.limits.override_at(case.unit, scene.now)
    if wish is None:
        return None
    why = f": {wish.why[:_WORDS_OF_A_PERSON]}" if wish.why else ""
    flip = f"{wish.who[:_WORDS_OF_A_PERSON]} asked for it until {_until(wish.until)}{why}"
    return Proposal(wish.mode, Reason.OVERRIDE, flip)


def _prices_unknown(scene: Scene, case: Case) -> Proposal | None:
    """Hold what was decided for the grace time, then go to the safe mode; dwell and starts per day hold here too."""
    if isinstance(scene.market, Market):
        return None
    what = ", ".join(f"{problem.series} ({problem.why})" for problem in scene.market.problems)
    again = f"decides again when there is a good {what}"
    safe = case.unit.safe.name
    ends = stale_since(case, scene.market) + scene.config.grace_s
    if case.now < ends and case.intended != UNKNOWN:
        return Proposal(case.intended, Reason.STALE, f"{again}; {safe} at {time_text(ends)}")
    left_s = case.dwell_left_s(safe)
    if left_s > 0:
        reason = Reason.MIN_ON if safe == OFF else Reason.MIN_OFF
        return Proposal(case.intended, reason, f"{safe} at {time_text(case.now + left_s)}; {again}")
    if case.intended == OFF != safe and case.starts_left == 0:
        return Proposal(OFF, Reason.HOLD_STARTS, f"{safe} after midnight; {again}")
    return Proposal(safe, Reason.SAFE_MODE, again)


RULES: Final[tuple[Rule, ...]] = (
    _too_hot,
    _unreachable,
    _signal,
    _override,
    _prices_unknown,
    profit,
)
"""First answer wins."""

_ASKED_FOR: Final = frozenset({Reason.SIGNAL, Reason.OVERRIDE})
"""Told again for this very reason, where the unit is in another mode."""

_FINAL: Final = frozenset({Reason.UNREACHABLE, Reason.THERMAL})
"""Whatever mode a unit is found in, these stand."""


# --- what is common to all units --------------------------------------------------------------------


def _kept_cool(case: Case, proposal: Proposal) -> Proposal:
    """Nothing turns a unit up that has only just cooled down."""
    curve = case.unit.curve
    if not case.is_warm or case.intended not in curve or proposal.to_mode not in curve:
        return proposal
    if curve.mode(proposal.to_mode).watts <= curve.mode(case.intended).watts:
        return proposal
    return Proposal(case.intended, Reason.HOLD_THERMAL, case.cool_again)


def _believed(case: Case, proposal: Proposal) -> Proposal:
    """What the shares say is the truth: a unit whose work contradicts its words is shown as such, if it is not switched anyway."""
    if proposal.reason is Reason.UNREACHABLE or proposal.moves(case):
        return proposal
    since = time_text(case.contradicts_since or case.now)
    if case.found == OFF:
        return replace(proposal, reason=Reason.STILL_HASHING, flip=f"hands in work since {since}; look at it")
    return replace(
        proposal, reason=Reason.SILENT, flip=f"no work since {since}: counts again with its first share"
    )


def _decision(scene: Scene, case: Case, proposal: Proposal, number: str, drawn_kw: float) -> Decision:
    return Decision(
        id=f"{number}-{case.unit.id}",
        at=scene.now,
        unit_id=case.unit.id,
        from_mode=case.actual,
        to_mode=proposal.to_mode,
        reason=proposal.reason,
        numbers=numbers_of(scene, case, proposal, drawn_kw),
        flip=proposal.flip if scene.explains else "",
        dry_run=scene.config.dry_run,
    )


def _until(at: float) -> str:
    return time_text(at) if at < _FAR else "it is taken back"


_FAR: Final = 32_503_680_000.0
"""The year 3000: nobody means a time after that."""
