"""What the command line prints for people: tables and sentences from plain reports and rows."""

import sys
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Final

from rich.box import SIMPLE_HEAD
from rich.console import Console, RenderableType
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from miner.checks import CheckRow
    from miner.hashing.bench import Measurement
    from miner.ledger.rows import BlockRow, DecisionRow, OutcomeRow, PoolShareRow, PoolShareSums, ShareRow

PIPED_WIDTH: Final = 200
"""Columns of a table that goes to a file or a pipe, where no terminal says how wide it may be."""
SECONDS_PER_HOUR: Final = 3600
ABSURD: Final = 1e9
"""Prices from here on, as regtest's difficulty makes them, are told by their power of ten."""


def show(*parts: RenderableType) -> None:
    """Print to standard output; what stands in brackets is text, not markup."""
    console = Console(
        markup=False, highlight=False, emoji=False, width=None if sys.stdout.isatty() else PIPED_WIDTH
    )
    for part in parts:
        console.print(part)


# ---- check ---------------------------------------------------------------------------------------------------


def checks(rows: Iterable["CheckRow"]) -> Table:
    """One line for everything checked, what is wrong in colour."""
    words = {True: Text("ok", "green"), None: Text("warning", "yellow"), False: Text("failed", "bold red")}
    table = new_table("", "checked", "found")
    for row in rows:
        table.add_row(words[row.ok], row.subject, row.detail)
    return table


# ---- bench and log -------------------------------------------------------------------------------------------


def bench(results: Iterable["Measurement"]) -> Table:
    """Speed of each kernel, by the versions hashed side by side and the threads."""
    heads = ("kernel", "versions", "threads", "MH/s best", "median", "worst", "cycles per hash")
    table = new_table(*heads, right=range(1, 7))
    for row in results:
        table.add_row(
            row["kernel"],
            str(row["versions"]),
            str(row["threads"]),
            f"{row['mh_s_best']:.2f}",
            f"{row['mh_s_median']:.2f}",
            f"{row['mh_s_worst']:.2f}",
            f"{row['cycles_per_hash']:.1f}",
        )
    return table


def decisions(rows: Iterable["DecisionRow"], outcomes: Mapping[str, Sequence["OutcomeRow"]]) -> Table:
    """Decisions, newest first; the outcome is the last thing known of each."""
    table = new_table(
        "at", "unit", "from", "to", "reason", "hashprice", "power", "outcome", "what would change it"
    )
    for row in rows:
        told = outcomes.get(row.id, ())
        known = f"{told[-1].outcome} {told[-1].detail}".strip() if told else "dry run" if row.dry_run else ""
        table.add_row(
            time_text(row.at),
            row.unit_id,
            row.from_mode or "unknown",
            row.to_mode,
            row.reason,
            _number(hashprice_text, row.numbers.get("hashprice_usd_per_ph_day")),
            _number(power_text, row.numbers.get("power_usd_per_kwh")),
            known,
            row.flip,
        )
    return table


def verification(report: Mapping[str, Any], limit: int) -> list[RenderableType]:
    """What came of deciding again: how many are the same, what differs, and what could not be compared, and why."""
    same = f"{report['ticks']} ticks since {time_text(report['since_s'])}: {report['same']} decisions made again, the same to the bit"
    others = ", ".join(f"{report[each]} {each}" for each in ("different", "unreadable"))
    found: list[RenderableType] = [f"{same}; {others}, {report['not_compared']} not compared"]
    found += [
        f"{told}: {each['decisions']} decisions: {each['why']}"
        for told, kind in (("unreadable", "unreadable_why"), ("not compared", "not_compared_why"))
        for each in report[kind]
    ]
    if report["differences"]:
        table = new_table("at", "unit", "what", "kept", "made again")
        for each in report["differences"][:limit]:
            row = (each["unit_id"], each["what"], each["kept"], each["recomputed"])
            table.add_row(time_text(each["at"]), *row)
        found.append(table)
        if len(report["differences"]) > limit:
            found.append(f"and {len(report['differences']) - limit} more: --limit shows them")
    return found


def blocks(rows: Iterable["BlockRow"]) -> Table:
    """Blocks found, newest first."""
    table = new_table(
        "found", "height", "hash", "status", "confirmed", "reward BTC", "unit", "detail", right=(1, 4, 5)
    )
    for row in rows:
        status = f"{row.status}, found stale" if row.stale else row.status
        reward = f"{row.reward_sat / 1e8:.8f}"
        table.add_row(
            time_text(row.found_at),
            f"{row.height:,}",
            row.hash,
            status,
            f"{row.confirmations:,}",
            reward,
            row.unit_id,
            row.detail,
        )
    return table


