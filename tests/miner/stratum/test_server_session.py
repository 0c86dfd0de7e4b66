"""One connection: every call answered once and in order, whatever comes, and however it is cut."""

import json
from dataclasses import replace
from itertools import pairwise
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.stratum.house import Closing, Granted, LoginWanted, Refused, Waiting
from miner.stratum.rules import PortRules
from miner.stratum.server_session import ServerSession
from miner.work.share import Accepted, Block, Pending, PoolShare, Reason, Rejected
from tests.miner.harness import NOW
from tests.miner.stratum.device import EASY, FIXED, Device, OpenHouse, mining, unit_named, work

METHODS = [
    "mining.configure", "mining.subscribe", "mining.authorize", "mining.submit", "mining.suggest_difficulty",
    "mining.suggest_target", "mining.extranonce.subscribe", "mining.multi_version", "mining.get_transactions", "mining.ping",
    "mining.unheard_of", "",
]  # fmt: skip
VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(10**30), 10**30)
    | st.floats()
    | st.text(max_size=8)
    | st.sampled_from(
        ["rig", "1a2", "1a2.0", "00" * 8, "6553f3bc", "0badcafe", "1fffe000", "c0ffee", "f" * 64, "d=5"]
    )
    | st.sampled_from(
        [["version-rolling"], {"version-rolling.mask": "00c00000"}, {"minimum-difficulty.value": 5}]
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
IDS = (
    st.none()
    | st.integers()
    | st.text(max_size=5)
    | st.floats()
    | st.booleans()
    | st.lists(st.integers(), max_size=2)
)
CALLS = st.fixed_dictionaries(
    {"method": st.sampled_from(METHODS), "params": st.lists(VALUES, max_size=7)},
    optional={"id": IDS, "ttl": st.integers()},
)
LOGIN = (
    b'{"id":1,"method":"mining.subscribe","params":["test/1.0"]}\n'
    b'{"id":2,"method":"mining.authorize","params":["rig","x"]}\n'
)


def refusal(code: int, text: str, request_id: str = "1") -> str:
    return f'{{"id":{request_id},"result":null,"error":[{code},"{text}",null]}}'


@pytest.fixture(params=[False, True], ids=["by Python", "by the core"])
def house(request: pytest.FixtureRequest) -> OpenHouse:
    return OpenHouse(is_fast=request.param)


class TestCalls:
    def test_calls_that_need_nothing_are_answered_at_any_time(self, house: OpenHouse) -> None:
        for device in (Device(house), mining(house)):
            assert device.call("mining.ping") == ['{"id":1,"result":"pong","error":null}']
            assert device.call("mining.multi_version", 4) == ['{"id":1,"result":true,"error":null}']
            assert device.call("mining.extranonce.subscribe") == ['{"id":1,"result":true,"error":null}']
            assert device.session.wants_extranonce
            assert device.call("mining.get_transactions", "1a2") == [
                refusal(20, "Transactions are not given out")
            ]

    def test_an_unknown_method_is_named_and_the_connection_kept(self, house: OpenHouse) -> None:
        device = mining(house)
        assert device.call("eth_submitLogin", id="a") == [
            refusal(20, "Unknown method eth_submitLogin", '"a"')
        ]
        assert device.output.close == ""
        assert device.submit(device.share()) == ['{"id":4,"result":true,"error":null}']

    def test_a_share_before_subscribing_is_25_and_before_logging_in_24(self, house: OpenHouse) -> None:
        device = Device(house)
        params = ["rig", "1a2", "00" * 8, "6553f3bc", "00000000"]
        assert device.submit(params) == [refusal(25, "Not subscribed", "4")]
        device.call("mining.subscribe")
        assert device.submit(params) == [refusal(24, "Unauthorized worker", "4")]
        device.call("mining.authorize", "rig")
        assert device.submit(["other", *params[1:]]) == [refusal(24, "Unauthorized worker", "4")]

    def test_subscribing_again_gives_the_same_place(self, house: OpenHouse) -> None:
        device = Device(house)
        assert device.call("mining.subscribe", "a", "old") == device.call("mining.subscribe")
        assert house.asked == ["old"]

    def test_without_room_a_session_is_refused_and_closed(self) -> None:
        device = Device(OpenHouse(is_full=True))
        assert device.call("mining.subscribe") == [refusal(20, "No room for another session")]
        assert device.output.close == Closing.NO_EXTRANONCE

    def test_an_answer_to_our_question_tells_what_the_device_is(self, house: OpenHouse) -> None:
        device = Device(house)
        device.call("mining.subscribe")
        assert device.session.ask_version() == b'{"id":1,"method":"client.get_version","params":[]}\n'
        assert (
            device.send(
                '{"id":1,"result":"cgminer/4.12.1","error":null}', '{"id":2,"result":"pong"}', '{"error":1}'
            )
            == []
        )
        assert device.session.agent == "cgminer/4.12.1"

    def test_a_farewell_is_a_message_to_the_owner(self, house: OpenHouse) -> None:
        assert mining(house).session.farewell("Back at six") == (
            b'{"id":null,"method":"client.show_message","params":["Back at six"]}\n'
        )


class TestConfigure:
    def configured(self, *params: Any, rules: PortRules = FIXED) -> Any:
        (answer,) = Device(rules=rules).call("mining.configure", *params)
        return json.loads(answer)["result"]

    def test_the_mask_is_what_both_sides_have(self) -> None:
        values = {"version-rolling.mask": "00ffffff", "version-rolling.min-bit-count": 2}
        assert self.configured(["version-rolling"], values) == {
            "version-rolling": True,
            "version-rolling.mask": "00ffe000",
        }

    def test_too_few_bits_in_common_send_nobody_away(self) -> None:
        values = {"version-rolling.mask": "00002000", "version-rolling.min-bit-count": 16}
        assert self.configured(["version-rolling"], values)["version-rolling.mask"] == "00002000"

    def test_no_bit_in_common_is_a_no(self) -> None:
        assert self.configured(["version-rolling"], {"version-rolling.mask": "00000001"}) == {
            "version-rolling": False
        }
        no_rolling = PortRules(version_mask=0)
        assert self.configured(["version-rolling"], {}, rules=no_rolling) == {"version-rolling": False}

    def test_every_extension_is_said_yes_or_no_to(self) -> None:
        values = {"minimum-difficulty.value": 64, "info.hw-version": "S21 Pro"}
        asked = ["minimum-difficulty", "subscribe-extranonce", "info", "warp-drive"]
        assert self.configured(asked, values) == {
            "minimum-difficulty": True, "subscribe-extranonce": True, "info": True, "warp-drive": False,
        }  # fmt: skip
        assert self.configured(["minimum-difficulty"], {"minimum-difficulty.value": "x"}) == {
            "minimum-difficulty": False
        }
        assert self.configured() == {}

    def test_what_it_says_of_its_hardware_is_kept(self) -> None:
        device = Device()
        device.call("mining.configure", ["info"], {"info.hw-version": "S21\x00Pro"})
        assert device.session.hardware == "S21?Pro"

    def test_a_minimum_difficulty_is_a_floor_at_any_time(self) -> None:
        device = Device(
            rules=PortRules(start_difficulty=64.0, max_difficulty=4096.0), house=OpenHouse(current=None)
        )
        device.call("mining.configure", ["minimum-difficulty"], {"minimum-difficulty.value": 512})
        device.log_in()
        assert device.difficulty == 512
        device.call("mining.configure", ["minimum-difficulty"], {"minimum-difficulty.value": 1e6})
        assert device.difficulty == 4096


class TestLogin:
    def test_a_refused_login_is_told_why_and_may_try_again(self, house: OpenHouse) -> None:
        house.logins["bad"] = Refused(24, "This address is of another network")
        device = Device(house)
        device.call("mining.subscribe")
        assert device.call("mining.authorize", "bad") == [refusal(24, "This address is of another network")]
        assert device.output.close == ""
        assert len(device.call("mining.authorize", "rig")) == 3

    def test_a_gated_unit_is_refused_with_the_reason_and_closed(self, house: OpenHouse) -> None:
        house.logins["rig"] = Refused(24, "Off until power is cheaper", close=True)
        device = Device(house)
        device.log_in()
        assert json.loads(device.session.receive(b"", NOW).data or b"{}") == {}
        assert device.lines[-1]["error"] == [24, "Off until power is cheaper", None]
        assert device.output.close == Closing.REFUSED
        assert device.session.receive(LOGIN, NOW).data == b""

    def test_a_gated_unit_of_a_proxy_is_refused_and_its_other_workers_mine_on(self, house: OpenHouse) -> None:
        house.logins["gated"] = Refused(24, "Off until power is cheaper", close=True)
        device = mining(house)
        (answer,) = device.call("mining.authorize", "gated")
        assert json.loads(answer)["error"] == [24, "Off until power is cheaper", None]
        assert device.output.close == ""
        assert device.call("mining.submit", *device.share()) == ['{"id":1,"result":true,"error":null}']

    def test_a_name_that_cannot_be_is_refused_before_the_house_hears_of_it(self, house: OpenHouse) -> None:
        device = Device(house)
        for name in ("", "a\nb", "x" * 129, None, 7):
            (answer,) = device.call("mining.authorize", name)
            assert json.loads(answer)["error"][0] == 24
        assert house.units == {}

    def test_several_workers_may_share_a_connection_up_to_a_number(self, house: OpenHouse) -> None:
        device = mining(
            house, PortRules(start_difficulty=EASY, min_difficulty=EASY, max_difficulty=EASY, workers_limit=3)
        )
        for name in ("b", "c"):
            assert device.call("mining.authorize", name) == ['{"id":1,"result":true,"error":null}']
        assert device.call("mining.authorize", "d") == [refusal(24, "Too many workers on one connection")]
        assert device.call("mining.authorize", "b") == ['{"id":1,"result":true,"error":null}']
        device.name = "c"
        assert device.submit(device.share()) == ['{"id":4,"result":true,"error":null}']
        assert [unit.name for unit in device.session.units] == ["rig", "b", "c"]

    def test_another_payout_address_needs_another_connection(self, house: OpenHouse) -> None:
        house.logins["a"] = Granted(unit_named("a"), b"\x51")
        house.logins["b"] = Granted(unit_named("b"), b"\x52")
        device = mining(house)
        assert device.call("mining.authorize", "a") == [
            refusal(24, "Another payout address needs a connection of its own")
        ]
        device = Device(house, name="a")
        device.log_in()
        assert device.call("mining.authorize", "b") == [
            refusal(24, "Another payout address needs a connection of its own")
        ]

    def test_a_unit_knows_how_many_sessions_it_has(self, house: OpenHouse) -> None:
        one, other = mining(house), mining(house)
        one.call("mining.authorize", "rig")
        unit = house.unit("rig")
        assert (unit.sessions, unit.agent, unit.difficulty) == (2, "test/1.0", EASY)
        one.session.end(NOW + 5.0)
        one.session.end(NOW + 6.0)
        assert (unit.sessions, unit.last_seen) == (1, NOW + 5.0)
        other.session.end(NOW + 9.0)
        assert unit.sessions == 0

    @pytest.mark.parametrize(
        ("password", "difficulty"), [("x", 1000), ("d=64", 64), ("x,d=0.001", 0.001), ("d=1e99", 5000)]
    )
    def test_a_password_may_ask_for_a_difficulty(self, password: str, difficulty: float) -> None:
        device = Device(OpenHouse(current=None), PortRules(start_difficulty=1000.0, max_difficulty=5000.0))
        device.log_in(password)
        assert device.difficulty == difficulty


class TestWaitingLogins:
    def waiting(self, house: OpenHouse, rules: PortRules = FIXED) -> Device:
        house.logins["rig"] = Waiting()
        device = Device(house, rules)
        device.log_in()
        assert device.output.login == LoginWanted("rig", "x")
        return device

    def test_all_that_follows_is_held_until_the_login_is_settled(self, house: OpenHouse) -> None:
        device = self.waiting(house)
        assert device.call("mining.ping", id=5) == []
        assert device.output.login is None
        assert device.session.receive(b'{"id":6,"method":"mi', NOW).data == b""
        assert device.session.receive(b'ning.ping"}\n{"id":7', NOW).data == b""
        said = device.hear(device.session.login_settled(Granted(house.unit("rig")), NOW))
        assert [json.loads(line).get("id") for line in said] == [2, None, None, 5, 6]
        assert device.send(',"method":"mining.ping"}') == ['{"id":7,"result":"pong","error":null}']
        assert device.submit(device.share()) == ['{"id":4,"result":true,"error":null}']

    def test_a_refusal_that_comes_late_is_one_all_the_same(self, house: OpenHouse) -> None:
        device = self.waiting(house)
        assert device.hear(device.session.login_settled(Refused(24, "No", close=True), NOW)) == [
            refusal(24, "No", "2")
        ]
        assert device.output.close == Closing.REFUSED

    def test_what_is_held_has_a_bound(self, house: OpenHouse) -> None:
        device = self.waiting(house, PortRules(held_limit=100))
        device.session.receive(b"x" * 100, NOW)
        output = device.session.receive(b"x", NOW)
        assert output.close == Closing.TOO_MUCH_HELD
        assert b"client.show_message" in output.data
        assert device.session.login_settled(Granted(house.unit("rig")), NOW).data == b""

    def test_a_second_login_may_have_to_wait_too(self, house: OpenHouse) -> None:
        device = mining(house)
        share = device.share()
        house.logins["late"] = Waiting()
        assert device.call("mining.authorize", "late", id=7) == []
        assert device.submit(share) == []
        said = device.hear(device.session.login_settled(Refused(24, "No"), NOW))
        assert said == [refusal(24, "No", "7"), '{"id":4,"result":true,"error":null}']
        assert device.output.credited == 1

    def test_a_difficulty_that_changes_meanwhile_holds_afterwards(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=1e-3))
        device.log_in()
        house.logins["late"] = Waiting()
        device.call("mining.authorize", "late")
        assert b"1a2.1" in device.session.tick(NOW + 30.0).data
        device.hear(device.session.login_settled(Refused(24, "No"), NOW + 31.0))
        assert "Low difficulty" in device.submit(["rig", "1a2.1", "00" * 8, device.params[7], "00000000"])[0]

    def test_an_outcome_that_nobody_waits_for_is_no_matter(self, house: OpenHouse) -> None:
        assert mining(house).session.login_settled(Refused(24, "No"), NOW).data == b""


