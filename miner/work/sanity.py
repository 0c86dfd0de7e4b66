"""Whether a pool's work is what a pool would send: the first place where a hijacked connection can be noticed.

Nothing here stops anything: suspicions are told and counted, and a pool of too many in a row is condemned; who mines for
it goes elsewhere then.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import StrEnum, auto
from typing import Final

from miner.chain.difficulty import DIFFICULTY_1_TARGET, HASHES_PER_DIFFICULTY
from miner.work.job import Job

HARD_ANYWHERE: Final = 1e6
"""Test networks, whose own difficulty may be next to nothing, are mined with any difficulty of shares up to this."""

LEAST_HASHES: Final = 2
"""Expected hashes of the easiest share that is worth sending where blocks are hard to find."""

MOST_PAYEES: Final = 4096
"""Scripts known for one pool."""

MOST_LEARNED: Final = 16
"""Of each job's outputs, the largest: a pool that pays its miners in the coinbase has hundreds, and ever new ones."""

UNTOLD_DIFFICULTY: Final = 1.0
"""What counts until a pool says how difficult its shares are."""

_OP_RETURN: Final = b"\x6a"
_SAT: Final = 100_000_000
_SHOWN_PAYEES: Final = 3
_SHOWN_BYTES: Final = 8


class Suspicion(StrEnum):
    """What may be wrong with a pool's work; the values stay the same in metrics, log and API."""

    PAYS_NOBODY_WE_KNOW = auto()
    """No output of the coinbase goes to a script known as the pool's."""
    ABSURD_DIFFICULTY = auto()
    """The shares are to be harder than a block, as easy as any hash, or the difficulty jumped."""
    UNKNOWN_PREV_HASH = auto()
    """Our own node has not heard of the block that the job builds on."""
    LEFT_BEHIND = auto()
    """Our own node has gone on from the block that the job builds on."""


@dataclass(frozen=True, slots=True)
class Finding:
    """A suspicion about one job or one previous hash, in words for the operator."""

    kind: Suspicion
    text: str


