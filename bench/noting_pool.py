"""A pool that takes every share and notes when it came: nothing but the other end of a measurement."""

from __future__ import annotations

import json
import socket
import threading
import time
from typing import TYPE_CHECKING, Any, Final, Self

if TYPE_CHECKING:
    from types import TracebackType

HOST: Final = "127.0.0.1"
EVERY_HASH: Final = 1e-10
BRANCHES: Final = 12
COINBASE: Final = (
    "01000000010" + "0" * 63 + "ffffffff1003a0bb0d",
    "ffffffff0100f2052a010000000151" + "0" * 8,
)
"""Height 900,000 and twelve bytes of extranonces; one output, to anyone."""
LIMIT_S: Final = 30.0


class NotingPool:
    """One job for everybody, of twelve branches, in which every hash is a share; a context manager."""

    def __init__(self) -> None:
        self._listening = socket.create_server((HOST, 0))
        self.port: int = self._listening.getsockname()[1]
        self._read_at: dict[str, float] = {}  # by nonce, on the clock of time.perf_counter
        self._came = threading.Condition()
        threading.Thread(target=self._accept, daemon=True).start()

    def read_at(self, nonce: str) -> float:
        """When the share of this nonce was read, on the clock of `time.perf_counter`. Raises TimeoutError."""
        with self._came:
            if not self._came.wait_for(lambda: nonce in self._read_at, LIMIT_S):
                raise TimeoutError(f"no share of nonce {nonce} came")
            return self._read_at[nonce]

    def close(self) -> None:
        """Take nobody more."""
        self._listening.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listening.accept()
            except OSError:
                return
            connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with connection, connection.makefile("rb") as lines:
            for line in lines:
                at, message = time.perf_counter(), json.loads(line)
                method, params = message.get("method"), message.get("params") or []
                if method == "mining.submit":
                    with self._came:
                        self._read_at[params[4]] = at
                        self._came.notify_all()
                answer = json.dumps({"id": message.get("id"), "result": self._result(method), "error": None})
                work = [] if method != "mining.authorize" else self._work()
                connection.sendall("".join(f"{each}\n" for each in [answer, *work]).encode())

    @staticmethod
    def _result(method: str) -> Any:
        if method == "mining.subscribe":
            return [[["mining.notify", "1"]], "00000001", 8]
        return {"version-rolling": False} if method == "mining.configure" else True

    @staticmethod
    def _work() -> list[str]:
        branch = [f"{number:02x}" * 32 for number in range(BRANCHES)]
        job = ["1", "b1" * 32, *COINBASE, branch, "20000000", "170331db", f"{int(time.time()):08x}", True]
        return [
            json.dumps({"id": None, "method": "mining.set_difficulty", "params": [EVERY_HASH]}),
            json.dumps({"id": None, "method": "mining.notify", "params": job}),
        ]
