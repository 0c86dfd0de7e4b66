"""Mining at pools, with real sockets between every two parties: this machine, miners, Hashmill as client, and the pool."""

from __future__ import annotations

import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from regtest import chain
from regtest.process import bitcoind_sections
from tests.end_to_end.asic import Asic
from tests.end_to_end.pool_client import (
    CPU_EASY,
    LIMIT_S,
    POOL_TAG,
    active,
    all_accepted,
    mine_some,
    name_of,
    served,
    start,
    sums,
    wait_for_work_of,
)
from tests.end_to_end.test_stratum import document, outputs_of
from tests.miner.stratum.scripted_pool import PoolThread

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regtest.bitcoind import Bitcoind
    from tests.miner.stratum.scripted_pool import ScriptedPool


def test_every_share_of_the_cpu_unit_is_accepted_by_the_pool(make_client: Any) -> None:
    with PoolThread("cpu", difficulty=CPU_EASY, job_every_s=0.5) as pool:
        daemon = start(make_client(pool.url, cpu={"threads": 1}))
        daemon.wait_until(lambda: pool.do(all_accepted) >= 30, "have thirty shares accepted", LIMIT_S)
        assert daemon.stop() == 0
        taken = pool.do(all_accepted)
    found, accepted, rejected, in_doubt = sums(daemon)[name_of(pool)]
    assert (found, rejected) == (accepted + in_doubt, 0)
    assert taken - in_doubt <= accepted <= taken


def test_our_own_server_is_the_pool_and_takes_every_share_of_a_client_with_a_cpu(
    make_client: Any, pool: PoolThread, ports: Sequence[int]
) -> None:
    pool.do(lambda each: each.set_difficulty(CPU_EASY))
    house = start(
        make_client(
            pool.url,
            name="house",
            stratum=served(
                ports[0], start_difficulty=CPU_EASY, min_difficulty=CPU_EASY, max_difficulty=CPU_EASY
            ),
        )
    )
    guest = start(make_client(f"stratum+tcp://127.0.0.1:{ports[0]}", name="guest", cpu={"threads": 1}))
    guest.wait_until(lambda: pool.do(all_accepted) >= 20, "bring twenty shares through both", LIMIT_S)
    assert guest.stop() == 0
    assert house.stop() == 0
    (bottom,), (top,) = sums(guest).values(), sums(house).values()
    assert bottom[2] == top[2] == 0
    assert bottom[0] == bottom[1] + bottom[3]
    assert top[0] == top[1] + top[3]
    assert bottom[1] <= top[0] <= bottom[0]


def test_an_asic_behind_a_client_finds_a_block_and_the_pool_gets_it_paid(
    signet_bitcoind: Bitcoind, make_daemon: Any, make_client: Any, ports: Sequence[int]
) -> None:
    address = chain.new_address(signet_bitcoind)
    house = start(
        make_daemon(
            [signet_bitcoind], cpu={"threads": 0}, solo={"payout_address": address}, stratum=served(ports[0])
        )
    )
    client = start(
        make_client(f"stratum+tcp://127.0.0.1:{ports[0]}", network="signet", stratum=served(ports[1]))
    )
    before = signet_bitcoind.rpc("getblockcount")
    with Asic(ports[1], "rack1.07") as asic:
        assert asic.login()["result"] is True
        asic.wait_for_job()
        assert asic.job is not None
        bits = int(asic.job[6], 16)
        found = asic.mine(target=(bits & 0xFFFFFF) << 8 * ((bits >> 24) - 3))
        assert asic.submit(found)["result"] is True
        house.wait_until(lambda: signet_bitcoind.rpc("getblockcount") == before + 1, "bring the block home")
    paid = outputs_of(signet_bitcoind, found.block_hash)
    assert paid[0]["scriptPubKey"]["address"] == address
    assert client.stop() == 0
    assert house.stop() == 0


