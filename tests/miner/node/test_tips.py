import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import msgspec
import pytest
from aiohttp import web

from miner.node.nodes import Node, NodeSet
from miner.node.tips import Pacing, Tip, TipWatcher
from miner.work.template import template_request
from regtest.bitcoind import Bitcoind
from regtest.chain import mine
from tests.miner.node.harness import Fault, Forward, Proxy, answer, drop, hang, refuse, result, until

MakeNode = Callable[..., Node]
MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

pytestmark = pytest.mark.bitcoind


class Watch:
    """A running TipWatcher and everything it said."""

    def __init__(self, nodes: NodeSet, pacing: Pacing) -> None:
        self.nodes = nodes
        self.tips: list[Tip] = []
        self.health: list[tuple[str, bool, str]] = []
        self.refreshes = 0
        self.watcher = TipWatcher(
            nodes,
            template_request(nodes.network),
            on_health=lambda node, up, error: self.health.append((node.name, up, error)),
            on_refresh=self._refresh,
            pacing=pacing,
        )

    def _refresh(self) -> None:
        self.refreshes += 1

    def hashes(self) -> list[str]:
        return [tip.hash[::-1].hex() for tip in self.tips]


@asynccontextmanager
async def watching(
    *nodes: Node, network: str = "regtest", pacing: Pacing | None = None, lag_s: float = 10.0
) -> AsyncIterator[Watch]:
    watch = Watch(NodeSet(nodes, network, lag_s=lag_s), pacing or Pacing())
    running = asyncio.ensure_future(watch.watcher.run(watch.tips.append))
    try:
        yield watch
    finally:
        running.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await running


def rarely() -> Pacing:
    """So that the poll is not what sees a new tip."""
    return Pacing(poll_s=60.0)


async def mined(bitcoind: Bitcoind, blocks: int = 1) -> list[str]:
    return await asyncio.to_thread(mine, bitcoind, blocks)


