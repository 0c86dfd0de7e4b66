"""What is suspicious about a pool's work: each suspicion by its name, and what does not raise one."""

from typing import Any

import pytest

from miner.chain.coinbase import build_coinbase
from miner.chain.difficulty import MAX_TARGET, difficulty_of_target
from miner.work.job import Job, UpstreamWork
from miner.work.pool_job import outputs_of
from miner.work.sanity import MOST_LEARNED, MOST_PAYEES, Finding, PoolWatch, Suspicion

POOLS = b"\x00\x14" + b"\x01" * 20
POOLS_SECOND = b"\x00\x14" + b"\x02" * 20
THIEFS = b"\x00\x14" + b"\x66" * 20
COMMITMENT = bytes.fromhex("6a24aa21a9ed") + bytes(32)
REWARD = 312_500_000
MAIN_BITS = 0x1703_1ABC  # of difficulty 9e13
REGTEST_BITS = 0x207F_FFFF
TIP, OTHER, THIRD = b"\xa0" * 32, b"\xb0" * 32, b"\xc0" * 32
Outputs = tuple[tuple[int, bytes], ...]


def job(prev_hash: bytes = TIP, bits: int = MAIN_BITS) -> Job:
    coinbase = build_coinbase(900_000, REWARD, POOLS, bytes(32), b"/pool/", 8)
    return Job(
        id="a1", origin="pool", height=900_000, version=0x2000_0000, version_mask=0, prev_hash=prev_hash,
        coinbase1=coinbase.prefix, coinbase2=coinbase.suffix, branch=(), bits=bits, ntime_s=1_700_000_000,
        min_time_s=1_700_000_000, extranonce1_size=4, extranonce2_size=4, clean=True, reward_sat=REWARD,
        payout_script=POOLS, created_at=0.0, upstream=UpstreamWork("4f", MAX_TARGET, b"", epoch=1),
    )  # fmt: skip


