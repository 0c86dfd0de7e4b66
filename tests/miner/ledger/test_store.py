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

from miner.ledger import shares as shares_module
from miner.ledger import store as store_module
from miner.ledger import writes
from miner.ledger.reader import Reader
from miner.ledger.rollup import RECORD
from miner.ledger.rows import (
    BlockRow,
    DecisionRow,
    LedgerError,
    LedgerUnavailableError,
    OutcomeRow,
    ShareMinuteRow,
    TickRow,
    TransitionError,
    UnknownBlockError,
)
from miner.ledger.store import Store
from regtest.postgres import Postgres

#: Blocks with the hashes 0, 1, 2 ..., each told on stdout once it was written; `write` is what a test puts there.
WRITER = """
import os, signal, sys
from miner.ledger.rows import BlockRow
from miner.ledger.store import Store
from regtest.postgres import Postgres

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


NOON = 1_700_049_600.0


def test_a_batch_written_again_since_its_answer_was_lost_is_there_once(
    store: Store, shares: Callable[..., bytes]
) -> None:
    write = store.share_batch(shares(NOON, NOON + 1))
    store.commit([write])
    store.commit([write])
    assert len(store.shares()) == 2


def test_two_processes_that_write_shares_of_one_site_are_not_taken_for_one(
    url: str, shares: Callable[..., bytes]
) -> None:
    with Store.open(url) as ours, Store.open(url) as theirs:
        ours.add_shares(shares(NOON))
        with pytest.raises(LedgerError, match="two write site 'default' at once"):
            theirs.add_shares(shares(NOON))
        assert len(ours.shares()) == 1


def test_ids_go_on_after_a_restart_even_if_every_share_was_forgotten(
    url: str, shares: Callable[..., bytes]
) -> None:
    with Store.open(url) as store:
        for number in range(3):
            store.add_shares(shares(NOON + number))
        store.roll_up()
        store.prune_shares(NOON + 100)
    with Store.open(url) as store:
        store.add_shares(shares(NOON + 60))
        assert store.roll_up() == 1
        assert sum(row.accepted for row in store.share_minutes()) == 4


def test_shares_that_no_sum_holds_are_counted_once_after_a_crash(
    url: str, shares: Callable[..., bytes]
) -> None:
    with Store.open(url) as store:
        store.add_shares(shares(NOON, NOON + 1))
        store.add_share_minutes([ShareMinuteRow(1, int(NOON), 2, 4.0, 8.0, 1.0, {"stale": 3})])
        store.add_shares(shares(NOON + 2, NOON + 61))
    for counted in (2, 0):
        with Store.open(url) as store:
            assert store.roll_up() == counted
            first, second = store.share_minutes()
            assert (first.accepted, first.work, first.work_squared) == (3, 6.0, 12.0)
            assert first.rejected == {"stale": 3}
            assert (second.minute_at, second.accepted) == (int(NOON) + 60, 1)


def test_sums_written_twice_since_their_answer_was_lost_count_once(store: Store) -> None:
    write = store.minute_sums([ShareMinuteRow(1, int(NOON), 2, 4.0, 8.0, 1.0, {"stale": 3})])
    store.commit([write])
    store.commit([write])
    assert store.share_minutes() == [ShareMinuteRow(1, int(NOON), 2, 4.0, 8.0, 1.0, {"stale": 3})]


def test_what_comes_later_in_a_minute_is_added_to_it(store: Store) -> None:
    row = ShareMinuteRow(1, int(NOON), 2, 4.0, 8.0, 1.0, {"stale": 3})
    store.add_share_minutes([row, row])
    store.add_share_minutes([ShareMinuteRow(1, int(NOON), 1, 2.0, 4.0, 9.0, {"duplicate": 1})])
    (whole,) = store.share_minutes()
    assert (whole.accepted, whole.work, whole.work_squared, whole.best_difficulty) == (5, 10.0, 20.0, 9.0)
    assert whole.rejected == {"stale": 6, "duplicate": 1}


def test_a_whole_farm_s_minute_is_written_at_once(store: Store) -> None:
    rows = [ShareMinuteRow(unit, int(NOON), 1, 1.0, 1.0, 1.0) for unit in range(1700)]
    store.add_share_minutes(rows)
    store.add_share_minutes(rows)
    assert [row.accepted for row in store.share_minutes()] == [2] * 1700


@pytest.mark.parametrize("many", [1_000_000, 5])
def test_a_long_time_without_sums_is_made_up_for_in_steps(
    store: Store, shares: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch, many: int
) -> None:
    monkeypatch.setattr(store_module, "ROLL_UP_SHARES", many)
    monkeypatch.setattr(shares_module, "PIECE_RECORDS", 4)
    for number in range(20):
        store.add_shares(shares(NOON + 30 * number, NOON + 30 * number + 1))
    assert store.roll_up() == 40
    assert store.roll_up() == 0
    assert [row.accepted for row in store.share_minutes()] == [4] * 10


def test_old_shares_are_forgotten_in_pieces_and_the_sums_stay(
    store: Store, shares: Callable[..., bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(writes, "PRUNE_BATCHES", 3)
    for number in range(10):
        store.add_shares(shares(NOON + number, NOON + number + 0.5))
    store.roll_up()
    commits = []
    commit = store.commit
    monkeypatch.setattr(store, "commit", lambda group: (commits.append(len(group)), commit(group)))
    store.prune_shares(NOON + 7.25)
    assert len(commits) == 3
    assert sorted({int(row.at - NOON) for row in store.shares()}) == [7, 8, 9]
    assert sum(row.accepted for row in store.share_minutes()) == 20


def test_old_sums_are_forgotten_in_pieces(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(writes, "PRUNE_MINUTES", 4)
    rows = [ShareMinuteRow(unit, int(NOON) + 60 * minute, 1) for minute in range(5) for unit in range(3)]
    store.add_share_minutes(rows)
    store.prune_share_minutes(NOON + 180)
    assert store.share_minutes() == rows[9:]


def test_room_of_forgotten_shares_is_used_again(sqlite_url: str, shares: Callable[..., bytes]) -> None:
    file = Path(sqlite_url.removeprefix("sqlite:///"))
    sizes = []
    with Store.open(sqlite_url) as store:
        for day in range(6):
            for number in range(20):
                store.add_shares(shares(*(NOON + 1000 * day + number for _ in range(500))))
            store.prune_shares(NOON + 1000 * day - 1)
            with store._reading() as connection:
                sizes.append(connection.exec_driver_sql("PRAGMA page_count").scalar_one())
    assert sizes[2] == sizes[-1]
    assert file.stat().st_size < 3 * 20 * 500 * RECORD.size


@pytest.mark.usefixtures("postgres")  # skips it where there is none
def test_a_server_restarted_between_two_writes_is_not_noticed(block: Callable[..., BlockRow]) -> None:
    with Postgres() as server, Store.open(server.new_database()) as store:
        store.add_block(block(1))
        assert len(store.blocks()) == 1
        server.kill()
        with pytest.raises(LedgerUnavailableError):
            store.add_block(block(2))
        server.start()
        store.add_block(block(3))
        server.kill()
        server.start()
        store.add_block(block(4))
        assert [row.height for row in store.blocks()] == [4, 3, 1]


@pytest.mark.parametrize("given_by", ["url", "server"])
def test_postgresql_commits_are_durable_whatever_the_server_s_default(
    postgres: Postgres, postgres_url: str, given_by: str
) -> None:
    name = postgres_url.rpartition("/")[2]
    with postgres.connect() as connection:
        connection.execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    url = postgres_url + ("?application_name=mine" if given_by == "url" else "")
    with Store.open(url) as store, store._reading() as connection:
        shown = [
            connection.exec_driver_sql(f"SHOW {setting}").scalar_one()
            for setting in ("synchronous_commit", "statement_timeout", "application_name")
        ]
    assert shown == ["on", "30s", "mine" if given_by == "url" else "hashmill"]
