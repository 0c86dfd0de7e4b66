"""A pool's work as a job: its headers are those that the pool computes itself."""

import json
import random
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import pytest
from bitcoin.core import CMutableTransaction, CMutableTxIn, CMutableTxOut, COutPoint, CScript, CTransaction
from hypothesis import example, given, settings
from hypothesis import strategies as st

from miner.chain.block import Header, header_hash
from miner.chain.coinbase import build_coinbase, height_push, with_witness
from miner.chain.difficulty import MAX_TARGET
from miner.chain.merkle import root_from_branch, sha256d
from miner.stratum.v1 import Notify, parse_notify
from miner.work.job import DEFAULT_VERSION_MASK, Job, JobBook
from miner.work.layout import Layout, layout_of
from miner.work.pool_job import (
    PoolJobError,
    coinbase_outputs,
    outputs_of,
    pool_job,
    upstream_extranonce2,
    upstream_version_bits,
)
from miner.work.share import Accepted, Block, PoolShare, Submission, judge

SESSIONS = json.loads((Path(__file__).parents[2] / "data" / "stratum.json").read_text())["sessions"]
OTHERS = json.loads((Path(__file__).parents[2] / "data" / "stratum.json").read_text())["merkle_roots"]
SCRIPT = b"\x00\x14" + bytes(range(20))
NOW = 5000.0


@dataclass(frozen=True)
class Pool:
    """A pool at the other end: what it sent, and the header that it makes of what comes back."""

    notify: Notify
    extranonce1: bytes
    extranonce2_size: int
    version_mask: int | None

    def job(self, layout: Layout, **changes: Any) -> Job:
        settings: dict[str, Any] = {
            "extranonce1": self.extranonce1,
            "extranonce2_size": self.extranonce2_size,
            "layout": layout,
            "version_mask": self.version_mask,
            "share_target": MAX_TARGET,
            "epoch": 1,
            "clean": True,
            "now": NOW,
        }
        return pool_job(self.notify, "a1", "pool", **{**settings, **changes})

    def header(self, extranonce2: bytes, ntime_s: int, nonce: int, version_bits: int | None) -> bytes:
        """By hashlib, and BIP310 for the version."""
        assert len(extranonce2) == self.extranonce2_size
        coinbase = self.notify.coinbase1 + self.extranonce1 + extranonce2 + self.notify.coinbase2
        root = root_from_branch(sha256d(coinbase), self.notify.branch)
        version = self.notify.version
        if version_bits is not None:
            mask = self.version_mask or 0
            assert version_bits & ~mask == 0
            version = version & ~mask | version_bits & mask
        return Header(version, self.notify.prev_hash, root, ntime_s, self.notify.bits, nonce).pack()


def notify_of(extranonce_size: int, **changes: Any) -> Notify:
    """Work on a template of height 900,000, its coinbase cut around an extranonce of this size."""
    coinbase = build_coinbase(900_000, 312_500_000, SCRIPT, bytes(32), b"/pool/", extranonce_size)
    made = Notify(
        "4f", b"\x07" * 32, coinbase.prefix, coinbase.suffix, (b"\x0b" * 32, b"\x0c" * 32), 0x2000_2004,
        0x1703_1ABC, 1_700_000_000, clean=False,
    )  # fmt: skip
    return Notify(**{**{name: getattr(made, name) for name in made.__struct_fields__}, **changes})


def pool_of(extranonce1: bytes, extranonce2_size: int, mask: int | None, **changes: Any) -> Pool:
    return Pool(
        notify_of(len(extranonce1) + extranonce2_size, **changes), extranonce1, extranonce2_size, mask
    )


POOL = pool_of(b"\xaa\xbb\xcc\xdd", 8, DEFAULT_VERSION_MASK)


def cases() -> st.SearchStrategy[tuple[Pool, int]]:
    """A pool's work, and how much of its extranonce2 one device may have."""
    return st.builds(
        lambda extranonce1, size, mask, version, branch, most: (
            pool_of(extranonce1, size, mask, version=version, branch=tuple(branch)),
            most,
        ),
        st.binary(max_size=8),
        st.integers(2, 12),
        st.sampled_from([None, 0, DEFAULT_VERSION_MASK, 0x00C0_0000, 0x0000_E000]),
        st.integers(0, 2**32 - 1),
        st.lists(st.binary(min_size=32, max_size=32), max_size=4),
        st.integers(1, 8),
    )


