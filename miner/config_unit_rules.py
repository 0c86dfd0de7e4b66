"""Rules of [[unit]]: which there are, how they may be switched, and which modes they have."""

from collections.abc import Callable, Iterator, Sequence
from typing import Any

from miner.config import CpuConfig
from miner.config_rules import RESERVED_NAMES, TAKEN_OUT, Draft, Finding, cores
from miner.config_toml import KeyPath
from miner.config_units import UnitConfig, UnitMode

CPU = "cpu"

CONTROL_LATER = {
    "asic": 'control over a device\'s API ("asic") is not in this version yet: use "gate" or "none"',
    "plug": 'control over a plug or webhook ("plug") is not in this version yet: use "gate" or "none"',
}
HOST_LATER = (
    'a device\'s own address is for control = "asic", which is not in this version yet: remove this line'
)
CPU_KEYS = {
    "control": "the unit cpu is controlled by the daemon itself: remove this line",
    "worker": "the unit cpu has no Stratum user name: remove this line",
    "host": "the unit cpu is this machine: remove this line",
    "modes": "the modes of the unit cpu stand in [cpu] modes: move them there",
}
SWITCHING = ("min_on_s", "min_off_s", "restart_s", "starts_per_day", "max_temp_c", "safe_mode")


def take_out_later(raw: dict[str, Any]) -> Iterator[Finding]:
    """Remove from `raw` units of a later version, and keys that a unit cannot have, and say so."""
    written = raw.get("unit")
    units: list[Any] = written if isinstance(written, list) else []
    for position, unit in enumerate(units):
        if not isinstance(unit, dict):
            continue
        if unit.get("id") == CPU:
            for key in sorted(CPU_KEYS.keys() & unit.keys()):
                del unit[key]
                yield Finding(("unit", position, key), CPU_KEYS[key])
        elif isinstance(unit.get("control"), str) and unit["control"] in CONTROL_LATER:
            units[position] = TAKEN_OUT
            yield Finding(("unit", position, "control"), CONTROL_LATER[unit["control"]])
        elif "host" in unit:
            del unit["host"]
            yield Finding(("unit", position, "host"), HOST_LATER)


def units(draft: Draft) -> Iterator[Finding]:
    """Every [[unit]] is there once, and can be what it says."""
    ids: set[str] = set()
    workers: set[str] = set()
    for path, unit, _ in draft.each("unit"):
        if unit is None or unit.id is None:
            continue
        if unit.id in ids:
            yield Finding((*path, "id"), f'there are two units "{unit.id}"')
        ids.add(unit.id)
        if unit.id == CPU:
            if draft.sound("cpu", "threads") and draft.sections["cpu",].threads == 0:
                yield Finding((*path, "id"), "there is no unit cpu while [cpu] threads = 0")
            continue
        if unit.worker in workers:
            yield Finding((*path, "worker"), f'there are two units of the worker "{unit.worker}"')
        workers.add(unit.worker or "")
        yield from _worker(draft, path, unit)


def _worker(draft: Draft, path: KeyPath, unit: UnitConfig) -> Iterator[Finding]:
    """One unit that hashes over Stratum."""
    if "stratum" not in draft.raw:
        yield Finding((*path, "id"), "there is no [stratum] server that it could hash at")
    if unit.worker == CPU:
        yield Finding((*path, "worker"), "cpu is the unit of [cpu]: choose another name")
    for key, why in (
        ("worker", "is missing: the Stratum user name it mines under"),
        ("control", 'is missing: "gate" (no work while it does not pay) or "none" (only measured)'),
    ):
        if getattr(unit, key) is None and (*path, key) not in draft.bad:
            yield Finding((*path, key), why)
    if (*path, "modes") not in draft.bad:
        yield from _modes(path, unit)
    if unit.control == "none":
        yield from (
            Finding((*path, key), 'does nothing: with control = "none" the unit is never switched')
            for key in SWITCHING
            if getattr(unit, key) is not None
        )


