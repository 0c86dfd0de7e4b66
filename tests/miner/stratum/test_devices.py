"""Whole sessions as devices send them, byte by byte, and our exact answers, to a share that is accepted and then repeated.

Spelling from the devices' sources and from logs that their owners published: key order, spaces, agents, ids, extra keys.
In the dialogues `>` is the device, whose lines without an answer between them come in one packet, and `<` is us.
"""

import json
from collections.abc import Iterator

import pytest

from tests.miner.stratum.device import PARAMS, Device, OpenHouse

PROGRAM = "4ae81572f06e1b88fd5ced7a1a000945432e83e1551e6f721ee9c00b8cc33260"
SAID_SHORTLY = {
    "DIFFICULTY": '{"id":null,"method":"mining.set_difficulty","params":[0.000000001]}',
    "NOTIFY": f'{{"id":null,"method":"mining.notify","params":["1a2",{PARAMS % PROGRAM},true]}}',
}
DIALOGUES = {
    "Antminer, stock (bmminer)": """\
> {"id": 4, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.min-bit-count": 2, "version-rolling.mask": "00c00000"}]}
< {"id":4,"result":{"version-rolling":true,"version-rolling.mask":"00c00000"},"error":null}
> {"id": 9, "method": "mining.subscribe", "params": ["bmminer/2.0.0.rwglr"]}
< {"id":9,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
> {"id": 10, "method": "mining.authorize", "params": ["house.s19", "123"]}
< {"id":10,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"id": 11, "method": "mining.multi_version", "params": [1]}
< {"id":11,"result":true,"error":null}
> {"params": ["house.s19", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "00800000"], "id": 12, "method": "mining.submit"}
< {"id":12,"result":true,"error":null}
> {"params": ["house.s19", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "00800000"], "id": 12, "method": "mining.submit"}
< {"id":12,"result":null,"error":[22,"Duplicate share",null]}
""",
    "Antminer S21, stock": """\
> {"id":1, "method":"mining.configure", "params":[["version-rolling"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":16}]}
< {"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}
> {"id": 2, "method": "mining.subscribe", "params": ["Antminer S21/Thu Oct  9 17:56:18 CST 2025"]}
> {"id": 3, "method": "mining.authorize", "params": ["house.s21", "x"]}
< {"id":2,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
< {"id":3,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"params": ["house.s21", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "0a6c2000"], "id": 4, "method": "mining.submit"}
< {"id":4,"result":true,"error":null}
> {"params": ["house.s21", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "0a6c2000"], "id": 4, "method": "mining.submit"}
< {"id":4,"result":null,"error":[22,"Duplicate share",null]}
""",
    "Braiins OS": """\
> {"id":0,"method":"mining.configure","params":[["version-rolling"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":"16"}]}
> {"id":1,"method":"mining.subscribe","params":["2026-02-13-0-db69f9bc-26.01-plus;bosminer-plus-tuner 0.9.0-db69f9bc",null,"pool.example",3333]}
> {"id":2,"method":"mining.authorize","params":["house.braiins","x"]}
< {"id":0,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}
< {"id":1,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
< {"id":2,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"id":3,"method":"mining.submit","params":["house.braiins","JOB","EXTRANONCE2","NTIME","NONCE","1fffe000"]}
< {"id":3,"result":true,"error":null}
> {"id":3,"method":"mining.submit","params":["house.braiins","JOB","EXTRANONCE2","NTIME","NONCE","1fffe000"]}
< {"id":3,"result":null,"error":[22,"Duplicate share",null]}
""",
    "Whatsminer": """\
> {"id": 3587155, "method": "mining.subscribe", "params": ["whatsminer/v1.0", "68c53cbf"]}
< {"id":3587155,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
> {"id":3587156,"method":"mining.authorize","params":["tb1qhouse.888",""],"ttl":2}
< {"id":3587156,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"id":3587157,"method":"mining.submit","params":["tb1qhouse.888","JOB","EXTRANONCE2","NTIME","NONCE"],"ttl":3}
< {"id":3587157,"result":true,"error":null}
> {"id":3587157,"method":"mining.submit","params":["tb1qhouse.888","JOB","EXTRANONCE2","NTIME","NONCE"],"ttl":3}
< {"id":3587157,"result":null,"error":[22,"Duplicate share",null]}
""",
    "Avalon": """\
> {"id": 0, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.mask": "00c00000", "version-rolling.min-bit-count": 2}]}
< {"id":0,"result":{"version-rolling":true,"version-rolling.mask":"00c00000"},"error":null}
> {"id": 1, "method": "mining.subscribe", "params": ["cgminer/4.11.1"]}
< {"id":1,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
> {"id": 2, "method": "mining.authorize", "params": ["house.nano3s", ""]}
< {"id":2,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"params": ["house.nano3s", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "00400000"], "id": 3, "method": "mining.submit"}
< {"id":3,"result":true,"error":null}
> {"params": ["house.nano3s", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "00400000"], "id": 3, "method": "mining.submit"}
< {"id":3,"result":null,"error":[22,"Duplicate share",null]}
""",
    "Bitaxe (ESP-Miner)": """\
> {"id": 1, "method": "mining.configure", "params": [["version-rolling"], {"version-rolling.mask": "ffffffff"}]}
> {"id": 2, "method": "mining.subscribe", "params": ["bitaxe/BM1368/v2.9.0"]}
> {"id": 3, "method": "mining.authorize", "params": ["bc1qhouse.bitaxe", "x"]}
< {"id":1,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000"},"error":null}
< {"id":2,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
< {"id":3,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"id": 4, "method": "mining.suggest_difficulty", "params": [1000]}
< {"id":4,"result":true,"error":null}
> {"id": 5, "method": "mining.extranonce.subscribe", "params": []}
< {"id":5,"result":true,"error":null}
> {"id": 6, "method": "mining.submit", "params": ["bc1qhouse.bitaxe", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "001fe000"]}
< {"id":6,"result":true,"error":null}
> {"id": 6, "method": "mining.submit", "params": ["bc1qhouse.bitaxe", "JOB", "EXTRANONCE2", "NTIME", "NONCE", "001fe000"]}
< {"id":6,"result":null,"error":[22,"Duplicate share",null]}
""",
    "NerdMiner": """\
> {"id": 1, "method": "mining.subscribe", "params": ["NerdMinerV2/V1.8.0"]}
< {"id":1,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
> {"params": ["bc1qhouse.nerd", "x"], "id": 2, "method": "mining.authorize"}
< {"id":2,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"id":3,"method":"mining.suggest_difficulty","params":[0.00015]}
< {"id":3,"result":true,"error":null}
> {"id":4,"method":"mining.suggest_difficulty","params":[0.00015]}
< {"id":4,"result":true,"error":null}
> {"id":5,"method":"mining.submit","params":["bc1qhouse.nerd","JOB","EXTRANONCE2","NTIME","BARE_NONCE"]}
< {"id":5,"result":true,"error":null}
> {"id":5,"method":"mining.submit","params":["bc1qhouse.nerd","JOB","EXTRANONCE2","NTIME","BARE_NONCE"]}
< {"id":5,"result":null,"error":[22,"Duplicate share",null]}
""",
    "NiceHash": """\
> {"id":1,"method":"mining.subscribe","params":["NiceHash/1.0.0"]}
< {"id":1,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
> {"id":2,"method":"mining.authorize","params":["house.rental","x"]}
< {"id":2,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"id":3,"method":"mining.extranonce.subscribe","params":[]}
> {"id":4,"method":"mining.configure","params":[["version-rolling","minimum-difficulty","subscribe-extranonce"],{"version-rolling.mask":"1fffe000","version-rolling.min-bit-count":2,"minimum-difficulty.value":0.0000000005}]}
< {"id":3,"result":true,"error":null}
< {"id":4,"result":{"version-rolling":true,"version-rolling.mask":"1fffe000","minimum-difficulty":true,"subscribe-extranonce":true},"error":null}
> {"id":5,"method":"mining.submit","params":["house.rental","JOB","EXTRANONCE2","NTIME","NONCE","00002000"]}
< {"id":5,"result":true,"error":null}
> {"id":5,"method":"mining.submit","params":["house.rental","JOB","EXTRANONCE2","NTIME","NONCE","00002000"]}
< {"id":5,"result":null,"error":[22,"Duplicate share",null]}
""",
    "cgminer": """\
> {"id": 0, "method": "mining.subscribe", "params": ["cgminer/4.10.0", "00c0ffee"]}
< {"id":0,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
> {"id": 1, "method": "mining.extranonce.subscribe", "params": []}
> {"id": 2, "method": "mining.authorize", "params": ["house.gekko", "x"]}
> {"id": 3, "method": "mining.suggest_difficulty", "params": [64]}
< {"id":1,"result":true,"error":null}
< {"id":2,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
< {"id":3,"result":true,"error":null}
> {"params": ["house.gekko", "JOB", "EXTRANONCE2", "NTIME", "NONCE"], "id": 4, "method": "mining.submit"}
< {"id":4,"result":true,"error":null}
> {"params": ["house.gekko", "JOB", "EXTRANONCE2", "NTIME", "NONCE"], "id": 4, "method": "mining.submit"}
< {"id":4,"result":null,"error":[22,"Duplicate share",null]}
""",
    "cpuminer": """\
> {"id": 1, "method": "mining.subscribe", "params": ["cpuminer/2.5.1"]}
< {"id":1,"result":[[["mining.notify","c0ffee"],["mining.set_difficulty","c0ffee"]],"f000000f",8],"error":null}
> {"id": 2, "method": "mining.authorize", "params": ["house.cpu", "x"]}
< {"id":2,"result":true,"error":null}
< DIFFICULTY
< NOTIFY
> {"method": "mining.submit", "params": ["house.cpu", "JOB", "EXTRANONCE2", "NTIME", "NONCE"], "id":4}
< {"id":4,"result":true,"error":null}
> {"method": "mining.submit", "params": ["house.cpu", "JOB", "EXTRANONCE2", "NTIME", "NONCE"], "id":4}
< {"id":4,"result":null,"error":[22,"Duplicate share",null]}
""",
}


