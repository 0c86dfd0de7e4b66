"""Scripts for `targets.session` as hypothesis makes them: devices that nearly behave, where the fuzzer tries every byte."""

import json
from typing import Any, Final

from hypothesis import strategies as st

from tests.fuzz.house import FIRST_SERIAL
from tests.fuzz.play import PEERS, STEP_ENDS
from tests.miner.stratum.device import work

NAMES: Final = ("rig", "rig.2", "own.b", "wait.c", "wait.own", "no", "no!", "witness", "a b")
PASSWORDS: Final = ("x", "", "d=0.000000002", "x,diff=1e-9", "d=1e300")

_SCALARS: Final = (
    st.none() | st.booleans() | st.integers(-9, 2**70) | st.floats(allow_nan=False) | st.text(max_size=8)
)
_VALUES: Final = st.recursive(
    _SCALARS,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
_IDS: Final = st.integers(0, 9) | st.sampled_from(["a", None, -1, 2**60, 1.5, True, "é", "x" * 90, [1]])
_WORDS: Final = st.integers(0, 2**32 - 1).map("{:08x}".format)
_DIFFICULTIES: Final = st.sampled_from([1e-9, 2e-9, 5e-9, 1e-12, 1e-3, 1, 1e300, 0, -1, "1e-9", None])


def _call(method: str, *params: st.SearchStrategy[Any] | Any) -> st.SearchStrategy[dict[str, Any]]:
    made = st.tuples(*(param if isinstance(param, st.SearchStrategy) else st.just(param) for param in params))
    return st.builds(lambda i, p: {"id": i, "method": method, "params": list(p)}, _IDS, made)


def _mostly(*values: Any) -> st.SearchStrategy[Any]:
    """The first value, nine times in ten."""
    return st.integers(0, 9 * len(values) + len(values) - 1).map(
        lambda n: values[max(n - 9 * len(values), 0)]
    )


_SUBMIT_PARAMS: Final = st.tuples(
    _mostly(*NAMES[:5]),
    st.builds(
        "{:x}{}".format, st.integers(FIRST_SERIAL, FIRST_SERIAL + 3), _mostly("", ".0", ".1", ".2", ".9")
    ),
    _mostly("0000000000000000", "0000000000000001", "00"),
    _mostly(*(f"{work().ntime_s + seconds:08x}" for seconds in (0, 1, 7000, 9000, -(10**6)))),
    st.integers(0, 40).map("{:08x}".format),
    _mostly("", "1fffe000", "00002000", "ffffffff", "0"),
)


@st.composite
def _submit(draw: st.DrawFn) -> dict[str, Any]:
    params: list[Any] = [param for param in draw(_SUBMIT_PARAMS) if param]
    spoilt = draw(st.integers(0, 100))
    if spoilt < len(params):
        params[spoilt] = draw(_VALUES)
    return {"id": draw(_IDS), "method": "mining.submit", "params": params}


_CONFIGURE: Final = _call(
    "mining.configure",
    st.lists(st.sampled_from(["version-rolling", "minimum-difficulty", "subscribe-extranonce", "info", "x"]), max_size=4),
    st.fixed_dictionaries(
        {}, optional={
            "version-rolling.mask": _WORDS | _VALUES, "minimum-difficulty.value": _DIFFICULTIES, "info.hw-version": _VALUES,
        },
    ),
)  # fmt: skip
_SUBSCRIBE: Final = _call(
    "mining.subscribe",
    st.text(max_size=70),
    st.none() | st.sampled_from([f"c0ffee{n:02x}" for n in range(1, 7)]),
)
_AUTHORIZE: Final = _call(
    "mining.authorize", st.sampled_from(NAMES) | st.text(max_size=4), st.sampled_from(PASSWORDS)
)
_OTHER: Final = st.one_of(
    _call("mining.suggest_difficulty", _DIFFICULTIES),
    _call("mining.suggest_target", st.sampled_from(["0f" + "ff" * 31, "ff" * 32, "0", "x"])),
    _call("mining.extranonce.subscribe"),
    st.builds(
        lambda i, m, p: {"id": i, "method": m, "params": p},
        _IDS,
        st.text(max_size=9) | st.just("mining.submit"),
        _VALUES,
    ),
    st.builds(lambda i, r: {"id": i, "result": r, "error": None}, _IDS, _VALUES),
    st.dictionaries(st.text(max_size=6), _VALUES, max_size=3),
)


def _text(message: Any, pad: str, tail: bytes) -> bytes:
    return json.dumps(message, ensure_ascii=pad != " ", separators=("," + pad, ":" + pad)).encode() + tail


_MESSAGES: Final = st.one_of(_submit(), _submit(), _submit(), _SUBSCRIBE, _AUTHORIZE, _CONFIGURE, _OTHER)
_LINES: Final = st.one_of(
    *[st.builds(_text, _MESSAGES, st.sampled_from(["", " "]), st.sampled_from([b"", b"", b"\r", b" "]))] * 30,
    st.binary(max_size=40),
)
_SHARES: Final = st.lists(
    st.builds(_text, _submit(), st.just(""), st.just(b"\n")), min_size=1, max_size=12
).map(b"".join)
_TWO: Final = st.binary(min_size=2, max_size=2)


def _step(kind: bytes, argument: st.SearchStrategy[bytes]) -> st.SearchStrategy[bytes]:
    return st.builds(lambda peer, rest: b"%d%b%b" % (peer, kind, rest), st.integers(0, PEERS - 1), argument)


_ODD_KINDS: Final = b"ssfvmxwqgoekT"
_STEPS: Final = st.one_of(
    *[_step(b"r", _SHARES)] * 6,
    *[_step(b"l", _LINES)] * 3,
    _step(b"c", st.builds(bytes.__add__, _TWO, _LINES)),
    _step(b"n", st.builds(bytes.__add__, st.binary(min_size=1, max_size=1), _LINES)),
    _step(b"t", _TWO),
    _step(b"j", _TWO),
    _step(b"p", _TWO),
    _step(b"y", _TWO),
    _step(b"a", _TWO),
    st.sampled_from(_ODD_KINDS).flatmap(lambda kind: _step(bytes((kind,)), st.binary(max_size=4))),
)
_LOGINS: Final = [
    b"%d%b" % (peer, line)
    for peer in range(PEERS - 1)
    for line in (
        b'l{"id":1,"method":"mining.subscribe","params":["cgminer/4"]}',
        b'l{"id":2,"method":"mining.authorize","params":["rig","x"]}',
    )
]


def _script(first: bytes, steps: list[bytes], *, is_logged_in: bool) -> bytes:
    return STEP_ENDS.join([first, *(_LOGINS if is_logged_in else ()), *steps])


scripts: Final = st.builds(
    _script,
    st.binary(min_size=4, max_size=4),
    st.lists(_STEPS, min_size=8, max_size=40),
    is_logged_in=st.sampled_from([True, True, False]),
)
"""Scripts, as bytes; most of them begin with two devices that log in."""
