"""What the configuration says of nodes and pools, as what speaks with them wants it."""

import hmac
from collections.abc import Callable
from typing import Any

import pytest

from miner.config import Config
from miner.node.rpc import CookieFile, UnauthorizedError, UserPassword
from miner.site import node_set, pool_settings
from miner.stratum.pool_events import PoolLogin
from regtest.bitcoind import Bitcoind
from tests.miner.harness import ADDRESS


def config_of(*nodes: dict[str, Any], network: str = "regtest") -> Config:
    return Config.model_validate(
        {"network": network, "bitcoind": list(nodes), "solo": {"payout_address": ADDRESS}}
    )


def credentials(config: Config) -> list[Any]:
    return [node.rpc._credentials for node in node_set(config)]


def test_nodes_keep_their_order_their_names_and_the_network() -> None:
    config = config_of(
        {"rpc_url": "http://127.0.0.1:8332", "cookie_file": "/c"},
        {"rpc_url": "http://10.0.0.2:8332", "cookie_file": "/d", "name": "spare"},
        network="main",
    )
    nodes = node_set(config)
    assert [node.name for node in nodes] == ["127.0.0.1:8332", "spare"]
    assert [node.rpc.name for node in nodes] == ["127.0.0.1:8332", "spare"]
    assert nodes.network == "main"
    assert nodes.needs_sync


def test_nothing_is_known_of_a_node_before_it_is_asked() -> None:
    (node,) = node_set(config_of({"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c"}))
    assert (node.up, node.synced, node.tip) == (None, None, None)


def test_only_a_node_with_a_zmq_address_is_listened_to() -> None:
    config = config_of(
        {"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c", "zmq_hashblock": "tcp://127.0.0.1:28332"},
        {"rpc_url": "http://127.0.0.1:2", "cookie_file": "/c"},
    )
    assert [node.zmq_hashblock for node in node_set(config)] == ["tcp://127.0.0.1:28332", None]


def test_a_login_is_by_cookie_or_by_password() -> None:
    config = config_of(
        {"rpc_url": "http://127.0.0.1:1", "cookie_file": "/c/.cookie"},
        {"rpc_url": "http://127.0.0.1:2", "rpc_user": "me", "rpc_password": "secret"},
    )
    cookie, password = credentials(config)
    assert isinstance(cookie, CookieFile)
    assert str(cookie.path) == "/c/.cookie"
    assert password == UserPassword("me", "secret")
    assert "secret" not in repr(password)


@pytest.mark.bitcoind
@pytest.mark.parametrize(("password", "let_in"), [("hunter2", True), ("hunter3", False)])
async def test_a_real_node_lets_in_who_knows_its_password(
    password: str, *, let_in: bool, bitcoind_factory: Callable[..., Bitcoind]
) -> None:
    # As bitcoind's share/rpcauth makes it: salt, and HMAC-SHA256 of "hunter2" under it.
    salted = f"abcd${hmac.new(b'abcd', b'hunter2', 'sha256').hexdigest()}"
    bitcoind = bitcoind_factory(wallet=False, zmq=False, extra=[f"-rpcauth=me:{salted}"])
    nodes = node_set(config_of({"rpc_url": bitcoind.rpc_url, "rpc_user": "me", "rpc_password": password}))
    (node,) = nodes
    try:
        if let_in:
            assert await node.rpc.call("getblockcount") == 0
        else:
            with pytest.raises(UnauthorizedError):
                await node.rpc.call("getblockcount")
    finally:
        await nodes.close()


def test_pools_keep_their_order_and_get_what_is_configured() -> None:
    config = Config.model_validate(
        {
            "network": "main",
            "pool": [
                {
                    "url": "stratum+tls://a.example:443",
                    "user": "me",
                    "ca_file": "/ca.pem",
                    "worker_names": True,
                },
                {
                    "url": "stratum+tcp://b.example:3333",
                    "user": "you",
                    "password": "secret",
                    "name": "spare",
                    "no_work_s": 30.0,
                    "version_mask": "00ffe000",
                },
            ],
            "upstreams": {"answer_s": 5.0},
        }
    )
    first, second = pool_settings(config, "1.2")
    assert (first.name, first.address.tls, str(first.ca_file)) == ("a.example:443", True, "/ca.pem")
    assert first.login.worker_names
    assert first.login.password == "x"
    assert (second.name, second.answer_s, second.no_work_s) == ("spare", 5.0, 30.0)
    assert second.login == PoolLogin("you", "secret", "hashmill/1.2", 0x00FFE000)
    assert "secret" not in repr(second)


def test_there_may_be_no_node_beside_a_pool() -> None:
    pool = {"url": "stratum+tcp://a.example:3333", "user": "me"}
    assert len(node_set(Config.model_validate({"network": "main", "pool": [pool]}))) == 0
