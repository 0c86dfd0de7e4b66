import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.web.bodies import BadBodyError, Fields

NOW = 1_800_000_000.0
KNOWN = ("start", "until", "minutes", "who", "cap_kw")


def faults(fields: Fields) -> dict[str, str]:
    with pytest.raises(BadBodyError) as raised:
        fields.check()
    return {error.parameter: error.detail for error in raised.value.errors}


def fields(**body: Any) -> Fields:
    return Fields(body, KNOWN, NOW)


@pytest.mark.parametrize(
    ("body", "until"),
    [
        ({"until": NOW + 5}, NOW + 5),
        ({"until": "2027-01-15T08:01:00Z"}, NOW + 60),
        ({"until": None}, math.inf),
        ({"minutes": 0.5}, NOW + 30),
    ],
)
def test_an_end_is_a_time_or_minutes_or_never(body: dict[str, Any], until: float) -> None:
    read = fields(**body)
    assert read.until(read.start()) == until
    read.check()


@pytest.mark.parametrize(
    ("body", "name", "words"),
    [
        ({}, "until", "or minutes is needed"),
        ({"until": NOW + 5, "minutes": 5}, "until", "keep one"),
        ({"until": NOW}, "until", "over before it begins"),
        ({"until": (NOW + 5) * 1000}, "until", "more than a year ahead"),
        ({"until": "tomorrow"}, "until", "a time: UTC unix seconds"),
        ({"until": "2027-01-15T09:00:00"}, "until", "with its offset"),
        ({"until": True}, "until", "a time"),
        ({"until": -1}, "until", "a time"),
        ({"minutes": 0}, "minutes", "a number above 0"),
        ({"minutes": "5"}, "minutes", "a number above 0"),
        ({"minutes": 1e9}, "minutes", "up to 527040"),
        ({"start": [], "minutes": 5}, "start", "a time"),
        ({"minutes": 5, "untill": 5}, "untill", "unknown; known are start, until"),
    ],
)
def test_an_end_that_is_none_is_named(body: dict[str, Any], name: str, words: str) -> None:
    read = fields(**body)
    read.until(read.start())
    found = faults(read)
    assert list(found) == [name]
    assert words in found[name]


def test_a_start_that_is_past_is_now() -> None:
    assert fields().start() == fields(start=5).start() == NOW
    assert fields(start=NOW + 5).start() == NOW + 5


def test_text_is_printable_and_short() -> None:
    assert fields(who=" ana ").text("who") == "ana"
    assert fields().text("who") == ""
    for body in ({"who": "a\nb"}, {"who": "a" * 201}, {"who": 5}, {"who": " "}, {}):
        read = fields(**body)
        read.text("who", needed=True)
        assert list(faults(read)) == ["who"]


def test_a_number_is_zero_or_more() -> None:
    assert fields(cap_kw=0).number("cap_kw") == 0.0
    assert fields().number("cap_kw") is None
    for value in (-1, True, "5", math.inf, math.nan):
        read = fields(cap_kw=value)
        read.number("cap_kw")
        assert list(faults(read)) == ["cap_kw"]


VALUES = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text() | st.integers(), st.lists, max_leaves=3
)


@given(st.dictionaries(st.sampled_from(KNOWN) | st.text(), VALUES))
def test_whatever_is_sent_is_read_or_named(body: dict[str, Any]) -> None:
    read = fields(**body)
    start = read.start()
    until = read.until(start)
    read.text("who")
    read.number("cap_kw")
    try:
        read.check()
    except BadBodyError as error:
        assert all(fault.detail for fault in error.errors)  # noqa: PT017 - either is right
    else:
        assert NOW <= start < until
