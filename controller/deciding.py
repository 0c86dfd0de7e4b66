"""One tick, from what was seen to what is decided; pure.

The running controller, its previews and whoever makes a recorded decision again call exactly this. Nothing else goes in: the same
snapshot, last decisions and configuration give the same decisions, bit for bit.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Final

from controller.decisions import Reason
from controller.economics import SECONDS_PER_HOUR
from controller.fleet import PolicyConfig, cases_of, draws_ratio, members_of, taken_kw
from controller.forecast import PowerAhead, TypicalDay, learn, power_ahead
from controller.limits import Limits, read_limits
from controller.market import Market, horizon_slots, power_in_force, read_market
from controller.planner import plan
from controller.policy import decide
from controller.policy_scene import Scene
from controller.ticks import POWER
from controller.units import UNKNOWN
from controller.view import View

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.decisions import Decision
    from controller.fleet import Case
    from controller.plan import Plan
    from controller.snapshot import Snapshot
    from controller.ticks import Tick

LASTING: Final = frozenset({"fixed", "configuration"})
"""Sources of the one price that somebody wrote down: without an end it holds for ever, where another's is that of the moment."""


@dataclass(frozen=True, slots=True)
class DecidingConfig:
    """All that decisions depend on besides what is seen: the policy, how far ahead is planned, and in how long slots.

    `lasting` names the sources whose power price, where it has no end, is known to hold, so that nothing else is expected.
    """

    policy: PolicyConfig = field(default_factory=PolicyConfig)
    horizon_hours: float = 36.0
    slot_s: float = 900.0
    lasting: frozenset[str] = LASTING

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


def decide_tick(
    snapshot: Snapshot,
    last: Mapping[str, Decision],
    config: DecidingConfig,
    make_plan: Callable[..., Plan] = plan,
) -> View:
    """What a tick sees, plans and decides; `last` holds each unit's last decision, which is all that is remembered.

    `make_plan` is there to be timed. A planner that fails leaves no plan: units hold, and what outranks profit goes on.
    """
    policy, now = config.policy, snapshot.at
    market = read_market(
        snapshot.ticks, policy.rules, policy.earned, now, snapshot.refused, snapshot.earnings
    )
    limits = read_limits(snapshot, policy.site, config.horizon_s)
    cases = cases_of(snapshot, last, policy)
    planned: Plan | None = None
    power: PowerAhead | None = None
    fault = ""
    if isinstance(market, Market):
        try:
            power = _power(snapshot, market, config)
            planned = _plan(snapshot, market, power, limits, cases, config, make_plan)
        except Exception as error:  # noqa: BLE001 - no fault of the planner may keep a unit from obeying heat or signals
            fault = f"{type(error).__name__}: {error}"
    decisions = decide(Scene(now, policy, market, planned, limits), cases)
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
    )


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


def next_typical_day(
    day: TypicalDay, ticks: Mapping[str, Sequence[Tick]], at: float, policy: PolicyConfig
) -> TypicalDay:
    """The typical day that the next tick sees, from the one this tick saw and its ticks."""
    price = power_in_force(ticks, policy.rules, at)
    return day if price is None else learn(day, price, at, policy.site.zone)


def _power(snapshot: Snapshot, market: Market, config: DecidingConfig) -> PowerAhead:
    return power_ahead(
        market.at,
        market.power_usd_per_kwh,
        snapshot.ticks,
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
) -> Plan:
    cuts = limits.cuts(market.at, market.at + config.horizon_s)
    slots = horizon_slots(market, power.steps, config.horizon_s, config.slot_s, cuts)
    slots = limits.limited(slots, taken_kw(cases, config.policy), draws_ratio(cases))
    return make_plan(
        members_of(cases, slots, limits),
        slots,
        dead_band=config.policy.dead_band,
        prices=snapshot.starting_prices,
    )
