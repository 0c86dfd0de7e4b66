"""The miners' side of the daemon: what the configuration makes of it, and real miners that attach to it."""

import asyncio
import logging
import shutil
import subprocess
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pytest

from miner import front as front_module
from miner.config import Config
from miner.front import Front, make_roster, ports, standard_layout
from miner.handover import Inheritance
from miner.ledger.rows import LedgerError, UnitRow
from miner.stratum.dispatch import MAIN
from miner.stratum.listener import ListenError, Port
from miner.stratum.rules import PortRules
from miner.stratum.tls import TlsError
from miner.work.layout import Layout
from tests.miner.harness import ANY_HASH, NOW, Rig, rig_of, share_on, shown, template
from tests.miner.node.harness import until
from tests.miner.stratum.server_harness import RULES, Miner
from tests.miner.test_mining import nobody

MakeConfig = Callable[..., Config]
OPENSSL = shutil.which("openssl")
OWN = b"\x00\x00\x00\x07"
ANY_PORT = Port("127.0.0.1", 0, RULES)
TIP_TO_WORK = "hashmill_tip_to_work_seconds_count"
MODES = [{"name": "full", "th_s": 100.0, "watts": 3000.0}]


class TestConfiguration:
    """What the configuration makes of it."""

    def test_without_a_stratum_section_there_are_no_ports(self, make_config: MakeConfig) -> None:
        assert ports(make_config()) == []
        assert standard_layout(make_config()) == Layout(4, 8)

    def test_every_port_has_its_rules_and_rolls_only_bits_that_the_work_has(
        self, make_config: MakeConfig
    ) -> None:
        fixed = {"start_difficulty": 5.0, "min_difficulty": 5.0, "max_difficulty": 5.0}
        config = make_config(
            solo={"version_mask": "0fffe000"},
            stratum={
                "listen": "127.0.0.1:3333",
                "start_difficulty": 100.0,
                "target_shares_per_minute": 20.0,
                "extranonce2_size": 4,
                "login_timeout_s": 7.0,
                "idle_timeout_s": 0.0,
                "version_mask": "1fff0000",
                "listener": [{"listen": "[::1]:3334", "version_mask": "1fffe000", **fixed}],
            },
        )
        common: dict[str, Any] = {"login_timeout_s": 7.0, "idle_timeout_s": 0.0}
        common["target_shares_per_minute"] = 20.0
        assert ports(config) == [
            Port("127.0.0.1", 3333, PortRules(start_difficulty=100.0, version_mask=0x0FFF0000, **common)),
            Port("::1", 3334, PortRules(version_mask=0x0FFFE000, vardiff=False, **fixed, **common)),
        ]
        assert standard_layout(config) == Layout(4, 4)

    @pytest.mark.skipif(OPENSSL is None, reason="needs the openssl command")
    def test_a_port_speaks_tls_with_its_certificate(self, make_config: MakeConfig, tmp_path: Path) -> None:
        certificate, key = tmp_path / "cert.pem", tmp_path / "key.pem"
        options = ["-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        names = ["-subj", "/CN=miner.test", "-keyout", str(key), "-out", str(certificate)]
        subprocess.run([str(OPENSSL), "req", *options, *names], check=True, capture_output=True)
        key.chmod(0o600)
        tls = {"tls_certificate": str(certificate), "tls_key": str(key)}
        plain = {"listen": "127.0.0.1:3334", "tls_certificate": ""}
        with_tls, without = ports(make_config(stratum={**tls, "listener": [plain]}))
        assert with_tls.certificate is not None
        assert without.certificate is None
        certificate.write_text("no certificate any more")
        with pytest.raises(TlsError, match=r"cert\.pem"):
            ports(make_config(stratum=tls))

    def test_workers_keep_the_numbers_of_the_ledger_and_the_ids_of_the_configuration(
        self, make_config: MakeConfig
    ) -> None:
        config = make_config(
            stratum={"max_workers": 1},
            unit=[{"id": "rack1-07", "worker": "rack1.07", "control": "gate", "modes": MODES}],
        )
        known = [UnitRow(4, "rack1.07", NOW - 100), UnitRow(9, "old", NOW - 50)]
        roster = make_roster(config, known, NOW)
        assert [(unit.id, unit.configured) for unit in roster] == [
            ("cpu", True), ("rack1-07", True), ("old", False),
        ]  # fmt: skip
        assert (roster.login("rack1.07", NOW).number, roster.login("old", NOW).number) == (4, 9)
        assert make_roster(make_config(), [], NOW).by_id("cpu") is not None


@dataclass
class Facing:
    """A front that runs, over the mining half, which does not."""

    front: Front
    rig: Rig
    closing: asyncio.Event

    def work(self, *, seen_at: float | None = None, **changes: Any) -> None:
        """New work; no share of it is a block."""
        self.rig.mining.solo.take_template(template(bits=0x1D00FFFF, **changes))
        self.front.serve(MAIN, self.rig.current, seen_at)

    def settled(self) -> list[tuple[str, str]]:
        """Unit and tip of each share in the ledger, oldest first."""
        return [(row.unit, row.prev_hash) for row in self.rig.store.shares()][::-1]

    async def miner(self, session: str | None = None) -> Miner:
        """One that has logged in as farm.1."""
        server = self.front.server
        assert server is not None
        miner = Miner(*await asyncio.open_connection(*server.addresses[0]))
        assert (await miner.log_in(resume=session))["result"] is True
        return miner


@pytest.fixture
def face(make_config: MakeConfig, tmp_path: Path) -> Callable[..., Any]:
    """Runs a front on these ports (none: without a server), with what it inherits, until told to close and settled."""

    @asynccontextmanager
    async def run(
        *own_ports: Port, sockets: dict[str, Any] | None = None, state: bytes = b"null"
    ) -> AsyncIterator[Facing]:
        config = make_config(**({"stratum": {}} if own_ports else {}))
        async with rig_of([nobody()], tmp_path / "hashmill.db") as rig:
            front = Front(
                config,
                rig.delivery.desk,
                rig.shelf,
                rig.roster,
                rig.recorder,
                rig.metrics,
                ports=own_ports,
                reserved=[OWN],
                layout=standard_layout(config),
                lane_of=lambda _unit: MAIN,
                on_alert=rig.alerts.__setitem__,
                clock=time.time,
            )
            facing = Facing(front, rig, asyncio.Event())
            try:
                front.open(sockets or {}, state)
                async with asyncio.TaskGroup() as group:
                    group.create_task(front.run(facing.closing))
                    try:
                        yield facing
                    finally:
                        facing.closing.set()
                await front.settle()
            finally:
                front.close()

    return run


class TestWithoutAServer:
    """Only this machine hashes."""

    async def test_shares_of_this_machine_reach_the_ledger_though_nobody_waits_for_them(
        self, face: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(front_module, "CHECK_S", 0.01)
        async with face() as facing:
            facing.work()
            desk, job = facing.rig.delivery.desk, facing.rig.current
            for number in range(3):
                desk.take(share_on(job, number), ANY_HASH)
            await until(lambda: len(facing.settled()) == 3)
            assert set(facing.settled()) == {("cpu", "a0" * 32)}
            assert shown(facing.rig.metrics, "hashmill_ledger_shares_waiting") == 0

    async def test_what_came_last_is_written_and_counted_before_the_end(
        self, face: Callable[..., Any]
    ) -> None:
        async with face() as facing:
            facing.work()
            await asyncio.sleep(0)
            facing.rig.delivery.desk.take(share_on(facing.rig.current, 1), ANY_HASH)
            facing.closing.set()
            await facing.front.settle()
            assert facing.settled() == [("cpu", "a0" * 32)]
            await facing.rig.recorder.add_decisions([])  # which waits for what was queued before
            (minute,) = facing.rig.store.share_minutes()
            assert minute.accepted == 1

    async def test_the_first_job_on_a_tip_tells_how_long_that_took(self, face: Callable[..., Any]) -> None:
        async with face() as facing:
            facing.work(seen_at=time.time())
            facing.work()
            assert shown(facing.rig.metrics, TIP_TO_WORK) == 1
            facing.front.serve(MAIN, None, None)
            assert shown(facing.rig.metrics, "hashmill_stratum_connections") is None

    async def test_there_is_nothing_to_hand_over(self, face: Callable[..., Any]) -> None:
        async with face() as facing:
            assert facing.front.server is None
            assert facing.front.sockets == {}
            assert facing.front.legacy() == b"[]"

    async def test_a_ledger_that_refuses_shares_is_an_alert_until_it_takes_them(
        self, face: Callable[..., Any], monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(front_module, "CHECK_S", 0.01)
        monkeypatch.setattr("miner.stratum.commits.RETRY_S", 0.01)
        async with face() as facing:
            rig = facing.rig
            take, refused = rig.recorder.add_shares, []

            def refuse(records: bytes) -> asyncio.Future[None]:
                refused.append(records)
                raise LedgerError("the disk is full")

            monkeypatch.setattr(rig.recorder, "add_shares", refuse)
            facing.work()
            rig.delivery.desk.take(share_on(rig.current, 1), ANY_HASH)
            await until(lambda: len(refused) > 1)
            assert "the disk is full" in rig.alerts["ledger_stalled"]
            monkeypatch.setattr(rig.recorder, "add_shares", take)
            await until(facing.settled)
            await until(lambda: not rig.alerts["ledger_stalled"])
        (row,) = rig.store.share_minutes()
        assert row.accepted == 1


class TestWithAServer:
    """Miners attach."""

    async def test_a_job_reaches_a_miner_and_its_share_the_ledger_before_the_answer(
        self, face: Callable[..., Any]
    ) -> None:
        async with face(ANY_PORT) as facing:
            facing.work(seen_at=time.time())
            miner = await facing.miner()
            notify = await miner.note("mining.notify")
            job = facing.rig.current
            assert notify["params"][0] == job.id
            answer = await miner.call(
                "mining.submit", "farm.1", job.id, "00" * 8, f"{job.ntime_s:x}", "00000001"
            )
            assert answer["result"] is True
            assert facing.settled() == [("farm.1", "a0" * 32)]
            metrics = facing.rig.metrics
            assert shown(metrics, "hashmill_stratum_connections") == 1
            assert shown(metrics, TIP_TO_WORK) == 1
            await until(lambda: shown(metrics, "hashmill_share_commit_seconds_count") == 1)
            miner.close()

    async def test_without_work_a_miner_waits_for_the_next_job(self, face: Callable[..., Any]) -> None:
        async with face(ANY_PORT) as facing:
            facing.work()
            facing.front.serve(MAIN, None, None)
            miner = await facing.miner()
            assert await miner.call("mining.extranonce.subscribe")
            assert not [told for told in miner.told if told["method"] == "mining.notify"]
            facing.work(prev_hash=b"\xb0" * 32, height=301)
            notify = await miner.note("mining.notify")
            assert (notify["params"][0], notify["params"][8]) == (facing.rig.current.id, True)
            miner.close()

    async def test_a_miner_never_gets_the_extranonce_of_this_machine(self, face: Callable[..., Any]) -> None:
        async with face(ANY_PORT) as facing:
            with pytest.raises(ValueError, match="00000007"):
                facing.front.server._places._allocator(4).reserve(OWN)

    async def test_a_session_goes_on_in_the_next_process_on_the_same_socket(
        self, face: Callable[..., Any]
    ) -> None:
        async with face(ANY_PORT) as facing:
            facing.work()
            before = await facing.miner()
            address = facing.front.server.addresses[0]
            handed = {name: listening.dup() for name, listening in facing.front.sockets.items()}
            facing.closing.set()
            await before.ended()
        state = facing.front.legacy()
        (parked,) = msgspec.json.decode(state)
        assert parked["session"]["session_id"] == before.session
        waiting = asyncio.open_connection(*address)  # nobody accepts: it stays in the backlog
        miner = Miner(*await waiting)
        async with face(ANY_PORT, sockets=handed, state=state) as facing:
            assert facing.front.server.addresses[0] == address
            facing.work()
            assert (await miner.log_in(resume=before.session))["result"] is True
            assert (miner.session, miner.extranonce1) == (before.session, before.extranonce1)
            miner.close()
        assert handed == {}

    async def test_where_there_was_no_process_before_nothing_is_said_of_its_sessions(
        self, face: Callable[..., Any], caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.INFO):
            async with face(ANY_PORT, state=Inheritance().state) as facing:
                assert facing.front.legacy() == b"[]"
        assert not [message for message in caplog.messages if message.startswith("sessions_")]

    @pytest.mark.parametrize("state", [b"{}", b'[{"session":1}]', b""])
    async def test_sessions_that_are_not_understood_are_done_without(
        self, face: Callable[..., Any], state: bytes, caplog: pytest.LogCaptureFixture
    ) -> None:
        with caplog.at_level(logging.WARNING):
            async with face(ANY_PORT, state=state) as facing:
                facing.work()
                (await facing.miner()).close()
        assert "sessions_not_inherited" in caplog.messages

    async def test_a_port_that_is_taken_is_told(self, face: Callable[..., Any]) -> None:
        async with face(ANY_PORT) as facing:
            host, number = facing.front.server.addresses[0]
            with pytest.raises(ListenError, match=str(number)):
                async with face(Port(host, number, RULES)):
                    pass
