"""Submissions through the C core: lines as firmware writes them, and the memory that Python keeps for it."""

import hashlib
import json
import math
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner import kernel, kernel_submit
from miner._native import ffi, lib
from miner.chain.difficulty import MAX_TARGET, difficulty_of_hash
from miner.kernel import RECORD, Board, SeenTable, ShareBuffer, ShareJob, SubmitTaker, Tally, share_header
from miner.work.share import Reason

WORKER = "bc1qexample.rig1"
E1 = b"\x00\x00\x00\x2a"
E2 = "0102030405060708"
SERIAL = 0x1F3
TIME = 0x6553F100
NOW = 1_700_000_000.5
PLAIN = [WORKER, f"{SERIAL:x}", E2, f"{TIME:08x}", "0000abcd"]
ROLLED = [*PLAIN, "00c0a000"]
REASONS = list(Reason)


def digest_of(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "little")).digest()


class Desk:
    """A session on a board with one job; every hash is a share, and none is a block."""

    def __init__(self, mask: int | None = 0x1FFFE000, script: bytes | None = None) -> None:
        self.seen = SeenTable()
        self.board, self.buffer, self.tally = Board(), ShareBuffer(), Tally()
        self.job = ShareJob(
            b"one" * 20, b"before\x02\x51\x52after", [b"\x0b" * 32] * 12, b"\xa0" * 32, 0x1D00FFFF, (6, 3)
        )
        self.put(SERIAL)
        self.taker = self.session(mask, script)

    def put(self, serial: int, target: int = 0) -> None:
        self.board.put(
            serial,
            self.job,
            self.seen,
            tip=3,
            target=target,
            versions=(0x20000000, 0x1FFFE000),
            times_s=(TIME - 10, TIME + 10),
            extranonce_sizes=(4, 8),
        )

    def session(
        self, mask: int | None = 0x1FFFE000, script: bytes | None = None, worker: str = WORKER
    ) -> SubmitTaker:
        taker = SubmitTaker(
            self.board,
            self.buffer,
            self.tally,
            unit=77,
            worker=worker.encode(),
            extranonce1=E1,
            version_mask=mask,
            payout_script=script,
        )
        taker.set_level(0, 0, 0.25, MAX_TARGET)
        return taker

    def take(self, line: bytes) -> Any:
        """The answer to one line that the core decides; None if it leaves it."""
        end = self.taker.take(line, 0, NOW)
        assert end in {0, len(line)}
        assert bool(self.taker.answers) == (end > 0)
        return json.loads(self.taker.answers) if end else None

    def hash_of(self, params: list[str], script: bytes | None = None) -> bytes:
        bits = int(params[5], 16) if len(params) > 5 else 0
        numbers = int(params[3], 16), int(params[4], 16), 0x20000000 | bits & 0x1FFFE000
        return share_header(self.job, E1, bytes.fromhex(params[2]), *numbers, script)[1]


@pytest.fixture
def desk() -> Desk:
    return Desk()


def request(params: Any, request_id: Any = 7, **more: Any) -> bytes:
    return (
        json.dumps({"id": request_id, "method": "mining.submit", "params": params, **more}).encode() + b"\n"
    )


ACCEPTED = {"id": 7, "result": True, "error": None}


