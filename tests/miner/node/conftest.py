"""A bitcoind as the daemon sees it, and a proxy in front of it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest
from aiohttp import web

from miner.node.nodes import Node
from miner.node.rpc import CookieFile, RpcClient
from regtest.bitcoind import Bitcoind
from tests.miner.node.harness import Proxy


@pytest.fixture
async def proxy_of() -> AsyncIterator[Callable[[Bitcoind], Awaitable[Proxy]]]:
    runners: list[web.AppRunner] = []

    async def start(bitcoind: Bitcoind) -> Proxy:
        proxy = Proxy(bitcoind)
        application = web.Application(client_max_size=64 * 1024 * 1024)
        application.router.add_post("/", proxy.handle)
        runner = web.AppRunner(application, handler_cancellation=True, shutdown_timeout=0.1)
        await runner.setup()
        runners.append(runner)
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        proxy.url = f"http://127.0.0.1:{runner.addresses[0][1]}"
        return proxy

    yield start
    for runner in runners:
        await runner.cleanup()


@pytest.fixture
async def node_of() -> AsyncIterator[Callable[..., Node]]:
    """Makes a Node of a Bitcoind, or of a Proxy before one; its connections are closed at the end."""
    nodes: list[Node] = []

    def make(source: Bitcoind | Proxy, name: str = "a", *, zmq: bool = True, timeout_s: float = 10.0) -> Node:
        bitcoind = source.target if isinstance(source, Proxy) else source
        url = source.url if isinstance(source, Proxy) else source.rpc_url
        client = RpcClient(url, CookieFile(bitcoind.cookie_file), timeout_s=timeout_s, name=name)
        nodes.append(Node(name, client, bitcoind.zmq_hashblock if zmq else None))
        return nodes[-1]

    yield make
    for node in nodes:
        await node.rpc.close()
