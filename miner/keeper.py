"""Keeps found blocks: on disk first, then to every node; and counts what becomes of them."""

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Final

from bitcoin.core import CBlock, CheckBlock

from miner.chain.block import header_hash
from miner.kernel import KernelFaultError
from miner.ledger.recorder import Recorder
from miner.ledger.rows import BlockRow, LedgerError
from miner.metrics import Metrics
from miner.node.blocks import Accepted, BlockCourier, FoundBlock
from miner.work.claims import BlockFind
from miner.work.job import block_bytes

log = logging.getLogger(__name__)

SETTLED: Final = frozenset({"accepted", "rejected", "orphaned", "mature"})


class BlockBooks:
    """The courier's ledger: passes a block's status on to the recorder, and counts each change once.

    `statuses` maps hashes (display order) of blocks still followed to what the ledger knew of them at the start,
    `counts` has the number of blocks in each status. `on_change(hash, status)` hears of each change, the finding included.
    """

    def __init__(
        self,
        recorder: Recorder,
        metrics: Metrics,
        statuses: Mapping[str, str],
        counts: Mapping[str, int],
        on_change: Callable[[str, str], None] = lambda _block_hash, _status: None,
    ) -> None:
        self._on_change = on_change
        self._recorder = recorder
        self._metrics = metrics
        self._statuses = dict(statuses)
        self.counts = Counter(counts)

    async def found(self, row: BlockRow) -> None:
        """Write a new block; it is on the disk when this returns. Raises LedgerError."""
        self._statuses[row.hash] = row.status
        self.counts[row.status] += 1
        await self._recorder.add_block(row)
        self._on_change(row.hash, row.status)

    async def set_block_status(
        self,
        block_hash: str,
        status: str,
        /,
        *,
        detail: str | None = None,
        confirmations: int | None = None,
        submitted_at: float | None = None,
    ) -> None:
        """Write what became of a block. Raises LedgerError."""
        try:
            await self._recorder.set_block_status(
                block_hash, status, detail=detail, confirmations=confirmations, submitted_at=submitted_at
            )
        finally:
            # After the ledger, so that nobody is told what cannot be read there yet; and also if the ledger fails.
            self._count(block_hash, status)

    def _count(self, block_hash: str, status: str) -> None:
        before = self._statuses.get(block_hash)
        if before == status:
            return
        self._statuses[block_hash] = status
        self.counts[status] += 1
        if before is not None:
            self.counts[before] -= 1
        if status in SETTLED:
            self._metrics.block_settled(status)
        self._on_change(block_hash, status)


class BlockKeeper:
    """Writes a found block to the ledger, has it sent to every node, and says whether one has it.

    `on_fault(error)` hears that hashlib disagrees with the C core: this machine computes wrongly and must not mine on.
    """

    def __init__(
        self, books: BlockBooks, courier: BlockCourier, on_fault: Callable[[Exception], None]
    ) -> None:
        self._books = books
        self._courier = courier
        self._on_fault = on_fault

    async def keep_and_send(self, find: BlockFind, on_kept: Callable[[], None]) -> bool:
        """True as soon as a node has the block; False once all that answer refused it, or none did in all the time it had.

        A ledger that fails does not hold the block back: losing the row is an alarm, losing the block is money. `on_kept`
        is called when the row is written, or will not be.
        """
        try:
            find, raw = self._rehashed(find)
        except ValueError as error:
            self._on_fault(KernelFaultError(f"a block cannot be assembled: {error}"))
            return False
        block = find.block
        name = block.hash[::-1].hex()
        try:
            await self._books.found(block_row(find, raw))
        except LedgerError as error:
            log.critical("block_unwritten", extra={"hash": name, "error": str(error), "raw": raw.hex()})
        on_kept()
        result = await self._courier.submit(FoundBlock(block.hash, block.job.height, raw))
        complaint = await asyncio.to_thread(independent_complaint, raw)
        if complaint is not None:
            log.error("block_check_failed", extra={"hash": name, "complaint": complaint})
        return isinstance(result, Accepted)

    def _rehashed(self, find: BlockFind) -> tuple[BlockFind, bytes]:
        """The find under the hash that hashlib gives its header, and the block; the nodes judge it in any case.

        Raises ValueError if hashlib finds another merkle root.
        """
        block, submission = find.block, find.submission
        digest = header_hash(block.header)
        if digest != block.hash:
            said, true = block.hash[::-1].hex(), digest[::-1].hex()
            self._on_fault(KernelFaultError(f"the C core hashed a header to {said}, hashlib to {true}"))
            find = replace(find, block=replace(block, hash=digest))
        return find, block_bytes(block.job, block.header, submission.extranonce1, submission.extranonce2)


def block_row(find: BlockFind, raw: bytes) -> BlockRow:
    """The ledger's row of a block just found."""
    block, submission = find.block, find.submission
    return BlockRow(
        hash=block.hash[::-1].hex(),
        height=block.job.height,
        prev_hash=block.job.prev_hash[::-1].hex(),
        found_at=find.found_at,
        unit_id=submission.unit_id,
        job_id=submission.job_id,
        origin=block.job.origin,
        reward_sat=block.job.reward_sat,
        difficulty=block.difficulty,
        payout_script=block.job.payout_script.hex(),
        raw=raw,
        stale=block.stale,
    )


def independent_complaint(raw: bytes) -> str | None:
    """What python-bitcoinlib has against a serialized block, None if nothing.

    Its check knows nothing of the chain: sizes, merkle root, coinbase, signature operations. The proof of work is
    left out, since the library knows one network at a time.
    """
    try:
        CheckBlock(CBlock.deserialize(raw), fCheckPoW=False)
    except Exception as error:  # noqa: BLE001 - a second opinion: whatever it stumbles over must not end the miner
        return str(error) or repr(error)
    return None
