"""A pool's words: read however they are meant, refused where guessing would cost shares or send us to a stranger."""

import math
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.difficulty import DIFFICULTY_1_TARGET, MAX_TARGET
from miner.stratum import pool_fields
from miner.stratum.pool_events import PoolAccepted, PoolRejected, Redirected
from miner.stratum.v1 import Notify, ProtocolError, swap_words

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=4), inner, max_size=4),
    max_leaves=8,
)
NOTIFY = ["job", "00" * 32, "01", "02", ["03" * 32], "20000000", "1d00ffff", "6553f3bc", True]


class TestAnswers:
    @pytest.mark.parametrize("error", [None, [], {}, "", False, 0])
    def test_true_without_an_error_is_a_yes(self, error: Any) -> None:
        assert pool_fields.verdict(result=True, error=error) == PoolAccepted()

    @pytest.mark.parametrize("result", [False, None, "true", 1, 1.0, {}, [], {"status": "OK"}])
    def test_nothing_else_is_one(self, result: Any) -> None:
        assert pool_fields.verdict(result, None) == PoolRejected(20, "no reason given")

    def test_a_rejection_is_never_told_as_an_acceptance_whatever_the_result_says(self) -> None:
        assert pool_fields.verdict(result=True, error=[23, "Low difficulty", None]) == PoolRejected(
            23, "Low difficulty"
        )

    @pytest.mark.parametrize(
        ("error", "code", "text"),
        [
            ([21, "Job not found", None], 21, "Job not found"),
            ([23], 23, "no reason given"),
            (["Stale"], 20, "Stale"),
            ({"code": 22, "message": "Duplicate share", "data": {}}, 22, "Duplicate share"),
            ({"message": "no"}, 20, "no"),
            ({"reason": "?"}, 20, "no reason given"),
            ("high-hash", 20, "high-hash"),
            (24, 24, "no reason given"),
            (True, 20, "no reason given"),
            ([True, "x"], 20, "x"),
            ([10**40, "x"], 20, "x"),
            (["-2", "x"], 20, "-2"),
            ([-2, " a\x00b\n"], -2, "a?b?"),
            ([20, "w" * 9999], 20, "w" * 256),
        ],
    )
    def test_an_error_is_understood_in_every_form(self, error: Any, code: int, text: str) -> None:
        assert pool_fields.refusal(None, error) == PoolRejected(code, text)
        assert pool_fields.refusal(result=False, error=error) == PoolRejected(code, text)

    def test_the_subscription_is_what_comes_after_the_names(self) -> None:
        assert pool_fields.parse_subscription([[["mining.notify", "1"]], "F000000f", 8, "more"]) == (
            b"\xf0\0\0\x0f",
            8,
        )
        assert pool_fields.parse_subscription([None, "", 0]) == (b"", 0)

    @pytest.mark.parametrize(
        "result",
        [True, [], [[], "00"], [[], "0", 4], [[], "zz", 4], [[], 7, 4], [[], "00", "4"], [[], "00", True], [[], "00", 4.0],
         [[], "00", -1], [[], "00", 33], [[], "00" * 33, 4], {"extranonce1": "00"}],
    )  # fmt: skip
    def test_a_place_that_cannot_be_understood_is_refused(self, result: Any) -> None:
        with pytest.raises(ProtocolError):
            pool_fields.parse_subscription(result)

    def test_another_extranonce_may_leave_out_the_size(self) -> None:
        before = pool_fields.Extranonces(b"\1", 6)
        assert pool_fields.parse_set_extranonce(["beef", 4], before) == (b"\xbe\xef", 4)
        assert pool_fields.parse_set_extranonce(["beef"], before) == (b"\xbe\xef", 6)
        for params in (["beef"], [], [None, 4]):
            with pytest.raises(ProtocolError):
                pool_fields.parse_set_extranonce(params, None)

    @pytest.mark.parametrize(
        ("result", "mask"),
        [
            ({"version-rolling": True, "version-rolling.mask": "1fffe000"}, 0x1FFFE000),
            ({"version-rolling": True, "version-rolling.mask": "0xE000"}, 0xE000),
            ({"version-rolling": True}, None),
            ({"version-rolling": True, "version-rolling.mask": "wide"}, None),
            ({"version-rolling": False, "version-rolling.mask": "1fffe000"}, None),
            ({"version-rolling": "too few bits", "version-rolling.mask": "1fffe000"}, None),
            ({"version-rolling.mask": "1fffe000"}, None),
            (None, None),
            (True, None),
        ],
    )
    def test_versions_are_rolled_only_on_a_yes_with_a_mask(self, result: Any, mask: int | None) -> None:
        assert pool_fields.granted_mask(result, None) == mask
        assert pool_fields.granted_mask(result, [20, "Unknown method", None]) is None


