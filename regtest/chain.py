"""What a test does with a node's wallet and chain: addresses, spendable coins, transactions of known fees.

Amounts are satoshi; hashes are hex in display order, as the node's RPC has them.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final, Literal, get_args

if TYPE_CHECKING:
    from collections.abc import Sequence

    from regtest.bitcoind import Bitcoind

AddressKind = Literal["legacy", "p2sh-segwit", "bech32", "p2wsh", "bech32m"]
ADDRESS_KINDS: Final[tuple[AddressKind, ...]] = get_args(AddressKind)
COINBASE_MATURITY: Final = 100
MINING_TRIES: Final = 2**31 - 1
SAT_PER_BTC: Final = 100_000_000


@dataclass(frozen=True, slots=True)
class Coin:
    """An unspent output the wallet can spend now."""

    txid: str
    vout: int
    amount_sat: int


@dataclass(frozen=True, slots=True)
class Sent:
    """A transaction in the mempool, and the fee it pays."""

    txid: str
    fee_sat: int


def new_address(node: Bitcoind, kind: AddressKind = "bech32") -> str:
    """A fresh address of the node's wallet: P2PKH, P2SH, P2WPKH, P2WSH or P2TR, in the order of ADDRESS_KINDS."""
    if kind == "p2wsh":
        return _new_p2wsh_address(node)
    address: str = node.rpc("getnewaddress", "", kind)
    return address


def _new_p2wsh_address(node: Bitcoind) -> str:
    """The wallet makes none by itself: import a one-key witness script under its own master key."""
    descriptor: str = node.rpc("listdescriptors", True)["descriptors"][0]["desc"]
    master_key = descriptor.partition("(")[2].rpartition("(")[2].partition("/")[0]
    script = f"wsh(pk({master_key}/99h/{secrets.randbelow(2**31)}))"
    script += "#" + node.rpc("getdescriptorinfo", script)["checksum"]
    (outcome,) = node.rpc("importdescriptors", [{"desc": script, "timestamp": "now"}])
    if not outcome["success"]:
        raise ValueError(f"the wallet refused {script.partition('#')[2]}: {outcome['error']['message']}")
    address: str = node.rpc("deriveaddresses", script)[0]
    return address


def script_of(node: Bitcoind, address: str) -> bytes:
    """The scriptPubKey of `address`, as the node gives it."""
    return bytes.fromhex(node.rpc("validateaddress", address)["scriptPubKey"])


def mine(node: Bitcoind, blocks: int, address: str | None = None) -> list[str]:
    """Mine `blocks` at the node itself and return their hashes; the reward goes to the wallet by default.

    On regtest that is done at once; on the private signet the node's one slow thread takes seconds a block.
    """
    hashes: list[str] = node.rpc("generatetoaddress", blocks, address or new_address(node), MINING_TRIES)
    return hashes


def fund(node: Bitcoind, coins: int) -> None:
    """Give the wallet of a fresh regtest node `coins` spendable coinbases, by mining `coins` + 100 blocks."""
    mine(node, coins + COINBASE_MATURITY)


def spendable_coins(node: Bitcoind) -> list[Coin]:
    """Confirmed and mature outputs of the wallet, the richest first."""
    found = [
        Coin(entry["txid"], entry["vout"], btc_to_sat(entry["amount"]))
        for entry in node.rpc("listunspent", 1)
    ]
    return sorted(found, key=lambda coin: coin.amount_sat, reverse=True)


def spend(node: Bitcoind, coin: Coin, fee_sat: int, address: str | None = None) -> Sent:
    """Send all of `coin` less `fee_sat` to one address, by default a new one of the wallet.

    Raises regtest.jsonrpc.RpcFailure when the node refuses it, e.g. an immature coinbase.
    """
    inputs = [{"txid": coin.txid, "vout": coin.vout}]
    outputs = [{address or new_address(node): sat_to_btc(coin.amount_sat - fee_sat)}]
    unsigned = node.rpc("createrawtransaction", inputs, outputs)
    signed = node.rpc("signrawtransactionwithwallet", unsigned)
    if not signed["complete"]:
        raise ValueError(f"the wallet cannot sign for {coin.txid}:{coin.vout}: {signed['errors']}")
    # No ceiling on the fee: a test may want a block's fees to be worth seeing.
    return Sent(node.rpc("sendrawtransaction", signed["hex"], 0), fee_sat)


def send_transactions(node: Bitcoind, fees_sat: Sequence[int]) -> list[Sent]:
    """Put one transaction for each of `fees_sat` into the mempool, each spending a confirmed coin of its own.

    Raises ValueError if the wallet has fewer coins than that: see `fund`.
    """
    coins = spendable_coins(node)
    if len(coins) < len(fees_sat):
        raise ValueError(
            f"{len(fees_sat)} transactions need as many coins, the wallet has {len(coins)}: fund() more"
        )
    address = new_address(node)
    return [spend(node, coin, fee_sat, address) for coin, fee_sat in zip(coins, fees_sat, strict=False)]


def coinbase_of(node: Bitcoind, block_hash: str) -> Coin:
    """The first output of a block's coinbase, spendable or not yet."""
    coinbase = node.rpc("getblock", block_hash, 2)["tx"][0]
    return Coin(coinbase["txid"], 0, btc_to_sat(coinbase["vout"][0]["value"]))


def btc_to_sat(amount_btc: Any) -> int:
    """Satoshi of an amount as the node's JSON has it, exact for every amount there can be."""
    return round(float(amount_btc) * SAT_PER_BTC)


def sat_to_btc(amount_sat: int) -> str:
    """Amount as the node's RPC takes it without rounding: a decimal string."""
    return f"{amount_sat // SAT_PER_BTC}.{amount_sat % SAT_PER_BTC:08d}"
