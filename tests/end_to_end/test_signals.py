"""Signals and overrides at a running daemon: obeyed at once, kept over a kill, given back."""

from __future__ import annotations

import json
import urllib.error
import urllib.request
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

import pytest

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from regtest.bitcoind import Bitcoind
    from regtest.process import HashmillProcess

pytestmark = pytest.mark.bitcoind
TOKEN = "0123456789abcdef0123456789abcdef"


def send(daemon: HashmillProcess, method: str, path: str, body: object = None) -> int:
    """The status of a command."""
    request = urllib.request.Request(
        f"http://127.0.0.1:{daemon.http_port}/api/v1/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"Authorization": f"Bearer {TOKEN}", "Content-Type": "application/json"},
    )
    try:
        with urllib.request.urlopen(request, timeout=5) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as refused:
        with refused:
            return refused.code


def mode(daemon: HashmillProcess) -> str:
    return str(json.loads(daemon.http("/api/v1/units/cpu")[1]).get("mode"))


def is_active(daemon: HashmillProcess) -> bool:
    return any(each["active"] for each in json.loads(daemon.http("/api/v1/signals")[1])["signals"])


def test_a_signal_is_obeyed_at_once_kept_over_a_kill_and_ended_and_so_is_an_override(
    start_daemon: Callable[..., HashmillProcess], bitcoind: Bitcoind, tmp_path: Path
) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(TOKEN)
    controller: dict[str, Any] = {
        "enabled": True,
        "dry_run": False,
        "tick_s": 1.0,
        "min_on_s": 3600.0,
        "min_off_s": 0.0,
    }
    daemon = start_daemon(
        [bitcoind],
        solo={"min_block_interval_s": 5.0},
        market={"btc_usd": 90000.0},
        power={"usd_per_kwh": 0.01},
        controller=controller,
        http={"token_file": str(token)},
        signal=[{"name": "dr", "action": "pause", "ramp_s": 0.0}],
    )
    daemon.wait_until(lambda: mode(daemon) == "full", "hash")
    assert send(daemon, "POST", "signals/dr", {"minutes": 10}) == HTTPStatus.OK
    assert daemon.wait_until(lambda: mode(daemon) == "off", "pause") < 5
    daemon.kill()
    daemon.start()
    daemon.wait_until(lambda: is_active(daemon), "remember the signal")
    assert mode(daemon) == "off"
    assert send(daemon, "DELETE", "signals/dr") == HTTPStatus.OK
    daemon.wait_until(lambda: mode(daemon) == "full", "resume")
    override = {"mode": "off", "until": None, "who": "ana", "why": "fan"}
    assert send(daemon, "POST", "units/cpu/override", override) == HTTPStatus.OK
    daemon.wait_until(lambda: mode(daemon) == "off", "obey the override")
    assert send(daemon, "DELETE", "units/cpu/override?who=ana") == HTTPStatus.NO_CONTENT
    daemon.wait_until(lambda: mode(daemon) == "full", "resume again")
    reasons = {decision["reason"] for decision in daemon.decisions()}
    assert {"signal", "override"} <= reasons
