"""The mining half of a session: jobs, difficulty changes, shares, and what changes under a miner's feet."""

import json
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from miner.chain.difficulty import MAX_TARGET, difficulty_of_target, target_of_difficulty
from miner.stratum.house import Granted, Subscription
from miner.stratum.rules import PortRules
from miner.stratum.v1 import Notice
from miner.work.job import Job, UpstreamWork
from miner.work.share import Block, Reason, Rejected
from tests.miner.harness import NOW
from tests.miner.stratum.device import EASY_BITS, PLACE, Device, OpenHouse, mining, unit_named, work

OPEN = PortRules(start_difficulty=1000.0)
ACCEPTED = '{"id":4,"result":true,"error":null}'


@pytest.fixture(params=[False, True], ids=["by Python", "by the core"])
def house(request: pytest.FixtureRequest) -> OpenHouse:
    return OpenHouse(is_fast=request.param)


def method(line: str) -> str:
    return str(json.loads(line).get("method"))


def methods(lines: list[str]) -> list[str]:
    return [method(line).removeprefix("mining.") for line in lines]


def pools(
    job_id: str, *, origin: str = "pool", epoch: int = 1, difficulty: float = 1e3, **changes: Any
) -> Job:
    """A pool's job, whose shares of this difficulty go up; its time is its own, so that its shares are."""
    upstream = UpstreamWork("7", target_of_difficulty(difficulty), b"", epoch)
    ntime_s = work().ntime_s + (int(job_id, 16) & 0xFF)
    return work(job_id, origin=origin, upstream=upstream, ntime_s=ntime_s, **changes)


class TestJobs:
    def test_a_new_job_is_the_same_line_for_everyone(self, house: OpenHouse) -> None:
        one, other = mining(house), mining(house)
        assert one.offer(work("1a3")) == other.hear(other.session.offer(house.notice_of(work("1a3")), NOW))
        assert one.submit(one.share()) == [ACCEPTED]

    def test_the_first_job_is_clean_and_later_ones_as_they_are(self, house: OpenHouse) -> None:
        house.current = replace(work("1a3"), clean=False)
        house.book.add(house.current, NOW)
        device = mining(house)
        assert device.params[-1] is True
        device.offer(replace(work("1a4"), clean=False))
        assert device.params[-1] is False

    @pytest.mark.parametrize(
        "script", [None, b"\x00\x14" + bytes(20)], ids=["paying the operator", "paying itself"]
    )
    def test_one_who_missed_the_first_job_on_a_tip_gets_the_next_one_clean(
        self, house: OpenHouse, script: bytes | None
    ) -> None:
        house.logins["rig"] = Granted(house.unit("rig"), script)
        device = mining(house)
        device.offer(work("1a4", prev_hash=b"\x0b" * 32, clean=False))
        assert device.params[-1] is True
        device.offer(work("1a5", prev_hash=b"\x0b" * 32, clean=False))
        assert device.params[-1] is False

    def test_the_job_it_has_is_not_offered_twice(self, house: OpenHouse) -> None:
        device = mining(house)
        assert house.current
        assert device.session.offer(house.notice_of(house.current), NOW) == b""

    def test_who_does_not_mine_yet_gets_no_job(self, house: OpenHouse) -> None:
        device = Device(house)
        assert device.offer(work("1a3")) == []
        device.call("mining.subscribe")
        assert device.offer(work("1a4")) == []
        assert [method(line) for line in device.call("mining.authorize", "rig")] == [
            "None",
            "mining.set_difficulty",
            "mining.notify",
        ]
        assert device.params[0] == "1a4"

    def test_without_work_there_is_a_difficulty_and_the_first_job_follows(self) -> None:
        device = mining(OpenHouse(current=None))
        assert (device.difficulty, device.params) == (1e-9, [])
        assert [method(line) for line in device.offer(work("1a3"))] == ["mining.notify"]
        assert device.submit(device.share()) == [ACCEPTED]

    def test_a_gated_unit_gets_no_jobs(self, house: OpenHouse) -> None:
        device = mining(house)
        house.unit("rig").gate_reason = "power costs more than it earns"
        assert device.offer(work("1a3")) == []

    def test_every_level_holds_for_all_units_of_the_session(self, house: OpenHouse) -> None:
        device = Device(house, OPEN)
        device.log_in()
        device.call("mining.authorize", "other")
        device.hear(
            device.session.receive(b'{"id":5,"method":"mining.suggest_difficulty","params":[0.5]}\n', NOW)
        )
        assert [unit.difficulty for unit in device.session.units] == [0.5, 0.5]
        assert device.session.difficulty == 0.5


