"""Where numbers come from.

Every source yields ticks of these series (names in `controller.ticks`):

    btc_usd                   USD per BTC
    power_usd_per_kwh         USD per kWh, everything included: adders, taxes, overhead
    network_difficulty        the difficulty in force
    subsidy_sat               subsidy of the next block, satoshi
    fees_sat_per_block        mean fees per block over the last 144 blocks, satoshi
    hashprice_usd_per_ph_day  instead of the four it is made of: USD per PH/s and day
    chain_height              height of the tip
    epoch_start_time_s        time in the header of the epoch's first block, unix seconds
    tip_time_s                time in the tip's header, unix seconds

The last three are only for the projection of the next retarget; the pool's jobs give the first of them alone.
"""