class TestLines:
    @pytest.mark.parametrize(
        ("line", "request_id"),
        [
            (
                f'{{"params": {json.dumps(PLAIN)}, "id": 4, "method": "mining.submit"}}\n',
                4,
            ),  # cgminer, Avalon
            (
                f'{{"params": {json.dumps(ROLLED)}, "id": 129, "method": "mining.submit"}}\n',
                129,
            ),  # Antminer's bmminer
            (
                f'{{"id":5,"method":"mining.submit","params":{json.dumps(ROLLED, separators=(",", ":"))}}}\n',
                5,
            ),  # Braiins OS
            (
                f'{{"id": 12, "method": "mining.submit", "params": {json.dumps(PLAIN)}, "ttl": 60}}\r\n',
                12,
            ),  # Whatsminer
            (
                f'{{"id": 31, "method": "mining.submit", "params": {json.dumps(ROLLED)}}}\n',
                31,
            ),  # Bitaxe's ESP-Miner
            (
                f'{{"id": 9, "method": "mining.submit", "params": {json.dumps(PLAIN, separators=(",", ":"))}}}\n',
                9,
            ),  # NerdMiner
            (f'{{"method": "mining.submit", "params": {json.dumps(PLAIN)}, "id":4}}\n', 4),  # cpuminer
            (
                f'{{"id":"s-81f","jsonrpc":"2.0","method":"mining.submit","params":{json.dumps(ROLLED)}}}\n',
                "s-81f",
            ),  # a proxy
            (f'{{"id":null,"method":"mining.submit","params":{json.dumps(PLAIN)}}}\n', None),
            (f' {{ "params"\t: {json.dumps(PLAIN)} ,"id":-3 , "method" :"mining.submit" }} \n', -3),
        ],
    )
    def test_a_share_is_understood_as_each_firmware_writes_it(
        self, desk: Desk, line: str, request_id: Any
    ) -> None:
        assert desk.take(line.encode()) == {"id": request_id, "result": True, "error": None}
        params = json.loads(line)["params"]
        assert desk.hash_of(params) in desk.seen

    def test_hex_may_be_of_capital_letters_but_for_the_job_id(self, desk: Desk) -> None:
        capital = [WORKER, f"{SERIAL:x}", *(text.upper() for text in ROLLED[2:])]
        assert desk.take(request(capital)) == ACCEPTED
        assert desk.hash_of(ROLLED) in desk.seen
        assert desk.take(request([WORKER, f"{SERIAL:X}", *PLAIN[2:]])) is None

    @pytest.mark.parametrize(
        "line",
        [
            request(PLAIN).replace(b"submit", b"ping"),
            request(["bc1qexample.rig2", *PLAIN[1:]]),
            request(["bc1qexample.rig", *PLAIN[1:]]),
            request([WORKER, "1f4", *PLAIN[2:]]),
            request([WORKER, "01f3", *PLAIN[2:]]),
            request([WORKER, "1f3.", *PLAIN[2:]]),
            request([WORKER, "1f3.00", *PLAIN[2:]]),
            request([WORKER, "1f3.1", *PLAIN[2:]]),
            request([WORKER, "1f3.0.0", *PLAIN[2:]]),
            request([WORKER, "100000000000001f3", *PLAIN[2:]]),
            request([WORKER, "", *PLAIN[2:]]),
            request([WORKER, "pool-1", *PLAIN[2:]]),
            request([*PLAIN[:2], E2[2:], *PLAIN[3:]]),
            request([*PLAIN[:2], E2 + "00", *PLAIN[3:]]),
            request([*PLAIN[:2], "zz" + E2[2:], *PLAIN[3:]]),
            request([*PLAIN[:3], f"{TIME - 11:08x}", PLAIN[4]]),
            request([*PLAIN[:3], f"{TIME + 11:08x}", PLAIN[4]]),
            request([*PLAIN[:3], f"0x{TIME:x}", PLAIN[4]]),
            request([*PLAIN[:4], "abcd"]),
            request([*PLAIN[:4], "0000abc/"]),
            request([*PLAIN[:4], 43981]),
            request([*PLAIN, "c0a000"]),
            request([*PLAIN, None]),
            request([*ROLLED, "more"]),
            request(PLAIN[:4]),
            request([]),
            request({"worker": WORKER}),
            request([PLAIN]),
            request(PLAIN, request_id=1.5),
            request(PLAIN, request_id=True),
            request(PLAIN, request_id=[7]),
            request(PLAIN, request_id="x" * 100),
            request(PLAIN, request_id="sch\u00f6n"),
            request(PLAIN, request_id=10**18),
            request(PLAIN).replace(b"7", b"-0", 1),
            request(PLAIN).replace(b"7", b"07", 1),
            request(PLAIN, ttl=[1]),
            request(PLAIN, ttl={}),
            request(PLAIN).replace(b'"id": 7', b'"ttl": 1e5, "id": 7'),
            request(PLAIN).replace(b'"id": 7', b'"ttl": .5, "id": 7'),
            request(PLAIN).replace(b'"id": 7', b'"ttl": nul, "id": 7'),
            request(PLAIN).replace(b'"id": 7', b'"ttl": "\xff", "id": 7'),
            request(PLAIN).replace(b'"id": 7', b'"id": 7, "id": 8'),
            request(PLAIN).replace(b'"id": 7, ', b""),
            request(PLAIN).replace(b'"method": "mining.submit", ', b""),
            request(PLAIN).replace(b"mining", rb"m\u0069ning"),
            request(PLAIN).replace(b"bc1q", rb"b\u00631q"),
            request(PLAIN).replace(b"}", b",}"),
            request(PLAIN).replace(b"}", b"}}"),
            request(PLAIN).replace(b"]", b",]"),
            request(PLAIN).replace(b"{", b"{{"),
            request(PLAIN).replace(b'"id"', b"id"),
            request(PLAIN).replace(b", ", b" ", 1),
            request(PLAIN).replace(b", ", b",\x0b", 1),
            request(PLAIN)[:-1],
            request(PLAIN)[:-3] + b"\n",
            request(PLAIN, filler="x" * 1024),
            b"\xef\xbb\xbf" + request(PLAIN),
            b"{}\n",
            b"[]\n",
            b"\n",
            b"\r\n",
            b"null\n",
            b"\x16\x03\x01\x02\x00\x01\x00\n",
            b"GET / HTTP/1.1\r\n",
            b"",
        ],
    )
    def test_what_is_not_plainly_a_share_of_this_session_is_left_to_python(
        self, desk: Desk, line: bytes
    ) -> None:
        assert desk.take(line) is None
        assert (desk.tally.accepted, len(desk.buffer), len(desk.seen)) == (0, 0, 0)

    def test_version_bits_of_a_session_that_negotiated_none_are_left_to_python(self) -> None:
        desk = Desk(mask=None)
        assert desk.take(request(ROLLED)) is None
        assert desk.take(request(PLAIN)) == ACCEPTED
        desk.taker.set_version_mask(0)
        assert desk.take(request([*PLAIN, "ffffffff"])) == {
            "id": 7,
            "result": None,
            "error": [22, "Duplicate share", None],
        }
        desk.taker.set_version_mask(None)
        assert desk.take(request(ROLLED)) is None

    def test_only_bits_that_were_negotiated_reach_the_version(self) -> None:
        desk = Desk(mask=0x0000E000)
        assert desk.take(request([*PLAIN, "ffffffff"])) == ACCEPTED
        assert desk.hash_of([*PLAIN, "0000e000"]) in desk.seen

    def test_a_chunk_is_taken_up_to_the_first_line_that_is_something_else(self, desk: Desk) -> None:
        lines = [request([*PLAIN[:4], f"{nonce:08x}"], nonce) for nonce in range(3)]
        chunk = b"junk" + b"".join(lines) + b'{"id":1,"method":"mining.ping","params":[]}\n' + lines[0]
        assert desk.taker.take(chunk, 4, NOW) == 4 + sum(map(len, lines))
        assert (desk.taker.accepted, desk.taker.rejected) == (3, 0)
        assert desk.taker.answers == b"".join(b'{"id":%d,"result":true,"error":null}\n' % n for n in range(3))
        assert desk.taker.take(chunk, len(chunk) - len(lines[0]), NOW) == len(chunk)
        assert (desk.taker.accepted, desk.taker.rejected) == (0, 1)
        assert desk.taker.take(chunk, len(chunk), NOW) == len(chunk)
        assert (desk.taker.answers, desk.taker.accepted, desk.taker.rejected) == (b"", 0, 0)

    def test_half_a_line_waits_for_its_other_half(self, desk: Desk) -> None:
        line = request(PLAIN)
        for cut in range(len(line)):
            assert desk.taker.take(line[:cut], 0, NOW) == 0
        assert desk.taker.take(line, 0, NOW) == len(line)

    @pytest.mark.parametrize("kind", [bytes, bytearray, memoryview, lambda data: memoryview(bytearray(data))])
    def test_a_chunk_may_be_any_kind_of_bytes(self, desk: Desk, kind: Callable[[bytes], Any]) -> None:
        line = request(PLAIN)
        chunk = kind(line)
        assert desk.taker.take(chunk, 0, NOW) == len(line)
        if isinstance(chunk, bytearray):
            chunk.clear()  # nothing holds on to it

    def test_more_answers_than_the_core_has_room_for_come_all_at_once(self, desk: Desk) -> None:
        chunk = request(PLAIN, "x" * 70) * 1000
        assert desk.taker.take(chunk, 0, NOW) == len(chunk)
        assert (desk.taker.accepted, desk.taker.rejected) == (1, 999)
        assert desk.taker.answers.count(b"\n") == 1000
        assert all(json.loads(line)["id"] == "x" * 70 for line in desk.taker.answers.splitlines())


