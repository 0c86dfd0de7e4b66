"""A backtest as one page of HTML that needs nothing else: what was asked, what each policy earned, and pictures of it; pure."""

from __future__ import annotations

from datetime import UTC, datetime
from html import escape
from typing import TYPE_CHECKING, Final

import numpy as np

from controller import backtest_plots
from controller.backtest import HOURS, POLICY_TEXT, QUARTER_S, Policy, Settles
from controller.worth_seen import Sees

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from controller.backtest import BacktestResult, FleetResult, PolicyResult

MOST_DRAWN: Final = 6
"""Of more fleets only the tables tell, so that the page stays one that opens at once."""
SEES_TEXT: Final = {
    Sees.A: "A: the price of the quarter hour that begins was known when it was decided, later ones were not.",
    Sees.B: "B: only prices up to the previous quarter hour were known when it was decided.",
}
SETTLES_TEXT: Final = {
    Settles.REAL_TIME: "The real-time price is paid.",
    Settles.DAY_AHEAD: "The day-ahead price is paid, and known when it is published.",
}
_NOTHING: Final = "&ndash;"
_SOFT: Final = '<br><span class="soft">{}</span>'
_MARK: Final = '<span class="mark" style="background:var(--{})"></span>'

_STYLE: Final = """
:root{color-scheme:light dark;--ground:#fffdf8;--ink:#222;--soft:#5f5a50;--line:#d9d2c3;--card:#f6f1e6;
--hashmill:#c4520a;--oracle:#555;--always_on:#8a8a8a;--threshold:#0b6fb0;--debounce:#a8488a;--band:#0a7f5c;--best_single_mode:#8a6a00;
--price:#3d5a80;--day-ahead:#b08968}
@media (prefers-color-scheme:dark){:root{--ground:#17150f;--ink:#e9e4d8;--soft:#a8a192;--line:#403b30;--card:#221f17;
--hashmill:#ff9a4d;--oracle:#c9c9c9;--always_on:#8f8f8f;--threshold:#5cb3f0;--debounce:#e08ac4;--band:#3ccf9c;--best_single_mode:#e0bd3c;
--price:#9db8dd;--day-ahead:#d0ac86}}
@media print{:root{color-scheme:light;--ground:#fff;--ink:#000;--soft:#444;--line:#bbb;--card:#fff;
--hashmill:#c4520a;--oracle:#555;--always_on:#8a8a8a;--threshold:#0b6fb0;--debounce:#a8488a;--band:#0a7f5c;--best_single_mode:#8a6a00;
--price:#3d5a80;--day-ahead:#b08968}
body{max-width:none;font-size:10pt}figure,table,.card{break-inside:avoid}h2,h3{break-after:avoid}}
body{background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:0 auto;padding:1.5rem}
h1{font-size:1.7rem;margin:0 0 .3rem}h2{margin:2.4rem 0 .6rem;border-bottom:1px solid var(--line)}h3{margin:1.6rem 0 .4rem}
p{margin:.5rem 0}.soft,figcaption,caption{color:var(--soft);font-size:.88rem}
.cards{display:grid;grid-template-columns:repeat(auto-fit,minmax(16rem,1fr));gap:.8rem;margin:1rem 0}
.card{background:var(--card);border:1px solid var(--line);border-radius:.5rem;padding:.7rem 1rem}
.card h3{margin:0}.card strong{font-size:1.4rem;display:block}
.wide{overflow-x:auto}
table{border-collapse:collapse;font-variant-numeric:tabular-nums;margin:.8rem 0}caption{text-align:left;padding-bottom:.3rem}
th,td{padding:.2rem .7rem;border-bottom:1px solid var(--line);text-align:right;vertical-align:top}
th:first-child,td:first-child,td.words,th.words{text-align:left}td+td{white-space:nowrap}td.words{white-space:normal}thead th{vertical-align:bottom}tr.ours td{font-weight:600}td .soft{font-weight:400}
.mark{display:inline-block;width:.7rem;height:.7rem;border-radius:50%;margin-right:.45rem}
th:first-child,td:first-child{min-width:8rem}
figure{margin:1rem 0;overflow-x:auto}svg{width:100%;min-width:38rem;height:auto;display:block}svg *{stroke-linejoin:round;stroke-linecap:butt}
""".strip()


