"""Found blocks: on disk before any node hears of them, counted once for each thing that becomes of them."""

import logging
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from miner.chain.block import header_hash
from miner.keeper import BlockBooks, BlockKeeper, block_row, independent_complaint
from miner.kernel import KernelFaultError
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.node.blocks import Accepted, FoundBlock, Rejected, SubmitResult, Unknown
from miner.work.claims import BlockFind
from miner.work.job import Job, JobBook, block_bytes
from miner.work.share import Block, judge
from tests.miner.harness import ANY_HASH, NOW, PAYOUT, block_on, job, shown


@dataclass
class Courier:
    """The far side: gives one answer, and looks into the ledger at the moment it is asked."""

    store: Store
    answer: SubmitResult = field(default_factory=lambda: Accepted(active=True))
    sent: list[FoundBlock] = field(default_factory=list)
    on_disk: list[bool] = field(default_factory=list)

    async def submit(self, block: FoundBlock) -> SubmitResult:
        self.sent.append(block)
        self.on_disk.append(self.store.block(block.hash_hex) is not None)
        return self.answer


@dataclass
class Office:
    """A keeper with a real ledger."""

    store: Store
    recorder: Recorder
    metrics: Metrics
    books: BlockBooks
    courier: Courier
    keeper: BlockKeeper
    faults: list[Exception]


@pytest.fixture
def store(tmp_path: Path) -> Iterator[Store]:
    with Store.open(f"sqlite:///{tmp_path / 'hashmill.db'}") as opened:
        yield opened


@pytest.fixture
async def office(store: Store) -> AsyncIterator[Office]:
    async with Recorder(store) as recorder:
        metrics = Metrics("0", "portable")
        books = BlockBooks(recorder, metrics, {}, {})
        courier = Courier(store)
        faults: list[Exception] = []
        keeper = BlockKeeper(books, courier, faults.append)  # type: ignore[arg-type]
        yield Office(store, recorder, metrics, books, courier, keeper, faults)


def find_on(job: Job, *, stale: bool = False) -> BlockFind:
    """A block found on `job`, as the desk hands it over."""
    book = JobBook(grace_s=60.0)
    book.add(job, NOW)
    if stale:
        book.set_tip(b"\xb0" * 32, NOW)
    submission = block_on(job)
    verdict = judge(book, submission, ANY_HASH, NOW)
    assert isinstance(verdict, Block)
    assert verdict.stale is stale
    return BlockFind(verdict, submission, NOW + 0.25)


def kept() -> None:
    """Hears that a block is on the disk."""


def raw_of(find: BlockFind) -> bytes:
    return block_bytes(
        find.block.job, find.block.header, find.submission.extranonce1, find.submission.extranonce2
    )


async def test_a_block_is_on_the_disk_before_any_node_hears_of_it(office: Office) -> None:
    assert await office.keeper.keep_and_send(find_on(job()), kept)
    assert office.courier.on_disk == [True]


async def test_what_is_sent_is_the_whole_block_under_its_own_hash(office: Office) -> None:
    find = find_on(job())
    await office.keeper.keep_and_send(find, kept)
    assert office.courier.sent == [FoundBlock(find.block.hash, 300, raw_of(find))]


async def test_the_row_says_who_found_it_on_what_and_when(office: Office) -> None:
    find = find_on(job("2a"), stale=True)
    await office.keeper.keep_and_send(find, kept)
    row = office.store.block(find.block.hash[::-1].hex())
    assert row == block_row(find, raw_of(find))
    assert (row.unit_id, row.job_id, row.origin, row.found_at) == ("cpu", "2a", "solo", NOW + 0.25)
    assert (row.height, row.prev_hash, row.reward_sat) == (300, "a0" * 32, 1_250_000_000)
    assert (row.payout_script, row.raw) == (PAYOUT.script.hex(), raw_of(find))
    assert (row.stale, row.status) == (True, "found")


@pytest.mark.parametrize(
    ("answer", "stands"),
    [
        (Accepted(active=True), True),
        (Accepted(active=False), True),
        (Unknown("timeout"), False),
        (Rejected("bad-cb-amount"), False),
    ],
)
async def test_a_block_keeps_its_tip_only_while_a_node_has_it(
    office: Office,
    answer: SubmitResult,
    stands: bool,  # noqa: FBT001 - pytest gives it
) -> None:
    office.courier.answer = answer
    assert await office.keeper.keep_and_send(find_on(job()), kept) is stands


