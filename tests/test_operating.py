"""docs/operating.md against the code: every reason and every event an operator may meet is explained there."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

from controller.decisions import REASON_TEXT

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "operating.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
LOUD = {"warning", "error", "critical", "exception"}


def loud_events() -> Iterator[tuple[str, str]]:
    """Level and name of every event above `info` in the sources."""
    for package in ("miner", "controller"):
        for file in (ROOT / package).rglob("*.py"):
            for node in ast.walk(ast.parse(file.read_text())):
                if not isinstance(node, ast.Call) or not isinstance(node.func, ast.Attribute):
                    continue
                level = node.func.attr
                arguments = [part.value for part in node.args if isinstance(part, ast.Constant)]
                if level == "_noted":  # what the ledger lost is told under the name it was queued with
                    yield "critical", str(arguments[0])
                for keyword in node.keywords:
                    if keyword.arg == "lost_event" and isinstance(keyword.value, ast.Constant):
                        yield "critical", str(keyword.value.value)
                if (
                    level == "log" and arguments
                ):  # its level is reckoned, up to the loudest there is in the table
                    level = "warning"
                if level == "_complain":
                    level = ast.unparse(node.args[0]).rpartition(".")[2].lower()
                elif ast.unparse(node.func.value) != "log":
                    continue
                if level in LOUD and arguments:
                    yield level.replace("exception", "error"), str(arguments[0])


def test_every_reason_stands_there_in_its_own_words() -> None:
    told = {code: words for code, words, _ in ROW.findall(TEXT)}
    assert {reason.value: told.get(reason.value) for reason in REASON_TEXT} == {
        reason.value: words for reason, words in REASON_TEXT.items()
    }


def test_every_event_an_operator_should_look_at_is_explained_with_its_level() -> None:
    told = {event: level.partition(",")[0] for event, level, _ in ROW.findall(TEXT)}
    events = {event: level for level, event in loud_events()}
    assert {event: told.get(event, "not explained") for event in events} == events


def test_nothing_is_explained_that_does_not_exist() -> None:
    known = {reason.value for reason in REASON_TEXT} | {event for _, event in loud_events()}
    assert [name for name, _, _ in ROW.findall(TEXT) if name not in known] == []
