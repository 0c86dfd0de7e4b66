"""The writer's thread by itself: the order that stays whatever fails. What it does for the recorder is tested with that."""

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Sequence

import pytest
from sqlalchemy import Connection

from miner.ledger import writer as writer_module
from miner.ledger.rows import LedgerError, LedgerUnavailableError
from miner.ledger.store import Store, Write
from miner.ledger.writer import Writer


class Journal:
    """Writes that note that they were made, or fail as often as they are told to; nothing of a failed group is noted."""

    def __init__(self) -> None:
        self.made: list[str] = []
        self.failures: dict[str, list[Exception]] = {}
        self._group: list[str] = []

    def write(self, name: str) -> Write:
        def change(_connection: Connection, _site: str) -> None:
            if self.failures.get(name):
                raise self.failures[name].pop(0)
            self._group.append(name)

        return change

    def follow(self, store: Store, patch: pytest.MonkeyPatch) -> None:
        commit = store.commit

        def noting(group: Sequence[Write]) -> None:
            self._group = []
            commit(group)
            self.made += self._group

        patch.setattr(store, "commit", noting)


@pytest.fixture
def journal(store: Store, monkeypatch: pytest.MonkeyPatch) -> Journal:
    monkeypatch.setattr(writer_module, "RETRY_S", 0.01)
    made = Journal()
    made.follow(store, monkeypatch)
    return made


@pytest.fixture
async def writer(store: Store, journal: Journal) -> AsyncIterator[Writer]:
    assert journal.made == []
    opened = Writer(store)
    yield opened
    await opened.aclose()


async def handed_in(store: Store, hand_in: Callable[[], list[asyncio.Future[None]]]) -> list[object]:
    """What came of writes that were queued together."""
    with store._lock:
        futures = hand_in()
        await asyncio.sleep(0.02)
    return await asyncio.gather(*futures, return_exceptions=True)


async def test_no_write_goes_ahead_of_one_that_is_tried_again(
    store: Store, journal: Journal, writer: Writer
) -> None:
    # "bad" makes each of the group be committed by itself, and then the database fails for a moment at "b".
    journal.failures = {"bad": [LedgerError("bad")] * 2, "b": [LedgerUnavailableError("locked")]}
    names = ["a", "bad", "b", "c", "d"]
    came = await handed_in(
        store, lambda: [writer.enqueue(journal.write(name), lost_event="lost") for name in names]
    )
    assert [str(error) for error in came if error is not None] == ["bad"]
    assert journal.made == ["a", "b", "c", "d"]


async def test_what_is_not_kept_fails_with_the_write_before_it_that_is_tried_again(
    store: Store, journal: Journal, writer: Writer
) -> None:
    journal.failures = {"bad": [LedgerError("bad")] * 2, "b": [LedgerUnavailableError("locked")]}
    came = await handed_in(
        store,
        lambda: [
            writer.enqueue(journal.write("bad")),
            writer.enqueue(journal.write("b"), lost_event="lost"),
            writer.enqueue(journal.write("c")),
            writer.enqueue(journal.write("d"), lost_event="lost"),
        ],
    )
    assert [type(error) for error in came] == [LedgerError, type(None), LedgerUnavailableError, type(None)]
    assert journal.made == ["b", "d"]


async def test_the_thread_hears_of_a_failure_before_it_makes_the_writes_behind(
    store: Store, journal: Journal, writer: Writer
) -> None:
    journal.failures = {"bad": [LedgerError("bad")] * 2}
    heard: list[object] = []
    told: list[object] = []
    await handed_in(
        store,
        lambda: [
            writer.enqueue(
                journal.write("bad"),
                lost_event="lost",
                in_thread=lambda error: heard.append((str(error), list(journal.made))),
                settled=told.append,
            ),
            writer.enqueue(journal.write("b"), lost_event="lost"),
        ],
    )
    assert heard == [("bad", [])]
    assert [str(error) for error in told] == ["bad"]
    assert journal.made == ["b"]


async def test_the_loop_hears_what_came_of_a_write_even_if_nobody_waits_for_it(
    writer: Writer, journal: Journal
) -> None:
    told: list[object] = []
    writer.enqueue(journal.write("a"), settled=told.append).cancel()
    await writer.enqueue(journal.write("b"))
    assert (told, journal.made) == ([None], ["a", "b"])


async def test_a_noted_write_that_fails_for_good_is_logged(
    writer: Writer, journal: Journal, caplog: pytest.LogCaptureFixture
) -> None:
    journal.failures = {"bad": [LedgerError("no such column")]}
    with pytest.raises(LedgerError, match="no such column"):
        await writer.note(journal.write("bad"), "units_not_recorded")
    (record,) = caplog.records
    assert (record.message, record.levelno) == ("units_not_recorded", logging.ERROR)


async def test_a_writer_that_hangs_at_the_end_is_told(
    store: Store, journal: Journal, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writer_module, "CLOSE_TIMEOUT_S", 0.05)
    writer = Writer(store)
    with store._lock:
        writer.enqueue(journal.write("a"), lost_event="lost")
        await writer.aclose()
    assert caplog.messages == ["ledger_close_timeout"]
    await asyncio.to_thread(writer._thread.join, 10)
    assert journal.made == ["a"]
