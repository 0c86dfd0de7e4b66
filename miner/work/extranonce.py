"""Extranonces: one prefix for each connection, one slice for each thread, never the same coinbase twice."""

from collections.abc import Iterator


class ExtranonceExhaustedError(Exception):
    """Every extranonce of this size is in use."""


class ExtranonceAllocator:
    """Hands out extranonce1 values: unique while in use, in counting order from `start` on, `size` bytes, big-endian.

    A start by chance keeps the values of one process from those of the process before it. A released value comes back only after all others had their turn, so that late shares of a closed
    connection do not meet those of a new one.
    """

    def __init__(self, size: int = 4, start: int = 0) -> None:
        if size < 1:
            raise ValueError("an extranonce has at least one byte")
        self._size = size
        self._space = 256**size
        self._next = start % self._space
        self._in_use: set[int] = set()

    def allocate(self) -> bytes:
        """The next free value. Raises ExtranonceExhaustedError when there is none."""
        if len(self._in_use) == self._space:
            raise ExtranonceExhaustedError(f"all {self._space} extranonces of {self._size} bytes are in use")
        while self._next in self._in_use:
            self._next = (self._next + 1) % self._space
        value = self._next
        self._in_use.add(value)
        self._next = (value + 1) % self._space
        return int(value).to_bytes(self._size, "big")

    def reserve(self, extranonce: bytes) -> None:
        """Take a value that is used elsewhere, or was used before. Raises ValueError if it is in use."""
        value = int.from_bytes(extranonce, "big")
        if len(extranonce) != self._size or value in self._in_use:
            raise ValueError(f"extranonce {extranonce.hex()} cannot be reserved")
        self._in_use.add(value)

    def release(self, extranonce: bytes) -> None:
        """Give a value back. Raises ValueError for one that is not in use."""
        value = int.from_bytes(extranonce, "big")
        if len(extranonce) != self._size or value not in self._in_use:
            raise ValueError(f"extranonce {extranonce.hex()} is not in use")
        self._in_use.remove(value)


def thread_extranonces(thread: int, threads: int, size: int) -> Iterator[bytes]:
    """Values of extranonce2 for thread number `thread` of `threads`; no two threads share one.

    Together the threads cover all 256**size values. Raises ValueError for a thread that is not one of them or
    a size below 1, at once and not at the first value.
    """
    if not 0 <= thread < threads:
        raise ValueError(f"there is no thread {thread} among {threads}")
    if size < 1:
        raise ValueError("an extranonce has at least one byte")
    return (value.to_bytes(size, "big") for value in range(thread, 256**size, threads))
