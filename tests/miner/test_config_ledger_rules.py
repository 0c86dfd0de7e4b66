from collections.abc import Callable
from pathlib import Path

import pytest

from miner.config_file import load
from miner.config_ledger_rules import PASSWORD_VARIABLE

Said = Callable[..., list[str]]
Written = Callable[[str], Path]

URL = 'url = "postgresql+psycopg://me@db/hashmill"\n'
URL_WITH_PASSWORD = 'url = "postgresql+psycopg://me:hunter2@db/hashmill"\n'


@pytest.fixture
def secret(tmp_path: Path) -> Path:
    """A file whose first line is hunter3."""
    file = tmp_path / "secret"
    file.write_text("hunter3\nsecond line\n")
    file.chmod(0o600)
    return file


def connected_by(file: Path, environ: dict[str, str]) -> str:
    return load(file, environ).ledger.full_url


def test_a_file_s_folder_exists_and_the_file_is_none(problems: Said, good_text: str, tmp_path: Path) -> None:
    (found,) = problems(good_text + '[ledger]\nurl = "sqlite:///nowhere/x.db"\n')
    assert found.startswith("14: ledger.url: the folder ")
    (tmp_path / "folder").mkdir()
    (found,) = problems(good_text + '[ledger]\nurl = "sqlite:///folder"\n')
    assert "is a folder, not a file" in found


def test_the_password_comes_from_its_file_before_the_environment(
    config_file: Written, good_text: str, secret: Path
) -> None:
    environ = {PASSWORD_VARIABLE: "hunter4"}
    file = config_file(f'{good_text}[ledger]\n{URL}password_file = "{secret.name}"\n')
    assert ":hunter3@" in connected_by(file, environ)
    file = config_file(good_text + "[ledger]\n" + URL)
    assert ":hunter4@" in connected_by(file, environ)
    assert "hunter" not in connected_by(file, {})


@pytest.mark.parametrize("ledger", [URL_WITH_PASSWORD, URL + 'password = "hunter2"\n'])
def test_a_password_in_the_configuration_is_taken_if_others_cannot_read_it(
    config_file: Written, problems: Said, good_text: str, ledger: str
) -> None:
    file = config_file(good_text + "[ledger]\n" + ledger)
    file.chmod(0o644)
    (found,) = problems(good_text + "[ledger]\n" + ledger)
    assert "others can read" in found
    assert "hunter2" not in found
    file.chmod(0o600)
    config = load(file, {PASSWORD_VARIABLE: "hunter4"})
    assert ":hunter2@" in config.ledger.full_url
    assert "hunter2" not in repr(config)


def test_a_file_with_the_password_is_its_owner_s_only(problems: Said, good_text: str, secret: Path) -> None:
    secret.chmod(0o640)
    (found,) = problems(f'{good_text}[ledger]\n{URL}password_file = "{secret.name}"\n')
    assert "others can read" in found


@pytest.mark.parametrize(
    ("ledger", "key"),
    [
        (URL_WITH_PASSWORD + 'password = "hunter5"\n', "ledger.password"),
        (URL_WITH_PASSWORD + 'password_file = "secret"\n', "ledger.password_file"),
        (URL + 'password = "hunter5"\npassword_file = "secret"\n', "ledger.password_file"),
    ],
)
def test_there_is_one_password(
    config_file: Written, problems: Said, good_text: str, secret: Path, ledger: str, key: str
) -> None:
    assert secret.exists()
    config_file("").chmod(0o600)
    (found,) = problems(good_text + "[ledger]\n" + ledger)
    assert f": {key}: the password is in " in found
    assert "hunter" not in found


def test_a_sqlite_ledger_has_no_password(problems: Said, good_text: str) -> None:
    (found,) = problems(good_text + '[ledger]\npassword = "hunter2"\n')
    assert found == "14: ledger.password: a SQLite ledger has no password: remove this line"


def test_a_password_that_is_no_text_is_not_shown(problems: Said, good_text: str) -> None:
    found = problems(good_text + "[ledger]\n" + URL + "password = 12345\n")
    assert found
    assert not any("12345" in line for line in found)


def test_what_is_kept_has_a_least_and_a_default(config_file: Written, problems: Said, good_text: str) -> None:
    config = load(config_file(good_text), {})
    assert (config.ledger.site, config.ledger.keep_shares_hours) == ("default", 72.0)
    (found,) = problems(good_text + "[ledger]\nkeep_shares_hours = 2.5\n")
    assert "at least 3" in found


@pytest.mark.parametrize(
    "kept",
    ["keep_days = 7", "keep_days = 7\nkeep_holds_days = 7", "keep_days = 0\nkeep_holds_days = 99"],
)
def test_what_only_held_is_kept_no_longer_than_the_rest(problems: Said, good_text: str, kept: str) -> None:
    assert problems(f"{good_text}[ledger]\n{kept}\n") == []
    (found,) = problems(f"{good_text}[ledger]\nkeep_days = 6.5\nkeep_holds_days = 7\n")
    assert found.startswith("15: ledger.keep_holds_days: longer than keep_days (6.5)")
    (found,) = problems(f"{good_text}[ledger]\nkeep_days = 'x'\nkeep_holds_days = 7\n")
    assert "keep_holds_days" not in found
