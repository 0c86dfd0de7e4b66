from __future__ import annotations

import contextlib
import time
from pathlib import Path

import pytest

from bench.publications import StampedPublications

BENCH = Path(__file__).parents[2] / "bench"
RULES = {"rules": ["segwit", "signet"]}


@pytest.mark.bitcoind
def test_templates_are_full_and_each_block_of_somebody_elses_is_published_with_the_kernels_stamp(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.syspath_prepend(str(BENCH))
    import signet  # noqa: PLC0415 - its folder is on the path only now

    with signet.signet_node() as node:
        assert len(node.rpc("getblocktemplate", RULES)["transactions"]) == 4095
        assert node.zmq_hashblock is not None
        with contextlib.closing(StampedPublications(node.zmq_hashblock)) as publications:
            publications.settle(lambda: signet.mine_empty(node))
            before = time.time_ns()
            mined = signet.mine_empty(node)
            published, at_ns = publications.wait()
            assert published == mined
            assert before < at_ns < time.time_ns()
            with pytest.raises(TimeoutError):
                publications.wait(0.01)
        assert len(node.rpc("getblocktemplate", RULES)["transactions"]) == 4095
