"""One tick, from what was seen to what is decided; pure.

The running controller, its previews and whoever makes a recorded decision again call exactly this. Nothing else goes in: the same
snapshot, last decisions and configuration give the same decisions, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from controller.book import last_told
from controller.decisions import Reason
from controller.economics import SECONDS_PER_HOUR
from controller.fleet import PolicyConfig, cases_of, draws_ratio, members_of, taken_kw
from controller.forecast import PowerAhead, TypicalDay, learn, power_ahead
from controller.inputs_codec import LATER
from controller.limits import Limits, read_limits
from controller.market import Market, horizon_slots, power_in_force, read_market
from controller.planner import plan
from controller.policy import decide
from controller.policy_scene import Scene
from controller.recent import QUARTER_S, Recent, counts_at, held_until, quarter_of, remember
from controller.standing import RealTime, Worths, last_known, seen_of, worth_of
from controller.ticks import POWER
from controller.units import UNKNOWN
from controller.view import View
from controller.worth import Sees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.decisions import Decision
    from controller.fleet import Case
    from controller.plan import Member, Plan
    from controller.snapshot import Snapshot
    from controller.ticks import Tick

__all__ = [
    "LASTING",
    "DecidingConfig",
    "Memory",
    "RealTime",
    "Sees",
    "cannot_wait",
    "decide_tick",
    "learned",
    "limits_since",
    "next_memory",
    "seen_ticks",
]

LASTING: Final = frozenset({"fixed", "configuration"})
"""Sources of the one price that somebody wrote down: without an end it holds for ever, where another's is that of the moment."""

AHEAD_KNOWN_S: Final = 8 * QUARTER_S
"""Where prices are known for longer than that, the plan needs no other opinion of what comes."""


@dataclass(frozen=True, slots=True)
class DecidingConfig:
    """All that decisions depend on besides what is seen: the policy, how far ahead is planned, and in how long slots.

    `lasting` names the sources whose power price, where it has no end, is known to hold, so that nothing else is expected. `real_time` says
    how to decide where the next prices are not known; without it the plan goes by the prices it expects alone.
    """

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    horizon_hours: float = 36.0
    slot_s: float = 900.0
    lasting: frozenset[str] = LASTING
    real_time: RealTime | None = field(default=None, metadata={LATER: True})

    def __post_init__(self) -> None:
        """Refuse times that never pass."""
        for name in ("horizon_hours", "slot_s"):
            value: float = getattr(self, name)
            if not value > 0:
                raise ValueError(f"{name} must be above zero, not {value}")

    @property
    def horizon_s(self) -> float:
        """How far ahead is planned, in seconds."""
        return self.horizon_hours * SECONDS_PER_HOUR


@dataclass(frozen=True, slots=True)
class Memory:
    """What a tick leaves to the next one besides its decisions: where the next plan starts from, and what was learned of the power price."""

    starting_prices: tuple[tuple[float, float], ...] = ()
    typical_day: TypicalDay = field(default_factory=TypicalDay)
    recent: Recent = field(default_factory=Recent)


def decide_tick(
    snapshot: Snapshot,
    last: Mapping[str, Decision],
    config: DecidingConfig,
    make_plan: Callable[..., Plan] = plan,
    *,
    explain: bool = True,
) -> View:
    """What a tick sees, plans and decides; `last` holds each unit's last decision, which is all that is remembered.

    `make_plan` is there to be timed. Without `explain` the same is decided for the same reasons, but decisions say nothing of what would
    change them, and of their numbers only those that the next ones remember: for a year of ticks that nobody reads. A planner that fails leaves no plan: units hold, and what outranks profit goes on.
    """
    policy, now = config.policy, snapshot.at
    ticks = _seen(snapshot.ticks, config, now)
    market = read_market(ticks, policy.rules, policy.earned, now, snapshot.refused, snapshot.earnings)
    limits = read_limits(snapshot, policy.site, config.horizon_s)
    cases = cases_of(snapshot, last, policy)
    planned: Plan | None = None
    power: PowerAhead | None = None
    worth: Worths | None = None
    fault = ""
    if isinstance(market, Market):
        try:
            power = _power(ticks, snapshot, market, config)
            planned, worth = _plan(snapshot, market, power, limits, cases, config, make_plan)
        except Exception as error:  # noqa: BLE001 - no fault of the planner may keep a unit from obeying heat or signals
            fault = f"{type(error).__name__}: {error}"
    scene = Scene(
        now,
        _policy(config, worth),
        market,
        planned,
        limits,
        worth,
        trusts_told=config.real_time is not None,
        explains=explain,
    )
    decisions = decide(scene, cases)
    return View(
        snapshot=snapshot,
        market=market,
        plan=planned,
        decisions={decision.unit_id: decision for decision in decisions},
        plan_seconds=0.0,
        next_tick_at=None,
        dry_run=policy.dry_run,
        limits=limits,
        plan_fault=fault,
        power_ahead=power,
        worth=worth,
    )