class TestOtherWork:
    """Jobs of more than one source, whose serials rise together: a session may be given one that is older than its last."""

    def test_work_of_another_source_is_clean_on_the_same_tip_too(self, house: OpenHouse) -> None:
        device = mining(house)
        for job in (
            pools("1a3", clean=False),
            pools("1a4", clean=False, epoch=2),
            pools("1a5", clean=False, epoch=2, origin="other"),
            work("1a6", clean=False, ntime_s=work().ntime_s + 1),
        ):
            assert methods(device.offer(job)) == ["notify"]
            assert (device.params[0], device.params[-1]) == (job.id, True)
            assert device.submit(device.share()) == [ACCEPTED]
        device.offer(work("1a7", clean=False))
        assert device.params[-1] is False

    def test_a_later_job_of_the_same_source_is_not(self, house: OpenHouse) -> None:
        device = mining(house)
        device.offer(pools("1a3"))
        device.offer(pools("1a4", clean=False))
        assert device.params[-1] is False

    def test_no_share_is_asked_to_be_harder_than_the_pools(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=0.5, min_difficulty=0.5, max_difficulty=0.5))
        device.log_in()
        assert methods(device.offer(pools("1a3", difficulty=1e-3))) == ["set_difficulty", "notify"]
        assert target_of_difficulty(device.difficulty) >= target_of_difficulty(1e-3)
        assert device.difficulty == pytest.approx(1e-3, rel=1e-5)
        device.offer(pools("1a4", difficulty=2e-3))
        assert device.difficulty == pytest.approx(2e-3, rel=1e-5)
        device.offer(work("1a5"))
        assert device.difficulty == 0.5

    def test_the_easiest_pool_there_can_be_is_no_trouble(self, house: OpenHouse) -> None:
        device = mining(house)
        upstream = UpstreamWork("7", MAX_TARGET, b"", 1)
        device.offer(work("1a3", origin="pool", upstream=upstream))
        assert target_of_difficulty(device.difficulty) == MAX_TARGET

    def test_an_older_job_is_sent_under_an_id_of_its_own_with_another_time(self, house: OpenHouse) -> None:
        device = mining(house)
        device.offer(pools("1a3"))
        device.now += 7.0
        assert house.current
        own = house.book.lookup("1a2", NOW)
        assert own is not None
        said = device.hear(device.session.offer(house.notice_of(own.job), device.now))
        assert methods(said) == ["set_difficulty", "notify"]
        assert (device.params[0], device.params[-1]) == ("1a2.1", True)
        assert int(device.params[7], 16) == own.job.ntime_s + 7
        assert device.submit(device.share()) == [ACCEPTED]

    def test_the_difficulty_of_a_job_is_the_one_it_was_sent_under_whatever_came_in_between(
        self, house: OpenHouse
    ) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        early = device.share()
        device.offer(pools("1a3"))
        later = device.share()
        own = house.book.lookup("1a2", NOW)
        assert own is not None
        device.hear(device.session.offer(house.notice_of(own.job), NOW))
        device.call("mining.suggest_difficulty", 1e-3)
        hard = device.params[0]
        assert hard == "1a2.2"
        assert device.submit(later) == [ACCEPTED]
        assert device.submit(early) == [ACCEPTED]
        assert "Low difficulty" in device.submit([early[0], hard, *early[2:]])[0]
        device.offer(pools("1a4"))
        device.difficulty = 1e-9
        assert "Low difficulty" in device.submit(device.share())[0]

    def test_the_job_it_has_comes_from_another_lane_and_is_not_sent_again(self, house: OpenHouse) -> None:
        device = mining(house)
        assert house.current
        assert device.session.offer(Notice(house.current, clean=True), NOW) == b""
        assert methods(device.offer(work("1a3", clean=False))) == ["notify"]

    def test_a_job_of_other_sizes_than_it_was_told_is_not_for_it(self, house: OpenHouse) -> None:
        device = mining(house)
        assert device.offer(work("1a3", extranonce2_size=4)) == []
        assert methods(device.offer(work("1a4"))) == ["notify"]
        house.current = work("1a5", extranonce2_size=4)
        late = mining(house)
        assert (late.params, late.difficulty) == ([], 1e-9)

    @settings(deadline=None)
    @given(
        steps=st.lists(
            st.sampled_from(["own", "pool", "other lane", "harder", "easier", "share", "late share"]),
            max_size=25,
        ),
        is_fast=st.booleans(),
    )
    def test_a_share_that_meets_what_was_told_is_good_whatever_work_came_and_went(
        self,
        steps: list[str],
        is_fast: bool,  # noqa: FBT001  a parameter of the test
    ) -> None:
        house = OpenHouse(is_fast=is_fast, grace_s=1e9)
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        lanes, late, serial, nonce = {"own": house.current, "pool": house.current}, [], 0x1A3, 0
        for step in steps:
            match step:
                case "own" | "pool":
                    lanes[step] = (pools if step == "pool" else work)(f"{serial:x}", clean=False)
                    device.offer(lanes[step])
                    serial += 1
                case "other lane":
                    lanes = {"own": lanes["pool"], "pool": lanes["own"]}
                    assert lanes["own"]
                    device.hear(device.session.offer(house.notice_of(lanes["own"]), NOW))
                case "harder" | "easier":
                    device.call("mining.suggest_difficulty", {"harder": 4e-9, "easier": 1e-9}[step])
                case _:
                    share = device.share(first=nonce)
                    nonce = int(share[4], 16) + 1
                    late.append(share)
                    if step == "share":
                        assert device.submit(late.pop()) == [ACCEPTED]
        for share in late:
            assert device.submit(share) == [ACCEPTED]


