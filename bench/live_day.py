"""A day of live running at a hundred times its pace: the real daemon under a made clock, killed in the middle, against servers that fail.

Usage: python bench/live_day.py [--quick] [--json] [--compress N] [--hours H] [--from HH:MM] [--kills N] [--seed N]

`hashmill run` runs twice under Debian's faketime, over the scripted day of tests/end_to_end/live_day.py (2026-03-29 in Berlin, which has
23 hours): once without interruption, once with `kill -9` and a new start, spread over its time. Around it are real servers of prices
that vanish, hang, repeat, are late and out of bounds, a real broker for a signal, a real bitcoind, which is told the
time, and miners on the wire behind three gates beside the CPU unit. Nothing in the daemon knows that its clock is made.

Compared is the sequence of modes of every unit: each must be told the same ones in the same order, each change within some ticks of the
same time; and one that was due while the daemon was down within some ticks of its being back, or not at all if it was over by then.
Ticks themselves differ: real processes are scheduled as the machine likes. Equality of all decisions, bit for bit, is what
tests/end_to_end/test_live_day.py shows. Then every decision in both ledgers is made again from what is kept with it.

The exit code is 1 if a sequence differs or a decision cannot be made again. At a hundredfold a time limit of 9 seconds is 90 real
milliseconds: the machine should have nothing else to do. faketime is no part of .ci/run: apt-get install faketime.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import shutil
import sys
import tempfile
import threading
import time
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import aiomqtt
from report import Series, arguments, machine, progress, publish

from miner.control_verify import Verification
from miner.ledger.reader import Reader
from regtest import chain
from regtest.bitcoind import Bitcoind
from regtest.mosquitto import Mosquitto, program
from regtest.ports import LOOPBACK, Reservation
from regtest.process import DaemonError, HashmillProcess, bitcoind_sections

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))  # the day's script is the tests' own
from tests.end_to_end.asic import Asic
from tests.end_to_end.live_day import AHEAD, BTC, END, FX, SPOT, START, Day, DayServers, clock_time

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

LIBRARIES: Final = (
    Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1"),
    Path("/usr/lib/aarch64-linux-gnu/faketime/libfaketimeMT.so.1"),
)
TICK_S: Final = 60.0
SLACK_TICKS: Final = 3.0
"""A change may be so many ticks earlier or later: a question may come just before or just after a price changes."""
SHARE_S: Final = 0.25
"""Real time between two shares of a miner."""
PORTS_S: Final = 0.02
"""How often ports are opened and closed as the day has it, in real time."""
BLOCK_S: Final = 900.0
"""Others find a block about this often; with our own that is less in a day than would halve the subsidy of regtest."""
START_LIMIT_S: Final = 30.0
RUN_IN_S: Final = 1200.0
"""So long before the time that is looked at the daemon is started: how fast it starts is the machine's affair."""
RPC_ROOM: Final = ("-rpcthreads=32", "-rpcworkqueue=256")
BITCOIN_SCALE: Final = 4.6565423739069247e-10 / 146.47e12 * 3.145e8 / 50e8
"""What a unit's hashrate is multiplied with, so that on regtest, with its difficulty and subsidy, it earns what it earns on main."""
UNITS: Final = {"g1": (200.0, 3500.0), "g2": (76.0, 1850.0), "g3": (13.5, 1350.0)}
"""Hashrate in TH/s as if on main, and watts, of the units behind a gate."""
CPU: Final = (100.0, 2970.0)
CAP_KW: Final = 8.0
SIGNAL: Final = ("13:32", "13:53")
TOPIC: Final = "utility/grid"


class MadeClock:
    """The time of the day, running `speed` times as fast as the real one from `start` on."""

    def __init__(self, start: float, speed: float) -> None:
        self._start = start
        self._speed = speed
        self._began = time.monotonic()

    def __call__(self) -> float:
        """UTC unix seconds."""
        return self._start + (time.monotonic() - self._began) * self._speed

    def wait_until(self, at: float) -> None:
        """Sleep until that time of the day."""
        while (left_s := (at - self()) / self._speed) > 0:
            time.sleep(left_s)

    def environ(self) -> dict[str, str]:
        """What makes a process that is started now live by this clock."""
        library = next((path for path in LIBRARIES if path.is_file()), None)
        if library is None:
            raise FileNotFoundError("libfaketime is not installed: apt-get install faketime")
        now = datetime.fromtimestamp(self(), tz=UTC)
        return {
            "LD_PRELOAD": str(library),
            "FAKETIME": f"@{now:%Y-%m-%d %H:%M:%S} x{self._speed:g}",
            "TZ": "UTC",
        }


