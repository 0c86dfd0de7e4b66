"""What a miner asks of its session beside mining: extensions, difficulties, and what some devices ask out of habit."""

from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

from miner.stratum import fields, v1
from miner.stratum.channel import Channel
from miner.stratum.fields import CallError

_EXTENSIONS: Final = frozenset({"version-rolling", "minimum-difficulty", "subscribe-extranonce", "info"})


class Wishes:
    """What this miner asked for; `WISHES` lists the calls. Each returns its answer, and the lines that follow from it."""

    __slots__ = ("_channel", "hardware", "wants_extranonce")

    def __init__(self, channel: Channel) -> None:
        self._channel = channel
        self.hardware = ""
        """What it says of its hardware (the extension `info`)."""
        self.wants_extranonce = False
        """Whether it takes another extranonce1 without connecting again."""

    def configure(self, request_id: bytes, params: list[Any], now: float) -> bytes:
        """BIP310. What is asked for is said yes or no to, one by one; a mask without a bit in common is a no."""
        asked = fields.parse_configure(params)
        answer: dict[str, Any] = {}
        floor: float | None = None
        for extension in asked.extensions:
            answer[extension] = extension in _EXTENSIONS
            if extension == "version-rolling":
                mask = self._channel.ask_mask(asked.mask)
                answer[extension] = mask != 0
                if mask:
                    answer["version-rolling.mask"] = v1.hex_word(mask)
            elif extension == "minimum-difficulty":
                floor = asked.minimum_difficulty
                answer[extension] = floor is not None
            elif extension == "subscribe-extranonce":
                self.wants_extranonce = True
            elif extension == "info":
                self.hardware = asked.hardware
        said = v1.result(request_id, answer)
        return (
            said if floor is None else said + self._changed(self._channel.pace.raise_floor(floor, now), now)
        )

    def subscribe_extranonce(self, request_id: bytes, _params: list[Any], _now: float) -> bytes:
        """It takes mining.set_extranonce."""
        self.wants_extranonce = True
        return v1.result(request_id, value=True)

    def suggest_difficulty(self, request_id: bytes, params: list[Any], now: float) -> bytes:
        """It would like shares of this difficulty."""
        return self._suggest(request_id, fields.parse_difficulty(params), now)

    def suggest_target(self, request_id: bytes, params: list[Any], now: float) -> bytes:
        """The same, said as a target."""
        return self._suggest(request_id, fields.parse_target(params), now)

    def _suggest(self, request_id: bytes, difficulty: float, now: float) -> bytes:
        return v1.result(request_id, value=True) + self._changed(
            self._channel.pace.suggest(difficulty, now), now
        )

    def _changed(self, difficulty: float | None, now: float) -> bytes:
        return b"" if difficulty is None else self._channel.change(difficulty, now)

    def multi_version(self, request_id: bytes, _params: list[Any], _now: float) -> bytes:
        """An older way to roll versions, of Bitmain; without mining.set_version the miner does not."""
        return v1.result(request_id, value=True)

    def get_transactions(self, _request_id: bytes, _params: list[Any], _now: float) -> bytes:
        """It would like to see what is in the block. Raises CallError."""
        raise CallError(v1.OTHER, "Transactions are not given out")

    def ping(self, request_id: bytes, _params: list[Any], _now: float) -> bytes:
        """It wants to hear of us."""
        return v1.result(request_id, "pong")


WISHES: Final[Mapping[str, Callable[[Wishes, bytes, list[Any], float], bytes]]] = MappingProxyType(
    {
        "mining.configure": Wishes.configure,
        "mining.suggest_difficulty": Wishes.suggest_difficulty,
        "mining.suggest_target": Wishes.suggest_target,
        "mining.extranonce.subscribe": Wishes.subscribe_extranonce,
        "mining.multi_version": Wishes.multi_version,
        "mining.get_transactions": Wishes.get_transactions,
        "mining.ping": Wishes.ping,
    }
)
"""Every such call, by its method."""
