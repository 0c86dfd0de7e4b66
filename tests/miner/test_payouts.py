"""User names as payout addresses: what real nodes make of them, and that strangers cannot flood a node with them."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import pytest
from aiohttp import web

from miner.node.nodes import Node, NodeSet
from miner.node.rpc import RpcClient, RpcUnavailableError, UserPassword
from miner.node.templates import ProposalRefusedError
from miner.payouts import Payee, PayoutBook, PayoutLimits, PayoutRefused, address_of
from regtest.bitcoind import Bitcoind
from regtest.chain import ADDRESS_KINDS, AddressKind, new_address, script_of
from tests.miner.harness import ADDRESS, Clock, node_of
from tests.miner.node.harness import Forward, Proxy, until

MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

MAIN = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
MAIN_BASE58 = "1BvBMSEYstWetqTFn5Au4m4GFg7xJaNVN2"
TEST = "tb1qw508d6qejxtdg4y5r3zarvary0c5xw7kxpjzsx"


class Judge:
    """Stands for the node that judges blocks; remembers the scripts it was asked about."""

    def __init__(self) -> None:
        self.scripts: list[bytes] = []
        self.error: Exception | None = None
        self.alerts: dict[str, str] = {}

    async def prove(self, script: bytes) -> None:
        self.scripts.append(script)
        await asyncio.sleep(0)
        if self.error is not None:
            raise self.error


@asynccontextmanager
async def booked(
    judge: Judge, *nodes: Node, network: str = "regtest", **options: Any
) -> AsyncIterator[PayoutBook]:
    node_set = NodeSet(nodes, network)
    book = PayoutBook(node_set, judge.prove, on_alert=judge.alerts.__setitem__, **options)
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(book.run())
        try:
            yield book
        finally:
            asking.cancel()
            await node_set.close()


@pytest.fixture
def judge() -> Judge:
    return Judge()


def nobody() -> Node:
    """A node where nothing listens."""
    return Node("a", RpcClient("http://127.0.0.1:1", UserPassword("u", "p"), name="a"))


def behind(proxy: Proxy) -> Node:
    node = node_of(proxy.target)
    return Node("a", RpcClient(proxy.url, node.rpc._credentials, name="a"))


def refused(answer: Payee | PayoutRefused | None) -> PayoutRefused:
    assert isinstance(answer, PayoutRefused)
    return answer


@pytest.mark.parametrize(
    "name", [ADDRESS, f"{ADDRESS}.rig1", f"{ADDRESS}.a.b", f"{ADDRESS}_rig", f"{ADDRESS}."]
)
def test_the_address_is_what_stands_before_the_workers_name(name: str) -> None:
    assert address_of(name) == ADDRESS


@pytest.mark.parametrize(
    "name",
    ["", "worker", ".rig1", "a" * 91, f"{ADDRESS}/x", f"{ADDRESS} ", "adress-with-a-dash.rig1", "ä" * 30],
)
def test_what_cannot_be_an_address_is_none(name: str) -> None:
    assert address_of(name) is None


@pytest.mark.bitcoind
@pytest.mark.parametrize("kind", ADDRESS_KINDS)
async def test_every_kind_of_address_is_paid_and_each_kind_is_proven_once(
    kind: AddressKind, bitcoind: Bitcoind, judge: Judge
) -> None:
    first, second = new_address(bitcoind, kind), new_address(bitcoind, kind)
    async with booked(judge, node_of(bitcoind)) as book:
        assert book.known(f"{first}.rig1") is None
        payee = await book.resolve(f"{first}.rig1")
        assert payee == Payee(first, script_of(bitcoind, first))
        assert book.known(f"{first}.another") is payee
        assert await book.resolve(second) == Payee(second, script_of(bitcoind, second))
    assert judge.scripts == [script_of(bitcoind, first)]


@pytest.mark.bitcoind
@pytest.mark.parametrize(
    ("name", "words"),
    [
        (f"{MAIN}.rig", "looks like an address of main, but here regtest is mined"),
        (MAIN_BASE58, "looks like an address of main, but here regtest is mined"),
        (TEST, "looks like an address of test, testnet4 or signet, but here regtest is mined"),
        (ADDRESS[:-1] + "q", "is none: Invalid Bech32 checksum"),
        ("somebodysname.rig", "the user name must be an address of regtest, alone or with a worker's name"),
    ],
)
async def test_a_name_that_is_no_address_of_this_network_is_refused_with_words(
    name: str, words: str, bitcoind: Bitcoind, judge: Judge
) -> None:
    async with booked(judge, node_of(bitcoind)) as book:
        answer = refused(await book.resolve(name))
        assert words in answer.why
        assert not answer.temporary
        assert book.known(name) == answer
    assert judge.scripts == []


async def test_a_name_that_cannot_be_an_address_is_refused_without_a_node(judge: Judge) -> None:
    async with booked(judge, nobody(), network="main") as book:
        answer = refused(book.known("worker1"))
        assert answer == await book.resolve("worker1")
        assert "like bc1q....rig1" in answer.why


@pytest.mark.bitcoind
async def test_money_for_everyone_is_refused(bitcoind: Bitcoind, judge: Judge) -> None:
    anchor = "bcrt1pfeesnyr2tx"  # pay to anchor: valid, and spent by whom it pleases
    async with booked(judge, node_of(bitcoind)) as book:
        assert bitcoind.rpc("validateaddress", anchor)["isvalid"]
        assert "of no kind that blocks are paid to" in refused(await book.resolve(anchor)).why


@pytest.mark.bitcoind
async def test_a_refusal_is_remembered_for_a_minute(
    bitcoind: Bitcoind,
    judge: Judge,
    proxy_of: MakeProxy,
) -> None:
    proxy, clock = await proxy_of(bitcoind), Clock()
    async with booked(judge, behind(proxy), clock=clock) as book:
        for seconds, asked in ((0, 1), (59, 1), (2, 2)):
            clock.now += seconds
            refused(await book.resolve(MAIN))
            assert proxy.seen == ["validateaddress"] * asked


@pytest.mark.bitcoind
async def test_many_logins_of_one_address_are_one_question(
    bitcoind: Bitcoind,
    judge: Judge,
    proxy_of: MakeProxy,
) -> None:
    proxy = await proxy_of(bitcoind)
    async with booked(judge, behind(proxy)) as book:
        answers = await asyncio.gather(*(book.resolve(f"{ADDRESS}.rig{number}") for number in range(200)))
    assert {type(answer) for answer in answers} == {Payee}
    assert proxy.seen == ["validateaddress"]


@pytest.mark.bitcoind
async def test_a_storm_of_strangers_is_a_few_calls_at_a_time_and_then_refused(
    bitcoind: Bitcoind,
    judge: Judge,
    proxy_of: MakeProxy,
) -> None:
    proxy, let_go = await proxy_of(bitcoind), asyncio.Event()

    async def slow(_request: web.Request, forward: Forward) -> web.StreamResponse:
        await let_go.wait()
        return await forward()

    proxy.fail("validateaddress", slow)
    limits = PayoutLimits(calls=3, waiting=10)
    async with booked(judge, behind(proxy), limits=limits) as book, asyncio.TaskGroup() as group:
        logins = [group.create_task(book.resolve(f"stranger{number:08d}")) for number in range(30)]
        await until(lambda: sum(login.done() for login in logins) == 20)
        assert all(refused(login.result()).temporary for login in logins if login.done())
        await until(lambda: len(proxy.seen) == 3)
        let_go.set()
        await until(lambda: all(login.done() for login in logins))
        assert len(proxy.seen) == 10
        proxy.heal()
        assert isinstance(await book.resolve(ADDRESS), Payee)


@pytest.mark.bitcoind
async def test_a_login_that_goes_away_takes_no_other_with_it(
    bitcoind: Bitcoind,
    judge: Judge,
    proxy_of: MakeProxy,
) -> None:
    proxy, let_go = await proxy_of(bitcoind), asyncio.Event()

    async def slow(_request: web.Request, forward: Forward) -> web.StreamResponse:
        await let_go.wait()
        return await forward()

    proxy.fail("validateaddress", slow, times=1)
    async with booked(judge, behind(proxy)) as book, asyncio.TaskGroup() as group:
        gone = group.create_task(book.resolve(f"{ADDRESS}.gone"))
        stays = group.create_task(book.resolve(f"{ADDRESS}.stays"))
        await until(lambda: proxy.seen)
        gone.cancel()
        let_go.set()
        assert isinstance(await stays, Payee)


@pytest.mark.bitcoind
async def test_what_is_remembered_is_bounded(bitcoind: Bitcoind, judge: Judge) -> None:
    addresses = [new_address(bitcoind) for _ in range(5)]
    limits = PayoutLimits(payees=2, refusals=2)
    async with booked(judge, node_of(bitcoind), limits=limits) as book:
        for address in (*addresses[:2], addresses[0], addresses[2]):
            await book.resolve(address)
        assert [book.known(address) is not None for address in addresses[:3]] == [True, False, True]
        names = [f"stranger{number:08d}" for number in range(5)]
        for name in names:
            await book.resolve(name)
        assert [book.known(name) is not None for name in names] == [False, False, False, True, True]


@pytest.mark.bitcoind
async def test_the_next_node_answers_when_the_first_cannot(bitcoind: Bitcoind, judge: Judge) -> None:
    async with booked(judge, nobody(), node_of(bitcoind, "b")) as book:
        assert isinstance(await book.resolve(ADDRESS), Payee)


async def test_without_a_node_the_refusal_is_for_now_only(judge: Judge) -> None:
    async with booked(judge, nobody()) as book:
        answer = refused(await book.resolve(ADDRESS))
        assert answer.temporary
        assert "no bitcoind can say" in answer.why
        assert book.known(ADDRESS) is None


async def test_a_login_waits_so_long_and_no_longer(judge: Judge) -> None:
    book = PayoutBook(
        NodeSet([nobody()], "regtest"),
        judge.prove,
        on_alert=judge.alerts.__setitem__,
        limits=PayoutLimits(answer_s=0.05),
    )  # which nobody runs
    assert refused(await book.resolve(ADDRESS)).temporary


@pytest.mark.bitcoind
async def test_whoever_waits_at_the_end_is_answered(
    bitcoind: Bitcoind,
    judge: Judge,
    proxy_of: MakeProxy,
) -> None:
    proxy = await proxy_of(bitcoind)

    async def never(_request: web.Request, _forward: Forward) -> web.StreamResponse:
        await asyncio.sleep(3600)
        raise AssertionError

    proxy.fail("validateaddress", never)
    async with asyncio.TaskGroup() as group:
        async with booked(judge, behind(proxy), limits=PayoutLimits(calls=1)) as book:
            logins = [group.create_task(book.resolve(f"stranger{number:08d}")) for number in range(3)]
            await until(lambda: proxy.seen)
        assert [refused(await login).temporary for login in logins] == [True] * 3


@pytest.mark.bitcoind
async def test_a_kind_of_address_that_the_node_refuses_is_an_alert_until_it_is_accepted(
    bitcoind: Bitcoind, judge: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    judge.error = ProposalRefusedError("bad-cb-script")
    first, second = new_address(bitcoind), new_address(bitcoind)
    async with booked(judge, node_of(bitcoind), clock=clock) as book:
        for address in (first, second):
            answer = refused(await book.resolve(address))
            assert answer.why.endswith("bad-cb-script")
            assert not answer.temporary
        assert len(judge.scripts) == 1
        assert judge.alerts == {"payout_refused": "p2wpkh: bad-cb-script"}
        assert isinstance(await book.resolve(new_address(bitcoind, "bech32m")), PayoutRefused)
        clock.now += 61
        judge.error = None
        assert isinstance(await book.resolve(first), Payee)
        assert judge.alerts["payout_refused"]  # the other kind is refused still
        assert isinstance(await book.resolve(new_address(bitcoind, "bech32m")), Payee)
        assert judge.alerts["payout_refused"] == ""
    assert [r.levelname for r in caplog.records if r.message == "payout_kind_refused"] == ["ERROR"] * 2


@pytest.mark.bitcoind
async def test_a_proposal_that_comes_to_nothing_is_made_again_soon(
    bitcoind: Bitcoind, judge: Judge, caplog: pytest.LogCaptureFixture
) -> None:
    clock = Clock()
    judge.error = RpcUnavailableError("no template")
    async with booked(judge, node_of(bitcoind), clock=clock) as book:
        with caplog.at_level(logging.INFO):
            for _ in range(3):
                assert refused(await book.resolve(ADDRESS)).temporary
        assert len(judge.scripts) == 1
        assert judge.alerts == {}
        clock.now += 3
        judge.error = None
        assert isinstance(await book.resolve(ADDRESS), Payee)
    assert judge.alerts == {}
