"""Submissions as the C core takes them: a chunk of lines judged, remembered, recorded and answered at one call.

The part of miner.kernel that changes with every share; import its names from there. The memory of everything is
owned here; the core allocates nothing. One thread at a time may use what belongs together: a board, the tables and
tallies it leads to, and a buffer.
"""

from struct import Struct
from typing import TYPE_CHECKING, Any, Final

from miner._native import ffi, lib

if TYPE_CHECKING:
    from miner.kernel import ShareJob

RECORD: Final = Struct("<IIddQ32s")
"""One accepted share: unit number, tip number, unix seconds, difficulty credited, job serial, header hash."""

LONGEST_PAYOUT: Final = 252
"""Bytes of the longest payout script that the core takes: those whose compact size is one byte."""

BOARD_JOBS: Final[int] = lib.HM_BOARD_JOBS
"""Places on a board; a job's is its serial modulo this."""

_HASH_SIZE: Final = 32
_UINT64_MAX: Final = 2**64 - 1
_FIRST_BITS: Final = 12
_ANSWERS: Final = 32_768
_ENDED_OTHER: Final = lib.HM_ENDED_OTHER
# Looked up once: it is called for every chunk that miners send.
_take_chunk: Final = lib.hm_take_chunk


class SeenTable:
    """A set of header hashes (32 bytes, internal order), each known by its first 16: none may be credited twice.

    It grows by doubling, 22 to 43 bytes a hash (half as much again for the while), without ever pausing, up to `limit`
    hashes; a full one takes no more, because forgetting one could credit it twice.
    """

    __slots__ = ("_limit", "_seen", "_slots")

    def __init__(self, limit: int = 64_000_000) -> None:
        if limit < 1:
            raise ValueError("a table holds at least one hash")
        self._limit = limit
        # Python's hashes are keyed with a secret of the process: just what the table needs of its seed.
        self._seen: Any = ffi.new("hm_seen *", {"seed": hash(b"hashmill") & _UINT64_MAX | 1})
        self._slots: list[Any] = []  # of two, the first is being moved into the second
        self._make_room()

    def add(self, digest: bytes) -> bool:
        """Put a hash into the set; False if it was there. Raises ValueError if there is no room for it."""
        _require_hash(digest)
        while (added := lib.hm_seen_add(self._seen, digest)) == lib.HM_FULL:
            if not self._make_room():
                raise ValueError(f"the table of hashes is full with {len(self)}")
        return added == 1

    def add_records(self, records: bytes, tip: int) -> int:
        """Put the hashes of those RECORDs in that bear this tip number; how many of them are new and had room."""
        before, count = len(self), len(records) // RECORD.size
        done = lib.hm_seen_add_records(self._seen, records, count, tip)
        while done < count and self._make_room():
            rest = records[done * RECORD.size :]
            done += lib.hm_seen_add_records(self._seen, rest, count - done, tip)
        return len(self) - before

    @property
    def is_full(self) -> bool:
        """Whether no further hash can be added."""
        return bool(self._seen.count >= self._seen.room) and not self._make_room()

    def _make_room(self) -> bool:
        """Double the memory, if the limit and the machine allow it; let go of the smaller one when it was moved."""
        seen, bits = self._seen, self._seen.bits
        if seen.room < self._room_in(bits):
            seen.room = self._room_in(bits)
            self._slots = self._slots[-1:]
            return True
        bigger = max(bits + 1, _FIRST_BITS)
        if seen.room >= self._room_in(bigger):
            return False
        try:
            slots: Any = ffi.new("uint64_t[]", 2 << bigger)
        except MemoryError:
            return False
        self._slots.append(slots)
        # The core asks again as soon as everything was moved.
        moved_with = (1 << bits) // lib.HM_MOVED_SLOTS if bits else self._limit
        lib.hm_seen_move(seen, slots, bigger, min(self._room_in(bigger), seen.count + moved_with))
        return True

    def _room_in(self, bits: int) -> int:
        """Hashes that 2**bits slots may hold: with less than a quarter of them free, searches become long."""
        return min(self._limit, 3 << bits >> 2)

    def __contains__(self, digest: bytes) -> bool:
        _require_hash(digest)
        return bool(lib.hm_seen_has(self._seen, digest))

    def __len__(self) -> int:
        return int(self._seen.count)


