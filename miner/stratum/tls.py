"""TLS for a port: a context from the operator's files, which follows them when they are renewed."""

import logging
import ssl
from pathlib import Path

log = logging.getLogger(__name__)


class TlsError(Exception):
    """The certificate and its key cannot be used; the message says which and why."""


class Certificate:
    """A server's certificate with its key, PEM files, and the TLS context made of them.

    `refresh` takes files that were replaced into the same context: connections from then on get the new certificate, those
    there are keep theirs. Files that cannot be used leave the old certificate in use. At least TLS 1.2 is spoken.
    """

    def __init__(self, certificate: Path, key: Path) -> None:
        """Load the files. Raises TlsError."""
        self._certificate = certificate
        self._key = key
        self.error = ""
        """Why the files as they are now are not in use; empty while they are."""
        self._loaded = self._seen = self._state()
        self.context = self._make()

    def refresh(self) -> bool:
        """Take over files that changed since they were loaded and no longer change; True if it did.

        Call it every minute or so: files are taken over once two calls have found them the same.
        """
        state = self._state()
        settled, self._seen = state == self._seen, state
        if state == self._loaded or not settled:
            return False
        self._loaded = state
        try:
            self._make()  # into a context of its own first: one that fails halfway would be left without a key
            self._load(self.context)
        except TlsError as error:
            self.error = str(error)
            log.warning("certificate_refused", extra={"file": str(self._certificate), "error": self.error})
            return False
        self.error = ""
        log.info("certificate_renewed", extra={"file": str(self._certificate)})
        return True

    def _make(self) -> ssl.SSLContext:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.minimum_version = ssl.TLSVersion.TLSv1_2
        self._load(context)
        return context

    def _load(self, context: ssl.SSLContext) -> None:
        try:
            # An empty password, lest OpenSSL asks for one at the terminal.
            context.load_cert_chain(self._certificate, self._key, password="")
        except ssl.SSLError as error:
            raise TlsError(
                f"{self._certificate} and {self._key} are no certificate with its unencrypted key: {error}"
            ) from error
        except OSError as error:
            raise TlsError(f"{self._certificate}, {self._key}: {error.strerror or error}") from error

    def _state(self) -> tuple[tuple[int, int, int] | None, ...]:
        return tuple(_stat(file) for file in (self._certificate, self._key))


def _stat(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_ino, found.st_size, found.st_mtime_ns
