"""The pictures of a backtest, as SVG to be put into a page; needs matplotlib (the extra `report`); pure.

Colours are left to the page: text and axes take its `currentColor`, each policy the custom property `--POLICY`, prices `--price`; so one
drawing is right in light and dark, on a screen and on paper.
"""

from __future__ import annotations

import io
import re
from dataclasses import dataclass
from html import escape
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from controller.backtest import HOURS, Policy
from controller.plots import PlotError

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from numpy.typing import NDArray

    from controller.backtest import BacktestResult, FleetResult, PolicyResult

WEEK: Final = 672
"""Quarter hours."""
MWH: Final = 1000.0
"""kWh in a MWh: prices are drawn in USD/MWh."""
_DAY: Final = 96
_BINS: Final = 40
_LEAST_HOURS: Final = 1.0
"""Prices seen for a shorter time are not drawn: what ran then says nothing."""
_SMALL_PERCENT: Final = 0.1
_USUAL_USD_PER_MWH: Final = 100.0
"""Up to these axes are even, beyond logarithmic: regrets and prices both have long tails."""
_PERCENTS: Final = (0.0, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0)
_PRICES: Final = (-500.0, -100.0, -50.0, 0.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10_000.0)
"""Where such axes have ticks."""

_INK: Final = "#0a0b01"
_PRICE: Final = "#0a0b02"
_DAY_AHEAD: Final = "#0a0b03"
_COLOUR: Final = {policy: f"#0a0b{16 + place}" for place, policy in enumerate(Policy)}
"""Stand-ins that no theme uses; each becomes a reference to the page's own colour."""
_THEME: Final = {
    _INK: "currentColor",
    _PRICE: "var(--price)",
    _DAY_AHEAD: "var(--day-ahead)",
    **{colour: f"var(--{policy})" for policy, colour in _COLOUR.items()},
}
_STYLE: Final[dict[Any, Any]] = {
    "svg.hashsalt": "hashmill",  # the same backtest gives the same page
    "svg.fonttype": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.titlesize": 10,
    "grid.alpha": 0.18,
    "font.size": 9,
    "lines.linewidth": 1.4,
    "legend.frameon": False,
    **dict.fromkeys(
        ("text.color", "axes.edgecolor", "axes.labelcolor", "xtick.color", "ytick.color", "grid.color"), _INK
    ),
}
_SVG: Final = "http://www.w3.org/2000/svg"
_XLINK: Final = "http://www.w3.org/1999/xlink"
_NO_METADATA: Final = dict.fromkeys(("Date", "Creator", "Format", "Type"))


@dataclass(frozen=True, slots=True)
class Picture:
    """One drawing: `svg` for the page, which tells those who do not see it what `alt` says; `title` and `caption` stand below it."""

    title: str
    svg: str
    alt: str
    caption: str


def regrets(fleets: Sequence[FleetResult], name: str) -> Picture:
    """What each policy gave away against the oracle, with its interval; `name` makes the drawing's ids its own.

    Some policy must have a regret.
    """
    alt = "Regret of each policy in percent of the oracle's money: " + "; ".join(
        f"{each.fleet.title}: "
        + ", ".join(f"{_words(p.policy)} {100 * p.regret:.2g}" for p in shown(each) if p.regret is not None)
        for each in fleets
    )

    def draw(figure: Any) -> None:
        axes = figure.subplots(len(fleets), 1, sharex=True, squeeze=False)[:, 0]
        for each, on in zip(fleets, axes, strict=True):
            _draw_regrets(on, each)
        judged = [p for each in fleets for p in _judged(each)]
        axes[-1].set_xscale("symlog", linthresh=_SMALL_PERCENT)
        highest = max(_SMALL_PERCENT, *(100 * (p.regret_high or p.regret or 0.0) for p in judged))
        _ticks(axes[-1].xaxis, _PERCENTS, 0.0, highest)
        axes[-1].set_xlim(min(0.0, *(100 * (p.regret_low or 0.0) for p in judged), 0.0), 1.2 * highest)
        axes[-1].set_xlabel("regret, % of what the oracle earns (even up to 0.1, then logarithmic)")

    rows = sum(len(_judged(each)) for each in fleets)
    return Picture(
        "Regret of each policy",
        _drawn(draw, 0.7 + 0.24 * rows + 0.35 * len(fleets), name, alt),
        alt,
        "Left is better. The line across a dot holds 95 % of what other weeks of the same kind could have shown (bootstrap by whole weeks).",
    )


