from __future__ import annotations

import math

from controller import ticks
from controller.ticks import POWER, UNITS, Tick


def tick(value: float = 0.05, *, begins: float = 0.0, ends: float = math.inf, seen: float = 0.0) -> Tick:
    return Tick(POWER, value, UNITS[POWER], begins, ends, seen, "test")


def test_validity_is_half_open() -> None:
    quarter = tick(begins=900, ends=1800)
    assert not quarter.holds_at(899.9)
    assert quarter.holds_at(900)
    assert not quarter.holds_at(1800)


def test_the_same_fact_seen_later_is_the_same_fact() -> None:
    assert tick(seen=1).same_fact(tick(seen=2))
    assert not tick(0.05).same_fact(tick(0.06))
    assert not tick(begins=0).same_fact(tick(begins=1))


def test_every_series_has_a_unit() -> None:
    names = {value for name, value in vars(ticks).items() if name.isupper() and isinstance(value, str)}
    assert names == set(UNITS)
