import asyncio

from miner.payouts import Payee, PayoutRefused
from miner.stratum.house import Granted, Refused, Waiting
from miner.stratum.limits import FAILURES, ConnectionLimits
from miner.stratum.logins import Logins
from miner.stratum.v1 import OTHER, UNAUTHORIZED
from tests.miner.harness import NOW
from tests.miner.stratum.server_harness import FakePayouts, roster_of, until

PAYEE = Payee("bcrt1q", b"\x00\x14" + bytes(20))


class Door:
    def __init__(self, *, worker_mode: bool = False, workers: int = 10) -> None:
        self.roster = roster_of(workers)
        self.payouts = FakePayouts()
        self.refusal = ""
        self.logins = Logins(
            self.roster,
            ConnectionLimits(10, 0),
            payouts=self.payouts if worker_mode else None,
            refusal=lambda: self.refusal,
        )

    def login(self, name: str, now: float = NOW) -> Granted | Refused | Waiting:
        return self.logins.login(name, "a", now)


def test_where_blocks_pay_the_operator_every_name_is_a_unit() -> None:
    door = Door()
    granted = door.login("farm.1")
    assert isinstance(granted, Granted)
    assert (granted.unit, granted.payout_script) == (door.roster.named("farm.1"), None)


def test_while_the_ledger_takes_no_shares_nobody_logs_in() -> None:
    door = Door()
    door.refusal = "the ledger takes no shares"
    assert door.login("farm.1") == Refused(OTHER, "the ledger takes no shares", close=True)
    assert door.roster.named("farm.1") is None


def test_a_unit_whose_gate_is_closed_is_refused_with_the_reason() -> None:
    door = Door()
    door.roster.login("farm.1", NOW).gate_reason = "power costs more than it earns"
    assert door.login("farm.1") == Refused(UNAUTHORIZED, "power costs more than it earns", close=True)
    assert isinstance(door.login("farm.2"), Granted)


def test_a_full_roster_refuses_new_names_only() -> None:
    door = Door(workers=1)
    first = door.login("farm.1")
    assert isinstance(first, Granted)
    first.unit.joined(NOW)
    refused = door.login("farm.2")
    assert isinstance(refused, Refused)
    assert (refused.code, refused.close) == (UNAUTHORIZED, True)
    assert isinstance(door.login("farm.1"), Granted)


def test_a_known_address_pays_its_worker() -> None:
    door = Door(worker_mode=True)
    door.payouts.answers["addr.1"] = PAYEE
    granted = door.login("addr.1")
    assert isinstance(granted, Granted)
    assert granted.payout_script == PAYEE.script


async def test_an_unknown_address_waits_for_the_nodes_word() -> None:
    door = Door(worker_mode=True)
    assert door.login("addr.1") == Waiting()
    assert len(door.roster) == 0
    async with asyncio.TaskGroup() as group:
        asking = group.create_task(door.logins.ask("addr.1"))
        await until(lambda: door.payouts.asked)
        door.payouts.asked["addr.1"].set_result(PAYEE)
    granted = door.logins.decide("addr.1", asking.result(), "a", NOW)
    assert isinstance(granted, Granted)
    assert granted.payout_script == PAYEE.script


def test_what_has_changed_while_the_node_was_asked_counts() -> None:
    door = Door(worker_mode=True)
    door.roster.login("addr.1", NOW).gate_reason = "not now"
    assert door.logins.decide("addr.1", PAYEE, "a", NOW) == Refused(UNAUTHORIZED, "not now", close=True)


async def test_where_no_node_need_be_asked_the_answer_is_the_operator() -> None:
    door = Door()
    granted = door.logins.decide("farm.1", await door.logins.ask("farm.1"), "a", NOW)
    assert isinstance(granted, Granted)
    assert granted.payout_script is None


def test_an_address_that_cannot_be_paid_is_refused_with_the_nodes_words() -> None:
    door = Door(worker_mode=True)
    door.payouts.answers["addr.1"] = PayoutRefused("of another network")
    assert door.login("addr.1") == Refused(UNAUTHORIZED, "of another network", close=True)
    assert len(door.roster) == 0


def test_an_address_that_tries_too_many_names_has_to_wait_with_new_ones() -> None:
    door = Door(worker_mode=True)
    door.payouts.answers |= {"bad": PayoutRefused("no address"), "known": PAYEE, "new": PAYEE}
    assert isinstance(door.login("known"), Granted)
    for _ in range(int(FAILURES)):
        door.login("bad")
    throttled = door.login("new")
    assert isinstance(throttled, Refused)
    assert "too many failed logins" in throttled.why
    assert isinstance(door.login("known"), Granted)
    assert isinstance(door.login("new", NOW + 3600), Granted)


def test_nobody_is_blamed_for_a_node_that_does_not_answer() -> None:
    door = Door(worker_mode=True)
    door.payouts.answers |= {"addr.1": PayoutRefused("no bitcoind", temporary=True), "new": PAYEE}
    for _ in range(2 * int(FAILURES)):
        assert door.login("addr.1") == Refused(OTHER, "no bitcoind", close=True)
    assert isinstance(door.login("new"), Granted)
