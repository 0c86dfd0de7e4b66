"""What a tick was decided from, as the journal keeps it: exact, small, and readable again; pure.

Kept are the snapshot and the configuration. The decisions before, which are the memory, stand in the journal themselves: only
their times are noted. What seldom changes is kept once and named by its digest: configuration and units together, and long series
(a day-ahead price list) without the times they were seen at, with what was learned of the power price; and a fitted model.
"""

from __future__ import annotations

import hashlib
import zlib
from dataclasses import dataclass, field, fields, replace
from itertools import chain
from operator import is_
from typing import TYPE_CHECKING, Any, Final

import msgspec

from controller.forecast import TypicalDay
from controller.inputs_codec import CodecError, pack, pack_column, unpack, unpack_column
from controller.inputs_example import EXAMPLE
from controller.model import Model
from controller.recent import Recent
from controller.snapshot import Snapshot

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from controller.decisions import Decision
    from controller.ticks import Tick
    from controller.units import Unit

FORMAT: Final = 1
"""How documents are laid out. Classes that get other fields are noticed by themselves and need no new number."""
LONG: Final = 8
"""A series with more ticks than this is kept apart, since it is the same on most ticks."""
DIGEST_BYTES: Final = 8
_PARTS_KNOWN: Final = 8


class InputsError(ValueError):
    """A document that this version cannot read; the message says why."""


@dataclass(frozen=True, slots=True)
class Part:
    """Bytes that many documents share, compressed, by the digest of what they hold."""

    digest: str
    body: bytes


@dataclass(frozen=True, slots=True)
class Inputs:
    """All that the decisions of one tick were made from, as it is kept; `at` is the tick's time (UTC unix seconds).

    `format` is the layout's number, `program` what the journal calls the code that decided. `series` is None where there are no long
    series and nothing was learned, `model` where there is no fitted one.
    """

    at: float
    config: Part
    series: Part | None
    body: bytes
    format: int = FORMAT
    program: str = ""
    model: Part | None = None


@dataclass(frozen=True, slots=True)
class Recorded:
    """Inputs read back. `last_at`: by unit the time of the decision it remembered; a unit without one is absent."""

    snapshot: Snapshot
    config: Any
    last_at: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class Recalled:
    """What a controller that starts again goes on from.

    `ticks` and `refused` are the book's, `owners` the source that owns each series by name; `starting_prices` are those of the
    last plan, for the next snapshot; `typical_day` and `recent` are what the last tick saw, before it learned.
    """

    at: float
    ticks: Mapping[str, tuple[Tick, ...]]
    refused: Mapping[str, str]
    owners: Mapping[str, str]
    starting_prices: tuple[tuple[float, float], ...]
    typical_day: TypicalDay
    recent: Recent


class Scribe:
    """Writes down inputs tick by tick; what did not change since the last ones is not told again."""

    def __init__(self) -> None:
        self._units: tuple[Unit, ...] = ()
        self._config: Any = None
        self._config_part: Part | None = None
        self._model: Model | None = None
        self._model_part: Part | None = None
        self._long: dict[str, list[Tick]] = {}
        self._learned = _Learned()
        self._series_part: Part | None = None

    def record(
        self,
        snapshot: Snapshot,
        last: Mapping[str, Decision],
        config: Any,
        owners: Mapping[str, str],
        next_prices: tuple[tuple[float, float], ...] | None = None,
    ) -> Inputs:
        """The inputs of the decisions made from these, and what the next tick goes on from.

        `owners` names the source that owns each series; `next_prices` are the starting prices of the next snapshot, None for those of
        this one.
        Raises CodecError for a value nobody can read back: a fault of this program.
        """
        ids = [unit.id for unit in snapshot.units]
        long = {series: ticks for series, ticks in snapshot.ticks.items() if len(ticks) > LONG}
        learned = _Learned(snapshot.typical_day, snapshot.recent)
        skips = self._keep_series(long, learned)
        others = {
            each.name: pack(getattr(snapshot, each.name))
            for each in fields(Snapshot)
            if each.name not in _APART
        }
        body = {
            "snapshot": others,
            "ticks": {
                "series": [[series, len(ticks)] for series, ticks in snapshot.ticks.items()],
                "short": pack_column(
                    list(chain.from_iterable(t for s, t in snapshot.ticks.items() if s not in long))
                ),
                "long": {
                    series: [skips[series], pack_column([tick.observed_at for tick in ticks])]
                    for series, ticks in long.items()
                },
            },
            "states": _pack_states(snapshot, ids),
            "last_at": pack_column([last[each].at if each in last else None for each in ids]),
            "owners": pack(dict(owners)),
            "next_prices": pack(next_prices),
        }
        return Inputs(
            at=snapshot.at,
            config=self._keep_config(snapshot.units, config),
            series=self._series_part if long or learned else None,
            body=_packed(body),
            model=self._model_part,
        )

    def _keep_config(self, units: tuple[Unit, ...], config: Any) -> Part:
        same = len(units) == len(self._units) and all(map(is_, units, self._units))
        if self._config_part is None or config is not self._config or not same:
            told, model = _without_model(config)
            if model is None or self._model is None or model.digest != self._model.digest:
                self._model, self._model_part = model, None if model is None else _part(model.data)
            self._config_part = _part({"config": pack(told), "units": pack(units)})
            self._units, self._config = units, config
        return self._config_part

    def _keep_series(self, long: Mapping[str, Sequence[Tick]], learned: _Learned) -> dict[str, int]:
        """Have the long series and what was learned in the part; returns where in it each series begins.

        Series that only lost their first ticks are there already.
        """
        facts = {series: [replace(tick, observed_at=0.0) for tick in ticks] for series, ticks in long.items()}
        skips = {series: _place(told, self._long.get(series, ())) for series, told in facts.items()}
        if None not in skips.values() and learned.is_still(self._learned):
            return {series: skip for series, skip in skips.items() if skip is not None}
        self._long, self._learned = facts, learned
        told = {series: pack_column(ticks) for series, ticks in facts.items()}
        self._series_part = _part(told | learned.told())
        return dict.fromkeys(facts, 0)


