"""The private signet up to just before its first retarget, kept as facts: of each block its time and nonce.

The chain starts in 2020 and its blocks come twice as fast as they should, so that the target halves at height 2016,
under a node whose clock is set to that time (`-mocktime`). The last blocks are left to be mined live. Every coinbase
pays to a witness script of OP_TRUE: anybody can spend it, so a test has coins on this chain without having mined.

`python -m regtest.retarget --out FILE` mines the facts anew, with the C core and every core of the machine.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import os
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Final

# An independent library builds these blocks: a change to how the daemon builds its own must not unmake mined facts.
from bitcoin.core import (
    CBlockHeader,
    CMutableTransaction,
    CMutableTxIn,
    CMutableTxOut,
    COutPoint,
    CTxInWitness,
    CTxWitness,
)
from bitcoin.core.script import OP_0, OP_RETURN, OP_TRUE, CScript, CScriptWitness

from regtest.jsonrpc import RpcFailure

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from regtest.bitcoind import Bitcoind

FACTS_FILE: Final = Path(__file__).parent / "data" / "signet_retarget.json"
GENESIS_HASH: Final = bytes.fromhex("00000008819873e925422c1ff0f99f7cc9bbb232af63a077a480a3633bee1ef6")[::-1]
GENESIS_TIME_S: Final = 1_598_918_400
START_BITS: Final = 0x1E0377AE
START_TARGET: Final = 0x0377AE << 8 * (0x1E - 3)
BLOCK_VERSION: Final = 0x2000_0000
RETARGET_HEIGHT: Final = 2016
STORED_BLOCKS: Final = (
    2012  # heights 2013 to 2015 are left at the old target, 2016 is the first at the new one
)
INTERVAL_S: Final = 300
SUBSIDY_SAT: Final = 5_000_000_000
COINBASE_TAG: Final = b"/hashmill facts/"
WITNESS_RESERVED: Final = bytes(32)
OPEN_WITNESS_SCRIPT: Final = CScript([OP_TRUE])
OPEN_SCRIPT: Final = CScript([OP_0, hashlib.sha256(OPEN_WITNESS_SCRIPT).digest()])
NONCES_PER_LINE: Final = 12
SUBMIT_BATCH: Final = 200
SCAN_CHUNK: Final = 1 << 18


@dataclass(frozen=True, slots=True)
class Facts:
    """Times (unix seconds) and nonces of the blocks from height 1 on."""

    times_s: tuple[int, ...]
    nonces: tuple[int, ...]

    @property
    def mocktime_s(self) -> int:
        """Clock for the node: the next block's time, so that live blocks keep the interval; unix seconds."""
        return self.times_s[-1] + INTERVAL_S


NO_FACTS: Final = Facts((), ())


def load_facts(path: Path = FACTS_FILE) -> Facts:
    """The stored facts. Raises ValueError if the file is not of this form."""
    stored = json.loads(path.read_text())
    nonces = tuple(int(word, 16) for line in stored["nonces"] for word in line.split())
    times_s = tuple(GENESIS_TIME_S + stored["interval_s"] * height for height in range(1, len(nonces) + 1))
    if len(nonces) != stored["blocks"]:
        raise ValueError(f"{path}: {len(nonces)} nonces for {stored['blocks']} blocks")
    return Facts(times_s, nonces)


def save_facts(path: Path, facts: Facts) -> None:
    """Write facts mined at the fixed interval; nonces are hex words, the first of them for height 1."""
    words = [f"{nonce:08x}" for nonce in facts.nonces]
    lines = [" ".join(words[i : i + NONCES_PER_LINE]) for i in range(0, len(words), NONCES_PER_LINE)]
    stored = {
        "what": "private signet (challenge 51): block at height h has time genesis_time_s + h * interval_s",
        "made_by": "python -m regtest.retarget",
        "genesis_time_s": GENESIS_TIME_S,
        "interval_s": INTERVAL_S,
        "bits": f"{START_BITS:08x}",
        "payout_script": OPEN_SCRIPT.hex(),
        "blocks": len(words),
        "nonces": lines,
    }
    path.write_text(json.dumps(stored, indent=1) + "\n")


def coinbase(height: int) -> CMutableTransaction:
    """The coinbase of the fact at `height`, without its witness."""
    commitment = _sha256d(bytes(32) + WITNESS_RESERVED)  # of an otherwise empty block
    return CMutableTransaction(
        [CMutableTxIn(COutPoint(), CScript([height]) + COINBASE_TAG)],
        [
            CMutableTxOut(SUBSIDY_SAT, OPEN_SCRIPT),
            CMutableTxOut(0, CScript([OP_RETURN, b"\xaa\x21\xa9\xed" + commitment])),
        ],
    )


def header(height: int, prev_hash: bytes, time_s: int, nonce: int) -> bytes:
    """The 80 bytes of the header at `height`; `prev_hash` in internal byte order."""
    block = CBlockHeader(BLOCK_VERSION, prev_hash, coinbase(height).GetTxid(), time_s, START_BITS, nonce)
    packed: bytes = block.serialize()
    return packed


