"""What servers started for tests have in common: a port and a folder of their own, and an end in any case."""

from __future__ import annotations

import atexit
import shutil
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

    from regtest.ports import Reservation


class Server(ABC):
    """A process that is started, stopped and started again until it is closed; as a context it is started on entry and closed at the end.

    `folder` is removed when it is closed, None for one that is somebody else's.
    """

    def __init__(self, reservation: Reservation, folder: Path | None) -> None:
        self._reservation = reservation
        self._own_folder = folder
        atexit.register(self.close)

    @abstractmethod
    def start(self) -> None:
        """Start it, and return when it answers."""

    @abstractmethod
    def stop(self) -> None:
        """Stop it in order; nothing if it does not run."""

    def close(self) -> None:
        """Stop it and give back its port and folder; it cannot be started again."""
        atexit.unregister(self.close)
        try:
            self.stop()
        finally:
            self._reservation.release()
            if self._own_folder is not None:
                shutil.rmtree(self._own_folder, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
