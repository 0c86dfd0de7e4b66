from prometheus_client.core import Metric

from miner.metrics_units import CATALOGUE, OTHERS, ServerCounts, UnitCollector, UnitCounts


def collected(collector: UnitCollector) -> dict[str, Metric]:
    return {metric.name: metric for metric in collector.collect()}


def unit(name: str) -> UnitCounts:
    return UnitCounts(name, 1.0, 0, 1, {}, 1.0, 1.0)


def test_what_nobody_follows_is_absent() -> None:
    assert not any(metric.samples for metric in collected(UnitCollector()).values())


def test_everything_it_gives_is_in_the_catalogue_under_its_kind() -> None:
    collector = UnitCollector()
    collector.units = lambda: [unit("cpu")]
    collector.server, collector.waiting = lambda: ServerCounts(1, {}), lambda: 0
    given = {
        name + "_total" * (metric.type == "counter"): metric.type
        for name, metric in collected(collector).items()
    }
    assert {**given, "hashmill_unit_hashrate_hashes_per_second": "gauge"} == {
        info.name: info.kind for info in CATALOGUE
    }


def test_exactly_as_many_units_as_allowed_leave_no_others() -> None:
    collector = UnitCollector()
    collector.units = lambda: [unit(f"u{number}") for number in range(3)]
    for most, others in ((3, False), (2, True), (0, True)):
        collector.most_units = most
        labels = {sample.labels["unit"] for sample in collected(collector)["hashmill_share_work"].samples}
        assert (OTHERS in labels) is others
        assert len(labels) == min(most + 1, 3)
