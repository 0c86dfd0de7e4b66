"""The codec: every line read or refused in one way, numbers as devices parse them, and the published sessions."""

import json
import math
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import event, given
from hypothesis import strategies as st

from miner.chain.difficulty import difficulty_of_target, target_of_difficulty
from miner.stratum import v1
from miner.work.job import Job, JobBook, UpstreamWork
from miner.work.share import Reason
from tests.miner.harness import job

SESSIONS = json.loads((Path(__file__).parents[2] / "data" / "stratum.json").read_text())["sessions"]
difficulties = st.floats(min_value=1e-12, max_value=1e18, exclude_min=True)


class TestReading:
    @pytest.mark.parametrize(
        "request_id", ["0", "-7", "1.5", "1e3", '"a\\"b"', '""', "true", "123456789012345678901234"]
    )
    def test_an_id_of_any_kind_comes_back_as_it_was(self, request_id: str) -> None:
        message = v1.parse_line(f'{{"id": {request_id} ,"method":"m","params":[]}}'.encode())
        assert message == v1.Request(request_id.encode(), "m", [])

    def test_an_id_that_is_no_utf_8_comes_back_with_marks_in_its_place(self) -> None:
        message = v1.parse_line(b'{"id":"a\x92","method":"mining.ping"}')
        assert message == v1.Request('"a\ufffd"'.encode(), "mining.ping", [])

    @pytest.mark.parametrize(
        "line",
        [
            '{"method":"m"}',
            '{"id":null,"method":"m"}',
            '{"id":[1],"method":"m"}',
            '{"id":{"a":1},"method":"m"}',
        ],
    )
    def test_an_id_that_is_missing_or_none_is_a_notification(self, line: str) -> None:
        assert v1.parse_line(line.encode()) == v1.Notification("m", [])

    @pytest.mark.parametrize(
        ("params", "read"),
        [
            ("[]", []),
            ("null", []),
            ("[1,[2]]", [1, [2]]),
            ('{"a":1}', [{"a": 1}]),
            ('"x"', ["x"]),
            ("7", [7]),
        ],
    )
    def test_params_become_a_list_whatever_they_were(self, params: str, read: list[Any]) -> None:
        assert v1.parse_line(f'{{"id":1,"method":"m","params":{params}}}'.encode()) == v1.Request(
            b"1", "m", read
        )

    def test_unknown_keys_do_no_harm(self) -> None:
        line = b'{"jsonrpc":"2.0","id":1,"ttl":{"deep":[1,2]},"method":"m","params":[],"worker":"rig1"}'
        assert v1.parse_line(line) == v1.Request(b"1", "m", [])

    @pytest.mark.parametrize(
        ("line", "read"),
        [
            (b'{"id":1,"result":"cgminer/4.10","error":null}', v1.Response(b"1", "cgminer/4.10", None)),
            (b'{"id":1,"result":null,"error":[20,"no",null]}', v1.Response(b"1", None, [20, "no", None])),
            (b'{"id":1,"error":"no"}', v1.Response(b"1", None, "no")),
        ],
    )
    def test_an_answer_is_told_from_a_call(self, line: bytes, read: v1.Response) -> None:
        assert v1.parse_line(line) == read

    @pytest.mark.parametrize(
        "line", [b"{}", b'{"id":5}', b'{"id":5,"method":7}', b'{"id":5,"method":null,"params":[]}']
    )
    def test_an_object_that_says_nothing_is_refused_under_its_id(self, line: bytes) -> None:
        with pytest.raises(v1.ProtocolError) as refused:
            v1.parse_line(line)
        assert not isinstance(refused.value, v1.NotAnObjectError)
        assert refused.value.id == (b"null" if line == b"{}" else b"5")

    @pytest.mark.parametrize(
        "line",
        [b"", b"GET / HTTP/1.1", b"[1]", b"7", b'"m"', b"null", b"{", b'{"id":NaN,"method":"m"}', b"{'id':1}",
         b'{"id":1,"method":"m"}{', b"\x16\x03\x01\x02\x00\x01", b"[" * 100_000, b'{"params":' + b"[" * 100_000,
         b'{"id":1,"method":"m","params":[' + b"9" * 5000 + b"]}"],
    )  # fmt: skip
    def test_what_is_no_object_is_refused(self, line: bytes) -> None:
        with pytest.raises(v1.NotAnObjectError):
            v1.parse_line(line)

    def test_a_name_that_is_no_utf_8_is_read_with_marks_in_its_place(self) -> None:
        message = v1.parse_line(b'{"id":1,"method":"m","params":["r\xe4ck"]}')
        assert message == v1.Request(b"1", "m", ["r�ck"])

    @given(st.binary() | st.text().map(str.encode))
    def test_no_bytes_raise_anything_else(self, line: bytes) -> None:
        try:
            v1.parse_line(line)
        except v1.ProtocolError as error:
            answer = v1.error(error.id, v1.OTHER, str(error))
            event(answer.decode())

    @given(
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
            lambda inner: (
                st.lists(inner)
                | st.dictionaries(st.sampled_from(["id", "method", "params", "result"]) | st.text(), inner)
            ),
        )
    )
    def test_no_json_raises_anything_else(self, value: Any) -> None:
        try:
            message = v1.parse_line(json.dumps(value).encode())
        except v1.ProtocolError:
            return
        assert isinstance(message, v1.Request | v1.Notification | v1.Response)


