"""The server over real sockets, on both event loops."""

import asyncio
import itertools
import logging
import shutil
import socket
import sqlite3
import ssl
from pathlib import Path
from typing import Any

import pytest

from miner.chain.difficulty import target_of_difficulty
from miner.kernel import RECORD
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError
from miner.ledger.store import Store
from miner.payouts import Payee, PayoutRefused
from miner.stratum import server as server_module
from miner.stratum.dispatch import MAIN
from miner.stratum.listener import ListenError, Port
from miner.stratum.places import RESUME_S
from miner.stratum.rules import PortRules
from miner.stratum.server import ServerLimits
from miner.stratum.tls import Certificate
from miner.work.job import UpstreamWork
from miner.work.layout import Layout
from miner.work.share import Pending, PoolShare, Reason, Rejected, Submission, Verdict
from tests.miner.harness import NOW, job
from tests.miner.stratum.server_harness import EASY, LAYOUT, RULES, Miner, Rig, rig_of, until
from tests.miner.stratum.test_tls import make_certificate


async def accepted(miner: Miner, number: int) -> bool:
    answer = await miner.answer(number)
    return answer["result"] is True and answer["error"] is None


# ---- Mining -----------------------------------------------------------------------------------------------------


async def test_a_miner_logs_in_gets_a_job_and_its_share_is_accepted() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        assert await accepted(miner, miner.submit(notice))
        assert rig.ledger.shares == 1
        miner.close()


async def test_many_shares_in_one_packet_are_each_answered_in_order() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        numbers = [miner.submit(notice) for _ in range(100)]
        assert [(await miner.line())["id"] for _ in numbers] == numbers
        assert rig.ledger.shares == 100
        miner.close()


async def test_who_logs_in_while_there_is_no_work_gets_the_next_job() -> None:
    async with rig_of(with_job=False) as rig:
        miner = await Miner.connect(rig)
        await miner.log_in()
        notice = rig.new_job()
        assert (await miner.note("mining.notify"))["params"][0] == notice.job.id
        miner.close()


async def test_withdrawn_work_is_kept_by_who_has_it_and_given_to_nobody_else() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        mining = await Miner.mining(rig)
        rig.server.serve(None)
        late = await Miner.connect(rig)
        await late.log_in("farm.2")
        assert await accepted(mining, mining.submit(notice))
        newer = rig.new_job()
        for miner in (mining, late):
            assert (await miner.note("mining.notify"))["params"][0] == newer.job.id
            miner.close()


async def test_the_time_from_a_new_block_to_the_last_session_is_told() -> None:
    async with rig_of() as rig:
        miners = [await Miner.mining(rig, f"farm.{number}") for number in range(3)]
        rig.clock.now += 0.125
        rig.new_job(seen_at=NOW, prev_hash=b"\xb0" * 32)
        await until(lambda: rig.served_s)
        assert rig.served_s == [0.125]
        for miner in miners:
            assert (await miner.note("mining.notify"))["params"][8] is True
            miner.close()


async def test_a_login_storm_gets_everybody_a_job_and_an_extranonce_of_its_own() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miners = await asyncio.gather(*(Miner.mining(rig, f"farm.{number}") for number in range(500)))
        assert len({miner.extranonce1 for miner in miners}) == 500
        rig.ledger.asked.clear()
        sent = [miner.submit(notice, f"farm.{number}") for number, miner in enumerate(miners)]
        assert all([await accepted(*each) for each in zip(miners, sent, strict=True)])
        assert rig.ledger.shares == 500
        assert rig.server.connections == 500
        for miner in miners:
            miner.close()
        await until(lambda: rig.server.connections == 0)


# ---- Nothing is acknowledged that is not durable -------------------------------------------------------------------


