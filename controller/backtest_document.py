"""A backtest's results as plain data, as `hashmill backtest --json` prints them; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Final

from controller.backtest import QUARTER_S, Settles
from controller.recorded import utc
from controller.worth_seen import Sees

if TYPE_CHECKING:
    from controller.backtest import BacktestResult, FleetResult, PolicyResult

SEES_TEXT: Final = {
    Sees.A: "the price of the quarter hour that begins",
    Sees.B: "only the prices of quarter hours that are over",
}

TAKEN: Final = frozenset(
    {"sees", "sees_text", "settles", "period", "gaps", "settings", "fleets", "together", "notes"}
)
"""Names that no class can have: something else is told under them."""


def sees_text(result: BacktestResult) -> str:
    """In words, what decisions saw of the price that is paid."""
    if result.settles is Settles.DAY_AHEAD:
        return "all prices from their publication the day before"
    return SEES_TEXT[result.sees]


def document(result: BacktestResult) -> dict[str, Any]:
    """The whole result but what goes by quarter hours; money in USD, regrets as fractions, times in ISO 8601 (UTC).

    The policies of each class stand under its key, beside what was asked.
    """
    hours = QUARTER_S / 3600
    asked = {
        "sees": result.sees.value,
        "sees_text": sees_text(result),
        "settles": result.settles.value,
        "period": {
            "from": utc(float(result.starts[0])),
            "to": utc(float(result.starts[-1]) + QUARTER_S),
            "hours": len(result.starts) * hours,
            "counted_hours": int(result.counts.sum()) * hours,
        },
        "gaps": list(result.gaps),
        "settings": dict(result.settings),
        "fleets": {each.fleet.key: _fleet(each) for each in result.fleets},
        "together": None if result.together is None else _policies(result.together),
    }
    return {**{each.fleet.key: _policies(each) for each in result.fleets}, **asked}


def _policies(each: FleetResult) -> dict[str, dict[str, Any]]:
    return {policy.value: _policy(found) for policy, found in each.policies.items()}


def _policy(found: PolicyResult) -> dict[str, Any]:
    return {
        "usd": found.usd,
        "regret": found.regret,
        "regret_low": found.regret_low,
        "regret_high": found.regret_high,
        "starts": found.starts,
        "changes": found.changes,
        "uptime": found.uptime,
    }


def _fleet(each: FleetResult) -> dict[str, Any]:
    unit = each.fleet.unit
    return {
        "title": each.fleet.title,
        "units": each.fleet.count,
        "kw": each.fleet.full_kw,
        "modes": [{"name": mode.name, "th_s": mode.th_s, "watts": mode.watts} for mode in unit.curve.modes],
        "single_modes_usd": dict(each.single_modes_usd),
        "decided_by": dict(each.methods),
    }
