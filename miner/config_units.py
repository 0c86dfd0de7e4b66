"""The section of one unit, and the modes of a unit that hashes over Stratum."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat, Strict

from miner.config_values import ModeName, Section, WorkerName


class UnitMode(Section):
    """A way to run a unit that hashes over Stratum."""

    name: ModeName = Field(description="The mode's name in plans, logs and metrics; `off` hashes nothing.")
    th_s: NonNegativeFloat = Field(description="Hashrate in this mode in TH/s; 0 only for the mode `off`.")
    watts: NonNegativeFloat = Field(description="Power drawn at the wall in this mode.")


class UnitConfig(Section):
    """One unit: how a worker of the Stratum server is switched, or the unit `cpu`'s own times. Workers need none to mine."""

    id: Annotated[str, Field(min_length=1, max_length=64)] = Field(
        description="The unit's name in plans, logs, metrics and API; `cpu` is the one of [cpu]."
    )
    worker: WorkerName | None = Field(
        default=None, description="The Stratum user name it mines under; not for `cpu`."
    )
    control: Literal["gate", "none"] | None = Field(
        default=None,
        description='"gate": it gets no work while hashing does not pay, for devices without an API; it must then idle by '
        'itself. "none": it is measured, never switched. Not for `cpu`.',
    )
    mines: Literal["any", "pool", "solo"] = Field(
        default="any",
        description='Where its hashes go: "any", as [solo] share has it; "pool" or "solo", always there, and elsewhere only while '
        "there is no such work.",
    )
    modes: Annotated[tuple[UnitMode, ...], Strict(strict=False)] = Field(
        default=(),
        description='What it hashes and draws. For "gate": one mode that hashes, and `off` with what it draws without work '
        "(absent: 0 W). Not for `cpu`: those stand in [cpu] modes.",
    )
    min_on_s: NonNegativeFloat | None = Field(default=None, description="Instead of [controller] min_on_s.")
    min_off_s: NonNegativeFloat | None = Field(default=None, description="Instead of [controller] min_off_s.")
    restart_s: NonNegativeFloat | None = Field(
        default=None, description="Time from off to full hashrate; power is drawn meanwhile. Absent: 0."
    )
    wear_usd: NonNegativeFloat = Field(
        default=0.0, description="What a start costs beside the revenue lost meanwhile: wear, in USD."
    )
    change_s: NonNegativeFloat | None = Field(
        default=None,
        description="Hashing time lost when it goes from one running mode to another; power is drawn meanwhile. Absent: restart_s, at "
        "most 120.",
    )
    starts_per_day: Annotated[int, Field(ge=1)] | None = Field(
        default=None,
        description="No more starts than this in a day of [controller] time_zone; absent: as many as pay.",
    )
    max_temp_c: PositiveFloat | None = Field(
        default=None,
        description="Above this temperature it is stepped down whatever it earns; absent: no limit.",
    )
    safe_mode: ModeName | None = Field(default=None, description="Instead of [controller] safe_mode.")

    def resolved_modes(self) -> tuple[UnitMode, ...]:
        """Every mode of a worker by watts, `off` among them; nothing where none are given."""
        given = self.modes
        if given and not any(mode.name == "off" for mode in given):
            given = (UnitMode(name="off", th_s=0.0, watts=0.0), *given)
        return tuple(sorted(given, key=lambda mode: (mode.th_s > 0, mode.watts)))
