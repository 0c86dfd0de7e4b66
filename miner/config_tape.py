"""The section of a price tape."""

from datetime import datetime
from typing import Literal

from pydantic import Field, PositiveFloat

from miner.config_values import FilePath, Section, TapeStart


class TapeConfig(Section):
    """A recorded run of prices, replayed at a chosen speed: for demos, tests and chains whose difficulty means nothing."""

    file: FilePath = Field(
        description="CSV with a header: one column for the time (start_utc in ISO 8601, date, or offset_s in seconds) "
        "and one or more of btc_usd, usd_per_kwh or usd_per_mwh, day_ahead_usd_per_mwh (told ten hours ahead), difficulty, subsidy_sat, "
        "fees_sat, hashprice_usd_per_ph_day."
    )
    speed: PositiveFloat = Field(default=1.0, description="Seconds of tape per second of clock.")
    start: TapeStart | None = Field(
        default=None,
        description="Where the replay begins: a time in UTC, or seconds from the first row; absent: the first row.",
    )
    at_end: Literal["hold", "loop"] = Field(
        default="hold", description='After the last row: "hold" its values, or "loop" from the beginning.'
    )

    def start_at_s(self, begins_at: float | None) -> float:
        """Seconds on the tape at which the replay begins.

        `begins_at` is the first row's time in unix seconds, None for a tape of offsets, which knows no dates: a `start`
        that is one is then a ValueError.
        """
        if not isinstance(self.start, datetime):
            return self.start or 0.0
        if begins_at is None:
            raise ValueError("start is a date, but the tape counts in offset_s: give start in seconds")
        return self.start.timestamp() - begins_at