def test_miners_share_one_upstream_connection_and_each_hashes_its_own_slice(
    make_client: Any, pool: PoolThread, ports: Sequence[int]
) -> None:
    start(make_client(pool.url, stratum=served(ports[0])))
    with Asic(ports[0], "rack1.07") as one, Asic(ports[0], "rack1.08") as other:
        one.login()
        other.login()
        assert one.extranonce1 != other.extranonce1
        for asic in (one, other):
            assert [answer["result"] for answer in mine_some(asic, 5)] == [True] * 5
        pool.do(lambda each: each.until(lambda: all_accepted(each) == 10))
    assert len({share.hash for share in pool.do(lambda each: each.accepted)}) == 10
    assert pool.do(lambda each: set(each.users())) == {"site"}


def test_worker_names_go_up_where_that_is_wished(
    make_client: Any, pool: PoolThread, ports: Sequence[int]
) -> None:
    daemon = make_client(
        stratum=served(ports[0]), pool=[{"url": pool.url, "user": "site", "worker_names": True}]
    )
    start(daemon)
    with Asic(ports[0], "rack1.07") as asic:
        asic.login()
        assert mine_some(asic, 2)[1]["result"] is True
        pool.do(lambda each: each.until(lambda: all_accepted(each) == 2))
    assert {share.worker for share in pool.do(lambda each: each.accepted)} == {"site.rack1.07"}


@pytest.mark.parametrize("answers", ["own", "pool"])
def test_a_miner_hears_what_the_operator_chose_and_the_ledger_knows_both_verdicts(
    make_client: Any, pool: PoolThread, ports: Sequence[int], answers: str
) -> None:
    daemon = start(make_client(pool.url, stratum=served(ports[0], answers=answers)))

    def refuse(each: ScriptedPool) -> None:
        each.script.answer = lambda _share: {"result": None, "error": [23, "Too easy for us", None]}

    pool.do(refuse)
    with Asic(ports[0], "rack1.07") as asic:
        asic.login()
        (answer,) = mine_some(asic, 1)
    if answers == "own":
        assert answer["result"] is True
    else:
        assert answer["error"][:2] == [23, "Too easy for us"]
    assert document(daemon, "/api/v1/shares")["shares"][0]["unit"] == "rack1.07"
    assert daemon.stop() == 0
    assert sums(daemon)[name_of(pool)] == (1, 0, 1, 0)


def test_a_pool_that_never_answers_shares_leaves_them_in_doubt_and_no_miner_hears_accepted(
    make_client: Any, pool: PoolThread, ports: Sequence[int]
) -> None:
    daemon = start(
        make_client(pool.url, stratum=served(ports[0], answers="pool"), upstreams={"answer_s": 1.0})
    )
    pool.do(lambda each: each.script.silent.add("mining.submit"))
    with Asic(ports[0], "rack1.07") as asic:
        asic.login()
        (answer,) = mine_some(asic, 1)
    assert answer["result"] is None
    assert "did not answer" in answer["error"][1]
    assert daemon.stop() == 0
    assert sums(daemon)[name_of(pool)] == (1, 0, 0, 1)


def test_mining_goes_on_at_the_next_pool_and_comes_back(
    make_client: Any, pool: PoolThread, second: PoolThread, ports: Sequence[int]
) -> None:
    daemon = start(make_client(pool.url, second.url, stratum=served(ports[0]), upstreams={"return_s": 2.0}))
    with Asic(ports[0], "rack1.07") as asic:
        asic.login()
        extranonce1 = asic.extranonce1
        assert mine_some(asic, 1)[0]["result"] is True
        assert active(daemon) == name_of(pool)
        pool.do(lambda each: each.die())
        daemon.wait_until(lambda: active(daemon) == name_of(second), "mine at the second pool", LIMIT_S)
        asic.listen(LIMIT_S, "mining.notify")
        assert mine_some(asic, 3)[2]["result"] is True
        pool.do(lambda each: each.revive())
        daemon.wait_until(lambda: active(daemon) == name_of(pool), "come back to the first pool", LIMIT_S)
        asic.listen(LIMIT_S, "mining.notify")
        assert mine_some(asic, 3)[2]["result"] is True
        assert asic.extranonce1 == extranonce1
        assert not asic.closed  # one connection all the time
    for each in (pool, second):
        assert each.do(all_accepted) > 0
    assert daemon.stop() == 0
    for found, accepted, rejected, in_doubt in sums(daemon).values():
        assert found == accepted + rejected + in_doubt


