"""The job books of all origins, on one board: solo work and each pool's, none of which knows the others' jobs."""

from typing import Final

from miner.kernel import BOARD_JOBS, Board
from miner.work.job import Job, JobBook, TipNumbers

SOLO: Final = "solo"
"""The origin of work of our own node; no pool has this name."""


class Shelf:
    """One job book for each origin (SOLO, or a pool's name), with one count of job ids and one of tips.

    Job ids are numbers in hexadecimal that rise from `first_serial` over all origins, so that an id names one job
    wherever it came from; tips are numbered from `first_tip_number`. One thread owns the shelf.
    """

    def __init__(self, first_serial: int = 1, first_tip_number: int = 0) -> None:
        if first_serial < 0:
            raise ValueError("a job's serial is not negative")
        self.board: Final = Board()
        self._numbers = TipNumbers(first_tip_number)
        self._next_serial = first_serial
        self._books: dict[str, JobBook] = {}

    def add(
        self, origin: str, grace_s: float, capacity: int = BOARD_JOBS, duplicates: int = 64_000_000
    ) -> JobBook:
        """An empty book for this origin; the rest as JobBook takes it. Raises ValueError if there is one."""
        if origin in self._books:
            raise ValueError(f"there is a job book of {origin!r} already")
        book = JobBook(grace_s, capacity, duplicates, board=self.board, numbers=self._numbers)
        self._books[origin] = book
        return book

    def book(self, origin: str) -> JobBook:
        """The book of this origin. Raises KeyError if there is none."""
        return self._books[origin]

    @property
    def origins(self) -> tuple[str, ...]:
        """Those that have a book, in the order in which they were added."""
        return tuple(self._books)

    def of(self, job_id: str) -> JobBook | None:
        """The book that holds this job; None if none does."""
        return next((book for book in self._books.values() if job_id in book), None)

    def next_id(self) -> str:
        """An id for the next job of any origin.

        The board has BOARD_JOBS places, a job's being its serial modulo that. A job that is hashed now keeps its place: an
        origin whose jobs come often does not push out that of one whose jobs come seldom.
        """
        taken = {job.serial % BOARD_JOBS for job in self.now_mined().values() if job.serial is not None}
        while len(taken) < BOARD_JOBS and self._next_serial % BOARD_JOBS in taken:
            self._next_serial += 1
        serial = self._next_serial
        self._next_serial += 1
        return f"{serial:x}"

    def now_mined(self) -> dict[str, Job]:
        """The current job of each origin that has one."""
        return {origin: book.current for origin, book in self._books.items() if book.current is not None}

    def tips(self) -> list[tuple[str, int, bytes]]:
        """Origin, number and prev hash of every tip in the books, each origin's present one last of its own."""
        return [
            (origin, number, prev_hash)
            for origin, book in self._books.items()
            for number, prev_hash in book.tips()
        ]
