from collections.abc import Callable

import pytest

Said = Callable[..., list[str]]


def keys(found: list[str]) -> list[str]:
    return [line.split(": ")[1] for line in found]


STRATUM = "[stratum]\n"
MODES = 'modes = [{ name = "off", th_s = 0, watts = 12 }, { name = "on", th_s = 100, watts = 3000 }]'
GATE = f"""[[unit]]
id = "rack"
worker = "rack.1"
control = "gate"
{MODES}
"""


def gate(**changes: str) -> str:
    """A [[unit]] with a gate, some lines of it changed; an empty one is left out."""
    lines = {
        "id": 'id = "rack"',
        "worker": 'worker = "rack.1"',
        "control": 'control = "gate"',
        "modes": MODES,
    }
    return "\n".join(["[[unit]]", *filter(None, {**lines, **changes}.values())]) + "\n"


def test_a_worker_gets_modes_and_a_gate(problems: Said, good_text: str) -> None:
    assert problems(good_text + STRATUM + GATE) == []


def test_a_worker_may_be_measured_without_being_switched(problems: Said, good_text: str) -> None:
    assert problems(good_text + STRATUM + gate(control='control = "none"', modes="")) == []


def test_off_draws_nothing_unless_it_is_said_what(problems: Said, good_text: str) -> None:
    assert problems(good_text + STRATUM + gate(modes='modes = [{ name = "on", th_s = 1, watts = 20 }]')) == []


def test_a_safe_mode_exists(problems: Said, good_text: str) -> None:
    for fine in ("run", "pause", "off", "half", "full"):
        assert (
            problems(
                f'{good_text}[controller]\nsafe_mode = "{fine}"\n[[unit]]\nid = "cpu"\nsafe_mode = "{fine}"\n'
            )
            == []
        )
    found = problems(f'{good_text}[controller]\nsafe_mode = "eco"\n[[unit]]\nid = "cpu"\nsafe_mode = "eco"\n')
    assert keys(found) == ["controller.safe_mode", "unit[1].safe_mode"]
    assert "choose one of run, pause, off, half, full" in found[0]


def test_the_general_safe_mode_must_fit_every_unit_without_one_of_its_own(
    problems: Said, good_text: str
) -> None:
    text = f'{good_text}{STRATUM}[controller]\nsafe_mode = "full"\n'
    (found,) = problems(text + GATE)
    assert found.startswith(
        '15: controller.safe_mode: "full" is no mode of the unit rack: choose one of run, pause, off, on'
    )
    assert problems(text + gate(more='safe_mode = "on"')) == []


def test_a_gates_own_safe_mode_is_one_it_has(problems: Said, good_text: str) -> None:
    assert keys(problems(good_text + STRATUM + gate(more='safe_mode = "eco"'))) == ["unit[1].safe_mode"]


@pytest.mark.parametrize(
    ("changes", "wrong"),
    [
        ({"worker": ""}, ["unit[1].worker"]),
        ({"control": ""}, ["unit[1].control"]),
        ({"worker": "", "control": "", "modes": ""}, ["unit[1].control", "unit[1].worker"]),
        ({"worker": 'worker = "a\\u0007b"'}, ["unit[1].worker"]),
        ({"worker": 'worker = "cpu"'}, ["unit[1].worker"]),
        ({"control": 'control = "valve"'}, ["unit[1].control"]),
        ({"modes": ""}, ["unit[1].modes"]),
        ({"modes": "modes = 3"}, ["unit[1].modes"]),
        ({"modes": 'modes = [{ name = "off", th_s = 0, watts = 1 }]'}, ["unit[1].modes"]),
        (
            {
                "modes": 'modes = [{ name = "eco", th_s = 1, watts = 1 }, { name = "on", th_s = 2, watts = 3 }]'
            },
            ["unit[1].modes"],
        ),
        ({"modes": 'modes = [{ name = "run", th_s = 1, watts = 1 }]'}, ["unit[1].modes[1].name"]),
        (
            {
                "modes": 'modes = [{ name = "off", th_s = 1, watts = 1 }, { name = "on", th_s = 2, watts = 3 }]'
            },
            ["unit[1].modes[1].th_s"],
        ),
        ({"modes": 'modes = [{ name = "on", th_s = 0, watts = 1 }]'}, ["unit[1].modes[1].th_s"]),
        (
            {
                "modes": 'modes = [{ name = "on", th_s = 1, watts = 1 }, { name = "off", th_s = 0, watts = 2 }]'
            },
            ["unit[1].modes[1].watts"],
        ),
        ({"more": 'host = "10.0.0.7"'}, ["unit[1].host"]),
    ],
)
def test_a_gate_is_such_that_it_can_be_opened_closed_and_reckoned_with(
    problems: Said, good_text: str, changes: dict[str, str], wrong: list[str]
) -> None:
    assert sorted(keys(problems(good_text + STRATUM + gate(**changes)))) == wrong


def test_two_modes_of_a_measured_unit_have_names_of_their_own(problems: Said, good_text: str) -> None:
    modes = 'modes = [{ name = "on", th_s = 1, watts = 1 }, { name = "on", th_s = 2, watts = 3 }]'
    found = problems(good_text + STRATUM + gate(control='control = "none"', modes=modes))
    assert keys(found) == ["unit[1].modes[2].name"]


@pytest.mark.parametrize("key", ["min_on_s = 1", "min_off_s = 1", "restart_s = 1", 'safe_mode = "run"'])
def test_what_would_do_nothing_without_a_gate_is_refused(problems: Said, good_text: str, key: str) -> None:
    (found,) = problems(good_text + STRATUM + gate(control='control = "none"', more=key))
    assert f"unit[1].{key.split(maxsplit=1)[0]}: does nothing" in found


def test_a_worker_needs_a_server_to_hash_at(problems: Said, good_text: str) -> None:
    (found,) = problems(good_text + GATE)
    assert "there is no [stratum] server" in found


def test_a_unit_is_there_once(problems: Said, good_text: str) -> None:
    twice = '[[unit]]\nid = "cpu"\n[[unit]]\nid = "cpu"\n'
    assert keys(problems(good_text + twice)) == ["unit[2].id"]
    assert keys(problems(good_text + STRATUM + GATE + GATE)) == ["unit[2].id", "unit[2].worker"]


def test_there_is_no_unit_cpu_without_threads(problems: Said, good_text: str) -> None:
    text = good_text.replace("threads = 2", "threads = 0")
    assert keys(problems(text + '[[unit]]\nid = "cpu"\n')) == ["unit[1].id"]


@pytest.mark.parametrize("control", ["asic", "plug"])
def test_units_of_later_versions_are_refused_where_they_stand(
    problems: Said, good_text: str, control: str
) -> None:
    (found,) = problems(
        f'{good_text}[[unit]]\nid = "cpu"\n[[unit]]\nid = "rack"\ncontrol = "{control}"\nhost = "h"\n'
    )
    assert found.startswith("17: unit[2].control: ")
    assert "not in this version yet" in found


@pytest.mark.parametrize("key", ['control = "gate"', 'worker = "a.b"', 'host = "h"', "modes = []"])
def test_what_the_cpu_unit_has_elsewhere_is_refused(problems: Said, good_text: str, key: str) -> None:
    (found,) = problems(f'{good_text}[[unit]]\nid = "cpu"\n{key}\n')
    assert found.startswith(f"15: unit[1].{key.split(maxsplit=1)[0]}: ")