async def test_an_acknowledged_share_is_in_the_database(tmp_path: Path) -> None:
    with Store.open(f"sqlite:///{tmp_path / 'hashmill.db'}") as store:
        async with Recorder(store) as recorder, rig_of(write=recorder.add_shares) as rig:
            notice = rig.new_job()
            miner = await Miner.mining(rig)
            assert await accepted(miner, miner.submit(notice))
            with sqlite3.connect(tmp_path / "hashmill.db") as other:
                [(records,)] = other.execute("SELECT records FROM share_batches")
            other.close()
            unit = rig.roster.named("farm.1")
            assert unit is not None
            assert RECORD.unpack(records)[0] == unit.number


async def test_a_share_is_answered_only_once_the_ledger_holds_it_and_a_notify_overtakes_it() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        submitted = miner.submit(notice)
        await until(lambda: rig.ledger.held)
        newer = rig.new_job()
        told = await miner.line()
        assert (told["method"], told["params"][0]) == ("mining.notify", newer.job.id)
        rig.ledger.release()
        assert await miner.line() == {"id": submitted, "result": True, "error": None}
        miner.close()


async def test_whatever_a_miner_says_after_a_share_is_answered_after_it() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        share = miner.submit(notice)
        await until(lambda: rig.ledger.held)
        ping = miner.send("mining.ping")
        rejected = miner.send("mining.submit", "farm.1", "no job", "00" * 8, "00000000", "00000000")
        rig.ledger.release()
        assert [(await miner.line())["id"] for _ in range(3)] == [share, ping, rejected]
        miner.close()


async def test_nobody_waits_for_the_shares_of_others() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        waiting, other = await Miner.mining(rig), await Miner.mining(rig, "farm.2")
        rig.ledger.holding = True
        waiting.submit(notice)
        await until(lambda: rig.ledger.held)
        assert (await other.call("mining.ping"))["error"] is None
        rig.ledger.release()
        waiting.close()
        other.close()


async def test_a_ledger_that_hangs_sends_miners_away_without_an_answer_until_it_works_again() -> None:
    async with rig_of(ServerLimits(connections=100, stall_s=0.0)) as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        submitted = miner.submit(notice)
        await until(lambda: rig.ledger.held)
        rig.server.committer.check()
        assert rig.alerts["ledger_stalled"]
        await miner.ended()
        assert [told for told in miner.told if told.get("id") == submitted] == []

        refused = await Miner.connect(rig)
        answer = await refused.log_in("farm.2")
        assert "ledger takes no shares" in answer["error"][1]
        await refused.ended()

        rig.ledger.release()
        await until(lambda: not rig.alerts["ledger_stalled"])
        back = await Miner.connect(rig)
        await back.log_in(resume=miner.session)
        assert (await back.answer(back.submit(notice)))["error"][0] == 22  # it was kept after all
        assert await accepted(back, back.submit(notice))
        assert rig.ledger.shares == 2
        back.close()


@pytest.mark.parametrize("error", [LedgerError("the ledger is closed"), None])
async def test_a_ledger_that_fails_gets_no_share_acknowledged(error: LedgerError | None) -> None:
    async with rig_of(ServerLimits(connections=10, drain_s=0.01)) as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        rig.ledger.holding, rig.ledger.refuses = True, error
        submitted = miner.submit(notice)
        await until(rig.ledger.asked.is_set)
        for _, written in rig.ledger.held:
            written.set_exception(LedgerError("the disk is full"))
        await miner.ended()
        assert [told for told in miner.told if told.get("id") == submitted] == []
        assert rig.ledger.shares == 0


# ---- Coming back ---------------------------------------------------------------------------------------------------


async def test_a_miner_that_comes_back_in_time_goes_on_with_its_session() -> None:
    async with rig_of() as rig:
        first = await Miner.mining(rig)
        first.close()
        await until(lambda: rig.server.connections == 0)
        rig.clock.now += RESUME_S - 1
        back = await Miner.connect(rig)
        await back.log_in(resume=first.session)
        assert (back.session, back.extranonce1) == (first.session, first.extranonce1)
        back.close()
        await until(lambda: rig.server.connections == 0)
        rig.clock.now += RESUME_S
        late = await Miner.connect(rig)
        await late.log_in(resume=first.session)
        assert late.extranonce1 != first.extranonce1
        late.close()