def behind(result: BacktestResult, fleet: FleetResult, name: str) -> Picture:
    """Money over time: what was earned, and how far behind the oracle each policy fell."""
    oracle = np.cumsum(fleet.policies[Policy.ORACLE].money_usd)
    lags = {p.policy: float(oracle[-1] - p.money_usd.sum()) for p in shown(fleet)}
    del lags[Policy.ORACLE]
    alt = "US dollars behind the oracle at the end: " + ", ".join(
        f"{_words(policy)} {lag:,.2f}" for policy, lag in lags.items()
    )
    # Who is always on may fall behind by far more than all others do from each other.
    inside = [lag for policy, lag in lags.items() if policy is not Policy.ALWAYS_ON]
    ceiling = 1.15 * max([*inside, 0.0])
    days = np.arange(_DAY - 1, len(oracle), _DAY) if len(oracle) >= _DAY else np.arange(len(oracle))
    when = _dates(result.starts[days])

    def draw(figure: Any) -> None:
        earned, lost = figure.subplots(2, 1, sharex=True, height_ratios=(1, 1.6))
        for policy in (Policy.ORACLE, Policy.HASHMILL, Policy.ALWAYS_ON):
            if policy in fleet.policies:
                _line(earned, when, np.cumsum(fleet.policies[policy].money_usd)[days], policy)
        earned.set_ylabel("USD earned")
        earned.legend(loc="upper left")
        for policy, lag in lags.items():
            beyond = " (leaves the picture)" * (0.0 < ceiling < lag)
            _line(lost, when, (oracle - np.cumsum(fleet.policies[policy].money_usd))[days], policy, beyond)
        if ceiling > 0.0:
            lost.set_ylim(-0.03 * ceiling, ceiling)
        lost.set_ylabel("USD behind the oracle")
        lost.legend(loc="upper left")
        _time_axis(lost)

    return Picture(
        "Money over time",
        _drawn(draw, 5.0, name, alt),
        alt,
        "Above: money earned since the first day. Below: how much less than the oracle, which knew all prices. A step is a costly day.",
    )


def by_price(result: BacktestResult, fleet: FleetResult, name: str) -> Picture:
    """How much ran at which price of power, and for how many hours there was that price; some quarter hours must count."""
    price = MWH * result.power_usd_per_kwh[result.counts]
    usual = _breakevens(result, fleet)
    low, high = np.percentile(price, (0.5, 99.0)).tolist()
    if usual:
        high = max(high, min(1.5 * usual[2], float(price.max())))
    edges = np.linspace(low, max(high, low + 1.0), _BINS + 1)
    count = np.histogram(price, edges)[0]
    seen = count * HOURS >= _LEAST_HOURS
    middles = (edges[:-1] + edges[1:]) / 2
    alt = f"Share of full power drawn by price of power, from {edges[0]:.0f} to {edges[-1]:.0f} USD/MWh"
    if usual:
        alt += (
            f"; the breakeven of full hashrate is {usual[1]:.0f} USD/MWh, and between {usual[0]:.0f} and {usual[2]:.0f} for nine "
            "tenths of the time"
        )

    def draw(figure: Any) -> None:
        ran, hours = figure.subplots(2, 1, sharex=True, height_ratios=(2.4, 1))
        if usual:
            ran.axvspan(usual[0], usual[2], color=_INK, alpha=0.08, linewidth=0)
            ran.axvline(usual[1], color=_INK, linestyle="--", linewidth=0.9, label="breakeven at full power")
        for policy in (Policy.ORACLE, Policy.HASHMILL, Policy.THRESHOLD, Policy.BAND):
            if policy in fleet.policies:
                drawn = _share(result, fleet, fleet.policies[policy])[result.counts]
                total = np.histogram(price, edges, weights=drawn)[0]
                share = np.where(seen, 100.0 * total / np.maximum(count, 1), np.nan)
                _line(ran, middles, share, policy, drawstyle="steps-mid")
        ran.set_ylim(-3, 103)
        ran.set_ylabel("% of full power")
        ran.legend(loc="best")
        hours.bar(middles, count * HOURS, width=np.diff(edges), color=_PRICE, alpha=0.6)
        hours.set_ylabel("hours")
        hours.set_xlabel("price of power, all-in, USD/MWh")

    return Picture(
        "What ran at which price",
        _drawn(draw, 4.2, name, alt),
        alt,
        "A policy without restart costs would fall straight from 100 % to standby at the breakeven. Prices seen for less than an hour are left out, and "
        "the far ends of both tails. The grey stripe holds nine tenths of the breakevens.",
    )


