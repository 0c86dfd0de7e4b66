import logging
from collections.abc import Iterator

import pytest

from miner.stratum.traffic import REFUSALS_APART, TOLD_ONE_BY_ONE, Traffic


class Lines(logging.Handler):
    """Keeps what is logged at `info` and above."""

    def __init__(self) -> None:
        super().__init__(logging.INFO)
        self.records: list[logging.LogRecord] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.records.append(record)


@pytest.fixture
def lines(caplog: pytest.LogCaptureFixture) -> Iterator[list[logging.LogRecord]]:
    handler = Lines()
    caplog.set_level(logging.INFO, "miner.stratum.traffic")
    traffic_log = logging.getLogger("miner.stratum.traffic")
    traffic_log.addHandler(handler)
    yield handler.records
    traffic_log.removeHandler(handler)


def test_few_comings_and_goings_are_told_one_by_one(lines: list[logging.LogRecord]) -> None:
    traffic = Traffic()
    traffic.came("192.0.2.1", "farm.1", "cgminer/4")
    traffic.went("192.0.2.1", "farm.1", "idle")
    traffic.flush()
    assert [record.message for record in lines] == ["miner_connected", "miner_disconnected"]
    assert (lines[1].unit, lines[1].reason) == ("farm.1", "idle")  # type: ignore[attr-defined]  # fields of the event


def test_ten_thousand_reconnects_in_a_second_are_one_line_more(lines: list[logging.LogRecord]) -> None:
    traffic = Traffic()
    for number in range(10_000):
        traffic.went("192.0.2.1", f"farm.{number}", "lost")
        traffic.came("192.0.2.1", f"farm.{number}", "")
    traffic.flush()
    assert len(lines) == TOLD_ONE_BY_ONE + 1
    told = sum(record.message == "miner_connected" for record in lines)
    assert lines[-1].message == "miners_came_and_went"
    assert lines[-1].connected == 10_000 - told  # type: ignore[attr-defined]  # a field of the event
    assert traffic.in_all["came", ""] == traffic.in_all["went", "lost"] == 10_000


def test_the_next_second_is_told_one_by_one_again(lines: list[logging.LogRecord]) -> None:
    traffic = Traffic()
    for _ in range(2):
        for _ in range(TOLD_ONE_BY_ONE):
            traffic.refused_login("192.0.2.1", "of another network")
        traffic.flush()
    assert [record.message for record in lines] == ["login_refused"] * 2 * TOLD_ONE_BY_ONE


def test_refused_connections_are_a_warning_now_and_then(lines: list[logging.LogRecord]) -> None:
    traffic = Traffic()
    for _ in range(2 * REFUSALS_APART):
        for _ in range(1000):
            traffic.refused("192.0.2.1", "max_connections")
        traffic.flush()
    told = [record.count for record in lines if record.levelno == logging.WARNING]  # type: ignore[attr-defined]  # a field of the event
    assert told == [1000, 1000 * REFUSALS_APART]


def test_who_never_logged_in_is_no_news(lines: list[logging.LogRecord]) -> None:
    traffic = Traffic()
    traffic.went("192.0.2.1", "", "login_timeout")
    traffic.flush()
    assert lines == []
    assert traffic.in_all["went", "login_timeout"] == 1
