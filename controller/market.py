"""From ticks to the two prices that matter: hashprice and power; pure.

A market is either known or it is not; there is no half-known price. What is missing, stale or out of bounds is named.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from controller import hashprice
from controller.book import current
from controller.earnings import Paid, paid
from controller.plan import Slot
from controller.ticks import (
    BTC_USD,
    CHAIN_HEIGHT,
    DIFFICULTY,
    EPOCH_START,
    FEES,
    HASHPRICE,
    POWER,
    SUBSIDY,
    TIP_TIME,
    Tick,
)
from controller.validate import Refused, SeriesRule, aged_from, check_tick, stale_at

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.earnings import Earnings

REWARD = (SUBSIDY, FEES)
"""What a block's reward is made of."""

CHAIN_INPUTS = (BTC_USD, DIFFICULTY, *REWARD)
"""What hashprice is made of when no source gives it directly."""

NEVER_SEEN = "no value was ever seen"

SHORTEST_SLOT_S = 0.01
"""No slot is shorter, but for the last one."""

_PRICES = frozenset({BTC_USD, POWER, HASHPRICE})


@dataclass(frozen=True, slots=True)
class SeriesProblem:
    """Why a series cannot be used: `since` is when it stopped being good, None if it never was."""

    series: str
    why: str
    since: float | None = None


@dataclass(frozen=True, slots=True)
class Market:
    """Prices good enough to decide on.

    `hashprice_usd_per_ph_day` is what is `paid` of `gross_...`; `hashprice_btc_per_ph_day` (gross) is None where only a dollar
    hashprice is given. `inputs` are the ticks used; `retarget` the projection, None where unknown, and between an epoch's
    last block and the next one, where hashprice is already that of the next difficulty.
    """

    at: float
    hashprice_usd_per_ph_day: float
    gross_hashprice_usd_per_ph_day: float
    hashprice_btc_per_ph_day: float | None
    power_usd_per_kwh: float
    inputs: tuple[Tick, ...]
    retarget: hashprice.Retarget | None
    paid: Paid = field(default_factory=Paid)

    @property
    def ages_s(self) -> dict[str, float]:
        """Age of every input in seconds."""
        return {tick.series: max(self.at - aged_from(tick), 0.0) for tick in self.inputs}

    @property
    def net_hashprice_btc_per_ph_day(self) -> float | None:
        """Hashprice in BTC as it is paid; None where only a dollar hashprice is given."""
        if self.hashprice_btc_per_ph_day is None:
            return None
        return self.hashprice_btc_per_ph_day * self.paid.ratio

    def confirmed_since(self, at: float) -> bool:
        """Whether each price was observed again after `at`, or was known before its time (a schedule, a day-ahead price)."""
        return all(
            tick.observed_at > at or tick.observed_at < tick.valid_from
            for tick in self.inputs
            if tick.series in _PRICES
        )

    def known_in_time(self, since: float) -> bool:
        """Whether the power price was told by the time it began to hold, and so was every other price that is new since then.

        A value that comes as its turn comes is no reading of the moment, of which one may be a fault. Such a one has no end and begins when it is
        seen; what was known before then was not read of the moment.
        """
        return all(
            _in_time(tick) or (tick.series != POWER and tick.valid_from < since)
            for tick in self.inputs
            if tick.series in _PRICES
        )


@dataclass(frozen=True, slots=True)
class MarketUnknown:
    """Prices no one may act on, and why."""

    at: float
    problems: tuple[SeriesProblem, ...]

    @property
    def since(self) -> float | None:
        """When the first of the troubles began, None if one of the series was never there."""
        known = [problem.since for problem in self.problems if problem.since is not None]
        return min(known) if len(known) == len(self.problems) else None


