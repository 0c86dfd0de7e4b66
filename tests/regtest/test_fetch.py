"""Where bitcoind comes from. Here apt-get and dpkg are stand-ins; every other test runs what the real ones fetched."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from regtest import aptsources, fetch

# What the real tools do, in small: apt-get leaves one package, dpkg unpacks a loader that prints a version.
APT_GET = """#!/bin/sh
echo "$@" >> "$CALLS"
grep -q '^APT::Sandbox::User' "$APT_CONFIG" || exit 7
test -z "$BREAK" || { echo "E: $BREAK"; exit 100; }
sleep 0.2
work=$(sed -n 's/^Dir::Cache "\\(.*\\)";/\\1/p' "$APT_CONFIG")
grep -q 'Suites: unstable' "$work/debian.sources" || exit 8
case "$*" in *install*) touch "$work/archives/knots.deb";; esac
"""
DPKG = """#!/bin/sh
case "$1" in
--print-architecture) echo "$ARCH" ;;
-x) mkdir -p "$3/usr/lib/x86_64-linux-gnu" "$3/usr/bin"
    printf '#!/bin/sh\\necho "$LOADER_SAYS"\\n' > "$3/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2"
    chmod +x "$3/usr/lib/x86_64-linux-gnu/ld-linux-x86-64.so.2" ;;
esac
"""


class Machine:
    """A PATH with the stand-ins (and no bitcoind), and an empty cache."""

    def __init__(self, folder: Path) -> None:
        self.bin = folder / "bin"
        self.cache = folder / "cache"
        self.calls = folder / "calls"
        self.bin.mkdir()
        self.put("apt-get", APT_GET)
        self.put("dpkg", DPKG)
        for tool in ("sh", "grep", "sed", "sleep", "touch", "mkdir", "chmod"):
            (self.bin / tool).symlink_to(
                next(p for d in ("/usr/bin", "/bin") if (p := Path(d, tool)).exists())
            )

    def put(self, name: str, text: str) -> Path:
        path = self.bin / name
        path.write_text(text)
        path.chmod(0o755)
        return path

    def cached(self) -> list[str]:
        return sorted(p.name for p in (self.cache / "hashmill").glob("*") if p.suffix != ".lock")


@pytest.fixture
def machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Machine:
    machine = Machine(tmp_path)
    monkeypatch.setenv("PATH", str(machine.bin))
    monkeypatch.setenv("XDG_CACHE_HOME", str(machine.cache))
    monkeypatch.setenv("CALLS", str(machine.calls))
    monkeypatch.setenv("ARCH", "amd64")
    monkeypatch.setenv("BREAK", "")
    monkeypatch.setenv("LOADER_SAYS", "bitcoind v0")
    monkeypatch.delenv("BITCOIND", raising=False)
    source = aptsources.Source("URIs: http://mirror.example/debian\nSuites: unstable\n")
    monkeypatch.setattr(aptsources, "debian_source", lambda _suite, _architecture: source)
    return machine


def test_named_bitcoind_goes_before_all(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    machine.put("bitcoind", "")
    named = machine.put("mine", "")
    monkeypatch.setenv("BITCOIND", str(named))
    assert fetch.bitcoind_command() == (str(named),)


def test_named_bitcoind_that_is_no_program_is_an_error_not_a_fallback(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine.put("bitcoind", "")
    monkeypatch.setenv("BITCOIND", "/nowhere/bitcoind")
    with pytest.raises(fetch.NoBitcoindError, match="BITCOIND=/nowhere/bitcoind is not a program"):
        fetch.bitcoind_command()


def test_bitcoind_on_path_goes_before_fetching(machine: Machine) -> None:
    installed = machine.put("bitcoind", "")
    assert fetch.bitcoind_command() == (str(installed),)
    assert machine.cached() == []


def test_fetched_bitcoind_starts_through_its_own_loader_and_is_fetched_once(
    machine: Machine, capsys: pytest.CaptureFixture[str]
) -> None:
    lib = machine.cache / "hashmill/bitcoind-amd64/usr/lib/x86_64-linux-gnu"
    bitcoind = machine.cache / "hashmill/bitcoind-amd64/usr/bin/bitcoind"
    command = (str(lib / "ld-linux-x86-64.so.2"), "--library-path", str(lib), str(bitcoind))
    assert fetch.bitcoind_command() == command
    assert capsys.readouterr().err.count("\n") == 1
    calls = machine.calls.read_text()
    assert (fetch.bitcoind_command(), machine.calls.read_text()) == (command, calls)
    assert machine.cached() == ["bitcoind-amd64"]


def test_two_fetching_at_once_fetch_once(machine: Machine) -> None:
    with ThreadPoolExecutor(2) as pool:
        first, second = pool.map(lambda _: fetch.bitcoind_command(), range(2))
    assert first == second
    assert machine.calls.read_text().count("update") == 1


def test_failed_fetch_leaves_nothing_and_says_why_in_one_line(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("BREAK", "no such mirror")
    with pytest.raises(
        fetch.NoBitcoindError, match=r"^cannot fetch bitcoind: apt-get update failed: E: no such mirror$"
    ):
        fetch.bitcoind_command()
    assert machine.cached() == []


def test_fetched_bitcoind_that_does_not_run_is_not_kept(
    machine: Machine, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(fetch, "VERSION_LIMIT_S", 0.3)
    machine.put(
        "dpkg", DPKG.replace("echo", "sleep 30; echo").replace('sleep 30; echo "$ARCH', 'echo "$ARCH')
    )
    with pytest.raises(fetch.NoBitcoindError, match="took over 0 s"):
        fetch.bitcoind_command()
    assert machine.cached() == []


def test_leftovers_of_a_killed_fetch_are_cleared(machine: Machine) -> None:
    (machine.cache / "hashmill/bitcoind-amd64.unpacking-x/root").mkdir(parents=True)
    fetch.bitcoind_command()
    assert machine.cached() == ["bitcoind-amd64"]


@pytest.mark.parametrize(
    ("breakage", "words"),
    [
        ("no apt", "no apt-get to fetch one with: install bitcoind or set BITCOIND"),
        ("no source", "no mirror here; install bitcoind or set BITCOIND"),
        ("riscv", "no bitcoind is fetched for riscv64"),
    ],
)
def test_machine_that_cannot_fetch_says_what_to_do(
    machine: Machine, monkeypatch: pytest.MonkeyPatch, breakage: str, words: str
) -> None:
    match breakage:
        case "no apt":
            (machine.bin / "apt-get").unlink()
        case "no source":
            missing = aptsources.Missing("no mirror here")
            monkeypatch.setattr(aptsources, "debian_source", lambda _suite, _architecture: missing)
        case "riscv":
            monkeypatch.setenv("ARCH", "riscv64")
    with pytest.raises(fetch.NoBitcoindError, match=words):
        fetch.bitcoind_command()


def test_command_line_prints_the_command_or_one_line_of_error(machine: Machine) -> None:
    installed = machine.put("bitcoind", "")
    command = [sys.executable, "-m", "regtest.fetch"]
    root = Path(fetch.__file__).parents[1]
    found = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert (found.returncode, found.stdout) == (0, f"{installed}\n")
    environment = {**os.environ, "BITCOIND": "/nowhere"}
    absent = subprocess.run(command, cwd=root, env=environment, capture_output=True, text=True, check=False)
    assert (absent.returncode, absent.stdout, absent.stderr.count("\n")) == (1, "", 1)
