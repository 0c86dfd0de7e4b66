"""Our side of a pool's connection: the manners of a miner, every share answered once, and whatever a pool does to us."""

import json
from collections.abc import Iterable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.difficulty import target_of_difficulty
from miner.stratum.client_session import (
    LONGEST_LINE,
    MOST_HELD,
    MOST_LINES,
    MOST_WORDS,
    REFUSED_LIMIT,
    ClientSession,
    SessionEndedError,
)
from miner.stratum.pool_events import (
    Answered,
    ClientOutput,
    Event,
    Failed,
    Failure,
    LoggedIn,
    Message,
    PoolAccepted,
    PoolLogin,
    PoolRejected,
    PoolSilent,
    PoolSubmission,
    Redirected,
    Work,
)

HOST = "eu.pool.example"
LOGIN = PoolLogin("account.site1", "x", "hashmill/1.0", 0x1FFFE000)
NAMED = PoolLogin("account", "x", "hashmill/1.0", 0x1FFFE000, worker_names=True)
GRANTED = {"version-rolling": True, "version-rolling.mask": "1fffe000"}
PLACE = [[["mining.notify", "1"]], "0a0b0c0d", 8]


def share(worker: str = "", *, nonce: int = 0x0BADCAFE, bits: int | None = 0x2000) -> PoolSubmission:
    return PoolSubmission(worker, "bf", bytes(8), 0x6553F3BC, nonce, bits)


def call(method: str, *params: Any, id: Any = None) -> str:  # noqa: A002  the field's name
    return json.dumps({"id": id, "method": method, "params": params})


def answer(id: Any, result: Any = True, error: Any = None) -> str:  # noqa: A002, FBT002  likewise
    return json.dumps({"id": id, "result": result, "error": error})


def notify(job_id: str = "bf", *, clean: bool = True) -> str:
    return call("mining.notify", job_id, "00" * 32, "01", "02", [], "20000000", "1d00ffff", "6553f3bc", clean)


class Dialogue:
    """A session, and what a pool says to it; `said` holds everything the session wrote."""

    def __init__(self, login: PoolLogin = LOGIN, **limits: float) -> None:
        self.now = 1000.0
        self.session = ClientSession(login, self.now, host=HOST, **limits)
        self.said: list[dict[str, Any]] = []
        self.output = ClientOutput()
        self.events: list[Event] = []
        self._hear(self.session.start(self.now))

    def _hear(self, data: bytes) -> list[dict[str, Any]]:
        assert not data or data.endswith(b"\n")
        said = [json.loads(line) for line in data.splitlines()]
        self.said += said
        return said

    def _take(self, output: ClientOutput) -> list[Event]:
        self.output = output
        self.events += output.events
        self._hear(output.data)
        return output.events

    def say(self, *lines: str | bytes) -> list[Event]:
        """The pool says these lines in one packet."""
        packet = b"".join((line.encode() if isinstance(line, str) else line) + b"\n" for line in lines)
        return self._take(self.session.receive(packet, self.now))

    def pass_time(self, seconds: float) -> list[Event]:
        self.now += seconds
        return self._take(self.session.tick(self.now))

    def submit(self, token: int, submission: PoolSubmission | None = None) -> list[dict[str, Any]]:
        return self._hear(self.session.submit(submission or share(), token, self.now))

    def end(self, why: str = "gone") -> list[Event]:
        events = self.session.end(why, self.now)
        self.events += events
        return events

    @property
    def asked(self) -> dict[str, Any]:
        """The last that was written."""
        return self.said[-1]

    def id_of(self, method: str, *params: Any) -> Any:
        """Id of the last request of this method, and with these params in front if any are given."""
        return next(
            line["id"]
            for line in reversed(self.said)
            if line.get("method") == method and line["params"][: len(params)] == list(params)
        )


def logged_in(login: PoolLogin = LOGIN, configured: Any = GRANTED, **limits: float) -> Dialogue:
    pool = Dialogue(login, **limits)
    pool.say(answer(1, configured), answer(2, PLACE))
    pool.say(answer(3))
    return pool