async def test_a_device_that_is_back_before_we_noticed_it_had_gone_takes_its_session_over() -> None:
    async with rig_of() as rig:
        old = await Miner.mining(rig)
        new = await Miner.connect(rig)
        await new.log_in(resume=old.session)
        assert new.extranonce1 == old.extranonce1
        await old.ended()
        await until(lambda: rig.server.connections == 1)
        notice = rig.new_job()
        assert await accepted(new, new.submit(notice))
        new.close()


async def test_the_share_of_a_session_is_not_credited_again_after_it_was_resumed() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        first = await Miner.mining(rig)
        assert await accepted(first, first.submit(notice))
        first.close()
        back = await Miner.connect(rig)
        await back.log_in(resume=first.session)
        assert (await back.answer(back.submit(notice)))["error"][0] == 22
        assert rig.ledger.shares == 1
        back.close()


async def test_another_process_goes_on_with_the_sessions_of_this_one() -> None:
    async with rig_of() as rig:
        miner = await Miner.mining(rig)
        rig.closing.set()
        await miner.ended()
        exported = rig.server.export()
        assert [parked.session.session_id for parked in exported] == [miner.session]
        async with rig_of() as next_rig:
            next_rig.server.restore(exported)
            back = await Miner.connect(next_rig)
            await back.log_in(resume=miner.session)
            assert back.extranonce1 == miner.extranonce1
            back.close()


