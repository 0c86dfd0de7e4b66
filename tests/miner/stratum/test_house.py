"""What sessions give back: names that logs keep, and a session that survives the way to another process."""

import msgspec

from miner.stratum.house import NOTHING, Closing, Output, Resumable
from miner.work.vardiff import Vardiff


def test_an_output_that_says_nothing_wants_nothing() -> None:
    assert Output() == NOTHING
    assert (NOTHING.data, NOTHING.credited, NOTHING.close, NOTHING.login) == (b"", 0, "", None)
    assert not NOTHING.holds


def test_the_reasons_for_closing_keep_their_names() -> None:
    assert {str(reason) for reason in Closing} == {
        "", "not_stratum", "line_too_long", "too_many_lines", "too_much_held", "no_extranonce", "refused", "gone",
        "login_timeout", "idle", "layout",
    }  # fmt: skip


def test_a_session_can_be_written_down_and_read_again() -> None:
    session = Resumable(
        session_id="c0ffee",
        extranonce1=b"\x01\x02\x03\x04",
        extranonce2_size=8,
        level=3,
        vardiff=Vardiff(512.0, 0.0, 1e12, 12.0, 0.0).state(),
        version_mask=None,
        name="rig",
        agent="bitaxe",
    )
    assert msgspec.json.decode(msgspec.json.encode(session), type=Resumable) == session
    assert msgspec.msgpack.decode(msgspec.msgpack.encode(session), type=Resumable) == session
