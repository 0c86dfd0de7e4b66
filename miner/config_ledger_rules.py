"""Rules of the ledger's section, and where its password comes from."""

from collections.abc import Callable, Iterator

from miner.config_ledger import split_password
from miner.config_rules import GROUP_AND_OTHERS, Draft, Finding, first_line, secret_file

PASSWORD_VARIABLE = "HASHMILL_LEDGER_PASSWORD"  # noqa: S105 - the name of a variable, no password


def place(draft: Draft) -> Iterator[Finding]:
    """A SQLite ledger has a folder to be in."""
    section = draft.sections.get(("ledger",))
    file = section.file if section else None
    if file is None:
        return
    if not file.parent.is_dir():
        yield Finding(("ledger", "url"), f"the folder {file.parent} does not exist: create it")
    elif file.is_dir():
        yield Finding(("ledger", "url"), f"{file} is a folder, not a file")


def password(draft: Draft) -> Iterator[Finding]:
    """One password at most, where others cannot read it, and only for a database that asks for one."""
    section, written = draft.sections.get(("ledger",)), draft.raw.get("ledger")
    if section is None or not isinstance(written, dict):
        return
    in_url = split_password(str(written.get("url", "")))[1] is not None
    given = [key for key in ("password", "password_file") if written.get(key) not in {None, ""}]
    if section.file is not None and draft.sound("ledger", "url"):
        for key in given:
            yield Finding(("ledger", key), "a SQLite ledger has no password: remove this line")
        return
    ways = ["url", *given] if in_url else given
    if len(ways) > 1:
        others = " and ".join(ways[:-1])
        yield Finding(("ledger", ways[-1]), f"the password is in {others} too: keep one of them")
    if {"url", "password"} & set(ways) and draft.file.stat().st_mode & GROUP_AND_OTHERS:
        yield Finding(
            ("ledger", ways[0]),
            f"others can read {draft.file} with this password in it: chmod 600 {draft.file}, or use password_file",
        )
    if section.password_file:
        yield from secret_file(
            ("ledger", "password_file"), section.password_file, GROUP_AND_OTHERS, draft.environ
        )


def keeping(draft: Draft) -> Iterator[Finding]:
    """What only held is not kept longer than all the rest; the default is cut without a word."""
    section, written = draft.sections.get(("ledger",)), draft.raw.get("ledger")
    if section is None or not isinstance(written, dict) or "keep_holds_days" not in written:
        return
    if not draft.sound("ledger", "keep_days", "keep_holds_days"):
        return
    if 0 < section.keep_days < section.keep_holds_days:
        yield Finding(
            ("ledger", "keep_holds_days"),
            f"longer than keep_days ({section.keep_days:g}), which forgets these decisions too: lower it, or raise keep_days",
        )


def resolve_password(draft: Draft) -> None:
    """Put the password from its file or the environment where the model keeps it; the file was found well before."""
    # A section that is not written is judged again all the same: its default is a path seen from the file's folder.
    written = draft.raw.setdefault("ledger", {})
    section = draft.sections["ledger",]
    if section.file is not None or section.password is not None:
        return
    if section.password_file:
        written["password"] = first_line(section.password_file)
    elif draft.environ.get(PASSWORD_VARIABLE):
        written["password"] = draft.environ[PASSWORD_VARIABLE]


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (place, password, keeping)