class TestChanges:
    def changed(self, house: OpenHouse) -> Device:
        """A device whose difficulty was 1e-9 and is 4e-9 from now on, ten seconds after it came."""
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        device.now += 10.0
        assert device.call("mining.suggest_difficulty", 4e-9)[1:] == [
            '{"id":null,"method":"mining.set_difficulty","params":[0.000000004]}',
            json.dumps(
                {"id": None, "method": "mining.notify", "params": device.params}, separators=(",", ":")
            ),
        ]
        return device

    def test_a_change_at_once_sends_the_current_job_again_under_an_id_of_its_own(
        self, house: OpenHouse
    ) -> None:
        device = self.changed(house)
        assert device.params[0] == "1a2.1"
        assert device.params[-1] is False
        assert device.submit(device.share()) == [ACCEPTED]

    def test_a_job_sent_again_has_another_time_so_that_no_share_is_found_twice(
        self, house: OpenHouse
    ) -> None:
        device = self.changed(house)
        assert house.current
        assert int(device.params[7], 16) == house.current.ntime_s + 10
        device.call("mining.suggest_difficulty", 5e-9)
        assert (device.params[0], int(device.params[7], 16)) == ("1a2.2", house.current.ntime_s + 11)

    def test_a_job_at_the_end_of_time_stays_there(self, house: OpenHouse) -> None:
        device = mining(house)
        device.offer(work("1a3", ntime_s=0xFFFF_FFFF, min_time_s=0xFFFF_FFFF))
        device.call("mining.suggest_difficulty", 5e-9)
        assert device.params[7] == "ffffffff"

    def test_the_old_difficulty_counts_for_the_job_as_it_was_sent_before(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        early = device.share()
        device.call("mining.suggest_difficulty", 1e-3)
        assert device.submit(early) == [ACCEPTED]
        assert house.unit("rig").difficulty == 1e-3

    def test_the_new_difficulty_counts_for_the_job_sent_again_and_for_those_after_it(
        self, house: OpenHouse
    ) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        easy = device.share()
        device.call("mining.suggest_difficulty", 1e-3)
        again = [easy[0], device.params[0], *easy[2:]]
        assert "Low difficulty" in device.submit(again)[0]
        device.offer(work("1a3"))
        device.difficulty = 1e-9
        assert "Low difficulty" in device.submit(device.share())[0]

    def test_a_level_that_was_never_sent_is_no_job(self, house: OpenHouse) -> None:
        device = mining(house)
        share = device.share()
        for job_id in ("1a2.1", "1a2.x", "1A2", "1a2.", "", "1a2.ffffffffff", "ffff"):
            assert "Job not found" in device.submit([share[0], job_id, *share[2:]])[0]

    def test_a_change_that_can_wait_goes_out_with_the_next_job(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=1000.0))
        device.log_in()
        vardiff = device.session._channel.pace.vardiff
        assert vardiff
        vardiff.difficulty, vardiff.pending = 1000.0, True
        vardiff.set_ceiling(900.0)
        assert device.session.tick(NOW + 1.0).data == b""
        house.current = work("1a3", bits=0x1C00FFFF)
        said = device.offer(house.current)
        assert [method(line) for line in said] == ["mining.set_difficulty", "mining.notify"]
        assert device.params[0] == "1a3"

    def test_a_block_that_becomes_easier_than_the_shares_makes_them_easier(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=0.5, min_difficulty=0.5, max_difficulty=0.5))
        device.log_in()
        easier = work("1a3", bits=0x1E0377AE)
        assert [method(line) for line in device.offer(easier)] == ["mining.set_difficulty", "mining.notify"]
        assert target_of_difficulty(device.difficulty) >= easier.network_target
        assert device.difficulty == pytest.approx(difficulty_of_target(easier.network_target), rel=1e-5)
        assert [method(line) for line in device.offer(work("1a4", bits=0x1E0377AE))] == ["mining.notify"]
        assert [method(line) for line in device.offer(work("1a5"))] == [
            "mining.set_difficulty",
            "mining.notify",
        ]
        assert device.difficulty == 0.5

    def test_where_the_time_decides_the_bits_no_job_is_sent_again(self) -> None:
        house = OpenHouse(current=work("1a2", time_sets_bits=True))
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        assert [method(line) for line in device.call("mining.suggest_difficulty", 4e-9)] == [
            "None",
            "mining.set_difficulty",
        ]
        assert device.params[0] == "1a2"
        device.difficulty = 1e-9
        assert device.submit(device.share()) == [ACCEPTED]


