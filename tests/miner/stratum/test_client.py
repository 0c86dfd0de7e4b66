import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import pytest

from miner.stratum import client
from miner.stratum.client import Ended, PoolLink, PoolSettings, ProbeResult, Stage, probe
from miner.stratum.pool_address import PoolAddress, parse_pool_url
from miner.stratum.pool_events import (
    Answered,
    Event,
    Failed,
    Failure,
    LoggedIn,
    PoolAccepted,
    PoolLogin,
    PoolRejected,
    PoolSilent,
    Work,
)
from regtest.ports import LOOPBACK, Reservation
from tests.miner.stratum.pool_certificates import make_certificate, needs_openssl
from tests.miner.stratum.scripted_pool import PATIENCE_S, PoolThread, Script, ScriptedPool
from tests.miner.stratum.scripted_work import mine

LOGIN = PoolLogin("account.site", "x", "hashmill/test", 0x1FFFE000)
E = TypeVar("E")


def settings(pool: ScriptedPool, **changes: Any) -> PoolSettings:
    return replace(PoolSettings(pool.name, parse_pool_url(pool.url), LOGIN), **changes)


class Rig:
    """A link that runs, and everything heard of it."""

    def __init__(self, wanted: PoolSettings) -> None:
        self.events: list[Event] = []
        self.link = PoolLink(wanted, self.events.append)
        self.running: asyncio.Task[Ended] | None = None

    def of(self, kind: type[E]) -> list[E]:
        return [event for event in self.events if isinstance(event, kind)]

    @property
    def work(self) -> Work:
        return self.of(Work)[-1]

    @property
    def verdicts(self) -> dict[int, Any]:
        answers = self.of(Answered)
        assert len({answer.token for answer in answers}) == len(answers)
        return {answer.token: answer.verdict for answer in answers}

    def submit(self, token: int, work: Work | None = None) -> bool:
        return self.link.submit(self.link.epoch, mine(work or self.work, token), token)

    async def until(self, condition: Callable[[], Any]) -> None:
        async with asyncio.timeout(PATIENCE_S):
            while not condition():
                assert self.running is None or not self.running.done() or condition(), self.running
                await asyncio.sleep(0.002)

    async def works(self, count: int) -> None:
        """So many jobs have come."""
        await self.until(lambda: len(self.of(Work)) >= count)

    async def ended(self) -> Ended:
        assert self.running is not None
        async with asyncio.timeout(PATIENCE_S):
            return await self.running


@asynccontextmanager
async def linked(pool: ScriptedPool, **changes: Any) -> AsyncIterator[Rig]:
    rig = Rig(settings(pool, **changes))
    rig.running = asyncio.create_task(rig.link.run())
    try:
        yield rig
    finally:
        rig.running.cancel()
        await asyncio.wait([rig.running])


async def test_a_pool_is_logged_in_to_and_takes_the_shares_of_its_work() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        assert rig.link.stage is Stage.WORKING
        assert rig.of(LoggedIn) == [LoggedIn((1).to_bytes(4, "big"), 8, 0x1FFFE000)]
        for token in range(10):
            assert rig.submit(token)
        assert rig.link.unanswered
        await rig.until(lambda: len(rig.verdicts) == 10)
        assert set(rig.verdicts.values()) == {PoolAccepted()}
        assert [share.worker for share in pool.accepted] == ["account.site"] * 10
        assert not rig.link.unanswered


@needs_openssl
async def test_a_pool_may_speak_tls(tmp_path: Path) -> None:
    files = make_certificate(tmp_path)
    async with ScriptedPool(certificate=files) as pool, linked(pool, ca_file=files[0]) as rig:
        await rig.until(lambda: rig.of(Work))
        assert rig.submit(1)
        await rig.until(lambda: rig.verdicts)
        assert pool.accepted


async def test_a_share_is_of_the_difficulty_and_extranonce_its_job_came_with_while_both_move() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: "mining.extranonce.subscribe" in pool.methods())
        for number in range(1, 20):
            pool.set_difficulty(1e-9 * number)
            pool.set_extranonce(bytes([number] * (1 + number % 6)), 4 + number % 5)
            pool.new_job()
        await rig.until(lambda: len(rig.of(Work)) == 20)
        for token, work in enumerate(rig.of(Work)):
            assert rig.submit(token, work)
        await rig.until(lambda: len(rig.verdicts) == 20)
        assert set(rig.verdicts.values()) == {PoolAccepted()}
        assert pool.rejected == []


