"""A model's file is the same bytes for the same model, and whatever else is given says clearly that it is none."""

from __future__ import annotations

import io
import json
import zipfile
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from controller.model import LARGEST, Model, ModelError, read_model, write_model
from controller.worth import Sees
from controller.worth_features import NAMES, Span
from controller.worth_trees import grown
from tests.controller.worth_rig import CHAINS, WIDE, by_price, model, stump

TREES = {(sees, day_ahead): by_price() for sees in Sees for day_ahead in (True, False)}
SPANS = {True: WIDE, False: Span((0.5, 2.0), (-3.0, 4.0))}
FACTS = {"name": "ERCOT hub", "rows": 35_000, "has_day_ahead": True, "regret": [0.1, 0.2]}
DATA = write_model(TREES, SPANS, CHAINS, FACTS)


def parts(data: bytes) -> dict[str, bytes]:
    with zipfile.ZipFile(io.BytesIO(data)) as archive:
        return {name: archive.read(name) for name in archive.namelist()}


def packed(contents: dict[str, bytes], method: int = zipfile.ZIP_STORED) -> bytes:
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w", method) as archive:
        for name, content in contents.items():
            archive.writestr(name, content)
    return file.getvalue()


def forged(**changes: Any) -> bytes:
    """The model with other arrays (by name, `_` for `-`), None to leave one out."""
    contents = parts(DATA)
    for name, array in changes.items():
        content = io.BytesIO()
        if array is not None:
            np.lib.format.write_array(content, array, allow_pickle=True)
        contents[f"{name.replace('_', '-')}.npy"] = content.getvalue()
        if array is None:
            del contents[f"{name.replace('_', '-')}.npy"]
    return packed(contents)


def retold(**changes: Any) -> bytes:
    contents = parts(DATA)
    contents["facts.json"] = json.dumps({**json.loads(contents["facts.json"]), **changes}).encode()
    return packed(contents)


def test_what_was_written_is_read() -> None:
    known = read_model(DATA)
    assert known.facts == FACTS
    rows = np.random.default_rng(1).normal(size=(9, len(NAMES))).astype(np.float32)
    for (sees, day_ahead), trees in TREES.items():
        found = known.trees(sees, day_ahead=day_ahead)
        assert found is not None
        assert np.array_equal(found.predict(rows), trees.predict(rows))
    for day_ahead in (True, False):
        assert known.span(day_ahead=day_ahead) == SPANS[day_ahead]
        found_chain = known.markov(day_ahead=day_ahead)
        assert found_chain is not None
        assert np.array_equal(found_chain.moves, CHAINS[day_ahead].moves)


def test_a_model_need_not_have_every_part() -> None:
    part = model({(Sees.A, False): by_price()}, {False: WIDE}, {})
    assert part.trees(Sees.A, day_ahead=False) is not None
    assert part.trees(Sees.A, day_ahead=True) is part.trees(Sees.B, day_ahead=False) is None
    assert part.span(day_ahead=True) is part.markov(day_ahead=True) is part.markov(day_ahead=False) is None


def test_the_same_model_is_the_same_bytes() -> None:
    backwards = dict(reversed(TREES.items()))
    assert (
        write_model(backwards, dict(reversed(SPANS.items())), CHAINS, dict(reversed(FACTS.items()))) == DATA
    )
    assert read_model(DATA).digest == read_model(bytes(DATA)).digest
    assert len(read_model(DATA).digest) == 64
    assert read_model(DATA) == Model(bytes(bytearray(DATA)))


def test_a_model_of_usual_size_fits() -> None:
    forest = grown([stump(at % len(NAMES), at / 7, -1.0, 1.0) for at in range(3000)], 0.0)
    assert len(write_model({(Sees.A, True): forest}, {True: WIDE}, CHAINS, FACTS)) < LARGEST


