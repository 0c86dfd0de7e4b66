"""The mining half against a real bitcoind: tips, templates and blocks found by hand, where a hashing thread would only be quick."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from pathlib import Path

import pytest
from aiohttp import web

from miner.hashing.station import CpuStation
from miner.mining import Mining
from miner.node.nodes import Node
from miner.node.rpc import CookieFile, RpcClient, UserPassword
from miner.node.tips import Tip
from miner.payouts import Payee, PayoutRefused
from miner.work.claims import BlockFind
from miner.work.job import Job, Past, block_bytes
from miner.work.layout import Layout
from miner.work.share import Block, judge
from miner.work.template import Template
from regtest import chain
from regtest.bitcoind import Bitcoind
from tests.miner.harness import (
    ANY_HASH,
    NOW,
    PAYOUT,
    Rig,
    become,
    block_on,
    has_work,
    nobody,
    node_of,
    rig_of,
    running,
    shown,
    template,
)
from tests.miner.node.harness import Forward, Proxy, hang, until

MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

OTHER_TIP = b"\xb0" * 32


class Told:
    """Hears what work there is."""

    def __init__(self) -> None:
        self.work: list[tuple[Job | None, float | None]] = []

    def __call__(self, job: Job | None, seen_at: float | None) -> None:
        self.work.append((job, seen_at))

    @property
    def first(self) -> list[Job | None]:
        """The first jobs on tips that were waited for."""
        return [job for job, seen_at in self.work if seen_at is not None]


async def empty_jobs_are_proven(rig: Rig) -> None:
    first_jobs = rig.mining._first_jobs
    assert first_jobs is not None
    await until(lambda: first_jobs.proven)


def behind(proxy: Proxy) -> Node:
    """The proxy's node, as the daemon knows it."""
    known = node_of(proxy.target)
    return Node(
        "a", RpcClient(proxy.url, CookieFile(proxy.target.cookie_file), name="a"), known.zmq_hashblock
    )


def overpay(mining: Mining) -> Callable[[], None]:
    """Let every job from now on pay a satoshi too much, until what is returned is called."""
    honest = mining.solo.job_of

    def greedy(template: Template, *, clean: bool) -> object:
        return honest(replace(template, reward_sat=template.reward_sat + 1), clean=clean)

    mining.solo.job_of = greedy  # type: ignore[method-assign,assignment]

    def stop() -> None:
        del mining.solo.job_of

    return stop


