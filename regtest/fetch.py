"""Where the real bitcoind comes from: $BITCOIND, the PATH, or Debian's unstable suite, unpacked into a cache folder.

Run as `python -m regtest.fetch` it prints the command that starts bitcoind, fetching it first where it must.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shlex
import shutil
import signal
import subprocess  # apt-get, dpkg and bitcoind are programs
import sys
import tempfile
import time
from pathlib import Path
from typing import TYPE_CHECKING, Final

from regtest import aptsources

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

PACKAGE: Final = "bitcoin-knots"
SUITE: Final = "unstable"
LOCK_LIMIT_S: Final = 600.0
STEP_LIMIT_S: Final = 300.0
VERSION_LIMIT_S: Final = 30.0
WORK_INFIX: Final = ".unpacking-"
LOADERS: Final = {
    "amd64": "usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2",
    "arm64": "usr/lib/aarch64-linux-gnu/ld-linux-aarch64.so.1",
}

# Everything apt reads or writes is its own: the host's lists, cache, pins, package state and update hooks stay out of
# it. The host's proxy and credentials, read before this file, stay in. An empty status file makes apt resolve the
# whole closure, libc and loader included, which is what lets an old Debian run a new bitcoind.
APT_CONFIG: Final = """\
Dir::Etc::sourcelist "{work}/debian.sources";
Dir::Etc::sourceparts "-";
Dir::Etc::preferences "-";
Dir::Etc::preferencesparts "-";
Dir::State "{work}";
Dir::State::lists "{work}/lists";
Dir::State::status "{work}/status";
Dir::State::extended_states "{work}/extended_states";
Dir::Cache "{work}";
Dir::Cache::archives "{work}/archives";
Dir::Cache::pkgcache "";
Dir::Cache::srcpkgcache "";
Dir::Log "{work}";
#clear APT::Update::Pre-Invoke;
#clear APT::Update::Post-Invoke;
#clear APT::Update::Post-Invoke-Success;
#clear DPkg::Pre-Install-Pkgs;
#clear APT::Default-Release;
APT::Sandbox::User "root";
APT::Architecture "{architecture}";
APT::Architectures {{ "{architecture}"; }};
APT::Install-Recommends "false";
APT::Get::List-Cleanup "false";
Acquire::Languages "none";
Acquire::Retries "3";
Acquire::http::Timeout "30";
Acquire::https::Timeout "30";
"""


class NoBitcoindError(Exception):
    """No bitcoind can be had here; the message is one line that says why and what to do."""


def bitcoind_command() -> tuple[str, ...]:
    """Command that starts bitcoind, to which its options are appended.

    The order is $BITCOIND, a bitcoind on PATH, then the cache, filled from Debian where it is empty.
    Raises NoBitcoindError with one line that says what to do.
    """
    named = os.environ.get("BITCOIND", "")
    if named:
        if not (Path(named).is_file() and os.access(named, os.X_OK)):
            raise NoBitcoindError(f"BITCOIND={named} is not a program: point it at a bitcoind or unset it")
        return (named,)
    installed = shutil.which("bitcoind")
    if installed is not None:
        return (installed,)
    return _cached_command()


def cache_folder() -> Path:
    """Folder below which Hashmill keeps what it fetched: $XDG_CACHE_HOME/hashmill or ~/.cache/hashmill."""
    configured = os.environ.get("XDG_CACHE_HOME", "")
    return (Path(configured) if configured else Path.home() / ".cache") / "hashmill"


def _cached_command() -> tuple[str, ...]:
    architecture = _debian_architecture()
    home = cache_folder() / f"bitcoind-{architecture}"
    # The folder appears under its name only once it is whole, so its being there is the proof.
    if not home.is_dir():
        home.parent.mkdir(parents=True, exist_ok=True)
        with _locked(home.with_suffix(".lock")):
            if not home.is_dir():
                _fetch(home, architecture)
    return _command_in(home, architecture)


def _command_in(home: Path, architecture: str) -> tuple[str, ...]:
    loader = home / LOADERS[architecture]
    return (str(loader), "--library-path", str(loader.parent), str(home / "usr/bin/bitcoind"))


def _debian_architecture() -> str:
    for tool in ("dpkg", "apt-get"):
        if shutil.which(tool) is None:
            raise NoBitcoindError(
                f"no bitcoind on PATH and no {tool} to fetch one with: install bitcoind or set BITCOIND to its path"
            )
    architecture = _run("dpkg", "--print-architecture").strip()
    if architecture not in LOADERS:
        raise NoBitcoindError(
            f"no bitcoind is fetched for {architecture} (only for {' and '.join(LOADERS)}): set BITCOIND to its path"
        )
    return architecture


@contextlib.contextmanager
def _locked(path: Path) -> Iterator[None]:
    """Hold the lock file `path`, so that of several processes one fetches and the others wait for it."""
    deadline_s = time.monotonic() + LOCK_LIMIT_S
    with path.open("w") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError:
                if time.monotonic() > deadline_s:
                    raise NoBitcoindError(
                        f"another process has held {path} for {LOCK_LIMIT_S:.0f} s"
                    ) from None
                time.sleep(0.1)
        yield


def _fetch(home: Path, architecture: str) -> None:
    """Fill `home`: all of it or nothing, whatever happens on the way."""
    source = aptsources.debian_source(SUITE, architecture)
    if isinstance(source, aptsources.Missing):
        raise NoBitcoindError(
            f"cannot fetch bitcoind: {source.reason}; install bitcoind or set BITCOIND to its path"
        )
    # What a killed fetch left behind; the lock is ours, so nobody works in it.
    for leftover in home.parent.glob(f"{home.name}{WORK_INFIX}*"):
        shutil.rmtree(leftover, ignore_errors=True)
    started_s = time.monotonic()
    sys.stderr.write(f"fetching {PACKAGE} of Debian {SUITE} into {home} ... ")
    sys.stderr.flush()
    try:
        # Within the cache folder, so that the rename at the end stays on one file system.
        with tempfile.TemporaryDirectory(prefix=f"{home.name}{WORK_INFIX}", dir=home.parent) as work:
            root = _unpacked(Path(work), source.text, architecture)
            version = _run(
                *_command_in(root, architecture), "-version", limit_s=VERSION_LIMIT_S
            ).splitlines()[0]
            root.rename(home)
    except BaseException:
        sys.stderr.write("failed\n")
        raise
    sys.stderr.write(f"{version}, {time.monotonic() - started_s:.0f} s\n")


def _unpacked(work: Path, source: str, architecture: str) -> Path:
    """Folder below `work` with the package and all it depends on, signatures and checksums proven by apt."""
    root = work / "root"
    for folder in (root, work / "lists/partial", work / "archives/partial"):
        folder.mkdir(parents=True)
    (work / "status").touch()
    (work / "debian.sources").write_text(source)
    config = work / "apt.conf"
    config.write_text(APT_CONFIG.format(work=work, architecture=architecture))
    _run("apt-get", "-q", "--error-on=any", "update", apt_config=config)
    _run("apt-get", "-q", "-y", "--download-only", "install", PACKAGE, apt_config=config)
    for package in sorted((work / "archives").glob("*.deb")):
        _run("dpkg", "-x", str(package), str(root))
    return root


def _run(*command: str, limit_s: float = STEP_LIMIT_S, apt_config: Path | None = None) -> str:
    """What `command` prints. Raises NoBitcoindError with its last error line; ends it and its children on time."""
    environment = {**os.environ, "LC_ALL": "C", "DEBIAN_FRONTEND": "noninteractive"}
    if apt_config is not None:
        environment["APT_CONFIG"] = str(apt_config)
    with subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    ) as process:
        try:
            output, _ = process.communicate(timeout=limit_s)
        except BaseException as error:
            # apt's transports are children of their own: the session goes as a whole.
            os.killpg(process.pid, signal.SIGKILL)
            if isinstance(error, subprocess.TimeoutExpired):
                raise NoBitcoindError(
                    f"cannot fetch bitcoind: {command[0]} took over {limit_s:.0f} s"
                ) from None
            raise
    if process.returncode != 0:
        raise NoBitcoindError(f"cannot fetch bitcoind: {_what(command)} failed: {_last_error(output)}")
    return output


def _what(command: Sequence[str]) -> str:
    words = [word for word in command[1:] if not word.startswith("-")]
    return " ".join([Path(command[0]).name, *words[:1]])


def _last_error(output: str) -> str:
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:"))]
    return (errors or lines or ["no output"])[-1]


def main() -> int:
    """Print the command that starts bitcoind, having fetched it where it must be. Returns the exit code."""
    try:
        command = bitcoind_command()
    except NoBitcoindError as error:
        sys.stderr.write(f"{error}\n")
        return 1
    sys.stdout.write(f"{shlex.join(command)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
