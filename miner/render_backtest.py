"""What `hashmill backtest` prints for people, from its plain result."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from miner.render import new_table

MOST_GAPS = 10
"""So many gaps are told one by one."""


def backtest(result: Mapping[str, Any], policies: Mapping[str, str]) -> Iterator[RenderableType]:
    """What was judged, a table for each class, the gaps; `policies` says in words what each policy does."""
    period, settings = result["period"], result["settings"]
    yield (
        f"From {period['from']} to {period['to']}, {period['counted_hours']:,.10g} of {period['hours']:,.10g} hours count. "
        f"{result['settles'].capitalize()} prices are paid; decisions see {result['sees_text']} ({result['sees']})."
    )
    model = settings.get("--model")
    yield (
        f"Restart {settings['--restart-minutes']:g} min, change of mode {settings['--change-minutes']:g} min, "
        f"{settings['--adder-usd-per-mwh']:g} USD/MWh on top, fee {100 * settings['--fee']:g} %, "
        f"{f'model {model}' if model else 'no model: what was fitted to no market decides'}."
    )
    for key, fleet in result["fleets"].items():
        how_many = f", {fleet['units']} units" if fleet["units"] > 1 else ""
        yield Text(f"\n{fleet['title']}: {fleet['kw']:,.4g} kW{how_many}", "bold")
        yield _table(result[key], policies)
        singles = fleet["single_modes_usd"]
        if len(singles) > 1:
            yield "Alone: " + ", ".join(f"{name} ${usd:,.2f}" for name, usd in singles.items())
    if result["together"] is not None:
        yield Text(f"\nAll together under {settings['--cap-kw']:,.4g} kW", "bold")
        yield _table(result["together"], policies)
    gaps = result["gaps"]
    if gaps:
        yield Text(f"\n{len(gaps)} gaps: hours without a price do not count", "bold")
        yield from gaps[:MOST_GAPS]
        if len(gaps) > MOST_GAPS:
            yield f"and {len(gaps) - MOST_GAPS} more; --json names all"
    yield from (Text(f"Note: {note}.", "yellow") for note in result["notes"])


def _table(each: Mapping[str, Mapping[str, Any]], policies: Mapping[str, str]) -> Table:
    table = new_table(
        "policy", "USD", "regret", "95 %", "starts", "changes", "uptime", "what it does", right=range(1, 7)
    )
    for name, found in each.items():
        table.add_row(
            name,
            f"{found['usd']:,.2f}",
            _percent(found["regret"]),
            _between(found["regret_low"], found["regret_high"]),
            f"{found['starts']:,}",
            f"{found['changes']:,}",
            f"{100 * found['uptime']:.2f} %",
            policies[name],
        )
    return table


def _percent(regret: float | None) -> str:
    return "-" if regret is None else f"{100 * regret:.3f} %"


def _between(low: float | None, high: float | None) -> str:
    return "" if low is None or high is None else f"{100 * low:.3f} to {100 * high:.3f}"
