"""Solo side, pools, lanes and miners together, with a real bitcoind, pools on loopback, and real miners' sockets."""

import asyncio
import os
import signal
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from miner import plant as plant_module
from miner.config import Config
from miner.front import make_roster, ports
from miner.keeper import BlockBooks
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.node.rpc import CookieFile, RpcClient
from miner.node.templates import PayoutAddressError
from miner.plant import Plant, find_payout, make_shelf
from miner.site import node_set
from miner.solo import Payout
from miner.stratum import upstreams
from miner.work.job import Job
from miner.work.layout import Layout
from miner.work.share import Block, PoolShare, Reason, Rejected
from miner.work.shelf import SOLO
from regtest import chain
from regtest.bitcoind import Bitcoind
from regtest.ports import Reservation
from tests.miner.harness import ADDRESS, ANY_HASH, PAYOUT, block_on, share_on
from tests.miner.node.harness import Proxy, drop, until
from tests.miner.pool_harness import pool_section, pool_share_on
from tests.miner.stratum.scripted_pool import Script, ScriptedPool
from tests.miner.stratum.server_harness import Miner

MakeConfig = Callable[..., Config]
MINER = "farm.1"


@dataclass
class Site:
    """A plant, and what it was given."""

    plant: Plant
    store: Store
    recorder: Recorder
    hashing_ended: asyncio.Event
    alerts: dict[str, str] = field(default_factory=dict)
    fatal: list[Exception] = field(default_factory=list)

    async def works_on(self, origin: str) -> Job:
        """Wait until the main lane has work of this origin."""
        await until(lambda: self.plant.job is not None and self.plant.job.origin == origin)
        job = self.plant.job
        assert job is not None
        return job

    async def solo_works(self) -> Job:
        """Wait until there is solo work, whoever has it."""
        await until(lambda: self.plant.mining is not None and self.plant.mining.book.current is not None)
        assert self.plant.mining is not None
        job = self.plant.mining.book.current
        assert job is not None
        return job

    async def miner(self, name: str = MINER, **options: Any) -> Miner:
        """One that has logged in."""
        server = self.plant.front.server
        assert server is not None
        miner = Miner(*await asyncio.open_connection(*server.addresses[0]))
        assert (await miner.log_in(name, **options))["result"] is True
        return miner


@asynccontextmanager
async def site_of(config: Config, payout: Payout | None = None) -> AsyncIterator[Site]:
    """A plant that does not run yet."""
    with Store.open(config.ledger.full_url) as store:
        store.doubt_pool_shares(time.time())
        async with Recorder(store) as recorder:
            metrics, nodes = Metrics("0", "portable"), node_set(config)
            alerts: dict[str, str] = {}
            fatal: list[Exception] = []
            unsettled = {row.hash: row.status for row in store.unsettled_blocks()}
            roster = make_roster(config, store.units(), time.time())
            roster.login(MINER, time.time())
            plant = Plant(
                config,
                nodes,
                payout,
                shelf=await make_shelf(config, store),
                store=store,
                recorder=recorder,
                books=BlockBooks(recorder, metrics, unsettled, store.block_counts()),
                metrics=metrics,
                roster=roster,
                station=None,
                ports=ports(config),
                reserved=b"\x00\x00\x00\x07",
                version="1.0",
                on_alert=alerts.__setitem__,
                on_fatal=fatal.append,
                clock=time.time,
            )
            try:
                yield Site(plant, store, recorder, asyncio.Event(), alerts, fatal)
            finally:
                await nodes.close()


@asynccontextmanager
async def running(site: Site) -> AsyncIterator[Site]:
    """Let it run and let miners in; end it as the daemon does: miners first, what is under way last."""
    closing = asyncio.Event()
    site.plant.front.open({}, b"null")
    try:
        async with asyncio.TaskGroup() as group:
            group.create_task(site.plant.run(site.hashing_ended), name="plant")
            front = group.create_task(site.plant.front.run(closing), name="front")
            try:
                yield site
            finally:
                closing.set()
                with suppress(asyncio.CancelledError):
                    await front
                await site.plant.front.settle()
                site.hashing_ended.set()
    finally:
        site.plant.front.close()


@asynccontextmanager
async def site_at(config: Config, payout: Payout | None = None) -> AsyncIterator[Site]:
    async with site_of(config, payout) as site, running(site):
        yield site


@pytest.fixture
def port() -> Any:
    with Reservation(1) as reserved:
        yield reserved.ports[0]


