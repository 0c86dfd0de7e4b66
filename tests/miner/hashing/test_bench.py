"""The measuring of kernels: what it returns, never how fast."""

import pytest

from miner import kernel
from miner.hashing import bench

USABLE = [info.name for info in kernel.kernels() if info.supported]


def test_every_usable_kernel_is_measured_with_every_number_of_versions_and_threads() -> None:
    measured = bench.measure(versions=(1, 16), threads=(1, 2), rounds=2, slice_s=0.001)
    assert [(m["kernel"], m["versions"], m["threads"]) for m in measured] == [
        (name, versions, threads) for name in USABLE for versions in (1, 16) for threads in (1, 2)
    ]
    for m in measured:
        assert 0 < m["mh_s_worst"] <= m["mh_s_median"] <= m["mh_s_best"]
        assert m["cycles_per_hash"] > 1


def test_a_measurement_has_the_fields_that_hashmill_bench_prints_as_json() -> None:
    measured = bench.measure(["portable"], versions=(1,), threads=(1,), rounds=1, slice_s=0.001)
    assert list(measured[0]) == [
        "kernel",
        "versions",
        "threads",
        "mh_s_best",
        "mh_s_median",
        "mh_s_worst",
        "cycles_per_hash",
    ]


def test_the_kernel_in_use_is_the_same_afterwards() -> None:
    before = kernel.selected()
    bench.measure(["portable"], versions=(1,), threads=(1,), rounds=1, slice_s=0.001)
    assert kernel.selected() == before


def test_an_unknown_kernel_is_an_error() -> None:
    with pytest.raises(kernel.KernelUnknownError):
        bench.measure(["warp"])


def test_the_cpu_has_a_name() -> None:
    assert bench.cpu_name()
