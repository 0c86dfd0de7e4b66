"""A bitcoind as the daemon sees it."""

from collections.abc import AsyncIterator, Callable

import pytest

from miner.node.nodes import Node
from miner.node.rpc import CookieFile, RpcClient
from regtest.bitcoind import Bitcoind
from tests.miner.node.harness import Proxy


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
