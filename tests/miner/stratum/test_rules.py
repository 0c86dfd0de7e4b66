"""The rules of a port: between which difficulties a session moves."""

import math

import pytest

from miner.stratum.rules import PortRules
from miner.stratum.v1 import LEAST_DIFFICULTY, MOST_DIFFICULTY


@pytest.mark.parametrize(
    ("least", "most", "floor", "network", "limits"),
    [
        (0.0, 0.0, 0.0, math.inf, (LEAST_DIFFICULTY, MOST_DIFFICULTY)),
        (0.0, 0.0, 0.0, 1e14, (LEAST_DIFFICULTY, 1e14)),
        (10.0, 1000.0, 0.0, 1e14, (10.0, 1000.0)),
        (10.0, 1000.0, 50.0, 1e14, (50.0, 1000.0)),
        (10.0, 1000.0, 5.0, 1e14, (10.0, 1000.0)),
        (10.0, 1000.0, 1e9, 1e14, (1000.0, 1000.0)),
        (10.0, 1000.0, 50.0, 0.001, (0.001, 0.001)),
    ],
)
def test_a_floor_never_passes_the_ports_most_and_nothing_the_networks(
    least: float, most: float, floor: float, network: float, limits: tuple[float, float]
) -> None:
    rules = PortRules(min_difficulty=least, max_difficulty=most)
    assert rules.limits(floor, network) == limits
