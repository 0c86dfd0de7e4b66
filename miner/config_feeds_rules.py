"""Rules for every source over HTTP: keys stay secret on the disk and on the way."""

import ipaddress
from collections.abc import Iterator
from urllib.parse import urlsplit

from miner.config_feeds import FeedConfig
from miner.config_rules import GROUP_AND_OTHERS, Draft, Finding, secret_file
from miner.config_toml import KeyPath


def keys_stay_secret(draft: Draft, path: KeyPath, feed: FeedConfig) -> Iterator[Finding]:
    """The feed at `path` of the configuration: who can read its key, and whether it travels in the clear."""
    if feed.token_header and not feed.token_file:
        yield Finding((*path, "token_header"), "is of no use without a token_file")
    if feed.token_file:
        yield from secret_file((*path, "token_file"), feed.token_file, GROUP_AND_OTHERS, draft.environ)
    if feed.headers and draft.file.stat().st_mode & GROUP_AND_OTHERS:
        yield Finding(
            (*path, "headers"),
            f"others can read {draft.file} with these headers in it: chmod 600 {draft.file}, or use token_file",
        )
    has_key = [key for key in ("token_file", "headers") if getattr(feed, key)]
    if has_key and feed.url and not _is_private(feed.url):
        yield Finding(
            (*path, "url"), f"would send {' and '.join(has_key)} unencrypted over the net: use https"
        )


def _is_private(url: str) -> bool:
    """Whether what is sent there cannot be read on the way: over TLS, or not leaving this machine."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if parts.scheme == "https" or host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
