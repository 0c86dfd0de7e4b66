"""The machine's own Debian mirror, found in the forms apt's configuration has."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from regtest.aptsources import Missing, Source, debian_source

if TYPE_CHECKING:
    from pathlib import Path

OTHER_VENDORS = """\
deb https://mirror.example/docker/linux/debian bookworm stable
deb https://mirror.example/cloud cloud-sdk-bookworm main
# deb http://mirror.example/commented bookworm main
deb-src http://mirror.example/sources bookworm main
"""
DEB822 = """\
# the archive
Types: deb
# where it was
URIs: http://mirror.example/debian
Suites: bookworm
 bookworm-updates
Components: main
Signed-By: /usr/share/keyrings/any.gpg

Types: deb
URIs: http://mirror.example/debian-security
Suites: bookworm-security
Components: main
"""


class Machine:
    """An /etc/apt, an os-release and a keyring in a folder."""

    def __init__(self, folder: Path) -> None:
        self.apt = folder / "apt"
        (self.apt / "sources.list.d").mkdir(parents=True)
        self.os_release = folder / "os-release"
        self.os_release.write_text(
            'PRETTY_NAME="Debian GNU/Linux 12"\nVERSION_CODENAME=bookworm\nID=debian\n'
        )
        self.keyring = folder / "keyring.gpg"
        self.keyring.touch()

    def source(self) -> Source | Missing:
        return debian_source(
            "unstable", "arm64", apt_folder=self.apt, os_release=self.os_release, keyrings=[self.keyring]
        )


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


def uri_of(source: Source | Missing) -> str:
    assert isinstance(source, Source)
    return dict(line.split(": ") for line in source.text.splitlines())["URIs"]


def test_deb822_source_becomes_one_of_the_other_suite_with_the_installed_keyring(machine: Machine) -> None:
    (machine.apt / "sources.list.d/debian.sources").write_text(DEB822)
    assert machine.source() == Source(
        "Types: deb\nURIs: http://mirror.example/debian\nSuites: unstable\nComponents: main\n"
        f"Architectures: arm64\nSigned-By: {machine.keyring}\n"
    )


@pytest.mark.parametrize(
    "line",
    [
        "deb http://mirror.example/d bookworm main contrib",
        "deb [arch=amd64] http://mirror.example/d bookworm main # why",
        "deb [ arch=amd64 signed-by=/k.gpg ] http://mirror.example/d stable main",
        "deb\thttp://mirror.example/d\tsid\tmain",
    ],
)
def test_one_line_source_is_read_with_and_without_options(machine: Machine, line: str) -> None:
    (machine.apt / "sources.list").write_text(f"{OTHER_VENDORS}{line}\n")
    assert uri_of(machine.source()) == "http://mirror.example/d"


def test_other_vendors_archives_are_not_taken_for_debian(machine: Machine) -> None:
    (machine.apt / "sources.list.d/vendors.list").write_text(OTHER_VENDORS)
    missing = machine.source()
    assert isinstance(missing, Missing)
    assert "no Debian archive is configured" in missing.reason


def test_disabled_stanza_is_passed_over(machine: Machine) -> None:
    (machine.apt / "sources.list.d/debian.sources").write_text(f"Enabled: no\n{DEB822}")
    assert isinstance(machine.source(), Missing)


def test_codename_of_a_derivative_is_not_debians(machine: Machine) -> None:
    machine.os_release.write_text("ID=other\nVERSION_CODENAME=noble\n")
    (machine.apt / "sources.list").write_text("deb http://mirror.example/other noble main\n")
    assert isinstance(machine.source(), Missing)


def test_missing_keyring_says_what_to_install(machine: Machine) -> None:
    (machine.apt / "sources.list.d/debian.sources").write_text(DEB822)
    machine.keyring.unlink()
    missing = machine.source()
    assert isinstance(missing, Missing)
    assert "apt-get install debian-archive-keyring" in missing.reason


def test_broken_lines_are_passed_over(machine: Machine) -> None:
    (machine.apt / "sources.list").write_text("deb\ndeb [\ndeb [a\ndeb uri\nnonsense\n")
    (machine.apt / "sources.list.d/x.sources").write_text(" continued\nTypes deb\n\nURIs:\n")
    assert isinstance(machine.source(), Missing)