def rebuild(facts: Facts) -> Iterator[bytes]:
    """The full blocks, serialized with witness, from height 1 on."""
    witness = CTxWitness((CTxInWitness(CScriptWitness([WITNESS_RESERVED])),))
    for height, packed in enumerate(_headers(facts), start=1):
        transaction = coinbase(height)
        transaction.wit = witness
        yield packed + b"\x01" + transaction.serialize()


def _headers(facts: Facts) -> Iterator[bytes]:
    prev_hash = GENESIS_HASH
    for height, (time_s, nonce) in enumerate(zip(facts.times_s, facts.nonces, strict=True), start=1):
        packed = header(height, prev_hash, time_s, nonce)
        yield packed
        prev_hash = _sha256d(packed)


def _tip_hash(facts: Facts) -> bytes:
    """Hash of the last block, internal byte order."""
    tip_hash = GENESIS_HASH
    for packed in _headers(facts):
        tip_hash = _sha256d(packed)
    return tip_hash


def submit(node: Bitcoind, facts: Facts) -> None:
    """Give the whole stored chain to a fresh signet node started with `mocktime_s=facts.mocktime_s`, or no mocktime.

    Raises RpcFailure at the first block the node does not take.
    """
    blocks = [block.hex() for block in rebuild(facts)]
    for start in range(0, len(blocks), SUBMIT_BATCH):
        part = blocks[start : start + SUBMIT_BATCH]
        for offset, refusal in enumerate(node.rpc_batch([("submitblock", [block]) for block in part])):
            if refusal is not None:
                raise RpcFailure(0, f"block {start + offset + 1} of the facts: {refusal}")


def spend_open_coin(node: Bitcoind, height: int, fee_sat: int, script: bytes = OPEN_SCRIPT) -> str:
    """Send the coinbase of the fact at `height`, less `fee_sat`, to `script`; its transaction id as the node has it.

    Raises regtest.jsonrpc.RpcFailure when the node refuses it, e.g. within 100 blocks of the tip.
    """
    transaction = CMutableTransaction(
        [CMutableTxIn(COutPoint(coinbase(height).GetTxid(), 0))],
        [CMutableTxOut(SUBSIDY_SAT - fee_sat, CScript(script))],
        nVersion=2,
    )
    transaction.wit = CTxWitness((CTxInWitness(CScriptWitness([bytes(OPEN_WITNESS_SCRIPT)])),))
    txid: str = node.rpc("sendrawtransaction", transaction.serialize().hex(), 0)
    return txid


def mine_facts(facts: Facts, blocks: int) -> Iterator[Facts]:
    """`facts` grown by one block after another, each with its smallest nonce: 4.9 million hashes a block, on every core.

    Raises ValueError at the height where the target changes: these blocks have the starting one.
    """
    # Imported here: rebuilding the facts needs no compiled code.
    from miner import kernel  # noqa: PLC0415

    stop = kernel.StopWord()
    prev_hash = _tip_hash(facts)
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for height in range(len(facts.nonces) + 1, len(facts.nonces) + blocks + 1):
            if height >= RETARGET_HEIGHT:
                raise ValueError(f"the facts end before the retarget at height {RETARGET_HEIGHT}")
            time_s = GENESIS_TIME_S + INTERVAL_S * height
            job = kernel.ScanJob(header(height, prev_hash, time_s, 0), [BLOCK_VERSION], START_TARGET)

            def scan(first: int, job: kernel.ScanJob = job) -> list[int]:
                return [hit.nonce for hit in kernel.scan(job, first, SCAN_CHUNK, stop).hits]

            nonce = _smallest_nonce(pool, scan)
            facts = Facts((*facts.times_s, time_s), (*facts.nonces, nonce))
            prev_hash = _sha256d(header(height, prev_hash, time_s, nonce))
            yield facts


def _smallest_nonce(pool: ThreadPoolExecutor, scan: Callable[[int], list[int]]) -> int:
    """The smallest nonce `scan` finds: chunk by chunk, some at once, so that every machine mines the same facts."""
    step = SCAN_CHUNK * (os.cpu_count() or 1)
    for first in range(0, 1 << 32, step):
        found = [nonce for hits in pool.map(scan, range(first, first + step, SCAN_CHUNK)) for nonce in hits]
        if found:
            return min(found)
    raise ValueError("no nonce of 2**32 meets the target")


def _sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def main(arguments: Sequence[str] | None = None) -> int:
    """Mine the facts and write them. Returns the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m regtest.retarget", description="mine the retarget facts anew"
    )
    parser.add_argument(
        "--out", type=Path, default=FACTS_FILE, help="file to write (default: the stored facts)"
    )
    parser.add_argument(
        "--blocks", type=int, default=STORED_BLOCKS, help="blocks to mine (default: %(default)s)"
    )
    options = parser.parse_args(arguments)
    started_s = time.monotonic()
    facts = NO_FACTS
    for facts in mine_facts(NO_FACTS, options.blocks):
        sys.stderr.write(
            f"\r{len(facts.nonces)} of {options.blocks} blocks, {time.monotonic() - started_s:.0f} s"
        )
        sys.stderr.flush()
    sys.stderr.write("\n")
    save_facts(options.out, facts)
    return 0


if __name__ == "__main__":
    sys.exit(main())
