"""One daemon a ledger: an advisory lock beside the database file, gone with its holder however that ends."""

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from miner.ledger.rows import LedgerError


@contextmanager
def sole_writer(file: Path) -> Iterator[None]:
    """Hold the lock of the ledger at `file` while the context lasts.

    Two daemons on one ledger would hash the same work and turn the same units against each other. Readers need no
    lock. Raises LedgerError where another process holds it, or it cannot be made.
    """
    path = file.with_name(file.name + ".lock")
    try:
        handle = path.open("a")
    except OSError as error:
        raise LedgerError(f"cannot lock the ledger: {path}: {error.strerror}") from error
    with handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise LedgerError(
                f"another hashmill runs on the ledger {file}: stop it, or give this one its own [ledger] url"
            ) from None
        yield