def _modes(path: KeyPath, unit: UnitConfig) -> Iterator[Finding]:
    """The modes of a worker: names of their own, `off` hashing nothing and drawing the least, for a gate one that hashes."""
    running = [mode for mode in unit.modes if mode.name != "off"]
    if unit.control == "gate" and len(running) != 1:
        yield Finding(
            (*path, "modes"),
            "a gate is open or closed: give one mode that hashes, and off with the watts drawn without work, like "
            'modes = [{ name = "off", th_s = 0, watts = 12 }, { name = "on", th_s = 100, watts = 3000 }]',
        )
    idle_w = max((mode.watts for mode in unit.modes if mode.name == "off"), default=0.0)
    names: set[str] = set()
    for position, mode in enumerate(unit.modes):
        at = (*path, "modes", position)
        if mode.name in names:
            yield Finding((*at, "name"), f'there are two modes "{mode.name}"')
        names.add(mode.name)
        yield from _mode(at, mode, idle_w)


def _mode(at: KeyPath, mode: UnitMode, idle_w: float) -> Iterator[Finding]:
    if mode.name in RESERVED_NAMES:
        yield Finding((*at, "name"), f'"{mode.name}" has a meaning of its own: choose another name')
    if mode.name == "off" and mode.th_s > 0:
        yield Finding((*at, "th_s"), 'the mode "off" hashes nothing: its th_s is 0')
    if mode.name != "off" and mode.th_s == 0:
        yield Finding((*at, "th_s"), 'only the mode "off" has th_s 0')
    if mode.watts < idle_w:
        yield Finding((*at, "watts"), f"{mode.watts:g} W is less than the {idle_w:g} W drawn while off")


def safe_modes(draft: Draft) -> Iterator[Finding]:
    """Every unit that can be switched has the mode it goes to when prices are not known."""
    own: set[str] = set()
    known: dict[str, list[str]] = {}
    cpu = _cpu_modes(draft)
    if cpu is not None:
        known[CPU] = cpu
    for path, unit, _ in draft.each("unit"):
        names = None if unit is None or unit.id is None else _safe_names(draft, path, unit)
        if names is None:
            continue
        known[unit.id] = names
        if unit.safe_mode:
            own.add(unit.id)
            if unit.safe_mode not in names:
                yield _no_mode((*path, "safe_mode"), unit.safe_mode, unit.id, names)
    general = draft.sections.get(("controller",))
    if general is None or not draft.sound("controller", "safe_mode"):
        return
    without = [unit_id for unit_id, names in known.items() if general.safe_mode not in names]
    # One that every unit overrides need not fit them all, but a mode that nothing has is a mistake.
    wrong = [unit_id for unit_id in without if unit_id not in own] or (
        without if len(without) == len(known) else []
    )
    for unit_id in wrong[:1]:
        yield _no_mode(("controller", "safe_mode"), general.safe_mode, unit_id, known[unit_id])


def _no_mode(at: KeyPath, name: str, unit_id: str, known: Sequence[str]) -> Finding:
    return Finding(at, f'"{name}" is no mode of the unit {unit_id}: choose one of {", ".join(known)}')


def _safe_names(draft: Draft, path: KeyPath, unit: UnitConfig) -> list[str] | None:
    """What `safe_mode` may say for this unit; None where it does not matter, or cannot be known."""
    if unit.id == CPU:
        return _cpu_modes(draft)
    if unit.control != "gate" or (*path, "modes") in draft.bad:
        return None
    return ["run", "pause", *(mode.name for mode in unit.resolved_modes())]


def _cpu_modes(draft: Draft) -> list[str] | None:
    section = draft.sections.get(("cpu",))
    if (
        not isinstance(section, CpuConfig)
        or not draft.sound("cpu", "threads", "modes")
        or section.threads == 0
    ):
        return None
    return ["run", "pause", *(mode.name for mode in section.resolved_modes(cores()))]


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (units, safe_modes)
