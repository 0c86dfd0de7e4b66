"""What a configuration says of the outer world, as objects: nodes with their logins."""

from miner.config import BitcoindConfig, Config
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import CookieFile, Credentials, RpcClient, UserPassword


def node_set(config: Config) -> NodeSet:
    """The configured bitcoinds, nothing asked of them yet."""
    return NodeSet([_node(node) for node in config.bitcoind], config.network)


def _node(config: BitcoindConfig) -> Node:
    rpc = RpcClient(config.rpc_url, _credentials(config), name=config.label)
    return Node(config.label, rpc, config.zmq_hashblock)


def _credentials(config: BitcoindConfig) -> Credentials:
    if config.cookie_file is not None:
        return CookieFile(config.cookie_file)
    password = config.rpc_password.get_secret_value() if config.rpc_password is not None else ""
    return UserPassword(config.rpc_user or "", password)
