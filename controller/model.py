"""A market's fitted behaviour as one small file of arrays: written by `hashmill fit`, read where it decides; pure.

The file is a zip of .npy arrays and of `facts.json`, nothing compressed, nothing pickled: the same model gives the same bytes. It holds up
to four sets of trees (what may be seen: A or B; with day-ahead prices and without), what each pair of them was fitted on, and chains.
"""

from __future__ import annotations

import hashlib
import io
import json
import struct
import zipfile
from dataclasses import dataclass, fields
from functools import cached_property, lru_cache
from typing import TYPE_CHECKING, Any, Final

import numpy as np

from controller.worth_features import NAMES, WITHOUT_DAY_AHEAD, Span
from controller.worth_markov import KINDS, Chain, ChainError
from controller.worth_seen import Sees
from controller.worth_trees import LEAF, Trees, TreesError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from numpy.typing import NDArray

FORMAT: Final = 1
LARGEST: Final = 2_000_000
"""Bytes. A model has no reason to be larger, and it goes into the log of decisions."""
_FACTS: Final = "facts.json"
_DAY_AHEAD: Final = {True: "with", False: "without"}
_AGAIN: Final = "fit the model again with `hashmill fit`"
_BROKEN: Final = (
    zipfile.BadZipFile, zipfile.LargeZipFile, ValueError, KeyError, EOFError, OSError, RuntimeError,
    struct.error, TypeError, SyntaxError, RecursionError, OverflowError, IndexError, AttributeError, MemoryError,
)  # fmt: skip
"""What broken bytes may make the readers of zip files, arrays and JSON raise."""


class ModelError(ValueError):
    """This is no model, or none this version can use; it says what to do."""


@dataclass(frozen=True, slots=True)
class _Parts:
    trees: dict[tuple[Sees, bool], Trees]
    spans: dict[bool, Span]
    chains: dict[bool, Chain]
    facts: dict[str, Any]


@dataclass(frozen=True)
class Model:
    """A fitted model, which is its file's bytes; see `read_model`, which checks them.

    Wherever `day_ahead` is asked: as seen with day-ahead prices, or without. None where the file has no such part.
    """

    data: bytes

    @cached_property
    def _parts(self) -> _Parts:
        return _decoded(self.data)

    @cached_property
    def digest(self) -> str:
        """The SHA-256 of the bytes, in hex."""
        return hashlib.sha256(self.data).hexdigest()

    @property
    def facts(self) -> Mapping[str, Any]:
        """What was fitted on, as `hashmill fit` said it: the market's name, the period, versions, checks."""
        return self._parts.facts

    def trees(self, sees: Sees, *, day_ahead: bool) -> Trees | None:
        """The trees for what may be seen."""
        return self._parts.trees.get((sees, day_ahead))

    def span(self, *, day_ahead: bool) -> Span | None:
        """What those trees were fitted on."""
        return self._parts.spans.get(day_ahead)

    def markov(self, *, day_ahead: bool) -> Chain | None:
        """The chain to fall back to."""
        return self._parts.chains.get(day_ahead)


def read_model(data: bytes) -> Model:
    """The model of a file's bytes; raises ModelError, which says what is wrong and what to do."""
    model = Model(data)
    _ = model._parts  # noqa: SLF001 (decoded once, and here, where what is wrong can be told)
    return model


def write_model(
    trees: Mapping[tuple[Sees, bool], Trees],
    spans: Mapping[bool, Span],
    chains: Mapping[bool, Chain],
    facts: Mapping[str, Any],
) -> bytes:
    """The bytes of a model: trees by what may be seen and whether day-ahead prices are, spans and chains by the latter.

    `facts` must be JSON. Raises ModelError for what `read_model` would not take.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for (sees, day_ahead), forest in trees.items():
        for column in fields(forest):
            if column.name != "base":
                arrays[f"{sees}-{_DAY_AHEAD[day_ahead]}-{column.name}"] = getattr(forest, column.name)
        arrays[f"{sees}-{_DAY_AHEAD[day_ahead]}-base"] = np.array(forest.base, np.int64)
    for day_ahead, span in spans.items():
        arrays[f"span-{_DAY_AHEAD[day_ahead]}"] = np.array((span.step, span.level), np.float64)
    for day_ahead, chain in chains.items():
        for column in fields(chain):
            arrays[f"markov-{_DAY_AHEAD[day_ahead]}-{column.name}"] = np.asarray(getattr(chain, column.name))
    try:
        told = json.dumps(
            {"format": FORMAT, "features": list(NAMES), "facts": facts},
            allow_nan=False,
            sort_keys=True,
            indent=1,
        )
    except (TypeError, ValueError) as error:
        raise ModelError(f"the model's facts cannot be written: {error}") from error
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(zipfile.ZipInfo(_FACTS), told)
        for name, array in sorted(arrays.items()):
            content = io.BytesIO()
            np.lib.format.write_array(
                content, np.ascontiguousarray(array) if array.ndim else array, (1, 0), allow_pickle=False
            )
            archive.writestr(zipfile.ZipInfo(f"{name}.npy"), content.getvalue())
    data = file.getvalue()
    read_model(data)
    return data


@lru_cache(maxsize=8)
def _decoded(data: bytes) -> _Parts:
    """The parts of a file's bytes; raises ModelError."""
    if len(data) > LARGEST:
        raise ModelError(
            f"a model has at most {LARGEST:,} bytes, this has {len(data):,}: it is another file; {_AGAIN}"
        )
    try:
        arrays, told = _unpacked(data)
    except _BROKEN as error:
        raise ModelError(
            f"this is no model, or a damaged one ({str(error) or type(error).__name__}): copy it anew, or {_AGAIN}"
        ) from error
    if not isinstance(told, dict) or type(told.get("format")) is not int:
        raise ModelError(f"this is no model: {_FACTS} does not tell its format; {_AGAIN}")
    if told["format"] != FORMAT:
        which = "a newer" if told["format"] > FORMAT else "another"
        raise ModelError(
            f"this model was written by {which} version (format {told['format']}, known is {FORMAT}): upgrade, or {_AGAIN}"
        )
    if told.get("features") != list(NAMES) or not isinstance(told.get("facts"), dict):
        raise ModelError(f"this model looks at other features than this version: {_AGAIN}")
    try:
        return _Parts(_trees(arrays), _spans(arrays), _chains(arrays), told["facts"])
    except (TreesError, ChainError) as error:
        raise ModelError(f"this model is damaged: {error}; copy it anew, or {_AGAIN}") from error
    except _BROKEN as error:
        raise ModelError(
            f"this model is damaged or lacks a part ({error}): copy it anew, or {_AGAIN}"
        ) from error


