"""What is said of [controller.real_time] and of what does not go with it."""

from pathlib import Path

import pytest

from miner.config_controller import ControllerConfig
from miner.config_file import _judge, _problems
from miner.config_power import PowerConfig
from miner.config_real_time_rules import RULES, ModelRefusedError, read_model_file
from miner.config_rules import Draft
from miner.config_tape import TapeConfig
from miner.config_toml import parse
from tests.miner.control_harness import a_model

MODELS = {"controller": ControllerConfig, "power": PowerConfig, "tape": TapeConfig}


def said(folder: Path, text: str) -> list[str]:
    """What is wrong, as `line: key: message`; the first line of `text` is line 1."""
    file = folder / "hashmill.toml"
    file.write_text(text)
    document = parse(text)
    draft = Draft(file, document.value, {})
    found = []
    for name, model in MODELS.items():
        if name in draft.raw:
            found += _judge(draft, (name,), model, draft.raw[name], {"folder": folder})
    for rule in RULES:
        found += rule(draft)
    return [
        f"{problem.line}: {problem.key}: {problem.message}" for problem in _problems(file, document, found)
    ]


REAL_TIME = "[controller.real_time]\n"
LIVE = '[[power.http]]\npreset = "ercot-real-time"\narea = "HB_WEST"\n'
AHEAD = '[[power.http]]\npreset = "ercot-day-ahead"\narea = "HB_WEST"\n'


def test_the_table_alone_is_enough_and_a_model_is_read(tmp_path: Path) -> None:
    (tmp_path / "market.model").write_bytes(a_model())
    assert said(tmp_path, REAL_TIME) == []
    assert said(tmp_path, f'{REAL_TIME}model = "market.model"\nsees = "B"\n{LIVE}') == []


def test_a_model_that_is_missing_is_told_with_what_makes_one(tmp_path: Path) -> None:
    (problem,) = said(tmp_path, f'{REAL_TIME}model = "none.model"\n')
    assert problem == (
        f"2: controller.real_time.model: {tmp_path}/none.model does not exist: `hashmill fit --power CSV --out FILE` writes one; "
        "without this line a band decides"
    )


def test_a_model_that_cannot_be_read_or_is_none_is_told(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (problem,) = said(tmp_path, f'{REAL_TIME}model = "folder"\n')
    assert problem.startswith(f"2: controller.real_time.model: {tmp_path}/folder cannot be read: ")
    (tmp_path / "prices.csv").write_text("start_utc,usd_per_mwh\n")
    (problem,) = said(tmp_path, f'{REAL_TIME}model = "prices.csv"\n')
    assert problem.startswith(f"2: controller.real_time.model: {tmp_path}/prices.csv: this is no model")
    assert "hashmill fit" in problem
    (tmp_path / "cut.model").write_bytes(a_model()[:-100])
    with pytest.raises(ModelRefusedError, match=r"cut[.]model: this is no model, or a damaged one"):
        read_model_file(tmp_path / "cut.model")


def test_a_file_of_any_size_is_read_only_as_far_as_a_model_goes(tmp_path: Path) -> None:
    with (tmp_path / "disk.img").open("wb") as file:
        file.truncate(1 << 40)
    with pytest.raises(ModelRefusedError, match="at most 2,000,000 bytes"):
        read_model_file(tmp_path / "disk.img")


def test_other_words_than_a_and_b_are_refused(tmp_path: Path) -> None:
    assert said(tmp_path, f'{REAL_TIME}sees = "C"\n') == [
        '2: controller.real_time.sees: must be "A" or "B", not "C"'
    ]


def test_prices_that_would_count_as_settled_do_not_stand_beside_the_price_of_the_moment(
    tmp_path: Path,
) -> None:
    (problem,) = said(tmp_path, REAL_TIME + LIVE + AHEAD)
    assert problem == (
        "6: power.http[2].preset: with [controller.real_time] the prices of ercot-day-ahead would count as the ones that are paid later: "
        "write it as [[power.day_ahead.http]]"
    )
    assert said(tmp_path, LIVE + AHEAD) == []
    assert said(tmp_path, REAL_TIME + AHEAD) == [], "where the day ahead settles all is known"
    (problem,) = said(tmp_path, REAL_TIME + LIVE + "[[power.schedule]]\nprice_per_kwh = 0.1\n")
    assert problem.startswith(
        "5: power.schedule: with [controller.real_time] it would count as what is paid later"
    )


def test_a_tape_is_not_played_faster_than_the_market_goes(tmp_path: Path) -> None:
    (tmp_path / "tape.csv").write_text("offset_s,usd_per_kwh\n0,0.1\n")
    fast = '[tape]\nfile = "tape.csv"\nspeed = 60.0\n'
    assert said(tmp_path, fast + REAL_TIME) == [
        "3: tape.speed: with [controller.real_time] it must be 1: prices are reckoned with by quarter hours of the clock"
    ]
    assert said(tmp_path, fast) == []
    assert said(tmp_path, '[tape]\nfile = "tape.csv"\n' + REAL_TIME) == []


def test_a_section_that_is_wrong_hides_nothing_and_breaks_nothing(tmp_path: Path) -> None:
    assert said(tmp_path, '[controller]\nreal_time = "yes"\n' + LIVE + AHEAD) == [
        '2: controller.real_time: must be a table, not "yes"'
    ]
