"""What a miner asks for beside mining, call by call; within a session it is in test_server_session and test_devices."""

import json

import pytest

from miner.stratum.channel import Channel
from miner.stratum.fields import CallError
from miner.stratum.rules import PortRules
from miner.stratum.wishes import WISHES, Wishes
from tests.miner.harness import NOW
from tests.miner.stratum.device import OpenHouse


def wishes(house: OpenHouse | None = None) -> Wishes:
    return Wishes(Channel(house or OpenHouse(), PortRules()))


@pytest.mark.parametrize("method", sorted(set(WISHES) - {"mining.get_transactions", "mining.ping"}))
def test_every_wish_is_answered_with_its_own_id_before_anything_that_follows(method: str) -> None:
    params = {"mining.configure": [[], {}], "mining.suggest_target": ["ff" * 32]}.get(method, [1.0])
    first = WISHES[method](wishes(), b'"a"', params, NOW).split(b"\n")[0]
    answer = json.loads(first)
    assert (answer["id"], answer["error"]) == ("a", None)


def test_what_a_device_asked_for_is_kept() -> None:
    asked = wishes()
    params = [["info", "subscribe-extranonce"], {"info.hw-version": "S21"}]
    asked.configure(b"1", params, NOW)
    assert (asked.hardware, asked.wants_extranonce) == ("S21", True)
    asked = wishes()
    assert not asked.wants_extranonce
    asked.subscribe_extranonce(b"1", [], NOW)
    assert asked.wants_extranonce


def test_a_mask_is_answered_as_the_port_and_the_work_leave_it() -> None:
    house = OpenHouse()
    params = [["version-rolling"], {"version-rolling.mask": "ffffffff"}]
    assert json.loads(wishes(house).configure(b"1", params, NOW))["result"] == {
        "version-rolling": True,
        "version-rolling.mask": "1fffe000",
    }
    house.work_mask = lambda: 0x00C00000  # type: ignore[method-assign]  # the work's
    assert json.loads(wishes(house).configure(b"1", params, NOW))["result"] == {
        "version-rolling": True,
        "version-rolling.mask": "00c00000",
    }


def test_transactions_are_not_given_out() -> None:
    with pytest.raises(CallError, match="not given out"):
        wishes().get_transactions(b"1", [], NOW)


def test_a_ping_is_a_pong() -> None:
    assert wishes().ping(b"7", [], NOW) == b'{"id":7,"result":"pong","error":null}\n'
