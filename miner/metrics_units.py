"""What units handed in and the Stratum server sees, read where it is counted whenever Prometheus asks: a share costs nothing here."""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Final, Literal, NamedTuple

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric
from prometheus_client.registry import Collector

#: Expected hashes of a share of difficulty 1, by which the work of shares is counted.
HASHES_PER_DIFFICULTY: Final = 2**32

#: The unit under which those beyond the limit are added up.
OTHERS: Final = "(others)"

#: A day's worth of strangers must not become a day's worth of series.
MOST_UNITS: Final = 1000


class MetricInfo(NamedTuple):
    """A metric as a person looks it up: name, kind, labels, and what it says."""

    name: str
    kind: Literal["gauge", "counter", "histogram"]
    labels: tuple[str, ...]
    text: str


HASHRATE: Final = MetricInfo(
    "hashmill_unit_hashrate_hashes_per_second",
    "gauge",
    ("unit",),
    "Hashrate of a unit, from its accepted shares.",
)
SHARES: Final = MetricInfo(
    "hashmill_shares_total", "counter", ("unit", "result"), "Shares judged: accepted, or why not."
)
WORK: Final = MetricInfo(
    "hashmill_share_work_total", "counter", ("unit",), "Expected hashes behind the accepted shares."
)
BEST: Final = MetricInfo(
    "hashmill_best_share_difficulty", "gauge", (), "Difficulty of the best share since the daemon started."
)
SESSIONS: Final = MetricInfo("hashmill_sessions", "gauge", (), "Miners logged in over Stratum.")
CONNECTIONS: Final = MetricInfo(
    "hashmill_stratum_connections", "gauge", (), "Connections to the Stratum server, logged in or not."
)
EVENTS: Final = MetricInfo(
    "hashmill_stratum_events_total",
    "counter",
    ("event", "reason"),
    "Comings and goings at the Stratum server, by why.",
)
WAITING: Final = MetricInfo(
    "hashmill_ledger_shares_waiting", "gauge", (), "Shares that were credited and are not in the ledger yet."
)
CATALOGUE: Final = (HASHRATE, SHARES, WORK, BEST, SESSIONS, CONNECTIONS, EVENTS, WAITING)


class UnitCounts(NamedTuple):
    """What a unit handed in since the daemon started: shares, the sum of their difficulties, and the best of them.

    `hashes_per_second` None is not known here, or told otherwise.
    """

    unit: str
    hashes_per_second: float | None
    sessions: int
    accepted: int
    rejected: Mapping[str, int]
    work_difficulty: float
    best_difficulty: float


class ServerCounts(NamedTuple):
    """Connections of the Stratum server now, and what happened since the start, by what and why."""

    connections: int
    events: Mapping[tuple[str, str], int]


class UnitCollector(Collector):
    """Gives the share metrics of all units, those beyond the limit added up, and what the Stratum server counts.

    What nobody follows yet is absent.
    """

    def __init__(self) -> None:
        self.units: Callable[[], Iterable[UnitCounts]] = tuple
        self.most_units = MOST_UNITS
        self.server: Callable[[], ServerCounts] | None = None
        self.waiting: Callable[[], int] | None = None
        self._hashrates: dict[str, float] = {}  # of units that were read; goes before what their shares tell

    def tell_hashrate(self, unit: str, hashes_per_second: float | None) -> None:
        """A unit was read; None is not known."""
        if hashes_per_second is None:
            self._hashrates.pop(unit, None)
        else:
            self._hashrates[unit] = hashes_per_second

    def collect(self) -> Iterator[Metric]:
        """All of them, as they are now."""
        yield from self._of_units()
        if self.server is not None:
            counts = self.server()
            yield GaugeMetricFamily(CONNECTIONS.name, CONNECTIONS.text, value=counts.connections)
            events = CounterMetricFamily(EVENTS.name, EVENTS.text, labels=EVENTS.labels)
            for labels, count in counts.events.items():
                events.add_metric(labels, count)
            yield events
        if self.waiting is not None:
            yield GaugeMetricFamily(WAITING.name, WAITING.text, value=self.waiting())

    def _of_units(self) -> Iterator[Metric]:
        hashrate = GaugeMetricFamily(HASHRATE.name, HASHRATE.text, labels=HASHRATE.labels)
        shares = CounterMetricFamily(SHARES.name, SHARES.text, labels=SHARES.labels)
        work = CounterMetricFamily(WORK.name, WORK.text, labels=WORK.labels)
        for unit, rate in self._hashrates.items():
            hashrate.add_metric([unit], rate)
        best, sessions = 0.0, 0
        for counts in self._counts():
            best, sessions = max(best, counts.best_difficulty), sessions + counts.sessions
            if counts.hashes_per_second is not None and counts.unit not in self._hashrates:
                hashrate.add_metric([counts.unit], counts.hashes_per_second)
            shares.add_metric([counts.unit, "accepted"], counts.accepted)
            for reason, count in counts.rejected.items():
                shares.add_metric([counts.unit, reason], count)
            work.add_metric([counts.unit], counts.work_difficulty * HASHES_PER_DIFFICULTY)
        yield from (hashrate, shares, work)
        if self.server is not None:
            yield GaugeMetricFamily(SESSIONS.name, SESSIONS.text, value=sessions)
        if best:
            yield GaugeMetricFamily(BEST.name, BEST.text, value=best)

    def _counts(self) -> Iterator[UnitCounts]:
        """Each unit up to the limit, then the rest as one."""
        beyond: list[UnitCounts] = []
        for position, counts in enumerate(self.units()):
            if position < self.most_units:
                yield counts
            else:
                beyond.append(counts)
        if beyond:
            yield _together(beyond)


def _together(units: list[UnitCounts]) -> UnitCounts:
    rejected: defaultdict[str, int] = defaultdict(int)
    for unit in units:
        for reason, count in unit.rejected.items():
            rejected[reason] += count
    return UnitCounts(
        unit=OTHERS,
        hashes_per_second=sum(unit.hashes_per_second or 0.0 for unit in units),
        sessions=sum(unit.sessions for unit in units),
        accepted=sum(unit.accepted for unit in units),
        rejected=rejected,
        work_difficulty=sum(unit.work_difficulty for unit in units),
        best_difficulty=max(unit.best_difficulty for unit in units),
    )
