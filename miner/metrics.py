"""What Prometheus may know of a running daemon: every name as users' dashboards and alerts expect it.

A value that is not known is absent, never zero: a price that nobody told is not a price of zero.
"""

import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import suppress
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector
from prometheus_client.core import GaugeMetricFamily, Metric
from prometheus_client.exposition import choose_encoder, generate_latest
from prometheus_client.registry import Collector

from miner.metrics_pools import CATALOGUE as POOL_CATALOGUE
from miner.metrics_units import CATALOGUE, MetricInfo, ServerCounts, UnitCollector, UnitCounts

#: From the block's first sight to work on it everywhere: 5 ms to 10 s.
TIP_TO_WORK_BUCKETS_S: Final = (0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0)

#: Planning one unit takes milliseconds, a hundred thousand of them seconds.
PLAN_BUCKETS_S: Final = (0.001, 0.003, 0.01, 0.03, 0.1, 0.3, 1.0, 3.0, 10.0)

#: A commit of shares takes a millisecond on a good disk; seconds mean that the ledger stalls.
COMMIT_BUCKETS_S: Final = (0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.3, 1.0, 3.0, 10.0)

#: What can become of a block; each is there from the start, so that the first one is seen to happen.
BLOCK_RESULTS: Final = ("found", "accepted", "rejected", "orphaned", "mature")

READINGS: Final = {
    "hashmill_hashprice_usd_per_ph_day": "Expected revenue of one PH/s for a day, in US dollars, after pool fee and stale work.",
    "hashmill_hashprice_btc_per_ph_day": "Expected revenue of one PH/s for a day, in BTC, after pool fee and stale work.",
    "hashmill_btc_usd": "Price of one BTC in US dollars.",
    "hashmill_power_usd_per_kwh": "Price of power in US dollars.",
    "hashmill_network_difficulty": "Difficulty that hashprice is reckoned with.",
    "hashmill_retarget_expected_ratio": "Expected difficulty after the next retarget, over today's.",
    "hashmill_plan_gap_ratio": "How far the plan may be from the best one, over what that could earn at most.",
    "hashmill_template_height": "Height of the block being worked on.",
}


TEMPLATE_AGE: Final = ("hashmill_template_age_seconds", "Age of the block template being worked on.")
MODEL_AGE: Final = (
    "hashmill_worth_model_age_seconds",
    "Time since the end of the prices that the model of [controller.real_time] was fitted on.",
)
SERIES_AGE: Final = ("hashmill_series_age_seconds", "Time since a series was last observed.")


class _Readings(Collector):
    """Values without labels that are absent until first set, and ages reckoned when they are read."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self.values: dict[str, float] = {}
        self.template_at: float | None = None
        self.fitted_until: float | None = None
        self.series_at: dict[str, float] = {}

    def collect(self) -> Iterator[Metric]:
        now = self._clock()
        for name, value in self.values.items():
            yield GaugeMetricFamily(name, READINGS[name], value=value)
        if self.template_at is not None:
            yield GaugeMetricFamily(*TEMPLATE_AGE, value=now - self.template_at)
        if self.fitted_until is not None:
            yield GaugeMetricFamily(*MODEL_AGE, value=now - self.fitted_until)
        ages = GaugeMetricFamily(*SERIES_AGE, labels=["series"])
        for series, observed_at in self.series_at.copy().items():
            ages.add_metric([series], now - observed_at)
        yield ages


class _Exposed(Collector):
    """A registry without the creation times of its counters, which would double every series."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._registry = registry

    def collect(self) -> Iterator[Metric]:
        for metric in self._registry.collect():
            metric.samples = [sample for sample in metric.samples if not sample.name.endswith("_created")]
            yield metric


class _Taken(Collector):
    """Metrics as they were at one moment."""

    def __init__(self, metrics: list[Metric]) -> None:
        self._metrics = metrics

    def collect(self) -> Iterator[Metric]:
        return iter(self._metrics)


def render_as(metrics: Collector, accept: str) -> tuple[bytes, str]:
    """`metrics` in the format that suits an Accept header best (text or OpenMetrics), and its content type."""
    encode, content_type = choose_encoder(accept)
    return encode(metrics), content_type


