from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    import subprocess
    from collections.abc import Callable

    Measured = Callable[..., dict[str, dict[str, Any]]]


def test_new_work_pause_and_resume_are_measured_with_one_thread_and_all(measured: Measured) -> None:
    series = measured("latency", "unit", "--n", "3")
    assert {"new work hashed by 1 thread", "pause of 1 thread", "resume of 1 thread"} <= set(series)
    assert {(each["n"], each["unit"], each["goal"]) for each in series.values()} == {(3, "ms", 50.0)}


@pytest.mark.bitcoind
def test_a_new_block_is_followed_with_and_without_zmq(measured: Measured) -> None:
    series = measured("latency", "tip", "--n", "2")
    assert list(series) == [
        "block published to work on it, by ZMQ",
        "the same by the daemon's histogram, by ZMQ",
        "block published to work on it, without ZMQ",
        "the same by the daemon's histogram, without ZMQ",
    ]
    assert {each["n"] for each in series.values()} == {2}


@pytest.mark.bitcoind
def test_the_return_of_a_killed_node_is_measured(measured: Measured) -> None:
    ready, found = measured("latency", "recovery", "--n", "1").values()
    assert (ready["unit"], ready["goal"]) == (found["unit"], found["goal"]) == ("s", 5.0)
    assert found["min"] >= ready["min"]


@pytest.mark.bitcoind
def test_the_way_from_a_price_to_the_threads_is_measured(measured: Measured) -> None:
    series = measured("latency", "control", "--n", "1")
    assert list(series) == [
        "dear price seen by a tick to threads stopped",
        "cheap price seen by a tick to threads hashing",
    ]


def test_an_unknown_part_is_refused(command: Callable[..., subprocess.CompletedProcess[str]]) -> None:
    done = command("latency", "tips")
    assert done.returncode == 2
    assert "there is no part tips; there are unit, tip, recovery, control" in done.stderr
