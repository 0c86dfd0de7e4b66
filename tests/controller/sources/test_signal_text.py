import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.sources.signal_text import Reading
from controller.sources.signal_windows import MOST_WINDOWS, Window

NOW = 1_800_000_000.0  # 2027-01-15T08:00:00Z
PLAIN = Reading()
CAP = Reading(limits=True, cap_kw=400.0)
BARE = Reading(limits=True)


@pytest.mark.parametrize(
    "text", ["on", "ON\n", " true ", "1", "7.5", "\ufeffactive", "[{}]", '{"active": true}']
)
def test_a_signal_is_in_force_from_now_until_it_says_otherwise(text: str) -> None:
    assert PLAIN.windows(text, NOW) == [Window(NOW, math.inf)]


@pytest.mark.parametrize(
    "text", ["off", "Off", "0", "0.0", "inactive", "[]", '{"active": false, "minutes": 5}']
)
def test_a_signal_that_is_not_in_force_has_no_windows(text: str) -> None:
    assert PLAIN.windows(text, NOW) == []


def test_a_number_is_the_kilowatts_of_a_cap_and_zero_is_a_cap_of_nothing() -> None:
    assert CAP.windows("250", NOW) == [Window(NOW, math.inf, 250.0)]
    assert BARE.windows("0", NOW) == [Window(NOW, math.inf, 0.0)]
    assert CAP.windows("on", NOW) == [Window(NOW, math.inf, 400.0)]
    assert CAP.windows("off", NOW) == []


def test_json_names_start_end_and_limit() -> None:
    document = [
        {"start": "2027-01-15T09:00:00Z", "until": "2027-01-15T11:00:00+01:00", "cap_kw": 250},
        {"start": NOW + 60, "minutes": 5},
        {"until": (NOW + 120) * 1000},
    ]
    assert CAP.windows(json.dumps(document), NOW) == [
        Window(NOW + 3600, NOW + 7200, 250.0),
        Window(NOW + 60, NOW + 360, 400.0),
        Window(NOW, NOW + 120, 400.0),
    ]


def test_what_is_over_already_is_left_out() -> None:
    assert PLAIN.windows(f'{{"start": {NOW - 60}, "until": {NOW}}}', NOW) == []
    assert len(PLAIN.windows(f'{{"start": {NOW - 60}, "until": {NOW + 1}}}', NOW)) == 1


def test_a_path_leads_to_the_value_in_json_of_anothers_making() -> None:
    reading = Reading(path="state.curtail")
    assert reading.windows('{"state": {"curtail": true, "x": 1}}', NOW) == [Window(NOW, math.inf)]
    assert reading.windows('{"state": {"curtail": "off"}}', NOW) == []
    assert Reading(limits=True, path="kw").windows('{"kw": "12.5"}', NOW) == [Window(NOW, math.inf, 12.5)]
    with pytest.raises(ValueError, match='has no "state"'):
        reading.windows('{"stat": 1}', NOW)


def test_what_names_no_end_is_over_after_the_longest_time() -> None:
    reading = Reading(longest_s=600)
    assert reading.windows("on", NOW) == [Window(NOW, NOW + 600)]
    assert reading.windows(f'{{"start": {NOW + 60}}}', NOW) == [Window(NOW + 60, NOW + 660)]
    assert reading.windows(f'{{"start": {NOW - 60}}}', NOW) == [Window(NOW - 60, NOW + 600)]
    assert reading.windows('{"minutes": 60}', NOW) == [Window(NOW, NOW + 3600)]


def test_a_table_has_a_row_for_each_window() -> None:
    table = "start_utc, end_utc, cap_kw\n2027-01-15T09:00Z,2027-01-15T10:00Z,250\n\n2027-01-15T11:00Z,2027-01-15T12:00Z,\n"
    assert CAP.windows(table, NOW) == [
        Window(NOW + 3600, NOW + 7200, 250.0),
        Window(NOW + 10800, NOW + 14400, 400.0),
    ]
    assert PLAIN.windows("start_utc,end_utc\n", NOW) == []


@pytest.mark.parametrize(
    ("reading", "text", "words"),
    [
        (PLAIN, " \n", 'empty: "off" is how'),
        (PLAIN, "maybe", '"maybe" is not "on", "off" or a number'),
        (PLAIN, "nan", "not"),
        (PLAIN, '{"active": tru', "not JSON"),
        (PLAIN, "[1]", r"\[0\]: \"1\" is no object"),
        (PLAIN, '{"untill": 5}', '"untill" is unknown: known are active, start, until'),
        (PLAIN, '{"active": 1}', "active must be true or false"),
        (PLAIN, '{"until": 5, "minutes": 5}', "both given"),
        (PLAIN, '[{}, {"until": "soon"}]', r"\[1\]: until: \"soon\" is no time"),
        (PLAIN, '{"minutes": -5}', "ends before it begins"),
        (PLAIN, '{"minutes": "x"}', "minutes: "),
        (PLAIN, '{"cap_kw": 5}', "only a signal with the action cap"),
        (CAP, '{"cap_kw": -5}', "zero kW or more"),
        (BARE, "on", "names no limit in kW"),
        (PLAIN, "start_utc,stop\n", 'line 1: column "stop"'),
        (PLAIN, "start_utc\n", "end_utc is missing"),
        (PLAIN, "start_utc,end_utc\n2027-01-15T09:00Z", "line 2: 1 cells"),
        (PLAIN, "start_utc,end_utc\n,2027-01-15T09:00Z", "line 2: needs a start_utc"),
        (PLAIN, "start_utc,end_utc\n2027-01-15T09:00Z,x", "line 2: end_utc: "),
        (PLAIN, json.dumps([{}] * (MOST_WINDOWS + 1)), "501 windows"),
        (PLAIN, "start_utc,end_utc\n" + "x,y\n" * (MOST_WINDOWS + 1), "501 windows"),
        (PLAIN, "[" * 5000, "not JSON"),
    ],
)
def test_what_is_not_understood_is_named(reading: Reading, text: str, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        reading.windows(text, NOW)


@given(
    st.text() | st.recursive(st.none() | st.booleans() | st.floats() | st.text(), st.lists).map(json.dumps)
)
def test_whatever_is_said_is_understood_or_refused(text: str) -> None:
    for reading in (PLAIN, CAP, Reading(path="a[0]")):
        try:
            windows = reading.windows(text, NOW)
        except ValueError:
            continue
        assert all(window.stop > NOW for window in windows)
