"""A real bitcoind of our own on loopback: its own ports and data folder, started, stopped, killed, started again."""

from __future__ import annotations

import contextlib
import functools
import os
import shutil
import signal
import subprocess  # bitcoind is a program
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from regtest import jsonrpc
from regtest.fetch import bitcoind_command
from regtest.ports import LOOPBACK, Reservation
from regtest.server import Server

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

Chain = Literal["regtest", "signet"]

START_LIMIT_S: Final = 60.0
STOP_LIMIT_S: Final = 30.0
TERM_LIMIT_S: Final = 10.0
KILL_LIMIT_S: Final = 10.0
OP_TRUE_CHALLENGE: Final = "51"
POLL_S: Final = 0.02
RPC_IN_WARMUP: Final = -28
LOG_TAIL_LINES: Final = 5
WALLET: Final = "test"

# Quiet, small, and reachable from this machine only: no peer is looked for, none but loopback's can come.
COMMON_OPTIONS: Final = (
    "-server=1",
    f"-rpcbind={LOOPBACK}",
    f"-rpcallowip={LOOPBACK}",
    "-rpcthreads=8",
    "-listen=1",
    "-connect=0",
    "-dnsseed=0",
    "-fixedseeds=0",
    "-discover=0",
    "-listenonion=0",
    "-natpmp=0",
    "-maxconnections=16",
    "-dbcache=16",
    "-par=1",
    "-keypool=20",
    "-fallbackfee=0.0002",
    "-blockmaxweight=3996000",  # Knots' own default leaves two thirds of a block empty
    "-printtoconsole=0",
)
CHAIN_OPTIONS: Final[dict[Chain, tuple[str, ...]]] = {
    "regtest": ("-regtest",),
    # Challenge 51 is OP_TRUE: a chain of our own on which blocks need work, and no signature.
    "signet": ("-signet",),
}
# A file, since a bitcoind that does not know an option refuses it on the command line and skips it here.
CONFIGURATION: Final = "softwareexpiry=0\n"


class BitcoindError(Exception):
    """bitcoind did not start, or ended by itself; the message holds the end of its log."""


