"""The C core through its Python module, every kernel against hashlib."""

import hashlib
import random
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from miner import kernel
from miner.kernel import Hit, ScanJob, ShareJob, StopWord, scan

USABLE = [info for info in kernel.kernels() if info.supported]
EASIEST = 2**256 - 1

# Real headers of the main chain, with the hash in display order (blocks 0, 125552 and 413567, and a job that
# a miner's firmware tests carry).
HEADERS = [
    (
        (
            "0100000000000000000000000000000000000000000000000000000000000000000000003ba3edfd7a7b12b27ac72c3e"
            "67768f617fc81bc3888a51323a9fb8aa4b1e5e4a29ab5f49ffff001d1dac2b7c"
        ),
        "000000000019d6689c085ae165831e934ff763ae46a2a6c172b3f1b60a8ce26f",
    ),
    (
        (
            "0100000081cd02ab7e569e8bcd9317e2fe99f2de44d49ab2b8851ba4a308000000000000e320b6c2fffc8d750423db8b"
            "1eb942ae710e951ed797f7affc8892b0f1fc122bc7f5d74df2b9441a42a14695"
        ),
        "00000000000000001e8d6829a8a21adc5d38d0a473b144b6765798e61f98bd1d",
    ),
    (
        (
            "0400000011cec5c65e00d35b08860e4e47c6f63f522bb1294db54205000000000000000005ce7daa2ab7853686a216e6"
            "e40415cfca390c23daff2eaaba16c89f640ca564b38d47573684051803b95f7e"
        ),
        "0000000000000000025aff8be8a55df8f89c77296db6198f272d6577325d4069",
    ),
    (
        (
            "04000020fc102bd0ea11470daf05a8e133a8a8505e21a2122b7f010000000000000000006d0359c451434605c52a5a9c"
            "e074340be47c2c63840731f9edf1db3f26b1cdd9a9f16f643aae051747896e27"
        ),
        "000000000e30101020e2ec8c9302a9ee56b2b2bef354b63489a0801f5789ed19",
    ),
]


def sha256d(data: bytes) -> bytes:
    return hashlib.sha256(hashlib.sha256(data).digest()).digest()


def number(digest: bytes) -> int:
    return int.from_bytes(digest, "little")


def word(value: int) -> bytes:
    return value.to_bytes(4, "little")


def hits_by_hashlib(header: bytes, versions: Sequence[int], target: int, first: int, count: int) -> list[Hit]:
    """Every hit of a range, by the simplest means."""
    found = []
    for nonce in range(first, first + count):
        for version in versions:
            digest = sha256d(word(version) + header[4:76] + word(nonce))
            if number(digest) <= target:
                found.append(Hit(nonce, version, digest))
    return found


@pytest.fixture(autouse=True)
def _same_kernel_afterwards() -> Iterator[None]:
    before = kernel.selected()
    yield
    kernel.select(before)


@pytest.fixture(params=[info.name for info in USABLE])
def lanes(request: pytest.FixtureRequest) -> int:
    """Runs the test with each kernel of this machine; the number of its lanes."""
    kernel.select(request.param)
    return next(info.lanes for info in USABLE if info.name == request.param)


# ---- Scans against hashlib ----


@settings(max_examples=80, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    header=st.binary(min_size=80, max_size=80),
    versions=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=16),
    target=st.one_of(st.integers(0, EASIEST), st.integers(200, 256).map(lambda bits: 2**bits - 1)),
    first=st.integers(0, 2**32 - 1),
    count=st.integers(0, 40),
)
def test_a_scan_finds_what_hashlib_finds(
    lanes: int, header: bytes, versions: list[int], target: int, first: int, count: int
) -> None:
    assert lanes
    count = min(count, 2**32 - first)
    result = scan(ScanJob(header, versions, target), first, count, StopWord(), capacity=640)
    assert list(result.hits) == hits_by_hashlib(header, versions, target, first, count)
    assert result.scanned == count


