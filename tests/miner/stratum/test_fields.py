"""Params of a miner's calls: what can be understood is, and the rest is refused in words."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.difficulty import DIFFICULTY_1_TARGET, MAX_TARGET
from miner.stratum.fields import (
    LONGEST_NAME,
    CallError,
    WireJob,
    parse_authorize,
    parse_configure,
    parse_difficulty,
    parse_submit,
    parse_subscribe,
    parse_target,
    password_difficulty,
    printable,
    wire_job,
)

SUBMIT = ["rig", "1a2.3", "00ff", "6553F3BC", "0badcafe"]
ANYTHING = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text()
    | st.sampled_from(["version-rolling", "1e999", "nan", "0x12"]),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


class TestSubmit:
    def test_a_share_is_read_with_its_level(self) -> None:
        submit = parse_submit(SUBMIT)
        assert (submit.worker, submit.job) == ("rig", WireJob("1a2", 0x1A2, 3))
        assert (submit.extranonce2, submit.ntime_s, submit.nonce) == (b"\x00\xff", 0x6553F3BC, 0x0BADCAFE)
        assert submit.version_bits is None

    def test_version_bits_are_read_and_params_behind_them_are_not(self) -> None:
        assert parse_submit([*SUBMIT, "00C00000", "more", {}]).version_bits == 0x00C00000
        assert parse_submit([*SUBMIT, None]).version_bits is None

    @pytest.mark.parametrize("text", ["dead", "0000dead", "0xDEAD", "DEAD"])
    def test_a_nonce_need_not_be_padded(self, text: str) -> None:
        assert parse_submit([*SUBMIT[:4], text]).nonce == 0xDEAD

    @pytest.mark.parametrize(
        ("place", "value"),
        [(0, 7), (0, None), (1, None), (1, 12), (2, "0"), (2, "zz"), (2, 0), (2, "00 11"), (3, ""), (3, "-1"), (3, "1_0"),
         (3, 1700000000), (4, "123456789"), (4, " 1"), (4, []), (4, "٣")],
    )  # fmt: skip
    def test_what_cannot_be_understood_is_refused(self, place: int, value: Any) -> None:
        with pytest.raises(CallError) as refused:
            parse_submit([value if i == place else good for i, good in enumerate(SUBMIT)])
        assert refused.value.code == 20
        with pytest.raises(CallError):
            parse_submit(SUBMIT[:4])

    @pytest.mark.parametrize(
        ("text", "job"),
        [
            ("1a2", WireJob("1a2", 0x1A2, None)),
            ("1a2.f", WireJob("1a2", 0x1A2, 15)),
            ("1A2", WireJob("1A2", None, None)),
            ("", WireJob("", None, None)),
            ("1a2.", WireJob("1a2.", None, None)),
            ("1a2.3.4", WireJob("1a2.3.4", None, None)),
            ("f" * 17, WireJob("f" * 17, None, None)),
            ("-1", WireJob("-1", None, None)),
        ],
    )
    def test_a_job_id_is_taken_apart(self, text: str, job: WireJob) -> None:
        assert wire_job(text) == job


class TestLogin:
    @pytest.mark.parametrize(
        ("params", "read"),
        [
            ([], ("", None)),
            (["cgminer/4.10"], ("cgminer/4.10", None)),
            (["cgminer/4.10", "c0ffee"], ("cgminer/4.10", "c0ffee")),
            (["a\x1b[31mb", None, "host", 3333], ("a?[31mb", None)),
            ([None, 7], ("", None)),
            (["x" * 1000, "y" * 1000], ("x" * 64, None)),
        ],
    )
    def test_a_subscription_is_read(self, params: list[Any], read: tuple[str, str | None]) -> None:
        assert parse_subscribe(params) == read

    @pytest.mark.parametrize(
        "name", ["bc1qxyz.rig1", "user.worker", "rig", "rack 1/07", "größe", "x" * LONGEST_NAME]
    )
    def test_a_user_name_may_be_an_address_with_a_worker_a_user_with_one_or_bare(self, name: str) -> None:
        assert parse_authorize([name, "x"]) == (name, "x")

    @pytest.mark.parametrize("password", [None, 7, [], {}])
    def test_a_password_may_be_missing_or_anything(self, password: Any) -> None:
        assert parse_authorize(["rig", password]) == ("rig", "")
        assert parse_authorize(["rig"]) == ("rig", "")

    @pytest.mark.parametrize(
        "params",
        [
            [],
            [None],
            [7],
            [""],
            ["  "],
            ["a\nb"],
            ["a\x00"],
            ["a\x7f"],
            ["a\u202eb"],
            ["\ud800"],
            ["x" * 129],
        ],
    )
    def test_a_name_that_cannot_be_a_unit_is_refused(self, params: list[Any]) -> None:
        with pytest.raises(CallError) as refused:
            parse_authorize(params)
        assert refused.value.code == 24

    @pytest.mark.parametrize(
        ("password", "difficulty"),
        [
            ("d=1234", 1234.0), ("x,d=0.001", 0.001), ("x;d=5e-1;y=3", 0.5), ("x d=64", 64.0), ("diff=2", 2.0), ("d=8,x", 8.0),
            ("", None), ("x", None), ("123", None), ("d=", None), ("d=0", None), ("d=-1", None), ("d=nan", None),
            ("d=1e999", None), ("id=5", None), ("d=12x", None), ("d=1d=2", None),
        ],
    )  # fmt: skip
    def test_a_password_may_ask_for_a_difficulty(self, password: str, difficulty: float | None) -> None:
        assert password_difficulty(password) == difficulty

    @given(st.text())
    def test_what_a_device_says_of_itself_is_fit_for_a_log(self, text: str) -> None:
        assert printable(text).isprintable()
        assert len(printable(text)) <= 64


class TestDifficulty:
    @pytest.mark.parametrize(
        ("value", "read"), [(1000, 1000.0), (0.00015, 0.00015), ("512", 512.0), (10**300, 1e300)]
    )
    def test_a_difficulty_is_a_number_or_its_text(self, value: Any, read: float) -> None:
        assert parse_difficulty([value, "more"]) == read

    @pytest.mark.parametrize("value", [0, -1, "x", None, True, [], {}, "nan", "inf", float("inf"), 10**400])
    def test_anything_else_is_none(self, value: Any) -> None:
        with pytest.raises(CallError):
            parse_difficulty([value])
        with pytest.raises(CallError):
            parse_difficulty([])

    @pytest.mark.parametrize(
        ("text", "difficulty"),
        [
            (f"{DIFFICULTY_1_TARGET:064x}", 1.0),
            (f"0x{DIFFICULTY_1_TARGET // 1000:064x}", 1000.0),
            ("f" * 64, DIFFICULTY_1_TARGET / MAX_TARGET),
        ],
    )
    def test_a_target_is_a_difficulty_too(self, text: str, difficulty: float) -> None:
        assert parse_target([text]) == pytest.approx(difficulty)

    @pytest.mark.parametrize("params", [[], ["0" * 64], ["f" * 65], ["x"], [5], [None]])
    def test_what_is_no_target_is_refused(self, params: list[Any]) -> None:
        with pytest.raises(CallError):
            parse_target(params)


class TestExtensions:
    def test_bip310_as_it_is_written_down(self) -> None:
        asked = parse_configure(
            [
                ["minimum-difficulty", "version-rolling", "info"],
                {
                    "minimum-difficulty.value": 2048,
                    "version-rolling.mask": "1fffe000",
                    "version-rolling.min-bit-count": 2,
                    "info.hw-version": "S21",
                },
            ]
        )
        assert asked == (("minimum-difficulty", "version-rolling", "info"), 0x1FFFE000, 2048.0, "S21")

    @pytest.mark.parametrize(
        "params",
        [
            [["version-rolling"], {"version-rolling.mask": "00c00000"}],
            ["version-rolling", {"version-rolling.mask": "00c00000"}],
            [{"version-rolling.mask": "0x00C00000", "version-rolling.min-bit-count": 16}],
            [["version-rolling", 7, None], {"version-rolling.mask": "c00000"}, "version-rolling"],
        ],
    )
    def test_other_forms_of_it_are_understood(self, params: list[Any]) -> None:
        assert parse_configure(params)[:2] == (("version-rolling",), 0x00C00000)

    @pytest.mark.parametrize(
        "values",
        [{}, {"version-rolling.mask": None}, {"version-rolling.mask": "xyz"}, {"version-rolling.mask": 7}],
    )
    def test_a_mask_that_is_not_said_is_every_bit(self, values: dict[str, Any]) -> None:
        assert parse_configure([["version-rolling"], values]).mask == 0xFFFFFFFF

    @pytest.mark.parametrize("count", ["00000002", "16", None, [], {}, -1, 99, 1e400, "x"])
    def test_min_bit_count_never_matters(self, count: Any) -> None:
        values = {"version-rolling.mask": "00c00000", "version-rolling.min-bit-count": count}
        assert parse_configure([["version-rolling"], values]).mask == 0x00C00000


@given(st.lists(ANYTHING, max_size=8))
def test_whatever_the_params_are_they_are_read_or_refused_with_a_reason(params: list[Any]) -> None:
    parse_configure(params)
    parse_subscribe(params)
    for parse in (parse_submit, parse_authorize, parse_difficulty, parse_target):
        try:
            parse(params)
        except CallError as refused:
            assert refused.code in {20, 24}  # noqa: PT017  either end is good
