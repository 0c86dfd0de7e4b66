import itertools
import os
import random
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path

import pytest

from miner.ledger.reader import Reader
from miner.ledger.rows import (
    BlockRow,
    DecisionRow,
    LedgerError,
    LedgerUnavailableError,
    OutcomeRow,
    TickRow,
    TransitionError,
    UnknownBlockError,
)
from miner.ledger.store import Store

#: Blocks with the hashes 0, 1, 2 ..., each told on stdout once it was written; `write` is what a test puts there.
WRITER = """
import os, signal, sys
from miner.ledger.rows import BlockRow
from miner.ledger.store import Store

store = Store.open(sys.argv[1])
print("open", flush=True)
for number in range(int(sys.argv[2])):
    store.add_block(BlockRow(str(number), number, "", 0.0, "cpu", "1", "solo", 50, 1.0, "51", bytes(5000)))
    print(number, flush=True)
os.kill(os.getpid(), signal.SIGKILL)
"""

STATUSES = ("found", "submitted", "accepted", "rejected", "orphaned", "mature")


def writer(url: str, count: int) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", WRITER, url, str(count)], stdout=subprocess.PIPE, text=True
    )


def test_a_block_comes_back_as_it_was_written(url: str, block: Callable[..., BlockRow]) -> None:
    row = block(stale=True, detail="it's", submitted_at=1.5, confirmations=7)
    with Store.open(url) as store:
        store.add_block(row)
    with Store.open(url) as store:
        assert store.block(row.hash) == row


def test_the_same_block_twice_is_one_block_and_keeps_its_status(
    store: Store, block: Callable[..., BlockRow]
) -> None:
    store.add_block(block())
    store.set_block_status(block().hash, "accepted")
    store.add_block(block())
    assert [row.status for row in store.blocks()] == ["accepted"]


@pytest.mark.parametrize(("before", "after"), list(itertools.product(STATUSES, STATUSES)))
def test_a_status_may_change_but_never_from_mature_and_never_back_to_found(
    store: Store, block: Callable[..., BlockRow], before: str, after: str
) -> None:
    store.add_block(block(status=before))
    forbidden = before != after and (before == "mature" or after == "found")
    if forbidden:
        with pytest.raises(TransitionError, match=f"is {before}, it cannot become {after}"):
            store.set_block_status(block().hash, after)
    else:
        store.set_block_status(block().hash, after)
    assert [row.status for row in store.blocks()] == [before if forbidden else after]


def test_an_unknown_block_and_an_unknown_status_are_errors(
    store: Store, block: Callable[..., BlockRow]
) -> None:
    with pytest.raises(UnknownBlockError):
        store.set_block_status("00", "accepted")
    store.add_block(block())
    with pytest.raises(ValueError, match="'lost' is not a block's status"):
        store.set_block_status(block().hash, "lost")


def test_a_blocks_bytes_go_when_it_is_mature(store: Store, block: Callable[..., BlockRow]) -> None:
    store.add_block(block())
    store.set_block_status(block().hash, "accepted")
    assert [row.raw for row in store.unsettled_blocks()] == [block().raw]
    store.set_block_status(block().hash, "mature", confirmations=101)
    written = store.block(block().hash)
    assert written is not None
    assert (written.raw, written.confirmations) == (b"", 101)


def test_orphaned_blocks_are_kept_until_pruned_and_then_settled(
    store: Store, block: Callable[..., BlockRow]
) -> None:
    for number, status in enumerate(["orphaned", "orphaned", "accepted", "rejected"], start=1):
        store.add_block(block(number, status=status))
    store.prune_raw(1)
    assert [(row.height, row.status) for row in store.unsettled_blocks()] == [
        (2, "orphaned"),
        (3, "accepted"),
    ]
    store.prune_raw(4)
    assert [(row.height, row.raw) for row in store.unsettled_blocks()] == [(3, block().raw)]


def test_a_block_is_on_disk_when_add_block_returned_and_the_process_is_killed(url: str) -> None:
    with writer(url, 1) as child:
        assert child.wait(60) == -signal.SIGKILL
    with Reader.open(url) as reader:
        assert [row.hash for row in reader.unsettled_blocks()] == ["0"]
    with Store.open(url) as store:
        assert [(row.hash, len(row.raw)) for row in store.unsettled_blocks()] == [("0", 5000)]


def test_no_written_block_is_lost_when_the_process_is_killed_at_random_moments(url: str) -> None:
    dice = random.Random(20260101)
    for _ in range(6):
        with writer(url, 100_000) as child:
            assert child.stdout is not None
            assert child.stdout.readline() == "open\n"
            time.sleep(dice.uniform(0, 0.15))
            os.kill(child.pid, signal.SIGKILL)
            told = [line for line in child.stdout.read().splitlines(keepends=True) if line.endswith("\n")]
        with Store.open(url) as store:
            kept = {row.hash for row in store.unsettled_blocks()}
            assert {line.strip() for line in told} <= kept
    if url.startswith("sqlite"):
        connection = sqlite3.connect(url.removeprefix("sqlite:///"))
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        connection.close()


def test_readers_and_the_writer_do_not_disturb_each_other(url: str, block: Callable[..., BlockRow]) -> None:
    Store.open(url).close()
    with Store.open(url, busy_timeout_s=0.5) as store, Reader.open(url) as reader:
        with reader._reading() as reading:
            seen = reading.exec_driver_sql("SELECT count(*) FROM blocks").scalar_one()
            store.add_block(block())
            again = reading.exec_driver_sql("SELECT count(*) FROM blocks").scalar_one()
            # SQLite shows a transaction one state all along, PostgreSQL each statement what was committed before it.
            assert (seen, again) == (0, 0 if url.startswith("sqlite") else 1)
        assert len(reader.blocks()) == 1