def mining(login: PoolLogin = LOGIN, **limits: float) -> Dialogue:
    pool = logged_in(login, **limits)
    pool.say(answer(4), call("mining.set_difficulty", 8), notify())
    return pool


def failures(events: Iterable[Event]) -> list[Failure]:
    return [event.kind for event in events if isinstance(event, Failed)]


def works(events: Iterable[Event]) -> list[Work]:
    return [event for event in events if isinstance(event, Work)]


class TestLogin:
    def test_each_request_is_sent_after_what_it_needs(self) -> None:
        pool = Dialogue()
        assert pool.said == [
            {
                "id": 1,
                "method": "mining.configure",
                "params": [
                    ["version-rolling"],
                    {"version-rolling.mask": "1fffe000", "version-rolling.min-bit-count": 2},
                ],
            },
            {"id": 2, "method": "mining.subscribe", "params": ["hashmill/1.0"]},
        ]
        assert pool.say(answer(1, GRANTED)) == []
        assert len(pool.said) == 2
        pool.say(answer(2, PLACE))
        assert pool.said[2:] == [{"id": 3, "method": "mining.authorize", "params": ["account.site1", "x"]}]
        assert not pool.session.is_logged_in
        assert pool.say(answer(3)) == [LoggedIn(bytes.fromhex("0a0b0c0d"), 8, 0x1FFFE000)]
        assert pool.said[3:] == [{"id": 4, "method": "mining.extranonce.subscribe", "params": []}]
        assert pool.session.is_logged_in

    def test_who_cannot_roll_versions_does_not_ask(self) -> None:
        pool = Dialogue(PoolLogin("a", "x", "hashmill", 0))
        assert [line["method"] for line in pool.said] == ["mining.subscribe"]
        pool.say(answer(1, PLACE))
        assert pool.say(answer(2)) == [LoggedIn(bytes.fromhex("0a0b0c0d"), 8, None)]

    @pytest.mark.parametrize(
        "no",
        [
            answer(1, None, [20, "Unknown method", None]),
            answer(1, None, "no"),
            answer(1, {"version-rolling": False}),
            answer(1, result=False),
            answer(1, None),
        ],
    )
    def test_a_pool_that_does_not_know_version_rolling_is_mined_without(self, no: str) -> None:
        pool = Dialogue()
        pool.say(no, answer(2, PLACE))
        assert pool.say(answer(3)) == [LoggedIn(bytes.fromhex("0a0b0c0d"), 8, None)]
        pool.say(notify())
        assert len(pool.submit(7)[0]["params"]) == 5

    def test_one_that_never_answers_it_is_too(self) -> None:
        pool = Dialogue()
        pool.now += 1
        pool.say(answer(2, PLACE))
        assert pool.say(answer(3)) == [LoggedIn(bytes.fromhex("0a0b0c0d"), 8, None)]
        assert len(works(pool.say(notify()))) == 1
        assert pool.pass_time(60) == []
        assert len(works(pool.say(notify("c0")))) == 1

    def test_a_late_yes_counts_from_the_next_job_on(self) -> None:
        pool = Dialogue()
        pool.say(answer(2, PLACE))
        pool.say(answer(3))
        (first,) = works(pool.say(notify()))
        (second,) = works(pool.say(answer(1, GRANTED), notify("c0", clean=False)))
        assert (first.version_mask, second.version_mask) == (None, 0x1FFFE000)

    def test_a_refused_user_is_told_in_the_words_of_the_pool(self) -> None:
        pool = Dialogue()
        pool.say(answer(1, GRANTED), answer(2, PLACE))
        (failed,) = pool.say(answer(3, None, [24, "Unknown account", None]))
        assert failed == Failed(Failure.LOGIN, "the pool refuses the user 'account.site1': Unknown account")
        assert pool.output.close

    @pytest.mark.parametrize(
        ("said", "why"),
        [
            (answer(2, None, [20, "Server is full", None]), "the pool refuses mining.subscribe: Server is full"),
            (answer(2, result=False), "the pool refuses mining.subscribe: no reason given"),
            (answer(2), "the answer to mining.subscribe names no extranonce"),
            (answer(2, [[], "0a", 99]), "the pool's size of extranonce2 is not a number from 0 to 32"),
        ],
    )  # fmt: skip
    def test_a_refused_subscription_ends_it(self, said: str, why: str) -> None:
        pool = Dialogue()
        assert pool.say(said) == [Failed(Failure.LOGIN, why)]
        assert pool.output.close

    def test_work_that_comes_before_the_login_is_through_waits_for_it(self) -> None:
        pool = Dialogue()
        assert pool.say(notify("early")) == []
        pool.say(answer(2, PLACE), answer(1, GRANTED), call("mining.set_difficulty", 5))
        assert pool.say(notify("a"), notify("b", clean=False)) == []
        entered, work = pool.say(answer(3))
        assert isinstance(entered, LoggedIn)
        assert isinstance(work, Work)
        assert (work.notify.job_id, work.notify.clean, work.difficulty) == ("b", True, 5)

    def test_a_job_before_the_subscription_is_not_lost(self) -> None:
        pool = Dialogue()
        pool.say(notify("early"), answer(2, PLACE))
        _, work = pool.say(answer(3))
        assert isinstance(work, Work)
        assert work.notify.job_id == "early"

    def test_ids_that_come_back_as_text_are_ours(self) -> None:
        pool = Dialogue()
        pool.say(answer("2", PLACE))
        assert [type(event) for event in pool.say(answer("3"))] == [LoggedIn]

    def test_everything_in_one_packet_or_byte_by_byte_is_the_same(self) -> None:
        def line(text: str) -> bytes:
            return text.encode() + b"\n"

        packet = b"".join(
            map(line, (answer(1, GRANTED), answer(2, PLACE), answer(3), notify(), notify("c0")))
        )
        whole, cut = Dialogue(), Dialogue()
        whole._take(whole.session.receive(packet, whole.now))
        for n in range(len(packet)):
            cut._take(cut.session.receive(packet[n : n + 1], cut.now))
        assert whole.events == cut.events
        assert len(works(whole.events)) == 2
        assert whole.said == cut.said