async def test_zmq_tells_of_a_tip_within_milliseconds_and_only_once(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    mine(bitcoind, 1)  # a recent block: bitcoind publishes nothing in its initial download
    async with watching(node_of(bitcoind), pacing=rarely()) as watch:
        await until(lambda: watch.tips)
        await asyncio.sleep(0.3)  # subscribing takes a moment
        (new,) = await mined(bitcoind)
        await until(lambda: len(watch.tips) == 2)
        await asyncio.sleep(0.3)

    assert watch.hashes()[1:] == [new]
    assert watch.tips[1].source in {"zmq", "wait"}


async def test_the_wait_tells_of_tips_without_zmq_and_the_node_makes_no_template_for_it(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: watch.tips)
        for count in range(2, 12):
            (new,) = await mined(bitcoind)
            await until(lambda count=count: len(watch.tips) == count)
            assert watch.hashes()[-1] == new

    assert {tip.source for tip in watch.tips[1:]} == {"wait"}
    assert "getblocktemplate" not in proxy.seen


async def test_a_block_between_two_waits_is_told_by_the_second(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy, between = await proxy_of(bitcoind), list[str]()

    async def late(_request: web.Request, forward: Forward) -> web.StreamResponse:
        between.extend(await mined(bitcoind))
        return await forward()

    proxy.fail("waitfornewblock", late, times=3)
    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: len(watch.tips) == 4)

    assert watch.hashes()[1:] == between
    assert {tip.source for tip in watch.tips[1:]} == {"wait"}


async def test_a_block_between_two_waits_at_a_node_that_takes_no_tip_is_told_by_a_poll(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy, between = await proxy_of(bitcoind), list[str]()

    async def old_and_late(request: web.Request, forward: Forward) -> web.StreamResponse:
        (_limit, *more) = msgspec.json.decode(await request.read())["params"]
        if more:
            return await refuse(-1, "waitfornewblock (timeout)")(request, forward)
        between.extend(await mined(bitcoind))
        return await forward()

    proxy.fail("waitfornewblock", old_and_late, times=2)
    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: len(watch.tips) == 2)
        assert (watch.hashes()[1:], watch.tips[1].source) == (between, "poll")
        (new,) = await mined(bitcoind)  # the wait goes on meanwhile
        await until(lambda: watch.hashes()[-1] == new)

    assert "getblocktemplate" not in proxy.seen


async def test_waits_end_by_themselves_and_are_renewed(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    pacing = Pacing(poll_s=60.0, wait_s=0.1)
    async with watching(node_of(proxy, zmq=False), pacing=pacing) as watch:
        await until(lambda: proxy.seen.count("waitfornewblock") > 5)
        (new,) = await mined(bitcoind)
        await until(lambda: watch.hashes()[-1] == new)
        assert watch.tips[-1].source == "wait"
    # What nobody listens to any more frees the node's thread, too.
    await until(
        lambda: [one["method"] for one in bitcoind.rpc("getrpcinfo")["active_commands"]] == ["getrpcinfo"]
    )


@pytest.mark.parametrize("refusal", [refuse(-32601, "Method not found"), answer("", status=403)])
async def test_a_node_that_does_not_know_or_allow_the_wait_is_longpolled(
    refusal: Fault, bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", refusal)
    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: proxy.seen.count("getblocktemplate") == 2)
        (new,) = await mined(bitcoind)
        await until(lambda: len(watch.tips) == 2)
        waits = proxy.seen.count("waitfornewblock")
        assert waits <= 2
        await mined(bitcoind)
        await until(lambda: len(watch.tips) == 3)

    assert watch.hashes()[1] == new
    assert {tip.source for tip in watch.tips[1:]} == {"longpoll"}
    assert proxy.seen.count("waitfornewblock") == waits


async def test_a_node_that_refused_the_wait_is_asked_for_it_again_later(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", refuse(-1, "not today"), times=2)
    pacing = Pacing(poll_s=60.0, wait_again_s=1e-6)
    async with watching(node_of(proxy, zmq=False), pacing=pacing) as watch:
        await until(lambda: proxy.seen.count("waitfornewblock") == 3)
        (new,) = await mined(bitcoind)
        await until(lambda: watch.hashes()[-1] == new)

    assert watch.tips[-1].source == "wait"


@pytest.mark.parametrize("fault", [drop, answer("garbage"), result({"hash": "ab", "height": 1})])
async def test_a_wait_that_fails_is_tried_again(
    fault: Fault, bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", fault, times=3)
    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: proxy.seen.count("waitfornewblock") == 4)
        (new,) = await mined(bitcoind)
        await until(lambda: watch.hashes()[-1] == new)

    assert watch.tips[-1].source == "wait"
    assert "getblocktemplate" not in proxy.seen


async def test_a_wait_that_hangs_is_given_up_and_the_poll_goes_on(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", hang)
    pacing = Pacing(poll_s=0.05, wait_s=0.2, wait_grace_s=0.2)
    async with watching(node_of(proxy, zmq=False), pacing=pacing) as watch:
        await until(lambda: watch.tips)
        (new,) = await mined(bitcoind)
        await until(lambda: watch.hashes()[-1] == new)
        await until(lambda: proxy.seen.count("waitfornewblock") > 2)
        assert watch.tips[-1].source == "poll"

    assert [up for _name, up, _error in watch.health] == [True]


async def test_the_wait_works_again_after_the_node_was_restarted(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    async with watching(node_of(bitcoind, zmq=False), pacing=Pacing(poll_s=0.3)) as watch:
        await until(lambda: watch.tips)
        await asyncio.to_thread(bitcoind.stop)
        await until(lambda: watch.nodes.active is None)
        await asyncio.to_thread(bitcoind.start)
        await until(lambda: watch.nodes.active is not None)
        sources = set()
        for _ in range(5):
            (new,) = await mined(bitcoind)
            await until(lambda new=new: watch.hashes()[-1] == new)
            sources.add(watch.tips[-1].source)

    assert "wait" in sources


async def test_the_poll_tells_of_a_tip_when_all_else_fails(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", refuse(-32601, "Method not found"))
    proxy.fail("getblocktemplate", refuse(-1, "no templates today"))
    async with watching(node_of(proxy, zmq=False), pacing=Pacing(poll_s=0.05)) as watch:
        await until(lambda: watch.tips)
        before = time.time()
        (new,) = await mined(bitcoind)
        await until(lambda: len(watch.tips) == 2)

    assert watch.hashes()[1] == new
    assert watch.tips[1].source == "poll"
    assert before <= watch.tips[1].seen_at <= time.time()


async def test_many_blocks_end_at_the_right_tip_with_none_told_twice(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    mine(bitcoind, 1)
    async with watching(node_of(bitcoind), pacing=Pacing(poll_s=0.02)) as watch:
        await until(lambda: watch.tips)
        for _ in range(30):
            last = (await mined(bitcoind))[0]
        await until(lambda: watch.hashes()[-1] == last)
        await asyncio.sleep(0.2)

    assert watch.hashes()[-1] == last
    assert len(set(watch.hashes())) == len(watch.tips)


async def test_a_chain_that_goes_back_to_an_old_tip_is_followed(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    first, second = mine(bitcoind, 2)
    async with watching(node_of(bitcoind), pacing=Pacing(poll_s=0.1)) as watch:
        await until(lambda: watch.hashes()[-1:] == [second])
        await asyncio.to_thread(bitcoind.rpc, "invalidateblock", second)
        await until(lambda: watch.hashes()[-1] == first)
        await asyncio.to_thread(bitcoind.rpc, "reconsiderblock", second)
        await until(lambda: watch.hashes()[-1] == second)

    assert watch.hashes() == [second, first, second]


async def test_late_news_of_an_old_tip_are_not_believed(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    old, new = mine(bitcoind, 2)
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", refuse(-32601, "Method not found"))
    proxy.fail("getblocktemplate", refuse(-1, "no templates today"))
    node = node_of(proxy, zmq=False)
    async with watching(node, pacing=rarely()) as watch:
        await until(lambda: watch.tips)
        for late in (
            old,
            new,
        ):  # bitcoind publishes from a queue: both may come after the poll has seen the new one
            watch.watcher._seen(node, bytes.fromhex(late)[::-1], "zmq")
        await asyncio.sleep(0.3)
        assert watch.hashes() == [new]

        (next_one,) = await mined(bitcoind)
        watch.watcher._seen(node, bytes.fromhex(next_one)[::-1], "zmq")  # no longer behind: believed at once
        assert watch.hashes() == [new, next_one]


async def test_changed_transactions_are_a_reason_to_refresh_and_not_a_tip(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    mine(bitcoind, 1)
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", refuse(-32601, "Method not found"))

    async def soon(request: web.Request, _forward: Forward) -> web.StreamResponse:
        # bitcoind looks for new transactions only a minute after the longpoll came; this answers as it does then.
        await asyncio.sleep(0.1)
        return await result(bitcoind.rpc("getblocktemplate", template_request("regtest")))(request, _forward)

    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: watch.tips)
        before = watch.refreshes
        proxy.fail("getblocktemplate", soon, times=2)
        await until(lambda: proxy.seen.count("getblocktemplate") >= 1)
        await mined(bitcoind)
        await until(lambda: watch.refreshes > before)

    assert len(watch.tips) == 2


async def test_a_nodes_death_and_return_are_told_once_each(
    bitcoind: Bitcoind, node_of: MakeNode, caplog: pytest.LogCaptureFixture
) -> None:
    async with watching(node_of(bitcoind), pacing=Pacing(poll_s=0.1)) as watch:
        await until(lambda: watch.tips)
        await asyncio.to_thread(bitcoind.kill)
        await until(lambda: len(watch.health) == 2)
        assert watch.nodes.active is None
        await asyncio.sleep(3)  # many tries fail meanwhile, silently
        refreshes = watch.refreshes
        await asyncio.to_thread(bitcoind.start)
        returned_at = time.monotonic()
        await until(lambda: len(watch.health) == 3)
        back_after_s = time.monotonic() - returned_at
        assert watch.refreshes == refreshes + 1
        (new,) = await mined(bitcoind)
        await until(lambda: watch.hashes()[-1] == new)

    assert [(name, up) for name, up, _error in watch.health] == [("a", True), ("a", False), ("a", True)]
    assert "is bitcoind running" in watch.health[1][2] or "connection lost" in watch.health[1][2]
    assert back_after_s < 2.5
    events = [record.message for record in caplog.records if record.message in {"node_up", "node_down"}]
    assert events.count("node_down") <= 1


async def test_zmq_works_again_after_the_node_was_restarted(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    mine(bitcoind, 1)
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", refuse(-32601, "Method not found"))
    proxy.fail("getblocktemplate", refuse(-1, "no templates today"))
    async with watching(node_of(proxy), pacing=Pacing(poll_s=0.3)) as watch:
        await until(lambda: watch.tips)
        await asyncio.to_thread(bitcoind.stop)
        await asyncio.to_thread(bitcoind.start)
        await mined(bitcoind)  # out of the initial download again
        await until(lambda: watch.nodes.active is not None)
        await asyncio.sleep(2.5)  # ZMQ's own reconnection
        sources = set()
        for _ in range(5):
            count = len(watch.tips)
            await mined(bitcoind)
            await until(lambda count=count: len(watch.tips) > count)
            sources.add(watch.tips[-1].source)

    assert "zmq" in sources


async def test_another_node_takes_over_and_the_first_comes_back(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    one, two = bitcoind_factory(), bitcoind_factory()
    one.connect(two)
    mine(one, 1)
    async with watching(node_of(one, "one"), node_of(two, "two"), pacing=Pacing(poll_s=0.1)) as watch:
        await until(lambda: len(watch.health) == 2 and watch.tips)
        assert watch.nodes.active is not None
        assert watch.nodes.active.name == "one"
        await asyncio.to_thread(one.kill)
        await until(lambda: watch.nodes.active is not None and watch.nodes.active.name == "two")
        (new,) = await mined(two)
        await until(lambda: watch.hashes()[-1] == new)
        assert watch.tips[-1].node.name == "two"
        await asyncio.to_thread(one.start)
        await asyncio.to_thread(one.connect, two)  # it is behind until then
        await until(lambda: watch.nodes.active is not None and watch.nodes.active.name == "one")


async def test_a_tip_only_another_node_has_is_not_acted_upon(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    one, two = bitcoind_factory(), bitcoind_factory()  # not connected
    async with watching(node_of(one, "one"), node_of(two, "two"), pacing=Pacing(poll_s=0.05)) as watch:
        await until(lambda: len(watch.health) == 2 and watch.tips)
        (ahead,) = await mined(two)
        await until(lambda: next(n for n in watch.nodes if n.name == "two").tip == bytes.fromhex(ahead)[::-1])
        await asyncio.sleep(0.3)
        assert len(watch.tips) == 1
        await asyncio.to_thread(one.connect, two)
        await until(lambda: watch.hashes()[-1] == ahead, limit_s=30)

    assert watch.tips[-1].node.name == "one"


async def test_a_node_that_returns_behind_the_other_does_not_take_over_before_it_has_caught_up(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    one, two = bitcoind_factory(), bitcoind_factory()
    one.connect(two)
    mine(one, 1)
    one.flush()
    async with watching(node_of(one, "one"), node_of(two, "two"), pacing=Pacing(poll_s=0.05)) as watch:
        await until(lambda: len(watch.health) == 2 and watch.tips)
        await asyncio.to_thread(one.kill)
        await until(lambda: watch.nodes.active is not None and watch.nodes.active.name == "two")
        newest = (await mined(two, 3))[-1]
        await until(lambda: watch.hashes()[-1] == newest)
        await asyncio.to_thread(one.start)
        await until(lambda: watch.health[-1][:2] == ("one", True))
        await asyncio.sleep(0.5)
        assert watch.nodes.active is not None
        assert watch.nodes.active.name == "two"
        assert watch.hashes()[-1] == newest

        await asyncio.to_thread(one.connect, two)
        await until(lambda: watch.nodes.active is not None and watch.nodes.active.name == "one", limit_s=30)
        await asyncio.sleep(0.2)
        assert watch.hashes()[-1] == newest


async def test_an_active_node_that_stays_behind_the_other_hands_over(
    bitcoind_factory: Callable[..., Bitcoind], node_of: MakeNode
) -> None:
    one, two = bitcoind_factory(), bitcoind_factory()  # not connected
    async with watching(
        node_of(one, "one"), node_of(two, "two"), pacing=Pacing(poll_s=0.05), lag_s=0.5
    ) as watch:
        await until(lambda: len(watch.health) == 2 and watch.tips)
        (ahead,) = await mined(two)
        await until(lambda: watch.hashes()[-1] == ahead)
        assert watch.tips[-1].node.name == "two"


async def test_a_node_that_answers_every_wait_at_once_is_not_asked_without_pause(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    (tip,) = mine(bitcoind, 1)
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", result({"hash": tip, "height": 1}))
    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: watch.tips)
        await asyncio.sleep(1)

    assert proxy.seen.count("waitfornewblock") < 10


async def test_a_node_that_answers_every_longpoll_at_once_is_not_asked_without_pause(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    mine(bitcoind, 1)
    proxy = await proxy_of(bitcoind)
    proxy.fail("waitfornewblock", refuse(-32601, "Method not found"))
    proxy.fail("getblocktemplate", result(bitcoind.rpc("getblocktemplate", template_request("regtest"))))
    async with watching(node_of(proxy, zmq=False), pacing=rarely()) as watch:
        await until(lambda: watch.tips)
        await asyncio.sleep(1)

    assert proxy.seen.count("getblocktemplate") < 10


async def test_a_node_that_hangs_is_down_and_up_again_when_it_answers(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    async with watching(
        node_of(proxy, zmq=False), pacing=Pacing(poll_s=0.05, poll_limit_s=0.2, backoff_cap_s=0.2)
    ) as watch:
        await until(lambda: watch.tips)
        proxy.fail("*", hang)
        await until(lambda: len(watch.health) == 2)
        assert "no answer within 0.2 s" in watch.health[1][2]
        proxy.heal()
        await until(lambda: len(watch.health) == 3)


async def test_a_node_warming_up_is_down_until_it_is_warm(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("getblockchaininfo", refuse(-28, "Verifying blocks..."), times=4)
    async with watching(node_of(proxy, zmq=False), pacing=Pacing(poll_s=0.05, backoff_cap_s=0.1)) as watch:
        await until(lambda: watch.tips)

    assert [(up, "Verifying blocks" in error) for _name, up, error in watch.health] == [
        (False, True),
        (True, False),
    ]


async def test_on_a_public_chain_a_node_in_its_initial_download_gives_no_work(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    # A fresh regtest node is in initial download until its first recent block, which on main would be disqualifying.
    async with watching(node_of(bitcoind), network="main", pacing=Pacing(poll_s=0.05)) as watch:
        await until(lambda: watch.health)
        assert watch.nodes.active is None
        assert watch.tips == []
        (new,) = await mined(bitcoind)
        await until(lambda: watch.hashes() == [new])


async def test_an_unusable_zmq_address_leaves_the_other_sources(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    node = node_of(bitcoind)
    node.zmq_hashblock = "tcp://"
    async with watching(node, pacing=Pacing(poll_s=0.05)) as watch:
        await until(lambda: watch.tips)
        (new,) = await mined(bitcoind)
        await until(lambda: watch.hashes()[-1] == new)


async def test_the_watch_of_a_quiet_chain_costs_under_one_percent_of_a_core(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    mine(bitcoind, 1)
    async with watching(node_of(bitcoind)) as watch:
        await until(lambda: watch.tips)
        await asyncio.sleep(0.5)
        before = time.process_time()
        await asyncio.sleep(6)
        spent = time.process_time() - before

    assert spent / 6 < 0.01