class Miner:
    """Something that mines behind a gate as long as it is let in, in a thread of its own and on true time."""

    def __init__(self, port: int, worker: str) -> None:
        self._port = port
        self._worker = worker
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._run, name=worker, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Mine no more."""
        self._ended.set()
        self._thread.join(START_LIMIT_S)

    def _run(self) -> None:
        while not self._ended.wait(SHARE_S):
            with contextlib.suppress(OSError, AssertionError), Asic(self._port, self._worker) as asic:
                self._mine(asic)

    def _mine(self, asic: Asic) -> None:
        """Hand in a share now and then, until sent away."""
        if asic.login()["result"] is not True:
            return
        while not (asic.closed or self._ended.wait(SHARE_S)):
            asic.wait_for_job()
            asic.submit(asic.mine())


def settings(node: Bitcoind, servers: DayServers, broker: Mosquitto, port: int) -> dict[str, Any]:
    """The daemon's configuration."""
    quick = {"every_s": TICK_S, "timeout_s": 9.0}
    return {
        "network": "regtest",
        "bitcoind": bitcoind_sections([node]),
        "solo": {"payout_address": chain.new_address(node), "min_block_interval_s": 7200.0},
        "cpu": {
            "threads": 1,
            "share_difficulty": 1e-3,
            "modes": [{"name": "full", "threads": 1, "watts": CPU[1], "th_s": CPU[0] * BITCOIN_SCALE}],
        },
        "stratum": {
            "listen": f"{LOOPBACK}:{port}",
            "start_difficulty": 1e-9,
            "min_difficulty": 1e-9,
            "max_difficulty": 1e-9,
        },
        "unit": [
            {
                "id": name,
                "worker": name,
                "control": "gate",
                "modes": [{"name": "on", "th_s": th_s * BITCOIN_SCALE, "watts": watts}],
                "restart_s": 300.0,
            }
            for name, (th_s, watts) in UNITS.items()
        ],
        "market": {
            "btc_source": [{"preset": name, "url": servers.url(name), **quick} for name in BTC],
            "currency": {"EUR": {"preset": "er-api", "url": servers.url(FX), **quick}},
        },
        "power": {
            "zone": "Europe/Berlin",
            "market": "epex",
            "currency": "EUR",
            "adder": [{"price_per_kwh": 0.021, "hours": ["07:00-22:00"]}, {"price_per_kwh": 0.006}],
            "tax_ratio": 0.05,
            "overhead_ratio": 0.03,
            "http": [
                {
                    "name": SPOT,
                    "url": servers.url(SPOT),
                    "price": "price",
                    "time": "time",
                    "unit": "eur_per_mwh",
                    **quick,
                },
                {
                    "name": AHEAD,
                    "url": servers.url(AHEAD),
                    "price": "data[*].price",
                    "start": "data[*].from",
                    "end": "data[*].to",
                    "unit": "eur_per_mwh",
                    "every_s": 300.0,
                    "timeout_s": 9.0,
                },
            ],
        },
        "signal": [{"name": "grid", "action": "pause", "units": ["g1"], "ramp_s": 600.0, "topic": TOPIC}],
        "mqtt": {"host": broker.host, "port": broker.port},
        "controller": {
            "dry_run": False,
            "tick_s": TICK_S,
            "horizon_hours": 12.0,
            "time_zone": "Europe/Berlin",
            "site_cap_kw": CAP_KW,
            "min_on_s": 1800.0,
            "min_off_s": 1800.0,
            "dead_band_ratio": 0.05,
            "confirm_s": 60.0,
            "max_age_s": {"btc_usd": 600.0},
        },
    }


@contextlib.contextmanager
def _mining(port: int) -> Iterator[None]:
    miners = [Miner(port, name) for name in UNITS]
    try:
        yield
    finally:
        for miner in miners:
            miner.stop()