class TestVerdicts:
    def test_an_accepted_share_is_remembered_recorded_and_counted(self, desk: Desk) -> None:
        assert desk.take(request(ROLLED)) == ACCEPTED
        digest = desk.hash_of(ROLLED)
        assert len(desk.buffer) == 1
        assert RECORD.unpack(desk.buffer.take()) == (77, 3, NOW, 0.25, SERIAL, digest)
        assert (desk.tally.accepted, desk.tally.work, desk.tally.work_squared) == (1, 0.25, 0.0625)
        assert math.isclose(desk.tally.best_difficulty, difficulty_of_hash(digest), rel_tol=1e-15)
        assert desk.tally.last_share_at == NOW

    def test_a_share_is_credited_once_whoever_brings_it(self, desk: Desk) -> None:
        assert desk.take(request(PLAIN)) == ACCEPTED
        refused = {"id": 7, "result": None, "error": [22, "Duplicate share", None]}
        assert desk.take(request(PLAIN)) == refused
        other = desk.session()
        other.take(request(PLAIN), 0, NOW)
        assert json.loads(other.answers) == refused
        assert desk.tally.rejected(REASONS.index(Reason.DUPLICATE)) == 2

    def test_what_python_remembered_is_a_duplicate_for_the_core(self, desk: Desk) -> None:
        desk.seen.add(desk.hash_of(PLAIN))
        assert desk.take(request(PLAIN))["error"] == [22, "Duplicate share", None]

    def test_a_hash_exactly_at_the_target_is_a_share_and_one_above_it_is_none(self, desk: Desk) -> None:
        value = int.from_bytes(desk.hash_of(PLAIN), "little")
        desk.taker.set_level(1, 0, 1.0, value - 1)
        assert desk.take(request(PLAIN))["error"] == [23, "Low difficulty share", None]
        assert desk.tally.rejected(REASONS.index(Reason.LOW_DIFFICULTY)) == 1
        desk.taker.set_level(2, 0, 1.0, value)
        assert desk.take(request(PLAIN)) == ACCEPTED

    def test_a_hash_that_meets_the_network_s_target_is_python_s_whatever_it_is_besides(
        self, desk: Desk
    ) -> None:
        value = int.from_bytes(desk.hash_of(PLAIN), "little")
        desk.put(SERIAL, target=value)
        assert desk.take(request(PLAIN)) is None
        desk.board.good_until(SERIAL, -math.inf)
        assert desk.take(request(PLAIN)) is None
        desk.put(SERIAL, target=value - 1)
        assert desk.take(request(PLAIN)) == ACCEPTED

    def test_a_superseded_job_is_good_until_its_time_is_over_and_stale_after_it(self, desk: Desk) -> None:
        desk.board.good_until(SERIAL, NOW)
        assert desk.take(request(PLAIN)) == ACCEPTED
        desk.board.good_until(SERIAL, math.nextafter(NOW, 0))
        assert desk.take(request(ROLLED))["error"] == [21, "Stale share", None]
        desk.board.good_until(SERIAL, -math.inf)
        assert desk.take(request(PLAIN))["error"] == [21, "Stale share", None]
        assert desk.tally.rejected(REASONS.index(Reason.STALE)) == 2

    def test_the_core_s_reasons_are_numbered_as_python_s(self) -> None:
        numbers = [lib.HM_REASON_STALE, lib.HM_REASON_DUPLICATE, lib.HM_REASON_LOW_DIFFICULTY]
        assert [REASONS[number] for number in numbers] == [
            Reason.STALE,
            Reason.DUPLICATE,
            Reason.LOW_DIFFICULTY,
        ]
        assert len(REASONS) <= lib.HM_MAX_REASONS

    def test_a_session_s_own_payout_is_in_the_coinbase_it_hashed(self) -> None:
        desk = Desk(script=b"\x00\x14" + bytes(20))
        assert desk.take(request(PLAIN)) == ACCEPTED
        assert desk.hash_of(PLAIN, b"\x00\x14" + bytes(20)) in desk.seen
        assert desk.hash_of(PLAIN) not in desk.seen

    def test_the_payout_that_the_job_has_anyway_changes_nothing(self) -> None:
        desk = Desk(script=b"\x51\x52")
        assert desk.take(request(PLAIN)) == ACCEPTED
        assert desk.hash_of(PLAIN) in desk.seen

    @pytest.mark.parametrize("script", [b"", bytes(253)])
    def test_a_payout_that_cannot_be_is_refused(self, desk: Desk, script: bytes) -> None:
        with pytest.raises(ValueError, match="payout script"):
            desk.session(script=script)
        with pytest.raises(ValueError, match="payout script"):
            share_header(desk.job, E1, b"", 0, 0, 0, script)

    def test_an_extranonce_longer_than_any_coinbase_has_is_refused(self, desk: Desk) -> None:
        with pytest.raises(ValueError, match="33 bytes"):
            SubmitTaker(
                desk.board,
                desk.buffer,
                desk.tally,
                unit=1,
                worker=b"",
                extranonce1=bytes(33),
                version_mask=None,
            )

    def test_a_worker_s_name_may_be_of_any_letters(self, desk: Desk) -> None:
        desk.taker = desk.session(worker="schürfer.é")
        raw = json.dumps(
            {"id": 7, "method": "mining.submit", "params": ["schürfer.é", *PLAIN[1:]]}, ensure_ascii=False
        )
        assert desk.take(raw.encode() + b"\n") == ACCEPTED
        assert desk.take(raw.encode("latin-1") + b"\n") is None


