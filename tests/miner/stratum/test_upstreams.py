import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import replace
from itertools import cycle, pairwise
from typing import Any

import pytest

from miner.stratum import upstreams as upstreams_module
from miner.stratum.client import PoolSettings
from miner.stratum.failover import Failover
from miner.stratum.pool_address import parse_pool_url
from miner.stratum.pool_events import Failure, PoolAccepted, PoolLogin, PoolSilent, PoolVerdict, Work
from miner.stratum.upstreams import NO_POOL, Upstreams, UpstreamStatus
from regtest.ports import LOOPBACK
from tests.miner.stratum.scripted_pool import PATIENCE_S, ScriptedPool
from tests.miner.stratum.scripted_work import mine

LOGIN = PoolLogin("account.site", "x", "hashmill/test", 0x1FFFE000)


class Rig:
    """Upstreams that run, and a miner who mines for whatever pool he is told to."""

    def __init__(self, pools: Sequence[ScriptedPool], options: dict[str, Any]) -> None:
        self.told: list[str | None] = []
        self.work: list[tuple[str, Work, int]] = []
        self.answers: dict[int, PoolVerdict] = {}
        self.alerts: dict[str, str] = {}
        self.found = 0
        self.on_work: Callable[[str], None] = lambda _name: None
        self.closing = asyncio.Event()
        self.pools = pools
        settings = [
            replace(
                PoolSettings(pool.name, parse_pool_url(pool.url), LOGIN),
                **options.pop(pool.name, {}),
            )
            for pool in pools
        ]
        self.upstreams = Upstreams(
            settings,
            on_active=self.told.append,
            on_work=self._take,
            on_answer=self._answer,
            on_alert=self._alert,
            **options,
        )
        self.running: asyncio.Task[None] | None = None

    def _take(self, name: str, work: Work, epoch: int) -> None:
        assert self.told[-1] == name == self.upstreams.active
        self.work.append((name, work, epoch))
        self.on_work(name)

    def _answer(self, token: int, verdict: PoolVerdict, took_s: float) -> None:
        assert token not in self.answers
        assert token <= self.found
        assert took_s >= 0
        self.answers[token] = verdict

    def _alert(self, name: str, message: str) -> None:
        self.alerts[name] = message
        if not message:
            del self.alerts[name]

    def mine(self, which: int = -1) -> int:
        """Find a share of that work, and hand it in: its token."""
        name, work, epoch = self.work[which]
        self.found += 1
        before = dict(self.answers)
        self.upstreams.submit(name, epoch, mine(work, self.found), self.found)
        assert self.answers == before, "an answer came from within submit"
        return self.found

    def status(self, name: str) -> UpstreamStatus:
        return next(status for status in self.upstreams.statuses() if status.name == name)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                assert self.running is None or not self.running.done(), self.running
                await asyncio.sleep(0.002)

    async def verdict(self, token: int) -> PoolVerdict:
        await self.until(lambda: token in self.answers)
        return self.answers[token]

    async def standing_by(self) -> None:
        """Every pool has given work."""
        await self.until(lambda: all(status.is_up for status in self.upstreams.statuses()))


@asynccontextmanager
async def upstreams_of(*pools: ScriptedPool, **options: Any) -> AsyncIterator[Rig]:
    rig = Rig(pools, {"return_s": 0.3, **options})
    rig.running = asyncio.create_task(rig.upstreams.run(rig.closing))
    try:
        yield rig
        rig.closing.set()
        async with asyncio.timeout(PATIENCE_S):
            await rig.running
        assert len(rig.answers) == rig.found, "a share was never answered"
        assert all(status.state == "down" for status in rig.upstreams.statuses())
    finally:
        rig.running.cancel()
        await asyncio.wait([rig.running])


@pytest.fixture
async def pools() -> AsyncIterator[list[ScriptedPool]]:
    async with AsyncExitStack() as stack:
        yield [await stack.enter_async_context(ScriptedPool(name)) for name in ("one", "two")]


