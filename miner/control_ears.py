"""Hears what the controller does, and puts it into metrics, alerts and the log."""

import logging
from collections.abc import Callable

from controller.decisions import Decision, Outcome, OutcomeKind
from controller.market import Market
from controller.ports import Listener
from controller.ticks import BTC_USD, DIFFICULTY
from controller.view import View
from miner.control_gates import Gates
from miner.metrics import Metrics

log = logging.getLogger(__name__)


class Ears(Listener):
    """Puts what the controller does into metrics and alerts."""

    def __init__(self, metrics: Metrics, alert: Callable[[str, str], None], gates: Gates) -> None:
        self._metrics = metrics
        self._alert = alert
        self._gates = gates

    def on_view(self, view: View) -> None:
        """Prices, plan and the ages of series become metrics; alerts of units that are as decided end."""
        self._alert("controller", "")
        for series, ticks in view.snapshot.ticks.items():
            self._metrics.series_observed(series, max(tick.observed_at for tick in ticks))
        if view.plan is not None:
            self._metrics.plan_made(view.plan_seconds, view.plan.gap_ratio)
        else:
            self._metrics.plan_missing()
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
        for decision in view.decisions.values():
            state = view.snapshot.states.get(decision.unit_id)
            if state is not None and state.reachable and state.mode == decision.to_mode:
                self._alert(f"unit {decision.unit_id}", "")
        for unit_id, seconds in self._gates.missing(view.at):
            said = f"{unit_id} was given work again {seconds / 60:.0f} minutes ago and has not come back"
            self._alert(f"unit {unit_id}", said)

    def on_decision(self, decision: Decision) -> None:
        """Counted, and logged where it changes a unit; gates learn their reason."""
        self._gates.heard(decision)
        self._metrics.decision_made(decision.to_mode, decision.reason.value)
        if decision.changes:
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
        self._metrics.actuation_finished(outcome.unit_id, outcome.kind.value)
        if outcome.kind is OutcomeKind.CONFIRMED:
            self._alert(f"unit {outcome.unit_id}", "")

    def on_alert(self, unit_id: str | None, message: str) -> None:
        """Shown to an operator."""
        self._alert("controller" if unit_id is None else f"unit {unit_id}", message)
