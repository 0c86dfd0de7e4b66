import resource
from collections.abc import Iterator

import pytest

from miner.stratum import limits
from miner.stratum.limits import FAILURES, ConnectionLimits, limit_key, raise_open_files
from tests.miner.harness import NOW


@pytest.mark.parametrize(
    ("host", "key"),
    [
        ("192.0.2.7", "192.0.2.7"),
        ("::ffff:192.0.2.7", "192.0.2.7"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2:ffff::1", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
    ],
)
def test_an_address_is_counted_by_what_one_owner_has(host: str, key: str) -> None:
    assert limit_key(host) == key


def test_there_is_room_for_so_many_connections_and_no_more() -> None:
    limits = ConnectionLimits(2, 0)
    assert [limits.enter(address) for address in "abc"] == ["", "", "max_connections"]
    limits.leave("a")
    assert limits.enter("c") == ""
    assert limits.connections == 2


def test_one_address_does_not_take_the_room_of_all() -> None:
    limits = ConnectionLimits(10, 2)
    assert [limits.enter("a") for _ in range(3)] == ["", "", "max_connections_per_address"]
    assert limits.enter("b") == ""
    limits.leave("a")
    assert limits.enter("a") == ""


def test_an_address_whose_logins_fail_has_to_wait_and_is_forgiven() -> None:
    limits = ConnectionLimits(10, 0)
    for _ in range(int(FAILURES)):
        assert not limits.is_throttled("a", NOW)
        limits.login_failed("a", NOW)
    assert limits.is_throttled("a", NOW)
    assert not limits.is_throttled("b", NOW)
    assert not limits.is_throttled("a", NOW + limits_forgiven())


def limits_forgiven() -> float:
    return limits.FAILURE_FORGIVEN_S


def test_a_clock_set_back_forgives_nothing_and_breaks_nothing() -> None:
    counted = ConnectionLimits(10, 0)
    counted.login_failed("a", NOW)
    counted.login_failed("a", NOW - 1000)
    assert not counted.is_throttled("a", NOW - 1000)


def test_failures_of_many_addresses_take_bounded_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_REMEMBERED", 10)
    counted = ConnectionLimits(10, 0)
    for number in range(100):
        counted.login_failed(str(number), NOW)
    assert len(counted._failures) == 10


@pytest.fixture
def open_files() -> Iterator[tuple[int, int]]:
    """The limits as they are; whatever a test does to the soft one is undone."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    yield before
    resource.setrlimit(resource.RLIMIT_NOFILE, before)


def test_the_limit_of_open_files_is_raised_to_what_is_needed(open_files: tuple[int, int]) -> None:
    hard = open_files[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    raise_open_files(700)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == (700 + limits.OTHER_FILES, hard)


def test_a_limit_that_is_high_enough_stays(open_files: tuple[int, int]) -> None:
    raise_open_files(1)
    assert resource.getrlimit(resource.RLIMIT_NOFILE) == open_files


def test_where_it_cannot_be_raised_enough_it_is_raised_as_far_as_it_goes_and_told(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    set_to: list[tuple[int, int]] = []

    def setrlimit(_which: int, wanted: tuple[int, int]) -> None:
        if wanted[1] > 4096:
            raise ValueError("not allowed to raise maximum limit")
        set_to.append(wanted)

    monkeypatch.setattr(resource, "getrlimit", lambda _which: (1024, 4096))
    monkeypatch.setattr(resource, "setrlimit", setrlimit)
    raise_open_files(20_000)
    assert set_to == [(4096, 4096)]
    assert [record.message for record in caplog.records] == ["open_files_limited"]