class TestWork:
    def test_a_job_bears_all_that_is_in_force(self) -> None:
        pool = logged_in()
        (work,) = works(pool.say(call("mining.set_difficulty", 512), notify()))
        assert work.notify.job_id == "bf"
        assert (work.difficulty, work.share_target) == (512, target_of_difficulty(512))
        assert (work.extranonce1, work.extranonce2_size) == (bytes.fromhex("0a0b0c0d"), 8)
        assert work.version_mask == 0x1FFFE000

    def test_a_difficulty_that_moves_on_every_job_counts_for_each_of_them(self) -> None:
        pool = logged_in()
        events = pool.say(
            *[line for n in range(1, 9) for line in (call("mining.set_difficulty", n), notify(f"{n}"))]
        )
        assert [(work.notify.job_id, work.difficulty) for work in works(events)] == [
            (f"{n}", n) for n in range(1, 9)
        ]

    def test_the_extranonce_changes_in_mid_flight(self) -> None:
        pool = mining()
        pool.submit(1)
        assert pool.say(call("mining.set_extranonce", "ffff", 4)) == []
        (work,) = works(pool.say(notify("c0")))
        assert (work.extranonce1, work.extranonce2_size) == (b"\xff\xff", 4)
        assert pool.say(answer(pool.id_of("mining.submit"))) == [Answered(1, PoolAccepted(), 0.0)]

    def test_a_smaller_mask_ends_the_job_as_it_was(self) -> None:
        pool = mining()
        (work,) = works(pool.say(call("mining.set_version_mask", "0000e000")))
        assert (work.notify.job_id, work.notify.clean, work.version_mask) == ("bf", True, 0xE000)

    def test_calls_about_work_may_bear_an_id_and_are_not_answered(self) -> None:
        pool = mining()
        before = len(pool.said)
        assert len(works(pool.say(notify("c0").replace('"id": null', '"id": 9')))) == 1
        assert len(pool.said) == before

    @pytest.mark.parametrize(
        "bad",
        [
            call("mining.notify"),
            call("mining.notify", "bf", "00", "01", "02", [], "20000000", "1d00ffff", "6553f3bc", True),
            notify().replace("1d00ffff", "difficult"),
            call("mining.set_difficulty", 0),
            call("mining.set_difficulty", "hard"),
            call("mining.set_target", "0"),
            call("mining.set_version_mask", None),
        ],
    )
    def test_what_is_of_no_use_is_told_and_the_third_time_in_a_row_the_end(self, bad: str) -> None:
        pool = mining()
        assert failures(pool.say(bad, bad, notify("c0"), bad, bad)) == [Failure.BAD_WORK] * 4
        assert not pool.output.close
        assert failures(pool.say(bad, notify("c1"))) == [Failure.BAD_WORK]
        assert pool.output.close
        assert [work.notify.job_id for work in works(pool.events)] == ["bf", "c0"]

    def test_an_extranonce_that_cannot_be_read_leaves_nothing_to_hash(self) -> None:
        pool = mining()
        assert failures(pool.say(call("mining.set_extranonce", "ffff", 99))) == [Failure.BAD_WORK]
        assert pool.output.close


