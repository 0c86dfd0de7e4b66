"""An ASIC that mines all the time, in a thread of its own, as the ones in a rack do; and what became of its shares."""

from __future__ import annotations

import threading
import time
from typing import Any, Final, Self

from tests.end_to_end.asic import Asic, Found

LIMIT_S: Final = 20.0
"""How long a test waits for shares; far longer than they ever take."""
REST_S: Final = 0.01
"""Between two shares, so that pools in other threads of the test have their say."""


class Rig:
    """Mines at a port from start to end of its context; it logs in again when it is sent away or finds nobody there."""

    def __init__(self, port: int, worker: str = "rack1.07") -> None:
        self.shares: list[tuple[Found, dict[str, Any] | None]] = []
        """Every share with its answer; None where the connection ended before there was one."""
        self.logins = 0
        self._port = port
        self._worker = worker
        self._session: str | None = None
        self._stop = threading.Event()
        self._fault: BaseException | None = None
        self._thread = threading.Thread(target=self._run, name=f"rig {worker}", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        self._end()
        if kind is None:
            self.stop()

    def stop(self) -> None:
        """Mine no more; raises what went wrong in its thread."""
        self._end()
        if self._fault is not None:
            raise self._fault

    def _end(self) -> None:
        self._stop.set()
        self._thread.join(LIMIT_S)

    @property
    def accepted(self) -> set[str]:
        """Hashes of the shares that it was told are accepted."""
        return {found.block_hash for found, answer in self.shares if answer and answer["result"] is True}

    @property
    def errors(self) -> list[str]:
        """What it was told of the others, in order."""
        return [answer["error"][1] for _, answer in self.shares if answer and answer["result"] is not True]

    def mine_on(self, more: int = 3) -> None:
        """Wait until so many more of its shares are accepted."""
        wanted, end = len(self.accepted) + more, time.monotonic() + LIMIT_S
        while len(self.accepted) < wanted:
            if self._fault is not None:
                raise self._fault
            assert time.monotonic() < end, f"{self._worker} has no more shares accepted: {self.shares[-3:]}"
            time.sleep(REST_S)

    def _run(self) -> None:
        try:
            while not self._stop.is_set():
                try:
                    with Asic(self._port, self._worker, session=self._session) as asic:
                        self._mine(asic)
                except OSError:
                    time.sleep(5 * REST_S)  # nobody there
        except BaseException as error:  # noqa: BLE001 - the test raises it
            self._fault = error

    def _mine(self, asic: Asic) -> None:
        """Mine on one connection until it ends."""
        try:
            assert asic.login()["result"] is True
            self.logins += 1
            self._session = asic.session
            while not (self._stop.is_set() or asic.closed):
                while asic._read(REST_S) is not None:
                    pass  # the newest job is the one to mine
                if asic.job is not None and not asic.closed:
                    self._hand_in(asic, asic.mine())
        except AssertionError:
            if not asic.closed:
                raise

    def _hand_in(self, asic: Asic, found: Found) -> None:
        answer: dict[str, Any] | None = None
        try:
            answer = asic.submit(found)
        finally:
            self.shares.append((found, answer))
