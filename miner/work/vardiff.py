"""Variable difficulty: keeps a session's shares at the aimed rate, whatever its device does.

Every accepted share is an observation of the hashrate: at difficulty d a device of H hashes a second finds shares at
random (Poisson) at the rate H / (d * 2**32). With n shares found in the exposure E, the sum of (seconds / difficulty), the
likelihood of the hashrate is that of a Gamma distribution with its maximum at n / E, in difficulty a second; shares of
different difficulty may be mixed. So all that is kept is a count and an exposure. What is decided on them:

- **No share yet.** Too hard a start and a device that still boots look alike. After `HOLD_S` the difficulty falls evenly in
  the logarithm, to be at a part of `REACHED` of the start by `DEADLINE_S`, and slowly from there.
- **Few shares** (below `ENOUGH`) only ever lower it: the search goes on to where the least hashrate that they allow is not
  starved, since a first share may be luck.
- **Enough shares** set it, when the estimate is off the aim by more than its own uncertainty: at once when by more
  than a factor of two, otherwise with the next job (`next_job`). So a flood ends after `ENOUGH` shares.
- **Another hashrate** (a board failed, a mode changed) is found by two CUSUM tests, one for a rise by half and one for a fall
  by a third; the shares from before it are then forgotten.
- **Silence after shares** is a device that was switched off. The difficulty falls by `MOST_LOWERED` at most, so that its
  return is no flood, and the silence counts for nothing. Each share that comes later allows as much again, so a hashrate
  that is lost for good is followed too, slowly.

`bench/vardiff.py` shows how well it does. Source of the test: E. S. Page, Continuous inspection schemes, Biometrika 41 (1954).
"""

from __future__ import annotations

from enum import IntEnum
from math import exp, inf, log, sqrt
from typing import Final, NamedTuple

SECONDS_PER_MINUTE: Final = 60.0

EASIEST: Final = 2.0**-32
"""Every hash is a share of it."""
SHORTEST_EXPOSURE_S: Final = 1e-6
"""Between two looks, even where the clock stood still."""

HOLD_S: Final = 6.0
"""Before the search lowers for the first time: a device that starts right should find its first share in this time."""
DEADLINE_S: Final = 48.0
"""After login the search has come down by `REACHED`; a tick, the way to the device and a lucky share fit into the minute."""
REACHED: Final = 400.0
"""A start 1000 times too hard is then 2.5 times too hard, where a device is not starved."""
AFTER_S: Final = 12.0
"""Once the deadline is over: few shares are followed to the least hashrate that they allow in this time."""
FASTEST_HALVING_S: Final = 4.5
"""Neither goes faster than this, however late."""
SLOW_HALVING_S: Final = 120.0
"""Below `REACHED`: whoever is still silent has probably not begun to hash."""
FURTHEST: Final = 1000.0
"""With few shares nothing is lowered for a device further than this below the start."""
LONGEST_SEARCH_S: Final = 10.0
"""What a step of the search counts as at most, however late the tick."""
SPARED: Final = 0.27
"""Part of the aim that the least plausible device is to have: a fifth is starving, and some to spare."""
LEAST_EXPECTED: Final = (0.0005, 0.032, 0.1497, 0.3552, 0.6325, 0.9672, 1.3484, 1.7679, 2.2197, 2.699)
"""By the number of shares: the fewest to be expected when so many came; fewer have a chance of 0.05 % (a quantile of Gamma)."""
FEW: Final = 1.8
"""With few shares: nothing is lowered while more than this part of those aimed at came."""
HURRY: Final = 1.3
"""With few shares: nothing is lowered while this multiple of the time that it takes at the fastest is left, and a late tick."""
SMALLEST_STEP: Final = 0.8
"""With few shares: smaller changes are not worth a message."""
FEW_LOWER_KNOWN: Final = 0.25
"""Once the hashrate was known: lowered when less than this part of the shares aimed at came, there being less hurry."""
FEW_STEP: Final = (0.4, 0.5)
"""Then: to the least and the greatest part of the difficulty in one step."""

ENOUGH: Final = 10
"""Shares that tell the hashrate to a third; below a fifth of the estimate it is then once in fifty thousand, above five
times never."""
SHORTEST_SPAN_S: Final = 0.25
"""Evidence of a flood must last so long: shares held up on the way arrive all at once."""

