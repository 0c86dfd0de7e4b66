"""Devices that find shares at random, under a Vardiff: what `bench/vardiff.py` prints and the tests assert.

A run is one session from its login. The device finds shares as a Poisson process of the rate hashrate / (difficulty * 2**32),
at the difficulty of the work it has; new work reaches it some time after it was sent. A change that is wanted at once is sent
at once; others wait for the next job, every `JOB_S`. Everything that happens comes from one seed.

What the words mean, in the strictest way that makes sense of random arrivals:

rate     the true one, not one counted: hashrate / (difficulty the device has * 2**32), as part of the aim
adjusted the first change that rests on more than `ENOUGH` shares is with the device; before it nothing is known
flooded  the rate is above `FLOODED` at any moment after that, however short
starved  the rate is below `STARVED` while the device hashes; the longest such time without a break counts, from login on

A true rate is a property of the difficulty; a count would call a right difficulty starved once in four hundred minutes at six
shares a minute. The search before the first adjustment is told apart (`changed_s`): what it cannot avoid is in `bench/vardiff.py`.
"""

from __future__ import annotations

import math
import random
from dataclasses import dataclass, field
from heapq import heappop, heappush
from itertools import pairwise
from typing import TYPE_CHECKING, Final

from miner.chain.difficulty import HASHES_PER_DIFFICULTY
from miner.work.vardiff import ENOUGH, SECONDS_PER_MINUTE, Vardiff

if TYPE_CHECKING:
    from collections.abc import Callable

HASHRATES: Final = (1e5, 300e12)
"""Hashes per second of the smallest and the largest device."""
FURTHEST: Final = 1000.0
"""How far from the right difficulty a session may start, either way."""
FLOODED: Final = 5.0
STARVED: Final = 1 / 5
JUDGED_S: Final = 600.0
"""After login, or after the device changed: the rate must be right."""
TICK_S: Final = 5.0
JOB_S: Final = 30.0
LATEST_S: Final = 2.0
"""Longest time until new work is with the device; each session has its own, from 0."""
CHUNK_S: Final = 0.01
"""Shares that come faster arrive together, as they do on a socket."""
MANY: Final = 50.0
"""A Poisson number of this mean is as good as a normal one."""


@dataclass(frozen=True, slots=True)
class Plan:
    """One session: the first difficulty as a multiple of the right one, and from when on the device hashes how much of its all."""

    start: float = 1.0
    hashing: tuple[tuple[float, float], ...] = ((0.0, 1.0),)
    judged_s: float = JUDGED_S
    end_s: float = 900.0


@dataclass(slots=True)
class Run:
    """What happened: `rates` are (time, rate, 0 while the device does not hash), `shares` (time, how many)."""

    aim: float
    plan: Plan
    rates: list[tuple[float, float]] = field(default_factory=list)
    shares: list[tuple[float, int]] = field(default_factory=list)
    sent: list[float] = field(default_factory=list)
    """When changes of difficulty were sent."""
    changed_s: float = math.inf
    """The first change of all is with the device."""
    adjusted_s: float = math.inf

    @property
    def judged(self) -> float:
        """The rate when it must be right."""
        return next((rate for since, rate in reversed(self.rates) if since <= self.plan.judged_s), 0.0)

    def highest(self, since_s: float) -> float:
        """The highest rate from a time on."""
        spans = pairwise([*self.rates, (self.plan.end_s, 0.0)])
        return max((rate for (_, rate), (until, _) in spans if until > since_s), default=0.0)

    @property
    def starved_s(self) -> float:
        """Longest time without a break that the device starved."""
        return self._longest(lambda rate: 0 < rate < STARVED)

    @property
    def flooded_s(self) -> float:
        """Longest time without a break that the device was flooded, before the first adjustment too."""
        return self._longest(lambda rate: rate > FLOODED)

    def busiest_minute(self) -> float:
        """The most shares of any minute that begins with the adjustment or later, as part of the aim."""
        shares = [share for share in self.shares if share[0] >= self.adjusted_s]
        most = inside = first = 0
        for at, count in shares:
            inside += count
            while shares[first][0] <= at - SECONDS_PER_MINUTE:
                inside -= shares[first][1]
                first += 1
            most = max(most, inside)
        return most / self.aim

    def messages_an_hour(self) -> float:
        """Changes sent after the moment of judgement."""
        judged, end = self.plan.judged_s, self.plan.end_s
        return sum(judged <= at < end for at in self.sent) * 3600 / (end - judged)

    def _longest(self, within: Callable[[float], bool]) -> float:
        longest, began = 0.0, math.inf
        for since, rate in [*self.rates, (self.plan.end_s, 0.0)]:
            longest = max(longest, since - began)
            began = min(began, since) if within(rate) else math.inf
        return longest


