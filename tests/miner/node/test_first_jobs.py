"""Empty first jobs against real nodes: quick where the template is slow, mined and accepted, and not there where they would be wrong."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager
from dataclasses import replace

import pytest
from aiohttp import web

from miner import kernel
from miner.node import first_jobs
from miner.node.first_jobs import FirstJobs
from miner.node.nodes import Node, NodeSet
from miner.node.templates import TemplatePacing, TemplateService
from miner.node.tips import Pacing, Tip, TipWatcher
from miner.work.job import Job, block_bytes
from miner.work.solo_job import solo_job
from miner.work.template import Template, template_request
from regtest import chain, retarget
from regtest.bitcoind import Bitcoind
from tests.miner.node.harness import OP_TRUE_P2WSH, Fault, Forward, Proxy, hang, refuse, result, until

MakeNode = Callable[..., Node]
MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

pytestmark = pytest.mark.bitcoind

NONCES = 1 << 32


def job_of(template: Template) -> Job:
    return solo_job(template, "1", OP_TRUE_P2WSH, b"/test/", 4, 8, clean=True, now=0.0)


def proposal(template: Template) -> tuple[Hashable, bytes]:
    job = job_of(template)
    header, _digest = job.header(bytes(4), bytes(8), ntime_s=job.ntime_s, nonce=0, version=job.version)
    return "p2wsh", block_bytes(job, header, bytes(4), bytes(8))


def greedy_proposal(template: Template) -> tuple[Hashable, bytes]:
    """Pays itself one satoshi too much."""
    return proposal(replace(template, reward_sat=template.reward_sat + 1))


def mined(template: Template) -> bytes:
    """A block of the template with its proof of work."""
    job = job_of(template)
    header, _ = job.header(bytes(4), bytes(8), ntime_s=job.ntime_s, nonce=0, version=job.version)
    search = kernel.ScanJob(header, [job.version], job.network_target)
    hit = kernel.scan(search, 0, NONCES, kernel.StopWord(), capacity=1).hits[0]
    header, _ = job.header(bytes(4), bytes(8), ntime_s=job.ntime_s, nonce=hit.nonce, version=job.version)
    return block_bytes(job, header, bytes(4), bytes(8))


def internal(display_hash: str) -> bytes:
    return bytes.fromhex(display_hash)[::-1]


class Work:
    """Templates and first jobs of one node, as the mining half wires them, in the order they came."""

    def __init__(
        self, node: Node, network: str, assemble_empty: Callable[[Template], tuple[Hashable, bytes]]
    ) -> None:
        self.node = node
        self.full: list[Template] = []
        self.empty: list[Template] = []
        self.alerts: list[tuple[str, str]] = []
        self.nodes = NodeSet([node], network)
        self.templates = TemplateService(
            self.nodes,
            proposal,
            self._template,
            head_start=self._head_start,
            pacing=TemplatePacing(refresh_s=60.0, refused_s=0.1),
        )
        self.first_jobs = FirstJobs(
            network,
            self.templates.prove,
            assemble_empty,
            lambda template, _tip: self.empty.append(template),
            on_alert=lambda event, message: self.alerts.append((event, message)),
        )

    async def _head_start(self) -> None:
        await self.first_jobs.head_start()

    def _template(self, template: Template, node: Node, fetched_at: float) -> None:
        self.full.append(template)
        self.first_jobs.template_taken(template, node, fetched_at)

    def new_tip(self, tip: Tip) -> None:
        self.first_jobs.new_tip(tip)
        self.templates.new_tip(tip)

    def tip(self, display_hash: str) -> None:
        self.new_tip(Tip(internal(display_hash), self.node, "zmq", 0.0))

    async def proven(self) -> None:
        await until(lambda: self.first_jobs.proven)

    async def empty_on(self, display_hash: str) -> Template:
        await until(lambda: self.empty and self.empty[-1].prev_hash == internal(display_hash))
        return self.empty[-1]

    async def full_on(self, display_hash: str) -> Template:
        await until(lambda: self.full and self.full[-1].prev_hash == internal(display_hash))
        return self.full[-1]


@asynccontextmanager
async def working(
    node: Node,
    network: str = "regtest",
    *,
    watch: bool = True,
    assemble_empty: Callable[[Template], tuple[Hashable, bytes]] = proposal,
) -> AsyncIterator[Work]:
    work = Work(node, network, assemble_empty)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(work.first_jobs.run())
            group.create_task(work.templates.run())
            if watch:
                watcher = TipWatcher(work.nodes, template_request(network), pacing=Pacing(poll_s=0.1))
                group.create_task(watcher.run(work.new_tip))

    running = asyncio.ensure_future(run())
    try:
        yield work
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def submit(node: Bitcoind, template: Template) -> str:
    """Mine a block of the template; its hash when the node has made it its tip."""
    assert node.rpc("submitblock", mined(template).hex()) is None
    tip: str = node.rpc("getbestblockhash")
    assert node.rpc("getblockheader", tip)["previousblockhash"] == template.prev_hash[::-1].hex()
    return tip


async def test_blocks_mined_on_empty_jobs_are_accepted_one_on_the_other(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy)) as work:
        await work.proven()
        proxy.fail("getblocktemplate", hang)
        tip = await asyncio.to_thread(submit, bitcoind, work.full[-1])
        for height in range(
            2, 20
        ):  # heights are pushed in three ways here, and the median time is of 2 to 11 blocks
            empty = await work.empty_on(tip)
            assert (empty.height, empty.reward_sat) == (height, 5_000_000_000)
            tip = await asyncio.to_thread(submit, bitcoind, empty)
        assert work.alerts == []


async def test_the_subsidy_of_an_empty_block_halves_with_the_chains(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    chain.mine(bitcoind, 148)
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy)) as work:
        await work.proven()
        proxy.fail("getblocktemplate", hang)
        tip = await asyncio.to_thread(submit, bitcoind, work.full[-1])
        empty = await work.empty_on(tip)
        assert (empty.height, empty.reward_sat) == (150, 2_500_000_000)
        await asyncio.to_thread(submit, bitcoind, empty)


async def test_the_full_template_follows_with_its_transactions_and_says_the_same(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    chain.fund(bitcoind, 2)
    proxy, let_go = await proxy_of(bitcoind), asyncio.Event()

    async def slow(_request: web.Request, forward: Forward) -> web.StreamResponse:
        await let_go.wait()
        return await forward()

    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        await asyncio.to_thread(chain.send_transactions, bitcoind, [1111, 2222])
        proxy.fail("getblocktemplate", slow, times=1)
        address = await asyncio.to_thread(chain.new_address, bitcoind)
        made = await asyncio.to_thread(bitcoind.rpc, "generateblock", address, [])
        work.tip(made["hash"])
        empty = await work.empty_on(made["hash"])
        assert (empty.txs, empty.reward_sat) == ((), 5_000_000_000)
        let_go.set()
        full = await work.full_on(made["hash"])
        assert (full.height, full.fees_sat, len(full.txs)) == (empty.height, 3333, 2)
        assert work.first_jobs.proven  # it was compared with the empty one
        assert work.alerts == []


async def test_on_a_private_signet_an_empty_block_is_accepted_and_there_is_none_at_the_retarget(
    bitcoind_factory: Callable[..., Bitcoind],
    proxy_of: MakeProxy,
    node_of: MakeNode,
    caplog: pytest.LogCaptureFixture,
) -> None:
    facts = retarget.load_facts()
    node = bitcoind_factory("signet", mocktime_s=facts.mocktime_s)  # years before the local clock
    retarget.submit(node, facts)
    proxy = await proxy_of(node)
    async with working(node_of(proxy), "signet") as work:
        await work.proven()
        proxy.fail("getblocktemplate", hang)
        tip = await asyncio.to_thread(submit, node, work.full[-1])
        caplog.set_level(logging.INFO)
        for height in range(retarget.STORED_BLOCKS + 2, retarget.RETARGET_HEIGHT):
            empty = await work.empty_on(tip)
            assert (empty.height, empty.bits) == (height, retarget.START_BITS)
            assert empty.witness_commitment is not None
            tip = await asyncio.to_thread(submit, node, empty)
        await until(lambda: "no_first_job" in caplog.messages)
        assert work.empty[-1].height == retarget.RETARGET_HEIGHT - 1
        (record,) = [record for record in caplog.records if record.message == "no_first_job"]
        assert "2016" in record.reason  # type: ignore[attr-defined] # a field of the event


async def test_a_template_that_is_quicker_leaves_no_room_for_an_empty_job(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    template_came = asyncio.Event()

    async def late(_request: web.Request, forward: Forward) -> web.StreamResponse:
        await template_came.wait()
        return await forward()

    async with working(node_of(proxy)) as work:
        await work.proven()
        proxy.seen.clear()
        proxy.fail("getblockheader", late, times=1)
        (first,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        await work.full_on(first)
        template_came.set()
        proxy.fail("getblocktemplate", hang)
        (second,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        await work.empty_on(second)
        assert [one.prev_hash for one in work.empty] == [internal(second)]


async def test_the_header_of_a_block_that_is_the_tip_no_more_makes_no_job(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await proxy_of(bitcoind)
    tips: list[str] = []

    async def overtake(_request: web.Request, forward: Forward) -> web.StreamResponse:
        tips.extend(await asyncio.to_thread(chain.mine, bitcoind, 1))
        return await forward()

    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        proxy.fail("getblocktemplate", hang)
        proxy.fail("getblockheader", overtake, times=1)
        (lost,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        with caplog.at_level(logging.INFO):
            work.tip(lost)
            await until(lambda: "no_first_job" in caplog.messages)
        work.tip(tips[0])
        await work.empty_on(tips[0])
        assert len(work.empty) == 1


async def test_a_tip_that_a_reorganisation_brings_gets_its_job(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    chain.mine(bitcoind, 3)
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy)) as work:
        await work.proven()
        proxy.fail("getblocktemplate", hang)
        tip = bitcoind.rpc("getbestblockhash")
        back = bitcoind.rpc("getblockheader", tip)["previousblockhash"]
        await asyncio.to_thread(bitcoind.rpc, "invalidateblock", tip)
        empty = await work.empty_on(back)
        assert empty.height == 3
        await asyncio.to_thread(submit, bitcoind, empty)


@pytest.mark.parametrize(
    "fault",
    [
        hang,
        refuse(-5, "Block not found"),
        result(None),
        result({"height": 2, "bits": "easy", "mediantime": 1, "confirmations": 1}),
        result({"height": 2, "bits": "ff000000", "mediantime": 1, "confirmations": 1}),
    ],
)
async def test_a_header_that_does_not_come_costs_one_job_and_no_more(
    fault: object,
    bitcoind: Bitcoind,
    proxy_of: MakeProxy,
    node_of: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(first_jobs, "HEADER_LIMIT_S", 0.2)
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        proxy.fail("getblocktemplate", hang)
        proxy.fail("getblockheader", fault, times=1)  # type: ignore[arg-type] # parametrize knows no types
        (first,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        with caplog.at_level(logging.INFO):
            work.tip(first)
            await until(lambda: "no_first_job" in caplog.messages)
        (second,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        work.tip(second)
        await work.empty_on(second)
        assert len(work.empty) == 1
        assert work.alerts == []


async def test_empty_blocks_that_the_node_refuses_are_an_alert_and_never_mined(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy), assemble_empty=greedy_proposal) as work:
        await until(lambda: work.alerts)
        proxy.seen.clear()
        for _ in range(3):
            (tip,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
            await work.full_on(tip)
        assert "getblockheader" not in proxy.seen
        assert not work.first_jobs.proven
    assert work.alerts == [("first_job_refused", "bad-cb-amount")]
    assert work.empty == []
    assert [r.levelname for r in caplog.records if r.message == "first_job_refused"] == ["ERROR"]


async def test_a_node_whose_template_says_otherwise_ends_the_empty_jobs(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    wrong = {"height": 1, "bits": "207fffff", "mediantime": 1_500_000_000, "confirmations": 1}
    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        proxy.fail("getblocktemplate", hang, times=1)
        proxy.fail("getblockheader", result(wrong), times=1)
        (tip,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        work.tip(tip)
        empty = await work.empty_on(tip)
        (full,) = await asyncio.to_thread(fetched_anew, bitcoind)
        work.first_jobs.template_taken(replace(empty, min_time_s=full), work.node, 0.0)
        ((event, message),) = work.alerts
        assert event == "first_job_refused"
        assert "min_time_s 1500000001 instead of" in message
        assert not work.first_jobs.proven


def fetched_anew(bitcoind: Bitcoind) -> tuple[int]:
    """The least time of the node's present template."""
    return (bitcoind.rpc("getblocktemplate", template_request("regtest"))["mintime"],)


