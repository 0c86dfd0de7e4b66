"""Watts of the CPU packages, from the kernel's powercap counters (RAPL), where they can be read."""

from dataclasses import dataclass
from pathlib import Path

POWERCAP = Path("/sys/class/powercap")


@dataclass(frozen=True, slots=True)
class _Zone:
    counter: Path
    range_uj: int


class Rapl:
    """Mean power in watts between two readings, over all packages.

    The counters are energy in microjoules and wrap at `max_energy_range_uj`
    (Linux, Documentation/power/powercap/powercap.rst). They are of the whole package: what else runs there counts too.
    """

    def __init__(self, powercap: Path = POWERCAP) -> None:
        self._zones = [
            zone for path in sorted(powercap.glob("intel-rapl:[0-9]")) if (zone := _zone(path)) is not None
        ]
        self._last: tuple[float, list[int]] | None = None

    @property
    def readable(self) -> bool:
        """Whether this machine tells its power to this user."""
        return bool(self._zones)

    def watts(self, now: float) -> float | None:
        """Mean watts since the last call; None at the first call and where nothing can be read."""
        if not self._zones:
            return None
        try:
            energies = [int(zone.counter.read_text()) for zone in self._zones]
        except (OSError, ValueError):
            return None
        last, self._last = self._last, (now, energies)
        if last is None or now <= last[0]:
            return None
        joules = sum(
            ((energy - before) % zone.range_uj) / 1e6
            for zone, before, energy in zip(self._zones, last[1], energies, strict=True)
        )
        return joules / (now - last[0])


def _zone(path: Path) -> _Zone | None:
    try:
        int((path / "energy_uj").read_text())
        return _Zone(path / "energy_uj", int((path / "max_energy_range_uj").read_text()) + 1)
    except (OSError, ValueError):
        return None
