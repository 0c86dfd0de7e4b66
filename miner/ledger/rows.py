"""The rows of the ledger, as the program sees them, and its errors; `site` is added by the store that writes."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

BlockStatus = Literal["found", "submitted", "accepted", "rejected", "orphaned", "mature"]
OutcomeKind = Literal["applied", "confirmed", "failed", "unsupported", "superseded", "interrupted"]
InputPartKind = Literal["config", "series"]
PoolShareResult = Literal["waiting", "accepted", "rejected", "in_doubt"]


class LedgerError(Exception):
    """The ledger could not be opened, read or written; the message says which and why."""


class LedgerUnavailableError(LedgerError):
    """The database as a whole failed: locked by another process, disk full, connection lost. It may come back."""


class LedgerFullError(LedgerUnavailableError):
    """More shares wait for the database than the recorder may hold; what was handed in is not queued."""


class HeldBackError(LedgerError):
    """Sums by minute hold shares whose own write failed: they are to be handed in again, behind those shares."""


class NoLedgerError(LedgerError):
    """There is no ledger at this address yet: no file, or a database without Hashmill's tables."""


class SchemaTooNewError(LedgerError):
    """The database was written by a newer Hashmill, whose tables this one does not know."""


class ExistsError(LedgerError):
    """Other decisions of this very time are in the ledger: the clock was set back. Nothing was written."""


class UnknownBlockError(LedgerError):
    """No block with this hash is in the ledger of this site."""


class TransitionError(LedgerError):
    """A block's status may not change this way: a mature block stays mature, nothing becomes `found` again."""


@dataclass(frozen=True, slots=True)
class BlockRow:
    """A block that one of our units found, written before it is submitted.

    Hashes are hex in display order, `payout_script` is hex. `raw` is the serialized block with witness; it is
    empty where the ledger no longer keeps it (see `Store.prune_raw`) and in lists, which do not carry it.
    `stale` says that it was found on a tip already superseded. Times are UTC unix seconds.
    """

    hash: str
    height: int
    prev_hash: str
    found_at: float
    unit_id: str
    job_id: str
    origin: str
    reward_sat: int
    difficulty: float
    payout_script: str
    raw: bytes
    stale: bool = False
    status: BlockStatus = "found"
    detail: str = ""
    submitted_at: float | None = None
    confirmations: int = 0


@dataclass(frozen=True, slots=True)
class DecisionRow:
    """What the controller decided for a unit, `hold` included, and why.

    `id` is unique and sorts by time; `from_mode` is None where the unit's mode was not known. `numbers` made the
    decision (JSON: infinite values and NaN are stored as null); `flip` says in words what would change it.
    """

    id: str
    at: float
    unit_id: str
    from_mode: str | None
    to_mode: str
    reason: str
    numbers: Mapping[str, float | int | str | bool | None]
    flip: str
    dry_run: bool


@dataclass(frozen=True, slots=True)
class OutcomeRow:
    """What became of a decision, as read back from the unit; `mode_read` is None where nothing could be read."""

    decision_id: str
    at: float
    outcome: OutcomeKind
    detail: str = ""
    mode_read: str | None = None


@dataclass(frozen=True, slots=True)
class TickRow:
    """An observed value of a series, true for `valid_from` <= time < `valid_to` (UTC unix seconds)."""

    series: str
    value: float
    unit: str
    valid_from: float
    valid_to: float
    observed_at: float
    source: str


@dataclass(frozen=True, slots=True)
class InputPartRow:
    """What the inputs of many ticks have in common, kept once, by the digest of what it holds; `body` is compressed."""

    kind: InputPartKind
    digest: str
    body: bytes


@dataclass(frozen=True, slots=True)
class InputsRow:
    """What the decisions made at `at` (UTC unix seconds, as theirs) were made from; the digests are those of its parts.

    `format` numbers the layout of `body`, which is compressed; `program` names the code that decided. `config_digest` may be several,
    with spaces between: a fitted model's comes after that of the configuration. `series_digest` is empty where it has no such part.
    """

    at: float
    format: int
    program: str
    config_digest: str
    series_digest: str
    body: bytes

    @property
    def part_digests(self) -> frozenset[str]:
        """The digests of all its parts."""
        return frozenset((*self.config_digest.split(), *self.series_digest.split()))