class TestPoolsWord:
    """Shares that go up to a pool, and their answers; what is held until the ledger has it."""

    def verdict(self, house: OpenHouse, *verdicts: Any) -> Device:
        device, said = mining(house), list(verdicts)
        house.take = lambda *_: said.pop(0)  # type: ignore[method-assign]  # what the test wants
        return device

    def submit(self, device: Device, *ids: object) -> list[str]:
        params = ["rig", "1a2", "00" * 8, "ffffffff", "00000000"]  # so late that the core leaves it alone
        return device.send(
            *(json.dumps({"id": each, "method": "mining.submit", "params": params}) for each in ids)
        )

    def pool_share(self, credited: float) -> PoolShare:
        return PoolShare(bytes(32), 5.0, work(), credited, is_block=False)

    def test_a_share_that_goes_up_is_a_good_one_and_held_whatever_it_is_worth_here(
        self, house: OpenHouse
    ) -> None:
        device = self.verdict(house, self.pool_share(1e-9), self.pool_share(0.0))
        assert self.submit(device, 4) == ['{"id":4,"result":true,"error":null}']
        assert (device.output.credited, device.output.holds) == (1, True)
        assert self.submit(device, 5) == ['{"id":5,"result":true,"error":null}']
        assert (device.output.credited, device.output.holds) == (0, True)

    def test_a_block_that_is_no_share_is_held_all_the_same(self, house: OpenHouse) -> None:
        block = Block(bytes(32), bytes(80), 5.0, stale=False, job=work(), credited=0.0)
        device = self.verdict(house, block, replace(block, stale=True))
        assert self.submit(device, 4) == ['{"id":4,"result":true,"error":null}']
        assert (device.output.credited, device.output.holds) == (0, True)
        assert self.submit(device, 5) == [refusal(21, "Stale share", "5")]
        assert not device.output.holds
        assert not device.session.receive(b'{"id":6,"method":"mining.ping"}\n', NOW).holds

    def test_a_share_may_wait_for_the_pools_word_while_others_are_answered(self, house: OpenHouse) -> None:
        device = self.verdict(
            house, Pending(70, 1e-9), Rejected(Reason.DUPLICATE), Pending(71), Accepted(bytes(32), 1e-9)
        )
        assert self.submit(device, 4, 5, '"6"', 7) == [
            refusal(22, "Duplicate share", "5"),
            '{"id":7,"result":true,"error":null}',
        ]
        assert (device.output.credited, device.output.holds) == (2, True)
        assert list(device.session.awaited) == [70, 71]
        assert device.hear(device.session.answered(71, None)) == [
            json.dumps({"id": '"6"', "result": True, "error": None}, separators=(",", ":"))
        ]
        assert device.hear(device.session.answered(70, (23, "above\x07target" + "!" * 100))) == [
            refusal(23, "above?target" + "!" * 52, "4")
        ]
        assert list(device.session.awaited) == []

    def test_each_share_is_answered_once_and_none_that_never_was(self, house: OpenHouse) -> None:
        device = self.verdict(house, Pending(70))
        self.submit(device, 4)
        assert device.session.answered(69, None) == b""
        assert device.session.answered(70, None) == b'{"id":4,"result":true,"error":null}\n'
        assert device.session.answered(70, (20, "no")) == b""

    def test_a_session_that_is_closing_says_nothing_of_it(self, house: OpenHouse) -> None:
        device = self.verdict(house, Pending(70))
        self.submit(device, 4)
        device.send(b"GET / HTTP/1.1")
        assert device.session.answered(70, None) == b""

    def test_a_share_that_waits_counts_for_the_difficulty_at_once(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        house.take = lambda *_: Pending(70, 1e-9)  # type: ignore[method-assign]  # as above
        for number in range(1, 40):
            device.now = NOW + number / 10
            self.submit(device, number)
        assert device.difficulty > 1e-9


class TestLimits:
    @pytest.mark.parametrize("line", [b"GET / HTTP/1.1", b"[1,2]", b"7", b"\x16\x03\x01\x02\x00", b"{"])
    def test_what_is_no_stratum_is_answered_and_closed(self, house: OpenHouse, line: bytes) -> None:
        for device in (Device(house), mining(house)):
            assert device.send(line, b'{"id":9,"method":"mining.ping"}') == [
                refusal(20, "Not a JSON object", "null")
            ]
            assert device.output.close == Closing.NOT_STRATUM
            assert device.session.receive(b'{"id":9,"method":"mining.ping"}\n', NOW).data == b""
            assert device.offer(work(f"{len(house.notices) + 0x500:x}")) == []
            assert device.session.tick(NOW + 9999.0).data == b""

    def test_what_comes_with_the_line_that_closes_says_nothing_more_however_long_it_is(
        self, house: OpenHouse
    ) -> None:
        rest = b"x" * (FIXED.line_limit + 1)
        for device in (Device(house), mining(house)):
            assert device.send(b"GET / HTTP/1.1", rest) == [refusal(20, "Not a JSON object", "null")]
            assert device.output.close == Closing.NOT_STRATUM
        device = Device(house)
        said = device.send(*[b'{"id":1,"method":"mining.ping"}'] * (FIXED.lines_before_login + 1), rest)
        assert said[-2:] == [
            '{"id":1,"result":"pong","error":null}',
            refusal(20, "Too many lines and no login", "null"),
        ]
        assert device.output.close == Closing.TOO_MANY_LINES

    def test_an_object_that_says_nothing_is_answered_and_the_connection_kept(self, house: OpenHouse) -> None:
        device = mining(house)
        assert device.send('{"id":3}') == [refusal(20, "Neither a method nor a result", "3")]
        assert device.output.close == ""

    def test_a_line_that_is_too_long_is_answered_and_closed_whether_it_ends_or_not(
        self, house: OpenHouse
    ) -> None:
        for tail in (b"", b"\n"):
            device = mining(house)
            packet = b'{"id":1,"method":"mining.ping"}\n' + b"x" * (FIXED.line_limit + 1) + tail
            assert device.hear(device.session.receive(packet, NOW)) == [
                '{"id":1,"result":"pong","error":null}',
                refusal(20, "Line too long", "null"),
            ]
            assert device.output.close == Closing.LINE_TOO_LONG

    def test_a_line_as_long_as_may_be_is_read(self, house: OpenHouse) -> None:
        device = Device(house)
        line = '{"id":1,"method":"mining.ping","x":"%s"}'
        line %= "y" * (FIXED.line_limit - len(line) + 2)
        assert len(line) == FIXED.line_limit
        assert device.send(line) == ['{"id":1,"result":"pong","error":null}']

    def test_who_talks_and_talks_without_logging_in_is_closed(self, house: OpenHouse) -> None:
        device = Device(house)
        said = device.send(*[b'{"id":1,"method":"mining.ping"}'] * 200)
        assert said[-1] == refusal(20, "Too many lines and no login", "null")
        assert len(said) == FIXED.lines_before_login + 1
        assert device.output.close == Closing.TOO_MANY_LINES

    def test_empty_lines_count_before_a_login_and_do_no_harm_after_it(self, house: OpenHouse) -> None:
        device = Device(house)
        device.send(*[b""] * (FIXED.lines_before_login + 1))
        assert device.output.close == Closing.TOO_MANY_LINES
        device = mining(house)
        assert device.send(*[b" \r"] * 1000) == []
        assert device.output.close == ""

    def test_a_connection_that_does_not_log_in_is_closed_in_time(self, house: OpenHouse) -> None:
        device = Device(house)
        device.call("mining.subscribe")
        assert device.session.tick(NOW + 59.0).close == ""
        output = device.session.tick(NOW + 60.0)
        assert output.close == Closing.LOGIN_TIMEOUT
        assert b"No login in time" in output.data

    def test_a_miner_that_is_silent_for_too_long_is_closed_unless_it_may_be(self, house: OpenHouse) -> None:
        device = mining(house)
        assert device.session.tick(NOW + 3599.0).close == ""
        device.now = NOW + 3599.0
        device.call("mining.ping")
        assert device.session.tick(NOW + 3600.0).close == ""
        assert device.session.tick(NOW + 7199.0).close == Closing.IDLE
        patient = mining(
            house,
            PortRules(start_difficulty=EASY, min_difficulty=EASY, max_difficulty=EASY, idle_timeout_s=0.0),
        )
        assert patient.session.tick(NOW + 1e6).close == ""

    def test_a_clock_that_is_set_ahead_closes_nothing(self, house: OpenHouse) -> None:
        fresh, settled = Device(house), mining(house)
        for device in (fresh, settled):
            assert device.session.tick(NOW + 1e6, NOW + 59.0).close == ""
        assert fresh.session.tick(NOW, NOW + 60.0).close == Closing.LOGIN_TIMEOUT
        assert settled.session.tick(NOW + 1e6, NOW + 3600.0).close == Closing.IDLE

    def test_a_clock_that_steps_back_closes_nothing(self, house: OpenHouse) -> None:
        assert Device(house).session.tick(NOW - 1e6).close == ""
        assert mining(house).session.tick(NOW - 1e6).close == ""


def talk(house: OpenHouse, packets: list[bytes]) -> tuple[bytes, int, str]:
    """All that a session says to these packets, what it credits, and whether it closes."""
    session = ServerSession(
        house,
        PortRules(start_difficulty=EASY, min_difficulty=EASY, max_difficulty=EASY, lines_before_login=5),
        NOW,
    )
    said, credited, closing = b"", 0, ""
    for packet in packets:
        output = session.receive(packet, NOW)
        said += output.data
        credited += output.credited
        closing = closing or str(output.close)
    assert len(session._rest) <= FIXED.line_limit
    return said, credited, closing


class TestAnything:
    @settings(deadline=None)
    @given(
        lines=st.lists(
            CALLS.map(lambda call: json.dumps(call).encode()) | st.binary(max_size=40), max_size=12
        ),
        cuts=st.lists(st.integers(0, 2000), max_size=12),
        is_logged_in=st.booleans(),
        is_fast=st.booleans(),
    )
    def test_a_session_says_the_same_however_its_input_is_cut(
        self,
        lines: list[bytes],
        cuts: list[int],
        is_logged_in: bool,  # noqa: FBT001  a parameter of the test
        is_fast: bool,  # noqa: FBT001  likewise
    ) -> None:
        good = json.dumps({"id": 4, "method": "mining.submit", "params": mining().share()}).encode()
        data = (LOGIN if is_logged_in else b"") + b"\n".join([*lines, good, good, b""])
        places = sorted({0, len(data), *(cut for cut in cuts if cut < len(data))})
        whole = talk(OpenHouse(is_fast=is_fast), [data])
        assert talk(OpenHouse(is_fast=is_fast), [data[a:b] for a, b in pairwise(places)]) == whole
        assert talk(OpenHouse(is_fast=not is_fast), [data]) == whole

    @settings(deadline=None)
    @given(calls=st.lists(CALLS, max_size=20), is_fast=st.booleans())
    def test_every_call_is_answered_once_and_in_order(
        self,
        calls: list[dict[str, Any]],
        is_fast: bool,  # noqa: FBT001  a parameter of the test
    ) -> None:
        device = mining(OpenHouse(is_fast=is_fast))
        said = device.send(
            *(json.dumps(call).replace("NaN", "1").replace("Infinity", "1e300") for call in calls)
        )
        answers = [json.loads(line) for line in said if "method" not in json.loads(line)]
        if not device.output.close:
            assert len(answers) == len(calls)
        for call, answer in zip(calls, answers, strict=False):
            if isinstance(call.get("id"), int | str):
                assert answer["id"] == call["id"]
            assert (answer["result"] is None) == (answer["error"] is not None)

    @settings(deadline=None)
    @given(
        st.lists(
            st.tuples(
                st.sampled_from(
                    [
                        "bytes",
                        "tick",
                        "offer",
                        "granted",
                        "refused",
                        "mask",
                        "place",
                        "farewell",
                        "version",
                        "resumable",
                        "end",
                    ]
                ),
                st.binary(max_size=60)
                | CALLS.map(lambda call: json.dumps(call).encode() + b"\n")
                | st.just(LOGIN),
                st.floats(-10.0, 4000.0),
            ),
            max_size=30,
        ),
        st.booleans(),
    )
    def test_nothing_that_happens_raises_or_piles_up(
        self,
        events: list[tuple[str, bytes, float]],
        waits: bool,  # noqa: FBT001  a parameter of the test
    ) -> None:
        house = OpenHouse(is_fast=len(events) % 2 == 0)
        if waits:
            house.logins["rig"] = Waiting()
        session = ServerSession(house, PortRules(start_difficulty=1e-9), NOW)
        now = NOW
        for number, (event, data, elapsed) in enumerate(events):
            now += elapsed
            happen(event, session, house, data, number, now)
            assert len(session._rest) <= FIXED.held_limit
            assert session._out == []


def happen(
    event: str, session: ServerSession, house: OpenHouse, data: bytes, number: int, now: float
) -> None:
    """One of the things that can happen to a session."""
    {
        "bytes": lambda: session.receive(data, now),
        "tick": lambda: session.tick(now),
        "offer": lambda: session.offer(house.add(work(f"{0x1000 + number:x}")), now),
        "granted": lambda: session.login_settled(Granted(house.unit("rig")), now),
        "refused": lambda: session.login_settled(Refused(24, "No"), now),
        "mask": lambda: session.change_version_mask(len(data) << 13),
        "place": lambda: session.change_extranonce(house.subscribe(None, now), now),
        "farewell": lambda: session.farewell("Bye"),
        "version": session.ask_version,
        "resumable": session.resumable,
        "end": lambda: session.end(now),
    }[event]()