class TestShares:
    def test_a_share_is_written_as_pools_read_it(self) -> None:
        pool = mining()
        assert pool.submit(7, share(nonce=0xCAFE)) == [
            {
                "id": 5,
                "method": "mining.submit",
                "params": ["account.site1", "bf", "00" * 8, "6553f3bc", "0000cafe", "00002000"],
            }
        ]
        assert len(pool.submit(8, share(bits=None))[0]["params"]) == 5
        assert pool.submit(9, share(bits=0xFFFFFFFF))[0]["params"][5] == "1fffe000"

    @pytest.mark.parametrize(
        ("result", "error", "verdict"),
        [
            (True, None, PoolAccepted()),
            (True, [], PoolAccepted()),
            (False, None, PoolRejected(20, "no reason given")),
            (None, None, PoolRejected(20, "no reason given")),
            (None, [21, "Stale", None], PoolRejected(21, "Stale")),
            (False, [23, "Above target", "traceback"], PoolRejected(23, "Above target")),
            (None, {"code": 22, "message": "Duplicate"}, PoolRejected(22, "Duplicate")),
            (None, "no", PoolRejected(20, "no")),
            (True, [23, "Above target", None], PoolRejected(23, "Above target")),
            ("yes", None, PoolRejected(20, "no reason given")),
        ],
    )
    def test_the_word_of_the_pool_is_told_once(self, result: Any, error: Any, verdict: Any) -> None:
        pool = mining()
        pool.submit(7)
        pool.now += 0.25
        said = answer(pool.id_of("mining.submit"), result, error)
        assert pool.say(said, said) == [Answered(7, verdict, 0.25)]
        assert pool.session.ignored == 1
        assert pool.end() == []

    def test_answers_out_of_order_find_their_shares(self) -> None:
        pool = mining()
        ids = [pool.submit(token)[0]["id"] for token in (10, 11, 12)]
        events = pool.say(answer(ids[2]), answer(ids[0], None, [22, "Duplicate", None]), answer(ids[1]))
        assert [(event.token, type(event.verdict)) for event in events if isinstance(event, Answered)] == [
            (12, PoolAccepted), (10, PoolRejected), (11, PoolAccepted),
        ]  # fmt: skip

    def test_answers_to_what_nobody_asked_are_counted_and_mean_nothing(self) -> None:
        pool = mining()
        pool.submit(7)
        odd = [0, -1, 999, None, "x", 1.5, True, [5], 10**80, "\u0665"]
        assert pool.say(*(answer(number) for number in odd)) == []
        assert pool.session.ignored == len(odd)
        assert pool.end() == [Answered(7, PoolSilent("gone"), 0.0)]

    def test_a_pool_that_never_stops_talking_is_left_and_one_that_answers_thousands_of_shares_is_not(
        self,
    ) -> None:
        pool = mining()
        for token in range(2 * MOST_LINES):
            pool.submit(token)
        pool.say(*(answer(line["id"]) for line in pool.said if line["method"] == "mining.submit"))
        assert not pool.output.close
        for _ in range(3):
            pool.pass_time(10.0)
            pool.say(*(notify(f"{number}") for number in range(MOST_LINES)))
            assert not pool.output.close
        events = pool.say(call("mining.ping", id=7), notify("more"))
        assert failures(events) == [Failure.GARBAGE]
        assert (works(events), pool.output.close) == ([], True)

    def test_a_connection_that_ends_leaves_shares_in_doubt(self) -> None:
        pool = mining(NAMED)
        pool.submit(1)
        pool.submit(2, share("rig"))
        pool.now += 2
        assert pool.end("connection reset") == [
            Answered(1, PoolSilent("connection reset"), 2.0),
            Answered(2, PoolSilent("connection reset"), 2.0),
        ]
        assert pool.end() == []
        assert pool.session.receive(notify().encode() + b"\n", pool.now) == ClientOutput(close=True)

    def test_a_share_that_no_session_can_take_is_a_mistake_of_ours(self) -> None:
        pool = Dialogue()
        with pytest.raises(SessionEndedError):
            pool.submit(1)
        pool = mining()
        pool.end()
        with pytest.raises(SessionEndedError, match=HOST):
            pool.submit(1)

    def test_a_share_that_comes_while_the_session_closes_is_not_sent_and_answered_all_the_same(self) -> None:
        pool = mining()
        pool.say("GET / HTTP/1.1")
        assert pool.output.close
        assert pool.submit(1) == []
        assert pool.end() == [Answered(1, PoolSilent("gone"), 0.0)]

    def test_a_pool_that_has_forgotten_us_is_left(self) -> None:
        pool = mining()
        for n in range(REFUSED_LIMIT - 1):
            pool.say(answer(pool.submit(n)[0]["id"], None, [24, "Unauthorized worker", None]))
        pool.say(answer(pool.submit(8)[0]["id"], None, [23, "Low difficulty", None]))
        for n in range(REFUSED_LIMIT):
            assert not pool.output.close
            events = pool.say(answer(pool.submit(n)[0]["id"], None, [25, "Not subscribed", None]))
        assert isinstance(events[0], Answered)
        assert events[1] == Failed(Failure.LOGIN, "the pool no longer knows us: Not subscribed")
        assert pool.output.close


