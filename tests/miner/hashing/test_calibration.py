"""The choice of the kernel: measured, remembered, never guessed, and whatever is in the file."""

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miner import kernel
from miner.hashing import calibration
from miner.hashing.calibration import choose

USABLE = [info.name for info in kernel.kernels() if info.supported]


@pytest.fixture(autouse=True)
def _same_kernel_afterwards(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.delenv(kernel.ENVIRONMENT, raising=False)
    before = kernel.selected()
    yield
    kernel.select(before)


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "below" / "kernels.json"


def fastest(name: str) -> calibration.Measure:
    return lambda names, _: {other: 2.0 if other == name else 1.0 for other in names}


def unused(_names: list[str], _versions: int) -> dict[str, float]:
    raise AssertionError("nothing was to be measured")


@pytest.mark.parametrize("name", USABLE)
def test_the_fastest_kernel_is_chosen_whichever_it_is(name: str, cache: Path) -> None:
    choice = choose(8, cache, fastest(name))
    assert (choice.kernel, choice.source) == (name, "measured")
    assert kernel.selected() == name


def test_among_kernels_that_are_as_good_the_order_of_the_core_decides(cache: Path) -> None:
    assert choose(8, cache, lambda names, _: dict.fromkeys(names, 1.0)).kernel == USABLE[0]
    nearly = lambda names, _: {name: 1 - place / 1000 for place, name in enumerate(reversed(names))}  # noqa: E731
    assert choose(4, cache, nearly).kernel == USABLE[0]


def test_a_result_is_remembered_for_the_next_start(cache: Path) -> None:
    measured = choose(8, cache, fastest(USABLE[-1]))
    kernel.select(USABLE[0])
    cached = choose(8, cache, unused)
    assert (cached.kernel, cached.source, cached.mh_s) == (USABLE[-1], "cached", measured.mh_s)
    assert kernel.selected() == USABLE[-1]


def test_another_number_of_versions_or_another_cpu_is_measured_anew(
    cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    choose(8, cache, fastest(USABLE[0]))
    assert choose(1, cache, fastest(USABLE[-1])).source == "measured"
    monkeypatch.setattr(calibration, "_cpu", lambda: "another")
    assert choose(8, cache, fastest(USABLE[-1])).source == "measured"
    monkeypatch.undo()
    assert choose(8, cache, unused).kernel == USABLE[0]


def test_the_environment_goes_before_what_was_measured(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    choose(8, cache, fastest(USABLE[0]))
    kernel.select(USABLE[-1])
    monkeypatch.setenv(kernel.ENVIRONMENT, USABLE[-1])
    choice = choose(8, cache, unused)
    assert (choice.kernel, choice.source) == (USABLE[-1], "forced")


def test_a_faulty_kernel_is_neither_measured_nor_taken(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kernel, "self_test", lambda name: name == "portable")
    choice = choose(8, cache, unused)
    assert choice.kernel == "portable"


def test_where_every_kernel_is_faulty_nothing_is_chosen(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def none() -> str:
        raise kernel.KernelFaultError("every kernel failed")

    monkeypatch.setattr(kernel, "self_test", lambda _: False)
    monkeypatch.setattr(kernel, "selected", none)
    with pytest.raises(kernel.KernelFaultError):
        choose(8, cache)
    assert not cache.exists()


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.one_of(
        st.binary(max_size=40),
        st.recursive(
            st.none() | st.booleans() | st.integers() | st.text(max_size=5),
            lambda inner: (
                st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3)
            ),
            max_leaves=6,
        ).map(lambda value: json.dumps(value).encode()),
        st.just(b"[" * 100_000),
    )
)
def test_a_file_of_garbage_is_as_good_as_none(cache: Path, garbage: bytes) -> None:
    cache.parent.mkdir(exist_ok=True)
    cache.write_bytes(garbage)
    assert choose(8, cache, fastest(USABLE[-1])).source == "measured"
    assert choose(8, cache, unused).kernel == USABLE[-1]


@pytest.mark.parametrize(
    "entry", [None, 1, "joint", [], {}, {"kernel": 1, "mh_s": {}}, {"kernel": "warp", "mh_s": {}},
              {"kernel": "portable"}, {"kernel": "portable", "mh_s": {"portable": "fast"}}]
)  # fmt: skip
def test_an_entry_that_makes_no_sense_is_replaced(cache: Path, entry: object) -> None:
    choose(8, cache, fastest(USABLE[0]))
    content = json.loads(cache.read_text())
    cache.write_text(json.dumps(dict.fromkeys(content, entry)))
    assert choose(8, cache, fastest(USABLE[0])).source == "measured"
    assert choose(8, cache, unused).kernel == USABLE[0]


def test_a_place_that_cannot_be_written_costs_only_the_memory(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "file").write_text("in the way")
    assert choose(8, tmp_path / "file" / "kernels.json", fastest(USABLE[0])).kernel == USABLE[0]
    assert "kernel_cache_not_written" in caplog.text


def test_old_entries_make_way(cache: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for number in range(calibration.MOST_REMEMBERED + 5):
        monkeypatch.setattr(calibration, "_cpu", lambda number=number: f"cpu {number}")
        choose(8, cache, fastest(USABLE[0]))
    entries = json.loads(cache.read_text())
    assert len(entries) == calibration.MOST_REMEMBERED
    assert next(iter(entries)).startswith("cpu 5 ")


def test_the_choice_is_logged_with_the_rates(cache: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.INFO):
        choose(8, cache, fastest(USABLE[0]))
    (record,) = [record for record in caplog.records if record.message == "kernel_chosen"]
    assert record.kernel == USABLE[0]  # type: ignore[attr-defined]
    assert record.mh_s[USABLE[0]] == 2.0  # type: ignore[attr-defined]


def test_the_cache_is_where_the_desktop_says(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    assert calibration.cache_file() == tmp_path / "hashmill" / "kernels.json"
    monkeypatch.setenv("XDG_CACHE_HOME", "")
    assert calibration.cache_file().is_relative_to(Path.home())


def test_every_kernel_is_really_measured() -> None:
    rates = calibration.rates(USABLE, 4)
    assert list(rates) == USABLE
    assert all(rate > 0 for rate in rates.values())


def test_the_cpu_is_told_from_others_by_name_and_model() -> None:
    assert calibration._cpu()