class TestWriting:
    @pytest.mark.parametrize(
        ("line", "written"),
        [
            (v1.result(b"1", value=True), '{"id":1,"result":true,"error":null}'),
            (v1.error(b'"a"', 24, "Unauthorized worker"), '{"id":"a","result":null,"error":[24,"Unauthorized worker",null]}'),
            (v1.error(b"null", 20, 'a "quoted"\nthing'), '{"id":null,"result":null,"error":[20,"a \\"quoted\\"\\nthing",null]}'),
            (v1.set_difficulty(1000.0), '{"id":null,"method":"mining.set_difficulty","params":[1000]}'),
            (v1.set_extranonce(b"\x01\x02\x03\x04", 8), '{"id":null,"method":"mining.set_extranonce","params":["01020304",8]}'),
            (v1.set_version_mask(0x1FFFE000), '{"id":null,"method":"mining.set_version_mask","params":["1fffe000"]}'),
            (v1.show_message("Hi"), '{"id":null,"method":"client.show_message","params":["Hi"]}'),
            (v1.reconnect("", 0, 5), '{"id":null,"method":"client.reconnect","params":[]}'),
            (v1.reconnect("a.b", 3333, 5), '{"id":null,"method":"client.reconnect","params":["a.b",3333,5]}'),
            (v1.get_version(1), '{"id":1,"method":"client.get_version","params":[]}'),
            (v1.ping(2), '{"id":2,"method":"mining.ping","params":[]}'),
        ],
    )  # fmt: skip
    def test_lines_are_exact(self, line: bytes, written: str) -> None:
        assert line.decode() == written + "\n"

    def test_every_reason_has_its_code_and_words(self) -> None:
        assert set(v1.REASON_ERRORS) == set(Reason)
        assert (
            v1.rejection(b"4", Reason.LOW_DIFFICULTY)
            == b'{"id":4,"result":null,"error":[23,"Low difficulty share",null]}\n'
        )
        assert {code for code, _ in v1.REASON_ERRORS.values()} == {20, 21, 22, 23}

    @given(st.integers(0, 99), st.text(), st.lists(st.text() | st.integers(0, 9) | st.none()))
    def test_a_call_written_is_the_call_read(self, number: int, method: str, params: list[Any]) -> None:
        assert v1.parse_line(v1.request(number, method, params)) == v1.Request(
            str(number).encode(), method, params
        )
        assert v1.parse_line(v1.notification(method, params)) == v1.Notification(method, params)

    @given(st.text(), st.integers(0, 99))
    def test_an_answer_written_is_the_answer_read(self, text: str, code: int) -> None:
        assert v1.parse_line(v1.result(b"7", text)) == v1.Response(b"7", text, None)
        assert v1.parse_line(v1.error(b"7", code, text)) == v1.Response(b"7", None, [code, text, None])