@pytest.mark.parametrize("versions", range(1, kernel.MAX_VERSIONS + 1))
def test_every_lane_is_right_under_every_number_of_versions(lanes: int, versions: int) -> None:
    source = random.Random(versions)
    header, rolled = source.randbytes(80), [0x20000000 | k << 13 for k in range(versions)]
    job = ScanJob(header, rolled, EASIEST // 3)
    for first in range(lanes + 1):
        result = scan(job, first, 2 * lanes + 1, StopWord(), capacity=1000)
        assert list(result.hits) == hits_by_hashlib(header, rolled, EASIEST // 3, first, 2 * lanes + 1)


def test_hits_may_be_neighbours_and_fill_every_lane(lanes: int) -> None:
    header = bytes(80)
    result = scan(ScanJob(header, [1, 2], EASIEST), 7, 3 * lanes, StopWord(), capacity=6 * lanes)
    assert [(hit.nonce, hit.version) for hit in result.hits] == [
        (nonce, version) for nonce in range(7, 7 + 3 * lanes) for version in (1, 2)
    ]


@pytest.mark.parametrize(
    ("first", "count"), [(0, 1), (0, 33), (2**32 - 33, 33), (2**32 - 1, 1), (2**32 - 1, 0)]
)
def test_the_range_may_begin_at_zero_and_end_with_the_last_nonce(lanes: int, first: int, count: int) -> None:
    assert lanes
    header = random.Random(first).randbytes(80)
    result = scan(ScanJob(header, [4], 2**255), first, count, StopWord())
    assert list(result.hits) == hits_by_hashlib(header, [4], 2**255, first, count)
    assert result.scanned == count


@pytest.mark.parametrize(("header_hex", "hash_hex"), HEADERS)
def test_real_blocks_are_found_in_every_lane_and_version_slot(
    lanes: int, header_hex: str, hash_hex: str
) -> None:
    header = bytes.fromhex(header_hex)
    digest = bytes.fromhex(hash_hex)[::-1]
    version, nonce = int.from_bytes(header[:4], "little"), int.from_bytes(header[76:], "little")
    for slot in range(kernel.MAX_VERSIONS):
        versions = [version ^ (k ^ slot) << 13 for k in range(kernel.MAX_VERSIONS)]
        job = ScanJob(header, versions, number(digest))
        for lane in range(lanes):
            result = scan(job, nonce - lane - lanes, 5 * lanes, StopWord())
            assert result.hits == (Hit(nonce, version, digest),)
            assert result.scanned == 5 * lanes


@pytest.mark.parametrize(("header_hex", "hash_hex"), HEADERS)
def test_a_target_just_below_the_hash_is_not_met(lanes: int, header_hex: str, hash_hex: str) -> None:
    assert lanes
    header = bytes.fromhex(header_hex)
    job = ScanJob(header, [int.from_bytes(header[:4], "little")], int(hash_hex, 16) - 1)
    nonce = int.from_bytes(header[76:], "little")
    assert scan(job, nonce - 100, 200, StopWord()).hits == ()


def test_on_regtest_every_second_hash_is_a_block(lanes: int) -> None:
    assert lanes
    target = 0x7FFFFF << 232
    result = scan(
        ScanJob(random.Random(1).randbytes(80), [0x20000000], target), 0, 1000, StopWord(), capacity=1000
    )
    assert 400 < len(result.hits) < 600
    assert all(number(hit.hash) <= target for hit in result.hits)


@pytest.mark.parametrize("capacity", [5, 6, 9, 64])
def test_a_full_buffer_ends_the_scan_where_it_can_go_on_without_losing_or_repeating_a_hit(
    lanes: int, capacity: int
) -> None:
    assert lanes
    header, versions, target, first, count = (
        random.Random(2).randbytes(80),
        [1, 2, 3, 4, 5],
        2**255,
        1001,
        203,
    )
    job = ScanJob(header, versions, target)
    hits: list[Hit] = []
    done = 0
    while done < count:
        result = scan(job, first + done, count - done, StopWord(), capacity)
        assert result.scanned > 0
        assert len(result.hits) <= capacity
        assert all(first + done <= hit.nonce < first + done + result.scanned for hit in result.hits)
        hits += result.hits
        done += result.scanned
    assert hits == hits_by_hashlib(header, versions, target, first, count)


def test_the_hits_of_a_nonce_are_not_torn_apart(lanes: int) -> None:
    assert lanes
    result = scan(ScanJob(bytes(80), [1, 2, 3, 4], EASIEST), 0, 100, StopWord(), capacity=7)
    assert (len(result.hits), result.scanned) == (4, 1)


# ---- The stop word ----


def test_a_stop_word_that_is_set_lets_no_scan_begin(lanes: int) -> None:
    assert lanes
    stop = StopWord()
    assert not stop.is_set()
    stop.set()
    assert stop.is_set()
    assert scan(ScanJob(bytes(80), [1], 0), 0, 2**32, stop).scanned == 0
    stop.clear()
    assert scan(ScanJob(bytes(80), [1], 0), 0, 10, stop).scanned == 10


def test_another_thread_ends_a_scan_because_the_scan_holds_no_lock_on_python(lanes: int) -> None:
    assert lanes
    stop = StopWord()
    job = ScanJob(bytes(80), list(range(16)), 0)
    results: list[int] = []
    thread = threading.Thread(target=lambda: results.append(scan(job, 0, 2**32, stop).scanned))
    thread.start()
    time.sleep(0.02)
    stop.set()
    thread.join(timeout=60)
    assert not thread.is_alive()
    assert 0 < results[0] < 2**32


# ---- Arguments ----


@pytest.mark.parametrize(
    ("header", "versions", "target"),
    [
        (bytes(79), [1], 0),
        (bytes(81), [1], 0),
        (bytes(80), [], 0),
        (bytes(80), [1] * 17, 0),
        (bytes(80), [-1], 0),
        (bytes(80), [2**32], 0),
        (bytes(80), [1], -1),
        (bytes(80), [1], 2**256),
    ],
)
def test_a_job_that_makes_no_sense_is_refused(header: bytes, versions: list[int], target: int) -> None:
    with pytest.raises(ValueError, match=r"bytes|versions|bits"):
        ScanJob(header, versions, target)


@pytest.mark.parametrize(("first", "count"), [(-1, 1), (0, -1), (1, 2**32), (2**32, 0), (0, 2**32 + 1)])
def test_a_range_beyond_the_nonces_is_refused(first: int, count: int) -> None:
    with pytest.raises(ValueError, match="nonces"):
        scan(ScanJob(bytes(80), [1], 0), first, count, StopWord())


def test_a_buffer_smaller_than_the_hits_of_one_nonce_is_refused() -> None:
    with pytest.raises(ValueError, match="3 hits"):
        scan(ScanJob(bytes(80), [1, 2, 3, 4], 0), 0, 1, StopWord(), capacity=3)


# ---- Hashing and shares ----


@given(st.binary(max_size=300))
def test_sha256d_is_what_hashlib_says(data: bytes) -> None:
    assert kernel.sha256d(data) == sha256d(data)


@given(st.integers(1, 100_000))
def test_calibration_adds_and_returns(adds: int) -> None:
    kernel.calibrate(adds)


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    coinbase1=st.binary(max_size=200),
    coinbase2=st.binary(max_size=200),
    extranonces=st.tuples(st.binary(max_size=8), st.binary(max_size=70)),
    branch=st.lists(st.binary(min_size=32, max_size=32), max_size=kernel.MAX_BRANCH),
    prev_hash=st.binary(min_size=32, max_size=32),
    numbers=st.lists(st.integers(0, 2**32 - 1), min_size=4, max_size=4),
)
def test_a_share_is_rebuilt_as_by_hashlib(
    lanes: int,
    coinbase1: bytes,
    coinbase2: bytes,
    extranonces: tuple[bytes, bytes],
    branch: list[bytes],
    prev_hash: bytes,
    numbers: list[int],
) -> None:
    assert lanes
    bits, ntime_s, nonce, version = numbers
    root = sha256d(coinbase1 + extranonces[0] + extranonces[1] + coinbase2)
    for node in branch:
        root = sha256d(root + node)
    header = word(version) + prev_hash + root + word(ntime_s) + word(bits) + word(nonce)
    job = ShareJob(coinbase1, coinbase2, branch, prev_hash, bits)
    assert kernel.share_header(job, *extranonces, ntime_s, nonce, version) == (header, sha256d(header))


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    before=st.binary(max_size=100),
    own=st.binary(min_size=1, max_size=40),
    after=st.binary(max_size=100),
    script=st.none() | st.binary(min_size=1, max_size=252),
)
def test_a_share_may_pay_another_script_than_the_job(
    lanes: int, before: bytes, own: bytes, after: bytes, script: bytes | None
) -> None:
    assert lanes
    paid = own if script is None else bytes((len(script),)) + script
    root = sha256d(b"one" + b"e1" + b"e2" + before + paid + after)
    header = word(5) + bytes(32) + root + word(1) + word(2) + word(3)
    job = ShareJob(b"one", before + own + after, [], bytes(32), 2, (len(before), len(own)))
    assert kernel.share_header(job, b"e1", b"e2", 1, 3, 5, script) == (header, sha256d(header))


