import asyncio
import hmac
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec
import pytest

from miner.node.nodes import Node
from miner.node.rpc import (
    Backoff,
    BadAnswerError,
    CookieFile,
    NodeUnreachableError,
    NodeWarmingUpError,
    RpcClient,
    RpcRefusedError,
    RpcTimeoutError,
    UnauthorizedError,
    UserPassword,
    internal_hash,
)
from regtest.bitcoind import Bitcoind
from tests.miner.node.harness import Proxy, answer, drop, drop_after, hang, refuse

MakeNode = Callable[..., Node]
MakeProxy = Callable[[Bitcoind], Awaitable[Proxy]]

pytestmark = pytest.mark.bitcoind


class Info(msgspec.Struct):
    chain: str
    blocks: int


async def test_a_call_gives_its_result_in_the_type_asked_for(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    rpc = node_of(bitcoind).rpc

    assert await rpc.call("getblockchaininfo", decode=Info) == Info("regtest", 0)
    assert await rpc.call("getblockcount") == 0
    raw = await rpc.call("getblockchaininfo", decode=msgspec.Raw)
    assert msgspec.json.decode(raw, type=Info).chain == "regtest"
    with pytest.raises(BadAnswerError, match=r"getblockcount: unexpected result"):
        await rpc.call("getblockcount", decode=str)


async def test_a_refusal_keeps_the_nodes_own_code_and_words(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    with pytest.raises(RpcRefusedError, match=r"bitcoind a at 127.0.0.1:\d+, getblockhash") as refused:
        await node_of(bitcoind).rpc.call("getblockhash", 99)

    assert (refused.value.code, refused.value.reason) == (-8, "Block height out of range")


async def test_a_full_block_of_four_megabytes_goes_out_as_any_other_call(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    block = bytes(3_999_000).hex()  # as submitblock takes it: no block, but of its size
    assert isinstance(await node_of(bitcoind).rpc.call("submitblock", block), str)  # the node's complaint


async def test_a_batch_answers_in_order_with_refusals_in_their_places(
    bitcoind: Bitcoind, node_of: MakeNode
) -> None:
    genesis = bitcoind.rpc("getblockhash", 0)

    first, second, third = await node_of(bitcoind).rpc.batch(
        [("getblockhash", 0), ("getblockhash", 7), ("getblockhash", 0)], decode=str
    )

    assert (first, third) == (genesis, genesis)
    assert isinstance(second, RpcRefusedError)
    assert second.code == -8
    assert await node_of(bitcoind).rpc.batch([], decode=str) == []


async def test_one_connection_serves_many_calls(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    rpc = node_of(await proxy_of(bitcoind)).rpc
    for _ in range(5):
        await rpc.call("getblockcount")

    connector = rpc._open_session().connector
    assert connector is not None
    assert sum(len(kept) for kept in connector._conns.values()) == 1


async def test_wrong_credentials_are_named_but_never_shown(bitcoind: Bitcoind) -> None:
    credentials = UserPassword("me", "hunter2")
    rpc = RpcClient(bitcoind.rpc_url, credentials)
    try:
        with pytest.raises(UnauthorizedError, match="user, password or cookie refused") as refused:
            await rpc.call("getblockcount", retry_s=5.0)
    finally:
        await rpc.close()

    assert "hunter2" not in f"{refused.value!r} {credentials!r}"


async def test_user_and_password_open_the_node(bitcoind_factory: Callable[..., Bitcoind]) -> None:
    # The cookie stays valid beside them; bitcoind reads rpcauth as user:salt$HMAC-SHA256(salt, password).
    salt, password = "ab" * 16, "pässword"
    digest = hmac.new(salt.encode(), password.encode(), "sha256").hexdigest()
    bitcoind = bitcoind_factory(extra=(f"-rpcauth=me:{salt}${digest}",))
    rpc = RpcClient(bitcoind.rpc_url, UserPassword("me", password))
    try:
        assert await rpc.call("getblockcount") == 0
    finally:
        await rpc.close()


@pytest.mark.parametrize("url", ["http://me:secret@127.0.0.1:1", "127.0.0.1:8332", "ftp://127.0.0.1"])
def test_a_url_that_cannot_be_right_is_refused_without_repeating_a_password(url: str, tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="rpc_url must") as refused:
        RpcClient(url, CookieFile(tmp_path / "cookie"))

    assert "secret" not in str(refused.value)


async def test_the_cookie_of_a_restarted_node_is_read_anew(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    rpc = node_of(bitcoind).rpc
    assert await rpc.call("getblockcount") == 0
    old = bitcoind.cookie_file.read_text()

    bitcoind.kill()
    with pytest.raises(NodeUnreachableError):
        await rpc.call("getblockcount")
    await asyncio.to_thread(bitcoind.start)

    assert bitcoind.cookie_file.read_text() != old
    assert await rpc.call("getblockcount") == 0


async def test_a_cookie_that_changed_unnoticed_is_read_anew_on_401(
    bitcoind: Bitcoind, tmp_path: Path
) -> None:
    cookie = tmp_path / "cookie"
    cookie.write_text("__cookie__:old")
    rpc = RpcClient(bitcoind.rpc_url, CookieFile(cookie))
    try:
        with pytest.raises(UnauthorizedError):
            await rpc.call("getblockcount")
        cookie.write_text(bitcoind.cookie_file.read_text())
        assert await rpc.call("getblockcount") == 0
    finally:
        await rpc.close()


async def test_a_missing_cookie_looks_like_a_node_that_is_down(bitcoind: Bitcoind, tmp_path: Path) -> None:
    rpc = RpcClient(bitcoind.rpc_url, CookieFile(tmp_path / "nowhere"))
    try:
        with pytest.raises(NodeUnreachableError, match=r"no cookie file .*nowhere: is bitcoind running"):
            await rpc.call("getblockcount")
    finally:
        await rpc.close()


async def test_an_unreadable_cookie_is_a_matter_of_rights(bitcoind: Bitcoind, tmp_path: Path) -> None:
    rpc = RpcClient(bitcoind.rpc_url, CookieFile(tmp_path))  # a folder
    try:
        with pytest.raises(UnauthorizedError, match="cannot read the cookie file"):
            await rpc.call("getblockcount")
    finally:
        await rpc.close()


async def test_a_node_warming_up_is_waited_for(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    rpc = node_of(proxy).rpc
    proxy.fail("*", refuse(-28, "Loading block index..."), times=4)

    with pytest.raises(NodeWarmingUpError, match="warming up: Loading block index"):
        await rpc.call("getblockcount")
    with pytest.raises(NodeWarmingUpError):
        await rpc.batch([("getblockcount",)], decode=int)
    await rpc.wait_until_ready(10)

    assert await rpc.call("getblockcount") == 0


async def test_waiting_for_a_node_has_an_end(bitcoind: Bitcoind, node_of: MakeNode) -> None:
    rpc = node_of(bitcoind).rpc
    bitcoind.kill()

    with pytest.raises(NodeUnreachableError, match="cannot connect"):
        await rpc.wait_until_ready(0.5)


async def test_only_a_call_with_a_budget_is_tried_again(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    rpc = node_of(proxy).rpc
    proxy.fail("getblockcount", drop, times=2)
    with pytest.raises(NodeUnreachableError, match="connection lost before the answer"):
        await rpc.call("getblockcount")
    assert proxy.seen == ["getblockcount"]

    assert await rpc.call("getblockcount", retry_s=5.0) == 0
    assert len(proxy.seen) == 3


async def test_an_answer_lost_on_its_way_is_an_error_not_a_success(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("getblockcount", drop_after)

    with pytest.raises(NodeUnreachableError):
        await node_of(proxy).rpc.call("getblockcount")


async def test_a_node_that_hangs_costs_no_more_than_the_limit(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("getblockcount", hang)

    with pytest.raises(RpcTimeoutError, match=r"no answer within 0.2 s"):
        await node_of(proxy).rpc.call("getblockcount", timeout_s=0.2)


@pytest.mark.parametrize(
    ("text", "status", "error", "words"),
    [
        ("<html>hello</html>", 200, BadAnswerError, "not JSON-RPC"),
        ("<html>hello</html>", 502, BadAnswerError, "HTTP status 502"),
        ('{"result": 1, "error": "no", "id": 1}', 200, BadAnswerError, "not JSON-RPC"),
        ("\x00\x01", 500, BadAnswerError, "not JSON-RPC"),
        ("", 403, UnauthorizedError, "rpcallowip and rpcwhitelist"),
        ("Work queue depth exceeded", 503, NodeUnreachableError, "rpcworkqueue"),
    ],
)
async def test_answers_no_node_should_give_are_told_apart(
    text: str,
    status: int,
    error: type[Exception],
    words: str,
    bitcoind: Bitcoind,
    proxy_of: MakeProxy,
    node_of: MakeNode,
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("*", answer(text, status))
    rpc = node_of(proxy).rpc

    with pytest.raises(error, match=words):
        await rpc.call("getblockcount")
    with pytest.raises(error):
        await rpc.batch([("getblockcount",), ("getblockcount",)], decode=int)


async def test_a_batch_refused_as_a_whole_is_an_error(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail(
        "*",
        answer('{"result": null, "error": {"code": -32700, "message": "Top-level object parse error"}}', 500),
    )

    with pytest.raises(RpcRefusedError, match="Top-level object parse error"):
        await node_of(proxy).rpc.batch([("getblockcount",)], decode=int)


async def test_a_batch_with_an_answer_missing_is_an_error(
    bitcoind: Bitcoind, proxy_of: MakeProxy, node_of: MakeNode
) -> None:
    proxy = await proxy_of(bitcoind)
    proxy.fail("*", answer("[]"))

    with pytest.raises(BadAnswerError, match="one call was not answered"):
        await node_of(proxy).rpc.batch([("getblockcount",)], decode=int)


def test_waits_double_to_the_cap_with_jitter_that_never_exceeds_it() -> None:
    backoff = Backoff(0.1, 2.0)
    waits = [backoff.next_s() for _ in range(10)]

    for wait, full in zip(waits, [0.1, 0.2, 0.4, 0.8, 1.6, 2.0, 2.0, 2.0, 2.0, 2.0], strict=True):
        assert full * 2 / 3 <= wait <= full
    backoff.reset()
    assert backoff.next_s() <= 0.1


def test_a_hash_is_turned_to_internal_order_and_anything_else_refused() -> None:
    assert internal_hash("01" + "00" * 31) == bytes(31) + b"\x01"
    for wrong in ("", "zz" * 32, "00" * 31):
        with pytest.raises(BadAnswerError, match="is not a block hash"):
            internal_hash(wrong)
