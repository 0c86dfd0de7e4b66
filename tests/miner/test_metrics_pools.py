from dataclasses import dataclass

import pytest
from prometheus_client.parser import text_string_to_metric_families

from miner.metrics import Metrics
from miner.metrics_pools import CATALOGUE, PoolMetrics


@dataclass
class Pool:
    """A pool as the upstreams tell of it."""

    name: str
    state: str = "standby"
    is_up: bool = True
    difficulty: float | None = 4096.0
    failovers: int = 0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0.1.0", "sha-ni")


@pytest.fixture
def pools(metrics: Metrics) -> PoolMetrics:
    return PoolMetrics(metrics.registry)


def samples(metrics: Metrics) -> dict[tuple[str, ...], float]:
    """Every sample of pools by its name, pool and the values of other labels, as Prometheus reads them."""
    return {
        (
            sample.name.removeprefix("hashmill_pool_"),
            *sorted(sample.labels.values(), key=lambda value: value != sample.labels["pool"]),
        ): sample.value
        for family in text_string_to_metric_families(metrics.render().decode())
        for sample in family.samples
        if sample.name.startswith("hashmill_pool_")
    }


def test_a_daemon_without_pools_has_no_metrics_of_them(metrics: Metrics) -> None:
    assert samples(metrics) == {}
    PoolMetrics(metrics.registry)
    assert samples(metrics) == {}


def test_where_each_pool_stands_is_read_when_prometheus_asks(metrics: Metrics, pools: PoolMetrics) -> None:
    states = [
        Pool("main", "active", failovers=2),
        Pool("spare", "down", is_up=False, difficulty=None, failovers=1),
    ]
    pools.follow(lambda: states)
    shown = samples(metrics)
    assert [shown[name, "main"] for name in ("up", "active", "difficulty")] == [1, 1, 4096]
    assert [shown[name, "spare"] for name in ("up", "active")] == [0, 0]
    assert ("difficulty", "spare") not in shown
    assert shown["failovers_total",] == 3
    states[0].state, states[0].is_up, states[0].failovers = "connecting", False, 3
    shown = samples(metrics)
    assert [shown[name, "main"] for name in ("up", "active")] == [0, 0]
    assert shown["failovers_total",] == 4


def test_shares_count_from_zero_by_the_pool_s_word(metrics: Metrics, pools: PoolMetrics) -> None:
    pools.follow(lambda: [Pool("main"), Pool("spare")])
    shown = samples(metrics)
    assert {key[1:]: shown["share_work_total", *key[1:]] for key in shown if key[0] == "shares_total"} == {
        (pool, result): 0 for pool in ("main", "spare") for result in ("accepted", "rejected", "in_doubt")
    }
    pools.answered("main", "accepted", 4096.0, 0.03)
    pools.answered("main", "accepted", 8192.0, 0.04)
    pools.answered("main", "rejected", 2.0, 0.3)
    pools.answered("main", "in_doubt", 1.0, 10.0)
    shown = samples(metrics)
    assert [shown["shares_total", "main", result] for result in ("accepted", "rejected", "in_doubt")] == [
        2,
        1,
        1,
    ]
    assert shown["share_work_total", "main", "accepted"] == 12288 * 2**32
    assert shown["share_work_total", "main", "rejected"] == 2 * 2**32
    assert shown["shares_total", "spare", "accepted"] == 0


def test_only_answers_count_into_the_time_they_took(metrics: Metrics, pools: PoolMetrics) -> None:
    pools.answered("main", "accepted", 1.0, 0.03)
    pools.answered("main", "rejected", 1.0, 0.3)
    pools.answered("main", "in_doubt", 1.0, 10.0)
    shown = samples(metrics)
    assert shown["answer_seconds_count", "main"] == 2
    assert shown["answer_seconds_sum", "main"] == pytest.approx(0.33)
    assert shown["answer_seconds_bucket", "main", "0.05"] == 1


def test_suspicions_are_counted_by_kind(metrics: Metrics, pools: PoolMetrics) -> None:
    pools.suspected("main", "left_behind")
    pools.suspected("main", "left_behind")
    assert samples(metrics) == {("suspicions_total", "main", "left_behind"): 2}


def test_everything_it_gives_is_in_the_catalogue_under_its_kind(metrics: Metrics, pools: PoolMetrics) -> None:
    pools.follow(lambda: [Pool("main", "active")])
    pools.answered("main", "accepted", 1.0, 0.1)
    pools.suspected("main", "left_behind")
    given = {
        family.name + "_total" * (family.type == "counter"): family.type
        for family in text_string_to_metric_families(metrics.render().decode())
        if family.name.startswith("hashmill_pool_")
    }
    assert given == {info.name: info.kind for info in CATALOGUE}
    assert set(CATALOGUE) <= set(metrics.catalogue)


def test_names_from_the_configuration_cannot_break_the_format(metrics: Metrics, pools: PoolMetrics) -> None:
    name = 'a"b\\c {d} é'
    pools.follow(lambda: [Pool(name)])
    assert samples(metrics)["up", name] == 1