async def test_what_the_pool_refuses_is_told_in_its_words() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        rig.submit(1)
        rig.link.submit(rig.link.epoch, mine(rig.work, 1), 2)
        await rig.until(lambda: len(rig.verdicts) == 2)
        assert rig.verdicts == {1: PoolAccepted(), 2: PoolRejected(22, "Duplicate share")}


@pytest.mark.parametrize(
    ("answer", "verdict"),
    [
        ({"result": False}, PoolRejected(20, "no reason given")),
        ({"error": "go away"}, PoolRejected(20, "go away")),
        ({"error": {"code": -2, "message": "banned"}}, PoolRejected(-2, "banned")),
        ({"result": True, "error": [23, "low difficulty", None]}, PoolRejected(23, "low difficulty")),
        ({"result": None}, PoolRejected(20, "no reason given")),
        ({"result": "yes"}, PoolRejected(20, "no reason given")),
    ],
)
async def test_an_odd_answer_to_a_share_is_never_taken_for_an_acceptance(
    answer: dict[str, Any], verdict: PoolRejected
) -> None:
    async with ScriptedPool(script=Script(answer=lambda _: answer)) as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        rig.submit(1)
        await rig.until(lambda: rig.verdicts)
        assert rig.verdicts == {1: verdict}


async def test_shares_without_an_answer_are_in_doubt_when_the_pool_dies() -> None:
    async with ScriptedPool(script=Script(silent={"mining.submit"})) as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        rig.submit(1)
        await pool.until(lambda: pool.shares)
        pool.drop()
        ended = await rig.ended()
        assert ended.kind is Failure.LOST
        assert [type(verdict) for verdict in rig.verdicts.values()] == [PoolSilent]
        assert rig.link.stage is Stage.DOWN


async def test_no_share_of_an_old_connection_is_sent_by_a_new_one() -> None:
    async with ScriptedPool() as pool:
        async with linked(pool) as rig:
            await rig.until(lambda: rig.of(Work))
            old, epoch = rig.work, rig.link.epoch
            pool.drop()
            await rig.ended()
            assert not rig.submit(1, old)
            rig.running = asyncio.create_task(rig.link.run())
            await rig.until(lambda: len(rig.of(Work)) == 2)
            assert rig.link.epoch == epoch + 1
            assert not rig.link.submit(epoch, mine(old, 2), 2)
            assert rig.submit(3)
            await rig.until(lambda: 3 in rig.verdicts)
        assert [share.connection for share in pool.shares] == [2]
        assert rig.verdicts == {3: PoolAccepted()}


async def test_before_the_login_no_share_is_sent() -> None:
    async with ScriptedPool(script=Script(silent={"mining.authorize"})) as pool, linked(pool) as rig:
        await pool.until(lambda: "mining.authorize" in pool.methods())
        assert rig.link.stage is Stage.LOGIN
        async with ScriptedPool() as other, linked(other) as well:
            await well.until(lambda: well.of(Work))
            assert not rig.submit(1, well.work)


async def test_cancelling_a_link_closes_its_connection_and_answers_every_share() -> None:
    async with ScriptedPool(script=Script(silent={"mining.submit"})) as pool:
        async with linked(pool) as rig:
            await rig.until(lambda: rig.of(Work))
            rig.submit(7)
        assert [type(verdict) for verdict in rig.verdicts.values()] == [PoolSilent]
        await pool.until(lambda: not pool.guests)


async def test_a_fault_of_whoever_listens_is_raised_and_not_swallowed() -> None:
    def fail(_: Event) -> None:
        raise ZeroDivisionError

    async with ScriptedPool() as pool:
        with pytest.raises(ZeroDivisionError):
            await PoolLink(settings(pool), fail).run()


# ---- How it fails --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("script", "limits", "kind", "says"),
    [
        (Script(hangs=True), {"answer_s": 0.3}, Failure.UNANSWERED, "mining.subscribe was not answered"),
        (Script(silent={"mining.authorize"}), {"answer_s": 0.3}, Failure.UNANSWERED, "mining.authorize"),
        (Script(admits=lambda _: False), {}, Failure.LOGIN, "Unauthorized worker"),
        (Script(unknown={"mining.subscribe"}), {}, Failure.LOGIN, "mining.subscribe"),
        (Script(works=False), {"no_work_s": 0.3}, Failure.NO_WORK, "no job came for"),
        (Script(slams=True), {}, Failure.LOST, "ended during the login"),
    ],
    ids=["hangs", "leaves-login", "refuses-user", "refuses-subscribe", "no-work", "slams"],
)
async def test_each_way_to_fail_is_told_apart(
    script: Script, limits: dict[str, float], kind: Failure, says: str
) -> None:
    async with ScriptedPool(script=script) as pool, linked(pool, **limits) as rig:
        ended = await rig.ended()
        assert ended.kind is kind
        assert says in ended.why
        assert f"{LOOPBACK}:{pool.port}" in ended.why


