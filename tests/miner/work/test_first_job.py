"""The first job on a tip: what follows from the header before, and where nothing does."""

from dataclasses import replace

import pytest

from miner.chain.coinbase import subsidy_sat
from miner.chain.difficulty import RETARGET_INTERVAL
from miner.chain.merkle import witness_commitment
from miner.work.first_job import NoFirstJob, TipHeader, difference, first_template, has_first_jobs
from miner.work.template import Template

FETCHED_AT = 5_000.5
"""Local time at which the template came; the node's clock then was the template's."""
TIP = TipHeader(hash=b"\xb0" * 32, height=300, bits=0x207FFFFF, median_time_s=1_700_000_300)


def first(
    template: Template, tip: TipHeader = TIP, network: str = "regtest", now: float = FETCHED_AT
) -> Template | NoFirstJob:
    return first_template(tip, network, template, FETCHED_AT, now)


def made(
    template: Template, tip: TipHeader = TIP, network: str = "regtest", now: float = FETCHED_AT
) -> Template:
    answer = first(template, tip, network, now)
    assert isinstance(answer, Template)
    return answer


def test_it_builds_on_the_tip_and_pays_the_subsidy_alone(template: Template) -> None:
    empty = made(template)
    assert (empty.prev_hash, empty.height, empty.bits) == (TIP.hash, 301, TIP.bits)
    assert empty.txs == ()
    assert empty.reward_sat == subsidy_sat(301, 150) == 1_250_000_000
    assert empty.version == template.version
    assert empty.min_time_s == TIP.median_time_s + 1


def test_it_commits_to_witnesses_where_the_templates_do(template: Template) -> None:
    assert made(template).witness_commitment == witness_commitment([])
    assert made(replace(template, witness_commitment=None)).witness_commitment is None


@pytest.mark.parametrize(("height", "reward_sat"), [(149, 5_000_000_000), (150, 2_500_000_000)])
def test_the_subsidy_halves_at_its_height(template: Template, height: int, reward_sat: int) -> None:
    assert made(template, replace(TIP, height=height - 1)).reward_sat == reward_sat


@pytest.mark.parametrize(("elapsed_s", "ahead_s"), [(0.0, 0), (0.9, 0), (12.3, 12), (-600.0, 0), (9e9, 3600)])
def test_its_time_is_the_nodes_clock_as_the_template_told_it(
    template: Template, elapsed_s: float, ahead_s: int
) -> None:
    assert made(template, now=FETCHED_AT + elapsed_s).cur_time_s == template.cur_time_s + ahead_s


def test_its_time_is_later_than_the_median_of_the_last_blocks(template: Template) -> None:
    ahead = replace(TIP, median_time_s=template.cur_time_s + 500)
    assert made(template, ahead).cur_time_s == made(template, ahead).min_time_s == template.cur_time_s + 501


@pytest.mark.parametrize("network", ["main", "signet", "regtest"])
def test_there_is_none_where_the_bits_change(template: Template, network: str) -> None:
    last = replace(TIP, height=RETARGET_INTERVAL - 1, bits=0x1D00FFFF)
    assert first(template, last, network) == NoFirstJob(
        "the bits of block 2016 are not known from the block before"
    )
    for height in (RETARGET_INTERVAL - 2, RETARGET_INTERVAL):
        assert made(template, replace(last, height=height), network).bits == 0x1D00FFFF


@pytest.mark.parametrize("network", ["test", "testnet4"])
def test_there_is_none_where_the_time_sets_the_bits(template: Template, network: str) -> None:
    assert not has_first_jobs(network)
    assert first(template, network=network) == NoFirstJob(f"on {network} the bits depend on the time")


@pytest.mark.parametrize("network", ["main", "signet", "regtest"])
def test_the_other_networks_have_first_jobs(network: str) -> None:
    assert has_first_jobs(network)


@pytest.mark.parametrize("bits", [0, -1, 0xFF123456, 0x2100FFFF])
def test_bits_that_no_header_can_have_make_none(template: Template, bits: int) -> None:
    assert isinstance(first(template, replace(TIP, bits=bits)), NoFirstJob)


def test_a_height_before_the_first_block_makes_none(template: Template) -> None:
    assert isinstance(first(template, replace(TIP, height=-1)), NoFirstJob)
    assert made(template, replace(TIP, height=0)).height == 1


def test_the_full_template_that_follows_must_say_the_same(template: Template) -> None:
    empty = made(template)
    full = replace(template, height=301, prev_hash=TIP.hash, min_time_s=empty.min_time_s)
    assert difference(empty, full) == ""
    told = difference(empty, replace(full, bits=0x207FFFFE, min_time_s=0))
    assert told == f"bits {0x207FFFFF} instead of {0x207FFFFE}, min_time_s {empty.min_time_s} instead of 0"