class TestDifficulty:
    @pytest.mark.parametrize(
        ("difficulty", "text"),
        [
            (1e-10, "0.0000000001"),
            (0.00015, "0.00015"),
            (4.6565423739069247e-10, "0.000000000465654"),
            (0.1, "0.1"),
            (1.0, "1"),
            (1.23456789, "1.23456"),
            (31.99999999, "31.9999"),
            (16383.75, "16383"),
            (65536.0, "65536"),
            (1.2e14, "120000000000000"),
            (1e-300, "0.000000000001"),
        ],
    )
    def test_a_difficulty_is_sent_so_that_every_device_reads_it(self, difficulty: float, text: str) -> None:
        assert v1.difficulty_text(v1.wire_difficulty(difficulty)) == text

    @given(difficulties)
    def test_what_a_device_reads_is_the_number_we_judge_by(self, difficulty: float) -> None:
        sent = v1.wire_difficulty(difficulty)
        text = v1.difficulty_text(sent)
        assert float(text) == sent
        assert set(text) <= set("0123456789.")
        assert json.loads(v1.set_difficulty(sent))["params"] == [sent]
        assert v1.wire_difficulty(sent) == sent

    @given(difficulties)
    def test_the_share_target_is_never_harder_than_asked_and_hardly_easier(self, difficulty: float) -> None:
        sent = v1.wire_difficulty(difficulty)
        assert target_of_difficulty(sent) >= target_of_difficulty(difficulty)
        assert sent >= difficulty * 0.969

    @given(st.floats().filter(lambda d: not 0 < d < math.inf))
    def test_no_other_number_is_a_difficulty(self, difficulty: float) -> None:
        with pytest.raises(ValueError, match="not a finite number above zero"):
            v1.wire_difficulty(difficulty)
        with pytest.raises(ValueError, match="not a finite number above zero"):
            v1.set_difficulty(difficulty)


def published(session: dict[str, Any]) -> Job:
    """The job of a published notify, with its id in hexadecimal as ours are."""
    notify = v1.parse_notify(session["notify"])
    extranonce2 = session["submit"][2]
    return Job(
        id=notify.job_id,
        origin="pool",
        height=0,
        version=notify.version,
        version_mask=0,
        prev_hash=notify.prev_hash,
        coinbase1=notify.coinbase1,
        coinbase2=notify.coinbase2,
        branch=notify.branch,
        bits=notify.bits,
        ntime_s=notify.ntime_s,
        min_time_s=0,
        extranonce1_size=len(session["extranonce1"]) // 2,
        extranonce2_size=len(extranonce2) // 2,
        clean=notify.clean,
        reward_sat=0,
        payout_script=b"",
        created_at=float(notify.ntime_s),
    )


