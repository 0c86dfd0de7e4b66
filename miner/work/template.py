"""What a node's getblocktemplate says, decoded, judged, and as far as we need it.

A template is believed only where a mistake would show: target against bits, reward against fees and subsidy,
the witness commitment against the transactions' hashes. All problems of a template are reported together.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import msgspec

from miner.chain.coinbase import COMMITMENT_SCRIPT_START, HALVING_INTERVAL, subsidy_sat
from miner.chain.difficulty import POW_LIMIT, bits_to_target
from miner.chain.merkle import HASH_SIZE, witness_commitment

KNOWN_RULES: Final = frozenset({"csv", "segwit", "taproot", "signet", "testdummy"})
"""Rules we can mine under when the node marks them as mandatory ("!segwit")."""

OP_TRUE_CHALLENGE: Final = "51"

MINIMUM_DIFFICULTY_NETWORKS: Final = frozenset({"test", "testnet4"})
"""There a block whose time is twenty minutes after the one before it has the least difficulty, and must say so."""


class TemplateError(Exception):
    """A template that must not be mined; `problems` holds every reason."""

    def __init__(self, problems: Sequence[str]) -> None:
        super().__init__("; ".join(problems))
        self.problems = tuple(problems)


class SignetChallengeError(TemplateError):
    """The signet asks for signatures; only one whose challenge is OP_TRUE can be mined here."""


class TransactionReply(msgspec.Struct, frozen=True):
    """A transaction as getblocktemplate gives it: `data` raw hex, hashes in display order, `fee` satoshi."""

    data: str
    txid: str
    hash: str
    fee: int


class TemplateReply(msgspec.Struct, frozen=True):
    """The result of getblocktemplate under the node's own names; fields we do not use are skipped.

    Hex and hashes in display order, `coinbasevalue` in satoshi, times in unix seconds.
    """

    version: int
    previousblockhash: str
    transactions: tuple[TransactionReply, ...]
    coinbasevalue: int
    longpollid: str
    target: str
    mintime: int
    curtime: int
    bits: str
    height: int
    rules: tuple[str, ...] = ()
    default_witness_commitment: str | None = None
    signet_challenge: str | None = None


@dataclass(frozen=True, slots=True)
class TemplateTx:
    """One transaction to be mined: hashes in internal order, `raw` with its witness."""

    txid: bytes
    wtxid: bytes
    raw: bytes
    fee_sat: int


@dataclass(frozen=True, slots=True)
class Template:
    """A block to be mined on `prev_hash`; transactions in the node's order, which respects dependencies.

    `version` is unsigned; `witness_commitment` is the 32 bytes of BIP141, None where segwit is not active.
    `time_sets_bits`: the bits hold for `cur_time_s` and may be wrong for another time.
    """

    height: int
    version: int
    prev_hash: bytes
    bits: int
    min_time_s: int
    cur_time_s: int
    reward_sat: int
    txs: tuple[TemplateTx, ...]
    witness_commitment: bytes | None
    longpoll_id: str
    time_sets_bits: bool = False

    @property
    def fees_sat(self) -> int:
        """Fees of all transactions, in satoshi; part of `reward_sat`."""
        return sum(tx.fee_sat for tx in self.txs)


_reply_decoder = msgspec.json.Decoder(TemplateReply)


def template_request(network: str) -> dict[str, object]:
    """The argument of getblocktemplate that asks for a template on `network`."""
    return {"rules": ["segwit", "signet"] if network == "signet" else ["segwit"]}


def decode_template(raw_json_result: bytes | msgspec.Raw) -> TemplateReply:
    """The reply from the JSON of an RPC result. Raises TemplateError for JSON of another shape."""
    try:
        return _reply_decoder.decode(raw_json_result)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        raise TemplateError([f"not a block template: {error}"]) from error


def parse_template(reply: TemplateReply, network: str, before: Template | None = None) -> Template:
    """The template in `reply`, judged by the rules of `network`.

    Transactions that the template `before` has too are taken from it: most stay from one template to the next, and
    many jobs are kept, whose full blocks would fill the memory with copies of the same bytes.
    The node's txids are believed, not recomputed: bitcoind checks the block built on them. Raises
    TemplateError, or SignetChallengeError, with every problem found; KeyError for an unknown network.
    """
    problems: list[str] = []
    prev_hash = _hash(reply.previousblockhash, "previousblockhash", problems)
    known = {tx.wtxid: tx for tx in before.txs} if before is not None else {}
    txs = tuple(_transaction(tx, number, problems, known) for number, tx in enumerate(reply.transactions))
    bits = _bits(reply, network, problems)
    problems += _rule_problems(reply, network)
    problems += _number_problems(reply, network)
    commitment = _commitment(reply, txs, problems)
    if reply.signet_challenge not in {None, OP_TRUE_CHALLENGE}:
        challenge = (
            f"signet challenge {reply.signet_challenge} needs signatures, only 51 (OP_TRUE) is minable"
        )
        raise SignetChallengeError([challenge, *problems])
    if problems:
        raise TemplateError(problems)
    return Template(
        height=reply.height,
        version=reply.version & 0xFFFF_FFFF,
        prev_hash=prev_hash,
        bits=bits,
        min_time_s=reply.mintime,
        cur_time_s=reply.curtime,
        reward_sat=reply.coinbasevalue,
        txs=txs,
        witness_commitment=commitment,
        longpoll_id=reply.longpollid,
        time_sets_bits=network in MINIMUM_DIFFICULTY_NETWORKS,
    )


def _transaction(
    tx: TransactionReply, number: int, problems: list[str], known: Mapping[bytes, TemplateTx]
) -> TemplateTx:
    name = f"transaction {number}"
    wtxid, txid = _hash(tx.hash, f"{name}: hash", problems), _hash(tx.txid, f"{name}: txid", problems)
    same = known.get(wtxid)
    if same is not None and (same.txid, same.fee_sat, 2 * len(same.raw)) == (txid, tx.fee, len(tx.data)):
        return same
    try:
        raw = bytes.fromhex(tx.data)
    except ValueError:
        raw = b""
    if not raw:
        problems.append(f"{name}: data is not hex")
    if tx.fee < 0:
        problems.append(f"{name}: fee of {tx.fee} satoshi")
    return TemplateTx(
        txid=txid,
        wtxid=wtxid,
        raw=raw,
        fee_sat=tx.fee,
    )


def _hash(display_hex: str, name: str, problems: list[str]) -> bytes:
    """Hash in internal order; a problem, and zeros, for what is not 32 bytes of hex."""
    try:
        digest = bytes.fromhex(display_hex)
    except ValueError:
        digest = b""
    if len(digest) != HASH_SIZE:
        problems.append(f"{name} {display_hex!r} is not a hash")
        return bytes(HASH_SIZE)
    return digest[::-1]


def _bits(reply: TemplateReply, network: str, problems: list[str]) -> int:
    try:
        bits = int(reply.bits, 16)
        target = bits_to_target(bits)
        stated = int(reply.target, 16)
    except ValueError as error:
        problems.append(f"bits {reply.bits!r} or target {reply.target!r}: {error}")
        return 0
    if stated != target:
        problems.append(f"target {reply.target} is not what bits {reply.bits} mean")
    if target > POW_LIMIT[network]:
        problems.append(f"bits {reply.bits} are easier than {network} allows: is the node on another chain?")
    return bits


def _rule_problems(reply: TemplateReply, network: str) -> Iterator[str]:
    for rule in reply.rules:
        if rule.startswith("!") and rule[1:] not in KNOWN_RULES:
            yield f"the node demands rule {rule[1:]!r}, which is unknown here"
    if network == "signet" and reply.default_witness_commitment is None:
        yield "a signet block needs a witness commitment, and the template has none"


def _number_problems(reply: TemplateReply, network: str) -> Iterator[str]:
    if not -(2**31) <= reply.version < 2**32:
        yield f"version {reply.version} has more than 32 bits"
    if not 0 <= reply.mintime <= reply.curtime < 2**32:
        yield f"curtime {reply.curtime} and mintime {reply.mintime} do not go together"
    if reply.height < 1:
        yield f"height {reply.height} cannot be mined"
        return
    fees_sat = sum(tx.fee for tx in reply.transactions)
    allowed_sat = fees_sat + subsidy_sat(reply.height, HALVING_INTERVAL[network])
    if not fees_sat <= reply.coinbasevalue <= allowed_sat:
        yield (
            f"coinbasevalue {reply.coinbasevalue} is not between the fees ({fees_sat}) "
            f"and fees with subsidy ({allowed_sat})"
        )


def _commitment(reply: TemplateReply, txs: Sequence[TemplateTx], problems: list[str]) -> bytes | None:
    """Commitment computed from the transactions' hashes, compared with the node's own."""
    if reply.default_witness_commitment is None:
        if any(tx.wtxid != tx.txid for tx in txs):
            problems.append("transactions have witnesses, but the template has no witness commitment")
        return None
    commitment = witness_commitment([tx.wtxid for tx in txs])
    computed = (COMMITMENT_SCRIPT_START + commitment).hex()
    if reply.default_witness_commitment.lower() != computed:
        problems.append(
            f"witness commitment {reply.default_witness_commitment} is not {computed}, "
            "which follows from the transactions"
        )
    return commitment
