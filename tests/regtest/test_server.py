"""What servers of tests have in common: in any case they end, and leave nothing."""

from pathlib import Path

import pytest

from regtest.ports import Reservation
from regtest.server import Server


class Scripted(Server):
    """Notes what is done with it."""

    def __init__(self, folder: Path | None, *, faulty: bool = False) -> None:
        self.done: list[str] = []
        self.faulty = faulty
        self.reservation = Reservation(1)
        super().__init__(self.reservation, folder)

    def start(self) -> None:
        self.done.append("start")
        if self.faulty:
            raise RuntimeError("no")

    def stop(self) -> None:
        self.done.append("stop")


def test_as_a_context_it_is_started_stopped_and_its_folder_removed(tmp_path: Path) -> None:
    folder = tmp_path / "own"
    folder.mkdir()
    with Scripted(folder) as server:
        assert server.done == ["start"]
    assert server.done == ["start", "stop"]
    assert not folder.exists()


def test_one_that_cannot_be_started_is_cleared_away_too() -> None:
    server = Scripted(None, faulty=True)
    with pytest.raises(RuntimeError), server:
        pass
    assert server.done == ["start", "stop"]