def read_market(
    ticks: Mapping[str, Sequence[Tick]],
    rules: Mapping[str, SeriesRule],
    earned: hashprice.Earned,
    now: float,
    refused: Mapping[str, str] | None = None,
    earnings: Earnings | None = None,
) -> Market | MarketUnknown:
    """The prices at `now`, or what is wrong with them; `refused` says by series why its last value was not believed.

    A hashprice given directly outranks one computed from the chain, also when it is stale: a feed that fell silent is not replaced
    behind the operator's back. `earnings` is what a pool pays, None where only `earned` is known. Of a hashprice given directly the
    part that a pool without fees pays is known where some source gives subsidy and fees; else it counts whole.
    """
    needed: tuple[str, ...] = (*CHAIN_INPUTS, POWER)
    if ticks.get(HASHPRICE):
        needed = (HASHPRICE, POWER)
        keeps_fees = earnings is not None and not earnings.scheme.pays_fees
        if keeps_fees and all(ticks.get(series) for series in REWARD):
            needed = (HASHPRICE, *REWARD, POWER)
    usable: dict[str, Tick] = {}
    problems: list[SeriesProblem] = []
    for series in needed:
        match _usable(series, ticks, rules, now):
            case Tick() as tick:
                usable[series] = tick
            case SeriesProblem() as problem:
                problems.append(_with_cause(problem, (refused or {}).get(series)))
    if problems:
        return MarketUnknown(now, tuple(problems))
    gross, btc = _hashprice(usable)
    retarget = read_retarget(ticks, rules, now)
    if btc is not None and retarget is not None and retarget.blocks_left == 1:
        # The epoch's last block is found: what is hashed now is hashed at the next difficulty, which is certain.
        gross, btc, retarget = gross / retarget.ratio, btc / retarget.ratio, None
    rule = rules.get(HASHPRICE)
    if rule is not None and not rule.low <= gross <= rule.high:
        why = f"computed {gross:g} USD/PH/day is outside {rule.low:g} .. {rule.high:g}"
        return MarketUnknown(now, (SeriesProblem(HASHPRICE, why),))
    really = paid(earned, earnings, _subsidy_ratio(usable))
    return Market(
        at=now,
        hashprice_usd_per_ph_day=gross * really.ratio,
        gross_hashprice_usd_per_ph_day=gross,
        hashprice_btc_per_ph_day=btc,
        power_usd_per_kwh=usable[POWER].value,
        inputs=tuple(usable.values()),
        retarget=retarget,
        paid=really,
    )


def read_retarget(
    ticks: Mapping[str, Sequence[Tick]], rules: Mapping[str, SeriesRule], now: float
) -> hashprice.Retarget | None:
    """The projected retarget; None unless one and the same source gave difficulty and epoch.

    A tape's difficulty has nothing to do with the pace of the node's chain.
    """
    found = [
        _usable(series, ticks, rules, now) for series in (DIFFICULTY, CHAIN_HEIGHT, EPOCH_START, TIP_TIME)
    ]
    good = [tick for tick in found if isinstance(tick, Tick)]
    if len(good) != len(found) or len({tick.source for tick in good}) != 1:
        return None
    difficulty, height, epoch_start, tip_time = (tick.value for tick in good)
    return hashprice.project_retarget(difficulty, int(height), epoch_start, tip_time, now)


def power_in_force(
    ticks: Mapping[str, Sequence[Tick]], rules: Mapping[str, SeriesRule], now: float
) -> float | None:
    """The power price at `now` in USD/kWh; None where there is none to act on."""
    tick = _usable(POWER, ticks, rules, now)
    return tick.value if isinstance(tick, Tick) else None


def horizon_slots(
    market: Market,
    power: Sequence[tuple[float, float]],
    horizon_s: float,
    slot_s: float,
    cuts: Sequence[float] = (),
    rooms: Callable[[Sequence[tuple[float, float]]], Sequence[tuple[float, int]]] | None = None,
) -> tuple[Slot, ...]:
    """Slots from now over the horizon, cut at multiples of `slot_s`, and at `cuts` besides (rising).

    Power: the mean over a slot of `power`, which says from when on which price holds, the market's first. Hashprice: flat, times the
    projected ratio from the projected retarget on. The first slot holds the prices of the market itself and ends when they do. `rooms` says
    for all slots (start, stop) which limit of power they have, in kW, and which day they are on; without it there is none.
    """
    own = power[1][0] if len(power) > 1 else market.at + horizon_s
    stretches = _cut(market.at, market.at + horizon_s, slot_s, sorted([*cuts, own]))
    limits = [(math.inf, 0)] * len(stretches) if rooms is None else rooms(stretches)
    hashprice, retarget = market.hashprice_usd_per_ph_day, market.retarget
    later, later_from = (
        (hashprice, math.inf) if retarget is None else (hashprice * (1.0 / retarget.ratio), retarget.at)
    )
    slots: list[Slot] = []
    piece = 0
    for (start, stop), (cap_kw, day) in zip(stretches, limits, strict=True):
        while piece + 1 < len(power) and power[piece + 1][0] <= start:
            piece += 1
        usd_per_kwh = _mean_power(power, piece, start, stop) if slots else market.power_usd_per_kwh
        earned = hashprice if start < later_from else later
        slots.append(Slot(start, stop - start, earned, usd_per_kwh, cap_kw, day))
    return tuple(slots)


