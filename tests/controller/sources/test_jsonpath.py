from __future__ import annotations

import math
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from controller.sources.jsonpath import (
    EVERY,
    PathError,
    PathSyntaxError,
    find,
    number,
    number_at,
    one,
    parse,
    time_at,
    time_of,
)

DOCUMENT: dict[str, Any] = {
    "data": [{"price": 1, "at": 10}, {"price": 2, "at": 20}],
    "result": {"XXBTZUSD": {"c": ["92000.10", "0.5"]}},
    "a.b": {"it's": 3},
    "0": "a name of digits",
    "none": None,
    "empty": [],
}


@pytest.mark.parametrize(
    ("path", "found"),
    [
        ("data.0.price", [1]),
        ("$.data[0].price", [1]),
        ("data[-1].price", [2]),
        ("$.data[*].price", [1, 2]),
        ("data.*.price", [1, 2]),
        ("data[ 1 ].at", [20]),
        ("result.*.c[0]", ["92000.10"]),
        ("result['XXBTZUSD'].c.0", ["92000.10"]),
        ('["a.b"]["it\'s"]', [3]),
        ("['a.b']", [{"it's": 3}]),
        ("0", ["a name of digits"]),
        ("[0]", ["a name of digits"]),
        ("empty[*]", []),
        ("none", [None]),
        (" data.0.at ", [10]),
    ],
)
def test_a_path_leads_to_what_it_names(path: str, found: list[Any]) -> None:
    assert find(DOCUMENT, path) == found


def test_the_dollar_alone_is_the_whole_document() -> None:
    assert find(DOCUMENT, "$") == [DOCUMENT]
    assert find([5], "$[0]") == find([5], "0") == [5]


@pytest.mark.parametrize(
    "path", ["", " ", ".", "a..b", "a[", "a[]", "a[b]", "a b[", "data[0]price", "a.", "[1:2]", "a['b]"]
)
def test_what_is_no_path_is_said_with_the_place(path: str) -> None:
    with pytest.raises(PathSyntaxError, match=r"cannot be read from|is empty"):
        parse(path)


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("data.0.prise", r'\$\.data\[0\] has no "prise": there are price, at'),
        ("data.2.price", r"\$\.data is a list of 2: there is no \[2\]"),
        ("data.price", r'\$\.data is a list of 2 without names: there is no "price"'),
        ("empty.0", r"\$\.empty is an empty list: there is no \[0\]"),
        ("none.x", r'\$\.none is null: there is no "x" in it'),
        ("result.XXBTZUSD.c.0.x", r'c\[0\] is "92000.10": there is no "x" in it'),
        ("none[*]", r"\$\.none is null: there is nothing to take every item of"),
    ],
)
def test_an_error_says_where_the_path_ended(path: str, why: str) -> None:
    with pytest.raises(PathError, match=why):
        find(DOCUMENT, path)


def test_what_one_of_several_items_lacks_is_never_passed_over() -> None:
    with pytest.raises(PathError, match=r'\$\.data\[1\] has no "price"'):
        find({"data": [{"price": 1}, {"at": 2}]}, "data[*].price")


def test_an_error_is_short_and_printable_whatever_the_document_holds() -> None:
    with pytest.raises(PathError) as caught:
        find({f"key\n{n}" * 50: n for n in range(100)}, "x" * 5000)
    assert len(str(caught.value)) < 500
    assert str(caught.value).isprintable()
    assert "and 94 more" in str(caught.value)


def test_one_value_is_one_value() -> None:
    assert one(DOCUMENT, "data[0].at") == 10
    with pytest.raises(PathError, match="leads to 2 values, not to one"):
        one(DOCUMENT, "data[*].at")
    with pytest.raises(PathError, match="leads to no values, not to one"):
        one(DOCUMENT, "empty[*]")


@pytest.mark.parametrize(
    ("value", "read"),
    [
        (92_000, 92_000.0),
        (-0.5, -0.5),
        ("92000.10", 92_000.1),
        (" 1e5 ", 1e5),
        (".5", 0.5),
        ("92,000.10", 92_000.1),
        ("-1,092,000", -1_092_000.0),
    ],
)
def test_numbers_are_read_as_exchanges_write_them(value: Any, read: float) -> None:
    assert number(value) == read


@pytest.mark.parametrize(
    "value",
    [
        None,
        True,
        "",
        "nan",
        "NaN",
        "inf",
        "1e999",
        10**400,
        math.nan,
        math.inf,
        "92,000",
        "92.000,10",
        "$92000",
        "9_2",
        "٣",
        [],
        {},
    ],
)
def test_what_is_no_number_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"is no (finite )?number"):
        number(value)


def test_a_number_that_is_none_is_named_with_its_path() -> None:
    assert number_at(DOCUMENT, "result.XXBTZUSD.c[0]") == 92_000.1
    with pytest.raises(ValueError, match=r'^"none": null is no number$'):
        number_at(DOCUMENT, "none")


@pytest.mark.parametrize(
    ("value", "at"),
    [
        (1_795_000_000, 1_795_000_000.0),
        ("1795000000", 1_795_000_000.0),
        (1_795_000_000_123, 1_795_000_000.123),
        ("2026-11-20", 1_795_132_800.0),
        ("2026-11-20T01:00:00+01:00", 1_795_132_800.0),
        ("2026-11-20T00:00:00Z", 1_795_132_800.0),
        ("2026-11-20 00:00", 1_795_132_800.0),
    ],
)
def test_times_are_seconds_milliseconds_or_iso_8601(value: Any, at: float) -> None:
    assert time_of(value) == at


@pytest.mark.parametrize("value", [None, True, "soon", "", [], math.nan, "2026-13-01"])
def test_what_is_no_time_is_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r'^"at": .*is no time$'):
        time_at({"at": value}, "at")


@given(st.text(max_size=30))
def test_any_text_is_a_path_or_a_syntax_error(text: str) -> None:
    try:
        steps = parse(text)
    except PathSyntaxError as error:
        assert str(error).isprintable()  # noqa: PT017 - it may be raised or not
    else:
        assert all(step is EVERY or isinstance(step, str | int) for step in steps)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=8,
)


@given(JSON, st.lists(st.one_of(st.integers(-3, 3), st.just("*"), st.text("ab0'[", min_size=1, max_size=2))))
def test_any_document_and_path_give_values_or_a_path_error(document: Any, steps: list[Any]) -> None:
    path = "$" + "".join(
        f"[{step}]" if isinstance(step, int) or step == "*" else f'["{step}"]' for step in steps
    )
    assert len(parse(path)) == len(steps)
    try:
        find(document, path)
    except PathError as error:
        assert str(error).isprintable()  # noqa: PT017 - it may be raised or not


@given(JSON)
def test_any_value_is_a_finite_number_or_refused(value: Any) -> None:
    try:
        assert math.isfinite(number(value))
        time_of(value)
    except ValueError:
        return