def test_another_process_may_read_while_the_daemon_writes(url: str) -> None:
    with writer(url, 300) as child:
        assert child.stdout is not None
        assert child.stdout.readline() == "open\n"
        seen = []
        while child.poll() is None:
            with Reader.open(url) as reader:
                seen.append(len(reader.blocks(1000)))
            child.stdout.readline()
    with Reader.open(url) as reader:
        assert len(reader.blocks(1000)) == 300
    assert seen == sorted(seen)


def test_a_write_waits_for_another_process_to_finish_its_own(
    store: Store, held: Callable[[], AbstractContextManager[None]], block: Callable[..., BlockRow]
) -> None:
    with ThreadPoolExecutor(1) as pool:
        with held():
            written = pool.submit(store.add_block, block())
            time.sleep(0.3)
            assert not written.done()
        written.result(10)
    assert len(store.blocks()) == 1


def test_a_database_that_stays_locked_is_said_to_be_unavailable(
    url: str, held: Callable[[], AbstractContextManager[None]], block: Callable[..., BlockRow]
) -> None:
    Store.open(url).close()
    with (
        Store.open(url, busy_timeout_s=0.05) as store,
        held(),
        pytest.raises(LedgerUnavailableError, match=r"cannot write the ledger .*: ") as caught,
    ):
        store.add_block(block())
    assert str(caught.value).endswith(("database is locked", "canceling statement due to statement timeout"))


def test_several_threads_may_write(store: Store, block: Callable[..., BlockRow]) -> None:
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(store.add_block, [block(number) for number in range(40)]))
    assert len(store.blocks()) == 40


def test_sites_do_not_see_each_other(
    url: str,
    block: Callable[..., BlockRow],
    decision: Callable[..., DecisionRow],
    tick: Callable[..., TickRow],
) -> None:
    with Store.open(url, site="north") as north, Store.open(url, site="south") as south:
        for site in (north, south):
            site.add_block(block())
            site.add_decisions([decision()])
            site.add_outcomes([OutcomeRow(decision().id, 1.0, "applied")])
            site.add_ticks([tick()])
        north.set_block_status(block().hash, "accepted")
        assert [row.status for row in south.blocks()] == ["found"]
        assert len(south.outcomes([decision().id])[decision().id]) == 1
    with Reader.open(url) as elsewhere:
        assert (elsewhere.blocks(), elsewhere.decisions(), elsewhere.latest_ticks()) == ([], [], {})


def test_an_outcome_of_no_decision_is_refused(store: Store) -> None:
    with pytest.raises(LedgerError, match=r"(?i)foreign key"):
        store.add_outcomes([OutcomeRow("none", 1.0, "applied")])


def test_a_tick_seen_again_is_written_once(store: Store, tick: Callable[..., TickRow]) -> None:
    store.add_ticks([tick(1), tick(2)])
    store.add_ticks([tick(2), tick(3)])
    with store._reading() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM ticks").scalar_one() == 3


def test_a_value_that_is_no_number_is_refused(store: Store, tick: Callable[..., TickRow]) -> None:
    with pytest.raises(LedgerError, match=r"ticks\.value"):
        store.add_ticks([replace(tick(), value=float("nan"))])


@pytest.mark.parametrize("file", ["missing/hashmill.db", "."])
def test_a_path_that_cannot_be_opened_is_named_with_the_reason(tmp_path: Path, file: str) -> None:
    with pytest.raises(
        LedgerError, match=rf"cannot open the ledger {tmp_path}.*: unable to open database file"
    ):
        Store.open(f"sqlite:///{tmp_path / file}")


def test_a_file_that_is_no_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "letter.txt"
    path.write_text("Dear miner, " * 100)
    with pytest.raises(LedgerError, match="file is not a database"):
        Store.open(f"sqlite:///{path}")
    assert path.read_text() == "Dear miner, " * 100


def test_a_full_disk_is_an_error_and_what_was_written_stays(
    sqlite_url: str, block: Callable[..., BlockRow]
) -> None:
    with Store.open(sqlite_url) as store:
        store.add_block(block(1))
        assert store._connection is not None
        pages = store._connection.exec_driver_sql("PRAGMA page_count").scalar_one()
        store._connection.exec_driver_sql(f"PRAGMA max_page_count={pages}")
        store._connection.rollback()
        with pytest.raises(LedgerUnavailableError, match="full"):
            store.add_block(block(2, raw=bytes(1_000_000)))
        assert [row.height for row in store.blocks()] == [1]


def test_history_is_forgotten_but_what_the_next_decision_needs_stays(
    store: Store, decision: Callable[..., DecisionRow], tick: Callable[..., TickRow]
) -> None:
    rows = [decision(1), decision(2), decision(3), decision(4, unit_id="rack")]
    store.add_decisions(rows)
    store.add_outcomes([OutcomeRow(row.id, row.at, "confirmed", "", "off") for row in rows])
    store.add_ticks([tick(1), tick(2), tick(1, series="power_usd_per_kwh")])
    store.prune_history(rows[2].at)
    assert {row.id for row in store.decisions()} == {rows[2].id, rows[3].id}
    assert set(store.outcomes([row.id for row in rows])) == {rows[2].id, rows[3].id}
    store.prune_history(float("inf"))
    assert {unit: row.id for unit, row in store.last_decisions().items()} == {
        "cpu": rows[2].id,
        "rack": rows[3].id,
    }
    assert {series: row.observed_at for series, row in store.latest_ticks().items()} == {
        "btc_usd": tick(2).observed_at,
        "power_usd_per_kwh": tick(1).observed_at,
    }
