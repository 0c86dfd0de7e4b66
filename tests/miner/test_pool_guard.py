"""What is suspicious about the work of pools: told, counted, remembered; and asked of a real bitcoind what it builds on."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from miner import pool_guard
from miner.chain.coinbase import build_coinbase
from miner.config import Config
from miner.ledger.recorder import Recorder
from miner.ledger.store import Store
from miner.metrics import Metrics
from miner.metrics_pools import PoolMetrics
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import CookieFile, RpcClient
from miner.pool_guard import PoolGuard
from miner.work.job import Job, UpstreamWork
from regtest import chain
from regtest.bitcoind import Bitcoind
from tests.miner.harness import NOW, Clock, node_of, shown
from tests.miner.node.harness import Proxy, refuse, result, until
from tests.miner.pool_harness import mining_at
from tests.miner.stratum.scripted_pool import ScriptedPool
from tests.miner.stratum.scripted_work import PAYEE

MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

OURS = bytes.fromhex("0014") + b"\x01" * 20
THIEFS = bytes.fromhex("0014") + b"\x66" * 20
REWARD = 312_500_000
UNKNOWN_S, BEHIND_S = 31.0, 61.0
COUNT = 'hashmill_pool_suspicions_total{{kind="{}",pool="main"}}'


def job_of(payee: bytes = OURS, prev_hash: bytes = b"\xa0" * 32, number: int = 1) -> Job:
    """A pool's job that pays so."""
    coinbase = build_coinbase(900_000, REWARD, payee, bytes(32), b"/pool/", 8)
    return Job(
        id=f"{number:x}", origin="main", height=900_000, version=0x2000_0000, version_mask=0, prev_hash=prev_hash,
        coinbase1=coinbase.prefix, coinbase2=coinbase.suffix, branch=(), bits=0x1D00FFFF, ntime_s=1_700_000_000,
        min_time_s=1_700_000_000, extranonce1_size=4, extranonce2_size=4, clean=True, reward_sat=REWARD,
        payout_script=payee, created_at=NOW, upstream=UpstreamWork(f"job-{number}", 2**224, b"", epoch=1),
    )  # fmt: skip


def config_of(*payees: str, **upstreams: Any) -> Config:
    pool = {"url": "stratum+tcp://pool.example:3333", "user": "x", "name": "main", "payees": list(payees)}
    node = [{"rpc_url": "http://127.0.0.1:1", "cookie_file": "/nowhere/.cookie"}]
    return Config.model_validate(
        {"network": "regtest", "pool": [pool], "bitcoind": node, "upstreams": upstreams}
    )


@dataclass
class Watch:
    """A guard, and what was heard of it."""

    store: Store
    recorder: Recorder
    metrics: Metrics
    nodes: NodeSet
    clock: Clock = field(default_factory=Clock)
    condemned: list[tuple[str, str]] = field(default_factory=list)
    alerts: dict[str, str] = field(default_factory=dict)
    guard: PoolGuard = field(init=False)
    job: Job | None = None

    def take(self, payee: bytes = OURS, difficulty: float = 10.0, **changes: Any) -> bool:
        self.job = job_of(payee, **changes)
        return self.guard.take(self.job, difficulty, self.clock())

    def counted(self, kind: str) -> tuple[int, float | None]:
        """By the API and by the metrics."""
        return self.guard.suspicions("main")[kind], shown(self.metrics, COUNT.format(kind))

    @property
    def alert(self) -> str:
        return self.alerts.get("pool_suspicious:main", "")


@asynccontextmanager
async def guard_of(
    config: Config, ledger: Path, nodes: Sequence[Node] = (), network: str = "regtest"
) -> AsyncIterator[Watch]:
    with Store.open(f"sqlite:///{ledger}") as store:
        async with Recorder(store) as recorder:
            metrics = Metrics("0", "portable")
            watch = Watch(store, recorder, metrics, NodeSet(nodes, network))
            watch.guard = PoolGuard(
                config,
                recorder,
                PoolMetrics(metrics.registry),
                watch.nodes,
                known={"main": store.pool_payees("main")},
                on_condemned=lambda name, why: watch.condemned.append((name, why)),
                on_alert=watch.alerts.__setitem__,
                clock=watch.clock,
            )
            try:
                yield watch
            finally:
                await watch.nodes.close()


@asynccontextmanager
async def running(watch: Watch) -> AsyncIterator[None]:
    """It asks the node about the job that `take` saw last, a hundred times a second."""
    async with asyncio.TaskGroup() as group:
        task = group.create_task(watch.guard.run(lambda: watch.job))
        try:
            yield
        finally:
            task.cancel()


