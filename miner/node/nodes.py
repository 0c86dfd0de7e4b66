"""The configured bitcoinds, their health, and which of them gives work."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from miner.node.rpc import RpcClient

# On these chains a node in initial block download would have us mine on a tip the world has long passed. Private
# chains (regtest, a signet of one's own) are always "in download": their tips are old by nature.
PUBLIC_NETWORKS = frozenset({"main", "test", "testnet4"})


@dataclass(eq=False, slots=True)
class Node:
    """One bitcoind and what is known of it; `up` and `synced` are None until it was first asked."""

    name: str
    rpc: RpcClient
    zmq_hashblock: str | None = None
    up: bool | None = None
    synced: bool | None = None
    tip: bytes | None = None  # internal order
    error: str = ""  # why it is down
    answered_at: float | None = field(default=None, repr=False)  # on the clock of NodeSet

    @property
    def usable(self) -> bool:
        """Whether work may come from it: nothing speaks against it."""
        return self.up is not False and self.synced is not False


class NodeSet:
    """The nodes in order of preference. The active one is the first that is usable."""

    def __init__(
        self, nodes: Sequence[Node], network: str, clock: Callable[[], float] = time.monotonic
    ) -> None:
        """`clock` measures ages in seconds and need not know the date. ValueError without a node."""
        if not nodes:
            raise ValueError("at least one bitcoind is needed")
        self._nodes = tuple(nodes)
        self._clock = clock
        self.network = network
        self.needs_sync = network in PUBLIC_NETWORKS
        self._born_at = clock()

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def active(self) -> Node | None:
        """The node that gives work, or None when none may."""
        return next((node for node in self._nodes if node.usable), None)

    def usable(self) -> list[Node]:
        """Nodes that may give work, in order of preference."""
        return [node for node in self._nodes if node.usable]

    def answered(self, node: Node) -> None:
        """Note that `node` has just answered."""
        node.answered_at = self._clock()

    def silent_s(self) -> float:
        """Seconds since any node answered; since the start if none ever did."""
        heard = [node.answered_at for node in self._nodes if node.answered_at is not None]
        return self._clock() - max(heard, default=self._born_at)

    async def close(self) -> None:
        """End the connections to all nodes."""
        for node in self._nodes:
            await node.rpc.close()