class InputsReader:
    """Reads inputs of one tick after the other; what they have in common is read once."""

    def __init__(self) -> None:
        self._parts: dict[str, Any] = {}

    def read(self, inputs: Inputs) -> Recorded:
        """The inputs as they were. Raises InputsError for a document of another layout, of other classes, or damaged."""
        body = _opened(inputs)
        try:
            units, config = self._known(inputs.config, _settings)
            if inputs.model is not None:
                config = _with_model(config, self._known(inputs.model, Model))
            series, learned = _NO_SERIES if inputs.series is None else self._known(inputs.series, _series)
            ids = [unit.id for unit in units]
            told = {name: unpack(plain) for name, plain in body["snapshot"].items()}
            told |= {
                "ticks": _ticks(body["ticks"], series),
                "units": units,
                "states": _states(body["states"], ids),
                "typical_day": learned.typical_day,
                "recent": learned.recent,
            }
            known = {each.name for each in fields(Snapshot)}
            if known != told.keys():
                differing = ", ".join(sorted(known ^ told.keys()))
                raise CodecError(f"a snapshot has other fields in this version: {differing}")
            remembered = zip(ids, unpack_column(body["last_at"]), strict=True)
            return Recorded(
                snapshot=Snapshot(**told),
                config=config,
                last_at={unit_id: at for unit_id, at in remembered if at is not None},
            )
        except _UNREADABLE as error:
            raise InputsError(_why(inputs, error)) from error

    def _known(self, part: Part, understand: Callable[[Any], Any]) -> Any:
        if part.digest not in self._parts:
            if len(self._parts) >= _PARTS_KNOWN:
                self._parts.clear()
            self._parts[part.digest] = understand(_whole(part))
        return self._parts[part.digest]


def recall(inputs: Inputs) -> Recalled:
    """What to go on from after a start; units and configuration may be others by now. Raises InputsError."""
    body = _opened(inputs)
    try:
        snapshot = body["snapshot"]
        next_prices = unpack(body["next_prices"])
        series, learned = _NO_SERIES if inputs.series is None else _series(_whole(inputs.series))
        return Recalled(
            at=inputs.at,
            ticks=_ticks(body["ticks"], series),
            refused=unpack(snapshot["refused"]),
            owners=unpack(body["owners"]),
            starting_prices=unpack(snapshot["starting_prices"]) if next_prices is None else next_prices,
            typical_day=learned.typical_day,
            recent=learned.recent,
        )
    except _UNREADABLE as error:
        raise InputsError(_why(inputs, error)) from error


# --- parts of a document ------------------------------------------------------------------------------

_UNREADABLE: Final = (
    AttributeError,
    IndexError,
    KeyError,
    TypeError,
    ValueError,
    msgspec.MsgspecError,
    zlib.error,
)

_APART: Final = frozenset({"ticks", "units", "states", "typical_day", "recent"})


@dataclass(frozen=True, slots=True)
class _Learned:
    """What was learned of the power price. It stands among the series, none of which is called as its fields are."""

    typical_day: TypicalDay = field(default_factory=TypicalDay)
    recent: Recent = field(default_factory=Recent)

    def __bool__(self) -> bool:
        return bool(self.told())

    def is_still(self, before: _Learned) -> bool:
        """Whether each part is what it was, or nothing still: objects are replaced where anything is learned."""
        same_day = self.typical_day is before.typical_day
        same_prices = self.recent is before.recent
        return (same_day or not (self.typical_day.zone or before.typical_day.zone)) and (
            same_prices or self.recent.quarter is before.recent.quarter is None
        )

    def told(self) -> dict[str, Any]:
        """What there is of it, as plain data."""
        told: dict[str, Any] = {"typical_day": pack(self.typical_day)} if self.typical_day.zone else {}
        return told | ({} if self.recent.quarter is None else {"recent": pack(self.recent)})


