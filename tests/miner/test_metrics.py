from types import SimpleNamespace

import pytest
from prometheus_client import REGISTRY
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_openmetrics
from prometheus_client.parser import text_string_to_metric_families

from miner.metrics import Metrics, render_as
from miner.metrics_pools import PoolMetrics
from miner.metrics_units import OTHERS, ServerCounts, UnitCounts

NOW = 1_700_000_100.0


@pytest.fixture
def metrics() -> Metrics:
    return Metrics("0.1.0", "sha-ni", clock=lambda: NOW)


def samples(metrics: Metrics) -> dict[str, float]:
    """Every sample by its name and labels, as Prometheus reads them."""
    found = {}
    for family in text_string_to_metric_families(metrics.render().decode()):
        for sample in family.samples:
            labels = ",".join(f'{name}="{value}"' for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


def test_what_is_not_known_is_absent_and_not_zero(metrics: Metrics) -> None:
    histograms = ("hashmill_tip_to_work", "hashmill_plan_seconds", "hashmill_share_commit_seconds")
    own = {n for n in samples(metrics) if n.startswith("hashmill_") and not n.startswith(histograms)}
    assert own == {
        'hashmill_build_info{kernel="sha-ni",version="0.1.0"}',
        "hashmill_ledger_ticks_dropped_total",
        *(
            f'hashmill_blocks_total{{result="{result}"}}'
            for result in ("found", "accepted", "rejected", "orphaned", "mature")
        ),
    }


def test_the_market_is_shown_under_the_names_of_the_interface(metrics: Metrics) -> None:
    metrics.market_valued(
        hashprice_usd_per_ph_day=39.82,
        hashprice_btc_per_ph_day=0.0004,
        btc_usd=90_000.0,
        power_usd_per_kwh=-0.01,
        network_difficulty=1.5e14,
        retarget_expected_ratio=1.02,
    )
    shown = samples(metrics)
    assert shown["hashmill_hashprice_usd_per_ph_day"] == 39.82
    assert shown["hashmill_hashprice_btc_per_ph_day"] == 0.0004
    assert shown["hashmill_btc_usd"] == 90_000
    assert shown["hashmill_power_usd_per_kwh"] == -0.01
    assert shown["hashmill_network_difficulty"] == 1.5e14
    assert shown["hashmill_retarget_expected_ratio"] == 1.02


def test_a_price_that_is_no_longer_known_is_no_longer_shown(metrics: Metrics) -> None:
    metrics.market_valued(btc_usd=90_000.0, power_usd_per_kwh=0.06)
    metrics.market_valued(btc_usd=90_000.0)
    assert "hashmill_power_usd_per_kwh" not in samples(metrics)
    assert samples(metrics)["hashmill_btc_usd"] == 90_000


def test_ages_are_reckoned_when_they_are_read() -> None:
    times = iter((100.0, 250.0))
    metrics = Metrics("0.1.0", "portable", clock=lambda: next(times))
    metrics.series_observed("btc_usd", 90.0)
    metrics.template_taken(7, 95.0)
    first, second = samples(metrics), samples(metrics)
    assert [s['hashmill_series_age_seconds{series="btc_usd"}'] for s in (first, second)] == [10, 160]
    assert [s["hashmill_template_age_seconds"] for s in (first, second)] == [5, 155]
    assert first["hashmill_template_height"] == 7


def test_without_work_there_is_no_template_to_show(metrics: Metrics) -> None:
    metrics.template_taken(7, NOW)
    metrics.work_withdrawn()
    assert not any("template" in name for name in samples(metrics))


def test_a_unit_is_in_one_mode_and_not_in_the_others(metrics: Metrics) -> None:
    for mode in ("all", "off"):
        metrics.unit_observed(
            "cpu", hashrate_hashes_per_second=2.5e7, power_watts=12.0, mode=mode, modes=("off", "half", "all")
        )
    shown = samples(metrics)
    assert shown['hashmill_unit_mode{mode="off",unit="cpu"}'] == 1
    assert shown['hashmill_unit_mode{mode="half",unit="cpu"}'] == 0
    assert shown['hashmill_unit_mode{mode="all",unit="cpu"}'] == 0
    assert shown['hashmill_unit_hashrate_hashes_per_second{unit="cpu"}'] == 2.5e7
    assert shown['hashmill_unit_power_watts{unit="cpu"}'] == 12


def test_a_unit_whose_mode_is_not_known_is_in_none(metrics: Metrics) -> None:
    metrics.unit_observed("cpu", hashrate_hashes_per_second=1.0, power_watts=5.0, mode="all", modes=("off",))
    metrics.unit_observed("cpu", hashrate_hashes_per_second=None, power_watts=None, mode=None)
    shown = samples(metrics)
    assert shown['hashmill_unit_mode{mode="all",unit="cpu"}'] == 0
    assert 'hashmill_unit_hashrate_hashes_per_second{unit="cpu"}' not in shown
    assert 'hashmill_unit_power_watts{unit="cpu"}' not in shown


def test_a_units_economics_are_shown_and_go_with_it(metrics: Metrics) -> None:
    metrics.unit_observed("cpu", hashrate_hashes_per_second=1.0, power_watts=5.0, mode="all")
    metrics.unit_valued("cpu", breakeven_usd_per_kwh=0.051, margin_usd_per_hour=-0.2)
    assert samples(metrics)['hashmill_unit_breakeven_usd_per_kwh{unit="cpu"}'] == 0.051
    assert samples(metrics)['hashmill_unit_margin_usd_per_hour{unit="cpu"}'] == -0.2
    metrics.unit_gone("cpu")
    metrics.unit_gone("never there")
    assert not any("hashmill_unit_" in name for name in samples(metrics))


def counts(unit: str, accepted: int, *, rate: float | None = 1e12, **rejected: int) -> UnitCounts:
    return UnitCounts(unit, rate, 1, accepted, rejected, 2.0 * accepted, float(accepted))


def test_units_are_read_where_they_are_counted(metrics: Metrics) -> None:
    units = [counts("rig", 3, stale=1)]
    metrics.follow_units(lambda: units, 10)
    first = samples(metrics)
    assert first['hashmill_shares_total{result="accepted",unit="rig"}'] == 3
    assert first['hashmill_shares_total{result="stale",unit="rig"}'] == 1
    assert first['hashmill_share_work_total{unit="rig"}'] == 6 * 2**32
    assert first['hashmill_unit_hashrate_hashes_per_second{unit="rig"}'] == 1e12
    assert first["hashmill_best_share_difficulty"] == 3
    units[:] = [counts("rig", 4, stale=1)]
    assert samples(metrics)['hashmill_shares_total{result="accepted",unit="rig"}'] == 4


def test_units_beyond_the_limit_are_added_up_and_nothing_of_them_is_lost(metrics: Metrics) -> None:
    metrics.follow_units(lambda: [counts(f"u{n}", n, stale=n, duplicate=1) for n in range(1, 6)], 2)
    shown = samples(metrics)
    assert {name for name in shown if name.startswith("hashmill_share_work")} == {
        f'hashmill_share_work_total{{unit="{unit}"}}' for unit in ("u1", "u2", OTHERS)
    }
    assert shown[f'hashmill_shares_total{{result="accepted",unit="{OTHERS}"}}'] == 12
    assert shown[f'hashmill_shares_total{{result="stale",unit="{OTHERS}"}}'] == 12
    assert shown[f'hashmill_shares_total{{result="duplicate",unit="{OTHERS}"}}'] == 3
    assert shown[f'hashmill_unit_hashrate_hashes_per_second{{unit="{OTHERS}"}}'] == 3e12
    assert shown["hashmill_best_share_difficulty"] == 5


def test_a_unit_that_was_read_shows_its_own_hashrate_once(metrics: Metrics) -> None:
    metrics.follow_units(lambda: [counts("rig", 3), counts("cpu", 1, rate=None)], 10)
    metrics.unit_observed("rig", hashrate_hashes_per_second=2e12, power_watts=3000.0, mode="on")
    shown = samples(metrics)
    assert shown['hashmill_unit_hashrate_hashes_per_second{unit="rig"}'] == 2e12
    assert 'hashmill_unit_hashrate_hashes_per_second{unit="cpu"}' not in shown


def test_the_stratum_server_shows_who_is_there_and_who_came_and_went(metrics: Metrics) -> None:
    metrics.follow_units(lambda: [counts("a", 1), counts("b", 1)], 1)
    assert "hashmill_sessions" not in samples(metrics)
    metrics.follow_server(lambda: ServerCounts(3, {("came", ""): 4, ("went", "idle"): 1}))
    shown = samples(metrics)
    assert (shown["hashmill_sessions"], shown["hashmill_stratum_connections"]) == (2, 3)
    assert shown['hashmill_stratum_events_total{event="came",reason=""}'] == 4
    assert shown['hashmill_stratum_events_total{event="went",reason="idle"}'] == 1


def test_the_ledgers_part_of_a_share_is_shown(metrics: Metrics) -> None:
    metrics.follow_ledger(lambda: 17)
    metrics.shares_committed(0.004)
    shown = samples(metrics)
    assert shown["hashmill_ledger_shares_waiting"] == 17
    assert shown['hashmill_share_commit_seconds_bucket{le="0.005"}'] == 1


def test_blocks_decisions_and_actuations_are_counted(metrics: Metrics) -> None:
    metrics.block_found()
    metrics.block_settled("accepted")
    metrics.decision_made("off", "unprofitable")
    metrics.actuation_finished("cpu", "confirmed")
    metrics.ticks_dropped(3)
    shown = samples(metrics)
    assert shown['hashmill_blocks_total{result="found"}'] == 1
    assert shown['hashmill_blocks_total{result="accepted"}'] == 1
    assert shown['hashmill_decisions_total{reason="unprofitable",to="off"}'] == 1
    assert shown['hashmill_actuations_total{outcome="confirmed",unit="cpu"}'] == 1
    assert shown["hashmill_ledger_ticks_dropped_total"] == 3


def test_the_time_from_tip_to_work_is_a_histogram(metrics: Metrics) -> None:
    metrics.work_switched(0.003)
    metrics.work_switched(0.3)
    shown = samples(metrics)
    assert shown['hashmill_tip_to_work_seconds_bucket{le="0.005"}'] == 1
    assert shown['hashmill_tip_to_work_seconds_bucket{le="0.5"}'] == 2
    assert shown["hashmill_tip_to_work_seconds_count"] == 2


def test_a_plan_shows_its_time_and_its_gap_while_there_is_one(metrics: Metrics) -> None:
    metrics.plan_made(0.002, 0.0)
    assert samples(metrics)["hashmill_plan_gap_ratio"] == 0
    assert samples(metrics)['hashmill_plan_seconds_bucket{le="0.003"}'] == 1
    metrics.plan_missing()
    assert "hashmill_plan_gap_ratio" not in samples(metrics)


def test_the_catalogue_holds_every_metric_there_is(metrics: Metrics) -> None:
    metrics.market_valued(
        hashprice_usd_per_ph_day=1.0,
        hashprice_btc_per_ph_day=1.0,
        btc_usd=1.0,
        power_usd_per_kwh=1.0,
        network_difficulty=1.0,
        retarget_expected_ratio=1.0,
    )
    metrics.plan_made(0.1, 0.0)
    metrics.series_observed("btc_usd", NOW)
    metrics.model_fitted(NOW)
    metrics.template_taken(7, NOW)
    metrics.follow_units(lambda: [counts("cpu", 1)], 1)
    metrics.follow_server(lambda: ServerCounts(3, {("came", ""): 4}))
    metrics.follow_ledger(lambda: 5)
    pools = PoolMetrics(metrics.registry)
    pools.follow(
        lambda: [SimpleNamespace(name="main", state="active", is_up=True, difficulty=1.0, failovers=0)]
    )
    pools.answered("main", "accepted", 1.0, 0.1)
    pools.suspected("main", "left_behind")
    families = {
        family.name + ("_total" if family.type == "counter" else ""): family.type
        for family in text_string_to_metric_families(metrics.render().decode())
        if family.name.startswith("hashmill_")
    }
    assert families == {info.name: info.kind for info in metrics.catalogue}


def test_a_node_is_up_or_down(metrics: Metrics) -> None:
    metrics.node_seen("main", up=True)
    metrics.node_seen("spare", up=False)
    shown = samples(metrics)
    assert (shown['hashmill_bitcoind_up{node="main"}'], shown['hashmill_bitcoind_up{node="spare"}']) == (1, 0)


def test_the_daemons_memory_and_cpu_are_shown(metrics: Metrics) -> None:
    assert samples(metrics)["process_resident_memory_bytes"] > 1e6


def test_names_are_ours_or_the_processes_and_none_is_a_creation_time(metrics: Metrics) -> None:
    metrics.follow_units(lambda: [counts("cpu", 1)], 1)
    assert all(
        name.startswith(("hashmill_", "process_")) and "_created" not in name for name in samples(metrics)
    )


def test_a_snapshot_is_what_was_when_it_was_taken(metrics: Metrics) -> None:
    taken = metrics.snapshot()
    metrics.block_found()
    assert b'hashmill_blocks_total{result="found"} 0.0' in render_as(taken, "")[0]


def test_two_daemons_in_one_process_share_nothing(metrics: Metrics) -> None:
    other = Metrics("0.1.0", "sha-ni", clock=lambda: NOW)
    other.block_found()
    assert samples(metrics)['hashmill_blocks_total{result="found"}'] == 0
    assert not any(family.name.startswith("hashmill") for family in REGISTRY.collect())


def test_openmetrics_is_given_to_who_asks_for_it(metrics: Metrics) -> None:
    metrics.follow_units(lambda: [counts('odd "name"\n', 1)], 1)
    body, content_type = render_as(
        metrics.snapshot(), "application/openmetrics-text; version=1.0.0,text/plain;q=0.5"
    )
    assert content_type.startswith("application/openmetrics-text; version=1.0.0")
    assert {family.name for family in parse_openmetrics(body.decode())} >= {
        "hashmill_shares",
        "hashmill_blocks",
    }
    body, content_type = render_as(metrics.snapshot(), "")
    assert content_type.startswith("text/plain; version=")
    assert b"# EOF" not in body
