"""Mining at pools on loopback that do what is ordered: what comes down, what goes up, and what the ledger says of it."""

import asyncio
import logging
from dataclasses import replace
from itertools import cycle
from pathlib import Path
from random import Random
from typing import Any

import pytest

from miner.config import Config
from miner.desk import PoolFind
from miner.hashing.station import UNIT_ID
from miner.ledger.rows import PoolShareSums
from miner.pools import REFUSED_IN_A_ROW, UNANSWERED, first_layout
from miner.solo import STANDARD_LAYOUT
from miner.stratum import upstreams, v1
from miner.stratum.pool_events import PoolSilent
from miner.work.job import Job
from miner.work.layout import Layout
from miner.work.share import Pending, PoolShare, Reason, Rejected, Submission
from tests.miner.harness import job as solo_job_of
from tests.miner.harness import shown
from tests.miner.node.harness import until
from tests.miner.pool_harness import (
    MINER,
    Site,
    mining_at,
    pool_config,
    pool_section,
    pool_share_on,
    running,
    site_of,
)
from tests.miner.stratum.scripted_pool import Script, ScriptedPool
from tests.miner.stratum.scripted_work import SeenShare

REFUSED = {"result": None, "error": [23, "Low difficulty share", None]}
QUICK = {"return_s": 0.3}


@pytest.fixture(autouse=True)
def _short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upstreams, "DRAIN_S", 0.2)


def find_of(site: Site, job: Job, number: int = 0) -> PoolFind:
    """What the desk would hand up of a share on this job, whatever the job is worth now."""
    submission = pool_share_on(job, number)
    unit = site.roster.by_id(MINER)
    assert unit is not None
    return PoolFind(PoolShare(b"\x01" * 32, 1.0, job, 1.0, is_block=False), submission, unit, site.clock())


def sums_hold(site: Site, pool: ScriptedPool) -> None:
    """Every share that was handed up is in just one of the sums."""
    sums = site.pools.sums(pool.name)
    assert sums.found == sum(find.share.job.origin == pool.name for find in site.finds)
    assert sums.found == sums.accepted + sums.rejected + sums.in_doubt + sums.waiting


async def ledger_agrees(site: Site, pool: ScriptedPool) -> None:
    """What the ledger says of each share is what the pool says, or that nobody knows; the pool saw none twice."""
    rows = {row.hash: row.result for row in await site.rows(pool.name)}
    seen = {share.hash[::-1].hex(): share.code for share in pool.shares}
    assert len(rows) == site.pools.sums(pool.name).found
    assert len(seen) == len(pool.shares)
    assert seen.keys() <= rows.keys()
    answered = {share: result for share, result in rows.items() if result != "in_doubt"}
    assert answered == {share: "rejected" if seen[share] else "accepted" for share in answered}
    assert "accepted" in answered.values()


