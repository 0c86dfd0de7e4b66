from pathlib import Path

import pytest

from miner.config_ledger import LedgerConfig, split_password

URL = "postgresql+psycopg://me@db:5432/hashmill?sslmode=require"


def test_a_sqlite_ledger_has_a_file_and_no_password() -> None:
    config = LedgerConfig(url="sqlite:////var/lib/hashmill.db")
    assert config.file == Path("/var/lib/hashmill.db")
    assert config.full_url == config.url == "sqlite:////var/lib/hashmill.db"


def test_a_postgresql_ledger_has_no_file() -> None:
    config = LedgerConfig(url=URL)
    assert config.file is None
    assert config.full_url == URL


@pytest.mark.parametrize("secret", ["hunter2", "p@ss:w/rd?#%25", "ü &"])
def test_the_password_is_in_the_url_to_connect_by_and_in_no_other_text(secret: str) -> None:
    config = LedgerConfig.model_validate({"url": URL, "password": secret})
    assert split_password(config.full_url) == (URL, secret)
    assert config.url == URL
    assert secret not in repr(config)


def test_a_password_in_the_url_is_taken_out_of_it() -> None:
    config = LedgerConfig(url="postgresql+psycopg://me:p%40ss@db/hashmill")
    assert config.url == "postgresql+psycopg://me@db/hashmill"
    assert config.password is not None
    assert config.password.get_secret_value() == "p@ss"
    assert config.full_url == "postgresql+psycopg://me:p%40ss@db/hashmill"
    assert "p%40ss" not in repr(config)


@pytest.mark.parametrize(
    "url", ["sqlite:///a:b@c", URL, "postgresql+psycopg:///x", "postgresql+psycopg://[x:y@z"]
)
def test_where_there_is_no_password_a_url_stays_as_it_is(url: str) -> None:
    assert split_password(url) == (url, None)


@pytest.mark.parametrize(
    ("keep", "holds", "days"),
    [(400, 14, 14), (7, 14, 7), (400, 0, 400), (0, 14, 14), (0, 0, 0), (7, 0.5, 0.5)],
)
def test_what_only_held_is_kept_for_its_days_and_never_longer_than_the_rest(
    keep: float, holds: float, days: float
) -> None:
    config = LedgerConfig(keep_days=keep, keep_holds_days=holds)
    assert config.keep_holds_s == days * 86_400
