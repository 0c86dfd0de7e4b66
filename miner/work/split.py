"""Solo and pool at once: which unit mines on which lane, so that the accepted work comes out as wished; pure.

Units are moved whole. What counts is the work they were credited with, not how many they are or what they claim to be: what one
lane has had too little of is a debt, which a change of lanes pays back. A unit alone is given to both lanes in turns.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from dataclasses import dataclass
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

POOL: Final = "pool"
SOLO: Final = "solo"

REBALANCE_S: Final = 60.0
BAND_S: Final = 150.0
"""A debt is let be until it is what the whole fleet does in this time: half an hour's turns for a unit alone."""
TOLERANCE: Final = 0.02
"""An assignment this close to the wished share, in parts of the fleet's hashrate, is as good as exact."""
PAUSE_S: Final = 300.0
"""After a move nobody is moved for this long: hashrates are estimates from shares, and their noise is no reason to move."""
MEMORY_S: Final = 86_400.0
"""Work of long ago counts less and less, so that a debt that could not be paid for a while is not paid back for ever."""

_REPAID_IN_S: Final = BAND_S / TOLERANCE
"""A debt at the edge of the band is paid back within the tolerance, so that what pays it back may stay as it is afterwards."""
_FAST_ENOUGH: Final = 0.25
"""A debt that is paid back at this part of that speed is left to it."""
_WORTH_IT: Final = 2.0
"""Lanes that are off by more than so many tolerances are put right at once; what is less shows as a debt in its time."""
_SURELY_MORE: Final = 1.25
"""Two units are exchanged only if one does so many times what the other does: closer estimates may as well be the same."""
_NEAR: Final = 1.5
"""One unit alone is moved instead of several if it comes this near to what they do."""
_HALF: Final = 0.5
"""Another assignment must be off by at most this part of what the present one is, to be worth its moves."""


@dataclass(frozen=True, slots=True)
class Hasher:
    """A unit as the split sees it.

    `work` is what it was credited with in all, a sum of difficulties, `rate` how much of it comes in a second now: 0 while it does
    not hash. `pinned` is the lane it is bound to.
    """

    number: int
    rate: float
    work: float
    pinned: str | None = None


class Split:
    """Keeps the part of the work that is mined solo at `share` (0 to 1), over about a day.

    Every `rebalance_s` seconds it looks whether a move is due: when the hashrate on the lanes is further from the share than
    it should be and the debt grows, or when the debt has left the band. Raises ValueError for a share that is none.
    """

    def __init__(self, share: float, *, rebalance_s: float = REBALANCE_S) -> None:
        if not 0 <= share <= 1:
            raise ValueError(f"a share is from 0 to 1, not {share}")
        self.share = share
        self._rebalance_s = rebalance_s
        self._lanes: dict[int, str] = {}
        self._seen: dict[int, float] = {}
        """The work of each unit as it was last counted."""
        self._done = {POOL: 0.0, SOLO: 0.0}
        self._stepped_at: float | None = None
        self._moved_at = -math.inf
        self._counts = {POOL: 0, SOLO: 0}

    @property
    def reached(self) -> float | None:
        """The part of the work that was mined solo, over about a day; None before any was done."""
        done = math.fsum(self._done.values())
        return self._done[SOLO] / done if done > 0 else None

    def lane_of(self, number: int) -> str:
        """The lane of a unit that is not pinned; one that was never seen gets its place, by the number of units alone."""
        lane = self._lanes.get(number)
        if lane is None:
            placed = 1 + self._counts[POOL] + self._counts[SOLO]
            lane = SOLO if self._counts[SOLO] + 1 <= self.share * placed else POOL
            self._put(number, lane)
        return lane

    def step(self, fleet: Iterable[Hasher], now: float, *, counted: bool = True) -> list[int]:
        """Count what was done, and move what must be moved: the numbers of the units whose lane is another now.

        `fleet` is every unit there is; others are forgotten. Without `counted` the work since the last step does not count and
        nobody is moved: while both lanes serve the same work there is nothing to share.
        """
        since_s = math.inf if self._stepped_at is None else now - self._stepped_at
        if 0 <= since_s < self._rebalance_s:
            return []
        self._stepped_at = now
        units = list(fleet)
        self._count(units, since_s, counted=counted)
        if not counted or not 0 < self.share < 1:
            return []
        if now < self._moved_at + PAUSE_S and now >= self._moved_at:
            return []
        moves = self._moves(units)
        if moves:
            self._moved_at = now
        for unit in moves:
            self._put(unit.number, POOL if self._lanes[unit.number] == SOLO else SOLO)
        return [unit.number for unit in moves]

    def _put(self, number: int, lane: str) -> None:
        before = self._lanes.get(number)
        if before is not None:
            self._counts[before] -= 1
        self._lanes[number] = lane
        self._counts[lane] += 1

    def _lane(self, unit: Hasher) -> str:
        return self.lane_of(unit.number) if unit.pinned is None else unit.pinned

    def _count(self, units: Sequence[Hasher], since_s: float, *, counted: bool) -> None:
        """Add what each unit did to its lane, let the past fade, and forget units that are gone."""
        if math.isfinite(since_s) and since_s > 0:
            faded = math.exp(-since_s / MEMORY_S)
            self._done = {lane: work * faded for lane, work in self._done.items()}
        for unit in units:
            lane = self._lane(unit)
            if counted:
                # Totals that shrank are another count, and of a unit seen for the first time nobody knows where it worked.
                self._done[lane] += max(unit.work - self._seen.get(unit.number, unit.work), 0.0)
        self._seen = {unit.number: unit.work for unit in units}
        free = {unit.number for unit in units if unit.pinned is None}
        for number in [number for number in self._lanes if number not in free]:
            self._counts[self._lanes.pop(number)] -= 1

    def _moves(self, units: Sequence[Hasher]) -> list[Hasher]:
        """The units to move now."""
        fleet_rate = math.fsum(unit.rate for unit in units)
        if fleet_rate <= 0:
            return []
        solo_rate = math.fsum(unit.rate for unit in units if self._lane(unit) == SOLO)
        # How far the lanes are from the share, in parts of the fleet, and what solo mining is owed, in seconds of its work.
        off = solo_rate / fleet_rate - self.share
        owed_s = (self.share * math.fsum(self._done.values()) - self._done[SOLO]) / fleet_rate
        repaying = off * math.copysign(1, owed_s)
        overshoot = 0.0
        if abs(owed_s) > BAND_S and repaying < _FAST_ENOUGH * abs(owed_s) / _REPAID_IN_S:
            goal = owed_s / _REPAID_IN_S
            overshoot = max(-repaying, 0.0) * fleet_rate  # at the share itself nothing is paid back
        elif abs(off) > _WORTH_IT * TOLERANCE and repaying <= 0:
            goal = 0.0
        else:
            return []
        giving = POOL if goal > off else SOLO
        free = [unit for unit in units if unit.pinned is None and unit.rate > 0]
        givers = [unit for unit in free if self._lanes[unit.number] == giving]
        takers = [unit for unit in free if self._lanes[unit.number] != giving]
        wanted = abs(goal - off) * fleet_rate
        moves = choose(givers, takers, wanted, at_least=overshoot, close_enough=TOLERANCE * fleet_rate)
        taken = math.fsum(unit.rate if self._lanes[unit.number] == giving else -unit.rate for unit in moves)
        worth_it = goal != 0 or abs(wanted - taken) <= _HALF * abs(off) * fleet_rate
        return moves if worth_it else []


