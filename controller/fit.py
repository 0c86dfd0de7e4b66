"""Fitting a market: from its price history to a model's bytes, checked on the last part of the history; pure.

Prices are in USD/MWh, as histories have them; what is learned does not depend on what comes on top of them, nor on the currency.
"""

from __future__ import annotations

from dataclasses import dataclass
from importlib import metadata
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from controller.fit_check import check
from controller.fit_rows import history, reach
from controller.fit_value import FIRST_LOOK, SETTINGS, FitError, learn, learners
from controller.model import write_model
from controller.recorded import QUARTER_S, on_quarters, utc
from controller.worth_markov import fit_markov
from controller.worth_seen import HOURS, Sees

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from controller.fit_check import Checked
    from controller.fit_rows import History, Reach
    from controller.fit_value import Settings
    from controller.recorded import Series
    from controller.worth_features import Span
    from controller.worth_markov import Chain
    from controller.worth_trees import Trees

USD_PER_KWH: Final = 0.001
"""One USD/MWh."""
DAY_H: Final = 24.0
LEAST_DAYS: Final = 30.0
GOOD_DAYS: Final = 365.0
HELD_OUT: Final = 0.2
"""The part of the history, its last, on which models fitted on the rest are checked."""
CHECKED_WITH: Final = 0.5
"""The part of the rows that the models to be checked are fitted on: enough to tell, in half the time."""


@dataclass(frozen=True, slots=True)
class FitReport:
    """What was learned, for a person: facts as the model has them, checks on prices that were held out, and what to know."""

    facts: Mapping[str, Any]
    checks: tuple[Checked, ...]
    notes: tuple[str, ...]


def fit(
    rt: Series,
    day_ahead: Series | None,
    *,
    name: str,
    seed: int = 1,
    progress: Callable[[float, str], None],
    settings: Settings = SETTINGS,
) -> tuple[bytes, FitReport]:
    """A model of the market with these prices: its bytes, and what is to be told of it.

    `progress` is told the part that is done and what is being done. The same histories, seed and machine give the same bytes. Raises
    FitError where nothing can be learned, with what to do.
    """
    learners()  # without them nothing needs to begin
    progress(0.0, "looking at the history")
    market = _history(rt, day_ahead)
    sets = [True, False] if day_ahead is not None else [False]
    start = len(market.prices) - round(len(market.prices) * HELD_OUT)
    between = _enough(market, day_ahead=sets[0])
    facts = _facts(rt, market, between, start, name=name, seed=seed, day_ahead=day_ahead is not None)
    work = _Work(market, seed, settings, progress, total=2 + 2 * len(sets))

    # What is held out has no say in what is drawn either.
    earlier = reach(market.prices[:start][np.isfinite(market.prices[:start])])
    checks: list[Checked] = []
    for sees in Sees:
        if earlier is None:
            break
        told = f"checking {sees} on {utc((market.first + start) * QUARTER_S):.10}"
        trees, _ = work.learn(sees, earlier, told, day_ahead=sets[0], stop=start)
        checks += check(market, start, between, sees, trees)
    forests: dict[tuple[Sees, bool], Trees] = {}
    spans: dict[bool, Span] = {}
    for with_day_ahead in sets:
        for sees in Sees:
            forests[sees, with_day_ahead], spans[with_day_ahead] = work.learn(
                sees, between, f"learning {sees}", day_ahead=with_day_ahead
            )
    chains: dict[bool, Chain] = {}
    for each in sets:
        chain = fit_markov(market.prices, market.day_ahead if each else None, market.first)
        if chain is not None:
            chains[each] = chain
    facts["checks"] = {sees.value: [_told(each) for each in checks if each.sees is sees] for sees in Sees}
    progress(1.0, "done")
    data = write_model(forests, spans, chains, facts)
    return data, FitReport(facts, tuple(checks), _notes(rt, day_ahead, market))


@dataclass(slots=True)
class _Work:
    """One forest after another, and how far that is."""

    market: History
    seed: int
    settings: Settings
    progress: Callable[[float, str], None]
    total: int
    done: int = 0

    def learn(
        self, sees: Sees, between: Reach, doing: str, *, day_ahead: bool, stop: int | None = None
    ) -> tuple[Trees, Span]:
        """The trees of one kind, learned from what comes before `stop`."""
        doing += ", with day-ahead prices" if day_ahead else ", without day-ahead prices"
        self.progress(self.done / self.total, doing)
        moments = self.market.moments(FIRST_LOOK, day_ahead=day_ahead, stop=stop)
        if not len(moments):
            raise FitError(
                "the price history has too many gaps: not one day of it is known as a whole; give another one"
            )
        learned = learn(
            self.market,
            moments,
            between,
            sees,
            day_ahead=day_ahead,
            seed=self.seed,
            settings=self.settings if stop is None else self.settings.less(CHECKED_WITH),
            progress=lambda part: self.progress((self.done + part) / self.total, doing),
        )
        self.done += 1
        return learned