class TestLevels:
    @staticmethod
    def desk() -> Desk:
        """Jobs 1f3 and 1f4, and a level from the second on that no hash meets."""
        desk = Desk()
        desk.put(SERIAL + 1)
        desk.taker.set_level(1, SERIAL + 1, 1.0, 0)
        return desk

    def test_the_old_difficulty_counts_for_jobs_sent_before_it_changed(self) -> None:
        desk = self.desk()
        assert desk.take(request(PLAIN)) == ACCEPTED
        assert desk.take(request([WORKER, "1f4", *PLAIN[2:]]))["error"][0] == 23

    def test_a_job_sent_again_names_the_difficulty_that_counts_but_never_an_older_one(self) -> None:
        desk = self.desk()
        assert desk.take(request([WORKER, "1f3.1", *PLAIN[2:]]))["error"][0] == 23
        assert desk.take(request([WORKER, "1f4.0", *PLAIN[2:]]))["error"][0] == 23
        assert desk.take(request([WORKER, "1f4.2", *PLAIN[2:]])) is None

    def test_the_oldest_difficulty_kept_stands_for_those_that_are_not(self) -> None:
        desk = Desk()
        for number in range(1, lib.HM_LEVELS):
            desk.taker.set_level(number, SERIAL + number, 1.0, 0)
        assert desk.take(request([WORKER, "1f3.0", *PLAIN[2:4], "00000001"])) == ACCEPTED
        assert desk.take(request([WORKER, "1f3", *PLAIN[2:4], "00000002"])) == ACCEPTED
        desk.taker.set_level(lib.HM_LEVELS, SERIAL + 100, 1.0, 0)
        assert desk.take(request([WORKER, "1f3.0", *PLAIN[2:4], "00000003"]))["error"][0] == 23
        assert desk.take(request([WORKER, "1f3", *PLAIN[2:4], "00000004"]))["error"][0] == 23

    def test_levels_come_in_their_order(self, desk: Desk) -> None:
        desk.taker.set_level(5, 0, 1.0, 0)
        with pytest.raises(ValueError, match="level 4"):
            desk.taker.set_level(4, 0, 1.0, 0)

    def test_a_session_without_a_difficulty_has_no_shares_yet(self, desk: Desk) -> None:
        taker = SubmitTaker(
            desk.board,
            desk.buffer,
            desk.tally,
            unit=1,
            worker=WORKER.encode(),
            extranonce1=E1,
            version_mask=None,
        )
        assert taker.take(request(PLAIN), 0, NOW) == 0

    def test_the_work_of_a_chunk_is_the_sum_of_what_its_shares_were_credited_with(self) -> None:
        desk = self.desk()
        desk.taker.set_level(2, SERIAL + 2, 8.0, MAX_TARGET)
        lines = [
            request([WORKER, "1f3", *PLAIN[2:4], "00000001"], "x" * 70),
            request([WORKER, "1f4", *PLAIN[2:4], "00000002"], "x" * 70),
            request([WORKER, "1f4.2", *PLAIN[2:4], "00000003"], "x" * 70),
        ]
        assert desk.taker.work == 0.0
        desk.taker.take(b"".join(lines), 0, NOW)
        assert (desk.taker.accepted, desk.taker.rejected, desk.taker.work) == (2, 1, 8.25)
        again = request([WORKER, "1f3", *PLAIN[2:4], "00000004"])
        desk.taker.take(lines[0] * 1000 + again, 0, NOW)  # more than the core answers at one call
        assert (desk.taker.accepted, desk.taker.rejected, desk.taker.work) == (1, 1000, 0.25)
        desk.taker.take(again, 0, NOW)
        assert desk.taker.work == 0.0


