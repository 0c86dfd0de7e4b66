"""Reading a configuration file: a `Config`, or every error in it at once, each with file, line and key."""

import os
from collections.abc import Iterator, Mapping
from copy import deepcopy
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any, get_type_hints

from pydantic import ValidationError, create_model

from miner import (
    config_ledger_rules,
    config_market_rules,
    config_pool_rules,
    config_power_rules,
    config_real_time_rules,
    config_signals_rules,
    config_stratum_rules,
    config_unit_rules,
)
from miner import config_rules as rules
from miner.config import ARRAYS, TABLES, Config
from miner.config_rules import TAKEN_OUT, Draft, Finding
from miner.config_toml import Document, KeyPath, TomlError, parse
from miner.config_values import Section
from miner.config_words import shown, unknown, words

NO_NETWORK = "is missing: say which chain, one of main, test, testnet4, signet, regtest"


@dataclass(frozen=True, slots=True)
class Problem:
    """One thing wrong with a configuration; `line` and `column` count from 1, `key` is empty for the file itself."""

    file: Path
    line: int | None
    key: str
    message: str
    column: int | None = None

    def __str__(self) -> str:
        """Like a compiler's: file:line: key: message."""
        place = ":".join(str(part) for part in (self.file, self.line, self.column) if part is not None)
        return f"{place}: {self.key}: {self.message}" if self.key else f"{place}: {self.message}"


class ConfigError(Exception):
    """A configuration that cannot be used; str() gives all its problems, one a line."""

    def __init__(self, problems: list[Problem]) -> None:
        super().__init__("\n".join(str(problem) for problem in problems))
        self.problems = problems


def load(file: Path, environ: Mapping[str, str] | None = None) -> Config:
    """The configuration in `file`, passwords resolved from files and `environ` (default: the process's).

    Raises ConfigError with every problem there is. Paths come out absolute.
    """
    file = file.expanduser()
    document = _read(file)
    draft = Draft(file, deepcopy(document.value), os.environ if environ is None else environ)
    context = {"folder": file.absolute().parent}
    found = [*config_unit_rules.take_out_later(draft.raw)]
    found += _sections(draft, context)
    for rule in (
        *rules.RULES,
        *config_ledger_rules.RULES,
        *config_stratum_rules.RULES,
        *config_unit_rules.RULES,
        *config_pool_rules.RULES,
        *config_signals_rules.RULES,
        *config_market_rules.RULES,
        *config_power_rules.RULES,
        *config_real_time_rules.RULES,
    ):
        found += rule(draft)
    if found:
        raise ConfigError(_problems(file, document, found))
    _resolve_passwords(draft)
    config_pool_rules.resolve_passwords(draft)
    config_ledger_rules.resolve_password(draft)
    return Config.model_validate(draft.raw, context=context)


def _read(file: Path) -> Document:
    try:
        text = file.read_bytes().decode()
    except FileNotFoundError:
        message = "there is no such file: `hashmill init --out FILE` writes one to start from"
        raise ConfigError([Problem(file, None, "", message)]) from None
    except OSError as error:
        raise ConfigError([Problem(file, None, "", f"cannot be read: {error.strerror}")]) from None
    except UnicodeDecodeError as error:
        line = error.object.count(b"\n", 0, error.start) + 1
        raise ConfigError([Problem(file, line, "", "is not UTF-8 text from here on")]) from None
    try:
        return parse(text)
    except TomlError as error:
        raise ConfigError([Problem(file, error.line, "", error.message, error.column)]) from None


def _problems(file: Path, document: Document, found: list[Finding]) -> list[Problem]:
    """In the order of the file, each once."""
    placed = [Problem(file, document.line_of(f.path), _key(f.path), f.message) for f in found]
    return sorted(dict.fromkeys(placed), key=lambda problem: (problem.line or 0, problem.key))


def _key(path: KeyPath) -> str:
    """A key as people write it: bitcoind[2].rpc_url is that of the second [[bitcoind]]."""
    key = ""
    for part in path:
        key += f"[{part + 1}]" if isinstance(part, int) else f".{part}" if key else part
    return key


def _sections(draft: Draft, context: dict[str, Any]) -> Iterator[Finding]:
    """Judge every section by itself, so that one bad one hides nothing of the others."""
    if "network" not in draft.raw:
        yield Finding(("network",), NO_NETWORK)
    yield from config_pool_rules.missing(draft.raw)
    for name, value in draft.raw.items():
        if name in TABLES:
            yield from _table(draft, name, value, context)
        elif name in ARRAYS:
            yield from _array(draft, name, value, context)
        elif name == "network":
            yield from _judge(draft, (), Config, {name: value}, context, only=name)
        else:
            yield Finding((name,), unknown((name,), Config))
    # Rules look at the defaults of sections that are not written, too.
    for name in TABLES.keys() - draft.raw.keys() - {"solo", "stratum", "tape", "mqtt"}:
        yield from _judge(draft, (name,), TABLES[name], {}, context)


def _table(draft: Draft, name: str, value: Any, context: dict[str, Any]) -> Iterator[Finding]:
    if isinstance(value, list) and value:
        yield Finding((name,), f"there is only one: write [{name}] instead of [[{name}]]")
    else:
        yield from _judge(draft, (name,), TABLES[name], value, context)


def _array(draft: Draft, name: str, value: Any, context: dict[str, Any]) -> Iterator[Finding]:
    if isinstance(value, dict):
        yield Finding((name,), f"there may be several: write [[{name}]] instead of [{name}]")
    elif not isinstance(value, list):
        yield Finding((name,), f"must be a table, written [[{name}]], not {shown(value)}")
    for position, item in enumerate(value if isinstance(value, list) else []):
        if item is not TAKEN_OUT:
            yield from _judge(draft, (name, position), ARRAYS[name], item, context)


def _judge(
    draft: Draft,
    path: KeyPath,
    model: type[Section],
    value: Any,
    context: dict[str, Any],
    only: str | None = None,
) -> Iterator[Finding]:
    """Check one section, keep in the draft what is well of it; `only`: just this key of it is there to be checked."""
    try:
        draft.sections[path] = model.model_validate(value, context=context)
    except ValidationError as error:
        details = [d for d in error.errors(include_url=False) if only is None or d["loc"][:1] == (only,)]
        for detail in details:
            at = (*path, *detail["loc"])
            yield Finding(at, words(detail, at, model))
        if only is None and isinstance(value, dict):
            bad = {str(detail["loc"][0]) for detail in details}
            draft.bad |= {(*path, key) for key in bad}
            rest = {key: item for key, item in value.items() if key not in bad}
            draft.sections[path] = _relaxed(model).model_validate(rest, context=context)


@cache
def _relaxed(model: type[Section]) -> type[Section]:
    """The same section with nothing missing: required keys are None, so that what is well can still be looked at."""
    hints = get_type_hints(model, include_extras=True)
    required: dict[str, Any] = {
        name: (hints[name], None) for name, info in model.model_fields.items() if info.is_required()
    }
    return create_model(model.__name__, __base__=model, **required)


def _resolve_passwords(draft: Draft) -> None:
    """Put passwords from files and the environment where the model keeps them; the files were found well before."""
    for position, (_, node, written) in enumerate(draft.each("bitcoind")):
        if "rpc_user" not in written or written.get("rpc_password"):
            continue
        if node.rpc_password_file:
            written["rpc_password"] = rules.first_line(node.rpc_password_file)
        else:
            written["rpc_password"] = draft.environ[rules.password_variable(position)]
