from typing import Any

import pytest
from pydantic import ValidationError

from miner.config_feeds import FeedConfig


def why(**values: Any) -> str:
    with pytest.raises(ValidationError) as caught:
        FeedConfig(**values)
    return str(caught.value.errors()[0]["ctx"]["error"])


@pytest.mark.parametrize(
    "url",
    ["https://api.example.com", "http://127.0.0.1:8080/price?key=1#x", "https://[::1]:8443/a%20b"],
)
def test_any_url_of_the_web_will_do(url: str) -> None:
    assert FeedConfig(url=url).url == url


@pytest.mark.parametrize(
    ("url", "words"),
    [
        ("", "must be a URL like"),
        ("api.example.com/price", "must be a URL like"),
        ("ftp://example.com/price", "must be a URL like"),
        ("file:///etc/passwd", "must be a URL like"),
        ("https://", "must be a URL like"),
        ("https://[::1", "must be a URL like"),
        ("https://example.com:99999/", "must be a URL like"),
        ("https://user:s3cret@example.com/", "must hold no name or password"),
        ("https://example.com/a b", "must hold no spaces"),
        ("https://example.com/a\x00", "must hold no spaces"),
    ],
)
def test_what_is_no_url_is_refused_without_showing_it(url: str, words: str) -> None:
    assert why(url=url).startswith(words)
    assert "s3cret" not in why(url=url)


def test_headers_are_not_shown() -> None:
    assert "s3cret" not in repr(FeedConfig(headers={"X-Key": "s3cret"}))  # type: ignore[dict-item] # as TOML gives it


@pytest.mark.parametrize("name", ["X Key", "", "X:Key", "Ä"])
def test_a_header_has_a_name_that_can_be_sent(name: str) -> None:
    assert why(token_header=name) == "a header's name is letters, digits, - and _ only"
    assert why(headers={name: "x"}) == "a header's name is letters, digits, - and _ only"


@pytest.mark.parametrize("value", ["a\r\nX-Other: b", "a\x00", ""])
def test_a_header_has_a_value_that_can_be_sent(value: str) -> None:
    assert why(headers={"X-Key": value}) == "X-Key: must be printable ASCII characters, and some"


@pytest.mark.parametrize("timeout_s", [0, -1, 9.5])
def test_a_source_is_waited_for_no_longer_than_the_controller_waits(timeout_s: float) -> None:
    with pytest.raises(ValidationError):
        FeedConfig(timeout_s=timeout_s)