MEMORY_SHARES: Final = 50.0
MEMORY_MINUTES: Final = 8.0
"""Shares that count, whichever are more; older ones fade, which follows slow changes and bounds the trust in the estimate."""
DEVIATIONS: Final = 1.2
"""A change needs so many relative standard deviations, 1 / sqrt(shares) each."""
SMALLEST_CHANGE: Final = 0.18
"""Natural logarithm: nothing is sent for less, however certain."""
LOG_2: Final = log(2.0)
AT_ONCE: Final = LOG_2
"""Natural logarithm: a change by more does not wait for the next job."""

TESTED: Final = 16.0
"""Shares that an estimate needs to be tested for a change of the hashrate."""
ALARM: Final = 2.2
"""Of the CUSUM tests, in units of log likelihood, plus the logarithm of the aim in shares a minute: false alarms are then
as rare in time, whatever the aim."""
RISE_ALARM: Final = 5.5
"""A rise needs at least so much: after a false one the device starves, after a false fall it is only paced too easily."""
RISE: Final = 1.5
FALL: Final = 1 / RISE
LOG_RISE: Final = log(RISE)

SILENT_SHARES: Final = 10.0
"""Expected shares that did not come: such a silence has a chance of 1 in 20,000 at each share of a device at work."""
MOST_LOWERED: Final = 2.0
"""After shares were seen: by how much a silence may lower the difficulty."""


class Phase(IntEnum):
    """What shares tell just now."""

    WAITING = 0
    """Silence: nothing is counted until a share comes."""
    RETURNING = 1
    """The first shares after a silence, perhaps held up on the way: counted from the next tick on."""
    MEASURING = 2


class VardiffState(NamedTuple):
    """What a resumed session, or the next process, needs to go on.

    `least`: how low a silence may bring the difficulty, 0 while the hashrate is unknown. `exposure` is in seconds / difficulty.
    """

    difficulty: float
    least: float
    shares: float
    exposure: float