def _history(rt: Series, day_ahead: Series | None) -> History:
    """The market in USD/kWh by quarter hours."""
    prices = on_quarters(rt)
    ahead = None
    if day_ahead is not None:
        ahead = on_quarters(day_ahead).over(prices.first, len(prices.values)) * USD_PER_KWH
    return history(prices.first, prices.values * USD_PER_KWH, ahead)


def _enough(market: History, *, day_ahead: bool) -> Reach:
    """Between what to learn; FitError where there is too little to learn from."""
    days = market.hours / DAY_H
    if days < LEAST_DAYS:
        raise FitError(
            f"the price history has {days:.1f} days: {LEAST_DAYS:g} are needed at least, and a year or more learns every season"
        )
    if day_ahead:
        both = float((np.isfinite(market.prices) & market.seen.day_ahead).sum()) * HOURS / DAY_H
        if both < LEAST_DAYS:
            raise FitError(
                f"day-ahead prices are known on {both:.1f} days of the price history: {LEAST_DAYS:g} are needed at least; "
                "give day-ahead prices of the same time, or none"
            )
    between = reach(market.prices[np.isfinite(market.prices)])
    if between is None:
        raise FitError(
            "the price does not move: there is nothing to learn, and nothing a model could gain; run without one"
        )
    return between


def _facts(
    rt: Series, market: History, between: Reach, start: int, *, name: str, seed: int, day_ahead: bool
) -> dict[str, Any]:
    """What a model tells of where it comes from."""
    try:
        versions = {each: metadata.version(each) for each in ("hashmill", "numpy", "scikit-learn")}
    except metadata.PackageNotFoundError as error:
        raise FitError("this checkout is not installed: `make install` does it") from error
    return {
        "market": name,
        "from": utc(float(rt.starts[0])),
        "until": utc(rt.end),
        "held_out_from": utc((market.first + start) * QUARTER_S),
        "quarters": int(np.isfinite(market.prices).sum()),
        "step_s": rt.step_s,
        "gaps": len(rt.gaps),
        "day_ahead": day_ahead,
        "seed": seed,
        "breakevens_usd_per_mwh": [between.low / USD_PER_KWH, between.high / USD_PER_KWH],
        "costs_usd_per_mw": [between.least_cost / USD_PER_KWH, between.most_cost / USD_PER_KWH],
        "versions": versions,
    }


def _told(checked: Checked) -> dict[str, Any]:
    """A check as the model's facts have it."""
    return {
        "percentile": checked.percentile,
        "breakeven_usd_per_mwh": checked.breakeven_usd_per_kwh / USD_PER_KWH,
        "cost_usd_per_mw": checked.cost_usd_per_kw / USD_PER_KWH,
        "regret": dict(checked.regret),
        "starts": dict(checked.starts),
    }


def _notes(rt: Series, day_ahead: Series | None, market: History) -> tuple[str, ...]:
    """What to know of these histories."""
    notes: list[str] = []
    days = market.hours / DAY_H
    if days < GOOD_DAYS:
        notes.append(f"{days:.0f} days do not show every season: fit again as the history grows")
    if rt.step_s > QUARTER_S:
        notes.append(
            f"each price holds for {rt.step_s / 60:g} minutes, and was repeated for each quarter hour of them"
        )
    if rt.step_s < QUARTER_S:
        notes.append(f"prices of {rt.step_s / 60:g} minutes were averaged over each quarter hour")
    if rt.gaps:
        notes.append(f"{len(rt.gaps)} gaps were left out, the first: {rt.gaps[0]}")
    if day_ahead is None:
        notes.append("no day-ahead prices: where a market has them, they make decisions better")
    elif np.isnan(market.day_ahead).any():
        known = 100 * float(np.isfinite(market.day_ahead).mean())
        notes.append(
            f"day-ahead prices are known {known:.1f} % of the time: the rest was learned without them"
        )
    return tuple(notes)
