"""What an error in the configuration is called: words that say what to write instead."""

import difflib
import json
from datetime import date, time
from typing import Any, get_args

from pydantic import BaseModel
from pydantic_core import ErrorDetails

from miner.config import ARRAYS, TABLES, Config
from miner.config_toml import KeyPath
from miner.config_values import Section

LONGEST_SHOWN = 60

# By pydantic's types of error; {shown} is the value as written.
WORDS = {
    "missing": "is missing",
    "literal_error": "must be {expected}, not {shown}",
    "string_type": "must be text in quotes, not {shown}",
    "int_type": "must be a whole number, not {shown}",
    "float_type": "must be a number, not {shown}",
    "bool_type": "must be true or false, not {shown}",
    "finite_number": "must be a finite number",
    "model_type": "must be a table, not {shown}",
    "dict_type": "must be a table, not {shown}",
    "tuple_type": "must be an array, written [...], not {shown}",
    "string_pattern_mismatch": "must be letters, digits, - and _ only, at most 32, not {shown}",
    "string_too_short": "must not be empty",
    "string_too_long": "must have at most {max_length} characters",
    "greater_than": "must be above {gt:g}, not {shown}",
    "greater_than_equal": "must be at least {ge:g}, not {shown}",
    "less_than": "must be below {lt:g}, not {shown}",
    "less_than_equal": "must be at most {le:g}, not {shown}",
}


def words(detail: ErrorDetails, path: KeyPath, model: type[Section]) -> str:
    """What is wrong at `path`, judged as part of a section of `model`, and what to write instead."""
    context = detail.get("ctx", {})
    if detail["type"] == "extra_forbidden":
        return unknown(path, _model_at(model, detail["loc"][:-1]))
    if detail["type"] == "value_error":
        return str(context["error"])
    # A kind of error without words of its own is told in pydantic's.
    template = WORDS.get(detail["type"], "{told}, not {shown}")
    facts = {**context, "expected": str(context.get("expected", "")).replace("'", '"'), "told": detail["msg"]}
    return template.format(**facts, shown=shown(detail["input"], secret=_is_secret(path)))


def _is_secret(path: KeyPath) -> bool:
    return "password" in str(path[-1]) or "headers" in path


def _model_at(model: type[BaseModel], loc: KeyPath) -> type[BaseModel]:
    """The model that stands at `loc` inside of `model`."""
    for part in loc:
        # Positions in arrays, and names of the operator's own as in [market.currency], lead to no other model.
        if part in model.model_fields:
            annotation: Any = model.model_fields[str(part)].annotation
            kinds = (annotation, *get_args(annotation))
            model = next(
                (kind for kind in kinds if isinstance(kind, type) and issubclass(kind, BaseModel)), model
            )
    return model


def unknown(path: KeyPath, model: type[BaseModel]) -> str:
    """What may have been meant by an unknown key: one written alike, or one that belongs to another section."""
    key = str(path[-1])
    close = difflib.get_close_matches(key.lower(), model.model_fields, n=1, cutoff=0.6)
    if close:
        return f"is unknown: did you mean {close[0]}?"
    if model is not Config and key == "network":
        return "is unknown here: network belongs at the top of the file, before the first [section]"
    if model is not Config and key in Config.model_fields:
        return f"is unknown here: [{key}] is a section of its own"
    homes = [f"[{name}]" for name, section in TABLES.items() if key in section.model_fields]
    homes += [f"[[{name}]]" for name, section in ARRAYS.items() if key in section.model_fields]
    if homes:
        return f"is unknown here: it belongs into {' or '.join(homes)}"
    return f"is unknown: there are {', '.join(model.model_fields)}"


def shown(value: Any, *, secret: bool = False) -> str:
    """A value as it may stand in an error: as in TOML, never a secret, never long."""
    kinds = ((dict, "a table"), (list, "an array"), (date | time, "a time"))
    kind = next((name for types, name in kinds if isinstance(value, types)), None)
    if kind or secret:
        return kind or "this value"
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= LONGEST_SHOWN else f"{text[:LONGEST_SHOWN]}..."