class TestShares:
    def test_every_rejection_of_the_judge_has_its_words(self) -> None:
        house = OpenHouse()
        device = mining(house)
        share = device.share()
        for reason, code in [(Reason.STALE, 21), (Reason.TIME_TOO_NEW, 20), (Reason.TABLE_FULL, 20)]:
            house.take = lambda *_, reason=reason: Rejected(reason)
            (answer,) = device.submit(share)
            assert json.loads(answer)["result"] is None
            assert json.loads(answer)["error"][0] == code
            assert device.output.credited == 0

    def test_a_block_is_a_share_and_one_on_a_stale_tip_is_looked_at_and_refused(self) -> None:
        house = OpenHouse(current=work("1a2", bits=EASY_BITS))
        device = Device(house, PortRules(start_difficulty=1.0))
        device.log_in()
        blocks = [
            params
            for nonce in range(40)
            if (params := ["rig", "1a2", "00" * 8, device.params[7], f"{nonce:08x}"])
        ]
        answers = [device.submit(params)[0] for params in blocks[:20]]
        assert {json.loads(answer)["result"] for answer in answers} == {True, None}
        assert sum(json.loads(answer)["result"] is True for answer in answers) == sum(
            isinstance(verdict, Block) for _, _, verdict in house.taken
        )
        house.add(work("1a3", bits=EASY_BITS, prev_hash=bytes(32)))
        house.taken.clear()
        answers = [device.submit(params)[0] for params in blocks[20:]]
        assert all("Stale share" in answer for answer in answers)
        assert any(isinstance(verdict, Block) for _, _, verdict in house.taken)

    def test_bits_outside_the_negotiated_mask_are_not_in_the_version(self, house: OpenHouse) -> None:
        device = Device(house)
        device.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "00c00000"})
        device.log_in()
        share = device.share(bits=0x0040_0000)
        assert device.submit([*share, "1f40e000"]) == [ACCEPTED]

    def test_a_device_that_rolls_versions_without_asking_is_understood(self, house: OpenHouse) -> None:
        device = mining(house)
        first, second = device.share(bits=0x2000), device.share(bits=0x4000)
        assert device.submit([*first, "00002000"]) == [ACCEPTED]
        assert device.submit([*second, "20004000"]) == [ACCEPTED]

    def test_the_whole_version_or_its_difference_mean_the_same(self, house: OpenHouse) -> None:
        device = Device(house)
        device.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "ffffffff"})
        device.log_in()
        share = device.share(bits=0x0A6C_2000)
        whole = int(device.params[5], 16) | 0x0A6C_2000
        assert device.submit([*share, f"{whole:08x}"]) == [ACCEPTED]
        assert "Duplicate" in device.submit([*share, "0a6c2000"])[0]

    def test_a_worker_with_an_address_of_its_own_mines_to_it(self, house: OpenHouse) -> None:
        script = b"\x00\x14" + b"\x07" * 20
        house.logins["bc1qmine"] = Granted(unit_named("bc1qmine"), script)
        device = Device(house, name="bc1qmine")
        device.log_in()
        assert (b"\x16" + script).hex() in device.params[3]
        assert device.submit(device.share()) == [ACCEPTED]
        device.offer(work("1a3", ntime_s=work().ntime_s + 1))
        assert (b"\x16" + script).hex() in device.params[3]
        assert device.submit(device.share()) == [ACCEPTED]
        assert device.submit(["bc1qmine", "1a3", "00", "0", "0"])[0].count("extranonce2") == 1