class TestBoard:
    def test_a_job_that_was_removed_is_not_known(self, desk: Desk) -> None:
        desk.board.remove(SERIAL)
        desk.board.remove(SERIAL)
        assert desk.take(request(PLAIN)) is None
        desk.board.good_until(SERIAL, 0.0)
        desk.put(SERIAL)
        assert desk.take(request(PLAIN)) == ACCEPTED

    def test_a_job_in_the_place_of_another_is_the_one_that_is_known(self, desk: Desk) -> None:
        newer = SERIAL + lib.HM_BOARD_JOBS
        desk.put(newer)
        desk.board.remove(SERIAL)
        desk.board.good_until(SERIAL, -math.inf)
        assert desk.take(request(PLAIN)) is None
        assert desk.take(request([WORKER, f"{newer:x}", *PLAIN[2:]])) == ACCEPTED

    def test_a_session_of_another_extranonce_size_is_left_to_python(self, desk: Desk) -> None:
        taker = SubmitTaker(
            desk.board,
            desk.buffer,
            desk.tally,
            unit=1,
            worker=WORKER.encode(),
            extranonce1=E1[1:],
            version_mask=None,
        )
        taker.set_level(0, 0, 1.0, MAX_TARGET)
        assert taker.take(request(PLAIN), 0, NOW) == 0


