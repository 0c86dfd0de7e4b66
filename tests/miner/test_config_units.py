from miner.config_units import UnitConfig, UnitMode

OFF = UnitMode(name="off", th_s=0.0, watts=12.0)
ON = UnitMode(name="on", th_s=100.0, watts=3000.0)


def test_off_is_a_mode_that_draws_nothing_unless_it_is_given() -> None:
    assert [(mode.name, mode.watts) for mode in UnitConfig(id="u", modes=(ON,)).resolved_modes()] == [
        ("off", 0.0),
        ("on", 3000.0),
    ]
    assert UnitConfig(id="u", modes=(ON, OFF)).resolved_modes() == (OFF, ON)


def test_a_unit_without_modes_has_none() -> None:
    assert UnitConfig(id="u").resolved_modes() == ()
