import math

import pytest

from controller.overrides import Override, in_force

AT = 1_800_000_000.0
FIRST = Override("rack1-07", "off", AT, AT + 600, "ana", "fan is loud")


def test_an_override_holds_from_when_it_was_made_until_its_end() -> None:
    assert [FIRST.holds_at(at) for at in (AT - 1, AT, AT + 599, AT + 600)] == [False, True, True, False]
    assert Override("a", "eco", AT, math.inf, "ana").holds_at(AT + 1e9)


def test_one_that_is_taken_back_ends_then_and_one_that_is_over_stays_as_it_was() -> None:
    ended = FIRST.ended(AT + 60)
    assert (ended.until, ended.since, ended.who) == (AT + 60, AT, "ana")
    assert FIRST.ended(AT + 900) == FIRST
    assert not FIRST.ended(AT - 5).holds_at(AT)


def test_of_several_for_a_unit_the_one_made_last_counts_also_when_it_is_over() -> None:
    second = Override("rack1-07", "eco", AT + 60, AT + 120, "ben")
    other = Override("a", "eco", AT, math.inf, "ana")
    made = [FIRST, second, other]
    assert in_force(made, AT + 61) == {"a": other, "rack1-07": second}
    assert in_force(reversed(made), AT + 61) == {"a": other, "rack1-07": second}
    assert in_force(made, AT + 130) == {"a": other}


def test_of_two_records_of_one_override_the_later_counts() -> None:
    assert in_force([FIRST, FIRST.ended(AT + 1)], AT + 2) == {}


@pytest.mark.parametrize(
    ("unit_id", "mode", "until"),
    [("", "off", AT + 1), ("a", "", AT + 1), ("a", "off", AT - 1), ("a", "off", math.nan)],
)
def test_one_that_names_nothing_or_ends_before_it_begins_is_refused(
    unit_id: str, mode: str, until: float
) -> None:
    with pytest.raises(ValueError, match="override"):
        Override(unit_id, mode, AT, until, "ana")