class TestRoom:
    def test_tables_and_buffers_grow_in_the_middle_of_a_chunk(self) -> None:
        desk = Desk()
        desk.buffer = ShareBuffer(1)
        desk.taker = desk.session()
        chunk = b"".join(request([*PLAIN[:4], f"{nonce:08x}"]) for nonce in range(5000))
        assert desk.taker.take(chunk, 0, NOW) == len(chunk)
        assert (desk.taker.accepted, len(desk.buffer), len(desk.seen)) == (5000, 5000, 5000)
        assert {RECORD.unpack(record)[-1] for record in records(desk.buffer.take())} == {
            desk.hash_of([*PLAIN[:4], f"{nonce:08x}"]) for nonce in range(5000)
        }

    def test_a_full_table_leaves_good_shares_to_python_and_says_no_to_others(self) -> None:
        desk = Desk()
        desk.seen = SeenTable(limit=1)
        desk.put(SERIAL)
        assert desk.take(request(PLAIN)) == ACCEPTED
        assert desk.take(request(ROLLED)) is None
        assert desk.take(request(PLAIN))["error"][0] == 22

    def test_a_full_buffer_leaves_good_shares_to_python_and_says_no_to_others(self) -> None:
        desk = Desk()
        desk.buffer = ShareBuffer(1, limit=1)
        desk.taker = desk.session()
        assert desk.take(request(PLAIN)) == ACCEPTED
        assert desk.take(request(ROLLED)) is None
        assert desk.take(request(PLAIN))["error"][0] == 22
        desk.buffer.take()
        assert desk.take(request(ROLLED)) == ACCEPTED


def records(data: bytes) -> list[bytes]:
    return [data[i : i + RECORD.size] for i in range(0, len(data), RECORD.size)]