def choose(
    givers: Sequence[Hasher],
    takers: Sequence[Hasher],
    wanted: float,
    *,
    at_least: float = 0.0,
    close_enough: float = 0.0,
) -> list[Hasher]:
    """Few units whose change of lanes takes about `wanted` work a second from the lane of the givers to that of the takers.

    Several units where they come within `close_enough`, since they may then stay where they are. Else units will go to and fro, and
    one alone is best, if one comes near. More than `at_least` is taken where the givers have as much.
    """
    several, gap = _several(givers, takers, wanted, close_enough, at_least)
    able = [unit for unit in givers if unit.rate > at_least]
    if gap <= close_enough or not able:
        return several
    alone = min(able, key=lambda unit: (abs(unit.rate - wanted), unit.number))
    return [alone] if abs(alone.rate - wanted) <= _NEAR * gap or len(several) <= 1 else several


def _several(
    givers: Sequence[Hasher],
    takers: Sequence[Hasher],
    wanted: float,
    close_enough: float,
    at_least: float,
) -> tuple[list[Hasher], float]:
    """The largest that fit, then one too large if that comes closer, then an exchange; and how far that is from `wanted`."""
    left = wanted
    chosen: list[Hasher] = []
    others: list[Hasher] = []
    for unit in sorted(givers, key=lambda unit: (-unit.rate, unit.number)):
        fits = left > close_enough / 4 and unit.rate <= left
        (chosen if fits else others).append(unit)
        left -= unit.rate if fits else 0.0
    larger = next((unit for unit in reversed(others) if unit.rate > left), None)
    if larger is not None and larger.rate - left < left and left > close_enough / 4:
        chosen.append(larger)
        others.remove(larger)
        left -= larger.rate
    pair = _pair(others, takers, left) if left > close_enough else None
    if pair is not None and abs(left - (pair[0].rate - pair[1].rate)) < _HALF * left:
        chosen.extend(pair)
        others.remove(pair[0])
        left -= pair[0].rate - pair[1].rate
    while others and wanted - left <= at_least:
        # Coarse units: to get over the mark at all, the smallest that does it alone, else the largest, and again.
        short = at_least - (wanted - left)
        more = next((unit for unit in reversed(others) if unit.rate > short), others[0])
        chosen.append(more)
        others.remove(more)
        left -= more.rate
    return chosen, abs(left)


def _pair(givers: Sequence[Hasher], takers: Sequence[Hasher], wanted: float) -> tuple[Hasher, Hasher] | None:
    """A giver and a taker that surely does less, whose exchange comes closest to `wanted`; None where there are none."""
    smaller = sorted(takers, key=lambda unit: (unit.rate, unit.number))
    rates = [unit.rate for unit in smaller]
    best, least = None, math.inf
    for giver in givers:
        place = bisect_left(rates, min(giver.rate - wanted, giver.rate / _SURELY_MORE))
        for taker in smaller[max(place - 1, 0) : place + 1]:
            gap = abs(giver.rate - taker.rate - wanted)
            if gap < least and giver.rate > _SURELY_MORE * taker.rate:
                best, least = (giver, taker), gap
    return best
