"""The demo: its prices cross breakeven twice whatever the machine, and one short day of it is played for real."""

from __future__ import annotations

import re
import signal
from itertools import pairwise
from typing import TYPE_CHECKING

import pytest

from controller.economics import breakeven_power_price, margin_usd_per_hour
from controller.hashprice import hashprice_btc_per_ph_day
from controller.sources.tape import TapeSource, load_tape
from controller.ticks import BTC_USD, DIFFICULTY, FEES, POWER, SUBSIDY
from controller.units import Mode
from regtest import demo
from regtest.demo import BREAKEVEN_USD_PER_KWH, Story, demo_difficulty, main, tape_csv
from regtest.fetch import NoBitcoindError

if TYPE_CHECKING:
    from pathlib import Path

    from controller.sources.tape import Tape

START = 1_700_000_000.0
SHORT_DAY_S = 16.0


def tape_of(folder: Path, difficulty: float = 0.01) -> Tape:
    file = folder / "tape.csv"
    file.write_text(tape_csv(difficulty))
    return load_tape(file)


@pytest.mark.parametrize("rate", [1e6, 43.7e6, 1e9])
def test_a_machine_of_any_rate_breaks_even_at_six_cents(rate: float) -> None:
    for threads in (1, 2, 64):
        mode = Mode("full", threads * rate / 1e12, threads * demo.WATTS_PER_THREAD)
        hashprice = demo.BTC_USD * hashprice_btc_per_ph_day(demo_difficulty(rate), demo.SUBSIDY_SAT, 0.0)
        margin = margin_usd_per_hour(mode, hashprice, BREAKEVEN_USD_PER_KWH)
        assert margin == pytest.approx(0.0, abs=1e-9)
        assert breakeven_power_price(mode.j_per_th, hashprice) == pytest.approx(0.06)


def test_a_day_of_prices_crosses_breakeven_twice_and_begins_and_ends_cheap(tmp_path: Path) -> None:
    prices = [row.values[POWER] for row in tape_of(tmp_path).rows]
    pays = [price < BREAKEVEN_USD_PER_KWH for price in prices]
    assert (pays[0], pays[-1]) == (True, True)
    assert sum(now != before for before, now in pairwise(pays)) == 2
    assert min(prices) == demo.CHEAP_USD_PER_KWH
    assert max(prices) == demo.DEAR_USD_PER_KWH
    # Even a machine that hashes a third faster or slower than it was measured meets both sides.
    assert min(prices) < BREAKEVEN_USD_PER_KWH * 2 / 3 < BREAKEVEN_USD_PER_KWH * 4 / 3 < max(prices)


async def test_the_tape_brings_every_number_a_decision_needs_and_goes_round(tmp_path: Path) -> None:
    tape = tape_of(tmp_path, difficulty=0.0125)
    assert tape.length_s == 86_400
    played = TapeSource(tape, START, speed=86_400 / demo.DAY_S, loop=True)
    first = {tick.series: tick.value for tick in await played.read(START)}
    assert first == {POWER: 0.03, BTC_USD: 90_000, DIFFICULTY: 0.0125, SUBSIDY: 312_500_000, FEES: 0}
    assert {tick.series: tick.value for tick in await played.read(START + demo.DAY_S)} == first


def test_only_what_price_did_counts_as_paused_and_resumed(capsys: pytest.CaptureFixture[str]) -> None:
    def decision(number: int, from_mode: str, to_mode: str, reason: str) -> dict[str, object]:
        numbers = {"power_usd_per_kwh": 0.0512}
        names = {"id": str(number), "unit_id": "cpu", "flip": "runs again above $1"}
        return {**names, "from_mode": from_mode, "to_mode": to_mode, "reason": reason, "numbers": numbers}

    class Daemon:
        """Tells the newest decision first, as the API does."""

        def decisions(self, limit: int) -> list[dict[str, object]]:
            assert limit
            return [
                decision(5, "off", "full", "resume_profitable"),
                decision(4, "full", "off", "safe_mode"),
                decision(3, "full", "off", "pause_unprofitable"),
                decision(2, "full", "full", "hold_profitable"),
                decision(1, "off", "full", "resume_profitable"),
            ]

    story = Story()
    for _ in range(2):  # what was told is not told again
        demo._tell_decisions(Daemon(), story, 1.0)  # type: ignore[arg-type]
    assert (story.pauses, story.resumes) == (1, 1)
    told = capsys.readouterr().out.splitlines()
    assert len(told) == 4
    assert told[1] == "   1.0 s  cpu: off (pause_unprofitable) at 5.1 ct/kWh; runs again above $1"


def test_without_a_bitcoind_it_says_so_and_fails(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def nowhere() -> None:
        raise NoBitcoindError("no bitcoind on PATH, and Debian's package cannot be fetched")

    monkeypatch.setattr(demo, "Bitcoind", nowhere)
    assert main(1.0) == 1
    assert capsys.readouterr().out.splitlines()[-1].startswith("demo: no bitcoind on PATH")


def test_a_demo_in_which_not_everything_happened_has_failed(capsys: pytest.CaptureFixture[str]) -> None:
    status = {
        "blocks": {"found": 3, "accepted": 3, "mature": 0},
        "units": [{"shares_accepted": 9, "shares_rejected": 0, "hashes": 10**9}],
    }
    assert demo._summary(status, Story(pauses=1, resumes=1), 0, 50.0) == 0
    assert "all of it worked" in capsys.readouterr().out
    assert demo._summary(status, Story(pauses=1, resumes=0), 0, 50.0) == 1
    assert demo._summary(status, Story(pauses=0, resumes=1), 0, 50.0) == 1
    assert demo._summary(status, Story(pauses=1, resumes=1), 1, 50.0) == 1
    nothing = {**status, "blocks": {"found": 3, "accepted": 0, "mature": 0}}
    assert demo._summary(nothing, Story(pauses=1, resumes=1), 0, 50.0) == 1


def test_sigterm_ends_it_as_ctrl_c_does_and_leaves_the_handler_as_it_was() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with pytest.raises(KeyboardInterrupt), demo._interrupts():
        signal.raise_signal(signal.SIGTERM)
    assert signal.getsignal(signal.SIGTERM) is before


@pytest.mark.bitcoind
def test_one_day_of_it_mines_pauses_and_resumes(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(demo, "DAY_S", SHORT_DAY_S)
    code = main(SHORT_DAY_S + 4)  # the next morning is as cheap
    told = capsys.readouterr().out
    assert code == 0, told
    assert re.search(r"block \d+ accepted by bitcoind: [1-9]\d* transactions, [1-9]\d* sat fees", told)
    pause = re.search(r"cpu: off \(pause_unprofitable\) at ([\d.]+) ct/kWh; runs again above", told)
    assert pause is not None
    resume = re.search(r"cpu: full \(resume_profitable\) at ([\d.]+) ct/kWh", told[pause.end() :])
    assert resume is not None
    assert float(pause[1]) > float(resume[1])
    assert told.splitlines()[-1] == "demo: all of it worked"
