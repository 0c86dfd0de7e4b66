"""Rules of [[pool]] and of what stands beside it, and where a pool's password comes from."""

import ssl
from collections.abc import Callable, Iterator
from typing import Any

from miner.config_pool import NO_PASSWORD, PoolConfig
from miner.config_rules import GROUP_AND_OTHERS, Draft, Finding, first_line, readable_file, secret_file
from miner.config_toml import KeyPath

PASSWORD_VARIABLE = "HASHMILL_POOL_PASSWORD"  # noqa: S105 - the name of a variable, no password
# What pools say to write where they ask for no password: a file with it in may be read by anybody.
NO_SECRETS = frozenset({"", NO_PASSWORD, "123"})
SOLO = "solo"


def password_variable(position: int) -> str:
    """Environment variable with the password of the [[pool]] at `position` (from 0): _2 and so on from the second."""
    return PASSWORD_VARIABLE if position == 0 else f"{PASSWORD_VARIABLE}_{position + 1}"


def has_pools(raw: dict[str, Any]) -> bool:
    """Whether there is any [[pool]], however wrong."""
    return bool(raw.get("pool"))


def missing(raw: dict[str, Any]) -> Iterator[Finding]:
    """There is something to mine: a pool, or solo with a node."""
    if SOLO not in raw and not has_pools(raw):
        yield Finding(
            (SOLO,),
            "is missing: [solo] payout_address says where block rewards go, or a [[pool]] with url and user where to mine",
        )
    if raw.get("bitcoind") in (None, []) and (SOLO in raw or not has_pools(raw)):
        beside = "; only with a [[pool]] and without [solo] none is needed" if has_pools(raw) else ""
        yield Finding(
            ("bitcoind",),
            f"is missing: at least one [[bitcoind]] with rpc_url says where your node is{beside}",
        )


def _has_url(draft: Draft, path: KeyPath, written: dict[str, Any]) -> bool:
    """Whether it is known where the pool is."""
    return "url" in written and (*path, "url") not in draft.bad


def names(draft: Draft) -> Iterator[Finding]:
    """Every pool has a name of its own, and none is mined at twice under the same user."""
    labels: dict[str, str] = {}
    logins: dict[tuple[str, str], str] = {}
    for position, (path, pool, written) in enumerate(draft.each("pool")):
        this, known = f"pool[{position + 1}]", _has_url(draft, path, written)
        if not isinstance(pool, PoolConfig) or not (pool.name or known):
            continue
        at = (*path, "name" if written.get("name") else "url")
        if pool.label == SOLO:
            yield Finding(at, '"solo" is the name of mining on the own node: choose another one')
        elif known and (login := (pool.address.place, pool.user)) in logins:
            yield Finding((*path, "url"), f"{logins[login]} is the same pool with the same user: remove one")
        elif pool.label in labels:
            yield Finding(at, f'{labels[pool.label]} is called "{pool.label}" too: give each its own name')
        if known:
            logins.setdefault((pool.address.place, pool.user), this)
        labels.setdefault(pool.label, this)


def passwords(draft: Draft) -> Iterator[Finding]:
    """One password at most for each pool, where others cannot read it."""
    for path, pool, written in draft.each("pool"):
        if not isinstance(pool, PoolConfig):
            continue
        if "password" in written and pool.password_file:
            yield Finding((*path, "password"), "there is a password_file too: keep one of them")
        if pool.secret not in NO_SECRETS and draft.file.stat().st_mode & GROUP_AND_OTHERS:
            yield Finding(
                (*path, "password"),
                f"others can read {draft.file} with this password in it: chmod 600 {draft.file}, or use password_file",
            )
        if pool.password_file:
            at = (*path, "password_file")
            yield from secret_file(at, pool.password_file, GROUP_AND_OTHERS, draft.environ)


def authorities(draft: Draft) -> Iterator[Finding]:
    """A pool's own authority can be read, and there is TLS to verify by it."""
    for path, pool, written in draft.each("pool"):
        if not isinstance(pool, PoolConfig) or pool.ca_file is None:
            continue
        at = (*path, "ca_file")
        if _has_url(draft, path, written) and not pool.address.tls:
            yield Finding(at, "verifies nothing without TLS: write the pool's stratum+tls:// address as url")
        problems = list(readable_file(at, pool.ca_file))
        yield from problems
        if problems:
            continue
        try:
            ssl.create_default_context(cafile=str(pool.ca_file))
        except (ssl.SSLError, ValueError):
            yield Finding(at, f"{pool.ca_file} holds no certificates in PEM")


def payees(draft: Draft) -> Iterator[Finding]:
    """Payees that are addresses have a node to translate them."""
    if draft.raw.get("bitcoind"):
        return
    for path, pool, _ in draft.each("pool"):
        if not isinstance(pool, PoolConfig):
            continue
        for address in pool.payee_addresses:
            yield Finding(
                (*path, "payees", pool.payees.index(address)),
                "only a node knows an address's script: add a [[bitcoind]], or write the script in hexadecimal",
            )


def beside(draft: Draft) -> Iterator[Finding]:
    """What other sections say of pools and of solo is about such as there are."""
    pools, solo = has_pools(draft.raw), draft.sections.get((SOLO,))
    if solo is not None and pools and solo.payout == "worker":
        yield Finding(
            (SOLO, "payout"),
            'blocks pay workers only where everything mines solo: set payout = "operator", or remove [[pool]]',
        )
    if solo is not None and not pools and solo.share != 1 and "share" in draft.raw[SOLO]:
        yield Finding(
            (SOLO, "share"), "everything mines solo without a [[pool]]: add one, or remove this line"
        )
    stratum = draft.sections.get(("stratum",))
    if stratum is not None and not pools and stratum.answers == "pool":
        yield Finding(
            ("stratum", "answers"), 'there is no [[pool]] to wait for: remove this line, or set "own"'
        )
    for path, unit, _ in draft.each("unit"):
        if unit is not None and unit.mines == "pool" and not pools:
            yield Finding((*path, "mines"), "there is no [[pool]]: add one, or remove this line")
        if unit is not None and unit.mines == SOLO and SOLO not in draft.raw:
            yield Finding((*path, "mines"), "there is no [solo]: add it, or remove this line")


def resolve_passwords(draft: Draft) -> None:
    """Put passwords from files and the environment where the model keeps them; the files were found well before."""
    for position, (_, pool, written) in enumerate(draft.each("pool")):
        if "password" in written:
            continue
        if pool.password_file:
            written["password"] = first_line(pool.password_file)
        elif password_variable(position) in draft.environ:
            written["password"] = draft.environ[password_variable(position)]


RULES: tuple[Callable[[Draft], Iterator[Finding]], ...] = (names, passwords, authorities, payees, beside)
