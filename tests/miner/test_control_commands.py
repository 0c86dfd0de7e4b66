import asyncio
import math
import threading
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from controller.overrides import Override
from controller.signals import Action, SignalRule
from controller.sources.signal_inbox import SignalInbox
from controller.ticks import Tick
from controller.units import Mode, PowerCurve, Unit
from miner import control_commands
from miner.control_commands import NOT_RECORDED, ControlCommands, token_reader
from miner.web.commands import Commands, OverrideWanted, Refusal, SignalState, SignalWanted, SignalWindow

NOW = 1_800_000_000.0
UNIT = Unit("rack1-07", PowerCurve([Mode("eco", 76, 1850), Mode("full", 100, 2970)]))
RULES = (
    SignalRule("dr", Action.PAUSE, frozenset({"rack1-07"})),
    SignalRule("cap", Action.CAP),
    SignalRule("night", Action.CAP, cap_kw=40.0),
)


class Journal:
    """Keeps what it is given, or fails."""

    def __init__(self) -> None:
        self.ticks: list[Tick] = []
        self.made: list[Override] = []
        self.broken = False

    async def record_signals(self, ticks: Sequence[Tick]) -> None:
        await self._write()
        self.ticks += ticks

    async def record_override(self, override: Override) -> None:
        await self._write()
        self.made.append(override)

    async def overrides(self, now: float) -> Mapping[str, Override]:
        return {each.unit_id: each for each in self.made if now < each.until}

    async def _write(self) -> None:
        await asyncio.sleep(0)
        if self.broken:
            raise RuntimeError("ledger: disk full")


class House:
    """A controller's commands, with the journal they are kept in."""

    def __init__(self, journal: Journal | None = None) -> None:
        self.journal = journal or Journal()
        self.at = NOW
        self.woken = 0
        self.ticks: dict[str, list[Tick]] = {}
        self.inbox = SignalInbox(
            [rule.name for rule in RULES], self.journal.record_signals, on_change=self.wake
        )
        kept: Any = self.journal
        self.commands = ControlCommands(
            rules=RULES,
            inbox=self.inbox,
            units=[UNIT],
            journal=kept,
            ticks=lambda: self.ticks,
            wake=self.wake,
            clock=lambda: self.at,
        )

    def wake(self) -> None:
        self.woken += 1


@pytest.fixture
def house() -> House:
    return House()


async def test_a_posted_signal_is_in_the_ledger_and_wakes_the_controller(house: House) -> None:
    commands: Commands = house.commands
    answer = await commands.post_signal(SignalWanted("dr", NOW, NOW + 900, who="utility"))
    assert answer == SignalState(
        "dr",
        "pause",
        active=True,
        windows=(SignalWindow(NOW, NOW + 900, None, "webhook"),),
        units=("rack1-07",),
    )
    assert [(tick.series, tick.valid_to) for tick in house.journal.ticks] == [("signal:dr", NOW + 900)]
    assert house.woken == 1


async def test_a_cap_is_posted_with_its_limit_or_takes_the_configured_one(house: House) -> None:
    posts = [SignalWanted("cap", NOW, math.inf, 25.0), SignalWanted("night", NOW + 60, NOW + 120)]
    windows = [getattr(await house.commands.post_signal(wanted), "windows", None) for wanted in posts]
    assert windows == [
        (SignalWindow(NOW, None, 25.0, "webhook"),),
        (SignalWindow(NOW + 60, NOW + 120, 40.0, "webhook"),),
    ]


@pytest.mark.parametrize(
    ("wanted", "kind", "parameter", "words"),
    [
        (SignalWanted("x", NOW, NOW + 9), "unknown", "", "configured are dr, cap, night"),
        (SignalWanted("dr", NOW, NOW + 9, 5.0), "wrong", "cap_kw", "action is pause"),
        (SignalWanted("cap", NOW, NOW + 9), "wrong", "cap_kw", "is needed"),
        (SignalWanted("dr", NOW - 9, NOW), "wrong", "until", "must end after it begins"),
    ],
)
async def test_a_signal_that_cannot_be_is_refused_with_words(
    house: House, wanted: SignalWanted, kind: str, parameter: str, words: str
) -> None:
    answer = await house.commands.post_signal(wanted)
    assert isinstance(answer, Refusal)
    assert (answer.kind, answer.parameter) == (kind, parameter)
    assert words in answer.detail
    assert (house.journal.ticks, house.woken) == ([], 0)


async def test_an_ended_signal_still_holds_where_another_source_says_so(house: House) -> None:
    await house.commands.post_signal(SignalWanted("dr", NOW, NOW + 900))
    said = Tick("signal:dr", 1.0, "1", NOW - 60, math.inf, NOW, "mqtt a:1883")
    house.ticks = {"signal:dr": [*house.journal.ticks, said]}
    house.at += 60
    answer = await house.commands.end_signal("dr", "ana")
    assert isinstance(answer, SignalState)
    assert (answer.active, answer.windows) == (True, (SignalWindow(NOW - 60, None, None, "mqtt a:1883"),))
    assert house.journal.ticks[-1].valid_to == NOW + 60
    assert [state.active for state in house.commands.signals()] == [True, False, False]
    assert isinstance(await house.commands.end_signal("x", ""), Refusal)