def report_html(result: BacktestResult) -> str:
    """The whole page. Raises `controller.plots.PlotError`, which says what to do, without matplotlib."""
    fleets = (*((result.together,) if result.together else ()), *result.fleets)
    drawn = fleets[:MOST_DRAWN]
    start, stop = _period(result)
    parts = [
        '<!doctype html><html lang="en"><head><meta charset="utf-8">',
        '<meta name="viewport" content="width=device-width,initial-scale=1">',
        f"<title>Backtest {start} to {stop}</title><style>{_STYLE}</style></head><body>",
        "<header><h1>What acting on prices would have earned</h1>",
        f"<p>{start} to {stop} (UTC), {_quarters(result)}.</p>",
        f"<p>{escape(SEES_TEXT[result.sees])} {escape(SETTLES_TEXT[result.settles])}</p></header><main>",
        f'<div class="cards">{"".join(_card(each) for each in drawn)}</div>',
        *_all_regrets(fleets, drawn),
        *(part for number, each in enumerate(drawn) for part in _fleet(result, each, f"f{number}")),
        *(_policies(each) for each in fleets[MOST_DRAWN:]),
        *_asked(result),
        "</main></body></html>",
    ]
    return "\n".join(parts) + "\n"


def _period(result: BacktestResult) -> tuple[str, str]:
    """The first day and the last one, both judged."""
    if not len(result.starts):
        return "nothing", "nothing"
    first, last = float(result.starts[0]), float(result.starts[-1])
    return f"{datetime.fromtimestamp(first, UTC):%Y-%m-%d}", f"{datetime.fromtimestamp(last, UTC):%Y-%m-%d}"


def _quarters(result: BacktestResult) -> str:
    """How much of the period counts."""
    counted, all_ = int(np.count_nonzero(result.counts)), len(result.counts)
    days = f"{counted * QUARTER_S / 86400:,.1f} days count"
    return (
        days
        if counted == all_
        else f"{days}, {(all_ - counted) * HOURS:,.2f} hours do not: a price is missing"
    )


def _card(fleet: FleetResult) -> str:
    """What one wants to know first of a fleet."""
    ours, oracle = fleet.policies[Policy.HASHMILL], fleet.policies[Policy.ORACLE]
    lines = [
        f'<section class="card"><h3>{escape(fleet.fleet.title)}</h3>',
        f"<strong>{_usd(ours.usd)}</strong> by the controller",
    ]
    if ours.regret is not None:
        lines.append(
            f", {_percent(ours.regret)} less than by who knew all prices{_interval(ours, ' (95 %: ', ')')}"
        )
    else:
        lines.append(f"; who knew all prices would have earned {_usd(oracle.usd)}")
    gains = [
        f"{_usd(ours.usd - fleet.policies[policy].usd, signed=True)} against {_words(policy)}"
        for policy in (Policy.ALWAYS_ON, Policy.THRESHOLD)
        if policy in fleet.policies
    ]
    return "".join(lines) + f'.<br><span class="soft">{"; ".join(gains)}</span></section>'


def _all_regrets(fleets: Sequence[FleetResult], drawn: Sequence[FleetResult]) -> Iterable[str]:
    """Every policy's regret, as numbers and as a picture."""
    policies = [p for p in Policy if p is not Policy.ORACLE and any(p in each.policies for each in fleets)]
    yield "<h2>Regret</h2>"
    yield "<p>What a policy earned less than the oracle, which knew all prices from the start, as a part of what that one earned.</p>"
    yield _table(
        "Regret, %",
        ("machines", *(_words(p) for p in policies)),
        [
            (
                escape(each.fleet.title),
                *(
                    _percent(each.policies[p].regret, "") if p in each.policies else _NOTHING
                    for p in policies
                ),
            )
            for each in fleets
        ],
    )
    with_regret = [e for e in drawn if any(p.regret is not None for p in e.policies.values())]
    if with_regret:
        yield _figure(backtest_plots.regrets(with_regret, "regret"))


def _fleet(result: BacktestResult, fleet: FleetResult, name: str) -> Iterable[str]:
    """All there is on one fleet."""
    yield f"<h2>{escape(fleet.fleet.title)}</h2>"
    yield f"<p>{'All machines, under one cap.' if fleet is result.together else _machines(fleet)}</p>"
    yield _policies(fleet)
    if len(fleet.single_modes_usd) > 1:
        best = max(fleet.single_modes_usd.values())
        yield _table(
            "The controller with one mode and off, for each mode of the machine",
            ("mode", "USD", "against the best of them, USD"),
            [
                (escape(mode), _usd(usd), _usd(usd - best, signed=True))
                for mode, usd in fleet.single_modes_usd.items()
            ],
        )
    counted = sum(fleet.methods.values())
    if counted:
        shares = ", ".join(f"{_METHOD[m]} {100 * n / counted:.2f} %" for m, n in fleet.methods.items() if n)
        yield f"<p>How the controller knew what being on was worth: {shares} of its decisions.</p>"
    if np.any(result.counts):
        yield _figure(backtest_plots.behind(result, fleet, f"{name}-behind"))
        yield _figure(backtest_plots.by_price(result, fleet, f"{name}-price"))
        yield _figure(backtest_plots.week(result, fleet, f"{name}-week"))


