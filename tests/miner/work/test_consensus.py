"""Our blocks before Bitcoin's own consensus code (py-bitcoinkernel, regtest): what it takes, what it refuses.

The oracle says yes by moving its tip; `process_block` alone may say yes without it.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from itertools import count

import pbk
import pytest
from bitcoin.core import COutPoint, CTransaction, CTxIn, CTxInWitness, CTxOut, CTxWitness
from bitcoin.core.script import OP_TRUE, CScript, CScriptWitness

from miner.chain.block import Header, assemble_block, header_hash
from miner.chain.coinbase import HALVING_INTERVAL, subsidy_sat, with_witness
from miner.chain.difficulty import hash_to_int
from miner.chain.merkle import sha256d, witness_commitment
from miner.work.job import Job, block_bytes
from miner.work.solo_job import solo_job
from miner.work.template import Template, TemplateTx

GENESIS_HASH = bytes.fromhex("0f9188f13cb7b2c71f2a335e3a4fc328bf5beb436012afca590b1a11466e2206")[::-1]
GENESIS_TIME_S = 1296688602
BITS = 0x207FFFFF
E1, E2 = b"\x00\x00\x00\x01", b"\x00\x00\x00\x00\x00\x00\x00\x02"
WITNESS_SCRIPT = bytes(CScript([OP_TRUE]))
P2WSH = b"\x00\x20" + sha256(WITNESS_SCRIPT).digest()
BARE = bytes(CScript([OP_TRUE]))
FEE_SAT = 12_345


def regtest_subsidy(height: int) -> int:
    return subsidy_sat(height, HALVING_INTERVAL["regtest"])


def template_tx(tx: CTransaction, fee_sat: int) -> TemplateTx:
    return TemplateTx(tx.GetTxid(), tx.GetHash(), tx.serialize(), fee_sat)


def spend(coinbase: CTransaction, fee_sat: int) -> CTransaction:
    """Spends the payout of one of our coinbases, which anyone may, and leaves a fee."""
    out = CTxOut(coinbase.vout[0].nValue - fee_sat, CScript(P2WSH))
    inputs = [CTxIn(COutPoint(coinbase.GetTxid(), 0))]
    if coinbase.vout[0].scriptPubKey == BARE:
        return CTransaction(inputs, [out])
    witness = CTxWitness([CTxInWitness(CScriptWitness([WITNESS_SCRIPT]))])
    return CTransaction(inputs, [out], witness=witness)


def solved(job: Job) -> bytes:
    """Header of the first nonce that makes the job a block, by the regtest rule: every second one."""
    for nonce in count():
        header, digest = job.header(E1, E2, ntime_s=job.ntime_s, nonce=nonce, version=job.version)
        if hash_to_int(digest) <= job.network_target:
            return header
    raise AssertionError


def resolved(header: bytes) -> bytes:
    """The same header with a nonce that makes it a block again, after a test changed something in it."""
    for nonce in count():
        tried = replace(Header.unpack(header), nonce=nonce).pack()
        if hash_to_int(header_hash(tried)) <= 0x7FFFFF << 232:
            return tried
    raise AssertionError


@dataclass
class Oracle:
    """A chain of our blocks in the consensus code, and the coinbases on it by height."""

    manager: pbk.ChainstateManager
    coinbases: dict[int, CTransaction]

    @property
    def height(self) -> int:
        return int(self.manager.get_active_chain().height)

    @property
    def tip(self) -> bytes:
        return bytes(self.manager.get_active_chain().block_tree_entries[self.height].block_hash)

    def template(self, txs: Sequence[TemplateTx] = ()) -> Template:
        """What a node would answer now, had it these transactions."""
        height = self.height + 1
        ntime_s = GENESIS_TIME_S + 600 * height
        return Template(
            height=height,
            version=0x20000000,
            prev_hash=self.tip,
            bits=BITS,
            min_time_s=ntime_s - 599,
            cur_time_s=ntime_s,
            reward_sat=regtest_subsidy(height) + sum(tx.fee_sat for tx in txs),
            txs=tuple(txs),
            witness_commitment=witness_commitment([tx.wtxid for tx in txs]),
            longpoll_id="",
        )

    def takes(self, block: bytes) -> bool:
        """Whether the block becomes the tip."""
        before = self.tip
        try:
            self.manager.process_block(pbk.Block(block))
        except pbk.ProcessBlockException:
            assert self.tip == before
            return False
        assert self.tip in {before, header_hash(block[:80])}
        return self.tip != before

    def mine(self, template: Template, payout_script: bytes = P2WSH) -> bool:
        """Build the block of the template with our own code, solve it and present it."""
        job = job_of(template, payout_script)
        taken = self.takes(block_bytes(job, solved(job), E1, E2))
        if taken:
            raw = job.coinbase1 + E1 + E2 + job.coinbase2
            self.coinbases[template.height] = CTransaction.deserialize(raw)
        return taken


def job_of(template: Template, payout_script: bytes = P2WSH) -> Job:
    return solo_job(template, "1", payout_script, b"/hashmill/", len(E1), len(E2), clean=True, now=0.0)


@pytest.fixture(scope="module")
def oracle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Oracle]:
    """A regtest of 160 blocks of ours, past its first halving: coinbases of odd heights bare, of even ones P2WSH."""
    folder = tmp_path_factory.mktemp("consensus")
    oracle = Oracle(pbk.load_chainman(folder, pbk.ChainType.REGTEST), {})
    assert oracle.tip == GENESIS_HASH
    for height in range(1, 161):
        assert oracle.mine(oracle.template(), BARE if height % 2 else P2WSH), f"refused at height {height}"
    return oracle


@pytest.fixture
def spends(oracle: Oracle) -> list[TemplateTx]:
    """Two transactions with fees on coinbases that are mature and unspent: one without, one with witness."""
    heights = [min(h for h in oracle.coinbases if h % 2 == parity) for parity in (1, 0)]
    txs = [template_tx(spend(oracle.coinbases[height], FEE_SAT), FEE_SAT) for height in heights]
    assert [tx.txid == tx.wtxid for tx in txs] == [True, False]
    return txs


def mined(oracle: Oracle, spends: Sequence[TemplateTx]) -> bool:
    """Mine transactions of `spends` and, if that went well, take their coinbases from the unspent ones."""
    taken = oracle.mine(oracle.template(spends))
    if taken:
        spent = {CTransaction.deserialize(tx.raw).vin[0].prevout.hash for tx in spends}
        for height in [h for h, coinbase in oracle.coinbases.items() if coinbase.GetTxid() in spent]:
            del oracle.coinbases[height]
    return taken


def test_our_blocks_are_taken_at_every_height_past_the_first_halving(
    oracle: Oracle,
) -> None:
    assert oracle.height >= 160


def test_a_block_with_fees_pays_them_to_us(oracle: Oracle, spends: list[TemplateTx]) -> None:
    assert mined(oracle, spends)
    payout = oracle.coinbases[oracle.height].vout[0]
    assert payout.nValue == regtest_subsidy(oracle.height) + 2 * FEE_SAT


def test_transactions_with_and_without_witness_are_taken_alone(
    oracle: Oracle, spends: list[TemplateTx]
) -> None:
    assert mined(oracle, spends[:1])
    assert mined(oracle, spends[1:])


def test_transactions_that_spend_each_other_are_taken_in_the_given_order(
    oracle: Oracle, spends: list[TemplateTx]
) -> None:
    parent = CTransaction.deserialize(spends[0].raw)
    child = template_tx(spend(parent, 7), 7)
    assert not mined(oracle, [child, spends[0], spends[1]])
    assert mined(oracle, [spends[0], child, spends[1]])


def test_one_satoshi_too_much_is_refused(oracle: Oracle, spends: list[TemplateTx]) -> None:
    template = oracle.template(spends)
    assert not oracle.mine(replace(template, reward_sat=template.reward_sat + 1))
    assert mined(oracle, spends)


def test_a_wrong_bip34_height_is_refused(oracle: Oracle) -> None:
    template = oracle.template()
    assert not oracle.mine(replace(template, height=template.height - 1))
    assert oracle.mine(template)


def test_a_bip54_lock_time_of_a_later_height_is_not_final_yet(oracle: Oracle) -> None:
    template = oracle.template()
    assert not oracle.mine(replace(template, height=template.height + 1))


def test_a_wrong_witness_commitment_is_refused(oracle: Oracle, spends: list[TemplateTx]) -> None:
    template = oracle.template(spends)
    assert template.witness_commitment is not None
    broken = bytes((template.witness_commitment[0] ^ 1,)) + template.witness_commitment[1:]
    assert not oracle.mine(replace(template, witness_commitment=broken))
    assert mined(oracle, spends)


def test_witnesses_without_a_commitment_are_refused(oracle: Oracle, spends: list[TemplateTx]) -> None:
    assert not oracle.mine(replace(oracle.template(spends), witness_commitment=None))


def test_a_block_without_commitment_nor_witnesses_is_taken(oracle: Oracle, spends: list[TemplateTx]) -> None:
    template = replace(oracle.template(spends[:1]), witness_commitment=None)
    job = job_of(template)
    header = solved(job)
    coinbase = job.coinbase1 + E1 + E2 + job.coinbase2
    assert not oracle.takes(assemble_block(header, with_witness(coinbase), job.txs))
    assert oracle.takes(block_bytes(job, header, E1, E2))
    oracle.coinbases.pop(min(h for h in oracle.coinbases if h % 2))


def test_a_coinbase_that_lost_its_witness_is_refused(oracle: Oracle) -> None:
    job = job_of(oracle.template())
    header = solved(job)
    assert not oracle.takes(block_bytes(replace(job, commits_to_witness=False), header, E1, E2))
    assert oracle.takes(block_bytes(job, header, E1, E2))


def test_a_wrong_merkle_root_is_refused(oracle: Oracle) -> None:
    job = job_of(oracle.template())
    coinbase = job.coinbase1 + E1 + E2 + job.coinbase2
    honest = Header.unpack(solved(job))
    assert honest.merkle_root == sha256d(coinbase)
    broken = resolved(replace(honest, merkle_root=sha256d(b"something else")).pack())
    assert not oracle.takes(assemble_block(broken, with_witness(coinbase), ()))
    assert oracle.takes(assemble_block(honest.pack(), with_witness(coinbase), ()))


def test_a_hash_above_the_target_is_refused(oracle: Oracle) -> None:
    job = job_of(oracle.template())
    for nonce in count():
        header, digest = job.header(E1, E2, ntime_s=job.ntime_s, nonce=nonce, version=job.version)
        if hash_to_int(digest) > job.network_target:
            break
    assert not oracle.takes(block_bytes(job, header, E1, E2))


def test_a_block_is_taken_under_every_rolled_version(oracle: Oracle) -> None:
    for rolled in (0x2000, 0x1FFFE000, 0x00A02000):
        job = job_of(oracle.template())
        header = resolved(replace(Header.unpack(solved(job)), version=job.version | rolled).pack())
        assert oracle.takes(block_bytes(job, header, E1, E2))


def test_the_least_time_of_the_template_is_the_least_that_is_taken(oracle: Oracle) -> None:
    job = job_of(oracle.template())
    median_s = GENESIS_TIME_S + 600 * (oracle.height - 5)  # of the last eleven blocks
    honest = Header.unpack(solved(job))
    assert not oracle.takes(block_bytes(job, resolved(replace(honest, ntime_s=median_s).pack()), E1, E2))
    assert oracle.takes(block_bytes(job, resolved(replace(honest, ntime_s=median_s + 1).pack()), E1, E2))