class TestWorkerNames:
    def test_without_the_wish_all_shares_are_of_the_user(self) -> None:
        pool = mining()
        assert pool.submit(1, share("rig"))[0]["params"][0] == "account.site1"

    def test_a_worker_is_let_in_before_its_first_share(self) -> None:
        pool = mining(NAMED)
        (asked,) = pool.submit(1, share("rig"))
        assert (asked["method"], asked["params"]) == ("mining.authorize", ["account.rig", "x"])
        assert pool.submit(2, share("rig")) == []
        assert pool.submit(3)[0]["params"][0] == "account"
        pool.now += 1
        assert pool.say(answer(asked["id"])) == []
        assert [line["params"][0] for line in pool.said[-2:]] == ["account.rig", "account.rig"]
        assert pool.submit(4, share("rig"))[0]["params"][0] == "account.rig"
        first = pool.said[-3]["id"]
        pool.now += 0.5
        assert pool.say(answer(first)) == [Answered(1, PoolAccepted(), 0.5)]

    def test_a_refused_worker_mines_as_the_user_from_then_on(self) -> None:
        pool = mining(NAMED)
        (asked,) = pool.submit(1, share("rig"))
        events = pool.say(answer(asked["id"], None, [24, "no such worker", None]))
        assert events == [Message("worker account.rig is refused, account takes its shares: no such worker")]
        assert pool.asked["params"][0] == "account"
        assert pool.submit(2, share("rig"))[0]["params"][0] == "account"

    def test_a_worker_the_pool_says_nothing_of_waits_no_longer_than_for_an_answer(self) -> None:
        pool = mining(NAMED)
        pool.submit(1, share("rig"))
        pool.now += 5
        pool.say(notify("c0"))
        assert failures(pool.pass_time(4.9)) == []
        assert pool.asked["method"] == "mining.authorize"
        assert failures(pool.pass_time(0.1)) == []
        assert (pool.asked["method"], pool.asked["params"][0]) == ("mining.submit", "account")

    def test_a_pool_that_says_nothing_at_all_then_is_hung(self) -> None:
        pool = mining(NAMED)
        pool.submit(1, share("rig"))
        assert failures(pool.pass_time(10)) == [Failure.UNANSWERED]
        assert pool.output.close
        assert pool.end() == [Answered(1, PoolSilent("gone"), 10.0)]

    def test_shares_that_wait_are_bounded(self) -> None:
        pool = mining(NAMED)
        for token in range(MOST_HELD):
            pool.submit(token, share("rig"))
        assert pool.submit(MOST_HELD, share("rig"))[0]["params"][0] == "account"
        pool.say(answer(pool.id_of("mining.authorize", "account.rig")))
        assert len(pool.said[-MOST_HELD:]) == len({line["id"] for line in pool.said[-MOST_HELD:]})
        assert pool.submit(MOST_HELD + 1, share("rig2"))[0]["method"] == "mining.authorize"
        assert sorted(e.token for e in pool.end() if isinstance(e, Answered)) == list(range(MOST_HELD + 2))


