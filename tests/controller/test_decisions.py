from __future__ import annotations

import pytest

from controller.decisions import REASON_TEXT, Decision, Outcome, OutcomeKind, Reason

CODES = {
    "start",
    "pause_unprofitable",
    "resume_profitable",
    "step_up",
    "step_down",
    "restore",
    "safe_mode",
    "hold_profitable",
    "hold_unprofitable",
    "hold_dead_band",
    "hold_min_on",
    "hold_min_off",
    "hold_confirming",
    "hold_stale",
    "hold_no_plan",
    "hold_batch_limit",
    "unreachable",
    "thermal",
    "signal",
    "override",
    "site_cap",
    "plan_ahead",
    "prices_alone",
    "hold_thermal",
    "hold_site_cap",
    "hold_change_cost",
    "hold_starts_per_day",
    "hold_settling",
    "unit_silent",
    "unit_still_hashing",
}


def test_reason_codes_are_stable() -> None:
    assert {reason.value for reason in Reason} >= CODES


def test_every_reason_has_its_words() -> None:
    assert set(REASON_TEXT) == set(Reason)


def test_codes_that_hold_never_act() -> None:
    assert not any(reason.acts for reason in Reason if reason.value.startswith("hold"))
    assert not any(reason.acts for reason in (Reason.UNREACHABLE, Reason.SILENT, Reason.STILL_HASHING))


@pytest.mark.parametrize(
    ("from_mode", "reason", "changes"),
    [("full", Reason.PAUSE, True), ("off", Reason.SAFE_MODE, False), ("full", Reason.BATCH_LIMIT, False)],
)
def test_a_decision_changes_a_unit_only_if_it_acts_and_the_mode_differs(
    from_mode: str, reason: Reason, *, changes: bool
) -> None:
    assert Decision("1", 0.0, "u", from_mode, "off", reason).changes == changes


def test_outcomes_have_the_names_of_the_ledger() -> None:
    assert [kind.value for kind in OutcomeKind] == [
        "applied",
        "confirmed",
        "failed",
        "unsupported",
        "superseded",
        "interrupted",
    ]
    assert Outcome("1", "u", 0.0, OutcomeKind.APPLIED).mode_read is None