class Bitcoind(Server):
    """One bitcoind: a context manager that starts it and always stops it.

    chain: "regtest", or "signet" for the private one with challenge OP_TRUE. datadir: its folder; a temporary one,
    removed at the end, if not given. wallet: create and load one called "test". zmq: publish block hashes.
    mocktime_s: the node's frozen clock, unix seconds; the real one if not given. extra: further options.
    Raises NoBitcoindError if there is no bitcoind to be had. A node of ours ends with this process at the latest.
    """

    def __init__(
        self,
        chain: Chain = "regtest",
        *,
        datadir: Path | None = None,
        wallet: bool = True,
        zmq: bool = True,
        mocktime_s: int | None = None,
        signet_challenge: str = OP_TRUE_CHALLENGE,
        extra: Sequence[str] = (),
    ) -> None:
        self.chain = chain
        self.mocktime_s = mocktime_s
        self._signet_challenge = signet_challenge
        self._command = bitcoind_command()
        self._extra = tuple(extra)
        self._wallet = wallet
        self._zmq = zmq
        self.datadir = Path(tempfile.mkdtemp(prefix="hashmill-bitcoind-")) if datadir is None else datadir
        self.datadir.mkdir(parents=True, exist_ok=True)
        reservation = Reservation(3)
        self.rpc_port, self.p2p_port, self._zmq_port = reservation.ports
        self._process: subprocess.Popen[bytes] | None = None
        super().__init__(reservation, self.datadir if datadir is None else None)

    @property
    def rpc_url(self) -> str:
        """Where its RPC answers, as the configuration wants it."""
        return f"http://{LOOPBACK}:{self.rpc_port}"

    @property
    def cookie_file(self) -> Path:
        """File with the user and password of this start; absent while the node is down."""
        return self.datadir / self.chain / ".cookie"

    @property
    def zmq_hashblock(self) -> str | None:
        """Address of its block hash publisher, None without ZMQ."""
        return f"tcp://{LOOPBACK}:{self._zmq_port}" if self._zmq else None

    @property
    def p2p_address(self) -> str:
        """Where its peers connect, `host:port`."""
        return f"{LOOPBACK}:{self.p2p_port}"

    @property
    def log_file(self) -> Path:
        """Its debug.log."""
        return self.datadir / self.chain / "debug.log"

    @property
    def running(self) -> bool:
        """Whether its process lives."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """Process id of the running node. Raises BitcoindError when it is down."""
        if self._process is None or self._process.poll() is not None:
            raise BitcoindError("bitcoind is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it on its ports and data folder and wait until its RPC answers. Raises BitcoindError."""
        if self.running:
            raise BitcoindError("bitcoind is running already")
        (self.datadir / "bitcoin.conf").write_text(CONFIGURATION)
        # A killed node leaves its cookie behind; with it, the first calls would only meet a 401.
        self.cookie_file.unlink(missing_ok=True)
        self._process = _spawn((*self._command, *self._options()), self.datadir / "output.log")
        try:
            self._wait_until_ready()
            if self._wallet:
                self._load_wallet()
        except BaseException:
            self.kill()
            raise

    def stop(self) -> None:
        """End it in good order: by RPC, else SIGTERM, else SIGKILL. Harmless when it is down."""
        process = self._process
        if process is None:
            return
        with contextlib.suppress(OSError, jsonrpc.RpcFailure):
            self.rpc("stop", limit_s=5.0)
            if _ended(process, STOP_LIMIT_S):
                return
        process.terminate()
        if not _ended(process, TERM_LIMIT_S):
            self.kill()

    def kill(self) -> None:
        """End it as a power cut would (SIGKILL): blocks since the last `flush` are forgotten. Harmless when it is down."""
        if self._process is not None:
            self._process.kill()
            self._process.wait(KILL_LIMIT_S)

    def flush(self) -> None:
        """Have all its blocks and coins on disk, so that they outlive a `kill`."""
        self.rpc("gettxoutsetinfo", "none")

    def rpc(
        self, method: str, *params: Any, wallet: str | None = None, limit_s: float = jsonrpc.CALL_LIMIT_S
    ) -> Any:
        """Result of one RPC call; `wallet` names one where several are loaded.

        Raises regtest.jsonrpc.RpcFailure when the node refuses, OSError when it does not answer.
        """
        return jsonrpc.call(
            self.rpc_port, self.cookie_file, method, params, wallet=wallet or "", limit_s=limit_s
        )

    def rpc_batch(
        self,
        calls: Iterable[tuple[str, Sequence[Any]]],
        *,
        wallet: str | None = None,
        limit_s: float = jsonrpc.CALL_LIMIT_S,
    ) -> list[Any]:
        """Results of many RPC calls in one request, in their order; errors as of `rpc`."""
        return jsonrpc.batch(self.rpc_port, self.cookie_file, calls, wallet=wallet or "", limit_s=limit_s)

    def connect(self, other: Bitcoind, *, limit_s: float = 20.0) -> None:
        """Make `other` a peer and wait until both shook hands. Raises BitcoindError on time-out."""
        self.rpc("addnode", other.p2p_address, "add")
        deadline_s = time.monotonic() + limit_s
        while not any(p["addr"] == other.p2p_address and p["version"] for p in self.rpc("getpeerinfo")):
            if time.monotonic() > deadline_s:
                raise BitcoindError(
                    f"{self.p2p_address} and {other.p2p_address} did not connect in {limit_s:.0f} s"
                )
            # A try right after the other's restart may have failed; bitcoind's own next one is a minute away.
            with contextlib.suppress(jsonrpc.RpcFailure):
                self.rpc("addnode", other.p2p_address, "onetry")
            time.sleep(POLL_S)

    def disconnect(self, other: Bitcoind, *, limit_s: float = 20.0) -> None:
        """Undo `connect`: part from `other` and stay apart. Raises BitcoindError on time-out."""
        with contextlib.suppress(jsonrpc.RpcFailure):
            self.rpc("addnode", other.p2p_address, "remove")
        deadline_s = time.monotonic() + limit_s
        while peers := [p["addr"] for p in self.rpc("getpeerinfo") if p["addr"] == other.p2p_address]:
            if time.monotonic() > deadline_s:
                raise BitcoindError(
                    f"{self.p2p_address} and {other.p2p_address} did not part in {limit_s:.0f} s"
                )
            with contextlib.suppress(jsonrpc.RpcFailure):
                self.rpc("disconnectnode", peers[0])
            time.sleep(POLL_S)

    def _options(self) -> tuple[str, ...]:
        options = (
            *CHAIN_OPTIONS[self.chain],
            f"-datadir={self.datadir}",
            *COMMON_OPTIONS,
            f"-rpcport={self.rpc_port}",
            f"-port={self.p2p_port}",
            f"-bind={LOOPBACK}:{self.p2p_port}",
        )
        if self._zmq:
            options += (f"-zmqpubhashblock={self.zmq_hashblock}",)
        if not self._wallet:
            options += ("-disablewallet",)
        if self.chain == "signet":
            options += (f"-signetchallenge={self._signet_challenge}",)
        if self.mocktime_s is not None:
            options += (f"-mocktime={self.mocktime_s}",)
        return options + self._extra

    def _wait_until_ready(self) -> None:
        deadline_s = time.monotonic() + START_LIMIT_S
        while True:
            if not self.running:
                raise BitcoindError(f"bitcoind ended while starting: {self._last_words()}")
            try:
                self.rpc("getblockchaininfo", limit_s=5.0)
            except OSError:
                pass  # not listening yet, or no cookie yet
            except jsonrpc.RpcFailure as refusal:
                if refusal.code != RPC_IN_WARMUP:
                    raise
            else:
                return
            if time.monotonic() > deadline_s:
                raise BitcoindError(f"bitcoind did not answer in {START_LIMIT_S:.0f} s: {self._last_words()}")
            time.sleep(POLL_S)

    def _load_wallet(self) -> None:
        if WALLET in self.rpc("listwallets"):
            return
        if any(entry["name"] == WALLET for entry in self.rpc("listwalletdir")["wallets"]):
            self.rpc("loadwallet", WALLET)
        else:
            self.rpc("createwallet", WALLET)

    def _last_words(self) -> str:
        """The end of what it printed and logged, on one line."""
        lines: list[str] = []
        for path in (self.datadir / "output.log", self.log_file):
            if path.is_file():
                lines += path.read_text(errors="replace").splitlines()[-LOG_TAIL_LINES:]
        return " | ".join(lines) or "it said nothing"


def _ended(process: subprocess.Popen[bytes], limit_s: float) -> bool:
    try:
        process.wait(limit_s)
    except subprocess.TimeoutExpired:
        return False
    return True


@functools.cache
def _spawner() -> ThreadPoolExecutor:
    """The one thread that starts nodes, since the kernel ties a node's death signal to the thread that began it."""
    return ThreadPoolExecutor(1, thread_name_prefix="bitcoind-spawner")


def _spawn(command: Sequence[str], output: Path) -> subprocess.Popen[bytes]:
    """Start `command` so that it gets SIGTERM if this process dies, however it dies; output goes to a file."""
    # setpriv becomes the command, so the process id is the node's own; without it, atexit still stops the node.
    setpriv = shutil.which("setpriv")
    prefix = (setpriv, "--pdeathsig", signal.SIGTERM.name[3:], "--") if setpriv else ()
    environment = {**os.environ, "LC_ALL": "C"}
    with output.open("wb") as sink:

        def start() -> subprocess.Popen[bytes]:
            return subprocess.Popen(
                (*prefix, *command),
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=sink,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # a Ctrl-C at the terminal is for us; we then stop the node in good order
            )

        return _spawner().submit(start).result(timeout=START_LIMIT_S)