async def test_an_override_is_in_the_ledger_and_then_in_force(house: House) -> None:
    state = await house.commands.override(OverrideWanted("rack1-07", "eco", NOW + 600, "ana", "fan"))
    assert house.journal.made == [Override("rack1-07", "eco", NOW, NOW + 600, "ana", "fan")]
    assert (house.commands.overrides(), house.woken) == ((state,), 1)
    assert house.commands.in_force() == {"rack1-07": house.journal.made[0]}
    house.at += 600
    assert (house.commands.overrides(), house.commands.in_force()) == ((), {})


async def test_an_override_is_taken_back(house: House) -> None:
    await house.commands.override(OverrideWanted("rack1-07", "off", math.inf, "ana"))
    assert [state.until for state in house.commands.overrides()] == [None]
    house.at += 60
    assert await house.commands.end_override("rack1-07", "ben") is None
    assert house.journal.made[-1].until == NOW + 60
    assert (house.commands.in_force(), house.woken) == ({}, 2)
    assert await house.commands.end_override("rack1-07", "ben") == Refusal(
        "unknown", "there is no override of this unit"
    )


@pytest.mark.parametrize(
    ("unit", "mode", "kind", "words"),
    [("rack9", "off", "unknown", "no unit"), ("rack1-07", "turbo", "wrong", "it has off, eco, full")],
)
async def test_an_override_that_cannot_be_is_refused_with_words(
    house: House, unit: str, mode: str, kind: str, words: str
) -> None:
    answer = await house.commands.override(OverrideWanted(unit, mode, NOW + 60, "ana"))
    assert isinstance(answer, Refusal)
    assert (answer.kind, words in answer.detail) == (kind, True)
    assert house.journal.made == []


async def test_what_cannot_be_recorded_changes_nothing(house: House) -> None:
    await house.commands.override(OverrideWanted("rack1-07", "off", NOW + 60, "ana"))
    await house.commands.post_signal(SignalWanted("dr", NOW, NOW + 60))
    house.journal.broken = True
    refusal = Refusal("unavailable", NOT_RECORDED)
    before = house.commands.signals(), house.commands.overrides()
    assert await house.commands.override(OverrideWanted("rack1-07", "eco", NOW + 60, "ben")) == refusal
    assert await house.commands.end_override("rack1-07", "ben") == refusal
    assert await house.commands.post_signal(SignalWanted("dr", NOW, NOW + 600)) == refusal
    assert await house.commands.end_signal("dr", "ben") == refusal
    assert ((house.commands.signals(), house.commands.overrides()), house.woken) == (before, 2)


async def test_after_a_restart_overrides_and_signals_go_on(house: House) -> None:
    await house.commands.override(OverrideWanted("rack1-07", "off", NOW + 600, "ana"))
    await house.commands.post_signal(SignalWanted("dr", NOW, NOW + 600))
    again = House(house.journal)
    await again.commands.recall()
    again.inbox.restore(house.journal.ticks)
    assert again.commands.overrides() == house.commands.overrides()
    assert again.commands.signals() == house.commands.signals()


def test_its_clock_is_the_daemons(house: House) -> None:
    assert house.commands.now() == NOW


async def test_a_token_is_the_first_line_of_its_file_as_it_is_now(tmp_path: Path) -> None:
    assert token_reader(None) is None
    read = token_reader(tmp_path / "token")
    assert read is not None
    with pytest.raises(FileNotFoundError, match="token"):
        await read()
    for text in ("one\nmore\n", "two"):
        (tmp_path / "token").write_text(text)
        assert await read() == text[:3]
    (tmp_path / "token").write_bytes(b"\xff")
    with pytest.raises(ValueError, match="token: "):
        await read()


async def test_a_token_file_that_hangs_costs_one_thread_however_many_ask(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    let_go = threading.Event()
    monkeypatch.setattr(control_commands, "TOKEN_WAIT_S", 0.1)
    monkeypatch.setattr(control_commands, "first_line", lambda _: str(let_go.wait(30)))
    read = token_reader(tmp_path / "token")
    assert read is not None
    for _ in range(2):
        answers = await asyncio.gather(*(read() for _ in range(30)), return_exceptions=True)
        assert {type(answer) for answer in answers} <= {OSError, TimeoutError}
        assert all("token: " in str(answer) for answer in answers)
    assert [thread.name for thread in threading.enumerate()].count("token") == 1
    let_go.set()
    async with asyncio.timeout(5):
        while await asyncio.gather(read(), return_exceptions=True) != ["True"]:  # noqa: ASYNC110 - it tells nobody
            await asyncio.sleep(0.01)


async def test_an_override_holds_on_when_the_clock_was_set_back(house: House) -> None:
    for until in (NOW + 900, math.inf):
        await house.commands.override(OverrideWanted(UNIT.id, "eco", until, "ana"))
        house.at = NOW - 3600
        assert house.commands.in_force()[UNIT.id].holds_at(house.at)
        house.at = NOW + 60
        assert house.commands.in_force()[UNIT.id].since == NOW
        house.at = NOW
