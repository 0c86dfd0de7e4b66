"""Writes docs/metrics.md from the metrics themselves: `python -m miner.metrics_reference > docs/metrics.md`."""

import sys
from collections.abc import Iterator
from typing import Final

from miner.metrics import BLOCK_RESULTS, Metrics
from miner.metrics_pools import RESULTS as POOL_RESULTS

_INTRO: Final = """\
# Metrics

<!-- Written by `python -m miner.metrics_reference > docs/metrics.md`; a test compares the two. -->

`GET /metrics` on the address of `[http] listen` gives them in Prometheus's text format, or in OpenMetrics to who asks for it.
Units are base units, and stand in the name. A value that is not known is absent, never zero: a price that nobody told is not
a price of zero, so alert on `absent()` as well as on thresholds. Counters begin at zero with each start of the daemon.
"""

LABELS: Final = {
    "unit": "the unit's id; `cpu` is this machine's own threads, a worker without a `[[unit]]` is called by its user name. Units beyond "
    "`[http] most_unit_metrics` are added up as `(others)`",
    "mode": "a mode of the unit, as `[cpu] modes` names it; `off`, `half` and `full` where it names none",
    "method": "`fitted` (the model), `markov` (the model's chain, where its trees cannot judge), `band` (where neither can, or there is no model)",
    "series": "what was observed: `btc_usd`, `power_usd_per_kwh`, `power_day_ahead_usd_per_kwh`, `network_difficulty`, `subsidy_sat`, `fees_sat_per_block`, "
    "`hashprice_usd_per_ph_day`, `chain_height`, `epoch_start_time_s`, `tip_time_s`",
    "to": "the mode decided on",
    "reason": "why, by the codes of docs/operating.md",
    "event": "`came` (a miner logged in), `went` (a connection ended), `refused` (a connection was not let in), `login_refused`",
    "outcome": "`applied` (the unit took the order), `confirmed` (it was read back), `failed`, `unsupported`, `superseded` (a newer decision took its "
    "place), `interrupted` (the daemon ended meanwhile)",
    "node": "the bitcoind's `name`, host:port of its `rpc_url` where it has none",
    "pool": "the pool's `name`, host:port of its `url` where it has none",
    "kind": "`pays_nobody_we_know`, `absurd_difficulty`, `unknown_prev_hash`, `left_behind`: see docs/operating.md",
    "version": "Hashmill's version",
    "kernel": "the hashing kernel in use; `hashmill bench` lists them",
}
"""What stands in a label, the same in every metric that has it; `result` depends on the metric."""

RESULTS: Final = {
    "hashmill_shares_total": "`accepted`, or why not: `stale`, `duplicate`, `low_difficulty`, `job_not_found`, `time_too_old`, "
    "`time_too_new`, `bad_version`, `bad_nonce`, `bad_extranonce`, `table_full`",
    "hashmill_blocks_total": ", ".join(f"`{result}`" for result in BLOCK_RESULTS),
    "hashmill_pool_shares_total": ", ".join(f"`{result}`" for result in POOL_RESULTS)
    + " (the pool did not answer, nobody knows)",
    "hashmill_pool_share_work_total": "the same",
}
"""What stands in the label `result` of each metric that has it."""


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    catalogue = Metrics("", "").catalogue
    yield _INTRO
    yield "| metric | kind | labels | meaning |"
    yield "|---|---|---|---|"
    for info in catalogue:
        labels = ", ".join(f"`{label}`" for label in info.labels)
        yield f"| `{info.name}` | {info.kind} | {labels} | {info.text} |"
    yield "\n`process_cpu_seconds_total`, `process_resident_memory_bytes`, `process_open_fds` and their like are the daemon's own.\n"
    yield "## Labels\n"
    for label, text in LABELS.items():
        yield f"- `{label}`: {text}."
    for name, text in RESULTS.items():
        yield f"- `result` of `{name}`: {text}."
    yield ""


if __name__ == "__main__":
    sys.stdout.write(reference())