@contextlib.contextmanager
def _network(node: Bitcoind, clock: MadeClock) -> Iterator[None]:
    """Tell the node the time, since a block from the daemon's future is none, and have others find a block now and then.

    Without those the node would keep every question for a new template that the daemon gave up, seconds apart in true time.
    """
    ended = threading.Event()
    address = chain.new_address(node)

    def tell() -> None:
        found_at = clock()
        while not ended.wait(SHARE_S):
            now = clock()
            node.rpc("setmocktime", int(now))
            if now - found_at > BLOCK_S:
                node.rpc("generatetoaddress", 1, address)
                found_at = now

    teller = threading.Thread(target=tell, name="network", daemon=True)
    teller.start()
    try:
        yield
    finally:
        ended.set()
        teller.join(START_LIMIT_S)


def _start(daemon: HashmillProcess, clock: MadeClock) -> None:
    daemon.launch(clock.environ())
    daemon.wait_until(lambda: daemon.http("/healthz")[0] == 200, "answer on its HTTP port", START_LIMIT_S)  # noqa: PLR2004 - OK


async def _say(broker: Mosquitto, text: str) -> None:
    async with aiomqtt.Client(broker.host, broker.port) as client:
        await client.publish(TOPIC, text, qos=1, retain=True)


def live(
    folder: Path, day: Day, span: tuple[float, float], speed: float, kills: Sequence[float]
) -> tuple[str, list[tuple[float, float]]]:
    """Live through the day; the ledger's URL, and when the daemon was down."""
    with (
        Bitcoind(mocktime_s=int(span[0] - RUN_IN_S), extra=RPC_ROOM) as node,
        Mosquitto() as broker,
        Reservation(1) as reserved,
    ):
        clock = MadeClock(span[0] - RUN_IN_S, speed)
        with DayServers(day, clock, every_s=PORTS_S) as servers:
            daemon = HashmillProcess(folder, settings(node, servers, broker, reserved.ports[0]))
            down: list[tuple[float, float]] = []
            events = sorted([(at, "kill") for at in kills] + [(clock_time(at), at) for at in SIGNAL])
            with contextlib.closing(daemon), _network(node, clock), _mining(reserved.ports[0]):
                _start(daemon, clock)
                for at, what in events:
                    if not span[0] < at < span[1]:
                        continue
                    clock.wait_until(at)
                    if what == "kill":
                        daemon.kill()
                        _start(daemon, clock)
                        down.append((at, clock()))
                    else:
                        asyncio.run(_say(broker, "on" if what == SIGNAL[0] else "off"))
                clock.wait_until(span[1])
                daemon.stop()
    return f"sqlite:///{daemon.ledger_file}", down


Change = tuple[float, str]


def changes(url: str, begin: float) -> dict[str, list[Change]]:
    """By unit, its mode at `begin`, and when it was decided to go to which other one after that."""
    found: dict[str, list[Change]] = {}
    with Reader.open(url) as reader:
        at = 0.0
        while rows := reader.inputs_after(at, END, 256):
            for row in rows:
                for each in reader.decisions_at(row.at):
                    told = found.setdefault(each.unit_id, [])
                    if row.at <= begin:
                        told[:] = [(begin, each.to_mode)]
                    elif not told or told[-1][1] != each.to_mode:
                        told.append((row.at, each.to_mode))
            at = rows[-1].at
    return found


def unlike(
    whole: Sequence[Change], killed: Sequence[Change], down: Sequence[tuple[float, float]]
) -> list[str]:
    """What of a unit's changes is not alike in both runs; `down` is when the second one's daemon was."""
    slack_s = SLACK_TICKS * TICK_S
    wanted = list(whole)
    for since, until in down:
        # What was over before the daemon came back need not have happened.
        due = [each for each in wanted if since - slack_s <= each[0] <= until + slack_s]
        if len(due) > 1 and len(wanted) > len(killed):
            before = [each for each in wanted if each[0] < since - slack_s]
            kept = [] if before and before[-1][1] == due[-1][1] else due[-1:]
            wanted = [*before, *kept, *(each for each in wanted if each[0] > until + slack_s)]
    found = []
    for one, other in itertools.zip_longest(wanted, killed):
        if one is None or other is None:
            found.append(f"{_told(one)} against {_told(other)}")
            break
        late_s = max(
            (until - one[0] for since, until in down if since - slack_s <= one[0] <= until), default=0.0
        )
        if one[1] != other[1] or not -slack_s <= other[0] - one[0] <= late_s + slack_s:
            found.append(f"{_told(one)} against {_told(other)}")
    return found


