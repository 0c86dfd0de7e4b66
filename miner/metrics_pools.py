"""What Prometheus may know of pools: where each stands, read when it asks; shares, answers and suspicions as they come."""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Protocol

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

from miner.metrics_units import HASHES_PER_DIFFICULTY, MetricInfo

#: A pool in the next town answers in 10 ms, one beyond the ocean in 200; after 10 s it is left.
ANSWER_BUCKETS_S: Final = (0.01, 0.02, 0.05, 0.1, 0.2, 0.3, 0.5, 1.0, 2.0, 5.0, 10.0)

#: What can become of a share that went up; each is there from the start, so that the first one is seen to happen.
RESULTS: Final = ("accepted", "rejected", "in_doubt")

ACTIVE: Final = "active"
"""The state of the pool that is mined for."""

UP: Final = MetricInfo("hashmill_pool_up", "gauge", ("pool",), "1 while a pool serves work, 0 otherwise.")
IS_ACTIVE: Final = MetricInfo(
    "hashmill_pool_active", "gauge", ("pool",), "1 for the pool that is mined for, 0 for others."
)
DIFFICULTY: Final = MetricInfo(
    "hashmill_pool_difficulty", "gauge", ("pool",), "Difficulty that a pool wants its shares to have."
)
FAILOVERS: Final = MetricInfo(
    "hashmill_pool_failovers_total", "counter", (), "Times a pool was left because it failed."
)
SHARES: Final = MetricInfo(
    "hashmill_pool_shares_total",
    "counter",
    ("pool", "result"),
    "Shares handed to a pool, by its word on them.",
)
WORK: Final = MetricInfo(
    "hashmill_pool_share_work_total",
    "counter",
    ("pool", "result"),
    "Expected hashes behind the shares handed to a pool, by its word on them.",
)
ANSWER_SECONDS: Final = MetricInfo(
    "hashmill_pool_answer_seconds",
    "histogram",
    ("pool",),
    "Time from a share being sent to a pool until it answered.",
)
SUSPICIONS: Final = MetricInfo(
    "hashmill_pool_suspicions_total",
    "counter",
    ("pool", "kind"),
    "Jobs of a pool that were not what a pool would send.",
)
CATALOGUE: Final = (UP, IS_ACTIVE, DIFFICULTY, SHARES, WORK, ANSWER_SECONDS, FAILOVERS, SUSPICIONS)


class PoolState(Protocol):
    """A pool as it is now, in the order of the configuration; `difficulty` None was not told yet."""

    @property
    def name(self) -> str:
        """What the configuration calls it."""
        ...

    @property
    def state(self) -> str:
        """`active` for the one that is mined for."""
        ...

    @property
    def is_up(self) -> bool:
        """Whether it serves work."""
        ...

    @property
    def difficulty(self) -> float | None:
        """What its shares must have."""
        ...

    @property
    def failovers(self) -> int:
        """How often it was left because it failed."""
        ...


class _States(Collector):
    """Gives what `pools` says when it is asked."""

    def __init__(self) -> None:
        self.pools: Callable[[], Iterable[PoolState]] = tuple

    def collect(self) -> Iterator[Metric]:
        families = [
            GaugeMetricFamily(info.name, info.text, labels=info.labels)
            for info in (UP, IS_ACTIVE, DIFFICULTY)
        ]
        up, active, difficulty = families
        failovers = None
        for pool in self.pools():
            up.add_metric([pool.name], pool.is_up)
            active.add_metric([pool.name], pool.state == ACTIVE)
            if pool.difficulty is not None:
                difficulty.add_metric([pool.name], pool.difficulty)
            failovers = pool.failovers + (failovers or 0)
        yield from families
        if failovers is not None:
            yield CounterMetricFamily(FAILOVERS.name, FAILOVERS.text, value=failovers)


class PoolMetrics:
    """The metrics of pools in a registry, which has them only where this was made; methods are named after what happened."""

    def __init__(self, registry: CollectorRegistry) -> None:
        self._states = _States()
        registry.register(self._states)
        self._shares = Counter(SHARES.name, SHARES.text, SHARES.labels, registry=registry)
        self._work = Counter(WORK.name, WORK.text, WORK.labels, registry=registry)
        self._answers = Histogram(
            ANSWER_SECONDS.name,
            ANSWER_SECONDS.text,
            ANSWER_SECONDS.labels,
            buckets=ANSWER_BUCKETS_S,
            registry=registry,
        )
        self._suspicions = Counter(SUSPICIONS.name, SUSPICIONS.text, SUSPICIONS.labels, registry=registry)

    def follow(self, pools: Callable[[], Iterable[PoolState]]) -> None:
        """Read where each pool stands from `pools` at every scrape; those it has now begin to count at zero."""
        self._states.pools = pools
        for pool in pools():
            for result in RESULTS:
                self._shares.labels(pool.name, result)
                self._work.labels(pool.name, result)

    def answered(self, pool: str, result: str, credited: float, took_s: float) -> None:
        """A pool's word on a share of its difficulty `credited` came after `took_s` seconds, or will not come (`in_doubt`)."""
        self._shares.labels(pool, result).inc()
        self._work.labels(pool, result).inc(credited * HASHES_PER_DIFFICULTY)
        if result != "in_doubt":
            self._answers.labels(pool).observe(took_s)

    def suspected(self, pool: str, kind: str) -> None:
        """A pool's job was suspicious, for a reason of this kind."""
        self._suspicions.labels(pool, kind).inc()
