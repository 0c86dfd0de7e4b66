"""Synchronous JSON-RPC to a bitcoind of ours, for tests and the demo; the daemon's own client is miner/node/rpc.py."""

from __future__ import annotations

import base64
import http.client
import json
from typing import TYPE_CHECKING, Any, Final
from urllib.parse import quote

from regtest.ports import LOOPBACK

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence
    from pathlib import Path

CALL_LIMIT_S: Final = 60.0


class RpcFailure(Exception):  # noqa: N818 (an answer of the node, told apart from OSError: no answer)
    """The node's refusal of a call: `code` and `message` as it gave them."""

    def __init__(self, code: int, message: str) -> None:
        super().__init__(f"{message} ({code})")
        self.code = code
        self.message = message


def call(
    port: int, cookie_file: Path, method: str, params: Sequence[Any], *, wallet: str, limit_s: float
) -> Any:
    """The result of one call. Raises RpcFailure on a refusal, OSError when the node does not answer."""
    request = {"jsonrpc": "1.0", "id": 0, "method": method, "params": list(params)}
    return _result(_post(port, cookie_file, request, wallet=wallet, limit_s=limit_s))


def batch(
    port: int, cookie_file: Path, calls: Iterable[tuple[str, Sequence[Any]]], *, wallet: str, limit_s: float
) -> list[Any]:
    """The results of several calls sent at once, in their order. Raises as `call` does, at the first refusal."""
    requests = [
        {"jsonrpc": "1.0", "id": i, "method": method, "params": list(params)}
        for i, (method, params) in enumerate(calls)
    ]
    replies = _post(port, cookie_file, requests, wallet=wallet, limit_s=limit_s)
    return [_result(reply) for reply in sorted(replies, key=lambda reply: int(reply["id"]))]


def _result(reply: Any) -> Any:
    error = reply.get("error")
    if error is not None:
        raise RpcFailure(error["code"], error["message"])
    return reply["result"]


def _post(port: int, cookie_file: Path, body: Any, *, wallet: str, limit_s: float) -> Any:
    # A connection a call: nothing to share between threads, and nothing stale after the node was restarted.
    connection = http.client.HTTPConnection(LOOPBACK, port, timeout=limit_s)
    try:
        # Read each time, since every start of the node writes another cookie.
        credentials = base64.b64encode(cookie_file.read_bytes()).decode()
        connection.request(
            "POST",
            f"/wallet/{quote(wallet, safe='')}" if wallet else "/",
            body=json.dumps(body),
            headers={"Authorization": f"Basic {credentials}", "Content-Type": "application/json"},
        )
        response = connection.getresponse()
        content = response.read()
    except http.client.HTTPException as error:
        raise ConnectionError(f"bitcoind broke off: {error!r}") from error
    finally:
        connection.close()
    try:
        return json.loads(content)
    except ValueError:
        raise ConnectionError(f"bitcoind answered HTTP {response.status} {content[:200]!r}") from None
