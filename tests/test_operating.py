"""docs/operating.md against the code: every reason and every event an operator may meet is explained there."""

import ast
import re
from collections.abc import Iterator, Mapping
from pathlib import Path

from controller.decisions import REASON_TEXT
from miner.metrics import Metrics

ROOT = Path(__file__).resolve().parents[1]
TEXT = (ROOT / "docs" / "operating.md").read_text()
ROW = re.compile(r"^\| `(\w+)` \| ([^|]+) \| ([^|]+) \|", re.MULTILINE)
LOUD = {"warning", "error", "critical", "exception"}


def loud_events() -> Iterator[tuple[str, str]]:
    """Level and name of every event above `info` in the sources."""
    for package in ("miner", "controller"):
        for file in (ROOT / package).rglob("*.py"):
            tree = ast.parse(file.read_text())
            constants = dict(_constants(tree))
            for node in ast.walk(tree):
                if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
                    yield from _told_by(node, node.func, constants)


def _constants(tree: ast.Module) -> Iterator[tuple[str, str]]:
    """Name and text of each text that a module gives a name to."""
    for statement in tree.body:
        target = (
            statement.targets[0] if isinstance(statement, ast.Assign) else getattr(statement, "target", None)
        )
        value = getattr(statement, "value", None)
        if isinstance(target, ast.Name) and isinstance(value, ast.Constant) and isinstance(value.value, str):
            yield target.id, value.value


def _told_by(
    call: ast.Call, function: ast.Attribute, constants: Mapping[str, str]
) -> Iterator[tuple[str, str]]:
    """The loud events that a call may tell."""
    level = function.attr
    names = [str(part.value) for part in call.args if isinstance(part, ast.Constant)]
    # What the ledger loses is told under the name that it was queued with.
    queued = [keyword.value for keyword in call.keywords if keyword.arg == "lost_event"]
    lost = [str(part.value) for part in queued if isinstance(part, ast.Constant)]
    lost += [constants[part.id] for part in queued if isinstance(part, ast.Name) and part.id in constants]
    if level == "note":
        lost += names
    yield from (("critical", name) for name in lost if name)
    if level == "_complain":
        level = ast.unparse(call.args[0]).rpartition(".")[2].lower()
    elif ast.unparse(function.value) != "log":
        return
    if level == "log":  # its level is reckoned, up to the loudest there is in the table
        level = "warning"
    if level in LOUD and names:
        yield level.replace("exception", "error"), names[0]


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


def test_alert_rules_ask_for_metrics_that_exist() -> None:
    rules = (ROOT / "deploy" / "alerts.yml").read_text()
    expressions = [line for line in rules.splitlines() if line.strip().startswith("expr:")]
    asked = set(re.findall(r"hashmill_\w+", "\n".join(expressions)))
    assert asked - {info.name for info in Metrics("", "").catalogue} == set()
    assert rules.count("- alert: ") == len(expressions) == rules.count("summary: ")