@settings(deadline=None, max_examples=200)
@given(
    case=cases(),
    numbers=st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**32 - 1)),
    bits=st.none() | st.integers(0, 2**32 - 1),
    source=st.randoms(use_true_random=False),
)
@example(case=(POOL, 4), numbers=(1_700_000_000, 0), bits=None, source=random.Random(1))
def test_a_header_of_the_job_is_the_one_that_the_pool_makes_of_what_it_is_told(
    case: tuple[Pool, int], numbers: tuple[int, int], bits: int | None, source: Any
) -> None:
    pool, most = case
    layout = layout_of(pool.extranonce2_size, most)
    job = pool.job(layout)
    ntime_s, nonce = numbers
    submission = Submission(
        "rig", job.id, source.randbytes(layout.extranonce1_size), source.randbytes(layout.extranonce2_size),
        ntime_s, nonce, bits,
    )  # fmt: skip
    # What `judge` hashes, and what the core does.
    version = job.version | ((bits or 0) & job.version_mask)
    header, digest = job.header(
        submission.extranonce1, submission.extranonce2, ntime_s=ntime_s, nonce=nonce, version=version
    )
    told = upstream_extranonce2(job, submission), upstream_version_bits(job, submission)
    assert header == pool.header(told[0], ntime_s, nonce, told[1])
    assert digest == header_hash(header)


@pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session["source"])
def test_a_published_session_ends_in_the_published_header_through_our_slice_of_it(
    session: dict[str, Any],
) -> None:
    notify = parse_notify(session["notify"])
    _, pool_id, extranonce2, ntime, nonce = session["submit"]
    size = len(extranonce2) // 2
    job = pool_job(
        notify, "1", "pool", extranonce1=bytes.fromhex(session["extranonce1"]), extranonce2_size=size,
        layout=Layout(1, 2), version_mask=None, share_target=MAX_TARGET, epoch=1, clean=notify.clean, now=NOW,
    )  # fmt: skip
    whole = bytes.fromhex(extranonce2)
    assert whole[:1] == bytes(size - 3)  # what a pool has of ours is padded with zeros, as it is here
    submission = Submission("rig", "1", whole[-3:-2], whole[-2:], int(ntime, 16), int(nonce, 16))
    assert upstream_extranonce2(job, submission) == whole
    assert upstream_version_bits(job, submission) is None
    assert job.upstream is not None
    assert job.upstream.job_id == pool_id
    book = JobBook(60)
    book.add(job, NOW)
    verdict = judge(book, submission, MAX_TARGET, NOW)
    assert isinstance(verdict, PoolShare)
    assert verdict.hash[::-1].hex() == session["hash"]
    assert verdict.difficulty == pytest.approx(session["difficulty"], rel=1e-14)


@pytest.mark.parametrize(
    ("index", "height", "outputs"),
    [(0, 25_096, [5_000_000_000]), (1, 791_433, [705_473_913, 0, 0])],
)
def test_height_and_payees_are_read_from_a_published_coinbase(
    index: int, height: int, outputs: list[int]
) -> None:
    session = SESSIONS[index]
    notify = parse_notify(session["notify"])
    job = pool_job(
        notify, "1", "pool", extranonce1=bytes.fromhex(session["extranonce1"]), extranonce2_size=4,
        layout=Layout(2, 2), version_mask=None, share_target=MAX_TARGET, epoch=1, clean=False, now=NOW,
    )  # fmt: skip
    transaction = CTransaction.deserialize(job.coinbase1 + bytes(4) + job.coinbase2)
    assert outputs_of(job) == tuple((out.nValue, bytes(out.scriptPubKey)) for out in transaction.vout)
    assert [value for value, _ in outputs_of(job)] == outputs
    assert (job.height, job.reward_sat) == (height, sum(outputs))
    assert job.payout_script == bytes(transaction.vout[0].scriptPubKey)


