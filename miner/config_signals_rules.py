"""Rules of [[signal]] and [mqtt] that look at more than one key, or at files."""

from collections.abc import Callable, Iterator
from itertools import chain

from controller.sources.jsonpath import PathSyntaxError, parse
from miner.config_rules import GROUP_AND_OTHERS, OTHERS, Draft, Finding, readable_file, secret_file
from miner.config_signals import MqttConfig, SignalConfig, SignalWindowConfig
from miner.config_toml import KeyPath

CPU = "cpu"
RECURRING = ("weekdays", "hours", "seasons")


def signals(draft: Draft) -> Iterator[Finding]:
    """Every signal has a name of its own, and what its action needs."""
    names: set[str] = set()
    for path, section, written in draft.each("signal"):
        if not isinstance(section, SignalConfig):
            continue
        if "name" in written and section.name in names:
            yield Finding((*path, "name"), f'there are two signals "{section.name}"')
        names.add(section.name)
        for finding in chain(
            _action(path, section, written, draft.bad),
            _units(draft, path, section),
            _sources(draft, path, section),
        ):
            # A key that is wrong by itself has been told of, and holds its default here.
            if finding.path not in draft.bad:
                yield finding


def _action(
    path: KeyPath, section: SignalConfig, written: dict[str, object], bad: set[KeyPath]
) -> Iterator[Finding]:
    action = section.action
    if "action" not in written or (*path, "action") in bad:
        return  # that is told; what it would need is not known
    if action == "mode" and section.mode is None:
        yield Finding((*path, "mode"), 'is missing: which mode is action = "mode"?')
    if action != "mode" and section.mode is not None:
        yield Finding((*path, "mode"), f'is for action = "mode", not "{action}": remove this line')
    if action != "cap" and section.cap_kw is not None:
        yield Finding((*path, "cap_kw"), f'is for action = "cap", not "{action}": remove this line')
    if action == "cap" and section.units is not None:
        yield Finding((*path, "units"), "a cap is the whole site's: remove this line")
    if action == "run" and "ramp_s" in written:
        yield Finding((*path, "ramp_s"), 'after action = "run" no power comes back: remove this line')
    for position, window in enumerate(section.window):
        at = (*path, "window", position)
        if action != "cap" and window.cap_kw is not None:
            yield Finding((*at, "cap_kw"), f'is for action = "cap", not "{action}": remove this line')
        if action == "cap" and window.cap_kw is None and section.cap_kw is None:
            yield Finding(at, "names no limit: add cap_kw, here or for the signal")
        yield from _window(at, window)


def _window(at: KeyPath, window: SignalWindowConfig) -> Iterator[Finding]:
    if window.start is None and window.until is None:
        return
    if window.start is None or window.until is None:
        missing = "start" if window.start is None else "until"
        yield Finding((*at, missing), "is missing: a given time has start and until")
    elif window.until <= window.start:
        yield Finding((*at, "until"), "is not after start")
    yield from (
        Finding((*at, key), "is for windows that come again; this one has start and until: remove this line")
        for key in RECURRING
        if getattr(window, key)
    )


def _units(draft: Draft, path: KeyPath, section: SignalConfig) -> Iterator[Finding]:
    if section.units is None:
        return
    if not section.units:
        yield Finding((*path, "units"), "names none: leave it out for all")
    known = {unit.id for _, unit, _ in draft.each("unit") if unit is not None} | {CPU}
    yield from (
        Finding((*path, "units", position), f'there is no [[unit]] "{unit}"')
        for position, unit in enumerate(section.units)
        if unit not in known
    )


def _sources(draft: Draft, path: KeyPath, section: SignalConfig) -> Iterator[Finding]:
    texts = section.topic is not None or section.file is not None
    if section.topic is not None and "mqtt" not in draft.raw:
        yield Finding((*path, "topic"), "there is no [mqtt]: which broker is it at?")
    for key in ("path", "longest_s"):
        if getattr(section, key) is not None and not texts:
            yield Finding((*path, key), "is for a topic or a file, and there is none: remove this line")
    yield from _text(path, section)
    by_the_clock = any(window.weekdays or window.hours or window.seasons for window in section.window)
    if section.zone is None and by_the_clock:
        yield Finding((*path, "zone"), 'is missing: whose clock its windows go by, like "Europe/Berlin"')


def _text(path: KeyPath, section: SignalConfig) -> Iterator[Finding]:
    if section.path is not None:
        try:
            parse(section.path)
        except PathSyntaxError as error:
            yield Finding((*path, "path"), str(error))
    if section.file is not None:
        # The file itself may come later.
        if not section.file.parent.is_dir():
            yield Finding((*path, "file"), f"the folder {section.file.parent} does not exist: create it")
        elif section.file.is_dir():
            yield Finding((*path, "file"), f"{section.file} is a folder, not a file")


def broker(draft: Draft) -> Iterator[Finding]:
    """The broker has signals to bring, a whole login, and files of TLS only with TLS."""
    section = draft.sections.get(("mqtt",))
    if not isinstance(section, MqttConfig):
        return
    if not any(signal is not None and signal.topic is not None for _, signal, _ in draft.each("signal")):
        yield Finding(("mqtt",), "no [[signal]] has a topic at it: add one, or remove this section")
    if section.password_file is not None and section.user is None and draft.sound("mqtt", "user"):
        yield Finding(("mqtt", "user"), "is missing: whose password is it?")
    if section.key_file is not None and section.certificate_file is None:
        yield Finding(("mqtt", "certificate_file"), "is missing: whose key is key_file?")
    for key in ("ca_file", "certificate_file", "key_file"):
        file = getattr(section, key)
        if file is None:
            continue
        if not section.tls:
            yield Finding(("mqtt", key), "is for TLS: set tls = true, or remove this line")
        elif key == "key_file":
            # A group may read it, as with Debian's ssl-cert.
            yield from secret_file(("mqtt", key), file, OTHERS, draft.environ)
        else:
            yield from readable_file(("mqtt", key), file)
    if section.password_file is not None:
        yield from secret_file(
            ("mqtt", "password_file"), section.password_file, GROUP_AND_OTHERS, draft.environ
        )


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (signals, broker)