class TestVersionMask:
    def test_a_mask_that_changes_is_told_to_who_asked_for_one(self, house: OpenHouse) -> None:
        device = Device(house)
        device.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "1fffe000"})
        assert device.session.change_version_mask(0x00C00000) == b""
        device.log_in()
        assert device.session.change_version_mask(0x00C00000) == (
            b'{"id":null,"method":"mining.set_version_mask","params":["00c00000"]}\n'
        )
        assert device.session.change_version_mask(0x00C00000) == b""
        assert device.submit([*device.share(bits=0x0040_0000), "0040e000"]) == [ACCEPTED]

    def test_a_miner_that_never_asked_is_not_told(self, house: OpenHouse) -> None:
        assert mining(house).session.change_version_mask(0x00C00000) == b""


class TestMaskOfTheWork:
    NARROW = 0x00C0_0000

    def asking(self, house: OpenHouse) -> Device:
        device = Device(house)
        device.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "1fffe000"})
        return device

    def test_a_miner_may_roll_what_it_asks_for_and_port_and_work_leave_it(self, house: OpenHouse) -> None:
        house.current = work("1a3", version_mask=self.NARROW)
        house.book.add(house.current, NOW)
        device = self.asking(house)
        assert device.lines[-1]["result"]["version-rolling.mask"] == "00c00000"
        assert methods(device.log_in()) == ["None", "None", "set_difficulty", "notify"]
        assert device.submit([*device.share(bits=0x0040_0000), "0040e000"]) == [ACCEPTED]

    def test_work_that_leaves_nothing_is_a_no(self, house: OpenHouse) -> None:
        house.current = work("1a3", version_mask=0)
        assert self.asking(house).lines[-1]["result"] == {"version-rolling": False}

    def test_without_work_the_port_says_what_it_may(self) -> None:
        device = self.asking(OpenHouse(current=None))
        assert device.lines[-1]["result"]["version-rolling.mask"] == "1fffe000"

    def test_work_with_another_mask_is_told_so_before_it(self, house: OpenHouse) -> None:
        device = self.asking(house)
        device.log_in()
        early = device.share(bits=0x0000_2000)
        said = device.offer(pools("1a3", version_mask=self.NARROW))
        assert methods(said) == ["set_version_mask", "notify"]
        assert json.loads(said[0])["params"] == ["00c00000"]
        assert methods(device.offer(pools("1a4", version_mask=self.NARROW))) == ["notify"]
        assert device.submit([*device.share(bits=0x0040_0000), "0040e000"]) == [ACCEPTED]
        assert device.submit([*early, "00002000"]) == [ACCEPTED]  # of a job sent with the old mask
        assert methods(device.offer(work("1a5"))) == ["set_version_mask", "notify"]

    def test_a_miner_that_did_not_ask_is_told_nothing(self, house: OpenHouse) -> None:
        device = mining(house)
        assert methods(device.offer(work("1a3", version_mask=self.NARROW))) == ["notify"]

    def test_more_bits_than_were_answered_are_told_with_the_second_job_not_with_the_login(
        self, house: OpenHouse
    ) -> None:
        house.current = work("1a3", version_mask=self.NARROW)
        device = self.asking(house)
        house.add(work("1a4"))
        assert methods(device.log_in()) == ["None", "None", "set_difficulty", "notify"]
        assert device.submit([*device.share(bits=0x0040_0000), "00400000"]) == [ACCEPTED]
        assert methods(device.offer(work("1a5"))) == ["set_version_mask", "notify"]
        assert methods(device.offer(work("1a6"))) == ["notify"]

    def test_fewer_bits_than_were_answered_are_told_before_the_first_job(self, house: OpenHouse) -> None:
        device = self.asking(house)
        house.add(work("1a3", version_mask=self.NARROW))
        assert methods(device.log_in()) == ["None", "None", "set_difficulty", "set_version_mask", "notify"]
        assert methods(device.offer(work("1a4", version_mask=self.NARROW))) == ["notify"]


