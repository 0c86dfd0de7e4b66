"""From submissions to blocks on a real bitcoind's chain, and the end of it in order."""

import asyncio
import logging
import math
import os
import signal
import sqlite3
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import pytest

from miner import delivery as delivery_module
from miner.chain.difficulty import HASHES_PER_DIFFICULTY
from miner.delivery import courier_block
from miner.desk import REASONS
from miner.hashing.station import CpuStation
from miner.ledger.rows import BlockRow, DecisionRow, LedgerError
from miner.node.blocks import FoundBlock
from miner.work.share import Block, Reason
from regtest import chain
from regtest.bitcoind import Bitcoind
from tests.miner.harness import (
    ANY_HASH,
    NOW,
    Rig,
    become,
    block_on,
    has_work,
    nobody,
    node_of,
    rig_of,
    running,
    share_on,
    shown,
    template,
)
from tests.miner.node.harness import Proxy, until

MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

OTHER_TIP = b"\xb0" * 32


def statuses(rig: Rig, block_hash: str) -> list[str]:
    """What the ledger was told of a block, repetitions once."""
    told = [status for name, status, _ in rig.books.told if name == block_hash]
    return [status for number, status in enumerate(told) if told[number - 1 : number] != [status]]


@contextmanager
def locked(ledger: Path) -> Iterator[None]:
    """While this lasts another process holds the ledger."""
    other = sqlite3.connect(ledger, isolation_level=None)
    other.execute("BEGIN IMMEDIATE")
    try:
        yield
    finally:
        other.close()


