from pathlib import Path

import pytest

from miner.config_stratum import ListenerConfig, StratumConfig

SERVER = StratumConfig(tls_certificate=Path("/c"), tls_key=Path("/k"), min_difficulty=2.0)


def test_without_anything_said_one_port_on_this_machine_serves_miners_of_every_size() -> None:
    (port,) = StratumConfig().ports
    assert port.address == ("127.0.0.1", 3333)
    assert port.vardiff
    assert (port.start_difficulty, port.min_difficulty, port.max_difficulty) == (1000.0, 0.0, 0.0)
    assert port.version_bits == 0x1FFFE000
    assert port.tls_certificate is None


def test_a_listener_has_rules_of_its_own_and_inherits_the_others() -> None:
    small = ListenerConfig(listen="[::1]:3334", start_difficulty=2.5, version_mask="00ffe000")
    port = SERVER.port(small)
    assert port.address == ("::1", 3334)
    assert (port.start_difficulty, port.min_difficulty) == (2.5, 2.0)
    assert port.version_bits == 0x00FFE000
    assert (port.tls_certificate, port.tls_key) == (Path("/c"), Path("/k"))


def test_a_listener_may_do_without_tls_although_the_server_has_it() -> None:
    port = SERVER.port(ListenerConfig.model_validate({"listen": "127.0.0.1:3334", "tls_certificate": ""}))
    assert (port.tls_certificate, port.tls_key) == (None, None)


def test_the_first_port_is_that_of_the_server_itself() -> None:
    server = StratumConfig(listener=(ListenerConfig(listen="127.0.0.1:3334"),))
    assert [port.address[1] for port in server.ports] == [3333, 3334]


@pytest.mark.parametrize(
    ("start", "least", "most", "follows"),
    [(5.0, 5.0, 5.0, False), (5.0, 0.0, 0.0, True), (5.0, 5.0, 6.0, True)],
)
def test_start_min_and_max_alike_fix_the_difficulty(
    start: float, least: float, most: float, *, follows: bool
) -> None:
    (port,) = StratumConfig(start_difficulty=start, min_difficulty=least, max_difficulty=most).ports
    assert port.vardiff is follows


def test_a_start_that_is_not_written_is_brought_between_floor_and_ceiling() -> None:
    assert StratumConfig(max_difficulty=5.0).ports[0].start_difficulty == 5.0
    assert StratumConfig(min_difficulty=5000.0).ports[0].start_difficulty == 5000.0
    rental = ListenerConfig(listen="127.0.0.1:3334", min_difficulty=500_000.0)
    assert StratumConfig(start_difficulty=7.0).port(rental).start_difficulty == 500_000.0