async def test_a_clock_that_is_set_sends_nobody_away_and_forgets_no_session(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(server_module, "SWEEP_STEP_S", 0.001)
    async with rig_of() as rig:
        gone, miner, fresh = await Miner.mining(rig), await Miner.mining(rig), await Miner.connect(rig)
        gone.close()
        await until(lambda: rig.server.connections == 2)
        for step in (10 * 3600.0, -20 * 3600.0):
            rig.clock.set_by(step)
            await asyncio.sleep(0.3)  # every session was looked at, and the places
            assert (await miner.call("mining.ping"))["error"] is None
            assert (await fresh.call("mining.ping"))["error"] is None
        back = await Miner.connect(rig)
        await back.log_in(resume=gone.session)
        assert back.extranonce1 == gone.extranonce1
        for each in (miner, fresh, back):
            each.close()


# ---- Whose work ----------------------------------------------------------------------------------------------------


async def test_each_unit_mines_the_work_of_its_lane_and_is_given_the_others_at_once_when_it_changes() -> None:
    lanes = {"farm.2": "solo"}
    async with rig_of(lane_of=lambda unit: lanes.get(unit.name, MAIN)) as rig:
        own = rig.new_job(lane="solo", cur_time_s=1_700_000_701)
        pools = rig.new_job(work={"origin": "pool"})
        one, other = await Miner.mining(rig), await Miner.mining(rig, "farm.2")
        assert await accepted(one, one.submit(pools))
        assert await accepted(other, other.submit(own, "farm.2"))
        lanes |= {"farm.1": "solo", "farm.2": MAIN}
        units = [rig.roster.named(name) for name in lanes]
        rig.server.reassign(unit for unit in units if unit is not None)
        notify = (await one.note("mining.notify"))["params"]
        assert (notify[0].partition(".")[0], notify[8]) == (own.job.id, True)
        notify = (await other.note("mining.notify"))["params"]
        assert (notify[0], notify[8]) == (pools.job.id, True)
        assert await accepted(one, one.submit(own))
        assert await accepted(other, other.submit(pools, "farm.2"))
        assert await accepted(one, one.submit(pools))  # found before it heard of that
        assert rig.ledger.shares == 5


async def test_shares_that_a_pool_wants_and_those_it_does_not_are_good_and_recorded_alike() -> None:
    upstream = UpstreamWork("7", target_of_difficulty(1e-9), b"", 1)  # every fourth hash
    verdicts: list[Verdict | Pending] = []
    async with rig_of(with_job=False) as rig:
        judged = rig.server.take

        def take(submission: Submission, share_target: int) -> Verdict | Pending:
            verdicts.append(judged(submission, share_target))
            return verdicts[-1]

        rig.server.take = take
        notice = rig.new_job(work={"origin": "pool", "upstream": upstream})
        miner = await Miner.mining(rig)
        numbers = [miner.submit(notice) for _ in range(100)]
        for number in numbers:
            assert await accepted(miner, number)
        assert 0 < len(verdicts) < 100
        assert all(isinstance(verdict, PoolShare) for verdict in verdicts)
        assert rig.ledger.shares == 100


async def test_which_bits_may_be_rolled_is_what_all_work_leaves_then_what_its_own_does() -> None:
    async with rig_of(with_job=False, lane_of=lambda unit: unit.name) as rig:
        rig.new_job(lane="farm.1", work={"version_mask": 0x0FFF_E000})
        rig.new_job(lane="farm.2", work={"version_mask": 0x1FFF_0000})
        miner = await Miner.connect(rig)
        asked = ("mining.configure", ["version-rolling"], {"version-rolling.mask": "ffffffff"})
        assert (await miner.call(*asked))["result"]["version-rolling.mask"] == "0fff0000"
        await miner.log_in()
        await miner.note("mining.notify")
        assert (await miner.call(*asked))["result"]["version-rolling.mask"] == "0fffe000"
        assert miner.told_of("mining.set_version_mask") == []


# ---- Another layout ------------------------------------------------------------------------------------------------


async def test_who_takes_another_extranonce_mines_on_and_who_does_not_comes_back() -> None:
    async with rig_of(ports=[Port("127.0.0.1", 0, PortRules(start_difficulty=1e-9))]) as rig:
        supple = await Miner.mining(rig, wants_extranonce=True)
        stiff = await Miner.mining(rig, "farm.2")
        await stiff.call("mining.suggest_difficulty", EASY)
        rig.server.set_layout(Layout(2, 3))
        late = await Miner.connect(rig)
        await late.log_in("farm.3")
        assert len(late.extranonce1) == 4
        notice = rig.new_job()
        assert (await supple.note("mining.set_extranonce"))["params"][1] == 3
        assert (await supple.note("mining.notify"))["params"][8] is True
        assert (await stiff.note("client.reconnect"))["params"] == []
        await stiff.ended()
        assert rig.server.traffic.in_all["went", "layout"] == 1
        back = await Miner.connect(rig)
        await back.log_in("farm.2", resume=stiff.session)
        assert len(back.extranonce1) == 4
        assert (await back.note("mining.set_difficulty"))["params"] == [EASY]
        assert await accepted(back, back.submit(notice, "farm.2"))
        assert (await late.note("mining.notify"))["params"][0] == notice.job.id


async def test_shares_of_the_new_layout_are_judged_by_the_new_extranonce() -> None:
    async with rig_of() as rig:
        miner = await Miner.mining(rig, wants_extranonce=True)
        rig.server.set_layout(Layout(1, 2))
        notice = rig.new_job()
        await miner.note("mining.notify")
        assert await accepted(miner, miner.submit(notice))
        rig.server.set_layout(LAYOUT)
        notice = rig.new_job()
        await miner.note("mining.notify")
        assert await accepted(miner, miner.submit(notice))


async def test_one_who_has_only_subscribed_when_the_layout_changes_gets_no_work_it_cannot_hash() -> None:
    async with rig_of() as rig:
        miner = await Miner.connect(rig)
        await miner.subscribe("test/1")
        rig.server.set_layout(Layout(2, 2))
        rig.new_job()
        assert (await miner.call("mining.authorize", "farm.1", "x"))["result"] is True
        await miner.note("client.reconnect")
        await miner.ended()
        assert miner.told_of("mining.notify") == []


async def test_the_same_layout_again_is_none_and_the_last_one_leaves_sessions_to_come_back_to(
    caplog: pytest.LogCaptureFixture,
) -> None:
    caplog.set_level(logging.INFO)
    async with rig_of() as rig:
        miner = await Miner.mining(rig)
        rig.server.set_layout(LAYOUT)
        assert rig.server.layout == LAYOUT
        assert (await miner.call("mining.ping"))["error"] is None
        miner.close()
        await until(lambda: rig.server.connections == 0)
        rig.server.set_layout(Layout(3, 3))
        rig.server.set_layout(LAYOUT)
        rig.new_job()
        back = await Miner.connect(rig)
        await back.log_in(resume=miner.session)
        assert back.extranonce1 == miner.extranonce1
    assert sum(record.message == "extranonce_layout" for record in caplog.records) == 2


async def test_extranonces_that_hash_without_a_connection_are_nobody_elses_in_any_layout() -> None:
    reserved = [b"\x01\x02\x03\x04", b"\x01\xff\x00\x00"]
    async with rig_of(reserved=reserved) as rig:
        rig.server.set_layout(Layout(1, 2))
        rig.new_job()
        miners = [await Miner.connect(rig) for _ in range(256)]
        for miner in miners[:255]:
            await miner.subscribe("test/1")
        assert "01" not in {miner.extranonce1 for miner in miners}
        answer = await miners[255].call("mining.subscribe")
        assert answer["error"][1] == "No room for another session"


# ---- The pool's word -----------------------------------------------------------------------------------------------


async def test_a_share_is_answered_as_the_pool_has_it_when_it_is_durable_and_others_meanwhile() -> None:
    said: list[Verdict | Pending] = [Pending(1), Pending(2), Rejected(Reason.DUPLICATE)]
    async with rig_of(take=lambda *_: said.pop(0)) as rig:
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        first, second, third = (miner.submit_late() for _ in range(3))
        await until(lambda: rig.ledger.held)
        rig.server.answered(1, None)
        assert (await other_answer(rig))["error"] is None
        rig.ledger.release()
        assert {(await miner.line())["id"] for _ in range(2)} == {first, third}
        rig.server.answered(9, None)
        rig.server.answered(1, (20, "again"))
        rig.server.answered(2, (23, "above target"))
        answer = await miner.line()
        assert (answer["id"], answer["result"], answer["error"]) == (second, None, [23, "above target", None])


async def other_answer(rig: Rig) -> dict[str, Any]:
    """What somebody else hears who asks now."""
    other = await Miner.connect(rig)
    return await other.call("mining.ping")


async def test_an_answer_that_comes_before_the_share_is_out_of_our_hands_is_not_lost() -> None:
    rigs: list[Rig] = []

    def take(*_: Any) -> Pending:
        rigs[0].server.answered(1, (20, "the pool is gone"))
        return Pending(1)

    async with rig_of(take=take) as rig:
        rigs.append(rig)
        miner = await Miner.mining(rig)
        assert (await miner.answer(miner.submit_late()))["error"][1] == "the pool is gone"


async def test_nobody_minds_an_answer_to_one_that_has_gone() -> None:
    async with rig_of(take=lambda *_: Pending(1)) as rig:
        miner = await Miner.mining(rig)
        miner.submit_late()
        assert (await miner.call("mining.ping"))["error"] is None
        miner.close()
        await until(lambda: rig.server.connections == 0)
        rig.server.answered(1, None)
        assert (await other_answer(rig))["error"] is None


async def test_a_stop_waits_a_while_for_the_pools_word() -> None:
    async with rig_of(take=lambda *_: Pending(1)) as rig:
        miner = await Miner.mining(rig)
        submitted = miner.submit_late()
        assert (await miner.call("mining.ping"))["error"] is None
        rig.closing.set()
        await asyncio.sleep(0.01)
        rig.server.answered(1, None)
        assert await accepted(miner, submitted)
        await miner.ended()


async def test_a_share_for_a_pool_that_is_worth_nothing_here_is_answered_when_its_row_is_durable() -> None:
    share = PoolShare(bytes(32), 1.0, job("1"), 0.0, is_block=False)
    async with rig_of(take=lambda *_: share) as rig:
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        submitted = miner.submit_late()
        await until(lambda: rig.ledger.held)
        assert rig.ledger.held[0][0] == b""
        rig.ledger.release()
        assert await accepted(miner, submitted)


# ---- Who may mine --------------------------------------------------------------------------------------------------


async def test_a_closed_gate_sends_its_units_away_with_the_reason_and_nobody_else() -> None:
    async with rig_of() as rig:
        shut, other = await Miner.mining(rig), await Miner.mining(rig, "farm.2")
        unit = rig.roster.named("farm.1")
        assert unit is not None
        unit.gate_reason = "power costs more than it earns"
        rig.server.close_gate(unit, unit.gate_reason)
        assert (await shut.note("client.show_message"))["params"] == ["power costs more than it earns"]
        await shut.ended()
        back = await Miner.connect(rig)
        assert "power costs more" in (await back.log_in())["error"][1]
        await back.ended()
        assert (await other.call("mining.ping"))["error"] is None
        unit.gate_reason = ""
        again = await Miner.mining(rig)
        again.close()
        other.close()


async def test_a_gate_that_closes_lets_shares_that_wait_be_answered_first() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        submitted = miner.submit(notice)
        await until(lambda: rig.ledger.held)
        unit = rig.roster.named("farm.1")
        assert unit is not None
        rig.server.close_gate(unit, "not now")
        rig.ledger.release()
        assert await accepted(miner, submitted)
        assert (await miner.note("client.show_message"))["params"] == ["not now"]
        await miner.ended()


async def test_an_address_that_must_be_asked_about_holds_the_login_until_the_node_has_spoken() -> None:
    async with rig_of(worker_mode=True) as rig:
        notice = rig.new_job()
        miner = await Miner.connect(rig)
        await miner.subscribe("test/1")
        authorized = miner.send("mining.authorize", "addr.1", "x")
        early = miner.submit(notice, "addr.1")
        await until(lambda: rig.payouts.asked)
        rig.payouts.asked["addr.1"].set_result(Payee("addr", b"\x00\x14" + bytes(20)))
        assert await accepted(miner, authorized)
        assert await accepted(miner, early)
        miner.close()


async def test_an_address_of_another_network_is_refused_with_a_clear_message() -> None:
    async with rig_of(worker_mode=True) as rig:
        miner = await Miner.connect(rig)
        await miner.subscribe("test/1")
        authorized = miner.send("mining.authorize", "addr.1", "x")
        await until(lambda: rig.payouts.asked)
        rig.payouts.asked["addr.1"].set_result(PayoutRefused("looks like an address of test"))
        assert (await miner.answer(authorized))["error"] == [24, "looks like an address of test", None]
        await miner.ended()


async def test_nobody_minds_a_miner_that_goes_before_the_node_has_spoken() -> None:
    async with rig_of(worker_mode=True) as rig:
        miner = await Miner.connect(rig)
        miner.send("mining.authorize", "addr.1", "x")
        await until(lambda: rig.payouts.asked)
        miner.close()
        await until(lambda: rig.server.connections == 0)
        rig.payouts.asked["addr.1"].set_result(Payee("addr", b"\x51"))
        await asyncio.sleep(0)
        assert len(rig.roster) == 0


async def test_a_stranger_cannot_make_more_names_than_there_is_room_for() -> None:
    async with rig_of(limit=2) as rig:
        miners = [await Miner.mining(rig, f"farm.{number}") for number in range(2)]
        stranger = await Miner.connect(rig)
        assert (await stranger.log_in("farm.3"))["error"][0] == 24
        await stranger.ended()
        for miner in miners:
            miner.close()


# ---- What strangers can do -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "limits", [ServerLimits(connections=2), ServerLimits(connections=100, per_address=2)]
)
async def test_too_many_connections_are_closed_at_once(
    limits: ServerLimits, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig_of(limits) as rig:
        miners = [await Miner.mining(rig) for _ in range(2)]
        third = await Miner.connect(rig)
        await third.ended()
        assert rig.server.connections == 2
        miners.pop().close()
        await until(lambda: rig.server.connections == 1)
        again = await Miner.mining(rig)
        rig.server.traffic.flush()
        assert "connections_refused" in [record.message for record in caplog.records]
        again.close()
        miners.pop().close()


@pytest.mark.parametrize(
    "garbage",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\n",
        b"{" * 100_000,
        b"[]\n" * 1000,
    ],
)
async def test_garbage_disturbs_nobody_else(garbage: bytes) -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner, stranger = await Miner.mining(rig), await Miner.connect(rig)
        stranger.writer.write(garbage)
        await stranger.ended()
        assert await accepted(miner, miner.submit(notice))
        miner.close()


