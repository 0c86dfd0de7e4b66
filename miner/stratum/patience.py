"""How long a connection may take: to log in, and then until it is heard of again."""

from miner.stratum.house import Closing
from miner.stratum.rules import PortRules


class Patience:
    """Looks at every tick whether a session has been silent for too long.

    `now` is unix seconds, and may be set: what was heard is known by it alone, so that hearing costs nothing more. `uptime` is
    seconds of a clock that nobody sets: a day that passes in a moment makes no session idle, nor a login late.
    """

    __slots__ = ("_heard_at", "_quiet_since", "_rules", "_started_at", "_ticked_at")

    def __init__(self, rules: PortRules, uptime: float) -> None:
        self._rules = rules
        self._started_at = self._ticked_at = self._quiet_since = uptime
        self._heard_at: float | None = None

    def tick(self, heard_at: float, now: float, uptime: float, *, is_mining: bool) -> Closing:
        """Why the connection is to be closed, STAY if it need not be; `heard_at` is the last time (unix seconds) it said anything."""
        if heard_at != self._heard_at:  # since the last tick
            self._heard_at, self._quiet_since = heard_at, self._ticked_at
        self._ticked_at = uptime
        if not is_mining:
            late = uptime - self._started_at >= self._rules.login_timeout_s
            return Closing.LOGIN_TIMEOUT if late else Closing.STAY
        # Each is too long where its clock was set, or ticks are rare; never are both.
        silent_s = min(now - heard_at, uptime - self._quiet_since)
        return Closing.IDLE if 0 < self._rules.idle_timeout_s <= silent_s else Closing.STAY