async def test_there_is_no_empty_job_before_the_first_template_and_after_the_work_was_withdrawn(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        work.first_jobs.forget()
        proxy.seen.clear()
        (tip,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        work.tip(tip)
        await work.full_on(tip)
        assert "getblockheader" not in proxy.seen
        proxy.fail("getblocktemplate", hang)
        (tip,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        work.tip(tip)
        await work.empty_on(tip)


async def test_a_proposal_overtaken_by_a_new_block_is_made_again_on_the_next_template(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)

    async def overtake(_request: web.Request, forward: Forward) -> web.StreamResponse:
        reply = await forward()
        await asyncio.to_thread(chain.mine, bitcoind, 1)
        return reply

    proxy.fail("getblockheader", overtake, times=1)
    async with working(node_of(proxy)) as work:
        await work.proven()
        assert len(work.full) > 1
        assert work.alerts == []


def held(let_go: asyncio.Event) -> Fault:
    """The node hears the call only once it is let go."""

    async def fault(_request: web.Request, forward: Forward) -> web.StreamResponse:
        await let_go.wait()
        return await forward()

    return fault


async def test_the_template_is_asked_for_once_the_first_job_is_given(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_jobs, "HEAD_START_S", 60.0)
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        proxy.seen.clear()
        for _ in range(3):
            (tip,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
            work.tip(tip)
            await work.full_on(tip)
            assert work.empty[-1].prev_hash == internal(tip)
        assert proxy.seen == ["getblockheader", "getblocktemplate"] * 3


async def test_a_tip_that_overtakes_the_header_of_another_gets_its_own_head_start(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(first_jobs, "HEAD_START_S", 60.0)
    proxy, let_go = await proxy_of(bitcoind), asyncio.Event()
    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        proxy.seen.clear()
        proxy.fail("getblockheader", held(let_go), times=1)
        for tip in await asyncio.to_thread(chain.mine, bitcoind, 2):
            work.tip(tip)
            await until(lambda: proxy.seen)
        let_go.set()
        await work.full_on(tip)
        assert proxy.seen == ["getblockheader", "getblockheader", "getblocktemplate"]
        assert [one.prev_hash for one in work.empty] == [internal(tip)]


@pytest.mark.parametrize("fault", [refuse(-5, "Block not found"), result({"height": "?"})])
async def test_the_template_does_not_wait_for_a_first_job_there_cannot_be(
    fault: Fault,
    bitcoind: Bitcoind,
    proxy_of: MakeProxy,
    node_of: MakeNode,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(first_jobs, "HEAD_START_S", 60.0)
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        proxy.fail("getblockheader", fault, times=1)
        (tip,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        work.tip(tip)
        await work.full_on(tip)
        work.tip(tip)  # its template is there already
        await until(lambda: len(work.full) == 3)
        assert work.empty == []


async def test_the_header_is_asked_for_first_and_does_not_hold_up_the_template_for_long(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    async with working(node_of(proxy), watch=False) as work:
        await work.proven()
        proxy.seen.clear()
        proxy.fail("*", hang)
        (tip,) = await asyncio.to_thread(chain.mine, bitcoind, 1)
        work.tip(tip)
        await until(lambda: len(proxy.seen) == 2)
        assert proxy.seen == ["getblockheader", "getblocktemplate"]
