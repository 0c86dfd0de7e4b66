from pathlib import Path

import pytest

from miner.hashing.rapl import Rapl


def zone(powercap: Path, name: str, energy_uj: int, range_uj: int = 1_000_000_000) -> Path:
    folder = powercap / name
    folder.mkdir()
    (folder / "energy_uj").write_text(f"{energy_uj}\n")
    (folder / "max_energy_range_uj").write_text(f"{range_uj}\n")
    return folder / "energy_uj"


def test_a_machine_without_counters_has_no_watts(tmp_path: Path) -> None:
    rapl = Rapl(tmp_path)
    assert not rapl.readable
    assert rapl.watts(0.0) is None


def test_watts_are_the_joules_of_all_packages_over_the_time_between(tmp_path: Path) -> None:
    first, second = zone(tmp_path, "intel-rapl:0", 0), zone(tmp_path, "intel-rapl:1", 500)
    zone(tmp_path, "intel-rapl:0:0", 7)  # a core's own counter is part of its package's
    rapl = Rapl(tmp_path)
    assert rapl.watts(10.0) is None
    first.write_text("60000000")
    second.write_text("40000500")
    assert rapl.watts(12.0) == pytest.approx(50.0)


def test_a_counter_that_wrapped_is_followed(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", 999_999_000, range_uj=1_000_000_000 - 1)
    rapl = Rapl(tmp_path)
    rapl.watts(0.0)
    counter.write_text("9999000")
    assert rapl.watts(1.0) == pytest.approx(10.0)


def test_a_counter_that_vanishes_gives_no_watts(tmp_path: Path) -> None:
    counter = zone(tmp_path, "intel-rapl:0", 1)
    rapl = Rapl(tmp_path)
    rapl.watts(0.0)
    counter.unlink()
    assert rapl.watts(1.0) is None