def exchanges(dialogue: str) -> Iterator[tuple[list[str], list[str]]]:
    """What is said in one packet, and what is answered to it."""
    said: list[str] = []
    answers: list[str] = []
    for line in dialogue.splitlines():
        if line.startswith("> ") and answers:
            yield said, answers
            said, answers = [], []
        if line.startswith("> "):
            said.append(line[2:])
        else:
            answers.append(SAID_SHORTLY.get(line[2:], line[2:]))
    yield said, answers


def mined(line: str, device: Device) -> str:
    """A submit with its blanks filled in by the device, which rolls the version if the line says so."""
    if "JOB" not in line:
        return line
    params = json.loads(line)["params"]
    device.name = params[0]
    share = device.share(bits=int(params[5], 16) if len(params) > 5 else 0)
    values = dict(zip(("JOB", "EXTRANONCE2", "NTIME", "NONCE"), share[1:], strict=True))
    for blank, value in {"BARE_NONCE": values["NONCE"].lstrip("0"), **values}.items():
        line = line.replace(blank, value)
    return line


@pytest.fixture(params=[False, True], ids=["by Python", "by the core"])
def house(request: pytest.FixtureRequest) -> OpenHouse:
    return OpenHouse(is_fast=request.param)


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_device_logs_in_and_its_share_is_accepted_once(house: OpenHouse, name: str) -> None:
    device = Device(house)
    credited = 0
    for said, answers in exchanges(DIALOGUES[name]):
        assert device.send(*(mined(line, device) for line in said)) == answers
        credited += device.output.credited
    assert credited == 1


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_device_is_told_the_same_when_its_bytes_come_one_by_one(house: OpenHouse, name: str) -> None:
    device = Device(house)
    for said, answers in exchanges(DIALOGUES[name]):
        packet = "".join(mined(line, device) + "\n" for line in said).encode()
        heard = [
            line for byte in packet for line in device.hear(device.session.receive(bytes([byte]), device.now))
        ]
        assert heard == answers


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_device_may_end_its_lines_as_windows_does(house: OpenHouse, name: str) -> None:
    device = Device(house)
    for said, answers in exchanges(DIALOGUES[name]):
        assert device.send(*(mined(line, device) + "\r" for line in said)) == answers


@pytest.mark.parametrize("name", DIALOGUES)
def test_a_device_is_known_by_what_it_says_it_is(name: str) -> None:
    device = Device()
    for said, _ in exchanges(DIALOGUES[name]):
        device.send(*(mined(line, device) for line in said))
    assert device.session.agent
    assert f'"{device.session.agent}' in DIALOGUES[name]
