"""What users complain of in other servers, as far as a session is concerned: each complaint is a test of its name."""

import json
from collections.abc import Iterator
from itertools import pairwise, permutations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from miner.chain.difficulty import difficulty_of_hash, target_of_difficulty
from miner.kernel import Tally
from miner.stratum.rules import PortRules
from miner.stratum.v1 import difficulty_text, wire_difficulty
from miner.work.share import Accepted, Block
from tests.miner.harness import NOW
from tests.miner.stratum.device import Device, OpenHouse, mining, sha256d, work

LOGIN_CALLS = (
    '{"id":1,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000"}]}',
    '{"id":2,"method":"mining.subscribe","params":["test/1.0"]}',
    '{"id":3,"method":"mining.authorize","params":["rig","x"]}',
    '{"id":4,"method":"mining.suggest_difficulty","params":[0.000000001]}',
)


@pytest.fixture(params=[False, True], ids=["by Python", "by the core"])
def house(request: pytest.FixtureRequest) -> OpenHouse:
    return OpenHouse(is_fast=request.param)


def errors(said: list[str]) -> Iterator[str]:
    for line in said:
        answer = json.loads(line)
        assert answer["result"] is None
        yield answer["error"][1]


def changes_heard(device: Device, seconds: int, share_every_s: float = 0.0) -> list[float]:
    """The difficulties a device is sent while it hands in a share every so often, or none."""
    heard, last_share = [], 0.0
    vardiff = device.session._channel.pace.vardiff
    assert vardiff
    for elapsed in range(5, seconds, 5):
        said = [device.session.tick(NOW + elapsed).data]
        if share_every_s and elapsed - last_share >= share_every_s:
            last_share = elapsed
            said.append(device.session._channel.credit(1, device.session.difficulty, NOW + elapsed))
        for line in b"".join(said).splitlines():
            if b"set_difficulty" in line:
                heard += json.loads(line)["params"]
    return heard


class TestDifficulty:
    def test_too_high_a_start_difficulty_for_small_miners(self) -> None:
        device = mining(OpenHouse(), PortRules(start_difficulty=1000.0))
        heard = changes_heard(device, 120)
        assert heard == sorted(heard, reverse=True)
        assert heard[-1] < 1.0  # a device a thousand times too small is not left waiting for a share

    def test_too_high_a_start_difficulty_for_small_miners_that_say_so(self) -> None:
        nerd = mining(OpenHouse(), PortRules(start_difficulty=1000.0))
        assert json.loads(nerd.call("mining.suggest_difficulty", 0.00015)[1])["params"] == [0.00015]
        typed = Device(OpenHouse(), PortRules(start_difficulty=1000.0))
        typed.log_in("d=0.00015")
        assert typed.difficulty == 0.00015

    def test_vardiff_that_floods_slow_starters(self) -> None:
        device = mining(OpenHouse(), PortRules(start_difficulty=1.0))
        assert len(changes_heard(device, 1800)) < 40

    def test_vardiff_that_kills_slow_starters(self) -> None:
        device = mining(OpenHouse(), PortRules(start_difficulty=1.0))
        heard = changes_heard(device, 3000, share_every_s=60.0)
        assert all(difficulty < 1.0 for difficulty in heard)
        assert device.session.difficulty < 1.0

    def test_a_device_that_suggests_to_be_heard_of_is_not_sent_jobs_for_it(self, house: OpenHouse) -> None:
        device = mining(house, PortRules(start_difficulty=1.0))
        device.call("mining.suggest_difficulty", 0.00015)
        for number in range(20):
            assert device.call("mining.suggest_difficulty", 0.00015, id=number) == [
                f'{{"id":{number},"result":true,"error":null}}'
            ]

    def test_best_share_differing_from_the_miners(self, house: OpenHouse) -> None:
        device = mining(house)
        share = device.share()
        assert device.submit(share) == ['{"id":4,"result":true,"error":null}']
        _, prev, one, two, _, version, nbits, _, _ = device.params
        root = sha256d(bytes.fromhex(one) + device.extranonce1 + bytes.fromhex(share[2] + two))
        words = "".join(bytes.fromhex(prev[i : i + 8])[::-1].hex() for i in range(0, 64, 8))
        swapped = [bytes.fromhex(word)[::-1].hex() for word in (version, share[3], nbits, share[4])]
        header = bytes.fromhex(swapped[0] + words + root.hex() + "".join(swapped[1:]))
        tally = house.unit("rig").tally
        if house.is_fast:
            assert isinstance(tally, Tally)
            assert tally.best_difficulty == difficulty_of_hash(sha256d(header))
        else:
            ((_, _, verdict),) = house.taken
            assert isinstance(verdict, Accepted)
            assert verdict.hash == sha256d(header)

    @given(st.floats(1e-9, 1e15))
    def test_the_miner_and_we_mean_the_same_target(self, difficulty: float) -> None:
        sent = wire_difficulty(difficulty)
        parsed = float(difficulty_text(sent))
        devices_target = int(0xFFFF * 2**208 / parsed)  # in floating point, as firmware does it
        assert abs(devices_target - target_of_difficulty(sent)) <= target_of_difficulty(sent) * 2**-52


