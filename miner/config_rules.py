"""Rules of the configuration that look at more than one key, at files, or at what this version has not built yet."""

import os
import stat
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from miner.config import BitcoindConfig, CpuConfig, CpuMode
from miner.config_toml import KeyPath

PASSWORD_VARIABLE = "HASHMILL_RPC_PASSWORD"  # noqa: S105 - the name of a variable, no password

OTHERS = stat.S_IRWXO
GROUP_AND_OTHERS = stat.S_IRWXG | stat.S_IRWXO

# What other words of the configuration and the ledger mean; no mode is called so.
RESERVED_NAMES = frozenset({"run", "pause", "unknown"})

# Stands where a unit of a later version was, so that the others keep their places.
TAKEN_OUT = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What is wrong, and the key it is wrong at."""

    path: KeyPath
    message: str


@dataclass(slots=True)
class Draft:
    """A configuration on its way: as written, and its sections as models, by path.

    A section with bad keys is there without them: they are in `bad`, hold their defaults, or None where there is none.
    """

    file: Path
    raw: dict[str, Any]
    environ: Mapping[str, str]
    sections: dict[KeyPath, Any] = field(default_factory=dict)
    bad: set[KeyPath] = field(default_factory=set)

    def sound(self, section: str, *keys: str) -> bool:
        """Whether the [section] is there and each of the keys is well or not written."""
        return (section,) in self.sections and not any((section, key) in self.bad for key in keys)

    def each(self, name: str) -> Iterator[tuple[KeyPath, Any, dict[str, Any]]]:
        """Path, model and raw table of every [[name]]; the model is None where a table was taken out."""
        written = self.raw.get(name)
        for position, item in enumerate(written if isinstance(written, list) else []):
            if isinstance(item, dict):
                yield (name, position), self.sections.get((name, position)), item


def password_variable(position: int) -> str:
    """Environment variable with the password of the [[bitcoind]] at `position` (from 0): _2 and so on from the second."""
    return PASSWORD_VARIABLE if position == 0 else f"{PASSWORD_VARIABLE}_{position + 1}"


def nodes(draft: Draft) -> Iterator[Finding]:
    """Every node has one way to log in, and no two are the same."""
    seen: dict[tuple[str, str], str] = {}
    for position, (path, _, written) in enumerate(draft.each("bitcoind")):
        yield from _login(draft, path, written, password_variable(position))
        for key in ("rpc_url", "name"):
            value = str(written.get(key, "")).rstrip("/")
            if value and (key, value) in seen:
                yield Finding((*path, key), f"is that of {seen[key, value]} too: each node needs its own")
            seen.setdefault((key, value), f"bitcoind[{position + 1}]")


def _login(draft: Draft, path: KeyPath, written: dict[str, Any], variable: str) -> Iterator[Finding]:
    passwords = [key for key in ("rpc_password", "rpc_password_file") if written.get(key) not in {None, ""}]
    user = written.get("rpc_user")
    if written.get("cookie_file"):
        yield from (
            Finding((*path, key), f"there is a cookie_file too: keep one way to log in, cookie_file or {key}")
            for key in ("rpc_user", *passwords)
            if key in written
        )
        return
    if user is None and not passwords:
        yield Finding(
            path,
            "no way to log in: set cookie_file, or rpc_user with rpc_password_file, rpc_password or the environment "
            f"variable {variable}",
        )
    elif user is None:
        yield Finding((*path, passwords[0]), "rpc_user is missing beside it")
    elif not passwords and not draft.environ.get(variable):
        yield Finding(
            (*path, "rpc_user"),
            f"no password: set rpc_password_file, rpc_password or the environment variable {variable}",
        )
    if user == "" or (isinstance(user, str) and ":" in user):
        yield Finding((*path, "rpc_user"), "must not be empty and must not hold a colon")
    if len(passwords) > 1:
        yield Finding((*path, "rpc_password"), "there is an rpc_password_file too: keep one of them")


def solo(draft: Draft) -> Iterator[Finding]:
    """Mining on the own node: nothing that would hold back blocks of real chains."""
    section, network = draft.sections.get(("solo",)), draft.raw.get("network")
    if section is None:
        return
    if section.min_block_interval_s > 0 and network != "regtest":
        yield Finding(
            ("solo", "min_block_interval_s"), "holds back found blocks: it is for regtest only, set it to 0"
        )
    if draft.sound("solo", "job_max_age_s", "refresh_s") and section.job_max_age_s < section.refresh_s:
        yield Finding(
            ("solo", "job_max_age_s" if "job_max_age_s" in draft.raw["solo"] else "refresh_s"),
            f"job_max_age_s ({section.job_max_age_s:g}) must not be less than refresh_s ({section.refresh_s:g}): "
            "work would run out between two templates",
        )


def cpu(draft: Draft) -> Iterator[Finding]:
    """The CPU's modes: names of their own, threads that exist, `off` without any and drawing the least."""
    section = draft.sections.get(("cpu",))
    if not isinstance(section, CpuConfig) or not draft.sound("cpu", "threads"):
        return
    if section.threads == 0 and section.modes:
        yield Finding(("cpu", "modes"), "there is no CPU unit to have modes while threads = 0")
        return
    if section.modes and all(mode.name == "off" for mode in section.modes):
        yield Finding(("cpu", "modes"), "there must be a mode that hashes beside off")
    names: set[str] = set()
    counts: dict[int, str] = {}
    for position, mode in enumerate(section.modes):
        path = ("cpu", "modes", position)
        if mode.name in names:
            yield Finding((*path, "name"), f'there are two modes "{mode.name}"')
        elif mode.threads in counts:
            yield Finding(
                (*path, "threads"),
                f'as many as in the mode "{counts[mode.threads]}": the running mode is read back by its threads',
            )
        names.add(mode.name)
        counts.setdefault(mode.threads, mode.name)
        yield from _mode(section, mode, path)


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