def test_the_job_is_the_pool_s_work_and_nothing_of_ours() -> None:
    job = POOL.job(layout_of(8, 2), share_target=2**230, epoch=7, clean=False)
    assert (job.id, job.origin, job.height, job.clean) == ("a1", "pool", 900_000, False)
    assert (job.extranonce1_size, job.extranonce2_size) == (4, 2)
    assert (job.version, job.version_mask) == (0x2000_0004, DEFAULT_VERSION_MASK)
    assert (job.prev_hash, job.branch, job.bits) == (
        POOL.notify.prev_hash,
        POOL.notify.branch,
        POOL.notify.bits,
    )
    assert (job.ntime_s, job.min_time_s, job.created_at) == (1_700_000_000, 1_700_000_000, NOW)
    assert (job.reward_sat, job.payout_script) == (312_500_000, SCRIPT)
    assert job.paying(b"\x51") is job  # the pool is paid, whoever hashes
    assert job.upstream is not None
    assert (job.upstream.job_id, job.upstream.share_target, job.upstream.epoch) == ("4f", 2**230, 7)
    assert job.upstream.padding == bytes(2)
    assert job.coinbase1 == POOL.notify.coinbase1 + POOL.extranonce1 + bytes(2)


def test_a_pool_that_lets_no_version_roll_gets_its_version_whole() -> None:
    for mask in (None, 0):
        job = replace(POOL, version_mask=mask).job(Layout(4, 4))
        assert (job.version, job.version_mask) == (0x2000_2004, 0)


RICH = notify_of(12).coinbase2.replace(
    (312_500_000).to_bytes(8, "little"), (2_100_000_000_000_001).to_bytes(8, "little")
)


class TestRefusals:
    @pytest.mark.parametrize(
        ("changes", "why"),
        [
            ({"coinbase1": b""}, "coinbase"),
            ({"coinbase2": b""}, "coinbase ends within"),
            ({"coinbase2": notify_of(12).coinbase2 + b"\x00"}, "1 bytes behind its end"),
            ({"coinbase1": b"\xff" * 60}, "input"),
            ({"branch": (bytes(32),) * 40}, "branch of 40 levels"),
            ({"branch": (bytes(31),)}, "must have 32 bytes"),
            ({"prev_hash": bytes(31)}, "must have 32 bytes"),
            ({"coinbase2": RICH}, "pays 2100000000000001 sat"),
            ({"bits": 0}, "target of zero"),
            ({"bits": 0xFF80_0001}, "target"),
        ],
        ids=str,
    )
    def test_work_that_nobody_can_hash_is_refused_with_its_id_and_the_reason(
        self, changes: dict[str, Any], why: str
    ) -> None:
        with pytest.raises(PoolJobError, match=f"job '4f' of pool 'pool': .*{why}"):
            pool_of(b"\xaa" * 4, 8, None, **changes).job(Layout(4, 4))

    def test_work_without_room_for_the_layout_is_refused(self) -> None:
        with pytest.raises(PoolJobError, match="extranonce2 of 3 bytes has no room for the 8"):
            pool_of(b"\xaa" * 4, 3, None).job(Layout(4, 4))

    @pytest.mark.parametrize("target", [0, 2**256])
    def test_a_share_target_that_is_none_is_refused(self, target: int) -> None:
        with pytest.raises(PoolJobError, match="target"):
            POOL.job(Layout(4, 4), share_target=target)

    def test_a_mask_of_more_than_32_bits_is_refused(self) -> None:
        with pytest.raises(PoolJobError, match="32 bits"):
            POOL.job(Layout(4, 4), version_mask=2**32)

    def test_an_extranonce_size_that_the_coinbase_was_not_made_for_is_refused(self) -> None:
        with pytest.raises(PoolJobError, match="coinbase"):
            POOL.job(Layout(4, 4), extranonce2_size=9)

    def test_only_a_pool_s_job_has_an_upstream(self) -> None:
        own = replace(POOL.job(Layout(4, 4)), upstream=None)
        for ask in (upstream_extranonce2, upstream_version_bits):
            with pytest.raises(ValueError, match="job a1 is no pool's"):
                ask(own, Submission("rig", "a1", bytes(4), bytes(4), 0, 0))