class Vardiff:
    """Difficulty of one session. What `credit` and `tick` return is to be sent at once, with the current job; None: nothing.

    `shares_per_minute` is the aim. The difficulty stays between `floor` and `ceiling`; where these exclude each other the
    ceiling holds, since a share harder than a block would lose blocks. With floor = ceiling it is fixed. Times are unix
    seconds; a clock that steps back costs accuracy, nothing else. Raises ValueError for limits or an aim not above zero.
    """

    __slots__ = (
        "_aim", "_alarm", "_began", "_ceiling", "_down", "_down_exposure", "_down_shares", "_enough", "_exposure",
        "_first", "_fixed", "_floor", "_found", "_found_at", "_found_work", "_least", "_looked_at", "_measured_at",
        "_memory", "_phase", "_searched", "_settled", "_shares", "_start", "_up", "_up_exposure", "_up_shares",
        "_waited", "difficulty", "pending",
    )  # fmt: skip

    def __init__(
        self,
        start: float,
        floor: float,
        ceiling: float,
        shares_per_minute: float,
        now: float,
        state: VardiffState | None = None,
    ) -> None:
        if not (start > 0 and floor >= 0 and ceiling > 0 and shares_per_minute > 0):
            raise ValueError("difficulties and the aimed share rate are above zero")
        self._aim = shares_per_minute / SECONDS_PER_MINUTE
        self._alarm = ALARM + max(log(shares_per_minute), 0.0)
        self._floor = floor or EASIEST
        self._ceiling = ceiling
        self._memory = max(MEMORY_SHARES, MEMORY_MINUTES * shares_per_minute)
        self._fixed = self._floor >= ceiling
        self._found = 0
        self._found_work = 0.0
        self.difficulty = 0.0
        """The difficulty of the work that is sent from now on."""
        self.pending = False
        """Whether `next_job` may have something to say."""
        self._restart(start if state is None else state.difficulty, now)
        if state is not None and state.least > 0:
            self._settled = True
            self._least = state.least
            self._shares = state.shares
            self._exposure = state.exposure

    def credit(self, shares: int, work: float, now: float) -> float | None:
        """Accepted `shares` of one chunk, `work` the sum of their difficulties (each that of its job)."""
        found = self._found + shares
        self._found = found
        self._found_work += work
        self._found_at = now
        if found < self._enough:
            return None
        if self._phase != Phase.MEASURING:
            self._end_silence(now)
            return None
        return self._look(now)

    def tick(self, now: float) -> float | None:
        """Some seconds passed; to be called about every five."""
        if self._fixed:
            return None
        if self._phase == Phase.MEASURING:
            if self._settled and not self._found and self._missed(now) >= SILENT_SHARES:
                return self._fall_silent(now)
            return self._look(now)
        if self._phase == Phase.RETURNING:
            self._measure(now)
            return None
        if not self._settled:
            return self._search(now)
        return self._change(self._least) if self._missed(now) >= SILENT_SHARES else None

    def next_job(self, now: float) -> float | None:
        """Difficulty to be sent before a new job, None if it stays; always None where nothing is `pending`."""
        if not self.pending:
            return None
        if self._phase == Phase.MEASURING:
            self._account(now)
        return self._change(self._wanted())

    def set_ceiling(self, ceiling: float) -> None:
        """Another highest difficulty, such as the network's; goes out with the next job."""
        was_held = self.difficulty >= self._ceiling
        self._ceiling = ceiling
        if self._fixed and self._floor < ceiling:
            self._fixed = False
            self._enough = 1.0
            self._found = 0
            self._found_work = 0.0
        self.pending = self.pending or was_held or self.difficulty != self._clamp(self.difficulty)

    def suggest(self, difficulty: float, now: float) -> float | None:
        """The device asks for this difficulty; before its first share that is where the search starts anew."""
        if self._settled or self._phase != Phase.WAITING:
            return None
        before = self.difficulty
        self._restart(difficulty, now)
        return None if self.difficulty == before else self.difficulty

    def state(self) -> VardiffState:
        """For a session that is resumed, here or in another process."""
        return VardiffState(self.difficulty, self._least, self._shares, self._exposure)

    def _restart(self, difficulty: float, now: float) -> None:
        """Nothing is known of the device."""
        self.difficulty = self._start = self._clamp(difficulty)
        self._settled = False
        self._least = 0.0
        self._searched = 0.0
        self._first = 1
        self._began = now
        self._waited = 0.0
        self._fall_back(now)

    def _fall_back(self, now: float) -> None:
        """Nothing is counted until a share comes."""
        self._phase = Phase.WAITING
        self._enough = inf if self._fixed else 1.0
        self._looked_at = self._found_at = self._measured_at = now
        self._forget(0.0, 0.0)

    def _forget(self, shares: float, exposure: float) -> None:
        """Only these count from now on."""
        self._found = 0
        self._found_work = 0.0
        self._shares = shares
        self._exposure = exposure
        self._up = self._up_shares = self._up_exposure = 0.0
        self._down = self._down_shares = self._down_exposure = 0.0

    def _end_silence(self, now: float) -> None:
        """A share came. In a search it counts from here; after a silence shares may have been held up on the way."""
        if self._settled:
            self._phase = Phase.RETURNING
            self._enough = inf
            self._least = self.difficulty / MOST_LOWERED
        else:
            # The exposure of a search that falls exponentially is that of its last seconds.
            waited = min(max(now - self._began, SHORTEST_EXPOSURE_S), (DEADLINE_S - HOLD_S) / log(REACHED))
            self._searched = waited / self.difficulty
            self._first = self._found
            self._measure(now)

    def _measure(self, now: float) -> None:
        self._phase = Phase.MEASURING
        self._enough = ENOUGH
        self._found = 0
        self._found_work = 0.0
        self._looked_at = self._found_at = self._measured_at = now

    def _search(self, now: float) -> float | None:
        """No share was ever seen: lower, faster at first."""
        reached = self._start / REACHED
        if self.difficulty > reached:
            waited = min(now - max(self._looked_at, self._began + HOLD_S), LONGEST_SEARCH_S)
            if waited <= 0:
                return None
            factor = self._pace(reached, waited, now)
        else:
            if now - self._looked_at < SLOW_HALVING_S:
                return None
            factor = 0.5
        self._looked_at = now
        return self._change(self.difficulty * factor)

    def _search_on(self) -> float:
        """Few shares: lower, so that the least hashrate that they allow is not starved when the minute is over."""
        current = self.difficulty
        aimed = self._aim * (self._exposure + self._searched)
        shares = int(self._shares) + self._first
        if shares > min(len(LEAST_EXPECTED), FEW * aimed * current):
            return current
        if current * REACHED <= self._start:
            return current / 2 if shares < aimed * current / 2 - 1 else current
        lowest = max(LEAST_EXPECTED[shares - 1] / (SPARED * aimed), self._start / FURTHEST)
        if lowest >= SMALLEST_STEP * current:
            return current
        needed_s = HURRY * log(current / lowest) / LOG_2 * FASTEST_HALVING_S
        if self._looked_at + needed_s < self._began + DEADLINE_S - LONGEST_SEARCH_S:
            return current
        return current * self._pace(lowest, self._waited, self._looked_at)

    def _pace(self, lowest: float, waited: float, now: float) -> float:
        """The factor of this step on the way to `lowest`, evenly in the logarithm, to be there at the deadline."""
        left = self._began + DEADLINE_S - now + waited
        part = min(waited / (left if left > 0 else AFTER_S), 1.0)
        return exp(max(log(lowest / self.difficulty) * part, -LOG_2 * waited / FASTEST_HALVING_S))

    def _missed(self, now: float) -> float:
        """Shares to be expected since the last one."""
        rate = self._aim
        if self._shares >= ENOUGH:
            rate = max(rate, self._shares / (self._exposure * self.difficulty))
        return (now - self._found_at) * rate

    def _fall_silent(self, now: float) -> float | None:
        self._fall_back(now)
        return self._change(self._least)

    def _look(self, now: float) -> float | None:
        """Take in what was found since the last look, and judge."""
        self._account(now)
        wanted = self._wanted()
        deviation = abs(log(wanted / self.difficulty))
        if deviation > (AT_ONCE if self._shares >= ENOUGH else 0):
            return self._change(wanted)
        self.pending = deviation > 0
        return None

    def _account(self, now: float) -> None:
        """The time until the last share at the difficulty of the shares, the silence since at the current one.

        So shares of jobs sent before a change are taken for what they are, however long the device goes on with them.
        """
        found = self._found
        if found:
            exposure = max(self._found_at - self._looked_at, 0.0) * found / self._found_work
            exposure += max(now - self._found_at, 0.0) / self.difficulty
            if self._settled:
                self._least = self.difficulty / MOST_LOWERED
        else:
            exposure = max(now - self._looked_at, 0.0) / self.difficulty
        self._waited = min(max(now - self._looked_at, 0.0), LONGEST_SEARCH_S)
        exposure = max(exposure, SHORTEST_EXPOSURE_S / self.difficulty)
        self._looked_at = now
        self._found = 0
        self._found_work = 0.0
        if self._shares >= TESTED and self._has_changed(found, exposure):
            return
        self._shares += found
        self._exposure += exposure
        if self._shares > self._memory:
            self._exposure *= self._memory / self._shares
            self._shares = self._memory

    def _has_changed(self, found: int, exposure: float) -> bool:
        """CUSUM for another hashrate; if there is one, only what came since it began is kept."""
        expected = exposure * self._shares / self._exposure
        self._up += found * LOG_RISE - expected * (RISE - 1)
        self._down += expected * (1 - FALL) - found * LOG_RISE
        self._up_shares += found
        self._up_exposure += exposure
        self._down_shares += found
        self._down_exposure += exposure
        if self._up > max(self._alarm, RISE_ALARM):
            self._forget(self._up_shares, self._up_exposure)
            return True
        if self._down > self._alarm:
            self._forget(self._down_shares, self._down_exposure)
            return True
        if self._up <= 0:
            self._up = 0.0
            if found:
                self._up_shares = self._up_exposure = 0.0
            elif self._up_shares:  # a silence belongs to what follows: shares held up on the way are no rise
                self._up_shares = 0.0
                self._up_exposure = exposure
        if self._down <= 0:
            self._down = self._down_shares = self._down_exposure = 0.0
        return False

    def _wanted(self) -> float:
        """The difficulty that the evidence asks for; the current one unless it speaks clearly against it."""
        current = self.difficulty
        held = self._clamp(current)
        shares = self._shares
        aimed = self._exposure * current * self._aim
        if shares < ENOUGH:
            if not self._settled:
                return held if self._phase != Phase.MEASURING else self._clamp(self._search_on())
            most = FEW_LOWER_KNOWN * aimed - 1
            if self._phase != Phase.MEASURING or shares >= most:
                return held
            factor = min(max((shares + 1) / aimed, FEW_STEP[0]), FEW_STEP[1])
        else:
            factor = (shares - 1) / aimed  # without bias, since the count is what ended the wait
            if not self._settled:
                if self._looked_at - self._measured_at < SHORTEST_SPAN_S:
                    return held
                self._settled = True
                self._least = current * min(factor, 1.0) / MOST_LOWERED
            if abs(log(factor)) <= max(DEVIATIONS / sqrt(shares), SMALLEST_CHANGE):
                return held
        return self._clamp(max(current * factor, self._least))

    def _change(self, wanted: float) -> float | None:
        """Go to `wanted` within the limits; None if that is where it stands."""
        self.pending = False
        if wanted == self.difficulty == self._clamp(wanted):
            return None
        wanted = self._clamp(float(f"{wanted:.4g}"))  # what operators and devices can read
        if wanted == self.difficulty:
            return None
        if self._settled and wanted > self.difficulty:
            self._least = wanted / MOST_LOWERED
        self.difficulty = wanted
        return wanted

    def _clamp(self, difficulty: float) -> float:
        return min(max(difficulty, self._floor), self._ceiling)