async def test_a_session_that_breaks_ends_alone_and_leaves_its_trace(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner, unlucky = await Miner.mining(rig), await Miner.mining(rig, "farm.2")

        def take(*_: Any) -> None:
            raise ZeroDivisionError("a bug")

        monkeypatch.setattr(rig.server, "take", take)
        unlucky.send("mining.submit", "farm.2", notice.job.id, "00" * 8, "ffffffff", "00000000")
        await unlucky.ended()
        assert [record.message for record in caplog.records] == ["session_failed"]
        assert caplog.records[0].exc_info is not None
        monkeypatch.undo()
        assert await accepted(miner, miner.submit(notice))
        miner.close()


async def test_who_does_not_read_what_it_is_told_is_closed_and_holds_up_nobody() -> None:
    async with rig_of() as rig:
        deaf_socket = socket.socket()
        deaf_socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        deaf_socket.connect(("127.0.0.1", rig.port))
        deaf_socket.sendall(
            b'{"id":1,"method":"mining.subscribe","params":[]}\n{"id":2,"method":"mining.authorize","params":["deaf","x"]}\n'
        )
        deaf = rig.roster
        await until(lambda: deaf.named("deaf") is not None)
        miner = await Miner.mining(rig)
        unit = rig.roster.named("deaf")
        assert unit is not None

        for number in itertools.count(1):
            notice = rig.new_job()
            assert (await miner.note("mining.notify"))["params"][0] == notice.job.id
            if not unit.sessions:
                break
            assert number < 100_000
        assert await accepted(miner, miner.submit(notice))
        assert rig.server.traffic.in_all["went", "slow_reader"] == 1
        deaf_socket.close()
        miner.close()


async def test_who_does_not_log_in_is_closed_in_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "SWEEP_STEP_S", 0.001)
    async with rig_of() as rig:
        silent, miner = await Miner.connect(rig), await Miner.mining(rig)
        rig.clock.now += RULES.login_timeout_s
        await silent.ended()
        assert (await miner.call("mining.ping"))["error"] is None
        assert rig.server.traffic.in_all["went", "login_timeout"] == 1
        miner.close()


