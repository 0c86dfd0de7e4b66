"""Rules of [stratum] that look at more than one key, or at files."""

import ssl
from collections.abc import Callable, Iterator
from pathlib import Path

from miner.config_rules import OTHERS, Draft, Finding, readable_file, secret_file
from miner.config_stratum import ListenerConfig, StratumConfig
from miner.config_toml import KeyPath

DIFFICULTIES = ("start_difficulty", "min_difficulty", "max_difficulty")


def _ports(draft: Draft) -> Iterator[tuple[KeyPath, ListenerConfig | None]]:
    """Path and section of every port; the section is None for [stratum] itself."""
    section = draft.sections.get(("stratum",))
    if isinstance(section, StratumConfig):
        yield ("stratum",), None
        for position, listener in enumerate(section.listener):
            yield ("stratum", "listener", position), listener


def _key(path: KeyPath, listener: ListenerConfig | None, *keys: str) -> KeyPath:
    """Where to point at: the first of the keys that this port writes itself, else the port."""
    written = () if listener is None else listener.model_fields_set
    return next(((*path, key) for key in keys if listener is None or key in written), path)


def listening(draft: Draft) -> Iterator[Finding]:
    """Every port has an address of its own, the API's included."""
    seen: dict[str, str] = {}
    http = draft.sections.get(("http",))
    if http is not None and draft.sound("http", "listen") and http.listen:
        seen[http.listen] = "[http]"
    for number, (path, listener) in enumerate(_ports(draft)):
        if listener is None and not draft.sound("stratum", "listen"):
            continue
        listen = (listener or draft.sections["stratum",]).listen
        if listen in seen:
            yield Finding((*path, "listen"), f"{seen[listen]} listens there already")
        seen.setdefault(listen, f"stratum.listener[{number}]" if number else "[stratum]")


def difficulties(draft: Draft) -> Iterator[Finding]:
    """On every port the difficulty starts between its floor and its ceiling; a start that is not written is brought there."""
    if not draft.sound("stratum", *DIFFICULTIES):
        return
    section = draft.sections["stratum",]
    for path, listener in _ports(draft):
        if listener is not None and not listener.model_fields_set & set(DIFFICULTIES):
            continue  # what is wrong with those of [stratum] is said there
        port = section.port(listener)
        start, least, most = port.start_difficulty, port.min_difficulty, port.max_difficulty
        if most and least > most:
            at = _key(path, listener, "min_difficulty", "max_difficulty")
            yield Finding(at, f"min_difficulty ({least:g}) must not be above max_difficulty ({most:g})")
        elif start < least:
            yield Finding(
                (*path, "start_difficulty"),
                f"start_difficulty ({start:g}) must not be below min_difficulty ({least:g})",
            )
        elif most and start > most:
            yield Finding(
                (*path, "start_difficulty"),
                f"start_difficulty ({start:g}) must not be above max_difficulty ({most:g})",
            )


def certificates(draft: Draft) -> Iterator[Finding]:
    """A certificate has its key, they fit, and only the owner reads the key; each pair is looked at once."""
    if not draft.sound("stratum", "tls_certificate", "tls_key"):
        return
    section = draft.sections["stratum",]
    seen: set[tuple[Path | None, Path | None]] = set()
    for path, listener in _ports(draft):
        port = section.port(listener)
        if (port.tls_certificate, port.tls_key) in seen:
            continue
        seen.add((port.tls_certificate, port.tls_key))
        at = _key(path, listener, "tls_certificate", "tls_key")
        if port.tls_certificate is not None and port.tls_key is not None:
            key_at = _key(path, listener, "tls_key", "tls_certificate")
            yield from _pair(draft, at, port.tls_certificate, key_at, port.tls_key)
        elif port.tls_certificate is not None:
            yield Finding(at, "the certificate's private key is missing: set tls_key")
        elif port.tls_key is not None:
            yield Finding(_key(path, listener, "tls_key"), "is of no use without a tls_certificate")


def _pair(draft: Draft, at: KeyPath, certificate: Path, key_at: KeyPath, key: Path) -> Iterator[Finding]:
    # A group may read the key: that is how Debian hands keys to services (group ssl-cert).
    problems = [*readable_file(at, certificate), *secret_file(key_at, key, OTHERS, draft.environ)]
    yield from problems
    if problems:
        return
    try:
        # A key with a password is refused at once: nobody is there to type it when the daemon starts.
        ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER).load_cert_chain(certificate, key, password=lambda: "")
    except (ssl.SSLError, ValueError):
        yield Finding(
            at, f"{certificate} and {key} are no certificate with its key, in PEM and without a password"
        )


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (listening, difficulties, certificates)