def _cut(start: float, end: float, slot_s: float, cuts: Sequence[float]) -> list[tuple[float, float]]:
    """When the slots begin and end."""
    found: list[tuple[float, float]] = []
    index = 0
    while start < end:
        least = start + SHORTEST_SLOT_S
        while index < len(cuts) and cuts[index] < least:
            index += 1
        stop = (math.floor(start / slot_s) + 1) * slot_s
        if index < len(cuts) and cuts[index] < stop:
            stop = cuts[index]
        if stop - start < SHORTEST_SLOT_S:
            stop = least
        stop = min(stop, end)
        found.append((start, stop))
        start = stop
    return found


def _usable(
    series: str, ticks: Mapping[str, Sequence[Tick]], rules: Mapping[str, SeriesRule], now: float
) -> Tick | SeriesProblem:
    rule = rules.get(series)
    tick = current(ticks.get(series, ()), now)
    if tick is None or rule is None:
        return SeriesProblem(series, NEVER_SEEN)
    verdict = check_tick(tick, rules, now)
    if isinstance(verdict, Refused):
        return SeriesProblem(series, verdict.why)
    limit = stale_at(tick, rule)
    if now >= tick.valid_to:
        return SeriesProblem(series, f"the last one known ended {now - tick.valid_to:.0f} s ago", limit)
    if now >= limit:
        return SeriesProblem(series, f"last seen {now - aged_from(tick):.0f} s ago", limit)
    return tick


def _in_time(tick: Tick) -> bool:
    return tick.observed_at < tick.valid_from or (
        tick.observed_at == tick.valid_from and not math.isinf(tick.valid_to)
    )


def _with_cause(problem: SeriesProblem, refusal: str | None) -> SeriesProblem:
    """The problem with what its source gave instead of a good value, where it gave something."""
    if refusal is None:
        return problem
    if problem.why == NEVER_SEEN:
        return replace(problem, why=f"no good value was ever seen; refused: {refusal}")
    return replace(problem, why=f"{problem.why}; since then refused: {refusal}")


def _hashprice(usable: Mapping[str, Tick]) -> tuple[float, float | None]:
    if HASHPRICE in usable:
        return usable[HASHPRICE].value, None
    btc_usd, difficulty, subsidy, fees = (usable[series].value for series in CHAIN_INPUTS)
    btc = hashprice.hashprice_btc_per_ph_day(difficulty, subsidy, fees)
    return btc * btc_usd, btc


def _subsidy_ratio(usable: Mapping[str, Tick]) -> float:
    """The subsidy's part of a block's reward; 1 where it is not known, or there is none."""
    if not all(series in usable for series in REWARD):
        return 1.0
    subsidy, fees = (usable[series].value for series in REWARD)
    return subsidy / (subsidy + fees) if fees > 0 else 1.0


def _mean_power(power: Sequence[tuple[float, float]], piece: int, start: float, stop: float) -> float:
    """The mean of a price over [start, stop), which begins in that piece of it."""
    if piece + 1 == len(power) or power[piece + 1][0] >= stop:
        return power[piece][1]
    total, at = 0.0, start
    while at < stop:
        until = min(power[piece + 1][0], stop) if piece + 1 < len(power) else stop
        total += power[piece][1] * (until - at)
        at, piece = until, piece + 1
    return total / (stop - start)