# ---- Ports ---------------------------------------------------------------------------------------------------------


async def test_every_port_has_rules_of_its_own() -> None:
    hard = PortRules(start_difficulty=0.5, min_difficulty=0.5, max_difficulty=0.5, vardiff=False)
    ports = [Port("127.0.0.1", 0, RULES), Port("127.0.0.1", 0, hard)]
    async with rig_of(ports=ports) as rig:
        told = []
        for _, port in rig.server.addresses:
            miner = await Miner.connect(rig, port=port)
            await miner.log_in()
            told.append((await miner.note("mining.set_difficulty"))["params"][0])
            miner.close()
        assert told == [1e-10, 0.5]


async def test_a_port_that_cannot_be_had_leaves_no_other_one_open() -> None:
    async with rig_of() as rig:
        taken = Port("127.0.0.1", rig.port, RULES)
        async with rig_of() as other:
            other.server.close()
            with pytest.raises(ListenError):
                other.server.open([Port("127.0.0.1", 0, RULES), taken])
            assert other.server.addresses == []


async def test_the_listening_sockets_outlive_the_server_for_the_next_one() -> None:
    async with rig_of() as rig:
        name, listening = next(iter(rig.server.sockets.items()))
        kept = listening.dup()
    port = kept.getsockname()[1]
    with socket.create_connection(("127.0.0.1", port)) as waiting:  # while nobody serves
        async with rig_of(ports=[Port("127.0.0.1", 0, RULES)]) as rig:
            rig.server.close()
            inherited = {name: kept}
            rig.server.open([Port("127.0.0.1", 0, RULES)], inherited)
            assert inherited == {}
            assert rig.port == port
            assert waiting.fileno() > 0


