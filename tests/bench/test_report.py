from __future__ import annotations

import json
from typing import Any

import pytest

from bench.report import Series, publish, table

ABOUT: dict[str, Any] = {"cpu": "A CPU", "cores": 2, "kernel": "portable", "load": 0.5}


def test_a_series_is_told_by_its_minimum_median_and_maximum_beside_its_goal() -> None:
    text = table([Series("pause", "ms", 50.0, [0.2512, 70.0, 0.3]), Series("rate", "1/s", None, [1234.5])])
    heading, pause, rate = (line.split() for line in text.splitlines())
    assert heading == ["unit", "n", "min", "median", "max", "goal", "within"]
    assert pause == ["pause", "ms", "3", "0.251", "0.300", "70.0", "50", "2/3"]
    assert rate == ["rate", "1/s", "1", "1230", "1230", "1230", "-", "-"]


def test_zero_and_less_can_be_printed() -> None:
    assert table([Series("nothing", "%", None, [0.0, -0.5])]).split()[-5:] == [
        "-0.500",
        "-0.250",
        "0",
        "-",
        "-",
    ]


def test_a_series_without_a_measurement_is_an_error() -> None:
    with pytest.raises(ValueError, match="nothing was measured: pause"):
        table([Series("pause", "ms")])


def test_json_holds_the_machine_and_every_series(capsys: pytest.CaptureFixture[str]) -> None:
    publish("latency", ABOUT, [Series("pause", "ms", 50.0, [1.0, 2.0])], as_json=True)
    assert json.loads(capsys.readouterr().out) == {
        "bench": "latency",
        **ABOUT,
        "series": [
            {
                "what": "pause",
                "unit": "ms",
                "n": 2,
                "min": 1.0,
                "median": 1.5,
                "max": 2.0,
                "goal": 50.0,
                "within_goal": 2,
            }
        ],
    }


def test_text_begins_with_the_cpu_and_the_kernel(capsys: pytest.CaptureFixture[str]) -> None:
    publish("latency", ABOUT, [Series("pause", "ms", None, [1.0])], as_json=False)
    first, *_ = capsys.readouterr().out.splitlines()
    assert first == "latency: A CPU, 2 cores, kernel portable, load before 0.50"
