"""The book of ticks: of every series the believed values that matter now or later; pure."""

from __future__ import annotations

import math
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Final

from controller.recent import held_until
from controller.ticks import POWER, POWER_DAY_AHEAD, SIGNAL_PREFIX
from controller.validate import CLOCK_SKEW_S, Refused, SeriesRule, check_tick

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

    from controller.ticks import Tick

CAPACITY: Final = 2_000
"""Ticks kept of one series: three weeks of quarter hours."""
SIGNAL_MEMORY_S: Final = 86_400.0
"""A signal that ended is remembered this long: its ramp is measured from there."""
WITHDRAWN_S: Final = 0.01
"""What holds for less than this was withdrawn: it says nothing."""
DAY_AHEAD_MEMORY_S: Final = 3_600.0
"""And so is what the market expected: who knows only the last quarter hour's price compares it with what was expected then."""


class TickBook:
    """Holds, per series, the last good tick and those that will hold later.

    A series belongs to the source with the lowest rank that ever gave it, also while that source is silent: a tape ahead of the node
    keeps its difficulty to itself, and a day-ahead list that ends is not followed by another source's price of the moment. If
    the next source took over whenever one fell silent, a fleet would be run by a price that nobody meant for it, and each fault of
    the first would be two steps of the price; so the series grows old, and the fail-safe takes over. Who wants a fallback
    configures one source that has it, and ranks inside.

    A tick is known by the start of its validity: one of the same start replaces it, be it to end it early. Coming ticks that a source no
    longer gives stay, as what was announced was announced; a tick that is not believed never displaces a good one.

    Signals belong to nobody: whoever sends one is obeyed, and a tick replaces only those of its own source. They may overlap, and
    those that ended are kept for `SIGNAL_MEMORY_S`.
    """

    def __init__(self, rules: Mapping[str, SeriesRule]) -> None:
        self._rules = rules
        self._ticks: dict[str, tuple[Tick, ...]] = {}
        self._rank: dict[str, int] = {}
        self._refusals: dict[str, str] = {}
        self._restored: set[tuple[str, str]] = set()
        self._latest = -math.inf
        """The latest time at which anything was taken in."""

    def copy(self) -> TickBook:
        """A book with the same ticks that can be written in without touching this one."""
        other = TickBook(self._rules)
        other._ticks = dict(self._ticks)
        other._rank = dict(self._rank)
        other._refusals = dict(self._refusals)
        other._restored = set(self._restored)
        other._latest = self._latest
        return other

    def admit(self, ticks: Iterable[Tick], rank: int, now: float) -> tuple[list[Tick], list[Refused]]:
        """Take in what a source gave; returns the ticks that say something new, and the refused ones.

        An observation of a fact already known only renews its age.
        """
        if now < self._latest - CLOCK_SKEW_S:
            self._set_back(now)
        self._latest = now
        given: dict[str, list[Tick]] = defaultdict(list)
        for tick in ticks:
            if rank <= self._rank.get(tick.series, rank):
                given[tick.series].append(tick)
        news: list[Tick] = []
        refused: list[Refused] = []
        for series, told in given.items():
            verdicts = [check_tick(tick, self._rules, now) for tick in told]
            good = [verdict for verdict in verdicts if not isinstance(verdict, Refused)]
            bad = [verdict for verdict in verdicts if isinstance(verdict, Refused)]
            refused.extend(bad)
            if isinstance(verdicts[-1], Refused):
                self._refusals[series] = verdicts[-1].why
            else:
                self._refusals.pop(series, None)
            if good:
                news.extend(self._take(series, good, {tick.valid_from for tick in told}, rank, now))
        return news, refused

    def ticks(self) -> Mapping[str, tuple[Tick, ...]]:
        """Of every series its ticks by the start of their validity; a snapshot that will not change."""
        return dict(self._ticks)

    def refusals(self) -> Mapping[str, str]:
        """Why the last value of a series was refused, of those without a good one since."""
        return dict(self._refusals)

    def owners(self, names: Sequence[str]) -> dict[str, str]:
        """The source each series belongs to; `names` are those of the sources in order of rank."""
        return {series: names[rank] for series, rank in self._rank.items()}

    def restore(
        self,
        ticks: Mapping[str, Sequence[Tick]],
        refused: Mapping[str, str],
        owners: Mapping[str, str],
        names: Sequence[str],
        now: float,
    ) -> None:
        """Go on from what another book held, of an earlier run: `ticks`, `refused` and `owners` as that one said them.

        Ages go on too, so the fail-safe knows how long a source has been silent. What belonged to a source that is not among `names` any
        more is left out, and so is what is not believed under the rules of today. Coming ticks stand until their source speaks
        again: of a tariff that was changed meanwhile nothing is left.
        """
        ranks = {name: rank for rank, name in enumerate(names)}
        for series, told in ticks.items():
            is_signal = series.startswith(SIGNAL_PREFIX)
            owner = owners.get(series)
            kept = tuple(
                tick
                for tick in told
                if (tick.source if is_signal else owner) in ranks
                and not isinstance(check_tick(tick, self._rules, now), Refused)
            )
            if not kept:
                continue
            self._ticks[series] = kept
            self._restored |= {(series, tick.source if is_signal else "") for tick in kept}
            if not is_signal and owner is not None:
                self._rank[series] = ranks[owner]
        for series, why in refused.items():
            if series in self._ticks or series not in ticks:
                self._refusals[series] = why

    def _set_back(self, now: float) -> None:
        """The clock was set back: nothing was seen later than now, and a value without an end that had begun holds already.

        Else it would be refused or not in force until the clock has caught up, and stand over newer ones then. What signals say is
        dated anew by their sources, who have to answer for it.
        """
        for series, ticks in self._ticks.items():
            if series.startswith(SIGNAL_PREFIX):
                continue
            dated = {}
            for tick in ticks:
                begun = tick.valid_from <= self._latest and tick.valid_to == math.inf
                start = min(tick.valid_from, now) if begun else tick.valid_from
                dated[start] = replace(tick, valid_from=start, observed_at=min(tick.observed_at, now))
            self._ticks[series] = tuple(dated[start] for start in sorted(dated))

    def _take(
        self, series: str, good: Sequence[Tick], starts: set[float], rank: int, now: float
    ) -> list[Tick]:
        """Put what one source gave of one series beside what is known; returns what is new.

        `starts` are those of all it gave: one that is refused leaves what was known of that time.
        """
        is_signal = series.startswith(SIGNAL_PREFIX)
        if not is_signal:
            if rank < self._rank.get(series, rank):
                self._ticks.pop(series, None)
            self._rank[series] = rank
        known = {_key(tick, is_signal): tick for tick in self._ticks.get(series, ())}
        before = current(self._ticks.get(series, ()), now)
        told: set[tuple[float, str]] = set()
        news: list[Tick] = []
        for each in good:
            tick = each
            if before is not None and _goes_on(before, tick, now):
                tick = replace(tick, valid_from=before.valid_from)
            key = _key(tick, is_signal)
            if key not in known or not tick.same_fact(known[key]):
                news.append(tick)
            known[key] = tick
            told.add(key)
            if tick.valid_from <= now and (before is None or tick.valid_from >= before.valid_from):
                before = tick
        for source in {source for _, source in told}:
            if (series, source) in self._restored:
                self._restored.discard((series, source))
                old = {key for key in known if key[0] > now and key[1] == source and key[0] not in starts}
                for key in old - told:
                    del known[key]
        ordered = [known[key] for key in sorted(known)]
        matter = _windows_that_matter if is_signal else _that_matter
        self._ticks[series] = matter(ordered, now)
        return news


