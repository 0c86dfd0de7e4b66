"""Writes docs/configuration.md from the models: `python -m miner.config_reference > docs/configuration.md`."""

import sys
import types
from collections.abc import Iterator
from datetime import date, datetime
from inspect import cleandoc
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined

from miner.config import ARRAYS, TABLES, Config

# Arrays of tables that are written as one value, [{ ... }, { ... }], rather than with headers of their own.
_INLINE = {"modes"}

_INTRO = """\
# Configuration

<!-- Written by `python -m miner.config_reference > docs/configuration.md`; a test compares the two. -->

Hashmill reads one TOML file: `hashmill run --config hashmill.toml`. `hashmill init --network main --out hashmill.toml`
writes a commented one to start from, and `hashmill check --config hashmill.toml` tries it out.

Every error is reported at once, one a line, as `file:line: key: what is wrong`, and the exit code is 2. Where a section may
be written several times, `bitcoind[2].rpc_url` is that of the second. Nothing unknown is ignored: a misspelt key is an
error.

- **Paths**: `~` is your home folder; relative paths are seen from the configuration file's folder.
- **Secrets** never appear in logs, metrics or the API. A file that holds one (`rpc_password_file`,
  `password_file`, `token_file`, the configuration itself if a password is in it) is refused while group or others can read it: `chmod 600 FILE`. What
  pools say to write where they ask for no password (`x`, `123`) is no secret. The node's cookie
  and the private key of a certificate ([mqtt] `key_file` too) may be readable by a group (bitcoind's `-rpccookieperms=group`, Debian's `ssl-cert`), but
  not by everyone. Files that systemd hands over in
  `$CREDENTIALS_DIRECTORY` are taken as they are.
- **Environment**: where `rpc_user` stands without a password, the password is taken from `HASHMILL_RPC_PASSWORD` for the
  first `[[bitcoind]]`, from `HASHMILL_RPC_PASSWORD_2` for the second, and so on; that of a `[[pool]]` without one from
  `HASHMILL_POOL_PASSWORD` or `HASHMILL_POOL_PASSWORD_2`, and so on, if it is set; that of a PostgreSQL ledger from
  `HASHMILL_LEDGER_PASSWORD`. `HASHMILL_KERNEL` forces a hashing kernel
  (`hashmill bench` lists them).
"""


def reference() -> str:
    """The whole page as Markdown."""
    return "\n".join(_page())


def _page() -> Iterator[str]:
    yield _INTRO
    yield "## Top of the file\n"
    yield from _table({"network": Config.model_fields["network"]})
    for name in (name for name in Config.model_fields if name != "network"):
        model = TABLES.get(name) or ARRAYS[name]
        yield f"\n## {f'[[{name}]]' if name in ARRAYS else f'[{name}]'}\n"
        yield f"{_meaning(model)}\n"
        yield from _table(model.model_fields)
        yield from _subsections(name, model, {})
    yield "\n## Not in this version yet\n"
    yield "These belong to Hashmill's configuration and are refused, not ignored, until the version that brings them:\n"
    yield '- `[[unit]] control = "asic"` and `"plug"`, and with them `host`.\n'


def _meaning(model: type[BaseModel]) -> str:
    return cleandoc(model.__doc__ or "")


def _subsections(name: str, model: type[BaseModel], told: dict[type[BaseModel], str]) -> Iterator[str]:
    """The tables inside of the one called `name`, and those inside of them; what was `told` is told once."""
    for key, inner in _inner(model):
        path = f"{name}.{key}"
        heading = f"[{path}]"
        if get_origin(model.model_fields[key].annotation) is tuple:
            heading = f"Entries of {path}" if key in _INLINE else f"[{heading}]"
        elif get_origin(model.model_fields[key].annotation) is dict:
            heading = f"Entries of {heading}"
        yield f"\n### {heading}\n"
        if inner in told:
            yield f"Keys as in {told[inner]}."
            continue
        told[inner] = heading
        yield f"{_meaning(inner)}\n"
        yield from _table(inner.model_fields)
        yield from _subsections(path, inner, told)


def _table(fields: dict[str, FieldInfo]) -> Iterator[str]:
    yield "| key | value | default | meaning |"
    yield "|---|---|---|---|"
    for name, info in fields.items():
        cells = (
            f"`{name}`",
            _type_text(info.annotation) + _limits(info),
            _default_text(info),
            info.description or "",
        )
        yield "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _inner(model: type[BaseModel]) -> Iterator[tuple[str, type[BaseModel]]]:
    """Keys of `model` whose values are tables, or arrays of them, and those tables' model."""
    for key, info in model.model_fields.items():
        for part in (info.annotation, *get_args(info.annotation)):
            if isinstance(part, type) and issubclass(part, BaseModel):
                yield key, part


_NAMES: dict[Any, str] = {
    str: "text",
    SecretStr: "text",
    Path: "path",
    int: "whole number",
    float: "number",
    bool: "true or false",
    datetime: "time",
    date: "date",
}


def _type_text(annotation: Any) -> str:
    origin = get_origin(annotation)
    parts = [part for part in get_args(annotation) if part is not types.NoneType]
    if origin is Literal:
        return ", ".join(f'`"{part}"`' for part in parts)
    if origin in {Union, types.UnionType}:
        return " or ".join(_type_text(part) for part in parts)
    if hasattr(annotation, "__metadata__"):
        return _type_text(parts[0])
    if origin is tuple:
        if Ellipsis not in parts:
            return "[number, number]"
        inner = _type_text(parts[0])
        kinds = {"text": "array of texts", "date": "array of dates"}
        return f"array of {inner}" if inner.startswith("`") else kinds.get(inner, "array of tables")
    return _NAMES.get(annotation, "table")


def _limits(info: FieldInfo) -> str:
    words = {"gt": "above {:g}", "ge": "at least {:g}", "lt": "below {:g}", "le": "at most {:g}"}
    metadata = [*info.metadata]
    for part in (info.annotation, *get_args(info.annotation)):
        metadata += getattr(part, "__metadata__", ())
    limits = [
        text.format(getattr(item, word))
        for item in metadata
        for word, text in words.items()
        if getattr(item, word, None) is not None
    ]
    return "".join(f", {limit}" for limit in limits)


def _default_text(info: FieldInfo) -> str:
    if info.is_required():
        return "required"
    default = info.default
    if default is PydanticUndefined or default is None or default == ():
        return ""
    if isinstance(default, tuple):
        return f"`{list(default)}`".replace("'", '"')
    if isinstance(default, bool):
        return f"`{str(default).lower()}`"
    return (
        f"`{default:g}`"
        if isinstance(default, float)
        else f'`"{default}"`'
        if isinstance(default, str)
        else f"`{default}`"
    )


if __name__ == "__main__":
    sys.stdout.write(reference())