class TestJobs:
    @pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session["source"])
    def test_a_published_notify_is_read_and_written_again(self, session: dict[str, Any]) -> None:
        notify = v1.parse_notify(session["notify"])
        assert json.loads(notify.line())["params"] == session["notify"]
        assert (
            json.loads(v1.Notice(published(session), clean=notify.clean).line)["params"] == session["notify"]
        )

    @pytest.mark.parametrize("session", SESSIONS, ids=lambda session: session["source"])
    def test_the_published_share_of_a_notify_has_the_published_header(self, session: dict[str, Any]) -> None:
        notify, (_, _, extranonce2, ntime, nonce) = published(session), session["submit"]
        header, digest = notify.header(
            bytes.fromhex(session["extranonce1"]),
            bytes.fromhex(extranonce2),
            ntime_s=int(ntime, 16),
            nonce=int(nonce, 16),
            version=notify.version,
        )
        assert header.hex() == session["header"]
        assert digest[::-1].hex() == session["hash"]

    @given(
        st.builds(
            v1.Notify,
            job_id=st.text("0123456789abcdef.", max_size=20),
            prev_hash=st.binary(min_size=32, max_size=32),
            coinbase1=st.binary(),
            coinbase2=st.binary(),
            branch=st.lists(st.binary(min_size=32, max_size=32), max_size=3).map(tuple),
            version=st.integers(0, 2**32 - 1),
            bits=st.integers(0, 2**32 - 1),
            ntime_s=st.integers(0, 2**32 - 1),
            clean=st.booleans(),
        )
    )
    def test_a_notify_written_is_the_notify_read(self, notify: v1.Notify) -> None:
        message = v1.parse_line(notify.line())
        assert isinstance(message, v1.Notification)
        assert message.method == "mining.notify"
        assert v1.parse_notify(message.params) == notify

    @pytest.mark.parametrize(
        ("place", "value"),
        [
            (0, 7),
            (1, "00"),
            (2, "0"),
            (3, "zz"),
            (4, "00"),
            (4, ["00"]),
            (5, "1"),
            (6, None),
            (7, "0x000000"),
        ],
    )
    def test_a_notify_that_cannot_be_is_refused(self, place: int, value: Any) -> None:
        params = [*SESSIONS[0]["notify"]]
        params[place] = value
        with pytest.raises(v1.ProtocolError):
            v1.parse_notify(params)
        with pytest.raises(v1.ProtocolError):
            v1.parse_notify(params[:8])

    def test_a_prepared_notice_says_what_its_job_is(self) -> None:
        work = job("2f")
        notice = v1.Notice(work, clean=True)
        message = v1.parse_line(notice.line)
        assert isinstance(message, v1.Notification)
        read = v1.parse_notify(message.params)
        assert read.coinbase1 + read.coinbase2 == work.coinbase1 + work.coinbase2
        assert (read.job_id, read.prev_hash, read.branch) == ("2f", work.prev_hash, work.branch)
        assert (read.version, read.bits, read.ntime_s, read.clean) == (
            work.version,
            work.bits,
            work.ntime_s,
            True,
        )
        assert notice.serial == 0x2F

    def test_a_notice_for_one_session_differs_in_what_was_asked_and_no_more(self) -> None:
        work = job("2f")
        notice = v1.Notice(work, clean=True)
        own = v1.parse_line(
            notice.line_for("2f.1", b"\x00\x14" + bytes(20), ntime_s=work.ntime_s + 9, clean=False)
        )
        assert isinstance(own, v1.Notification)
        paid = work.paying(b"\x00\x14" + bytes(20))
        assert v1.parse_notify(own.params) == v1.Notify(
            "2f.1", work.prev_hash, work.coinbase1, paid.coinbase2, work.branch, work.version, work.bits, work.ntime_s + 9,
            clean=False,
        )  # fmt: skip
        assert notice.line_for(None, work.payout_script) == notice.line == notice.line_for(None, None)

    def test_a_job_with_no_place_for_another_payout_keeps_its_own(self) -> None:
        notice = v1.Notice(replace(job("2f"), payout_at=None), clean=True)
        assert notice.line_for(None, b"\x51") == notice.line

    def test_no_share_is_asked_to_be_harder_than_a_block(self) -> None:
        for bits in (0x207FFFFF, 0x1E0377AE, 0x1D00FFFF, 0x170331DB):
            work = replace(job("2f"), bits=bits)
            ceiling = v1.Notice(work, clean=True).ceiling
            assert target_of_difficulty(ceiling) >= work.network_target
            assert ceiling == pytest.approx(difficulty_of_target(work.network_target), rel=1e-5)

    def test_no_share_is_asked_to_be_harder_than_the_pool_wants_them(self) -> None:
        for difficulty in (1e-9, 0.3, 7.5, 2.0**40):
            target = target_of_difficulty(difficulty)
            work = replace(job("2f"), bits=0x170331DB, upstream=UpstreamWork("x", target, b"", 1))
            ceiling = v1.Notice(work, clean=True).ceiling
            assert target_of_difficulty(ceiling) >= target
            assert ceiling <= difficulty

    def test_a_session_sees_at_a_glance_whether_another_job_is_only_the_next_one(self) -> None:
        first = v1.Notice(job("2f"), clean=True).terms
        assert v1.Notice(replace(job("30"), prev_hash=bytes(32)), clean=False).terms is first
        upstream = UpstreamWork("x", 2**200, b"", 1)
        others = [
            {"bits": 0x1D00FFFF},
            {"version_mask": 0x00C0_0000},
            {"origin": "pool", "upstream": upstream},
            {"origin": "other", "upstream": upstream},
            {"origin": "other", "upstream": replace(upstream, epoch=2)},
            {"origin": "other", "upstream": replace(upstream, share_target=2**201)},
            {"extranonce1_size": 3},
            {"extranonce2_size": 3},
        ]
        terms = [first, *(v1.Notice(replace(job("2f"), **other), clean=True).terms for other in others)]
        assert len(set(terms)) == len(terms)
        assert [each.source for each in terms[2:7]] == [
            ("solo", 0),
            ("pool", 1),
            ("other", 1),
            ("other", 2),
            ("other", 1),
        ]

    def test_a_job_id_that_is_no_serial_cannot_be_sent(self) -> None:
        work = job("job7")
        JobBook(60.0).add(work, 0.0)
        with pytest.raises(ValueError, match="no serial"):
            v1.Notice(work, clean=True)