class Simulation:
    """A session and its device."""

    def __init__(self, rng: random.Random, plan: Plan, aim: float) -> None:
        """`aim` in shares per minute; the device's hashrate is one of `HASHRATES`, each order of size as likely."""
        low, high = map(math.log, HASHRATES)
        self._rng = rng
        self._all = math.exp(rng.uniform(low, high)) / HASHES_PER_DIFFICULTY
        self._delay_s = rng.uniform(0.0, LATEST_S)
        right = self._all * SECONDS_PER_MINUTE / aim
        self._difficulty = right * plan.start
        self._hashrate = 0.0
        self._found = self._count = 0
        self._vardiff = Vardiff(self._difficulty, 0.0, math.inf, aim, 0.0)
        self._events: list[tuple[float, int, str, float]] = []
        self._run = Run(aim, plan)
        for at, part in plan.hashing:
            self._at(at, "hash", part)
        self._at(rng.uniform(0.0, TICK_S), "tick")
        self._at(rng.uniform(0.0, JOB_S), "job")

    def run(self) -> Run:
        """From login to the end."""
        now = 0.0
        while now < self._run.plan.end_s:
            rate = self._hashrate / self._difficulty
            together = rate * CHUNK_S > 1
            wait_s = CHUNK_S if together else self._rng.expovariate(rate) if rate else math.inf
            if now + wait_s < self._events[0][0]:  # with no memory, what else happens just ends the waiting
                now += wait_s
                self._hand_in(poisson(self._rng, rate * CHUNK_S) if together else 1, now)
            else:
                now, _, what, value = heappop(self._events)
                self._happen(what, value, now)
        return self._run

    def _hand_in(self, shares: int, now: float) -> None:
        if shares:
            self._found += shares
            self._run.shares.append((now, shares))
            self._send(self._vardiff.credit(shares, shares * self._difficulty, now), now)

    def _happen(self, what: str, value: float, now: float) -> None:
        run = self._run
        match what:
            case "tick":
                self._send(self._vardiff.tick(now), now)
                self._at(now + TICK_S, "tick")
            case "job":
                self._send(self._vardiff.next_job(now), now)
                self._at(now + JOB_S, "job")
            case "hash":
                self._hashrate = self._all * value
            case _:
                self._difficulty = value
                run.changed_s = min(run.changed_s, now)
                if what == "adjusted":
                    run.adjusted_s = min(run.adjusted_s, now)
        if what not in {"tick", "job"}:
            run.rates.append((now, self._hashrate / self._difficulty * SECONDS_PER_MINUTE / run.aim))

    def _send(self, difficulty: float | None, now: float) -> None:
        if difficulty is not None:
            self._run.sent.append(now)
            self._at(now + self._delay_s, "adjusted" if self._found > ENOUGH else "searched", difficulty)

    def _at(self, at: float, what: str, value: float = 0.0) -> None:
        self._count += 1
        heappush(self._events, (at, self._count, what, value))


def poisson(rng: random.Random, mean: float) -> int:
    """How many events there are where `mean` are expected."""
    if mean > MANY:
        return max(round(rng.gauss(mean, math.sqrt(mean))), 0)
    count, product, limit = 0, rng.random(), math.exp(-mean)
    while product > limit:
        count += 1
        product *= rng.random()
    return count


# ---- Scenarios ----------------------------------------------------------------------------------------------------


def any_start(rng: random.Random) -> Plan:
    """A start anywhere within the limits, each order of size as likely."""
    return Plan(FURTHEST ** rng.uniform(-1, 1))


def too_easy(_: random.Random) -> Plan:
    """The easiest start."""
    return Plan(1 / FURTHEST)