class TestShares:
    """From the unit that finds one to the pool, and back to the ledger."""

    async def test_a_share_goes_up_once_and_has_one_row_with_the_pool_s_word(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            job = await site.works_for(pool)
            verdict = site.find()
            assert isinstance(verdict, PoolShare)
            assert site.pools.sums("pool").waiting == 1
            again = site.find()
            assert again == Rejected(Reason.DUPLICATE)
            await site.settled()
            (seen,) = pool.shares
            assert (seen.code, seen.worker, seen.hash) == (0, "site", verdict.hash)
            (row,) = await site.rows()
            unit = site.roster.by_id(MINER)
            assert unit is not None
            assert job.upstream is not None
            assert (row.id, row.pool, row.unit, row.worker) == (1, "pool", unit.number, "")
            assert (row.job_id, row.hash) == (job.upstream.job_id, verdict.hash[::-1].hex())
            assert (row.result, row.code, row.detail) == ("accepted", None, "")
            assert row.credited == pytest.approx(pool.difficulty)
            assert row.difficulty == pytest.approx(seen.difficulty)
            sums = site.pools.sums("pool")
            assert sums == PoolShareSums(accepted=1, work_accepted=row.credited)
            assert shown(site.metrics, 'hashmill_pool_shares_total{pool="pool",result="accepted"}') == 1

    async def test_a_refused_share_bears_the_pool_s_code_and_words(self, ledger: Path) -> None:
        script = Script(answer=lambda _share: REFUSED)
        async with ScriptedPool(script=script) as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            site.find()
            await site.settled()
            (row,) = await site.rows()
            assert (row.result, row.code, row.detail) == ("rejected", 23, "Low difficulty share")
            assert site.pools.sums("pool") == PoolShareSums(rejected=1, work_rejected=row.credited)

    async def test_every_share_is_in_just_one_of_the_sums_at_every_moment_and_so_says_the_ledger(
        self, ledger: Path
    ) -> None:
        words = cycle([None, REFUSED, None])

        def answer(_share: SeenShare) -> dict[str, Any] | None:
            return next(words)

        async with ScriptedPool(script=Script(answer=answer)) as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            for number in range(40):
                if number == 20:
                    pool.script.silent.add("mining.submit")  # these will be in doubt
                if number == 30:
                    old = site.job
                    pool.script.silent.clear()
                    pool.drop()
                    await site.works_for(pool, after=old)
                site.find(number)
                sums_hold(site, pool)
                await asyncio.sleep(0.002)
                sums_hold(site, pool)
            await site.settled()
            sums_hold(site, pool)
            sums = site.pools.sums("pool")
            assert (sums.found, sums.in_doubt) == (40, 10)
            assert sums.rejected >= 10
            rows = await site.rows()
            assert [row.id for row in rows] == list(range(1, 41))
            assert len({row.hash for row in rows}) == 40
            told = site.store.pool_share_sums()["pool"]
            assert (told.accepted, told.rejected, told.in_doubt) == (
                sums.accepted,
                sums.rejected,
                sums.in_doubt,
            )
            assert told.waiting == 0
            assert told.work_accepted == pytest.approx(sums.work_accepted)
            for result in ("accepted", "rejected", "in_doubt"):
                sample = f'hashmill_pool_shares_total{{pool="pool",result="{result}"}}'
                assert shown(site.metrics, sample) == getattr(sums, result)

    async def test_the_ledger_and_the_pools_agree_on_every_share_whatever_happens_to_connections(
        self, ledger: Path
    ) -> None:
        chance = Random(5)
        async with (
            ScriptedPool("a") as first,
            ScriptedPool("b") as second,
            mining_at(first, second, ledger=ledger, upstreams={"return_s": 0.05}) as site,
        ):
            pools = (first, second)
            known = [await site.works_for(first)]
            for number in range(300):
                current = site.told[-1]
                if isinstance(current, Job) and current is not known[-1]:
                    known.append(current)
                site.find(number, chance.choice(known[-4:]))
                for pool in pools:
                    sums_hold(site, pool)
                match chance.randrange(30):
                    case 0:
                        chance.choice(pools).drop()
                    case 1 | 2:
                        chance.choice(pools).new_job(clean=chance.random() < 0.5)
                    case 3:
                        second.new_block()
                    case 4:
                        chance.choice(pools).script.answer_late_s = chance.choice((0.0, 0.05))
                await asyncio.sleep(chance.choice((0.0, 0.002, 0.02)))
            await site.settled()
            for pool in pools:
                sums_hold(site, pool)
                await ledger_agrees(site, pool)

    async def test_a_second_word_on_a_share_changes_nothing(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            site.find()
            await site.settled()
            before = site.pools.sums("pool")
            pool.say({"id": 5, "result": None, "error": [21, "Stale", None]})
            site.pools._take_answer(1, PoolSilent("late"), 0.1)
            assert site.pools.sums("pool") == before
            (row,) = await site.rows()
            assert row.result == "accepted"

    async def test_a_share_for_an_old_connection_is_never_sent_and_in_doubt(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            old = await site.works_for(pool)
            pool.drop()
            await site.works_for(pool, after=old)
            assert old.upstream is not None
            assert site.job.upstream is not None
            assert site.job.upstream.epoch > old.upstream.epoch
            assert site.find(1, old) == Rejected(Reason.STALE)
            assert site.pools.sums("pool").found == 0
            assert site.pools.take_share(find_of(site, old)) is None  # even if it came so far
            await site.settled()
            (row,) = await site.rows()
            assert row.result == "in_doubt"
            assert "was not sent" in row.detail
            site.find(2)
            await site.settled()
            assert [share.code for share in pool.shares] == [0]

    async def test_shares_that_wait_when_the_connection_breaks_are_in_doubt(self, ledger: Path) -> None:
        script = Script(silent={"mining.submit"})
        async with ScriptedPool(script=script) as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            site.find()
            await pool.until(lambda: pool.shares)
            pool.drop()
            await site.settled()
            assert site.pools.sums("pool").in_doubt == 1
            (row,) = await site.rows()
            assert (row.result, row.answered_at is not None) == ("in_doubt", True)

    async def test_what_the_pool_does_not_answer_before_the_end_is_in_doubt(self, ledger: Path) -> None:
        script = Script(silent={"mining.submit"})
        async with (
            ScriptedPool(script=script) as pool,
            site_of(pool_config(pool_section(pool)), ledger) as site,
        ):
            async with running(site):
                await site.works_for(pool)
                site.find()
                await pool.until(lambda: pool.shares)
            (row,) = await site.rows()
            assert row.result == "in_doubt"
            assert site.pools.sums("pool") == PoolShareSums(in_doubt=1)

    async def test_the_last_answers_are_waited_for_at_the_end(
        self, ledger: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(upstreams, "DRAIN_S", 5.0)
        async with (
            ScriptedPool(script=Script(answer_late_s=0.3)) as pool,
            site_of(pool_config(pool_section(pool)), ledger) as site,
        ):
            async with running(site):
                await site.works_for(pool)
                site.find()
            (row,) = await site.rows()
            assert row.result == "accepted"

    async def test_earlier_shares_are_known_after_a_restart_and_ids_go_on(self, ledger: Path) -> None:
        async with ScriptedPool() as pool:
            async with mining_at(pool, ledger=ledger) as site:
                await site.works_for(pool)
                for number in range(3):
                    site.find(number)
                await site.settled()
                before = site.pools.sums("pool")
            async with mining_at(pool, ledger=ledger) as site:
                assert site.pools.sums("pool") == before
                await site.works_for(pool)
                site.find(3)
                await site.settled()
                assert [row.id for row in await site.rows()] == [1, 2, 3, 4]
                assert site.pools.sums("pool").accepted == 4

    async def test_a_ledger_that_is_closed_does_not_keep_a_share_from_its_pool(
        self, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            await site.recorder.aclose()
            site.find()
            await site.settled()
            assert len(pool.accepted) == 1
            assert caplog.messages.count("pool_share_unwritten") == 2  # its row and the word on it
            assert site.pools.sums("pool").accepted == 1

    async def test_a_share_of_a_job_of_our_own_goes_to_no_pool(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            job = await site.works_for(pool)
            find = find_of(site, job)
            own = replace(find, share=replace(find.share, job=solo_job_of()))
            with pytest.raises(ValueError, match="no pool's"):
                site.pools.take_share(own)

    async def test_a_block_found_for_the_pool_is_told(
        self, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        caplog.set_level(logging.INFO)
        async with ScriptedPool(bits=0x207FFFFF) as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            assert isinstance(site.find(), PoolShare)
            await site.settled()
            (seen,) = pool.accepted
            assert seen.is_block
            assert "pool_block_found" in caplog.messages

    async def test_every_header_that_is_handed_in_is_hashed_by_the_pool_as_it_was_here(
        self, ledger: Path
    ) -> None:
        """With rolled versions, a wide extranonce2 and a narrow one."""
        async with (
            ScriptedPool("wide", extranonce2_size=16) as wide,
            ScriptedPool("narrow", extranonce2_size=3) as narrow,
        ):
            for pool in (wide, narrow):
                async with mining_at(pool, ledger=ledger.with_suffix(f".{pool.name}")) as site:
                    job = await site.works_for(pool)
                    bits = 0x00002000
                    plain = pool_share_on(job)
                    rolled = Submission(
                        MINER, job.id, plain.extranonce1, plain.extranonce2, job.ntime_s + 1, 0, bits
                    )
                    for nonce in range(64):
                        site.desk.take(replace(rolled, nonce=nonce), 2**256 - 1)
                    await site.settled()
                    assert site.pools.sums(pool.name).found == len(pool.accepted) > 0
                    assert not pool.rejected


class TestWorkers:
    """Under which names shares go up."""

    @pytest.mark.parametrize(
        ("name", "expected"),
        [("farm.1", "site.farm.1"), ("site.rig7", "site.rig7"), ("site", "site"), (UNIT_ID, "site.cpu")],
    )
    async def test_each_worker_goes_up_below_the_user(self, name: str, expected: str, ledger: Path) -> None:
        async with (
            ScriptedPool() as pool,
            mining_at(pool, ledger=ledger, keys={"worker_names": True}) as site,
        ):
            await site.works_for(pool)
            unit = site.roster.by_id(name) or site.roster.login(name, site.clock())
            site.find(unit=unit.id)
            await site.settled()
            (seen,) = pool.accepted
            assert seen.worker == expected
            (row,) = await site.rows()
            assert f"site.{row.worker}".rstrip(".") == expected

    async def test_without_names_all_goes_up_as_the_user(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            site.find()
            site.find(1, unit=UNIT_ID)
            await site.settled()
            assert [share.worker for share in pool.accepted] == ["site", "site"]

    async def test_a_worker_that_the_pool_refuses_goes_up_as_the_user(self, ledger: Path) -> None:
        script = Script(admits=lambda user: user == "site")
        async with (
            ScriptedPool(script=script) as pool,
            mining_at(pool, ledger=ledger, keys={"worker_names": True}) as site,
        ):
            await site.works_for(pool)
            site.find()
            await site.settled()
            assert [share.worker for share in pool.accepted] == ["site"]


class TestAnswers:
    """Whose word the miner hears."""

    BY_POOL: dict[str, Any] = {"stratum": {"answers": "pool"}}  # noqa: RUF012 - a constant

    async def test_a_miner_waits_for_the_pool_and_this_machine_does_not(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger, **self.BY_POOL) as site:
            await site.works_for(pool)
            pending = site.find(0)
            assert isinstance(pending, Pending)
            assert isinstance(site.find(1, unit=UNIT_ID), PoolShare)
            await site.settled()
            await until(lambda: site.answered)
            pool.script.answer = lambda _share: REFUSED
            refused = site.find(2)
            assert isinstance(refused, Pending)
            await until(lambda: len(site.answered) == 2)
            assert site.answered == [(pending.token, None), (refused.token, (23, "Low difficulty share"))]
            assert site.pools.sums("pool").found == 3

    async def test_who_waits_for_a_pool_that_says_nothing_hears_of_it(self, ledger: Path) -> None:
        script = Script(silent={"mining.submit"})
        async with (
            ScriptedPool(script=script) as pool,
            mining_at(pool, ledger=ledger, **self.BY_POOL) as site,
        ):
            job = await site.works_for(pool)
            pending = site.find()
            assert isinstance(pending, Pending)
            await pool.until(lambda: pool.shares)
            pool.drop()
            await until(lambda: site.answered)
            assert site.answered == [(pending.token, (v1.OTHER, UNANSWERED))]
            await site.works_for(pool, after=job)
            token = site.pools.take_share(
                find_of(site, job)
            )  # of a connection that is over: its word comes later
            assert len(site.answered) == 1
            await until(lambda: len(site.answered) == 2)
            assert site.answered[1] == (token, (v1.OTHER, UNANSWERED))

    async def test_our_own_word_is_the_answer_otherwise(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger, stratum={}) as site:
            await site.works_for(pool)
            assert isinstance(site.find(), PoolShare)
            await site.settled()
            await asyncio.sleep(0)
            assert site.answered == []


class TestJobs:
    """What comes down."""

    async def test_a_clean_job_retires_those_before_it_and_another_one_does_not(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            first = await site.works_for(pool)
            second = await site.works_for(pool, pool.new_job().id)
            assert not second.clean
            assert isinstance(site.find(0, first), PoolShare)
            await site.settled()
            third = await site.works_for(pool, pool.new_job(clean=True).id)
            assert third.clean
            for old in (first, second):
                assert site.find(1, old) == Rejected(Reason.STALE)
            assert isinstance(site.find(2), PoolShare)
            await site.settled()
            assert not pool.rejected

    async def test_a_share_has_the_difficulty_of_its_own_job(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            first = await site.works_for(pool)
            pool.set_difficulty(4e-9)
            await site.works_for(pool, pool.new_job().id)
            site.find(0, first)
            site.find(1)
            await site.settled()
            assert [row.credited for row in await site.rows()] == pytest.approx([1e-9, 4e-9])
            assert not pool.rejected

    async def test_another_layout_is_told_before_the_job_that_needs_it(self, ledger: Path) -> None:
        async with ScriptedPool(extranonce2_size=4) as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            layout, job = site.told
            assert layout == Layout(2, 2)
            assert isinstance(job, Job)
            assert (job.extranonce1_size, job.extranonce2_size) == (2, 2)
            pool.set_extranonce(b"\x07\x08", 3)
            job = await site.works_for(pool, pool.new_job().id)
            assert site.told[-2] == Layout(1, 2)
            site.find(0, job)
            await site.settled()
            assert len(pool.accepted) == 1

    async def test_a_connection_that_leaves_more_room_again_does_not_change_the_layout_and_the_next_one_does(
        self, ledger: Path
    ) -> None:
        async with ScriptedPool(extranonce2_size=4) as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            pool.set_extranonce(b"\x07\x08", 3)
            await site.works_for(pool, pool.new_job().id)
            pool.set_extranonce(b"\x09", 9)
            wide = await site.works_for(pool, pool.new_job().id)
            assert (wide.extranonce1_size, wide.extranonce2_size) == (1, 2)
            site.find()
            await site.settled()
            assert (len(pool.accepted), pool.rejected) == (1, [])
            pool.drop()
            await site.works_for(pool, after=wide)
            layouts = [each for each in site.told if isinstance(each, Layout)]
            assert layouts == [Layout(2, 2), Layout(1, 2), Layout(2, 2)]

    async def test_work_that_is_not_mined_costs_nobody_the_layout(self, ledger: Path) -> None:
        broken: dict[str, Any] = {"outputs": ()}
        async with (
            ScriptedPool("a", extranonce2_size=4, **broken) as first,
            ScriptedPool("b") as second,
            mining_at(first, second, ledger=ledger) as site,
        ):
            job = await site.works_for(second)
            assert "no output" in site.alerts["pool_a"]
            assert [each for each in site.told if each is not None] == [job]

    async def test_what_is_wider_than_the_layout_changes_nothing(self, ledger: Path) -> None:
        async with ScriptedPool(extranonce2_size=12) as pool, mining_at(pool, ledger=ledger) as site:
            await site.works_for(pool)
            assert site.told == [site.job]

    async def test_a_pool_without_room_for_miners_is_left_with_what_to_do(
        self, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with (
            ScriptedPool("tight", extranonce2_size=1) as tight,
            ScriptedPool("roomy") as roomy,
            mining_at(tight, roomy, ledger=ledger) as site,
        ):
            await site.works_for(roomy)
            assert {job.origin for job in site.jobs if job is not None} == {"roomy"}
            assert "pool_too_narrow" in caplog.messages
            await until(lambda: "ask the pool for a wider one" in site.alerts.get("pool_tight", ""))

    async def test_work_that_nobody_can_hash_is_refused_and_the_next_pool_mined(
        self, ledger: Path, caplog: pytest.LogCaptureFixture
    ) -> None:
        async with (
            ScriptedPool("a") as first,
            ScriptedPool("b") as second,
            mining_at(first, second, ledger=ledger) as site,
        ):
            good = await site.works_for(first)
            first.new_job(outputs=())
            await site.works_for(second)
            assert "pool_job_refused" in caplog.messages
            assert "no output" in site.alerts["pool_a"]
            assert site.find(0, good) == Rejected(Reason.STALE)

    async def test_while_no_pool_is_well_there_is_no_work(self, ledger: Path) -> None:
        async with ScriptedPool() as pool, mining_at(pool, ledger=ledger) as site:
            job = await site.works_for(pool)
            assert (site.pools.job, site.told) == (job, [job])
            await pool.die()
            await until(lambda: site.told == [job, None])
            assert site.shelf.now_mined() == {}
            assert site.pools.pay() is None
            assert site.find(0, job) == Rejected(Reason.STALE)


class TestSwitching:
    """From one pool to another and back."""

    async def test_jobs_of_a_pool_that_is_gone_are_worth_nothing(self, ledger: Path) -> None:
        async with (
            ScriptedPool("a") as first,
            ScriptedPool("b") as second,
            mining_at(first, second, ledger=ledger) as site,
        ):
            old = await site.works_for(first)
            await first.die()
            await site.works_for(second)
            assert site.find(0, old) == Rejected(Reason.STALE)
            site.find(1)
            await site.settled()
            assert (len(first.shares), len(second.accepted)) == (0, 1)
            assert site.pools.sums("a").found == 0

    async def test_shares_on_the_way_are_still_taken_by_a_pool_that_is_left_for_a_better_one(
        self, ledger: Path
    ) -> None:
        async with ScriptedPool("a") as first, ScriptedPool("b") as second:
            await first.die()
            async with mining_at(first, second, ledger=ledger, upstreams=QUICK) as site:
                old = await site.works_for(second)
                await first.revive()
                await site.works_for(first)
                assert isinstance(site.find(0, old), PoolShare)
                site.find(1)
                await site.settled()
                assert (len(second.accepted), len(first.accepted)) == (1, 1)
                assert not second.rejected
                sums_hold(site, first)
                sums_hold(site, second)

    async def test_when_a_pool_that_was_left_goes_too_no_more_than_one_share_is_taken_for_nothing(
        self, ledger: Path
    ) -> None:
        async with (
            ScriptedPool("a") as first,
            ScriptedPool("b") as second,
        ):
            await first.die()
            async with mining_at(first, second, ledger=ledger, upstreams=QUICK) as site:
                old = await site.works_for(second)
                await first.revive()
                await site.works_for(first)
                await second.die()
                await until(lambda: not site.pools.upstreams.statuses()[1].is_up)
                assert isinstance(site.find(0, old), PoolShare)
                await site.settled()
                assert site.find(1, old) == Rejected(Reason.STALE)
                assert site.pools.sums("b") == PoolShareSums(in_doubt=1)
                assert isinstance(site.find(2), PoolShare)

    async def test_work_of_a_pool_that_is_not_mined_is_not_passed_on(self, ledger: Path) -> None:
        async with (
            ScriptedPool("a") as first,
            ScriptedPool("b") as second,
            mining_at(first, second, ledger=ledger) as site,
        ):
            await site.works_for(first)
            await second.until(second.users)
            second.new_job()
            job = await site.works_for(first, first.new_job().id)
            assert {each.origin for each in site.jobs if each is not None} == {"a"}
            assert site.shelf.now_mined() == {"a": job}

    async def test_a_pool_that_refuses_everything_is_left(self, ledger: Path) -> None:
        async with (
            ScriptedPool("a") as first,
            ScriptedPool("b") as second,
            mining_at(first, second, ledger=ledger) as site,
        ):
            await site.works_for(first)
            first.script.answer = lambda _share: REFUSED
            for number in range(REFUSED_IN_A_ROW + 5):
                site.find(number)
            await site.settled()
            assert site.active == "a"  # so many cross with a new block, too
            site.clock.ahead_s = 11.0
            site.find(99)
            await site.works_for(second)
            assert "it refuses every share: Low difficulty share" in site.alerts["pool_a"]

    async def test_a_pool_that_takes_a_share_now_and_then_is_kept(self, ledger: Path) -> None:
        words = cycle([REFUSED] * (REFUSED_IN_A_ROW - 1) + [None])
        async with (
            ScriptedPool("a", script=Script(answer=lambda _share: next(words))) as pool,
            mining_at(pool, ledger=ledger) as site,
        ):
            await site.works_for(pool)
            for number in range(2 * REFUSED_IN_A_ROW):
                site.find(number)
                site.clock.ahead_s += 1.0
            await site.settled()
            assert site.pools.sums("a").rejected == 2 * (REFUSED_IN_A_ROW - 1)
            assert (site.active, pool.connections) == ("a", 1)


class TestPay:
    """What the controller is to reckon with."""

    async def test_it_has_scheme_and_fee_as_configured_and_what_was_refused_lately(
        self, ledger: Path
    ) -> None:
        keys = {"scheme": "pplns", "fee": 0.02}
        words = cycle([None, REFUSED])
        async with ScriptedPool(script=Script(answer=lambda _share: next(words))) as pool:
            async with mining_at(pool, ledger=ledger, keys=keys) as site:
                assert site.pools.pay() is None
                await site.works_for(pool)
                pay = site.pools.pay()
                assert pay is not None
                assert (pay.pool, pay.scheme, pay.fee, pay.pool_work_ratio) == ("pool", "pplns", 0.02, 1.0)
                assert pay.rejected_ratio is None
                for number in range(200):
                    site.find(number)
                await site.settled()
                pay = site.pools.pay()
                assert pay is not None
                assert pay.rejected_ratio is not None
                assert 0.3 < pay.rejected_ratio < 0.5
            async with mining_at(pool, ledger=ledger, keys=keys) as site:
                await site.works_for(pool)
                after = site.pools.pay()
                assert after is not None
                assert after.rejected_ratio == pytest.approx(pay.rejected_ratio, rel=0.01)
                site.clock.ahead_s = 5 * 86_400.0
                faded = site.pools.pay()
                assert faded is not None
                assert faded.rejected_ratio is not None
                assert faded.rejected_ratio < 0.05

    def test_what_miners_count_up_before_the_first_pool_leaves_room_for_most_pools(self) -> None:
        pool = {"url": "stratum+tcp://pool.example:3333", "user": "x"}
        assert first_layout(pool_config(pool), STANDARD_LAYOUT) == Layout(4, 4)
        assert first_layout(pool_config(pool), Layout(4, 2)) == Layout(4, 2)
        solo = Config.model_construct(pool=())
        assert first_layout(solo, STANDARD_LAYOUT) == STANDARD_LAYOUT
