"""What it is worth to stand in a mode when the known prices end, as the planner takes it; pure.

A curve is a ladder of blocks: from off to the first mode of its hull, and from each mode of the hull to the next. Of a block's being on
rather than off, the models of `worth` tell what it is expected to be worth beyond the prices that are known. The plan has an opinion of
that, too: what its later slots earn at the prices it expects. The difference is what the planner adds in the last slot whose price is
known, so that the first step of a unit without limits is the model's, while caps, dwell, signals and starts still work on the path.

Money is in USD, power in kW, power prices in USD/kWh. Where only earlier prices may be seen (`Sees.B`), the last known slot is the one
that begins: its price is the last one known, and what it earns is part of what the models tell.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Final, NamedTuple

import numpy as np

from controller.book import WITHDRAWN_S
from controller.economics import HOURS_PER_DAY, SECONDS_PER_HOUR, TH_PER_PH
from controller.flip import Between, FlipPoint
from controller.plan import Member
from controller.program import tail_values
from controller.recent import KEPT, QUARTER_S, quarter_of
from controller.standing_ladders import kind_of, ladders_of
from controller.ticks import POWER_DAY_AHEAD
from controller.worth import AHEAD, Seen, Sees, expected

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from controller.forecast import PowerAhead
    from controller.model import Model
    from controller.plan import Slot
    from controller.recent import Recent
    from controller.standing_ladders import Kind, Ladders
    from controller.ticks import Tick
    from controller.units import Mode, Unit

LEAST_COST_USD_PER_KW: Final = 1e-9
"""Changes that cost less are free, and nothing is worth waiting for."""
WORTH_RATIO: Final = "worth_ratio"
WORTH_NOW_RATIO: Final = "worth_now_ratio"
WORTH_COST: Final = "change_cost_usd_per_kw"
BY_METHOD: Final = "by_"
"""Of a block at stake, in the numbers of a decision: see `Block`; before the name of the method that told its worth."""
_DIGITS: Final = 12
_HOURS: Final = QUARTER_S / SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class RealTime:
    """How to decide where the coming prices are not known: what a decision may see, and the model that was fitted, if any."""

    sees: Sees = Sees.A
    model: Model | None = None


class Block(NamedTuple):
    """The watts between two neighbours of a hull, and what their being on is expected to be worth.

    `ratio` is that as a share of `cost_usd_per_kw`, what stopping and starting them costs: beyond the known prices for `Sees.A`, with the
    margin of the quarter hour that begins for `Sees.B`. `on_ratio` counts all of it from now on: they stay on above 0 and are turned on
    above 1. At `stop_usd_per_kwh` and `start_usd_per_kwh` that is so for what is left of a quarter hour; `method` is what told the ratio: "fitted", "markov"
    or "band", and empty where changes cost nothing. `price_product` is the hashprice times the power price of now.
    """

    lower: Mode
    upper: Mode
    breakeven_usd_per_kwh: float
    cost_usd_per_kw: float
    ratio: float
    on_ratio: float
    stop_usd_per_kwh: float
    start_usd_per_kwh: float
    method: str
    price_product: float

    @property
    def stop(self) -> FlipPoint:
        """The prices at which it is turned off."""
        return self._point(self.stop_usd_per_kwh)

    @property
    def start(self) -> FlipPoint:
        """The prices at which it is turned on."""
        return self._point(self.start_usd_per_kwh)

    def _point(self, usd_per_kwh: float) -> FlipPoint:
        """That power price, and the hashprice that does as well at the power price of now: it scales all that a block earns and costs."""
        does = usd_per_kwh > 0 and self.price_product > 0
        return FlipPoint(self.price_product / usd_per_kwh if does else None, usd_per_kwh)

    def numbers(self) -> dict[str, float]:
        """The numbers of a decision in which it is at stake."""
        if not self.method:
            return {}
        return {
            WORTH_RATIO: self.ratio,
            WORTH_NOW_RATIO: self.on_ratio,
            WORTH_COST: self.cost_usd_per_kw,
            BY_METHOD + self.method: 1.0,
        }


@dataclass(frozen=True, slots=True)
class UnitWorth:
    """The blocks of a unit, lowest first, and what each of its modes is worth at the end of the known prices, off being 0, USD.

    `is_seen` says whether the price of the quarter hour that begins is known.
    """

    kind: Kind
    blocks: tuple[Block, ...]
    worth_usd: tuple[float, ...]
    is_seen: bool = True

    def at_stake(self, mode: Mode) -> Block:
        """The block last turned on in that mode; the first one not turned on for a unit that is off."""
        for block in reversed(self.blocks):
            if block.lower.watts < mode.watts:
                return block
        return self.blocks[0]

    def above(self, mode: Mode) -> Block | None:
        """The block that would be turned on next."""
        for block in self.blocks:
            if block.upper.watts > mode.watts:
                return block
        return None

    def wanted(self, mode: Mode) -> Mode:
        """Where the worth of each block alone would have a unit go that is in that mode."""
        off = [block for block in self.blocks if block.lower.watts < mode.watts and block.on_ratio <= 0]
        if off:
            return off[0].lower
        wanted = mode
        for block in self.blocks:
            if block.upper.watts > wanted.watts and block.on_ratio > 1:
                wanted = block.upper
            elif block.upper.watts > wanted.watts:
                break
        return wanted

    def between(self, mode: Mode) -> Between:
        """The prices between which a unit stays in that mode."""
        above = self.above(mode)
        below = self.at_stake(mode)
        return Between(
            None if below.lower.watts >= mode.watts else (below.lower, below.stop),
            None if above is None else (above.upper, above.start),
            is_seen=self.is_seen,
        )


@dataclass(frozen=True)
class Worths:
    """What standing in a mode is worth, for all kinds of units that were planned; `why` says why any of it is not from the model.

    `model` is the digest of the fitted one, shortened, None without one.
    """

    sees: Sees
    why: str
    model: str | None
    _ladders: Ladders
    _reckoned: _Reckoned
    _kinds: Mapping[str, Kind]
    _units: dict[Kind, UnitWorth] = field(default_factory=dict, compare=False, repr=False)
    _by_id: dict[str, UnitWorth | None] = field(default_factory=dict, compare=False, repr=False)

    def of(self, unit: Unit) -> UnitWorth | None:
        """That of a unit; None where no unit of the kind was planned, or its curve has no ladder."""
        if unit.id in self._by_id:
            return self._by_id[unit.id]
        kind = self._kinds.get(unit.id) or kind_of(unit)
        row = self._ladders.rows.get(kind)
        found = None
        if row is not None and self._ladders.blocks[row]:
            if kind not in self._units:
                self._units[kind] = self._reckoned.unit(self._ladders, kind, is_seen=self.sees is Sees.A)
            found = self._units[kind]
        self._by_id[unit.id] = found
        return found

    def method_of(self, unit: Unit) -> str:
        """By which method the worth of running a unit at all is known; empty where running it or not is the same later."""
        row = self._ladders.rows.get(self._kinds.get(unit.id) or kind_of(unit))
        if row is None or not self._ladders.blocks[row]:
            return ""
        method: str = self._reckoned.columns[-1][self._ladders.first[row]]
        return method

    @property
    def methods(self) -> Mapping[str, int]:
        """How many blocks of the kinds of units each method told the worth of."""
        told = [method for method in self._reckoned.columns[-1] if method]
        return {method: told.count(method) for method in sorted(set(told))}


def last_known(power: PowerAhead, now: float) -> int:
    """The number of the last quarter hour whose price is known, as told by the ticks that may be seen: that of now at least."""
    return max(math.ceil(power.known_until / QUARTER_S) - 1, quarter_of(now))


def seen_of(
    recent: Recent, power: PowerAhead, last: int, ticks: Mapping[str, Sequence[Tick]], sees: Sees
) -> Seen:
    """What is in sight when `last` is the last quarter hour with a known price; `recent` knows that of now already.

    For `Sees.B` prices stand a quarter hour later than they were: they are put back.
    """
    prices = np.full(KEPT, np.nan)
    if recent.quarter is not None:
        ahead = [_price(power, number) for number in range(recent.quarter + 1, last + 1)]
        told = [math.nan if price is None else price for price in recent.prices_usd_per_kwh] + ahead
        told = told[-KEPT:]
        prices[KEPT - len(told) :] = told
    quarter = last - 1 if sees is Sees.B else last
    day_ahead = np.full(1 + AHEAD, np.nan)
    begin = quarter * QUARTER_S
    for tick in ticks.get(POWER_DAY_AHEAD, ()):
        first = max(math.ceil((tick.valid_from - begin) / QUARTER_S), 0)
        after = min((tick.valid_to - begin) / QUARTER_S, 1.0 + AHEAD)
        if first < after and tick.valid_to - tick.valid_from >= WITHDRAWN_S:
            day_ahead[first : math.ceil(after)] = tick.value
    return Seen(quarter, prices, day_ahead)


def worth_of(
    members: Sequence[Member], slots: Sequence[Slot], known_slots: int, seen: Seen, real_time: RealTime
) -> tuple[tuple[Member, ...], Worths]:
    """The members with what their modes are worth in the last of the `known_slots`, and what that is made of.

    Units that can do the same share one tuple of numbers. A mode off the hull is worth what lies between its neighbours on it.
    """
    kinds: dict[Kind, Unit] = {}
    of_each = [kind_of(member.unit) for member in members]
    for kind, member in zip(of_each, members, strict=True):
        kinds.setdefault(kind, member.unit)
    ladders = ladders_of(tuple(kinds))
    at = known_slots - 1
    reckoned = _reckon(ladders, slots[: at + 1], seen, real_time)
    model = None if real_time.model is None else real_time.model.digest[:_DIGITS]
    named = {member.unit.id: kind for kind, member in zip(of_each, members, strict=True)}
    worths = Worths(real_time.sees, reckoned.why, model, ladders, reckoned, named)
    expects = _by_plan(ladders, list(kinds.values()), slots, at, real_time.sees)
    bonus = {
        kind: tuple(row[:modes]) if blocks else ()
        for kind, blocks, modes, row in zip(
            kinds, ladders.blocks, ladders.modes, (reckoned.worth_usd - expects).tolist(), strict=True
        )
    }
    given = [
        Member(member.unit, member.standing, member.allowed, bonus[kind])
        for kind, member in zip(of_each, members, strict=True)
    ]
    return tuple(given), worths


def _price(power: PowerAhead, quarter: int) -> float:
    at = quarter * QUARTER_S
    return next((price for begin, price in reversed(power.steps) if begin <= at), power.steps[0][1])


@dataclass(frozen=True)
class _Reckoned:
    """What was reckoned of ladders on one tick: `columns` [7, blocks] are the numbers of a `Block` and its method, `worth_usd` is [kinds, modes]."""

    columns: tuple[Sequence[Any], ...]
    worth_usd: NDArray[np.float64]
    price_product: float
    why: str

    def unit(self, ladders: Ladders, kind: Kind, *, is_seen: bool) -> UnitWorth:
        """One kind's blocks and the worth of its modes."""
        row = ladders.rows[kind]
        blocks = [
            Block._make((lower, upper, *[column[at] for column in self.columns], self.price_product))
            for at, (lower, upper) in enumerate(ladders.blocks[row], ladders.first[row])
        ]
        worth_usd = tuple(self.worth_usd[row, : ladders.modes[row]].tolist())
        return UnitWorth(kind, tuple(blocks), worth_usd, is_seen)


