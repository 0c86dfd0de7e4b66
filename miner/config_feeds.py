"""What every source over HTTP is configured with: URL, pace, and the key it may want."""

from typing import Annotated
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, SecretStr

from miner.config_values import OptionalFilePath, Section

SLOWEST_S = 9.0
"""A source that takes longer is given up: the controller waits 10 s for it."""


def _web_url(value: str) -> str:
    # None of these errors shows the value: a URL may hold a key.
    try:
        parts = urlsplit(value)
        named = bool(parts.hostname) and parts.port != 0
    except ValueError:
        named = False
    if not named or parts.scheme not in {"http", "https"}:
        raise ValueError("must be a URL like https://api.example.com/price")
    if "@" in parts.netloc:
        raise ValueError("must hold no name or password: send them in headers, or from token_file")
    if not value.isprintable() or " " in value:
        raise ValueError("must hold no spaces or control characters: write %20 for a space")
    return value


def _currency(value: str) -> str:
    if not (len(value) == len("EUR") and value.isascii() and value.isalpha() and value.isupper()):
        raise ValueError(f'"{value[:20]}" is no currency: three capital letters, like EUR')
    return value


def _header(value: str) -> str:
    if not (value.isascii() and value.replace("-", "").replace("_", "").isalnum()):
        raise ValueError("a header's name is letters, digits, - and _ only")
    return value


def _headers(headers: dict[str, SecretStr]) -> dict[str, SecretStr]:
    for name, value in headers.items():
        _header(name)
        secret = value.get_secret_value()
        if not (secret and secret.isascii() and secret.isprintable()):
            raise ValueError(f"{name}: must be printable ASCII characters, and some")
    return headers


WebUrl = Annotated[str, AfterValidator(_web_url)]
CurrencyCode = Annotated[str, AfterValidator(_currency)]
HeaderName = Annotated[str, AfterValidator(_header)]
Every = Annotated[float, Field(ge=1)]


class FeedConfig(Section):
    """Where and how to ask."""

    url: WebUrl | None = Field(
        default=None,
        description="What to ask instead of a preset's own URL: another server that answers alike, or, without a preset, any that "
        "answers in JSON.",
    )
    headers: Annotated[dict[str, SecretStr], AfterValidator(_headers)] = Field(
        default_factory=dict,
        description='Headers sent with it, { "X-Name" = "value" }; the configuration file must then be readable by its owner only.',
    )
    token_file: OptionalFilePath = Field(
        default=None,
        description="File whose first line is a key, sent as `Authorization: Bearer KEY`; readable by its owner only.",
    )
    token_header: HeaderName | None = Field(
        default=None, description="Send the key alone in the header of this name instead."
    )
    timeout_s: Annotated[float, Field(gt=0, le=SLOWEST_S)] = Field(
        default=8.0, description="An answer that is not whole by then has failed."
    )
