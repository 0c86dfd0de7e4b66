"""What one session hashes: its place in the coinbase, its difficulty, the job it was sent last, and the shares that come.

When the difficulty changes: what vardiff wants at once (the first adjustments, and changes by more than two) is sent with
the current job again under an id of its own, `<job id>.<level>`; other changes go out before the next job, so that a small
device hears of no more than it must. The current job is sent again with a later time, since many devices begin anew
with the same extranonce2 and would find the same shares again.

Serials of jobs rise, whosever work it is. A session that is given other work may have had later jobs than the current one
of that: it is sent as if it were sent again. Work of another source (a pool, a connection to it, our own node) is clean.
"""

from typing import TYPE_CHECKING

from miner.chain.block import MAX_UINT32
from miner.stratum import v1
from miner.stratum.fields import CallError, Submit
from miner.stratum.house import House, Resumable, Subscription, Taker
from miner.stratum.levels import Level
from miner.stratum.pace import NETWORK_UNKNOWN, Pace
from miner.stratum.rules import PortRules
from miner.stratum.v1 import Notice, Terms
from miner.work.job import ntime_at
from miner.work.share import Pending, Reason, Submission, Verdict

if TYPE_CHECKING:
    from miner.work.roster import HashingUnit


class Channel:
    """The mining half of a session: quiet until it is `begin`-ed, which takes a place and a worker.

    Methods return the lines to be written. `mask` are the version bits the miner may roll in whatever work, `wanted_mask`
    those it asked for; None where it does not roll, or did not ask. `told_mask` is what it was told last: those of them
    that its work leaves to it.
    """

    __slots__ = (
        "_highest", "_house", "_notice", "_ntime_s", "_rules", "_terms", "is_mining", "mask", "pace", "place", "script",
        "taker", "told_mask", "unit", "wanted_mask", "workers",
    )  # fmt: skip

    def __init__(self, house: House, rules: PortRules) -> None:
        self._house = house
        self._rules = rules
        self._notice: Notice | None = None
        self._terms: Terms | None = None  # of the last job; None: look at all there is before the next
        self._highest = -1  # serial of the latest job it was sent
        self._ntime_s = 0
        self.is_mining = False
        self.mask: int | None = None
        self.told_mask = 0
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
        elif place.learned is not None:
            self.pace.resume(place.learned, 0)

    def begin(self, now: float) -> bytes:
        """If place and worker are there: the difficulty, and the current job; nothing if they are not, or were before."""
        if self.is_mining or self.place is None or self.unit is None:
            return b""
        self.is_mining = True
        notice = self._house.notice()
        level = self.pace.start(notice.ceiling if notice else NETWORK_UNKNOWN, now)
        self._hire_taker()
        told = self._enter(level)
        if notice is None or not self._can_hash(notice):
            return told
        if self.told_mask & ~notice.terms.version_mask:
            told += self._tell_mask(notice)
        self._take_up(notice)
        if self._mask_in(notice) not in {None, self.told_mask}:
            self._terms = None  # it may roll more: told with the next job, when nothing is left of the login
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
            for level in self.pace.kept:
                self.taker.set_level(level.number, level.from_serial, level.credit, level.target)

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

    def judge(self, submit: Submit) -> Verdict | Pending:
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
        unit, vardiff, before = self.unit, self.pace.vardiff, self._notice
        if vardiff is None or unit is None or unit.gate_reason:
            return b""
        if (
            notice.terms is self._terms
            and before is not None
            and notice.serial > self._highest
            and not vardiff.pending
            # The first job on this tip, the clean one, may have been superseded before it came this far.
            and (notice.clean or notice.prev_hash == before.prev_hash)
        ):
            self._notice = notice
            self._highest = notice.serial
            return notice.line if self.script is None else notice.line_for(None, self.script)
        return self._offer_other(notice, now)

    def _offer_other(self, notice: Notice, now: float) -> bytes:
        """A job that is not just the next one."""
        before = self._notice
        if not self._can_hash(notice):
            return b""
        if before is not None and notice.serial == before.serial:
            self._notice = notice
            return b""
        is_new = before is None or notice.terms.source != before.terms.source
        clean = is_new or notice.clean or before is None or notice.prev_hash != before.prev_hash
        if is_new:
            self._ntime_s = 0  # the times of others' headers are no matter
        told = self._tell_mask(notice)
        serial = max(notice.serial, self._highest + 1)
        level = self.pace.before_job(notice.ceiling, serial, now)
        is_older = serial != notice.serial
        self._take_up(notice)
        if is_older:
            return told + self._again(level or self.pace.renew(serial), now, clean=clean)
        line = (
            notice.line
            if self.script is None and clean is notice.clean
            else notice.line_for(None, self.script, clean=clean)
        )
        return told + (line if level is None else self._enter(level) + line)

    def _take_up(self, notice: Notice) -> None:
        """It is the current job from now on."""
        self._notice = notice
        self._terms = notice.terms
        self._highest = max(self._highest, notice.serial)

    def _can_hash(self, notice: Notice) -> bool:
        """Whether the job's extranonces are of the sizes that the miner was told."""
        return self.place is not None and notice.terms.extranonce_sizes == self.place.extranonce_sizes

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
        self._ntime_s = min(max(self._ntime_s + 1, job.ntime_s + 1, ntime_at(job, now)), MAX_UINT32)
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
        """Serial of the next job: above all that were sent."""
        return self._highest + 1

    # ---- Changes of the coinbase and the version -------------------------------------------------------------

    def roll(self, mask: int) -> None:
        """The miner may roll these bits of the version."""
        self.mask = mask
        if self.taker is not None:
            self.taker.set_version_mask(mask)

    def ask_mask(self, mask: int) -> int:
        """The miner asks to roll these bits; returns those it may, in the present work."""
        work_mask = self._house.work_mask()
        self.wanted_mask = mask
        self.roll(mask & self._rules.version_mask)
        self.told_mask = mask & self._rules.version_mask & (-1 if work_mask is None else work_mask)
        return self.told_mask

    def change_version_mask(self, mask: int) -> bytes:
        """The port lets miners roll these bits: told to one that mines and had asked, if it makes a difference to it."""
        if not self.is_mining or self.wanted_mask is None or self.wanted_mask & mask == self.mask:
            return b""
        self.roll(self.wanted_mask & mask)
        return self._tell_mask(self._notice)

    def _tell_mask(self, notice: Notice | None) -> bytes:
        """The bits that the miner may roll in this work: told if it had asked, and they are others than it was told."""
        wanted = self._mask_in(notice)
        if wanted is None or wanted == self.told_mask:
            return b""
        self.told_mask = wanted
        return v1.set_version_mask(wanted)

    def _mask_in(self, notice: Notice | None) -> int | None:
        """The bits that a miner may roll in this work; None for one that did not ask."""
        if self.wanted_mask is None or self.mask is None:
            return None
        return self.mask if notice is None else self.mask & notice.terms.version_mask

    def change_extranonce(self, place: Subscription, now: float, notice: Notice | None = None) -> bytes:
        """Another extranonce1, and to go with it this job, or else the current one again; shares of the old one are lost."""
        if not self.is_mining:
            return b""
        self.place = place
        self._hire_taker()
        told = v1.set_extranonce(place.extranonce1, place.extranonce2_size)
        if notice is not None:
            self._notice = None  # so that it is clean, whatever it was
            return told + self._offer_other(notice, now)
        return told + self._again(self.pace.renew(self._next_serial()), now, clean=True)


def _wire_id(notice: Notice, level: Level) -> str:
    return f"{notice.job.id}.{level.number:x}"
