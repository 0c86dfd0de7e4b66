"""Who may mine here: names become units, in payout mode "worker" after the node has said what their address pays to."""

from collections.abc import Callable
from typing import Protocol

from miner.payouts import Payee, PayoutRefused
from miner.stratum.house import Granted, Refused, Waiting
from miner.stratum.limits import ConnectionLimits
from miner.stratum.v1 import OTHER, UNAUTHORIZED
from miner.work.roster import Roster, RosterError


class Payouts(Protocol):
    """Knows whom a user name's blocks pay, as `miner.payouts.PayoutBook`."""

    def known(self, name: str, /) -> Payee | PayoutRefused | None:
        """The answer if no node need be asked."""
        ...

    async def resolve(self, name: str, /) -> Payee | PayoutRefused:
        """The answer, asked of the nodes; within a time limit of its own."""
        ...


class Logins:
    """Grants and refuses logins; `address` is the `limit_key` a login comes from.

    `payouts` None: every block pays the operator, and any name will do. `refusal()` says why nobody may log in at
    present. A refused miner is sent away: it goes to its next pool, where an idle connection would keep it.
    """

    def __init__(
        self,
        roster: Roster,
        limits: ConnectionLimits,
        *,
        payouts: Payouts | None,
        refusal: Callable[[], str],
    ) -> None:
        self._roster = roster
        self._limits = limits
        self._payouts = payouts
        self._refusal = refusal

    def login(self, name: str, address: str, now: float) -> Granted | Refused | Waiting:
        """Whether a worker of this name may mine here; Waiting: `ask` first, then `decide`."""
        refused = self._refused_at_present(name)
        if refused is not None:
            return refused
        if name not in self._roster and self._limits.is_throttled(address, now):
            return Refused(UNAUTHORIZED, "too many failed logins: wait a minute", close=True)
        if self._payouts is None:
            return self._admit(name, None, address, now)
        answer = self._payouts.known(name)
        return Waiting() if answer is None else self._answered(name, answer, address, now)

    async def ask(self, name: str) -> Payee | PayoutRefused | None:
        """Whom the name pays, asked of the nodes; None where every block pays the operator."""
        return None if self._payouts is None else await self._payouts.resolve(name)

    def decide(
        self, name: str, answer: Payee | PayoutRefused | None, address: str, now: float
    ) -> Granted | Refused:
        """The outcome of a login that was Waiting, with the answer of `ask`."""
        refused = self._refused_at_present(name)
        if refused is not None:
            return refused
        if answer is None:
            return self._admit(name, None, address, now)
        return self._answered(name, answer, address, now)

    def _refused_at_present(self, name: str) -> Refused | None:
        """Why this name may not mine now, though it may at another time."""
        refusal = self._refusal()
        if refusal:
            return Refused(OTHER, refusal, close=True)
        unit = self._roster.named(name)
        if unit is not None and unit.gate_reason:
            return Refused(UNAUTHORIZED, unit.gate_reason, close=True)
        return None

    def _answered(
        self, name: str, answer: Payee | PayoutRefused, address: str, now: float
    ) -> Granted | Refused:
        match answer:
            case Payee(script=script):
                return self._admit(name, script, address, now)
            case PayoutRefused(why=why, temporary=temporary):
                if not temporary:
                    self._limits.login_failed(address, now)
                return Refused(OTHER if temporary else UNAUTHORIZED, why, close=True)

    def _admit(self, name: str, script: bytes | None, address: str, now: float) -> Granted | Refused:
        try:
            return Granted(self._roster.login(name, now), script)
        except RosterError as error:
            self._limits.login_failed(address, now)
            return Refused(UNAUTHORIZED, str(error), close=True)