class TestSeenTable:
    def test_a_hash_is_new_once(self) -> None:
        table = SeenTable()
        assert digest_of(1) not in table
        assert table.add(digest_of(1))
        assert not table.add(digest_of(1))
        assert digest_of(1) in table
        assert digest_of(2) not in table
        assert len(table) == 1

    def test_the_hash_of_zeros_is_a_hash_like_others(self) -> None:
        table = SeenTable()
        assert bytes(32) not in table
        assert table.add(bytes(32))
        assert not table.add(bytes(32))
        assert len(table) == 1

    def test_it_forgets_nothing_while_it_grows(self) -> None:
        table = SeenTable()
        for number in range(40_000):
            assert table.add(digest_of(number))
            assert not table.add(digest_of(number // 2))
        assert len(table) == 40_000
        assert all(digest_of(number) in table for number in range(40_000))
        assert not any(digest_of(number) in table for number in range(40_000, 50_000))
        assert len(table._slots) == 1  # what was moved is let go

    @settings(deadline=None, max_examples=50)
    @given(st.lists(st.integers(0, 300), max_size=400))
    def test_it_is_a_set(self, numbers: list[int]) -> None:
        table, model = SeenTable(), set[int]()
        for number in numbers:
            assert (digest_of(number) in table) == (number in model)
            assert table.add(digest_of(number)) == (number not in model)
            model.add(number)
        assert len(table) == len(model)

    @pytest.mark.parametrize("limit", [1, 3000, 3072, 3073, 5000])
    def test_it_is_full_at_its_limit_and_not_before(self, limit: int) -> None:
        table = SeenTable(limit)
        for number in range(limit):
            assert not table.is_full
            table.add(digest_of(number))
        assert table.is_full
        assert not table.add(digest_of(0))
        with pytest.raises(ValueError, match=f"full with {limit}"):
            table.add(digest_of(limit))

    def test_it_is_full_when_the_machine_has_no_memory(self, monkeypatch: pytest.MonkeyPatch) -> None:
        class Poor:
            @staticmethod
            def new(*_: Any) -> Any:
                raise MemoryError

        table = SeenTable()
        monkeypatch.setattr(kernel_submit, "ffi", Poor)
        while not table.is_full:
            table.add(digest_of(len(table)))
        assert len(table) == 3072
        monkeypatch.setattr(kernel_submit, "ffi", ffi)
        assert not table.is_full

    def test_records_of_its_tip_fill_it_again(self) -> None:
        table = SeenTable()
        data = b"".join(
            RECORD.pack(1, number % 2, 0.0, 1.0, 5, digest_of(number % 9000)) for number in range(10_000)
        )
        assert table.add_records(data, 1) == 4500
        assert table.add_records(data, 1) == 0
        assert table.add_records(b"", 1) == 0
        assert digest_of(1) in table
        assert digest_of(2) not in table
        assert SeenTable(limit=100).add_records(data, 1) == 100

    @pytest.mark.parametrize("digest", [b"", bytes(31), bytes(33)])
    def test_what_is_no_hash_is_refused(self, digest: bytes) -> None:
        with pytest.raises(ValueError, match="32 bytes"):
            SeenTable().add(digest)
        with pytest.raises(ValueError, match="32 bytes"):
            assert digest in SeenTable()

    def test_a_table_without_room_is_refused(self) -> None:
        with pytest.raises(ValueError, match="at least one"):
            SeenTable(0)


class TestTally:
    def test_python_and_the_core_count_alike(self, desk: Desk) -> None:
        counted = Tally()
        for params in (PLAIN, ROLLED):
            assert desk.take(request(params)) == ACCEPTED
            counted.accept(0.25, difficulty_of_hash(desk.hash_of(params)), NOW)
        desk.take(request(PLAIN))
        counted.reject(REASONS.index(Reason.DUPLICATE))
        for name in ("accepted", "work", "work_squared", "last_share_at"):
            assert getattr(counted, name) == getattr(desk.tally, name)
        assert math.isclose(counted.best_difficulty, desk.tally.best_difficulty, rel_tol=1e-15)
        assert [counted.rejected(i) for i in range(len(REASONS))] == [0, 0, 1, *([0] * (len(REASONS) - 3))]

    def test_the_best_share_stays_the_best(self) -> None:
        tally = Tally()
        for reached in (3.0, 9.0, 4.0):
            tally.accept(2.0, reached, reached)
        assert (tally.best_difficulty, tally.last_share_at, tally.work, tally.work_squared) == (
            9.0,
            4.0,
            6.0,
            12.0,
        )

    def test_the_best_of_lately_is_taken_once(self, desk: Desk) -> None:
        assert desk.tally.take_best() == 0.0
        reached = []
        for params in (PLAIN, ROLLED):
            assert desk.take(request(params)) == ACCEPTED
            reached.append(difficulty_of_hash(desk.hash_of(params)))
        assert math.isclose(desk.tally.take_best(), max(reached), rel_tol=1e-15)
        assert desk.tally.take_best() == 0.0
        desk.tally.accept(1.0, min(reached) / 2, NOW)
        assert desk.tally.take_best() == min(reached) / 2
        assert math.isclose(desk.tally.best_difficulty, max(reached), rel_tol=1e-15)

    def test_rejections_can_be_had_all_at_once(self, desk: Desk) -> None:
        desk.tally.reject(REASONS.index(Reason.BAD_NONCE))
        rejections = desk.tally.rejections
        assert (len(rejections), sum(rejections)) == (lib.HM_MAX_REASONS, 1)
        assert rejections[REASONS.index(Reason.BAD_NONCE)] == 1

    def test_one_that_nobody_counted_in_is_empty(self) -> None:
        tally = Tally()
        assert (tally.accepted, tally.work, tally.best_difficulty, tally.last_share_at) == (0, 0.0, 0.0, 0.0)
        assert sum(tally.rejected(i) for i in range(len(REASONS))) == 0


class TestShareBuffer:
    def test_records_are_64_bytes_with_the_hash_last(self) -> None:
        assert RECORD.size == lib.HM_RECORD == 64
        record = RECORD.pack(1, 2, 3.5, 0.25, 5, digest_of(0))
        assert record.hex().startswith(
            "0100000002000000" + "0000000000000c40" + "000000000000d03f" + "0500000000000000"
        )
        assert record[32:] == digest_of(0)

    def test_what_python_adds_comes_out_among_the_core_s_in_their_order(self, desk: Desk) -> None:
        assert desk.take(request(PLAIN)) == ACCEPTED
        desk.buffer.add(5, 6, 7.0, 8.0, 9, digest_of(1))
        assert desk.take(request(ROLLED)) == ACCEPTED
        assert len(desk.buffer) == 3
        taken = [RECORD.unpack(record) for record in records(desk.buffer.take())]
        assert [record[0] for record in taken] == [77, 5, 77]
        assert taken[1] == (5, 6, 7.0, 8.0, 9, digest_of(1))
        assert (len(desk.buffer), desk.buffer.take()) == (0, b"")

    def test_it_grows_and_loses_nothing(self) -> None:
        buffer = ShareBuffer(1)
        for number in range(1000):
            buffer.add(number, 0, 0.0, 0.0, 0, digest_of(number))
        assert [RECORD.unpack(record)[0] for record in records(buffer.take())] == list(range(1000))

    def test_it_is_full_at_its_limit(self) -> None:
        buffer = ShareBuffer(1, limit=3)
        for number in range(3):
            assert not buffer.is_full
            buffer.add(number, 0, 0.0, 0.0, 0, bytes(32))
        assert buffer.is_full
        with pytest.raises(ValueError, match="full with 3"):
            buffer.add(3, 0, 0.0, 0.0, 0, bytes(32))
        buffer.take()
        assert not buffer.is_full

    @pytest.mark.parametrize("bounds", [(0, 1), (2, 1)])
    def test_bounds_that_cannot_be_are_refused(self, bounds: tuple[int, int]) -> None:
        with pytest.raises(ValueError, match="at least one record"):
            ShareBuffer(*bounds)


def test_everything_of_the_module_has_its_name_in_the_kernel() -> None:
    for name in ("RECORD", "Board", "SeenTable", "ShareBuffer", "SubmitTaker", "Tally"):
        assert getattr(kernel, name) is getattr(kernel_submit, name)