class TestNotifications:
    @pytest.mark.parametrize(
        ("value", "difficulty"), [(1, 1.0), (0.00015, 0.00015), ("512", 512.0), (1e300, 1e300), (5e-324, 5e-324)]
    )  # fmt: skip
    def test_a_difficulty_is_a_number_or_its_text(self, value: Any, difficulty: float) -> None:
        read = pool_fields.parse_set_difficulty([value, "more"])
        assert read.difficulty == difficulty
        assert 0 < read.share_target <= MAX_TARGET

    def test_difficulty_one_is_that_of_bitcoin(self) -> None:
        assert pool_fields.parse_set_difficulty([1]) == pool_fields.DIFFICULTY_1 == (1.0, DIFFICULTY_1_TARGET)

    @pytest.mark.parametrize(
        "params",
        [[], [0], [-1], [None], [True], ["x"], [math.nan], [math.inf], ["inf"], [10**400], [[1]], [{"d": 1}]],
    )
    def test_what_is_no_difficulty_is_refused(self, params: list[Any]) -> None:
        with pytest.raises(ProtocolError):
            pool_fields.parse_set_difficulty(params)

    def test_a_target_holds_exactly(self) -> None:
        target = f"{DIFFICULTY_1_TARGET // 3:064x}"
        read = pool_fields.parse_set_target([target])
        assert read.share_target == DIFFICULTY_1_TARGET // 3
        assert read.difficulty == pytest.approx(3)
        assert pool_fields.parse_set_target(["0xff"]).share_target == 255

    @pytest.mark.parametrize("params", [[], [""], ["0"], ["00" * 33], ["x"], [5], [None]])
    def test_what_is_no_target_is_refused(self, params: list[Any]) -> None:
        with pytest.raises(ProtocolError):
            pool_fields.parse_set_target(params)

    def test_a_mask_is_of_32_bits(self) -> None:
        assert pool_fields.parse_set_version_mask(["1fffe000"]) == 0x1FFFE000
        assert pool_fields.parse_set_version_mask(["0"]) == 0
        for params in ([], [7], ["123456789"], ["x"]):
            with pytest.raises(ProtocolError):
                pool_fields.parse_set_version_mask(params)

    def test_a_job_is_that_of_the_codec_if_its_id_can_be_kept(self) -> None:
        read = pool_fields.parse_job(NOTIFY)
        assert read == Notify(
            "job", swap_words(b"\0" * 32), b"\1", b"\2", (b"\3" * 32,), 0x20000000, 0x1D00FFFF, 0x6553F3BC, True
        )  # fmt: skip
        for job_id in ("j" * 129, "a\nb", 7):
            with pytest.raises(ProtocolError):
                pool_fields.parse_job([job_id, *NOTIFY[1:]])

    def test_a_coinbase_that_no_miner_takes_is_refused(self) -> None:
        for one, two, is_good in [(1, 19_999, True), (10_000, 10_001, False), (0, 500_000, False)]:
            params = [*NOTIFY[:2], "01" * one, "02" * two, *NOTIFY[4:]]
            if is_good:
                assert len(pool_fields.parse_job(params).coinbase2) == two
            else:
                with pytest.raises(ProtocolError, match=f"has {one + two} bytes"):
                    pool_fields.parse_job(params)

    @given(st.lists(JSON, max_size=9), JSON, JSON)
    def test_whatever_comes_is_read_or_refused(self, params: list[Any], result: Any, error: Any) -> None:
        assert isinstance(pool_fields.verdict(result, error), PoolAccepted | PoolRejected)
        mask = pool_fields.granted_mask(result, error)
        assert mask is None or 0 <= mask < 2**32
        for parse in (
            pool_fields.parse_set_difficulty,
            pool_fields.parse_set_target,
            pool_fields.parse_set_version_mask,
            pool_fields.parse_job,
            pool_fields.parse_subscription,
            lambda params: pool_fields.parse_set_extranonce(params, None),
            lambda params: pool_fields.parse_reconnect(params, "pool.example"),
        ):
            with suppress(ProtocolError):
                parse(params)