def _reckon(ladders: Ladders, known: Sequence[Slot], seen: Seen, real_time: RealTime) -> _Reckoned:
    """What each block is worth at the end of the last of these slots, and from the first one on."""
    slot = known[-1]
    gained = _usd_per_th_hour(slot)
    lost = max(gained, 0.0)  # hashing lost is never a gain
    up = (ladders.lost_h * lost * ladders.upper_th_s + ladders.wear_usd) / ladders.kw
    down = ladders.lost_h * lost * ladders.lower_th_s / ladders.kw
    cost = up + down
    breakeven = gained * ladders.th_s / ladders.kw
    costly = cost > LEAST_COST_USD_PER_KW
    ratio, methods, why = np.zeros(len(cost)), [""] * len(cost), ""
    if costly.any():
        found = expected(seen, real_time.sees, breakeven[costly], cost[costly], real_time.model)
        ratio[costly], why = found.ratio, found.why
        for at, method in zip(np.flatnonzero(costly).tolist(), found.methods, strict=True):
            methods[at] = method
    kept = ladders.kw * (cost * ratio - down)
    if not costly.all():
        # What costs nothing to change is worth nothing later; where this slot is not known, it earns what the last price says.
        is_open = real_time.sees is Sees.B
        free = ladders.kw * _earned(ladders, slot) if is_open else np.zeros(len(cost))
        kept = np.where(costly, kept, free)
        cost = np.where(costly, cost, 0.0)
    now = _from_now(ladders, known, ratio, cost, real_time.sees)
    columns = [each.tolist() for each in (breakeven, cost, ratio, *now)]
    table = np.zeros(ladders.shape)
    table[ladders.place] = kept
    hull = np.zeros((len(table), table.shape[1] + 1))
    np.cumsum(table, axis=1, out=hull[:, 1:])
    low, high = hull[ladders.low], hull[ladders.high]
    return _Reckoned(
        columns=(*columns, methods),
        worth_usd=np.where(ladders.part == 1.0, high, low + ladders.part * (high - low)),
        price_product=known[0].hashprice_usd_per_ph_day * known[0].power_usd_per_kwh,
        why=why,
    )