class Tally:
    """What one unit handed in; the C core and Python add to the same numbers.

    Reasons of rejected shares are numbers: the place of a Reason in miner.work.share.Reason.
    """

    __slots__ = ("_tally",)

    def __init__(self) -> None:
        self._tally: Any = ffi.new("hm_tally *")

    @property
    def accepted(self) -> int:
        """How many shares were credited."""
        return int(self._tally.accepted)

    @property
    def work(self) -> float:
        """Sum of the difficulties credited."""
        return float(self._tally.work)

    @property
    def work_squared(self) -> float:
        """Sum of the squares of the difficulties credited."""
        return float(self._tally.work_squared)

    @property
    def best_difficulty(self) -> float:
        """Difficulty of the hardest hash credited; 0 before the first."""
        return float(self._tally.best_difficulty)

    @property
    def last_share_at(self) -> float:
        """When the last share was credited, unix seconds; 0 before the first."""
        return float(self._tally.last_share_at)

    def rejected(self, reason: int) -> int:
        """How many submissions were rejected for this reason."""
        return int(self._tally.rejected[reason])

    @property
    def rejections(self) -> list[int]:
        """How many submissions were rejected, by reason."""
        return list(self._tally.rejected)

    def take_best(self) -> float:
        """Difficulty of the hardest hash credited since the last call; 0 if there was none."""
        best, self._tally.best_lately = float(self._tally.best_lately), 0.0
        return best

    def accept(self, difficulty: float, share_difficulty: float, at: float) -> None:
        """Count a share that is credited with `difficulty`, and whose hash has `share_difficulty`."""
        tally = self._tally
        tally.accepted += 1
        tally.work += difficulty
        tally.work_squared += difficulty * difficulty
        tally.best_difficulty = max(tally.best_difficulty, share_difficulty)
        tally.best_lately = max(tally.best_lately, share_difficulty)
        tally.last_share_at = at

    def reject(self, reason: int) -> None:
        """Count a rejected submission."""
        self._tally.rejected[reason] += 1


class ShareBuffer:
    """RECORDs of accepted shares, in their order, until somebody takes them; and the core's answers of the moment.

    It grows by doubling up to `limit` records; the core credits nothing that a full one could not hold.
    """

    __slots__ = ("_answers", "_limit", "_outbox", "_records")

    def __init__(self, capacity_records: int = 65_536, limit: int = 4_194_304) -> None:
        if not 1 <= capacity_records <= limit:
            raise ValueError("a buffer begins with at least one record, and not above its limit")
        self._limit = limit
        answers: Any = ffi.new("char[]", _ANSWERS)
        self._answers: Any = ffi.buffer(answers)
        self._records: Any = ffi.new("uint8_t[]", capacity_records * RECORD.size)
        self._outbox: Any = ffi.new("hm_outbox *", (self._records, 0, capacity_records, answers, 0, _ANSWERS))

    def add(self, unit: int, tip: int, at: float, difficulty: float, job_serial: int, digest: bytes) -> None:
        """Append a share that Python accepted. Raises ValueError if the buffer is full."""
        if self.is_full:
            raise ValueError(f"the buffer of shares is full with {len(self)}")
        RECORD.pack_into(
            ffi.buffer(self._records), len(self) * RECORD.size, unit, tip, at, difficulty, job_serial, digest
        )
        self._outbox.count += 1

    def take(self) -> bytes:
        """All records, which the buffer then no longer holds."""
        records: bytes = ffi.buffer(self._records, len(self) * RECORD.size)[:]
        self._outbox.count = 0
        return records

    @property
    def is_full(self) -> bool:
        """Whether no further record can be added."""
        return bool(self._outbox.count >= self._outbox.capacity) and not self._make_room()

    def _make_room(self) -> bool:
        """Double the memory, if the limit allows it."""
        capacity = min(2 * self._outbox.capacity, self._limit)
        if capacity <= self._outbox.capacity:
            return False
        records: Any = ffi.new("uint8_t[]", capacity * RECORD.size)
        ffi.memmove(records, self._records, len(self) * RECORD.size)
        self._records = self._outbox.records = records
        self._outbox.capacity = capacity
        return True

    def __len__(self) -> int:
        return int(self._outbox.count)