@pytest.fixture
def often(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pool_guard, "CHAIN_CHECK_S", 0.01)


async def asked(watch: Watch, rounds: int = 3) -> None:
    """Wait until the node was asked a few times more: what there is to be found has been found."""
    calls = 0
    ask = watch.guard._ask_node

    async def counting(prev_hash: bytes) -> bool | None:
        nonlocal calls
        calls += 1
        return await ask(prev_hash)

    watch.guard._ask_node = counting  # type: ignore[method-assign]
    await until(lambda: calls > rounds)
    del watch.guard._ask_node


def behind(proxy: Proxy) -> Node:
    """The proxy's node."""
    return Node("a", RpcClient(proxy.url, CookieFile(proxy.target.cookie_file), name="a"))


def tip_of(node: Bitcoind) -> bytes:
    return bytes.fromhex(node.rpc("getbestblockhash"))[::-1]


class TestJobs:
    """What is seen in a job alone."""

    async def test_a_suspicious_job_is_warned_of_and_counted_and_still_mined(
        self, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with guard_of(config_of(OURS.hex()), ledger) as watch:
            assert watch.take()
            assert watch.alert == ""
            assert watch.take(THIEFS)
            assert watch.counted("pays_nobody_we_know") == (1, 1.0)
            assert watch.counted("absurd_difficulty") == (0, None)
            assert caplog.messages == ["pool_suspicious"]
            assert watch.alert.startswith("pool main: job 'job-1' pays 3.125")
            assert watch.condemned == []

    async def test_a_pool_is_condemned_after_the_limit_with_what_it_did(self, ledger: Path) -> None:
        async with guard_of(config_of(OURS.hex(), suspicions=2), ledger) as watch:
            assert watch.take(THIEFS)
            assert not watch.take(THIEFS)
            ((name, why),) = watch.condemned
            assert name == "main"
            assert "the connection may be hijacked" in why
            assert watch.counted("pays_nobody_we_know") == (2, 2.0)

    async def test_a_good_job_ends_the_alert_and_the_count_to_the_limit(self, ledger: Path) -> None:
        async with guard_of(config_of(OURS.hex(), suspicions=2), ledger) as watch:
            for _ in range(3):
                assert watch.take(THIEFS)
                assert watch.alert
                assert watch.take()
                assert watch.alert == ""
            assert watch.condemned == []
            assert watch.counted("pays_nobody_we_know") == (3, 3.0)

    async def test_after_a_condemnation_a_good_job_of_a_new_connection_is_mined_and_a_bad_one_not(
        self, ledger: Path
    ) -> None:
        async with guard_of(config_of(OURS.hex(), suspicions=1), ledger) as watch:
            assert not watch.take(THIEFS)
            watch.guard.reconnected("main")
            assert not watch.take(THIEFS)
            assert len(watch.condemned) == 2
            watch.guard.reconnected("main")
            assert watch.take(difficulty=1e5)  # any difficulty will do on a new connection
            assert watch.alert == ""

    async def test_a_limit_of_nothing_only_warns(self, ledger: Path) -> None:
        async with guard_of(config_of(OURS.hex(), suspicions=0), ledger) as watch:
            assert all(watch.take(THIEFS) for _ in range(10))
            assert watch.counted("pays_nobody_we_know") == (10, 10.0)

    async def test_an_absurd_difficulty_is_one_of_the_factor_configured(self, ledger: Path) -> None:
        async with guard_of(config_of(OURS.hex(), difficulty_factor=10), ledger) as watch:
            watch.take(difficulty=10.0)
            watch.take(difficulty=101.0)
            assert watch.counted("absurd_difficulty") == (1, 1.0)


class TestPayees:
    """Whom a pool pays: configured, learned, translated."""

    async def test_what_is_learned_is_known_after_a_restart(self, ledger: Path) -> None:
        async with guard_of(config_of(), ledger) as watch:
            assert watch.take()
            assert watch.counted("pays_nobody_we_know") == (0, None)
        async with guard_of(config_of(), ledger) as watch:
            assert watch.store.pool_payees("main") == {OURS}
            watch.take(THIEFS)
            assert watch.counted("pays_nobody_we_know") == (1, 1.0)
        async with guard_of(config_of(), ledger) as watch:  # who was suspicious taught nothing
            assert watch.store.pool_payees("main") == {OURS}

    async def test_a_ledger_that_is_closed_does_not_stop_the_work(
        self, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with guard_of(config_of(), ledger) as watch:
            await watch.recorder.aclose()
            assert watch.take()
            assert caplog.messages == ["pool_payees_unwritten"]

    async def test_configured_payees_count_more_than_what_was_learned(self, ledger: Path) -> None:
        async with guard_of(config_of(), ledger) as watch:
            watch.take(THIEFS)
        async with guard_of(config_of(OURS.hex()), ledger) as watch:
            watch.take(THIEFS)
            assert watch.counted("pays_nobody_we_know") == (1, 1.0)

    @pytest.mark.bitcoind
    @pytest.mark.usefixtures("often")
    async def test_addresses_are_translated_by_the_node_and_what_was_counted_stays(
        self, bitcoind: Bitcoind, ledger: Path
    ) -> None:
        address = chain.new_address(bitcoind, "bech32")
        script = chain.script_of(bitcoind, address)
        config = config_of(address, OURS.hex())
        async with guard_of(config, ledger, [node_of(bitcoind)]) as watch:
            assert watch.take(
                script
            )  # until the node has said so, payees are learned: no script alone decides
            watch.take(script, difficulty=1e5)
            before = watch.counted("absurd_difficulty")
            assert before == (1, 1.0)
            assert watch.counted("pays_nobody_we_know") == (0, None)
            async with running(watch):
                await until(lambda: watch.guard._watches["main"]._fixed)
            assert watch.counted("absurd_difficulty") == before
            for payee, times in ((script, 0), (OURS, 0), (THIEFS, 1)):
                watch.take(payee)
                assert watch.counted("pays_nobody_we_know")[0] == times

    @pytest.mark.bitcoind
    @pytest.mark.usefixtures("often")
    async def test_a_node_that_comes_late_translates_then(
        self, bitcoind: Bitcoind, ledger: Path, proxy_of: MakeProxy
    ) -> None:
        proxy = await proxy_of(bitcoind)
        proxy.fail("validateaddress", refuse(-1, "not now"))
        address = chain.new_address(bitcoind, "bech32")
        async with guard_of(config_of(address), ledger, [behind(proxy)]) as watch, running(watch):
            await until(lambda: proxy.seen.count("validateaddress") > 1)
            assert watch.take(THIEFS)
            assert watch.alert == ""  # learned: nothing better is known
            proxy.heal()
            await until(lambda: watch.guard._watches["main"]._fixed)
            watch.take(THIEFS)
            assert watch.alert

    @pytest.mark.bitcoind
    async def test_an_address_that_is_none_is_told_and_payees_are_learned(
        self, bitcoind: Bitcoind, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        config = config_of("bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4")
        async with guard_of(config, ledger, [node_of(bitcoind)]) as watch, running(watch):
            await until(lambda: "pool_payee_refused" in caplog.messages)
            assert "an address of main" in watch.alert
            assert watch.take()
            watch.take(THIEFS)
            assert watch.counted("pays_nobody_we_know") == (1, 1.0)


@pytest.mark.bitcoind
@pytest.mark.usefixtures("often")
class TestChain:
    """What the work builds on, as a real node knows it."""

    async def test_work_on_the_node_s_tip_is_never_suspicious(self, node: Bitcoind, ledger: Path) -> None:
        async with guard_of(config_of(), ledger, [node_of(node)]) as watch, running(watch):
            watch.take(prev_hash=tip_of(node))
            await asked(watch)
            watch.clock.now += 1000.0
            await asked(watch)
            assert (watch.alert, watch.condemned) == ("", [])

    async def test_a_block_that_the_node_has_never_heard_of_is_told_and_then_the_pool_is_left(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with guard_of(config_of(), ledger, [node_of(node)]) as watch, running(watch):
            watch.take(prev_hash=b"\xee" * 32)
            await asked(watch)
            assert watch.alert == ""
            watch.clock.now += UNKNOWN_S
            await until(lambda: watch.alert)
            assert "our node has not heard of" in watch.alert
            assert watch.counted("unknown_prev_hash") == (1, 1.0)
            await asked(watch)
            assert watch.condemned == []
            watch.clock.now += UNKNOWN_S
            await until(lambda: watch.condemned)
            assert "our node has not heard of" in watch.condemned[0][1]

    async def test_work_that_the_node_has_gone_on_from_is_told_and_then_the_pool_is_left(
        self, node: Bitcoind, ledger: Path
    ) -> None:
        async with guard_of(config_of(), ledger, [node_of(node)]) as watch, running(watch):
            old = tip_of(node)
            watch.take(prev_hash=old)
            await asked(watch)
            await asyncio.to_thread(chain.mine, node, 1)
            await asked(watch)
            assert watch.alert == ""
            watch.clock.now += BEHIND_S
            await until(lambda: watch.alert)
            assert tip_of(node)[::-1].hex() in watch.alert
            assert watch.counted("left_behind") == (1, 1.0)
            watch.take(prev_hash=old, number=2)  # no good job: it builds on the same block
            assert watch.alert
            watch.clock.now += BEHIND_S
            await until(lambda: watch.condemned)
            watch.job = None
            watch.guard.reconnected("main")
            watch.take(prev_hash=tip_of(node), number=3)
            assert watch.alert == ""

    async def test_of_two_blocks_of_one_height_neither_is_behind(self, node: Bitcoind, ledger: Path) -> None:
        first = tip_of(node)
        node.rpc("invalidateblock", first[::-1].hex())
        await asyncio.to_thread(chain.mine, node, 1)
        second = tip_of(node)
        node.rpc("reconsiderblock", first[::-1].hex())
        other = first if tip_of(node) == second else second
        async with guard_of(config_of(), ledger, [node_of(node)]) as watch, running(watch):
            watch.take(prev_hash=other)
            await asked(watch)
            watch.clock.now += 3 * BEHIND_S
            await asked(watch)
            assert (watch.alert, watch.condemned) == ("", [])

    @pytest.mark.parametrize(
        ("method", "fault"),
        [
            ("getblockheader", refuse(-32601, "Method not found")),
            ("getblockchaininfo", refuse(-28, "Loading block index...")),
            ("getblockchaininfo", refuse(-1, "out of order")),
            (
                "getblockchaininfo",
                result({"blocks": 3, "bestblockhash": "zz", "initialblockdownload": False}),
            ),
        ],
    )
    async def test_a_node_that_cannot_tell_says_nothing_against_a_pool(
        self, method: str, fault: Any, node: Bitcoind, ledger: Path, proxy_of: MakeProxy
    ) -> None:
        proxy = await proxy_of(node)
        proxy.fail(method, fault)
        async with guard_of(config_of(), ledger, [behind(proxy)]) as watch, running(watch):
            watch.take(prev_hash=b"\xee" * 32)
            await asked(watch)
            watch.clock.now += 3 * UNKNOWN_S
            await asked(watch)
            assert (watch.alert, watch.condemned) == ("", [])
            proxy.heal()
            await asked(watch)
            watch.clock.now += UNKNOWN_S
            await until(lambda: watch.alert)

    @pytest.mark.parametrize("is_syncing", [True, False])
    async def test_a_node_that_is_cut_off_or_still_syncing_knows_nothing_of_new_blocks(
        self, *, is_syncing: bool, node: Bitcoind, ledger: Path, proxy_of: MakeProxy
    ) -> None:
        """On a public chain; this node has no peers, and of its chain we say that it is the real one."""
        proxy = await proxy_of(node)
        info = {"blocks": 3, "bestblockhash": tip_of(node)[::-1].hex(), "initialblockdownload": is_syncing}
        proxy.fail("getblockchaininfo", result(info))
        if is_syncing:
            proxy.fail("getconnectioncount", result(8))
        async with guard_of(config_of(), ledger, [behind(proxy)], "main") as watch, running(watch):
            watch.take(prev_hash=b"\xee" * 32)
            await asked(watch)
            watch.clock.now += 3 * UNKNOWN_S
            await asked(watch)
            assert (watch.alert, watch.condemned) == ("", [])
            info["initialblockdownload"] = False
            proxy.fail("getconnectioncount", result(8))
            await asked(watch)
            watch.clock.now += UNKNOWN_S
            await until(lambda: watch.alert)

    async def test_without_a_job_nothing_is_asked(
        self, node: Bitcoind, ledger: Path, proxy_of: MakeProxy
    ) -> None:
        proxy = await proxy_of(node)
        async with guard_of(config_of(), ledger, [behind(proxy)]) as watch, running(watch):
            await asyncio.sleep(0.1)
        assert proxy.seen == []


class TestTogether:
    """With the pools, as they are wired."""

    async def test_a_hijacked_pool_is_left_for_the_next_one(self, ledger: Path) -> None:
        async with (
            ScriptedPool("a") as first,
            ScriptedPool("b") as second,
            mining_at(first, second, ledger=ledger) as site,
        ):
            good = await site.works_for(first)
            assert good.payout_script == PAYEE
            theft: dict[str, Any] = {"outputs": ((REWARD, THIEFS),)}
            for _ in range(2):
                await site.works_for(first, first.new_job(**theft).id)
            assert "hijacked" in site.alerts["pool_suspicious:a"]
            third = first.new_job(**theft)
            await site.works_for(second)
            mined = [job.upstream.job_id for job in site.jobs if job is not None and job.upstream]
            assert third.id not in mined
            assert site.pools.guard.suspicions("a")["pays_nobody_we_know"] == 3
            assert "hijacked" in site.alerts["pool_a"]
            assert await asyncio.to_thread(site.store.pool_payees, "a") == {PAYEE}