def right(_: random.Random) -> Plan:
    """The right start."""
    return Plan()


def too_hard(_: random.Random) -> Plan:
    """The hardest start."""
    return Plan(FURTHEST)


def slow_starter(rng: random.Random) -> Plan:
    """Any start, and the device hashes nothing for the first one to five minutes; judged ten minutes after login."""
    return Plan(FURTHEST ** rng.uniform(-1, 1), ((rng.uniform(60, 300), 1.0),))


def silence(rng: random.Random) -> Plan:
    """Half an hour off, some 5 to 20 minutes after login; judged ten minutes after the return."""
    off = rng.uniform(300, 1200)
    back = off + 1800
    return Plan(
        FURTHEST ** rng.uniform(-1, 1),
        ((0.0, 1.0), (off, 0.0), (back, 1.0)),
        back + JUDGED_S,
        back + JUDGED_S + 300,
    )


def step(part: float) -> Callable[[random.Random], Plan]:
    """Another hashrate after 20 minutes; judged ten minutes later."""

    def plan(rng: random.Random) -> Plan:
        return Plan(FURTHEST ** rng.uniform(-1, 1), ((0.0, 1.0), (1200.0, part)), 1800.0, 2100.0)

    return plan


def steady(_: random.Random) -> Plan:
    """Three hours at the same hashrate; judged after half an hour."""
    return Plan(judged_s=1800.0, end_s=10_800.0)


SCENARIOS: Final[dict[str, Callable[[random.Random], Plan]]] = {
    "any start within 1000x": any_start,
    "1000x too easy": too_easy,
    "right start": right,
    "1000x too hard": too_hard,
    "slow starter, 1-5 min": slow_starter,
    "off for 30 min": silence,
    "a third fails": step(2 / 3),
    "hashrate halved": step(0.5),
    "hashrate doubled": step(2.0),
    "steady for 3 h": steady,
}


def runs(scenario: str, aim: float, count: int) -> list[Run]:
    """Sessions of a scenario, the same ones each time."""
    found = []
    for number in range(count):
        rng = random.Random(f"{scenario} {aim} {number}")  # noqa: S311 - a simulation that must repeat itself
        found.append(Simulation(rng, SCENARIOS[scenario](rng), aim).run())
    return found


@dataclass(frozen=True, slots=True)
class Result:
    """Distributions over the runs of one scenario; rates as parts of the aim, `part_` a part of the runs."""

    scenario: str
    aim: float
    runs: int
    mean: float
    low: float
    high: float
    """At the moment of judgement: mean, 5 % and 95 % quantile of the rate."""
    part_within_35: float
    highest: float
    part_flooded: float
    part_above_before: float
    """Above `FLOODED` after any change, those before the first adjustment included."""
    flooded_s: float
    """The longest that any run was above it, from login on."""
    busiest_minute: float
    starved_s: float
    part_starved: float
    """For longer than a minute."""
    messages_an_hour: float


def simulate(scenario: str, aim: float, count: int) -> Result:
    """Run a scenario so many times. Raises KeyError for one that there is not."""
    done = runs(scenario, aim, count)
    judged = sorted(run.judged for run in done)
    adjusted = [run.highest(run.adjusted_s) for run in done]
    changed = [run.highest(run.changed_s) for run in done]
    starved = [run.starved_s for run in done]
    return Result(
        scenario=scenario,
        aim=aim,
        runs=count,
        mean=sum(judged) / count,
        low=judged[int(0.05 * count)],
        high=judged[int(0.95 * count)],
        part_within_35=sum(abs(rate - 1) <= 0.35 for rate in judged) / count,  # noqa: PLR2004 - as promised
        highest=max(adjusted),
        part_flooded=sum(rate > FLOODED for rate in adjusted) / count,
        part_above_before=sum(rate > FLOODED for rate in changed) / count,
        flooded_s=max(run.flooded_s for run in done),
        busiest_minute=max(run.busiest_minute() for run in done),
        starved_s=max(starved),
        part_starved=sum(seconds > SECONDS_PER_MINUTE for seconds in starved) / count,
        messages_an_hour=sum(run.messages_an_hour() for run in done) / count,
    )