def week(result: BacktestResult, fleet: FleetResult, name: str) -> Picture:
    """A week in close-up, the one in which the controller lost most against the oracle: prices, and what ran."""
    first = dearest_week(result, fleet)
    part = slice(first, first + WEEK)
    when = _dates(result.starts[part])
    price = MWH * result.power_usd_per_kwh[part]
    lost = float(_lost(fleet)[part].sum())
    rows = [p for p in shown(fleet) if p.policy is not Policy.ALWAYS_ON]
    alt = (
        f"Prices and what ran in the week from {np.datetime_as_string(when[0], unit='D')}, in which the controller lost "
        f"{lost:,.2f} USD against the oracle; starts and mode changes are the edges of the bars"
    )

    def draw(figure: Any) -> None:
        prices, ran = figure.subplots(2, 1, sharex=True, height_ratios=(1.5, 1))
        ahead = MWH * result.day_ahead_usd_per_kwh[part]
        if np.isfinite(ahead).any():
            prices.step(when, ahead, where="post", color=_DAY_AHEAD, linewidth=1.0, label="day ahead")
        prices.step(when, price, where="post", color=_PRICE, label="price paid")
        breakeven = MWH * fleet.breakeven_usd_per_kwh[part]
        if np.isfinite(breakeven).any():
            style = {"color": _INK, "linestyle": "--", "linewidth": 0.9}
            prices.step(when, breakeven, where="post", label="breakeven at full power", **style)
        prices.set_yscale("symlog", linthresh=_USUAL_USD_PER_MWH)
        _ticks(prices.yaxis, _PRICES, float(np.nanmin(price)), float(np.nanmax(price)))
        prices.set_ylabel("USD/MWh, all-in")
        prices.legend(loc="best")
        for row, p in enumerate(reversed(rows)):
            share = _share(result, fleet, p)[part]
            ran.fill_between(
                when, row + 0.1, row + 0.1 + 0.8 * share, step="post", color=_COLOUR[p.policy], linewidth=0
            )
        ran.set_yticks([row + 0.5 for row in range(len(rows))], [_words(p.policy) for p in reversed(rows)])
        ran.set_ylim(0, len(rows))
        ran.grid(visible=False, axis="y")
        _time_axis(ran)

    return Picture(
        "The week that cost the controller most",
        _drawn(draw, 2.6 + 0.32 * len(rows) + 0.8, name, alt),
        alt,
        "Prices are even up to 100 USD/MWh, then logarithmic. The height of a bar is the part of full power that was drawn.",
    )


def shown(fleet: FleetResult) -> list[PolicyResult]:
    """The policies worth a line of their own: without modes to choose from the best single mode is the controller itself."""
    found = [fleet.policies[policy] for policy in Policy if policy in fleet.policies]
    ours = fleet.policies[Policy.HASHMILL].money_usd
    return [
        p for p in found if p.policy is not Policy.BEST_SINGLE_MODE or not np.array_equal(p.money_usd, ours)
    ]


def dearest_week(result: BacktestResult, fleet: FleetResult) -> int:
    """The first quarter hour of the week, counted from the first day, that cost the controller most against the oracle."""
    first = np.arange(0, len(result.starts), WEEK)
    lost = np.add.reduceat(_lost(fleet), first)
    counted = np.logical_or.reduceat(result.counts, first)
    return int(first[np.argmax(np.where(counted, lost, -np.inf))])


def _lost(fleet: FleetResult) -> NDArray[np.float64]:
    """What the controller earned less than the oracle by the quarter hour, USD; below 0 where it is ahead for a while."""
    return fleet.policies[Policy.ORACLE].money_usd - fleet.policies[Policy.HASHMILL].money_usd


def _share(result: BacktestResult, fleet: FleetResult, policy: PolicyResult) -> NDArray[Any]:
    """The part of full power that is drawn, by the quarter hour; that of the units which run where none draws power."""
    fleets = result.fleets if fleet is result.together else (fleet,)
    full_kw = sum(each.fleet.full_kw for each in fleets)
    return policy.drawn_kw / full_kw if full_kw > 0.0 else policy.running


