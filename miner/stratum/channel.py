"""What one session hashes: its place in the coinbase, its difficulty, the job it was sent last, and the shares that come.

When the difficulty changes: what vardiff wants at once (the first adjustments, and changes by more than two) is sent with
the current job again under an id of its own, `<job id>.<level>`; other changes go out before the next job, so that a small
device hears of no more than it must. The current job is sent again with a later time, since many devices begin anew
with the same extranonce2 and would find the same shares again.
"""

from typing import TYPE_CHECKING

from miner.stratum import v1
from miner.stratum.fields import CallError, Submit
from miner.stratum.house import House, Resumable, Subscription, Taker
from miner.stratum.levels import Level
from miner.stratum.pace import NETWORK_UNKNOWN, Pace
from miner.stratum.rules import PortRules
from miner.stratum.v1 import Notice
from miner.work.job import ntime_at
from miner.work.share import Reason, Submission, Verdict

if TYPE_CHECKING:
    from miner.work.roster import HashingUnit


class Channel:
    """The mining half of a session: quiet until it is `begin`-ed, which takes a place and a worker.

    Methods return the lines to be written. `mask` are the version bits the miner may roll, `wanted_mask` those it asked
    for; None where it does not roll, or did not ask.
    """

    __slots__ = (
        "_house", "_notice", "_ntime_s", "_rules", "is_mining", "mask", "pace", "place", "script", "taker", "unit",
        "wanted_mask", "workers",
    )  # fmt: skip

    def __init__(self, house: House, rules: PortRules) -> None:
        self._house = house
        self._rules = rules
        self._notice: Notice | None = None
        self._ntime_s = 0
        self.is_mining = False
        self.mask: int | None = None
        self.wanted_mask: int | None = None
        self.pace = Pace(rules)
        self.place: Subscription | None = None
        self.script: bytes | None = None
        self.taker: Taker | None = None
        self.unit: HashingUnit | None = None
        """The unit of the first login."""
        self.workers: dict[str, HashingUnit] = {}
        """The units by the names they logged in as."""

    # ---- Coming and going ------------------------------------------------------------------------------------

    def take_place(self, place: Subscription) -> None:
        """The session is subscribed; one that was here before goes on with what it had."""
        self.place = place
        if place.resumed is not None:
            self.pace.resume(place.resumed.vardiff, place.resumed.level)
            if self.wanted_mask is None:
                self.mask = place.resumed.version_mask

    def begin(self, now: float) -> bytes:
        """If place and worker are there: the difficulty, and the current job; nothing if they are not, or were before."""
        if self.is_mining or self.place is None or self.unit is None:
            return b""
        self.is_mining = True
        notice = self._notice = self._house.notice()
        level = self.pace.start(notice.ceiling if notice else NETWORK_UNKNOWN, now)
        self._hire_taker()
        told = self._enter(level)
        if notice is None:
            return told
        self._ntime_s = notice.job.ntime_s
        return told + notice.line_for(None, self.script, clean=True)

    def _hire_taker(self) -> None:
        """A taker for what the session is now."""
        if self.place is None or self.unit is None:
            return
        worker = next(name for name, unit in self.workers.items() if unit is self.unit)
        self.taker = self._house.taker(
            self.unit, worker.encode(), self.place.extranonce1, self.mask, self.script
        )
        if self.taker is not None:
            newest = self.pace.newest
            self.taker.set_level(newest.number, newest.from_serial, newest.credit, newest.target)

    def resumable(self, agent: str) -> Resumable | None:
        """What it takes to go on elsewhere; None for a session that never mined."""
        vardiff = self.pace.vardiff
        if self.place is None or self.unit is None or vardiff is None:
            return None
        return Resumable(
            session_id=self.place.session_id,
            extranonce1=self.place.extranonce1,
            extranonce2_size=self.place.extranonce2_size,
            level=self.pace.newest.number,
            vardiff=vardiff.state(),
            version_mask=self.mask,
            name=self.unit.name,
            agent=agent,
        )

    # ---- Shares ----------------------------------------------------------------------------------------------

    def judge(self, submit: Submit) -> Verdict:
        """The verdict on a share that the taker left, or on all where there is none. Raises CallError."""
        if self.place is None:
            raise CallError(v1.NOT_SUBSCRIBED, "Not subscribed")
        unit = self.workers.get(submit.worker)
        if unit is None:
            raise CallError(v1.UNAUTHORIZED, "Unauthorized worker")
        serial = submit.job.serial
        level = None if serial is None else self.pace.of(serial, submit.job.level)
        if level is None:
            raise CallError(*v1.REASON_ERRORS[Reason.JOB_NOT_FOUND])
        if submit.version_bits is not None and self.mask is None:
            self.roll(self._rules.version_mask)  # it never asked, yet it rolls: the header is what it hashed
        submission = Submission(
            unit_id=unit.id,
            job_id=submit.job.id,
            extranonce1=self.place.extranonce1,
            extranonce2=submit.extranonce2,
            ntime_s=submit.ntime_s,
            nonce=submit.nonce,
            version_bits=None if submit.version_bits is None else submit.version_bits & (self.mask or 0),
            payout_script=self.script,
        )
        return self._house.take(submission, level.target)

    def credit(self, shares: int, work: float, now: float) -> bytes:
        """Good shares, `work` the sum of their difficulties: what to write if they change the difficulty."""
        vardiff = self.pace.vardiff
        wanted = vardiff.credit(shares, work, now) if vardiff else None
        return b"" if wanted is None else self.change(wanted, now)

    # ---- Jobs and difficulty ---------------------------------------------------------------------------------

    def offer(self, notice: Notice, now: float) -> bytes:
        """A new job: its notify, before it the difficulty if that changes; nothing if this session is to have none."""
        pace, unit, before = self.pace, self.unit, self._notice
        vardiff = pace.vardiff
        if vardiff is None or unit is None or unit.gate_reason or notice is before:
            return b""
        self._notice = notice
        # The first job on this tip, the clean one, may have been superseded before it came this far.
        first = not notice.clean and (before is None or before.job.prev_hash != notice.job.prev_hash)
        plain = self.script is None and not first
        if plain and not vardiff.pending and notice.ceiling == pace.network:
            return notice.line
        level = pace.before_job(notice.ceiling, notice.serial, now)
        line = notice.line if plain else notice.line_for(None, self.script, clean=first or notice.clean)
        return line if level is None else self._enter(level) + line

    def change(self, wanted: float, now: float) -> bytes:
        """Another difficulty at once: said, and the current job sent again under it."""
        level = self.pace.change(wanted, self._next_serial())
        return b"" if level is None else self._again(level, now)

    def tick(self, now: float) -> bytes:
        """Time passed: what to write if that changes the difficulty."""
        vardiff = self.pace.vardiff
        wanted = vardiff.tick(now) if vardiff else None
        return b"" if wanted is None else self.change(wanted, now)

    def _again(self, level: Level, now: float, *, clean: bool = False) -> bytes:
        """The current job once more, as one of this level."""
        notice = self._notice
        told = self._enter(level)
        if notice is None:
            return told
        job = notice.job
        if job.time_sets_bits:
            # Its time may not be changed, so the same headers would be hashed again: the level waits for the next job.
            return told + notice.line_for(_wire_id(notice, level), self.script, clean=True) if clean else told
        self._ntime_s = max(self._ntime_s + 1, job.ntime_s + 1, ntime_at(job, now))
        return told + notice.line_for(
            _wire_id(notice, level), self.script, ntime_s=self._ntime_s, clean=clean
        )

    def _enter(self, level: Level) -> bytes:
        """The level holds from now on: tell the miner, the taker, and who shows it."""
        if self.taker is not None:
            self.taker.set_level(level.number, level.from_serial, level.credit, level.target)
        for unit in self.workers.values():
            unit.difficulty = level.difficulty
        return v1.set_difficulty(level.difficulty)

    def _next_serial(self) -> int:
        """Serial of the next job: the one after the last that was sent."""
        return self._notice.serial + 1 if self._notice else 0

    # ---- Changes of the coinbase and the version -------------------------------------------------------------

    def roll(self, mask: int) -> None:
        """The miner may roll these bits of the version."""
        self.mask = mask
        if self.taker is not None:
            self.taker.set_version_mask(mask)

    def change_version_mask(self, mask: int) -> bytes:
        """The port lets miners roll these bits: told to one that mines and had asked, if it makes a difference to it."""
        if not self.is_mining or self.wanted_mask is None or self.wanted_mask & mask == self.mask:
            return b""
        self.roll(self.wanted_mask & mask)
        return v1.set_version_mask(self.wanted_mask & mask)

    def change_extranonce(self, place: Subscription, now: float) -> bytes:
        """Another extranonce1, and the current job again to go with it; shares of the old one are lost."""
        if not self.is_mining:
            return b""
        self.place = place
        self._hire_taker()
        told = v1.set_extranonce(place.extranonce1, place.extranonce2_size)
        return told + self._again(self.pace.renew(self._next_serial()), now, clean=True)


def _wire_id(notice: Notice, level: Level) -> str:
    return f"{notice.job.id}.{level.number:x}"