async def test_a_pool_that_hangs_with_shares_is_left_when_the_answer_is_overdue() -> None:
    async with ScriptedPool() as pool, linked(pool, answer_s=0.3) as rig:
        await rig.until(lambda: "mining.extranonce.subscribe" in pool.methods() and rig.of(Work))
        pool.script.hangs = True
        rig.submit(1)
        ended = await rig.ended()
        assert (ended.kind, "mining.submit" in ended.why) == (Failure.UNANSWERED, True)
        assert [type(verdict) for verdict in rig.verdicts.values()] == [PoolSilent]


async def test_a_slow_pool_is_waited_for() -> None:
    async with ScriptedPool(script=Script(late_s=0.05, answer_late_s=0.1)) as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        rig.submit(1)
        await rig.until(lambda: rig.verdicts)
        assert rig.verdicts == {1: PoolAccepted()}
        assert rig.of(Answered)[0].took_s > 0.1


async def test_a_pool_that_does_not_read_what_it_is_told_costs_no_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(client, "WRITE_LIMIT", 64 * 1024)
    silent = asyncio.Event()

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readline()  # and nothing more
        line = b'{"id":"%b","method":"mining.ping"}\n' % (b"7" * 1_000_000)
        for _ in range(100):
            writer.write(line)
        await silent.wait()
        writer.transport.abort()

    server = await asyncio.start_server(serve, LOOPBACK, 0, limit=1024)
    port = server.sockets[0].getsockname()[1]
    link = PoolLink(PoolSettings("deaf", parse_pool_url(f"stratum+tcp://{LOOPBACK}:{port}"), LOGIN), print)
    try:
        async with asyncio.timeout(PATIENCE_S):
            ended = await link.run()
        assert (ended.kind, "does not read" in ended.why) == (Failure.UNANSWERED, True)
    finally:
        silent.set()
        server.close()


async def test_garbage_ends_the_connection() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        pool.say(b"\x00\xffHTTP/1.1 400 Bad Request\r\n\r\n")
        ended = await rig.ended()
        assert ended.kind is Failure.GARBAGE


async def test_bad_work_is_told_and_ends_the_connection_when_it_goes_on() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        pool.notify("mining.notify", "id", "nonsense")
        await rig.until(lambda: rig.of(Failed))
        assert rig.link.stage is Stage.WORKING
        for _ in range(2):
            pool.notify("mining.notify", "id", "nonsense")
        assert (await rig.ended()).kind is Failure.BAD_WORK


# ---- Redirections --------------------------------------------------------------------------------------------


async def test_a_redirection_to_the_same_place_is_followed() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        pool.redirect()
        assert await rig.ended() == Ended(None, "", 0.0)
        rig.running = asyncio.create_task(rig.link.run())
        await rig.until(lambda: len(rig.of(Work)) == 2)


async def test_a_redirection_to_another_port_is_followed_until_that_fails() -> None:
    async with ScriptedPool("one") as one, ScriptedPool("two") as two, linked(one) as rig:
        await rig.until(lambda: rig.of(Work))
        one.redirect(LOOPBACK, two.port, 3)
        assert await rig.ended() == Ended(None, "", 3)
        assert rig.link.address.port == two.port
        rig.running = asyncio.create_task(rig.link.run())
        await rig.until(lambda: len(rig.of(Work)) == 2)
        assert rig.work.notify.job_id.startswith("two")
        two.drop()
        await rig.ended()
        assert rig.link.address.port == one.port


async def test_a_redirection_to_somebody_else_is_not_followed() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        pool.redirect("192.0.2.66", 3333, 0)
        await rig.until(lambda: rig.of(Failed))
        assert rig.of(Failed)[0].kind is Failure.REDIRECT_REFUSED
        rig.submit(1)
        await rig.until(lambda: rig.verdicts)


async def test_a_redirection_is_not_waited_for_longer_than_a_minute() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        await rig.until(lambda: rig.of(Work))
        pool.redirect("", 0, 86_400)
        assert (await rig.ended()).wait_s <= 60.0