def _mode(section: CpuConfig, mode: CpuMode, path: KeyPath) -> Iterator[Finding]:
    if mode.name in RESERVED_NAMES:
        yield Finding((*path, "name"), f'"{mode.name}" has a meaning of its own: choose another name')
    if mode.name == "off":
        if mode.threads or mode.th_s:
            yield Finding((*path, "threads"), 'the mode "off" hashes nothing: its threads and th_s are 0')
        return
    if not mode.threads:
        yield Finding((*path, "threads"), 'only the mode "off" has 0 threads')
    if mode.th_s == 0:
        yield Finding((*path, "th_s"), 'only the mode "off" has th_s 0; leave it out to have it measured')
    idle = next(
        (other.watts for other in section.modes if other.name == "off" and other.watts), section.idle_watts
    )
    drawn = section.idle_watts + mode.threads * section.watts_per_thread if mode.watts is None else mode.watts
    if drawn < idle:
        yield Finding((*path, "watts"), f"{drawn:g} W is less than the {idle:g} W drawn while off")
    most = section.thread_count(cores())
    if mode.threads > most:
        has = f"this machine has {most} cores" if section.threads == "auto" else f"[cpu] threads is {most}"
        yield Finding((*path, "threads"), f"{mode.threads} threads, but {has}")


def controller(draft: Draft) -> Iterator[Finding]:
    """What the controller needs to decide: prices."""
    section = draft.sections.get(("controller",))
    if section is None:
        return
    if draft.sound("controller", "enabled") and section.enabled:
        yield from _prices(draft)


def _prices(draft: Draft) -> Iterator[Finding]:
    """A bitcoin price (or the hashprice itself) and a power price, each from its section or the tape."""
    brings: set[str] = set()
    if "tape" in draft.raw:
        try:
            brings = set(first_line(draft.sections["tape",].file).replace('"', "").split(","))
        except (KeyError, AttributeError, OSError, UnicodeDecodeError):
            return  # what it brings cannot be known; that it cannot be read is said at its own key
    wanted = (
        ("market", ("btc_usd", "btc_source"), {"btc_usd", "hashprice_usd_per_ph_day"}),
        ("power", ("usd_per_kwh", "schedule", "file", "http"), {"usd_per_kwh", "usd_per_mwh"}),
    )
    for name, keys, columns in wanted:
        written = draft.raw.get(name, {})
        if isinstance(written, dict) and not written.keys() & set(keys) and not brings & columns:
            yield Finding(
                (name,),
                f"the controller needs a price: set [{name}] {' or '.join(keys)}, or a [tape] with a column {' or '.join(sorted(columns))}, "
                "or [controller] enabled = false",
            )


def files(draft: Draft) -> Iterator[Finding]:
    """Files that must be there are there, and files with secrets are their owner's only."""
    for path, node, _ in draft.each("bitcoind"):
        if node is not None:
            yield from _login_files(draft, path, node)
    http, tape = (draft.sections.get((name,)) for name in ("http", "tape"))
    if http and http.token_file:
        yield from secret_file(("http", "token_file"), http.token_file, GROUP_AND_OTHERS, draft.environ)
    if tape and tape.file:
        yield from readable_file(("tape", "file"), tape.file)


def _login_files(draft: Draft, path: KeyPath, node: BitcoindConfig) -> Iterator[Finding]:
    if node.cookie_file and node.cookie_file.exists():
        # A group may read it: that is what bitcoind's -rpccookieperms=group is for.
        yield from secret_file((*path, "cookie_file"), node.cookie_file, OTHERS, draft.environ)
    if node.rpc_password_file:
        yield from secret_file(
            (*path, "rpc_password_file"), node.rpc_password_file, GROUP_AND_OTHERS, draft.environ
        )
    if node.rpc_password and draft.file.stat().st_mode & GROUP_AND_OTHERS:
        yield Finding(
            (*path, "rpc_password"),
            f"others can read {draft.file} with this password in it: chmod 600 {draft.file}, or use rpc_password_file",
        )


def readable_file(path: KeyPath, file: Path) -> Iterator[Finding]:
    """The file is there, is text and says something."""
    try:
        if not first_line(file):
            yield Finding(path, f"{file} is empty in its first line")
    except FileNotFoundError:
        yield Finding(path, f"{file} does not exist")
    except UnicodeDecodeError:
        yield Finding(path, f"{file} is not UTF-8 text")
    except OSError as error:
        yield Finding(path, f"{file} cannot be read: {error.strerror}")


def first_line(file: Path) -> str:
    """A file's first line without the space around it: what a secret's file holds."""
    with file.open(encoding="utf-8-sig") as opened:
        return opened.readline().strip()


def secret_file(path: KeyPath, file: Path, forbidden: int, environ: Mapping[str, str]) -> Iterator[Finding]:
    """Like `readable_file`, and those whose bits `forbidden` names cannot read it."""
    problems = list(readable_file(path, file))
    yield from problems
    # systemd hands credentials over in a folder only the service can enter; the files' own bits say more than holds.
    handed_over = "CREDENTIALS_DIRECTORY" in environ and file.is_relative_to(environ["CREDENTIALS_DIRECTORY"])
    if not problems and not handed_over and file.stat().st_mode & forbidden:
        yield Finding(path, f"others can read {file}: chmod 600 {file}")


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (nodes, solo, cpu, controller, files)
