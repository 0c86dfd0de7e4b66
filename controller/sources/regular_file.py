"""Files that others write, read with care: regular ones only, never waited for, and no more of them than is sensible."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, NamedTuple

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


class Stamp(NamedTuple):
    """What is another where a file's content is: the time of its last change, its size, its inode."""

    changed_ns: int
    size: int
    inode: int


class RegularFile(NamedTuple):
    """An open file and its stamp."""

    stamp: Stamp
    content: BinaryIO

    def read(self, most_bytes: int) -> bytes:
        """All of it. Raises ValueError for more than `most_bytes`."""
        found = self.content.read(most_bytes + 1) if self.stamp.size <= most_bytes else None
        if found is None or len(found) > most_bytes:
            raise ValueError(f"larger than {most_bytes} bytes")
        return found


@contextmanager
def opened(file: Path) -> Iterator[RegularFile]:
    """The file, open until the end of the block.

    Raises OSError, and ValueError for a pipe, a device or a folder: reading those may take forever or have effects. Only a file system
    that hangs makes it wait: whoever cannot wait opens in an `OwnThread`.
    """
    _check(os.stat(file))  # noqa: PTH116 - before it is opened: a pipe's writer would notice
    descriptor = os.open(file, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(descriptor, "rb") as content:
        found = os.fstat(descriptor)
        _check(found)
        yield RegularFile(Stamp(found.st_mtime_ns, found.st_size, found.st_ino), content)


def first_line(file: Path, most_bytes: int = 65_536) -> str:
    """The first line of a small file, without white space around it: a password, a token. Raises OSError, ValueError."""
    with opened(file) as found:
        return found.read(most_bytes).decode("utf-8-sig").partition("\n")[0].strip()


def _check(found: os.stat_result) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise ValueError("it is no regular file")
