"""What nearly every document of a tick's inputs says, for documents to be packed against; pure.

A small document is less than half as long for it. It belongs to layout 1 as it stands, whether or not it still fits the classes of
today: with another word in it nothing that was kept could be unpacked.
"""

from typing import Final

import msgspec

EXAMPLE: Final = msgspec.msgpack.encode(
    [
        [
            "signal:",
            "webhook",
            "mqtt",
            "schedule",
            "file",
            "kW",
            "fixed",
            "pool",
            "tape",
            "fpps",
            "pplns",
            "solo",
            "main",
        ],
        [
            "o",
            "overrides.Override",
            ["unit_id", "mode", "since", "until", "who", "why"],
            ["eco", "full", "off"],
        ],
        {
            "snapshot": {
                "at": 1.5,
                "refused": ["m", ["v", []], ["v", []]],
                "earnings": [
                    *(
                        "o",
                        "earnings.Earnings",
                        ["scheme", "fee", "rejected_ratio", "pool_work_ratio", "pool"],
                    ),
                    [["e", "earnings.Scheme", "fpps"], 0.01, 0.0, 1.0, "main"],
                ],
                "overrides": ["m", ["v", []], ["v", []]],
                "starting_prices": ["u", ["v", []]],
            },
            "ticks": {
                "series": [
                    *(
                        ["power_usd_per_kwh", 1],
                        ["hashprice_usd_per_ph_day", 1],
                        ["usd_per_eur", 1],
                        ["btc_usd", 1],
                    ),
                    *(
                        ["network_difficulty", 1],
                        ["subsidy_sat", 1],
                        ["fees_sat_per_block", 1],
                        ["chain_height", 1],
                    ),
                    *(["epoch_start_time_s", 1], ["tip_time_s", 1]),
                ],
                "short": [
                    *("t", "ticks.Tick"),
                    ["series", "value", "unit", "valid_from", "valid_to", "observed_at", "source"],
                    [
                        ["v", ["power_usd_per_kwh", "hashprice_usd_per_ph_day", "usd_per_eur", "btc_usd"]],
                        ["v", ["network_difficulty", "subsidy_sat", "fees_sat_per_block", "chain_height"]],
                        ["v", ["epoch_start_time_s", "tip_time_s"]],
                        [
                            "v",
                            [
                                "USD/kWh",
                                "USD/PH/day",
                                "USD/EUR",
                                "USD/BTC",
                                "1",
                                "sat",
                                "sat/block",
                                "blocks",
                                "s",
                                "s",
                            ],
                        ],
                        ["=", 10, float("inf")],
                        ["d", ["node", "btc", "fx", "power"], bytes(10)],
                    ],
                ],
                "long": {"power_usd_per_kwh": [0, ["=", 96, 1.5]]},
            },
            "states": {
                "keys": None,
                "rows": [
                    *("t", "units.UnitState"),
                    ["unit_id", "mode", "hashrate_th_s", "power_w", "temp_c", "observed_at", "reachable"],
                    [None, ["=", 9, "full"], ["f", b""], ["=", 9, None], ["=", 9, 1.5], ["=", 9, True]],
                ],
            },
            "last_at": ["=", 9, 1.5],
            "owners": ["m", ["v", ["power_usd_per_kwh", "btc_usd"]], ["v", ["power", "btc", "node"]]],
            "next_prices": ["u", ["v", []]],
        },
    ]
)
