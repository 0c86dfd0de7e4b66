"""The difficulty of one session: whose wish counts, and when."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.difficulty import target_of_difficulty
from miner.stratum.pace import NETWORK_UNKNOWN, Pace
from miner.stratum.rules import PortRules
from miner.work.vardiff import Vardiff

OPEN = PortRules(start_difficulty=1000.0)
MAIN = 1e14


def test_a_session_starts_with_the_ports_difficulty() -> None:
    assert Pace(OPEN).start(MAIN, 0.0).difficulty == 1000.0


def test_the_password_goes_before_what_was_learned_and_that_before_what_the_device_suggests() -> None:
    learned = Vardiff(64.0, 0.0, MAIN, 12.0, 0.0).state()
    pace = Pace(OPEN)
    pace.suggest(5.0, 0.0)
    assert pace.start(MAIN, 0.0).difficulty == 5.0
    pace = Pace(OPEN)
    pace.suggest(5.0, 0.0)
    pace.resume(learned, 7)
    assert pace.start(MAIN, 0.0)[:3] == (7, 0, 64.0)
    pace = Pace(OPEN)
    pace.suggest(5.0, 0.0)
    pace.resume(learned, 7)
    pace.demand(2.0)
    assert pace.start(MAIN, 0.0)[:3] == (7, 0, 2.0)


def test_what_the_password_asks_for_is_a_floor_and_what_the_device_suggests_is_none() -> None:
    def after_two_silent_minutes(pace: Pace) -> float:
        pace.start(MAIN, 0.0)
        assert pace.vardiff
        for now in range(5, 125, 5):
            pace.vardiff.tick(float(now))
        return pace.vardiff.difficulty

    demanded, suggested = Pace(OPEN), Pace(OPEN)
    demanded.demand(512.0)
    suggested.suggest(512.0, 0.0)
    assert after_two_silent_minutes(demanded) == 512.0
    assert after_two_silent_minutes(suggested) < 5.0


def test_a_wish_stays_within_the_ports_limits_and_the_networks() -> None:
    rules = PortRules(start_difficulty=10.0, min_difficulty=2.0, max_difficulty=100.0)
    for wish, network, difficulty in [
        (1.0, MAIN, 2.0),
        (1e300, MAIN, 100.0),
        (50.0, 0.5, 0.5),
        (50.0, MAIN, 50.0),
    ]:
        pace = Pace(rules)
        pace.demand(wish)
        assert pace.start(network, 0.0).difficulty == difficulty


def test_where_no_block_is_known_yet_a_wish_has_an_end_too() -> None:
    pace = Pace(OPEN)
    pace.demand(1e300)
    assert pace.start(NETWORK_UNKNOWN, 0.0).difficulty == 2.0**53


def test_a_suggestion_counts_until_shares_tell_better() -> None:
    pace = Pace(OPEN)
    pace.start(MAIN, 0.0)
    assert pace.suggest(8.0, 1.0) == 8.0
    assert pace.vardiff
    for share in range(20):
        pace.vardiff.credit(1, 8.0, 2.0 + 5 * share)
    assert pace.suggest(1e9, 120.0) is None


def test_a_suggestion_sent_again_and_again_to_be_heard_of_is_no_news() -> None:
    pace = Pace(OPEN)
    pace.start(MAIN, 0.0)
    assert pace.suggest(500.0, 1.0) == 500.0
    assert pace.vardiff
    pace.vardiff.tick(8.0)
    lowered = pace.vardiff.difficulty
    assert lowered < 500.0
    assert pace.suggest(500.0, 9.0) is None
    assert pace.vardiff.difficulty == lowered


def test_a_floor_lifts_a_difficulty_below_it_and_no_other() -> None:
    pace = Pace(OPEN)
    pace.start(MAIN, 0.0)
    assert pace.raise_floor(10.0, 1.0) is None
    assert pace.raise_floor(2048.0, 1.0) == 2048.0
    assert pace.raise_floor(5.0, 1.0) is None


def test_a_port_without_vardiff_leaves_a_session_what_it_starts_with() -> None:
    pace = Pace(PortRules(start_difficulty=1000.0, vardiff=False))
    pace.suggest(64.0, 0.0)
    assert pace.start(MAIN, 0.0).difficulty == 64.0
    assert pace.vardiff
    for now in range(5, 600, 5):
        assert pace.vardiff.tick(float(now)) is None
    assert pace.suggest(32.0, 700.0) is None


def test_a_block_that_becomes_easier_takes_the_shares_with_it_and_gives_a_fixed_difficulty_back() -> None:
    pace = Pace(PortRules(start_difficulty=8.0, min_difficulty=8.0, max_difficulty=8.0))
    pace.start(MAIN, 0.0)
    lowered = pace.before_job(0.5, 100, 1.0)
    assert lowered is not None
    assert lowered[:3] == (1, 100, 0.5)
    assert pace.before_job(0.5, 101, 2.0) is None
    restored = pace.before_job(MAIN, 102, 3.0)
    assert restored is not None
    assert restored[:3] == (2, 102, 8.0)


def test_a_change_too_small_to_be_sent_is_none() -> None:
    pace = Pace(OPEN)
    pace.start(MAIN, 0.0)
    assert pace.change(1000.9, 5) is None
    changed = pace.change(999.9, 5)
    assert changed is not None
    assert changed.difficulty == 999.0


def test_before_it_starts_no_job_changes_anything() -> None:
    pace = Pace(OPEN)
    assert pace.before_job(0.5, 1, 0.0) is None
    assert pace.raise_floor(5.0, 0.0) is None


@pytest.mark.parametrize("vardiff", [True, False])
@given(
    wishes=st.lists(
        st.tuples(
            st.sampled_from(["suggest", "demand", "floor", "job", "shares", "tick"]), st.floats(1e-13, 1e16)
        )
    ),
    network=st.floats(1e-10, 1e15),
)
def test_whatever_is_wished_no_share_is_harder_than_a_block(
    vardiff: bool,  # noqa: FBT001  a parameter of the test
    wishes: list[tuple[str, float]],
    network: float,
) -> None:
    pace = Pace(PortRules(start_difficulty=16.0, min_difficulty=1e-6, max_difficulty=1e9, vardiff=vardiff))
    pace.start(network, 0.0)
    for step, (what, value) in enumerate(wishes):
        now = 3.0 * step
        wanted: float | None = None
        match what:
            case "suggest":
                wanted = pace.suggest(value, now)
            case "floor":
                wanted = pace.raise_floor(value, now)
            case "job":
                network = value
                pace.before_job(network, step, now)
            case "shares" if pace.vardiff:
                wanted = pace.vardiff.credit(10, 10 * pace.newest.credit, now)
            case "tick" if pace.vardiff:
                wanted = pace.vardiff.tick(now)
        if wanted is not None:
            pace.change(wanted, step)
        assert pace.newest.target >= target_of_difficulty(network)


def test_a_floor_that_an_easy_pool_pressed_down_holds_again_after_it() -> None:
    pace = Pace(PortRules(start_difficulty=1000.0, min_difficulty=500.0))
    assert pace.start(8.0, 0.0).difficulty == 8.0  # a pool's first, easy shares
    level = pace.before_job(MAIN, 7, 1.0)
    assert level is not None
    assert level[:3] == (1, 7, 500.0)
    assert pace.vardiff
    for now in range(5, 125, 5):
        pace.vardiff.tick(float(now))
    assert pace.vardiff.difficulty == 500.0
    level = pace.before_job(8.0, 9, 130.0)
    assert level is not None
    assert level.difficulty == 8.0


def test_a_port_without_vardiff_has_its_own_difficulty_again_after_an_easy_pool() -> None:
    pace = Pace(PortRules(start_difficulty=1000.0, vardiff=False))
    pace.start(8.0, 0.0)
    level = pace.before_job(MAIN, 7, 1.0)
    assert level is not None
    assert level.difficulty == 1000.0
    assert pace.before_job(MAIN * 2, 8, 2.0) is None
    assert pace.vardiff
    for now in range(5, 1250, 5):
        assert pace.vardiff.credit(100, 100_000.0, float(now)) is None
        assert pace.vardiff.tick(float(now)) is None
    assert pace.before_job(MAIN, 9, 1300.0) is None