def seen_ticks(
    ticks: Mapping[str, tuple[Tick, ...]], sees: Sees, now: float
) -> Mapping[str, tuple[Tick, ...]]:
    """The ticks as a decision at `now` may see them: where prices are told when they are over, the last one told stands until the next is.

    That is so of the newest power price that has begun, if it has ended: it is given for the rest of this quarter hour, from its own end on. One that
    is still in force is known, and those to come are too.
    """
    prices = ticks.get(POWER, ())
    if sees is Sees.A or not prices:
        return ticks
    last = last_told(prices, now)
    if last is None or last.valid_to > now:
        return ticks
    coming = tuple(tick for tick in prices if tick.valid_from > now)
    following = coming[0].valid_from if coming else math.inf
    until = min(held_until(last.valid_from, last.valid_to), (quarter_of(now) + 1) * QUARTER_S, following)
    held = replace(last, valid_from=last.valid_to, valid_to=until)
    return {**ticks, POWER: (held, *coming)}


def limits_since(snapshot: Snapshot, last: Mapping[str, Decision], config: DecidingConfig) -> Limits:
    """The limits from the time of the oldest of these decisions on, those that are over by now included."""
    since = min((decision.at for decision in last.values()), default=snapshot.at)
    seen_then = replace(snapshot, at=min(since, snapshot.at))
    return read_limits(seen_then, config.policy.site, snapshot.at - seen_then.at + config.horizon_s)


def cannot_wait(
    snapshot: Snapshot, last: Mapping[str, Decision], limits: Limits, config: DecidingConfig
) -> bool:
    """Whether a controller that starts again must decide anew although this interval was decided; `limits` are those since then.

    So it is where a signal or an override began or ended meanwhile, less power is allowed, a unit is too hot, or one is in a mode that it
    neither was in nor was told. Prices can wait for the next tick, as they would have without a restart.
    """
    now = snapshot.at
    if any(limits.next_change(decision.at) <= now for decision in last.values()):
        return True
    return any(_is_astray(case, limits) for case in cases_of(snapshot, last, config.policy))


def _is_astray(case: Case, limits: Limits) -> bool:
    last, now = case.last, case.now
    if last is None or last.numbers.get("cap_kw", math.inf) > limits.cap_kw_at(now):
        return True
    if not case.answers or last.reason is Reason.UNREACHABLE:
        return False
    bound = limits.obliged(case.unit, now, math.nextafter(now, math.inf))
    if bound is None:
        if last.reason in {Reason.SIGNAL, Reason.OVERRIDE}:
            return True
    elif last.to_mode not in bound and (last.reason not in _OUTRANKS or _asks_for_less(case, last, bound)):
        return True
    is_hot = case.cooler() is not None and last.reason not in {Reason.THERMAL, Reason.HOLD_THERMAL}
    return is_hot or case.found not in {UNKNOWN, last.from_mode, last.to_mode}


def _asks_for_less(case: Case, last: Decision, bound: frozenset[str]) -> bool:
    curve = case.unit.curve
    return last.to_mode in curve and all(
        curve.mode(name).watts < curve.mode(last.to_mode).watts for name in bound
    )


_OUTRANKS: Final = frozenset(
    {
        Reason.THERMAL,
        Reason.HOLD_THERMAL,
        Reason.SITE_CAP,
        Reason.HOLD_SITE_CAP,
        Reason.BATCH_LIMIT,
    }
)
"""What may leave a unit in a lower mode than a signal or a person wants."""