class TestSilence:
    @pytest.mark.parametrize(
        ("said", "method"),
        [
            ([], "mining.subscribe"),
            ([answer(1, GRANTED)], "mining.subscribe"),
            ([answer(2, PLACE)], "mining.authorize"),
            ([answer(1, GRANTED), answer(2, PLACE), notify()], "mining.authorize"),
        ],
    )
    def test_a_login_that_is_not_answered_is_a_failure(self, said: list[str], method: str) -> None:
        pool = Dialogue()
        pool.say(*said)
        assert pool.pass_time(9.9) == []
        assert pool.pass_time(0.1) == [Failed(Failure.UNANSWERED, f"{method} was not answered within 10 s")]
        assert pool.output.close

    def test_a_share_that_is_not_answered_is_a_failure_though_jobs_come(self) -> None:
        pool = mining()
        pool.submit(1)
        pool.pass_time(5)
        pool.submit(2)
        pool.say(notify("c0"))
        assert pool.pass_time(4.9) == []
        assert pool.pass_time(0.1) == [
            Failed(Failure.UNANSWERED, "mining.submit was not answered within 10 s")
        ]
        assert [event.token for event in pool.end() if isinstance(event, Answered)] == [1, 2]

    def test_a_slow_pool_is_none_as_long_as_it_answers_in_time(self) -> None:
        pool = mining()
        for token in range(5):
            asked = pool.submit(token)[0]["id"]
            assert pool.pass_time(9.5) == []
            assert pool.say(answer(asked), notify(f"{token}"))[0] == Answered(token, PoolAccepted(), 9.5)

    def test_a_quiet_pool_that_does_not_know_another_extranonce_need_not_say_so(self) -> None:
        pool = logged_in()
        assert pool.pass_time(20) == []
        assert len(works(pool.say(notify()))) == 1

    def test_a_pool_that_hangs_after_the_login_sends_no_work(self) -> None:
        pool = logged_in()
        assert pool.pass_time(119) == []
        assert failures(pool.pass_time(1)) == [Failure.NO_WORK]

    def test_no_job_for_too_long_is_a_failure(self) -> None:
        pool = mining()
        assert pool.pass_time(119) == []
        pool.say(notify("c0"))
        pool.pass_time(100)
        pool.say(call("mining.set_difficulty", 4), call("client.show_message", "soon"), call("mining.notify"))
        assert failures(pool.pass_time(20)) == [Failure.NO_WORK]
        assert pool.output.close
        assert pool.events[-1] == Failed(Failure.NO_WORK, "no job came for 120 s")

    def test_times_are_what_was_configured(self) -> None:
        pool = mining(answer_s=1.0, no_work_s=3.0)
        assert failures(pool.pass_time(3)) == [Failure.NO_WORK]
        pool = mining(answer_s=1.0)
        pool.submit(1)
        assert failures(pool.pass_time(1)) == [Failure.UNANSWERED]

    def test_after_the_end_time_means_nothing(self) -> None:
        pool = mining()
        pool.say("nonsense")
        assert pool.pass_time(1e6) == []
        assert pool.output.close


