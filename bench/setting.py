"""A daemon on a bitcoind of its own, as the benches measure it: both in folders that go with them."""

from __future__ import annotations

import contextlib
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from regtest.bitcoind import Bitcoind
from regtest.process import HashmillProcess, bitcoind_sections

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from regtest.bitcoind import Chain

MS: Final = 1000.0
NEVER_A_SHARE: Final = 1e12
"""Share difficulty that no CPU meets: the chain stays quiet, since on a regtest a unit hashes against its shares' target only."""
EASY_SHARE: Final = 1e-5
"""Share difficulty of about 43,000 hashes: a millisecond of one thread."""
READY_LIMIT_S: Final = 60.0
HTTP_OK: Final = 200


def cores() -> int:
    """Cores this process may use."""
    return len(os.sched_getaffinity(0))


@contextlib.contextmanager
def lone_node(chain: Chain = "regtest", *, wallet: bool = False) -> Iterator[tuple[Bitcoind, Path]]:
    """A node of that chain whose tip is fresh (on regtest), and an empty folder for a daemon."""
    with (
        tempfile.TemporaryDirectory(prefix="hashmill-bench-") as folder,
        Bitcoind(chain, wallet=wallet) as node,
    ):
        if chain == "regtest":
            # Until a recent block, a node takes itself for one in its initial download and publishes nothing.
            mine(node)
        yield node, Path(folder)


@contextlib.contextmanager
def running(
    node: Bitcoind,
    folder: Path,
    sections: Mapping[str, Mapping[str, Any]],
    *,
    zmq: bool = True,
    ledger_url: str | None = None,
) -> Iterator[HashmillProcess]:
    """A daemon that has work: on every core, without a controller, unless `sections` say otherwise.

    zmq: whether the daemon is told of the node's publications. ledger_url: absent, an SQLite file in `folder`.
    """
    nodes = bitcoind_sections([node])
    if not zmq:
        nodes = [{key: value for key, value in each.items() if key != "zmq_hashblock"} for each in nodes]
    settings: dict[str, Any] = {
        "network": node.chain,
        "bitcoind": nodes,
        "solo": {"payout_address": open_address(node)},
        "cpu": {"threads": cores(), "share_difficulty": EASY_SHARE},
        "controller": {"enabled": False},
    }
    for name, section in sections.items():
        settings[name] = {**settings.get(name, {}), **section}
    if ledger_url is not None:
        settings["ledger"] = {"url": ledger_url}
    with HashmillProcess(folder, settings) as daemon:
        daemon.wait_until(lambda: daemon.http("/readyz")[0] == HTTP_OK, "have work", READY_LIMIT_S)
        yield daemon


def open_address(node: Bitcoind) -> str:
    """An address anybody can spend from (a witness script of OP_TRUE): it needs no wallet, and is the same at each start."""
    address: str = node.rpc("decodescript", "51")["segwit"]["address"]
    return address


def mine(node: Bitcoind) -> str:
    """Hash of a block mined by the node itself: by another party, as the daemon sees it."""
    (block_hash,) = node.rpc("generatetoaddress", 1, open_address(node))
    return str(block_hash)
