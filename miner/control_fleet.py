"""The fleet's report of what the controller sees: hashprice and power with every unit that has modes, switched or not."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from controller.market import Market
from controller.plots import PlotError, plot_fleet
from controller.report import Chain, Fleet, Treasury, fleet_report
from controller.ticks import DIFFICULTY, FEES, SUBSIDY
from controller.units import Unit
from controller.view import View, hashprice_report
from miner.config_treasury import TreasuryConfig


class PlotRefusedError(Exception):
    """The plot could not be made; the message says why and what to do."""


def fleet_of(view: View, units: Sequence[Unit], treasury: TreasuryConfig) -> dict[str, Any]:
    """The prices as `hashprice_report` tells them, and under `fleet` the report; None while prices are not known or there are no units."""
    report = hashprice_report(view)
    market, plan = view.market, view.plan
    if not isinstance(market, Market) or plan is None or not units:
        return {**report, "fleet": None}
    values = {tick.series: tick.value for tick in market.inputs}
    known = all(series in values for series in (DIFFICULTY, SUBSIDY, FEES))
    fleet = Fleet(
        units=tuple(units),
        hashprice_usd_per_ph_day=market.gross_hashprice_usd_per_ph_day,
        paid_ratio=market.paid.ratio,
        slots=plan.slots,
        treasury=Treasury(treasury.cash_usd, treasury.fixed_usd_per_day),
        chain=Chain(values[DIFFICULTY], values[SUBSIDY] + values[FEES]) if known else None,
    )
    return {**report, "fleet": fleet_report(fleet)}


def draw_fleet(report: Mapping[str, Any], file: Path) -> None:
    """Draw the report of `fleet_of` into an SVG or PNG file. Raises PlotRefusedError."""
    if report["fleet"] is None:
        raise PlotRefusedError(f"{file} is not drawn: there is nothing to show")
    try:
        plot_fleet(report["fleet"], file)
    except PlotError as error:
        raise PlotRefusedError(str(error)) from error