class TestExtranonce:
    OTHER = Subscription(session_id="c0ffee", extranonce1=b"\x99\x88\x77\x66", extranonce2_size=8)

    def test_one_who_wants_it_gets_another_extranonce_with_a_clean_job(self, house: OpenHouse) -> None:
        device = mining(house)
        device.call("mining.extranonce.subscribe")
        told = device.hear(device.session.change_extranonce(self.OTHER, NOW))
        assert told[0] == '{"id":null,"method":"mining.set_extranonce","params":["99887766",8]}'
        assert [method(line) for line in told[1:]] == ["mining.set_difficulty", "mining.notify"]
        assert (device.params[0], device.params[-1]) == ("1a2.1", True)
        assert device.submit(device.share()) == [ACCEPTED]

    def test_it_may_come_with_a_job_of_other_sizes(self, house: OpenHouse) -> None:
        device = mining(house)
        device.call("mining.extranonce.subscribe")
        other = Subscription(session_id="c0ffee", extranonce1=b"\x99\x88", extranonce2_size=3)
        notice = house.add(work("1a3", clean=False, extranonce1_size=2, extranonce2_size=3))
        told = device.hear(device.session.change_extranonce(other, NOW, notice))
        assert methods(told) == ["set_extranonce", "notify"]
        assert (device.params[0], device.params[-1]) == ("1a3", True)
        assert device.submit(device.share(extranonce2="000000")) == [ACCEPTED]
        assert methods(device.offer(replace(notice.job, id="1a4"))) == ["notify"]

    def test_the_difficulties_of_jobs_sent_before_are_known_to_who_judges_afterwards(
        self, house: OpenHouse
    ) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        device.call("mining.extranonce.subscribe")
        device.call("mining.suggest_difficulty", 1e-3)
        device.hear(device.session.change_extranonce(self.OTHER, NOW))
        device.difficulty = 1e-9
        easy = device.share()
        job_id, time = "1a2", f"{work().ntime_s:08x}"
        device.params[7] = time
        share = device.share()
        assert device.submit([share[0], job_id, share[2], time, share[4]]) == [ACCEPTED]
        assert "Low difficulty" in device.submit(easy)[0]

    def test_one_who_does_not_keeps_its_own(self, house: OpenHouse) -> None:
        device = mining(house)
        assert device.session.change_extranonce(self.OTHER, NOW) == b""
        assert device.submit(device.share()) == [ACCEPTED]

    def test_it_is_not_told_before_it_mines(self, house: OpenHouse) -> None:
        device = Device(house)
        device.call("mining.extranonce.subscribe")
        assert device.session.change_extranonce(self.OTHER, NOW) == b""


class TestResuming:
    def test_a_session_goes_on_with_difficulty_levels_and_version_mask(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.call("mining.configure", ["version-rolling"], {"version-rolling.mask": "00c00000"})
        device.log_in()
        device.call("mining.suggest_difficulty", 4e-9)
        late = device.share(bits=0x0040_0000)
        session = device.session.resumable()
        assert session is not None
        assert (session.session_id, session.extranonce1, session.name) == ("c0ffee", PLACE.extranonce1, "rig")
        house.places.append(
            Subscription(
                session_id=session.session_id,
                extranonce1=session.extranonce1,
                extranonce2_size=8,
                resumed=session,
            )
        )
        back = Device(house, PortRules(start_difficulty=1e-3))
        back.call("mining.subscribe", "test/1.0", "c0ffee")
        assert house.asked[-1] == "c0ffee"
        back.call("mining.authorize", "rig")
        assert back.difficulty == 4e-9
        assert back.submit([*late, "00400000"]) == [ACCEPTED]

    def test_one_whose_place_is_gone_goes_on_with_its_difficulty(self, house: OpenHouse) -> None:
        device = Device(house, PortRules(start_difficulty=1e-9))
        device.log_in()
        device.call("mining.suggest_difficulty", 4e-9)
        session = device.session.resumable()
        assert session is not None
        house.places.append(
            Subscription(
                session_id="beef",
                extranonce1=b"\x01\x02\x03\x04",
                extranonce2_size=8,
                learned=session.vardiff,
            )
        )
        back = Device(house, PortRules(start_difficulty=1e-3))
        back.log_in()
        assert back.difficulty == 4e-9
        assert back.submit(back.share()) == [ACCEPTED]

    def test_who_never_mined_has_nothing_to_go_on_with(self, house: OpenHouse) -> None:
        device = Device(house)
        assert device.session.resumable() is None
        device.call("mining.subscribe")
        assert device.session.resumable() is None