def test_a_hash_on_a_pool_s_job_is_never_a_block_of_ours_even_if_it_is_one() -> None:
    job = pool_of(b"\xaa" * 4, 8, None, bits=0x207F_FFFF).job(Layout(4, 4))
    book = JobBook(60)
    book.add(job, NOW)
    verdicts = [
        judge(book, Submission("rig", job.id, bytes(4), bytes(4), job.ntime_s, nonce), MAX_TARGET, NOW)
        for nonce in range(16)
    ]
    assert not any(isinstance(verdict, Block | Accepted) for verdict in verdicts)
    assert {verdict.is_block for verdict in verdicts if isinstance(verdict, PoolShare)} == {True, False}


class TestCoinbase:
    @settings(deadline=None)
    @given(
        outputs=st.lists(
            st.tuples(st.integers(0, 21_000_000 * 10**8), st.binary(max_size=300)), min_size=1, max_size=300
        ),
        script_sig=st.binary(min_size=2, max_size=100),
    )
    def test_outputs_are_those_that_an_independent_library_wrote(
        self, outputs: list[tuple[int, bytes]], script_sig: bytes
    ) -> None:
        transaction = CMutableTransaction(
            [CMutableTxIn(COutPoint(), CScript(script_sig))],
            [CMutableTxOut(value, CScript(script)) for value, script in outputs],
        )
        assert coinbase_outputs(transaction.serialize()) == tuple(outputs)

    @settings(deadline=None)
    @given(st.binary(max_size=200))
    def test_bytes_that_are_no_coinbase_are_refused_and_nothing_worse(self, data: bytes) -> None:
        try:
            outputs = coinbase_outputs(data)
        except ValueError:
            return
        assert outputs

    @settings(deadline=None)
    @given(st.data())
    def test_a_coinbase_cut_short_is_refused(self, data: st.DataObject) -> None:
        whole = with_witness(self.coinbase())
        cut = whole[: data.draw(st.integers(0, len(whole) - 1))]
        with pytest.raises(ValueError, match="its coinbase"):
            coinbase_outputs(cut)

    def test_a_witness_changes_nothing(self) -> None:
        assert coinbase_outputs(with_witness(self.coinbase())) == coinbase_outputs(self.coinbase())

    def test_a_coinbase_that_pays_nothing_is_refused(self) -> None:
        bare = (
            b"\x02\x00\x00\x00\x01"
            + bytes(32)
            + b"\xff" * 4
            + b"\x02\x51\x00"
            + b"\xff" * 4
            + b"\x00"
            + bytes(4)
        )
        with pytest.raises(ValueError, match="no output"):
            coinbase_outputs(bare)

    @pytest.mark.parametrize("height", [1, 16, 17, 127, 128, 255, 256, 32_767, 32_768, 900_000, 2**31 - 1])
    def test_the_height_is_what_bip34_wrote(self, height: int) -> None:
        assert self.height_of(height_push(height) + b"rest") == height

    @pytest.mark.parametrize(
        "script_sig", [b"", b"\x00", b"\x06/P2SH/", b"\x03\x01", b"\x02\x00\x80", b"\x4c\x01\x05"]
    )
    def test_a_coinbase_that_says_no_height_has_none(self, script_sig: bytes) -> None:
        assert self.height_of(script_sig) == 0

    @staticmethod
    def coinbase() -> bytes:
        made = build_coinbase(5, 50, SCRIPT, bytes(32), b"", 4)
        return made.prefix + bytes(4) + made.suffix

    @staticmethod
    def height_of(script_sig: bytes) -> int:
        """The height of a job whose extranonces lie in the script of its output, so that the scriptSig is as given."""
        begin = b"\x02\x00\x00\x00\x01" + bytes(32) + b"\xff" * 4 + bytes((len(script_sig),)) + script_sig
        output = (5).to_bytes(8, "little") + b"\x09\x51"
        notify = notify_of(8, coinbase1=begin + b"\xff" * 4 + b"\x01" + output, coinbase2=bytes(4))
        return Pool(notify, bytes(4), 4, None).job(Layout(2, 2)).height


@pytest.mark.parametrize("vector", OTHERS, ids=lambda vector: vector["coinbase"][:8])
def test_a_published_coinbase_is_read(vector: dict[str, Any]) -> None:
    coinbase = bytes.fromhex(vector["coinbase"])
    transaction = CTransaction.deserialize(coinbase)
    assert coinbase_outputs(coinbase) == tuple(
        (out.nValue, bytes(out.scriptPubKey)) for out in transaction.vout
    )
