"""The Debian mirror this machine's apt already uses, written as a source of another suite.

No host name stands here: whoever set the machine up chose the mirror, and it holds every suite.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

APT_FOLDER: Final = Path("/etc/apt")
OS_RELEASE: Final = Path("/etc/os-release")
KEYRINGS: Final = (
    Path("/usr/share/keyrings/debian-archive-keyring.pgp"),
    Path("/usr/share/keyrings/debian-archive-keyring.gpg"),
)
ROLLING_SUITES: Final = frozenset({"oldstable", "stable", "testing", "unstable", "sid"})


@dataclass(frozen=True, slots=True)
class Entry:
    """One configured archive: where it is, which suites of it, which components."""

    uris: tuple[str, ...]
    suites: tuple[str, ...]
    components: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Source:
    """Text of a deb822 sources file."""

    text: str


@dataclass(frozen=True, slots=True)
class Missing:
    """There is no source to write, and why, in words that say what to do."""

    reason: str


def debian_source(
    suite: str,
    architecture: str,
    *,
    apt_folder: Path = APT_FOLDER,
    os_release: Path = OS_RELEASE,
    keyrings: Iterable[Path] = KEYRINGS,
) -> Source | Missing:
    """Sources file for `suite` of the Debian mirror configured on this machine, signed by the installed keyring."""
    keyring = next((path for path in keyrings if path.is_file()), None)
    if keyring is None:
        return Missing("no Debian keyring here (apt-get install debian-archive-keyring)")
    suites = ROLLING_SUITES | _codenames(os_release)
    for entry in _entries(apt_folder):
        # Other vendors' archives also end in /debian; Debian's own are those with a suite of Debian's and `main`.
        if "main" in entry.components and suites.intersection(entry.suites):
            return Source(
                f"Types: deb\nURIs: {entry.uris[0]}\nSuites: {suite}\nComponents: main\n"
                f"Architectures: {architecture}\nSigned-By: {keyring}\n"
            )
    return Missing(
        f"no Debian archive is configured in {apt_folder} (add one to {apt_folder}/sources.list.d)"
    )


def _codenames(os_release: Path) -> frozenset[str]:
    """The running Debian's codename, if Debian is what runs here."""
    values: dict[str, str] = {}
    if os_release.is_file():
        for line in os_release.read_text().splitlines():
            name, equals, value = line.partition("=")
            if equals:
                values[name.strip()] = value.strip().strip("\"'")
    codename = values.get("VERSION_CODENAME", "")
    return frozenset({codename}) if values.get("ID") == "debian" and codename else frozenset()


def _entries(apt_folder: Path) -> Iterator[Entry]:
    parts = apt_folder / "sources.list.d"
    for path in (apt_folder / "sources.list", *sorted(parts.glob("*.list"))):
        if path.is_file():
            yield from _one_line_entries(path.read_text())
    for path in sorted(parts.glob("*.sources")):
        yield from _deb822_entries(path.read_text())


def _one_line_entries(text: str) -> Iterator[Entry]:
    """Entries of the older form: `deb [option=value ...] URI suite component ...`."""
    for line in text.splitlines():
        match line.partition("#")[0].split():
            case ["deb", option, *rest] if option.startswith("["):
                words = [option, *rest]
                closing = next((i for i, word in enumerate(words) if word.endswith("]")), len(words))
                words = words[closing + 1 :]
            case ["deb", *words]:
                pass
            case _:
                continue
        match words:
            case [uri, suite, *components]:
                yield Entry((uri,), (suite,), tuple(components))
            case _:
                continue


def _deb822_entries(text: str) -> Iterator[Entry]:
    """Entries of the newer form: stanzas of `Field: value`, continued by indented lines."""
    for stanza in _stanzas(text):
        if stanza.get("enabled", "yes").lower() in {"no", "false", "0", "off", "disable", "without"}:
            continue
        uris, suites = stanza.get("uris", "").split(), stanza.get("suites", "").split()
        if "deb" in stanza.get("types", "").split() and uris and suites:
            yield Entry(tuple(uris), tuple(suites), tuple(stanza.get("components", "").split()))


def _stanzas(text: str) -> Iterator[dict[str, str]]:
    fields: dict[str, str] = {}
    field = ""
    for line in [*text.splitlines(), ""]:
        if line.startswith("#"):
            continue
        if not line.strip():
            if fields:
                yield fields
            fields, field = {}, ""
        elif line[0].isspace() and field:
            fields[field] += " " + line.strip()
        else:
            name, _, value = line.partition(":")
            field = name.strip().lower()
            fields[field] = value.strip()