def _from_now(
    ladders: Ladders,
    known: Sequence[Slot],
    ratio: NDArray[np.float64],
    cost: NDArray[np.float64],
    sees: Sees,
) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
    """What being on is worth now, as a share of its cost, and the prices at which a block stops and starts.

    Through the slots whose prices are known it is reckoned back: the prices are those of what is left of this quarter hour. Blocks that cost
    nothing go by the price alone.
    """
    first, is_open = known[0], sees is Sees.B
    breakeven = _usd_per_th_hour(first) * ladders.th_s / ladders.kw
    is_free = cost == 0.0
    each = np.where(is_free, math.nan, cost)
    hours = _HOURS if is_open and len(known) == 1 else first.duration_s / SECONDS_PER_HOUR
    if is_open and len(known) == 1:
        on_ratio = ratio
        stop = first.power_usd_per_kwh + each * ratio / hours
    else:
        later = ratio.clip(0.0, 1.0)
        for slot in reversed(known[1 : len(known) - is_open]):
            later = (_earned(ladders, slot) / each + later).clip(0.0, 1.0)
        on_ratio = _earned(ladders, first) / each + later
        stop = breakeven + each * later / hours
    start = stop - each / hours
    if is_free.any():
        pays = np.where(breakeven > first.power_usd_per_kwh, math.inf, -math.inf)
        on_ratio, stop, start = (
            np.where(is_free, free, found)
            for free, found in ((pays, on_ratio), (breakeven, stop), (breakeven, start))
        )
    return on_ratio, stop, start


