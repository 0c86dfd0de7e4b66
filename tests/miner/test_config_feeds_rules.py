from pathlib import Path

import pytest

from miner.config_feeds import FeedConfig
from miner.config_feeds_rules import keys_stay_secret
from miner.config_rules import Draft


def said(folder: Path, mode: int = 0o644, **values: object) -> list[str]:
    """What is wrong with a feed in a configuration file of that mode, as `key: message`."""
    file = folder / "hashmill.toml"
    file.write_text("")
    file.chmod(mode)
    feed = FeedConfig.model_validate(values)
    found = keys_stay_secret(Draft(file, {}, {}), ("market", "btc_source", 0), feed)
    return [f"{finding.path[-1]}: {finding.message}" for finding in found]


@pytest.fixture
def token(tmp_path: Path) -> Path:
    file = tmp_path / "token"
    file.write_text("s3cret\n")
    file.chmod(0o600)
    return file


def test_a_feed_without_a_key_has_nothing_to_hide(tmp_path: Path) -> None:
    assert said(tmp_path) == []
    assert said(tmp_path, url="http://prices.example.com/") == []


def test_a_keys_file_is_there_and_its_owners_only(tmp_path: Path, token: Path) -> None:
    assert said(tmp_path, token_file=token) == []
    token.chmod(0o640)
    assert said(tmp_path, token_file=token) == [f"token_file: others can read {token}: chmod 600 {token}"]
    assert said(tmp_path, token_file=tmp_path / "no") == [f"token_file: {tmp_path / 'no'} does not exist"]


def test_a_header_for_a_key_needs_the_key(tmp_path: Path, token: Path) -> None:
    assert said(tmp_path, token_header="X-Key") == ["token_header: is of no use without a token_file"]
    assert said(tmp_path, token_header="X-Key", token_file=token) == []


def test_headers_in_the_configuration_make_it_a_secret(tmp_path: Path) -> None:
    assert said(tmp_path, 0o600, headers={"X-Key": "s3cret"}) == []
    (wrong,) = said(tmp_path, 0o644, headers={"X-Key": "s3cret"})
    assert wrong.startswith("headers: others can read ")
    assert "s3cret" not in wrong


@pytest.mark.parametrize(
    "url", ["http://prices.example.com/", "http://192.168.1.5/", "http://[2001:db8::1]/"]
)
def test_no_key_goes_over_the_net_unencrypted(tmp_path: Path, token: Path, url: str) -> None:
    assert said(tmp_path, url=url, token_file=token) == [
        "url: would send token_file unencrypted over the net: use https"
    ]


@pytest.mark.parametrize(
    "url", ["https://prices.example.com/", "http://127.0.0.1:80/", "http://[::1]/", "http://localhost/"]
)
def test_a_key_may_go_over_tls_or_stay_on_this_machine(tmp_path: Path, token: Path, url: str) -> None:
    assert said(tmp_path, url=url, token_file=token) == []
