"""The hashrate of a unit as its accepted shares tell it."""

from collections import deque

from miner.chain.difficulty import HASHES_PER_DIFFICULTY

MOST_SHARES = 4096


class ShareRate:
    """Hashes per second from the shares credited in the last `window_s` seconds.

    A share of difficulty d stands for d * 2**32 expected hashes. With n shares in the window the relative standard
    deviation is 1 / sqrt(n). While the unit is younger than the window, its age is what the work is divided by.
    """

    def __init__(self, window_s: float = 120.0) -> None:
        self._window_s = window_s
        self._shares: deque[tuple[float, float]] = deque(maxlen=MOST_SHARES)
        self._since: float | None = None

    def start(self, now: float) -> None:
        """The unit hashes from `now` on; what came before no longer counts."""
        self._since = now
        self._shares.clear()

    def stop(self) -> None:
        """The unit was stopped: its rate is 0 until it starts again."""
        self._since = None
        self._shares.clear()

    def add(self, difficulty: float, now: float) -> None:
        """Credit a share of `difficulty` accepted at `now`."""
        if self._since is not None:
            self._shares.append((now, difficulty))

    def hashes_per_second(self, now: float) -> float:
        """The mean over the window, 0 for a unit that is stopped or has not found a share yet."""
        while self._shares and self._shares[0][0] < now - self._window_s:
            self._shares.popleft()
        if self._since is None or not self._shares:
            return 0.0
        start = max(self._since, now - self._window_s)
        if len(self._shares) == MOST_SHARES:
            start = max(start, self._shares[0][0])
        return (
            sum(difficulty for _, difficulty in self._shares) * HASHES_PER_DIFFICULTY / max(now - start, 1.0)
        )
