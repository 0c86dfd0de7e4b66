"""The hashrate of a unit as its accepted shares tell it, and how sure that is."""

from array import array
from collections import deque
from functools import lru_cache
from math import exp, inf, lgamma, log, sqrt
from statistics import NormalDist
from typing import Final, Protocol

from miner.chain.difficulty import HASHES_PER_DIFFICULTY

MOST_SHARES = 4096

SAMPLES: Final = 32
"""Kept of a window: about 800 bytes a unit, and the window's length is exact to 3 %."""
FIELDS: Final = 3
"""Of a sample: time, work, sum of squares."""

NEWTON_BELOW: Final = 60.0
"""Up to this many shares the approximate bound is improved; beyond, it is exact to three digits."""
NEWTON_STEPS: Final = 8
CLOSE: Final = 1e-12


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


class Totals(Protocol):
    """What a unit handed in since its count began."""

    @property
    def work(self) -> float:
        """Sum of the credited difficulties."""
        ...

    @property
    def work_squared(self) -> float:
        """Sum of their squares."""
        ...


class TallyRate:
    """Hashes per second from a unit's running totals, looked at every few seconds.

    The mean over the last `window_s` seconds, or since the first sample while that is less; a unit that is gone fades to 0
    over the window. Shares of difficulties d tell as much as (sum d)**2 / (sum d**2) shares of one difficulty would, which
    is what the interval rests on.
    """

    __slots__ = ("_latest", "_samples", "_window_s")

    def __init__(self, window_s: float = 600.0) -> None:
        self._window_s = window_s
        self._samples = array("d")
        """Oldest first, at least a part of the window from each other, and one from before the window."""
        self._latest = (0.0, 0.0, 0.0)

    def sample(self, totals: Totals, now: float) -> None:
        """Take note of `totals` as they are at `now`. Totals that shrank are another count: it begins here."""
        samples = self._samples
        latest = (now, totals.work, totals.work_squared)
        if samples and (latest[1] < self._latest[1] or now < self._latest[0]):
            del samples[:]
        self._latest = latest
        if not samples or now - samples[-FIELDS] >= self._window_s / SAMPLES:
            samples.extend(latest)
            while len(samples) > FIELDS and samples[FIELDS] <= now - self._window_s:
                del samples[:FIELDS]

    def hashes_per_second(self, now: float) -> float:
        """The mean over the window, 0 without a sample or a share."""
        work, _, span_s = self._window(now)
        return work * HASHES_PER_DIFFICULTY / span_s if work else 0.0

    def interval(self, now: float, confidence: float = 0.95) -> tuple[float, float]:
        """Lowest and highest hashrate that explain the shares of the window with `confidence` (Poisson, two-sided).

        Without a share in the window the highest is what its former shares' difficulty allows, infinite for a unit that never
        had one. Raises ValueError for a confidence that is not between 0 and 1.
        """
        if not 0 < confidence < 1:
            raise ValueError(f"a confidence of {confidence} is not between 0 and 1")
        work, squares, span_s = self._window(now)
        tail = (1 - confidence) / 2
        if work <= 0:
            _, all_work, all_squares = self._latest
            if not all_work or not span_s:
                return 0.0, inf
            return 0.0, -log(tail) * all_squares / all_work * HASHES_PER_DIFFICULTY / span_s
        shares = work * work / squares
        scale = squares / work * HASHES_PER_DIFFICULTY / span_s
        return gamma_quantile(shares, tail) * scale, gamma_quantile(shares + 1, 1 - tail) * scale

    def _window(self, now: float) -> tuple[float, float, float]:
        """Work, sum of squares and length (s) of the window that ends at `now`."""
        samples = self._samples
        at, work, squares = self._latest
        first = 0
        while first + FIELDS < len(samples) and samples[first + FIELDS] <= now - self._window_s:
            first += FIELDS
        if not samples or samples[first] < now - 2 * self._window_s:
            return 0.0, 0.0, self._window_s if samples else 0.0
        until = max(at, now - self._window_s / SAMPLES)  # what came since the last sample is not known yet
        return work - samples[first + 1], squares - samples[first + 2], max(until - samples[first], 1.0)


@lru_cache(maxsize=256)
def _normal_quantile(probability: float) -> float:
    return NormalDist().inv_cdf(probability)


def gamma_quantile(shape: float, probability: float) -> float:
    """The value that a Gamma variable of `shape` (above 0) and scale 1 stays below with `probability`.

    Half the chi-square quantile of 2 * shape degrees of freedom: with n events seen, the bounds of a Poisson mean are those of
    shapes n and n + 1 (Garwood 1936). Wilson and Hilferty's cube (1931), for few events improved by Newton's method.
    """
    ninth = 1 / (9 * shape)
    value = shape * max(1 - ninth + _normal_quantile(probability) * sqrt(ninth), 0.0) ** 3
    if shape >= NEWTON_BELOW:
        return value
    value = max(value, exp((log(probability) + lgamma(shape + 1)) / shape))  # the lower tail's first term
    for _ in range(NEWTON_STEPS):
        density = exp((shape - 1) * log(value) - value - lgamma(shape))
        step = (_gamma_below(shape, value) - probability) / density
        value = max(value - step, value / 2)
        if abs(step) < CLOSE * value:
            break
    return value


def _gamma_below(shape: float, value: float) -> float:
    """Probability that a Gamma variable of `shape` and scale 1 is below `value`: its power series."""
    term = total = 1 / shape
    count = shape
    while term > total * CLOSE:
        count += 1
        term *= value / count
        total += term
    return total * exp(shape * log(value) - value - lgamma(shape))
