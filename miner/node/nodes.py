"""The configured bitcoinds, their health, and which of them gives work."""

import math
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

from miner.node.rpc import RpcClient

# On these chains a node in initial block download would have us mine on a tip the world has long passed. Private
# chains (regtest, a signet of one's own) are always "in download": their tips are old by nature.
PUBLIC_NETWORKS = frozenset({"main", "test", "testnet4"})

LAG_S = 10.0
"""How long the active node's chain may have less work than another's: blocks do not reach all nodes at once."""


@dataclass(eq=False, slots=True)
class Node:
    """One bitcoind and what is known of it; `up` and `synced` are None until it was first asked.

    `cut_off`: it says itself that it has no peers or is catching up, and gives no templates. `work`: expected hashes
    of its best chain, 0 until known. `abreast_at`: when no other node was known to have more, on the clock of NodeSet.
    """

    name: str
    rpc: RpcClient
    zmq_hashblock: str | None = None
    up: bool | None = None
    synced: bool | None = None
    cut_off: bool = False
    work: int = 0
    abreast_at: float = field(default=-math.inf, repr=False)
    tip: bytes | None = None  # internal order
    error: str = ""  # why it is down
    answered_at: float | None = field(default=None, repr=False)  # on the clock of NodeSet

    @property
    def usable(self) -> bool:
        """Whether it can be asked for work."""
        return self.up is not False and self.synced is not False


class NodeSet:
    """The nodes in order of preference. The active one is the first that is well and not behind another.

    A node that was away is active again only when its chain has as much work as the others'; one that falls behind
    loses its place after `lag_s` seconds.
    """

    def __init__(
        self,
        nodes: Sequence[Node],
        network: str,
        clock: Callable[[], float] = time.monotonic,
        lag_s: float = LAG_S,
    ) -> None:
        """`clock` measures ages in seconds and need not know the date. Without a node, as at pools alone, none is active."""
        self._nodes = tuple(nodes)
        self._clock = clock
        self._lag_s = lag_s
        self.network = network
        self.needs_sync = network in PUBLIC_NETWORKS
        self._born_at = clock()
        for node in self._nodes:
            node.abreast_at = self._born_at

    def __iter__(self) -> Iterator[Node]:
        return iter(self._nodes)

    def __len__(self) -> int:
        return len(self._nodes)

    @property
    def active(self) -> Node | None:
        """The node whose tip is mined on, or None when none may be asked; one that is cut off comes last."""
        usable = self.usable()
        fit = [node for node in usable if not node.cut_off] or usable
        most = max((node.work for node in fit), default=0)
        since = self._clock() - self._lag_s
        return next((node for node in fit if node.work >= most or node.abreast_at >= since), None)

    def usable(self) -> list[Node]:
        """Nodes that can be asked for work, in order of preference."""
        return [node for node in self._nodes if node.usable]

    def answered(self, node: Node) -> None:
        """Note that `node` has just answered; it vouches for the work only if it is well itself."""
        if not node.usable or node.cut_off:
            return
        node.answered_at = self._clock()
        if node.work >= max(other.work for other in self._nodes if other.usable and not other.cut_off):
            node.abreast_at = node.answered_at

    def silent_s(self) -> float:
        """Seconds since a node that is well answered; since the start if none ever did."""
        heard = [node.answered_at for node in self._nodes if node.answered_at is not None]
        return self._clock() - max(heard, default=self._born_at)

    async def close(self) -> None:
        """End the connections to all nodes."""
        for node in self._nodes:
            await node.rpc.close()