def _breakevens(result: BacktestResult, fleet: FleetResult) -> tuple[float, float, float] | None:
    """Between what the breakeven of full hashrate mostly was, and its middle, USD/MWh; None where machines differ or draw nothing."""
    breakeven = MWH * fleet.breakeven_usd_per_kwh[result.counts]
    if not np.isfinite(breakeven).all():
        return None
    low, middle, high = np.percentile(breakeven, (5, 50, 95)).tolist()
    return low, middle, high


def _judged(fleet: FleetResult) -> list[PolicyResult]:
    return [p for p in shown(fleet) if p.policy is not Policy.ORACLE and p.regret is not None]


def _draw_regrets(axes: Any, fleet: FleetResult) -> None:
    policies = _judged(fleet)
    for row, p in enumerate(policies):
        if p.regret_low is not None and p.regret_high is not None:
            axes.plot(
                [100 * p.regret_low, 100 * p.regret_high],
                [row, row],
                color=_COLOUR[p.policy],
                linewidth=4,
                alpha=0.35,
            )
        axes.plot([100 * (p.regret or 0.0)], [row], marker="o", color=_COLOUR[p.policy])
    axes.set_yticks(range(len(policies)), [_words(p.policy) for p in policies])
    axes.set_ylim(len(policies) - 0.4, -0.6)
    axes.set_title(fleet.fleet.title, loc="left")


def _line(axes: Any, x: Any, y: Any, policy: Policy, more: str = "", **style: Any) -> None:
    """A policy's line: ours is strong, the oracle's dotted."""
    if policy is Policy.HASHMILL:
        style["linewidth"] = 2.0
    if policy is Policy.ORACLE:
        style["linestyle"] = ":"
    axes.plot(
        x,
        y,
        color=_COLOUR[policy],
        label=_words(policy) + more,
        zorder=3 if policy is Policy.HASHMILL else 2,
        **style,
    )


def _ticks(axis: Any, those: Sequence[float], low: float, high: float) -> None:
    """Those of the ticks that lie in sight, as people write them."""
    from matplotlib.ticker import NullLocator  # noqa: PLC0415 - an extra

    inside = [tick for tick in those if 1.3 * min(low, 0.0) <= tick <= 1.3 * high]
    axis.set_ticks(inside, [f"{tick:g}" for tick in inside])
    axis.set_minor_locator(NullLocator())


def _time_axis(axes: Any) -> None:
    """Dates along a time axis, in UTC, said once."""
    from matplotlib import dates  # noqa: PLC0415 - an extra

    untyped: Any = dates
    locator = untyped.AutoDateLocator()
    axes.xaxis.set_major_locator(locator)
    axes.xaxis.set_major_formatter(untyped.ConciseDateFormatter(locator))
    axes.set_xlabel("UTC")


def _dates(starts: NDArray[np.float64]) -> NDArray[np.datetime64]:
    return np.asarray(np.round(starts)).astype("int64").astype("datetime64[s]")


def _words(policy: Policy) -> str:
    return policy.replace("_", " ")


def _drawn(draw: Callable[[Any], None], height_inches: float, name: str, alt: str) -> str:
    """What `draw` puts on a figure, as SVG that belongs into a page. Raises PlotError without matplotlib."""
    try:
        import matplotlib as mpl  # noqa: PLC0415 - slow to import, and an extra
        from matplotlib.figure import Figure  # noqa: PLC0415
    except ImportError as error:
        raise PlotError("a report needs matplotlib: install hashmill with the extra `report`") from error
    with mpl.rc_context(_STYLE):
        figure = Figure(figsize=(9.0, height_inches), layout="constrained")
        draw(figure)
        written = io.StringIO()
        figure.savefig(written, format="svg", transparent=True, metadata=_NO_METADATA)
    return _inlined(written.getvalue(), name, alt)


def _inlined(svg: str, name: str, alt: str) -> str:
    """A drawing as part of a page: the page's colours and letters, ids of its own, words for those who do not see it."""
    svg = re.sub(r"(?s)<style.*?</style>|<metadata>.*?</metadata>", "", svg[svg.index("<svg") :])
    svg = re.sub(r"font-family: [^;\"]*", "font-family: inherit", svg)
    svg = re.sub(r'((?: id="|"#|url\(#))', rf"\g<1>{name}-", svg)
    for colour, themed in _THEME.items():
        svg = svg.replace(colour, themed)
    box = re.search(r'viewBox="([^"]*)"', svg)
    head = f'<svg xmlns="{_SVG}" xmlns:xlink="{_XLINK}" viewBox="{box[1] if box else ""}" role="img" aria-label="{escape(alt)}">'
    return head + svg[svg.index(">") + 1 :].strip()
