"""What a configuration says of the outer world, as objects: nodes and pools with their logins."""

from miner.config import BitcoindConfig, Config
from miner.node.nodes import Node, NodeSet
from miner.node.rpc import CookieFile, Credentials, RpcClient, UserPassword
from miner.stratum.client import PoolSettings
from miner.stratum.pool_events import PoolLogin


def node_set(config: Config) -> NodeSet:
    """The configured bitcoinds, nothing asked of them yet; none where there is only a pool."""
    return NodeSet([_node(node) for node in config.bitcoind], config.network)


def pool_settings(config: Config, version: str) -> list[PoolSettings]:
    """The configured pools as their clients take them, in order of preference; `version` is that of this program."""
    return [
        PoolSettings(
            name=pool.label,
            address=pool.address,
            login=PoolLogin(
                user=pool.user,
                password=pool.secret,
                agent=f"hashmill/{version}",
                version_mask=pool.version_bits,
                worker_names=pool.worker_names,
            ),
            ca_file=pool.ca_file,
            answer_s=config.upstreams.answer_s,
            no_work_s=pool.no_work_s,
        )
        for pool in config.pool
    ]


def _node(config: BitcoindConfig) -> Node:
    rpc = RpcClient(config.rpc_url, _credentials(config), name=config.label)
    return Node(config.label, rpc, config.zmq_hashblock)


def _credentials(config: BitcoindConfig) -> Credentials:
    if config.cookie_file is not None:
        return CookieFile(config.cookie_file)
    password = config.rpc_password.get_secret_value() if config.rpc_password is not None else ""
    return UserPassword(config.rpc_user or "", password)
