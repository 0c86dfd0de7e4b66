"""A real MQTT broker of our own on loopback: Mosquitto with a configuration in a temporary folder, gone when it is closed."""

from __future__ import annotations

import contextlib
import os
import pwd
import shutil
import signal
import socket
import subprocess  # mosquitto is a program
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from regtest.ports import LOOPBACK, Reservation
from regtest.server import Server

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

#: Debian keeps it there, out of most users' PATH.
FOLDERS: Final = ("/usr/sbin", "/usr/local/sbin", "/opt/homebrew/sbin")
START_LIMIT_S: Final = 10.0
STOP_LIMIT_S: Final = 10.0
POLL_S: Final = 0.01
LOG_TAIL_LINES: Final = 5


class MosquittoError(Exception):
    """Mosquitto did not start or ended by itself; the message holds the end of its log."""


class NoMosquittoError(MosquittoError):
    """There is no Mosquitto on this machine."""


def program(name: str = "mosquitto") -> Path:
    """Where the broker, or another program of its package, is. Raises NoMosquittoError."""
    found = shutil.which(name, path=os.pathsep.join((os.environ.get("PATH", ""), *FOLDERS)))
    if found is None:
        raise NoMosquittoError("Mosquitto is not installed: apt-get install mosquitto")
    return Path(found)


class Mosquitto(Server):
    """One broker: a context manager that starts it and always stops it.

    `users` (name to password) are who may log in, everybody where there are none; `acl` is what they may read and write, as Mosquitto
    writes it; `tls` are the files of the certificate and its key. What is retained, and the sessions of clients with a name, outlive
    `stop` and `kill` as far as Mosquitto wrote them down. Raises NoMosquittoError where there is none to be had.
    """

    def __init__(
        self,
        *,
        users: Mapping[str, str] | None = None,
        acl: Sequence[str] = (),
        tls: tuple[Path, Path] | None = None,
    ) -> None:
        self._program = program()
        reservation = Reservation(1)
        (self.port,) = reservation.ports
        self._folder = Path(tempfile.mkdtemp(prefix="hashmill-mosquitto-"))
        self._process: subprocess.Popen[bytes] | None = None
        self._configure(users or {}, acl, tls)
        super().__init__(reservation, self._folder)

    @property
    def host(self) -> str:
        """Where it listens."""
        return LOOPBACK

    @property
    def pid(self) -> int:
        """Process id of the running broker. Raises MosquittoError when it is down."""
        if self._process is None or self._process.poll() is not None:
            raise MosquittoError("Mosquitto is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it listens. Raises MosquittoError."""
        with (self._folder / "output.log").open("ab") as sink:
            self._process = subprocess.Popen(
                (str(self._program), "-c", str(self._folder / "mosquitto.conf")),
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                cwd=self._folder,
                start_new_session=True,
            )
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            try:
                socket.create_connection((LOOPBACK, self.port), timeout=1).close()
            except OSError:
                if self._process.poll() is not None:
                    raise MosquittoError(f"Mosquitto ended while starting: {self._last_words()}") from None
                if time.monotonic() > deadline_s:
                    self.kill()
                    raise MosquittoError(f"Mosquitto did not listen: {self._last_words()}") from None
                time.sleep(POLL_S)
            else:
                return

    def stop(self) -> None:
        """End it in good order: it writes down what is retained. Harmless when it is down."""
        if self._process is None or self._process.poll() is not None:
            return
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_LIMIT_S)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """End it as a power cut would."""
        if self._process is not None and self._process.poll() is None:
            self._process.kill()
            self._process.wait(STOP_LIMIT_S)

    def _configure(self, users: Mapping[str, str], acl: Sequence[str], tls: tuple[Path, Path] | None) -> None:
        lines = [
            # As root it would become another user, who may not read this folder.
            f"user {pwd.getpwuid(os.geteuid()).pw_name}",
            f"listener {self.port} {LOOPBACK}",
            "persistence true",
            f"persistence_location {self._folder}/",
            "log_dest stderr",
            f"allow_anonymous {'false' if users else 'true'}",
        ]
        if users:
            passwords = self._folder / "passwords"
            passwords.touch(0o600)
            passwords.write_text("".join(f"{name}:{password}\n" for name, password in users.items()))
            # Replaces the passwords in the file by hashes.
            subprocess.run((str(program("mosquitto_passwd")), "-U", str(passwords)), check=True, timeout=30)
            lines.append(f"password_file {passwords}")
        if acl:
            rules = self._folder / "acl"
            rules.touch(0o600)
            rules.write_text("\n".join((*acl, "")))
            lines.append(f"acl_file {rules}")
        if tls is not None:
            certificate, key = tls
            lines += [f"certfile {certificate}", f"keyfile {key}"]
        (self._folder / "mosquitto.conf").write_text("\n".join((*lines, "")))

    def _last_words(self) -> str:
        """The end of what it said, on one line."""
        with contextlib.suppress(OSError):
            log = (self._folder / "output.log").read_text(errors="replace")
            return " | ".join(log.splitlines()[-LOG_TAIL_LINES:])
        return "it said nothing"