class TestLogin:
    @pytest.mark.parametrize(
        "order", list(permutations(range(4))), ids=lambda order: "".join(LOGIN_CALLS[i][6] for i in order)
    )
    def test_configure_subscribe_and_authorize_in_one_packet_giving_random_results(
        self, house: OpenHouse, order: tuple[int, ...]
    ) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        said = device.send(*(LOGIN_CALLS[i] for i in order))
        answers = [json.loads(line) for line in said if '"method":' not in line]
        assert [answer["id"] for answer in answers] == [i + 1 for i in order]
        assert all(answer["error"] is None for answer in answers)
        assert (device.difficulty, device.params[0]) == (1e-9, "1a2")
        assert device.submit([*device.share(bits=0x6000), "00006000"]) == [
            '{"id":4,"result":true,"error":null}'
        ]

    @pytest.mark.parametrize("cut", range(0, 360, 7))
    def test_calls_of_one_packet_cut_anywhere_giving_random_results(self, house: OpenHouse, cut: int) -> None:
        packet = "".join(call + "\n" for call in LOGIN_CALLS).encode()
        whole, parts = Device(house), Device(house)
        said = whole.hear(whole.session.receive(packet, NOW))
        assert said == [
            line
            for a, b in pairwise((0, cut, len(packet)))
            for line in parts.hear(parts.session.receive(packet[a:b], NOW))
        ]

    @pytest.mark.parametrize(
        "order", list(permutations(range(4))), ids=lambda order: "".join(LOGIN_CALLS[i][6] for i in order)
    )
    def test_set_version_mask_in_the_middle_of_a_login(
        self, house: OpenHouse, order: tuple[int, ...]
    ) -> None:
        device = Device(house)
        for i in order:
            device.session.change_version_mask(0x00C00000)
            device.send(LOGIN_CALLS[i])
        assert not any("set_version_mask" in str(line) for line in device.lines)

    def test_nothing_unasked_comes_before_the_login_is_answered(self, house: OpenHouse) -> None:
        device = Device(house)
        said = [line for call in LOGIN_CALLS for line in device.send(call)]
        assert [json.loads(line).get("id") for line in said[:3]] == [1, 2, 3]

    def test_keys_that_are_no_part_of_the_protocol_cost_a_whatsminer_its_login(
        self, house: OpenHouse
    ) -> None:
        device = Device(house)
        device.call("mining.subscribe")
        said = device.send('{"id":3587156,"method":"mining.authorize","params":["rig",""],"ttl":2}')
        assert said[0] == '{"id":3587156,"result":true,"error":null}'


class TestWork:
    def test_stale_work_is_refused_as_soon_as_there_is_another_tip(self, house: OpenHouse) -> None:
        device = mining(house)
        share = device.share()
        device.offer(work("1a3", prev_hash=b"\x0b" * 32))
        assert list(errors(device.submit(share))) == ["Stale share"]
        assert device.submit(device.share()) == ['{"id":4,"result":true,"error":null}']

    def test_work_of_the_same_block_counts_for_a_while_after_it_is_superseded(self, house: OpenHouse) -> None:
        device = mining(house)
        first = device.share()
        second = device.share(first=int(first[4], 16) + 1)
        device.offer(work("1a3"))
        device.now = house.now = NOW + 60.0
        assert device.submit(first) == ['{"id":4,"result":true,"error":null}']
        device.now = house.now = NOW + 60.1
        assert list(errors(device.submit(second))) == ["Stale share"]

    def test_missed_blocks_for_their_tip_was_thought_lost(self, house: OpenHouse) -> None:
        easy = work("1a2", bits=0x207FFFFF)
        house.current = easy
        house.book = type(house.book)(60.0)
        house.book.add(easy, NOW)
        device = mining(house)
        house.add(work("1a3", prev_hash=b"\x0b" * 32))
        for nonce in range(8):
            device.submit(["rig", "1a2", "00" * 8, device.params[7], f"{nonce:08x}"])
        assert any(isinstance(verdict, Block) and verdict.stale for _, _, verdict in house.taken)

    def test_a_clean_flag_for_every_new_tip(self, house: OpenHouse) -> None:
        device = mining(house)
        device.offer(work("1a3", prev_hash=b"\x0b" * 32, clean=True))
        assert device.params[-1] is True


class TestAnswers:
    def test_accepted_shown_for_rejected_shares(self, house: OpenHouse) -> None:
        device = mining(house)
        good = device.share()
        assert device.submit(good) == ['{"id":4,"result":true,"error":null}']
        refused = {
            "Duplicate share": good,
            "Low difficulty share": device.share(good=False),
            "Job not found": [good[0], "beef", *good[2:]],
            "Unauthorized worker": ["other", *good[1:]],
            "Wrong size of extranonce2": [*good[:2], "00", *good[3:]],
            "Time too old": [*good[:3], "00000001", good[4]],
            "Time too new": [*good[:3], "ffffffff", good[4]],
            "nonce is not a hex number of 32 bits": [*good[:4], "123456789"],
            "mining.submit needs worker, job, extranonce2, ntime and nonce": good[:4],
        }
        for words, params in refused.items():
            assert list(errors(device.submit(params))) == [words]
            assert device.output.credited == 0

    def test_a_share_is_answered_with_what_must_wait_for_the_ledger(self, house: OpenHouse) -> None:
        device = mining(house)
        first = device.share()
        second = device.share(first=int(first[4], 16) + 1)
        lines = [
            json.dumps({"id": i, "method": "mining.submit", "params": p})
            for i, p in enumerate((first, second, first))
        ]
        said = device.send(lines[0], '{"id":"p","method":"mining.ping"}', *lines[1:])
        assert [json.loads(line)["id"] for line in said] == [0, "p", 1, 2]
        assert device.output.credited == 2

    def test_a_share_credited_twice_after_a_reconnect(self, house: OpenHouse) -> None:
        device = mining(house)
        share = device.share()
        device.submit(share)
        device.session.end(NOW)
        again = mining(house)
        assert list(errors(again.submit(share))) == ["Duplicate share"]