@pytest.mark.bitcoind
class TestBlocks:
    async def test_a_block_goes_to_the_node_and_the_next_job_builds_on_it(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig, running(rig):
            await has_work(rig)
            ours = rig.take_block(rig.current)
            await become(rig, ours, "accepted")
            await until(lambda: rig.mining.book.tip == bytes.fromhex(ours)[::-1])
            await has_work(rig)
            assert node.rpc("getbestblockhash") == ours
            assert rig.current.height == 5

    async def test_a_block_on_a_tip_that_somebody_else_was_quicker_to_replace_still_goes_out(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig, running(rig):
            await has_work(rig)
            lost = rig.current
            (theirs,) = await asyncio.to_thread(chain.mine, node, 1)
            await until(lambda: rig.mining.book.tip == bytes.fromhex(theirs)[::-1])
            verdict = rig.delivery.desk.take(block_on(lost), ANY_HASH)
            assert isinstance(verdict, Block)
            assert verdict.stale
            ours = verdict.hash[::-1].hex()
            await become(rig, ours, "orphaned")

        assert rig.books.told[0][:2] == (ours, "submitted")
        assert rig.books.told[1] == (ours, "accepted", "accepted beside the best chain")
        row = rig.row(ours)
        assert row is not None
        assert row.stale
        tips = {tip["hash"]: tip["status"] for tip in node.rpc("getchaintips")}
        assert tips[theirs] == "active"
        assert tips[ours] in {"valid-headers", "valid-fork"}
        assert node.rpc("getblockheader", ours)["confirmations"] == -1
        assert node.rpc("getblock", ours, 0) == row.raw.hex()
        assert rig.tally("cpu").rejected(REASONS.index(Reason.STALE)) == 1
        assert shown(rig.metrics, 'hashmill_blocks_total{result="accepted"}') == 1

    async def test_a_competitor_that_wins_after_all_is_accepted_and_built_upon(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig, running(rig):
            await has_work(rig)
            lost = rig.current
            (theirs,) = await asyncio.to_thread(chain.mine, node, 1)
            await until(lambda: rig.mining.book.tip == bytes.fromhex(theirs)[::-1])
            ours = rig.take_block(lost)
            await become(rig, ours, "orphaned")
            await asyncio.to_thread(node.rpc, "invalidateblock", theirs)
            await become(rig, ours, "accepted")
            await until(lambda: rig.mining.book.tip == bytes.fromhex(ours)[::-1])
            assert statuses(rig, ours) == ["submitted", "accepted", "orphaned", "accepted"]

    async def test_a_ledger_that_another_process_holds_does_not_hold_a_block_back(
        self, node: Bitcoind, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with rig_of([node_of(node)], ledger, block_wait_s=0.2) as rig, running(rig):
            await has_work(rig)
            with locked(ledger):
                ours = rig.take_block(rig.current)
                await until(lambda: node.rpc("getbestblockhash") == ours, 5.0)
                assert rig.row(ours) is None
            assert "block_unwritten" in caplog.messages
            await become(rig, ours, "accepted")  # the row was kept, and is written when it can be

    async def test_when_every_node_refuses_a_block_its_reserve_is_sent(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig, running(rig):
            await has_work(rig)
            good, known = rig.current, rig.mining._templates.current
            assert known is not None
            rig.mining.solo.take_template(replace(known, reward_sat=known.reward_sat + 1))
            refused = rig.take_block(rig.current)
            reserve = rig.take_block(good)
            await become(rig, reserve, "accepted")
        row = rig.row(refused)
        assert row is not None
        assert (row.status, row.detail) == ("rejected", "bad-cb-amount")
        assert node.rpc("getbestblockhash") == reserve
        counts = [
            shown(rig.metrics, f'hashmill_blocks_total{{result="{r}"}}')
            for r in ("found", "rejected", "accepted")
        ]
        assert counts == [2, 1, 1]

    async def test_when_every_node_refuses_a_block_its_tip_is_hashed_on(
        self, node: Bitcoind, ledger: Path, station: CpuStation
    ) -> None:
        station.start("full")
        async with rig_of([node_of(node)], ledger, station=station) as rig, running(rig):
            await until(lambda: station.read().working)
            known = rig.mining._templates.current
            assert known is not None
            rig.mining.solo.take_template(replace(known, reward_sat=known.reward_sat + 1))
            refused = rig.take_block(rig.current)
            assert not station.read().working
            await become(rig, refused, "rejected")
            await until(lambda: station.read().working)

    async def test_a_tip_that_comes_back_without_our_block_is_hashed_on(
        self, node: Bitcoind, ledger: Path, station: CpuStation
    ) -> None:
        station.start("full")
        async with rig_of([node_of(node)], ledger, station=station) as rig, running(rig):
            await has_work(rig)
            before = rig.current
            ours = rig.take_block(before)
            await until(lambda: rig.mining.book.tip == bytes.fromhex(ours)[::-1])
            await asyncio.to_thread(node.rpc, "invalidateblock", ours)
            await until(lambda: rig.mining.book.tip == before.prev_hash and station.read().working)
            await become(rig, ours, "orphaned")


@pytest.mark.bitcoind
class TestEnding:
    async def test_a_block_under_way_is_brought_home_before_the_end(
        self, node: Bitcoind, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig:
            async with running(rig):
                await has_work(rig)
                os.kill(node.pid, signal.SIGSTOP)
                try:
                    ours = rig.take_block(rig.current)
                    rig.closing.set()
                    await asyncio.sleep(0.3)
                    assert rig.status(ours) == "submitted"
                finally:
                    os.kill(node.pid, signal.SIGCONT)
            assert statuses(rig, ours) == ["submitted", "accepted"]
            await become(rig, ours, "accepted")  # the recorder has it, and its disk soon
        assert "blocks_left_for_next_start" not in caplog.messages

    async def test_a_block_that_no_node_can_be_told_of_is_left_for_the_next_start(
        self,
        node: Bitcoind,
        ledger: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(delivery_module, "DRAIN_S", 0.3)
        async with rig_of([node_of(node)], ledger) as rig:
            async with running(rig):
                await has_work(rig)
                node.kill()
                ours = rig.take_block(rig.current)
                await become(rig, ours, "submitted")
            assert "blocks_left_for_next_start" in caplog.messages
        node.start()
        assert node.rpc("getblockcount") == 3
        async with rig_of([node_of(node)], ledger) as rig, running(rig):
            await become(rig, ours, "accepted")
        assert node.rpc("getbestblockhash") == ours

    async def test_a_ledger_that_cannot_be_read_when_a_node_comes_does_not_end_the_mining(
        self,
        node: Bitcoind,
        ledger: Path,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        async def unreadable() -> list[BlockRow]:
            raise LedgerError("database is locked")

        async with rig_of([node_of(node)], ledger) as rig:
            monkeypatch.setattr(rig.recorder, "unsettled_blocks", unreadable)
            async with running(rig):
                await until(lambda: "blocks_not_resumed" in caplog.messages)
                await has_work(rig)
                await become(rig, rig.take_block(rig.current), "accepted")


class TestWithoutANode:
    """What needs none."""

    async def test_the_hashrate_of_the_station_is_made_of_its_own_shares(
        self, ledger: Path, station: CpuStation
    ) -> None:
        async with rig_of([nobody()], ledger, station=station) as rig:
            station.set_mode("full")
            rig.mining.solo.take_template(template())
            rig.roster.login("asic", NOW)
            rig.delivery.desk.take(share_on(rig.current, 1, unit="asic"), ANY_HASH)
            assert station.read().hashrate_th_s == 0.0
            rig.delivery.desk.take(share_on(rig.current, 2, unit="cpu"), ANY_HASH)
            credited = rig.tally("cpu").work * HASHES_PER_DIFFICULTY
            assert 0 < station.read().hashrate_th_s * 1e12 <= credited < HASHES_PER_DIFFICULTY

    async def test_the_bytes_of_lost_blocks_are_forgotten_when_no_reorganisation_can_bring_them_back(
        self, ledger: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(delivery_module, "HOUSEKEEPING_S", 0.01)
        async with rig_of([nobody()], ledger) as rig:
            for height in (199, 200):
                row = BlockRow(
                    f"{height:064x}", height, "00" * 32, NOW, "cpu", "1", "solo", 50, 1.0, "51", b"raw"
                )
                rig.store.add_block(row)
                rig.store.set_block_status(row.hash, "rejected")
            rig.mining.solo.take_template(template(height=300))
            async with asyncio.TaskGroup() as group:
                housekeeping = group.create_task(rig.delivery._housekeep())
                await until(lambda: rig.row(f"{199:064x}").raw == b"")  # type: ignore[union-attr]
                housekeeping.cancel()
            assert rig.row(f"{200:064x}").raw == b"raw"  # type: ignore[union-attr]

    @pytest.mark.parametrize(
        ("keep_s", "keep_holds_s", "stay"),
        [(0.0, 0.0, 4), (0.0, 100.0, 3), (1000.0, 100.0, 2), (1000.0, 0.0, 3)],
    )
    async def test_decisions_that_only_held_are_forgotten_before_the_others(
        self,
        ledger: Path,
        monkeypatch: pytest.MonkeyPatch,
        keep_s: float,
        keep_holds_s: float,
        stay: int,
    ) -> None:
        monkeypatch.setattr(delivery_module, "HOUSEKEEPING_S", 0.01)
        async with rig_of([nobody()], ledger) as rig:
            made = [
                ("start", 5000.0),
                ("hold_profitable", 900.0),
                ("pause", 800.0),
                ("hold_unprofitable", 1.0),
            ]
            rig.store.add_decisions(
                [
                    DecisionRow(f"{number}", NOW - age, "a", None, "off", reason, {}, "", dry_run=False)
                    for number, (reason, age) in enumerate(made)
                ]
            )
            rig.delivery._clock = lambda: NOW
            rig.delivery._keep_s, rig.delivery._keep_holds_s = keep_s or math.inf, keep_holds_s or math.inf
            async with asyncio.TaskGroup() as group:
                housekeeping = group.create_task(rig.delivery._housekeep())
                await asyncio.sleep(0.2)
                housekeeping.cancel()
            assert len(rig.store.decisions()) == stay

    async def test_housekeeping_outlives_a_ledger_that_fails(
        self, ledger: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        monkeypatch.setattr(delivery_module, "HOUSEKEEPING_S", 0.01)
        async with rig_of([nobody()], ledger) as rig:
            rig.mining.solo.take_template(template())
            await rig.recorder.aclose()
            with caplog.at_level(logging.WARNING), suppress(TimeoutError):
                async with asyncio.timeout(0.2):
                    await rig.delivery._housekeep()
            assert caplog.messages.count("ledger_not_pruned") > 1


def test_a_row_of_the_ledger_is_the_block_the_courier_knows() -> None:
    row = BlockRow(
        "0a" + "00" * 31, 7, "", NOW, "cpu", "1", "solo", 50, 1.0, "51", b"raw", status="submitted"
    )
    assert courier_block(row) == FoundBlock(bytes(31) + b"\x0a", 7, b"raw", "submitted")