@pytest.mark.skipif(shutil.which("openssl") is None, reason="needs the openssl command")
async def test_a_tls_port_serves_who_trusts_its_certificate(tmp_path: Path) -> None:
    file, key = make_certificate(tmp_path)
    async with rig_of(ports=[Port("127.0.0.1", 0, RULES, Certificate(file, key))]) as rig:
        notice = rig.new_job()
        context = ssl.create_default_context(cafile=str(file))
        miner = await Miner.mining(rig, ssl=context, server_hostname="miner.test")
        assert await accepted(miner, miner.submit(notice))
        miner.close()

        plain = await Miner.connect(rig)
        plain.send("mining.subscribe")
        await plain.ended()
        await until(lambda: rig.server.traffic.in_all["refused", "handshake"] == 1)
        await until(lambda: rig.server.connections == 0)


# ---- The end -------------------------------------------------------------------------------------------------------


async def test_a_stop_answers_the_last_shares_and_says_goodbye() -> None:
    async with rig_of() as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        submitted = miner.submit(notice)
        await until(lambda: rig.ledger.held)
        rig.closing.set()
        await asyncio.sleep(0)
        rig.ledger.release()
        assert await accepted(miner, submitted)
        assert "please come back" in (await miner.note("client.show_message"))["params"][0]
        await miner.ended()


