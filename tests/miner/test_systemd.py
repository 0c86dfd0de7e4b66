import socket
from pathlib import Path

import pytest

from miner.systemd import notify


@pytest.mark.parametrize("kind", ["abstract", "file"])
def test_the_service_manager_gets_one_datagram_of_lines(tmp_path: Path, kind: str) -> None:
    abstract = kind == "abstract"
    name = f"@hashmill-{tmp_path.name}" if abstract else str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as manager:
        manager.bind("\0" + name[1:] if abstract else name)
        assert notify({"READY": 1, "MAINPID": 42}, {"NOTIFY_SOCKET": name})
        assert manager.recv(100) == b"READY=1\nMAINPID=42"


@pytest.mark.parametrize("name", ["", "relative", "/nonexistent/notify"])
def test_without_a_service_manager_nothing_happens(name: str) -> None:
    assert not notify({"READY": 1}, {"NOTIFY_SOCKET": name} if name else {})