_NO_SERIES: Final[tuple[dict[str, list[Tick]], _Learned]] = ({}, _Learned())


def _without_model(config: Any) -> tuple[Any, Model | None]:
    """The configuration without the fitted model in it, and that."""
    real_time = getattr(config, "real_time", None)
    if real_time is None or real_time.model is None:
        return config, None
    return replace(config, real_time=replace(real_time, model=None)), real_time.model


def _with_model(config: Any, model: Model) -> Any:
    return replace(config, real_time=replace(config.real_time, model=model))


def _place(told: list[Tick], known: Sequence[Tick]) -> int | None:
    """Where in the known series this one is, whole and in one piece; None where it is not."""
    if told[0] not in known:
        return None
    place = known.index(told[0])
    there = list(known[place : place + len(told)])
    # Zeros of either sign are equal; here they are not the same.
    same = there == told and all(
        str(one.value) == str(other.value) for one, other in zip(there, told, strict=True)
    )
    return place if same else None


def _pack_states(snapshot: Snapshot, ids: list[str]) -> dict[str, Any]:
    """States by unit; names that are those of the units, in their order, are not told again."""
    keys = list(snapshot.states)
    rows = pack_column(list(snapshot.states.values()))
    if rows[0] == "t" and keys == [state.unit_id for state in snapshot.states.values()]:
        rows[3][rows[2].index("unit_id")] = None
    return {"keys": None if keys == ids else pack_column(keys), "rows": rows}


def _states(plain: Mapping[str, Any], ids: list[str]) -> dict[str, Any]:
    keys = ids if plain["keys"] is None else unpack_column(plain["keys"])
    rows = plain["rows"]
    if rows[0] == "t":
        rows[3] = [["v", keys] if column is None else column for column in rows[3]]
    return dict(zip(keys, unpack_column(rows), strict=True))


def _settings(plain: Mapping[str, Any]) -> tuple[tuple[Unit, ...], Any]:
    return unpack(plain["units"]), unpack(plain["config"])


def _series(plain: Mapping[str, Any]) -> tuple[dict[str, list[Tick]], _Learned]:
    """Long series and what was learned, nothing where none is told."""
    kinds = {"typical_day": TypicalDay, "recent": Recent}
    columns = {name: unpack_column(column) for name, column in plain.items() if name not in kinds}
    learned = {name: unpack(plain[name]) for name in kinds if name in plain}
    for name, value in learned.items():
        if not isinstance(value, kinds[name]):
            raise CodecError(f"its {name} is no {kinds[name].__name__}")
    return columns, _Learned(**learned)


def _ticks(plain: Mapping[str, Any], long: Mapping[str, list[Tick]]) -> dict[str, tuple[Tick, ...]]:
    short = iter(unpack_column(plain["short"]))
    found: dict[str, tuple[Tick, ...]] = {}
    for series, count in plain["series"]:
        if series not in plain["long"]:
            found[series] = tuple(next(short) for _ in range(count))
            continue
        skip, observed = plain["long"][series]
        pairs = zip(long[series][skip : skip + count], unpack_column(observed), strict=True)
        found[series] = tuple(replace(tick, observed_at=at) for tick, at in pairs)
    return found


def _part(plain: Any) -> Part:
    raw = _raw(plain)
    return Part(_digest(raw), zlib.compress(raw))


def _whole(part: Part) -> Any:
    raw = zlib.decompress(part.body)
    if _digest(raw) != part.digest:
        raise CodecError(f"part {part.digest} was changed since it was written")
    return msgspec.msgpack.decode(raw)


def _packed(plain: Any) -> bytes:
    packer = zlib.compressobj(zdict=EXAMPLE)
    return packer.compress(_raw(plain)) + packer.flush()


def _raw(plain: Any) -> bytes:
    try:
        return msgspec.msgpack.encode(plain)
    except (OverflowError, TypeError) as error:  # an integer of more than 64 bits
        raise CodecError(f"inputs cannot be kept: {error}") from error


def _opened(inputs: Inputs) -> Any:
    if inputs.format != FORMAT:
        raise InputsError(f"inputs of {inputs.at} have layout {inputs.format}, this version reads {FORMAT}")
    try:
        unpacker = zlib.decompressobj(zdict=EXAMPLE)
        raw = unpacker.decompress(inputs.body)
        if not unpacker.eof:
            raise CodecError("it is cut off")
        return msgspec.msgpack.decode(raw)
    except _UNREADABLE as error:
        raise InputsError(_why(inputs, error)) from error


def _digest(raw: bytes) -> str:
    return hashlib.blake2b(raw, digest_size=DIGEST_BYTES).hexdigest()


def _why(inputs: Inputs, error: Exception) -> str:
    return f"inputs of {inputs.at} cannot be read: {str(error) or type(error).__name__}"
