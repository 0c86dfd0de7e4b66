import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Said = Callable[..., list[str]]


def keys(found: list[str]) -> list[str]:
    return [line.split(": ")[1] for line in found]


@pytest.fixture(scope="session")
def pair(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    """A certificate of our own making and its key."""
    folder = tmp_path_factory.mktemp("tls")
    certificate, key = folder / "cert.pem", folder / "key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes"]
    made = [*command, "-subj", "/CN=hashmill", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(made, check=True, capture_output=True)
    key.chmod(0o600)
    return certificate, key


def test_a_server_says_where_it_listens_or_listens_on_this_machine(problems: Said, good_text: str) -> None:
    assert problems(good_text + "[stratum]\n") == []
    assert problems(good_text + '[stratum]\nlisten = "0.0.0.0:3333"\n') == []
    assert keys(problems(good_text + '[stratum]\nlisten = ""\n')) == ["stratum.listen"]


def test_every_port_has_an_address_of_its_own(problems: Said, good_text: str) -> None:
    found = problems(
        f'{good_text}[stratum]\nlisten = "127.0.0.1:8340"\n[[stratum.listener]]\nlisten = "127.0.0.1:3334"\n'
        '[[stratum.listener]]\nlisten = "127.0.0.1:3334"\n'
    )
    assert found == [
        "14: stratum.listen: [http] listens there already",
        "18: stratum.listener[2].listen: stratum.listener[1] listens there already",
    ]


def test_a_further_port_must_say_where(problems: Said, good_text: str) -> None:
    found = problems(good_text + "[stratum]\n[[stratum.listener]]\nstart_difficulty = 1\n")
    assert keys(found) == ["stratum.listener[1].listen"]


@pytest.mark.parametrize(
    ("server", "listener", "wrong"),
    [
        ("start_difficulty = 5\nmin_difficulty = 5\nmax_difficulty = 5", "", []),
        ("min_difficulty = 5\nmax_difficulty = 4\nstart_difficulty = 4", "", ["stratum.min_difficulty"]),
        ("start_difficulty = 1\nmin_difficulty = 5", "", ["stratum.start_difficulty"]),
        ("start_difficulty = 6\nmax_difficulty = 5", "", ["stratum.start_difficulty"]),
        ("max_difficulty = 5", "min_difficulty = 2", []),
        ("", "start_difficulty = 0.001", []),
        ("min_difficulty = 5", "start_difficulty = 0.001", ["stratum.listener[1].start_difficulty"]),
        ("", "start_difficulty = 10\nmin_difficulty = 5000", ["stratum.listener[1].start_difficulty"]),
        ("min_difficulty = 500", "max_difficulty = 50", ["stratum.listener[1].max_difficulty"]),
        ("", "start_difficulty = 0", ["stratum.listener[1].start_difficulty"]),
        ("start_difficulty = 0", "min_difficulty = 5000", ["stratum.start_difficulty"]),
    ],
)
def test_difficulty_starts_between_floor_and_ceiling(
    problems: Said, good_text: str, server: str, listener: str, wrong: list[str]
) -> None:
    text = f'{good_text}[stratum]\n{server}\n[[stratum.listener]]\nlisten = "127.0.0.1:3334"\n{listener}\n'
    assert keys(problems(text)) == wrong


@pytest.mark.parametrize(
    "key", ["extranonce2_size = 9", "extranonce2_size = 1", 'version_mask = "ff"', "max_workers = 0"]
)
def test_limits_of_the_wire_hold(problems: Said, good_text: str, key: str) -> None:
    assert keys(problems(f"{good_text}[stratum]\n{key}\n")) == [f"stratum.{key.split(maxsplit=1)[0]}"]


def test_a_certificate_with_its_key_is_taken(problems: Said, good_text: str, pair: tuple[Path, Path]) -> None:
    certificate, key = pair
    assert problems(f'{good_text}[stratum]\ntls_certificate = "{certificate}"\ntls_key = "{key}"\n') == []


def test_a_certificate_without_its_key_and_a_key_without_certificate_are_refused(
    problems: Said, good_text: str, pair: tuple[Path, Path]
) -> None:
    certificate, key = pair
    assert keys(problems(f'{good_text}[stratum]\ntls_certificate = "{certificate}"\n')) == [
        "stratum.tls_certificate"
    ]
    assert keys(problems(f'{good_text}[stratum]\ntls_key = "{key}"\n')) == ["stratum.tls_key"]


def test_files_of_tls_are_there_and_belong_together(
    problems: Said, good_text: str, pair: tuple[Path, Path], tmp_path: Path
) -> None:
    certificate, _ = pair
    tls = f'{good_text}[stratum]\n[[stratum.listener]]\nlisten = "127.0.0.1:3334"\n'
    found = problems(f'{tls}tls_certificate = "none.pem"\ntls_key = "none.key"\n')
    assert keys(found) == ["stratum.listener[1].tls_certificate", "stratum.listener[1].tls_key"]
    other = tmp_path / "other.key"
    other.write_text(certificate.read_text())
    other.chmod(0o600)
    (mismatch,) = problems(f'{tls}tls_certificate = "{certificate}"\ntls_key = "{other}"\n')
    assert "no certificate with its key" in mismatch


@pytest.mark.parametrize(("mode", "fine"), [(0o600, True), (0o640, True), (0o644, False)])
def test_a_private_key_is_not_for_everyone(
    problems: Said, good_text: str, pair: tuple[Path, Path], tmp_path: Path, mode: int, *, fine: bool
) -> None:
    certificate, key = pair
    mine = tmp_path / "mine.key"
    mine.write_bytes(key.read_bytes())
    mine.chmod(mode)
    found = problems(f'{good_text}[stratum]\ntls_certificate = "{certificate}"\ntls_key = "{mine}"\n')
    assert (found == []) is fine
    assert all("chmod 600" in line for line in found)
