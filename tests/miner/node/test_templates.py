import asyncio
import contextlib
import dataclasses
from collections.abc import AsyncIterator, Awaitable, Callable, Hashable
from contextlib import asynccontextmanager

import pytest
from aiohttp import web

from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcUnavailableError
from miner.node.templates import (
    NetworkMismatchError,
    PayoutAddressError,
    ProposalRefusedError,
    TemplatePacing,
    TemplateService,
    check_chain,
    either,
    networks_like,
    validate_payout,
)
from miner.node.tips import Pacing, Tip, TipWatcher
from miner.work.job import block_bytes
from miner.work.solo_job import solo_job
from miner.work.template import SignetChallengeError, Template, template_request
from regtest.bitcoind import Bitcoind
from regtest.chain import ADDRESS_KINDS, AddressKind, fund, mine, new_address, script_of, send_transactions
from tests.miner.node.harness import OP_TRUE_P2WSH, Forward, Proxy, answer, drop, hang, refuse, result, until

MakeNode = Callable[..., Node]
MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

pytestmark = pytest.mark.bitcoind

QUICK = TemplatePacing(refresh_s=60.0, refused_s=0.1)


def proposal(template: Template) -> tuple[Hashable, bytes]:
    job = solo_job(template, "1", OP_TRUE_P2WSH, b"/test/", 4, 8, clean=True, now=0.0)
    header, _digest = job.header(bytes(4), bytes(8), ntime_s=job.ntime_s, nonce=0, version=job.version)
    return "p2wsh", block_bytes(job, header, bytes(4), bytes(8))


def greedy_proposal(template: Template) -> tuple[Hashable, bytes]:
    """Pays itself one satoshi too much."""
    return proposal(dataclasses.replace(template, reward_sat=template.reward_sat + 1))


class Served:
    """A running TemplateService, its TipWatcher if wanted, and everything it said, in order."""

    def __init__(
        self, nodes: NodeSet, assemble: Callable[[Template], tuple[Hashable, bytes]], pacing: TemplatePacing
    ) -> None:
        self.nodes = nodes
        self.templates: list[Template] = []
        self.events: list[str] = []
        self.alerts: list[tuple[str, str]] = []
        self.service = TemplateService(
            nodes,
            assemble,
            self._template,
            on_tip=lambda _tip: self.events.append("tip"),
            on_withdraw=lambda: self.events.append("withdraw"),
            on_alert=lambda event, message: self.alerts.append((event, message)),
            pacing=pacing,
        )

    def _template(self, template: Template, node: Node, fetched_at: float) -> None:
        assert abs(template.cur_time_s - fetched_at) < 7200
        self.templates.append(template)
        self.events.append(f"template of {node.name}")

    def tip(self, display_hash: str) -> None:
        self.service.new_tip(Tip(bytes.fromhex(display_hash)[::-1], next(iter(self.nodes)), "zmq", 0.0))


@asynccontextmanager
async def serving(
    *nodes: Node,
    assemble: Callable[[Template], tuple[Hashable, bytes]] = proposal,
    pacing: TemplatePacing = QUICK,
    watch: Pacing | None = None,
    network: str = "regtest",
) -> AsyncIterator[Served]:
    served = Served(NodeSet(nodes, network), assemble, pacing)

    async def run() -> None:
        async with asyncio.TaskGroup() as group:
            group.create_task(served.service.run())
            if watch is not None:
                watcher = TipWatcher(
                    served.nodes, template_request(network), on_refresh=served.service.refresh, pacing=watch
                )
                group.create_task(watcher.run(served.service.new_tip))

    running = asyncio.ensure_future(run())
    try:
        yield served
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