class Board:
    """The jobs that the core can judge submissions by, known by their serial; kept by the job book."""

    __slots__ = ("_board", "_borrowed")

    def __init__(self) -> None:
        self._board: Any = ffi.new("hm_board *")
        self._borrowed: dict[int, tuple[ShareJob, SeenTable]] = {}  # by place on the board

    def put(
        self,
        serial: int,
        job: "ShareJob",
        seen: SeenTable,
        *,
        tip: int,
        target: int,
        versions: tuple[int, int],
        times_s: tuple[int, int],
        extranonce_sizes: tuple[int, int],
    ) -> None:
        """Show a job that is not superseded; it takes the place of one whose serial is the same modulo BOARD_JOBS.

        `versions` are version and mask; `times_s` the least and most that the core may let a header's time be; what meets
        `target` (the network's, or a pool's) is left to Python; `tip` is the number for the records; `seen` are the hashes
        credited on that tip.
        """
        place = serial % BOARD_JOBS
        self._borrowed[place] = (job, seen)
        entry = self._board.jobs[place]
        entry.serial, entry.job, entry.seen, entry.tip = serial, job._job, seen._seen, tip  # noqa: SLF001  their home
        entry.target = target.to_bytes(32, "little")
        entry.version, entry.version_mask = versions
        entry.min_time, entry.max_time = times_s
        entry.extranonce1_length, entry.extranonce2_length = extranonce_sizes
        entry.good_until, entry.present = float("inf"), 1

    def good_until(self, serial: int, until: float) -> None:
        """Shares of this job are stale after `until` (unix seconds), for ever if that is infinite."""
        entry = self._board.jobs[serial % BOARD_JOBS]
        if entry.present and entry.serial == serial:
            entry.good_until = until

    def remove(self, serial: int) -> None:
        """The core no longer knows this job."""
        place = serial % BOARD_JOBS
        if self._board.jobs[place].present and self._board.jobs[place].serial == serial:
            self._board.jobs[place].present = 0
            del self._borrowed[place]

    def make_room(self, place: int) -> bool:
        """Let one more hash be credited on the tip of the job at this place."""
        return not self._borrowed[place][1].is_full