def shares(rows: Iterable["ShareRow"]) -> Table:
    """Accepted shares, newest first."""
    table = new_table("at", "unit", "difficulty", "of the hash", "job", "hash", "on block", right=(2, 3))
    for row in rows:
        table.add_row(
            time_text(row.at),
            row.unit,
            value_text(row.difficulty),
            value_text(row.share_difficulty),
            row.job_id,
            row.hash,
            row.prev_hash,
        )
    return table


def pool_sums(sums: Mapping[str, "PoolShareSums"]) -> Table:
    """What became of all shares handed to each pool; the work is in its difficulties."""
    heads = ("pool", "found", "accepted", "rejected", "in doubt", "waiting", "work accepted", "work rejected")
    table = new_table(*heads, "rejected part", right=range(1, 9))
    for pool, known in sums.items():
        ratio = known.rejected_ratio
        table.add_row(
            pool,
            f"{known.found:,}",
            f"{known.accepted:,}",
            f"{known.rejected:,}",
            f"{known.in_doubt:,}",
            f"{known.waiting:,}",
            value_text(known.work_accepted),
            value_text(known.work_rejected),
            "" if ratio is None else f"{ratio:.2%}",
        )
    return table


def pool_shares(rows: Iterable["PoolShareRow"]) -> Table:
    """Shares handed to pools, newest first, with their word on each."""
    table = new_table(
        "at", "pool", "unit", "difficulty", "of the hash", "result", "answered", "hash", right=(3, 4, 6)
    )
    for row in rows:
        code = "" if row.code is None else str(row.code)
        took = "" if row.answered_at is None else f"{row.answered_at - row.at:.3f} s"
        table.add_row(
            time_text(row.at),
            row.pool,
            row.unit_name,
            value_text(row.credited),
            value_text(row.difficulty),
            " ".join(filter(None, (row.result.replace("_", " "), code, row.detail))),
            took,
            row.hash,
        )
    return table


def _number(text: Any, value: object) -> str:
    return str(text(value)) if isinstance(value, int | float) else ""


# ---- words for numbers ---------------------------------------------------------------------------------------


def value_text(value: float) -> str:
    """Any number: whole where it is large, to eight digits where it is not."""
    return f"{value:,.0f}" if abs(value) >= 1e6 else f"{value:,.8g}"  # noqa: PLR2004 - its digits say enough


def usd_text(value: float) -> str:
    """Dollars, to the cent or, where a cent would say nothing, to three digits."""
    sign, size = ("-" if value < 0 else ""), abs(value)
    return f"{sign}${size:,.2f}" if 1 <= size < ABSURD or size == 0 else f"{sign}${size:.3g}"


def hashprice_text(usd_per_ph_day: float) -> str:
    """Such as $41.20/PH/day; in the words of the controller's own `flip`."""
    return f"{usd_text(usd_per_ph_day)}/PH/day"


def power_text(usd_per_kwh: float) -> str:
    """Such as 5.9 ct/kWh, to three digits; in the words of the controller's own `flip`."""
    cents = usd_per_kwh * 100
    return f"{cents:,.0f} ct/kWh" if 1000 <= abs(cents) < ABSURD else f"{cents:.3g} ct/kWh"  # noqa: PLR2004 - three digits end there


def rate_text(th_s: float) -> str:
    """A hashrate in the unit that leaves one to three digits before the point."""
    rate = th_s * 1e12
    for unit in ("H/s", "kH/s", "MH/s", "GH/s", "TH/s", "PH/s"):
        if rate < 1000:  # noqa: PLR2004 - the step from unit to unit
            return f"{rate:.3g} {unit}"
        rate /= 1000
    return f"{rate:,.3g} EH/s"


def time_text(at: float) -> str:
    """UTC, to the second."""
    return f"{datetime.fromtimestamp(at, tz=UTC):%Y-%m-%d %H:%M:%SZ}"


def duration_text(seconds: float) -> str:
    """Such as 12 s, 3.4 min, 2.0 h."""
    if seconds < 120:  # noqa: PLR2004 - minutes say less below two of them
        return f"{seconds:.0f} s"
    if seconds < 2 * SECONDS_PER_HOUR:
        return f"{seconds / 60:.1f} min"
    return f"{seconds / SECONDS_PER_HOUR:.1f} h"


def new_table(*columns: str, right: Iterable[int] = ()) -> Table:
    """An empty table with these columns, those numbered in `right` set to the right."""
    table = Table(box=SIMPLE_HEAD, pad_edge=False)
    numbers = set(right)
    for position, column in enumerate(columns):
        # A hash is for copying: other columns make room for it.
        table.add_column(
            column,
            justify="right" if position in numbers else "left",
            overflow="fold",
            no_wrap=column == "hash",
        )
    return table
