"""What `hashmill fleet` prints for people, from the controller's plain report."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from miner.render import hashprice_text, new_table, power_text, rate_text, usd_text
from miner.render_plan import names_text, prices

TH_PER_PH = 1000


def fleet(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The report of `hashmill fleet`: prices, breakevens, merit order, survival table, cash, and what a difficulty drop gives back."""
    yield from prices(report)
    found = report.get("fleet")
    if found is None:
        if report["known"]:
            yield Text("No unit to reckon with: [cpu] threads = 0, and no [[unit]] with modes.", "yellow")
        return
    mean = found["mean_power_usd_per_kwh"]
    if mean != found["power_usd_per_kwh"]:
        yield Text(f"           {power_text(mean)} on average over the horizon")
    yield _title("Breakevens", "what a mode needs to earn its power, on average and for its last step alone")
    yield _breakevens(found["classes"])
    yield _title("Merit order", "what stays online while hashprice falls, at the average power price")
    yield _merit_order(found["merit_order"])
    yield _title(
        "Survival",
        "whom to run, throttle and mothball at each hashprice (before fees; without costs of changing and limits of power)",
    )
    yield _survival(found)
    for fate, what in (("throttle", "Throttle now"), ("mothball", "Mothball now")):
        if found["now"][fate]:
            yield Text(f"{what}: {names_text(found['now'][fate])}")
    standby = found["now"]["mothballed_standby_usd_per_day"]
    if standby > 0:
        yield Text(f"Mothballed units cost {usd_text(standby)} a day in standby until they are unplugged.")
    yield from _cash(found["cash"])
    yield _title("If difficulty falls", "")
    yield _drops(found["difficulty_drops"])


def _title(name: str, what: str) -> Text:
    return Text(f"\n{name}" + (f": {what}" if what else ""), "bold")


def _breakevens(classes: Sequence[Mapping[str, Any]]) -> Table:
    heads = ("mode", "hashrate", "power", "J/TH", "needs", "or power below", "last step", "needs", "or below")
    table = new_table("units", *heads, "per BTC", right=range(2, 11))
    for kind in classes:
        names = names_text(kind["unit_ids"])
        for mode in kind["modes"]:
            if mode["j_per_th"] is None:
                continue
            table.add_row(
                names,
                mode["mode"] if mode["on_hull"] else f"{mode['mode']} (never best)",
                rate_text(mode["th_s"]),
                f"{mode['watts']:,.6g} W",
                f"{mode['j_per_th']:,.4g}",
                hashprice_text(mode["breakeven_hashprice_usd_per_ph_day"]),
                power_text(mode["breakeven_power_usd_per_kwh"]),
                _known(mode["step_j_per_th"], lambda j_per_th: f"{j_per_th:,.4g}"),
                _known(mode["step_breakeven_hashprice_usd_per_ph_day"], hashprice_text),
                _known(mode["step_breakeven_power_usd_per_kwh"], power_text),
                _known(mode["cash_cost_usd_per_btc"], usd_text),
            )
            names = ""
    return table


def _merit_order(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = new_table("pays above", "units", "mode", "J/TH", "online", "drawn", right=(0, 3, 4, 5))
    for row in reversed(rows):
        table.add_row(
            hashprice_text(row["breakeven_hashprice_usd_per_ph_day"]),
            names_text(row["unit_ids"]),
            row["mode"],
            f"{row['step_j_per_th']:,.4g}",
            rate_text(row["online_ph_s"] * TH_PER_PH),
            f"{row['drawn_kw']:,.4g} kW",
        )
    return table


def _survival(report: Mapping[str, Any]) -> Table:
    heads = (
        "run",
        "throttle",
        "mothball",
        "hashrate",
        "power",
        "margin a day",
        "after fixed costs",
        "cash lasts",
    )
    table = new_table("hashprice", *heads, right=range(9))
    rows = sorted(
        [*report["survival"], {**report["now"], "now": True}],
        key=lambda row: -float(row["hashprice_usd_per_ph_day"]),
    )
    for row in rows:
        table.add_row(
            f"{'now ' if row.get('now') else ''}{hashprice_text(row['hashprice_usd_per_ph_day'])}",
            str(len(row["run"])),
            str(len(row["throttle"])),
            str(len(row["mothball"])),
            rate_text(row["ph_s"] * TH_PER_PH),
            f"{row['kw']:,.4g} kW",
            usd_text(row["margin_usd_per_day"]),
            usd_text(row["net_usd_per_day"]),
            _known(row["runway_days"], _days),
            style="bold" if row.get("now") else "",
        )
    return table


def _cash(cash: Mapping[str, Any]) -> Iterator[Text]:
    yield _title("Cash", "")
    line = f"{usd_text(cash['margin_usd_per_day'])} a day are left after power"
    if cash["fixed_usd_per_day"]:
        line += f", {usd_text(cash['fixed_usd_per_day'])} go to fixed costs"
    if cash["burn_usd_per_day"] > 0:
        line += f": {usd_text(cash['burn_usd_per_day'])} a day are burned"
    if cash["runway_days"] is not None:
        line += f", and {usd_text(cash['treasury_usd'])} last {_days(cash['runway_days'])}"
    elif cash["burn_usd_per_day"] > 0:
        line += " ([treasury] cash_usd tells how long that can go on)"
    yield Text(f"{line}.")
    needed = cash["needed_hashprice_usd_per_ph_day"]
    if needed is None:
        yield Text("No hashprice pays for the fixed costs.")
    elif cash["needed_difficulty_drop_ratio"] > 0:
        drop = cash["needed_difficulty_drop_ratio"]
        yield Text(f"Even at {hashprice_text(needed)}, or when difficulty has fallen by {drop:.1%}.")


def _drops(rows: Sequence[Mapping[str, Any]]) -> Table:
    table = new_table("by", "hashprice", "online", "margin a day", "gained", "cash lasts", right=range(6))
    for row in rows:
        table.add_row(
            f"{row['drop_ratio']:.0%}",
            hashprice_text(row["hashprice_usd_per_ph_day"]),
            rate_text(row["ph_s"] * TH_PER_PH),
            usd_text(row["margin_usd_per_day"]),
            usd_text(row["gain_usd_per_day"]),
            _known(row["runway_days"], _days),
        )
    return table


def _days(days: float) -> str:
    return f"{days:,.0f} days" if days >= 1 else "less than a day"


def _known(value: float | None, text: Any) -> str:
    return "" if value is None else str(text(value))
