"""Hears what the controller does, and puts it into metrics, alerts and the log."""

import logging
from collections.abc import Callable

from controller.deciding import RealTime
from controller.decisions import Decision, Outcome, OutcomeKind
from controller.market import Market
from controller.ports import Listener
from controller.ticks import BTC_USD, DIFFICULTY
from controller.view import View, faults
from miner.control_gates import Gates
from miner.control_real_time import FITTED, METHODS, fitted_until, method_of, methods_of
from miner.metrics import Metrics

log = logging.getLogger(__name__)


Publish = Callable[[str, object], None]
"""`publish(kind, data)`: something happened that live listeners want to know."""


def nobody(_kind: str, _data: object, /) -> None:
    """Hears of nothing, where nobody listens."""


class WorthEar:
    """Tells by which method the worth of being on is known, and when the model is left or come back to, once each."""

    def __init__(self, metrics: Metrics, real_time: RealTime) -> None:
        self._metrics = metrics
        self._has_model = real_time.model is not None
        self._method = FITTED
        until = None if real_time.model is None else fitted_until(real_time.model)
        if until is not None:
            metrics.model_fitted(until)

    def hear(self, view: View) -> None:
        """A tick was decided."""
        told = methods_of(view)
        self._metrics.worth_told({method: told.get(method, 0) for method in METHODS})
        method = method_of(view)
        if not self._has_model or view.worth is None or not method:
            return
        if method != FITTED and self._method == FITTED:
            log.warning("model_left", extra={"method": method, "why": view.worth.why})
        elif method == FITTED and self._method != FITTED:
            log.info("model_back")
        self._method = method


class Ears(Listener):
    """Puts what the controller does into metrics, alerts, the log and the stream of events."""

    def __init__(
        self,
        metrics: Metrics,
        alert: Callable[[str, str], None],
        gates: Gates,
        publish: Publish = nobody,
        real_time: RealTime | None = None,
    ) -> None:
        """`real_time` is how it decides on prices that are not known, which is told while it is asked for."""
        self._publish = publish
        self._worth = None if real_time is None else WorthEar(metrics, real_time)
        self._metrics = metrics
        self._alert = alert
        self._gates = gates

    def on_view(self, view: View) -> None:
        """Prices, plan and the ages of series become metrics; alerts of what is well again end."""
        wrong = {unit_id for unit_id, _ in faults(view)}
        if None not in wrong:
            self._alert("controller", "")
        for series, ticks in view.snapshot.ticks.items():
            self._metrics.series_observed(series, max(tick.observed_at for tick in ticks))
        if view.plan is not None:
            self._metrics.plan_made(view.plan_seconds, view.plan.gap_ratio)
        else:
            self._metrics.plan_missing()
        if self._worth is not None:
            self._worth.hear(view)
        market = view.market
        if isinstance(market, Market):
            values = {tick.series: tick.value for tick in market.inputs}
            self._metrics.market_valued(
                hashprice_usd_per_ph_day=market.hashprice_usd_per_ph_day,
                hashprice_btc_per_ph_day=market.net_hashprice_btc_per_ph_day,
                btc_usd=values.get(BTC_USD),
                power_usd_per_kwh=market.power_usd_per_kwh,
                network_difficulty=values.get(DIFFICULTY),
                retarget_expected_ratio=market.retarget.ratio if market.retarget is not None else None,
            )
        else:
            self._metrics.market_valued()
        self._publish("tick", _tick(view))
        for decision in view.decisions.values():
            state = view.snapshot.states.get(decision.unit_id)
            as_decided = state is not None and state.reachable and state.mode == decision.to_mode
            if as_decided and decision.unit_id not in wrong:
                self._alert(f"unit {decision.unit_id}", "")
        for unit_id, seconds in self._gates.missing(view.at):
            said = f"{unit_id} was given work again {seconds / 60:.0f} minutes ago and has not come back"
            self._alert(f"unit {unit_id}", said)

    def on_decision(self, decision: Decision) -> None:
        """Counted, and logged where it changes a unit; gates learn their reason."""
        self._gates.heard(decision)
        self._metrics.decision_made(decision.to_mode, decision.reason.value)
        if decision.changes:
            self._publish("decision", decision)
            log.info(
                "decision",
                extra={
                    "unit": decision.unit_id,
                    "from_mode": decision.from_mode,
                    "to_mode": decision.to_mode,
                    "reason": decision.reason.value,
                    "flip": decision.flip,
                    "dry_run": decision.dry_run,
                },
            )

    def on_outcome(self, outcome: Outcome) -> None:
        """Counted; a confirmed one ends the alert of its unit."""
        self._publish("outcome", outcome)
        self._metrics.actuation_finished(outcome.unit_id, outcome.kind.value)
        if outcome.kind is OutcomeKind.CONFIRMED:
            self._alert(f"unit {outcome.unit_id}", "")

    def on_alert(self, unit_id: str | None, message: str) -> None:
        """Shown to an operator."""
        self._alert("controller" if unit_id is None else f"unit {unit_id}", message)


def _tick(view: View) -> dict[str, object]:
    """What a tick saw and decided, in a line: the whole stands in the API's plan."""
    market = view.market if isinstance(view.market, Market) else None
    return {
        "at_s": view.at,
        "next_tick_at_s": view.next_tick_at,
        "hashprice_usd_per_ph_day": None if market is None else market.hashprice_usd_per_ph_day,
        "power_usd_per_kwh": None if market is None else market.power_usd_per_kwh,
        "units": len(view.decisions),
        "changes": sum(decision.changes for decision in view.decisions.values()),
    }
