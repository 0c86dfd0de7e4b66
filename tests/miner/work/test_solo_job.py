"""Jobs of our own node's templates."""

from bitcoin.core import CTransaction

from miner.chain.difficulty import bits_to_target
from miner.work.job import DEFAULT_VERSION_MASK
from miner.work.solo_job import solo_job
from miner.work.template import Template

E1, E2 = b"\x00\x00\x00\x07", b"\x00\x01\x02\x03\x04\x05\x06\x07"


def test_a_job_is_the_template_with_its_coinbase_cut_around_the_extranonce(template: Template) -> None:
    job = solo_job(template, "2a", b"\x51", b"/tag/", 4, 8, clean=True, now=1000.0)
    coinbase = CTransaction.deserialize(job.coinbase1 + E1 + E2 + job.coinbase2)
    assert E1 + E2 in coinbase.vin[0].scriptSig
    assert (job.id, job.origin, job.height, job.clean) == ("2a", "solo", 300, True)
    assert (job.prev_hash, job.bits) == (template.prev_hash, template.bits)
    assert (job.ntime_s, job.min_time_s) == (template.cur_time_s, template.min_time_s)
    assert job.reward_sat == coinbase.vout[0].nValue == template.reward_sat
    assert job.payout_script == coinbase.vout[0].scriptPubKey
    assert job.txs == (b"one", b"two")
    assert job.network_target == bits_to_target(template.bits)


def test_jobs_go_out_with_the_masked_version_bits_clear(template: Template) -> None:
    job = solo_job(template, "1", b"\x51", b"", 4, 8, DEFAULT_VERSION_MASK, clean=False, now=0.0)
    assert (template.version, job.version, job.version_mask) == (0x20002004, 0x20000004, 0x1FFFE000)
    assert solo_job(template, "1", b"\x51", b"", 4, 8, 0, clean=False, now=0.0).version == 0x20002004
