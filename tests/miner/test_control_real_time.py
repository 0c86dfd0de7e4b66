"""From [controller.real_time] to what decides, and what `hashmill check` says of it."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from controller.deciding import RealTime
from controller.model import read_model
from controller.view import View
from controller.worth import Sees
from miner.control_real_time import (
    METHODS,
    check_rows,
    fitted_until,
    method_of,
    methods_of,
    model_text,
    real_time_of,
)
from miner.control_refusals import SourceRefusedError
from miner.control_settings import loop_config
from tests.miner.control_harness import a_model, config_of, view_of

NOW = datetime(2025, 3, 2, tzinfo=UTC).timestamp()
MODEL = read_model(a_model())


def told_of(config: dict[str, Any], real_time: RealTime | None, view: View) -> list[str]:
    rows = check_rows(config_of(**config), real_time, view, NOW)
    return [f"{row.subject}: {'ok' if row.ok else '-'}: {row.detail}" for row in rows]


def test_without_the_table_nothing_is_reckoned() -> None:
    assert real_time_of(config_of()) is None
    assert loop_config(config_of()).real_time is None
    assert told_of({}, None, view_of({})) == []


def test_the_table_alone_is_the_band_on_prices_that_are_known_as_they_begin() -> None:
    assert real_time_of(config_of(controller={"real_time": {}})) == RealTime(Sees.A, None)


def test_the_model_is_read_from_its_file(tmp_path: Path) -> None:
    (tmp_path / "market").write_bytes(a_model())
    config = config_of(controller={"real_time": {"model": str(tmp_path / "market"), "sees": "B"}})
    real_time = loop_config(config).real_time
    assert real_time is not None
    assert real_time.model is not None
    assert (real_time.sees, real_time.model.digest) == (Sees.B, MODEL.digest)


def test_a_model_that_went_away_since_the_configuration_was_read_is_refused(tmp_path: Path) -> None:
    config = config_of(controller={"real_time": {"model": str(tmp_path / "gone")}})
    with pytest.raises(SourceRefusedError, match="gone does not exist: `hashmill fit"):
        real_time_of(config)


def test_the_age_of_a_model_counts_from_the_end_of_its_prices() -> None:
    assert fitted_until(MODEL) == datetime(2025, 1, 1, tzinfo=UTC).timestamp()
    assert fitted_until(read_model(a_model(until="soon"))) is None


def test_the_method_in_use_is_that_of_most_units() -> None:
    view = view_of({"a": "fitted", "b": "band", "c": "band", "d": ""})
    assert methods_of(view) == {"fitted": 1, "band": 2}
    assert method_of(view) == "band"
    assert method_of(view_of({"a": "band", "b": "fitted"})) == "fitted"
    assert method_of(view_of({"a": ""})) == ""
    assert methods_of(view_of({"a": "fitted"}, asked=False)) == {}
    assert METHODS[0] == "fitted"


def test_a_model_is_told_with_its_market_its_age_and_how_it_did() -> None:
    assert model_text(MODEL, NOW) == (
        f"model of North hub ({MODEL.digest[:12]}), fitted on 2024-01-01 to 2025-01-01, 60 days old, without day-ahead prices, "
        "behind hindsight by A 0.10% to 0.40% on prices it had not seen"
    )


def test_a_model_that_says_little_is_told_all_the_same() -> None:
    bare = read_model(a_model(market="", until="?", checks={}))
    assert model_text(bare, NOW).startswith("model of a market without a name (")


def test_the_check_tells_what_decides() -> None:
    assert told_of({}, RealTime(Sees.A, MODEL), view_of({"a": "fitted"})) == [
        f"real time: ok: {model_text(MODEL, NOW)}; a decision sees the price of the quarter hour that begins"
    ]
    (band,) = told_of({}, RealTime(Sees.B), view_of({"a": "band"}, "no model"))
    assert band == (
        "real time: -: no model, so a band around breakeven decides; a decision sees prices up to the quarter hour before. "
        "`hashmill fit` learns one from your market's prices"
    )


def test_the_check_tells_why_the_model_does_not_decide_yet() -> None:
    *_, last = told_of({}, RealTime(Sees.A, MODEL), view_of({"a": "band"}, "3 of 97 prices were seen"))
    assert last == "real time: -: not by the model yet: 3 of 97 prices were seen"


def test_units_that_start_for_nothing_are_told() -> None:
    *_, last = told_of({}, RealTime(Sees.A, MODEL), view_of({"a": ""}))
    assert last.startswith(
        "real time: -: starting a unit costs nothing as configured: set restart_s or wear_usd"
    )


def test_what_does_not_fit_the_configuration_is_a_warning() -> None:
    old = read_model(a_model(until="2023-01-01T00:00:00Z", day_ahead=True, sees=(Sees.A,)))
    _, *doubts = told_of({}, RealTime(Sees.B, old), view_of({}))
    assert doubts == [
        "model: -: its prices ended 791 days ago: markets change, fit it again with newer ones",
        'model: -: it was not fitted for sees = "B": fit it again',
        "model: -: it can use day-ahead prices, and there are none: add [power.day_ahead]",
    ]


def test_where_the_price_is_known_ahead_the_check_says_that_the_plan_decides() -> None:
    *_, last = told_of({}, RealTime(Sees.A, MODEL), view_of({}, asked=False))
    assert (
        last == "real time: -: the power price is known for more than two hours ahead: the plan alone decides"
    )
