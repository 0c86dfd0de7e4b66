"""`hashmill run` as a process of its own: configured, started, read by its HTTP API, stopped or killed."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess  # the daemon is a program
import sys
import time
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, Final, Self

import toml_rs

from regtest.ports import LOOPBACK, Reservation

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from pathlib import Path
    from types import TracebackType

    from regtest.bitcoind import Bitcoind

START_LIMIT_S: Final = 30.0
STOP_LIMIT_S: Final = 30.0
POLL_S: Final = 0.02


class DaemonError(Exception):
    """The daemon did not do in time what it was waited for; the message holds the end of its log."""


def bitcoind_sections(nodes: Sequence[Bitcoind]) -> list[dict[str, str]]:
    """The `[[bitcoind]]` sections of a configuration for these nodes."""
    sections = []
    for node in nodes:
        section = {"rpc_url": node.rpc_url, "cookie_file": str(node.cookie_file)}
        if node.zmq_hashblock is not None:
            section["zmq_hashblock"] = node.zmq_hashblock
        sections.append(section)
    return sections


def pool_sections(
    *ports: int, scheme: str = "stratum+tcp", user: str = "site", **keys: Any
) -> list[dict[str, Any]]:
    """The `[[pool]]` sections for pools at these ports of this machine, in order of preference; `keys` are in each of them."""
    return [{"url": f"{scheme}://{LOOPBACK}:{port}", "user": user, **keys} for port in ports]


class HashmillProcess:
    """A daemon with its configuration, ledger and log in `folder`; a context manager that starts and stops it.

    `sections` is the configuration as nested tables; `[http]` is filled in, and in `[ledger]` a SQLite file in `folder` where no
    url is given. The same folder may be started again, by this object or another.
    """

    def __init__(self, folder: Path, sections: Mapping[str, Any]) -> None:
        self.folder = folder
        self._reservation = Reservation(1)
        (self.http_port,) = self._reservation.ports
        self.config_file = folder / "hashmill.toml"
        self.ledger_file = folder / "hashmill.db"
        self.log_file = folder / "hashmill.log"
        settings = {
            **sections,
            "http": {**sections.get("http", {}), "listen": f"{LOOPBACK}:{self.http_port}"},
            "ledger": {"url": f"sqlite:///{self.ledger_file}", **sections.get("ledger", {})},
        }
        self.config_file.touch(0o600)  # passwords of ledgers, nodes and pools may be in it
        self.config_file.write_text(toml_rs.dumps(settings))
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id. Raises DaemonError when it is down."""
        if self._process is None or self._process.poll() is not None:
            raise DaemonError(f"the daemon is not running: {self.log_tail()}")
        return self._process.pid

    @property
    def log(self) -> str:
        """Everything it has logged, over all starts."""
        return self.log_file.read_text(errors="replace") if self.log_file.is_file() else ""

    def log_tail(self, lines: int = 8) -> str:
        """The end of its log, on one line."""
        return " | ".join(self.log.splitlines()[-lines:]) or "it logged nothing"

    def start(self) -> None:
        """Start it and wait until its HTTP port answers. Raises DaemonError if it ends or does not answer in time."""
        self.launch()
        self.wait_until(
            lambda: self.http("/healthz")[0] == HTTPStatus.OK, "answer on its HTTP port", START_LIMIT_S
        )

    def launch(self, environ: Mapping[str, str] | None = None) -> None:
        """Start it without waiting for anything. Raises DaemonError if it runs already."""
        if self.running:
            raise DaemonError("the daemon is running already")
        with self.log_file.open("ab") as sink:
            self._process = subprocess.Popen(
                [sys.executable, "-m", "miner", "run", "--config", str(self.config_file)],
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                env={**os.environ, **(environ or {})},
                start_new_session=True,
            )

    def wait(self, limit_s: float = STOP_LIMIT_S) -> int:
        """Its exit code once it has ended by itself. Raises DaemonError on time-out."""
        if self._process is None:
            raise DaemonError("the daemon was never started")
        try:
            return self._process.wait(limit_s)
        except subprocess.TimeoutExpired:
            raise DaemonError(f"the daemon did not end in {limit_s:.0f} s: {self.log_tail()}") from None

    def tell(self, sign: signal.Signals) -> None:
        """Send it a signal. Raises DaemonError when it is down."""
        os.kill(self.pid, sign)

    def end_heir(self) -> None:
        """Stop the process that took over from this one: it is in its session. Raises DaemonError if it does not end."""
        if self._process is None:
            return
        session = self._process.pid
        with contextlib.suppress(ProcessLookupError):
            os.killpg(session, signal.SIGTERM)
        end = time.monotonic() + STOP_LIMIT_S
        while time.monotonic() < end:
            try:
                os.killpg(session, 0)
            except ProcessLookupError:
                return
            time.sleep(POLL_S)
        raise DaemonError(f"the next daemon did not end: {self.log_tail()}")

    def stop(self, sign: signal.Signals = signal.SIGTERM) -> int:
        """End it in good order and return its exit code; killed, with DaemonError, if it does not end in time."""
        if self._process is None:
            return 0
        if self.running:
            self._process.send_signal(sign)
        try:
            return self.wait()
        except DaemonError:
            self.kill()
            raise

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL)."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)

    def close(self) -> None:
        """Stop it if it runs, and give back its port."""
        try:
            if self.running:
                self.stop()
        finally:
            self._reservation.release()

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.kill()
            self._reservation.release()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def http(self, path: str) -> tuple[int, str]:
        """Status and body of a GET; status 0 where nothing answers."""
        url = f"http://{LOOPBACK}:{self.http_port}{path}"
        try:
            with urllib.request.urlopen(url, timeout=5) as answer:
                return answer.status, answer.read().decode()
        except urllib.error.HTTPError as refused:
            with refused:
                return refused.code, refused.read().decode()
        except OSError:
            return 0, ""

    def status(self) -> dict[str, Any]:
        """The document at /api/v1/status. Raises DaemonError when it does not answer."""
        return self._document("/api/v1/status")

    def blocks(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The blocks of the ledger, as the API tells them, newest first."""
        found: list[dict[str, Any]] = self._document(f"/api/v1/blocks?limit={limit}")["blocks"]
        return found

    def decisions(self, limit: int = 1000) -> list[dict[str, Any]]:
        """The decisions of the ledger, as the API tells them, newest first."""
        found: list[dict[str, Any]] = self._document(f"/api/v1/decisions?limit={limit}")["decisions"]
        return found

    def metric(self, sample: str) -> float | None:
        """The value of one sample, such as `hashmill_bitcoind_up{node="a"}`; None if it is not there."""
        _, text = self.http("/metrics")
        for line in text.splitlines():
            name, _, value = line.rpartition(" ")
            if name == sample:
                return float(value)
        return None

    def wait_until(self, condition: Callable[[], bool], what: str, limit_s: float = START_LIMIT_S) -> float:
        """Seconds until `condition` came true. Raises DaemonError on time-out or when the daemon ends meanwhile."""
        started = time.monotonic()
        while True:
            with contextlib.suppress(DaemonError):
                if condition():
                    return time.monotonic() - started
            if not self.running:
                raise DaemonError(f"the daemon ended, waited for it to {what}: {self.log_tail()}")
            if time.monotonic() - started > limit_s:
                raise DaemonError(f"in {limit_s:.0f} s the daemon did not {what}: {self.log_tail()}")
            time.sleep(POLL_S)

    def _document(self, path: str) -> dict[str, Any]:
        status, body = self.http(path)
        if status != HTTPStatus.OK:
            raise DaemonError(f"{path} answered {status}: {body[:200]}")
        document: dict[str, Any] = json.loads(body)
        return document
