"""The rules of a port: what a session may ask for, and how long it may take."""

from dataclasses import dataclass

from miner.stratum.v1 import LEAST_DIFFICULTY, MOST_DIFFICULTY
from miner.work.job import DEFAULT_VERSION_MASK


@dataclass(frozen=True, slots=True)
class PortRules:
    """What holds for every session of one listening port.

    Difficulties: 0 as the least is no floor, 0 as the most is the network's own; start = least = most fixes it, `vardiff`
    False leaves each session what it starts with. `line_limit` is in bytes, `lines_before_login` in all; `held_limit` are the bytes kept while a login waits for the
    node's word, `workers_limit` the user names that one connection may log in. An `idle_timeout_s` of 0 is none.
    """

    start_difficulty: float = 1.0
    min_difficulty: float = 0.0
    max_difficulty: float = 0.0
    target_shares_per_minute: float = 12.0
    vardiff: bool = True
    version_mask: int = DEFAULT_VERSION_MASK
    extranonce2_size: int = 8
    line_limit: int = 16_384
    lines_before_login: int = 100
    held_limit: int = 65_536
    workers_limit: int = 32
    login_timeout_s: float = 60.0
    idle_timeout_s: float = 3600.0

    def limits(self, wanted_floor: float, network: float) -> tuple[float, float]:
        """The least and the most difficulty of a session that asks for a floor while a block has the difficulty `network`.

        Never more than a block's, then never more than the port's, then never less than either floor.
        """
        ceiling = min(self.max_difficulty or MOST_DIFFICULTY, network, MOST_DIFFICULTY)
        return min(max(self.min_difficulty, wanted_floor, LEAST_DIFFICULTY), ceiling), ceiling