@pytest.mark.parametrize("share", [0.0, 0.1, 0.5, 0.9, 0.999])
def test_a_file_that_was_cut_is_refused(share: float) -> None:
    with pytest.raises(ModelError, match=r"no model, or a damaged one.*`hashmill fit`"):
        read_model(DATA[: int(len(DATA) * share)])


@settings(max_examples=150)
@given(at=st.integers(0, len(DATA) - 1), flip=st.integers(1, 255))
def test_a_file_with_a_changed_byte_is_read_or_refused_and_never_fails_otherwise(at: int, flip: int) -> None:
    data = bytearray(DATA)
    data[at] ^= flip
    try:
        found = read_model(bytes(data))
    except ModelError:
        return
    assert found.facts["name"]


@settings(max_examples=100)
@given(st.binary(max_size=200))
def test_other_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="no model"):
        read_model(data)


def test_a_larger_file_is_another_file() -> None:
    with pytest.raises(ModelError, match=r"at most 2,000,000 bytes, this has 2,000,001"):
        read_model(bytes(LARGEST + 1))


def test_a_model_of_a_newer_version_says_so() -> None:
    with pytest.raises(ModelError, match=r"a newer version \(format 2, known is 1\): upgrade"):
        read_model(retold(format=2))
    with pytest.raises(ModelError, match="another version"):
        read_model(retold(format=0))
    with pytest.raises(ModelError, match="other features"):
        read_model(retold(features=[*NAMES, "tides"]))
    for wrong in (None, True, "1"):
        with pytest.raises(ModelError, match="does not tell its format"):
            read_model(retold(format=wrong))
    with pytest.raises(ModelError, match="other features"):
        read_model(retold(facts=[]))


@pytest.mark.parametrize(
    "data",
    [
        forged(A_with_left=np.zeros(3, np.uint16)),
        forged(A_with_left=np.zeros(3, np.int64)),
        forged(A_with_starts=np.zeros((1, 1), np.uint32)),
        forged(A_with_value=np.array([object()] * 3)),
        forged(A_with_value=None),
        forged(A_with_base=np.zeros(2, np.int64)),
        forged(A_with_feature=np.array([len(NAMES), 255, 255], np.uint8)),
        forged(A_without_feature=np.array([NAMES.index("day ahead, in 0"), 255, 255], np.uint8)),
        forged(span_with=None),
        forged(span_with=np.array([[0.0, np.nan], [0.0, 1.0]])),
        forged(span_with=np.array([[0.0], [1.0]])),
        forged(markov_with_moves=None),
        forged(markov_with_moves=np.zeros_like(CHAINS[True].moves)),
        forged(markov_with_edges=np.zeros(2)),
        packed(parts(DATA), zipfile.ZIP_DEFLATED),
        packed({**parts(DATA), "A-with-left.npy": b"\x93NUMPY\x01\x00\x02\x00{}"}),
        packed({**parts(DATA), "facts.json": b"{" * 5000}),
        packed({**parts(DATA), "facts.json": b"[" * 100_000}),
        packed({name: content for name, content in parts(DATA).items() if name != "facts.json"}),
    ],
)
def test_a_forged_file_is_refused(data: bytes) -> None:
    with pytest.raises(ModelError, match="`hashmill fit`"):
        read_model(data)


def test_an_array_that_promises_more_than_the_file_has_takes_no_room() -> None:
    head = io.BytesIO()
    np.lib.format.write_array_header_1_0(head, {"descr": "<f8", "fortran_order": False, "shape": (10**12,)})
    with pytest.raises(ModelError, match="another length than it says"):
        read_model(packed({**parts(DATA), "A-with-left.npy": head.getvalue()}))


def test_what_could_not_be_read_is_not_written() -> None:
    with pytest.raises(ModelError, match="cannot be written"):
        write_model(TREES, SPANS, CHAINS, {"regret": float("nan")})
    with pytest.raises(ModelError, match="cannot be written"):
        write_model(TREES, SPANS, CHAINS, {"at": object()})
    with pytest.raises(ModelError, match="is not told"):
        write_model(TREES, {}, CHAINS, FACTS)
