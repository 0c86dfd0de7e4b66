from typing import Any

import pytest
from pydantic import ValidationError

from controller.units import Mode, PowerCurve
from controller.validate import MAINNET_RULES
from miner.config import (
    ARRAYS,
    TABLES,
    BitcoindConfig,
    Config,
    CpuConfig,
    CpuMode,
    HttpConfig,
)
from miner.config_controller import MaxAges

SMALLEST: dict[str, Any] = {
    "network": "regtest",
    "bitcoind": [{"rpc_url": "http://127.0.0.1:18443", "cookie_file": "c"}],
    "solo": {"payout_address": "bcrt1qw508d6qejxtdg4y5r3zarvary0c5xw7kygt080"},
}


def test_a_new_configuration_decides_but_touches_nothing() -> None:
    config = Config.model_validate(SMALLEST)
    assert config.controller.enabled
    assert config.controller.dry_run
    assert config.cpu.threads == 0
    assert config.http.listen == "127.0.0.1:8340"


def test_every_section_is_in_the_lists_that_loading_and_the_reference_go_by() -> None:
    assert {"network", *TABLES, *ARRAYS} == set(Config.model_fields)


def test_a_configuration_cannot_be_changed() -> None:
    config = Config.model_validate(SMALLEST)
    with pytest.raises(ValidationError):
        config.network = "main"  # type: ignore[misc] # the very thing that must not work


@pytest.mark.parametrize(
    ("section", "key", "given"),
    [
        ("solo", "coinbase_tag", 3),
        ("solo", "refresh_s", "30"),
        ("solo", "refresh_s", True),
        ("controller", "enabled", 1),
        ("controller", "enabled", "true"),
        ("controller", "attempts", 1.0),
        ("controller", "tick_s", float("nan")),
        ("log", "level", "INFO"),
    ],
)
def test_nothing_is_converted(section: str, key: str, given: object) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({**SMALLEST, section: {**SMALLEST.get(section, {}), key: given}})


@pytest.mark.parametrize(("key", "given"), [("tick_s", 0.01), ("horizon_hours", 1e6)])
def test_the_controller_is_not_told_to_do_more_than_a_machine_can(key: str, given: float) -> None:
    with pytest.raises(ValidationError):
        Config.model_validate({**SMALLEST, "controller": {key: given}})


def test_a_password_does_not_show() -> None:
    node = BitcoindConfig.model_validate(
        {"rpc_url": "http://127.0.0.1:1", "rpc_user": "u", "rpc_password": "hunter2"}
    )
    assert "hunter2" not in repr(node)
    assert "hunter2" not in str(Config.model_validate({**SMALLEST, "bitcoind": [node]}))
    assert node.rpc_password is not None
    assert node.rpc_password.get_secret_value() == "hunter2"


def test_a_node_is_called_by_its_name_or_by_where_it_is() -> None:
    assert BitcoindConfig(rpc_url="http://10.0.0.5:8332").label == "10.0.0.5:8332"
    assert BitcoindConfig(rpc_url="http://10.0.0.5:8332", name="attic").label == "attic"


def test_without_modes_the_cpu_is_off_half_or_full() -> None:
    modes = CpuConfig(threads=4, watts_per_thread=9.0, idle_watts=2.0).resolved_modes(cores=8)
    assert [(mode.name, mode.threads, mode.watts) for mode in modes] == [
        ("off", 0, 2),
        ("half", 2, 20),
        ("full", 4, 38),
    ]


def test_one_thread_has_no_half() -> None:
    assert [mode.name for mode in CpuConfig(threads=1).resolved_modes(cores=8)] == ["off", "full"]


def test_auto_is_every_core() -> None:
    assert CpuConfig(threads="auto").thread_count(cores=6) == 6
    assert [mode.threads for mode in CpuConfig(threads="auto").resolved_modes(cores=6)] == [0, 3, 6]


def test_given_modes_keep_their_watts_and_get_an_off() -> None:
    modes = (CpuMode(name="full", threads=3, watts=33.0), CpuMode(name="eco", threads=1))
    resolved = CpuConfig(threads=3, idle_watts=1.0, modes=modes).resolved_modes(cores=4)
    assert [(mode.name, mode.watts) for mode in resolved] == [("off", 1.0), ("eco", 11.0), ("full", 33.0)]


def test_an_off_of_its_own_is_kept() -> None:
    modes = (CpuMode(name="off", threads=0, watts=5.0), CpuMode(name="full", threads=2, watts=40.0))
    assert [mode.watts for mode in CpuConfig(threads=2, modes=modes).resolved_modes(cores=4)] == [5.0, 40.0]


def test_resolved_modes_make_a_power_curve() -> None:
    modes = CpuConfig(threads=4).resolved_modes(cores=4)
    curve = PowerCurve(Mode(mode.name, mode.threads * 1e-5, mode.watts or 0.0) for mode in modes)
    assert curve.off.watts == 0


def test_one_listens_at_an_address_or_nowhere() -> None:
    assert HttpConfig(listen="[::1]:80").address == ("::1", 80)
    assert HttpConfig(listen="127.0.0.1:8340").address == ("127.0.0.1", 8340)
    assert HttpConfig(listen="").address is None


def test_a_unit_without_settings_of_its_own_has_none() -> None:
    config = Config.model_validate({**SMALLEST, "unit": [{"id": "cpu", "min_on_s": 5}]})
    assert config.unit_settings("cpu").min_on_s == 5
    assert config.unit_settings("other").min_on_s is None


def test_ages_said_in_the_reference_are_those_of_the_controller() -> None:
    for series, info in MaxAges.model_fields.items():
        assert str(info.description).endswith(f"absent: {MAINNET_RULES[series].max_age_s:g}."), series


def test_the_version_mask_is_bip320s_unless_said_otherwise() -> None:
    assert Config.model_validate(SMALLEST).solo.version_bits == 0x1FFFE000
    wide = {**SMALLEST, "solo": {**SMALLEST["solo"], "version_mask": "1fffffff"}}
    assert Config.model_validate(wide).solo.version_bits == 0x1FFFFFFF