def test_where_no_pool_is_well_the_own_node_is_mined_and_left_again(
    bitcoind: Bitcoind, make_client: Any, pool: PoolThread, ports: Sequence[int]
) -> None:
    pool.do(lambda each: each.die())
    daemon = start(
        make_client(
            pool.url,
            bitcoind=bitcoind_sections([bitcoind]),
            solo={"payout_address": chain.new_address(bitcoind)},
            stratum=served(ports[0]),
        )
    )
    assert document(daemon, "/api/v1/status")["work"]["origin"] == "solo"
    with Asic(ports[0], "rack1.07") as asic:
        asic.login()
        before = bitcoind.rpc("getblockcount")
        assert mine_some(asic, 1)[0]["result"] is True  # on regtest it is a block
        daemon.wait_until(lambda: bitcoind.rpc("getblockcount") > before, "bring the block home")
        pool.do(lambda each: each.revive())
        daemon.wait_until(lambda: active(daemon) == name_of(pool), "mine at the pool", LIMIT_S)
        wait_for_work_of(asic, POOL_TAG)
        blocks = bitcoind.rpc("getblockcount")
        assert mine_some(asic, 3)[2]["result"] is True
        assert bitcoind.rpc("getblockcount") == blocks
    pool.do(lambda each: each.until(lambda: all_accepted(each) >= 1))


def test_solo_and_pool_at_once_each_unit_where_it_belongs(
    bitcoind: Bitcoind, make_client: Any, pool: PoolThread, ports: Sequence[int]
) -> None:
    daemon = make_client(
        pool.url,
        bitcoind=bitcoind_sections([bitcoind]),
        solo={"payout_address": chain.new_address(bitcoind)},
        stratum=served(ports[0]),
        unit=[
            {"id": "s", "worker": "for.solo", "control": "none", "mines": "solo"},
            {"id": "p", "worker": "for.pool", "control": "none", "mines": "pool"},
        ],
    )
    start(daemon)
    with Asic(ports[0], "for.pool") as at_pool, Asic(ports[0], "for.solo") as at_solo:
        at_pool.login()
        at_solo.login()
        assert mine_some(at_pool, 2)[1]["result"] is True
        assert bitcoind.rpc("getblockcount") == 0
        pool.do(lambda each: each.until(lambda: all_accepted(each) == 2))
        assert mine_some(at_solo, 1)[0]["result"] is True
        daemon.wait_until(lambda: bitcoind.rpc("getblockcount") == 1, "bring the block home")
    assert pool.do(all_accepted) == 2


def test_the_state_of_pools_is_told_by_api_metrics_and_check(make_client: Any, pool: PoolThread) -> None:
    nobody = "stratum+tcp://127.0.0.1:1"
    daemon = start(make_client(nobody, pool.url))
    first, other = document(daemon, "/api/v1/pools")["pools"]
    assert (first["up"], first["failure"]["kind"]) == (False, "refused")
    assert (other["up"], other["state"]) == (True, "active")
    _, metrics = daemon.http("/metrics")
    assert f'hashmill_pool_up{{pool="{name_of(pool)}"}} 1.0' in metrics
    assert 'hashmill_pool_up{pool="127.0.0.1:1"} 0.0' in metrics
    command = [sys.executable, "-m", "miner", "check", "--config", str(daemon.config_file)]
    told = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert told.returncode == 1
    assert "nobody listens" in told.stdout, told.stdout