async def test_a_ledger_that_fails_does_not_hold_a_block_back_and_its_bytes_are_in_the_log(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    await office.recorder.aclose()
    find = find_on(job())
    assert await office.keeper.keep_and_send(find, kept)
    assert [block.hash for block in office.courier.sent] == [find.block.hash]
    assert office.courier.on_disk == [False]
    (record,) = (record for record in caplog.records if record.message == "block_unwritten")
    assert record.levelno == logging.CRITICAL
    assert vars(record)["raw"] == raw_of(find).hex()


async def test_a_hash_that_hashlib_disagrees_with_is_a_fault_of_this_machine_and_the_nodes_judge_the_block(
    office: Office,
) -> None:
    find = find_on(job())
    true = find.block.hash
    wrong = replace(find, block=replace(find.block, hash=bytes(32)))
    assert await office.keeper.keep_and_send(wrong, kept)
    (fault,) = office.faults
    assert isinstance(fault, KernelFaultError)
    assert true[::-1].hex() in str(fault)
    assert [block.hash for block in office.courier.sent] == [true]
    assert office.store.block(true[::-1].hex()) is not None


async def test_a_merkle_root_that_hashlib_disagrees_with_is_a_fault_and_there_is_no_block_to_send(
    office: Office,
) -> None:
    find = find_on(job())
    header = bytearray(find.block.header)
    header[40] ^= 1
    broken = replace(find, block=replace(find.block, header=bytes(header), hash=header_hash(bytes(header))))
    assert await office.keeper.keep_and_send(broken, kept) is False
    (fault,) = office.faults
    assert isinstance(fault, KernelFaultError)
    assert office.courier.sent == []


async def test_what_python_bitcoinlib_has_against_a_block_is_told_and_changes_nothing(
    office: Office, caplog: pytest.LogCaptureFixture
) -> None:
    # The last second a header can bear: a node under a clock of its own may ask for it.
    find = find_on(job(cur_time_s=2**32 - 1, min_time_s=0))
    assert await office.keeper.keep_and_send(find, kept)
    (record,) = (record for record in caplog.records if record.message == "block_check_failed")
    assert "too far in the future" in vars(record)["complaint"]
    assert office.faults == []


def test_nothing_is_to_be_said_against_a_good_block() -> None:
    assert independent_complaint(raw_of(find_on(job()))) is None


@pytest.mark.parametrize(
    ("break_it", "complaint"),
    [
        (lambda raw: raw[:36] + bytes(32) + raw[68:], "hashMerkleRoot mismatch"),
        (lambda raw: raw[:-1], ""),
        (lambda _: b"", ""),
        (lambda raw: raw[:80] + b"\x00", "vtx empty"),
    ],
)
def test_a_broken_block_is_complained_of_and_never_an_exception(break_it: Any, complaint: str) -> None:
    said = independent_complaint(break_it(raw_of(find_on(job()))))
    assert said
    assert complaint in said


async def test_each_change_of_a_block_is_counted_once(office: Office) -> None:
    find = find_on(job())
    name = find.block.hash[::-1].hex()
    await office.keeper.keep_and_send(find, kept)
    for status in ("submitted", "accepted", "accepted", "orphaned", "accepted", "mature"):
        await office.books.set_block_status(name, status)
    results = ("accepted", "orphaned", "mature", "rejected")
    assert [shown(office.metrics, f'hashmill_blocks_total{{result="{r}"}}') for r in results] == [2, 1, 1, 0]
    assert {status: n for status, n in office.books.counts.items() if n} == {"mature": 1}
    assert office.store.block_counts() == {"mature": 1}


async def test_columns_of_a_change_reach_the_ledger(office: Office) -> None:
    find = find_on(job())
    name = find.block.hash[::-1].hex()
    await office.keeper.keep_and_send(find, kept)
    await office.books.set_block_status(
        name, "accepted", detail="beside", confirmations=3, submitted_at=NOW + 1
    )
    row = office.store.block(name)
    assert row is not None
    assert (row.status, row.detail, row.confirmations, row.submitted_at) == ("accepted", "beside", 3, NOW + 1)


async def test_blocks_of_earlier_runs_are_in_the_counts_and_their_old_status_is_not_news(
    store: Store,
) -> None:
    find = find_on(job())
    row = block_row(find, raw_of(find))
    store.add_block(row)
    store.set_block_status(row.hash, "accepted")
    async with Recorder(store) as recorder:
        metrics = Metrics("0", "portable")
        books = BlockBooks(recorder, metrics, {row.hash: "accepted"}, store.block_counts())
        await books.set_block_status(row.hash, "accepted", confirmations=2)
        assert shown(metrics, 'hashmill_blocks_total{result="accepted"}') == 0
        await books.set_block_status(row.hash, "orphaned")
    assert books.counts == {"accepted": 0, "orphaned": 1}
    assert shown(metrics, 'hashmill_blocks_total{result="orphaned"}') == 1