async def test_a_stop_does_not_wait_for_ever_for_a_ledger_that_hangs() -> None:
    async with rig_of(ServerLimits(connections=10, drain_s=0.01)) as rig:
        notice = rig.new_job()
        miner = await Miner.mining(rig)
        rig.ledger.holding = True
        submitted = miner.submit(notice)
        await until(lambda: rig.ledger.held)
        rig.closing.set()
        await miner.ended()
        assert [told for told in miner.told if told.get("id") == submitted] == []


async def test_a_stop_does_not_wait_for_the_nodes_word_on_a_login() -> None:
    async with rig_of(worker_mode=True) as rig:
        miner = await Miner.connect(rig)
        miner.send("mining.authorize", "addr.1", "x")
        await until(lambda: rig.payouts.asked)
        rig.closing.set()
        await miner.ended()
        await until(rig.payouts.asked["addr.1"].cancelled)


async def test_units_know_how_many_sessions_they_have() -> None:
    async with rig_of() as rig:
        miners = [await Miner.mining(rig) for _ in range(3)]
        unit = rig.roster.named("farm.1")
        assert unit is not None
        assert unit.sessions == 3
        for miner in miners:
            miner.close()
        await until(lambda: unit.sessions == 0)


async def test_comings_and_goings_are_told(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO)
    async with rig_of() as rig:
        miner = await Miner.mining(rig)
        miner.close()
        await until(lambda: rig.server.connections == 0)
    told = [record.message for record in caplog.records]
    assert told == ["stratum_listening", "miner_connected", "miner_disconnected"]
