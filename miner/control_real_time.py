"""How the controller decides on prices that nobody knows yet: from [controller.real_time], and what is told of its model."""

import math
import time
from collections import Counter
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any, Final

from controller.deciding import RealTime
from controller.market import Market
from controller.model import Model
from controller.standing import BY_METHOD
from controller.view import View
from controller.worth import Sees
from miner.checks import CheckRow
from miner.config import Config
from miner.config_real_time_rules import ModelRefusedError, read_model_file
from miner.control_refusals import SourceRefusedError

FITTED: Final = "fitted"
METHODS: Final = (FITTED, "markov", "band")
"""What may tell the worth of being on, the best first."""
DAY_S: Final = 86_400.0
OLD_DAYS: Final = 365.0
"""A model of prices that ended so long ago may not know what the market has become."""
SHOWN_DIGITS: Final = 12


def real_time_of(config: Config) -> RealTime | None:
    """How to decide on prices that are not known, the model read anew; None where nothing is asked for.

    Raises SourceRefusedError for a model that cannot be used.
    """
    settings = config.controller.real_time
    if settings is None:
        return None
    try:
        model = None if settings.model is None else read_model_file(settings.model)
    except ModelRefusedError as error:
        raise SourceRefusedError(str(error)) from error
    return RealTime(Sees(settings.sees), model)


def fitted_until(model: Model) -> float | None:
    """When the prices end that a model was fitted on, UTC unix seconds; None where it does not say."""
    try:
        return datetime.fromisoformat(str(model.facts["until"])).timestamp()
    except (KeyError, ValueError):
        return None


def methods_of(view: View) -> dict[str, int]:
    """By which method the worth of being on was known on a tick, for how many units; empty where it was not asked for."""
    if view.worth is None:
        return {}
    told = Counter(
        method
        for decision in view.decisions.values()
        for method in METHODS
        if BY_METHOD + method in decision.numbers
    )
    return {method: told[method] for method in METHODS if told[method]}


def method_of(view: View) -> str:
    """The method that most units were decided by on a tick; empty where none was."""
    told = methods_of(view)
    return max(told, key=lambda method: told[method]) if told else ""


def check_rows(
    config: Config, real_time: RealTime | None, view: View, now: float | None = None
) -> Iterator[CheckRow]:
    """What `hashmill check` says of it: the model's facts, its age, and what keeps it from being used."""
    if real_time is None:
        return
    now = time.time() if now is None else now
    sees = f"a decision sees {'the price of the quarter hour that begins' if real_time.sees is Sees.A else 'prices up to the quarter hour before'}"
    if real_time.model is None:
        detail = f"no model, so a band around breakeven decides; {sees}. `hashmill fit` learns one from your market's prices"
        yield CheckRow("real time", ok=None, detail=detail)
    else:
        yield CheckRow("real time", ok=True, detail=f"{model_text(real_time.model, now)}; {sees}")
        yield from (CheckRow("model", ok=None, detail=each) for each in _doubts(config, real_time, now))
    yield from (CheckRow("real time", ok=None, detail=each) for each in _at_present(real_time, view))


def model_text(model: Model, now: float) -> str:
    """A model in a line: its market, what it was fitted on, how old that is, and how it did on prices it had not seen."""
    facts = model.facts
    parts = [f"model of {facts.get('market') or 'a market without a name'} ({model.digest[:SHOWN_DIGITS]})"]
    if "from" in facts and "until" in facts:
        parts.append(f"fitted on {str(facts['from'])[:10]} to {str(facts['until'])[:10]}")
    until = fitted_until(model)
    if until is not None:
        parts.append(f"{max(now - until, 0.0) / DAY_S:,.0f} days old")
    parts.append("with day-ahead prices" if facts.get("day_ahead") else "without day-ahead prices")
    regret = _regret(facts)
    if regret:
        parts.append(regret)
    return ", ".join(parts)


def _regret(facts: Mapping[str, Any]) -> str:
    """How far it stayed behind hindsight on prices that were held out, by what a decision may see; empty where it does not say."""
    told = []
    for sees in Sees:
        rows = facts.get("checks", {}).get(sees.value, [])
        regrets = [
            row["regret"][FITTED] for row in rows if math.isfinite(row["regret"].get(FITTED, math.nan))
        ]
        if regrets:
            told.append(f"{sees.value} {min(regrets):.2%} to {max(regrets):.2%}")
    return f"behind hindsight by {', '.join(told)} on prices it had not seen" if told else ""


def _doubts(config: Config, real_time: RealTime, now: float) -> Iterator[str]:
    """What an operator should know of a model in this configuration."""
    model = real_time.model
    if model is None:
        return
    until = fitted_until(model)
    if until is not None and now - until > OLD_DAYS * DAY_S:
        days = (now - until) / DAY_S
        yield f"its prices ended {days:,.0f} days ago: markets change, fit it again with newer ones"
    if all(model.trees(real_time.sees, day_ahead=each) is None for each in (True, False)):
        yield f'it was not fitted for sees = "{real_time.sees.value}": fit it again'
    if model.facts.get("day_ahead") and config.power.day_ahead is None and config.tape is None:
        yield "it can use day-ahead prices, and there are none: add [power.day_ahead]"


def _at_present(real_time: RealTime, view: View) -> Iterator[str]:
    """Why the model does not decide at present, where it does not."""
    if view.worth is None:
        if isinstance(view.market, Market):
            yield "the power price is known for more than two hours ahead: the plan alone decides"
    elif view.decisions and not methods_of(view):
        yield "starting a unit costs nothing as configured: set restart_s or wear_usd of each [[unit]], else there is nothing to weigh"
    elif real_time.model is not None and view.worth.why:
        yield f"not by the model yet: {view.worth.why}"