class TestReconnect:
    @pytest.mark.parametrize(
        ("params", "host", "port", "wait_s"),
        [
            ([], "", 0, 0),
            (["", 0, 0], "", 0, 0),
            ([None, None, None], "", 0, 0),
            (["", 3334, 5], "", 3334, 5),
            (["eu.pool.example"], "eu.pool.example", 0, 0),
            (["EU.Pool.Example.", "3334", "2"], "eu.pool.example", 3334, 2),
            (["us.pool.example", 443, 1.5, "more"], "us.pool.example", 443, 1.5),
            (["pool.example", 443], "pool.example", 443, 0),
            ([" 2.eu.pool.example ", 443], "2.eu.pool.example", 443, 0),
        ],
    )
    def test_within_its_own_domain_a_pool_sends_us_anywhere(
        self, params: list[Any], host: str, port: int, wait_s: float
    ) -> None:
        assert pool_fields.parse_reconnect(params, "eu.pool.example") == Redirected(host, port, wait_s)

    @pytest.mark.parametrize(
        "host",
        ["thief.example", "example", "eu.pool.example.thief.net", "eupool.example", "1.2.3.4", "0x7f.1", "[::1]", "localhost",
         "thief.net/.pool.example", "thief.net\x00.pool.example", "thief.net:80#.pool.example", "..pool.example",
         "a b.pool.example", "pöol.example", "-" * 64 + ".pool.example"],
    )  # fmt: skip
    def test_and_nowhere_else(self, host: str) -> None:
        with pytest.raises(ProtocolError, match=r"not in the domain of eu\.pool\.example"):
            pool_fields.parse_reconnect([host, 443], "eu.pool.example")

    @pytest.mark.parametrize(
        ("own", "other", "is_same"),
        [
            ("pool.co.uk", "eu.pool.co.uk", True),
            ("eu.pool.co.uk", "us.pool.co.uk", True),
            ("eu.pool.co.uk", "thief.co.uk", False),
            ("pool.com.au", "thief.com.au", False),
            ("go.io", "eu.go.io", True),
            ("ck.org", "eu.ck.org", True),
            ("stratum", "stratum", True),
            ("stratum", "eu.stratum", False),
            ("10.0.0.1", "10.0.0.1", True),
            ("10.0.0.1", "10.9.0.1", False),
            ("::1", "[0:0:0:0:0:0:0:1]", True),
            ("::1", "::2", False),
            ("10.0.0.1", "pool.0.1", False),
        ],
    )
    def test_one_owner(self, own: str, other: str, *, is_same: bool) -> None:
        assert pool_fields.is_same_owner(own, other) is is_same

    @pytest.mark.parametrize(
        "params", [[7], [["x"]], ["", "x"], ["", -1], ["", 65536], ["", True], ["", 1.5], ["", "³"]]
    )
    def test_a_place_that_is_none_is_refused(self, params: list[Any]) -> None:
        with pytest.raises(ProtocolError):
            pool_fields.parse_reconnect(params, "pool.example")

    @pytest.mark.parametrize(
        ("wait", "wait_s"), [(1e9, 60), (-5, 0), ("x", 0), (math.nan, 0), (math.inf, 0), (10**400, 0), ([1], 0), (59, 59)]
    )  # fmt: skip
    def test_nobody_may_send_us_away_for_long(self, wait: Any, wait_s: float) -> None:
        assert pool_fields.parse_reconnect(["", 0, wait], "pool.example").wait_s == wait_s
