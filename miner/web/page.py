"""The page at `/`: the status in plain HTML, and where everything else is."""

from collections.abc import Iterable
from datetime import UTC, datetime
from html import escape
from typing import Final

from miner.web.status import PoolStatus, StatusDocument, StratumStatus, UnitStatus, WorkStatus

ENDPOINTS: Final = (
    ("/api/v1/status", "this page as JSON"),
    ("/api/v1/units", "every unit, workers included: limit, after; /api/v1/units/ID for one"),
    ("/api/v1/shares", "accepted shares: limit, since, unit"),
    ("/api/v1/pools", "pools: where each stands; /api/v1/pools/shares, what went up: limit, since, pool"),
    ("/api/v1/decisions", "the controller's decisions: limit, since, unit"),
    ("/api/v1/plan", "what every unit does and will do, and why"),
    ("/api/v1/hashprice", "hashprice now and after the retarget, with its inputs"),
    ("/api/v1/fleet", "merit order, breakevens, survival and cash"),
    ("/api/v1/signals", "signals in force and announced; /api/v1/overrides, what people decided"),
    ("/api/v1/events", "what happens, as it happens (server-sent events)"),
    ("/api/v1/openapi.json", "the whole API, described"),
    ("/api/v1/blocks", "blocks found: limit, since"),
    ("/metrics", "Prometheus"),
    ("/healthz", "200 while the process runs"),
    ("/readyz", "200 while work is being served, 503 otherwise"),
)


def render_page(status: StatusDocument) -> str:
    """The whole page; it asks for nothing else and loads itself again every ten seconds."""
    market, work, blocks = status.market, status.work, status.blocks
    at = datetime.fromtimestamp(status.now, UTC).strftime("%Y-%m-%d %H:%M:%S")
    facts = [
        ("work", _work(work)),
        ("difficulty", _number(work.difficulty)),
        ("pays", work.payout_address or work.payout_script or "unknown"),
        ("blocks", f"{blocks.found} found, {blocks.mature} mature, {blocks.orphaned} orphaned"),
        ("hashprice", f"{_number(market.hashprice_usd_per_ph_day)} USD/PH/day"),
        ("BTC", f"{_number(market.btc_usd)} USD"),
        ("power", f"{_number(market.power_usd_per_kwh)} USD/kWh"),
        ("controller", _controller(status)),
        ("miners", _miners(status.stratum)),
    ]
    parts = [
        "<!doctype html><html lang=en><head><meta charset=utf-8><title>Hashmill</title>",
        '<meta name=color-scheme content="light dark"><meta http-equiv=refresh content=10></head><body>',
        f"<h1>Hashmill {escape(status.version)} on {escape(status.network)}</h1>",
        f"<p>{at} UTC, running for {status.uptime_s:.0f} s, kernel {escape(status.kernel)}</p>",
        *(
            f"<p><strong>{escape(alert.name)}</strong>: {escape(alert.message)}</p>"
            for alert in status.alerts
        ),
        _table((), facts),
        "<h2>Nodes</h2>",
        _table(
            ("node", "state"),
            [(n.name, "up" if n.up else f"down: {n.error or 'unknown'}") for n in status.nodes],
        ),
        *_pools(status.pools),
        "<h2>Units</h2>",
        _table(
            ("unit", "state", "mode", "wanted", "TH/s", "W", "shares", "USD/h", "why"),
            map(_unit_cells, status.units),
        ),
        "<h2>More</h2>",
        "<ul>",
        *(f'<li><a href="{path}">{path}</a> {escape(text)}</li>' for path, text in ENDPOINTS),
        "</ul></body></html>",
    ]
    return "\n".join(parts)


def _work(work: WorkStatus) -> str:
    if not work.serving:
        return "none is served"
    for_whom = "" if work.origin is None else f", {'solo' if work.origin == 'solo' else f'for {work.origin}'}"
    return f"block {work.height}, {_sat(work.reward_sat)} BTC{for_whom}"


def _pools(pools: Iterable[PoolStatus]) -> list[str]:
    rows = [_pool_cells(pool) for pool in pools]
    head = ("pool", "state", "difficulty", "shares", "refused work", "answers in", "last trouble")
    return ["<h2>Pools</h2>", _table(head, rows)] if rows else []


def _pool_cells(pool: PoolStatus) -> tuple[str, ...]:
    shares, failure = pool.shares, pool.failure
    suspicions = [f"{kind}: {count}" for kind, count in pool.suspicions.items()]
    return (
        f"{pool.name} ({pool.url})",
        pool.state.replace("_", " "),
        _number(pool.difficulty),
        f"{shares.accepted} accepted, {shares.rejected} rejected, {shares.in_doubt} in doubt",
        "-" if shares.rejected_ratio is None else f"{shares.rejected_ratio:.2%}",
        "-" if pool.latency_s is None else f"{pool.latency_s * 1000:.0f} ms",
        "; ".join([*([f"{failure.kind}: {failure.text}"] if failure else []), *suspicions]) or "-",
    )


def _unit_cells(unit: UnitStatus) -> tuple[str, ...]:
    decision = unit.last_decision
    return (
        unit.id,
        unit.state or "unknown",
        unit.mode or "unknown",
        unit.wanted_mode or "-",
        _number(unit.hashrate_th_s),
        _number(unit.power_w),
        f"{unit.shares_accepted} good, {unit.shares_rejected} bad",
        _number(unit.margin_usd_per_hour),
        "; ".join(filter(None, (decision.reason, decision.flip))) if decision else "-",
    )


def _controller(status: StatusDocument) -> str:
    if not status.controller.enabled:
        return "off"
    return "dry run: it decides and touches nothing" if status.controller.dry_run else "on"


def _miners(stratum: StratumStatus | None) -> str:
    if stratum is None:
        return "no Stratum server"
    return f"{stratum.sessions} logged in as {stratum.units} workers at {', '.join(stratum.listening)}"


def _table(head: Iterable[str], rows: Iterable[tuple[str, ...]]) -> str:
    titles = "".join(f"<th>{escape(title)}</th>" for title in head)
    titles = f"<tr>{titles}</tr>" if titles else ""
    lines = "".join("<tr>" + "".join(f"<td>{escape(cell)}</td>" for cell in row) + "</tr>" for row in rows)
    return f"<table>{titles}{lines}</table>"


def _number(value: float | None) -> str:
    return "unknown" if value is None else f"{value:,.6g}"


def _sat(value: int | None) -> str:
    return "unknown" if value is None else f"{value / 1e8:.8f}"
