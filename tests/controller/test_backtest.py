"""What a backtest is asked and what it tells."""

from controller.backtest import POLICY_TEXT, Policy
from tests.controller.backtest_rig import FIRST, fleet, recorded


def test_a_fleet_draws_what_its_units_draw_at_full_hashrate() -> None:
    assert fleet(30.0, count=7).full_kw == 21.0


def test_quarter_hours_begin_where_the_warm_up_does() -> None:
    told = recorded([50.0, 51.0, 52.0], warm_up=1)
    assert told.starts.tolist() == [FIRST * 900.0, FIRST * 900.0 + 900, FIRST * 900.0 + 1800]


def test_every_policy_is_explained() -> None:
    assert set(POLICY_TEXT) == set(Policy)
