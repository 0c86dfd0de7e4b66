"""What keeps a site safe whatever is planned: so many units turned up a minute, and never more power than allowed; pure.

Ups need room for what is certainly drawn now: power that a unit was told to give up is free when the unit says so, not before. Where the
limit is exceeded all the same, the least efficient watts go first.
"""

from __future__ import annotations

import heapq
import math
from typing import TYPE_CHECKING, Final

from controller.decisions import Reason
from controller.fleet import CHANGED, RAISED, SETTLE_S, SHED, STEADY_S, TOLD, WANTED
from controller.flip import room_text, time_text
from controller.policy_scene import Proposal
from controller.units import OFF, UNKNOWN

if TYPE_CHECKING:
    from collections.abc import Sequence

    from controller.fleet import Case
    from controller.policy_scene import Scene

BATCH_WINDOW_S: Final = 60.0

_SLACK_W: Final = 1e-3
"""Rounding of sums, no more."""

_BOUND: Final = frozenset({Reason.SIGNAL, Reason.OVERRIDE})
_URGENT: Final = frozenset({Reason.SIGNAL, Reason.OVERRIDE, Reason.THERMAL, Reason.SITE_CAP})
"""Reasons for which a unit is told a lower mode than the one it was told before, though it may not be there yet."""


def guard(
    scene: Scene, cases: Sequence[Case], proposals: Sequence[Proposal], drawn_w: Sequence[float]
) -> list[Proposal]:
    """The proposals that may be carried out now, where the units certainly draw `drawn_w`; the other units hold."""
    cap_w = scene.cap_kw * 1000
    limited = list(proposals)
    if math.isfinite(cap_w):
        _hold_for_room(scene, cases, limited, drawn_w, cap_w)
    _limit_batch(scene, cases, limited, is_over=math.fsum(drawn_w) > cap_w + _SLACK_W)
    if math.isfinite(cap_w):
        _shed(scene, cases, limited, cap_w)
    return limited


def _hold_for_room(
    scene: Scene, cases: Sequence[Case], proposals: list[Proposal], drawn_w: Sequence[float], cap_w: float
) -> None:
    """Let units be turned up while there is room, those somebody asked for first, then those that hash most for a watt."""
    ups = []
    for index, (case, proposal) in enumerate(zip(cases, proposals, strict=True)):
        if proposal.moves(case) and added_w(case, proposal) > 0:
            mode = case.unit.curve.mode(proposal.to_mode)
            j_per_th = mode.j_per_th if mode.th_s > 0 else 0.0
            ups.append((proposal.reason not in _BOUND, j_per_th, case.unit.id, index))
    ups.sort()
    room_w = cap_w - math.fsum(drawn_w)
    for _, _, _, index in ups:
        case, proposal = cases[index], proposals[index]
        until = None if proposal.reason in _BOUND else settles_until(scene, case)
        if until is not None and proposal.to_mode != case.intended:
            flip = f"changes to {proposal.to_mode} at {time_text(until)} if there is room; {scene.cap_text}"
            proposals[index] = Proposal(case.intended, Reason.HOLD_SITE_CAP, flip, _still_wanted(case))
            continue
        needs_w = case.watts(case.unit.curve.mode(proposal.to_mode)) - drawn_w[index]
        if needs_w <= 0 or needs_w <= room_w + _SLACK_W:
            room_w -= max(needs_w, 0.0)
            continue
        flip = f"changes to {proposal.to_mode} when {room_text(needs_w)} are free; {scene.cap_text}"
        proposals[index] = Proposal(case.intended, Reason.HOLD_SITE_CAP, flip, _still_wanted(case))


def _limit_batch(scene: Scene, cases: Sequence[Case], proposals: list[Proposal], *, is_over: bool) -> None:
    """Let only so many units be turned up within a minute, those somebody asked for and those that add least first; the others hold.

    It is for inrush and breakers, which turning down does nothing to: that waits for nobody, nor takes anybody's place. Units that are
    told the same mode again, since they did not take it, come last and in turns: those that fail on and on leave their places to the others.
    """
    most = scene.config.max_changes_per_minute
    if most is None:
        return
    raised = [case for case in cases if raised_lately(case) is not None]
    changed = sum(_within_batch(case.remembered(CHANGED), scene.now) for case in raised)
    ups = [
        index
        for index, case in enumerate(cases)
        if proposals[index].moves(case) and raises(case, proposals[index])
    ]
    waits = [
        index
        for index in ups
        if not (lowers(cases[index], proposals[index]) and (is_over or proposals[index].reason in _URGENT))
    ]
    again = [index for index in waits if is_repeated(cases[index], proposals[index])]
    told_before = set(again)
    fresh = [index for index in waits if index not in told_before]
    fresh.sort(
        key=lambda index: (
            proposals[index].reason not in _BOUND,
            added_w(cases[index], proposals[index]),
            cases[index].unit.id,
        )
    )
    again.sort(key=lambda index: (cases[index].remembered(TOLD) or 0.0, cases[index].unit.id))
    waiting = set(waits)
    at_once = [index for index in ups if index not in waiting]
    most = max(most - sum(not is_repeated(cases[index], proposals[index]) for index in at_once), 0)
    left = max(most - changed, 0)
    left_again = max(most - len(raised) - len(fresh), 0)
    for index in (*fresh[left:], *again[left_again:]):
        case = cases[index]
        flip = f"changes to {proposals[index].to_mode} when fewer units were turned up within a minute"
        proposals[index] = Proposal(case.intended, Reason.BATCH_LIMIT, flip, _still_wanted(case))