class Metrics:
    """The daemon's metrics, in a `registry` of their own; methods are named after what happened.

    Where there are pools, `miner.metrics_pools` adds theirs to the registry; the catalogue names them in any case. `clock` gives UTC unix seconds; ages are reckoned with it when the metrics are read.
    """

    def __init__(self, version: str, kernel: str, clock: Callable[[], float] = time.time) -> None:
        registry = self.registry = CollectorRegistry()
        self._exposed = _Exposed(registry)
        self._readings = _Readings(clock)
        registry.register(self._readings)
        self._units = UnitCollector()
        registry.register(self._units)
        ProcessCollector(registry=registry)
        self._unit_modes: dict[str, set[str]] = {}
        catalogue = [MetricInfo(name, "gauge", (), text) for name, text in READINGS.items()]
        catalogue.append(MetricInfo(TEMPLATE_AGE[0], "gauge", (), TEMPLATE_AGE[1]))
        catalogue.append(MetricInfo(MODEL_AGE[0], "gauge", (), MODEL_AGE[1]))
        catalogue.append(MetricInfo(SERIES_AGE[0], "gauge", ("series",), SERIES_AGE[1]))
        catalogue += CATALOGUE
        catalogue += POOL_CATALOGUE

        def gauge(name: str, text: str, *labels: str) -> Gauge:
            catalogue.append(MetricInfo(name, "gauge", labels, text))
            return Gauge(name, text, labels, registry=registry)

        def counter(name: str, text: str, *labels: str) -> Counter:
            catalogue.append(MetricInfo(name, "counter", labels, text))
            return Counter(name, text, labels, registry=registry)

        def histogram(name: str, text: str, buckets: tuple[float, ...]) -> Histogram:
            catalogue.append(MetricInfo(name, "histogram", (), text))
            return Histogram(name, text, buckets=buckets, registry=registry)

        self._unit_power = gauge("hashmill_unit_power_watts", "Power that a unit draws.", "unit")
        self._unit_mode = gauge(
            "hashmill_unit_mode", "1 for the mode a unit is in, 0 for others.", "unit", "mode"
        )
        self._unit_breakeven = gauge(
            "hashmill_unit_breakeven_usd_per_kwh", "Power price at which a unit earns nothing.", "unit"
        )
        self._unit_margin = gauge(
            "hashmill_unit_margin_usd_per_hour",
            "What a unit earns beyond its power, in the mode it is in.",
            "unit",
        )
        self._worth_method = gauge(
            "hashmill_worth_method",
            "Units by what told the worth of being on, where the coming power price is not known.",
            "method",
        )
        self._decisions = counter(
            "hashmill_decisions_total", "Decisions of the controller, holds included.", "to", "reason"
        )
        self._actuations = counter(
            "hashmill_actuations_total", "Decisions carried out, by what was read back.", "unit", "outcome"
        )
        self._blocks = counter("hashmill_blocks_total", "Blocks found, and what became of them.", "result")
        for result in BLOCK_RESULTS:
            self._blocks.labels(result)
        self._bitcoind_up = gauge("hashmill_bitcoind_up", "1 while a bitcoind answers, 0 otherwise.", "node")
        self._ticks_dropped = counter(
            "hashmill_ledger_ticks_dropped_total", "Observations that the ledger had no room for."
        )
        self._plan_seconds = histogram(
            "hashmill_plan_seconds", "Time that making a plan took.", PLAN_BUCKETS_S
        )
        self._tip_to_work = histogram(
            "hashmill_tip_to_work_seconds",
            "Time from the first sight of a new block to work on top of it everywhere.",
            TIP_TO_WORK_BUCKETS_S,
        )
        self._commit_seconds = histogram(
            "hashmill_share_commit_seconds",
            "Time from a batch of shares being handed to the ledger until it is on the disk and they are answered.",
            COMMIT_BUCKETS_S,
        )
        build = gauge("hashmill_build_info", "Always 1; the labels say what is running.", "version", "kernel")
        build.labels(version, kernel).set(1)
        self.catalogue: Final = tuple(catalogue)

    def market_valued(
        self,
        *,
        hashprice_usd_per_ph_day: float | None = None,
        hashprice_btc_per_ph_day: float | None = None,
        btc_usd: float | None = None,
        power_usd_per_kwh: float | None = None,
        network_difficulty: float | None = None,
        retarget_expected_ratio: float | None = None,
    ) -> None:
        """The controller looked at the market; what it did not learn (None) is no longer shown."""
        self._read("hashmill_hashprice_usd_per_ph_day", hashprice_usd_per_ph_day)
        self._read("hashmill_hashprice_btc_per_ph_day", hashprice_btc_per_ph_day)
        self._read("hashmill_btc_usd", btc_usd)
        self._read("hashmill_power_usd_per_kwh", power_usd_per_kwh)
        self._read("hashmill_network_difficulty", network_difficulty)
        self._read("hashmill_retarget_expected_ratio", retarget_expected_ratio)

    def plan_made(self, seconds: float, gap_ratio: float) -> None:
        """A plan was made, in so many seconds, at most so far from the best."""
        self._plan_seconds.observe(seconds)
        self._read("hashmill_plan_gap_ratio", gap_ratio)

    def plan_missing(self) -> None:
        """There is no plan, since prices are not known: its gap is not shown."""
        self._read("hashmill_plan_gap_ratio", None)

    def model_fitted(self, until: float) -> None:
        """The model in use was fitted on prices up to then (UTC unix seconds); its age counts from there."""
        self._readings.fitted_until = until

    def worth_told(self, units: Mapping[str, int]) -> None:
        """By each of these methods the worth of being on was told for so many units."""
        for method, count in units.items():
            self._worth_method.labels(method).set(count)

    def series_observed(self, series: str, observed_at: float) -> None:
        """A series had this value at `observed_at`; its age counts from there."""
        self._readings.series_at[series] = observed_at

    def unit_observed(
        self,
        unit: str,
        *,
        hashrate_hashes_per_second: float | None,
        power_watts: float | None,
        mode: str | None,
        modes: Iterable[str] = (),
    ) -> None:
        """A unit was read; None is not known and not shown. `modes` are those it could be in, `mode` the one it is."""
        self._units.tell_hashrate(unit, hashrate_hashes_per_second)
        _show(self._unit_power, unit, power_watts)
        known = self._unit_modes.setdefault(unit, set())
        known.update(modes)
        if mode is not None:
            known.add(mode)
        for name in known:
            self._unit_mode.labels(unit, name).set(1 if name == mode else 0)

    def unit_valued(
        self, unit: str, *, breakeven_usd_per_kwh: float | None, margin_usd_per_hour: float | None
    ) -> None:
        """A unit's economics were reckoned; None is not known and not shown."""
        _show(self._unit_breakeven, unit, breakeven_usd_per_kwh)
        _show(self._unit_margin, unit, margin_usd_per_hour)

    def unit_gone(self, unit: str) -> None:
        """A unit is no longer there: its gauges go, its counters stay."""
        self._units.tell_hashrate(unit, None)
        for gauge in (self._unit_power, self._unit_breakeven, self._unit_margin):
            _show(gauge, unit, None)
        for mode in self._unit_modes.pop(unit, ()):
            self._unit_mode.remove(unit, mode)

    def decision_made(self, to: str, reason: str) -> None:
        """The controller decided that a unit goes to, or stays in, mode `to`."""
        self._decisions.labels(to, reason).inc()

    def actuation_finished(self, unit: str, outcome: str) -> None:
        """A decision was carried out on a unit, with this outcome."""
        self._actuations.labels(unit, outcome).inc()

    def follow_units(self, units: Callable[[], Iterable[UnitCounts]], most: int) -> None:
        """Read what units handed in from `units` at every scrape; the first `most` have series of their own."""
        self._units.units, self._units.most_units = units, most

    def follow_server(self, server: Callable[[], ServerCounts]) -> None:
        """Read what the Stratum server counts at every scrape."""
        self._units.server = server

    def follow_ledger(self, shares_waiting: Callable[[], int]) -> None:
        """Read how many shares wait for the ledger at every scrape."""
        self._units.waiting = shares_waiting

    def shares_committed(self, seconds: float) -> None:
        """A batch of shares was on the disk so long after it was handed to the ledger."""
        self._commit_seconds.observe(seconds)

    def block_found(self) -> None:
        """One of our units found a block."""
        self._blocks.labels("found").inc()

    def block_settled(self, result: str) -> None:
        """A found block was accepted, rejected, orphaned or became mature."""
        self._blocks.labels(result).inc()

    def template_taken(self, height: int, at: float) -> None:
        """Work is on a template of this height, made at `at` by our clock."""
        self._read("hashmill_template_height", height)
        self._readings.template_at = at

    def work_withdrawn(self) -> None:
        """There is no template to work on: height and age are not shown."""
        self._read("hashmill_template_height", None)
        self._readings.template_at = None

    def work_switched(self, tip_to_work_s: float) -> None:
        """Everything that hashes got work on a new tip, so long after it was first seen."""
        self._tip_to_work.observe(tip_to_work_s)

    def node_seen(self, node: str, *, up: bool) -> None:
        """A bitcoind answered, or did not."""
        self._bitcoind_up.labels(node).set(up)

    def ticks_dropped(self, count: int) -> None:
        """The ledger had no room for so many ticks."""
        self._ticks_dropped.inc(count)

    def render(self) -> bytes:
        """All metrics in Prometheus's text format."""
        return generate_latest(self._exposed)

    def snapshot(self) -> Collector:
        """All metrics as they are now, for `render_as` to put into words later, perhaps on another thread."""
        return _Taken(list(self._exposed.collect()))

    def _read(self, name: str, value: float | None) -> None:
        if value is None:
            self._readings.values.pop(name, None)
        else:
            self._readings.values[name] = value


def _show(gauge: Gauge, unit: str, value: float | None) -> None:
    if value is not None:
        gauge.labels(unit).set(value)
        return
    with suppress(KeyError):  # it was not shown before
        gauge.remove(unit)