class TestGarbage:
    @pytest.mark.parametrize(
        "line", [b"HTTP/1.1 400 Bad Request", b"\x15\x03\x01\x00\x02\x02", b"[]", b"nope", b"{", b"7"]
    )
    def test_what_is_no_stratum_ends_it_and_is_shown(self, line: bytes) -> None:
        pool = mining()
        assert failures(pool.say(line, notify("c0"))) == [Failure.GARBAGE]
        assert pool.output.close
        last = pool.events[-1]
        assert isinstance(last, Failed)
        assert last.why.isprintable()

    @pytest.mark.parametrize("size", [LONGEST_LINE, LONGEST_LINE + 1])
    @pytest.mark.parametrize("is_ended", [True, False])
    def test_a_line_may_be_long_but_not_without_end(self, size: int, *, is_ended: bool) -> None:
        pool = mining()
        line = b'{"method":"x","params":["' + b"x" * (size - 28) + b'"]}'
        assert len(line) == size
        output = pool.session.receive(line + b"\n" * is_ended, pool.now)
        assert failures(output.events) == ([] if size == LONGEST_LINE else [Failure.GARBAGE])
        assert output.close is (size > LONGEST_LINE)

    def test_a_long_line_in_many_pieces_is_read(self) -> None:
        pool = mining()
        line = notify("c0").encode()[:-1] + b"," + b" " * 200_000 + b'"x":1}\n'
        for start in range(0, len(line), 1000):
            pool._take(pool.session.receive(line[start : start + 1000], pool.now))
        assert [work.notify.job_id for work in works(pool.events)] == ["bf", "c0"]

    @pytest.mark.parametrize("line", ["", "   ", "\r", "{}", '{"id":5}', '{"id":null,"method":7}'])
    def test_what_says_nothing_does_no_harm(self, line: str) -> None:
        pool = mining()
        assert pool.say(line) == []
        assert not pool.output.close