@dataclass(frozen=True, slots=True)
class OverrideRow:
    """A mode that a person asked for one unit to be in during [since, until) (UTC unix seconds, `until` may be infinite).

    The last one written of a unit counts: one that was taken back is written again with the end it then had.
    """

    unit_id: str
    mode: str
    since: float
    until: float
    who: str
    why: str


@dataclass(frozen=True, slots=True)
class UnitRow:
    """A hashing unit: the number its shares carry, the name it logs in with, and when it first did."""

    number: int
    name: str
    first_seen: float


@dataclass(frozen=True, slots=True)
class TipRow:
    """A chain tip that was worked on: the number its shares carry; `prev_hash` is hex in display order.

    `height` is that of the blocks built on it. `seen_at` is UTC unix seconds. `origin`: whose work it was, "solo" or a
    pool's name.
    """

    number: int
    prev_hash: str
    height: int
    seen_at: float
    origin: str = "solo"


@dataclass(frozen=True, slots=True)
class ShareRow:
    """An accepted share as people see it.

    `difficulty` is what was credited, `share_difficulty` what its hash would have met. Hashes are hex in display
    order; `prev_hash` is empty where the ledger does not know the tip. `at` is UTC unix seconds.
    """

    unit: str
    at: float
    difficulty: float
    share_difficulty: float
    hash: str
    job_id: str
    prev_hash: str


@dataclass(frozen=True, slots=True)
class ShareMinuteRow:
    """What a unit, by its number, handed in during the minute that begins at `minute_at` (UTC unix seconds, whole).

    `work` is the sum of the credited difficulties, `work_squared` that of their squares: what the hashrate and its
    confidence are computed from. `rejected` counts by reason; a reason that did not occur is absent.
    """

    unit: int
    minute_at: int
    accepted: int = 0
    work: float = 0.0
    work_squared: float = 0.0
    best_difficulty: float = 0.0
    rejected: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class BestShareRow:
    """The best share a unit ever handed in: its own difficulty, and the minute it came in (UTC unix seconds)."""

    unit: str
    difficulty: float
    minute_at: int


@dataclass(frozen=True, slots=True)
class PoolShareRow:
    """A share that met a pool's difficulty, and the pool's word on it; it is `waiting` until that comes.

    `id` counts up and is given by the writer. `unit` is the number of the unit that found it, `worker` the name it was
    handed in under. `difficulty` is the hash's own, `credited` the pool's. `hash` is hex in display order, `code` and
    `detail` are the pool's error. Times are UTC unix seconds. `unit_name` is filled in by who reads.
    """

    id: int
    at: float
    pool: str
    unit: int
    worker: str
    job_id: str
    hash: str
    difficulty: float
    credited: float
    result: PoolShareResult = "waiting"
    code: int | None = None
    detail: str = ""
    answered_at: float | None = None
    unit_name: str = ""


@dataclass(frozen=True, slots=True)
class PoolShareVerdict:
    """A pool's word on the share with this id, or that there will be none (`in_doubt`); `at` is UTC unix seconds."""

    id: int
    at: float
    result: PoolShareResult
    code: int | None = None
    detail: str = ""


@dataclass(frozen=True, slots=True)
class PoolShareSums:
    """Shares handed to a pool by what became of them, and the work of those it answered as sums of its difficulties."""

    accepted: int = 0
    rejected: int = 0
    in_doubt: int = 0
    waiting: int = 0
    work_accepted: float = 0.0
    work_rejected: float = 0.0

    @property
    def found(self) -> int:
        """All of them."""
        return self.accepted + self.rejected + self.in_doubt + self.waiting

    @property
    def rejected_ratio(self) -> float | None:
        """The part of the answered work that was rejected; None where none was answered."""
        answered = self.work_accepted + self.work_rejected
        return self.work_rejected / answered if answered else None