def paying(*scripts: bytes) -> Outputs:
    return (*((REWARD // len(scripts), script) for script in scripts), (0, COMMITMENT))


GOOD = paying(POOLS)


def watch(*payees: bytes, fixed: bool = True, **options: Any) -> PoolWatch:
    return PoolWatch(payees, fixed=fixed, **options)


def kinds(findings: list[Finding]) -> list[Suspicion]:
    return [finding.kind for finding in findings]


def see(
    pool: PoolWatch, outputs: Outputs = GOOD, difficulty: float = 1000.0, **changes: Any
) -> list[Suspicion]:
    return kinds(pool.job(job(**changes), outputs, difficulty, 0.0))


class TestPayees:
    def test_a_job_that_pays_a_configured_payee_is_good(self) -> None:
        pool = watch(POOLS, POOLS_SECOND)
        assert pool.job(job(), outputs_of(job()), 1000.0, 0.0) == []
        assert see(pool, paying(THIEFS, POOLS_SECOND)) == []
        assert pool.new_payees() == ()

    def test_a_job_that_pays_somebody_else_is_told_with_whom_and_what_to_do(self) -> None:
        pool = watch(POOLS)
        (finding,) = pool.job(job(), paying(THIEFS), 1000.0, 0.0)
        assert finding.kind is Suspicion.PAYS_NOBODY_WE_KNOW
        for words in ("job '4f'", "3.12500000 BTC", THIEFS[:8].hex(), "hijacked", "`payees`"):
            assert words in finding.text

    def test_an_output_of_nothing_and_one_that_is_only_data_pay_nobody(self) -> None:
        pool = watch(POOLS, COMMITMENT, b"")
        assert see(pool, ((0, POOLS), (REWARD, THIEFS))) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        assert see(pool, ((REWARD, COMMITMENT),)) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        assert see(pool, ((REWARD, b""),)) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        assert "nobody at all" in pool.job(job(), ((0, POOLS),), 1000.0, 0.0)[0].text

    def test_the_first_job_of_a_pool_of_which_nothing_is_known_teaches_whom_it_pays(self) -> None:
        pool = watch(fixed=False)
        assert see(pool, paying(POOLS)) == []
        assert pool.new_payees() == (POOLS,)
        assert pool.new_payees() == ()
        assert see(pool, paying(THIEFS)) == [Suspicion.PAYS_NOBODY_WE_KNOW]

    def test_what_was_learned_before_the_restart_counts(self) -> None:
        pool = watch(POOLS, fixed=False)
        assert see(pool, paying(THIEFS)) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        assert see(pool, paying(POOLS)) == []
        assert pool.new_payees() == ()

    def test_every_good_job_teaches_more_and_a_suspicious_one_nothing(self) -> None:
        pool = watch(POOLS, fixed=False)
        see(pool, paying(THIEFS))
        see(pool, paying(POOLS, THIEFS), difficulty=1e30)
        assert pool.new_payees() == ()
        see(pool, paying(POOLS, POOLS_SECOND))
        assert pool.new_payees() == (POOLS_SECOND,)
        assert see(pool, paying(POOLS_SECOND)) == []

    def test_a_first_job_that_is_suspicious_otherwise_teaches_nothing(self) -> None:
        pool = watch(fixed=False)
        assert see(pool, paying(THIEFS), difficulty=1e30) == [Suspicion.ABSURD_DIFFICULTY]
        assert see(pool, ((REWARD, COMMITMENT),)) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        assert pool.new_payees() == ()

    def test_payees_that_become_known_count_from_then_on_and_nothing_that_was_learned(self) -> None:
        pool = watch(fixed=False)
        see(pool, paying(THIEFS))
        see(pool, paying(THIEFS), difficulty=1e7)
        pool.fix_payees([POOLS])
        assert pool.new_payees() == ()
        assert see(pool, paying(THIEFS), difficulty=1e7) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        assert see(pool, paying(POOLS), difficulty=1e7) == []
        assert pool.counts[Suspicion.ABSURD_DIFFICULTY] == 1

    def test_of_a_pool_that_pays_its_miners_itself_the_largest_are_learned_and_all_are_recognised(
        self,
    ) -> None:
        pool = watch(fixed=False)
        miners = [(number + 1, b"\x51" + number.to_bytes(2, "big")) for number in range(300)]
        assert see(pool, tuple(miners)) == []
        learned = pool.new_payees()
        assert learned == tuple(script for _, script in miners[: -1 - MOST_LEARNED : -1])
        small = ((REWARD, THIEFS), (1, learned[3]))
        assert see(pool, small) == []

    def test_what_is_known_of_a_pool_is_bounded_and_the_longest_unseen_go_first(self) -> None:
        pool = watch(POOLS, fixed=False)
        for number in range(MOST_PAYEES):
            see(pool, paying(POOLS, b"\x52" + number.to_bytes(2, "big")))
        assert len(pool.new_payees()) == MOST_PAYEES
        assert see(pool, paying(b"\x52" + (0).to_bytes(2, "big"))) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        assert see(pool, paying(POOLS)) == []


class TestDifficulty:
    def test_shares_harder_than_a_block_are_absurd(self) -> None:
        network = difficulty_of_target(job().network_target)
        assert see(watch(POOLS), difficulty=network) == []
        (finding,) = watch(POOLS).job(job(), GOOD, network * 1.01, 0.0)
        assert finding.kind is Suspicion.ABSURD_DIFFICULTY
        assert "a block needs no more than" in finding.text

    def test_test_networks_are_mined_with_what_pools_usually_ask_for_and_no_more(self) -> None:
        assert see(watch(POOLS), difficulty=10_000.0, bits=REGTEST_BITS) == []
        assert see(watch(POOLS), difficulty=1e12, bits=REGTEST_BITS) == [Suspicion.ABSURD_DIFFICULTY]

    def test_shares_that_every_hash_is_are_absurd_where_blocks_are_hard_to_find(self) -> None:
        assert see(watch(POOLS), difficulty=1e-10) == [Suspicion.ABSURD_DIFFICULTY]
        assert see(watch(POOLS), difficulty=1e-6) == []
        assert see(watch(POOLS), difficulty=4.6e-10, bits=REGTEST_BITS) == []

    @pytest.mark.parametrize("factor", [1 / 1001, 1001.0])
    def test_a_jump_by_more_than_a_thousand_is_absurd_either_way_and_told_once(self, factor: float) -> None:
        pool = watch(POOLS)
        assert see(pool, difficulty=1e6) == []
        (finding,) = pool.job(job(), GOOD, 1e6 * factor, 0.0)
        assert finding.kind is Suspicion.ABSURD_DIFFICULTY
        assert "the job before it of 1e+06" in finding.text
        assert see(pool, difficulty=1e6 * factor) == []

    def test_the_way_back_from_an_absurd_difficulty_is_no_jump(self) -> None:
        pool = watch(POOLS)
        for difficulty, suspicions in ((1e4, 0), (1e30, 1), (2e4, 0), (1e-12, 1), (1e4, 0)):
            assert len(see(pool, difficulty=difficulty)) == suspicions

    def test_a_pool_may_move_its_difficulty_on_every_job(self) -> None:
        pool = watch(POOLS)
        for difficulty in (100.0, 90_000.0, 5e6, 6_000.0, 7.0):
            assert see(pool, difficulty=difficulty) == []

    def test_a_job_that_came_before_any_word_of_the_difficulty_is_nothing_to_compare_with(self) -> None:
        pool = watch(POOLS)
        assert see(pool, difficulty=1.0) == []
        assert see(pool, difficulty=500_000.0) == []

    def test_a_new_connection_begins_with_the_difficulty_it_likes(self) -> None:
        pool = watch(POOLS)
        see(pool, difficulty=5e6)
        pool.reconnected()
        assert see(pool, difficulty=42.0) == []


class TestChain:
    @staticmethod
    def ask(
        pool: PoolWatch,
        now: float,
        prev_hash: bytes = TIP,
        *,
        node_tip: bytes | None = TIP,
        tip_seen_at: float | None = 0.0,
        known: bool | None = True,
    ) -> list[Suspicion]:
        return kinds(pool.chain(prev_hash, now, node_tip=node_tip, tip_seen_at=tip_seen_at, known=known))

    def test_work_on_our_own_node_s_tip_is_good(self) -> None:
        pool = watch(POOLS)
        assert not any(self.ask(pool, now) for now in range(0, 3600, 5))

    def test_without_a_node_or_its_word_nothing_is_suspicious(self) -> None:
        pool = watch(POOLS)
        for now in range(0, 600, 5):
            assert self.ask(pool, now, node_tip=None, tip_seen_at=None, known=None) == []
            assert self.ask(pool, now, OTHER, known=None) == []

    def test_a_prev_hash_that_our_node_has_not_heard_of_for_half_a_minute_is_told_once(self) -> None:
        pool = watch(POOLS)
        assert not any(self.ask(pool, now, OTHER, known=False) for now in range(100, 130, 5))
        assert self.ask(pool, 130, OTHER, known=False) == [Suspicion.UNKNOWN_PREV_HASH]
        assert not any(self.ask(pool, now, OTHER, known=False) for now in range(135, 300, 5))
        assert pool.counts[Suspicion.UNKNOWN_PREV_HASH] == 1
        (again,) = (
            finding
            for now in (300, 330)
            for finding in pool.chain(THIRD, now, node_tip=TIP, tip_seen_at=0.0, known=False)
        )
        assert THIRD[::-1].hex() in again.text
        assert "not heard of for 30 s" in again.text

    def test_a_block_that_reaches_our_node_a_little_later_is_no_matter(self) -> None:
        pool = watch(POOLS)
        assert not any(self.ask(pool, now, OTHER, known=False) for now in range(100, 130, 5))
        assert self.ask(pool, 130, OTHER, node_tip=OTHER, tip_seen_at=130.0) == []
        assert not any(
            self.ask(pool, now, OTHER, node_tip=OTHER, tip_seen_at=130.0) for now in range(135, 600, 5)
        )

    def test_work_that_our_node_left_behind_a_minute_ago_is_told_once(self) -> None:
        pool = watch(POOLS)
        self.ask(pool, 0)
        assert not any(self.ask(pool, now, node_tip=OTHER, tip_seen_at=100.0) for now in range(100, 160, 5))
        (finding,) = pool.chain(TIP, 160, node_tip=OTHER, tip_seen_at=100.0, known=True)
        assert finding.kind is Suspicion.LEFT_BEHIND
        for words in (TIP[::-1].hex(), OTHER[::-1].hex(), "for 60 s"):
            assert words in finding.text
        assert not any(self.ask(pool, now, node_tip=THIRD, tip_seen_at=300.0) for now in range(165, 600, 5))
        assert pool.counts[Suspicion.LEFT_BEHIND] == 1

    def test_further_blocks_of_the_chain_do_not_make_the_pool_any_less_behind(self) -> None:
        pool = watch(POOLS)
        self.ask(pool, 0)
        assert self.ask(pool, 110, node_tip=OTHER, tip_seen_at=100.0) == []
        assert self.ask(pool, 160, node_tip=THIRD, tip_seen_at=155.0) == [Suspicion.LEFT_BEHIND]

    def test_a_pool_that_goes_back_to_an_old_block_has_a_minute_too(self) -> None:
        pool = watch(POOLS)
        assert self.ask(pool, 1000, OTHER, node_tip=TIP, tip_seen_at=10.0) == []
        assert self.ask(pool, 1059, OTHER, node_tip=TIP, tip_seen_at=10.0) == []
        assert self.ask(pool, 1060, OTHER, node_tip=TIP, tip_seen_at=10.0) == [Suspicion.LEFT_BEHIND]

    def test_a_tip_of_unknown_age_counts_from_when_it_is_first_told(self) -> None:
        pool = watch(POOLS)
        self.ask(pool, 0)
        assert self.ask(pool, 500, node_tip=OTHER, tip_seen_at=None) == []
        assert self.ask(pool, 560, node_tip=OTHER, tip_seen_at=None) == [Suspicion.LEFT_BEHIND]

    def test_the_job_tells_when_the_pool_went_to_its_prev_hash(self) -> None:
        pool = watch(POOLS)
        pool.job(job(OTHER), GOOD, 1000.0, 70.0)
        assert self.ask(pool, 131, OTHER, node_tip=TIP, tip_seen_at=0.0) == [Suspicion.LEFT_BEHIND]


class TestCondemned:
    def test_a_pool_is_condemned_after_three_suspicious_jobs_in_a_row(self) -> None:
        pool = watch(POOLS)
        for condemned in (False, False, True, True):
            see(pool, paying(THIEFS))
            assert pool.condemned is condemned
        assert pool.counts[Suspicion.PAYS_NOBODY_WE_KNOW] == 4

    def test_a_good_job_between_them_clears_it(self) -> None:
        pool = watch(POOLS)
        for _ in range(5):
            see(pool, paying(THIEFS))
            see(pool, paying(THIEFS))
            assert not pool.condemned
            see(pool)
        assert pool.counts[Suspicion.PAYS_NOBODY_WE_KNOW] == 10

    def test_a_job_with_two_faults_is_one_suspicious_job(self) -> None:
        pool = watch(POOLS, limit=2)
        assert see(pool, paying(THIEFS), difficulty=1e30) == [
            Suspicion.PAYS_NOBODY_WE_KNOW,
            Suspicion.ABSURD_DIFFICULTY,
        ]
        assert not pool.condemned

    def test_without_a_limit_suspicions_are_told_and_nothing_more(self) -> None:
        pool = watch(POOLS, limit=0)
        for _ in range(10):
            assert see(pool, paying(THIEFS)) == [Suspicion.PAYS_NOBODY_WE_KNOW]
        for now in range(0, 600, 5):
            TestChain.ask(pool, now, OTHER, known=False)
        assert not pool.condemned

    @pytest.mark.parametrize(
        ("known", "told_s", "condemned_s"), [(False, 30, 60), (True, 60, 120)], ids=["unknown", "behind"]
    )
    def test_a_suspicious_prev_hash_that_lasts_as_long_again_condemns_without_another_job(
        self, *, known: bool, told_s: int, condemned_s: int
    ) -> None:
        pool = watch(POOLS)
        for now in range(0, 200, 5):
            findings = TestChain.ask(pool, now, OTHER, known=known)
            assert bool(findings) == (now == told_s)
            assert pool.condemned == (now >= condemned_s)
        TestChain.ask(pool, 200, THIRD, node_tip=THIRD, tip_seen_at=200.0)
        assert not pool.condemned

    def test_jobs_on_a_suspicious_prev_hash_count_as_suspicious(self) -> None:
        pool = watch(POOLS)
        see(pool, prev_hash=OTHER)
        TestChain.ask(pool, 0, OTHER, known=False)
        see(pool, prev_hash=OTHER)
        TestChain.ask(pool, 30, OTHER, known=False)
        for condemned in (False, False, True):
            assert see(pool, prev_hash=OTHER) == []
            assert (pool.condemned, pool.is_suspicious) == (condemned, True)
        see(pool, prev_hash=THIRD)
        assert (pool.condemned, pool.is_suspicious) == (False, False)

    def test_a_new_connection_does_not_clear_it_but_its_first_good_job_does(self) -> None:
        pool = watch(POOLS)
        for _ in range(3):
            see(pool, paying(THIEFS))
        pool.reconnected()
        assert pool.condemned
        see(pool)
        assert not pool.condemned

    def test_a_new_connection_is_asked_about_its_prev_hash_anew(self) -> None:
        pool = watch(POOLS)
        for now in (0, 30, 60):
            TestChain.ask(pool, now, OTHER, known=False)
        assert pool.condemned
        pool.reconnected()
        assert not pool.condemned
        assert TestChain.ask(pool, 65, OTHER, known=False) == []
        assert TestChain.ask(pool, 95, OTHER, known=False) == [Suspicion.UNKNOWN_PREV_HASH]

    def test_every_kind_of_suspicion_is_counted_from_nothing(self) -> None:
        assert dict(watch(POOLS).counts) == dict.fromkeys(Suspicion, 0)
        assert {kind.value for kind in Suspicion} == {
            "pays_nobody_we_know",
            "absurd_difficulty",
            "unknown_prev_hash",
            "left_behind",
        }

    @pytest.mark.parametrize(
        "options",
        [{"limit": -1}, {"difficulty_factor": 1.0}, {"unknown_s": -1.0}, {"behind_s": -1.0}],
        ids=str,
    )
    def test_numbers_that_cannot_be_are_refused(self, options: dict[str, Any]) -> None:
        with pytest.raises(ValueError, match="limit is negative"):
            watch(POOLS, **options)