def _told(change: Change | None) -> str:
    return (
        "nothing"
        if change is None
        else f"{change[1]} at {datetime.fromtimestamp(change[0], tz=UTC):%H:%M:%S}Z"
    )


def verified(url: str) -> dict[str, Any]:
    """The report on every decision of a ledger, made again."""
    with Reader.open(url) as reader:
        return Verification(reader).run(0.0, END)


def main() -> int:
    """Live through it twice, compare, verify."""
    parser = arguments(__doc__)
    parser.add_argument(
        "--compress", type=float, default=100.0, metavar="N", help="times as fast (default: 100)"
    )
    parser.add_argument(
        "--hours", type=float, default=24.0, metavar="H", help="hours of the day (default: all)"
    )
    parser.add_argument(
        "--from", dest="begin", default="00:00", metavar="HH:MM", help="from when on (default: 00:00)"
    )
    parser.add_argument(
        "--kills", type=int, default=3, metavar="N", help="how often it is killed (default: 3)"
    )
    parser.add_argument("--seed", type=int, default=1, metavar="N", help="of the day's prices (default: 1)")
    options = parser.parse_args()
    if not any(path.is_file() for path in LIBRARIES):
        progress("live_day: faketime is not installed: apt-get install faketime")
        return 2
    program()
    about = {**machine(), "compress": options.compress}
    start = clock_time("13:00" if options.quick else options.begin)
    hours = min(options.hours, 1.0) if options.quick else options.hours
    span = (max(start, START), min(start + hours * 3600, END))
    step_s = (span[1] - span[0]) / (options.kills + 1)
    kills = [span[0] + step_s * (number + 1) for number in range(options.kills)]
    day = Day(options.seed)
    folder = Path(tempfile.mkdtemp(prefix="hashmill-live-"))
    runs = []
    for name, times in (("whole", []), ("killed", kills)):
        progress(f"live_day: {name}, {(span[1] - span[0]) / options.compress:.0f} s")
        home = folder / name
        home.mkdir()
        try:
            runs.append(live(home, day, span, options.compress, times))
        except DaemonError as error:
            progress(f"live_day: {error}")
            return 1
    code = report(about, runs, span[0], as_json=options.json)
    if code:
        progress(f"live_day: ledgers and logs are kept in {folder}")
    else:
        shutil.rmtree(folder)
    return code


def report(
    about: dict[str, Any],
    runs: Sequence[tuple[str, list[tuple[float, float]]]],
    begin: float,
    *,
    as_json: bool,
) -> int:
    """Print what came of both runs; 1 if they are not alike, or a decision cannot be made again."""
    (whole_url, _), (killed_url, down) = runs
    whole, killed = changes(whole_url, begin), changes(killed_url, begin)
    different = Series("changes of mode that differ", "changes", 0)
    moved = Series("changes of mode of a unit", "changes")
    for unit_id in sorted(whole.keys() | killed.keys()):
        found = unlike(whole.get(unit_id, []), killed.get(unit_id, []), down)
        different.values.append(len(found))
        moved.values.append(len(whole.get(unit_id, [])[1:]))
        for each in found:
            progress(f"live_day: {unit_id}: {each}")
    lost = Series("decisions that are not made again alike", "decisions", 0)
    made = Series("decisions made again, bit for bit", "decisions")
    for url, _ in runs:
        told = verified(url)
        made.values.append(told["same"])
        lost.values.append(told["different"] + told["unreadable"] + told["not_compared"])
    gone = Series("the daemon was down, by the day's clock", "s")
    gone.values.extend(until - since for since, until in down)
    series = [moved, different, made, lost, *([gone] if down else [])]
    publish("live_day", about, series, as_json=as_json)
    return int(any(different.values) or any(lost.values))


if __name__ == "__main__":
    sys.exit(main())