@pytest.fixture
def client(make_config: MakeConfig, tmp_path: Path) -> MakeConfig:
    """Makes the configuration of a site that mines at pools, and solo on `nodes`."""

    def make(*pools: ScriptedPool, nodes: tuple[Bitcoind, ...] = (), **sections: Any) -> Config:
        if nodes:
            return make_config(*nodes, **{"pool": [pool_section(pool) for pool in pools], **sections})
        return Config.model_validate(
            {
                "network": "regtest",
                "pool": [pool_section(pool) for pool in pools],
                "controller": {"enabled": False},
                "ledger": {"url": f"sqlite:///{tmp_path / 'hashmill.db'}"},
                **sections,
            }
        )

    return make


def served(port: int, **keys: Any) -> dict[str, Any]:
    """A [stratum] section whose shares are any hashes."""
    easy = {"start_difficulty": 1e-9, "min_difficulty": 1e-9, "max_difficulty": 1e-9}
    return {"listen": f"127.0.0.1:{port}", **easy, **keys}


class TestPoolsAlone:
    """Without a node of one's own."""

    async def test_the_pool_s_work_is_the_main_work_and_its_shares_go_up(self, client: MakeConfig) -> None:
        async with ScriptedPool("a") as pool, site_at(client(pool)) as site:
            job = await site.works_on("a")
            verdict = site.plant.delivery.desk.take(pool_share_on(job), ANY_HASH)
            assert isinstance(verdict, PoolShare)
            await pool.until(lambda: pool.accepted)
            assert site.plant.mining is None

    async def test_what_waits_for_the_pool_at_the_end_is_answered_before_it_goes(
        self, client: MakeConfig
    ) -> None:
        async with ScriptedPool("a", script=Script(answer_late_s=0.4)) as pool, site_of(client(pool)) as site:
            async with running(site):
                job = await site.works_on("a")
                site.plant.delivery.desk.take(pool_share_on(job), ANY_HASH)
            await site.recorder.settle_pool_shares([])
            (row,) = site.store.pool_shares(10)
            assert row.result == "accepted"

    async def test_a_restart_knows_earlier_shares_sums_and_payees(
        self, client: MakeConfig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upstreams, "DRAIN_S", 0.1)
        async with ScriptedPool("a") as pool:
            async with site_at(client(pool)) as site:
                job = await site.works_on("a")
                for number in range(5):
                    site.plant.delivery.desk.take(pool_share_on(job, number), ANY_HASH)
                await pool.until(lambda: len(pool.accepted) == 5)
                pool.script.silent.add("mining.submit")
                site.plant.delivery.desk.take(pool_share_on(job, 5), ANY_HASH)
            async with site_of(client(pool)) as site:
                assert site.plant.pools is not None
                sums = site.plant.pools.sums("a")
                assert (sums.found, sums.accepted, sums.in_doubt) == (6, 5, 1)
                assert site.store.pool_payees("a") == {job.payout_script}
                book = site.plant.delivery.desk._shelf.book("a")
                hashes = [bytes.fromhex(row.hash)[::-1] for row in site.store.pool_shares(10)]
                assert len(hashes) == 6
                assert all(book.is_duplicate(job.prev_hash, digest) for digest in hashes)
                own = site.plant.delivery.desk._shelf.book(SOLO)
                assert not any(own.is_duplicate(job.prev_hash, digest) for digest in hashes)

    async def test_a_miner_waits_for_the_pool_s_word_where_that_is_the_answer(
        self, client: MakeConfig, port: int
    ) -> None:
        def answer(_share: object) -> dict[str, Any]:
            return {"result": None, "error": [23, "No thanks", None]}

        script = Script(answer=answer)
        config_of = {"stratum": served(port, answers="pool")}
        async with ScriptedPool("a", script=script) as pool, site_at(client(pool, **config_of)) as site:
            job = await site.works_on("a")
            miner = await site.miner()
            notify = (await miner.note("mining.notify"))["params"]
            reply = await hand_in(miner, job, notify)
            assert reply["error"][:2] == [23, "No thanks"]
            script.answer = None
            reply = await hand_in(miner, job, notify, 1)
            assert (reply["result"], reply["error"]) == (True, None)
            miner.close()

    async def test_another_layout_reaches_miners_before_its_job(self, client: MakeConfig, port: int) -> None:
        async with (
            ScriptedPool("a") as wide,
            ScriptedPool("b", extranonce2_size=4) as narrow,
            site_at(client(wide, narrow, stratum=served(port))) as site,
        ):
            await site.works_on("a")
            server = site.plant.front.server
            assert server is not None
            assert server.layout == Layout(4, 4)
            miner = await site.miner(wants_extranonce=True)
            await miner.note("mining.notify")
            await wide.die()
            _, extranonce2_size = (await miner.note("mining.set_extranonce"))["params"]
            assert (extranonce2_size, server.layout) == (2, Layout(2, 2))
            job = await site.works_on("b")
            notify = (await miner.note("mining.notify"))["params"]
            assert notify[8] is True
            assert (job.extranonce1_size, job.extranonce2_size) == (2, 2)
            miner.close()