@pytest.mark.bitcoind
class TestTemplates:
    async def test_a_coinbase_that_the_node_refuses_is_never_mined_and_an_alert_says_why(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig:
            be_honest = overpay(rig.mining)
            async with running(rig):
                await until(lambda: "proposal_refused" in rig.alerts)
                assert rig.alerts["proposal_refused"] == "bad-cb-amount"
                assert rig.mining.book.current is None
                be_honest()
                rig.mining._templates.refresh()
                await has_work(rig)
                assert rig.alerts["proposal_refused"] == ""

    async def test_when_a_new_coinbase_is_refused_the_last_good_job_stays_and_is_good(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig, running(rig):
            await has_work(rig)
            good = rig.current
            overpay(rig.mining)
            rig.mining.solo.payout = replace(PAYOUT, tag=b"/another shape/")
            rig.mining._templates.refresh()
            await until(lambda: rig.alerts.get("proposal_refused"))
            assert rig.current is good
            await become(rig, rig.take_block(good), "accepted")


@pytest.mark.bitcoind
class TestFirstJobs:
    async def test_an_empty_job_goes_out_at_once_and_a_block_found_on_it_is_accepted(
        self, node: Bitcoind, ledger: Path, proxy_of: MakeProxy
    ) -> None:
        proxy = await proxy_of(node)
        told = Told()
        async with rig_of([behind(proxy)], ledger, on_work=told) as rig, running(rig):
            await empty_jobs_are_proven(rig)
            known, before = rig.current, len(told.first)
            proxy.fail("getblocktemplate", hang)
            first = rig.take_block(known)
            await become(rig, first, "accepted")
            await until(lambda: rig.mining.book.tip == bytes.fromhex(first)[::-1])
            await has_work(rig)
            empty = rig.current
            assert (empty.clean, empty.height, empty.txs) == (True, known.height + 1, ())
            assert told.first[before:] == [empty]
            second = rig.take_block(empty)
            await become(rig, second, "accepted")
            row = rig.row(second)
            assert row is not None
            assert row.reward_sat == 5_000_000_000
            await until(lambda: node.rpc("getbestblockhash") == second)

    async def test_the_full_job_takes_the_place_of_the_empty_one_without_making_it_worthless(
        self, node: Bitcoind, ledger: Path, proxy_of: MakeProxy, station: CpuStation
    ) -> None:
        proxy, let_go = await proxy_of(node), asyncio.Event()

        async def slow(_request: web.Request, forward: Forward) -> web.StreamResponse:
            await let_go.wait()
            return await forward()

        station.start("full")
        told = Told()
        async with rig_of([behind(proxy)], ledger, station=station, on_work=told) as rig, running(rig):
            await empty_jobs_are_proven(rig)
            proxy.fail("getblocktemplate", slow)
            before = len(told.work)
            (tip,) = await asyncio.to_thread(chain.mine, node, 1)
            await until(lambda: rig.mining.book.tip == bytes.fromhex(tip)[::-1])
            await has_work(rig)
            empty = rig.current
            assert station._unit._work is not None
            assert station._unit._work.job is empty  # an empty block earns the subsidy
            let_go.set()
            await until(lambda: rig.current is not empty)
            full = rig.current
            assert not full.clean
            assert isinstance(rig.mining.book.lookup(empty.id, time.time()), Past)
            (nothing, never), (first, seen_at), (second, not_first) = told.work[before : before + 3]
            assert (nothing, never) == (None, None)
            assert (first, second) == (empty, full)
            assert seen_at is not None
            assert not_first is None
            assert rig.alerts.get("first_job_refused", "") == ""

    async def test_switched_off_there_is_no_work_before_the_template(
        self, node: Bitcoind, ledger: Path, proxy_of: MakeProxy
    ) -> None:
        proxy = await proxy_of(node)
        async with rig_of([behind(proxy)], ledger, empty_first_job=False) as rig, running(rig):
            for _ in range(3):
                await has_work(rig)
                (tip,) = await asyncio.to_thread(chain.mine, node, 1)
                await until(lambda tip=tip: rig.mining.book.tip == bytes.fromhex(tip)[::-1])
        assert "getblockheader" not in proxy.seen

    async def test_after_a_silence_of_all_nodes_there_is_no_empty_job_on_old_knowledge(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger) as rig, running(rig):
            await empty_jobs_are_proven(rig)
            assert rig.mining._first_jobs is not None
            rig.mining._withdraw()
            assert rig.mining._first_jobs._full is None


@pytest.mark.bitcoind
class TestPayees:
    @pytest.mark.parametrize("kind", chain.ADDRESS_KINDS)
    async def test_a_block_pays_the_address_that_its_finder_logged_in_with(
        self, kind: chain.AddressKind, node: Bitcoind, ledger: Path
    ) -> None:
        address = chain.new_address(node, kind)
        async with rig_of([node_of(node)], ledger, payout="worker") as rig, running(rig):
            await has_work(rig)
            assert rig.mining.payouts is not None
            payee = await rig.mining.payouts.resolve(f"{address}.rig1")
            assert payee == Payee(address, chain.script_of(node, address))
            job = rig.current.paying(payee.script)
            found = block_on(job)
            header, _ = job.header(
                found.extranonce1,
                found.extranonce2,
                ntime_s=found.ntime_s,
                nonce=found.nonce,
                version=job.version,
            )
            raw = block_bytes(job, header, found.extranonce1, found.extranonce2)
            assert await asyncio.to_thread(node.rpc, "submitblock", raw.hex()) is None
            coinbase = node.rpc("getblock", node.rpc("getbestblockhash"), 2)["tx"][0]
            assert coinbase["vout"][0]["scriptPubKey"]["address"] == address

    async def test_the_node_judges_a_real_block_before_a_kind_of_address_is_paid(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with rig_of([node_of(node)], ledger, payout="worker") as rig, running(rig):
            await has_work(rig)
            overpay(rig.mining)
            assert rig.mining.payouts is not None
            answer = await rig.mining.payouts.resolve(chain.new_address(node, "legacy"))
            assert isinstance(answer, PayoutRefused)
            assert answer.why.endswith("bad-cb-amount")
            assert rig.alerts["payout_refused"] == "p2pkh: bad-cb-amount"

    async def test_the_operator_is_paid_where_no_worker_is(self, ledger: Path) -> None:
        async with rig_of([nobody()], ledger) as rig:
            assert rig.mining.payouts is None


class TestWithoutANode:
    """What the parts tell each other, one call after the other."""

    async def test_only_the_first_job_on_a_tip_says_when_that_was_seen(self, ledger: Path) -> None:
        told = Told()
        async with rig_of([nobody()], ledger, on_work=told) as rig:
            (node,) = rig.nodes
            first = template()
            rig.mining._take_tip(Tip(first.prev_hash, node, "poll", seen_at=12.5))
            rig.mining._take_template(first, node, NOW)
            rig.mining._take_template(first, node, NOW)
            rig.mining._withdraw()
            rig.mining._take_template(first, node, NOW)
            assert [job is not None for job, _ in told.work] == [True, True, False, True]
            assert [seen_at for _, seen_at in told.work] == [12.5, None, None, None]

    async def test_a_job_on_a_tip_that_was_not_waited_for_does_not_count_as_its_first(
        self, ledger: Path
    ) -> None:
        told = Told()
        async with rig_of([nobody()], ledger, on_work=told) as rig:
            (node,) = rig.nodes
            rig.mining._take_tip(Tip(OTHER_TIP, node, "poll", seen_at=12.5))
            rig.mining._take_template(template(), node, NOW)  # quicker than the news of its tip
            assert told.work[-1] == (rig.current, None)

    async def test_a_template_that_is_quicker_than_the_news_of_its_tip_moves_everything_there(
        self, ledger: Path, station: CpuStation
    ) -> None:
        async with rig_of([nobody()], ledger, station=station) as rig:
            (node,) = rig.nodes
            rig.mining._take_template(template(), node, NOW)
            submission = block_on(rig.current)
            verdict = judge(rig.mining.book, submission, ANY_HASH, NOW)
            assert isinstance(verdict, Block)
            rig.delivery.claims.claim(BlockFind(verdict, submission, NOW), NOW)
            rig.mining._take_template(template(), node, NOW)
            assert station._unit._work is None  # our block on this tip is on its way
            rig.mining._take_template(template(prev_hash=OTHER_TIP, height=301), node, NOW)
            rig.mining._take_template(template(), node, NOW)
            assert station._unit._work is not None  # the chain is back here, without it
            assert station._unit._work.job is rig.current

    async def test_a_good_template_of_the_active_node_ends_an_alert_and_that_of_another_does_not(
        self, ledger: Path
    ) -> None:
        spare = Node("b", RpcClient("http://127.0.0.1:1", UserPassword("u", "p"), name="b"))
        async with rig_of([nobody(), spare], ledger) as rig:
            first, second = rig.nodes
            rig.alerts["template_refused"] = "the witness commitment differs"
            rig.mining._take_template(template(), second, NOW)
            assert rig.alerts["template_refused"]
            rig.mining._take_template(template(), first, NOW)
            assert not rig.alerts["template_refused"]

    async def test_another_layout_leaves_no_job_of_the_old_one_to_be_given_out(self, ledger: Path) -> None:
        told = Told()
        async with rig_of([nobody()], ledger, on_work=told) as rig:
            (node,) = rig.nodes
            rig.mining._take_template(template(), node, NOW)  # as the empty one, while there is no other
            rig.mining.set_layout(rig.mining.solo.layout)
            assert told.work[-1] == (rig.current, None)
            rig.mining.set_layout(Layout(2, 2))
            assert told.work[-1] == (None, None)
            rig.mining._take_template(template(), node, NOW)
            assert (rig.current.extranonce1_size, rig.current.extranonce2_size) == (2, 2)

    async def test_withdrawn_work_is_neither_hashed_nor_shown(
        self, ledger: Path, station: CpuStation
    ) -> None:
        async with rig_of([nobody()], ledger, station=station) as rig:
            (node,) = rig.nodes
            rig.mining._take_template(template(), node, NOW)
            assert shown(rig.metrics, "hashmill_template_height") == 300
            rig.mining._withdraw()
            assert station._unit._work is None
            assert shown(rig.metrics, "hashmill_template_height") is None

    async def test_a_node_that_comes_and_goes_without_end_fills_no_queue(self, ledger: Path) -> None:
        async with rig_of([nobody()], ledger) as rig:
            (node,) = rig.nodes
            for up in (True, False) * 100:
                rig.mining._node_health(node, up, "")
            assert shown(rig.metrics, 'hashmill_bitcoind_up{node="a"}') == 0
