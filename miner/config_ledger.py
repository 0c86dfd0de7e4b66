"""The ledger's section: where it is, whose it is, how long it remembers."""

from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote, unquote, urlsplit, urlunsplit

from pydantic import Field, NonNegativeFloat, SecretStr, model_validator

from miner.config_values import POSTGRESQL, SQLITE, LedgerUrl, OptionalFilePath, Section


class LedgerConfig(Section):
    """Where blocks, shares, decisions and outcomes are kept."""

    url: LedgerUrl = Field(
        default="sqlite:///hashmill.db",
        validate_default=True,
        description="sqlite:///FILE, whose folder must exist; or postgresql+psycopg://USER@HOST:PORT/DATABASE, which needs "
        "`pip install 'hashmill[postgres]'`.",
    )
    password: SecretStr | None = Field(
        default=None,
        description="PostgreSQL's password; better kept in password_file or in the environment.",
    )
    password_file: OptionalFilePath = Field(
        default=None, description="File whose first line is the password; nobody but its owner may read it."
    )
    site: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        default="default",
        description="Whose ledger it is, where several sites share one PostgreSQL database.",
    )
    keep_days: NonNegativeFloat = Field(
        default=400.0,
        description="Decisions, their outcomes, overrides, prices and each unit's sums by minute are kept this long, blocks for ever; "
        "0: everything for ever.",
    )
    keep_holds_days: NonNegativeFloat = Field(
        default=14.0,
        description="Decisions that only held a unit in its mode (reason hold_..., nothing came of them) are kept this long, and so is what all decisions were "
        "made from: `hashmill log decisions --verify` goes back so far. There is one a unit and tick, 600 bytes each in SQLite, 850 in PostgreSQL. "
        "Not longer than keep_days; 0: as long.",
    )
    keep_shares_hours: Annotated[float, Field(ge=3)] = Field(
        default=72.0,
        description="Every single share is kept this long (64 bytes each); the sums by minute remain.",
    )

    @model_validator(mode="before")
    @classmethod
    def _take_password_out(cls, written: Any) -> Any:
        """A password in the URL becomes that of `password`, so that the URL can be shown."""
        url = written.get("url") if isinstance(written, dict) else None
        bare, password = split_password(url) if isinstance(url, str) else (url, None)
        if password is None or "password" in written:
            return written
        return {**written, "url": bare, "password": password}

    @property
    def keep_holds_s(self) -> float:
        """Seconds that decisions which only held, and inputs of all, are kept; 0: for ever."""
        days = self.keep_holds_days or self.keep_days
        return 86_400 * (min(days, self.keep_days) if self.keep_days else days)

    @property
    def file(self) -> Path | None:
        """The ledger's SQLite file; None for PostgreSQL."""
        return Path(self.url.removeprefix(SQLITE)) if self.url.startswith(SQLITE) else None

    @property
    def full_url(self) -> str:
        """The URL to connect by, its password in it: not to be shown."""
        if self.password is None:
            return self.url
        parts = urlsplit(self.url)
        user, _, host = parts.netloc.rpartition("@")
        secret = quote(self.password.get_secret_value(), safe="")
        return urlunsplit(parts._replace(netloc=f"{user}:{secret}@{host}"))


def split_password(url: str) -> tuple[str, str | None]:
    """A PostgreSQL URL without its password, and that password as it is meant; None where there is none."""
    if not url.startswith(POSTGRESQL):
        return url, None
    try:
        parts = urlsplit(url)
    except ValueError:
        return url, None
    user, _, host = parts.netloc.rpartition("@")
    name, colon, password = user.partition(":")
    if not colon:
        return url, None
    return urlunsplit(parts._replace(netloc=f"{name}@{host}")), unquote(password)
