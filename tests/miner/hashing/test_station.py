"""The CPU unit as its owner sees it: modes with hashrate and watts, a share target, readings."""

import itertools
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from miner import kernel
from miner.chain.difficulty import target_of_difficulty
from miner.config import CpuConfig
from miner.hashing import station as station_module
from miner.hashing.station import (
    MOST_SHARES_PER_SECOND,
    OFF,
    UNIT_ID,
    CpuStation,
    StationMode,
    measured_rate,
    share_difficulty,
    station_modes,
)
from miner.work.job import UpstreamWork
from miner.work.share import Submission
from tests.miner.harness import Clock, job

MODES = (
    StationMode(OFF, 0, 0.0, 5.0, 0.0),
    StationMode("half", 1, 2e-5, 20.0, 2e-5),
    StationMode("full", 2, 4e-5, 40.0, 4e-5),
)
EASY = 1e-6
"""Share difficulty of a few thousand hashes."""
NEVER = 1e12
SIGNET_BITS = 0x1E0377AE


@dataclass
class Gate:
    """What a station hands in."""

    submissions: list[tuple[Submission, int]] = field(default_factory=list)
    failures: list[BaseException] = field(default_factory=list)


class NoRapl:
    """A machine that does not tell its power."""

    def watts(self, _now: float) -> float | None:
        return None


