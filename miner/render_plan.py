"""What `hashmill hashprice` and `hashmill plan` print for people, from the controller's plain reports."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from miner.render import (
    ABSURD,
    duration_text,
    hashprice_text,
    new_table,
    power_text,
    rate_text,
    time_text,
    usd_text,
    value_text,
)

SHOWN_STRETCHES: Final = 6
SHOWN_NAMES: Final = 4
UNKNOWN: Final = "unknown"
"""A mode nobody could read, in the controller's reports."""


def hashprice(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The report of `hashmill hashprice`."""
    yield from prices(report)
    retarget = report["retarget"]
    if retarget is not None:
        yield Text(
            f"Retarget   in {retarget['blocks_left']:,} blocks, about {time_text(retarget['at_s'])}: difficulty x "
            f"{retarget['ratio']:.4f} (90 %: {retarget['ratio_low']:.4f} to {retarget['ratio_high']:.4f}), then "
            f"{hashprice_text(retarget['hashprice_usd_per_ph_day'])}"
        )
    table = new_table("series", "value", "unit", "from", "age", right=(1, 4))
    for row in report["inputs"]:
        table.add_row(
            row["series"], value_text(row["value"]), row["unit"], row["source"], duration_text(row["age_s"])
        )
    yield table


def prices(report: Mapping[str, Any]) -> Iterator[Text]:
    """Hashprice and power price, or why they are not known."""
    if not report["known"]:
        yield Text("Prices are not known:", "bold yellow")
        for problem in report["problems"]:
            yield Text(f"  {problem['series']}: {problem['why']}")
        return
    line = f"Hashprice  {hashprice_text(report['hashprice_usd_per_ph_day'])}"
    btc = report.get("gross_hashprice_btc_per_ph_day")
    gross = report.get("gross_hashprice_usd_per_ph_day")
    if gross is not None and gross != report["hashprice_usd_per_ph_day"]:
        line += f" as it is paid, {hashprice_text(gross)} before"
    if btc is not None:
        line += f" ({btc:.8f} BTC)" if btc < ABSURD else f" ({btc:.3g} BTC)"
    yield Text(line)
    if report.get("earnings") is not None:
        yield Text(f"Paid       {_paid(report['earnings'])}")
    yield Text(f"Power      {power_text(report['power_usd_per_kwh'])}{_power_known(report)}")


def _power_known(report: Mapping[str, Any]) -> str:
    """Until when the power price is known, and what is expected then; nothing where it is known throughout."""
    until = report.get("power_known_until_s")
    if until is None:
        return ""
    known = "known for the moment" if until <= report["at_s"] else f"known until {time_text(until)}"
    then = _THEN.get(report["power_expected"], "taken to stay so")
    return f", {known}, then {then}"


_THEN: Final = {
    "day_ahead": "expected as the market said a day ahead",
    "typical_day": "expected as on a typical day",
}

_METHODS: Final = {
    "fitted": "the fitted model",
    "markov": "the model's chain",
    "band": "the band",
}
"""What may tell the worth of being on."""


def _real_time(report: Mapping[str, Any]) -> Iterator[Text]:
    """By what the worth of being on is known where the coming prices are not, and why not by the model."""
    told = report.get("real_time")
    if not told:
        return
    seen = "the price of this quarter hour" if told["sees"] == "A" else "prices up to the last quarter hour"
    model = f" ({told['model']})" if told["model"] and told["method"] == "fitted" else ""
    by = (
        f"reckoned by {_METHODS[told['method']]}{model}"
        if told["method"]
        else "nothing to reckon with: starts are free"
    )
    why = f"; not by the model: {told['why']}" if told["why"] and told["model"] else ""
    yield Text(f"To come    {by}, from {seen}{why}")


def _standing(unit: Mapping[str, Any]) -> Iterator[Text]:
    """What staying on is worth to a unit beyond the known prices."""
    told = unit.get("standing")
    if told and told["method"]:
        part = f"{told['ratio']:.0%} of what stopping and starting again costs"
        worth = f", {usd_text(told['worth_usd'])} in all" if unit["to_mode"] != "off" else ""
        yield Text(f"  worth    being on is worth {part}{worth}, by {_METHODS[told['method']]}")


def _paid(earnings: Mapping[str, Any]) -> str:
    """What of hashprice is paid, and what the rest goes to."""
    parts = [f"{earnings['pool_fee_ratio']:.2%} fee"]
    rejected = f"{earnings['rejected_ratio']:.2%} of the work"
    parts.append(
        f"{rejected} rejected" if earnings["rejected_is_measured"] else f"{rejected} expected to be late"
    )
    if earnings["paid_reward_ratio"] < 1:
        parts.append(f"{earnings['paid_reward_ratio']:.2%} of the reward, without transaction fees")
    if earnings["pool_work_ratio"] < 1:
        parts.append(f"{1 - earnings['pool_work_ratio']:.2%} of the work mined solo")
    whom = f" by {earnings['pool']} ({earnings['scheme']})" if earnings["pool"] else ""
    return f"{earnings['earned_ratio']:.2%} of it{whom}: {', '.join(parts)}"


def plan(report: Mapping[str, Any]) -> Iterator[RenderableType]:
    """The report of `hashmill plan`: what happens now in a line, then to each unit, why, what would change it, and what comes later.

    Units of one kind to which the same happens stand together.
    """
    if not report.get("enabled", True):
        yield Text(
            "The controller is off ([controller] enabled = false): every unit runs, whatever it costs. "
            "Switched on, it would do this:",
            "yellow",
        )
    elif report["dry_run"]:
        yield Text(
            "Dry run: this is what it would do; no unit is touched until [controller] dry_run = false.",
            "yellow",
        )
    yield from prices(report)
    yield from _real_time(report)
    if report["units"]:
        yield Text(f"Now        {_summary(report['units'])}")
    yield from _limits(report.get("limits"))
    if report.get("plan_fault"):
        yield Text(f"No plan    {report['plan_fault']}", "bold red")
    yield Text("")
    for alike in _alike(report["units"]):
        yield from _units(alike)
    if not report["units"]:
        yield Text("No unit to plan for: [cpu] threads = 0, and no [[unit]] with a gate.", "yellow")
    elif report["value_usd"] is not None:
        gap = report["gap_ratio"] or 0.0
        yield Text(
            f"Worth {usd_text(report['value_usd'])} until {time_text(report['horizon_ends_at_s'])}; no plan could earn "
            f"more than {usd_text(report['bound_usd'])} (gap {gap:.4%})."
        )


def _limits(limits: Mapping[str, Any] | None) -> Iterator[Text]:
    """What binds the whole site: its power, signals, what persons asked for, and what cannot be kept."""
    if limits is None:
        return
    if limits["cap_kw"] is not None:
        drawn = "" if limits["drawn_kw"] is None else f"{limits['drawn_kw']:,.6g} kW are drawn, "
        price = limits["shadow_price_usd_per_kwh"] or 0.0
        worth = f"; one kWh more would be worth {power_text(price)}" if price > 0 else ""
        yield Text(f"Site       {drawn}the most is {limits['cap']}{worth}")
    for signal in limits["signals"]:
        when = "in force" if signal["active"] else f"from {time_text(signal['from_s'])}"
        limit = "" if signal["cap_kw"] is None else f" {signal['cap_kw']:,.6g} kW"
        until = _until(signal["to_s"])
        yield Text(f"Signal     {signal['signal']} ({signal['action']}{limit}) {when} {until}", "cyan")
    for wish in limits["overrides"]:
        why = f": {wish['why']}" if wish["why"] else ""
        said = f"{wish['unit']} {wish['mode']} {_until(wish['to_s'])}, by {wish['who']}{why}"
        yield Text(f"Override   {said}", "cyan")
    for broken in limits["broken"]:
        when = f"from {time_text(broken['start'])} until {time_text(broken['stop'])}"
        yield Text(f"Cannot be  {broken['why']} ({when})", "bold red")


def _until(at: float | None) -> str:
    return "until it is ended by hand" if at is None else f"until {time_text(at)}"


def names_text(names: Sequence[str]) -> str:
    """The names, or the first of them and how many there are."""
    if len(names) <= SHOWN_NAMES:
        return ", ".join(names)
    return f"{', '.join(names[: SHOWN_NAMES - 1])} ... {names[-1]} ({len(names)} units)"


def _summary(units: Sequence[Mapping[str, Any]]) -> str:
    """How many units stay, start, stop or change."""
    counts: dict[str, int] = {}
    for unit in units:
        kind = _kind(unit)
        counts[kind] = counts.get(kind, 0) + 1
    told = ", ".join(f"{counts[kind]} {kind}" for kind in _KINDS if kind in counts)
    return f"{len(units)} {'unit' if len(units) == 1 else 'units'}: {told}"


_KINDS: Final = (
    "on and staying so",
    "off and staying so",
    "to stop",
    "to start",
    "to change mode",
    "unreachable",
)


def _kind(unit: Mapping[str, Any]) -> str:
    before, after = unit["from_mode"], unit["to_mode"]
    if unit["reason"] == "unreachable":
        return "unreachable"
    if before == after:
        return "off and staying so" if after == "off" else "on and staying so"
    if after == "off":
        return "to stop"
    return "to start" if before in {"off", UNKNOWN} else "to change mode"


def _alike(units: Sequence[Mapping[str, Any]]) -> Iterator[list[Mapping[str, Any]]]:
    """Units that would read the same but for their names, in the order of the first of each."""
    groups: dict[str, list[Mapping[str, Any]]] = {}
    for unit in units:
        groups.setdefault(repr([unit.get(key) for key in _TOLD]), []).append(unit)
    yield from groups.values()


_TOLD: Final = ("from_mode", "to_mode", "reason", "flip", "standing", "next", "modes")


def _units(alike: Sequence[Mapping[str, Any]]) -> Iterator[RenderableType]:
    unit = alike[0]
    yield _headline(names_text([each["unit"] for each in alike]), unit)
    yield Text(f"  why      {unit['why']} ({unit['reason']})")
    if unit["flip"]:
        yield Text(f"  changes  {unit['flip']}")
    yield from _standing(unit)
    yield Text(f"  later    {_path(unit['next'])}")
    yield _modes(unit)


def _headline(who: str, unit: Mapping[str, Any]) -> Text:
    before, after = unit["from_mode"], unit["to_mode"]
    move = f"stays {after}" if before == after else f"goes from {before} to {after}"
    if before == UNKNOWN:
        move = f"goes to {after} (the mode it is in is not known)"
    return Text(f"{who}: {move}", "bold" if before == after else "bold cyan")


def _path(stretches: Sequence[Mapping[str, Any]]) -> str:
    if not stretches:
        return "not planned: prices are not known"
    words = [
        f"{stretch['mode']} until {time_text(stretch['to_s'])}" for stretch in stretches[:SHOWN_STRETCHES]
    ]
    more = len(stretches) - SHOWN_STRETCHES
    return ", then ".join(words) + (f", and {more} more changes" if more > 0 else "")


def _modes(unit: Mapping[str, Any]) -> Table:
    """Each mode; it pays where its last step does, since the next watt decides and not the average."""
    table = new_table(
        "mode", "hashrate", "power", "earns per hour", "pays above", "or with power below", right=range(1, 6)
    )
    for mode in unit["modes"]:
        chosen = mode["mode"] == unit["to_mode"]
        table.add_row(
            f"> {mode['mode']}" if chosen else f"  {mode['mode']}",
            rate_text(mode["th_s"]),
            f"{mode['watts']:,.6g} W",
            _if_known(usd_text, mode.get("margin_usd_per_hour")),
            _if_known(hashprice_text, mode.get("step_breakeven_hashprice_usd_per_ph_day"))
            if mode["on_hull"]
            else "never best",
            _if_known(power_text, mode.get("step_breakeven_power_usd_per_kwh")),
            style="bold" if chosen else "",
        )
    return table


def _if_known(text: Any, value: float | None) -> str:
    return "" if value is None else str(text(value))
