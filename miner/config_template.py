"""The commented configuration that `hashmill init` writes: dry run, loads as it is once payout_address is filled in."""

from string import Template
from typing import Final

from miner.config_values import RPC_PORTS

# Folders of bitcoind's data, and what addresses of the network look like.
_FOLDERS: Final = {
    "main": "",
    "test": "testnet3/",
    "testnet4": "testnet4/",
    "signet": "signet/",
    "regtest": "regtest/",
}
_ADDRESSES: Final = {
    "main": "bc1q...",
    "test": "tb1q...",
    "testnet4": "tb1q...",
    "signet": "tb1q...",
    "regtest": "bcrt1q...",
}
_PACING: Final = (
    "min_block_interval_s = 1.0              # every second hash is a block here: at most one a second\n"
)

_COMMENT_COLUMN: Final = 44

_TEXT: Final = Template("""\
# Hashmill's configuration. Every key and its meaning: docs/configuration.md.
# 1. Fill in payout_address.  2. hashmill check --config FILE  3. hashmill plan --config FILE  4. hashmill run --config FILE
# Relative paths are seen from this file's folder. To mine at pools alone: fill in [[pool]], remove [[bitcoind]] and [solo].

network = "$network"  # main, test, testnet4, signet, regtest

# Your own node. More than one [[bitcoind]] is fine: the first that is well gives the work, blocks go to all.
[[bitcoind]]
rpc_url = "http://127.0.0.1:$port"
cookie_file = "~/.bitcoin/$folder.cookie"
# Instead of the cookie, a user with a password from a file that only you can read (chmod 600), or from the
# environment variable HASHMILL_RPC_PASSWORD:
# rpc_user = "hashmill"
# rpc_password_file = "rpc-password"
# zmq_hashblock = "tcp://127.0.0.1:28332"  # bitcoind's -zmqpubhashblock: new blocks are seen at once

[solo]
payout_address = ""  # block rewards go here: an address of your own wallet, $address
coinbase_tag = "/hashmill/"  # text in your blocks, up to 60 bytes
$pacing
# Pools, in order of preference: the first that is well gets the work; while none is, everything mines solo.
# [[pool]]
# url = "stratum+tls://pool.example:443"  # or stratum+tcp://
# user = "account.site1"
# password = "x"  # a real one is better kept in password_file
# scheme = "fpps"  # or pps, pps+, pplns, tides, solo, other; with the fee it tells the controller what is earned
# fee = 0.02

# When a pool is left for the next one:
# [upstreams]
# answer_s = 10  # a request stays unanswered for this long
# return_s = 60  # a better pool has been well for this long: back to it

# Where ASICs and other miners attach: stratum+tcp://THIS-MACHINE:3333, any worker name.
[stratum]
listen = "127.0.0.1:3333"  # "0.0.0.0:3333" serves every network this machine is in
start_difficulty = 1000.0  # then each miner's own: from 0.001 on up to what an S21 needs
target_shares_per_minute = 12.0
# tls_certificate and tls_key make it stratum+tls.

# A further port with rules of its own, here for miners far below 1 TH/s:
# [[stratum.listener]]
# listen = "127.0.0.1:3334"
# start_difficulty = 0.01

# The unit "cpu": hashing threads of this machine.
[cpu]
threads = 1  # 0: no CPU unit; "auto": all cores
watts_per_thread = 10.0  # a rough figure: measure what one thread adds at the wall
idle_watts = 0.0  # what counts as the unit's while it is off
# modes = [{ name = "eco", threads = 1 }, { name = "full", threads = 2, watts = 25.0 }]

[market]
btc_usd = 90000.0  # price of a bitcoin; or ask for it, instead:
# [[market.btc_source]]  # three or more are best: their median counts, one that is far off is left out
# preset = "coinbase"  # also kraken, bitstamp, gemini, bitfinex, coingecko, mempool, ...
# [market.currency]  # for prices that are not in USD
# EUR = { preset = "frankfurter" }  # or a number

[power]
usd_per_kwh = 0.06  # price of power; adders, tax and overhead come on top where they are set
# adder_per_kwh = 0.0  # network charges, levies
# tax_ratio = 0.0
# overhead_ratio = 0.05  # cooling and losses: PUE - 1
# Instead of the fixed price a tariff ([[power.schedule]]), a file ([power.file]), or feeds from the web:
# [[power.http]]
# preset = "ercot-day-ahead"  # docs/configuration.md lists them
# area = "HB_NORTH"
# Where the price of the moment is paid, what was expected a day ahead is worth knowing:
# [[power.day_ahead.http]]
# preset = "ercot-day-ahead"
# area = "HB_NORTH"

# Recorded prices instead of the fixed ones above, replayed:
# [tape]
# file = "prices.csv"  # start_utc and btc_usd, usd_per_kwh, ...
# speed = 60.0  # a minute of tape each second
# at_end = "hold"  # or "loop"

# What decides when to hash.
[controller]
enabled = true
dry_run = true  # decides and records, but touches nothing: false lets it switch units
tick_s = 60  # time between two decisions
min_on_s = 300  # a unit that was started runs at least this long
min_off_s = 300  # a unit that was stopped rests at least this long
safe_mode = "pause"  # when prices stay unknown: "run", "pause" or a mode's name
site_cap_kw = 0  # power that all units with modes together may draw; 0: no limit

# Where power is paid at prices that are known only as they come:
# [controller.real_time]
# model = "market.model"  # hashmill fit --power CSV --out market.model
# sees = "B"  # a quarter hour's price is known when it is over; "A": when it begins

# A unit's own times instead of those above.
# [[unit]]
# id = "cpu"
# min_on_s = 60
# starts_per_day = 12  # no more starts than this in a day of [controller] time_zone

# A worker that gets no work while hashing does not pay. What it hashes and draws is measured at the wall.
# [[unit]]
# id = "rack1-07"
# worker = "rack1.07"  # the user name it mines under
# control = "gate"  # or "none": measured, never switched
# modes = [{ name = "off", th_s = 0, watts = 12 }, { name = "on", th_s = 200, watts = 3500 }]

# A signal of the grid or your utility: it goes before profit, and is heard by webhook, MQTT topic, file or clock.
# [[signal]]
# name = "dr"
# action = "cap"  # or "pause", "run", "mode"
# cap_kw = 400.0
# topic = "utility/dr"
# zone = "Europe/Berlin"
# [[signal.window]]
# weekdays = ["mon-fri"]
# hours = ["17:00-20:00"]
# [mqtt]
# host = "broker.example"

# Cash and fixed costs, for the runway that `hashmill fleet` tells:
# [treasury]
# cash_usd = 250000.0
# fixed_usd_per_day = 400.0

[ledger]
url = "sqlite:///hashmill.db"  # found blocks, decisions, outcomes

[http]
listen = "127.0.0.1:8340"  # /metrics, /healthz, /readyz, /api/v1/status; "" for none
# token_file = "api-token"  # needed for anything that changes something

[log]
level = "info"  # debug, info, warning, error
format = "text"  # or "json"
""")


def template(network: str) -> str:
    """The configuration to start from on `network`; KeyError for a network there is not."""
    text = _TEXT.substitute(
        network=network,
        port=RPC_PORTS[network],
        folder=_FOLDERS[network],
        address=_ADDRESSES[network],
        pacing=_PACING if network == "regtest" else "",
    )
    return "".join(f"{_aligned(line)}\n" for line in text.splitlines())


def _aligned(line: str) -> str:
    key, gap, comment = line.partition("  # ")
    return f"{key:{_COMMENT_COLUMN}}# {comment}" if gap else line
