from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st
from multidict import MultiDict

from miner.web.problems import BadQueryError
from miner.web.queries import MAX_LIMIT, ListQuery, PageQuery, list_query, page_query


def test_a_list_asked_for_without_parameters_is_the_newest_hundred() -> None:
    assert list_query({}, by_unit=True) == ListQuery(limit=100, since=0.0, unit=None)


def test_a_parameter_given_twice_is_refused_since_one_would_be_ignored() -> None:
    with pytest.raises(BadQueryError, match="limit: given more than once"):
        list_query(MultiDict([("limit", "1"), ("limit", "2")]), by_unit=True)


def test_parameters_are_taken_as_they_are_meant() -> None:
    asked = list_query({"limit": "1000", "since": "1700000000.5", "unit": "rack1-07"}, by_unit=True)
    assert asked == ListQuery(limit=1000, since=1_700_000_000.5, unit="rack1-07")


@pytest.mark.parametrize(
    ("name", "value"),
    [
        *(
            ("limit", text)
            for text in ("0", "-1", "1001", "9" * 5000, "1.5", "ten", "", " 1", "1_0", "\u0663")
        ),
        *(("since", text) for text in ("nan", "inf", "-1", "1e999", "yesterday", "")),
        *(("unit", text) for text in ("", "a\nb", "x" * 201)),
        ("order", "asc"),
    ],
)
def test_a_value_that_is_not_understood_is_named(name: str, value: str) -> None:
    with pytest.raises(BadQueryError) as caught:
        list_query({name: value}, by_unit=True)
    assert [error.parameter for error in caught.value.errors] == [name]


def test_a_list_by_pool_knows_pools_and_no_units() -> None:
    assert list_query({"pool": "main", "limit": "5"}, by_pool=True) == ListQuery(limit=5, pool="main")
    with pytest.raises(BadQueryError, match="unit: unknown parameter"):
        list_query({"unit": "cpu"}, by_pool=True)
    with pytest.raises(BadQueryError, match="pool: unknown parameter"):
        list_query({"pool": "main"}, by_unit=True)
    with pytest.raises(BadQueryError, match="pool: a pool's name"):
        list_query({"pool": ""}, by_pool=True)


def test_a_page_begins_after_the_last_id_of_the_one_before() -> None:
    assert page_query({}) == PageQuery(limit=100, after="")
    assert page_query({"limit": "7", "after": "rack/1.07"}) == PageQuery(limit=7, after="rack/1.07")
    with pytest.raises(BadQueryError, match="since: unknown parameter; after: a unit's id"):
        page_query({"since": "1", "after": ""})


def test_everything_wrong_is_said_at_once() -> None:
    with pytest.raises(BadQueryError) as caught:
        list_query({"limit": "many", "since": "1", "unit": "cpu", "page": "2"}, by_unit=False)
    assert str(caught.value) == (
        "limit: a whole number from 1 to 1000; unit: unknown parameter; page: unknown parameter"
    )


@given(st.dictionaries(st.sampled_from(["limit", "since", "unit", "x"]), st.text(max_size=30)))
def test_any_text_is_either_understood_within_bounds_or_refused(parameters: dict[str, str]) -> None:
    with suppress(BadQueryError):
        asked = list_query(parameters, by_unit=True)
        assert 1 <= asked.limit <= MAX_LIMIT
        assert 0 <= asked.since < float("inf")
