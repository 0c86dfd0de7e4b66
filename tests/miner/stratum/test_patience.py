"""How long a connection may take; that a session closes when it takes longer is in test_server_session."""

from miner.stratum.house import Closing
from miner.stratum.patience import Patience
from miner.stratum.rules import PortRules
from tests.miner.harness import NOW

RULES = PortRules(login_timeout_s=60.0, idle_timeout_s=3600.0)
HOUR_S = 3600.0
UPTIME = 500.0


def test_a_login_has_its_time_whatever_happens_to_the_clock() -> None:
    patience = Patience(RULES, UPTIME)
    assert patience.tick(NOW, NOW + 9 * HOUR_S, UPTIME + 59.0, is_mining=False) == Closing.STAY
    assert patience.tick(NOW, NOW - 9 * HOUR_S, UPTIME + 60.0, is_mining=False) == Closing.LOGIN_TIMEOUT


def test_a_clock_set_ahead_makes_nobody_idle() -> None:
    patience = Patience(RULES, UPTIME)
    assert patience.tick(NOW, NOW + 5.0, UPTIME + 5.0, is_mining=True) == Closing.STAY
    assert patience.tick(NOW, NOW + 2 * HOUR_S, UPTIME + 10.0, is_mining=True) == Closing.STAY
    heard = NOW + 2 * HOUR_S
    assert patience.tick(heard, heard + 5.0, UPTIME + 15.0, is_mining=True) == Closing.STAY
    assert patience.tick(heard, heard + HOUR_S, UPTIME + 10.0 + HOUR_S, is_mining=True) == Closing.IDLE


def test_a_clock_set_back_makes_nobody_idle_and_only_puts_off_who_is() -> None:
    patience = Patience(RULES, UPTIME)
    assert patience.tick(NOW, NOW + 5.0, UPTIME + 5.0, is_mining=True) == Closing.STAY
    assert patience.tick(NOW, NOW - HOUR_S, UPTIME + 10.0 + HOUR_S, is_mining=True) == Closing.STAY
    assert patience.tick(NOW, NOW + HOUR_S, UPTIME + 10.0 + 3 * HOUR_S, is_mining=True) == Closing.IDLE


def test_who_says_something_between_any_two_ticks_is_never_idle() -> None:
    patience = Patience(RULES, UPTIME)
    for hour in range(1, 100):
        at = hour * HOUR_S
        assert patience.tick(NOW + at - 1.0, NOW + at, UPTIME + at, is_mining=True) == Closing.STAY


def test_without_an_idle_time_silence_has_no_end() -> None:
    patience = Patience(PortRules(idle_timeout_s=0.0), UPTIME)
    assert patience.tick(NOW, NOW + 1e9, UPTIME + 1e9, is_mining=True) == Closing.STAY