def _shed(scene: Scene, cases: Sequence[Case], proposals: list[Proposal], cap_w: float) -> None:
    """Turn units down until the rest is within the limit: the watts that hash least first, what somebody asked for last."""
    after_w = [_after_w(case, proposal) for case, proposal in zip(cases, proposals, strict=True)]
    over_w = math.fsum(after_w) - cap_w
    if over_w <= _SLACK_W:
        return
    bound = [proposal.reason in _BOUND for proposal in proposals]
    heap: list[tuple[bool, float, str, int]] = []
    for index, case in enumerate(cases):
        if case.answers and not _is_deaf(case, proposals[index]):
            _offer(heap, index, case, _mode_after(case, proposals[index]), is_bound=bound[index])
    while heap and over_w > _SLACK_W:
        index = heapq.heappop(heap)[-1]
        curve = cases[index].unit.curve
        step = curve.step_below(curve.mode(_mode_after(cases[index], proposals[index])))
        if step is None:
            continue
        lower_w = cases[index].watts(step.lower)
        over_w -= after_w[index] - lower_w
        after_w[index] = lower_w
        needs_w = cases[index].watts(step.upper) - lower_w
        flip = f"up to {step.upper.name} when {room_text(needs_w)} are free; {scene.cap_text}"
        proposals[index] = Proposal(step.lower.name, Reason.SITE_CAP, flip)
        _offer(heap, index, cases[index], step.lower.name, is_bound=bound[index])


def _offer(
    heap: list[tuple[bool, float, str, int]], index: int, case: Case, mode: str, *, is_bound: bool
) -> None:
    """Put the unit's step down from that mode among those that may be taken."""
    curve = case.unit.curve
    step = curve.step_below(curve.mode(mode)) if mode in curve else None
    if step is not None:
        heapq.heappush(heap, (is_bound, -step.j_per_th, case.unit.id, index))


def _mode_after(case: Case, proposal: Proposal) -> str:
    """The mode a unit goes to, or stays in."""
    if proposal.moves(case) or case.actual == UNKNOWN:
        return proposal.to_mode
    return case.actual


def _after_w(case: Case, proposal: Proposal) -> float:
    """What a unit will draw when it has done what it is told; one that has not done it for long is not believed to."""
    curve = case.unit.curve
    if not case.answers or proposal.to_mode not in curve:
        return case.drawn_w
    if not proposal.moves(case):
        return case.drawn_w if case.astray else case.steady_w(case.actual)
    if _is_deaf(case, proposal):
        return case.drawn_w
    return case.watts(curve.mode(proposal.to_mode))


def _is_deaf(case: Case, proposal: Proposal) -> bool:
    """Whether the unit was told this for long and has not done it: it is not reckoned with."""
    changed = case.remembered(CHANGED)
    return is_repeated(case, proposal) and changed is not None and case.now - changed > STEADY_S


def is_repeated(case: Case, proposal: Proposal) -> bool:
    """Whether the unit was told this very mode before, and did not take it."""
    return proposal.to_mode == case.intended and case.remembered(TOLD) is not None


def added_w(case: Case, proposal: Proposal) -> float:
    """How much more a unit draws in the mode proposed than in the one it is in; one nobody knows may draw all it can."""
    curve = case.unit.curve
    before = curve.mode(case.actual).watts if case.actual in curve else curve.modes[-1].watts
    return curve.mode(proposal.to_mode).watts - before


def lowers(case: Case, proposal: Proposal) -> bool:
    """Whether a unit is to draw less than in the mode it is in, or in the one it was told and may be on its way to."""
    curve = case.unit.curve
    modes = [curve.mode(name) for name in (case.actual, case.intended) if name in curve]
    most_w = max((mode.watts for mode in modes), default=curve.modes[-1].watts)
    return curve.mode(proposal.to_mode).watts < most_w


def raises(case: Case, proposal: Proposal) -> bool:
    """Whether a unit may draw more for being told this, other than one that is turned off, or to less than it is in or is just starting to."""
    curve = case.unit.curve
    names = [case.actual, *([case.intended] if case.settle_left_s > 0 else [])]
    watts = curve.mode(proposal.to_mode).watts
    return proposal.to_mode != OFF and not any(
        watts < curve.mode(name).watts for name in names if name in curve
    )


def raised_lately(case: Case) -> float | None:
    """When it was last told to draw more, within the minute in which that counts."""
    raised = case.remembered(RAISED)
    return raised if _within_batch(raised, case.now) else None


def cap_before(case: Case) -> float:
    """What all units were allowed to draw when this one was decided on last, kW; infinite for no limit."""
    return math.inf if case.last is None else case.last.numbers.get("cap_kw", math.inf)


def settles_until(scene: Scene, case: Case) -> float | None:
    """Until when a unit stays down that was turned down since more was drawn than allowed; None where nothing keeps it down.

    It would else go up and down for ever, where what is drawn is known only when it is drawn. More room than there was then ends the wait.
    """
    shed = case.remembered(SHED)
    if shed is None or case.now >= shed + SETTLE_S or cap_before(case) < scene.cap_kw:
        return None
    return shed + SETTLE_S


def _within_batch(at: float | None, now: float) -> bool:
    return at is not None and now - BATCH_WINDOW_S < at


def _still_wanted(case: Case) -> dict[str, float]:
    """A unit that waits for its turn or for room need not confirm its price again."""
    wanted = case.remembered(WANTED)
    return {} if wanted is None else {WANTED: wanted}