def next_memory(memory: Memory, view: View, config: DecidingConfig) -> Memory:
    """What the next tick goes on from after the one of this view, which began with `memory`."""
    after = learned(memory, view.snapshot.ticks, view.at, config)
    return after if view.plan is None else replace(after, starting_prices=_starting_prices(view.plan))


def learned(
    memory: Memory, ticks: Mapping[str, tuple[Tick, ...]], at: float, config: DecidingConfig
) -> Memory:
    """The memory after a look at the power price in force at `at`, as far as there is one to act on."""
    policy = config.policy
    price = power_in_force(_seen(ticks, config, at), policy.rules, at)
    if price is None:
        return memory
    return replace(
        memory,
        typical_day=learn(memory.typical_day, price, at, policy.site.zone),
        recent=remember(memory.recent, price, _counts_at(ticks, at, config)),
    )


def _counts_at(ticks: Mapping[str, tuple[Tick, ...]], now: float, config: DecidingConfig) -> float:
    """The time that the price in force is remembered for: one that stands for another which is late is not that one's too."""
    if config.real_time is None or config.real_time.sees is Sees.A:
        return now
    last = last_told(ticks.get(POWER, ()), now)
    return now if last is None or last.valid_to > now else counts_at(last.valid_from, last.valid_to, now)


def _starting_prices(made: Plan) -> tuple[tuple[float, float], ...]:
    """What the next plan may start from; nothing where power is not short."""
    prices = made.prices_usd_per_kwh
    starts = (slot.start for slot in made.slots)
    return tuple(zip(starts, prices, strict=True)) if any(prices) else ()


def _seen(
    ticks: Mapping[str, tuple[Tick, ...]], config: DecidingConfig, now: float
) -> Mapping[str, tuple[Tick, ...]]:
    return ticks if config.real_time is None else seen_ticks(ticks, config.real_time.sees, now)


def _policy(config: DecidingConfig, worth: Worths | None) -> PolicyConfig:
    """The policy; where changing costs something, the worth of standing in a mode keeps a unit from going to and fro, and no dead band."""
    return config.policy if worth is None or not worth.methods else replace(config.policy, dead_band=0.0)


def _power(
    ticks: Mapping[str, tuple[Tick, ...]], snapshot: Snapshot, market: Market, config: DecidingConfig
) -> PowerAhead:
    return power_ahead(
        market.at,
        market.power_usd_per_kwh,
        ticks,
        market.at + config.horizon_s,
        snapshot.typical_day,
        config.policy.rules.get(POWER),
        config.lasting,
    )


def _plan(
    snapshot: Snapshot,
    market: Market,
    power: PowerAhead,
    limits: Limits,
    cases: Sequence[Case],
    config: DecidingConfig,
    make_plan: Callable[..., Plan],
) -> tuple[Plan, Worths | None]:
    """The plan, and what standing in a mode is worth where the coming prices are not known."""
    real_time = config.real_time
    last: int | None = None
    cuts: Sequence[float] = limits.cuts(market.at, market.at + config.horizon_s)
    if real_time is not None and power.known_until <= market.at + AHEAD_KNOWN_S:
        last = last_known(power, market.at)
        cuts = [*cuts, (last + 1) * QUARTER_S]

    def rooms(stretches: Sequence[tuple[float, float]]) -> Sequence[tuple[float, int]]:
        return limits.rooms(stretches, taken_kw(cases), draws_ratio(cases))

    slots = horizon_slots(market, power.steps, config.horizon_s, config.slot_s, cuts, rooms)
    members: Sequence[Member] = members_of(cases, slots, limits)
    prices = snapshot.starting_prices
    if real_time is None or last is None:
        return make_plan(members, slots, dead_band=config.policy.dead_band, prices=prices), None
    at = _counts_at(snapshot.ticks, market.at, config)
    recent = remember(snapshot.recent, market.power_usd_per_kwh, at)
    newest = last if at == market.at else quarter_of(at)
    seen = seen_of(recent, power, newest, snapshot.ticks, real_time.sees)
    known = sum(slot.start < (last + 1) * QUARTER_S for slot in slots)
    members, worth = worth_of(members, slots, known, seen, real_time)
    dead_band = _policy(config, worth).dead_band
    return make_plan(members, slots, dead_band=dead_band, prices=prices, worth_slot=known - 1), worth
