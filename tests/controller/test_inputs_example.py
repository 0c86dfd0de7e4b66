"""Documents of layout 1 are unpacked against one example for ever."""

from __future__ import annotations

import hashlib
import math
from base64 import b64decode
from typing import Final

from controller.forecast import TypicalDay
from controller.inputs import FORMAT, Inputs, Part, recall
from controller.inputs_example import EXAMPLE
from controller.recent import Recent
from controller.ticks import BTC_USD, POWER

BODY: Final = (
    "eLvnEgMAQysbHG+G/PHCKBsmYgk3oOg+S0sFaBwqZBYr5JeWABNIqoKuoYKenoKhAe0LE0hxCS9NDpy2f4GnFJm4MAlEklum"
    "TluYBCpMwUHkcQBYZMES3+LEvLy1iQppiXmgUMjJL03BWlRVTJqyUJsJHsKnHXoUwNrBoohysHMmCMxCLdYmIZVMmHHBBSlE"
    "oJ6jSkEyHWbfaYdvbhrg2gKaJUEe+L2FAcn/cC9BqzR8OY0LrphOOW06KFsxg3MaiHHaIeICLH8BOctN4BywOrjrQBzk7Md8"
    "gIRsN2kJME2nQEIDM8tNBFNpRwQYqhlEGNZpu/99GFJ1c4qjPQCFvYCm"
)
SERIES: Final = (
    "eJxr3FiQX55aFF9anBJfAKSzyzOmLCxZVZKZnF2sFwIkpy8rTi3KTC1eWpaYU5q6pDQvs2QVkJmZEp9WlJ+7AsIsyV+dnwRU"
    "V5aaEp9Ysqw4v7QoOXX65IW2XJjGT1qYdiRg1iurrlualUBqptoWx3MxL4HUTMMTCd/71YDUTI6yp8GHDIHUzDX7Ljz+ygGk"
    "ZsrMV1qqsQZIrVy1avXqNWuAlD0cgKxaHhrsop8dDnS/Ntdpx5shfxwYGBhOO/QoMIAATPSvIrIoSN9pBigAcZakpaamAABQ"
    "Q3UK"
)
DAY_SERIES: Final = (
    "eJxrXF1SWZCZnJgTn5JYOWVh/ua0/KLU5MTiEr0QiLhLYuXUJVX5eambCooyk1OL40uLU+ILUovis8szlgD1FC8vLE0sKkkt2giW"
    "R5aeuta1tCi/IFXfKbUoJzNv0sLSyQuLjgjMYpgJhysv2NtP8pAAS6VMYmI8ksBAJGAkE5xjkLlUedp+3Y7A161yOwAomkXB"
)
DAY_BODY: Final = "eLvnEgMAQysbHG+G/PEiUDYcID97ToAkd5AEOEIasIQ3SBLmcRAbxb9gq5C9cQAAECldjA=="
RECENT_SERIES: Final = (
    "eJxrXFaUmpyaVzJlYf5aCEsvCExNWl5YmlhUklq0qaAoMzm1OL60OCW+ILUoPrs8Y9I5BplLFZMWlk5emHeEhZGBkXHSwrQj"
    "ErMYGGaiopUMG+wb7AF0bia3"
)


def test_the_example_never_changes_since_nothing_old_could_be_unpacked() -> None:
    digest = hashlib.sha256(EXAMPLE).hexdigest()
    assert digest == "215380d1889429edcac84ec2673ac0c763de7e2f7b893033aa3b45e50243bf8e"


def test_a_document_of_the_first_day_of_this_layout_is_still_gone_on_from() -> None:
    assert FORMAT == 1
    series = Part("c3cf12cee745a468", b64decode(SERIES))
    kept = recall(Inputs(1700000040.0, Part("", b""), series, b64decode(BODY)))
    (btc,) = kept.ticks[BTC_USD]
    assert (btc.value, btc.valid_to, btc.source) == (91_234.5, math.inf, "fixed")
    assert [tick.value for tick in kept.ticks[POWER]] == [0.05 + 0.001 * (n % 7) for n in range(10)]
    assert {tick.observed_at for tick in kept.ticks[POWER]} == {kept.at}
    assert kept.owners == {POWER: "feed", BTC_USD: "fixed"}
    assert kept.starting_prices == ((kept.at + 900, 0.02),)
    assert kept.refused == {POWER: "99 USD/kWh is outside -1 .. 10"}
    assert kept.typical_day == TypicalDay()  # there was none on the first day


def test_a_typical_day_of_the_day_it_came_is_still_gone_on_from() -> None:
    series = Part("fd0fe62b5e94ea93", b64decode(DAY_SERIES))
    kept = recall(Inputs(1700000040.0, Part("", b""), series, b64decode(DAY_BODY)))
    assert kept.typical_day == TypicalDay(
        "Europe/Berlin", (0.05,) * 72 + (0.25,) * 24, (2,) * 40 + (1,) * 56, 1_888_889, 0.06
    )
    assert kept.ticks == {}


def test_last_prices_of_the_day_they_came_are_still_gone_on_from() -> None:
    series = Part("9095dbdfbe3d8f3b", b64decode(RECENT_SERIES))
    kept = recall(Inputs(1700000040.0, Part("", b""), series, b64decode(DAY_BODY)))
    assert repr(kept.recent) == repr(Recent(1_888_888, (0.05, None, -0.0, 0.0625)))