class SubmitTaker:
    """One logged-in session: takes its submissions, a chunk at a time, judged and answered by the core.

    `answers`, `accepted`, `rejected` and `work` (the sum of the difficulties credited) tell what the last chunk came to.
    `version_mask` is what was negotiated, None for a session that does not roll versions; `payout_script` is paid instead
    of the jobs', None for theirs. Raises ValueError for an extranonce or script that no coinbase can hold.
    """

    __slots__ = (
        "_board", "_borrowed", "_buffer", "_outbox", "_taker", "_written", "accepted", "answers", "rejected",
        "work",
    )  # fmt: skip

    def __init__(
        self,
        board: Board,
        buffer: ShareBuffer,
        tally: Tally,
        *,
        unit: int,
        worker: bytes,
        extranonce1: bytes,
        version_mask: int | None,
        payout_script: bytes | None = None,
    ) -> None:
        if len(extranonce1) > lib.HM_MAX_EXTRANONCE:
            raise ValueError(f"an extranonce of {len(extranonce1)} bytes is too long")
        payout = payout_bytes(payout_script)
        self._board, self._buffer = board, buffer
        self.answers = b""
        self.accepted = self.rejected = 0
        self.work = 0.0
        taker: Any = ffi.new("hm_taker *")
        taker.board, taker.outbox, taker.tally = board._board, buffer._outbox, tally._tally  # noqa: SLF001  their home
        taker.worker, taker.worker_length = (name := ffi.new("uint8_t[]", worker)), len(worker)
        taker.payout, taker.payout_length = (paid := ffi.new("uint8_t[]", payout)), len(payout)
        taker.unit, taker.extranonce1_length = unit, len(extranonce1)
        ffi.memmove(taker.extranonce1, extranonce1, len(extranonce1))
        self._taker, self._borrowed = taker, (name, paid, tally)
        self._outbox, self._written = buffer._outbox, buffer._answers  # noqa: SLF001  their home
        self.set_version_mask(version_mask)

    def set_version_mask(self, mask: int | None) -> None:
        """The version bits that the session may set from now on; None if it may set none."""
        self._taker.rolls_version, self._taker.version_mask = mask is not None, mask or 0

    def set_level(self, number: int, from_serial: int, difficulty: float, target: int) -> None:
        """A new difficulty, for the jobs from this serial on, and for those that are sent with this number.

        `difficulty` is what a share is credited with that meets `target`. Raises ValueError for a number below the last.
        """
        limit = target.to_bytes(32, "little")
        if lib.hm_taker_set_level(self._taker, number, from_serial, difficulty, limit) != lib.HM_OK:
            raise ValueError(f"level {number} is older than the last one")

    def take(self, data: bytes | bytearray | memoryview, start: int, now: float) -> int:
        """Judge and answer the lines from `start` on that the core can decide; returns where it stopped.

        That is the end of the last whole line, or the beginning of one that Python must look at.
        """
        taker, length = self._taker, len(data)
        chunk: Any = data
        if start == 0 and type(data) is bytes:
            # What nearly always comes: a field of the core's is read only where nothing else tells what it says.
            told = _take_chunk(taker, data, length, now)
            if told >= 0:
                self.answers = self._written[: told & 0xFFFF]
                self.accepted, self.rejected, self.work = told >> 16 & 0xFFFF, told >> 32, taker.work
                return length
            end = -1 - told
        else:
            if not isinstance(data, bytes):
                chunk = ffi.from_buffer(data)
            end = lib.hm_take(taker, chunk, length, start, now)
        self.answers = self._written[: self._outbox.answers_length]
        self.accepted, self.rejected, self.work = taker.accepted, taker.rejected, taker.work
        while taker.ended > _ENDED_OTHER and self._make_room():
            end = lib.hm_take(taker, chunk, len(data), end, now)
            self.answers += self._written[: self._outbox.answers_length]
            self.accepted += taker.accepted
            self.rejected += taker.rejected
            self.work += taker.work
        return end

    def _make_room(self) -> bool:
        """What the core asked for; False if it cannot be had, so that Python says no."""
        match self._taker.ended:
            case lib.HM_ENDED_SEEN:
                return self._board.make_room(self._taker.wants_room)
            case lib.HM_ENDED_RECORDS:
                return not self._buffer.is_full
            case _:
                return True  # the answers were taken out


def payout_bytes(script: bytes | None) -> bytes:
    """A script with its compact size; nothing for None."""
    if script is None:
        return b""
    if not 1 <= len(script) <= LONGEST_PAYOUT:
        raise ValueError(f"a payout script has 1 to {LONGEST_PAYOUT} bytes, not {len(script)}")
    return bytes((len(script),)) + script


def _require_hash(digest: bytes) -> None:
    if len(digest) != _HASH_SIZE:
        raise ValueError(f"a hash has {_HASH_SIZE} bytes, not {len(digest)}")
