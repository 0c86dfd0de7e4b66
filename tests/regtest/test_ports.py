"""Ports held for our nodes."""

from __future__ import annotations

import socket

import pytest

from regtest import ports


def test_ports_held_at_once_differ_and_are_free_to_listen_on() -> None:
    with ports.Reservation(20) as first, ports.Reservation(20) as second:
        assert len({*first.ports, *second.ports}) == 40
        for port in first.ports:
            with socket.create_server((ports.LOOPBACK, port)):
                pass


def test_port_someone_listens_on_is_not_given_out(monkeypatch: pytest.MonkeyPatch) -> None:
    with ports.Reservation(1) as held:
        (port,) = held.ports
    monkeypatch.setattr(ports.random, "randrange", lambda _low, _high: port)
    monkeypatch.setattr(ports, "ATTEMPTS", 3)
    with socket.create_server((ports.LOOPBACK, port)), pytest.raises(OSError, match="no free port"):
        ports.Reservation(1)


def test_held_port_is_not_given_out_again_until_it_is_released(monkeypatch: pytest.MonkeyPatch) -> None:
    held = ports.Reservation(1)
    monkeypatch.setattr(ports.random, "randrange", lambda _low, _high: held.ports[0])
    monkeypatch.setattr(ports, "ATTEMPTS", 3)
    with pytest.raises(OSError, match="no free port"):
        ports.Reservation(1)
    held.release()
    with ports.Reservation(1) as again:
        assert again.ports == held.ports