@pytest.fixture(autouse=True)
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Tests need not wait as long as pools do: a tenth of each wait, and a steady look at what is to be mined."""
    monkeypatch.setattr(upstreams_module, "STEER_S", 0.02)
    failed = Failover.failed
    monkeypatch.setattr(Failover, "failed", lambda *arguments: failed(*arguments) / 10)


async def test_the_only_pool_is_mined_for(pools: list[ScriptedPool]) -> None:
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.work)
        assert rig.told == ["one"]
        assert await rig.verdict(rig.mine()) == PoolAccepted()
        status = rig.status("one")
        assert (status.state, status.is_up, status.epoch, status.failure) == ("active", True, 1, None)
        assert (status.difficulty, status.extranonce2_size, status.version_mask) == (1e-9, 8, 0x1FFFE000)
        assert status.latency_s is not None
        assert status.last_notify_at is not None
        assert rig.alerts == {}


async def test_the_first_in_the_list_wins_though_it_is_slower(pools: list[ScriptedPool]) -> None:
    pools[0].script.late_s = 0.1
    async with upstreams_of(*pools) as rig:
        await rig.until(lambda: rig.work)
        assert rig.told == ["one"]
        assert rig.status("two").state == "standby"


async def test_only_the_active_pools_work_is_passed_on(pools: list[ScriptedPool]) -> None:
    async with upstreams_of(*pools) as rig:
        await rig.standing_by()
        pools[1].new_job()
        pools[0].new_block()
        await rig.until(lambda: len(rig.work) == 2)
        assert [name for name, _, _ in rig.work] == ["one", "one"]


async def test_when_a_pool_dies_the_next_is_mined_for_at_once_with_its_newest_work(
    pools: list[ScriptedPool],
) -> None:
    async with upstreams_of(*pools) as rig:
        await rig.standing_by()
        newest = pools[1].new_job()
        pools[0].script.silent.add("mining.submit")
        token = rig.mine()
        await pools[0].until(lambda: pools[0].shares)
        await pools[0].die()
        await rig.until(lambda: rig.told == ["one", "two"])
        assert isinstance(await rig.verdict(token), PoolSilent)
        assert rig.work[-1][1].notify.job_id == newest.id
        assert await rig.verdict(rig.mine()) == PoolAccepted()
        late = rig.mine(0)  # found on the dead pool's work
        assert isinstance(await rig.verdict(late), PoolSilent)
        assert [share.job_id for share in pools[1].shares] == [newest.id]
        assert rig.status("one").failovers == 1
        await rig.until(lambda: rig.status("one").failure is Failure.REFUSED)
        assert "connection refused" in rig.alerts["pool_one"]


async def test_a_pool_that_is_back_is_returned_to_after_a_time_of_health(pools: list[ScriptedPool]) -> None:
    await pools[0].die()
    async with upstreams_of(*pools, return_s=0.5) as rig:
        await rig.until(lambda: rig.told == ["two"])
        await pools[0].revive()
        await rig.until(lambda: rig.status("one").state == "standby")
        back_at = asyncio.get_running_loop().time()
        assert "pool_one" not in rig.alerts
        await rig.until(lambda: rig.told == ["two", "one"])
        assert asyncio.get_running_loop().time() - back_at > 0.4
        # What was found for the other pool still goes there.
        assert await rig.verdict(rig.mine(0)) == PoolAccepted()
        assert len(pools[1].accepted) == 1
        assert rig.status("two").failovers == 0


async def test_a_pool_that_comes_and_goes_is_not_returned_to(pools: list[ScriptedPool]) -> None:
    await pools[0].die()
    async with upstreams_of(*pools, return_s=5.0) as rig:
        await rig.until(lambda: rig.told == ["two"])
        for epochs in range(1, 4):
            await pools[0].revive()
            await rig.until(lambda: rig.status("one").state == "standby")
            await pools[0].die()
            await rig.until(lambda: rig.status("one").state != "standby")
            assert pools[0].connections >= epochs
        assert rig.told == ["two"]


async def test_a_standby_that_is_sent_home_for_bringing_no_shares_is_no_reason_to_complain(
    pools: list[ScriptedPool], caplog: pytest.LogCaptureFixture
) -> None:
    async with upstreams_of(*pools) as rig:
        await rig.standing_by()
        pools[1].drop()
        await rig.until(lambda: rig.status("two").epoch == 2)
        await rig.standing_by()
        assert rig.alerts == {}
    assert caplog.records == []


async def test_without_a_pool_that_is_well_there_is_none_and_the_first_to_be_back_is_taken(
    pools: list[ScriptedPool], caplog: pytest.LogCaptureFixture
) -> None:
    async with upstreams_of(*pools) as rig:
        await rig.standing_by()
        await pools[1].die()
        await pools[0].die()
        await rig.until(lambda: rig.told == ["one", None])
        assert rig.upstreams.active is None
        assert NO_POOL in rig.alerts
        assert [r.message for r in caplog.records].count("pool_none") == 1
        await pools[1].revive()
        await rig.until(lambda: rig.told == ["one", None, "two"])
        assert NO_POOL not in rig.alerts
        assert rig.work[-1][2] > 1


async def test_a_pool_is_complained_of_once_for_each_kind_of_failure(
    pools: list[ScriptedPool], caplog: pytest.LogCaptureFixture
) -> None:
    await pools[0].die()
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.status("one").epoch > 3)
        pools[0].script.admits = lambda _: False
        await pools[0].revive()
        await rig.until(lambda: rig.status("one").failure is Failure.LOGIN)
    told = [record.reason for record in caplog.records if record.message == "pool_down"]  # type: ignore[attr-defined]
    assert told == ["refused", "login"]


@pytest.mark.parametrize(
    ("spoil", "limits", "kind"),
    [
        (lambda pool: setattr(pool.script, "hangs", True), {"answer_s": 0.5}, Failure.UNANSWERED),
        (lambda pool: setattr(pool.script, "works", False), {"no_work_s": 1.0}, Failure.NO_WORK),
        (lambda pool: pool.say(b"garbage\n"), {}, Failure.GARBAGE),
        (lambda pool: pool.drop(), {}, Failure.LOST),
        (lambda pool: [pool.notify("mining.notify", "x") for _ in range(3)], {}, Failure.BAD_WORK),
    ],
    ids=["hangs", "no-work", "garbage", "killed", "bad-work"],
)
async def test_mining_goes_on_elsewhere_whatever_a_pool_does(
    pools: list[ScriptedPool],
    spoil: Callable[[ScriptedPool], None],
    limits: dict[str, float],
    kind: Failure,
) -> None:
    async with upstreams_of(*pools, one=limits) as rig:
        await rig.standing_by()
        await pools[0].until(lambda: "mining.extranonce.subscribe" in pools[0].methods())
        spoil(pools[0])
        rig.mine()
        await rig.until(lambda: rig.told[-1] == "two")
        assert rig.status("one").failure is kind
        assert await rig.verdict(rig.mine()) == PoolAccepted()


async def test_a_condemned_pool_is_left_at_once_and_owes_a_time_of_health(pools: list[ScriptedPool]) -> None:
    async with upstreams_of(*pools, return_s=0.3) as rig:
        await rig.standing_by()

        def condemn(name: str) -> None:
            """As a watch does it: from within the callback that brings the bad job."""
            rig.on_work = lambda _name: None
            rig.upstreams.condemn(name, "pays nobody we know")
            assert rig.told == ["one"], "a callback came from within condemn"

        rig.on_work = condemn
        pools[0].new_job()
        pools[0].new_job()  # comes while the pool is being left
        await rig.until(lambda: rig.told == ["one", "two"])
        assert [name for name, _, _ in rig.work] == ["one", "one", "two"]
        status = rig.status("one")
        assert (status.failure, status.failovers) == (Failure.BAD_WORK, 1)
        assert "pays nobody we know" in status.failure_text
        await rig.until(lambda: rig.told == ["one", "two", "one"])
        assert rig.work[-1][2] == 2


async def test_a_condemned_pool_without_another_is_not_mined_for_until_it_is_well_again(
    pools: list[ScriptedPool],
) -> None:
    async with upstreams_of(pools[0], return_s=0.3) as rig:
        await rig.until(lambda: rig.work)
        rig.upstreams.condemn("one", "difficulty is absurd")
        await rig.until(lambda: rig.told == ["one", None])
        await rig.until(lambda: rig.status("one").state == "standby")
        assert rig.told == ["one", None]
        await rig.until(lambda: rig.told == ["one", None, "one"])


async def test_a_redirection_interrupts_and_is_no_failure(pools: list[ScriptedPool]) -> None:
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.work)
        pools[0].redirect(LOOPBACK, pools[1].port, 0)
        await rig.until(lambda: rig.told == ["one", None, "one"])
        assert await rig.verdict(rig.mine()) == PoolAccepted()
        assert [share.job_id for share in pools[1].shares] == ["two-0"]
        assert (rig.status("one").failure, "pool_one" in rig.alerts) == (None, False)


async def test_a_share_that_is_refused_a_way_is_never_answered_from_within_submit(
    pools: list[ScriptedPool],
) -> None:
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.work)
        name, work, epoch = rig.work[0]
        rig.found += 1
        rig.upstreams.submit(name, epoch + 1, mine(work), rig.found)
        assert rig.answers == {}
        assert isinstance(await rig.verdict(rig.found), PoolSilent)
        assert pools[0].shares == []


async def test_a_stop_waits_for_the_pools_word_on_the_last_shares(pools: list[ScriptedPool]) -> None:
    pools[0].script.answer_late_s = 0.1
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.work)
        token = rig.mine()
        rig.closing.set()
        await rig.until(lambda: rig.running is not None and token in rig.answers)
    assert rig.answers == {token: PoolAccepted()}


async def test_a_stop_does_not_wait_for_ever(
    pools: list[ScriptedPool], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(upstreams_module, "DRAIN_S", 0.05)
    pools[0].script.silent.add("mining.submit")
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.work)
        token = rig.mine()
    assert isinstance(rig.answers[token], PoolSilent)


async def test_what_a_pool_has_to_say_is_logged(
    pools: list[ScriptedPool], caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.work)
        pools[0].notify("client.show_message", "we move on Sunday")
        pools[0].redirect("192.0.2.66", 3333)
        await rig.until(lambda: any(r.message == "pool_redirect_refused" for r in caplog.records))
    assert [r.text for r in caplog.records if r.message == "pool_message"] == ["we move on Sunday"]  # type: ignore[attr-defined]


async def test_bad_work_is_told_once_for_each_connection_and_mining_goes_on_with_what_is_good(
    pools: list[ScriptedPool], caplog: pytest.LogCaptureFixture
) -> None:
    async with upstreams_of(pools[0]) as rig:
        await rig.until(lambda: rig.work)
        for count in (2, 3):
            pools[0].notify("mining.notify", "nonsense")
            pools[0].new_job()
            await rig.until(lambda count=count: len(rig.work) == count)  # type: ignore[misc]
        assert await rig.verdict(rig.mine()) == PoolAccepted()
    assert [record.message for record in caplog.records] == ["pool_bad_work"]


async def test_before_it_runs_and_after_it_nothing_is_sent(pools: list[ScriptedPool]) -> None:
    rig = Rig([pools[0]], {})
    rig.found = 1
    async with upstreams_of(pools[0]) as other:
        await other.until(lambda: other.work)
    rig.upstreams.submit("one", 0, mine(other.work[0][1]), 1)
    await rig.until(lambda: rig.answers)
    assert isinstance(rig.answers[1], PoolSilent)
    assert rig.status("one").state == "down"


async def test_two_pools_of_one_name_are_refused(pools: list[ScriptedPool]) -> None:
    with pytest.raises(ValueError, match="same name"):
        Rig([pools[0], pools[0]], {})


async def test_a_fault_in_a_callback_ends_the_run_and_is_not_swallowed(pools: list[ScriptedPool]) -> None:
    def fail(_: str) -> None:
        raise ZeroDivisionError

    rig = Rig([pools[0]], {})
    rig.on_work = fail
    with pytest.raises(ExceptionGroup) as raised:
        await rig.upstreams.run(rig.closing)
    assert raised.group_contains(ZeroDivisionError)


async def test_through_any_turmoil_what_was_found_is_accepted_rejected_or_in_doubt_and_no_pools_work_leaks(
    pools: list[ScriptedPool],
) -> None:
    pools[0].script.difficulties = cycle([1e-9, 2e-9, 5e-10])
    turmoil: list[Callable[[], Any]] = [
        pools[0].new_job,
        pools[0].drop,
        pools[1].new_block,
        pools[0].new_block,
        lambda: pools[0].set_extranonce(b"\x01\x02\x03", 5),
        pools[0].new_job,
        lambda: pools[0].say(b"no json\n"),
        lambda: setattr(pools[0].script, "answer_late_s", 0.03),
        pools[1].drop,
        lambda: setattr(pools[0].script, "answer_late_s", 0.0),
        pools[0].redirect,
    ]
    async with upstreams_of(*pools, return_s=0.1) as rig:
        await rig.standing_by()
        for step in turmoil * 2:
            step()
            for _ in range(5):
                rig.mine()
                await asyncio.sleep(0.004)
    verdicts = list(rig.answers.values())
    accepted = sum(verdict == PoolAccepted() for verdict in verdicts)
    silent = sum(isinstance(verdict, PoolSilent) for verdict in verdicts)
    rejected = len(verdicts) - accepted - silent
    assert rig.found == accepted + rejected + silent
    seen = [share for pool in pools for share in pool.shares]
    # What a pool took in the moment its connection ended is in doubt for us: it may have counted more, never fewer.
    assert accepted <= sum(share.code == 0 for share in seen) <= accepted + silent
    assert rejected <= sum(share.code != 0 for share in seen) <= rejected + silent
    assert {share.code for share in seen} <= {0, 21}
    for pool in pools:
        assert all(share.job_id.startswith(pool.name) for share in pool.shares)
    epochs = [(name, epoch) for name, _, epoch in rig.work]
    assert all(after >= before for (name, before), (other, after) in pairwise(epochs) if name == other)
