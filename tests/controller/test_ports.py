from __future__ import annotations

from controller.decisions import Decision, Outcome, OutcomeKind, Reason
from controller.ports import Listener


def test_a_listener_need_not_care_about_anything() -> None:
    listener = Listener()
    listener.on_decision(Decision("1", 0.0, "u", "full", "off", Reason.PAUSE))
    listener.on_outcome(Outcome("1", "u", 0.0, OutcomeKind.APPLIED))
    listener.on_alert(None, "look here")