def _unpacked(data: bytes) -> tuple[dict[str, NDArray[Any]], Any]:
    """The arrays and the facts of a file's bytes, whatever they are; raises any of `_BROKEN`."""
    arrays: dict[str, NDArray[Any]] = {}
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        if any(
            item.compress_type != zipfile.ZIP_STORED or item.file_size > len(data)
            for item in archive.infolist()
        ):
            raise ValueError("its parts are compressed")
        told = json.loads(archive.read(_FACTS))
        for item in archive.infolist():
            if item.filename != _FACTS:
                content = io.BytesIO(archive.read(item))
                arrays[item.filename.removesuffix(".npy")] = _array(content, item.file_size)
    return arrays, told


def _array(content: io.BytesIO, size: int) -> NDArray[Any]:
    """An array from its file; raises ValueError where its head promises more than the file has, before room is made for it."""
    if np.lib.format.read_magic(content) != (1, 0):
        raise ValueError("an array's format is not 1.0")
    shape, _, kind = np.lib.format.read_array_header_1_0(content)
    if (
        kind.hasobject
        or any(side < 0 for side in shape)
        or int(np.prod(shape, dtype=object)) * kind.itemsize != size - content.tell()
    ):
        raise ValueError("an array has another length than it says")
    content.seek(0)
    array: NDArray[Any] = np.lib.format.read_array(content, allow_pickle=False)
    return array


def _part(arrays: Mapping[str, NDArray[Any]], name: str, kind: str, sides: int) -> NDArray[Any]:
    """The array of that name; raises ValueError where it is of another kind."""
    array = arrays[name]
    if array.dtype != np.dtype(kind) or array.ndim != sides:
        raise ValueError(f"{name} is {array.dtype} with {array.ndim} dimensions, not {kind} with {sides}")
    return array


def _sets() -> Iterator[tuple[Sees, bool]]:
    """Every set of trees there may be."""
    yield from ((sees, day_ahead) for day_ahead in (True, False) for sees in Sees)


def _trees(arrays: Mapping[str, NDArray[Any]]) -> dict[tuple[Sees, bool], Trees]:
    found = {}
    for sees, day_ahead in _sets():
        prefix = f"{sees}-{_DAY_AHEAD[day_ahead]}-"
        if f"{prefix}starts" not in arrays:
            continue
        forest = Trees(
            _part(arrays, f"{prefix}feature", "u1", 1),
            _part(arrays, f"{prefix}threshold", "f4", 1),
            _part(arrays, f"{prefix}left", "u2", 1),
            _part(arrays, f"{prefix}right", "u2", 1),
            _part(arrays, f"{prefix}value", "i4", 1),
            _part(arrays, f"{prefix}starts", "u4", 1),
            int(_part(arrays, f"{prefix}base", "i8", 0)),
        )
        allowed = range(len(NAMES)) if day_ahead else WITHOUT_DAY_AHEAD
        if not np.isin(forest.feature[forest.feature != LEAF], np.array(allowed)).all():
            raise TreesError("a node asks for a feature there is not")
        found[sees, day_ahead] = forest
    return found


def _spans(arrays: Mapping[str, NDArray[Any]]) -> dict[bool, Span]:
    found = {}
    for day_ahead, word in _DAY_AHEAD.items():
        if f"span-{word}" in arrays:
            (step, level) = _part(arrays, f"span-{word}", "f8", 2).tolist()
            if len(step) != 2 or not np.isfinite((step, level)).all():  # noqa: PLR2004 (the least and the most)
                raise ValueError("a span is not two numbers")
            found[day_ahead] = Span(tuple(step), tuple(level))
    for sees, day_ahead in _sets():
        if f"{sees}-{_DAY_AHEAD[day_ahead]}-starts" in arrays and day_ahead not in found:
            raise ValueError(
                f"what the trees {_DAY_AHEAD[day_ahead]} day-ahead prices were fitted on is not told"
            )
    return found


def _chains(arrays: Mapping[str, NDArray[Any]]) -> dict[bool, Chain]:
    found = {}
    for day_ahead, word in _DAY_AHEAD.items():
        prefix = f"markov-{word}-"
        if any(name.startswith(prefix) for name in arrays):
            found[day_ahead] = Chain(
                *(_part(arrays, f"{prefix}{column.name}", *KINDS[column.name]) for column in fields(Chain))
            )
    return found
