import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.stratum.failover import FORGIVEN_AFTER_S, GRACE_S, MOST_WAIT_S, RETURN_S, Failover

NAMES = ("first", "second", "third")


def started(now: float = 0.0) -> Failover:
    return Failover(NAMES, now)


def mining_for(name: str, now: float = 100.0) -> Failover:
    """Pools of which only that one is well, and has been chosen."""
    pools = started()
    for other in NAMES:
        if other != name:
            pools.failed(other, 1.0, 0.0)
    pools.well(name, 1.0)
    assert pools.choose(now) == name
    return pools


def test_nothing_is_chosen_before_a_pool_is_well() -> None:
    pools = started()
    assert pools.choose(0.0) is None
    assert pools.choose(1000.0) is None


def test_the_first_in_the_list_is_taken_at_once_when_it_is_well() -> None:
    pools = started()
    pools.well("first", 0.1)
    assert pools.choose(0.1) == "first"


def test_at_the_start_a_quicker_pool_waits_for_those_before_it() -> None:
    pools = started()
    pools.well("second", 0.1)
    assert pools.choose(0.1) is None
    pools.well("first", 3.0)
    assert pools.choose(3.0) == "first"


def test_at_the_start_a_pool_that_has_failed_is_not_waited_for() -> None:
    pools = started()
    pools.well("second", 0.1)
    pools.failed("first", 0.2, 0.0)
    assert pools.choose(0.2) == "second"


def test_after_the_grace_at_the_start_the_best_that_is_well_is_taken() -> None:
    pools = started()
    pools.well("third", 0.1)
    pools.well("second", 0.2)
    assert pools.is_starting(GRACE_S - 0.1)
    assert pools.choose(GRACE_S - 0.1) is None
    assert pools.choose(GRACE_S) == "second"
    assert not pools.is_starting(GRACE_S)


def test_a_pool_that_fails_is_left_at_once_for_the_next_that_is_well() -> None:
    pools = mining_for("first")
    pools.well("third", 200.0)
    pools.failed("first", 200.0, 0.0)
    assert pools.choose(200.0) == "third"


def test_without_another_there_is_none_until_it_is_back() -> None:
    pools = mining_for("first")
    pools.failed("first", 200.0, 0.0)
    assert pools.choose(200.0) is None
    pools.well("first", 203.0)
    assert pools.choose(203.0) == "first"


def test_a_better_pool_is_returned_to_after_a_minute_of_health() -> None:
    pools = mining_for("second")
    pools.well("first", 200.0)
    assert pools.choose(200.0 + RETURN_S - 0.1) == "second"
    assert pools.choose(200.0 + RETURN_S) == "first"


def test_a_break_makes_the_minute_begin_anew() -> None:
    pools = mining_for("second")
    pools.well("first", 200.0)
    pools.failed("first", 250.0, 0.0)
    pools.well("first", 251.0)
    assert pools.choose(260.1) == "second"
    assert pools.choose(251.0 + RETURN_S) == "first"


def test_a_redirection_breaks_health_but_makes_no_pool_wait_longer() -> None:
    pools = mining_for("first")
    pools.gone("first")
    assert pools.choose(200.0) is None
    assert pools.failed("first", 201.0, 0.0) == 1.0


def test_a_worse_pool_is_never_changed_to_while_the_present_one_is_well() -> None:
    pools = mining_for("second")
    pools.well("third", 100.0)
    assert pools.choose(10_000.0) == "second"


def test_a_condemned_pool_is_left_though_it_says_it_is_well() -> None:
    pools = mining_for("first")
    pools.well("second", 150.0)
    pools.condemn("first", 200.0)
    pools.well("first", 201.0)
    assert pools.choose(201.0) == "second"
    assert pools.choose(201.0 + RETURN_S) == "first"


def test_a_condemned_pool_owes_health_even_if_there_is_no_other() -> None:
    pools = mining_for("first")
    pools.condemn("first", 200.0)
    pools.well("first", 201.0)
    assert pools.choose(201.0) is None
    assert pools.choose(201.0 + RETURN_S) == "first"


def test_each_condemnation_doubles_what_is_owed_until_an_hour_of_good_work() -> None:
    pools = mining_for("first")
    now = 200.0
    for owed_s in (RETURN_S, 2 * RETURN_S, 4 * RETURN_S):
        pools.condemn("first", now)
        pools.well("first", now)
        assert pools.choose(now + owed_s - 0.1) is None
        now += owed_s
        assert pools.choose(now) == "first"
    now += FORGIVEN_AFTER_S
    pools.condemn("first", now)
    pools.well("first", now)
    assert pools.choose(now + RETURN_S) == "first"


def test_what_is_owed_has_an_end() -> None:
    pools = mining_for("first")
    for number in range(100):
        pools.condemn("first", 200.0 + number)
    pools.well("first", 1000.0)
    assert pools.choose(1000.0 + FORGIVEN_AFTER_S) == "first"


def test_waits_double_up_to_a_minute() -> None:
    pools = started()
    assert [pools.failed("first", 1.0, 0.0) for _ in range(8)] == [
        1,
        2,
        4,
        8,
        16,
        32,
        MOST_WAIT_S,
        MOST_WAIT_S,
    ]


def test_chance_shortens_a_wait_by_up_to_a_third() -> None:
    assert started().failed("first", 1.0, 0.5) == pytest.approx(5 / 6)
    assert started().failed("first", 1.0, 1.0) == pytest.approx(2 / 3)


def test_a_pool_that_was_steady_is_tried_again_quickly_and_one_that_was_not_is_not() -> None:
    pools = started()
    for _ in range(4):
        pools.failed("first", 1.0, 0.0)
    pools.well("first", 100.0)
    assert pools.failed("first", 101.0, 0.0) == 16.0
    pools.well("first", 200.0)
    assert pools.failed("first", 210.0, 0.0) == 1.0


EVENTS = st.lists(
    st.tuples(
        st.sampled_from(["well", "failed", "gone", "condemn", "nothing"]),
        st.sampled_from(NAMES),
        st.floats(0.0, 100.0),
    ),
    max_size=60,
)


@given(EVENTS)
def test_whatever_happens_the_chosen_pool_is_well_and_a_well_one_is_left_for_a_better_only(
    events: list[tuple[str, str, float]],
) -> None:
    pools, well, now, before = started(), dict.fromkeys(NAMES, False), 0.0, None
    for what, name, passed_s in events:
        now += passed_s
        if what == "well":
            pools.well(name, now)
            well[name] = True
        elif what != "nothing":
            arguments = {"failed": (name, now, 0.5), "gone": (name,), "condemn": (name, now)}[what]
            getattr(pools, what)(*arguments)
            well[name] = False
        chosen = pools.choose(now)
        assert chosen is None or well[chosen]
        assert pools.active == chosen
        if before is not None and well[before]:
            assert chosen is not None
            assert NAMES.index(chosen) <= NAMES.index(before)
        before = chosen