_METHOD: Final = {
    "fitted": "fitted model",
    "markov": "Markov chain",
    "band": "band",
    "plan": "plan over known prices",
}


def _machines(fleet: FleetResult) -> str:
    """How many of which units, with their modes."""
    units = fleet.fleet
    modes = ", ".join(
        f"{escape(mode.name)} ({_amount(mode.watts)} W, {_amount(mode.th_s)} TH/s)"
        for mode in units.unit.curve.modes
    )
    several = f"{units.count:,} units, " if units.count > 1 else ""
    return (
        f"{several}{_amount(units.full_kw)} kW at full power. Modes{' of each' if several else ''}: {modes}."
    )


def _policies(fleet: FleetResult) -> str:
    """Every policy on one fleet."""
    rows = []
    for policy in Policy:
        if policy in fleet.policies:
            p = fleet.policies[policy]
            rows.append(
                (
                    f"{_MARK.format(policy)}{_words(policy)}{_SOFT.format(escape(POLICY_TEXT[policy]))}",
                    _usd(p.usd),
                    _percent(p.regret, ""),
                    _interval(p) or _NOTHING,
                    f"{p.starts:,}",
                    f"{p.changes:,}",
                    f"{100 * p.uptime:.1f}",
                )
            )
    return _table(
        f"{fleet.fleet.title}: what each policy earned",
        ("policy", "USD", "regret, %", "95 %", "starts", "mode changes", "running, % of the time"),
        rows,
    )


def _asked(result: BacktestResult) -> Iterable[str]:
    """What was asked for, and what the data lacks."""
    yield "<h2>Settings</h2>"
    settings = [(escape(name), escape(_said(value))) for name, value in result.settings.items()]
    yield _table("As this backtest was run", ("option", "value"), settings, words=True)
    yield "<h2>Gaps</h2>"
    if result.gaps:
        yield f"<ul>{''.join(f'<li>{escape(gap)}</li>' for gap in result.gaps)}</ul>"
    else:
        yield "<p>None: every quarter hour has its prices.</p>"


def _said(value: object) -> str:
    """A setting for people."""
    if isinstance(value, list | tuple):
        return ", ".join(_said(each) for each in value)
    return "none" if value is None else str(value)


def _figure(picture: backtest_plots.Picture) -> str:
    words = f"<strong>{escape(picture.title)}.</strong> {escape(picture.caption)}"
    return f"<figure>{picture.svg}<figcaption>{words}</figcaption></figure>"


def _table(caption: str, header: Sequence[str], rows: Iterable[Sequence[str]], *, words: bool = False) -> str:
    """A table; its cells are HTML already, its caption and header are not."""
    kind = ' class="words"' if words else ""
    head = "".join(f'<th scope="col"{kind}>{escape(cell)}</th>' for cell in header)
    body = "".join(
        f"<tr{' class=ours' if 'var(--hashmill)' in row[0] else ''}>"
        + "".join(f"<td{kind}>{cell}</td>" for cell in row)
        + "</tr>"
        for row in rows
    )
    return (
        f'<div class="wide"><table><caption>{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table></div>"
    )


def _words(policy: Policy) -> str:
    return policy.replace("_", " ")


def _usd(usd: float, *, signed: bool = False) -> str:
    """Money with cents where they matter."""
    sign = "-" if usd < 0 else "+" if signed else ""
    return f"{sign}${abs(usd):,.0f}" if abs(usd) >= 10_000 else f"{sign}${abs(usd):,.2f}"  # noqa: PLR2004 - then nobody counts cents


def _amount(value: float) -> str:
    """Power or hashrate, with as many digits as mean something."""
    return f"{value:,.0f}" if value >= 1000 else f"{value:.4g}"  # noqa: PLR2004


def _percent(ratio: float | None, unit: str = " %") -> str:
    """A share in percent, with as many digits as mean something."""
    if ratio is None:
        return _NOTHING
    percent = 100 * ratio
    digits = 1 if abs(percent) >= 10 else 2 if abs(percent) >= 1 else 3  # noqa: PLR2004
    return f"{percent:.{digits}f}{unit}"


def _interval(policy: PolicyResult, before: str = "", after: str = "") -> str:
    """Where the regret may lie, if that can be said."""
    if policy.regret_low is None or policy.regret_high is None:
        return ""
    return f"{before}{_percent(policy.regret_low, '')} to {_percent(policy.regret_high, '')}{after}"