def _key(tick: Tick, is_signal: bool) -> tuple[float, str]:  # noqa: FBT001 - private, and named where it is called
    """What a tick is known by within its series: its start, and of a signal also who sent it."""
    return tick.valid_from, tick.source if is_signal else ""


def _that_matter(ticks: Sequence[Tick], now: float) -> tuple[Tick, ...]:
    """Of what began in the past only the newest matters: it holds now, or is the last good one. Of day-ahead prices, those of the last hour.

    Of power prices the last one that was not withdrawn matters too, for as long as it may stand for those that are not told yet.
    """
    begun = [index for index, tick in enumerate(ticks) if tick.valid_from <= now]
    first = begun[-1] if begun else 0
    since = now - DAY_AHEAD_MEMORY_S
    while first > 0 and ticks[first].series == POWER_DAY_AHEAD and ticks[first - 1].valid_to > since:
        first -= 1
    if ticks and ticks[first].series == POWER and begun:
        last = last_told(ticks, now)
        if last is not None and last is not ticks[first] and held_until(last.valid_from, last.valid_to) > now:
            return (last, *ticks[first : first + CAPACITY - 1])
    return tuple(ticks[first : first + CAPACITY])


def _windows_that_matter(ticks: Sequence[Tick], now: float) -> tuple[Tick, ...]:
    """Those that hold, will hold or ended lately, and of each source the one that began last, by which it is known again."""
    newest = {tick.source: tick for tick in ticks if tick.valid_from <= now}
    matter = [
        tick for tick in ticks if tick.valid_to > now - SIGNAL_MEMORY_S or newest.get(tick.source) is tick
    ]
    surplus = len(matter) - CAPACITY
    if surplus > 0:  # those that ended go first, then those that are farthest away
        ended = [tick for tick in matter if tick.valid_to <= now][:surplus]
        matter = [tick for tick in matter if tick not in ended]
    return tuple(matter[:CAPACITY])


def _goes_on(before: Tick, tick: Tick, now: float) -> bool:
    """Whether `tick` is the value in force, seen again: sources without intervals date every reading anew."""
    return (
        before.valid_from <= tick.valid_from <= now
        and before.valid_to == tick.valid_to == math.inf
        and (before.value, before.source) == (tick.value, tick.source)
    )


def current(ticks: Iterable[Tick], at: float) -> Tick | None:
    """The newest of these ticks (ordered by validity) that has begun at `at`; it may have ended since."""
    found = None
    for tick in ticks:
        if tick.valid_from > at:
            break
        found = tick
    return found


def last_told(ticks: Sequence[Tick], at: float) -> Tick | None:
    """The newest of these ticks (ordered by validity) that has begun at `at` and was not withdrawn; it may have ended since."""
    begun = (tick for tick in reversed(ticks) if tick.valid_from <= at)
    return next((tick for tick in begun if tick.valid_to - tick.valid_from >= WITHDRAWN_S), None)