async def test_a_template_with_its_transactions_is_served_at_start(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    fund(bitcoind, 2)
    send_transactions(bitcoind, [1111, 2222])
    async with serving(node_of(bitcoind)) as served:
        await until(lambda: served.templates)

    (template,) = served.templates
    assert template.height == 103
    assert template.fees_sat == 3333
    assert served.service.current is template


async def test_a_new_tip_is_told_before_its_template_is_fetched(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    async with serving(node_of(bitcoind)) as served:
        await until(lambda: served.templates)
        (new,) = mine(bitcoind, 1)
        served.tip(new)
        assert served.events == ["template of a", "tip"]
        await until(lambda: len(served.templates) == 2)
        served.tip(new)  # told again, as after a failover: nothing became stale
        await until(lambda: len(served.templates) == 3)

    assert served.events == ["template of a", "tip", "template of a", "template of a"]
    assert served.templates[1].prev_hash == bytes.fromhex(new)[::-1]


async def test_templates_follow_the_watch(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    async with serving(node_of(bitcoind), watch=Pacing(poll_s=0.1)) as served:
        for height in range(1, 6):
            await until(lambda height=height: served.templates and served.templates[-1].height == height)
            await asyncio.to_thread(mine, bitcoind, 1)


async def test_a_template_is_refreshed_when_it_grows_old(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    async with serving(node_of(bitcoind), pacing=TemplatePacing(refresh_s=0.1)) as served:
        await until(lambda: len(served.templates) == 3)


async def test_a_failed_fetch_is_tried_again_and_reported_once(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("getblocktemplate", drop, times=2)
    proxy.fail("getblocktemplate", refuse(-9, "Bitcoin is not connected!"), times=2)
    async with serving(node_of(proxy)) as served:
        await until(lambda: served.templates)

    refusals = [record for record in caplog.records if "not connected" in getattr(record, "error", "")]
    assert [record.message for record in refusals] == ["template_unavailable"]
    assert served.alerts == []


async def test_the_next_node_serves_when_the_first_cannot(
    bitcoind_factory: Callable[..., Bitcoind], proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind_factory())
    proxy.fail("getblocktemplate", refuse(-10, "Bitcoin is in initial sync and waiting for blocks..."))
    async with serving(node_of(proxy, "one"), node_of(bitcoind_factory(), "two")) as served:
        await until(lambda: served.templates)

    assert served.events == ["template of two"]


async def test_a_node_without_peers_does_not_hold_the_work_on_its_own_old_tip(
    bitcoind_factory: Callable[..., Bitcoind], proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    alone, well = (
        bitcoind_factory(),
        bitcoind_factory(),
    )  # not connected: `alone` knows the genesis block only
    proxy = await proxy_of(alone)
    proxy.fail("getblocktemplate", refuse(-9, "Bitcoin is not connected!"))
    (tip,) = mine(well, 1)
    pacing = TemplatePacing(refresh_s=0.5)
    async with serving(
        node_of(proxy, "alone"), node_of(well, "well"), pacing=pacing, watch=Pacing(poll_s=0.05)
    ) as served:
        await until(lambda: served.templates)
        assert served.templates[-1].prev_hash == bytes.fromhex(tip)[::-1]
        assert served.nodes.active is not None
        assert served.nodes.active.name == "well"

        await asyncio.to_thread(alone.connect, well)
        proxy.heal()
        await until(lambda: served.nodes.active is not None and served.nodes.active.name == "alone", 30)
        assert served.templates[-1].prev_hash == bytes.fromhex(tip)[::-1]


async def test_work_is_withdrawn_when_the_only_node_has_lost_its_peers(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    pacing = TemplatePacing(refresh_s=0.1, job_max_age_s=1.0)
    async with serving(node_of(proxy), pacing=pacing, watch=Pacing(poll_s=0.05)) as served:
        await until(lambda: served.templates)
        proxy.fail("getblocktemplate", refuse(-9, "Bitcoin is not connected!"))
        await until(lambda: "withdraw" in served.events, 5)
        proxy.heal()
        await until(lambda: served.service.current is not None, 5)


@pytest.mark.parametrize(
    ("change", "words"),
    [
        ({"rules": ["csv", "!unheard_of"]}, "unheard_of"),
        ({"default_witness_commitment": "6a24aa21a9ed" + "00" * 32}, "witness commitment"),
        ({"coinbasevalue": 50_0000_0001}, "coinbasevalue"),
    ],
)
async def test_a_template_that_must_not_be_mined_is_an_alert_and_the_last_good_one_stays(
    change: dict[str, object],
    words: str,
    bitcoind: Bitcoind,
    proxy_of: MakeProxy,
    node_of: MakeNode,
) -> None:
    proxy = await proxy_of(bitcoind)
    async with serving(node_of(proxy)) as served:
        await until(lambda: served.templates)
        wrong = {**bitcoind.rpc("getblocktemplate", template_request("regtest")), **change}
        proxy.fail("getblocktemplate", result(wrong), times=3)
        served.service.refresh()
        await until(lambda: served.alerts)
        assert served.service.current is served.templates[0]
        await until(lambda: len(served.templates) == 2)

    ((event, message),) = served.alerts  # three times refused, once told
    assert event == "template_refused"
    assert words in message


@pytest.mark.parametrize(
    "fault",
    [
        answer("<html>"),
        answer('{"result": ' + "[" * 100_000),
        answer(b'{"result": {"previousblockhash": "\xff"}}'),
        result(None),
        result({"height": "high"}),
    ],
)
async def test_garbage_instead_of_a_template_is_survived(
    fault: object, bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("getblocktemplate", fault, times=2)  # type: ignore[arg-type] # parametrize knows no types
    async with serving(node_of(proxy)) as served:
        await until(lambda: served.templates)


async def test_a_shape_is_proven_once(bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode) -> None:
    proxy = await proxy_of(bitcoind)
    async with serving(node_of(proxy)) as served:
        for count in range(1, 4):
            await until(lambda count=count: len(served.templates) == count)
            served.service.refresh()

    assert len(proxy.seen) in {4, 5}  # one proposal among the fetches


async def test_a_refused_shape_is_an_alert_and_never_published(
    bitcoind: Bitcoind, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    async with serving(node_of(bitcoind), assemble=greedy_proposal) as served:
        await until(lambda: served.alerts)
        await asyncio.sleep(0.5)  # refused again and again meanwhile

    assert served.alerts == [("proposal_refused", "bad-cb-amount")]
    assert served.templates == []
    assert [r.levelname for r in caplog.records if r.message == "proposal_refused"] == ["ERROR"]


async def test_a_block_that_does_not_decode_is_a_refused_shape(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    node = node_of(bitcoind)
    service = TemplateService(NodeSet([node], "regtest"), proposal, lambda *_: None)

    with pytest.raises(ProposalRefusedError, match="Block decode failed"):
        await service.prove(node, "shape", b"\x00")


async def test_a_proposal_overtaken_by_a_new_block_is_asked_again(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)

    async def overtake(_request: web.Request, forward: Forward) -> web.StreamResponse:
        reply = await forward()
        await asyncio.to_thread(mine, bitcoind, 1)
        return reply

    proxy.fail("getblocktemplate", overtake, times=1)
    async with serving(node_of(proxy)) as served:
        await until(lambda: served.templates)

    assert served.templates[0].height == 2
    assert served.alerts == []
    assert proxy.seen == ["getblocktemplate"] * 4  # template, inconclusive, template, proven


async def test_a_template_of_before_the_new_tip_is_not_published(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    async with serving(node_of(proxy)) as served:
        await until(lambda: served.templates)

        async def late(_request: web.Request, forward: Forward) -> web.StreamResponse:
            reply = await forward()
            (new,) = await asyncio.to_thread(mine, bitcoind, 1)
            served.tip(new)
            return reply

        proxy.fail("getblocktemplate", late, times=1)
        served.service.refresh()
        await until(lambda: len(served.templates) >= 2)

    assert served.events[:3] == ["template of a", "tip", "template of a"]
    assert served.templates[1].height == 2


async def test_work_is_withdrawn_when_no_node_answers_and_back_within_seconds_of_its_return(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    pacing = TemplatePacing(refresh_s=60.0, job_max_age_s=1.5)
    async with serving(node_of(bitcoind), pacing=pacing, watch=Pacing(poll_s=0.2)) as served:
        await until(lambda: served.templates)
        await asyncio.sleep(2)
        assert "withdraw" not in served.events  # the poll hears it, though the template is old
        await asyncio.to_thread(bitcoind.kill)
        await asyncio.sleep(0.5)
        assert served.service.current is not None
        await until(lambda: "withdraw" in served.events)
        assert served.service.current is None
        await asyncio.to_thread(bitcoind.start)
        await until(lambda: served.service.current is not None, limit_s=5)

    assert served.events.count("withdraw") == 1
    assert served.alerts == []


async def test_a_hanging_node_does_not_keep_the_work_alive(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    pacing = TemplatePacing(refresh_s=0.1, fetch_limit_s=30.0, job_max_age_s=0.5)
    async with serving(node_of(proxy), pacing=pacing) as served:
        await until(lambda: served.templates)
        proxy.fail("*", hang)
        await until(lambda: "withdraw" in served.events)


async def test_a_node_that_hangs_while_it_is_asked_does_not_hold_up_the_next_one(
    bitcoind_factory: Callable[..., Bitcoind], proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    one, two = bitcoind_factory(), bitcoind_factory()
    one.connect(two)
    mine(one, 1)
    proxy = await proxy_of(one)
    watch = Pacing(poll_s=0.05, poll_limit_s=0.3)
    async with serving(node_of(proxy, "one", zmq=False), node_of(two, "two"), watch=watch) as served:
        await until(lambda: served.templates and all(node.up for node in served.nodes))
        proxy.fail("*", hang)
        served.service.refresh()
        (tip,) = await asyncio.to_thread(mine, two, 1)
        await until(lambda: next(iter(served.nodes)).up is False)
        for _ in range(3):
            served.service.refresh()  # again, while the answer is being given up
        await until(lambda: served.templates[-1].prev_hash == bytes.fromhex(tip)[::-1], 3)

    assert served.events[-1] == "template of two"


@pytest.mark.parametrize("kind", ADDRESS_KINDS)
async def test_every_kind_of_payout_is_taken_from_the_node_and_proven(
    kind: AddressKind, bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    node = node_of(bitcoind)
    address = new_address(bitcoind, kind)
    script = await validate_payout(node, address)
    assert script == script_of(bitcoind, address)

    def assemble(template: Template) -> tuple[Hashable, bytes]:
        job = solo_job(template, "1", script, b"/test/", 4, 8, clean=True, now=0.0)
        header, _digest = job.header(bytes(4), bytes(8), ntime_s=job.ntime_s, nonce=0, version=job.version)
        return kind, block_bytes(job, header, bytes(4), bytes(8))

    async with serving(node, assemble=assemble) as served:
        await until(lambda: served.templates)


@pytest.mark.parametrize(
    ("address", "words"),
    [
        ("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4", "looks like an address of main"),
        ("tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx", "looks like an address of test, testnet4 or signet"),
        ("1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2", "looks like an address of main"),
        ("nonsense", "is refused by a"),
        ("", "is refused by a"),
    ],
)
async def test_an_address_the_node_does_not_own_up_to_is_refused_with_words(
    address: str, words: str, bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    with pytest.raises(PayoutAddressError, match=words):
        await validate_payout(node_of(bitcoind), address)


@pytest.mark.parametrize(
    ("address", "networks"),
    [
        ("BC1QW508D6QEJXTDG4Y5R3ZARVARY0C5XW7KV8F3T4", ("main",)),
        ("bcrt1q", ("regtest",)),
        ("3EktnHQD7RiAE6uzMj2ZifT9YgRrkSgzQX", ("main",)),
        ("mipcBbFg9gMiCh81Kj8tqqdgoZub1ZJRfn", ("test", "testnet4", "signet", "regtest")),
        ("miner1", ()),
        ("ltc1qw508d6qejxtdg4y5r3zarvary0c5xw7kgmn4n9", ()),
        ("", ()),
    ],
)
def test_the_networks_that_an_address_may_be_of_are_guessed_for_the_words_only(
    address: str, networks: tuple[str, ...]
) -> None:
    assert networks_like(address) == networks


def test_networks_are_told_as_a_choice() -> None:
    assert either(("main",)) == "main"
    assert either(("test", "signet")) == "test or signet"
    assert either(("a", "b", "c")) == "a, b or c"


async def test_what_is_made_of_the_present_template_is_judged_by_the_active_node(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    def another_shape(template: Template) -> tuple[Hashable, bytes]:
        return "another", proposal(template)[1]

    async with serving(node_of(bitcoind)) as served:
        await until(lambda: served.templates)
        await served.service.prove_now(another_shape)
        with pytest.raises(ProposalRefusedError, match="bad-cb-amount"):
            await served.service.prove_now(lambda template: ("greedy", greedy_proposal(template)[1]))


async def test_a_proposal_of_a_template_that_is_overtaken_is_made_again_of_the_next(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    heights: list[int] = []

    def overtaken(template: Template) -> tuple[Hashable, bytes]:
        heights.append(template.height)
        if len(heights) == 1:
            served.tip(*mine(bitcoind, 1))
        return "another", proposal(template)[1]

    async with serving(node_of(bitcoind)) as served:
        await until(lambda: served.templates)
        await served.service.prove_now(overtaken)
    assert heights[0] == 1
    assert heights[-1] == 2


async def test_without_a_template_nothing_is_proposed(node_of: MakeNode, bitcoind: Bitcoind) -> None:
    service = TemplateService(NodeSet([node_of(bitcoind)], "regtest"), proposal, lambda *_: None)
    with pytest.raises(RpcUnavailableError, match="no block template"):
        await service.prove_now(proposal)


async def test_a_node_of_another_network_is_refused(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    await check_chain(node_of(bitcoind), "regtest")
    with pytest.raises(NetworkMismatchError, match="a is on 'regtest', the configuration says 'main'"):
        await check_chain(node_of(bitcoind), "main")


async def test_a_signet_of_our_own_is_minable(signet_bitcoind: Bitcoind, node_of: MakeNode) -> None:
    node = node_of(signet_bitcoind)
    await check_chain(node, "signet")
    async with serving(node, network="signet") as served:
        await until(lambda: served.templates)

    assert served.templates[0].witness_commitment is not None


@pytest.mark.parametrize("told_by", ["getblockchaininfo", "getblocktemplate"])
async def test_a_signet_that_wants_signatures_is_refused(
    told_by: str, signet_bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(signet_bitcoind)
    public = {"chain": "signet", "signet_challenge": "512103ad5e0edad18cb1f0"}
    old = {"chain": "signet"}
    proxy.fail("getblockchaininfo", result(public if told_by == "getblockchaininfo" else old))
    proxy.fail("getblocktemplate", result(public))

    with pytest.raises(SignetChallengeError, match="blocks need a signature"):
        await check_chain(node_of(proxy), "signet")