class TestTheRest:
    def test_what_we_are_and_that_we_are_there(self) -> None:
        pool = mining()
        pool.say(call("client.get_version", id="v"), call("mining.ping", id=77))
        assert pool.said[-2:] == [
            {"id": "v", "result": "hashmill/1.0", "error": None},
            {"id": 77, "result": "pong", "error": None},
        ]

    def test_calls_that_nobody_knows(self) -> None:
        pool = mining()
        before = len(pool.said)
        assert pool.say(call("mining.set_goal", "moon"), call("client.get_version")) == []
        assert len(pool.said) == before
        pool.say(call("client.dance", id=3))
        assert pool.said[-1] == {"id": 3, "result": None, "error": [20, "Unknown method client.dance", None]}
        assert pool.session.ignored == 3

    def test_words_for_the_operator(self) -> None:
        pool = mining()
        assert pool.say(call("client.show_message", "Maintenance\nat six")) == [Message("Maintenance?at six")]
        assert pool.say(call("client.show_message"), call("client.show_message", {"a": 1})) == []
        (cut,) = pool.say(call("client.show_message", "w" * 9999))
        assert cut == Message("w" * 256)

    def test_a_pool_that_never_stops_talking_is_not_listened_to(self) -> None:
        pool = mining()
        many = [call("client.show_message", f"buy {n}") for n in range(99)]
        elsewhere = call("client.reconnect", "thief.net", 3333, 0)
        assert len(pool.say(*many, elsewhere)) == MOST_WORDS
        assert pool.pass_time(59) == []
        assert pool.say(*many) == []
        pool.pass_time(1)
        assert len(pool.say(*many)) == MOST_WORDS

    def test_reconnect_is_obeyed_within_the_domain_of_the_pool(self) -> None:
        pool = mining()
        pool.submit(1)
        assert pool.say(call("client.reconnect", "us.pool.example", 3334, 5), notify("c0")) == [
            Redirected("us.pool.example", 3334, 5)
        ]
        assert pool.output.close
        assert pool.end() == [Answered(1, PoolSilent("gone"), 0.0)]
        assert mining().say(call("client.reconnect")) == [Redirected("", 0, 0)]
        assert Dialogue().say(call("client.reconnect", "", 3335)) == [Redirected("", 3335, 0)]

    def test_and_nowhere_else(self) -> None:
        pool = mining()
        assert pool.say(call("client.reconnect", "thief.net", 3333, 0)) == [
            Failed(
                Failure.REDIRECT_REFUSED,
                "client.reconnect to thief.net, which is not in the domain of eu.pool.example",
            )
        ]
        assert not pool.output.close
        assert len(works(pool.say(notify("c0")))) == 1


SAID = st.one_of(
    st.builds(
        answer,
        st.integers(0, 12),
        st.sampled_from([True, False, None, PLACE, GRANTED, [[], "0a", 4]]),
        st.sampled_from([None, None, [21, "no", None], "no", {"code": 22}]),
    ),
    st.builds(notify, st.sampled_from(["bf", "c0"]), clean=st.booleans()),
    st.sampled_from(
        [call("mining.set_difficulty", 4), call("mining.set_difficulty", -1), call("mining.set_extranonce", "ee", 4),
         call("mining.set_version_mask", "00002000"), call("mining.set_target", "00ff"), call("client.show_message", "hi"),
         call("client.reconnect", "thief.net", 1), call("mining.notify", 1), call("mining.ping", id=4), "{}"]
    ),
)  # fmt: skip
STEPS = st.lists(
    st.one_of(
        SAID,
        SAID,
        st.sampled_from(["", "rig", "rig2"]).map(share),
        st.floats(0, 12),
        st.sampled_from([call("client.reconnect"), "garbage"]),
    ),
    max_size=60,
)


@settings(max_examples=300)
@given(steps=STEPS, login=st.sampled_from([LOGIN, NAMED]), is_in=st.sampled_from([True, True, True, False]))
def test_whatever_happens_every_share_is_answered_once_and_as_the_pool_meant_it(
    steps: list[str | float | PoolSubmission], login: PoolLogin, *, is_in: bool
) -> None:
    pool = mining(login) if is_in else Dialogue(login)
    token = 0
    for step in steps:
        is_closed = pool.output.close
        before = len(pool.said), len(pool.events)
        if isinstance(step, PoolSubmission):
            if pool.session.is_logged_in:
                token += 1
                pool.submit(token, step)
        elif isinstance(step, str):
            pool.say(step)
        else:
            pool.pass_time(step)
        if is_closed:
            assert (len(pool.said), len(pool.events)) == before
    pool.end()
    answered = [event for event in pool.events if isinstance(event, Answered)]
    assert sorted(event.token for event in answered) == list(range(1, token + 1))
    sent = [line for line in pool.said if line.get("method") == "mining.submit"]
    silent = [event for event in answered if isinstance(event.verdict, PoolSilent)]
    assert len(answered) - len(silent) <= len(sent) <= token
    ids = [line["id"] for line in pool.said if "method" in line]
    assert ids == list(range(1, len(ids) + 1))
    fatal = [event for event in pool.events if isinstance(event, Failed)]
    assert all(failed.why for failed in fatal)
    for work in works(pool.events):
        assert work.share_target > 0
        assert work.extranonce1