def test_a_job_that_says_of_no_payout_has_only_its_own() -> None:
    job = ShareJob(b"one", b"two", [], bytes(32), 2)
    assert kernel.share_header(job, b"", b"", 1, 3, 5, b"\x51") == kernel.share_header(job, b"", b"", 1, 3, 5)


@pytest.mark.parametrize("payout_at", [(-1, 1), (0, -1), (2, 2), (4, 0), (0, 4)])
def test_a_payout_outside_the_coinbase_is_refused(payout_at: tuple[int, int]) -> None:
    with pytest.raises(ValueError, match="does not lie within"):
        ShareJob(b"one", b"two", [], bytes(32), 2, payout_at)


def test_the_worked_example_of_the_stratum_documentation_gives_its_header() -> None:
    """Stratum protocol documentation (2012): notify, submit, and the header that follows from them."""
    prev_hash_on_wire = bytes.fromhex("4d16b6f85af6e2198f44ae2a6de67f78487ae5611b77c6c0440b921e00000000")
    job = ShareJob(
        bytes.fromhex(
            "01000000010000000000000000000000000000000000000000000000000000000000000000ffffffff20020862062f"
            "503253482f04b8864e5008"
        ),
        bytes.fromhex(
            "072f736c7573682f000000000100f2052a010000001976a914d23fcdf86f7e756a64a7a9688ef9903327048ed988ac00000000"
        ),
        [],
        b"".join(prev_hash_on_wire[i : i + 4][::-1] for i in range(0, 32, 4)),
        0x1C2AC4AF,
    )
    header, digest = kernel.share_header(
        job, bytes.fromhex("08000002"), bytes.fromhex("00000001"), 0x504E86ED, 0xB2957C02, 2
    )
    assert header.hex() == (
        "02000000f8b6164d19e2f65a2aae448f787fe66d61e57a48c0c6771b1e920b440000000032414daa9ddac879fd2c62839b"
        "9ba710a3546363a5f5e22915d90dc3b1699deced864e50afc42a1c027c95b2"
    )
    assert digest[::-1].hex() == "000000002076870fe65a2b6eeed84fa892c0db924f1482243a6247d931dcab32"


@pytest.mark.parametrize(
    ("branch", "prev_hash", "bits"),
    [
        ([bytes(31)], bytes(32), 0),
        ([bytes(32)] * 33, bytes(32), 0),
        ([], bytes(31), 0),
        ([], bytes(32), 2**32),
        ([], bytes(32), -1),
    ],
)
def test_a_share_job_of_wrong_sizes_is_refused(branch: list[bytes], prev_hash: bytes, bits: int) -> None:
    with pytest.raises(ValueError, match=r"bytes|levels|bits"):
        ShareJob(b"", b"", branch, prev_hash, bits)


@pytest.mark.parametrize("numbers", [(2**32, 0, 0), (0, -1, 0), (0, 0, 2**32)])
def test_a_share_with_a_number_beyond_32_bits_is_refused(numbers: tuple[int, int, int]) -> None:
    with pytest.raises(ValueError, match="32 bits"):
        kernel.share_header(ShareJob(b"", b"", [], bytes(32), 0), b"", b"", *numbers)