async def hand_in(miner: Miner, job: Job, notify: list[Any], number: int = 0) -> dict[str, Any]:
    """A share of the job as the miner was told of it; the answer to it."""
    extranonce1 = bytes.fromhex(miner.extranonce1)
    extranonce2 = number.to_bytes(job.extranonce2_size, "big")
    for nonce in range(10_000):
        _, digest = job.header(
            extranonce1, extranonce2, ntime_s=job.ntime_s, nonce=nonce, version=job.version
        )
        if int.from_bytes(digest, "little") <= job.handed_on_target:
            break
    params = [MINER, notify[0], extranonce2.hex(), f"{job.ntime_s:08x}", f"{nonce:08x}"]
    return await miner.call("mining.submit", *params)


@pytest.mark.bitcoind
class TestWithANode:
    """Solo work and pools."""

    async def test_solo_work_alone_needs_no_pool(self, node: Bitcoind, make_config: MakeConfig) -> None:
        async with site_at(make_config(node), PAYOUT) as site:
            job = await site.works_on(SOLO)
            assert site.plant.pools is None
            verdict = site.plant.delivery.desk.take(block_on(job), ANY_HASH)
            assert isinstance(verdict, Block)
            await until(lambda: node.rpc("getbestblockhash") == verdict.hash[::-1].hex())

    async def test_pools_are_mined_before_the_node_has_come_and_solo_work_begins_when_it_has(
        self,
        node: Bitcoind,
        client: MakeConfig,
        proxy_of: Any,
        monkeypatch: pytest.MonkeyPatch,
        caplog: pytest.LogCaptureFixture,
    ) -> None:
        monkeypatch.setattr(plant_module, "NODE_RETRY_S", 0.05)
        proxy: Proxy = await proxy_of(node)
        proxy.fail("*", drop)
        async with ScriptedPool("a") as pool:
            config = client(pool, nodes=(node,))
            async with site_of(config) as site:
                (known,) = site.plant._nodes
                known.rpc = RpcClient(proxy.url, CookieFile(node.cookie_file), name="a", timeout_s=1.0)
                async with running(site):
                    await site.works_on("a")
                    await until(lambda: "node_awaited" in caplog.messages)
                    assert site.plant.mining is None
                    proxy.heal()
                    job = await site.solo_works()
                    assert job.payout_script == bytes.fromhex(
                        node.rpc("validateaddress", ADDRESS)["scriptPubKey"]
                    )
                    # Of the pools' layout, since all work has the same.
                    assert (job.extranonce1_size, job.extranonce2_size) == (4, 4)
                    assert site.plant.job is not None
                    assert site.plant.job.origin == "a"
                    await pool.die()
                    await site.works_on(SOLO)
                    assert site.fatal == []
                    assert caplog.messages.count("node_awaited") == 1

    async def test_an_address_that_the_node_refuses_is_fatal_and_says_so(
        self, node: Bitcoind, client: MakeConfig
    ) -> None:
        mainnet = "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4"
        async with ScriptedPool("a") as pool:
            config = client(pool, nodes=(node,), solo={"payout_address": mainnet})
            async with site_at(config) as site:
                await until(lambda: site.fatal)
                (error,) = site.fatal
                assert isinstance(error, PayoutAddressError)
                assert site.plant.mining is None

    async def test_when_the_pool_goes_the_node_stands_in_and_a_block_is_found(
        self, node: Bitcoind, client: MakeConfig
    ) -> None:
        async with ScriptedPool("a") as pool, site_at(client(pool, nodes=(node,)), PAYOUT) as site:
            old = await site.works_on("a")
            await site.solo_works()
            await pool.die()
            job = await site.works_on(SOLO)
            desk = site.plant.delivery.desk
            assert desk.take(pool_share_on(old), ANY_HASH) == Rejected(Reason.STALE)
            verdict = desk.take(block_on(job), ANY_HASH)
            assert isinstance(verdict, Block)
            await until(lambda: node.rpc("getbestblockhash") == verdict.hash[::-1].hex())
            await pool.revive()
            await site.works_on("a")
            assert pool.shares == []

    async def test_each_lane_s_miners_have_their_own_work(
        self, node: Bitcoind, client: MakeConfig, port: int
    ) -> None:
        units = [
            {"id": "solist", "worker": "rig.solo", "mines": "solo", "control": "gate", "modes": MODES},
            {"id": "pooled", "worker": "rig.pool", "mines": "pool", "control": "gate", "modes": MODES},
        ]
        async with ScriptedPool("a") as pool:
            config = client(pool, nodes=(node,), stratum=served(port), unit=units, solo={"share": 0.5})
            async with site_at(config, PAYOUT) as site:
                own, theirs = await site.solo_works(), await site.works_on("a")
                for name, job in (("rig.solo", own), ("rig.pool", theirs)):
                    miner = await site.miner(name)
                    notify = (await miner.note("mining.notify"))["params"]
                    assert notify[2] == job.coinbase1.hex()
                    miner.close()

    async def test_a_layout_that_a_pool_makes_necessary_is_the_solo_work_s_too(
        self, node: Bitcoind, client: MakeConfig
    ) -> None:
        async with ScriptedPool("a", extranonce2_size=3) as pool:
            await pool.die()
            async with site_at(client(pool, nodes=(node,)), PAYOUT) as site:
                before = await site.solo_works()
                assert (before.extranonce1_size, before.extranonce2_size) == (4, 4)
                await pool.revive()
                await site.works_on("a")
                after = await site.solo_works()
                assert (after.extranonce1_size, after.extranonce2_size) == (1, 2)
                await pool.die()
                job = await site.works_on(SOLO)
                verdict = site.plant.delivery.desk.take(block_on(job), ANY_HASH)
                assert isinstance(verdict, Block)
                await until(lambda: node.rpc("getbestblockhash") == verdict.hash[::-1].hex())

    async def test_blocks_and_pool_shares_under_way_are_waited_for_at_the_end(
        self, node: Bitcoind, client: MakeConfig
    ) -> None:
        async with (
            ScriptedPool("a", script=Script(answer_late_s=0.5)) as pool,
            site_of(client(pool, nodes=(node,)), PAYOUT) as site,
        ):
            async with running(site):
                job, own = await site.works_on("a"), await site.solo_works()
                os.kill(node.pid, signal.SIGSTOP)
                try:
                    desk = site.plant.delivery.desk
                    desk.take(pool_share_on(job), ANY_HASH)
                    block = desk.take(block_on(own), ANY_HASH)
                    assert isinstance(block, Block)
                    site.hashing_ended.set()
                    await pool.until(lambda: pool.accepted)
                finally:
                    os.kill(node.pid, signal.SIGCONT)
            assert node.rpc("getbestblockhash") == block.hash[::-1].hex()
            await site.recorder.settle_pool_shares([])
            (row,) = site.store.pool_shares(10)
            assert row.result == "accepted"

    async def test_a_restart_knows_the_shares_on_the_node_s_tip(
        self, node: Bitcoind, make_config: MakeConfig
    ) -> None:
        async with site_at(make_config(node), PAYOUT) as site:
            job = await site.works_on(SOLO)
            verdict = site.plant.delivery.desk.take(share_on(job), ANY_HASH)
            assert not isinstance(verdict, Rejected)
        async with site_of(make_config(node), PAYOUT) as site:
            book = site.plant.delivery.desk._shelf.book(SOLO)
            assert book.is_duplicate(job.prev_hash, verdict.hash)  # type: ignore[union-attr]

    async def test_the_payout_script_comes_from_the_first_node_that_answers(
        self, node: Bitcoind, make_config: MakeConfig
    ) -> None:
        address = chain.new_address(node, "bech32m")
        config = make_config(node, solo={"payout_address": address, "coinbase_tag": "/x/"})
        nodes = node_set(config)
        payout = await find_payout(config, nodes)
        await nodes.close()
        assert payout == Payout(address, chain.script_of(node, address), b"/x/")


MODES = [{"name": "full", "th_s": 100.0, "watts": 3000.0}]
