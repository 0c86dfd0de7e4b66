"""Results as plain data."""

import json

from controller.backtest_document import TAKEN, document, sees_text
from tests.controller.backtested import backtested


def test_the_document_holds_for_each_class_each_policy_and_what_decisions_saw() -> None:
    told = json.loads(json.dumps(document(backtested(21))))
    (key,) = told["fleets"]
    policies = told[key]
    assert {"usd", "regret", "starts", "uptime"} <= set(policies["hashmill"])
    assert told["sees"] == "A"
    assert told["sees_text"] == "the price of the quarter hour that begins"
    assert told["period"]["hours"] == told["period"]["counted_hours"] == 21 * 24


def test_gaps_are_named_and_their_hours_do_not_count() -> None:
    told = document(backtested(7, missing=4))
    assert told["gaps"] == ["a.csv: nothing from x to y"]
    assert told["period"]["hours"] - told["period"]["counted_hours"] == 1


def test_what_is_seen_is_said_in_words() -> None:
    assert "begins" in sees_text(backtested(7))


def test_every_name_that_stands_beside_the_classes_is_taken() -> None:
    told = document(backtested(7))
    assert set(told) - set(told["fleets"]) == TAKEN - {"notes"}
