"""The section of what decides when to hash: ages, bounds, dwell, fail-safe."""

from typing import Annotated, Literal

from pydantic import Field, NonNegativeFloat, PositiveFloat

from miner.config_values import Bounds, ModeName, OptionalFilePath, Section, Share, TimeZone


class MaxAges(Section):
    """Seconds after which the last value of a series is too old to decide on; absent: what is given here."""

    btc_usd: PositiveFloat | None = Field(default=None, description="Price of bitcoin; absent: 3600.")
    power_usd_per_kwh: PositiveFloat | None = Field(default=None, description="Price of power; absent: 1800.")
    power_day_ahead_usd_per_kwh: PositiveFloat | None = Field(
        default=None,
        description="Day-ahead price of [power.day_ahead], which is only looked at; absent: 7200.",
    )
    network_difficulty: PositiveFloat | None = Field(
        default=None, description="Difficulty in force; absent: 7200."
    )
    subsidy_sat: PositiveFloat | None = Field(default=None, description="Block subsidy; absent: 7200.")
    fees_sat_per_block: PositiveFloat | None = Field(
        default=None, description="Mean fees of the last 144 blocks; absent: 7200."
    )
    hashprice_usd_per_ph_day: PositiveFloat | None = Field(
        default=None, description="Hashprice, where a tape brings it; absent: 3600."
    )


class ValueBounds(Section):
    """Values outside of [lowest, highest] are refused as faults of their source; absent: bounds that fit the chain."""

    btc_usd: Bounds | None = Field(default=None, description="Price of bitcoin, USD; absent: [1000, 1e7].")
    power_usd_per_kwh: Bounds | None = Field(
        default=None, description="Price of power, USD per kWh; absent: [-1, 10]. Spikes within are real."
    )
    power_day_ahead_usd_per_kwh: Bounds | None = Field(
        default=None, description="Day-ahead price of [power.day_ahead], USD per kWh; absent: [-1, 10]."
    )
    network_difficulty: Bounds | None = Field(
        default=None, description="Difficulty; absent: [1e12, 1e17] on main, from 1e-10 elsewhere."
    )
    hashprice_usd_per_ph_day: Bounds | None = Field(
        default=None, description="Hashprice, USD per PH/s and day; absent: [1, 1000] on main, any elsewhere."
    )


class RealTimeConfig(Section):
    """For power prices that are known only as they come (real-time markets). With this table, be it empty, decisions reckon with how such prices go on.

    It counts while the price is known for less than two hours ahead; where it is known for longer (a fixed price, a schedule, day-ahead
    settlement) the plan alone decides.
    """

    model: OptionalFilePath = Field(
        default=None,
        description="File that `hashmill fit` learned from your market's history; absent: a band around breakeven as wide as prices have "
        "lately moved, which earns less. It is read at the start: a changed file counts from the next start on.",
    )
    sees: Literal["A", "B"] = Field(
        default="A",
        description='What your feed knows when a quarter hour begins. "A": the price of this very quarter hour, as a price set before it or an '
        'index of the moment is; "B": only that of the quarter hour before, as where prices are published when they are over.',
    )


class ControllerConfig(Section):
    """What decides when to hash."""

    enabled: bool = Field(default=True, description="false: every unit runs whatever it costs.")
    dry_run: bool = Field(default=True, description="Decide and record, but touch nothing.")
    tick_s: Annotated[float, Field(ge=0.1)] = Field(default=60.0, description="Time between two decisions.")
    horizon_hours: Annotated[float, Field(gt=0, le=720)] = Field(
        default=36.0, description="How far the plan looks ahead."
    )
    min_on_s: NonNegativeFloat = Field(
        default=300.0, description="A unit that was started runs at least this long."
    )
    min_off_s: NonNegativeFloat = Field(
        default=300.0, description="A unit that was stopped rests at least this long."
    )
    dead_band_ratio: Share = Field(
        default=0.02,
        description="A change must earn this share of the revenue more than it costs. Under [controller.real_time] it counts only where changing costs nothing.",
    )
    site_cap_kw: NonNegativeFloat = Field(
        default=0.0,
        description="Power that all units with modes together may draw, those that cannot be reached counted as drawing; 0: no limit.",
    )
    time_zone: TimeZone = Field(
        default="UTC",
        description="Where the site's days begin, for starts_per_day: an IANA name such as Europe/Berlin.",
    )
    pool_fee: Share = Field(
        default=0.0,
        description="Share of the revenue that goes to a pool; 0 when mining solo. At a [[pool]] its own fee counts.",
    )
    stale_ratio: Share = Field(
        default=0.0,
        description="Share of the work that comes too late to be paid. At a [[pool]] what it really rejects counts, and this until it has judged some shares.",
    )
    safe_mode: ModeName = Field(
        default="pause",
        description='What units do when prices stay too old: "run", "pause" or the name of a mode.',
    )
    grace_s: NonNegativeFloat = Field(
        default=900.0,
        description="When a price is too old, the last decision is held this long before safe_mode.",
    )
    confirm_s: PositiveFloat = Field(
        default=5.0, description="A change that the unit does not show within this time is tried again."
    )
    attempts: Annotated[int, Field(ge=1)] = Field(
        default=3, description="Tries for one change; then it has failed and is an alert."
    )
    retry_after_s: NonNegativeFloat = Field(
        default=300.0, description="Rest before a change that failed is tried once more."
    )
    unit_max_age_s: PositiveFloat = Field(
        default=180.0, description="A unit that was not read for this long is unreachable."
    )
    silent_after_s: PositiveFloat = Field(
        default=900.0,
        description="A unit that says it hashes but hands in no work for this long, its restart_s besides, is not believed.",
    )
    max_changes_per_minute: Annotated[int, Field(ge=1)] = Field(
        default=30,
        description="No more units than this are turned up in a minute: inrush, breakers. Turning down or off is immediate and not counted.",
    )
    max_age_s: MaxAges = Field(
        default_factory=MaxAges, description="Seconds after which a value is too old, by series."
    )
    bounds: ValueBounds = Field(default_factory=ValueBounds, description="Values believed, by series.")
    real_time: RealTimeConfig | None = Field(
        default=None, description="How to decide on prices that nobody knows yet; absent: by the plan alone."
    )