async def test_a_pool_that_sends_us_round_in_circles_has_failed() -> None:
    async with ScriptedPool() as pool, linked(pool) as rig:
        for number in range(1, 5):
            await rig.works(number)
            pool.redirect()
            ended = await rig.ended()
            rig.running = asyncio.create_task(rig.link.run())
        assert ended.kind is Failure.REDIRECT_REFUSED
        assert "circles" in ended.why


# ---- Asking whether it is well -------------------------------------------------------------------------------


async def test_a_probe_of_a_good_pool_tells_what_it_gives_and_leaves_nothing_behind() -> None:
    async with ScriptedPool(difficulty=512.0, extranonce2_size=6) as pool:
        found = await probe(settings(pool), PATIENCE_S, clock=lambda: pool.job.ntime_s + 2.0)
        assert found == ProbeResult(
            Stage.WORKING,
            difficulty=512.0,
            extranonce2_size=6,
            version_mask=0x1FFFE000,
            job_age_s=2.0,
        )
        await pool.until(lambda: not pool.guests)
        assert "mining.submit" not in pool.methods()


@pytest.mark.parametrize(
    ("script", "limit_s", "stage", "kind", "says"),
    [
        (Script(hangs=True), 0.3, Stage.LOGIN, Failure.UNANSWERED, "no answer to the login within 0.3 s"),
        (Script(admits=lambda _: False), PATIENCE_S, Stage.LOGIN, Failure.LOGIN, "Unauthorized worker"),
        (
            Script(works=False),
            1.0,
            Stage.WAITING_FOR_WORK,
            Failure.NO_WORK,
            "logged in, but no work within 1 s",
        ),
        (Script(slams=True), PATIENCE_S, Stage.LOGIN, Failure.LOST, "are user and password right?"),
    ],
    ids=["hangs", "refuses-user", "no-work", "slams"],
)
async def test_a_probe_says_how_far_it_came_and_why_no_further(
    script: Script, limit_s: float, stage: Stage, kind: Failure, says: str
) -> None:
    async with ScriptedPool(script=script) as pool:
        found = await probe(settings(pool), limit_s)
    assert (found.stage, found.failure) == (stage, kind)
    assert says in found.text


async def test_a_probe_tells_a_closed_port_and_a_name_that_does_not_exist() -> None:
    with Reservation(1) as closed:
        found = await probe(PoolSettings("p", PoolAddress(LOOPBACK, closed.ports[0]), LOGIN), PATIENCE_S)
    assert (found.stage, found.failure) == (Stage.CONNECTING, Failure.REFUSED)
    found = await probe(PoolSettings("p", PoolAddress("pool.invalid", 1), LOGIN, connect_s=5.0), PATIENCE_S)
    assert (found.stage, found.failure) == (Stage.CONNECTING, Failure.DNS)


@needs_openssl
async def test_a_probe_tells_a_certificate_that_is_not_good(tmp_path: Path) -> None:
    async with ScriptedPool(certificate=make_certificate(tmp_path)) as pool:
        found = await probe(settings(pool), PATIENCE_S)
    assert (found.stage, found.failure) == (Stage.CONNECTING, Failure.TLS)


async def test_a_probe_follows_a_redirection() -> None:
    async with ScriptedPool("one", script=Script(works=False)) as one, ScriptedPool("two") as two:
        asking = asyncio.create_task(probe(settings(one), PATIENCE_S))
        await one.until(one.users)
        one.redirect(LOOPBACK, two.port, 0)
        assert (await asking).stage is Stage.WORKING


# ---- The pool in a thread ------------------------------------------------------------------------------------


async def test_a_pool_may_run_in_a_thread_of_its_own() -> None:
    with PoolThread(job_every_s=0.01) as threaded:
        async with linked(threaded.pool) as rig:
            await rig.until(lambda: len(rig.of(Work)) > 3)
            rig.submit(1)
            await rig.until(lambda: rig.verdicts)
        assert threaded.do(lambda pool: len(pool.accepted)) == 1
        threaded.do(ScriptedPool.die)
        with pytest.raises(OSError):  # noqa: PT011 - whichever the system gives
            await asyncio.open_connection(LOOPBACK, threaded.pool.port)
        threaded.do(ScriptedPool.revive)
        _, writer = await asyncio.open_connection(LOOPBACK, threaded.pool.port)
        writer.close()
        await writer.wait_closed()