def _earned(ladders: Ladders, slot: Slot) -> NDArray[np.float64]:
    """What each block earns in a slot, USD per kW of it."""
    margin = _usd_per_th_hour(slot) * ladders.th_s / ladders.kw - slot.power_usd_per_kwh
    return margin * (slot.duration_s / SECONDS_PER_HOUR)


def _usd_per_th_hour(slot: Slot) -> float:
    return slot.hashprice_usd_per_ph_day / TH_PER_PH / HOURS_PER_DAY


def _by_plan(
    ladders: Ladders, units: Sequence[Unit], slots: Sequence[Slot], at: int, sees: Sees
) -> NDArray[np.float64]:
    """What the plan expects of standing in each mode at the end of slot `at`, off being 0, [kinds, modes].

    Where that slot's price is not known, what it seems to earn is part of it.
    """
    tails = tail_values(units, slots[at + 1 :])
    most = ladders.mode_kw.shape[1]
    if tails and all(modes == most for modes in ladders.modes):
        table = np.array(tails)
    else:
        table = np.zeros_like(ladders.mode_kw)
        for row, tail in zip(table, tails, strict=True):
            row[: len(tail)] = tail
    if sees is Sees.B:
        slot = slots[at]
        hours = slot.duration_s / SECONDS_PER_HOUR
        table += _usd_per_th_hour(slot) * hours * ladders.mode_th_s
        table -= slot.power_usd_per_kwh * hours * ladders.mode_kw
    return table - table[:, :1]