@pytest.fixture(autouse=True)
def no_rapl(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(station_module, "Rapl", NoRapl)


@pytest.fixture
def gate() -> Gate:
    return Gate()


@pytest.fixture
def make_station(gate: Gate) -> Iterator[Callable[..., CpuStation]]:
    made: list[CpuStation] = []

    def make(share_difficulty: float = EASY, *, paced: bool = False, **options: Any) -> CpuStation:
        made.append(
            CpuStation(
                CpuConfig(threads=2, share_difficulty=share_difficulty, versions=4),
                MODES,
                paced=paced,
                extranonce1=bytes(4),
                on_submission=lambda submission, target: gate.submissions.append((submission, target)),
                on_failure=gate.failures.append,
                **options,
            )
        )
        return made[-1]

    yield make
    for station in made:
        station.stop()
    assert gate.failures == []


def eventually(condition: Callable[[], Any], limit_s: float = 20.0) -> None:
    deadline = time.monotonic() + limit_s
    while not condition():
        assert time.monotonic() < deadline, "it never came true"
        time.sleep(0.005)


def test_the_measured_rate_is_of_hashes_and_not_of_nonces() -> None:
    rate = measured_rate(versions=16, seconds=0.1)
    job = kernel.ScanJob(bytes(80), range(16), 0)
    best = 0.0
    for _ in range(5):
        began = time.perf_counter()
        kernel.scan(job, 0, 1 << 16, kernel.StopWord())
        best = max(best, (1 << 20) / (time.perf_counter() - began))
    assert best / 3 < rate < best * 3


def test_a_scan_that_others_interrupted_does_not_count(monkeypatch: pytest.MonkeyPatch) -> None:
    undisturbed = measured_rate(versions=4, seconds=0.1)
    scan, calls = kernel.scan, itertools.count()

    def interrupted(*arguments: Any) -> kernel.ScanResult:
        if next(calls) % 4:
            time.sleep(0.01)
        return scan(*arguments)

    monkeypatch.setattr(kernel, "scan", interrupted)
    assert measured_rate(versions=4, seconds=0.2) > undisturbed / 2


def test_modes_have_their_threads_share_of_the_measured_rate_and_the_watts_of_the_configuration() -> None:
    config = CpuConfig(threads=4, watts_per_thread=12.0, idle_watts=3.0)
    assert station_modes(config, cores=8, thread_hashes_per_second=20e6) == (
        StationMode(OFF, 0, 0.0, 3.0, 0.0),
        StationMode("half", 2, 40e6 / 1e12, 27.0, 40e6 / 1e12),
        StationMode("full", 4, 80e6 / 1e12, 51.0, 80e6 / 1e12),
    )


def test_a_hashrate_in_the_configuration_goes_before_the_measured_one() -> None:
    config = CpuConfig.model_validate(
        {"threads": 2, "modes": [{"name": "eco", "threads": 1, "th_s": 1e-4, "watts": 9.0}]}
    )
    assert station_modes(config, cores=2, thread_hashes_per_second=1.0)[1] == StationMode(
        "eco", 1, 1e-4, 9.0, 1e-12
    )


def test_automatic_shares_come_once_a_second_in_the_fastest_mode() -> None:
    difficulty = share_difficulty(CpuConfig(threads=2), MODES)
    assert difficulty * 2**32 == pytest.approx(40e6)


def test_a_share_difficulty_in_the_configuration_is_taken_as_it_is() -> None:
    assert share_difficulty(CpuConfig(threads=2, share_difficulty=0.5), MODES) == 0.5


def test_the_full_mode_is_the_one_with_most_threads(make_station: Callable[..., CpuStation]) -> None:
    station = make_station()
    assert station.full == "full"
    assert list(station.modes) == [OFF, "half", "full"]


def test_what_meets_the_network_s_target_is_handed_in_however_hard_a_share_is(
    make_station: Callable[..., CpuStation], gate: Gate
) -> None:
    station = make_station(NEVER)
    work = job(bits=0x207FFFFF)
    station.set_job(work)
    station.start("half")
    eventually(lambda: gate.submissions)
    assert {target for _, target in gate.submissions} == {work.network_target}


def test_a_share_easier_than_a_block_is_handed_in_under_its_own_target(
    make_station: Callable[..., CpuStation], gate: Gate
) -> None:
    station = make_station(EASY)
    station.set_job(job(bits=SIGNET_BITS))
    station.start("half")
    eventually(lambda: gate.submissions)
    assert {target for _, target in gate.submissions} == {target_of_difficulty(EASY)}


def test_on_a_regtest_where_every_second_hash_is_a_block_the_share_target_sets_the_pace(
    make_station: Callable[..., CpuStation], gate: Gate
) -> None:
    station = make_station(EASY, paced=True)
    station.set_job(job(bits=0x207FFFFF))
    station.start("half")
    eventually(lambda: gate.submissions)
    assert {target for _, target in gate.submissions} == {target_of_difficulty(EASY)}


def test_what_meets_a_pools_target_is_handed_in_even_where_our_own_shares_are_harder(
    make_station: Callable[..., CpuStation], gate: Gate
) -> None:
    station = make_station(NEVER, paced=True)
    fastest = max(mode.measured_th_s for mode in station.modes.values()) * 1e12
    wanted = target_of_difficulty(2 * fastest / MOST_SHARES_PER_SECOND / 2**32)
    station.set_job(replace(job(bits=SIGNET_BITS), upstream=UpstreamWork("7", wanted, b"", 1)))
    station.start("half")
    eventually(lambda: gate.submissions)
    assert {target for _, target in gate.submissions} == {wanted}


def test_a_pool_that_wants_every_hash_is_not_flooded(
    make_station: Callable[..., CpuStation], gate: Gate
) -> None:
    station = make_station(NEVER)
    every_hash = 2**256 - 1
    station.set_job(replace(job(bits=SIGNET_BITS), upstream=UpstreamWork("7", every_hash, b"", 1)))
    station.start("half")
    eventually(lambda: gate.submissions)
    (target,) = {target for _, target in gate.submissions}
    fastest = max(mode.measured_th_s for mode in station.modes.values()) * 1e12
    assert fastest * target / 2**256 == pytest.approx(MOST_SHARES_PER_SECOND, rel=0.01)


def test_without_a_job_the_threads_wait_and_the_unit_says_so(make_station: Callable[..., CpuStation]) -> None:
    station = make_station(NEVER)
    station.start("full")
    eventually(lambda: station.read().mode == "full")
    assert not station.read().working
    station.set_job(job(bits=SIGNET_BITS))
    eventually(lambda: station.read().working and station.read().hashes > 0)
    station.set_job(None)
    assert not station.read().working


def test_the_mode_is_read_from_the_threads_and_its_watts_are_those_of_the_configuration(
    make_station: Callable[..., CpuStation],
) -> None:
    station = make_station(NEVER)
    station.set_mode("full")
    assert station.read().mode == OFF  # told, but no thread is there to hash
    station.start("full")
    for mode, watts in (("full", 40.0), ("half", 20.0), (OFF, 5.0)):
        station.set_mode(mode)
        eventually(lambda mode=mode: station.read().mode == mode)  # type: ignore[misc]
        assert station.read().power_w == watts


def test_a_machine_that_tells_its_power_is_believed(
    make_station: Callable[..., CpuStation], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(NoRapl, "watts", lambda _self, _now: 61.5)
    assert make_station().read().power_w == 61.5


@pytest.mark.parametrize("act", [CpuStation.start, CpuStation.set_mode])
def test_a_mode_the_unit_has_not_is_refused(act: Any, make_station: Callable[..., CpuStation]) -> None:
    with pytest.raises(ValueError, match=f"unit {UNIT_ID} has no mode 'turbo'; it has off, half, full"):
        act(make_station(), "turbo")


class TestHashrate:
    """The rate of a unit is that of its accepted shares since it was last told another mode."""

    @pytest.fixture
    def clock(self) -> Clock:
        return Clock()

    @pytest.fixture
    def station(self, make_station: Callable[..., CpuStation], clock: Clock) -> CpuStation:
        """In full mode for ten seconds, with ten shares of difficulty 1; no thread hashes."""
        station = make_station(clock=clock)
        station.set_mode("full")
        for _ in range(10):
            clock.now += 1.0
            station.rate.add(1.0, clock.now)
        return station

    def test_it_is_the_work_of_the_shares_over_the_time(self, station: CpuStation) -> None:
        assert station.read().hashrate_th_s == pytest.approx(2**32 / 1e12)

    def test_another_mode_begins_anew(self, station: CpuStation, clock: Clock) -> None:
        station.set_mode("half")
        assert station.read().hashrate_th_s == 0.0
        clock.now += 2.0
        station.rate.add(1.0, clock.now)
        assert station.read().hashrate_th_s == pytest.approx(2**32 / 2 / 1e12)

    def test_the_same_mode_told_again_loses_nothing(self, station: CpuStation) -> None:
        station.set_mode("full")
        assert station.read().hashrate_th_s == pytest.approx(2**32 / 1e12)

    def test_off_is_no_hashrate_at_once_whatever_the_threads_are_still_doing(
        self, station: CpuStation
    ) -> None:
        station.set_mode(OFF)
        assert station.read().hashrate_th_s == 0.0

    def test_off_and_on_again_before_a_thread_notices_counts_again(
        self, station: CpuStation, clock: Clock
    ) -> None:
        station.set_mode(OFF)
        station.set_mode("full")
        clock.now += 4.0
        station.rate.add(1.0, clock.now)
        assert station.read().hashrate_th_s == pytest.approx(2**32 / 4 / 1e12)
