"""A broker of our own: started, killed, started again, gone at the end."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from regtest import mosquitto as module
from regtest.mosquitto import Mosquitto, MosquittoError, NoMosquittoError, program


@pytest.fixture
def broker() -> Mosquitto:
    try:
        return Mosquitto()
    except NoMosquittoError as error:
        if os.environ.get("HASHMILL_REQUIRE_MOSQUITTO"):
            raise
        pytest.skip(str(error))


def test_it_listens_on_loopback_until_it_is_closed(broker: Mosquitto) -> None:
    with broker:
        socket.create_connection((broker.host, broker.port)).close()
        pid = broker.pid
        broker.kill()
        with pytest.raises(MosquittoError, match="not running"):
            _ = broker.pid
        broker.start()
        assert broker.pid != pid
        pid = broker.pid
    assert not Path(f"/proc/{pid}").exists()
    broker.close()


def test_one_that_cannot_start_says_why(broker: Mosquitto) -> None:
    with broker:
        broker.stop()
        (broker._folder / "mosquitto.conf").write_text("nonsense here\n")
        with pytest.raises(MosquittoError, match=r"ended while starting: .*nonsense"):
            broker.start()


def test_where_none_is_installed_that_is_said_with_the_command_that_installs_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.setattr(module, "FOLDERS", ())
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(NoMosquittoError, match="apt-get install mosquitto"):
        program()