class PoolWatch:
    """Looks at each job of one pool, and at where it stands on the chain; `now` is unix seconds, given and never read.

    `payees` are the scripts known as the pool's. With `fixed` nobody else may be paid (somebody of them in each job); else
    the first good job teaches who is, and every good one after it teaches more. The pool is condemned after `limit`
    suspicious jobs in a row, or if it stays on a suspicious previous hash for as long again as made it suspicious; a `limit`
    of 0 never condemns. A difficulty more than `difficulty_factor` times the last, or less than the last divided by it, is
    a jump. Raises ValueError for numbers that cannot be.
    """

    def __init__(
        self,
        payees: Iterable[bytes],
        *,
        fixed: bool,
        limit: int = 3,
        difficulty_factor: float = 1000.0,
        unknown_s: float = 30.0,
        behind_s: float = 60.0,
    ) -> None:
        if limit < 0 or difficulty_factor <= 1 or unknown_s < 0 or behind_s < 0:
            raise ValueError("no limit is negative, and a difficulty may at least change")
        self._payees = dict.fromkeys(payees)  # in the order in which they were last seen
        self._fixed = fixed
        self._limit = limit
        self._difficulty_factor = difficulty_factor
        self._patience_s = {Suspicion.UNKNOWN_PREV_HASH: unknown_s, Suspicion.LEFT_BEHIND: behind_s}
        self._counts = dict.fromkeys(Suspicion, 0)
        self._learned: list[bytes] = []
        self._suspicious_jobs = 0
        self._difficulty: float | None = None
        self._prev_hash = b""
        self._since = 0.0  # when the pool was first seen on this prev hash
        self._doubt: Suspicion | None = None  # about this prev hash, as the node sees it now
        self._doubt_since = 0.0
        self._told: set[Suspicion] = set()  # about this prev hash
        self._lasts = False

    @property
    def condemned(self) -> bool:
        """Whether too much about this pool is suspicious to mine for it."""
        return self._limit > 0 and (self._suspicious_jobs >= self._limit or self._lasts)

    @property
    def is_suspicious(self) -> bool:
        """Whether the last job was suspicious, in itself or for what it builds on."""
        return self._suspicious_jobs > 0

    @property
    def counts(self) -> Mapping[Suspicion, int]:
        """Findings of each kind since the watch began."""
        return self._counts

    def new_payees(self) -> tuple[bytes, ...]:
        """Scripts learned since the last call, to be remembered and given to the next watch over this pool."""
        learned, self._learned = tuple(self._learned), []
        return learned

    def fix_payees(self, payees: Iterable[bytes]) -> None:
        """These are the pool's scripts, and nobody else may be paid from now on, whatever was learned."""
        self._payees, self._fixed = dict.fromkeys(payees), True
        self._learned.clear()

    def reconnected(self) -> None:
        """The pool is connected to anew: its difficulty begins anew, and so does its place on the chain.

        Suspicious jobs before it count on until a good one comes.
        """
        self._difficulty = None
        self._follow(b"", 0.0)

    # ---- Jobs ------------------------------------------------------------------------------------------------

    def job(
        self, job: Job, outputs: Iterable[tuple[int, bytes]], difficulty: float, now: float
    ) -> list[Finding]:
        """What is suspicious about a job just come, with what its coinbase pays and the difficulty of its shares."""
        if job.prev_hash != self._prev_hash:
            self._follow(job.prev_hash, now)
        largest_first = sorted(outputs, reverse=True)
        paid = tuple(dict.fromkeys(script for sat, script in largest_first if sat > 0 and _is_payee(script)))
        texts = {
            Suspicion.PAYS_NOBODY_WE_KNOW: self._doubt_payees(job, paid),
            Suspicion.ABSURD_DIFFICULTY: self._doubt_difficulty(job, difficulty),
        }
        findings = [Finding(kind, text) for kind, text in texts.items() if text]
        self._count(findings)
        if findings or self._doubt in self._told:
            self._suspicious_jobs += 1
        else:
            self._suspicious_jobs = 0
            self._learn(paid[:MOST_LEARNED])
        return findings

    def _doubt_payees(self, job: Job, paid: tuple[bytes, ...]) -> str:
        """Why nobody who should be paid is; empty if somebody is, or if nobody is known yet."""
        name = _name(job)
        if not paid:
            return f"{name} pays nobody at all: every output of its coinbase is worth nothing or can never be spent"
        if any(script in self._payees for script in paid) or not (self._payees or self._fixed):
            return ""
        whose = "named in the pool's `payees`" if self._fixed else "that earlier jobs of this pool paid"
        shown = ", ".join(_short(script) for script in paid[:_SHOWN_PAYEES])
        return (
            f"{name} pays {job.reward_sat / _SAT:.8f} BTC to {len(paid)} script(s) ({shown}) "
            f"and to none of the {len(self._payees)} scripts {whose}: the connection may be hijacked; "
            "if the pool has a new address, add it to `payees`"
        )

    def _doubt_difficulty(self, job: Job, difficulty: float) -> str:
        """What is absurd about a difficulty; empty if nothing is."""
        name = _name(job)
        network = DIFFICULTY_1_TARGET / job.network_target
        if difficulty > max(network, HARD_ANYWHERE):
            return f"{name} wants shares of difficulty {difficulty:g}, and a block needs no more than {network:g}: none would be found"
        # On a chain that is worth nothing even a block may be as easy as that.
        if network > 1 and difficulty * HASHES_PER_DIFFICULTY < LEAST_HASHES:
            return f"{name} wants shares of difficulty {difficulty:g}: nearly every hash would be one"
        last, factor = self._difficulty, self._difficulty_factor
        # After a jump the new one is what the next is compared with: each share is worth as much more or less, and no pay
        # is lost by it. Only what is absurd in itself stays suspicious, and the way back from it is not.
        self._difficulty = difficulty
        if last is None or last == UNTOLD_DIFFICULTY or last / factor <= difficulty <= last * factor:
            return ""
        return f"{name} wants shares of difficulty {difficulty:g}, and the job before it of {last:g}: no fleet changes as fast"

    def _learn(self, paid: Iterable[bytes]) -> None:
        if self._fixed:
            return
        for script in paid:
            if script not in self._payees:
                self._learned.append(script)
            self._payees.pop(script, None)
            self._payees[script] = None
        while len(self._payees) > MOST_PAYEES:
            del self._payees[next(iter(self._payees))]
        del self._learned[:-MOST_PAYEES]

    # ---- The chain -------------------------------------------------------------------------------------------

    def chain(
        self,
        prev_hash: bytes,
        now: float,
        *,
        node_tip: bytes | None,
        tip_seen_at: float | None,
        known: bool | None,
    ) -> list[Finding]:
        """What is suspicious about the block that the pool's current job builds on; to be asked every few seconds.

        `node_tip` is our node's, first seen at `tip_seen_at`; None where there is no node, or it is not well. `known`:
        whether the node has the header `prev_hash`; None if it was not asked, or is at a lower height itself, so that it is
        the node that lags. Each finding is told once for each previous hash.
        """
        if prev_hash != self._prev_hash:
            self._follow(prev_hash, now)
        doubt, since = None, now
        if known is False:
            doubt = Suspicion.UNKNOWN_PREV_HASH
        elif known and node_tip is not None and prev_hash != node_tip:
            # A pool that went elsewhere after the node saw its tip has been left behind since then, and not since the tip.
            doubt, since = (
                Suspicion.LEFT_BEHIND,
                now if tip_seen_at is None else max(self._since, tip_seen_at),
            )
        if doubt is not self._doubt:
            self._doubt, self._doubt_since = doubt, since
        self._lasts = False
        if doubt is None:
            return []
        lasted_s, patience_s = now - self._doubt_since, self._patience_s[doubt]
        self._lasts = lasted_s >= 2 * patience_s
        if lasted_s < patience_s or doubt in self._told:
            return []
        self._told.add(doubt)
        findings = [Finding(doubt, self._words(doubt, prev_hash, node_tip, lasted_s))]
        self._count(findings)
        return findings

    def _follow(self, prev_hash: bytes, now: float) -> None:
        """The pool builds on another block."""
        self._prev_hash, self._since = prev_hash, now
        self._doubt, self._doubt_since, self._lasts = None, now, False
        self._told = set()

    @staticmethod
    def _words(doubt: Suspicion, prev_hash: bytes, node_tip: bytes | None, lasted_s: float) -> str:
        block = prev_hash[::-1].hex()
        if doubt is Suspicion.UNKNOWN_PREV_HASH:
            return (
                f"its work builds on block {block}, which our node has not heard of for {lasted_s:.0f} s: either the node is "
                "cut off, or the pool's work is for no chain that is worth anything"
            )
        tip = "" if node_tip is None else node_tip[::-1].hex()
        return (
            f"its work builds on block {block}, and our node has been at {tip} for {lasted_s:.0f} s: shares on it may be paid, "
            "a block would not be"
        )

    def _count(self, findings: Iterable[Finding]) -> None:
        for finding in findings:
            self._counts[finding.kind] += 1


def _is_payee(script: bytes) -> bool:
    """Whether the script is somebody's: not a commitment, and not money for everyone."""
    return bool(script) and not script.startswith(_OP_RETURN)


def _name(job: Job) -> str:
    return f"job {(job.upstream.job_id if job.upstream else job.id)!r}"


def _short(script: bytes) -> str:
    shown = script[:_SHOWN_BYTES].hex()
    return shown if len(script) <= _SHOWN_BYTES else f"{shown}... ({len(script)} bytes)"
