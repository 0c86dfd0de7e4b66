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

from miner.kernel import RECORD
from miner.ledger.recorder import Recorder
from miner.ledger.rows import LedgerError
from miner.ledger.store import Store
from miner.payouts import Payee, PayoutRefused
from miner.stratum import server as server_module
from miner.stratum.listener import ListenError, Port
from miner.stratum.places import RESUME_S
from miner.stratum.rules import PortRules
from miner.stratum.server import ServerLimits
from miner.stratum.tls import Certificate
from tests.miner.harness import NOW
from tests.miner.stratum.server_harness import RULES, Miner, rig_of, until
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
